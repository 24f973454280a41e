//! A valid request of every method, with its caller: the table that `call METHOD --example` prints from. Add the example
//! of a new method there, and the objects that it names in `fixtures.rs`; until then the tests in `matrix` fail and name
//! the method.

pub use ap_gateway::cli::call::examples::{EXAMPLE_REQUESTS, ExampleRequest};

//! Parses the arguments and calls one verb.
fn main() {}

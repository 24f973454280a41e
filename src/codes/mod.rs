//! The sector's code sets and identifiers, one type each, with the dates they hold.
//!
//! Codes collide across sets (`C1` is an attendance code and a legal status), so no string type is shared. Pure:
//! no clock, no store. What identifies a child never shows in `Debug` or in an error.

pub mod attendance;
pub mod local_authority;
pub mod names;
pub mod nhs;
pub mod organisation;
pub mod rates;
pub mod suggestion;
pub mod uln;
pub mod upn;
pub mod urn;

pub use attendance::{AttendanceClass, AttendanceCode, CodeError, RegisterSession};
pub use local_authority::{LaCode, LocalAuthority};
pub use names::same_name;
pub use nhs::NhsNumber;
pub use organisation::{OrganisationId, OrganisationKind, System};
pub use rates::Rates;
pub use suggestion::suggest_home_code;
pub use uln::Uln;
pub use upn::Upn;
pub use urn::{Laestab, Ukprn, Urn};

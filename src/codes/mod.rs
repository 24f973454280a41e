//! Code sets and identifiers of the sector, one type each, with the dates on which they are valid.
//!
//! Codes collide across sets (`C1` is an attendance code and a legal status), so no string type is shared. The module
//! is pure: no clock, no store. Identifiers of a child never appear in `Debug` or in an error.

pub mod attendance;
pub mod local_authority;
pub mod name_matching;
pub mod nhs;
pub mod organisation;
pub mod rates;
pub mod suggestion;
pub mod uln;
pub mod upn;
pub mod urn;

pub use attendance::{AttendanceClass, AttendanceCode, AttendanceCodeError, RegisterSession};
pub use local_authority::{LaCode, LocalAuthority};
pub use name_matching::is_same_name;
pub use nhs::NhsNumber;
pub use organisation::{OrganisationId, OrganisationKind, SystemName};
pub use rates::AttendanceRates;
pub use suggestion::suggest_home_code;
pub use uln::Uln;
pub use upn::Upn;
pub use urn::{Laestab, Ukprn, Urn};

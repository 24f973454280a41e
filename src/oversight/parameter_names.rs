//! Names of parameters that several rules have, or that say how far back facts are read.

/// A number of school days.
pub const SCHOOL_DAYS: &str = "school_days";
/// A number of expected days.
pub const DAYS: &str = "days";
/// A number of sessions.
pub const SESSIONS: &str = "sessions";
/// A number of weeks.
pub const WEEKS: &str = "weeks";

//! `SubmitProgress` and `GetProgress`: how a child comes on against its plan, period by period. A second
//! return for a period is the same, or a correction that keeps what was before.

mod read;
mod rows;
mod rules;
mod submit;
mod wire;

pub use read::content;
pub(super) use read::get_progress;
pub(super) use submit::submit_progress;

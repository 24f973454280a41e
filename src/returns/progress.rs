//! Progress returns (`SubmitProgress`, `GetProgress`): a child's progress against its plan in a period. A second return
//! for a period is unchanged, or a correction; earlier revisions are kept.

mod qualifications;
mod read;
mod rows;
mod rules;
mod submit;
mod wire;

pub use qualifications::list_with_qualification;
pub(super) use read::get_progress;
pub use read::progress_content;
pub(super) use rows::ProgressRow;
pub(super) use submit::submit_progress;

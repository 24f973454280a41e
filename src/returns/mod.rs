//! Returns: attendance marks and progress returns, which providers send about the children whom they teach.
//!
//! A mark for any day inside a placement is accepted, also after the placement ended. What is unusual about a mark is
//! recorded as a flag or a warning; it does not reject the mark.

mod absence;
mod arrangement;
mod confirm;
pub mod cut_off;
mod delivered;
mod expected_returns;
mod flags;
mod list;
pub mod mark_facts;
pub mod mark_meaning;
mod parts;
pub mod progress;
pub mod provider_day;
mod rates;
mod read;
mod register_statements;
mod resolve;
mod roster;
mod rows;
mod rules;
mod statement_delivery;
mod submit;
mod view;
mod void;
mod wire;

pub use arrangement::Arrangement;
pub use delivered::{attendance_content, confirmation_content, expected_absence_content};
pub use progress::progress_content;
pub use rows::placements_at;
pub use rules::SessionSlot;

use crate::exchange::RequestContext;
use crate::exchange::method::methods;
use crate::store::{Record as _, Table};

/// The tables of returns, marks, register statements and progress returns.
pub const TABLES: &[&Table] = &[
    rows::ReturnRow::TABLE,
    rows::MarkRow::TABLE,
    register_statements::StatementRow::TABLE,
    void::VoidRow::TABLE,
    progress::ProgressRow::TABLE,
];

/// Gives a handler the roster cache of its node.
fn with_rosters<M, F>(
    rosters: &roster::RosterCache,
    handler: fn(roster::RosterCache, RequestContext, M) -> F,
) -> impl Fn(RequestContext, M) -> F + Clone + Send + Sync + 'static
where
    M: 'static,
    F: 'static,
{
    let rosters = rosters.clone();
    move |cx, message| handler(rosters.clone(), cx, message)
}

methods! {
    with rosters = roster::RosterCache::default();

    // Facts about any date of the placement are accepted, also after its end.
    returns_service::SUBMIT_ATTENDANCE => unary(with_rosters(&rosters, submit::submit_attendance)) {
        Changes, callers: PROVIDERS, access: [Provider: Always]
    }
    returns_service::STREAM_ATTENDANCE => part_stream(
        parts::classify_message, parts::open_stream, with_rosters(&rosters, parts::submit_part)
    ) {
        Changes, callers: PROVIDERS, access: [Provider: Always]
    }
    returns_service::VOID_RETURN => unary(void::void_return) {
        Changes, callers: PROVIDERS, access: [Provider: Always]
    }
    // The commissioner and the school keep the statutory register. While the placement is live they need no
    // agreement; after its end they do.
    returns_service::CONFIRM_MARKS => unary(confirm::confirm_marks) {
        Changes, callers: COMMISSIONERS, access: [Commissioner: LiveOrAgreed, SchoolOnRoll: LiveOrAgreed]
    }
    returns_service::NOTIFY_EXPECTED_ABSENCE => unary(absence::notify_expected_absence) {
        Changes, callers: COMMISSIONERS, access: [Commissioner: LiveOrAgreed, SchoolOnRoll: LiveOrAgreed]
    }
    returns_service::LIST_EXPECTED_RETURNS => unary(expected_returns::list_expected_returns) {
        Reads, callers: PLACEMENT_PARTIES, access: [Owner: Always]
    }
    returns_service::GET_ATTENDANCE => unary(read::get_attendance) {
        Reads, callers: PLACEMENT_PARTIES, access: [Commissioner: Always, SchoolOnRoll: Always, Residence: Always, Provider: WhileLive]
    }
    // Each placement is read under the policy of GetAttendance.
    returns_service::LIST_ATTENDANCE => unary(list::list_attendance) {
        Reads, callers: PLACEMENT_PARTIES, access: [Owner: Always]
    }
    returns_service::SUBMIT_PROGRESS => unary(progress::submit_progress) {
        Changes, callers: PROVIDERS, access: [Provider: Always]
    }
    // Fewer organisations read progress than the placement: the authority of residence does not.
    returns_service::GET_PROGRESS => unary(progress::get_progress) {
        Reads, callers: PLACEMENT_PARTIES, access: [Commissioner: Always, SchoolOnRoll: Always, Provider: WhileLive]
    }
}

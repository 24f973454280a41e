//! Messages of `PlacementService` as values of the domain: every fault of a message at once, by its path.
//!
//! Owns the shape of what is sent and nothing else: it looks nothing up, and it must never repair a value
//! (texts are composed to NFC, as everywhere). The values hold what names a child, so none has a `Debug`.

mod plan;
mod referral;

use uuid::Uuid;

pub(super) use plan::put_plan;
pub(super) use referral::{NamedChild, Referral, create_referral};

use super::rules::distinct;
use crate::calendar::Date;
use crate::codes::organisation::OrganisationId;
use crate::exchange::Refusal;
use crate::exchange::check::{Check, LINE, LIST, NOTE, TextRule};
use crate::proto::v1::respond_to_referral_request::Answer as SentAnswer;
use crate::proto::v1::{
    DecidePlacementRequest, Decision, DeclineReason, EndPlacementRequest, EndReason, GetPlacementRequest,
    ListPlacementsRequest, MissingItem, Officer, PlacementState, RespondToReferralRequest,
    StartPlacementRequest, UpdatePartiesRequest,
};

/// Code points of what must be known for safety, and of a summary of needs.
const LONG: usize = 10_000;
/// Which placement, in which version.
pub(super) struct Target {
    /// The placement.
    pub placement: Uuid,
    /// The version that was read, as it was sent.
    pub etag: String,
}

/// A provider's answer to a referral.
pub(super) enum Answer {
    /// Accepts, under this reference of its own.
    Accept(String),
    /// Declines.
    Decline(DeclineReason, String),
}

/// A start.
pub(super) struct Start {
    /// What is started.
    pub target: Target,
    /// First day.
    pub date: Date,
    /// Who passes what is missing.
    pub officer: Option<Officer>,
    /// What is missing and passed.
    pub missing: Vec<MissingItem>,
    /// Why it is passed.
    pub reason: String,
}

/// An end, or a change of one that is recorded.
pub(super) struct End {
    /// What is ended.
    pub target: Target,
    /// Last day; none where the recorded end is withdrawn.
    pub date: Option<Date>,
    /// Why the recorded end is corrected or withdrawn; empty where the placement ends now.
    pub correction_reason: String,
    /// Why, where it was said.
    pub reason: EndReason,
    /// Where the child goes.
    pub destination: String,
    /// Note.
    pub note: String,
}

/// A change of parties.
pub(super) struct PartiesUpdate {
    /// The placement.
    pub target: Target,
    /// Schools on roll from the day on.
    pub schools: Vec<OrganisationId>,
    /// LA of residence from the day on.
    pub residence: OrganisationId,
    /// First day.
    pub from: Date,
    /// Why.
    pub reason: String,
}

/// A query over the caller's placements.
pub(super) struct Query {
    /// Most placements in the answer.
    pub size: u32,
    /// Only in this state.
    pub state: Option<PlacementState>,
    /// Only of this provider.
    pub provider: Option<OrganisationId>,
    /// Only of this commissioner.
    pub commissioner: Option<OrganisationId>,
    /// Only those active on this day.
    pub active_on: Option<Date>,
}

pub(super) fn respond(m: &RespondToReferralRequest) -> Result<(Target, Answer), Refusal> {
    let mut check = Check::new();
    check.request_id(&m.request_id);
    let target = target(&mut check, &m.placement_id, &m.etag);
    let answer = match &m.answer {
        Some(SentAnswer::Accept(accept)) => {
            let mut check = check.at("accept");
            let rule = TextRule::line(40).required();
            check.text("provider_reference", &accept.provider_reference, rule).map(Answer::Accept)
        }
        Some(SentAnswer::Decline(decline)) => {
            let mut check = check.at("decline");
            let note = check.text("note", &decline.note, TextRule::notes(NOTE)).unwrap_or_default();
            let reason = check.enum_value::<DeclineReason>("reason", decline.reason);
            reason.map(|reason| Answer::Decline(reason, note))
        }
        None => {
            check.fault("answer", "FIELD_REQUIRED");
            None
        }
    };
    finish(check, target.zip(answer))
}

pub(super) fn decide(m: &DecidePlacementRequest, today: Date) -> Result<(Target, Decision), Refusal> {
    let mut check = Check::new();
    check.request_id(&m.request_id);
    let target = target(&mut check, &m.placement_id, &m.etag);
    let decision = check.present("decision", m.decision.as_ref());
    let decision = decision.map(|sent| decision_of(&mut check.at("decision"), sent, today));
    finish(check, target.zip(decision))
}

fn decision_of(check: &mut Check, sent: &Decision, today: Date) -> Decision {
    let decided_on = check.date("decided_on", &sent.decided_on);
    if decided_on.is_some_and(|date| date > today) {
        check.fault("decided_on", "DATE_IN_FUTURE");
    }
    Decision {
        approved: sent.approved,
        rationale: check.words("rationale", &sent.rationale, TextRule::notes(NOTE).required()),
        decided_by: check.person("decided_by", sent.decided_by.as_ref()),
        decided_on: sent.decided_on.clone(),
        child_view: check.view("child_view", sent.child_view.as_ref()),
        parent_view: check.view("parent_view", sent.parent_view.as_ref()),
        options_considered: check.each("options_considered", &sent.options_considered, |check, sent| {
            check.words("", sent, TextRule::notes(NOTE).required())
        }),
    }
}

pub(super) fn start(m: &StartPlacementRequest) -> Result<Start, Refusal> {
    let mut check = Check::new();
    check.request_id(&m.request_id);
    let target = target(&mut check, &m.placement_id, &m.etag);
    let date = check.date("start_date", &m.start_date);
    let mut missing = Vec::new();
    if check.list_len("missing_items", m.missing_items.len(), LIST) {
        for (at, item) in m.missing_items.iter().enumerate() {
            missing.extend(check.at("missing_items").index(at).enum_value::<MissingItem>("", *item));
        }
    }
    // Passing something takes a name and a reason; a start that lacks nothing needs neither.
    let passes = !m.missing_items.is_empty();
    let officer = match &m.officer {
        None if !passes => None,
        sent => check.person("officer", sent.as_ref()),
    };
    let rule = TextRule::notes(NOTE);
    let reason = check.words("reason", &m.reason, if passes { rule.required() } else { rule });
    let start = target.zip(date).map(|(target, date)| Start { target, date, officer, missing, reason });
    finish(check, start)
}

pub(super) fn end(m: &EndPlacementRequest) -> Result<End, Refusal> {
    let mut check = Check::new();
    check.request_id(&m.request_id);
    let target = target(&mut check, &m.placement_id, &m.etag);
    let date = if m.withdrawn { None } else { check.date("end_date", &m.end_date) };
    let reason = check.optional_enum("reason", m.reason).unwrap_or(EndReason::Unspecified);
    let destination = check.words("destination", &m.destination, TextRule::line(LINE));
    let note = check.words("note", &m.note, TextRule::notes(NOTE));
    let correction_reason = check.words("correction_reason", &m.correction_reason, TextRule::notes(NOTE));
    if m.withdrawn {
        if m.correction_reason.is_empty() {
            check.fault("correction_reason", "CORRECTION_REASON_REQUIRED");
        }
        let said = [
            ("end_date", !m.end_date.is_empty()),
            ("reason", m.reason != 0),
            ("destination", !m.destination.is_empty()),
            ("note", !m.note.is_empty()),
        ];
        for (field, _) in said.into_iter().filter(|(_, said)| *said) {
            check.fault(field, "FIELD_NOT_EXPECTED");
        }
    }
    let end = target.map(|target| End { target, date, correction_reason, reason, destination, note });
    finish(check, end)
}

pub(super) fn update_parties(m: &UpdatePartiesRequest, today: Date) -> Result<PartiesUpdate, Refusal> {
    let mut check = Check::new();
    check.request_id(&m.request_id);
    let target = target(&mut check, &m.placement_id, &m.etag);
    let schools = referral::schools(&mut check, &m.schools_on_roll);
    let residence = referral::residence(&mut check, &m.la_of_residence);
    let from = check.date("from_date", &m.from_date);
    if from.is_some_and(|from| from > today) {
        check.fault("from_date", "DATE_IN_FUTURE");
    }
    let reason = check.words("reason", &m.reason, TextRule::notes(NOTE).required());
    let update =
        (|| Some(PartiesUpdate { target: target?, schools, residence: residence?, from: from?, reason }))();
    finish(check, update)
}

pub(super) fn get(m: &GetPlacementRequest) -> Result<Uuid, Refusal> {
    let mut check = Check::new();
    let id = check.uuid("placement_id", &m.placement_id);
    finish(check, id)
}

pub(super) fn list(m: &ListPlacementsRequest) -> Result<Query, Refusal> {
    let mut check = Check::new();
    let size = check.page_size("page_size", m.page_size, 100, 1_000);
    let state = check.optional_enum("state", m.state);
    let provider = check.optional_organisation("provider", &m.provider);
    let commissioner = check.optional_organisation("commissioner", &m.commissioner);
    let active_on = check.optional_date("active_on", &m.active_on);
    let query = size.map(|size| Query { size, state, provider, commissioner, active_on });
    finish(check, query)
}

/// The value, unless anything was at fault.
fn finish<T>(check: Check, value: Option<T>) -> Result<T, Refusal> {
    check.finish()?;
    // A reader gives nothing only where it recorded a fault.
    value.ok_or_else(|| crate::exchange::Reason::Malformed.into())
}

fn target(check: &mut Check, placement: &str, etag: &str) -> Option<Target> {
    let placement = check.uuid("placement_id", placement);
    let etag = check.required("etag", etag);
    placement.zip(etag).map(|(placement, etag)| Target { placement, etag: etag.to_owned() })
}

/// A list of dates, none of them twice.
fn dates(check: &mut Check, field: &'static str, sent: &[String], max: usize) -> Vec<Date> {
    let mut dates = Vec::new();
    if check.list_len(field, sent.len(), max) {
        for (at, sent) in sent.iter().enumerate() {
            dates.extend(check.at(field).index(at).date("", sent));
        }
    }
    if !distinct(dates.iter().copied()) {
        check.fault(field, "CONFLICT_IN_BATCH");
    }
    dates
}

#[cfg(test)]
mod tests;

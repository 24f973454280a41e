//! Parsers of `PlacementService` requests: each returns a value of the domain, or every fault of the message at once,
//! by its path.
//!
//! They check only the message itself: they read no data, and must never repair a value (except that texts are composed
//! to NFC, as everywhere). The values hold what names a child, so none of them implements `Debug`.

mod plan;
mod referral;

use uuid::Uuid;

pub(super) use plan::put_plan;
pub(super) use referral::{NamedChild, Referral, create_referral};

use super::rules::all_distinct;
use crate::calendar::Date;
use crate::codes::organisation::OrganisationId;
use crate::exchange::Refusal;
use crate::exchange::check::{Check, MAX_LINE_CHARS, MAX_LIST_ITEMS, MAX_NOTE_CHARS, TextRule};
use crate::proto::v1::respond_to_referral_request::Answer as SentAnswer;
use crate::proto::v1::{
    DecidePlacementRequest, Decision, DeclineReason, EndPlacementRequest, EndReason, GetPlacementRequest,
    ListPlacementsRequest, MissingItem, Officer, PlacementState, RespondToReferralRequest,
    StartPlacementRequest, UpdatePartiesRequest,
};
use crate::violation_reason::ViolationReason;

/// Maximum number of code points of the safety information and of the summary of needs.
const MAX_LONG_TEXT_CHARS: usize = 10_000;
/// The placement and version to which a request applies.
pub(super) struct PlacementVersion {
    /// The placement.
    pub placement: Uuid,
    /// The etag in the request, not parsed.
    pub etag: String,
}

/// A provider's response to a referral.
pub(super) enum ReferralResponse {
    /// Acceptance, with the provider's reference.
    Accept(String),
    /// Declination, with reason and note.
    Decline(DeclineReason, String),
}

/// A request to start a placement.
pub(super) struct ParsedStart {
    /// The placement.
    pub target: PlacementVersion,
    /// First day.
    pub date: Date,
    /// The officer who waives the missing items.
    pub officer: Option<Officer>,
    /// The waived items.
    pub missing: Vec<MissingItem>,
    /// Reason of the waiver.
    pub reason: String,
}

/// A request to end a placement, or to correct or withdraw its recorded end.
pub(super) struct ParsedEnd {
    /// The placement.
    pub target: PlacementVersion,
    /// Last day; `None` if the recorded end is withdrawn.
    pub date: Option<Date>,
    /// Reason of the correction or withdrawal; empty if the placement ends now.
    pub correction_reason: String,
    /// Reason of the end; `Unspecified` if the request has none.
    pub reason: EndReason,
    /// Destination of the child.
    pub destination: String,
    /// Note.
    pub note: String,
}

/// A change of parties.
pub(super) struct PartiesUpdate {
    /// The placement.
    pub target: PlacementVersion,
    /// Schools on roll from the day on.
    pub schools: Vec<OrganisationId>,
    /// LA of residence from the day on.
    pub residence: OrganisationId,
    /// First day of the change.
    pub from: Date,
    /// Reason of the change.
    pub reason: String,
}

/// A query over the caller's placements. Each filter is off if it is `None`.
pub(super) struct ListQuery {
    /// Maximum number of placements in the response.
    pub size: u32,
    /// State.
    pub state: Option<PlacementState>,
    /// Provider.
    pub provider: Option<OrganisationId>,
    /// Commissioner.
    pub commissioner: Option<OrganisationId>,
    /// A day on which the placement was active.
    pub active_on: Option<Date>,
    /// First of the days on one of which the placement was active.
    pub from: Option<Date>,
    /// Last of these days.
    pub to: Option<Date>,
}

pub(super) fn respond(m: &RespondToReferralRequest) -> Result<(PlacementVersion, ReferralResponse), Refusal> {
    let mut check = Check::new();
    check.request_id(&m.request_id);
    let target = target(&mut check, &m.placement_id, &m.etag);
    let answer = match &m.answer {
        Some(SentAnswer::Accept(accept)) => {
            let mut check = check.enter("accept");
            let rule = TextRule::line(40).required();
            check.text("provider_reference", &accept.provider_reference, rule).map(ReferralResponse::Accept)
        }
        Some(SentAnswer::Decline(decline)) => {
            let mut check = check.enter("decline");
            let note = check.text("note", &decline.note, TextRule::notes(MAX_NOTE_CHARS)).unwrap_or_default();
            let reason = check.enum_value::<DeclineReason>("reason", decline.reason);
            reason.map(|reason| ReferralResponse::Decline(reason, note))
        }
        None => {
            check.add_violation("answer", ViolationReason::FieldRequired);
            None
        }
    };
    finish(check, target.zip(answer))
}

pub(super) fn decide(
    m: &DecidePlacementRequest,
    today: Date,
) -> Result<(PlacementVersion, Decision), Refusal> {
    let mut check = Check::new();
    check.request_id(&m.request_id);
    let target = target(&mut check, &m.placement_id, &m.etag);
    let decision = check.present("decision", m.decision.as_ref());
    let decision = decision.map(|sent| parse_decision_fields(&mut check.enter("decision"), sent, today));
    finish(check, target.zip(decision))
}

fn parse_decision_fields(check: &mut Check, sent: &Decision, today: Date) -> Decision {
    let decided_on = check.date("decided_on", &sent.decided_on);
    if decided_on.is_some_and(|date| date > today) {
        check.add_violation("decided_on", ViolationReason::DateInFuture);
    }
    Decision {
        approved: sent.approved,
        rationale: check.text_or_empty(
            "rationale",
            &sent.rationale,
            TextRule::notes(MAX_NOTE_CHARS).required(),
        ),
        decided_by: check.officer("decided_by", sent.decided_by.as_ref()),
        decided_on: sent.decided_on.clone(),
        child_view: check.view("child_view", sent.child_view.as_ref()),
        parent_view: check.view("parent_view", sent.parent_view.as_ref()),
        options_considered: check.read_list("options_considered", &sent.options_considered, |check, sent| {
            check.text_or_empty("", sent, TextRule::notes(MAX_NOTE_CHARS).required())
        }),
    }
}

pub(super) fn start(m: &StartPlacementRequest) -> Result<ParsedStart, Refusal> {
    let mut check = Check::new();
    check.request_id(&m.request_id);
    let target = target(&mut check, &m.placement_id, &m.etag);
    let date = check.date("start_date", &m.start_date);
    let mut missing = Vec::new();
    if check.list_len("missing_items", m.missing_items.len(), MAX_LIST_ITEMS) {
        for (at, item) in m.missing_items.iter().enumerate() {
            missing.extend(check.enter("missing_items").index(at).enum_value::<MissingItem>("", *item));
        }
    }
    // A waiver needs a name and a reason; a start without one needs neither.
    let passes = !m.missing_items.is_empty();
    let officer = match &m.officer {
        None if !passes => None,
        sent => check.officer("officer", sent.as_ref()),
    };
    let rule = TextRule::notes(MAX_NOTE_CHARS);
    let reason = check.text_or_empty("reason", &m.reason, if passes { rule.required() } else { rule });
    let start = target.zip(date).map(|(target, date)| ParsedStart { target, date, officer, missing, reason });
    finish(check, start)
}

pub(super) fn end(m: &EndPlacementRequest) -> Result<ParsedEnd, Refusal> {
    let mut check = Check::new();
    check.request_id(&m.request_id);
    let target = target(&mut check, &m.placement_id, &m.etag);
    let date = if m.withdrawn { None } else { check.date("end_date", &m.end_date) };
    let reason = check.optional_enum("reason", m.reason).unwrap_or(EndReason::Unspecified);
    let destination = check.text_or_empty("destination", &m.destination, TextRule::line(MAX_LINE_CHARS));
    let note = check.text_or_empty("note", &m.note, TextRule::notes(MAX_NOTE_CHARS));
    let correction_reason =
        check.text_or_empty("correction_reason", &m.correction_reason, TextRule::notes(MAX_NOTE_CHARS));
    if m.withdrawn {
        if m.correction_reason.is_empty() {
            check.add_violation("correction_reason", ViolationReason::CorrectionReasonRequired);
        }
        let given = [
            ("end_date", !m.end_date.is_empty()),
            ("reason", m.reason != 0),
            ("destination", !m.destination.is_empty()),
            ("note", !m.note.is_empty()),
        ];
        for (field, _) in given.into_iter().filter(|(_, is_given)| *is_given) {
            check.add_violation(field, ViolationReason::FieldNotExpected);
        }
    }
    let end = target.map(|target| ParsedEnd { target, date, correction_reason, reason, destination, note });
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
        check.add_violation("from_date", ViolationReason::DateInFuture);
    }
    let reason = check.text_or_empty("reason", &m.reason, TextRule::notes(MAX_NOTE_CHARS).required());
    let update =
        (|| Some(PartiesUpdate { target: target?, schools, residence: residence?, from: from?, reason }))();
    finish(check, update)
}

pub(super) fn get(m: &GetPlacementRequest) -> Result<Uuid, Refusal> {
    let mut check = Check::new();
    let id = check.uuid("placement_id", &m.placement_id);
    finish(check, id)
}

pub(super) fn list(m: &ListPlacementsRequest) -> Result<ListQuery, Refusal> {
    let mut check = Check::new();
    let size = check.page_size("page_size", m.page_size, 100, 1_000);
    let state = check.optional_enum("state", m.state);
    let provider = check.optional_organisation("provider", &m.provider);
    let commissioner = check.optional_organisation("commissioner", &m.commissioner);
    let active_on = check.optional_date("active_on", &m.active_on);
    let (from, to) = check.optional_days("from_date", &m.from_date, "to_date", &m.to_date);
    let query = size.map(|size| ListQuery { size, state, provider, commissioner, active_on, from, to });
    finish(check, query)
}

/// Returns the value, or the refusal with all recorded faults.
fn finish<T>(check: Check, value: Option<T>) -> Result<T, Refusal> {
    check.finish()?;
    // The value is `None` only if a fault was recorded.
    value.ok_or_else(|| crate::exchange::Reason::Malformed.into())
}

fn target(check: &mut Check, placement: &str, etag: &str) -> Option<PlacementVersion> {
    let placement = check.uuid("placement_id", placement);
    let etag = check.required("etag", etag);
    placement.zip(etag).map(|(placement, etag)| PlacementVersion { placement, etag: etag.to_owned() })
}

/// Reads a list of distinct dates.
fn dates(check: &mut Check, field: &'static str, sent: &[String], max: usize) -> Vec<Date> {
    let mut dates = Vec::new();
    if check.list_len(field, sent.len(), max) {
        for (at, sent) in sent.iter().enumerate() {
            dates.extend(check.enter(field).index(at).date("", sent));
        }
    }
    if !all_distinct(dates.iter().copied()) {
        check.add_violation(field, ViolationReason::ConflictInBatch);
    }
    dates
}

#[cfg(test)]
mod tests;

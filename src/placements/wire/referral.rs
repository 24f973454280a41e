//! Parser of `CreateReferral` requests: child, provider, parties, legal basis and safety information.

use uuid::Uuid;

use super::{MAX_LONG_TEXT_CHARS, finish};
use crate::calendar::Date;
use crate::codes::Upn;
use crate::codes::organisation::{OrganisationId, OrganisationKind};
use crate::exchange::Refusal;
use crate::exchange::check::{Check, MAX_LINE_CHARS, TextRule};
use crate::placements::rules::all_distinct;
use crate::proto::v1::{ChildIdentity, CreateReferralRequest, LegalBasis, PlacementDetail, PlacementReason};
use crate::violation_reason::ViolationReason;

/// Maximum number of schools on whose roll a child can be: dual registration, and a school that the child is leaving.
const MAX_SCHOOLS_ON_ROLL: usize = 5;

/// A referral.
pub(in crate::placements) struct Referral {
    /// The provider that is asked to take the child.
    pub provider: OrganisationId,
    /// The child.
    pub child: NamedChild,
    /// Schools on roll.
    pub schools: Vec<OrganisationId>,
    /// LA of residence.
    pub residence: OrganisationId,
    /// The statutory duty or power.
    pub legal_basis: LegalBasis,
    /// Reason of the referral.
    pub reason: PlacementReason,
    /// Id of the data sharing agreement.
    pub agreement: Uuid,
    /// All other fields.
    pub detail: PlacementDetail,
}

/// The child of a referral.
pub(in crate::placements) struct NamedChild {
    /// Id, for a child that the caller has referred before.
    pub id: Option<Uuid>,
    /// Pupil number.
    pub upn: Option<Upn>,
    /// Identity; its `child_id` is empty.
    pub identity: ChildIdentity,
}

pub(in crate::placements) fn create_referral(
    m: &CreateReferralRequest,
    today: Date,
) -> Result<Referral, Refusal> {
    let mut check = Check::new();
    check.request_id(&m.request_id);
    let provider = check.organisation("provider", &m.provider);
    let child = check.present("child", m.child.as_ref());
    let child = child.map(|sent| parse_child(&mut check.enter("child"), sent, today));
    let schools = schools(&mut check, &m.schools_on_roll);
    let residence = residence(&mut check, &m.la_of_residence);
    let legal_basis = check.enum_value::<LegalBasis>("legal_basis", m.legal_basis);
    let reason = check.enum_value::<PlacementReason>("reason", m.reason);
    let agreement = check.uuid("agreement_id", &m.agreement_id);
    let detail = detail(&mut check, m);
    let referral = (|| {
        Some(Referral {
            provider: provider?,
            child: child?,
            schools,
            residence: residence?,
            legal_basis: legal_basis?,
            reason: reason?,
            agreement: agreement?,
            detail,
        })
    })();
    finish(check, referral)
}

fn detail(check: &mut Check, m: &CreateReferralRequest) -> PlacementDetail {
    check.optional_date("requested_start", &m.requested_start);
    if m.sessions_per_week != 0 {
        check.int_range("sessions_per_week", m.sessions_per_week, 1..=10);
    }
    PlacementDetail {
        safety: check.text_or_empty("safety", &m.safety, TextRule::notes(MAX_LONG_TEXT_CHARS).required()),
        needs: check.text_or_empty("needs", &m.needs, TextRule::notes(MAX_LONG_TEXT_CHARS)),
        referred_by: check.officer("officer", m.officer.as_ref()),
        requested_start: m.requested_start.clone(),
        sessions_per_week: m.sessions_per_week,
        ..PlacementDetail::default()
    }
}

pub(super) fn residence(check: &mut Check, sent: &str) -> Option<OrganisationId> {
    let residence = check.organisation("la_of_residence", sent);
    if residence.as_ref().is_some_and(|id| id.kind() != OrganisationKind::La) {
        check.add_violation("la_of_residence", ViolationReason::OrganisationFormat);
    }
    residence
}

pub(super) fn schools(check: &mut Check, sent: &[String]) -> Vec<OrganisationId> {
    let mut schools = Vec::new();
    if check.list_len("schools_on_roll", sent.len(), MAX_SCHOOLS_ON_ROLL) {
        for (at, sent) in sent.iter().enumerate() {
            let mut check = check.enter("schools_on_roll").index(at);
            match check.organisation("", sent) {
                Some(school) if school.kind() == OrganisationKind::School => schools.push(school),
                Some(_) => check.add_violation("", ViolationReason::OrganisationFormat),
                None => {}
            }
        }
    }
    if !all_distinct(&schools) {
        check.add_violation("schools_on_roll", ViolationReason::ConflictInBatch);
    }
    schools
}

/// Reads the child. A child named by id needs no name; the fields that are sent are later compared with the record.
fn parse_child(check: &mut Check, sent: &ChildIdentity, today: Date) -> NamedChild {
    let id = check.optional_uuid("child_id", &sent.child_id);
    let known = !sent.child_id.is_empty();
    let name = TextRule::legal_name(MAX_LINE_CHARS);
    let legal = if known { name } else { name.required() };
    if !(known && sent.date_of_birth.is_empty()) {
        check.date_of_birth("date_of_birth", &sent.date_of_birth, today);
    }
    if !matches!(sent.sex.as_str(), "" | "M" | "F" | "U") {
        check.add_violation("sex", ViolationReason::EnumUnknown);
    }
    if sent.year_group != 0 {
        check.int_range("year_group", sent.year_group, 1..=14);
    }
    let upn = check.optional_upn("upn", &sent.upn);
    let identity = ChildIdentity {
        child_id: String::new(),
        legal_surname: check.text_or_empty("legal_surname", &sent.legal_surname, legal),
        legal_forename: check.text_or_empty("legal_forename", &sent.legal_forename, legal),
        preferred_surname: check.text_or_empty("preferred_surname", &sent.preferred_surname, name),
        preferred_forename: check.text_or_empty("preferred_forename", &sent.preferred_forename, name),
        date_of_birth: sent.date_of_birth.clone(),
        sex: sent.sex.clone(),
        upn: sent.upn.clone(),
        year_group: sent.year_group,
        local_reference: check.text_or_empty(
            "local_reference",
            &sent.local_reference,
            TextRule::line(MAX_LINE_CHARS),
        ),
    };
    NamedChild { id, upn, identity }
}

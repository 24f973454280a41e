//! A referral as it is sent: who, to whom, on what authority, and what must be known for safety.

use uuid::Uuid;

use super::{LONG, finish};
use crate::calendar::Date;
use crate::codes::Upn;
use crate::codes::organisation::{OrganisationId, OrganisationKind};
use crate::exchange::Refusal;
use crate::exchange::check::{Check, LINE, TextRule};
use crate::placements::rules::distinct;
use crate::proto::v1::{ChildIdentity, CreateReferralRequest, LegalBasis, PlacementDetail, PlacementReason};

/// Most schools on whose roll a child can be: dual registration, and one that is being left.
const SCHOOLS: usize = 5;

/// A referral.
pub(in crate::placements) struct Referral {
    /// To whom.
    pub provider: OrganisationId,
    /// Whom.
    pub child: NamedChild,
    /// Schools on roll.
    pub schools: Vec<OrganisationId>,
    /// LA of residence.
    pub residence: OrganisationId,
    /// The duty.
    pub legal_basis: LegalBasis,
    /// Why.
    pub reason: PlacementReason,
    /// The sharing agreement.
    pub agreement: Uuid,
    /// What else was said.
    pub detail: PlacementDetail,
}

/// A child as a referral names it.
pub(in crate::placements) struct NamedChild {
    /// A child that the caller has referred before.
    pub id: Option<Uuid>,
    /// The pupil number.
    pub upn: Option<Upn>,
    /// Who it is; its `child_id` is empty.
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
    let child = child.map(|sent| named(&mut check.at("child"), sent, today));
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
        safety: check.words("safety", &m.safety, TextRule::notes(LONG).required()),
        needs: check.words("needs", &m.needs, TextRule::notes(LONG)),
        referred_by: check.person("officer", m.officer.as_ref()),
        requested_start: m.requested_start.clone(),
        sessions_per_week: m.sessions_per_week,
        ..PlacementDetail::default()
    }
}

pub(super) fn residence(check: &mut Check, sent: &str) -> Option<OrganisationId> {
    let residence = check.organisation("la_of_residence", sent);
    if residence.as_ref().is_some_and(|id| id.kind() != OrganisationKind::La) {
        check.fault("la_of_residence", "ORGANISATION_FORMAT");
    }
    residence
}

pub(super) fn schools(check: &mut Check, sent: &[String]) -> Vec<OrganisationId> {
    let mut schools = Vec::new();
    if check.list_len("schools_on_roll", sent.len(), SCHOOLS) {
        for (at, sent) in sent.iter().enumerate() {
            let mut check = check.at("schools_on_roll").index(at);
            match check.organisation("", sent) {
                Some(school) if school.kind() == OrganisationKind::School => schools.push(school),
                Some(_) => check.fault("", "ORGANISATION_FORMAT"),
                None => {}
            }
        }
    }
    if !distinct(&schools) {
        check.fault("schools_on_roll", "CONFLICT_IN_BATCH");
    }
    schools
}

/// A child known by id needs no name; what is sent of it is compared with what is known.
fn named(check: &mut Check, sent: &ChildIdentity, today: Date) -> NamedChild {
    let id = check.optional_uuid("child_id", &sent.child_id);
    let known = !sent.child_id.is_empty();
    let name = TextRule::legal_name(LINE);
    let legal = if known { name } else { name.required() };
    if !(known && sent.date_of_birth.is_empty()) {
        check.date_of_birth("date_of_birth", &sent.date_of_birth, today);
    }
    if !matches!(sent.sex.as_str(), "" | "M" | "F" | "U") {
        check.fault("sex", "ENUM_UNKNOWN");
    }
    if sent.year_group != 0 {
        check.int_range("year_group", sent.year_group, 1..=14);
    }
    let upn = check.optional_upn("upn", &sent.upn);
    let identity = ChildIdentity {
        child_id: String::new(),
        legal_surname: check.words("legal_surname", &sent.legal_surname, legal),
        legal_forename: check.words("legal_forename", &sent.legal_forename, legal),
        preferred_surname: check.words("preferred_surname", &sent.preferred_surname, name),
        preferred_forename: check.words("preferred_forename", &sent.preferred_forename, name),
        date_of_birth: sent.date_of_birth.clone(),
        sex: sent.sex.clone(),
        upn: sent.upn.clone(),
        year_group: sent.year_group,
        local_reference: check.words("local_reference", &sent.local_reference, TextRule::line(LINE)),
    };
    NamedChild { id, upn, identity }
}

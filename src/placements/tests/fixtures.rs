//! Requests of a well-behaved client, and the organisations that send them.

use std::sync::atomic::{AtomicU64, Ordering};

use super::test_gateway::AGREEMENT;
use crate::proto::v1::respond_to_referral_request::Answer;
use crate::proto::v1::{
    Acceptance, ChildIdentity, CreateReferralRequest, DecidePlacementRequest, Decision, EndPlacementRequest,
    MissingItem, Officer, Plan, PutPlanRequest, RespondToReferralRequest, StartPlacementRequest,
};

pub const LA: &str = "la/330";
pub const RESIDENCE: &str = "la/331";
pub const SCHOOL: &str = "school/123456";
pub const OAKFIELD: &str = "school/123457";
pub const RIVERSIDE: &str = "provider/riverside";
pub const STRANGER: &str = "provider/brightwater";

/// Returns a new id on each call.
pub fn id() -> String {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    uuid::Uuid::from_u128(NEXT.fetch_add(1, Ordering::Relaxed).into()).to_string()
}

pub fn officer() -> Officer {
    Officer { name: "Ada Officer".to_owned(), role: "AP commissioner".to_owned(), ..Officer::default() }
}

pub fn a_child(upn: &str) -> ChildIdentity {
    ChildIdentity {
        legal_surname: "Canary".to_owned(),
        legal_forename: "Zoë".to_owned(),
        date_of_birth: "2012-02-29".to_owned(),
        upn: upn.to_owned(),
        ..ChildIdentity::default()
    }
}

pub fn a_referral(child: ChildIdentity) -> CreateReferralRequest {
    CreateReferralRequest {
        request_id: id(),
        provider: RIVERSIDE.to_owned(),
        child: Some(child),
        schools_on_roll: vec![SCHOOL.to_owned()],
        la_of_residence: RESIDENCE.to_owned(),
        legal_basis: 1,
        reason: 3,
        agreement_id: AGREEMENT.to_string(),
        safety: "none known".to_owned(),
        officer: Some(officer()),
        ..CreateReferralRequest::default()
    }
}

pub fn accept(placement: &str, etag: &str, reference: &str) -> RespondToReferralRequest {
    RespondToReferralRequest {
        request_id: id(),
        placement_id: placement.to_owned(),
        etag: etag.to_owned(),
        answer: Some(Answer::Accept(Acceptance { provider_reference: reference.to_owned() })),
        ..RespondToReferralRequest::default()
    }
}

pub fn approve(placement: &str, etag: &str) -> DecidePlacementRequest {
    DecidePlacementRequest {
        request_id: id(),
        placement_id: placement.to_owned(),
        etag: etag.to_owned(),
        decision: Some(Decision {
            approved: true,
            rationale: "small group".to_owned(),
            decided_by: Some(officer()),
            decided_on: "2026-11-20".to_owned(),
            ..Decision::default()
        }),
        ..DecidePlacementRequest::default()
    }
}

pub fn plan(placement: &str, etag: &str, end: &str) -> PutPlanRequest {
    PutPlanRequest {
        request_id: id(),
        placement_id: placement.to_owned(),
        etag: etag.to_owned(),
        plan: Some(Plan {
            start_date: "2026-09-01".to_owned(),
            planned_end_date: end.to_owned(),
            ..Plan::default()
        }),
        ..PutPlanRequest::default()
    }
}

pub fn start(placement: &str, etag: &str) -> StartPlacementRequest {
    StartPlacementRequest {
        request_id: id(),
        placement_id: placement.to_owned(),
        etag: etag.to_owned(),
        start_date: "2026-09-01".to_owned(),
        officer: Some(officer()),
        missing_items: vec![MissingItem::SafetyAcknowledgement as i32],
        reason: "the passport is still being written".to_owned(),
        ..StartPlacementRequest::default()
    }
}

pub fn end(placement: &str, etag: &str, date: &str) -> EndPlacementRequest {
    EndPlacementRequest {
        request_id: id(),
        placement_id: placement.to_owned(),
        etag: etag.to_owned(),
        end_date: date.to_owned(),
        ..EndPlacementRequest::default()
    }
}

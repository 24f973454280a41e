//! Tests of the checks of passport requests.

use super::*;
use crate::passports::need_to_know::ReadingRight;
use crate::proto::v1::passport_block::Content;
use crate::proto::v1::{
    Contact, PassportEmergency, PassportIdentity, PassportLearning, PassportMedical, PassportMeta,
    PassportNeeds, PassportRegulation, PassportSafeguarding, PassportSafety, PassportTeam, PassportVoice,
    PlanQualification, RoleCode, SpecialNeed,
};

/// Checks a version that a system sends.
fn check_put(m: &PutPassportRequest) -> Result<CheckedPut, Refusal> {
    super::check_put(m, &Reader::system(ReadingRight::Sender))
}

const ID: &str = "0b6c7c4e-53a1-4d0b-9d0e-0c7a1f6b2a11";

fn faults<T>(result: Result<T, Refusal>) -> Vec<String> {
    let refusal = result.err().unwrap();
    assert_eq!(refusal.reason, Reason::Invalid);
    for fault in &refusal.violations {
        assert!(!fault.text().to_lowercase().contains("canary"));
    }
    refusal.violations.iter().map(|fault| format!("{} {}", fault.field, fault.reason)).collect()
}

fn put_request(contents: Vec<Content>) -> PutPassportRequest {
    let block = |content| PassportBlock { content: Some(content), ..PassportBlock::default() };
    PutPassportRequest {
        request_id: ID.to_owned(),
        placement_id: ID.to_owned(),
        blocks: contents.into_iter().map(block).collect(),
        ..PutPassportRequest::default()
    }
}

fn meta_content() -> Content {
    let author = Officer { name: "Ada Officer".to_owned(), ..Officer::default() };
    Content::Meta(PassportMeta { authors: vec![author], ..PassportMeta::default() })
}

#[test]
fn empty_requests_name_everything_that_they_lack() {
    assert_eq!(
        faults(check_put(&PutPassportRequest::default())),
        ["request_id FIELD_REQUIRED", "placement_id FIELD_REQUIRED", "blocks META_REQUIRED"]
    );
    assert_eq!(
        faults(check_share(&SharePassportRequest {
            agreement_id: "canary".to_owned(),
            ..Default::default()
        })),
        [
            "request_id FIELD_REQUIRED",
            "placement_id FIELD_REQUIRED",
            "etag FIELD_REQUIRED",
            "agreement_id ID_FORMAT",
        ]
    );
    assert_eq!(
        faults(check_withhold(&WithholdInformationRequest { blocks: vec![0, 1, 99], ..Default::default() })),
        [
            "request_id FIELD_REQUIRED",
            "placement_id FIELD_REQUIRED",
            "blocks[0] ENUM_REQUIRED",
            "blocks[2] ENUM_UNKNOWN",
            "reason FIELD_REQUIRED",
            "officer FIELD_REQUIRED",
        ]
    );
    let sender = "canary".to_owned();
    assert_eq!(
        faults(check_get(&GetPassportRequest { sender, ..Default::default() })),
        ["placement_id FIELD_REQUIRED", "sender ORGANISATION_FORMAT"]
    );
    assert_eq!(
        faults(check_list(&ListPassportVersionsRequest { page_size: -1, ..Default::default() })),
        ["placement_id FIELD_REQUIRED", "page_size PAGE_SIZE"]
    );
}

#[test]
fn every_fault_of_a_block_is_named_by_its_path() {
    let need = |code: &str, rank| SpecialNeed { r#type: code.to_owned(), rank };
    let mut sent = put_request(vec![
        meta_content(),
        Content::Identity(PassportIdentity { preferred_name: "C4n?ry".to_owned(), ..Default::default() }),
        Content::Needs(PassportNeeds {
            provision: "S".to_owned(),
            types: vec![need("SEMH", 0), need("NSA", 1), need("", 3)],
            ehcp_date: "29/02/2026".to_owned(),
            ..Default::default()
        }),
        Content::Emergency(PassportEmergency::default()),
        Content::Medical(PassportMedical { allergies: " ".to_owned(), ..Default::default() }),
        Content::Safety(PassportSafety { risk_level: 9, ..Default::default() }),
        Content::Learning(PassportLearning {
            reading_age_months: 35,
            courses: vec![PlanQualification::default()],
            ..Default::default()
        }),
        Content::Team(PassportTeam {
            members: vec![Contact { telephone: "canary".to_owned(), ..Default::default() }],
        }),
        Content::Safeguarding(PassportSafeguarding { no_contact: vec![String::new()], ..Default::default() }),
        Content::Meta(PassportMeta {
            valid_from: "2026-09-01".to_owned(),
            review_by: "2026-08-31".to_owned(),
            ..Default::default()
        }),
    ]);
    sent.blocks[8].sensitivity = Sensitivity::Open as i32;
    sent.blocks.push(PassportBlock::default());
    assert_eq!(
        faults(check_put(&sent)),
        [
            "blocks[1].identity.preferred_name TEXT_NOT_A_NAME",
            "blocks[2].needs.provision ENUM_UNKNOWN",
            "blocks[2].needs.types[0].rank NUMBER_RANGE",
            "blocks[2].needs.types[1].type ENUM_UNKNOWN",
            "blocks[2].needs.types[2].type FIELD_REQUIRED",
            "blocks[2].needs.types[2].rank NUMBER_RANGE",
            "blocks[2].needs.ehcp_date DATE_FORMAT",
            "blocks[3].emergency.contacts FIELD_REQUIRED",
            "blocks[4].medical.allergies FIELD_REQUIRED",
            "blocks[4].medical.medication FIELD_REQUIRED",
            "blocks[5].safety.risk_level ENUM_UNKNOWN",
            "blocks[5].safety.risk_summary FIELD_REQUIRED",
            "blocks[6].learning.reading_age_months NUMBER_RANGE",
            "blocks[6].learning.courses[0].title FIELD_REQUIRED",
            "blocks[7].team.members[0].name FIELD_REQUIRED",
            "blocks[7].team.members[0].telephone PHONE_FORMAT",
            "blocks[8].sensitivity SENSITIVITY_TOO_LOW",
            "blocks[8].safeguarding.no_contact[0] FIELD_REQUIRED",
            "blocks[9].meta.authors FIELD_REQUIRED",
            "blocks[9].meta.review_by DATE_ORDER",
            "blocks[9] CONFLICT_IN_BATCH",
            "blocks[10].content FIELD_REQUIRED",
        ]
    );
    let many = PutPassportRequest { blocks: vec![PassportBlock::default(); 14], ..put_request(vec![]) };
    assert_eq!(faults(check_put(&many)), ["blocks LIST_TOO_LONG"]);
}

/// Roles are named on a raised block only: known ones that read passports, each once.
#[test]
fn roles_are_named_on_a_raised_block_only() {
    let shared = |content, sensitivity: Sensitivity, share_with: Vec<i32>| PassportBlock {
        sensitivity: sensitivity as i32,
        share_with,
        content: Some(content),
    };
    let (raised, tutor) = (Sensitivity::Restricted, RoleCode::Tutor as i32);
    let mut sent = put_request(vec![meta_content()]);
    sent.blocks.extend([
        shared(Content::Voice(PassportVoice::default()), Sensitivity::Unspecified, vec![tutor]),
        shared(Content::Safeguarding(PassportSafeguarding::default()), raised, vec![tutor]),
        shared(Content::Regulation(PassportRegulation::default()), Sensitivity::Open, vec![0]),
        shared(
            Content::Learning(PassportLearning::default()),
            raised,
            vec![tutor, 0, 99, RoleCode::Dco as i32, RoleCode::Other as i32, tutor],
        ),
        shared(Content::Identity(PassportIdentity::default()), raised, vec![tutor; 23]),
    ]);
    assert_eq!(
        faults(check_put(&sent)),
        [
            "blocks[1].share_with SHARE_WITH_NOT_RAISED",
            "blocks[2].share_with SHARE_WITH_NOT_RAISED",
            "blocks[3].sensitivity SENSITIVITY_TOO_LOW",
            "blocks[3].share_with[0] ENUM_REQUIRED",
            "blocks[4].share_with[1] ENUM_REQUIRED",
            "blocks[4].share_with[2] ENUM_UNKNOWN",
            "blocks[4].share_with[3] ROLE_READS_NO_PASSPORT",
            "blocks[4].share_with[4] ROLE_READS_NO_PASSPORT",
            "blocks[4].share_with[5] CONFLICT_IN_BATCH",
            "blocks[5].share_with LIST_TOO_LONG",
        ]
    );
    let roles = vec![tutor, RoleCode::Senco as i32];
    let voice = shared(Content::Voice(PassportVoice::default()), raised, roles.clone());
    sent.blocks = vec![sent.blocks.remove(0), voice];
    assert_eq!(check_put(&sent).ok().unwrap().blocks[1].share_with, roles);
}

#[test]
fn a_block_that_says_nothing_of_itself_is_as_sensitive_as_its_kind() {
    let put =
        check_put(&put_request(vec![meta_content(), Content::Safeguarding(PassportSafeguarding::default())]))
            .ok()
            .unwrap();
    let found: Vec<_> = put.blocks.iter().map(PassportBlock::sensitivity).collect();
    assert_eq!(found, [Sensitivity::Open, Sensitivity::Restricted]);
}

//! Checks of the content of each kind of block.

use crate::exchange::check::{Check, MAX_LINE_CHARS, MAX_NOTE_CHARS, TextRule};
use crate::proto::v1::passport_block::Content;
use crate::proto::v1::{
    PassportCommunication, PassportEmergency, PassportHealth, PassportIdentity, PassportLearning,
    PassportMedical, PassportMeta, PassportNeeds, PassportRegulation, PassportSafeguarding, PassportSafety,
    PassportTeam, PassportVoice, RiskLevel, SpecialNeed,
};
use crate::violation_reason::ViolationReason;

const NOTES: TextRule = TextRule::notes(MAX_NOTE_CHARS);
const ONE_LINE: TextRule = TextRule::line(MAX_LINE_CHARS);
/// Codes of types of need in the school census. `NSA` is valid with SEN support only; `DS` is a late addition.
const CENSUS_NEED_TYPES: [&str; 14] =
    ["SPLD", "MLD", "SLD", "PMLD", "SEMH", "SLCN", "HI", "VI", "MSI", "PD", "ASD", "OTH", "NSA", "DS"];

/// Checks the content of a block; faults are reported under the path of its field.
pub fn check_content(check: &mut Check, sent: &Content) -> Content {
    match sent {
        Content::Identity(sent) => Content::Identity(identity(&mut check.enter("identity"), sent)),
        Content::Voice(sent) => Content::Voice(voice(&mut check.enter("voice"), sent)),
        Content::Communication(sent) => {
            Content::Communication(communication(&mut check.enter("communication"), sent))
        }
        Content::Needs(sent) => Content::Needs(needs(&mut check.enter("needs"), sent)),
        Content::Regulation(sent) => Content::Regulation(regulation(&mut check.enter("regulation"), sent)),
        Content::Emergency(sent) => Content::Emergency(emergency(&mut check.enter("emergency"), sent)),
        Content::Medical(sent) => Content::Medical(medical(&mut check.enter("medical"), sent)),
        Content::Safety(sent) => Content::Safety(safety(&mut check.enter("safety"), sent)),
        Content::Learning(sent) => Content::Learning(learning(&mut check.enter("learning"), sent)),
        Content::Team(sent) => Content::Team(team(&mut check.enter("team"), sent)),
        Content::Health(sent) => Content::Health(health(&mut check.enter("health"), sent)),
        Content::Safeguarding(sent) => {
            Content::Safeguarding(safeguarding(&mut check.enter("safeguarding"), sent))
        }
        Content::Meta(sent) => Content::Meta(meta(&mut check.enter("meta"), sent)),
    }
}

fn identity(check: &mut Check, sent: &PassportIdentity) -> PassportIdentity {
    PassportIdentity {
        preferred_name: check.text_or_empty(
            "preferred_name",
            &sent.preferred_name,
            TextRule::legal_name(MAX_LINE_CHARS),
        ),
        pronouns: check.text_or_empty("pronouns", &sent.pronouns, ONE_LINE),
    }
}

fn voice(check: &mut Check, sent: &PassportVoice) -> PassportVoice {
    PassportVoice {
        liked_about_me: check.text_or_empty("liked_about_me", &sent.liked_about_me, NOTES),
        important_to_me: check.text_or_empty("important_to_me", &sent.important_to_me, NOTES),
        support_me_by: check.text_or_empty("support_me_by", &sent.support_me_by, NOTES),
        goals: check.text_or_empty("goals", &sent.goals, NOTES),
        please_know: check.text_or_empty("please_know", &sent.please_know, NOTES),
        difficult_for_me: check.text_or_empty("difficult_for_me", &sent.difficult_for_me, NOTES),
        it_helps_if: check.text_or_empty("it_helps_if", &sent.it_helps_if, NOTES),
        i_help_myself_by: check.text_or_empty("i_help_myself_by", &sent.i_help_myself_by, NOTES),
    }
}

fn communication(check: &mut Check, sent: &PassportCommunication) -> PassportCommunication {
    PassportCommunication {
        language: check.text_or_empty("language", &sent.language, ONE_LINE),
        interpreter: check.text_or_empty("interpreter", &sent.interpreter, ONE_LINE),
        aac: check.text_or_empty("aac", &sent.aac, NOTES),
        sensory: check.text_or_empty("sensory", &sent.sensory, NOTES),
    }
}

fn needs(check: &mut Check, sent: &PassportNeeds) -> PassportNeeds {
    if !matches!(sent.provision.as_str(), "" | "E" | "K" | "N") {
        check.add_violation("provision", ViolationReason::EnumUnknown);
    }
    let support = sent.provision == "K";
    let types = check.read_list("types", &sent.types, |check, sent: &SpecialNeed| {
        let known = CENSUS_NEED_TYPES.contains(&sent.r#type.as_str()) && (sent.r#type != "NSA" || support);
        if !known {
            check.add_violation(
                "type",
                if sent.r#type.is_empty() {
                    ViolationReason::FieldRequired
                } else {
                    ViolationReason::EnumUnknown
                },
            );
        }
        check.int_range("rank", sent.rank, 1..=2);
        sent.clone()
    });
    check.optional_date("ehcp_date", &sent.ehcp_date);
    PassportNeeds {
        provision: sent.provision.clone(),
        types,
        diagnosis: check.text_or_empty("diagnosis", &sent.diagnosis, NOTES),
        ehcp_outcomes: check.text_or_empty("ehcp_outcomes", &sent.ehcp_outcomes, NOTES),
        ehcp_date: sent.ehcp_date.clone(),
        access_arrangements: check.text_or_empty("access_arrangements", &sent.access_arrangements, NOTES),
    }
}

fn regulation(check: &mut Check, sent: &PassportRegulation) -> PassportRegulation {
    PassportRegulation {
        triggers: check.text_or_empty("triggers", &sent.triggers, NOTES),
        early_signs: check.text_or_empty("early_signs", &sent.early_signs, NOTES),
        calming: check.text_or_empty("calming", &sent.calming, NOTES),
        avoid: check.text_or_empty("avoid", &sent.avoid, NOTES),
        safe_person_and_place: check.text_or_empty(
            "safe_person_and_place",
            &sent.safe_person_and_place,
            NOTES,
        ),
    }
}

fn emergency(check: &mut Check, sent: &PassportEmergency) -> PassportEmergency {
    if sent.contacts.is_empty() {
        check.add_violation("contacts", ViolationReason::FieldRequired);
    }
    PassportEmergency { contacts: check.read_list("contacts", &sent.contacts, Check::contact) }
}

fn medical(check: &mut Check, sent: &PassportMedical) -> PassportMedical {
    PassportMedical {
        allergies: check.text_or_empty("allergies", &sent.allergies, NOTES.required()),
        medication: check.text_or_empty("medication", &sent.medication, NOTES.required()),
        emergency_action: check.text_or_empty("emergency_action", &sent.emergency_action, NOTES),
        care_plan_reference: check.text_or_empty("care_plan_reference", &sent.care_plan_reference, ONE_LINE),
    }
}

fn safety(check: &mut Check, sent: &PassportSafety) -> PassportSafety {
    check.optional_enum::<RiskLevel>("risk_level", sent.risk_level);
    PassportSafety {
        risk_summary: check.text_or_empty("risk_summary", &sent.risk_summary, NOTES.required()),
        risk_level: sent.risk_level,
        may_collect: check.read_list("may_collect", &sent.may_collect, Check::contact),
    }
}

fn learning(check: &mut Check, sent: &PassportLearning) -> PassportLearning {
    if sent.reading_age_months != 0 {
        check.int_range("reading_age_months", sent.reading_age_months, 36..=240);
    }
    PassportLearning {
        prior_attainment: check.text_or_empty("prior_attainment", &sent.prior_attainment, NOTES),
        reading_age_months: sent.reading_age_months,
        courses: check.read_list("courses", &sent.courses, Check::qualification),
        interests: check.text_or_empty("interests", &sent.interests, NOTES),
    }
}

fn team(check: &mut Check, sent: &PassportTeam) -> PassportTeam {
    PassportTeam { members: check.read_list("members", &sent.members, Check::contact) }
}

fn health(check: &mut Check, sent: &PassportHealth) -> PassportHealth {
    PassportHealth {
        conditions: check.text_or_empty("conditions", &sent.conditions, NOTES),
        treatment: check.text_or_empty("treatment", &sent.treatment, NOTES),
        mental_health: check.text_or_empty("mental_health", &sent.mental_health, NOTES),
    }
}

fn safeguarding(check: &mut Check, sent: &PassportSafeguarding) -> PassportSafeguarding {
    PassportSafeguarding {
        no_contact: check.read_list("no_contact", &sent.no_contact, |check, sent| {
            check.text_or_empty("", sent, ONE_LINE.required())
        }),
        address: check.text_or_empty("address", &sent.address, NOTES),
        detail: check.text_or_empty("detail", &sent.detail, NOTES),
        youth_justice: check.text_or_empty("youth_justice", &sent.youth_justice, NOTES),
        ..sent.clone()
    }
}

fn meta(check: &mut Check, sent: &PassportMeta) -> PassportMeta {
    if sent.authors.is_empty() {
        check.add_violation("authors", ViolationReason::FieldRequired);
    }
    let authors = check.read_list("authors", &sent.authors, Check::officer_fields);
    check.optional_date("agreed_on", &sent.agreed_on);
    let from = check.optional_date("valid_from", &sent.valid_from);
    let review = check.optional_date("review_by", &sent.review_by);
    if from.zip(review).is_some_and(|(from, review)| review < from) {
        check.add_violation("review_by", ViolationReason::DateOrder);
    }
    PassportMeta { authors, ..sent.clone() }
}

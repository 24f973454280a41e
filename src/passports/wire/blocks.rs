//! The content of each kind of block as it is sent.

use crate::exchange::check::{Check, LINE, NOTE, TextRule};
use crate::proto::v1::passport_block::Content;
use crate::proto::v1::{
    PassportCommunication, PassportEmergency, PassportHealth, PassportIdentity, PassportLearning,
    PassportMedical, PassportMeta, PassportNeeds, PassportRegulation, PassportSafeguarding, PassportSafety,
    PassportTeam, PassportVoice, RiskLevel, SpecialNeed,
};

const NOTES: TextRule = TextRule::notes(NOTE);
const ONE_LINE: TextRule = TextRule::line(LINE);
/// Types of need in the school census; `NSA` with SEN support only, `DS` a late addition to the list.
const NEEDS: [&str; 14] =
    ["SPLD", "MLD", "SLD", "PMLD", "SEMH", "SLCN", "HI", "VI", "MSI", "PD", "ASD", "OTH", "NSA", "DS"];

/// The content of a block, read at the place of its own field.
pub fn content(check: &mut Check, sent: &Content) -> Content {
    match sent {
        Content::Identity(sent) => Content::Identity(identity(&mut check.at("identity"), sent)),
        Content::Voice(sent) => Content::Voice(voice(&mut check.at("voice"), sent)),
        Content::Communication(sent) => {
            Content::Communication(communication(&mut check.at("communication"), sent))
        }
        Content::Needs(sent) => Content::Needs(needs(&mut check.at("needs"), sent)),
        Content::Regulation(sent) => Content::Regulation(regulation(&mut check.at("regulation"), sent)),
        Content::Emergency(sent) => Content::Emergency(emergency(&mut check.at("emergency"), sent)),
        Content::Medical(sent) => Content::Medical(medical(&mut check.at("medical"), sent)),
        Content::Safety(sent) => Content::Safety(safety(&mut check.at("safety"), sent)),
        Content::Learning(sent) => Content::Learning(learning(&mut check.at("learning"), sent)),
        Content::Team(sent) => Content::Team(team(&mut check.at("team"), sent)),
        Content::Health(sent) => Content::Health(health(&mut check.at("health"), sent)),
        Content::Safeguarding(sent) => {
            Content::Safeguarding(safeguarding(&mut check.at("safeguarding"), sent))
        }
        Content::Meta(sent) => Content::Meta(meta(&mut check.at("meta"), sent)),
    }
}

fn identity(check: &mut Check, sent: &PassportIdentity) -> PassportIdentity {
    PassportIdentity {
        preferred_name: check.words("preferred_name", &sent.preferred_name, TextRule::legal_name(LINE)),
        pronouns: check.words("pronouns", &sent.pronouns, ONE_LINE),
    }
}

fn voice(check: &mut Check, sent: &PassportVoice) -> PassportVoice {
    PassportVoice {
        liked_about_me: check.words("liked_about_me", &sent.liked_about_me, NOTES),
        important_to_me: check.words("important_to_me", &sent.important_to_me, NOTES),
        support_me_by: check.words("support_me_by", &sent.support_me_by, NOTES),
        goals: check.words("goals", &sent.goals, NOTES),
        please_know: check.words("please_know", &sent.please_know, NOTES),
        difficult_for_me: check.words("difficult_for_me", &sent.difficult_for_me, NOTES),
        it_helps_if: check.words("it_helps_if", &sent.it_helps_if, NOTES),
        i_help_myself_by: check.words("i_help_myself_by", &sent.i_help_myself_by, NOTES),
    }
}

fn communication(check: &mut Check, sent: &PassportCommunication) -> PassportCommunication {
    PassportCommunication {
        language: check.words("language", &sent.language, ONE_LINE),
        interpreter: check.words("interpreter", &sent.interpreter, ONE_LINE),
        aac: check.words("aac", &sent.aac, NOTES),
        sensory: check.words("sensory", &sent.sensory, NOTES),
    }
}

fn needs(check: &mut Check, sent: &PassportNeeds) -> PassportNeeds {
    if !matches!(sent.provision.as_str(), "" | "E" | "K" | "N") {
        check.fault("provision", "ENUM_UNKNOWN");
    }
    let support = sent.provision == "K";
    let types = check.each("types", &sent.types, |check, sent: &SpecialNeed| {
        let known = NEEDS.contains(&sent.r#type.as_str()) && (sent.r#type != "NSA" || support);
        if !known {
            check.fault("type", if sent.r#type.is_empty() { "FIELD_REQUIRED" } else { "ENUM_UNKNOWN" });
        }
        check.int_range("rank", sent.rank, 1..=2);
        sent.clone()
    });
    check.optional_date("ehcp_date", &sent.ehcp_date);
    PassportNeeds {
        provision: sent.provision.clone(),
        types,
        diagnosis: check.words("diagnosis", &sent.diagnosis, NOTES),
        ehcp_outcomes: check.words("ehcp_outcomes", &sent.ehcp_outcomes, NOTES),
        ehcp_date: sent.ehcp_date.clone(),
        access_arrangements: check.words("access_arrangements", &sent.access_arrangements, NOTES),
    }
}

fn regulation(check: &mut Check, sent: &PassportRegulation) -> PassportRegulation {
    PassportRegulation {
        triggers: check.words("triggers", &sent.triggers, NOTES),
        early_signs: check.words("early_signs", &sent.early_signs, NOTES),
        calming: check.words("calming", &sent.calming, NOTES),
        avoid: check.words("avoid", &sent.avoid, NOTES),
        safe_person_and_place: check.words("safe_person_and_place", &sent.safe_person_and_place, NOTES),
    }
}

fn emergency(check: &mut Check, sent: &PassportEmergency) -> PassportEmergency {
    if sent.contacts.is_empty() {
        check.fault("contacts", "FIELD_REQUIRED");
    }
    PassportEmergency { contacts: check.each("contacts", &sent.contacts, Check::contact) }
}

fn medical(check: &mut Check, sent: &PassportMedical) -> PassportMedical {
    PassportMedical {
        allergies: check.words("allergies", &sent.allergies, NOTES.required()),
        medication: check.words("medication", &sent.medication, NOTES.required()),
        emergency_action: check.words("emergency_action", &sent.emergency_action, NOTES),
        care_plan_reference: check.words("care_plan_reference", &sent.care_plan_reference, ONE_LINE),
    }
}

fn safety(check: &mut Check, sent: &PassportSafety) -> PassportSafety {
    check.optional_enum::<RiskLevel>("risk_level", sent.risk_level);
    PassportSafety {
        risk_summary: check.words("risk_summary", &sent.risk_summary, NOTES.required()),
        risk_level: sent.risk_level,
        may_collect: check.each("may_collect", &sent.may_collect, Check::contact),
    }
}

fn learning(check: &mut Check, sent: &PassportLearning) -> PassportLearning {
    if sent.reading_age_months != 0 {
        check.int_range("reading_age_months", sent.reading_age_months, 36..=240);
    }
    PassportLearning {
        prior_attainment: check.words("prior_attainment", &sent.prior_attainment, NOTES),
        reading_age_months: sent.reading_age_months,
        courses: check.each("courses", &sent.courses, Check::qualification),
        interests: check.words("interests", &sent.interests, NOTES),
    }
}

fn team(check: &mut Check, sent: &PassportTeam) -> PassportTeam {
    PassportTeam { members: check.each("members", &sent.members, Check::contact) }
}

fn health(check: &mut Check, sent: &PassportHealth) -> PassportHealth {
    PassportHealth {
        conditions: check.words("conditions", &sent.conditions, NOTES),
        treatment: check.words("treatment", &sent.treatment, NOTES),
        mental_health: check.words("mental_health", &sent.mental_health, NOTES),
    }
}

fn safeguarding(check: &mut Check, sent: &PassportSafeguarding) -> PassportSafeguarding {
    PassportSafeguarding {
        no_contact: check
            .each("no_contact", &sent.no_contact, |check, sent| check.words("", sent, ONE_LINE.required())),
        address: check.words("address", &sent.address, NOTES),
        detail: check.words("detail", &sent.detail, NOTES),
        ..sent.clone()
    }
}

fn meta(check: &mut Check, sent: &PassportMeta) -> PassportMeta {
    if sent.authors.is_empty() {
        check.fault("authors", "FIELD_REQUIRED");
    }
    let authors = check.each("authors", &sent.authors, Check::named);
    check.optional_date("agreed_on", &sent.agreed_on);
    let from = check.optional_date("valid_from", &sent.valid_from);
    let review = check.optional_date("review_by", &sent.review_by);
    if from.zip(review).is_some_and(|(from, review)| review < from) {
        check.fault("review_by", "DATE_ORDER");
    }
    PassportMeta { authors, ..sent.clone() }
}

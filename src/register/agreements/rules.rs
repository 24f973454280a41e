//! Checks of an agreement's lawful basis that need nothing but the agreement (UK GDPR Articles 6(1)
//! and 9(2), Data Protection Act 2018 Schedule 1, Data (Use and Access) Act 2025).

use crate::codes::organisation::{OrganisationId, OrganisationKind};
use crate::proto::v1::{Article6, Article9, DataClass};
use crate::violation_reason::ViolationReason;

/// Paragraphs of Schedule 1 that are accepted with Article 9(2)(g): statutory purposes, equality, safeguarding of
/// children.
pub const SCHEDULE_1_PARAGRAPHS: [&str; 3] = ["6", "8", "18"];

/// Paragraphs of Schedule 1 that are accepted as a condition for data about offences (Article 10): statutory purposes,
/// preventing unlawful acts, safeguarding of children.
pub const ARTICLE_10_PARAGRAPHS: [&str; 3] = ["6", "10", "18"];

/// Returns the faults of a lawful basis, as (field, reason).
#[must_use]
pub fn basis_faults(
    parties: &[OrganisationId],
    classes: &[DataClass],
    article_6: Article6,
    article_9: Option<Article9>,
    schedule_1: &str,
) -> Vec<(&'static str, ViolationReason)> {
    let mut faults = Vec::new();
    let public = parties.iter().any(|party| party.kind() == OrganisationKind::La);
    let legitimate =
        matches!(article_6, Article6::LegitimateInterests | Article6::RecognisedLegitimateInterests);
    if public && legitimate {
        faults.push(("article_6", ViolationReason::BasisNotOpenToPublicAuthority));
    }
    let special = classes
        .iter()
        .any(|class| matches!(class, DataClass::Attendance | DataClass::Passport | DataClass::Restricted));
    if special && article_9.is_none() {
        faults.push(("article_9", ViolationReason::Article9Required));
    }
    if article_9 == Some(Article9::SubstantialPublicInterest) && !SCHEDULE_1_PARAGRAPHS.contains(&schedule_1)
    {
        faults.push(("schedule_1", ViolationReason::Schedule1Required));
    }
    faults
}

#[cfg(test)]
mod tests {
    use super::*;

    fn faults(
        parties: &[&str],
        class: DataClass,
        six: Article6,
        nine: Option<Article9>,
        one: &str,
    ) -> String {
        let parties: Vec<_> = parties.iter().map(|id| OrganisationId::parse(id).unwrap()).collect();
        let faults = basis_faults(&parties, &[class], six, nine, one);
        faults.iter().map(|(field, _)| *field).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn the_lawful_bases_are_those_of_the_law() {
        use Article6::{LegitimateInterests, PublicTask, RecognisedLegitimateInterests};
        let la = ["la/330", "provider/a"];
        let private = ["provider/a", "provider/b"];
        let nine = Some(Article9::SubstantialPublicInterest);
        assert_eq!(faults(&la, DataClass::Attendance, PublicTask, nine, "6"), "");
        assert_eq!(faults(&la, DataClass::Attendance, PublicTask, nine, ""), "schedule_1");
        assert_eq!(faults(&la, DataClass::Attendance, PublicTask, None, ""), "article_9");
        assert_eq!(faults(&la, DataClass::Referral, PublicTask, None, ""), "");
        assert_eq!(faults(&la, DataClass::Referral, LegitimateInterests, None, ""), "article_6");
        assert_eq!(faults(&la, DataClass::Referral, RecognisedLegitimateInterests, None, ""), "article_6");
        assert_eq!(faults(&private, DataClass::Referral, RecognisedLegitimateInterests, None, ""), "");
        let health = Some(Article9::HealthOrSocialCare);
        assert_eq!(faults(&la, DataClass::Passport, PublicTask, health, ""), "");
    }
}

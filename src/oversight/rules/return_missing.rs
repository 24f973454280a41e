//! `RETURN_MISSING`: at a cut-off a provider owes marks that neither a closure nor a notice explains. It is one alert a
//! provider and cut-off, and one for each organisation that is told, of its own children. The alert ends when the marks
//! come, or a closure or a notice explains them.

use std::collections::BTreeSet;

use uuid::Uuid;

use crate::clock::Instant;
use crate::codes::organisation::OrganisationId;
use crate::oversight::provider_rule::{ProviderRule, ProviderSession};
use crate::oversight::rule_book::{Parameter, PartyRole, RuleSettings};
use crate::oversight::rule_id::RuleId;
use crate::proto::v1::AlertFigures;
use crate::returns::cut_off::CutOffTimes;

/// Name of a parameter: minutes from the end of a session to its cut-off.
const MINUTES_AFTER_END: &str = "minutes_after_end";
/// Name of a parameter: when a morning without times ends, in minutes of the day.
const MORNING_ENDS: &str = "morning_ends_at_minute";
/// Name of a parameter: when an afternoon without times ends, in minutes of the day.
const AFTERNOON_ENDS: &str = "afternoon_ends_at_minute";

/// The rule.
pub struct ReturnMissing;

impl ProviderRule for ReturnMissing {
    fn id(&self) -> RuleId {
        RuleId::ReturnMissing
    }

    fn parameters(&self) -> &'static [Parameter] {
        const {
            &[
                Parameter::new(MINUTES_AFTER_END, 0, 240),
                Parameter::new(MORNING_ENDS, 480, 840),
                Parameter::new(AFTERNOON_ENDS, 720, 1_199),
            ]
        }
    }

    fn cut_off_times(&self, settings: &RuleSettings) -> CutOffTimes {
        let values = |name| settings.parameters.get(name).cloned().unwrap_or_default();
        CutOffTimes {
            minutes_after_end: values(MINUTES_AFTER_END),
            morning_ends: values(MORNING_ENDS),
            afternoon_ends: values(AFTERNOON_ENDS),
        }
    }

    fn evaluate(
        &self,
        sessions: &[ProviderSession],
        cut_off: Instant,
        (organisation, roles): (&OrganisationId, &[PartyRole]),
    ) -> Option<AlertFigures> {
        let missing = sessions.iter().filter(|session| {
            session.is_missing
                && session.cut_off == cut_off
                && session.parties.iter().any(|(role, party)| party == organisation && roles.contains(role))
        });
        let (mut count, mut children) = (0, BTreeSet::<Uuid>::new());
        for session in missing {
            count += 1;
            children.insert(session.child);
        }
        let children = u32::try_from(children.len()).unwrap_or(u32::MAX);
        (count > 0).then(|| AlertFigures { sessions: count, children, ..AlertFigures::default() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::calendar::TimeOfDay;
    use crate::oversight::fixtures::{at, date, settings};
    use crate::returns::cut_off::SessionEnd;

    #[test]
    fn a_session_without_a_cut_off_is_due_half_an_hour_after_its_end() {
        let times = ReturnMissing.cut_off_times(&settings(RuleId::ReturnMissing));
        let cut_off = |end| times.cut_off(date("2026-11-20"), (None, end));
        assert_eq!(cut_off(SessionEnd::Morning), at("2026-11-20 12:30"));
        assert_eq!(cut_off(SessionEnd::Afternoon), at("2026-11-20 16:00"));
        assert_eq!(cut_off(SessionEnd::At(TimeOfDay::NOON)), at("2026-11-20 12:30"));
    }

    #[test]
    fn each_organisation_has_the_figures_of_its_own_children() {
        let organisation = |text: &str| -> OrganisationId { text.parse().unwrap() };
        let [provider, la, other, residence, school] =
            ["provider/riverside", "la/330", "la/331", "la/332", "school/134567"].map(organisation);
        let roles = [PartyRole::Provider, PartyRole::Commissioner, PartyRole::Residence];
        let session = |child: u128, time: &str, commissioner: &OrganisationId, is_missing| ProviderSession {
            placement: Uuid::from_u128(100 + child),
            child: Uuid::from_u128(child),
            cut_off: at(&format!("2026-11-20 {time}")),
            is_missing,
            parties: vec![
                (PartyRole::Commissioner, commissioner.clone()),
                (PartyRole::Provider, provider.clone()),
                (PartyRole::Residence, residence.clone()),
                (PartyRole::Schools, school.clone()),
            ],
        };
        let sessions = [
            session(1, "10:00", &la, true),
            session(1, "10:00", &la, true),
            session(2, "10:00", &la, true),
            session(3, "10:00", &other, false),
            session(4, "12:30", &other, true),
        ];
        let figures = |time: &str, organisation: &OrganisationId| {
            let cut_off = at(&format!("2026-11-20 {time}"));
            let found = ReturnMissing.evaluate(&sessions, cut_off, (organisation, &roles));
            found.map(|found| (found.sessions, found.children))
        };
        for (time, organisation, expected) in [
            ("10:00", &provider, Some((3, 2))),
            ("10:00", &la, Some((3, 2))),
            ("10:00", &residence, Some((3, 2))),
            ("10:00", &other, None),
            ("12:30", &provider, Some((1, 1))),
            ("12:30", &other, Some((1, 1))),
            ("12:30", &la, None),
            ("12:31", &provider, None),
            // It may read the marks, and the rule does not tell it.
            ("10:00", &school, None),
        ] {
            assert_eq!(figures(time, organisation), expected, "{time} {organisation}");
        }
    }
}

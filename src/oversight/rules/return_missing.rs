//! `RETURN_MISSING`: at a cut-off a provider owes marks that neither a closure nor a notice explains. It is one alert a
//! provider and cut-off, and one for each organisation that is told, of its own children. The alert ends when the marks
//! come, or a closure or a notice explains them.

use std::collections::BTreeSet;

use uuid::Uuid;

use crate::calendar::{Date, TimeOfDay};
use crate::clock::Instant;
use crate::codes::organisation::OrganisationId;
use crate::oversight::provider_rule::{ProviderRule, ProviderSession};
use crate::oversight::rule_book::{Parameter, PartyRole, RuleSettings};
use crate::oversight::rule_id::RuleId;
use crate::proto::v1::AlertFigures;
use crate::returns::provider_day::{DueSession, SessionEnd};

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

    fn cut_off(&self, session: &DueSession, day: Date, settings: &RuleSettings) -> Instant {
        session.cut_off.or_else(|| after_end(session.end, day, settings)).unwrap_or_else(|| day.end_of_day())
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

/// Returns the cut-off of a session of which the plan has none: some time after its end. `None`: it has no end, or the
/// cut-off would be on the next day.
fn after_end(end: SessionEnd, day: Date, settings: &RuleSettings) -> Option<Instant> {
    let minute = |name| settings.parameter(name, day).and_then(|value| u16::try_from(value).ok());
    let end = match end {
        SessionEnd::Morning => minute(MORNING_ENDS)?,
        SessionEnd::Afternoon => minute(AFTERNOON_ENDS)?,
        SessionEnd::At(time) => time.minutes(),
        SessionEnd::Day => return None,
    };
    let cut_off = TimeOfDay::from_minutes(end.checked_add(minute(MINUTES_AFTER_END)?)?)?;
    cut_off.instant_on(day).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::oversight::fixtures::{at, date, settings};

    fn due(cut_off: Option<&str>, end: SessionEnd) -> DueSession {
        DueSession { placement: Uuid::nil(), cut_off: cut_off.map(at), end, is_missing: true }
    }

    fn cut_off(session: &DueSession, day: &str) -> Instant {
        ReturnMissing.cut_off(session, date(day), &settings(RuleId::ReturnMissing))
    }

    #[test]
    fn the_cut_off_is_the_plan_s_or_half_an_hour_after_the_session_s_end() {
        let at_time = |text: &str| SessionEnd::At(TimeOfDay::parse(text).unwrap());
        for (end, expected) in [
            (SessionEnd::Morning, "12:30"),
            (SessionEnd::Afternoon, "16:00"),
            (at_time("10:50"), "11:20"),
            (at_time("23:29"), "23:59"),
        ] {
            // In winter, in summer, and on the days on which the clocks change.
            for day in ["2026-11-20", "2027-07-01", "2026-10-25", "2027-03-28"] {
                let of_plan = format!("{day} 10:00");
                assert_eq!(cut_off(&due(Some(&of_plan), end), day), at(&of_plan), "{day}");
                if day >= "2026-11-02" {
                    assert_eq!(cut_off(&due(None, end), day), at(&format!("{day} {expected}")), "{day}");
                }
            }
        }
        for end in [SessionEnd::Day, at_time("23:30")] {
            assert_eq!(cut_off(&due(None, end), "2026-11-20"), date("2026-11-20").end_of_day());
        }
    }

    #[test]
    fn the_minutes_are_those_of_the_day() {
        let mut settings = settings(RuleId::ReturnMissing);
        let values = vec![(date("2026-11-02"), 30), (date("2026-11-20"), 45)];
        settings.parameters.insert(MINUTES_AFTER_END.to_owned(), values);
        let at_day = |day: &str| ReturnMissing.cut_off(&due(None, SessionEnd::Morning), date(day), &settings);
        assert_eq!(at_day("2026-11-19"), at("2026-11-19 12:30"));
        assert_eq!(at_day("2026-11-20"), at("2026-11-20 12:45"));
        assert_eq!(at_day("2026-11-01"), date("2026-11-01").end_of_day(), "before the first value");
    }

    #[test]
    fn each_organisation_has_the_figures_of_its_own_children() {
        let organisation = |text: &str| -> OrganisationId { text.parse().unwrap() };
        let [provider, la, other, residence, school] =
            ["provider/riverside", "la/330", "la/331", "la/332", "school/134567"].map(organisation);
        let roles = [PartyRole::Provider, PartyRole::Commissioner, PartyRole::Residence];
        let session = |child: u128, time: &str, commissioner: &OrganisationId, is_missing| ProviderSession {
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

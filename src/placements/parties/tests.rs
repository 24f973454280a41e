//! Parties and their days, case by case.

use uuid::Uuid;

use super::*;
use crate::proto::v1::PlacementState;

const OLD: &str = "school/111111";
const NEW: &str = "school/222222";

fn date(text: &str) -> Date {
    Date::parse(text).unwrap()
}

fn organisation(text: &str) -> OrganisationId {
    OrganisationId::parse(text).unwrap()
}

fn placement() -> Placement {
    Placement {
        id: Uuid::from_u128(1),
        version: 1,
        state: PlacementState::Active,
        commissioner: organisation("la/330"),
        provider: organisation("provider/riverside"),
        residence: organisation("la/331"),
        schools: vec![organisation(OLD)],
        periods: Vec::new(),
        child: Uuid::from_u128(2),
        agreement: Uuid::from_u128(3),
        provider_reference: None,
        upn_index: None,
        start: Some(date("2026-09-01")),
        planned_end: None,
        end: None,
        legal_basis: 0,
        reason: 0,
        detail: Vec::new(),
    }
}

fn moved(placement: &mut Placement, school: &str, residence: &str, from: &str) {
    placement.change_parties(vec![organisation(school)], organisation(residence), date(from));
}

fn part(placement: &Placement, who: &str, day: &str) -> Part {
    placement.part_on(&organisation(who), date(day))
}

fn recipients(placement: &Placement, day: &str) -> Vec<String> {
    let recipients = placement.recipients_on([date(day)], &placement.provider);
    recipients.iter().map(ToString::to_string).collect()
}

#[test]
fn a_day_belongs_to_its_parties() {
    let mut placement = placement();
    assert_eq!(part(&placement, OLD, "2020-01-01"), Part::SchoolOnRoll);
    moved(&mut placement, NEW, "la/331", "2026-11-02");
    assert_eq!(part(&placement, OLD, "2026-11-01"), Part::SchoolOnRoll);
    assert_eq!(part(&placement, OLD, "2026-11-02"), Part::None);
    assert_eq!(part(&placement, NEW, "2026-11-01"), Part::None);
    assert_eq!(part(&placement, NEW, "2026-11-02"), Part::SchoolOnRoll);
    // Who stays has been there all the time.
    assert_eq!(part(&placement, "la/331", "2026-09-01"), Part::Residence);
    assert_eq!(recipients(&placement, "2026-11-01"), ["la/330", OLD, "la/331"]);
    assert_eq!(recipients(&placement, "2026-11-02"), ["la/330", NEW, "la/331"]);
    assert_eq!(placement.left_on(&organisation(OLD)), Some(date("2026-11-01")));
    assert_eq!(placement.access(&organisation(OLD)), Some(Access::Former(date("2026-11-01"))));
    assert_eq!(placement.access(&organisation(NEW)), Some(Access::Whole));
    assert_eq!(placement.access(&organisation("school/333333")), None);
}

#[test]
fn a_later_change_replaces_what_was_recorded_from_its_day_on() {
    let mut placement = placement();
    moved(&mut placement, NEW, "la/332", "2026-10-01");
    moved(&mut placement, NEW, "la/331", "2026-11-02");
    assert_eq!(part(&placement, "la/331", "2026-10-15"), Part::None);
    assert_eq!(part(&placement, "la/331", "2026-11-02"), Part::Residence);
    assert_eq!(part(&placement, "la/332", "2026-10-31"), Part::Residence);
    // The first change was wrong by two weeks: the later ones are gone with it.
    moved(&mut placement, NEW, "la/332", "2026-10-15");
    assert_eq!(part(&placement, NEW, "2026-10-01"), Part::SchoolOnRoll);
    moved(&mut placement, OLD, "la/331", "2026-09-01");
    assert_eq!(part(&placement, OLD, "2026-09-01"), Part::SchoolOnRoll);
    assert_eq!(part(&placement, NEW, "2026-12-01"), Part::None);
    assert_eq!(placement.access(&organisation(NEW)), None, "it had no day in the placement");
}

#[test]
fn periods_survive_storage() {
    let mut placement = placement();
    assert_eq!(to_text(&placement.periods), "");
    moved(&mut placement, NEW, "la/332", "2026-11-02");
    let text = to_text(&placement.periods);
    assert_eq!(from_text(&text), Some(placement.periods));
    assert_eq!(from_text("school/111111 2026-11-02"), None);
    assert_eq!(from_text("school/111111 soon -"), None);
}

#[test]
fn the_la_of_residence_has_the_outline_until_the_start() {
    let residence = organisation("la/331");
    let referred = Placement { start: None, state: PlacementState::Referred, ..placement() };
    assert_eq!(referred.access(&residence), Some(Access::Outline));
    assert_eq!(placement().access(&residence), Some(Access::Whole));
    let own = Placement { residence: organisation("la/330"), ..referred };
    assert_eq!(own.access(&organisation("la/330")), Some(Access::Whole), "as commissioner");
}

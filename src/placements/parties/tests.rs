//! Tests of parties and their days.

use super::*;
use crate::placements::fixtures::placement_of_school;
use crate::proto::v1::PlacementState;
use crate::store::ColumnType;

const OLD: &str = "school/111111";
const NEW: &str = "school/222222";

fn date(text: &str) -> Date {
    Date::parse(text).unwrap()
}

fn organisation(text: &str) -> OrganisationId {
    OrganisationId::parse(text).unwrap()
}

fn placement() -> Placement {
    placement_of_school(OLD)
}

fn moved(placement: &mut Placement, school: &str, residence: &str, from: &str) {
    placement.change_parties(vec![organisation(school)], organisation(residence), date(from));
}

fn part(placement: &Placement, who: &str, day: &str) -> CallerRole {
    placement.role_on(&organisation(who), date(day))
}

fn recipients(placement: &Placement, day: &str) -> Vec<String> {
    let recipients = placement.recipients_on([date(day)], &placement.provider);
    recipients.iter().map(ToString::to_string).collect()
}

#[test]
fn a_day_belongs_to_its_parties() {
    let mut placement = placement();
    assert_eq!(part(&placement, OLD, "2020-01-01"), CallerRole::SchoolOnRoll);
    moved(&mut placement, NEW, "la/331", "2026-11-02");
    assert_eq!(part(&placement, OLD, "2026-11-01"), CallerRole::SchoolOnRoll);
    assert_eq!(part(&placement, OLD, "2026-11-02"), CallerRole::NoRole);
    assert_eq!(part(&placement, NEW, "2026-11-01"), CallerRole::NoRole);
    assert_eq!(part(&placement, NEW, "2026-11-02"), CallerRole::SchoolOnRoll);
    // A party that remains keeps its first day.
    assert_eq!(part(&placement, "la/331", "2026-09-01"), CallerRole::Residence);
    assert_eq!(recipients(&placement, "2026-11-01"), ["la/330", OLD, "la/331"]);
    assert_eq!(recipients(&placement, "2026-11-02"), ["la/330", NEW, "la/331"]);
    assert_eq!(placement.last_day_as_party(&organisation(OLD)), Some(date("2026-11-01")));
    assert_eq!(placement.access_by_role(&organisation(OLD)), Some(Access::Former(date("2026-11-01"))));
    assert_eq!(placement.access_by_role(&organisation(NEW)), Some(Access::Full));
    assert_eq!(placement.access_by_role(&organisation("school/333333")), None);
}

#[test]
fn a_later_change_replaces_what_was_recorded_from_its_day_on() {
    let mut placement = placement();
    moved(&mut placement, NEW, "la/332", "2026-10-01");
    moved(&mut placement, NEW, "la/331", "2026-11-02");
    assert_eq!(part(&placement, "la/331", "2026-10-15"), CallerRole::NoRole);
    assert_eq!(part(&placement, "la/331", "2026-11-02"), CallerRole::Residence);
    assert_eq!(part(&placement, "la/332", "2026-10-31"), CallerRole::Residence);
    // The first change is corrected by two weeks; that discards the later ones.
    moved(&mut placement, NEW, "la/332", "2026-10-15");
    assert_eq!(part(&placement, NEW, "2026-10-01"), CallerRole::SchoolOnRoll);
    moved(&mut placement, OLD, "la/331", "2026-09-01");
    assert_eq!(part(&placement, OLD, "2026-09-01"), CallerRole::SchoolOnRoll);
    assert_eq!(part(&placement, NEW, "2026-12-01"), CallerRole::NoRole);
    assert_eq!(placement.access_by_role(&organisation(NEW)), None, "it had no day in the placement");
}

#[test]
fn periods_survive_storage() {
    let mut placement = placement();
    assert!(placement.party_periods.to_value() == "".into());
    moved(&mut placement, NEW, "la/332", "2026-11-02");
    let stored = placement.party_periods.to_value();
    assert_eq!(Vec::from_value(&stored), Some(placement.party_periods));
    for damaged in ["school/111111 2026-11-02", "school/111111 soon -"] {
        assert_eq!(Vec::<PartyPeriod>::from_value(&damaged.into()), None);
    }
}

#[test]
fn the_la_of_residence_has_the_outline_until_the_start() {
    let residence = organisation("la/331");
    let referred = Placement { start_date: None, state: PlacementState::Referred, ..placement() };
    assert_eq!(referred.access_by_role(&residence), Some(Access::Outline));
    assert_eq!(placement().access_by_role(&residence), Some(Access::Full));
    let own = Placement { residence: organisation("la/330"), ..referred };
    assert_eq!(own.access_by_role(&organisation("la/330")), Some(Access::Full), "as commissioner");
}

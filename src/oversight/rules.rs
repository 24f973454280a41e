//! The rules of oversight. Each rule is one file, one line of [`RULES`] or [`PLACEMENT_RULES`], and one row of
//! `rules.toml`.

mod absent_at_risk;
pub(super) mod absent_third_day;
mod attendance_drop;
mod c2_unplanned;
mod hours_low;
mod illness_15;
mod long_non_school;
mod no_agreement;
mod no_qualification;
pub mod not_acted_on;
mod open_item_overdue;
mod past_end;
mod progress_missing;
pub(super) mod return_missing;
mod review_date_passed;
mod start_without_passport;
mod tuition_missed;
mod two_places;
mod weekly_absence;

use super::parameter_names::SCHOOL_DAYS;
use super::placement_rule::PlacementRule;
use super::provider_rule::ProviderRule;
use super::rule::Rule;
use super::rule_book::{Parameter, PartyRole, RuleBook};
use super::rule_id::RuleId;
use crate::exchange::DeliveryDeadlines;
use crate::returns::cut_off::CutOffTimes;

/// The rules that list what is due by themselves.
pub const RULES: &[&dyn Rule] = &[&open_item_overdue::OpenItemOverdue];

/// The rules about a placement, which are evaluated at its moments.
pub const PLACEMENT_RULES: &[&dyn PlacementRule] = &[
    &past_end::PastEnd,
    &start_without_passport::StartWithoutPassport,
    &review_date_passed::ReviewDatePassed,
    &progress_missing::ProgressMissing,
    &hours_low::HoursLow,
    &no_qualification::NoQualification,
    &long_non_school::LongNonSchool,
    &no_agreement::NoAgreement,
    &absent_at_risk::AbsentAtRisk,
    &absent_third_day::AbsentThirdDay,
    &weekly_absence::WeeklyAbsence,
    &attendance_drop::AttendanceDrop,
    &tuition_missed::TuitionMissed,
    &illness_15::Illness15,
    &c2_unplanned::C2Unplanned,
    &two_places::TwoPlaces,
];

/// The rules about what a provider owes, which are evaluated at its cut-offs.
pub const PROVIDER_RULES: &[&dyn ProviderRule] = &[&return_missing::ReturnMissing];
/// The rule about a delivery, which is evaluated at its moments.
pub const DELIVERY_RULE: RuleId = RuleId::NotActedOn;

/// Returns until when deliveries must be collected, and acted on, by a rule book.
#[must_use]
pub fn delivery_deadlines(book: &RuleBook) -> DeliveryDeadlines {
    book.settings(DELIVERY_RULE).map(not_acted_on::deadlines).unwrap_or_default()
}

/// Returns what makes the cut-off of a session of which the plan has none, by a rule book.
#[must_use]
pub fn cut_off_times(book: &RuleBook) -> CutOffTimes {
    let settings = book.settings(return_missing::ReturnMissing.id());
    settings.map(|settings| return_missing::ReturnMissing.cut_off_times(settings)).unwrap_or_default()
}

/// A rule of any kind.
#[derive(Clone, Copy)]
pub enum AnyRule {
    /// It lists what is due by itself.
    Listed(&'static dyn Rule),
    /// It is evaluated at the moments of a placement.
    OfPlacement(&'static dyn PlacementRule),
    /// It is evaluated at the cut-offs of a provider.
    OfProvider(&'static dyn ProviderRule),
    /// It is evaluated at the moments of a delivery.
    OfDelivery,
}

/// Returns the rule of an id. A test holds that there is one for each.
#[must_use]
pub fn by_id(id: RuleId) -> Option<AnyRule> {
    if id == DELIVERY_RULE {
        return Some(AnyRule::OfDelivery);
    }
    let listed = RULES.iter().find(|rule| rule.id() == id).map(|rule| AnyRule::Listed(*rule));
    let of_placement = PLACEMENT_RULES.iter().find(|rule| rule.id() == id);
    let of_provider = PROVIDER_RULES.iter().find(|rule| rule.id() == id);
    let found = listed.or(of_placement.map(|rule| AnyRule::OfPlacement(*rule)));
    found.or(of_provider.map(|rule| AnyRule::OfProvider(*rule)))
}

/// Returns whom a rule may tell at most.
#[must_use]
pub fn may_tell(id: RuleId) -> &'static [PartyRole] {
    match by_id(id) {
        Some(AnyRule::Listed(rule)) => rule.may_tell(),
        Some(AnyRule::OfPlacement(rule)) => rule.may_tell(),
        Some(AnyRule::OfProvider(rule)) => rule.may_tell(),
        Some(AnyRule::OfDelivery) => not_acted_on::MAY_TELL,
        None => &[],
    }
}

/// Returns a rule's parameters.
#[must_use]
pub fn parameters(id: RuleId) -> &'static [Parameter] {
    match by_id(id) {
        Some(AnyRule::Listed(rule)) => rule.parameters(),
        Some(AnyRule::OfPlacement(rule)) => rule.parameters(),
        Some(AnyRule::OfProvider(rule)) => rule.parameters(),
        Some(AnyRule::OfDelivery) => not_acted_on::PARAMETERS,
        None => &[],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_id_has_one_rule() {
        let listed = RULES.iter().map(|rule| rule.id());
        let of_placement = PLACEMENT_RULES.iter().map(|rule| rule.id());
        let of_provider = PROVIDER_RULES.iter().map(|rule| rule.id());
        let mut ids: Vec<RuleId> =
            listed.chain(of_placement).chain(of_provider).chain([DELIVERY_RULE]).collect();
        ids.sort_unstable();
        assert_eq!(ids, RuleId::ALL);
    }
}

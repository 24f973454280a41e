//! Requirements of an active plan, checked from the plan alone (Arranging Alternative Provision, DfE 2025).
//! They never refuse a plan: each missing requirement is an open item.

use crate::calendar::Date;
use crate::placements::open_item_code::OpenItemCode;
use crate::proto::v1::{AttendancePattern, PartTimeTimetable, Plan, PlanDuty, PlanOutcome};

/// Returns the open items of a plan. A long-term placement (EHCP, EOTAS, medical) needs no end, success criteria or
/// exit route, but a review at least every 12 months.
#[must_use]
pub fn plan_open_items(plan: &Plan) -> Vec<OpenItemCode> {
    let end = date(&plan.planned_end_date);
    let limited = !plan.long_term;
    let after_end =
        |outcome: &PlanOutcome| date(&outcome.target_date).zip(end).is_some_and(|(due, end)| due > end);
    let items = [
        (!plan.outcomes.iter().any(is_measurable), OpenItemCode::NoOutcome),
        (limited && end.is_none(), OpenItemCode::NoEnd),
        (limited && plan.success_criteria.is_empty(), OpenItemCode::NoSuccessCriteria),
        (limited && plan.exit_route.is_empty(), OpenItemCode::NoExitRoute),
        (!is_reviewed(plan), OpenItemCode::NoReview),
        (plan.commissioner_lead.is_none() || plan.provider_lead.is_none(), OpenItemCode::NoLead),
        (plan.duties.is_empty() || !plan.duties.iter().all(has_owner), OpenItemCode::DutyWithoutOwner),
        (plan.outcomes.iter().any(after_end), OpenItemCode::OutcomeAfterEnd),
        (
            is_part_time(plan) && !plan.part_time.as_ref().is_some_and(is_agreed),
            OpenItemCode::PartTimeNotAgreed,
        ),
        (
            plan.sites.iter().any(|site| site.staff_checks_confirmed_on.is_empty()),
            OpenItemCode::StaffChecksUnconfirmed,
        ),
    ];
    items.into_iter().filter_map(|(lacks, item)| lacks.then_some(item)).collect()
}

fn is_part_time(plan: &Plan) -> bool {
    plan.attendance_pattern() == AttendancePattern::PartTime || plan.part_time.is_some()
}

fn is_agreed(part_time: &PartTimeTimetable) -> bool {
    !part_time.end_date.is_empty() && !part_time.review_date.is_empty() && part_time.parents_agreed
}

fn is_measurable(outcome: &PlanOutcome) -> bool {
    [&outcome.baseline, &outcome.measure, &outcome.target, &outcome.target_date]
        .iter()
        .all(|text| !text.is_empty())
}

fn has_owner(duty: &PlanDuty) -> bool {
    duty.responsible.is_some() && duty.accountable.is_some()
}

fn is_reviewed(plan: &Plan) -> bool {
    let mut reviews: Vec<Date> = plan.review_dates.iter().filter_map(|review| date(review)).collect();
    reviews.sort_unstable();
    let mut before = date(&plan.start_date);
    let timely = reviews.iter().all(|review| {
        let within_a_year = before.is_none_or(|before| *review <= before.plus_years(1));
        before = Some(*review);
        within_a_year
    });
    !reviews.is_empty() && (timely || !plan.long_term)
}

/// Parses a date, whose format was checked when the plan was put; `None` if it is empty.
fn date(text: &str) -> Option<Date> {
    Date::parse(text).ok()
}

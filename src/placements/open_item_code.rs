//! Codes of open items: what a placement or its plan lacks. A code is the same on the wire and in the tables.

use crate::proto::v1::MissingItem;
use crate::stored_texts;

stored_texts! {
    /// What a placement or its plan lacks.
    OpenItemCode {
        /// The start had no plan.
        PlanMissing = "PLAN_MISSING",
        /// The start had no decision of the commissioner.
        DecisionMissing = "DECISION_MISSING",
        /// The provider has not acknowledged emergency contact, medical and safety items.
        SafetyNotAcknowledged = "SAFETY_NOT_ACKNOWLEDGED",
        /// The plan has no measurable outcome.
        NoOutcome = "NO_OUTCOME",
        /// The plan has no planned end.
        NoEnd = "NO_END",
        /// The plan has no success criteria.
        NoSuccessCriteria = "NO_SUCCESS_CRITERIA",
        /// The plan has no exit route.
        NoExitRoute = "NO_EXIT_ROUTE",
        /// The plan has no review in time.
        NoReview = "NO_REVIEW",
        /// The plan lacks the lead of the commissioner or of the provider.
        NoLead = "NO_LEAD",
        /// A duty of the plan has nobody who is responsible or accountable for it.
        DutyWithoutOwner = "DUTY_WITHOUT_OWNER",
        /// An outcome is due after the planned end.
        OutcomeAfterEnd = "OUTCOME_AFTER_END",
        /// A part-time timetable is not agreed, not reviewed or has no end.
        PartTimeNotAgreed = "PART_TIME_NOT_AGREED",
        /// The checks of the staff of a site are not confirmed.
        StaffChecksUnconfirmed = "STAFF_CHECKS_UNCONFIRMED",
    }
}

impl OpenItemCode {
    /// Returns the code of an item that is missing at a start; `None` for the unspecified item.
    #[must_use]
    pub const fn from_missing_item(item: MissingItem) -> Option<Self> {
        match item {
            MissingItem::Plan => Some(Self::PlanMissing),
            MissingItem::Decision => Some(Self::DecisionMissing),
            MissingItem::SafetyAcknowledgement => Some(Self::SafetyNotAcknowledged),
            MissingItem::Unspecified => None,
        }
    }
}

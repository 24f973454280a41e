//! Ids of the rules of oversight. An id is the same on the wire, in the tables and in `rules.toml`.

use crate::proto::v1::AlertKind;
use crate::stored_texts;

stored_texts! {
    /// A rule of oversight.
    RuleId {
        /// An item that the start of a placement left open, or that its plan lacks, was not supplied by its due day.
        OpenItemOverdue = "OPEN_ITEM_OVERDUE",
        /// A placement is active after its planned end.
        PastEnd = "PAST_END",
        /// A placement is active and its provider has not acknowledged the newest passport.
        StartWithoutPassport = "START_WITHOUT_PASSPORT",
        /// A day of review has passed, and nothing speaks of it.
        ReviewDatePassed = "REVIEW_DATE_PASSED",
        /// No progress return was received for half a term.
        ProgressMissing = "PROGRESS_MISSING",
        /// The plan gives the child too few hours of education for too many weeks.
        HoursLow = "HOURS_LOW",
        /// A child of year 10 or 11 works towards no qualification.
        NoQualification = "NO_QUALIFICATION",
        /// A child has been placed outside schools for too long with too many sessions.
        LongNonSchool = "LONG_NON_SCHOOL",
        /// Nobody collected a referral or a passport, or acted on it, in time.
        NotActedOn = "NOT_ACTED_ON",
        /// The agreement of a live placement has ended or ends soon.
        NoAgreement = "NO_AGREEMENT",
        /// A child is absent for the third day again, soon after it was alerted.
        WeeklyAbsence = "WEEKLY_ABSENCE",
        /// At a cut-off, a provider owes marks that neither a closure nor a notice explains.
        ReturnMissing = "RETURN_MISSING",
        /// A child at risk is absent, and nobody has explained it.
        AbsentAtRisk = "ABSENT_AT_RISK",
        /// A child is absent for the third day, and nobody has explained it.
        AbsentThirdDay = "ABSENT_THIRD_DAY",
        /// A child attends far less than in the weeks before.
        AttendanceDrop = "ATTENDANCE_DROP",
        /// One-to-one tuition was missed, and nobody acted on it.
        TuitionMissed = "TUITION_MISSED",
        /// A child was ill on so many days of the school year that its authority arranges education.
        Illness15 = "ILLNESS_15",
        /// Leave by a part-time timetable to which the parents have not agreed, or that does not end.
        C2Unplanned = "C2_UNPLANNED",
        /// A child was present at two providers at the same time.
        TwoPlaces = "TWO_PLACES",
    }
}

impl RuleId {
    /// Returns the kind of its alerts on the wire.
    #[must_use]
    pub const fn alert_kind(self) -> AlertKind {
        match self {
            Self::OpenItemOverdue => AlertKind::OpenItemOverdue,
            _ => AlertKind::Rule,
        }
    }
}

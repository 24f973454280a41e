//! Parsing of `SubmitProgress` and `GetProgress` requests. All faults are reported at once, each with its field path.

use std::collections::BTreeSet;

use uuid::Uuid;

use crate::calendar::{Date, Period};
use crate::exchange::check::{Check, MAX_LINE_CHARS, MAX_NOTE_CHARS, TextRule};
use crate::exchange::{Reason, Refusal};
use crate::proto::v1::{
    AcademicProgress, BehaviourCounts, BoxallScore, GetProgressRequest, Informant, NextStep, OutcomeProgress,
    PeriodAttendance, ProgressReturn, QualificationProgress, QualificationStatus, Rag, SdqScore,
    SemhProgress, SubmitProgressRequest, Trajectory,
};
use crate::store::Revision;
use crate::violation_reason::ViolationReason;

const NOTES: TextRule = TextRule::notes(MAX_NOTE_CHARS);
const ONE_LINE: TextRule = TextRule::line(MAX_LINE_CHARS);
/// Maximum number of days of a period: a year and a day.
const MAX_PERIOD_DAYS: usize = 367;

/// A parsed `SubmitProgress` request.
pub struct Submission {
    pub placement: Uuid,
    pub progress: ProgressReturn,
    pub period: Period,
    /// Version of the plan whose outcomes the return refers to; 0, which no plan has, for an invalid etag.
    pub plan_version: Option<Revision>,
    /// Why the return differs from the stored one.
    pub reason: String,
}

/// Parses a `SubmitProgress` request.
///
/// # Errors
/// The violations of the request.
pub fn parse_submission(m: &SubmitProgressRequest, today: Date) -> Result<Submission, Refusal> {
    let mut check = Check::new();
    check.request_id(&m.request_id);
    let placement = check.uuid("placement_id", &m.placement_id);
    let sent = check.present("progress", m.progress.as_ref());
    let progress = sent.map(|sent| {
        let mut check = check.enter("progress");
        (parse_period(&mut check, sent, today), parse_progress(&mut check, sent, today))
    });
    let reason = check.text_or_empty("correction_reason", &m.correction_reason, TextRule::line(500));
    check.finish()?;
    let (Some(placement), Some((Some(period), progress))) = (placement, progress) else {
        return Err(Reason::Malformed.into());
    };
    let etag = progress.plan_etag.as_str();
    let version = etag.parse().map(Revision::new).ok().filter(|version| version.to_string() == etag);
    let plan_version = (!etag.is_empty()).then_some(version.unwrap_or(Revision::ABSENT));
    Ok(Submission { placement, progress, period, plan_version, reason })
}

/// Parses a `GetProgress` request: placement and page size.
///
/// # Errors
/// The violations of the request.
pub fn parse_get_request(m: &GetProgressRequest) -> Result<(Uuid, u32), Refusal> {
    let mut check = Check::new();
    let placement = check.uuid("placement_id", &m.placement_id);
    let size = check.page_size("page_size", m.page_size, 20, 50);
    check.finish()?;
    placement.zip(size).ok_or_else(|| Reason::Malformed.into())
}

/// Checks a progress return, except for its period, and normalises its texts.
fn parse_progress(check: &mut Check, sent: &ProgressReturn, today: Date) -> ProgressReturn {
    let signed = check.date("signed_on", &sent.signed_on);
    if signed.is_some_and(|signed| signed > today) {
        check.add_violation("signed_on", ViolationReason::DateInFuture);
    }
    check.optional_enum::<Rag>("readiness", sent.readiness);
    if !sent.outcomes.is_empty() {
        check.required("plan_etag", &sent.plan_etag);
    }
    let outcomes = check.read_list("outcomes", &sent.outcomes, outcome);
    let distinct: BTreeSet<u32> = outcomes.iter().map(|outcome| outcome.outcome).collect();
    if distinct.len() < outcomes.len() {
        check.add_violation("outcomes", ViolationReason::ConflictInBatch);
    }
    ProgressReturn {
        from_date: sent.from_date.clone(),
        to_date: sent.to_date.clone(),
        attendance: sent.attendance.as_ref().map(|sent| attendance(&mut check.enter("attendance"), sent)),
        academic: check.read_list("academic", &sent.academic, academic),
        qualifications: check.read_list("qualifications", &sent.qualifications, qualification),
        semh: sent.semh.as_ref().map(|sent| semh(&mut check.enter("semh"), sent)),
        behaviour: sent.behaviour.as_ref().map(|sent| behaviour(&mut check.enter("behaviour"), sent)),
        wellbeing: check.text_or_empty("wellbeing", &sent.wellbeing, NOTES),
        plan_etag: sent.plan_etag.clone(),
        outcomes,
        readiness: sent.readiness,
        readiness_note: check.text_or_empty("readiness_note", &sent.readiness_note, NOTES),
        child_voice: check.view("child_voice", sent.child_voice.as_ref()),
        family_voice: check.view("family_voice", sent.family_voice.as_ref()),
        next_steps: check.read_list("next_steps", &sent.next_steps, next_step),
        author: check.officer("author", sent.author.as_ref()),
        signed_on: sent.signed_on.clone(),
    }
}

fn parse_period(check: &mut Check, sent: &ProgressReturn, today: Date) -> Option<Period> {
    let period = check.period(("from_date", &sent.from_date), ("to_date", &sent.to_date), MAX_PERIOD_DAYS);
    if Date::parse(&sent.to_date).is_ok_and(|to| to > today) {
        check.add_violation("to_date", ViolationReason::DateInFuture);
    }
    period
}

fn attendance(check: &mut Check, sent: &PeriodAttendance) -> PeriodAttendance {
    check.int_range("sessions_offered", sent.sessions_offered, 0..=500);
    check.int_range("sessions_attended", sent.sessions_attended, 0..=i64::from(sent.sessions_offered.max(0)));
    PeriodAttendance { note: check.text_or_empty("note", &sent.note, NOTES), ..sent.clone() }
}

fn academic(check: &mut Check, sent: &AcademicProgress) -> AcademicProgress {
    check.optional_enum::<Trajectory>("trajectory", sent.trajectory);
    AcademicProgress {
        subject: check.text_or_empty("subject", &sent.subject, ONE_LINE.required()),
        baseline: check.text_or_empty("baseline", &sent.baseline, ONE_LINE),
        current: check.text_or_empty("current", &sent.current, ONE_LINE),
        target: check.text_or_empty("target", &sent.target, ONE_LINE),
        trajectory: sent.trajectory,
    }
}

fn qualification(check: &mut Check, sent: &QualificationProgress) -> QualificationProgress {
    let present = check.present("qualification", sent.qualification.as_ref());
    let qualification = present.map(|sent| check.enter("qualification").qualification(sent));
    check.enum_value::<QualificationStatus>("status", sent.status);
    let grade = check.text_or_empty("grade", &sent.grade, TextRule::line(20));
    QualificationProgress { qualification, status: sent.status, grade }
}

fn semh(check: &mut Check, sent: &SemhProgress) -> SemhProgress {
    for (field, score) in
        [("leuven_wellbeing", sent.leuven_wellbeing), ("leuven_involvement", sent.leuven_involvement)]
    {
        check.int_range(field, score, 0..=5);
    }
    SemhProgress {
        sdq: check.read_list("sdq", &sent.sdq, sdq),
        boxall: check.read_list("boxall", &sent.boxall, boxall),
        ..sent.clone()
    }
}

fn sdq(check: &mut Check, sent: &SdqScore) -> SdqScore {
    check.enum_value::<Informant>("informant", sent.informant);
    check.int_range("total", sent.total, 0..=40);
    check.optional_date("assessed_on", &sent.assessed_on);
    sent.clone()
}

fn boxall(check: &mut Check, sent: &BoxallScore) -> BoxallScore {
    let items = check.int_range("items", sent.items, 1..=68).unwrap_or(68);
    check.int_range("score", sent.score, 0..=i64::from(items) * 4);
    check.optional_date("assessed_on", &sent.assessed_on);
    BoxallScore {
        strand: check.text_or_empty("strand", &sent.strand, TextRule::line(40).required()),
        ..sent.clone()
    }
}

fn behaviour(check: &mut Check, sent: &BehaviourCounts) -> BehaviourCounts {
    for (field, count) in [
        ("incidents", sent.incidents),
        ("physical_interventions", sent.physical_interventions),
        ("suspensions", sent.suspensions),
    ] {
        check.int_range(field, count, 0..=1_000);
    }
    *sent
}

fn outcome(check: &mut Check, sent: &OutcomeProgress) -> OutcomeProgress {
    check.enum_value::<Rag>("rag", sent.rag);
    OutcomeProgress { evidence: check.text_or_empty("evidence", &sent.evidence, NOTES), ..sent.clone() }
}

fn next_step(check: &mut Check, sent: &NextStep) -> NextStep {
    check.optional_date("due_date", &sent.due_date);
    NextStep {
        action: check.text_or_empty("action", &sent.action, NOTES.required()),
        owner: check.optional_officer("owner", sent.owner.as_ref()),
        due_date: sent.due_date.clone(),
    }
}

#[cfg(test)]
mod tests;

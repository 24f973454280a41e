//! Step of the registers: three providers send the files of their own systems. Each commissioner, school and authority
//! immediately receives the sessions of its own children.

use std::collections::BTreeMap;
use std::path::Path;

use super::super::files::{self, FileMark, Register, Severity};
use super::super::submit::{self, CheckedRegister, SubmitReplies};
use super::super::{Failure, print_line};
use super::mailbox::{Mailbox, acknowledge, attendance_content, collect_deliveries};
use super::{Clients, advance_clock, ensure, home_school};
use crate::calendar::Date;
use crate::client::Client;
use crate::proto::v1::delivery::Content;
use crate::proto::v1::delivery_service as delivery;
use crate::proto::v1::mark::{Child, Statement};
use crate::proto::v1::{
    AttendanceContent, Delivery, DeliveryStage, GetDeliveryStatusRequest, Mark, StoredMark,
};

/// Riverside's register of three weeks, as its system exported it; all children are invented.
const RIVERSIDE_REGISTER: &[u8] = include_bytes!("../../../tests/data/exports/riverside-marks.csv");
/// Oakfield's register, as saved by a spreadsheet.
const OAKFIELD_REGISTER: &[u8] = include_bytes!("../../../tests/data/exports/oakfield-register.csv");
/// Brightwater's log of its tutors' lessons.
const BRIGHTWATER_REGISTER: &[u8] = include_bytes!("../../../tests/data/exports/brightwater-tuition.csv");
/// Time at which the last lesson of the log has ended.
const AFTER_LAST_LESSON: &str = "2026-11-20T18:30:00Z";

/// Writes a file as the provider's system would, and reads it.
fn read_register(dir: &Path, name: &str, bytes: &[u8]) -> Result<Register, Failure> {
    let file = dir.join(name);
    std::fs::write(&file, bytes).map_err(|error| Failure::unavailable("a file", error))?;
    files::read_file(&file, None)
}

/// Checks and sends a complete register.
async fn send_register(client: &Client, register: &Register) -> Result<SubmitReplies, Failure> {
    let CheckedRegister { accepted: good, diagnostics: findings } =
        submit::check_register(client, register, "").await?;
    ensure(good.len() == register.marks.len(), "a row of the register is invalid")?;
    let sent = submit::submit_marks(client, &good, "").await?;
    print_line(&format!("   {} sessions received, {} accepted", good.len(), sent.stored()));
    let mut warnings: BTreeMap<&str, usize> = BTreeMap::new();
    for finding in findings.iter().filter(|finding| finding.severity == Severity::Warning) {
        *warnings.entry(finding.explanation()).or_default() += 1;
    }
    for (meaning, times) in warnings {
        print_line(&format!("   {times} warnings: {meaning}"));
    }
    ensure(sent.stored() as usize == good.len(), "not every session of the register was accepted")?;
    Ok(sent)
}

/// Runs the step of Riverside, whose register has a mark per row: send, deliver, acknowledge, correct. Returns the
/// placement of the corrected mark.
pub async fn send_riverside(dir: &Path, clients: &Clients, mailbox: &mut Mailbox) -> Result<String, Failure> {
    print_line("2. Riverside, which is not a school, sends its register of 2 to 20 November 2026");
    let sent =
        send_register(&clients.riverside, &read_register(dir, "riverside-marks.csv", RIVERSIDE_REGISTER)?)
            .await?;
    let register = mailbox.next().await?;
    let content = attendance_content(&register)?;
    let sessions = marks(content).count();
    print_line(&format!(
        "   Delivered immediately to local authority A: {sessions} sessions of its {} children only",
        content.children.len()
    ));
    let stored = sent.stored() as usize;
    ensure(sessions > 0 && sessions < stored, "the local authority did not receive its own children only")?;
    let codes = suggested_codes(&clients.school, &sent).await?;
    print_line("   Suggested to the school where they are on roll, for its own register:");
    print_line(&format!("      {}", format_counts(&codes)));
    print_line("      K: arranged by the local authority; B: arranged by the school");
    ensure(codes.contains_key("K") && codes.contains_key("B"), "K and B were not suggested to the school")?;
    acknowledge_register(clients, mailbox, &register, &sent).await?;
    correct_mark(clients, mailbox, content).await
}

/// Runs the step of Oakfield, a school that provides. Its register is a spreadsheet with a child per row.
pub async fn send_oakfield(dir: &Path, clients: &Clients) -> Result<(), Failure> {
    print_line("4. Oakfield, an AP academy where six children are registered too, sends its own register");
    let register = read_register(dir, "oakfield-register.csv", OAKFIELD_REGISTER)?;
    print_line(&format!(
        "   A spreadsheet in {}, which lost a letter of two names; both children are recognised",
        register.encoding
    ));
    let sent = send_register(&clients.oakfield, &register).await?;
    let codes = suggested_codes(&clients.school, &sent).await?;
    print_line(&format!(
        "   Suggested to the home school: {}, because Oakfield's register has the mark",
        format_counts(&codes)
    ));
    ensure(codes.keys().eq(["D"]), "the only suggestion to the home school was not D")
}

/// Runs the step of Brightwater, whose log lists lessons with a start and an end, also on Saturdays, and children by
/// the tutor's own references.
pub async fn send_brightwater(dir: &Path, clients: &Clients, mailbox: &mut Mailbox) -> Result<(), Failure> {
    print_line("5. Brightwater sends its tutors' log at four o'clock");
    let register = read_register(dir, "brightwater-tuition.csv", BRIGHTWATER_REGISTER)?;
    let CheckedRegister { diagnostics: findings, .. } =
        submit::check_register(&clients.brightwater, &register, "").await?;
    for finding in &findings {
        print_line(&format!("   {}", finding.to_text()));
    }
    let early = findings.iter().map(|finding| finding.reason.as_str()).eq(["SESSION_IN_FUTURE"]);
    ensure(early, "the lesson that has not begun was not rejected")?;
    print_line("   Nothing was sent; at half past six it sends the same file again");
    advance_clock(&clients.brightwater, AFTER_LAST_LESSON).await?;
    send_register(&clients.brightwater, &register).await?;
    let register = mailbox.next().await?;
    let content = attendance_content(&register)?;
    let saturday = |mark: &&StoredMark| Date::parse(&mark.date).is_ok_and(Date::is_weekend);
    let saturdays = marks(content).filter(saturday).count();
    let minutes = |field: fn(&StoredMark) -> Option<i32>| marks(content).filter_map(field).sum::<i32>();
    print_line(&format!(
        "   Delivered to local authority A: {} lessons of {} children, {saturdays} on Saturdays; {} of {} minutes attended",
        marks(content).count(),
        content.children.len(),
        minutes(|mark| mark.minutes_attended),
        minutes(|mark| mark.minutes_planned),
    ));
    ensure(marks(content).count() == 14 && saturdays == 2, "the log was not delivered completely")
}

fn marks(content: &AttendanceContent) -> impl Iterator<Item = &StoredMark> {
    content.children.iter().flat_map(|child| &child.marks).filter_map(|mark| mark.mark.as_ref())
}

/// Returns the codes that are suggested to a school, each with its count.
async fn suggested_codes(school: &Client, sent: &SubmitReplies) -> Result<BTreeMap<String, usize>, Failure> {
    let mut codes: BTreeMap<String, usize> = BTreeMap::new();
    for delivery in collect_deliveries(school).await?.0 {
        if let Some(Content::Attendance(content)) = &delivery.content
            && sent.0.iter().any(|reply| reply.return_id == delivery.object_id)
        {
            for mark in marks(content) {
                let code = if mark.suggested_code.is_empty() { "no code" } else { &mark.suggested_code };
                *codes.entry(code.to_owned()).or_default() += 1;
            }
        }
    }
    Ok(codes)
}

fn format_counts(codes: &BTreeMap<String, usize>) -> String {
    let counts: Vec<String> = codes.iter().map(|(code, times)| format!("{code} {times}")).collect();
    counts.join(", ")
}

async fn acknowledge_register(
    clients: &Clients,
    mailbox: &Mailbox,
    register: &Delivery,
    sent: &SubmitReplies,
) -> Result<(), Failure> {
    acknowledge(&mailbox.client, std::slice::from_ref(register), None).await?;
    let object_id = sent.0.first().map(|reply| reply.return_id.clone()).unwrap_or_default();
    let request = GetDeliveryStatusRequest { object_id };
    let mut status = clients.riverside.call(delivery::GET_DELIVERY_STATUS, &request).await?.message;
    status.deliveries.sort_by(|one, other| one.recipient.cmp(&other.recipient));
    for one in &status.deliveries {
        let stage = DeliveryStage::try_from(one.stage).unwrap_or_default();
        let stage = stage.as_str_name().trim_start_matches("DELIVERY_STAGE_").to_lowercase();
        print_line(&format!("   Riverside sees: {stage} by {}", one.recipient));
    }
    let done = status
        .deliveries
        .iter()
        .any(|one| one.recipient == "la/330" && one.stage == DeliveryStage::Acknowledged as i32);
    ensure(done, "the sender does not receive the acknowledgement")
}

/// Corrects an absence without a reason of one of the local authority's children.
async fn correct_mark(
    clients: &Clients,
    mailbox: &mut Mailbox,
    content: &AttendanceContent,
) -> Result<String, Failure> {
    print_line("3. Riverside corrects a mark: an absence without a reason yet (N) was illness (I)");
    let without_reason = marks(content).find(|mark| mark.code == "N");
    let Some(without_reason) = without_reason else {
        return Err(Failure::refused("the register has no absence without a reason"));
    };
    let mark = Mark {
        child: Some(Child::PlacementId(without_reason.placement_id.clone())),
        date: without_reason.date.clone(),
        session: without_reason.session,
        statement: Some(Statement::Code("I".to_owned())),
        ..Mark::default()
    };
    let sent =
        submit::submit_marks(&clients.riverside, &[&FileMark::without_file(mark)], "a parent telephoned")
            .await?;
    ensure(sent.corrected() == 1, "the correction was not stored")?;
    let corrected = mailbox.next().await?;
    let content = attendance_content(&corrected)?;
    let mark = content.children.iter().flat_map(|child| &child.marks).next();
    let now = mark.and_then(|mark| mark.mark.as_ref());
    let before = mark.and_then(|mark| mark.earlier.first());
    let (Some(now), Some(before)) = (now, before) else {
        return Err(Failure::refused("the correction has no earlier revision"));
    };
    print_line(&format!(
        "   Delivered: {} was {}, is {} (\"{}\"), revision {}",
        now.date, before.code, now.code, now.correction_reason, now.revision
    ));
    ensure(before.code == "N" && now.code == "I", "the correction has other codes")?;
    home_school::confirm_other_code(clients, mailbox, now).await?;
    Ok(without_reason.placement_id.clone())
}

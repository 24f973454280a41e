//! Three providers send what their own systems wrote, and each commissioner, school and authority has its own
//! children's sessions at once.

use std::collections::BTreeMap;
use std::path::Path;

use super::super::files::{self, Register, Row, Severity};
use super::super::submit::{self, Checked, Sent};
use super::super::{Failure, deliveries, say};
use super::mailbox::{Mailbox, attendance, collected};
use super::{Clients, ensure, home_school};
use crate::calendar::Date;
use crate::client::Client;
use crate::clock::Instant;
use crate::proto::sandbox::{AdvanceClockRequest, sandbox_service};
use crate::proto::v1::delivery::Content;
use crate::proto::v1::delivery_service as delivery;
use crate::proto::v1::mark::{Child, Statement};
use crate::proto::v1::{
    AttendanceContent, Delivery, DeliveryStage, GetDeliveryStatusRequest, Mark, StoredMark,
};

/// Riverside's register of three weeks, as its system wrote it; all children are invented.
const RIVERSIDE: &[u8] = include_bytes!("../../../tests/data/exports/riverside-marks.csv");
/// Oakfield's, as a spreadsheet saved it.
const OAKFIELD: &[u8] = include_bytes!("../../../tests/data/exports/oakfield-register.csv");
/// Brightwater's log of its tutors.
const BRIGHTWATER: &[u8] = include_bytes!("../../../tests/data/exports/brightwater-tuition.csv");
/// When the last lesson in it is over.
const LATE: &str = "2026-11-20T18:30:00Z";

/// Writes a file as the provider's system would, reads it, and has the gateway check every row.
fn read(dir: &Path, name: &str, bytes: &[u8]) -> Result<Register, Failure> {
    let file = dir.join(name);
    std::fs::write(&file, bytes).map_err(|error| Failure::unavailable("a file", error))?;
    files::read(&file, None)
}

/// Sends a register whole.
async fn send(client: &Client, register: &Register) -> Result<Sent, Failure> {
    let Checked { good, findings } = submit::check(client, register, "").await?;
    ensure(good.len() == register.rows.len(), "a row of the register is at fault")?;
    let sent = submit::send(client, &good, "").await?;
    say(&format!("   {} sessions received, {} accepted", good.len(), sent.stored()));
    let mut asked: BTreeMap<&str, usize> = BTreeMap::new();
    for finding in findings.iter().filter(|finding| finding.severity == Severity::Warning) {
        *asked.entry(finding.meaning()).or_default() += 1;
    }
    for (meaning, times) in asked {
        say(&format!("   {times} worth a second look: {meaning}"));
    }
    ensure(sent.stored() as usize == good.len(), "not every session of the register was accepted")?;
    Ok(sent)
}

/// A mark a row, sent, delivered, acknowledged and corrected. Gives the placement of the corrected mark.
pub async fn riverside(dir: &Path, clients: &Clients, mailbox: &mut Mailbox) -> Result<String, Failure> {
    say("2. Riverside, which is not a school, sends its register of 2 to 20 November 2026");
    let sent = send(&clients.riverside, &read(dir, "riverside-marks.csv", RIVERSIDE)?).await?;
    let register = mailbox.next().await?;
    let content = attendance(&register)?;
    let sessions = marks(content).count();
    say(&format!(
        "   Delivered at once to local authority A: {sessions} sessions of its {} children, and no other's",
        content.children.len()
    ));
    let all = sent.stored() as usize;
    ensure(sessions > 0 && sessions < all, "the local authority was not given its own children only")?;
    let codes = suggested(&clients.school, &sent).await?;
    say("   Suggested to the school where they are on roll, for its own register:");
    say(&format!("      {}", told(&codes)));
    say("      K: arranged by the local authority; B: arranged by the school");
    ensure(codes.contains_key("K") && codes.contains_key("B"), "the school was not told K and B")?;
    acknowledged(clients, mailbox, &register, &sent).await?;
    correct(clients, mailbox, content).await
}

/// A child a row, out of a spreadsheet, from a school that provides.
pub async fn oakfield(dir: &Path, clients: &Clients) -> Result<(), Failure> {
    say("4. Oakfield, an AP academy where six children are registered too, sends its own register");
    let register = read(dir, "oakfield-register.csv", OAKFIELD)?;
    say(&format!(
        "   A spreadsheet in {}, which lost a letter of two names; both children are known",
        register.encoding
    ));
    let sent = send(&clients.oakfield, &register).await?;
    let codes = suggested(&clients.school, &sent).await?;
    say(&format!("   Suggested to the home school: {}, for Oakfield's register has the mark", told(&codes)));
    ensure(codes.keys().eq(["D"]), "the home school was not told D alone")
}

/// A tutor's log: lessons with a start and an end, Saturdays too, children by the tutor's own references.
pub async fn brightwater(dir: &Path, clients: &Clients, mailbox: &mut Mailbox) -> Result<(), Failure> {
    say("5. Brightwater sends its tutors' log at four o'clock");
    let register = read(dir, "brightwater-tuition.csv", BRIGHTWATER)?;
    let Checked { findings, .. } = submit::check(&clients.brightwater, &register, "").await?;
    for finding in &findings {
        say(&format!("   {}", finding.words()));
    }
    let early = findings.iter().map(|finding| finding.reason.as_str()).eq(["SESSION_IN_FUTURE"]);
    ensure(early, "the lesson that has not begun was not found")?;
    say("   Nothing was sent; at half past six it sends the same file again");
    let to = LATE.parse::<Instant>().map_err(|error| Failure::bug("an instant", error))?;
    let to = Some(prost_types::Timestamp { seconds: to.seconds(), nanos: 0 });
    clients.brightwater.hashes(sandbox_service::ADVANCE_CLOCK, &AdvanceClockRequest { to }).await?;
    send(&clients.brightwater, &register).await?;
    let register = mailbox.next().await?;
    let content = attendance(&register)?;
    let saturday = |mark: &&StoredMark| Date::parse(&mark.date).is_ok_and(Date::is_weekend);
    let saturdays = marks(content).filter(saturday).count();
    let minutes = |of: fn(&StoredMark) -> Option<i32>| marks(content).filter_map(of).sum::<i32>();
    say(&format!(
        "   Delivered to local authority A: {} lessons of {} children, {saturdays} on Saturdays; {} of {} minutes attended",
        marks(content).count(),
        content.children.len(),
        minutes(|mark| mark.minutes_attended),
        minutes(|mark| mark.minutes_planned),
    ));
    ensure(marks(content).count() == 14 && saturdays == 2, "the log was not delivered whole")
}

fn marks(content: &AttendanceContent) -> impl Iterator<Item = &StoredMark> {
    content.children.iter().flat_map(|child| &child.marks).filter_map(|mark| mark.mark.as_ref())
}

/// The codes that a school is told, each with how often.
async fn suggested(school: &Client, sent: &Sent) -> Result<BTreeMap<String, usize>, Failure> {
    let mut codes: BTreeMap<String, usize> = BTreeMap::new();
    for delivery in collected(school).await?.0 {
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

fn told(codes: &BTreeMap<String, usize>) -> String {
    let told: Vec<String> = codes.iter().map(|(code, times)| format!("{code} {times}")).collect();
    told.join(", ")
}

async fn acknowledged(
    clients: &Clients,
    mailbox: &Mailbox,
    register: &Delivery,
    sent: &Sent,
) -> Result<(), Failure> {
    deliveries::acknowledge(&mailbox.client, std::slice::from_ref(register), None).await?;
    let object_id = sent.0.first().map(|reply| reply.return_id.clone()).unwrap_or_default();
    let request = GetDeliveryStatusRequest { object_id };
    let mut status = clients.riverside.call(delivery::GET_DELIVERY_STATUS, &request).await?.message;
    status.deliveries.sort_by(|one, other| one.recipient.cmp(&other.recipient));
    for one in &status.deliveries {
        let stage = DeliveryStage::try_from(one.stage).unwrap_or_default();
        let stage = stage.as_str_name().trim_start_matches("DELIVERY_STAGE_").to_lowercase();
        say(&format!("   Riverside sees: {stage} by {}", one.recipient));
    }
    let done = status
        .deliveries
        .iter()
        .any(|one| one.recipient == "la/330" && one.stage == DeliveryStage::Acknowledged as i32);
    ensure(done, "the sender does not see the acknowledgement")
}

/// Corrects one of the local authority's children's absences whose reason was not established yet.
async fn correct(
    clients: &Clients,
    mailbox: &mut Mailbox,
    content: &AttendanceContent,
) -> Result<String, Failure> {
    say("3. Riverside corrects a mark: an absence without a reason yet (N) was illness (I)");
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
    let sent = submit::send(&clients.riverside, &[&Row::alone(mark)], "a parent telephoned").await?;
    ensure(sent.corrected() == 1, "the correction was not stored")?;
    let corrected = mailbox.next().await?;
    let content = attendance(&corrected)?;
    let mark = content.children.iter().flat_map(|child| &child.marks).next();
    let now = mark.and_then(|mark| mark.mark.as_ref());
    let before = mark.and_then(|mark| mark.earlier.first());
    let (Some(now), Some(before)) = (now, before) else {
        return Err(Failure::refused("the correction came without what was before"));
    };
    say(&format!(
        "   Delivered: {} was {}, is {} (\"{}\"), revision {}",
        now.date, before.code, now.code, now.correction_reason, now.revision
    ));
    ensure(before.code == "N" && now.code == "I", "the correction is another one")?;
    home_school::confirms(clients, mailbox, now).await?;
    Ok(without_reason.placement_id.clone())
}

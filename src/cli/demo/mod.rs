//! `demo`: the main job from end to end on a sandbox, in the words of those whose job it is. Every step is
//! checked, and the first that does not hold ends it with a non-zero exit code.

mod tampering;

use std::collections::BTreeMap;
use std::path::Path;

use super::args::Demo;
use super::files::{self, Row};
use super::submit::Sent;
use super::{Failure, audit, deliveries, profile, sandbox, say, submit};
use crate::client::{Client, ClientError, Replies, reason};
use crate::clock::Randomness;
use crate::proto::v1::delivery::Content;
use crate::proto::v1::delivery_service as delivery;
use crate::proto::v1::mark::{Child, Statement};
use crate::proto::v1::register_service as register;
use crate::proto::v1::{
    AttendanceContent, Cursor, Delivery, DeliveryStage, GetDeliveryStatusRequest, GetOrganisationRequest,
    ListDeliveriesRequest, Mark, RevokeCertificateRequest, WatchDeliveriesRequest, WatchDeliveriesResponse,
};

/// Riverside's register of three weeks, as its MIS wrote it; its children are invented.
const REGISTER: &[u8] = include_bytes!("../../../tests/data/exports/riverside-marks.csv");
/// When it is sent: at the end of the last day in it.
const EVENING: &str = "2026-11-20T16:00:00Z";
/// Messages of a stream that are waited for at one step.
const MESSAGES: usize = 100;

/// Runs the demonstration.
///
/// # Errors
/// Exit code 1 for the step that did not hold.
pub async fn run(args: &Demo) -> Result<(), Failure> {
    let folder = if let Some(dir) = &args.dir {
        dir.clone()
    } else {
        let name = format!("ap-gateway-demo-{}", Randomness::system().uuid_v4().simple());
        std::env::temp_dir().join(name)
    };
    let shown = Box::pin(show(&folder)).await;
    if args.dir.is_none() {
        std::fs::remove_dir_all(&folder).ok();
    }
    shown
}

async fn show(dir: &Path) -> Result<(), Failure> {
    say("1. A small world: two local authorities, a school, three providers, an auditor");
    let local = std::net::SocketAddr::from(([127, 0, 0, 1], 0));
    let served = sandbox::start(dir, local, Some(EVENING), None, &Randomness::system()).await?;
    let clients = Clients {
        la: profile::connect(&sandbox::profile(dir, "la-a")).await?,
        school: profile::connect(&sandbox::profile(dir, "school")).await?,
        riverside: profile::connect(&sandbox::profile(dir, "provider-a")).await?,
        auditor: profile::connect(&sandbox::profile(dir, "auditor")).await?,
    };
    let told = tell(dir, &clients).await;
    drop(clients);
    served.stop().await?;
    told?;
    tampering::show(dir).await
}

struct Clients {
    la: Client,
    school: Client,
    riverside: Client,
    auditor: Client,
}

async fn tell(dir: &Path, clients: &Clients) -> Result<(), Failure> {
    let mut mailbox = Mailbox::open(&clients.la).await?;
    say(&format!("   Local authority A has collected the {} things sent to it so far", mailbox.before));
    say("2. Riverside sends its register of 2 to 20 November 2026");
    let file = dir.join("riverside-marks.csv");
    std::fs::write(&file, REGISTER).map_err(|error| Failure::unavailable("a file", error))?;
    let register = files::read(&file, None)?;
    let rows: Vec<&Row> = register.rows.iter().collect();
    let sent = submit::send(&clients.riverside, &rows, "").await?;
    told(&sent, rows.len())?;
    let register = mailbox.next().await?;
    let content = attendance(&register)?;
    let sessions: usize = content.children.iter().map(|child| child.marks.len()).sum();
    say(&format!(
        "   Delivered at once to local authority A: {sessions} sessions of its {} children, and no other's",
        content.children.len()
    ));
    ensure(sessions > 0 && sessions < rows.len(), "the local authority was not given its own children only")?;
    suggested(clients, &sent).await?;
    acknowledged(clients, &mailbox, &register, &sent).await?;
    correct(clients, &mut mailbox, content).await?;
    revoke(dir, clients).await?;
    audited(clients).await
}

fn told(sent: &Sent, rows: usize) -> Result<(), Failure> {
    say(&format!("   {rows} sessions received, {} accepted", sent.stored()));
    ensure(sent.stored() as usize == rows, "not every session of the register was accepted")
}

/// What the school where the children are on roll is told, with the codes suggested for its own register.
async fn suggested(clients: &Clients, sent: &Sent) -> Result<(), Failure> {
    let mut codes: BTreeMap<String, usize> = BTreeMap::new();
    for delivery in collected(&clients.school).await?.0 {
        if let Some(Content::Attendance(content)) = &delivery.content
            && sent.0.iter().any(|reply| reply.return_id == delivery.object_id)
        {
            let marks = content.children.iter().flat_map(|child| &child.marks);
            for mark in marks.filter_map(|mark| mark.mark.as_ref()) {
                let code = if mark.suggested_code.is_empty() { "no code" } else { &mark.suggested_code };
                *codes.entry(code.to_owned()).or_default() += 1;
            }
        }
    }
    let told: Vec<String> = codes.iter().map(|(code, times)| format!("{code} {times}")).collect();
    say(&format!("   Suggested to the school where they are on roll: {}", told.join(", ")));
    ensure(codes.contains_key("K") && codes.contains_key("B"), "the school was not told K and B")
}

async fn acknowledged(
    clients: &Clients,
    mailbox: &Mailbox,
    register: &Delivery,
    sent: &Sent,
) -> Result<(), Failure> {
    deliveries::acknowledge(&mailbox.client, std::slice::from_ref(register)).await?;
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
) -> Result<(), Failure> {
    say("3. Riverside corrects a mark: an absence without a reason yet (N) was illness (I)");
    let marks = content.children.iter().flat_map(|child| &child.marks).filter_map(|mark| mark.mark.as_ref());
    let without_reason = marks.into_iter().find(|mark| mark.code == "N");
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
    ensure(before.code == "N" && now.code == "I", "the correction is another one")
}

async fn revoke(dir: &Path, clients: &Clients) -> Result<(), Failure> {
    say("4. Riverside revokes the certificate of its old system");
    let old = profile::connect(&sandbox::profile(dir, "provider-a-old")).await?;
    let own = GetOrganisationRequest { organisation: "provider/riverside".to_owned() };
    old.call(register::GET_ORGANISATION, &own).await?;
    let world = sandbox::world::load(dir)?;
    let member = world.organisations.iter().find(|member| member.name == "provider-a-old");
    let request = RevokeCertificateRequest {
        request_id: Randomness::system().uuid_v4().hyphenated().to_string(),
        certificate_sha256: member.map(|member| member.certificate_sha256.clone()).unwrap_or_default(),
        ..RevokeCertificateRequest::default()
    };
    clients.riverside.call(register::REVOKE_CERTIFICATE, &request).await?;
    match old.call(register::GET_ORGANISATION, &own).await {
        // The open connection is cut as soon as the revocation is seen: either way nothing is answered.
        Err(ClientError::Refused(status)) if matches!(reason(&status).as_str(), "CERT_REVOKED" | "") => {
            say("   Its next call is refused");
            Ok(())
        }
        Err(ClientError::Unreachable(_)) => {
            say("   Its next call is refused");
            Ok(())
        }
        _ => Err(Failure::refused("the revoked certificate was not refused")),
    }
}

async fn audited(clients: &Clients) -> Result<(), Failure> {
    say("5. The auditor reads who sent and collected what");
    let exchanges = audit::exchanges(&clients.auditor).await?;
    for (organisation, method, what) in [
        ("provider/riverside", "SubmitAttendance", "returns sent by Riverside"),
        ("la/330", "WatchDeliveries", "exchanges on local authority A's stream"),
        ("la/330", "AcknowledgeDelivery", "acknowledgements by local authority A"),
    ] {
        let of = |exchange: &&crate::proto::v1::ExchangeRecord| {
            exchange.organisation == organisation && exchange.method.ends_with(method)
        };
        let count = exchanges.iter().filter(of).count();
        say(&format!("   {count} {what}"));
        ensure(count > 0, "an exchange is missing in the log")?;
    }
    let notes = clients.riverside.seen().notes();
    audit::consistent(&clients.auditor, &notes).await?;
    say("   Every checkpoint that Riverside was shown lies on the log that the auditor is shown");
    Ok(())
}

fn attendance(delivery: &Delivery) -> Result<&AttendanceContent, Failure> {
    match &delivery.content {
        Some(Content::Attendance(content)) => Ok(content),
        _ => Err(Failure::refused("another thing was delivered than the register")),
    }
}

fn ensure(holds: bool, otherwise: &str) -> Result<(), Failure> {
    if holds { Ok(()) } else { Err(Failure::refused(otherwise)) }
}

/// Everything that lies in a mailbox, and where it ends.
async fn collected(client: &Client) -> Result<(Vec<Delivery>, Option<Cursor>), Failure> {
    let (mut cursor, mut deliveries) = (None, Vec::new());
    for _ in 0..MESSAGES {
        let request = ListDeliveriesRequest { cursor, ..ListDeliveriesRequest::default() };
        let reply = client.call(delivery::LIST_DELIVERIES, &request).await?.message;
        deliveries.extend(reply.deliveries);
        cursor = reply.next;
        if !reply.more {
            break;
        }
    }
    Ok((deliveries, cursor))
}

/// A mailbox that is followed on its stream.
struct Mailbox {
    client: Client,
    stream: Replies<WatchDeliveriesResponse>,
    cursor: Option<Cursor>,
    before: usize,
}

impl Mailbox {
    /// Collects what is there, and opens the stream behind it.
    async fn open(client: &Client) -> Result<Self, Failure> {
        let (deliveries, cursor) = collected(client).await?;
        let before = deliveries.len();
        let request = WatchDeliveriesRequest { cursor: cursor.clone(), kinds: Vec::new() };
        let stream = client.watch(delivery::WATCH_DELIVERIES, &request).await?;
        Ok(Self { client: client.clone(), stream, cursor, before })
    }

    /// The next delivery on the stream.
    async fn next(&mut self) -> Result<Delivery, Failure> {
        for _ in 0..MESSAGES {
            let before = self.cursor.clone();
            let message = self.stream.next(|message| deliveries::position(message, before.as_ref())).await?;
            let Some((message, _)) = message else { break };
            self.cursor = message.next.or(before);
            if let Some(delivery) = message.deliveries.into_iter().next() {
                return Ok(delivery);
            }
        }
        Err(Failure::refused("the stream brought nothing"))
    }
}

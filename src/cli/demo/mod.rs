//! `demo`: the main job from end to end on a sandbox, in the words of those whose job it is. Every step is
//! checked, and the first that does not hold ends it with a non-zero exit code.

mod auditor;
mod document;
mod home_school;
mod mailbox;
mod passport;
mod progress;
mod registers;
mod tampering;

use std::path::Path;

use super::args::Demo;
use super::sandbox::Time;
use super::{Failure, profile, sandbox, say};
use crate::client::{Client, ClientError, reason};
use crate::clock::Randomness;
use crate::proto::v1::register_service as register;
use crate::proto::v1::{GetOrganisationRequest, RevokeCertificateRequest};
use mailbox::Mailbox;

/// When the registers are sent: at the end of the last day in them.
const EVENING: &str = "2026-11-20T16:00:00Z";

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
    let served = sandbox::start(dir, local, Time::Held(EVENING), None, &Randomness::system()).await?;
    let clients = Clients::connect(dir).await?;
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
    oakfield: Client,
    brightwater: Client,
    auditor: Client,
}

impl Clients {
    async fn connect(dir: &Path) -> Result<Self, Failure> {
        let connect = async |name: &str| profile::connect(&sandbox::profile(dir, name)).await;
        Ok(Self {
            la: connect("la-a").await?,
            school: connect("school").await?,
            riverside: connect("provider-a").await?,
            oakfield: connect("provider-b").await?,
            brightwater: connect("provider-c").await?,
            auditor: connect("auditor").await?,
        })
    }
}

async fn tell(dir: &Path, clients: &Clients) -> Result<(), Failure> {
    let mut mailbox = Mailbox::open(&clients.la).await?;
    say(&format!("   Local authority A has collected the {} things sent to it so far", mailbox.before));
    let placement = registers::riverside(dir, clients, &mut mailbox).await?;
    registers::oakfield(dir, clients).await?;
    registers::brightwater(dir, clients, &mut mailbox).await?;
    passport::show(dir, clients, &placement).await?;
    progress::show(dir, clients, &mut mailbox, &placement).await?;
    revoke(dir, clients).await?;
    auditor::show(clients, &placement).await
}

async fn revoke(dir: &Path, clients: &Clients) -> Result<(), Failure> {
    say("8. Riverside revokes the certificate of its old system");
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

fn ensure(holds: bool, otherwise: &str) -> Result<(), Failure> {
    if holds { Ok(()) } else { Err(Failure::refused(otherwise)) }
}

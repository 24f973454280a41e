//! `demo`: the main workflow from end to end on a sandbox, described in the terms of its users. Every step is checked.
//! The first step that fails ends the demonstration with a non-zero exit code.

mod auditor;
mod bad_morning;
mod document;
mod home_school;
mod mailbox;
mod passport;
mod persons;
mod progress;
mod registers;
mod tampering;

use std::path::Path;

use super::args::DemoArgs;
use super::sandbox::ClockMode;
use super::sent_requests::new_request_id;
use super::{Failure, print_line, profile, sandbox};
use crate::client::{Client, ClientError, reason};
use crate::clock::{Instant, Randomness};
use crate::proto::sandbox::{AdvanceClockRequest, sandbox_service};
use crate::proto::v1::register_service as register;
use crate::proto::v1::{GetOrganisationRequest, RevokeCertificateRequest};
use mailbox::Mailbox;

/// Time at which the registers are sent: at the end of their last day.
const REGISTERS_SENT_AT: &str = "2026-11-20T16:00:00Z";

/// Runs the demonstration.
///
/// # Errors
/// Exit code 1 for the step that failed.
pub async fn run(args: &DemoArgs) -> Result<(), Failure> {
    let folder = if let Some(dir) = &args.dir {
        dir.clone()
    } else {
        let name = format!("ap-gateway-demo-{}", Randomness::system().uuid_v4().simple());
        std::env::temp_dir().join(name)
    };
    let result = Box::pin(run_in_folder(&folder)).await;
    if args.dir.is_none() {
        std::fs::remove_dir_all(&folder).ok();
    }
    result
}

async fn run_in_folder(dir: &Path) -> Result<(), Failure> {
    print_line("1. A small world: two local authorities, a school, three providers, an auditor");
    let local = std::net::SocketAddr::from(([127, 0, 0, 1], 0));
    let served =
        sandbox::start(dir, local, ClockMode::HeldAt(REGISTERS_SENT_AT), None, &Randomness::system()).await?;
    let clients = Clients::connect(dir).await?;
    let steps = run_steps(dir, &clients).await;
    drop(clients);
    served.stop().await?;
    steps?;
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
        let connect = async |name: &str| profile::connect(&sandbox::profile_path(dir, name)).await;
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

async fn run_steps(dir: &Path, clients: &Clients) -> Result<(), Failure> {
    let mut mailbox = Mailbox::open(&clients.la).await?;
    print_line(&format!(
        "   Local authority A has collected its {} deliveries so far",
        mailbox.earlier_deliveries
    ));
    let placement = registers::send_riverside(dir, clients, &mut mailbox).await?;
    registers::send_oakfield(dir, clients).await?;
    registers::send_brightwater(dir, clients, &mut mailbox).await?;
    passport::show(dir, clients, &placement).await?;
    progress::show(dir, clients, &mut mailbox, &placement).await?;
    persons::show(dir, clients, &mut mailbox, &placement).await?;
    drop(mailbox);
    bad_morning::show(dir, clients).await?;
    revoke_certificate(dir, clients).await?;
    auditor::show(clients, &placement).await
}

async fn revoke_certificate(dir: &Path, clients: &Clients) -> Result<(), Failure> {
    print_line("10. Riverside revokes the certificate of its old system");
    let old = profile::connect(&sandbox::profile_path(dir, "provider-a-old")).await?;
    let request_own = GetOrganisationRequest { organisation: "provider/riverside".to_owned() };
    old.call(register::GET_ORGANISATION, &request_own).await?;
    let world = sandbox::world::load(dir)?;
    let member = world.organisations.iter().find(|member| member.name == "provider-a-old");
    let request = RevokeCertificateRequest {
        request_id: new_request_id(),
        certificate_sha256: member.map(|member| member.certificate_sha256.clone()).unwrap_or_default(),
        ..RevokeCertificateRequest::default()
    };
    clients.riverside.call(register::REVOKE_CERTIFICATE, &request).await?;
    match old.call(register::GET_ORGANISATION, &request_own).await {
        // The open connection is closed as soon as the revocation is read, so no response comes in either case.
        Err(ClientError::Refused(status)) if matches!(reason(&status).as_str(), "CERT_REVOKED" | "") => {
            print_line("   Its next call is refused");
            Ok(())
        }
        Err(ClientError::Unreachable(_)) => {
            print_line("   Its next call is refused");
            Ok(())
        }
        _ => Err(Failure::refused("the revoked certificate was not refused")),
    }
}

/// Advances the sandbox's clock; what has fallen due is done when it returns.
async fn advance_clock(client: &Client, to: &str) -> Result<(), Failure> {
    let to = to.parse::<Instant>().map_err(|error| Failure::bug("an instant", error))?;
    let to = Some(to.to_proto());
    client.call_without_receipt(sandbox_service::ADVANCE_CLOCK, &AdvanceClockRequest { to }).await?;
    Ok(())
}

fn ensure(condition: bool, message: &str) -> Result<(), Failure> {
    if condition { Ok(()) } else { Err(Failure::refused(message)) }
}

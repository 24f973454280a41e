//! `doctor`: examines a profile and the way to the gateway, one check after the other, and says what to do. A check that
//! cannot be made because an earlier one failed is not made.

mod calls;
mod tls_words;

use std::path::Path;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use serde::Serialize;

use super::args::DoctorArgs;
use super::{Failure, output, print_line, profile};
use crate::client::{ClientLimits, ProbeError, Profile, probe};
use crate::clock::{Clock, Instant, SystemClock};
use crate::identity::PeerCertificate;

/// Days before the end of the own certificate from which its end is told.
const EXPIRY_NOTICE_DAYS: i64 = 30;
/// Microseconds of a day.
const DAY_MICROS: i64 = 86_400_000_000;

/// Result of a check.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// As it must be.
    Ok,
    /// It works, and needs attention.
    Warning,
    /// At fault.
    Fault,
}

/// A check, with what was found and what to do.
#[derive(Debug, Serialize)]
pub struct Check {
    name: &'static str,
    status: Status,
    found: String,
    #[serde(skip_serializing_if = "str::is_empty")]
    advice: &'static str,
}

impl Check {
    /// A check that found what must be.
    pub fn ok(name: &'static str, found: impl Into<String>) -> Self {
        Self { name, status: Status::Ok, found: found.into(), advice: "" }
    }

    /// A check that found something that needs attention.
    pub fn warning(name: &'static str, found: impl Into<String>, advice: &'static str) -> Self {
        Self { name, status: Status::Warning, found: found.into(), advice }
    }

    /// A check that found a fault.
    pub fn fault(name: &'static str, found: impl Into<String>, advice: &'static str) -> Self {
        Self { name, status: Status::Fault, found: found.into(), advice }
    }
}

/// Examines a profile, and prints each check.
///
/// # Errors
/// Exit code 1 if a check found a fault; 78 if the profile cannot be read.
pub async fn run(args: &DoctorArgs) -> Result<(), Failure> {
    let (loaded, _) = profile::load(&args.profile)?;
    let mut checks = Vec::new();
    examine(&loaded, &mut checks).await;
    for check in &checks {
        print_check(check, args.json)?;
    }
    output::check_written()?;
    let faults: Vec<_> = checks.iter().filter(|check| check.status == Status::Fault).collect();
    match faults.first() {
        None => Ok(()),
        Some(first) => Err(Failure::refused(format!("{}: {}", first.name, first.found))),
    }
}

fn print_check(check: &Check, json: bool) -> Result<(), Failure> {
    if json {
        print_line(&serde_json::to_string(check).map_err(|error| Failure::bug("a check", error))?);
        return Ok(());
    }
    let status = match check.status {
        Status::Ok => "ok     ",
        Status::Warning => "warning",
        Status::Fault => "FAULT  ",
    };
    print_line(&format!("{status}  {}: {}", check.name, output::escape_control(&check.found)));
    if !check.advice.is_empty() {
        print_line(&format!("           {}", check.advice));
    }
    Ok(())
}

/// Makes the checks, up to the first fault after which the others have no meaning.
async fn examine(profile: &Profile, checks: &mut Vec<Check>) {
    let Some(own) = own_certificate(profile, checks) else {
        return;
    };
    match probe(profile, ClientLimits::default()).await {
        Ok(server) => {
            checks.push(Check::ok("name and port", format!("{} at {}", profile.endpoint, server.address)));
            checks.push(server_check(server.certificate.as_ref()));
            checks.push(Check::ok("handshake", "the gateway accepts this certificate"));
        }
        Err(error) => {
            add_reached_steps(profile, &error, checks);
            return checks.push(tls_words::explain(&error, profile, &own));
        }
    }
    calls::examine(profile, &own, checks).await;
}

/// Adds the steps that the failed one followed.
fn add_reached_steps(profile: &Profile, error: &ProbeError, checks: &mut Vec<Check>) {
    let is_connected = matches!(error, ProbeError::Tls(_) | ProbeError::Alert(_) | ProbeError::Closed);
    if is_connected {
        checks.push(Check::ok("name and port", format!("{} accepts connections", profile.endpoint)));
    }
    if matches!(error, ProbeError::Alert(_) | ProbeError::Closed) {
        checks.push(Check::ok("server's certificate", "valid, and of the profile's name and CA"));
    }
}

/// Checks the client's own certificate and key, without the gateway.
fn own_certificate(profile: &Profile, checks: &mut Vec<Check>) -> Option<PeerCertificate> {
    const NAME: &str = "own certificate";
    let file = profile.certificate.display();
    let Some(der) = first_certificate(&profile.certificate) else {
        let advice = "put the certificate that the gateway's operator registered into this file, in PEM";
        checks.push(Check::fault(NAME, format!("{file} has no certificate"), advice));
        return None;
    };
    let Ok(own) = PeerCertificate::parse(&der) else {
        let advice = "it needs one URI, spiffe://<trust domain>/<kind>/<id>/<system>, and the use clientAuth";
        checks.push(Check::fault(NAME, format!("{file} names no system of an organisation"), advice));
        return None;
    };
    if PrivateKeyDer::from_pem_file(&profile.key).is_err() {
        let advice = "put the private key of the certificate into this file, in PEM";
        checks.push(Check::fault(NAME, format!("{} has no private key", profile.key.display()), advice));
        return None;
    }
    let (now, name) = (SystemClock.now(), own.organisation());
    let days_left = (own.not_after().micros() - now.micros()) / DAY_MICROS;
    checks.push(match () {
        () if own.not_after() <= now => Check::fault(
            NAME,
            format!("of {name}, expired on {}", own.not_after()),
            "have a new certificate issued, and register it with `cert register`; then look at this machine's clock",
        ),
        () if now < own.not_before() => Check::fault(
            NAME,
            format!("of {name}, not valid before {}", own.not_before()),
            "set this machine's clock, or wait until then",
        ),
        () if days_left < EXPIRY_NOTICE_DAYS => Check::warning(
            NAME,
            format!("of {name}, valid until {}", own.not_after()),
            "have the next certificate issued, and register it with `cert register` before that",
        ),
        () => Check::ok(NAME, format!("of {name}, valid until {}", own.not_after())),
    });
    Some(own)
}

fn first_certificate(file: &Path) -> Option<CertificateDer<'static>> {
    CertificateDer::pem_file_iter(file).ok()?.next()?.ok()
}

/// Says until when the gateway's certificate is valid.
fn server_check(certificate: Option<&CertificateDer<'static>>) -> Check {
    const NAME: &str = "server's certificate";
    let parsed = certificate.and_then(|der| x509_parser::parse_x509_certificate(der).ok());
    let end = parsed.map(|(_, parsed)| parsed.validity().not_after.timestamp().saturating_mul(1_000_000));
    match end.and_then(|end| Instant::from_micros(end).ok()) {
        Some(end) => Check::ok(NAME, format!("of the profile's name and CA, valid until {end}")),
        None => Check::ok(NAME, "of the profile's name and CA"),
    }
}

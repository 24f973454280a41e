//! Checks of `doctor` that call the gateway: registration, agreements, clock, log key.

use prost::Message;
use tonic::Status;

use super::Check;
use crate::calendar::Date;
use crate::client::{self, CheckpointStore, Client, ClientError, Profile, ReceiptError};
use crate::clock::{Clock, Instant, SystemClock};
use crate::codes::organisation::OrganisationKind;
use crate::exchange::Reason;
use crate::identity::PeerCertificate;
use crate::proto::v1::{
    AgreementState, AuditEntry, GetOrganisationRequest, ListAgreementsRequest, Receipt, register_service,
};

const REGISTRATION: &str = "registration";
const AGREEMENTS: &str = "agreements";
const CLOCK: &str = "clock";
const LOG_KEY: &str = "log key";

/// Largest difference of the clocks, in seconds: tokens live fifteen minutes.
const MAX_CLOCK_DIFFERENCE_SECONDS: i64 = 60;

/// Makes the checks.
pub async fn examine(profile: &Profile, own: &PeerCertificate, checks: &mut Vec<Check>) {
    let client = match Client::connect(profile, CheckpointStore::default()).await {
        Ok(client) => client.without_retries(),
        Err(error) => return checks.push(explain(&error)),
    };
    let organisation = profile.on_behalf_of.clone().unwrap_or_else(|| own.organisation().as_str().to_owned());
    let request = GetOrganisationRequest { organisation: organisation.clone() };
    match client.call(register_service::GET_ORGANISATION, &request).await {
        Ok(reply) => {
            let name = reply.message.organisation.unwrap_or_default().display_name;
            checks.push(Check::ok(REGISTRATION, format!("{name} ({organisation}), active")));
            checks.push(Check::ok(LOG_KEY, "the gateway's receipt is signed by the profile's log key"));
            checks.extend(clock_check(&reply.receipt));
        }
        Err(error) => return checks.push(explain(&error)),
    }
    let is_party = matches!(
        own.organisation().kind(),
        OrganisationKind::La
            | OrganisationKind::School
            | OrganisationKind::Provider
            | OrganisationKind::Partner
    );
    if is_party {
        checks.push(agreements(&client).await);
    }
}

/// Checks that an agreement is in force today.
async fn agreements(client: &Client) -> Check {
    let state = AgreementState::InForce.into();
    let request = ListAgreementsRequest { page_size: 1_000, state, ..ListAgreementsRequest::default() };
    let reply = match client.call(register_service::LIST_AGREEMENTS, &request).await {
        Ok(reply) => reply,
        Err(error) => return explain(&error),
    };
    let entry = AuditEntry::decode(reply.receipt.entry.clone()).unwrap_or_default();
    let now = Instant::from_micros(entry.time_us).unwrap_or_else(|_| SystemClock.now());
    let today = Date::in_london(now).to_string();
    let is_current = |from: &str, to: &str| from <= today.as_str() && today.as_str() <= to;
    let found = reply.message.agreements;
    let current =
        found.iter().filter(|agreement| is_current(&agreement.from_date, &agreement.to_date)).count();
    if current > 0 {
        return Check::ok(AGREEMENTS, format!("{current} in force"));
    }
    let advice =
        "propose one with `agreement propose`, or read and sign one with `agreement list`, `show` and `sign`";
    Check::fault(AGREEMENTS, "no sharing agreement is in force today", advice)
}

/// Compares this machine's clock with the time of the gateway's entry.
fn clock_check(receipt: &Receipt) -> Option<Check> {
    let entry = AuditEntry::decode(receipt.entry.clone()).ok()?;
    let ahead = (SystemClock.now().micros() - entry.time_us) / 1_000_000;
    Some(if ahead.abs() <= MAX_CLOCK_DIFFERENCE_SECONDS {
        Check::ok(CLOCK, format!("{ahead} seconds ahead of the gateway's"))
    } else {
        let found = format!("{ahead} seconds ahead of the gateway's");
        Check::warning(CLOCK, found, "set this machine's clock: tokens of persons are refused by their times")
    })
}

/// Explains the failure of a call.
fn explain(error: &ClientError) -> Check {
    match error {
        ClientError::Refused(status) => explain_refusal(status),
        ClientError::Receipt(ReceiptError::Signature | ReceiptError::LogReplaced)
        | ClientError::Checkpoint(_) => Check::fault(
            LOG_KEY,
            error_text(error),
            "put the log key that the operator gives out into the profile; if it is that one, tell an auditor",
        ),
        ClientError::Unreachable(_) | ClientError::TimedOut => Check::fault(
            REGISTRATION,
            "the connection was cut before an answer",
            "run this again; if it stays so, the operator's log names the reason",
        ),
        _ => {
            Check::fault(LOG_KEY, error_text(error), "keep the profile's `seen` folder, and tell an auditor")
        }
    }
}

fn error_text(error: &ClientError) -> String {
    crate::store::error_chain(error)
}

fn explain_refusal(status: &Status) -> Check {
    let reason = client::reason(status);
    let is = |known: Reason| reason == known.name();
    let advice = match () {
        () if is(Reason::CertificateNotRegistered) => {
            "give the certificate to the operator, or register it with `cert register` and one that is registered"
        }
        () if is(Reason::CertificateRevoked) => "use a certificate that `cert list` shows as registered",
        () if is(Reason::OrganisationSuspended) => {
            "ask the operator; the delivery REGISTRATION in the mailbox says why, once the organisation is restored"
        }
        () if is(Reason::RevocationListExpired) => {
            "the authority of this certificate must publish a new revocation list, and the operator must install it"
        }
        () if is(Reason::GrantRequired) => {
            "the organisation named in on_behalf_of gives a grant with `grant processor`, for GetOrganisation too"
        }
        () if is(Reason::HostMismatch) => {
            "put a name of the gateway's certificate into the profile's endpoint"
        }
        () => "proto/ERRORS.md says what this reason means, and who fixes it",
    };
    Check::fault(REGISTRATION, format!("{reason}: {}", status.message()), advice)
}

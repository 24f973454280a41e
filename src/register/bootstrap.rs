//! Bootstrap of a log: its first entry, which registers the first operator. `init` writes it once; no method does.

use bytes::Bytes;
use uuid::Uuid;

use super::certificates::CertificateRow;
use super::organisations::OrganisationRow;
use crate::clock::{Instant, Randomness};
use crate::exchange::change::row_write;
use crate::identity::PeerCertificate;
use crate::proto::v1::{AuditEntry, OrganisationState, Outcome};
use crate::seal::{SealError, Vault};
use crate::store::proposal::{Guard, Proposal};
use crate::store::{CommitmentSalts, Revision};
use crate::tlog::commitment;

/// Method name in the first entry.
const INIT_METHOD: &str = "/apgateway.v1/init";

/// Builds the proposal for the first entry of a log.
///
/// # Errors
/// [`SealError::CryptoLibrary`] only.
pub fn bootstrap_proposal(
    random: &Randomness,
    now: Instant,
    vault: &Vault,
    operator: &PeerCertificate,
    display_name: &str,
) -> Result<Proposal, SealError> {
    let exchange = random.uuid_v7(now);
    let salts = CommitmentSalts::new(random);
    let organisation = OrganisationRow {
        organisation: operator.organisation().clone(),
        display_name: display_name.to_owned(),
        state: OrganisationState::Active,
        urn: None,
        ukprn: None,
        state_change: None,
        version: Revision::FIRST,
    };
    let certificate = CertificateRow::new(operator);
    let rows = vec![row_write(&organisation), row_write(&certificate)];
    let guards = rows
        .iter()
        .flat_map(|row| &row.versioned_keys)
        .map(|(key, _)| Guard { key: key.clone(), version: Revision::ABSENT });
    let sealed_salts = salts.seal(&vault.ring(), operator.organisation().as_str(), exchange, random)?;
    let entry = bootstrap_entry(exchange, operator, &salts);
    let mut proposal = Proposal::new(exchange, entry, salts, sealed_salts);
    proposal.guards = guards.collect();
    proposal.rows = rows;
    proposal.fill_commitments(vault.commitment_key());
    Ok(proposal)
}

fn bootstrap_entry(exchange: Uuid, operator: &PeerCertificate, salts: &CommitmentSalts) -> AuditEntry {
    let bytes = |bytes: &[u8]| Bytes::copy_from_slice(bytes);
    let mut entry = AuditEntry {
        exchange_id: bytes(exchange.as_bytes()),
        organisation: operator.organisation().as_str().to_owned(),
        system: operator.system().to_owned(),
        certificate_sha256: bytes(&operator.fingerprint()),
        method: INIT_METHOD.to_owned(),
        request_commitment: bytes(commitment(&salts.request, b"").as_bytes()),
        reply_commitment: bytes(commitment(&salts.reply, b"").as_bytes()),
        ..AuditEntry::default()
    };
    entry.set_outcome(Outcome::Ok);
    entry
}

//! Log entries of exchanges, and the proposals that carry them to the committer. The entry of a refusal is built
//! only from what the caller sent. No entry holds a name, a UPN, a date of birth or free text.

use aws_lc_rs::digest::{SHA256, digest};
use bytes::Bytes;
use uuid::Uuid;

use super::call::Call;
use super::caller::Caller;
use super::change::Change;
use super::emergency;
use super::outcomes;
use super::refusal::Reason;
use crate::clock::{Instant, Randomness};
use crate::codes::organisation::OrganisationId;
use crate::identity::GATEWAY_SYSTEM;
use crate::proto::v1::{AuditEntry, LogReplaced, Outcome as Entered};
use crate::seal::{CommitmentKey, SealError, Vault};
use crate::store::CommitmentSalts;
use crate::store::proposal::{Proposal, RequestKey, RowWrite};
use crate::tlog::commitment;

/// Method of the first entry of a log that replaces another.
const LOG_REPLACED_METHOD: &str = "/apgateway.v1/accept-rollback";
/// Maximum length in characters of a `traceparent` trace id that an entry repeats.
const MAX_TRACE_ID_CHARS: usize = 64;

/// Outcome of an exchange, with what its entry records.
pub(super) enum EntryOutcome<'a> {
    /// The exchange was permitted and decided.
    Done(&'a Caller, Change),
    /// The exchange was refused. The caller is `None` where its identity was not established.
    Refused(Option<&'a Caller>, Reason),
    /// The exchange repeats one that was done before.
    Replayed(&'a Caller),
}

impl EntryOutcome<'_> {
    /// Returns the number of the outcome, which the metrics count.
    pub(super) fn number(&self) -> usize {
        match self {
            Self::Done(..) => outcomes::DONE,
            Self::Refused(_, reason) => outcomes::number_of_refusal(*reason),
            Self::Replayed(_) => outcomes::REPLAYED,
        }
    }

    /// Returns the caller, if its identity was established.
    fn caller(&self) -> Option<&Caller> {
        match self {
            Self::Done(caller, _) | Self::Refused(Some(caller), _) | Self::Replayed(caller) => Some(caller),
            Self::Refused(None, _) => None,
        }
    }

    /// Returns the row that records who the person is, if it is new. It is left out when the database refused the rows of
    /// this exchange, because it was one of them, and when the exchange itself writes the person, because a person who
    /// ends itself under a new name would not be ended.
    fn person_record(&self) -> Option<RowWrite> {
        if matches!(self, Self::Refused(_, Reason::Failed)) {
            return None;
        }
        let record = self.caller()?.person_record.clone()?;
        let is_written = |row: &RowWrite| {
            let mut keys = row.versioned_keys.iter().map(|(key, _)| key);
            keys.any(|key| record.versioned_keys.iter().any(|(own, _)| own == key))
        };
        match self {
            Self::Done(_, change) if change.rows.iter().any(is_written) => None,
            _ => Some(record),
        }
    }

    /// Returns the organisation whose exchange it is: the one acted for, or else that of the certificate.
    pub(super) fn organisation<'a>(&'a self, call: &'a Call) -> &'a str {
        self.caller().map_or(call.peer.organisation(), |caller| &caller.organisation).as_str()
    }
}

/// Builds the proposal of an exchange. The committer looks `request` up whatever was decided, and stores it
/// only if the exchange was done.
pub(super) fn exchange_proposal(
    call: &Call,
    outcome: EntryOutcome<'_>,
    reply: Bytes,
    request: Option<RequestKey>,
    salts: CommitmentSalts,
    sealed_salts: Vec<u8>,
    key: &CommitmentKey,
) -> Proposal {
    let mut entry = entry_of_call(call, &salts);
    let remember = matches!(outcome, EntryOutcome::Done(..));
    let identity = outcome.caller().map_or(Vec::new(), |caller| caller.guards.clone());
    let person_record = outcome.person_record();
    let bare = Proposal::new(call.exchange_id, AuditEntry::default(), salts, sealed_salts);
    let mut proposal =
        Proposal { identity_guards: identity, request, store_for_replay: remember, reply, ..bare };
    match outcome {
        EntryOutcome::Done(caller, change) => {
            set_caller(&mut entry, caller);
            apply_change(&mut proposal, &mut entry, change);
        }
        EntryOutcome::Refused(caller, reason) => {
            if let Some(caller) = caller {
                set_caller(&mut entry, caller);
            }
            entry.set_outcome(match reason {
                Reason::Failed => Entered::Failed,
                Reason::Malformed => Entered::Malformed,
                _ => Entered::Refused,
            });
            reason.name().clone_into(&mut entry.reason);
        }
        EntryOutcome::Replayed(caller) => {
            set_caller(&mut entry, caller);
            entry.set_outcome(Entered::Replayed);
        }
    }
    // After everything that was decided.
    proposal.rows.extend(person_record);
    proposal.entry = entry;
    proposal.fill_commitments(key);
    proposal
}

/// Builds the proposal of a system exchange for an organisation. Its entry names no certificate, and no request
/// id is stored.
pub(super) fn system_proposal(
    method: &str,
    organisation: &OrganisationId,
    change: Change,
    salts: CommitmentSalts,
    sealed_salts: Vec<u8>,
    key: &CommitmentKey,
) -> Proposal {
    let mut proposal = Proposal::new(change.exchange_id, AuditEntry::default(), salts, sealed_salts);
    let mut entry = system_entry(change.exchange_id, organisation.as_str(), method, &salts);
    apply_change(&mut proposal, &mut entry, change);
    proposal.entry = entry;
    proposal.fill_commitments(key);
    proposal
}

fn system_entry(exchange: Uuid, organisation: &str, method: &str, salts: &CommitmentSalts) -> AuditEntry {
    AuditEntry {
        exchange_id: to_bytes(exchange.as_bytes()),
        organisation: organisation.to_owned(),
        system: GATEWAY_SYSTEM.to_owned(),
        method: method.to_owned(),
        request_commitment: to_bytes(commitment(&salts.request, b"").as_bytes()),
        ..AuditEntry::default()
    }
}

/// Builds the first entry of a log that continues after a rollback, in the operator's name. The entry holds the
/// last known checkpoint of the replaced log, and the checkpoint of the part that was kept. `accept-rollback`
/// calls this while no node serves.
///
/// # Errors
/// [`SealError::CryptoLibrary`] only.
pub fn log_replaced_proposal(
    random: &Randomness,
    now: Instant,
    vault: &Vault,
    operator: &str,
    last_checkpoint: &str,
    kept_checkpoint: &str,
) -> Result<Proposal, SealError> {
    let (exchange, salts) = (random.uuid_v7(now), CommitmentSalts::new(random));
    let mut entry = system_entry(exchange, operator, LOG_REPLACED_METHOD, &salts);
    entry.set_outcome(Entered::Ok);
    entry.reply_commitment = to_bytes(commitment(&salts.reply, b"").as_bytes());
    entry.previous_log = to_bytes(digest(&SHA256, last_checkpoint.as_bytes()).as_ref());
    entry.log_replaced = Some(LogReplaced {
        last_checkpoint: last_checkpoint.to_owned(),
        kept_checkpoint: kept_checkpoint.to_owned(),
    });
    let sealed_salts = salts.seal(&vault.ring(), operator, exchange, random)?;
    let mut proposal = Proposal::new(exchange, entry, salts, sealed_salts);
    proposal.fill_commitments(vault.commitment_key());
    Ok(proposal)
}

/// Moves a change into the proposal, and sets outcome and reply of the entry. The proposal's reply must be set.
fn apply_change(proposal: &mut Proposal, entry: &mut AuditEntry, change: Change) {
    entry.set_outcome(Entered::Ok);
    entry.reply_commitment = to_bytes(commitment(&proposal.salts.reply, &proposal.reply).as_bytes());
    entry.break_glass_over_limit = change.is_over_break_glass_limit;
    proposal.guards = change.guards;
    proposal.bumps = change.bumps;
    proposal.rows = change.rows;
    proposal.parties = change.parties;
    proposal.leaves = change.leaves;
    proposal.bases = change.bases;
}

fn entry_of_call(call: &Call, salts: &CommitmentSalts) -> AuditEntry {
    AuditEntry {
        exchange_id: to_bytes(call.exchange_id.as_bytes()),
        organisation: call.peer.organisation().as_str().to_owned(),
        system: call.peer.system().to_owned(),
        certificate_sha256: to_bytes(&call.peer.fingerprint()),
        method: call.method.path.to_owned(),
        identity_claimed: call.identity_claimed,
        break_glass: emergency::is_break_glass(call),
        trace_id: call.trace_id.chars().take(MAX_TRACE_ID_CHARS).collect(),
        request_commitment: to_bytes(commitment(&salts.request, &call.message).as_bytes()),
        ..AuditEntry::default()
    }
}

fn set_caller(entry: &mut AuditEntry, caller: &Caller) {
    caller.organisation.as_str().clone_into(&mut entry.organisation);
    if let Some(processor) = &caller.processor {
        processor.as_str().clone_into(&mut entry.processor);
    }
    if let Some(person) = &caller.person {
        entry.practitioner = to_bytes(&person.practitioner);
        entry.role = person.role_name();
        entry.set_purpose(person.purpose);
    }
}

fn to_bytes(bytes: &[u8]) -> Bytes {
    Bytes::copy_from_slice(bytes)
}

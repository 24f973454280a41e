//! The entry of an exchange: what the log keeps of it. A refusal's entry is built only from what the
//! caller sent; no entry holds a name, a UPN, a date of birth or free text.

use aws_lc_rs::digest::{SHA256, digest};
use bytes::Bytes;
use uuid::Uuid;

use super::change::Change;
use super::door::Call;
use super::{Caller, Reason};
use crate::clock::{Instant, Randomness};
use crate::codes::organisation::OrganisationId;
use crate::identity::GATEWAY_SYSTEM;
use crate::proto::v1::{AuditEntry, LogReplaced, Outcome as Entered};
use crate::seal::{SealError, Vault};
use crate::store::Salts;
use crate::store::proposal::{Proposal, RequestKey};
use crate::tlog::commitment;

/// Counterparts named in an entry; the rest are only counted, the rows of parties have all.
const COUNTERPARTS: usize = 32;
/// What the first entry of a log that replaces another names as its method.
const REPLACED: &str = "/apgateway.v1/accept-rollback";
/// Longest text of a caller's own making that an entry repeats.
const TRACE: usize = 64;

/// What became of the exchange, with what is known of it.
pub(super) enum Of<'a> {
    /// It was permitted and decided.
    Done(&'a Caller, Change),
    /// It was refused.
    Refused(Option<&'a Caller>, Reason),
    /// It repeats one that was done.
    Replayed(&'a Caller),
}

impl Of<'_> {
    /// The caller, where its identity was established.
    fn caller(&self) -> Option<&Caller> {
        match self {
            Self::Done(caller, _) | Self::Refused(Some(caller), _) | Self::Replayed(caller) => Some(caller),
            Self::Refused(None, _) => None,
        }
    }

    /// Whose exchange it is: the organisation acted for, or the certificate's own.
    pub(super) fn organisation<'a>(&'a self, call: &'a Call) -> &'a str {
        self.caller().map_or(call.peer.organisation(), |caller| &caller.organisation).as_str()
    }
}

/// The proposal of an exchange. `request` is looked up whatever was decided, and remembered only with an
/// effect.
pub(super) fn proposal(
    call: &Call,
    of: Of<'_>,
    reply: Bytes,
    request: Option<RequestKey>,
    salts: Salts,
    sealed_salts: Vec<u8>,
) -> Proposal {
    let mut entry = base(call, &salts);
    let remember = matches!(of, Of::Done(..));
    let identity = of.caller().map_or(Vec::new(), |caller| caller.guards.clone());
    let bare = bare(call.exchange, salts, sealed_salts);
    let mut proposal = Proposal { identity, request, remember, reply, ..bare };
    match of {
        Of::Done(caller, change) => {
            identify(&mut entry, caller);
            done(&mut proposal, &mut entry, change);
        }
        Of::Refused(caller, reason) => {
            if let Some(caller) = caller {
                identify(&mut entry, caller);
            }
            entry.set_outcome(match reason {
                Reason::Failed => Entered::Failed,
                Reason::Malformed => Entered::Malformed,
                _ => Entered::Refused,
            });
            reason.name().clone_into(&mut entry.reason);
        }
        Of::Replayed(caller) => {
            identify(&mut entry, caller);
            entry.set_outcome(Entered::Replayed);
        }
    }
    proposal.entry = entry;
    proposal
}

/// The proposal of what the gateway decided by itself for an organisation: nobody's certificate is in its entry,
/// and no request is remembered.
pub(super) fn by_itself(
    method: &str,
    organisation: &OrganisationId,
    change: Change,
    salts: Salts,
    sealed_salts: Vec<u8>,
) -> Proposal {
    let mut proposal = bare(change.exchange, salts, sealed_salts);
    let mut entry = own(change.exchange, organisation.as_str(), method, &salts);
    done(&mut proposal, &mut entry, change);
    proposal.entry = entry;
    proposal
}

fn own(exchange: Uuid, organisation: &str, method: &str, salts: &Salts) -> AuditEntry {
    AuditEntry {
        exchange_id: bytes_of(exchange.as_bytes()),
        organisation: organisation.to_owned(),
        system: GATEWAY_SYSTEM.to_owned(),
        method: method.to_owned(),
        request_commitment: bytes_of(commitment(&salts.request, b"").as_bytes()),
        ..AuditEntry::default()
    }
}

/// The first entry of a log that goes on after a rollback, for the operator: the last checkpoint that was known of
/// the log that it replaces, and that of what was kept. No node serves meanwhile; `accept-rollback` makes it.
///
/// # Errors
/// [`SealError::Library`] only.
pub fn log_replaced(
    random: &Randomness,
    now: Instant,
    vault: &Vault,
    operator: &str,
    last_checkpoint: &str,
    kept_checkpoint: &str,
) -> Result<Proposal, SealError> {
    let (exchange, salts) = (random.uuid_v7(now), Salts::new(random));
    let mut entry = own(exchange, operator, REPLACED, &salts);
    entry.set_outcome(Entered::Ok);
    entry.reply_commitment = bytes_of(commitment(&salts.reply, b"").as_bytes());
    entry.previous_log = bytes_of(digest(&SHA256, last_checkpoint.as_bytes()).as_ref());
    entry.log_replaced = Some(LogReplaced {
        last_checkpoint: last_checkpoint.to_owned(),
        kept_checkpoint: kept_checkpoint.to_owned(),
    });
    let sealed_salts = salts.seal(&vault.ring(), operator, exchange, random)?;
    let mut proposal = bare(exchange, salts, sealed_salts);
    proposal.entry = entry;
    Ok(proposal)
}

/// A proposal of nothing yet.
fn bare(exchange: Uuid, salts: Salts, sealed_salts: Vec<u8>) -> Proposal {
    Proposal {
        exchange,
        entry: AuditEntry::default(),
        identity: Vec::new(),
        request: None,
        remember: false,
        guards: Vec::new(),
        bumps: Vec::new(),
        rows: Vec::new(),
        parties: Vec::new(),
        leaves: Vec::new(),
        reply: Bytes::new(),
        salts,
        sealed_salts,
    }
}

/// What was decided, with the proposal's reply.
fn done(proposal: &mut Proposal, entry: &mut AuditEntry, change: Change) {
    entry.set_outcome(Entered::Ok);
    entry.reply_commitment = bytes_of(commitment(&proposal.salts.reply, &proposal.reply).as_bytes());
    fill(entry, &change);
    proposal.guards = change.guards;
    proposal.bumps = change.bumps;
    proposal.rows = change.rows;
    proposal.parties = change.parties;
    proposal.leaves = change.leaves;
}

fn base(call: &Call, salts: &Salts) -> AuditEntry {
    AuditEntry {
        exchange_id: bytes_of(call.exchange.as_bytes()),
        organisation: call.peer.organisation().as_str().to_owned(),
        system: call.peer.system().to_owned(),
        certificate_sha256: bytes_of(&call.peer.fingerprint()),
        method: call.path.to_owned(),
        identity_claimed: call.identity_claimed,
        trace_id: call.trace.chars().take(TRACE).collect(),
        request_commitment: bytes_of(commitment(&salts.request, &call.message).as_bytes()),
        ..AuditEntry::default()
    }
}

fn identify(entry: &mut AuditEntry, caller: &Caller) {
    caller.organisation.as_str().clone_into(&mut entry.organisation);
    if let Some(processor) = &caller.processor {
        processor.as_str().clone_into(&mut entry.processor);
    }
}

fn fill(entry: &mut AuditEntry, change: &Change) {
    if let Some(basis) = change.permit.basis() {
        entry.agreement_id = bytes_of(basis.agreement.as_bytes());
        entry.set_purpose(basis.purpose);
        entry.set_article_6(basis.article_6);
        if let Some(article_9) = basis.article_9 {
            entry.set_article_9(article_9);
        }
        entry.schedule_1.clone_from(&basis.schedule_1);
        entry.agreement_lapsed = basis.lapsed;
    }
    let mut others: Vec<&str> = change.parties.iter().map(|party| party.organisation.as_str()).collect();
    others.sort_unstable();
    others.dedup();
    others.retain(|organisation| *organisation != entry.organisation);
    entry.counterpart_count = u32::try_from(others.len()).unwrap_or(u32::MAX);
    entry.counterparts = others.iter().take(COUNTERPARTS).map(|&other| other.to_owned()).collect();
    entry.child_count = u32::try_from(change.leaves.len()).unwrap_or(u32::MAX);
    if let Some(root) = change.child_root() {
        entry.child_root = bytes_of(root.as_bytes());
    }
}

fn bytes_of(bytes: &[u8]) -> Bytes {
    Bytes::copy_from_slice(bytes)
}

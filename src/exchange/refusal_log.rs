//! The operator's log of refusals: a line for the first refusal of a certificate, method and reason, and after a minute
//! a line with the number of its repeats. Lines of one certificate, and of all, are bounded, so that no caller can fill
//! the log. A line names no child: it holds what the entry of the refusal holds of its caller.

use std::collections::{HashMap, HashSet};
use std::fmt::Write as _;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;
use uuid::Uuid;

use super::call::Call;
use super::refusal::Reason;
use crate::identity::PeerCertificate;

/// Time in which repeats are counted.
const COUNTING_TIME: Duration = Duration::from_mins(1);
/// Maximum number of kinds of refusals with a line of their own within that time.
const MAX_KINDS: usize = 1_024;
/// Maximum number of them of one certificate.
const MAX_KINDS_PER_CERTIFICATE: usize = 16;
/// Maximum length of a message in bytes. With time and level the line has at most 200.
const MAX_MESSAGE_BYTES: usize = 128;
/// Number of hexadecimal digits of the certificate's fingerprint in a line.
const FINGERPRINT_DIGITS: usize = 12;

/// The refusals since the last count was logged.
pub struct RefusalLog(Mutex<Counts>);

struct Counts {
    began: Instant,
    by_kind: HashMap<RefusalKind, Count>,
    /// Number of kinds by certificate.
    by_certificate: HashMap<[u8; 32], usize>,
    /// Refusals without a line of their own.
    others: u64,
    /// Certificates of clients that have the key of another log.
    with_other_log_key: HashSet<[u8; 32]>,
}

#[derive(PartialEq, Eq, Hash)]
struct RefusalKind {
    certificate: [u8; 32],
    method: &'static str,
    reason: Reason,
    /// What was full, for a refusal because of memory.
    full_part: &'static str,
}

struct Count {
    repeats: u64,
    message: String,
}

impl Default for RefusalLog {
    fn default() -> Self {
        Self(Mutex::new(Counts::new()))
    }
}

impl RefusalLog {
    /// Logs a refusal, or counts it. `exchange` is the id in the entry.
    pub(super) fn add(&self, call: &Call, exchange: Uuid, reason: Reason) {
        let certificate = call.peer.fingerprint();
        let full_part = full_part(call, reason);
        let kind = RefusalKind { certificate, method: call.method.path, reason, full_part };
        let mut counts = self.lock();
        if let Some(count) = counts.by_kind.get_mut(&kind) {
            count.repeats += 1;
            return;
        }
        let of_certificate = counts.by_certificate.get(&certificate).copied().unwrap_or_default();
        if of_certificate >= MAX_KINDS_PER_CERTIFICATE || counts.by_kind.len() >= MAX_KINDS {
            counts.others += 1;
            return;
        }
        let message = message(call, exchange, reason);
        tracing::warn!("refused {message}");
        counts.by_certificate.insert(certificate, of_certificate + 1);
        counts.by_kind.insert(kind, Count { repeats: 0, message });
    }

    /// Logs, once a minute, that a client verifies with the key of another log: it refuses every receipt, and the gateway
    /// would not learn it otherwise.
    pub(super) fn note_other_log_key(&self, peer: &PeerCertificate) {
        let mut counts = self.lock();
        let noted = &mut counts.with_other_log_key;
        if noted.len() < MAX_KINDS && noted.insert(peer.fingerprint()) {
            tracing::warn!(
                "{}",
                with_caller("the log key of the client is another log's: ".to_owned(), peer)
            );
        }
    }

    /// Logs the counts, if the last ones are a minute old, or in any case if `is_last`.
    pub(super) fn log_counts(&self, is_last: bool) {
        let mut counts = self.lock();
        if !is_last && counts.began.elapsed() < COUNTING_TIME {
            return;
        }
        let Counts { by_kind, others, .. } = std::mem::replace(&mut *counts, Counts::new());
        drop(counts);
        for Count { repeats, message } in by_kind.into_values().filter(|count| count.repeats > 0) {
            tracing::warn!("+{repeats} {message}");
        }
        if others > 0 {
            tracing::warn!("+{others} refusals of further kinds");
        }
    }

    /// A poisoned table is safe to use: at worst a count is too low.
    fn lock(&self) -> MutexGuard<'_, Counts> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Counts {
    fn new() -> Self {
        Self {
            began: Instant::now(),
            by_kind: HashMap::new(),
            by_certificate: HashMap::new(),
            others: 0,
            with_other_log_key: HashSet::new(),
        }
    }
}

fn full_part(call: &Call, reason: Reason) -> &'static str {
    if reason == Reason::BuffersFull { call.memory.full_part() } else { "" }
}

/// Returns the text of a line: exchange id, reason, method, caller, and the start of the certificate's fingerprint.
fn message(call: &Call, exchange: Uuid, reason: Reason) -> String {
    let method = call.method.path.rsplit('/').next().unwrap_or_default();
    let full_part = full_part(call, reason);
    let separator = if full_part.is_empty() { "" } else { ":" };
    let text = format!("{} {}{separator}{full_part} {method} ", exchange.hyphenated(), reason.name());
    with_caller(text, &call.peer)
}

/// Appends a caller, cut if it is long, and the start of its certificate's fingerprint.
fn with_caller(mut text: String, peer: &PeerCertificate) -> String {
    let mut fingerprint = String::with_capacity(FINGERPRINT_DIGITS);
    for byte in peer.fingerprint().iter().take(FINGERPRINT_DIGITS / 2) {
        write!(fingerprint, "{byte:02x}").ok();
    }
    // "refused " and the fingerprint, which identifies a caller whose name is cut.
    let room = MAX_MESSAGE_BYTES.saturating_sub(text.len() + 8 + 1 + FINGERPRINT_DIGITS);
    let caller = format!("{}/{}", peer.organisation(), peer.system());
    match caller.get(..room) {
        Some(cut) if room < caller.len() => text.push_str(cut.get(..room - 1).unwrap_or_default()),
        _ => text.push_str(&caller),
    }
    if room < caller.len() {
        text.push('~');
    }
    text + " " + &fingerprint
}

//! Log of refused and cut connections for the operator. Repeats within a minute are folded into one line with a count,
//! because a peer can be refused thousands of times a second, and a line has at most 200 bytes.

use std::collections::HashMap;
use std::fmt::Write;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::pending_sockets::network_of;
use crate::identity::CertificateSummary;

/// Interval in which repeats are folded.
const FOLD_INTERVAL: Duration = Duration::from_mins(1);
/// Maximum number of peers and reasons whose repeats are counted apart.
const MAX_FOLDS: usize = 256;
/// Maximum number of certificates of one network that are counted apart for one reason: one peer can send as many as it
/// likes that no authority signed.
const MAX_FOLDS_PER_NETWORK: usize = 16;
/// Maximum length of a message, in bytes; the JSON log adds 72 bytes to it.
const MAX_MESSAGE_BYTES: usize = 128;
/// Maximum length of a serial number in a message: 64 bits, enough to find a certificate.
const MAX_SERIAL_BYTES: usize = 18;
/// Maximum length of a URI in a message.
const MAX_URI_BYTES: usize = 64;

/// Why a connection was refused or cut.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ConnectionRefusal {
    /// The reason, in plain words.
    pub reason: &'static str,
    /// The peer's certificate, if it sent one.
    pub certificate: Option<CertificateSummary>,
}

/// Log of refused connections. Cheap to clone.
#[derive(Clone, Default)]
pub(super) struct ConnectionRefusals(Arc<Mutex<HashMap<FoldKey, Fold>>>);

/// Refusals that are folded together: those of one certificate from one network. The certificates of a network beyond
/// [`MAX_FOLDS_PER_NETWORK`] are counted together, and a table that is full counts those of all further peers together.
#[derive(Clone, PartialEq, Eq, Hash)]
struct FoldKey {
    network: Option<IpAddr>,
    /// Serial number and issuer.
    certificate: Option<(String, String)>,
    reason: &'static str,
}

/// Repeats since a line was written.
struct Fold {
    since: Instant,
    repeats: u64,
    /// Peer and certificate of the last refusal.
    subject: String,
}

impl ConnectionRefusal {
    /// Makes a refusal of a peer without a certificate.
    pub fn without_certificate(reason: &'static str) -> Self {
        Self { reason, certificate: None }
    }

    /// Makes a refusal of a peer with a certificate, DER.
    pub fn of_certificate(reason: &'static str, certificate: &[u8]) -> Self {
        Self { reason, certificate: CertificateSummary::read(certificate) }
    }
}

impl FoldKey {
    fn new(address: IpAddr, refusal: &ConnectionRefusal) -> Self {
        let certificate = refusal.certificate.as_ref();
        Self {
            network: Some(network_of(address)),
            certificate: certificate.map(|read| (read.serial.clone(), read.issuer.clone())),
            reason: refusal.reason,
        }
    }
}

impl ConnectionRefusals {
    /// Logs a refusal, or counts it if the same was logged within the last minute.
    pub fn record(&self, address: IpAddr, refusal: &ConnectionRefusal) {
        let now = Instant::now();
        self.write_repeats(now);
        let mut folds = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut key = FoldKey::new(address, refusal);
        let mut subject = subject(address, refusal.certificate.as_ref());
        if key.certificate.is_some() && !folds.contains_key(&key) {
            let is_same = |other: &&FoldKey| other.network == key.network && other.reason == key.reason;
            if folds.keys().filter(is_same).count() >= MAX_FOLDS_PER_NETWORK {
                key.certificate = None;
                subject = format!("{}; many certificates", address.to_canonical());
            }
        }
        if !folds.contains_key(&key) && folds.len() >= MAX_FOLDS {
            (key.network, key.certificate) = (None, None);
        }
        if let Some(fold) = folds.get_mut(&key) {
            fold.repeats += 1;
            fold.subject = subject;
        } else {
            tracing::warn!("{}", message(refusal.reason, 0, &subject));
            folds.insert(key, Fold { since: now, repeats: 0, subject });
        }
    }

    /// Logs all repeats that were counted, at the end of the process.
    pub fn write_all_repeats(&self) {
        self.write_repeats(Instant::now() + FOLD_INTERVAL);
    }

    /// Logs the repeats whose minute is over.
    pub fn write_repeats(&self, now: Instant) {
        let mut folds = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        folds.retain(|key, fold| {
            let is_open = now.duration_since(fold.since) < FOLD_INTERVAL;
            if !is_open && fold.repeats > 0 {
                let subject = if key.network.is_some() { &fold.subject } else { "many peers" };
                tracing::warn!("{}", message(key.reason, fold.repeats, subject));
            }
            is_open
        });
    }
}

/// Describes a peer, at most as long as a message.
fn subject(address: IpAddr, certificate: Option<&CertificateSummary>) -> String {
    let mut text = address.to_canonical().to_string();
    if let Some(CertificateSummary { issuer, serial, uri }) = certificate {
        write!(text, "; serial {}", printable(serial, MAX_SERIAL_BYTES)).ok();
        if let Some(uri) = uri {
            write!(text, "; {}", printable(uri, MAX_URI_BYTES)).ok();
        }
        write!(text, "; by {}", printable(issuer, MAX_MESSAGE_BYTES)).ok();
    }
    text
}

/// Builds a message, cut to its maximum length.
fn message(reason: &str, repeats: u64, subject: &str) -> String {
    let times = if repeats > 0 { format!(" {repeats} more times") } else { String::new() };
    printable(&format!("refused{times}: {reason}; {subject}"), MAX_MESSAGE_BYTES)
}

/// Cuts a text to a number of bytes, and replaces what the JSON log would escape and what does not print.
fn printable(text: &str, max_bytes: usize) -> String {
    let safe = |letter: char| letter.is_alphanumeric() || " !#$%&()*+,-./:;<=>?@[]^_{|}~".contains(letter);
    let mut cut = String::new();
    for letter in text.chars() {
        let letter = if safe(letter) { letter } else { '?' };
        if cut.len() + letter.len_utf8() > max_bytes {
            // Two dots stand for the rest.
            while cut.len() + 2 > max_bytes {
                cut.pop();
            }
            return cut + "..";
        }
        cut.push(letter);
    }
    cut
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal() -> ConnectionRefusal {
        let certificate = CertificateSummary {
            issuer: "AP\u{202e}\"\\\u{7}CA".to_owned() + &"é".repeat(4_000),
            serial: "ab".repeat(20),
            uri: Some("spiffe://ap.example/provider/riverside/register".to_owned()),
        };
        ConnectionRefusal { reason: "revoked", certificate: Some(certificate) }
    }

    #[test]
    fn a_message_is_short_and_has_no_control_characters() {
        let refusal = refusal();
        let peer = "2001:db8:1111:2222:3333:4444:5555:6666".parse().unwrap();
        let text = message(refusal.reason, 123_456, &subject(peer, refusal.certificate.as_ref()));
        assert!(text.len() <= MAX_MESSAGE_BYTES && text.len() > MAX_MESSAGE_BYTES - 3, "{text}");
        assert!(text.starts_with("refused 123456 more times: revoked; 2001:db8:1111"), "{text}");
        let text = message(refusal.reason, 0, &subject([192, 0, 2, 1].into(), refusal.certificate.as_ref()));
        let expected = "refused: revoked; 192.0.2.1; serial abababababababab..; \
                        spiffe://ap.example/provider/riverside/register; by AP????CAééééé..";
        assert_eq!(text, expected);
        let short = CertificateSummary { serial: "7".to_owned(), uri: None, ..refusal.certificate.unwrap() };
        let text = message(refusal.reason, 0, &subject([192, 0, 2, 1].into(), Some(&short)));
        assert!(text.contains("; serial 7; by AP????CAéé"), "{text}");
    }

    #[tokio::test(start_paused = true)]
    async fn repeats_of_a_minute_are_counted_and_the_table_is_bounded() {
        let (log, refusal) = (ConnectionRefusals::default(), refusal());
        let repeats = |log: &ConnectionRefusals| {
            let folds = log.0.lock().unwrap();
            (folds.len(), folds.values().map(|fold| fold.repeats).sum::<u64>())
        };
        for _ in 0..1_000 {
            log.record([192, 0, 2, 1].into(), &refusal);
        }
        assert_eq!(repeats(&log), (1, 999));
        for host in 0..1_000_u32 {
            log.record(std::net::Ipv4Addr::from_bits(host).into(), &refusal);
        }
        assert_eq!(repeats(&log).0, MAX_FOLDS + 1);
        tokio::time::advance(FOLD_INTERVAL).await;
        log.write_repeats(Instant::now());
        assert_eq!(repeats(&log), (0, 0));
    }

    #[tokio::test(start_paused = true)]
    async fn certificates_of_one_address_are_counted_apart_up_to_a_bound() {
        let log = ConnectionRefusals::default();
        let of_serial = |serial: u32| {
            let mut refusal = refusal();
            if let Some(certificate) = &mut refusal.certificate {
                certificate.serial = serial.to_string();
            }
            refusal
        };
        for serial in [1, 2, 1, 2, 2] {
            log.record([192, 0, 2, 1].into(), &of_serial(serial));
        }
        let mut counted: Vec<_> =
            log.0.lock().unwrap().values().map(|fold| (fold.repeats, fold.subject.clone())).collect();
        counted.sort();
        assert!(counted[0].0 == 1 && counted[0].1.contains("serial 1;"), "{counted:?}");
        assert!(counted[1].0 == 2 && counted[1].1.contains("serial 2;"), "{counted:?}");
        for serial in 0..1_000 {
            log.record([192, 0, 2, 1].into(), &of_serial(serial));
        }
        let folds = log.0.lock().unwrap();
        assert_eq!(folds.len(), MAX_FOLDS_PER_NETWORK + 1);
        let rest = folds.iter().find(|(key, _)| key.certificate.is_none()).unwrap().1;
        assert_eq!(rest.subject, "192.0.2.1; many certificates");
    }
}

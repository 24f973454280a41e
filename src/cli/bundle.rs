//! Bundles: one entry of the log with its proof, as a file that anyone can check with the log's key. A bundle has a
//! readable form of the entry, and the receipt without its salts, which prove nothing without the request. Everything
//! in it follows from the entry's bytes, the index, the proof and the checkpoint: a check makes the bundle again from
//! these, and refuses one that differs anywhere.

use std::io::Read;
use std::path::Path;

use prost::Message;
use serde_json::{Map, Value as Json};

use super::args::CheckBundleArgs;
use super::{Failure, entry_json, json_decode, output, print_line};
use crate::proto;
use crate::proto::v1::Receipt;
use crate::tlog::{Checkpoint, Hash, LogKeyHistory, LogKeyHistoryError, leaf_hash, verify_inclusion};

/// Largest bundle, in bytes. An entry has at most 4 KiB.
const MAX_BUNDLE_BYTES: u64 = 256 << 10;
/// Largest file of a log key, in bytes.
const MAX_LOG_KEY_BYTES: u64 = 64 << 10;
/// Most characters of an error message, because it may name a member of a file that nobody has checked.
const MAX_MESSAGE_CHARS: usize = 300;

/// Why a bundle proves nothing, in one line.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct BundleError(String);

impl BundleError {
    /// Makes an error; control characters are escaped, and a long message is cut.
    pub(super) fn new(message: &str) -> Self {
        let plain: String = message.chars().take(MAX_MESSAGE_CHARS).collect();
        Self(output::escape_control(&plain))
    }
}

/// An entry whose inclusion in a signed tree was verified.
#[derive(Debug)]
pub struct ProvedEntry {
    checkpoint: Checkpoint,
    /// The receipt, without salts.
    receipt: Receipt,
    /// The entry in readable form.
    members: Map<String, Json>,
}

impl ProvedEntry {
    /// Verifies the entry, the proof and the checkpoint of a receipt.
    ///
    /// # Errors
    /// [`BundleError`] if the checkpoint is not of this log, the entry is not in its tree, or cannot be decoded.
    pub fn verify(receipt: &Receipt, log_key: &LogKeyHistory) -> Result<Self, BundleError> {
        let checkpoint = open_checkpoint(&receipt.checkpoint, log_key)?;
        let proof: Result<Vec<Hash>, _> =
            receipt.inclusion_proof.iter().map(|hash| Hash::try_from(&hash[..])).collect();
        let proof =
            proof.map_err(|_| BundleError::new("receipt.inclusion_proof: a hash is not of 32 bytes"))?;
        let leaf = leaf_hash(&receipt.entry);
        verify_inclusion(&leaf, receipt.index, checkpoint.size(), &proof, checkpoint.root())
            .map_err(|error| BundleError::new(&format!("the entry is not in the signed tree: {error}")))?;
        let members = entry_json::decode_entry(&receipt.entry).map_err(|error| BundleError::new(&error))?;
        let receipt = Receipt {
            exchange_id: members.get("exchange_id").and_then(Json::as_str).unwrap_or_default().to_owned(),
            index: receipt.index,
            tree_size: checkpoint.size(),
            entry: receipt.entry.clone(),
            inclusion_proof: receipt.inclusion_proof.clone(),
            checkpoint: receipt.checkpoint.clone(),
            ..Receipt::default()
        };
        Ok(Self { checkpoint, receipt, members })
    }

    /// Verifies a bundle.
    ///
    /// # Errors
    /// [`BundleError`] if it is not a bundle, proves nothing, or says anything else than the entry that it proves.
    pub fn from_bundle(bundle: &[u8], log_key: &LogKeyHistory) -> Result<Self, BundleError> {
        let first = |faults: Vec<String>| BundleError::new(faults.first().map_or("", String::as_str));
        if bundle.len() as u64 > MAX_BUNDLE_BYTES {
            return Err(BundleError::new(&format!("larger than {} KiB", MAX_BUNDLE_BYTES >> 10)));
        }
        let text = std::str::from_utf8(bundle).map_err(|_| BundleError::new("not JSON: not UTF-8 text"))?;
        let (json, duplicates) = json_decode::parse_json(text).map_err(|error| BundleError::new(&error))?;
        let message = proto::descriptor_pool().get_message_by_name("apgateway.v1.Receipt");
        let message = message.ok_or_else(|| BundleError::new("receipt: not described"))?;
        let receipt = json.get("receipt").ok_or_else(|| BundleError::new("receipt: missing"))?;
        let receipt = json_decode::decode(receipt.clone(), &message, "receipt", duplicates).map_err(first)?;
        let receipt = Receipt::decode(&receipt.encode_to_vec()[..]);
        let receipt = receipt.map_err(|_| BundleError::new("receipt: not a receipt"))?;
        let proved = Self::verify(&receipt, log_key)?;
        let expected = proved.bundle().map_err(|failure| BundleError::new(&failure.to_string()))?;
        first_difference(&expected, &json, "").map_or(Ok(proved), |fault| Err(BundleError::new(&fault)))
    }

    /// Returns the bundle that proves the entry.
    ///
    /// # Errors
    /// Exit code 70 if the receipt cannot be converted, which is a bug.
    pub fn bundle(&self) -> Result<Json, Failure> {
        let receipt = output::to_json("Receipt", &self.receipt)?;
        Ok(serde_json::json!({ "entry": self.members, "receipt": receipt }))
    }

    /// Returns the UUID of the exchange that the entry records.
    #[must_use]
    pub fn exchange_id(&self) -> &str {
        &self.receipt.exchange_id
    }

    /// Describes what is proved: the entry's place in the log, then its fields, each as JSON on a line of its own.
    #[must_use]
    pub fn describe(&self) -> String {
        let (index, origin, size) = (self.receipt.index, self.checkpoint.origin(), self.checkpoint.size());
        let first =
            format!("proved: entry {index} of the log {origin}, in its signed tree of {size} entries");
        self.members.iter().fold(first, |text, (name, value)| format!("{text}\n{name}: {value}"))
    }
}

/// Opens a checkpoint that the log signed, and nobody else: a bundle's reader could check no other signature.
fn open_checkpoint(note: &str, log_key: &LogKeyHistory) -> Result<Checkpoint, BundleError> {
    let origin = note.split('\n').next().unwrap_or_default();
    if !log_key.contains_name(origin) {
        let given = log_key.present().name();
        return Err(BundleError::new(&format!("the checkpoint is of the log {origin}, the key of {given}")));
    }
    let checkpoint = log_key.open(note).map_err(|error| match error {
        LogKeyHistoryError::Signature => BundleError::new("the checkpoint is not signed by the log's key"),
        other => BundleError::new(other.message()),
    })?;
    let signatures = note.rsplit_once("\n\n").map_or(0, |(_, lines)| lines.lines().count());
    if signatures != 1 {
        return Err(BundleError::new("receipt.checkpoint: more signatures than that of the log's key"));
    }
    Ok(checkpoint)
}

/// Returns the path of the first value of a bundle that differs from what its proof says, and how it differs.
fn first_difference(proved: &Json, found: &Json, path: &str) -> Option<String> {
    let below = |name: &str| if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") };
    match (proved, found) {
        (Json::Object(proved), Json::Object(found)) => {
            let unknown = found.keys().find(|name| !proved.contains_key(*name));
            let unknown = unknown.map(|name| format!("{}: not in the entry that is proved", below(name)));
            unknown.or_else(|| {
                proved.iter().find_map(|(name, proved)| match found.get(name) {
                    Some(found) => first_difference(proved, found, &below(name)),
                    None => Some(format!("{}: missing", below(name))),
                })
            })
        }
        (Json::Array(proved), Json::Array(found)) if proved.len() == found.len() => {
            let mut pairs = proved.iter().zip(found).enumerate();
            pairs.find_map(|(at, (proved, found))| first_difference(proved, found, &format!("{path}[{at}]")))
        }
        _ => (proved != found).then(|| format!("{path}: differs from the entry that is proved")),
    }
}

/// Verifies a bundle, and prints the entry that it proves, decoded from the entry's own bytes.
///
/// # Errors
/// Exit code 1 if the key is invalid or the bundle does not verify, 69 if the file cannot be read.
pub fn check(args: &CheckBundleArgs) -> Result<(), Failure> {
    let log_key = read_log_key(&args.log_key).map_err(Failure::refused)?;
    let bundle = read_bounded(&args.bundle, MAX_BUNDLE_BYTES);
    let bundle = bundle.map_err(|error| Failure::unavailable("the bundle", error))?;
    let proved = ProvedEntry::from_bundle(&bundle, &log_key);
    let proved = proved.map_err(|error| {
        Failure::refused(error.to_string()).with_subject(&args.bundle.display().to_string())
    })?;
    print_line(&proved.describe());
    Ok(())
}

/// Returns the keys that the argument `--log-key` is, or that are in the file that it names.
///
/// # Errors
/// What is wrong with the argument.
pub(super) fn read_log_key(argument: &str) -> Result<LogKeyHistory, &'static str> {
    if let Ok(log_key) = LogKeyHistory::parse(argument) {
        return Ok(log_key);
    }
    let file = read_bounded(Path::new(argument), MAX_LOG_KEY_BYTES).ok();
    let text = file.and_then(|bytes| String::from_utf8(bytes).ok());
    let log_key = text.and_then(|text| LogKeyHistory::parse(&text).ok());
    log_key.ok_or("--log-key: not a log key, nor a file of one")
}

/// Reads a file up to one byte more than `max`.
fn read_bounded(path: &Path, max: u64) -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    std::fs::File::open(path)?.take(max.saturating_add(1)).read_to_end(&mut bytes)?;
    Ok(bytes)
}

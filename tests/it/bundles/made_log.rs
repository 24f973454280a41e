//! A log of entries that no gateway wrote: every field of an entry set, every value of each enumeration, and encodings
//! that the log does not use.

use ap_gateway::cli::bundle::ProvedEntry;
use ap_gateway::proto;
use ap_gateway::proto::v1::Receipt;
use ap_gateway::tlog::{Checkpoint, Hash, Prover, Signer, leaf_hash, tree_root};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use prost::Message;
use prost_reflect::{DynamicMessage, FieldDescriptor, Kind, MessageDescriptor, Value};
use serde_json::json;

/// A text with everything that JSON escapes, and letters beyond ASCII.
const TEXT: &str = "a \"b\"\\ \u{7}\n\t\u{7f}é \u{2014}\u{2028} 李";

pub struct MadeLog {
    pub entries: Vec<Vec<u8>>,
    signer: Signer,
}

impl MadeLog {
    pub fn new(name: &str, seed: u8, entries: Vec<Vec<u8>>) -> Self {
        Self { entries, signer: Signer::from_seed(name, &[seed; 32]).unwrap() }
    }

    /// Makes a log whose first entry has every field set; one entry follows for each further value of an enumeration.
    pub fn with_every_field(name: &str, seed: u8) -> Self {
        let mut entries = vec![filled(&entry_descriptor()).encode_to_vec()];
        for field in entry_descriptor().fields() {
            let kind = field.kind();
            let values =
                kind.as_enum().into_iter().flat_map(|known| known.values().skip(1).collect::<Vec<_>>());
            for value in values {
                let mut entry = DynamicMessage::new(entry_descriptor());
                entry.set_field_by_name("exchange_id", Value::Bytes(Bytes::from_static(&[7; 16])));
                entry.set_field(&field, Value::EnumNumber(value.number()));
                entries.push(entry.encode_to_vec());
            }
        }
        assert!(entries.len() > 5);
        Self::new(name, seed, entries)
    }

    pub fn key(&self) -> String {
        self.signer.verifier().to_string()
    }

    fn receipt(&self, index: usize) -> Receipt {
        let leaves: Vec<Hash> = self.entries.iter().map(|entry| leaf_hash(entry)).collect();
        let size = leaves.len() as u64;
        let node = |level: u8, index: u64| {
            let first = usize::try_from(index << level).unwrap();
            Some(tree_root(leaves.get(first..first + (1 << level))?))
        };
        let proof = Prover::new(size, node).unwrap().inclusion_proof(index as u64).unwrap();
        let checkpoint = Checkpoint::new(self.signer.verifier().name(), size, tree_root(&leaves));
        Receipt {
            index: index as u64,
            tree_size: size,
            entry: self.entries[index].clone().into(),
            inclusion_proof: proof.iter().map(|hash| Bytes::copy_from_slice(hash.as_bytes())).collect(),
            checkpoint: self.signer.sign(&checkpoint.to_string()),
            ..Receipt::default()
        }
    }

    /// Returns the bundle of an entry, as `audit prove` writes it.
    pub fn bundle(&self, index: usize) -> Vec<u8> {
        let proved = ProvedEntry::verify(&self.receipt(index), self.signer.key_history()).unwrap();
        serde_json::to_vec_pretty(&proved.bundle().unwrap()).unwrap()
    }

    /// Returns a bundle with an empty readable form, because the entry cannot be decoded.
    pub fn bundle_of_undecoded(&self, index: usize) -> Vec<u8> {
        let receipt = self.receipt(index);
        let proof: Vec<String> = receipt.inclusion_proof.iter().map(|hash| STANDARD.encode(hash)).collect();
        let receipt = json!({
            "index": index.to_string(),
            "tree_size": receipt.tree_size.to_string(),
            "entry": STANDARD.encode(&receipt.entry),
            "inclusion_proof": proof,
            "checkpoint": receipt.checkpoint,
        });
        serde_json::to_vec(&json!({ "entry": {}, "receipt": receipt })).unwrap()
    }
}

fn entry_descriptor() -> MessageDescriptor {
    proto::descriptor_pool().get_message_by_name("apgateway.v1.AuditEntry").unwrap()
}

/// Returns a message with every field set, of every message below it too.
fn filled(message: &MessageDescriptor) -> DynamicMessage {
    let mut made = DynamicMessage::new(message.clone());
    for field in message.fields() {
        let value = value_of(&field);
        made.set_field(&field, if field.is_list() { Value::List(vec![value.clone(), value]) } else { value });
    }
    made
}

fn value_of(field: &FieldDescriptor) -> Value {
    match field.kind() {
        Kind::String => Value::String(TEXT.to_owned()),
        Kind::Bytes if field.name().ends_with("_id") => Value::Bytes(Bytes::from_static(&[171; 16])),
        Kind::Bytes => Value::Bytes(Bytes::from_static(&[171; 32])),
        Kind::Bool => Value::Bool(true),
        Kind::Uint32 => Value::U32(4_000_000_000),
        Kind::Uint64 => Value::U64(9_000_000_000),
        Kind::Int64 => Value::I64(1_793_000_000_000_120),
        Kind::Enum(known) => Value::EnumNumber(known.values().last().unwrap().number()),
        Kind::Message(inner) => Value::Message(filled(&inner)),
        other => panic!("an entry has a field of a new kind, {other:?}: add it here and to the verifiers"),
    }
}

/// Returns entries that decode, but not from the bytes that the log would write, each with what is said of it.
pub fn oddly_encoded_entries() -> Vec<(Vec<u8>, &'static str)> {
    let id = [&[0x0a, 16][..], &[7; 16]].concat();
    let with = |more: &[u8]| [&id[..], more].concat();
    vec![
        (with(&[0x9a, 0x06, 1, b'a']), "field 99"),
        (with(&[0xd2, 0x01, 4, 0x9a, 0x06, 1, b'a']), "field 99"),
        (with(&[0x4a, 1, b'a', 0x4a, 1, b'b']), "encode"),
        (with(&[0x4a, 0]), "entry"),
        (with(&[0x4a, 1, b'a', 0x1a, 1, b'b']), "encode"),
        (with(&[0x78, 0x81, 0x00]), "encode"),
        (with(&[0x78, 0]), "entry"),
        (with(&[0x78, 99]), "entry.outcome"),
        (with(&[0x4a, 2, b'a']), "entry"),
        (with(&[0x4a, 1, 0xff]), "entry"),
        (with(&[0x48, 1]), "entry"),
        (with(&[0x10, 255, 255, 255, 255, 255, 255, 255, 255, 127]), "entry.time"),
        (with(&[0x10, 255, 255, 255, 255, 255, 255, 255, 255, 255, 127]), "entry"),
        (vec![0x0a, 1, 7], "entry.exchange_id"),
        (with(&[0x80]), "entry"),
    ]
}

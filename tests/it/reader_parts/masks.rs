//! Masks of what differs between two exchanges that are otherwise the same.

use ap_gateway::proto;
use ap_gateway::proto::v1::Delivery;
use prost::Message;
use prost_reflect::DynamicMessage;
use serde_json::Value;

/// Converts a message to JSON with everything that differs between two equal exchanges masked: identifiers, hashes and
/// text of proofs by their length, indexes and times. Counts, orders, absent fields and other lengths remain.
pub fn masked<M: Message>(name: &str, message: &M) -> Value {
    let descriptor = proto::descriptor_pool().get_message_by_name(&format!("apgateway.v1.{name}")).unwrap();
    let dynamic = DynamicMessage::decode(descriptor, &message.encode_to_vec()[..]).unwrap();
    mask("", serde_json::to_value(&dynamic).unwrap())
}

/// Fields that hold an identifier, a hash, a salt or a signature: only the length of each is compared.
const OPAQUE_FIELDS: [&str; 15] = [
    "exchangeId",
    "objectId",
    "returnId",
    "recordId",
    "voidedReturnId",
    "contentSha256",
    "senderLeafHash",
    "requestCommitment",
    "replyCommitment",
    "openingsCommitment",
    "childRoot",
    "rowRoot",
    "entry",
    "signature",
    "root",
];
/// Fields that are an index in the log or follow from it, a time, or the day of the mark.
const POSITION_FIELDS: [&str; 9] = [
    "index",
    "treeSize",
    "senderTreeSize",
    "time",
    "timeUs",
    "sentTime",
    "receivedTime",
    "date",
    "checkpointSize",
];

fn mask(field: &str, value: Value) -> Value {
    match value {
        Value::Object(fields) => {
            fields.into_iter().map(|(name, value)| (name.clone(), mask(&name, value))).collect()
        }
        Value::Array(values) => values.into_iter().map(|value| mask(field, value)).collect(),
        Value::String(text) if OPAQUE_FIELDS.contains(&field) => {
            Value::String(format!("{} characters", text.len()))
        }
        Value::String(note) if ["checkpoint", "senderCheckpoint"].contains(&field) => mask_note(&note),
        _ if POSITION_FIELDS.contains(&field) => Value::String("position".to_owned()),
        other => other,
    }
}

/// Masks a signed note: its origin and the lengths of its other lines remain, except that of the size.
fn mask_note(note: &str) -> Value {
    let lines = note.lines().enumerate();
    lines
        .map(|(at, line)| match at {
            0 => line.to_owned(),
            1 => "size".to_owned(),
            _ => format!("{} characters", line.len()),
        })
        .collect()
}

/// Returns the number of hashes in the inclusion proof of an entry (RFC 9162, 2.1.3.1).
fn proof_len(index: u64, size: u64) -> usize {
    if size == 1 {
        return 0;
    }
    let left = size.next_power_of_two() / 2;
    1 + if index < left { proof_len(index, left) } else { proof_len(index - left, size - left) }
}

/// Masks a proof whose length is the one that index and size of the tree require.
pub fn check_proof<H: AsRef<[u8]>>(proof: &mut Vec<H>, index: u64, size: u64) {
    assert_eq!(proof.len(), proof_len(index, size));
    assert!(proof.iter().all(|hash| hash.as_ref().len() == 32));
    proof.clear();
}

pub fn masked_delivery(mut delivery: Delivery) -> Value {
    let index = delivery.cursor.as_ref().unwrap().index;
    check_proof(&mut delivery.sender_inclusion_proof, index, delivery.sender_tree_size);
    masked("Delivery", &delivery)
}

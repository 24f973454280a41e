//! Commitments: salted hashes, which an entry contains in place of the data.

use aws_lc_rs::hmac::{Context, HMAC_SHA256, Key};

use super::hash::{Hash, leaf_hash};

/// Returns a commitment to bytes: `HMAC-SHA256(salt, bytes)`. With the salt and the bytes it can be checked; without
/// the salt it reveals nothing.
#[must_use]
pub fn commitment(salt: &[u8; 32], bytes: &[u8]) -> Hash {
    hmac_sha256(salt, &[bytes])
}

/// What the leaf of a child commits to, beside the rows or the reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChildLeafHeader {
    /// Number of `apgateway.v1.LeafRole`.
    pub role: u32,
    /// Number of the table of the rows; 0 for none.
    pub table: u32,
    /// Number of `apgateway.v1.RecordKind`.
    pub kind: u32,
    /// Id of the record.
    pub record_id: [u8; 16],
    /// Version of the record; 0 for none.
    pub version: u32,
    /// Kinds of passport blocks in the content, one bit for each.
    pub blocks: u64,
}

/// Returns the leaf of a child: the RFC 6962 leaf hash of `HMAC-SHA256(salt, role ‖ table ‖ kind ‖ record id ‖ version ‖
/// blocks ‖ content)`. Numbers are big-endian, of 4 bytes, `blocks` of 8; `content` is the SHA-256 leaf hash of the
/// child's record rows in the table, or without a table of the child's part of the reply.
#[must_use]
pub fn child_leaf(salt: &[u8; 32], header: &ChildLeafHeader, content: &Hash) -> Hash {
    let ChildLeafHeader { role, table, kind, record_id, version, blocks } = header;
    let parts: [&[u8]; 7] = [
        &role.to_be_bytes(),
        &table.to_be_bytes(),
        &kind.to_be_bytes(),
        record_id,
        &version.to_be_bytes(),
        &blocks.to_be_bytes(),
        content.as_bytes(),
    ];
    leaf_hash(hmac_sha256(salt, &parts).as_bytes())
}

/// The salt of an exchange's rows and openings: `HMAC-SHA256(commitment key, exchange id)`.
pub struct ExchangeSalt(Key);

impl ExchangeSalt {
    /// Makes it from its 32 bytes.
    #[must_use]
    pub fn new(bytes: &[u8]) -> Self {
        Self(Key::new(HMAC_SHA256, bytes))
    }

    /// Returns the leaf of a row: the RFC 6962 leaf hash of `HMAC-SHA256(salt, 0x01 ‖ row)`, where `row` are the canonical
    /// bytes, its ordinal among them.
    #[must_use]
    pub fn row_leaf(&self, row: &[u8]) -> Hash {
        leaf_hash(self.tag(1, row).as_bytes())
    }

    /// Returns the commitment to an entry's openings: `HMAC-SHA256(salt, 0x02 ‖ openings)`.
    #[must_use]
    pub fn openings_commitment(&self, openings: &[u8]) -> Hash {
        self.tag(2, openings)
    }

    /// Returns what an entry without leaves of children holds in place of their root: `HMAC-SHA256(salt, 0x03)`. Without
    /// the salt it looks like a root, so that an entry does not tell whether the exchange was about a child.
    #[must_use]
    pub fn no_leaves(&self) -> Hash {
        self.tag(3, b"")
    }

    fn tag(&self, domain: u8, bytes: &[u8]) -> Hash {
        sign(&self.0, &[&[domain], bytes])
    }
}

fn hmac_sha256(salt: &[u8; 32], parts: &[&[u8]]) -> Hash {
    sign(&Key::new(HMAC_SHA256, salt), parts)
}

fn sign(key: &Key, parts: &[&[u8]]) -> Hash {
    let mut context = Context::with_key(key);
    for part in parts {
        context.update(part);
    }
    let mut bytes = [0; 32];
    for (byte, tagged) in bytes.iter_mut().zip(context.sign().as_ref()) {
        *byte = *tagged;
    }
    Hash::from(bytes)
}

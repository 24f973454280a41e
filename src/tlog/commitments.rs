//! Commitments: salted hashes, which an entry contains in place of the data.

use aws_lc_rs::hmac::{Context, HMAC_SHA256, Key};

use super::hash::{Hash, leaf_hash};

/// Returns a commitment to bytes: `HMAC-SHA256(salt, bytes)`. With the salt and the bytes it can be checked; without
/// the salt it reveals nothing.
#[must_use]
pub fn commitment(salt: &[u8; 32], bytes: &[u8]) -> Hash {
    hmac_sha256(salt, &[bytes])
}

/// Returns a per-child leaf: the RFC 6962 leaf hash of `HMAC-SHA256(salt, role ‖ rows ‖ reply)`, where `rows` and
/// `reply` are hashes of the child's record rows and of the child's part of the reply.
#[must_use]
pub fn child_leaf(salt: &[u8; 32], role: u8, rows: &Hash, reply: &Hash) -> Hash {
    leaf_hash(hmac_sha256(salt, &[&[role], rows.as_bytes(), reply.as_bytes()]).as_bytes())
}

fn hmac_sha256(salt: &[u8; 32], parts: &[&[u8]]) -> Hash {
    let mut context = Context::with_key(&Key::new(HMAC_SHA256, salt));
    for part in parts {
        context.update(part);
    }
    let mut bytes = [0; 32];
    for (byte, tagged) in bytes.iter_mut().zip(context.sign().as_ref()) {
        *byte = *tagged;
    }
    Hash::from(bytes)
}

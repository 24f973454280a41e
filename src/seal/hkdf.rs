//! HKDF-SHA256 (RFC 5869) for outputs of exactly one block, 32 bytes, which cannot fail.
//!
//! All sub-keys are derived here. Invariant: no output is longer than 32 bytes.

use aws_lc_rs::hmac;
use zeroize::Zeroizing;

/// Extracts: `PRK = HMAC(salt, secret)`, as a key for [`expand`].
pub(super) fn extract(salt: &[u8], secret: &[u8]) -> hmac::Key {
    let prk = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, salt), secret);
    hmac::Key::new(hmac::HMAC_SHA256, prk.as_ref())
}

/// Expands to the first block: `HMAC(PRK, info ‖ 0x01)`, with the parts of `info` concatenated.
pub(super) fn expand(prk: &hmac::Key, info: &[&[u8]]) -> Zeroizing<[u8; 32]> {
    let mut mac = hmac::Context::with_key(prk);
    for part in info {
        mac.update(part);
    }
    mac.update(&[1]);
    Zeroizing::new(tag_bytes(&mac.sign()))
}

/// Returns the 32 bytes of an HMAC-SHA256 tag.
pub(super) fn tag_bytes(tag: &hmac::Tag) -> [u8; 32] {
    let mut bytes = [0; 32];
    bytes.copy_from_slice(tag.as_ref());
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 5869 appendix A.1 and A.3: the first 32 bytes of the output do not depend on its length.
    #[test]
    fn agrees_with_rfc_5869() {
        let prk = extract(&(0..=0x0c).collect::<Vec<u8>>(), &[0x0b; 22]);
        let okm = expand(&prk, &[&[0xf0, 0xf1, 0xf2, 0xf3, 0xf4], &[0xf5, 0xf6, 0xf7, 0xf8, 0xf9]]);
        assert_eq!(hex(&okm[..]), "3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf");
        let okm = expand(&extract(&[], &[0x0b; 22]), &[]);
        assert_eq!(hex(&okm[..]), "8da4e775a563c18f715f802a063c5a31b8a11f5c5ee1879ec3454e5f3c738d2d");
    }

    fn hex(bytes: &[u8]) -> String {
        bytes.iter().map(|b| format!("{b:02x}")).collect::<Vec<_>>().concat()
    }
}

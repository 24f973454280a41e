//! Tests of sealing, over the whole folder. Constants marked "Python" were computed with hashlib, hmac and
//! `cryptography`'s AESGCM from the layouts in the doc comments, not with this code.

mod files;

use std::cell::Cell;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use jiff::civil::{Date, date};
use proptest::prelude::*;

use super::*;

const SENDER: &str = "la/330";
const CHILD: [u8; 16] = [7; 16];
const DAY: Date = date(2026, 9, 1);
const NOTE: ColumnAddress<'static> = ColumnAddress { table: "marks", row: &[1, 2], column: "note" };

/// Returns a random source that counts up from `first`: no two fills are equal, and every run is the same.
fn counting_random(first: u8) -> impl Fn(&mut [u8]) {
    let next = Cell::new(first);
    move |bytes: &mut [u8]| {
        for byte in bytes {
            *byte = next.replace(next.get().wrapping_add(1));
        }
    }
}

fn ring() -> (tempfile::TempDir, PathBuf, KeyRing) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ring.toml");
    let ring = KeyRing::create(&path, DAY, &counting_random(1)).unwrap();
    (folder, path, ring)
}

fn write_private(path: &Path, text: &str) {
    fs::write(path, text).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o600)).unwrap();
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect::<Vec<_>>().concat()
}

fn all_bit_flips(bytes: &[u8]) -> impl Iterator<Item = Vec<u8>> {
    (0..bytes.len() * 8).map(|bit| {
        let mut flipped = bytes.to_vec();
        flipped[bit / 8] ^= 1 << (bit % 8);
        flipped
    })
}

#[test]
fn agrees_with_python() {
    let (_folder, _, ring) = ring();
    let key = ChildKey::new(&counting_random(0));
    let exchange: [u8; 16] = std::array::from_fn(|n| 0xa0 + u8::try_from(n).unwrap());
    assert_eq!(
        hex(&key.leaf_salt(&exchange)),
        "1cf55114f62a3f259f40e2596ca64ac67489f5b5fadadede02b948ab73b2511d"
    );
    assert_eq!(
        hex(&key.seal(NOTE, b"hello", &counting_random(1)).unwrap()),
        "010102030405060708090a0b0c6d8f36b983bb53527ee62229a7019d57bb6781b8d3"
    );
    assert_eq!(hex(&ring.active().fingerprint()), "1137a28fdf7e43df");
    assert_eq!(
        hex(&ring.blind_index(SENDER, "upn", "A123456789012")),
        "000000016d8cb75c1cbd77b5be61e3c1eae67606"
    );
    assert_eq!(
        hex(&ring.request_digest(b"abc").tag),
        "9200da0765342932879f5be12187593ea8bb289fb0ddbc1b5204d915c199e3f8"
    );
    assert_eq!(
        hex(&ring.practitioner_digests("la/330", "https://idp.example", "p-1")[0].tag),
        "a4a6914ebdb581dee25934bff827b7ccce92f0d5c2dd3b469c53e7378a2299d9"
    );
}

#[test]
fn a_column_opens_only_where_it_was_sealed() {
    let key = ChildKey::new(&counting_random(0));
    let sealed = key.seal(NOTE, b"late bus", &counting_random(9)).unwrap();
    assert_eq!(sealed.len(), 8 + 29);
    assert_eq!(key.open(NOTE, &sealed).unwrap(), b"late bus");
    assert_eq!(key.open(NOTE, &key.seal(NOTE, b"", &counting_random(9)).unwrap()).unwrap(), b"");
    let elsewhere = [
        ColumnAddress { table: "plans", ..NOTE },
        ColumnAddress { row: &[1, 3], ..NOTE },
        ColumnAddress { row: &[1], ..NOTE },
        ColumnAddress { column: "reason", ..NOTE },
        ColumnAddress { table: "mark", row: b"s\x01\x02", ..NOTE },
    ];
    for at in elsewhere {
        assert_eq!(key.open(at, &sealed), Err(SealError::AuthenticationFailed), "{at:?}");
    }
    assert_eq!(ChildKey::new(&counting_random(1)).open(NOTE, &sealed), Err(SealError::AuthenticationFailed));
}

#[test]
fn any_flipped_bit_or_cut_refuses() {
    let (_folder, _, ring) = ring();
    let fill = &counting_random(50);
    let key = ChildKey::new(fill);
    let sealed = key.seal(NOTE, b"ab", fill).unwrap();
    assert!(all_bit_flips(&sealed).all(|flipped| key.open(NOTE, &flipped).is_err()));
    assert!((0..sealed.len()).all(|end| key.open(NOTE, &sealed[..end]).is_err()));

    let sealed = OrganisationKey::derive(&ring, SENDER).unwrap().seal(NOTE, b"ab", fill).unwrap();
    let open = |bytes: &[u8]| OrganisationKey::open(&ring, SENDER, NOTE, bytes);
    assert!(all_bit_flips(&sealed).all(|flipped| open(&flipped).is_err()));
    assert!((0..sealed.len()).all(|end| open(&sealed[..end]).is_err()));

    let wrapped = key.wrap(&ring, SENDER, &CHILD, fill).unwrap();
    for flipped in all_bit_flips(&wrapped.bytes) {
        let flipped = WrappedKey::from_row(wrapped.kek_id, &flipped).unwrap();
        assert!(matches!(flipped.unwrap(&ring, SENDER, &CHILD), Err(SealError::AuthenticationFailed)));
    }
    assert!(matches!(WrappedKey::from_row(1, &wrapped.bytes[1..]), Err(SealError::UnknownFormat)));
}

#[test]
fn a_wrapped_key_is_bound_to_sender_and_child() {
    let (_folder, _, ring) = ring();
    let fill = &counting_random(50);
    let key = ChildKey::new(fill);
    let wrapped = key.wrap(&ring, SENDER, &CHILD, fill).unwrap();
    let back = wrapped.unwrap(&ring, SENDER, &CHILD).unwrap();
    assert_eq!(back.leaf_salt(&[0; 16]), key.leaf_salt(&[0; 16]));
    assert!(matches!(wrapped.unwrap(&ring, "la/331", &CHILD), Err(SealError::AuthenticationFailed)));
    assert!(matches!(wrapped.unwrap(&ring, SENDER, &[8; 16]), Err(SealError::AuthenticationFailed)));
    let moved = WrappedKey { kek_id: 2, ..wrapped };
    assert!(matches!(moved.unwrap(&ring, SENDER, &CHILD), Err(SealError::KeyMissing { id: 2 })));
}

#[test]
fn rotation_keeps_what_is_sealed_and_seals_under_the_new_key() {
    let (_folder, path, old) = ring();
    let fill = &counting_random(50);
    let value = OrganisationKey::derive(&old, SENDER).unwrap().seal(NOTE, b"salt", fill).unwrap();
    let wrapped = ChildKey::new(fill).wrap(&old, SENDER, &CHILD, fill).unwrap();
    let digest = old.request_digest(b"request");
    let token = old.seal_token(TokenUse::Page, b"c", b"p", i64::MAX, fill).unwrap();
    let index = old.blind_index(SENDER, "upn", "A1");

    let distributed = KeyRing::rotate(&path, date(2027, 9, 1), &counting_random(99)).unwrap();
    assert_eq!(distributed.keys().map(RingKey::id).collect::<Vec<_>>(), [2, 1]);
    assert_eq!((distributed.active().id(), distributed.pending().map(RingKey::id)), (1, Some(2)));
    assert!(matches!(KeyRing::rotate(&path, DAY, &counting_random(7)), Err(SecretFileError::Invalid(_))));
    let new = KeyRing::activate(&path).unwrap();
    assert!(matches!(KeyRing::activate(&path), Err(SecretFileError::Invalid(_))));
    assert_eq!(new.keys().map(RingKey::id).collect::<Vec<_>>(), [2, 1]);
    // A node that does not seal under the pending key yet opens values that another node seals under it.
    let sealed = OrganisationKey::derive(&new, SENDER).unwrap().seal(NOTE, b"new", fill).unwrap();
    assert_eq!(OrganisationKey::open(&distributed, SENDER, NOTE, &sealed).unwrap(), b"new");
    let looked_up = distributed.blind_indexes(SENDER, "upn", "A1");
    assert!(looked_up.contains(&new.blind_index(SENDER, "upn", "A1")));
    assert_eq!(KeyRing::load(&path).unwrap().active().fingerprint(), new.active().fingerprint());
    assert_eq!(new.ensure_contains(&old), Ok(()));
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);

    assert_eq!(OrganisationKey::open(&new, SENDER, NOTE, &value).unwrap(), b"salt");
    assert_eq!(new.open_token(TokenUse::Page, b"c", &token, 0).unwrap(), b"p");
    assert_eq!(new.is_same_request(&digest, b"request"), Ok(true));
    assert_eq!(new.is_same_request(&digest, b"Request"), Ok(false));
    assert!(new.blind_indexes(SENDER, "upn", "A1").contains(&index));
    assert_ne!(new.blind_index(SENDER, "upn", "A1")[4..], index[4..]);
    let rewrapped = wrapped.rewrap(&new, SENDER, &CHILD, fill).unwrap().unwrap();
    assert_eq!(rewrapped.kek_id, 2);
    assert_eq!(rewrapped.rewrap(&new, SENDER, &CHILD, fill).unwrap(), None);
    let key = wrapped.unwrap(&new, SENDER, &CHILD).unwrap();
    let same = rewrapped.unwrap(&new, SENDER, &CHILD).unwrap();
    assert_eq!(key.leaf_salt(&[0; 16]), same.leaf_salt(&[0; 16]));

    // The old key is removed from the ring.
    let text = fs::read_to_string(&path).unwrap();
    let cut = text.rfind("\n[[keys]]").unwrap();
    write_private(&path, &text[..cut]);
    let less = KeyRing::load(&path).unwrap();
    let missing = SealError::KeyMissing { id: 1 };
    assert_eq!(OrganisationKey::open(&less, SENDER, NOTE, &value), Err(missing));
    assert_eq!(less.is_same_request(&digest, b"request"), Err(missing));
    assert_eq!(wrapped.unwrap(&less, SENDER, &CHILD).unwrap_err(), missing);
    assert_eq!(less.open_token(TokenUse::Page, b"c", &token, 0), Err(InvalidToken));
    assert_eq!(less.ensure_contains(&new), Err(missing));
}

#[test]
fn values_open_only_for_their_organisation() {
    let (_folder, _, ring) = ring();
    let sealed =
        OrganisationKey::derive(&ring, SENDER).unwrap().seal(NOTE, b"x", &counting_random(0)).unwrap();
    assert_eq!(OrganisationKey::open(&ring, SENDER, NOTE, &sealed).unwrap(), b"x");
    assert_eq!(OrganisationKey::open(&ring, "la/331", NOTE, &sealed), Err(SealError::AuthenticationFailed));
    let at = ColumnAddress { column: "other", ..NOTE };
    assert_eq!(OrganisationKey::open(&ring, SENDER, at, &sealed), Err(SealError::AuthenticationFailed));
    assert_ne!(ring.blind_index(SENDER, "upn", "A1"), ring.blind_index("la/331", "upn", "A1"));
    assert_ne!(ring.blind_index(SENDER, "upn", "A1"), ring.blind_index(SENDER, "reference", "A1"));
}

#[test]
fn a_token_is_bound_to_use_caller_query_and_time() {
    let (_folder, _, ring) = ring();
    let context = b"la/330 ListPlacements 01";
    let token = ring.seal_token(TokenUse::Page, context, b"after 7", 1_000, &counting_random(0)).unwrap();
    let open = |token_use, context: &[u8], token: &str, now| ring.open_token(token_use, context, token, now);
    assert_eq!(open(TokenUse::Page, context, &token, 999).unwrap(), b"after 7");
    assert_eq!(open(TokenUse::Page, context, &token, 1_000), Err(InvalidToken));
    assert_eq!(open(TokenUse::Cursor, context, &token, 0), Err(InvalidToken));
    assert_eq!(open(TokenUse::Page, b"la/331 ListPlacements 01", &token, 0), Err(InvalidToken));
    assert_eq!(open(TokenUse::Page, b"la/330 ListPlacements 02", &token, 0), Err(InvalidToken));
    for at in 0..token.len() {
        let other = if &token[at..=at] == "A" { "B" } else { "A" };
        let changed = [&token[..at], other, &token[at + 1..]].concat();
        assert_eq!(open(TokenUse::Page, context, &changed, 0), Err(InvalidToken), "{at}");
    }
    for junk in ["", "A", "%", &"A".repeat(5_000), &format!("{token}=")] {
        assert_eq!(open(TokenUse::Page, context, junk, 0), Err(InvalidToken));
    }
}

proptest! {
    #[test]
    fn a_token_opens_as_it_was_sealed_and_nowhere_else(
        context in ".{0,20}",
        other in ".{0,20}",
        payload in proptest::collection::vec(any::<u8>(), 0..60),
        (expires, now) in any::<(i64, i64)>(),
    ) {
        let (_folder, _, ring) = ring();
        let token = ring.seal_token(TokenUse::Page, context.as_bytes(), &payload, expires, &counting_random(0));
        let token = token.unwrap();
        let open = |token_use, context: &str| ring.open_token(token_use, context.as_bytes(), &token, now);
        let expected = if now < expires { Ok(payload) } else { Err(InvalidToken) };
        prop_assert_eq!(open(TokenUse::Page, &context), expected.clone());
        prop_assert_eq!(open(TokenUse::Cursor, &context), Err(InvalidToken));
        prop_assert_eq!(open(TokenUse::Page, &other), if other == context { expected } else { Err(InvalidToken) });
    }

    #[test]
    fn no_text_that_was_not_sealed_opens(
        text in prop_oneof![".{0,120}", "[A-Za-z0-9_-]{0,120}", "AwAAAA[EFGH][A-Za-z0-9_-]{0,120}"],
    ) {
        let (_folder, _, ring) = ring();
        for token_use in [TokenUse::Page, TokenUse::Cursor] {
            prop_assert_eq!(ring.open_token(token_use, b"", &text, 0), Err(InvalidToken));
        }
    }
}

/// Makes a commitment key beside a ring.
fn commitment_key(ring: &Path) -> CommitmentKey {
    CommitmentKey::create(&ring.with_file_name("commitment-key"), &counting_random(7)).unwrap()
}

#[test]
fn vault_cache_is_bounded_and_evicts_shredded_keys() {
    let (_folder, path, ring) = ring();
    let fill = &counting_random(50);
    let wrap = |n: u8| ChildKey::new(fill).wrap(&ring, SENDER, &[n; 16], fill).unwrap();
    let wrapped: Vec<_> = (0..20).map(wrap).collect();
    let vault = Vault::new(KeyRing::load(&path).unwrap(), commitment_key(&path), 8);
    let get = |n: u8, row: &WrappedKey| vault.unwrap_key(SENDER, &[n; 16], row);
    for _ in 0..3 {
        for n in 0..20 {
            let row = &wrapped[usize::from(n)];
            let direct = row.unwrap(&ring, SENDER, &[n; 16]).unwrap();
            assert_eq!(get(n, row).unwrap().leaf_salt(&CHILD), direct.leaf_salt(&CHILD));
            assert_eq!(get(0, &wrapped[0]).unwrap().leaf_salt(&CHILD), {
                wrapped[0].unwrap(&ring, SENDER, &[0; 16]).unwrap().leaf_salt(&CHILD)
            });
            assert!(vault.cached_keys() <= 8);
        }
    }
    let before = vault.cached_keys();
    vault.evict(SENDER, &[0; 16]);
    assert_eq!(vault.cached_keys(), before - 1);
    // A new key of the same child is returned, not the cached one.
    let again = wrap(19);
    let direct = again.unwrap(&ring, SENDER, &[19; 16]).unwrap();
    assert_eq!(get(19, &again).unwrap().leaf_salt(&CHILD), direct.leaf_salt(&CHILD));
    assert_eq!(get(1, &wrapped[0]).unwrap_err(), SealError::AuthenticationFailed);
}

#[test]
fn debug_shows_no_secret() {
    let (folder, path, ring) = ring();
    let key = ChildKey::new(&counting_random(0x41));
    let signing = LogSigningKey::create(&folder.path().join("log"), "log", &counting_random(0x41)).unwrap();
    let organisation = OrganisationKey::derive(&ring, SENDER).unwrap();
    assert_eq!(format!("{key:?}"), "ChildKey(redacted)");
    assert_eq!(format!("{signing:?}"), "LogSigningKey { origin: \"log\", .. }");
    assert_eq!(format!("{organisation:?}"), "OrganisationKey { kek_id: 1, .. }");
    assert_eq!(format!("{ring:?}"), "[RingKey { id: 1, created: 2026-09-01, .. }]");
    let vault = Vault::new(KeyRing::load(&path).unwrap(), commitment_key(&path), 1);
    assert_eq!(format!("{vault:?}"), "Vault { ring: [RingKey { id: 1, created: 2026-09-01, .. }], .. }");
}

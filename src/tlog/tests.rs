//! Tests of the log's data structures against a naive RFC 6962 tree and published vectors, and with every bit flipped.

use proptest::prelude::*;

use super::hash::empty_root;
use super::*;

/// MTH of RFC 6962 §2.1, as it is written there.
fn mth(leaves: &[Hash]) -> Hash {
    match leaves {
        [] => empty_root(),
        [leaf] => *leaf,
        _ => {
            let k = leaves.len().next_power_of_two() / 2;
            node_hash(&mth(&leaves[..k]), &mth(&leaves[k..]))
        }
    }
}

/// PATH of RFC 6962 §2.1.1.
fn path(m: usize, leaves: &[Hash]) -> Vec<Hash> {
    if leaves.len() <= 1 {
        return vec![];
    }
    let k = leaves.len().next_power_of_two() / 2;
    let (mut inner, sibling) = if m < k {
        (path(m, &leaves[..k]), mth(&leaves[k..]))
    } else {
        (path(m - k, &leaves[k..]), mth(&leaves[..k]))
    };
    inner.push(sibling);
    inner
}

/// SUBPROOF of RFC 6962 §2.1.2.
fn subproof(m: usize, leaves: &[Hash], whole: bool) -> Vec<Hash> {
    if m == leaves.len() {
        return if whole { vec![] } else { vec![mth(leaves)] };
    }
    let k = leaves.len().next_power_of_two() / 2;
    let (mut inner, other) = if m <= k {
        (subproof(m, &leaves[..k], whole), mth(&leaves[k..]))
    } else {
        (subproof(m - k, &leaves[k..], false), mth(&leaves[..k]))
    };
    inner.push(other);
    inner
}

fn leaves(count: u32) -> Vec<Hash> {
    (0..count).map(|number| leaf_hash(&number.to_be_bytes())).collect()
}

fn edge_of(leaves: &[Hash]) -> CompactRange {
    let mut range = CompactRange::default();
    for leaf in leaves {
        range.append(*leaf);
    }
    range
}

#[test]
fn the_reference_tree_has_its_published_roots() {
    // The eight leaves and roots of the test vectors of Certificate Transparency implementations.
    let data: [&[u8]; 8] = [
        b"",
        b"\x00",
        b"\x10",
        b"\x20\x21",
        b"\x30\x31",
        b"\x40\x41\x42\x43",
        b"\x50\x51\x52\x53\x54\x55\x56\x57",
        b"\x60\x61\x62\x63\x64\x65\x66\x67\x68\x69\x6a\x6b\x6c\x6d\x6e\x6f",
    ];
    let roots = [
        "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
        "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
        "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
        "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
        "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
        "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
        "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
        "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
    ];
    let mut range = CompactRange::default();
    for (data, root) in data.iter().zip(roots) {
        range.append(leaf_hash(data));
        assert_eq!(range.root().to_string(), root);
    }
}

#[test]
fn proofs_equal_the_naive_ones_for_every_pair_of_sizes() {
    let leaves = leaves(300);
    for size in 1..=300_usize {
        let range = edge_of(&leaves[..size]);
        let root = mth(&leaves[..size]);
        assert_eq!(range.root(), root);
        let prover = range.prover().unwrap();
        for index in 0..size {
            let proof = prover.inclusion_proof(index as u64).unwrap();
            assert_eq!(proof, path(index, &leaves[..size]), "{index} of {size}");
            assert_eq!(verify_inclusion(&leaves[index], index as u64, size as u64, &proof, &root), Ok(()));
        }
        assert_eq!(prover.inclusion_proof(size as u64), Err(ProofError::OutOfRange));
        for old in 1..=size {
            let proof = prover.consistency_proof(old as u64).unwrap();
            assert_eq!(proof, subproof(old, &leaves[..size], true), "{old} in {size}");
            let old_root = mth(&leaves[..old]);
            assert_eq!(verify_consistency(old as u64, &old_root, size as u64, &root, &proof), Ok(()));
        }
    }
}

#[test]
fn the_compact_range_proves_the_last_group_across_tile_boundaries() {
    let leaves = leaves(66_000);
    let mut range = CompactRange::default();
    let mut tiles = Vec::new();
    for (at, leaf) in leaves.iter().enumerate() {
        range.append(*leaf);
        tiles.extend(range.take_full_tiles());
        let size = at as u64 + 1;
        if [255, 256, 257, 511, 512, 513, 65_535, 65_536, 65_537, 66_000].contains(&size) {
            let (prover, root) = (range.prover().unwrap(), range.root());
            for index in size.saturating_sub(256)..size {
                let leaf = &leaves[usize::try_from(index).unwrap()];
                verify_inclusion(leaf, index, size, &prover.inclusion_proof(index).unwrap(), &root).unwrap();
            }
        }
    }
    assert_eq!(range.root(), mth(&leaves));
    assert_eq!(tiles.iter().filter(|tile| tile.id.level == 1).count(), 1);
    assert_eq!(tiles.len(), 66_000 / 256 + 1);
    // Proofs of any leaf and of any older tree, from stored tiles alone.
    let stored = |id: TileId| -> Option<Vec<Hash>> {
        if let Some(tile) = tiles.iter().find(|tile| tile.id == id) {
            return Some(tile.hashes.clone());
        }
        let (begin, end) = (id.number << (8 * (id.level + 1)), 66_000 >> (8 * id.level) << (8 * id.level));
        let width = 1_usize << (8 * id.level);
        let part = leaves.get(usize::try_from(begin).unwrap()..end)?;
        Some(part.chunks_exact(width).map(mth).collect())
    };
    let prover = Prover::new(66_000, |level, index| node_in_tile(level, index, stored)).unwrap();
    assert_eq!(prover.root(), Some(range.root()));
    for index in [0, 1, 255, 256, 40_000, 65_535, 65_536, 65_999_u64] {
        let leaf = &leaves[usize::try_from(index).unwrap()];
        let proof = prover.inclusion_proof(index).unwrap();
        verify_inclusion(leaf, index, 66_000, &proof, &range.root()).unwrap();
    }
    for old in [1, 256, 257, 65_535, 65_536, 65_537_usize] {
        let proof = prover.consistency_proof(old as u64).unwrap();
        verify_consistency(old as u64, &mth(&leaves[..old]), 66_000, &range.root(), &proof).unwrap();
    }
}

#[test]
fn a_compact_range_made_from_partial_tiles_continues_the_tree() {
    let leaves = leaves(1_100);
    for size in [0, 1, 2, 255, 256, 257, 511, 512, 700, 1_023, 1_024_usize] {
        let partial: Vec<_> = partial_tiles(size as u64)
            .map(|(id, width)| {
                let span = 1_usize << (8 * usize::from(id.level).min(7));
                let begin = usize::try_from(id.number).unwrap() * 256 * span;
                let hashes = leaves[begin.min(size)..size].chunks_exact(span).map(mth).take(width).collect();
                (id, hashes)
            })
            .collect();
        let mut resumed = CompactRange::from_partial_tiles(size as u64, &partial).unwrap();
        assert_eq!(resumed.root(), mth(&leaves[..size]), "{size}");
        leaves[size..].iter().for_each(|leaf| resumed.append(*leaf));
        assert_eq!(resumed.root(), mth(&leaves));
        let proof = resumed.prover().unwrap().inclusion_proof(1_099).unwrap();
        verify_inclusion(&leaves[1_099], 1_099, 1_100, &proof, &resumed.root()).unwrap();
    }
    assert!(CompactRange::from_partial_tiles(3, &[]).is_none());
}

#[test]
fn a_proof_with_a_flipped_bit_does_not_verify() {
    let leaves = leaves(13);
    let (range, flip) = (edge_of(&leaves), |hash: &Hash, bit: usize| {
        let mut bytes = *hash.as_bytes();
        bytes[bit / 8] ^= 1 << (bit % 8);
        Hash::from(bytes)
    });
    let (prover, root) = (range.prover().unwrap(), range.root());
    for index in 0..13_u64 {
        let leaf = leaves[usize::try_from(index).unwrap()];
        let proof = prover.inclusion_proof(index).unwrap();
        for bit in 0..256 {
            assert!(verify_inclusion(&flip(&leaf, bit), index, 13, &proof, &root).is_err());
            assert!(verify_inclusion(&leaf, index, 13, &proof, &flip(&root, bit)).is_err());
            for at in 0..proof.len() {
                let mut bad = proof.clone();
                bad[at] = flip(&bad[at], bit);
                assert!(verify_inclusion(&leaf, index, 13, &bad, &root).is_err());
            }
        }
        for other in (0..16).filter(|other| *other != index) {
            assert!(verify_inclusion(&leaf, other, 13, &proof, &root).is_err());
        }
        assert!(verify_inclusion(&leaf, index, 13, &proof[1..], &root).is_err());
        assert!(verify_inclusion(&leaf, index, 13, &[&proof[..], &[root]].concat(), &root).is_err());
    }
    for old in 1..13_usize {
        let (proof, old_root) = (prover.consistency_proof(old as u64).unwrap(), mth(&leaves[..old]));
        for bit in 0..256 {
            assert!(verify_consistency(old as u64, &flip(&old_root, bit), 13, &root, &proof).is_err());
            assert!(verify_consistency(old as u64, &old_root, 13, &flip(&root, bit), &proof).is_err());
        }
        assert!(verify_consistency(old as u64, &old_root, 13, &root, &proof[1..]).is_err());
        assert!(verify_consistency(14, &root, 13, &root, &[]).is_err());
    }
}

#[test]
fn notes_and_checkpoints_survive_a_round_trip_but_no_change() {
    let signer = Signer::from_seed("log.example/ap", &[7; 32]).unwrap();
    let verifier = Verifier::parse(&signer.verifier().to_string()).unwrap();
    let checkpoint = Checkpoint::new("log.example/ap", 25, leaf_hash(b"x"));
    let note = signer.sign(&checkpoint.to_string());
    assert_eq!(Checkpoint::parse(&verifier.open(&note).unwrap()), Ok(checkpoint.clone()));
    let other = Signer::from_seed("witness.example", &[8; 32]).unwrap();
    let second = other.sign(&checkpoint.to_string());
    let cosigned = format!("{note}{}", second.rsplit_once("\n\n").unwrap().1);
    assert!(verifier.open(&cosigned).is_ok() && other.verifier().open(&cosigned).is_ok());
    assert_eq!(other.verifier().open(&note), Err(NoteError::Unsigned));
    for at in 0..note.len() {
        let mut bytes = note.clone().into_bytes();
        bytes[at] ^= 1;
        if let Ok(text) = String::from_utf8(bytes) {
            assert!(verifier.open(&text).is_err(), "byte {at}");
        }
    }
    for text in ["", "a\n1\n", "a\n01\nAAAA\n", "a\n-1\nAAAA\n", "a\n1\nAAAA\n", "\n1\nAAAA\n", "a\n1"] {
        assert!(Checkpoint::parse(text).is_err(), "{text:?}");
    }
    assert!(Signer::from_seed("has space", &[7; 32]).is_err());
    assert!(Verifier::parse("log.example/ap+00000000+AQ==").is_err());
}

proptest! {
    #[test]
    fn a_signed_text_is_opened_as_it_was_and_by_no_other_key(
        lines in proptest::collection::vec("[^\\p{Cc}]{0,30}", 1..5),
        (seed, other) in any::<([u8; 32], [u8; 32])>(),
    ) {
        let text = format!("{}\n", lines.join("\n"));
        let signer = Signer::from_seed("log.example/ap", &seed).unwrap();
        let note = signer.sign(&text);
        prop_assert_eq!(signer.verifier().open(&note), Ok(text));
        let stranger = Signer::from_seed("log.example/ap", &other).unwrap();
        prop_assert_eq!(stranger.verifier().open(&note), Err(NoteError::Unsigned));
    }

    #[test]
    fn no_bytes_panic_a_reader(bytes in proptest::collection::vec(any::<u8>(), 0..300), like in note_like()) {
        let signer = Signer::from_seed("log.example/ap", &[7; 32]).unwrap();
        for text in [String::from_utf8_lossy(&bytes).into_owned(), like] {
            prop_assert!(signer.verifier().open(&text).is_err(), "{text:?}");
            prop_assert!(signer.key_history().open(&text).is_err(), "{text:?}");
            if let Ok(checkpoint) = Checkpoint::parse(&text) {
                prop_assert_eq!(checkpoint.to_string(), text.clone());
            }
            if let Ok(verifier) = Verifier::parse(&text) {
                prop_assert_eq!(verifier.to_string(), text.trim());
            }
            if let Ok(keys) = LogKeyHistory::parse(&text) {
                prop_assert_eq!(LogKeyHistory::parse(&keys.to_string()).unwrap().to_string(), keys.to_string());
            }
        }
    }
}

/// Texts in the form of a note, a checkpoint or a list of keys, with arbitrary contents.
fn note_like() -> impl Strategy<Value = String> {
    let line = "\u{2014} (log.example/ap|[a-z]{0,5}) [A-Za-z0-9+/]{0,100}={0,2}";
    let note = format!("([a-z0-9]{{0,5}}\n){{0,3}}\n({line}\n){{0,3}}");
    let key = "[a-z.]{0,8}\\+[0-9a-f]{8}\\+A[A-Za-z0-9+/]{43}=";
    let keys = format!("({key} [0-9]{{0,20}} ){{0,2}}{key}");
    let checkpoint = "[a-z./]{0,8}\n[0-9]{0,20}\n[A-Za-z0-9+/]{43}=\n";
    let regex = |text: &str| proptest::string::string_regex(text).unwrap();
    prop_oneof![regex(&note), regex(&keys), regex(checkpoint)]
}

#[test]
fn tile_paths_follow_c2sp() {
    assert_eq!(tile_path("0", 0, 256), "tile/0/000");
    assert_eq!(tile_path("1", 1_234_067, 8), "tile/1/x001/x234/067.p/8");
    assert_eq!(tile_path("entries", 5, 256), "tile/entries/005");
    assert_eq!(entry_bundle([&b"ab"[..], b""]).unwrap(), b"\x00\x02ab\x00\x00");
}

//! Tests of secret files: rights, refused files, and rotation without the loss of a key.

use super::*;

#[test]
fn the_vault_takes_only_a_ring_that_continues_its_own() {
    let (_folder, path, ring) = ring();
    let vault = Vault::new(ring, commitment_key(&path), 8);
    vault.reload(KeyRing::rotate(&path, DAY, &counting_random(99)).unwrap()).unwrap();
    assert_eq!(vault.ring().active().id(), 1);
    vault.reload(KeyRing::activate(&path).unwrap()).unwrap();
    assert_eq!(vault.ring().active().id(), 2);
    let other = path.with_file_name("other.toml");
    KeyRing::create(&other, DAY, &counting_random(3)).unwrap();
    let refused = vault.reload(KeyRing::load(&other).unwrap());
    assert_eq!(refused, Err(SealError::KeyMissing { id: 2 }));
    let refused = vault.reload(KeyRing::rotate(&other, DAY, &counting_random(5)).unwrap());
    assert_eq!(refused, Err(SealError::KeyChanged { id: 2 }));
    assert_eq!(vault.ring().active().id(), 2);
}

#[test]
fn a_file_others_can_read_is_refused_and_none_is_overwritten() {
    let (folder, path, _) = ring();
    let log = folder.path().join("log.toml");
    let created = LogSigningKey::create(&log, "gateway.example/log", &counting_random(1)).unwrap();
    let read = LogSigningKey::load(&log).unwrap();
    assert_eq!((read.origin(), read.seed()), (created.origin(), created.seed()));
    for mode in [0o640, 0o604, 0o660, 0o644, 0o610, 0o602] {
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        fs::set_permissions(&log, fs::Permissions::from_mode(mode)).unwrap();
        assert!(matches!(KeyRing::load(&path), Err(SecretFileError::Exposed { .. })), "{mode:o}");
        assert!(matches!(
            KeyRing::rotate(&path, DAY, &counting_random(9)),
            Err(SecretFileError::Exposed { .. })
        ));
        assert!(matches!(LogSigningKey::load(&log), Err(SecretFileError::Exposed { .. })), "{mode:o}");
    }
    for mode in [0o600, 0o400] {
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        KeyRing::load(&path).unwrap();
    }
    assert!(matches!(KeyRing::create(&path, DAY, &counting_random(9)), Err(SecretFileError::Exists)));
    assert!(matches!(LogSigningKey::create(&log, "x", &counting_random(9)), Err(SecretFileError::Exists)));
    assert!(matches!(KeyRing::load(folder.path()), Err(SecretFileError::NotRegularFile)));
}

#[test]
fn a_wrong_file_is_refused_without_repeating_it() {
    let (_folder, path, _) = ring();
    let good = fs::read_to_string(&path).unwrap();
    let secret = good.lines().find_map(|line| line.strip_prefix("master = ")).unwrap().trim_matches('"');
    let wrong = [
        "keys = []".to_owned(),
        good.replace("active", "retired"),
        good.replace("active", "new"),
        good.replace("2026-09-01", "2026-13-01"),
        good.replace(secret, &secret[4..]),
        good.replace(secret, &"A".repeat(43)),
        good.replace(secret, "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="),
        good.replace("id = 1", "id = -1"),
        good.replace(&format!("{secret}\""), secret),
        format!("{good}extra = 1\n"),
        [good.as_str(), &good].concat(),
        [good.as_str(), &good.replace("active", "retired").replace("id = 1", "id = 0")].concat(),
    ];
    for text in wrong {
        write_private(&path, &text);
        let error = KeyRing::load(&path).unwrap_err();
        let shown = format!("{error} {error:?}");
        assert!(!shown.contains(&secret[4..]), "{shown}");
        assert!(KeyRing::rotate(&path, DAY, &counting_random(9)).is_err());
        assert_eq!(fs::read_to_string(&path).unwrap(), text);
    }
    for origin in ["", "a b", "a+b", "a\"b", "a\nb"] {
        let refused = LogSigningKey::create(&path.with_extension("log"), origin, &counting_random(1));
        assert!(matches!(refused, Err(SecretFileError::Invalid(_))), "{origin}");
    }
}

#[test]
fn a_rotation_that_died_half_way_is_cleared_and_a_link_is_followed() {
    let (folder, path, _) = ring();
    fs::write(folder.path().join("ring.toml.new"), "half a ri").unwrap();
    let link = folder.path().join("link.toml");
    std::os::unix::fs::symlink(&path, &link).unwrap();
    KeyRing::rotate(&link, DAY, &counting_random(99)).unwrap();
    KeyRing::activate(&link).unwrap();
    assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
    assert_eq!(KeyRing::load(&path).unwrap().active().id(), 2);
    assert!(!folder.path().join("ring.toml.new").exists());
}

#[test]
fn rotations_at_once_lose_no_key() {
    let (_folder, path, _) = ring();
    std::thread::scope(|scope| {
        for n in 1..=8 {
            let path = &path;
            scope.spawn(move || {
                // While the key of another thread is pending, the rotation is refused.
                while KeyRing::rotate(path, DAY, &counting_random(n * 20)).is_err() {
                    std::thread::yield_now();
                }
                KeyRing::activate(path).unwrap()
            });
        }
    });
    let ring = KeyRing::load(&path).unwrap();
    assert_eq!(ring.keys().map(RingKey::id).collect::<Vec<_>>(), [9, 8, 7, 6, 5, 4, 3, 2, 1]);
}

//! Tests of instants and clocks.

use super::*;

#[test]
fn text_and_wire_forms_agree() {
    let at: Instant = "2026-11-20T16:00:00.25Z".parse().unwrap();
    assert_eq!(at.to_string(), "2026-11-20T16:00:00.25Z");
    assert_eq!(Instant::from_proto(&at.to_proto()), Ok(at));
    assert_eq!("2026-11-20T17:00:00.25+01:00".parse(), Ok(at));
    assert_eq!(Instant::from_timestamp(at.to_timestamp()), at);
    assert_eq!(Instant::MIN.to_string(), "0001-01-01T00:00:00Z");
    assert_eq!(Instant::MAX.to_timestamp().as_microsecond(), Instant::MAX.micros());
    let before = Instant::from_micros(-1).unwrap();
    assert_eq!(Instant::from_proto(&before.to_proto()), Ok(before));
}

#[test]
fn other_texts_are_refused() {
    for text in [
        "",
        "2026-11-20",
        "2026-11-20T23:59:60Z",
        "2026-11-20T16:00:00",
        "2026-11-20 16:00:00Z",
        "2026-11-20T16:00:00.Z",
        "2026-02-30T16:00:00Z",
        "2026-11-20T16:00:00z",
        "２026-11-20T16:00:00Z",
    ] {
        assert_eq!(text.parse::<Instant>(), Err(InstantError::Format), "{text}");
    }
}

#[test]
fn wire_range_is_held() {
    for (seconds, nanos) in [(0, -1), (0, 1_000_000_000), (253_402_300_800, 0), (i64::MAX, 0), (i64::MIN, 0)]
    {
        let sent = prost_types::Timestamp { seconds, nanos };
        assert_eq!(Instant::from_proto(&sent), Err(InstantError::Range));
    }
}

#[test]
fn held_clock_only_moves_forward() {
    let clock = ManualClock::new(Instant::EPOCH);
    let later = Instant::EPOCH.plus(Duration::from_secs(5));
    clock.advance_to(later).unwrap();
    assert_eq!(clock.clone().now(), later);
    assert_eq!(clock.advance_to(Instant::EPOCH), Err(InstantError::Backwards));
    assert_eq!(clock.now(), later);
    assert_eq!(later.since(Instant::EPOCH), Duration::from_secs(5));
    assert_eq!(Instant::EPOCH.since(later), Duration::ZERO);
    assert!(SystemClock.now() > later);
}

#[test]
fn a_seed_repeats_and_ids_have_their_version() {
    let (one, two) = (Randomness::seeded(b"seed"), Randomness::seeded(b"seed"));
    let at = "2026-11-20T16:00:00Z".parse().unwrap();
    assert_eq!(one.uuid_v7(at), two.uuid_v7(at));
    assert_ne!(one.uuid_v4(), one.clone().uuid_v4());
    assert_eq!(one.uuid_v7(at).get_version_num(), 7);
    assert_eq!(Randomness::system().uuid_v4().get_version_num(), 4);
    assert!(one.uuid_v7(at) < one.uuid_v7(Instant::plus(at, Duration::from_millis(1))));
}

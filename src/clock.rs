//! Time and randomness as parameters: the only file that reads the machine's clock or its entropy.
//!
//! Everything else takes a [`Clock`] and a [`Randomness`], so that one script with one seed always gives one
//! tree root. It must never decide what a time means: dates and school days are `calendar.rs`.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

use aws_lc_rs::{hmac, rand};
use jiff::Timestamp;
use uuid::Uuid;

/// Where the present moment comes from.
pub trait Clock: Send + Sync {
    /// The present moment.
    fn now(&self) -> Instant;
}

/// A moment: whole microseconds since 1970-01-01T00:00:00Z, between the years 1 and 9999.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Instant(i64);

/// Why a moment was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InstantError {
    /// The text is not RFC 3339 with an offset.
    #[error("not a date and time of RFC 3339")]
    Format,
    /// Outside the years 1 to 9999, or a part of a second outside its range.
    #[error("the moment is out of range")]
    Range,
    /// A held clock was asked to go back.
    #[error("a held clock only moves forward")]
    Backwards,
}

impl InstantError {
    /// The reason sent to a caller.
    #[must_use]
    pub fn reason(self) -> &'static str {
        match self {
            Self::Format => "TIMESTAMP_FORMAT",
            Self::Range | Self::Backwards => "TIMESTAMP_RANGE",
        }
    }
}

impl Instant {
    /// 1970-01-01T00:00:00Z.
    pub const EPOCH: Self = Self(0);
    /// 0001-01-01T00:00:00Z, the first moment a protobuf timestamp can say.
    pub const MIN: Self = Self(-62_135_596_800_000_000);
    /// 9999-12-30T22:00:00Z, the last moment the time library can show in every time zone.
    pub const MAX: Self = Self(253_402_207_200_000_000);

    /// From microseconds since the epoch.
    ///
    /// # Errors
    /// [`InstantError::Range`] outside the years 1 to 9999.
    pub fn from_micros(micros: i64) -> Result<Self, InstantError> {
        if (Self::MIN.0..=Self::MAX.0).contains(&micros) {
            Ok(Self(micros))
        } else {
            Err(InstantError::Range)
        }
    }

    /// Microseconds since the epoch.
    #[must_use]
    pub const fn micros(self) -> i64 {
        self.0
    }

    /// From the wire; a finer fraction than a microsecond is cut.
    ///
    /// # Errors
    /// [`InstantError::Range`] for nanoseconds outside 0..10⁹ or seconds outside the years 1 to 9999.
    pub fn from_proto(sent: &prost_types::Timestamp) -> Result<Self, InstantError> {
        if !(0..1_000_000_000).contains(&sent.nanos) {
            return Err(InstantError::Range);
        }
        let micros = sent.seconds.checked_mul(1_000_000).ok_or(InstantError::Range)?;
        Self::from_micros(micros.checked_add(i64::from(sent.nanos / 1_000)).ok_or(InstantError::Range)?)
    }

    /// For the wire.
    #[must_use]
    pub fn to_proto(self) -> prost_types::Timestamp {
        let nanos = i32::try_from(self.0.rem_euclid(1_000_000) * 1_000).unwrap_or_default();
        prost_types::Timestamp { seconds: self.0.div_euclid(1_000_000), nanos }
    }

    /// From the time library, cut to whole microseconds and held to the range.
    #[must_use]
    pub fn from_timestamp(timestamp: Timestamp) -> Self {
        Self(timestamp.as_microsecond().clamp(Self::MIN.0, Self::MAX.0))
    }

    /// For the time library.
    #[must_use]
    pub fn to_timestamp(self) -> Timestamp {
        Timestamp::from_microsecond(self.0).unwrap_or(Timestamp::UNIX_EPOCH)
    }

    /// Whole seconds since the epoch, rounded down.
    #[must_use]
    pub const fn seconds(self) -> i64 {
        self.0.div_euclid(1_000_000)
    }

    /// Later by `by`, at most [`Instant::MAX`].
    #[must_use]
    pub fn plus(self, by: Duration) -> Self {
        Self(self.0.saturating_add(micros_of(by)).min(Self::MAX.0))
    }

    /// Earlier by `by`, at least [`Instant::MIN`].
    #[must_use]
    pub fn minus(self, by: Duration) -> Self {
        Self(self.0.saturating_sub(micros_of(by)).max(Self::MIN.0))
    }

    /// How long after `earlier` this is; nothing if it is not after.
    #[must_use]
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_micros(u64::try_from(self.0 - earlier.0).unwrap_or(0))
    }
}

impl fmt::Display for Instant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.to_timestamp(), f)
    }
}

impl fmt::Debug for Instant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Instant {
    type Err = InstantError;

    /// RFC 3339 only: `2026-11-20T16:00:00Z`, a fraction and a `+01:00` allowed; no leap second.
    fn from_str(text: &str) -> Result<Self, InstantError> {
        if !is_rfc3339(text.as_bytes()) {
            return Err(InstantError::Format);
        }
        let timestamp: Timestamp = text.parse().map_err(|_| InstantError::Format)?;
        Self::from_micros(timestamp.as_microsecond())
    }
}

/// The machine's clock.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "this is the one place that reads the machine's clock")]
    fn now(&self) -> Instant {
        Instant::from_timestamp(Timestamp::now())
    }
}

/// A clock that stands where it was put and only moves forward. Clones show the same time.
#[derive(Clone, Debug)]
pub struct HeldClock(Arc<AtomicI64>);

impl HeldClock {
    /// A clock standing at `at`.
    #[must_use]
    pub fn new(at: Instant) -> Self {
        Self(Arc::new(AtomicI64::new(at.0)))
    }

    /// Moves the clock to `to`; the same moment again is allowed.
    ///
    /// # Errors
    /// [`InstantError::Backwards`] if `to` is earlier than the clock.
    pub fn advance_to(&self, to: Instant) -> Result<(), InstantError> {
        if self.0.fetch_max(to.0, Ordering::SeqCst) > to.0 { Err(InstantError::Backwards) } else { Ok(()) }
    }
}

impl Clock for HeldClock {
    fn now(&self) -> Instant {
        Instant(self.0.load(Ordering::SeqCst))
    }
}

/// A clock that was set once and runs on from there.
#[derive(Clone, Copy, Debug)]
pub struct SetClock {
    to: Instant,
    since: std::time::Instant,
}

impl SetClock {
    /// A clock that shows `to` now.
    #[must_use]
    pub fn new(to: Instant) -> Self {
        Self { to, since: std::time::Instant::now() }
    }
}

impl Clock for SetClock {
    fn now(&self) -> Instant {
        self.to.plus(self.since.elapsed())
    }
}

/// Where random bytes come from: the system, or a seed for scripts that must repeat. Clones draw from one stream.
///
/// When the system has no entropy the process ends with a logged reason. No caller could do anything else: without
/// random bytes nothing may be sealed, named or committed, and a `Result` would only spread that one answer.
#[derive(Clone)]
pub struct Randomness(Source);

#[derive(Clone)]
enum Source {
    System,
    Seeded { key: Arc<hmac::Key>, drawn: Arc<AtomicU64> },
}

impl Randomness {
    /// The system's generator.
    #[must_use]
    pub fn system() -> Self {
        Self(Source::System)
    }

    /// HMAC-SHA256 of a counter under `seed`: the same seed and order of draws give the same bytes. Not for service.
    #[must_use]
    pub fn seeded(seed: &[u8]) -> Self {
        let key = Arc::new(hmac::Key::new(hmac::HMAC_SHA256, seed));
        Self(Source::Seeded { key, drawn: Arc::new(AtomicU64::new(0)) })
    }

    /// Fills `bytes`; ends the process if the system cannot.
    pub fn fill(&self, bytes: &mut [u8]) {
        match &self.0 {
            Source::System => {
                if rand::fill(bytes).is_err() {
                    tracing::error!(
                        "the system gave no random bytes; stopping, since nothing can be sealed without"
                    );
                    std::process::abort();
                }
            }
            Source::Seeded { key, drawn } => {
                for chunk in bytes.chunks_mut(32) {
                    let block = hmac::sign(key, &drawn.fetch_add(1, Ordering::SeqCst).to_be_bytes());
                    for (byte, drawn) in chunk.iter_mut().zip(block.as_ref()) {
                        *byte = *drawn;
                    }
                }
            }
        }
    }

    /// A new id that sorts by `at` (RFC 9562 version 7, whole milliseconds).
    #[must_use]
    pub fn uuid_v7(&self, at: Instant) -> Uuid {
        let mut random = [0; 10];
        self.fill(&mut random);
        let millis = u64::try_from(at.0.div_euclid(1_000)).unwrap_or(0);
        uuid::Builder::from_unix_timestamp_millis(millis, &random).into_uuid()
    }

    /// A new id that tells nothing (RFC 9562 version 4).
    #[must_use]
    pub fn uuid_v4(&self) -> Uuid {
        let mut random = [0; 16];
        self.fill(&mut random);
        uuid::Builder::from_random_bytes(random).into_uuid()
    }
}

impl fmt::Debug for Randomness {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.0 {
            Source::System => "Randomness(system)",
            Source::Seeded { .. } => "Randomness(seeded)",
        })
    }
}

fn micros_of(duration: Duration) -> i64 {
    i64::try_from(duration.as_micros()).unwrap_or(i64::MAX)
}

/// `dddd-dd-ddTdd:dd:dd`, seconds under 60, an optional fraction, then `Z` or an offset.
fn is_rfc3339(text: &[u8]) -> bool {
    let Some((moment, rest)) = text.split_at_checked(19) else {
        return false;
    };
    let shape = |text: &[u8], shape: &[u8]| {
        text.len() == shape.len()
            && text.iter().zip(shape).all(|(t, s)| if *s == b'0' { t.is_ascii_digit() } else { t == s })
    };
    if !shape(moment, b"0000-00-00T00:00:00") || moment.get(17).is_none_or(|tens| *tens > b'5') {
        return false;
    }
    let zone = match rest.strip_prefix(b".") {
        None => rest,
        Some(fraction) => {
            let digits = fraction.iter().take_while(|b| b.is_ascii_digit()).count();
            if !(1..=9).contains(&digits) {
                return false;
            }
            fraction.get(digits..).unwrap_or_default()
        }
    };
    zone == b"Z" || shape(zone, b"+00:00") || shape(zone, b"-00:00")
}

#[cfg(test)]
mod tests {
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
        for (seconds, nanos) in
            [(0, -1), (0, 1_000_000_000), (253_402_300_800, 0), (i64::MAX, 0), (i64::MIN, 0)]
        {
            let sent = prost_types::Timestamp { seconds, nanos };
            assert_eq!(Instant::from_proto(&sent), Err(InstantError::Range));
        }
    }

    #[test]
    fn held_clock_only_moves_forward() {
        let clock = HeldClock::new(Instant::EPOCH);
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
}

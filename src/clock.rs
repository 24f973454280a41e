//! Sources of time and randomness. This is the only file that reads the system clock or system entropy.
//!
//! All other code receives a [`Clock`] and a [`Randomness`] as parameters, so that the same script with the same seed
//! always yields the same tree root. Dates and school days are in `calendar.rs`.

#[cfg(feature = "server")]
mod guard;

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

use aws_lc_rs::{hmac, rand};
use jiff::Timestamp;
use uuid::Uuid;

#[cfg(feature = "server")]
pub use guard::ClockGuard;

use crate::violation_reason::ViolationReason;

/// A source of the current time.
pub trait Clock: Send + Sync {
    /// Returns the current instant.
    fn now(&self) -> Instant;

    /// Returns the current instant, or `None` while the clock cannot be trusted. No entry is written then.
    fn trusted_now(&self) -> Option<Instant> {
        Some(self.now())
    }

    /// Returns by how many microseconds the clock below this one is ahead of what the time since the start of the
    /// machine makes of its last trusted reading; 0 for a clock that makes no such comparison.
    fn jump_micros(&self) -> i64 {
        0
    }
}

/// An instant: whole microseconds since 1970-01-01T00:00:00Z, between the years 1 and 9999.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Instant(i64);

/// Why an instant is invalid.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InstantError {
    /// The text is not RFC 3339 with an offset.
    #[error("not a date and time of RFC 3339")]
    Format,
    /// The instant is outside the years 1 to 9999, or the fraction of a second is outside its range.
    #[error("the moment is out of range")]
    Range,
    /// A manual clock was set to an earlier instant.
    #[error("a manual clock only moves forward")]
    Backwards,
}

impl InstantError {
    /// Returns the reason that is sent to a caller.
    #[must_use]
    pub fn reason(self) -> ViolationReason {
        match self {
            Self::Format => ViolationReason::TimestampFormat,
            Self::Range | Self::Backwards => ViolationReason::TimestampRange,
        }
    }
}

impl Instant {
    /// 1970-01-01T00:00:00Z.
    pub const EPOCH: Self = Self(0);
    /// 0001-01-01T00:00:00Z, the first instant of a protobuf timestamp.
    pub const MIN: Self = Self(-62_135_596_800_000_000);
    /// 9999-12-30T22:00:00Z, the last instant that the library `jiff` can represent in every time zone.
    pub const MAX: Self = Self(253_402_207_200_000_000);

    /// Creates an instant from microseconds since the epoch.
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

    /// Returns microseconds since the epoch.
    #[must_use]
    pub const fn micros(self) -> i64 {
        self.0
    }

    /// Converts a protobuf timestamp; truncates it to whole microseconds.
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

    /// Converts to a protobuf timestamp.
    #[must_use]
    pub fn to_proto(self) -> prost_types::Timestamp {
        let nanos = i32::try_from(self.0.rem_euclid(1_000_000) * 1_000).unwrap_or_default();
        prost_types::Timestamp { seconds: self.0.div_euclid(1_000_000), nanos }
    }

    /// Converts a `jiff` timestamp: truncates it to whole microseconds and clamps it to the range.
    #[must_use]
    pub fn from_timestamp(timestamp: Timestamp) -> Self {
        Self(timestamp.as_microsecond().clamp(Self::MIN.0, Self::MAX.0))
    }

    /// Converts to a `jiff` timestamp.
    #[must_use]
    pub fn to_timestamp(self) -> Timestamp {
        Timestamp::from_microsecond(self.0).unwrap_or(Timestamp::UNIX_EPOCH)
    }

    /// Returns whole seconds since the epoch, rounded down.
    #[must_use]
    pub const fn seconds(self) -> i64 {
        self.0.div_euclid(1_000_000)
    }

    /// Returns the instant later by `by`, at most [`Instant::MAX`].
    #[must_use]
    pub fn plus(self, by: Duration) -> Self {
        Self(self.0.saturating_add(micros_of(by)).min(Self::MAX.0))
    }

    /// Returns the instant earlier by `by`, at least [`Instant::MIN`].
    #[must_use]
    pub fn minus(self, by: Duration) -> Self {
        Self(self.0.saturating_sub(micros_of(by)).max(Self::MIN.0))
    }

    /// Returns the duration since `earlier`; zero if this instant is not later.
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

    /// Parses RFC 3339: `2026-11-20T16:00:00Z`, also with a fraction or an offset (`+01:00`). Rejects leap seconds.
    fn from_str(text: &str) -> Result<Self, InstantError> {
        if !is_rfc3339(text.as_bytes()) {
            return Err(InstantError::Format);
        }
        let timestamp: Timestamp = text.parse().map_err(|_| InstantError::Format)?;
        Self::from_micros(timestamp.as_microsecond())
    }
}

/// The system clock.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "this is the one place that reads the system clock")]
    fn now(&self) -> Instant {
        Instant::from_timestamp(Timestamp::now())
    }
}

/// A clock that shows the instant it was last set to, for tests and the sandbox. It only moves forward. Clones show the
/// same time.
#[derive(Clone, Debug)]
pub struct ManualClock(Arc<AtomicI64>);

impl ManualClock {
    /// Creates a clock that shows `at`.
    #[must_use]
    pub fn new(at: Instant) -> Self {
        Self(Arc::new(AtomicI64::new(at.0)))
    }

    /// Moves the clock to `to`, which may equal the present setting.
    ///
    /// # Errors
    /// [`InstantError::Backwards`] if `to` is earlier than the clock.
    pub fn advance_to(&self, to: Instant) -> Result<(), InstantError> {
        if self.0.fetch_max(to.0, Ordering::SeqCst) > to.0 { Err(InstantError::Backwards) } else { Ok(()) }
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Instant {
        Instant(self.0.load(Ordering::SeqCst))
    }
}

/// A clock that was set once and runs on from there with the monotonic clock.
#[derive(Clone, Copy, Debug)]
pub struct OffsetClock {
    set_to: Instant,
    started: std::time::Instant,
}

impl OffsetClock {
    /// Creates a clock that shows `to` now.
    #[must_use]
    pub fn new(set_to: Instant) -> Self {
        Self { set_to, started: std::time::Instant::now() }
    }
}

impl Clock for OffsetClock {
    fn now(&self) -> Instant {
        self.set_to.plus(self.started.elapsed())
    }
}

/// A source of random bytes: the system's generator, or a seed for reproducible scripts. Clones draw from one stream.
///
/// If the system's generator fails, the process aborts and logs the reason. No caller could handle the error: without
/// random bytes nothing can be sealed, named or committed.
#[derive(Clone)]
pub struct Randomness(RandomSource);

#[derive(Clone)]
enum RandomSource {
    System,
    Seeded { key: Arc<hmac::Key>, drawn: Arc<AtomicU64> },
}

impl Randomness {
    /// Returns the system's generator.
    #[must_use]
    pub fn system() -> Self {
        Self(RandomSource::System)
    }

    /// Returns a deterministic generator: HMAC-SHA256 of a counter under `seed`. The same seed and order of draws yield
    /// the same bytes. Not for production.
    #[must_use]
    pub fn seeded(seed: &[u8]) -> Self {
        let key = Arc::new(hmac::Key::new(hmac::HMAC_SHA256, seed));
        Self(RandomSource::Seeded { key, drawn: Arc::new(AtomicU64::new(0)) })
    }

    /// Fills `bytes` with random bytes; aborts the process if the system's generator fails.
    pub fn fill(&self, bytes: &mut [u8]) {
        match &self.0 {
            RandomSource::System => {
                if rand::fill(bytes).is_err() {
                    tracing::error!(
                        "the system returned no random bytes; stopping, because nothing can be sealed without them"
                    );
                    // The log is written by another thread.
                    std::thread::sleep(Duration::from_millis(200));
                    std::process::abort();
                }
            }
            RandomSource::Seeded { key, drawn } => {
                for chunk in bytes.chunks_mut(32) {
                    let block = hmac::sign(key, &drawn.fetch_add(1, Ordering::SeqCst).to_be_bytes());
                    for (byte, drawn) in chunk.iter_mut().zip(block.as_ref()) {
                        *byte = *drawn;
                    }
                }
            }
        }
    }

    /// Creates an id that sorts by `at` (UUID version 7 of RFC 9562, whole milliseconds).
    #[must_use]
    pub fn uuid_v7(&self, at: Instant) -> Uuid {
        let mut random = [0; 10];
        self.fill(&mut random);
        let millis = u64::try_from(at.0.div_euclid(1_000)).unwrap_or(0);
        uuid::Builder::from_unix_timestamp_millis(millis, &random).into_uuid()
    }

    /// Creates an id without information (UUID version 4 of RFC 9562).
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
            RandomSource::System => "Randomness(system)",
            RandomSource::Seeded { .. } => "Randomness(seeded)",
        })
    }
}

fn micros_of(duration: Duration) -> i64 {
    i64::try_from(duration.as_micros()).unwrap_or(i64::MAX)
}

/// Returns whether a text has the form `dddd-dd-ddTdd:dd:dd` with seconds under 60, an optional fraction of 1 to 9
/// digits, and then `Z` or an offset.
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
mod tests;

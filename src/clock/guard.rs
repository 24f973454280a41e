//! Guard on the system clock: compares it with the time since the machine was started, which nobody sets.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

use super::{Clock, Instant, micros_of};

/// A clock whose jumps are not followed. While the clock below differs by more than a bound from what the time since the
/// start of the machine makes of its earlier readings, this clock goes on from those, and [`Clock::trusted_now`] returns
/// `None`. A smaller difference is a correction, and is followed.
pub struct ClockGuard {
    below: Arc<dyn Clock>,
    max_jump_micros: i64,
    /// The last trusted reading less the [`uptime_micros`] of that reading, in microseconds since 1970.
    offset: AtomicI64,
}

impl ClockGuard {
    /// Guards a clock, whose present reading is trusted. `max_jump` is the largest correction that is followed.
    #[must_use]
    pub fn new(below: Arc<dyn Clock>, max_jump: Duration) -> Self {
        let offset = AtomicI64::new(below.now().micros() - uptime_micros());
        Self { below, max_jump_micros: micros_of(max_jump), offset }
    }

    /// Returns the present time, and whether the clock below shows it.
    fn read(&self) -> (Instant, bool) {
        let elapsed = uptime_micros();
        let reading = self.below.now();
        let (offset, trusted) = (reading.micros() - elapsed, self.offset.load(Ordering::Relaxed));
        if (offset - trusted).abs() > self.max_jump_micros {
            let expected = Instant::from_micros(trusted.saturating_add(elapsed));
            return (expected.unwrap_or(reading), false);
        }
        self.offset.store(offset, Ordering::Relaxed);
        (reading, true)
    }
}

impl Clock for ClockGuard {
    fn now(&self) -> Instant {
        self.read().0
    }

    fn trusted_now(&self) -> Option<Instant> {
        let (now, is_trusted) = self.read();
        is_trusted.then_some(now)
    }

    fn jump_micros(&self) -> i64 {
        self.below.now().micros() - uptime_micros() - self.offset.load(Ordering::Relaxed)
    }
}

/// Returns the time since the machine was started, in microseconds. While the machine is suspended it goes on, unlike
/// [`std::time::Instant`]: after a pause the system clock is right, and must not be taken for one that jumped.
fn uptime_micros() -> i64 {
    let uptime = clock_gettime(ClockId::Boottime);
    uptime.tv_sec.saturating_mul(1_000_000).saturating_add(uptime.tv_nsec / 1_000)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A clock that a test sets to any instant.
    struct SettableClock(AtomicI64);

    impl Clock for SettableClock {
        fn now(&self) -> Instant {
            Instant::from_micros(self.0.load(Ordering::SeqCst)).unwrap()
        }
    }

    #[test]
    fn a_jump_is_not_followed_and_a_correction_is() {
        let start: Instant = "2026-11-20T16:00:00Z".parse().unwrap();
        let below = Arc::new(SettableClock(AtomicI64::new(start.micros())));
        let guard = ClockGuard::new(Arc::clone(&below) as Arc<dyn Clock>, Duration::from_mins(1));
        let set = |to: Instant| below.0.store(to.micros(), Ordering::SeqCst);
        let is_near = |now: Instant, to: Instant| now.since(to) + to.since(now) < Duration::from_secs(20);
        assert_eq!(guard.trusted_now(), Some(start));
        for jumped in [start.plus(Duration::from_hours(80 * 24)), start.minus(Duration::from_mins(3))] {
            set(jumped);
            assert_eq!(guard.trusted_now(), None);
            assert!(is_near(guard.now(), start), "it goes on from the last trusted reading");
            let ahead = jumped.micros() - start.micros();
            assert!((guard.jump_micros() - ahead).abs() < 20_000_000, "{}", guard.jump_micros());
        }
        let corrected = start.plus(Duration::from_secs(30));
        set(corrected);
        assert_eq!(guard.trusted_now(), Some(corrected), "right again");
        set(corrected.plus(Duration::from_mins(2)));
        assert_eq!(guard.trusted_now(), None);
        assert!(is_near(guard.now(), corrected), "the correction was followed");
    }
}

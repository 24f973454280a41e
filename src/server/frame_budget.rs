//! Budget for HTTP/2 control frames. hyper answers every PING and SETTINGS and accepts every `WINDOW_UPDATE`
//! without a bound, so a peer could occupy a core with these alone. Frames of requests earn credit, and so does the
//! data of responses, because a peer with a small window sends a `WINDOW_UPDATE` for every few KiB that it reads.
//! Every other frame that is received costs credit.

use tokio::time::Instant;

use super::frame_scanner::{DATA_FRAME, FrameHeader, HEADERS_FRAME};

/// Control frames that a connection may send at once, and the number that is added each second.
const MAX_CREDIT: u32 = 1_000;
const CREDIT_PER_SECOND: u32 = 100;
/// Credit for a frame of a request. A unary call sends about one control frame for each of its own frames.
const CREDIT_PER_REQUEST_FRAME: u32 = 4;
/// Bytes of response data that earn one credit. A peer with windows of 16 KiB, which it renews by quarters for stream
/// and connection, spends one for every 2 KiB. Frames do not earn by number: a peer could make them one byte long.
const BYTES_PER_CREDIT: usize = 512;

/// Credit of a connection.
#[derive(Debug)]
pub(super) struct FrameBudget {
    credit: u32,
    refilled: Instant,
    /// Bytes of response data that have not earned credit yet.
    bytes_without_credit: usize,
}

impl FrameBudget {
    /// Creates a full budget.
    pub fn new() -> Self {
        Self { credit: MAX_CREDIT, refilled: Instant::now(), bytes_without_credit: 0 }
    }

    /// Accounts for a frame that was received. Returns whether the credit sufficed.
    #[must_use]
    pub fn charge_received(&mut self, frame: FrameHeader) -> bool {
        // Empty DATA frames earn nothing, because they can be a flood themselves (CVE-2019-9518).
        if frame.kind == HEADERS_FRAME || (frame.kind == DATA_FRAME && frame.length > 0) {
            self.earn(CREDIT_PER_REQUEST_FRAME);
            return true;
        }
        let seconds = u32::try_from(self.refilled.elapsed().as_secs()).unwrap_or(u32::MAX);
        if seconds > 0 {
            self.refilled = Instant::now();
            self.earn(seconds.saturating_mul(CREDIT_PER_SECOND));
        }
        match self.credit.checked_sub(1) {
            Some(left) => self.credit = left,
            None => return false,
        }
        true
    }

    /// Accounts for a frame that was sent.
    pub fn credit_sent(&mut self, frame: FrameHeader) {
        if frame.kind == DATA_FRAME {
            let bytes = self.bytes_without_credit.saturating_add(frame.length);
            self.bytes_without_credit = bytes % BYTES_PER_CREDIT;
            self.earn(u32::try_from(bytes / BYTES_PER_CREDIT).unwrap_or(u32::MAX));
        }
    }

    fn earn(&mut self, credit: u32) {
        self.credit = self.credit.saturating_add(credit).min(MAX_CREDIT);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PING: FrameHeader = FrameHeader { kind: 0x6, length: 8, stream: 0 };
    const WINDOW_UPDATE: FrameHeader = FrameHeader { kind: 0x8, length: 4, stream: 0 };

    fn data(length: usize) -> FrameHeader {
        FrameHeader { kind: DATA_FRAME, length, stream: 1 }
    }

    fn spent() -> FrameBudget {
        let mut budget = FrameBudget::new();
        for _ in 0..MAX_CREDIT {
            assert!(budget.charge_received(PING));
        }
        assert!(!budget.charge_received(PING));
        budget
    }

    #[tokio::test(start_paused = true)]
    async fn pings_are_cut_and_requests_are_not() {
        let mut budget = spent();
        tokio::time::advance(std::time::Duration::from_secs(2)).await;
        for _ in 0..2 * CREDIT_PER_SECOND {
            assert!(budget.charge_received(WINDOW_UPDATE));
        }
        assert!(!budget.charge_received(data(0)));
        let mut honest = FrameBudget::new();
        for _ in 0..5_000 {
            let headers = FrameHeader { kind: HEADERS_FRAME, length: 40, stream: 1 };
            for frame in [headers, data(300), WINDOW_UPDATE, WINDOW_UPDATE] {
                assert!(honest.charge_received(frame));
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn response_data_earns_credit_by_its_bytes() {
        let mut budget = spent();
        for _ in 0..1_000 {
            budget.credit_sent(data(4_096));
            assert!(budget.charge_received(WINDOW_UPDATE) && budget.charge_received(WINDOW_UPDATE));
        }
        // A peer whose window is one byte makes as many frames as it likes.
        let mut dribbling = spent();
        let paid = (0..5 * 512).filter(|_| {
            dribbling.credit_sent(data(1));
            dribbling.charge_received(WINDOW_UPDATE)
        });
        assert_eq!(paid.count(), 5);
    }
}

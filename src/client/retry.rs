//! Time limits of a client, and its retry policy.

use std::error::Error;
use std::io::ErrorKind;
use std::time::Duration;

use prost_reflect::DynamicMessage;
use tonic::{Code, Status};
use tonic_types::StatusExt;

use super::ClientError;
use crate::clock::Randomness;
use crate::proto;

/// Limits of a client. They bound every wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClientLimits {
    /// Time limit for name resolution and the TCP connection together.
    pub connect_timeout: Duration,
    /// Time limit for the TLS handshake.
    pub handshake_timeout: Duration,
    /// Time limit for the response to a call, or for opening a stream. A call sends it as `grpc-timeout`.
    pub call_timeout: Duration,
    /// Interval of HTTP/2 keep-alive pings while a call or a stream is open.
    pub keep_alive_interval: Duration,
    /// Time limit for the response to a ping; then the connection is closed.
    pub keep_alive_timeout: Duration,
    /// Time limit between two messages of a stream. The gateway sends a heartbeat after 20 seconds without a delivery.
    pub stream_idle_timeout: Duration,
    /// Maximum number of attempts per call or connection, including the first.
    pub max_attempts: u32,
    /// Pause before the second attempt. It doubles before each further attempt. Jitter shortens it by up to half, so
    /// that many clients do not retry at once.
    pub first_backoff: Duration,
    /// Maximum pause between two attempts.
    pub max_backoff: Duration,
    /// Time after the start of the first attempt within which another attempt may start.
    pub retry_window: Duration,
}

impl Default for ClientLimits {
    fn default() -> Self {
        Self {
            connect_timeout: Duration::from_secs(5),
            handshake_timeout: Duration::from_secs(5),
            call_timeout: Duration::from_secs(30),
            keep_alive_interval: Duration::from_secs(20),
            keep_alive_timeout: Duration::from_secs(10),
            stream_idle_timeout: Duration::from_mins(1),
            max_attempts: 6,
            first_backoff: Duration::from_millis(250),
            max_backoff: Duration::from_secs(15),
            retry_window: Duration::from_secs(30),
        }
    }
}

impl ClientLimits {
    /// Returns the pause after the given attempt (the first is 1): exponential, with jitter.
    #[must_use]
    pub fn backoff(&self, attempt: u32) -> Duration {
        let doubled = 2_u32.saturating_pow(attempt.saturating_sub(1).min(16));
        let backoff = self.first_backoff.saturating_mul(doubled).min(self.max_backoff);
        let mut random = [0; 1];
        Randomness::system().fill(&mut random);
        backoff.saturating_sub(backoff / 2 * u32::from(random[0]) / 255)
    }

    /// Returns the pause before the next attempt; `None` when there is none.
    pub(super) fn next_retry_delay(
        &self,
        failed: &ClientError,
        attempt: u32,
        elapsed: Duration,
    ) -> Option<Duration> {
        let requested = failed.min_retry_delay()?;
        let pause = self.backoff(attempt).max(requested);
        (attempt < self.max_attempts && elapsed + pause < self.retry_window).then_some(pause)
    }
}

impl ClientError {
    /// Returns the shortest pause after which the same call could succeed; `None` when a retry would not help.
    #[must_use]
    pub fn min_retry_delay(&self) -> Option<Duration> {
        match self {
            Self::Unreachable(error) => (!is_permanent(&**error)).then_some(Duration::ZERO),
            Self::TimedOut => Some(Duration::ZERO),
            Self::Refused(status) => requested_retry_delay(status),
            Self::Unchecked(error) => error.min_retry_delay(),
            Self::Profile(_)
            | Self::Malformed
            | Self::Receipt(_)
            | Self::Checkpoint(_)
            | Self::Inconsistent(_)
            | Self::Folder(_) => None,
        }
    }
}

/// Returns the delay that the gateway requests. `UNAVAILABLE` may always be retried, because a proxy sends no details.
fn requested_retry_delay(status: &Status) -> Option<Duration> {
    let requested = status.get_details_retry_info().and_then(|info| info.retry_delay);
    requested.or_else(|| (status.code() == Code::Unavailable).then_some(Duration::ZERO))
}

/// Returns whether TLS failed permanently, because a certificate, a name or a version does not fit.
fn is_permanent(error: &(dyn Error + 'static)) -> bool {
    is_caused_by(error, |error| {
        let io = error.downcast_ref::<std::io::Error>();
        error.is::<rustls::Error>() || io.is_some_and(|io| io.kind() == ErrorKind::InvalidData)
    })
}

/// Returns whether an error, or one of its sources, is of a kind.
pub(super) fn is_caused_by(
    error: &(dyn Error + 'static),
    is_of_kind: impl Fn(&(dyn Error + 'static)) -> bool,
) -> bool {
    let mut next = Some(error);
    while let Some(error) = next {
        if is_of_kind(error) {
            return true;
        }
        next = error.source();
    }
    false
}

/// Returns whether a request may be sent again without a further effect: it only reads, or it has a request id.
pub(super) fn is_repeatable(path: &str, request: &[u8]) -> bool {
    let name = path.rsplit('/').next().unwrap_or_default();
    let Some(method) = proto::methods().find(|method| method.name() == name) else {
        return false;
    };
    if !proto::is_mutating(&method) {
        return true;
    }
    let Ok(request) = DynamicMessage::decode(method.input(), request) else {
        return false;
    };
    let id = request.get_field_by_name("request_id");
    id.is_some_and(|id| id.as_str().is_some_and(|id| !id.is_empty()))
}

#[cfg(test)]
mod tests {
    use prost::Message;
    use tonic_types::ErrorDetails;

    use super::*;
    use crate::proto::v1::{ListPlacementsRequest, SubmitAttendanceRequest};

    #[test]
    fn the_pause_doubles_up_to_its_bound_and_keeps_half() {
        let limits = ClientLimits::default();
        for (attempt, most) in [(1, 250), (2, 500), (3, 1_000), (7, 15_000), (u32::MAX, 15_000)] {
            let most = Duration::from_millis(most);
            for _ in 0..50 {
                let pause = limits.backoff(attempt);
                assert!(most / 2 <= pause && pause <= most, "{attempt}: {pause:?}");
            }
        }
    }

    #[test]
    fn attempts_and_time_are_bounded() {
        let (limits, late) = (ClientLimits::default(), Duration::from_secs(30));
        let pause = |attempt, elapsed| limits.next_retry_delay(&ClientError::TimedOut, attempt, elapsed);
        assert!(pause(1, Duration::ZERO).is_some() && pause(5, Duration::ZERO).is_some());
        assert_eq!((pause(6, Duration::ZERO), pause(1, late)), (None, None));
    }

    #[test]
    fn the_gateway_s_own_delay_is_kept() {
        let refused = |code, delay: Option<u64>| {
            let mut details = ErrorDetails::new();
            details.set_retry_info(delay.map(Duration::from_millis));
            ClientError::from(Status::with_error_details(code, "", details)).min_retry_delay()
        };
        let millis = |millis| Some(Duration::from_millis(millis));
        assert_eq!(refused(Code::Aborted, Some(100)), millis(100));
        assert_eq!(refused(Code::ResourceExhausted, Some(1_000)), millis(1_000));
        assert_eq!(refused(Code::Unavailable, Some(1_000)), millis(1_000));
        assert_eq!(ClientError::from(Status::unavailable("")).min_retry_delay(), millis(0));
        for code in [Code::Aborted, Code::ResourceExhausted, Code::PermissionDenied, Code::Internal] {
            assert_eq!(ClientError::from(Status::new(code, "")).min_retry_delay(), None, "{code:?}");
        }
    }

    #[test]
    fn a_certificate_that_does_not_fit_is_not_tried_again() {
        let failed = |kind| ClientError::Unreachable(Box::new(std::io::Error::from(kind))).min_retry_delay();
        assert_eq!(failed(ErrorKind::InvalidData), None);
        for kind in [ErrorKind::ConnectionRefused, ErrorKind::TimedOut, ErrorKind::UnexpectedEof] {
            assert_eq!(failed(kind), Some(Duration::ZERO));
        }
    }

    #[test]
    fn only_reads_and_requests_with_an_id_are_repeated() {
        let submit = |id: &str| {
            let request =
                SubmitAttendanceRequest { request_id: id.to_owned(), ..SubmitAttendanceRequest::default() };
            is_repeatable("/apgateway.v1.ReturnsService/SubmitAttendance", &request.encode_to_vec())
        };
        assert!(submit("an id") && !submit(""));
        let read = ListPlacementsRequest::default().encode_to_vec();
        assert!(is_repeatable("/apgateway.v1.PlacementService/ListPlacements", &read));
        assert!(!is_repeatable("/elsewhere/Nothing", &read));
    }
}

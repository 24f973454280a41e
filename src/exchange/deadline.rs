//! Deadlines: the caller's `grpc-timeout`, up to a maximum of the gateway's own. A deadline bounds only the
//! caller's waiting. A change that has begun continues, and a retry with the same request id returns its
//! result (bad-input catalogue B90, B91). A read that is not decided yet ends with its caller.

use std::time::Duration;

use http::HeaderMap;

/// Maximum wait for a response, from the request's first byte.
const MAX_WAIT: Duration = Duration::from_secs(30);

/// Returns the caller's timeout: at most eight digits and a unit (gRPC over HTTP/2, "Requests"). A malformed
/// header counts as none.
pub(super) fn requested_timeout(headers: &HeaderMap) -> Option<Duration> {
    let (unit, digits) = headers.get("grpc-timeout")?.as_bytes().split_last()?;
    if !(1..=8).contains(&digits.len()) || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let count = digits.iter().fold(0, |count, digit| count * 10 + u64::from(digit - b'0'));
    Some(match unit {
        b'H' => Duration::from_secs(count * 3_600),
        b'M' => Duration::from_secs(count * 60),
        b'S' => Duration::from_secs(count),
        b'm' => Duration::from_millis(count),
        b'u' => Duration::from_micros(count),
        b'n' => Duration::from_nanos(count),
        _ => return None,
    })
}

/// Returns the time after which the response is `DEADLINE_EXCEEDED`.
pub(super) fn wait_limit(asked: Option<Duration>) -> Duration {
    asked.map_or(MAX_WAIT, |asked| asked.min(MAX_WAIT))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_caller_s_deadline_is_read_as_grpc_says_and_held_to_ours() {
        let waits = |value: &'static str| {
            let headers = HeaderMap::from_iter([(
                http::HeaderName::from_static("grpc-timeout"),
                http::HeaderValue::from_static(value),
            )]);
            wait_limit(requested_timeout(&headers))
        };
        for (value, micros) in [
            ("0n", 0),
            ("1n", 0),
            ("1500u", 1_500),
            ("20m", 20_000),
            ("1S", 1_000_000),
            ("00000007S", 7_000_000),
        ] {
            assert_eq!(waits(value).as_micros(), micros, "{value}");
        }
        for value in ["1M", "99999999H", "", "S", "5", "abc", "-1S", "999999999S", "1 S", "1s", "1.5S", "+1S"]
        {
            assert_eq!(waits(value), MAX_WAIT, "{value}");
        }
        assert_eq!(wait_limit(requested_timeout(&HeaderMap::new())), MAX_WAIT);
    }
}

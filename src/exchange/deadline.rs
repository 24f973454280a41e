//! How long a caller waits: gRPC's `grpc-timeout`, and never longer than we let anybody wait. It bounds the
//! waiting alone: an exchange that has begun goes on, and the same request id tells what became of it
//! (bad-input catalogue B90, B91).

use std::time::Duration;

use http::HeaderMap;

/// Longest wait for the answer to a request, from its first byte on.
const LONGEST: Duration = Duration::from_secs(30);

/// What the caller asked for: at most eight digits and a unit (gRPC over HTTP/2, "Requests"). Anything else
/// counts as nothing.
pub(super) fn asked(headers: &HeaderMap) -> Option<Duration> {
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

/// How long an answer is waited for.
pub(super) fn wait(asked: Option<Duration>) -> Duration {
    asked.map_or(LONGEST, |asked| asked.min(LONGEST))
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
            wait(asked(&headers))
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
            assert_eq!(waits(value), LONGEST, "{value}");
        }
        assert_eq!(wait(asked(&HeaderMap::new())), LONGEST);
    }
}

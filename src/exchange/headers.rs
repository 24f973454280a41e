//! Headers of a call. No header identifies the caller; only the certificate does. The token of `authorization` adds the
//! person for whom the caller's system calls.

use std::sync::Arc;

use http::{HeaderMap, HeaderName, HeaderValue, Request, header};

use crate::identity::MAX_TOKEN_BYTES;

/// Largest list of headers without the token, in bytes, as HTTP/2 counts them (RFC 9113, 10.5.1).
const MAX_HEADER_BYTES: usize = 16 << 10;
/// Bytes that a header counts beside its name and its value.
const HEADER_OVERHEAD_BYTES: usize = 32;
/// Largest list of headers that a connection takes, in bytes. It has room for a token that is too long beside the other
/// headers, because its refusal is the gateway's and has an entry.
pub const MAX_HEADER_LIST_BYTES: u32 = 32 << 10;

/// Checks whether there are too many bytes of headers. The token has a limit of its own.
pub(super) fn are_too_large(headers: &HeaderMap) -> bool {
    let size = |(name, value): (&HeaderName, &HeaderValue)| {
        name.as_str().len() + value.len() + HEADER_OVERHEAD_BYTES
    };
    let others = headers.iter().filter(|(name, _)| *name != header::AUTHORIZATION);
    others.map(size).sum::<usize>() > MAX_HEADER_BYTES
}

/// Checks that the content type is `application/grpc` or `application/grpc+proto`, the only ones supported.
pub(super) fn is_grpc(headers: &HeaderMap) -> bool {
    let kind = headers.get(header::CONTENT_TYPE).map(HeaderValue::as_bytes);
    matches!(kind, Some(b"application/grpc" | b"application/grpc+proto"))
}

/// Returns the trace id of a W3C `traceparent`, or `None` if the header is malformed.
pub(super) fn trace_id(header: &str) -> Option<&str> {
    let mut parts = header.split('-');
    let (version, trace) = (parts.next()?, parts.next()?);
    let hex = |text: &str| text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    (version == "00" && trace.len() == 32 && hex(trace) && parts.count() == 2).then_some(trace)
}

/// Returns the bearer token of a call. It is empty, and so refused like any other that is not valid, if there are several
/// `authorization` headers, or one that holds something else or too long a token, which would only be held.
pub(super) fn bearer_token(headers: &HeaderMap) -> Option<Arc<str>> {
    let mut all = headers.get_all(header::AUTHORIZATION).iter();
    let first = all.next()?;
    let only = Some(first).filter(|_| all.next().is_none()).and_then(|value| value.to_str().ok());
    let token = only
        .and_then(|text| text.split_once(' '))
        .filter(|(scheme, token)| scheme.eq_ignore_ascii_case("bearer") && token.len() <= MAX_TOKEN_BYTES);
    Some(token.map_or_else(|| Arc::from(""), |(_, token)| Arc::from(token)))
}

/// Checks whether a header claims an identity, as a proxy's would. The claim is ignored, and the entry records
/// that there was one.
pub(super) fn has_identity_header(headers: &HeaderMap) -> bool {
    headers.keys().map(header::HeaderName::as_str).any(|name| {
        matches!(name, "x-forwarded-client-cert" | "forwarded" | "x-client-cert" | "x-org-id" | "x-user-id")
            || name.starts_with("x-ssl-client")
            || name.starts_with("ssl-client")
    })
}

/// Removes every header that tonic does not read, because headers are held as long as the call waits for its body. The
/// address is copied, because what h2 makes of it is a slice of all headers.
pub fn keep_only_grpc<B>(request: &mut Request<B>) {
    if let Ok(address) = request.uri().to_string().parse() {
        *request.uri_mut() = address;
    }
    let headers = request.headers_mut();
    let names = ["content-type", "te", "grpc-encoding", "grpc-accept-encoding"];
    let kept = names.iter().filter_map(|name| {
        let value = headers.get(*name)?;
        Some((header::HeaderName::from_static(name), HeaderValue::from_bytes(value.as_bytes()).ok()?))
    });
    *headers = kept.collect();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_one_bearer_token_is_read() {
        let read = |values: &[&'static str]| {
            let mut headers = HeaderMap::new();
            for value in values {
                headers.append(header::AUTHORIZATION, HeaderValue::from_static(value));
            }
            bearer_token(&headers).map(|token| token.to_string())
        };
        assert_eq!(read(&[]), None);
        assert_eq!(read(&["Bearer a.b.c"]).as_deref(), Some("a.b.c"));
        assert_eq!(read(&["bearer a.b.c"]).as_deref(), Some("a.b.c"));
        for wrong in [&["Basic a.b.c"][..], &["a.b.c"], &["Bearer"], &["Bearer a.b.c", "Bearer a.b.c"]] {
            assert_eq!(read(wrong).as_deref(), Some(""), "{wrong:?}");
        }
    }

    #[test]
    fn a_token_has_a_limit_of_its_own() {
        let with = |name: &'static str, bytes: usize| {
            let mut headers = HeaderMap::new();
            headers.insert(name, HeaderValue::from_str(&format!("Bearer {}", "t".repeat(bytes))).unwrap());
            headers
        };
        let just_fits = with("authorization", MAX_TOKEN_BYTES);
        assert_eq!(bearer_token(&just_fits).map(|token| token.len()), Some(MAX_TOKEN_BYTES));
        let too_long = with("authorization", MAX_TOKEN_BYTES + 1);
        assert_eq!(bearer_token(&too_long).as_deref(), Some(""));
        assert!(!are_too_large(&with("authorization", 2 * MAX_HEADER_BYTES)));
        // Name, "Bearer " and overhead.
        let rest = 3 + 7 + HEADER_OVERHEAD_BYTES;
        assert!(!are_too_large(&with("x-a", MAX_HEADER_BYTES - rest)));
        assert!(are_too_large(&with("x-a", MAX_HEADER_BYTES - rest + 1)));
    }

    #[test]
    fn a_trace_that_is_none_is_dropped() {
        let trace = "4bf92f3577b34da6a3ce929d0e0e4736";
        assert_eq!(trace_id(&format!("00-{trace}-00f067aa0ba902b7-01")), Some(trace));
        for header in ["", "x", "00-zz-00-01", "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"] {
            assert_eq!(trace_id(header), None);
        }
    }
}

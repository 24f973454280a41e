//! Headers of a call. No header identifies the caller; only the certificate does. The token of `authorization` adds the
//! person for whom the caller's system calls.

use std::sync::Arc;

use http::{HeaderMap, HeaderValue, header};

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
/// `authorization` headers or one that holds something else.
pub(super) fn bearer_token(headers: &HeaderMap) -> Option<Arc<str>> {
    let mut all = headers.get_all(header::AUTHORIZATION).iter();
    let first = all.next()?;
    let only = Some(first).filter(|_| all.next().is_none()).and_then(|value| value.to_str().ok());
    let token = only
        .and_then(|text| text.split_once(' '))
        .filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"));
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

/// Removes every header that tonic does not read, because headers are held as long as the call waits for its body.
pub fn keep_only_grpc(headers: &mut HeaderMap) {
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
    fn a_trace_that_is_none_is_dropped() {
        let trace = "4bf92f3577b34da6a3ce929d0e0e4736";
        assert_eq!(trace_id(&format!("00-{trace}-00f067aa0ba902b7-01")), Some(trace));
        for header in ["", "x", "00-zz-00-01", "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"] {
            assert_eq!(trace_id(header), None);
        }
    }
}

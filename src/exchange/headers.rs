//! Headers of a call. No header identifies the caller; only the certificate does.

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

/// Checks whether a header claims an identity, as a proxy's would. The claim is ignored, and the entry records
/// that there was one.
pub(super) fn has_identity_header(headers: &HeaderMap) -> bool {
    headers.keys().map(header::HeaderName::as_str).any(|name| {
        matches!(name, "x-forwarded-client-cert" | "forwarded" | "x-client-cert" | "x-org-id" | "x-user-id")
            || name.starts_with("x-ssl-client")
            || name.starts_with("ssl-client")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trace_that_is_none_is_dropped() {
        let trace = "4bf92f3577b34da6a3ce929d0e0e4736";
        assert_eq!(trace_id(&format!("00-{trace}-00f067aa0ba902b7-01")), Some(trace));
        for header in ["", "x", "00-zz-00-01", "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"] {
            assert_eq!(trace_id(header), None);
        }
    }
}

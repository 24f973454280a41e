//! What is read of a call's headers. Nothing in them says who calls: that is the certificate's to say.

use http::{HeaderMap, HeaderValue, header};

/// `application/grpc` or `application/grpc+proto`: nothing else is spoken here.
pub(super) fn is_grpc(headers: &HeaderMap) -> bool {
    let kind = headers.get(header::CONTENT_TYPE).map(HeaderValue::as_bytes);
    matches!(kind, Some(b"application/grpc" | b"application/grpc+proto"))
}

/// The trace id of a W3C `traceparent`; anything else is dropped.
pub(super) fn trace_id(header: &str) -> Option<&str> {
    let mut parts = header.split('-');
    let (version, trace) = (parts.next()?, parts.next()?);
    let hex = |text: &str| text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    (version == "00" && trace.len() == 32 && hex(trace) && parts.count() == 2).then_some(trace)
}

/// Whether a header claims an identity, as a proxy's would. It is ignored, and the entry says that it was there.
pub(super) fn claim_identity(headers: &HeaderMap) -> bool {
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

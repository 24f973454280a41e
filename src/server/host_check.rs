//! Checks that a call is for this gateway: that its authority and its `host` headers name the server's certificate.

use std::sync::OnceLock;

use http::uri::Authority;

use crate::identity::Tls;

/// Checks whether the call's authority is a name of the server's certificate. The last valid authority of a
/// connection is cached.
pub(super) fn is_own_authority(
    authority: Option<&Authority>,
    checked_authority: &OnceLock<Authority>,
    tls: &Tls,
) -> bool {
    let Some(authority) = authority.filter(|authority| checked_authority.get() != Some(authority)) else {
        return true;
    };
    let is_own = tls.is_server_name(authority.host().trim_matches(['[', ']']));
    if is_own {
        checked_authority.set(authority.clone()).ok();
    }
    is_own
}

/// Checks that every `host` header names the server. HTTP/2 allows the header in place of `:authority`, and no
/// other host beside it.
pub(super) fn are_host_headers_own(headers: &http::HeaderMap, tls: &Tls) -> bool {
    headers.get_all(http::header::HOST).iter().all(|host| {
        let authority = host.to_str().ok().and_then(|host| host.parse::<Authority>().ok());
        authority.is_some_and(|authority| tls.is_server_name(authority.host().trim_matches(['[', ']'])))
    })
}

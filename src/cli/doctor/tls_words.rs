//! What went wrong on the way to a gateway, in words, and what to do about it.

use rustls::{AlertDescription, CertificateError, Error as TlsError};

use super::Check;
use crate::client::{ProbeError, Profile};
use crate::identity::PeerCertificate;

const NAME_AND_PORT: &str = "name and port";
const SERVER: &str = "server's certificate";
const HANDSHAKE: &str = "handshake";

/// Explains the step that failed.
pub fn explain(error: &ProbeError, profile: &Profile, own: &PeerCertificate) -> Check {
    let endpoint = &profile.endpoint;
    match error {
        ProbeError::Profile(error) => Check::fault(
            "profile",
            error.to_string(),
            "the certificate and the key must be of one pair, and `ca` a certificate in PEM",
        ),
        ProbeError::Name(_) => Check::fault(
            NAME_AND_PORT,
            format!("{endpoint} has no address"),
            "put the gateway's name into the profile's endpoint, and look at this machine's DNS",
        ),
        ProbeError::Port(error) => Check::fault(
            NAME_AND_PORT,
            format!("{endpoint} accepts no connection ({})", error.kind()),
            "look whether the gateway serves, whether the port is right, and at the firewalls between",
        ),
        ProbeError::Tls(error) => explain_server(error, profile),
        ProbeError::Alert(alert) => explain_alert(*alert),
        ProbeError::Closed => Check::fault(
            HANDSHAKE,
            format!("the gateway closed the connection of {}", own.organisation()),
            "the certificate's trust domain is not the gateway's, the name is not one of the gateway's, or the \
             organisation has too many connections; the operator's log names which",
        ),
        ProbeError::Io(error) => Check::fault(
            HANDSHAKE,
            format!("the connection failed ({})", error.kind()),
            "look whether something between cuts or inspects TLS, and whether the port is the gateway's",
        ),
    }
}

/// Explains why this side does not accept the gateway's certificate.
fn explain_server(error: &TlsError, profile: &Profile) -> Check {
    let host = profile.endpoint.rsplit_once(':').map_or("", |(host, _)| host);
    let TlsError::InvalidCertificate(fault) = error else {
        return Check::fault(
            HANDSHAKE,
            format!("TLS failed: {error}"),
            "the port must be the gateway's, and nothing between may inspect TLS; the gateway speaks TLS 1.3 only",
        );
    };
    let (found, advice) = match fault {
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => (
            format!("it is not for the name {host}"),
            "put a name of the gateway's certificate into the profile's endpoint",
        ),
        CertificateError::UnknownIssuer | CertificateError::BadSignature => (
            "it is not signed by the profile's CA".to_owned(),
            "put the CA's certificate that the operator gives out into the profile's `ca`",
        ),
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => (
            "it is not valid yet, by this machine's clock".to_owned(),
            "set this machine's clock; if it is right, the operator must look at the gateway's certificate",
        ),
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => (
            "it has expired, by this machine's clock".to_owned(),
            "look at this machine's clock; if it is right, the operator must renew the gateway's certificate",
        ),
        other => {
            (format!("it is not accepted: {other}"), "the operator must look at the gateway's certificate")
        }
    };
    Check::fault(SERVER, found, advice)
}

/// Explains an alert of the gateway, which is about this client's certificate.
fn explain_alert(alert: AlertDescription) -> Check {
    let (found, advice) = match alert {
        AlertDescription::CertificateRequired => (
            "no certificate was sent",
            "put certificate and key into the profile, and the intermediates after it",
        ),
        AlertDescription::UnknownCA => (
            "the gateway does not know the authority that signed this certificate",
            "use a certificate of an authority that the operator accepts, and send its intermediates",
        ),
        AlertDescription::CertificateRevoked => (
            "this certificate is on its authority's revocation list",
            "have a new certificate issued, and register it with `cert register`",
        ),
        AlertDescription::CertificateExpired => (
            "this certificate has expired, or is not valid yet, by the gateway's clock",
            "have a new certificate issued; compare this machine's clock with the gateway's",
        ),
        AlertDescription::BadCertificate
        | AlertDescription::UnsupportedCertificate
        | AlertDescription::CertificateUnknown => (
            "the gateway cannot accept this certificate",
            "it must be for clientAuth, with one URI of the organisation; the operator's log names the fault",
        ),
        AlertDescription::DecryptError => (
            "the private key is not that of the certificate",
            "put the key of this certificate into the profile",
        ),
        AlertDescription::ProtocolVersion | AlertDescription::HandshakeFailure => {
            ("no common version or algorithm of TLS", "the gateway speaks TLS 1.3 only; look what is between")
        }
        AlertDescription::NoApplicationProtocol => {
            ("the other side speaks no HTTP/2", "look whether the port is the gateway's")
        }
        AlertDescription::AccessDenied => {
            ("the gateway denies access", "the operator's log names the reason")
        }
        _ => ("the gateway ended the handshake with an alert", "the operator's log names the reason"),
    };
    Check::fault(HANDSHAKE, format!("{found} (alert {alert:?})"), advice)
}

//! Certificate revocation lists (CRLs). Each list's signature is verified with its issuer's key when it is loaded; its
//! dates are checked again while it is in use.

use std::path::{Path, PathBuf};
use std::time::Duration;

use rustls::pki_types::CertificateRevocationListDer;
use rustls::pki_types::pem::PemObject;
use x509_parser::num_bigint::BigUint;
use x509_parser::oid_registry::{
    OID_PKCS1_SHA1WITHRSA, OID_SHA1_WITH_RSA, OID_X509_EXT_ISSUER_DISTRIBUTION_POINT,
};
use x509_parser::prelude::{CertificateRevocationList, FromDer, X509Certificate};

use super::authorities::{ClientAuthority, instant_from_seconds};
use super::files::{TlsError, missing_block_cause, pem_error_cause, read_file};
use crate::clock::Instant;

/// Configuration key of the lists' files.
pub(super) const CRLS_SETTING: &str = "tls.crls";
/// Maximum time by which a list's `thisUpdate` may be ahead of this node's clock, because clocks differ a little.
const MAX_CLOCK_DIFFERENCE: Duration = Duration::from_mins(5);

/// A revocation list whose signature was verified.
#[derive(Clone)]
pub(super) struct RevocationList {
    pub der: CertificateRevocationListDer<'static>,
    this_update: Instant,
    pub next_update: Instant,
    /// CRL number; `None` if the authority does not number its lists.
    number: Option<BigUint>,
    /// Issuing distribution point, because an authority may divide its list into several; empty if there is none.
    distribution_point: Vec<u8>,
}

/// The age of an authority's revocation lists, relative to their lifetime.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CrlState {
    /// All lists are in the first half of their lifetime.
    Current,
    /// A list is in the second half of its lifetime: a new one is due.
    Ageing,
    /// A list is past `nextUpdate`, so later revocations are unknown.
    Lapsed,
}

impl RevocationList {
    /// Parses a list and finds the authority that signed it. The inner error is the name of an issuer that is not
    /// configured; the outer error is the cause of a refusal.
    fn new(
        der: CertificateRevocationListDer<'static>,
        authorities: &[ClientAuthority],
        now: Instant,
    ) -> Result<Result<(usize, Self), String>, String> {
        let (rest, parsed) =
            CertificateRevocationList::from_der(&der).map_err(|_| "it is not an X.509 revocation list")?;
        if !rest.is_empty() {
            return Err("it is not an X.509 revocation list".to_owned());
        }
        let name = parsed.issuer().to_string();
        let algorithm = &parsed.signature_algorithm.algorithm;
        if *algorithm == OID_PKCS1_SHA1WITHRSA || *algorithm == OID_SHA1_WITH_RSA {
            return Err(format!("the list of {name} is signed with SHA-1"));
        }
        let mut named = authorities
            .iter()
            .enumerate()
            .filter(|(_, authority)| authority.subject == parsed.issuer().as_raw());
        let signed = named.clone().find(|(_, authority)| {
            X509Certificate::from_der(&authority.certificate)
                .is_ok_and(|(_, issuer)| parsed.verify_signature(issuer.public_key()).is_ok())
        });
        let Some((at, _)) = signed else {
            return match named.next() {
                Some(_) => {
                    Err(format!("the list of {name} is not signed by that authority of tls.client_ca"))
                }
                None => Ok(Err(name)),
            };
        };
        let next_update =
            parsed.next_update().ok_or_else(|| format!("the list of {name} has no nextUpdate"))?;
        let this_update = instant_from_seconds(parsed.last_update().timestamp());
        // A list of the future would count as newer than those that are published until then.
        if this_update > now.plus(MAX_CLOCK_DIFFERENCE) {
            return Err(format!(
                "the list of {name} is dated {this_update}, and this node's clock says {now}"
            ));
        }
        let scope = parsed
            .extensions()
            .iter()
            .find(|extension| extension.oid == OID_X509_EXT_ISSUER_DISTRIBUTION_POINT);
        let list = Self {
            this_update,
            next_update: instant_from_seconds(next_update.timestamp()),
            number: parsed.crl_number().cloned(),
            distribution_point: scope.map(|scope| scope.value.to_vec()).unwrap_or_default(),
            der,
        };
        Ok(Ok((at, list)))
    }

    /// Reports whether a list of the same authority and distribution point is older: by number where both have one,
    /// else by time.
    fn is_older_than(&self, other: &Self) -> bool {
        match (&self.number, &other.number) {
            (Some(number), Some(others)) if number != others => number < others,
            _ => self.this_update < other.this_update,
        }
    }
}

/// Reads the lists and returns those of each authority; refuses a set in which an authority has none.
pub(super) fn load(
    paths: &[PathBuf],
    authorities: &[ClientAuthority],
    client_ca: &Path,
    now: Instant,
) -> Result<Vec<Vec<RevocationList>>, TlsError> {
    let mut lists: Vec<Vec<RevocationList>> = authorities.iter().map(|_| Vec::new()).collect();
    let mut unknown_issuers = Vec::new();
    for path in paths {
        for der in read_lists(path)? {
            let read = RevocationList::new(der, authorities, now);
            match read.map_err(|cause| TlsError::new(CRLS_SETTING, path, cause))? {
                Ok((at, list)) => {
                    if let Some(authority_lists) = lists.get_mut(at) {
                        add_newest(authority_lists, list);
                    }
                }
                Err(issuer) => {
                    tracing::warn!(
                        issuer,
                        "a revocation list was ignored: its issuer is not in tls.client_ca"
                    );
                    unknown_issuers.push(issuer);
                }
            }
        }
    }
    for (authority, authority_lists) in authorities.iter().zip(&lists) {
        if authority_lists.is_empty() {
            let mut cause = format!("{CRLS_SETTING} holds no revocation list of {}", authority.name);
            if !unknown_issuers.is_empty() {
                cause =
                    format!("{cause}, only of {}, which is not in tls.client_ca", unknown_issuers.join(", "));
            }
            return Err(TlsError::new("tls.client_ca", client_ca, cause));
        }
    }
    Ok(lists)
}

/// Adds a list, so that only the newest of each distribution point remains.
fn add_newest(lists: &mut Vec<RevocationList>, list: RevocationList) {
    match lists.iter_mut().find(|known| known.distribution_point == list.distribution_point) {
        Some(known) if known.is_older_than(&list) => *known = list,
        Some(_) => {}
        None => lists.push(list),
    }
}

/// Replaces an authority's lists by newer ones in use of the same distribution point, and logs each.
pub(super) fn replace_with_newer(issuer: &str, lists: &mut [RevocationList], in_use: &[RevocationList]) {
    for list in lists {
        let newer = in_use
            .iter()
            .find(|known| known.distribution_point == list.distribution_point && list.is_older_than(known));
        if let Some(newer) = newer {
            let number = |list: &RevocationList| list.number.as_ref().map(ToString::to_string);
            tracing::warn!(
                issuer,
                this_update = %list.this_update,
                number = number(list),
                this_update_in_use = %newer.this_update,
                number_in_use = number(newer),
                "a revocation list older than the one in use was ignored"
            );
            *list = newer.clone();
        }
    }
}

fn read_lists(path: &Path) -> Result<Vec<CertificateRevocationListDer<'static>>, TlsError> {
    let bytes = read_file(CRLS_SETTING, path)?;
    // The tag of a SEQUENCE, with which DER begins.
    if bytes.first() == Some(&0x30) {
        return Ok(vec![CertificateRevocationListDer::from(bytes)]);
    }
    let found: Result<Vec<_>, _> = CertificateRevocationListDer::pem_slice_iter(&bytes).collect();
    let found = found.map_err(|error| TlsError::new(CRLS_SETTING, path, pem_error_cause(&error)))?;
    if found.is_empty() {
        return Err(TlsError::new(CRLS_SETTING, path, missing_block_cause(&bytes, "X509 CRL")));
    }
    Ok(found)
}

/// Returns the state of an authority's lists, and the earliest `nextUpdate`.
pub(super) fn crl_state(lists: &[RevocationList], now: Instant) -> (CrlState, Instant) {
    let end = lists.iter().map(|list| list.next_update).min().unwrap_or(Instant::MIN);
    let ageing = lists.iter().any(|list| {
        let life = list.next_update.since(list.this_update);
        now >= list.this_update.plus(life / 2)
    });
    let state = match (now >= end, ageing) {
        (true, _) => CrlState::Lapsed,
        (false, true) => CrlState::Ageing,
        (false, false) => CrlState::Current,
    };
    (state, end)
}

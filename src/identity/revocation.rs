//! Revocation lists: each is verified against the authority that issued it when it is loaded. The dates are checked
//! again while the list is in use.

use std::path::{Path, PathBuf};

use rustls::pki_types::CertificateRevocationListDer;
use rustls::pki_types::pem::PemObject;
use x509_parser::num_bigint::BigUint;
use x509_parser::oid_registry::{
    OID_PKCS1_SHA1WITHRSA, OID_SHA1_WITH_RSA, OID_X509_EXT_ISSUER_DISTRIBUTION_POINT,
};
use x509_parser::prelude::{CertificateRevocationList, FromDer, X509Certificate};

use super::authorities::{Authority, instant};
use super::files::{TlsError, contents, lacking, malformed};
use crate::clock::Instant;

pub(super) const KEY: &str = "tls.crls";

/// A revocation list whose signature was verified.
#[derive(Clone)]
pub(super) struct RevocationList {
    pub der: CertificateRevocationListDer<'static>,
    this_update: Instant,
    pub next_update: Instant,
    /// Its number, big-endian without leading zeros.
    number: Vec<u8>,
    /// Its issuing distribution point: an authority may divide its list into several.
    scope: Vec<u8>,
}

/// How far the revocation lists of an authority are through their life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ListState {
    /// In the first half.
    Current,
    /// In the second half: a new list is due.
    Ageing,
    /// Past `nextUpdate`: who is revoked is not known.
    Lapsed,
}

impl RevocationList {
    /// Reads one list and finds the authority that signed it; the error of a list whose issuer is not configured is its
    /// name.
    fn new(
        der: CertificateRevocationListDer<'static>,
        authorities: &[Authority],
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
        let scope = parsed.extensions().iter().find(|it| it.oid == OID_X509_EXT_ISSUER_DISTRIBUTION_POINT);
        let list = Self {
            this_update: instant(parsed.last_update().timestamp()),
            next_update: instant(next_update.timestamp()),
            number: parsed.crl_number().map(BigUint::to_bytes_be).unwrap_or_default(),
            scope: scope.map(|scope| scope.value.to_vec()).unwrap_or_default(),
            der,
        };
        Ok(Ok((at, list)))
    }

    /// What orders the lists of one authority and scope.
    fn age(&self) -> (Instant, usize, &[u8]) {
        (self.this_update, self.number.len(), &self.number)
    }
}

/// Reads the lists and returns those of each authority, at least one of each.
pub(super) fn read(
    paths: &[PathBuf],
    authorities: &[Authority],
    client_ca: &Path,
) -> Result<Vec<Vec<RevocationList>>, TlsError> {
    let mut lists: Vec<Vec<RevocationList>> = authorities.iter().map(|_| Vec::new()).collect();
    let mut strangers = Vec::new();
    for path in paths {
        for der in blocks(path)? {
            let read = RevocationList::new(der, authorities);
            match read.map_err(|cause| TlsError::new(KEY, path, cause))? {
                Ok((at, list)) => {
                    if let Some(own) = lists.get_mut(at) {
                        add_newest(own, list);
                    }
                }
                Err(issuer) => {
                    tracing::warn!(
                        issuer,
                        "a revocation list was left out: its issuer is not in tls.client_ca"
                    );
                    strangers.push(issuer);
                }
            }
        }
    }
    for (authority, own) in authorities.iter().zip(&lists) {
        if own.is_empty() {
            let mut cause = format!("{KEY} holds no revocation list of {}", authority.name);
            if !strangers.is_empty() {
                cause = format!("{cause}, only of {}, which is not in tls.client_ca", strangers.join(", "));
            }
            return Err(TlsError::new("tls.client_ca", client_ca, cause));
        }
    }
    Ok(lists)
}

/// Adds a list unless a newer one of the same scope is there, and drops an older one.
fn add_newest(lists: &mut Vec<RevocationList>, list: RevocationList) {
    match lists.iter_mut().find(|known| known.scope == list.scope) {
        Some(known) if known.age() < list.age() => *known = list,
        Some(_) => {}
        None => lists.push(list),
    }
}

/// Replaces each list by a newer one of the same scope; returns whether there was one.
pub(super) fn keep_newest(lists: &mut [RevocationList], known: &[RevocationList]) -> bool {
    let mut replaced = false;
    for list in lists {
        let newer = known.iter().find(|known| known.scope == list.scope && list.age() < known.age());
        if let Some(newer) = newer.cloned() {
            *list = newer;
            replaced = true;
        }
    }
    replaced
}

fn blocks(path: &Path) -> Result<Vec<CertificateRevocationListDer<'static>>, TlsError> {
    let bytes = contents(KEY, path)?;
    // DER begins with a SEQUENCE.
    if bytes.first() == Some(&0x30) {
        return Ok(vec![CertificateRevocationListDer::from(bytes)]);
    }
    let found: Result<Vec<_>, _> = CertificateRevocationListDer::pem_slice_iter(&bytes).collect();
    let found = found.map_err(|error| TlsError::new(KEY, path, malformed(&error)))?;
    if found.is_empty() {
        return Err(TlsError::new(KEY, path, lacking(&bytes, "X509 CRL")));
    }
    Ok(found)
}

/// Returns the state of an authority's lists, and when the first of them ends.
pub(super) fn state(lists: &[RevocationList], now: Instant) -> (ListState, Instant) {
    let end = lists.iter().map(|list| list.next_update).min().unwrap_or(Instant::MIN);
    let ageing = lists.iter().any(|list| {
        let life = list.next_update.since(list.this_update);
        now >= list.this_update.plus(life / 2)
    });
    let state = match (now >= end, ageing) {
        (true, _) => ListState::Lapsed,
        (false, true) => ListState::Ageing,
        (false, false) => ListState::Current,
    };
    (state, end)
}

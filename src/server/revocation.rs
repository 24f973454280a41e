//! Follows the dates of the revocation lists: warns before one ends, closes the connections that rest on one that has
//! lapsed. Their calls would be refused; new connections are let in, because a call can be told the cause.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::CertificateDer;

use super::Connections;
use crate::clock::Instant;
use crate::identity::{CertificateStatus, IssuerReport, ListState, Tls};

/// How often the state of a list that is not current is repeated in the log.
const REPEAT_INTERVAL: Duration = Duration::from_hours(1);

/// Reviews the revocation lists in use.
pub struct RevocationReviewer {
    tls: Arc<Tls>,
    connections: Connections,
    /// The last state of each issuer, and when it was logged.
    logged: HashMap<CertificateDer<'static>, (ListState, Instant)>,
}

impl RevocationReviewer {
    /// Makes a reviewer that has logged nothing yet.
    #[must_use]
    pub fn new(tls: Arc<Tls>, connections: Connections) -> Self {
        Self { tls, connections, logged: HashMap::new() }
    }

    /// Logs what has changed, closes the connections of issuers whose list has lapsed since the last review, and returns
    /// whether any issuer is current.
    pub fn review(&mut self, now: Instant) -> bool {
        let issuers = self.tls.issuers(now);
        let mut has_lapsed = false;
        self.logged.retain(|certificate, _| issuers.iter().any(|issuer| issuer.certificate == *certificate));
        for issuer in &issuers {
            let before = self.logged.get(&issuer.certificate).copied();
            let is_news = before.is_none_or(|(state, _)| state != issuer.state);
            has_lapsed |= is_news && issuer.state == ListState::Lapsed;
            if is_news || before.is_none_or(|(_, at)| now.since(at) >= REPEAT_INTERVAL) {
                log(issuer);
                self.logged.insert(issuer.certificate.clone(), (issuer.state, now));
            }
        }
        if has_lapsed {
            self.connections.close_where(|peer| self.tls.status(peer, now) == CertificateStatus::Unknown);
        }
        issuers.iter().any(|issuer| issuer.state != ListState::Lapsed)
    }
}

fn log(issuer: &IssuerReport) {
    let (name, next_update) = (&issuer.name, issuer.next_update);
    match issuer.state {
        ListState::Current => {
            tracing::info!(issuer = name, %next_update, "a revocation list is in the first half of its life");
        }
        ListState::Ageing => {
            tracing::warn!(issuer = name, %next_update, "a revocation list is past half of its life: publish a new one");
        }
        ListState::Lapsed => {
            tracing::error!(issuer = name, %next_update, "a revocation list has lapsed: its issuer's callers are refused until there is a new one");
        }
    }
}

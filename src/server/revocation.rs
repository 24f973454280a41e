//! Follows the dates of the revocation lists: warns before one ends, closes the connections that rest on one that has
//! lapsed. Their calls would be refused; new connections are let in, because a call can be told the cause. The server's
//! own certificate is followed likewise: callers would refuse an expired one, and only the log could say so.

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
    /// Whether the server's own certificate had expired when that was last logged, and when.
    own_logged: Option<(bool, Instant)>,
}

impl RevocationReviewer {
    /// Makes a reviewer that has logged nothing yet.
    #[must_use]
    pub fn new(tls: Arc<Tls>, connections: Connections) -> Self {
        Self { tls, connections, logged: HashMap::new(), own_logged: None }
    }

    /// Logs what has changed, closes the connections of issuers whose list has lapsed since the last review, and returns
    /// whether any issuer is current.
    pub fn review(&mut self, now: Instant) -> bool {
        self.review_own(now);
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

    /// Warns in the last tenth of the life of the server's own certificate, and when it has expired.
    fn review_own(&mut self, now: Instant) {
        let Some((from, to)) =
            self.tls.own_validity().filter(|(from, to)| to.minus(to.since(*from) / 10) <= now)
        else {
            self.own_logged = None;
            return;
        };
        let expired = now > to;
        let is_new = |(before, at): (bool, Instant)| before != expired || now.since(at) >= REPEAT_INTERVAL;
        if self.own_logged.is_none_or(is_new) {
            self.own_logged = Some((expired, now));
            if expired {
                tracing::error!(not_before = %from, not_after = %to, "the server's certificate has expired: callers refuse it");
            } else {
                tracing::warn!(not_before = %from, not_after = %to, "the server's certificate is in the last tenth of its life: replace it");
            }
        }
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

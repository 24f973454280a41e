//! Monitoring of certificate revocation lists: logs a warning before one lapses, and closes connections that
//! depend on a lapsed list. Calls on them would be refused. New connections are accepted, because the refusal of
//! a call names the cause. The server's own certificate is monitored too: callers refuse an expired one, and only
//! the log can report that.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::CertificateDer;

use super::Connections;
use crate::clock::Instant;
use crate::identity::{CertificateStatus, CrlState, IssuerReport, Tls};

/// Interval at which the state of a list that is not current is logged again.
const REPEAT_INTERVAL: Duration = Duration::from_hours(1);

/// Reviews the revocation lists in use.
pub struct RevocationReviewer {
    tls: Arc<Tls>,
    connections: Connections,
    /// The last logged state of each issuer, and when it was logged.
    logged: HashMap<CertificateDer<'static>, (CrlState, Instant)>,
    /// Whether the server's certificate had expired when this was last logged, and the time of that.
    server_certificate_logged: Option<(bool, Instant)>,
}

impl RevocationReviewer {
    /// Creates a reviewer that has logged nothing.
    #[must_use]
    pub fn new(tls: Arc<Tls>, connections: Connections) -> Self {
        Self { tls, connections, logged: HashMap::new(), server_certificate_logged: None }
    }

    /// Logs changed states, and closes the connections of issuers whose list has lapsed since the last review.
    /// Returns whether any issuer is current.
    pub fn review(&mut self, now: Instant) -> bool {
        self.review_server_certificate(now);
        let issuers = self.tls.issuers(now);
        let mut has_lapsed = false;
        self.logged.retain(|certificate, _| issuers.iter().any(|issuer| issuer.certificate == *certificate));
        for issuer in &issuers {
            let before = self.logged.get(&issuer.certificate).copied();
            let is_news = before.is_none_or(|(state, _)| state != issuer.state);
            has_lapsed |= is_news && issuer.state == CrlState::Lapsed;
            if is_news || before.is_none_or(|(_, at)| now.since(at) >= REPEAT_INTERVAL) {
                log_list_state(issuer);
                self.logged.insert(issuer.certificate.clone(), (issuer.state, now));
            }
        }
        if has_lapsed {
            self.connections.close_where(|peer| self.tls.status(peer, now) == CertificateStatus::Unknown);
        }
        issuers.iter().any(|issuer| issuer.state != CrlState::Lapsed)
    }

    /// Logs a warning in the last tenth of the lifetime of the server's certificate, and an error once it has
    /// expired.
    fn review_server_certificate(&mut self, now: Instant) {
        let Some((from, to)) =
            self.tls.server_certificate_validity().filter(|(from, to)| to.minus(to.since(*from) / 10) <= now)
        else {
            self.server_certificate_logged = None;
            return;
        };
        let expired = now > to;
        let is_new = |(before, at): (bool, Instant)| before != expired || now.since(at) >= REPEAT_INTERVAL;
        if self.server_certificate_logged.is_none_or(is_new) {
            self.server_certificate_logged = Some((expired, now));
            if expired {
                tracing::error!(not_before = %from, not_after = %to, "the server's certificate has expired: callers refuse it");
            } else {
                tracing::warn!(not_before = %from, not_after = %to, "the server's certificate is in the last tenth of its life: replace it");
            }
        }
    }
}

fn log_list_state(issuer: &IssuerReport) {
    let (name, next_update) = (&issuer.name, issuer.next_update);
    match issuer.state {
        CrlState::Current => {
            tracing::info!(issuer = name, %next_update, "a revocation list is in the first half of its life");
        }
        CrlState::Ageing => {
            tracing::warn!(issuer = name, %next_update, "a revocation list is past half of its life: publish a new one");
        }
        CrlState::Lapsed => {
            tracing::error!(issuer = name, %next_update, "a revocation list has lapsed: the issuer's callers are refused until a new list is published");
        }
    }
}

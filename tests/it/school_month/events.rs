//! What the organisations of the school month were told, as lines of text and as bytes.

use std::collections::BTreeMap;

use ap_gateway::calendar::{Date, TimeOfDay};
use ap_gateway::client::Client;
use ap_gateway::clock::Instant;
use ap_gateway::proto::v1::delivery::Content;
use ap_gateway::proto::v1::oversight_service;
use ap_gateway::proto::v1::{Alert, AlertOrder, AlertState, Delivery, DeliveryKind, ListAlertsRequest};
use prost::Message;
use uuid::Uuid;

use super::super::support::deliveries;

/// Length of a UUID as text.
const UUID_CHARS: usize = 36;
/// Characters of a SHA-256 in hex.
const SHA256_CHARS: usize = 64;

/// Names of placements by their ids.
pub type Names = BTreeMap<String, String>;

/// Returns the alert of a delivery.
pub fn alert_of(delivery: &Delivery) -> &Alert {
    match &delivery.content {
        Some(Content::Alert(alert)) => alert,
        other => panic!("no alert: {other:?}"),
    }
}

/// Lists what an organisation was told of alerts after an instant: day, time in London, organisation, rule, subject, event.
pub async fn of_alerts(client: &Client, organisation: &str, since: Instant, names: &Names) -> Vec<String> {
    let is_alert = |kind: DeliveryKind| {
        matches!(kind, DeliveryKind::Alert | DeliveryKind::AlertEscalated | DeliveryKind::AlertEnded)
    };
    let received = deliveries(client).await.into_iter().filter(|one| is_alert(one.kind()));
    let received = received.map(|one| (Instant::from_proto(&one.sent_time.unwrap()).unwrap(), one));
    received.filter(|(at, _)| *at > since).map(|(at, one)| event(at, &one, organisation, names)).collect()
}

fn event(at: Instant, delivery: &Delivery, organisation: &str, names: &Names) -> String {
    let alert = alert_of(delivery);
    let event = match (delivery.kind(), alert.state()) {
        (DeliveryKind::Alert, _) if alert.times_raised > 1 => "raised-again".to_owned(),
        (DeliveryKind::Alert, _) => "raised".to_owned(),
        (DeliveryKind::AlertEscalated, _) => format!("escalated-{}", alert.level),
        (_, AlertState::Resolved) => "resolved".to_owned(),
        _ => "closed".to_owned(),
    };
    let subject = names.iter().fold(alert.subject.clone(), |text, (id, name)| text.replace(id, name));
    let subject = subject.strip_prefix("placement/").map(str::to_owned).unwrap_or(subject);
    let (day, time) = (Date::in_london(at), TimeOfDay::in_london(at));
    format!("{day} {time} {organisation} {} {subject} {event}", alert.rule)
}

/// Returns all that an organisation receives and lists, as bytes without what depends on the entries of others: positions
/// in the log, proofs, and ids that are drawn. Placements have their names in place of their ids.
pub async fn bytes_received(client: &Client, names: &Names) -> Vec<Vec<u8>> {
    let mut received = Vec::new();
    for delivery in deliveries(client).await {
        let delivery = Delivery {
            cursor: None,
            content_sha256: Vec::new().into(),
            sender_leaf_hash: Vec::new().into(),
            sender_tree_size: 0,
            sender_inclusion_proof: Vec::new(),
            sender_checkpoint: String::new(),
            ..delivery
        };
        received.push(without_ids(&delivery.encode_to_vec(), names));
    }
    // Two rules that find something at one instant are told in either order.
    received.sort();
    for order in [AlertOrder::Unspecified, AlertOrder::Urgency] {
        let request = ListAlertsRequest { order: order as i32, page_size: 1_000, ..Default::default() };
        let reply = client.call(oversight_service::LIST_ALERTS, &request).await.unwrap().message;
        let mut listed: Vec<_> =
            reply.alerts.iter().map(|alert| without_ids(&alert.encode_to_vec(), names)).collect();
        listed.sort();
        received.extend(listed);
        received.push(reply.next_page_token.into_bytes());
    }
    received
}

/// Replaces each UUID by the name of its placement, or by zeros, and each SHA-256 of terms, which contain ids, by zeros.
fn without_ids(bytes: &[u8], names: &Names) -> Vec<u8> {
    let (mut masked, mut at) = (bytes.to_vec(), 0);
    while at + UUID_CHARS <= masked.len() {
        let part = &mut masked[at..at + UUID_CHARS];
        let id = std::str::from_utf8(part).ok().filter(|text| Uuid::try_parse(text).is_ok());
        let Some(id) = id.map(str::to_owned) else {
            at += 1;
            continue;
        };
        let name = names.get(&id).map_or("0", String::as_str);
        part.fill(b'0');
        part[..name.len()].copy_from_slice(name.as_bytes());
        at += UUID_CHARS;
    }
    at = 0;
    while let Some(part) = masked.get_mut(at..at + SHA256_CHARS) {
        if part.iter().all(u8::is_ascii_hexdigit) {
            part.fill(b'0');
        }
        at += 1;
    }
    masked
}

//! What provider and school see of a child whom the commissioner's passport marks as at risk: the same as of any other.

use ap_gateway::client::Client;
use ap_gateway::proto::v1::delivery::Content;
use ap_gateway::proto::v1::{
    Alert, AlertState, ExchangeRecord, GetExchangeRequest, ListAlertsRequest, ListDeliveriesRequest,
    ListExchangesRequest, RecordKind, audit_service, delivery_service, oversight_service,
};
use prost::Message;

use super::attendance_rules::{correct, place_children, send, wait_for_state, wait_until_evaluated};
use super::documents::put_passport;

use super::support::World;

/// What an organisation sees of a placement: its deliveries, alerts, and exchanges in the log, with their times and sizes.
async fn view_of(client: &Client, placement: &str) -> Vec<String> {
    let (mut cursor, mut seen) = (None, Vec::new());
    for _ in 0..100 {
        let request = ListDeliveriesRequest { cursor, ..ListDeliveriesRequest::default() };
        let page = client.call(delivery_service::LIST_DELIVERIES, &request).await.unwrap().message;
        for delivery in page.deliveries.iter().filter(|delivery| delivery.placement_id == placement) {
            let size = delivery.content.as_ref().map(|content| match content {
                Content::Attendance(attendance) => {
                    let children = attendance.children.iter();
                    let marks = children.flat_map(|child| &child.marks);
                    marks.map(Message::encoded_len).sum::<usize>()
                }
                Content::Alert(alert) => alert.encoded_len(),
                _ => 0,
            });
            seen.push(format!("{:?} {:?} {size:?}", delivery.kind(), delivery.sent_time));
        }
        cursor = page.next;
        if !page.more {
            break;
        }
    }
    let request = ListAlertsRequest { placement_id: placement.to_owned(), ..ListAlertsRequest::default() };
    let alerts = client.call(oversight_service::LIST_ALERTS, &request).await.unwrap().message.alerts;
    seen.extend(alerts.iter().map(|alert| {
        format!("{} {:?} {:?} {}", alert.rule, alert.state(), alert.raised_time, alert.times_raised)
    }));
    let request =
        ListExchangesRequest { placement_id: placement.to_owned(), ..ListExchangesRequest::default() };
    let exchanges = client.call(audit_service::LIST_EXCHANGES, &request).await.unwrap().message.exchanges;
    // Without the lists of this check and of the test.
    let exchanges = exchanges.iter().filter(|exchange| !exchange.method.contains("/List"));
    for listed in exchanges {
        let request = GetExchangeRequest { exchange_id: listed.exchange_id.clone() };
        let read = client.call(audit_service::GET_EXCHANGE, &request).await.unwrap().message;
        let entry = read.exchange_receipt.unwrap().entry.len();
        let [listed, read] =
            [listed, &read.exchange.unwrap()].map(|record| masked(record, placement, &alerts));
        seen.push(format!("{listed:?} {read:?} {entry}"));
    }
    seen
}

/// A record of the log without ids; of an alert it says of which rule.
fn masked(record: &ExchangeRecord, placement: &str, alerts: &[Alert]) -> ExchangeRecord {
    let mut masked = ExchangeRecord { index: 0, exchange_id: String::new(), ..record.clone() };
    for subject in &mut masked.subjects {
        subject.record_id = if subject.kind() != RecordKind::Alert {
            String::new()
        } else if subject.record_id == placement {
            "the placement".to_owned()
        } else {
            let named = alerts.iter().find(|alert| alert.alert_id == subject.record_id);
            named.unwrap().rule.clone()
        };
        if subject.placement_id == placement {
            subject.placement_id.clear();
        }
    }
    masked
}

/// Checks that provider and school see the same of a child at risk as of one that is not: bytes, counts and times.
pub async fn others_see_no_difference(world: &World, [at_risk, not_at_risk]: [&str; 2]) {
    for name in ["provider-a", "school"] {
        let client = world.client(name).await;
        let (of_risk, without) = (view_of(&client, at_risk).await, view_of(&client, not_at_risk).await);
        assert!(of_risk.len() > 5, "{name}: {of_risk:#?}");
        assert_eq!(of_risk, without, "{name}");
    }
}

/// The alert about the third day and that about a child at risk are raised in one exchange, which names neither to those who
/// are told of one alone.
#[tokio::test(flavor = "multi_thread")]
async fn an_exchange_names_no_alert_of_which_its_reader_was_not_told() {
    let world = World::sqlite().await;
    let placed = place_children(&world).await;
    let [_, at_risk, not_at_risk, ..] = &placed[..] else { panic!("three") };
    let (la, riverside) = (world.client("la-a").await, world.client("provider-a").await);
    put_passport(&la, at_risk, "").await.unwrap();
    for placement in [at_risk, not_at_risk] {
        send(&riverside, placement, "2026-11-18:OO, 2026-11-19:OO, 2026-11-20:O").await;
        wait_until_evaluated(&world, placement).await;
        wait_for_state(&riverside, (placement, "ABSENT_THIRD_DAY"), AlertState::Open).await;
    }
    let raised = wait_for_state(&la, (at_risk, "ABSENT_AT_RISK"), AlertState::Open).await;
    let third = wait_for_state(&la, (at_risk, "ABSENT_THIRD_DAY"), AlertState::Open).await;
    assert_eq!(raised.raised_time, third.raised_time, "one exchange");
    others_see_no_difference(&world, [at_risk, not_at_risk]).await;
    for placement in [at_risk, not_at_risk] {
        correct(&riverside, placement, "2026-11-20:/").await;
        wait_until_evaluated(&world, placement).await;
        wait_for_state(&la, (placement, "ABSENT_THIRD_DAY"), AlertState::Closed).await;
    }
    wait_for_state(&la, (at_risk, "ABSENT_AT_RISK"), AlertState::Closed).await;
    others_see_no_difference(&world, [at_risk, not_at_risk]).await;
    // What has ended has no moment, which would make an entry of its own.
    let sql = "SELECT m.due FROM moments m JOIN current_versions v ON v.key = m.version_key AND v.idx = m.idx \
               AND v.ordinal = m.ordinal WHERE m.subject = $1";
    let database = world.database().await;
    for alert in [&raised, &third] {
        let subject = vec![format!("alert/{}", alert.alert_id).into()];
        let row = database.reader().await.unwrap().fetch_one(sql, subject).await.unwrap().unwrap();
        assert_eq!(row.get::<Option<i64>>("due").unwrap(), None, "{}", alert.rule);
    }
    database.close().await;
    drop((la, riverside));
    world.stop().await;
}

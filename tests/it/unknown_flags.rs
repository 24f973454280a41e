//! What provider and school see of a child whom the commissioner's passport marks as at risk: the same as of any other.

use ap_gateway::client::Client;
use ap_gateway::proto::v1::delivery::Content;
use ap_gateway::proto::v1::{
    ListAlertsRequest, ListDeliveriesRequest, ListExchangesRequest, audit_service, delivery_service,
    oversight_service,
};
use prost::Message;

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
    seen.extend(exchanges.map(|exchange| format!("{} {:?}", exchange.method, exchange.time)));
    seen
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

//! Bounds of days, of times of day and of what one call may cost.

use std::time::Duration;

use ap_gateway::cli::audit;
use ap_gateway::client::{Client, reason};
use ap_gateway::proto::v1::mark::Statement;
use ap_gateway::proto::v1::{
    Cursor, DeliveryKind, ListDeliveriesRequest, ListExpectedReturnsRequest, Mark, Outcome, ReturnState,
    SeenMark, Session, VoidReturnRequest, WatchDeliveriesRequest, WatchDeliveriesResponse, WatchPosition,
    delivery_service, register_service, returns_service,
};
use ap_gateway::store::evidence;
use prost::Message;
use prost::bytes::Bytes;
use tonic::Code;

use super::closures::closure;
use super::story::{id, mark, refused, submission, submit};
use super::support::World;

fn afternoon(placement: &str, day: &str) -> Mark {
    Mark {
        session: Session::Pm as i32,
        statement: Some(Statement::Seen(SeenMark::Present as i32)),
        ..mark(placement, day, "")
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_afternoon_is_in_the_future_until_noon_in_london() {
    let world = World::sqlite().await;
    let riverside = world.client("provider-a").await;
    let placement = world.placements("la-a", "provider-a").remove(0);
    for (now, day, taken) in [
        ("2026-11-23T08:30:00Z", "2026-11-23", false),
        ("2026-11-23T11:59:59Z", "2026-11-23", false),
        ("2026-11-23T12:00:00Z", "2026-11-23", true),
        // In summer noon in London is at eleven, by UTC.
        ("2027-04-12T10:59:59Z", "2027-04-12", false),
        ("2027-04-12T11:00:00Z", "2027-04-12", true),
    ] {
        world.advance(now);
        let answer = submit(&riverside, &submission(vec![afternoon(&placement, day)])).await;
        if taken {
            assert_eq!(answer.unwrap().message.stored, 1, "{now}");
        } else {
            let told = ap_gateway::client::explain(&refused(answer));
            assert!(told.contains("marks[0].date") && told.contains("has not begun"), "{now}: {told}");
        }
    }
    world.stop().await;
}

/// Submits a morning with a code, and why where it corrects; gives the id of the return.
async fn send(client: &Client, placement: &str, day: &str, code: &str, correction: &str) -> String {
    let sent = Mark { correction_reason: correction.to_owned(), ..mark(placement, day, code) };
    submit(client, &submission(vec![sent])).await.unwrap().message.return_id
}

async fn void(client: &Client, return_id: &str) {
    let request = VoidReturnRequest {
        request_id: id(),
        return_id: return_id.to_owned(),
        reason: "the register of another child".to_owned(),
        ..VoidReturnRequest::default()
    };
    client.call(returns_service::VOID_RETURN, &request).await.unwrap();
}

async fn state(client: &Client, placement: &str, day: &str) -> ReturnState {
    let request = ListExpectedReturnsRequest {
        placement_id: placement.to_owned(),
        from_date: day.to_owned(),
        to_date: day.to_owned(),
        ..ListExpectedReturnsRequest::default()
    };
    let answer = client.call(returns_service::LIST_EXPECTED_RETURNS, &request).await.unwrap().message;
    answer.returns.iter().find(|one| one.session() == Session::Am).unwrap().state()
}

/// A return that was withdrawn was not received; one that was corrected was received in time all the same.
async fn what_was_withdrawn_was_not_received(world: World) {
    let riverside = world.client("provider-a").await;
    let placements = world.placements("school", "provider-a");
    let (again, corrected, original) = (&placements[0], &placements[1], &placements[2]);
    let day = "2026-11-23";
    world.advance("2026-11-23T09:30:00Z");
    let mut first = Vec::new();
    for placement in [again, corrected, original] {
        first.push(send(&riverside, placement, day, "/", "").await);
        assert_eq!(state(&riverside, placement, day).await, ReturnState::Received);
    }
    void(&riverside, &first[0]).await;
    assert_eq!(state(&riverside, again, day).await, ReturnState::Due);
    world.advance("2026-12-14T09:30:00Z");
    assert_eq!(state(&riverside, again, day).await, ReturnState::Missing);
    send(&riverside, again, day, "/", "").await;
    assert_eq!(state(&riverside, again, day).await, ReturnState::Late);
    // A correction of it is no earlier, and takes nothing from it.
    send(&riverside, again, day, "I", "was ill").await;
    assert_eq!(state(&riverside, again, day).await, ReturnState::Late);
    let correction = send(&riverside, corrected, day, "I", "was ill").await;
    assert_eq!(state(&riverside, corrected, day).await, ReturnState::Received);
    void(&riverside, &correction).await;
    assert_eq!(state(&riverside, corrected, day).await, ReturnState::Received);
    // The correction stands, and what it corrected is withdrawn.
    send(&riverside, original, day, "I", "was ill").await;
    void(&riverside, &first[2]).await;
    assert_eq!(state(&riverside, original, day).await, ReturnState::Late);
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_withdrawn_was_not_received_on_sqlite() {
    what_was_withdrawn_was_not_received(World::sqlite().await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_withdrawn_was_not_received_on_postgresql() {
    what_was_withdrawn_was_not_received(World::postgres().await).await;
}

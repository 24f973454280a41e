//! Correction and withdrawal of a wrongly recorded end of a placement; marks up to the corrected end are accepted.

use ap_gateway::client::Client;
use ap_gateway::proto::v1::{
    DeliveryKind, EndPlacementRequest, EndPlacementResponse, EndReason, GetPlacementRequest,
    ListExpectedReturnsRequest, MarkOutcome, PlacementState, SubmitAttendanceRequest, SubmitMode,
    placement_service, returns_service,
};

use super::documents::{deliveries_of_kind, get_placement, refusal_reason};
use super::exchange_semantics::{mark, new_id, submission, submit};
use super::support::World;

async fn end_placement(client: &Client, end: EndPlacementRequest) -> Result<EndPlacementResponse, String> {
    let end = EndPlacementRequest { request_id: new_id(), ..end };
    client
        .call(placement_service::END_PLACEMENT, &end)
        .await
        .map(|reply| reply.message)
        .map_err(refusal_reason)
}

/// Returns the reason for which a mark on a day is rejected; empty if it is stored.
async fn mark_refusal(riverside: &Client, placement_id: &str, day: &str) -> String {
    let marks = submission(vec![mark(placement_id, day, "/")]);
    let request = SubmitAttendanceRequest { mode: SubmitMode::AcceptValid as i32, ..marks };
    let mut reply = submit(riverside, &request).await.unwrap().message;
    let result = reply.results.remove(0);
    assert_eq!(result.outcome() == MarkOutcome::Stored, result.reason.is_empty());
    result.reason
}

async fn a_wrong_end_is_corrected_or_withdrawn(world: &World) {
    let (la, riverside) = (world.client("la-a").await, world.client("provider-a").await);
    let school = world.client("school").await;
    let id_of = world.placements("la-a", "provider-a").remove(0);
    let etag = get_placement(&la, &id_of).await.placement.unwrap().etag;
    let ending = |etag: &str, end_date: &str, correction_reason: &str| EndPlacementRequest {
        placement_id: id_of.clone(),
        etag: etag.to_owned(),
        end_date: end_date.to_owned(),
        reason: EndReason::Moved as i32,
        correction_reason: correction_reason.to_owned(),
        ..EndPlacementRequest::default()
    };
    // No end has been recorded, so there is none to correct.
    assert_eq!(end_placement(&la, ending(&etag, "2026-11-06", "a slip")).await.unwrap_err(), "STATE_INVALID");
    let ended = end_placement(&riverside, ending(&etag, "2026-11-06", "")).await.unwrap();
    assert_eq!(mark_refusal(&riverside, &id_of, "2026-11-13").await, "PLACEMENT_NOT_ACTIVE");
    assert_eq!(end_placement(&la, ending(&ended.etag, "2026-11-13", "")).await.unwrap_err(), "STATE_INVALID");
    assert_eq!(
        end_placement(&la, ending(&etag, "2026-11-13", "a slip")).await.unwrap_err(),
        "REVISION_MISMATCH"
    );
    assert_eq!(
        end_placement(&la, ending(&ended.etag, "2026-11-21", "a slip")).await.unwrap_err(),
        "INVALID_REQUEST"
    );
    let corrected =
        end_placement(&riverside, ending(&ended.etag, "2026-11-13", "a slip of the pen")).await.unwrap();
    assert_eq!(corrected.state(), PlacementState::Ended);
    for client in [&la, &school] {
        assert_eq!(deliveries_of_kind(client, DeliveryKind::End, &id_of).await.len(), 2);
    }
    assert_eq!(mark_refusal(&riverside, &id_of, "2026-11-13").await, "");
    assert_eq!(mark_refusal(&riverside, &id_of, "2026-11-16").await, "PLACEMENT_NOT_ACTIVE");
    let get = GetPlacementRequest { placement_id: id_of.clone() };
    let unread =
        riverside.call(placement_service::GET_PLACEMENT, &get).await.map(|_| ()).map_err(refusal_reason);
    assert_eq!(unread, Err("NOT_FOUND".to_owned()), "the provider no longer reads an ended placement");
    let back = |etag: &str| EndPlacementRequest {
        placement_id: id_of.clone(),
        etag: etag.to_owned(),
        correction_reason: "the child came back".to_owned(),
        withdrawn: true,
        ..EndPlacementRequest::default()
    };
    // A provider may not withdraw the end, because that would restore its own access.
    assert_eq!(end_placement(&riverside, back(&corrected.etag)).await.unwrap_err(), "INVALID_REQUEST");
    let unexplained = EndPlacementRequest { correction_reason: String::new(), ..back(&corrected.etag) };
    assert_eq!(end_placement(&la, unexplained).await.unwrap_err(), "INVALID_REQUEST");
    let dated = EndPlacementRequest { end_date: "2026-11-13".to_owned(), ..back(&corrected.etag) };
    assert_eq!(end_placement(&la, dated).await.unwrap_err(), "INVALID_REQUEST");
    let live = end_placement(&la, back(&corrected.etag)).await.unwrap();
    assert_eq!(live.state(), PlacementState::Active);
    assert_eq!(mark_refusal(&riverside, &id_of, "2026-11-16").await, "");
    let read = get_placement(&riverside, &id_of).await.placement.unwrap();
    assert_eq!((read.state(), read.end_date.as_str()), (PlacementState::Active, ""));
    let detail = read.detail.unwrap();
    assert_eq!(detail.end_reason(), EndReason::Unspecified);
    let earlier: Vec<_> = detail
        .earlier_ends
        .iter()
        .map(|end| (&*end.end_date, &*end.correction_reason, end.withdrawn))
        .collect();
    assert_eq!(
        earlier,
        [("2026-11-06", "a slip of the pen", false), ("2026-11-13", "the child came back", true)]
    );
    let request = ListExpectedReturnsRequest {
        placement_id: id_of.clone(),
        from_date: "2026-11-16".to_owned(),
        to_date: "2026-11-16".to_owned(),
        ..ListExpectedReturnsRequest::default()
    };
    let due = riverside.call(returns_service::LIST_EXPECTED_RETURNS, &request).await.unwrap().message;
    assert!(!due.returns.is_empty());
    end_placement(&la, ending(&live.etag, "2026-11-20", "")).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn on_sqlite() {
    let world = World::sqlite().await;
    a_wrong_end_is_corrected_or_withdrawn(&world).await;
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn on_postgresql() {
    let world = World::postgres().await;
    a_wrong_end_is_corrected_or_withdrawn(&world).await;
    world.stop().await;
}

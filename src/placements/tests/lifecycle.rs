//! Tests of a placement's lifecycle from referral to exit.

use super::fixtures::{LA, RESIDENCE, RIVERSIDE, SCHOOL, STRANGER, accept, approve, end, id, plan, start};
use super::test_gateway::TestGateway;
use crate::proto::v1::{
    GetPlacementResponse, MissingItem, PlacementState, StartPlacementRequest, placement_service as methods,
};

#[tokio::test]
async fn from_referral_to_exit() {
    let world = TestGateway::new().await;
    let made = world.refer("").await;
    let placement = made.placement_id.as_str();
    assert_eq!(made.etag, "1");
    let accepted = accept(placement, "1", "R-17");
    let answer = world.call(RIVERSIDE, methods::RESPOND_TO_REFERRAL, &accepted).await.unwrap();
    assert_eq!((answer.etag.as_str(), answer.state()), ("2", PlacementState::Accepted));
    let stale = approve(placement, "1");
    assert_eq!(world.refusal_reason(LA, methods::DECIDE_PLACEMENT, &stale).await, "REVISION_MISMATCH");
    let answer = world.call(LA, methods::DECIDE_PLACEMENT, &approve(placement, "2")).await.unwrap();
    assert_eq!(answer.warnings, ["NO_CHILD_VIEW", "NO_PARENT_VIEW", "FEWER_THAN_TWO_OPTIONS"]);
    let answer = world.call(LA, methods::PUT_PLAN, &plan(placement, "", "2026-12-18")).await.unwrap();
    assert_eq!(answer.etag, "1");
    let lacks =
        ["NO_OUTCOME", "NO_SUCCESS_CRITERIA", "NO_EXIT_ROUTE", "NO_REVIEW", "NO_LEAD", "DUTY_WITHOUT_OWNER"];
    assert_eq!((answer.active, &answer.open_items[..]), (false, &lacks.map(str::to_owned)[..]));
    let answer = world.call(LA, methods::START_PLACEMENT, &start(placement, "3")).await.unwrap();
    assert_eq!(
        (answer.state(), answer.open_items),
        (PlacementState::Active, vec![MissingItem::SafetyAcknowledgement as i32])
    );
    let read = world.get(RIVERSIDE, placement).await;
    let seen = read.placement.unwrap();
    assert_eq!((seen.planned_end_date.as_str(), seen.plan_etag.as_str()), ("2026-12-18", "1"));
    assert_eq!(seen.detail.unwrap().decision.unwrap().rationale, "small group");
    assert_eq!(read.plan.unwrap().start_date, "2026-09-01");
    // Five school days after Friday, 20 November.
    let items: Vec<_> =
        read.open_items.iter().map(|open| (open.item.as_str(), open.due_date.as_str())).collect();
    let open = ["SAFETY_NOT_ACKNOWLEDGED"].into_iter().chain(lacks);
    let open: Vec<_> = open.map(|item| (item, "2026-11-27")).collect();
    assert_eq!((read.plan_active, items), (false, open));
    let early = end(placement, "4", "2026-08-31");
    assert_eq!(
        world.refusal_reason(RIVERSIDE, methods::END_PLACEMENT, &early).await,
        "INVALID_REQUEST end_date"
    );
    let over = end(placement, "4", "2026-11-13");
    let answer = world.call(RIVERSIDE, methods::END_PLACEMENT, &over).await.unwrap();
    assert_eq!((answer.etag.as_str(), answer.state()), ("5", PlacementState::Ended));
    assert_eq!(world.forename_or_refusal(RIVERSIDE, placement).await, "NOT_FOUND");
    assert_eq!(world.forename_or_refusal(SCHOOL, placement).await, "Zoë");
    assert_eq!(
        world.refusal_reason(LA, methods::END_PLACEMENT, &end(placement, "5", "2026-11-13")).await,
        "STATE_INVALID"
    );
    let delivered = "SELECT kind, organisation FROM parties WHERE kind > 0 ORDER BY idx, organisation";
    assert_eq!(
        world.query_as_text(delivered).await,
        [
            "1 la/331",
            "1 provider/riverside",
            "1 school/123456",
            "2 la/330",
            "3 la/331",
            "3 provider/riverside",
            "3 school/123456",
            "4 provider/riverside",
            "4 school/123456",
            "5 la/331",
            "5 provider/riverside",
            "5 school/123456",
            "6 la/330",
            "6 la/331",
            "6 school/123456",
        ]
    );
}

#[tokio::test]
async fn only_those_with_a_part_may_know_of_it() {
    let world = TestGateway::new().await;
    let made = world.refer("").await;
    let placement = made.placement_id.as_str();
    for who in [LA, RESIDENCE, SCHOOL, RIVERSIDE] {
        assert_eq!(world.forename_or_refusal(who, placement).await, "Zoë", "{who}");
    }
    assert_eq!(world.forename_or_refusal(STRANGER, placement).await, "NOT_FOUND");
    assert_eq!(world.forename_or_refusal(STRANGER, &id()).await, "NOT_FOUND");
    let accepted = accept(placement, "1", "R-17");
    assert_eq!(world.refusal_reason(LA, methods::RESPOND_TO_REFERRAL, &accepted).await, "METHOD_NOT_ALLOWED");
    assert_eq!(world.refusal_reason(STRANGER, methods::RESPOND_TO_REFERRAL, &accepted).await, "NOT_FOUND");
    assert_eq!(world.refusal_reason(SCHOOL, methods::RESPOND_TO_REFERRAL, &accepted).await, "NOT_FOUND");
    assert_eq!(
        world.refusal_reason(RESIDENCE, methods::PUT_PLAN, &plan(placement, "", "")).await,
        "NOT_FOUND"
    );
    assert_eq!(
        world.refusal_reason(SCHOOL, methods::END_PLACEMENT, &end(placement, "9", "2026-11-13")).await,
        "NOT_FOUND"
    );
}

#[tokio::test]
async fn a_child_does_not_wait_for_plan_and_panel() {
    let world = TestGateway::new().await;
    let made = world.refer("").await;
    let placement = made.placement_id.as_str();
    assert_eq!(
        world.refusal_reason(LA, methods::START_PLACEMENT, &start(placement, "1")).await,
        "STATE_INVALID"
    );
    world.call(RIVERSIDE, methods::RESPOND_TO_REFERRAL, &accept(placement, "1", "R-1")).await.unwrap();
    let bare = StartPlacementRequest { missing_items: vec![], ..start(placement, "2") };
    let refused = world.refusal_reason(LA, methods::START_PLACEMENT, &bare).await;
    assert_eq!(refused, "INVALID_REQUEST missing_items missing_items missing_items");
    let passed = StartPlacementRequest {
        missing_items: [MissingItem::SafetyAcknowledgement, MissingItem::Decision, MissingItem::Plan]
            .map(|item| item as i32)
            .to_vec(),
        reason: "the panel meets on Monday".to_owned(),
        ..start(placement, "2")
    };
    let answer = world.call(LA, methods::START_PLACEMENT, &passed).await.unwrap();
    assert_eq!(answer.open_items, [1, 2, 3]);
    let open = |read: GetPlacementResponse| -> Vec<String> {
        read.open_items.into_iter().map(|open| open.item).collect()
    };
    assert_eq!(
        open(world.get(SCHOOL, placement).await),
        ["PLAN_MISSING", "DECISION_MISSING", "SAFETY_NOT_ACKNOWLEDGED"]
    );
    // Decision and plan follow; the plan's end becomes the placement's planned end.
    world.call(LA, methods::DECIDE_PLACEMENT, &approve(placement, "3")).await.unwrap();
    assert_eq!(
        world.refusal_reason(LA, methods::DECIDE_PLACEMENT, &approve(placement, "4")).await,
        "STATE_INVALID"
    );
    world.call(LA, methods::PUT_PLAN, &plan(placement, "", "2027-02-12")).await.unwrap();
    assert_eq!(
        world.refusal_reason(LA, methods::PUT_PLAN, &plan(placement, "", "")).await,
        "REVISION_MISMATCH"
    );
    let read = world.get(SCHOOL, placement).await;
    assert!(open(read.clone()).iter().all(|item| !item.ends_with("_MISSING")));
    let seen = read.placement.unwrap();
    assert_eq!((seen.etag.as_str(), seen.planned_end_date.as_str()), ("5", "2027-02-12"));
    assert_eq!(seen.detail.unwrap().missing_reason, "the panel meets on Monday");
}

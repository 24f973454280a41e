//! Tests of reads, lists and stored rows.

use super::fixtures::{
    LA, OAKFIELD, RESIDENCE, RIVERSIDE, SCHOOL, STRANGER, a_child, a_referral, accept, plan,
};
use super::test_gateway::TestGateway;
use crate::proto::v1::respond_to_referral_request::Answer;
use crate::proto::v1::{
    CreateReferralRequest, Declination, ListPlacementsRequest, RespondToReferralRequest,
    placement_service as methods,
};

#[tokio::test]
async fn nothing_that_names_the_child_is_stored_in_the_clear() {
    let world = TestGateway::new().await;
    let made = world.refer("").await;
    world
        .call(RIVERSIDE, methods::RESPOND_TO_REFERRAL, &accept(&made.placement_id, "1", "R-1"))
        .await
        .unwrap();
    world.call(LA, methods::PUT_PLAN, &plan(&made.placement_id, "", "")).await.unwrap();
    world.forename_or_refusal(LA, &made.placement_id).await;
    let counts = "SELECT (SELECT count(*) FROM child_keys), (SELECT count(*) FROM children), \
                  (SELECT count(*) FROM placements)";
    assert_eq!(world.query_as_text(counts).await, ["2 1 2"]);
    let found = "SELECT count(*) FROM (SELECT hex(identity) AS h FROM children UNION ALL \
                 SELECT hex(detail) FROM placements UNION ALL SELECT hex(plan) FROM plans \
                 UNION ALL SELECT hex(bytes) FROM entries UNION ALL SELECT hex(reply) FROM entries \
                 UNION ALL SELECT hex(openings) FROM entries) \
                 WHERE h LIKE '%' || hex('Canary') || '%' OR h LIKE '%' || hex('none known') || '%'";
    assert_eq!(world.query_as_text(found).await, ["0"]);
}

#[tokio::test]
async fn a_list_gives_what_a_read_would() {
    let world = TestGateway::new().await;
    let mut made = Vec::new();
    for _ in 0..5 {
        made.push(world.refer("").await.placement_id);
    }
    let declined = RespondToReferralRequest {
        answer: Some(Answer::Decline(Declination { reason: 1, note: String::new() })),
        ..accept(&made[0], "1", "")
    };
    world.call(RIVERSIDE, methods::RESPOND_TO_REFERRAL, &declined).await.unwrap();
    let declined = made[0].clone();
    made.sort();
    let all = ListPlacementsRequest::default();
    for who in [LA, SCHOOL, RESIDENCE] {
        assert_eq!(world.list(who, all.clone()).await, (made.clone(), String::new()), "{who}");
    }
    assert_eq!(world.list(STRANGER, all.clone()).await.0.len(), 0);
    let live: Vec<_> = made.iter().filter(|id| **id != declined).cloned().collect();
    assert_eq!(world.list(RIVERSIDE, all).await.0, live);
    let mut query = ListPlacementsRequest { page_size: 2, ..ListPlacementsRequest::default() };
    let mut paged = Vec::new();
    loop {
        let (ids, token) = world.list(LA, query.clone()).await;
        paged.extend(ids);
        if token.is_empty() {
            break;
        }
        query.page_token = token;
    }
    assert_eq!(paged, made);
    let other = ListPlacementsRequest { state: 3, ..query.clone() };
    let refused = world.refusal_reason(LA, methods::LIST_PLACEMENTS, &other).await;
    assert_eq!(refused, "INVALID_REQUEST page_token");
    assert_eq!(
        world.refusal_reason(SCHOOL, methods::LIST_PLACEMENTS, &query).await,
        "INVALID_REQUEST page_token"
    );
    let state = ListPlacementsRequest { state: 3, ..ListPlacementsRequest::default() };
    assert_eq!(world.list(LA, state).await, (vec![declined], String::new()));
}

#[tokio::test]
async fn a_school_that_provided_still_reads_as_the_school_on_roll() {
    let world = TestGateway::new().await;
    let mut seen = Vec::new();
    for schools_on_roll in [vec![OAKFIELD.to_owned()], vec![SCHOOL.to_owned()]] {
        let provider = OAKFIELD.to_owned();
        let sent = CreateReferralRequest { provider, schools_on_roll, ..a_referral(a_child("")) };
        let made = world.call(LA, methods::CREATE_REFERRAL, &sent).await.unwrap();
        let declined = RespondToReferralRequest {
            answer: Some(Answer::Decline(Declination { reason: 1, note: String::new() })),
            ..accept(&made.placement_id, "1", "")
        };
        world.call(OAKFIELD, methods::RESPOND_TO_REFERRAL, &declined).await.unwrap();
        seen.push(world.forename_or_refusal(OAKFIELD, &made.placement_id).await);
    }
    assert_eq!(seen, ["Zoë", "NOT_FOUND"]);
}

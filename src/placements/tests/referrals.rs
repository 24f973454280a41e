//! Tests of referrals: their child, their provider, and the responses to them.

use super::fixtures::{LA, OAKFIELD, RIVERSIDE, SCHOOL, a_child, a_referral, accept, id};
use super::test_gateway::TestGateway;
use crate::proto::v1::respond_to_referral_request::Answer;
use crate::proto::v1::{
    ChildIdentity, CreateReferralRequest, Declination, PlacementState, RespondToReferralRequest,
    placement_service as methods,
};

#[tokio::test]
async fn a_child_is_known_again_by_number_or_id_and_by_no_one_else() {
    let world = TestGateway::new().await;
    let first = world.refer("E330123409001").await;
    let again = world.refer("E330123409001").await;
    assert_eq!((first.child_id == again.child_id, first.placement_id == again.placement_id), (true, false));
    let by_id = |child: &str| {
        a_referral(ChildIdentity { child_id: child.to_owned(), year_group: 9, ..Default::default() })
    };
    let known = world.call(LA, methods::CREATE_REFERRAL, &by_id(&first.child_id)).await.unwrap();
    assert_eq!(known.child_id, first.child_id);
    let child = world.get(RIVERSIDE, &known.placement_id).await.placement.unwrap().child.unwrap();
    assert_eq!(
        (child.year_group, child.upn.as_str(), child.child_id == first.child_id),
        (9, "E330123409001", true)
    );
    assert_eq!(world.refusal_reason(LA, methods::CREATE_REFERRAL, &by_id(&id())).await, "NOT_FOUND");
    let other = a_referral(ChildIdentity { legal_forename: "Tom".to_owned(), ..a_child("E330123409001") });
    let refused = world.refusal_reason(LA, methods::CREATE_REFERRAL, &other).await;
    assert_eq!(refused, "INVALID_REQUEST child.legal_forename");
    // Another sender's referral of the same child creates another record.
    let school =
        CreateReferralRequest { provider: OAKFIELD.to_owned(), ..a_referral(a_child("E330123409001")) };
    let theirs = world.call(SCHOOL, methods::CREATE_REFERRAL, &school).await.unwrap();
    assert_ne!(theirs.child_id, first.child_id);
    let theirs = CreateReferralRequest { provider: OAKFIELD.to_owned(), ..by_id(&first.child_id) };
    assert_eq!(world.refusal_reason(SCHOOL, methods::CREATE_REFERRAL, &theirs).await, "NOT_FOUND");
    assert_eq!(world.query_as_text("SELECT count(DISTINCT upn_index) FROM placements").await, ["2"]);
}

#[tokio::test]
async fn nobody_is_referred_to_themselves_or_to_nobody() {
    let world = TestGateway::new().await;
    for (provider, told) in [
        (LA, "NOT_FOUND"),
        ("auditor/ofsted", "NOT_FOUND"),
        // The same reason as for a registered provider with which the caller has no agreement.
        ("provider/nowhere", "AGREEMENT_NOT_IN_FORCE"),
    ] {
        let sent = CreateReferralRequest { provider: provider.to_owned(), ..a_referral(a_child("")) };
        assert_eq!(world.refusal_reason(LA, methods::CREATE_REFERRAL, &sent).await, told, "{provider}");
    }
    let no_agreement = CreateReferralRequest {
        agreement_id: uuid::Uuid::from_u128(u128::MAX).to_string(),
        ..a_referral(a_child(""))
    };
    assert_eq!(
        world.refusal_reason(LA, methods::CREATE_REFERRAL, &no_agreement).await,
        "AGREEMENT_NOT_IN_FORCE"
    );
    assert_eq!(world.query_as_text("SELECT count(*) FROM placements").await, ["0"]);
}

#[tokio::test]
async fn a_reference_is_the_providers_once() {
    let world = TestGateway::new().await;
    let (one, two) = (world.refer("").await, world.refer("").await);
    world
        .call(RIVERSIDE, methods::RESPOND_TO_REFERRAL, &accept(&one.placement_id, "1", "R-1"))
        .await
        .unwrap();
    let taken = accept(&two.placement_id, "1", "R-1");
    assert_eq!(world.refusal_reason(RIVERSIDE, methods::RESPOND_TO_REFERRAL, &taken).await, "ALREADY_EXISTS");
    let decline = RespondToReferralRequest {
        answer: Some(Answer::Decline(Declination { reason: 1, note: "full until June".to_owned() })),
        ..accept(&two.placement_id, "1", "")
    };
    let answer = world.call(RIVERSIDE, methods::RESPOND_TO_REFERRAL, &decline).await.unwrap();
    assert_eq!(answer.state(), PlacementState::Declined);
    assert_eq!(world.forename_or_refusal(RIVERSIDE, &two.placement_id).await, "NOT_FOUND");
    let detail = world.get(LA, &two.placement_id).await.placement.unwrap().detail.unwrap();
    assert_eq!(detail.response_note, "full until June");
}

#[tokio::test]
async fn validate_only_does_nothing_and_a_repetition_gives_the_first_answer() {
    let world = TestGateway::new().await;
    let trial = CreateReferralRequest { validate_only: true, ..a_referral(a_child("")) };
    world.call(LA, methods::CREATE_REFERRAL, &trial).await.unwrap();
    assert_eq!(world.query_as_text("SELECT count(*) FROM placements").await, ["0"]);
    let sent = a_referral(a_child(""));
    let first = world.call(LA, methods::CREATE_REFERRAL, &sent).await.unwrap();
    let again = world.call(LA, methods::CREATE_REFERRAL, &sent).await.unwrap();
    assert_eq!(first, again);
    assert_eq!(world.query_as_text("SELECT count(*) FROM placements").await, ["1"]);
}

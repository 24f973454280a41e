//! The count of break-glasses of a day, which is exact although many come at once and refuses none, and the versions of
//! a passport that its sender reads. On both databases.

use ap_gateway::client::Client;
use ap_gateway::proto::v1::passport_block::Content as Block;
use ap_gateway::proto::v1::{
    AcknowledgeDeliveryRequest, Acknowledged, BreakGlassContent, DeliveryStage, GetPassportRequest, Officer,
    PassportBlockKind as Kind, delivery_service,
};
use tokio::task::JoinSet;

use super::break_glass::{
    REASON, break_glass_deliveries, broken_glasses, emergency, kinds, person, put, safety, send, try_break,
};
use super::documents::{put_passport, share_passport, withhold};
use super::exchange_semantics::new_id;
use super::multiple_placements::{child_identity, end_placement, place_again};
use super::passport_fixtures::{block, safeguarding};
use super::support::World;
use super::wire::Wire;

/// Number of break-glasses of a day that are within the limit.
const LIMIT: usize = 10;

/// Breaks the glass many times at once, with clients taken in turn. Returns how many were beyond the limit.
pub async fn break_at_once(clients: &[Client], placement: &str, times: usize) -> usize {
    let mut calls = JoinSet::new();
    for number in 0..times {
        let (client, request) = (clients[number % clients.len()].clone(), emergency(placement));
        calls.spawn(async move { try_break(&client, &request).await.unwrap() });
    }
    let answers = calls.join_all().await;
    assert!(answers.iter().all(|answer| answer.emergency_passports.len() == 1));
    answers.iter().filter(|answer| answer.over_daily_limit).count()
}

/// Checks the count: exact although many come at once, beyond it marked and told, and new on the next day.
async fn the_eleventh_of_a_day_is_given_and_told(world: &World) {
    let placement = world.placements("la-a", "provider-a").remove(1);
    let (la, operator) = (world.client("la-a").await, world.client("operator").await);
    put(&la, &placement, vec![safety("climbs")]).await;
    let clients = [
        person(world, "provider-a", "dsl").await,
        person(world, "provider-a", "head").await,
        person(world, "provider-a", "dsl").await,
    ];
    // A retry is neither counted nor delivered again.
    let request = GetPassportRequest { request_id: new_id(), ..emergency(&placement) };
    for _ in 0..3 {
        assert!(!try_break(&clients[0], &request).await.unwrap().over_daily_limit);
    }
    assert_eq!(break_glass_deliveries(&la).await.len(), 1);
    // Another person or reason under the same id is another emergency.
    try_break(&clients[1], &request).await.unwrap();
    let other = GetPassportRequest { emergency_reason: format!("{REASON} Again."), ..request.clone() };
    try_break(&clients[0], &other).await.unwrap();
    assert_eq!(break_glass_deliveries(&la).await.len(), 3);
    assert_eq!(break_at_once(&clients, &placement, 15).await, 15 - (LIMIT - 3));
    let over = 15 - (LIMIT - 3);
    let mut marks: Vec<bool> =
        break_glass_deliveries(&la).await.iter().map(|(_, it)| it.over_daily_limit).collect();
    assert_eq!((marks.len(), marks.iter().filter(|over| **over).count()), (18, over));
    marks.drain(..LIMIT);
    assert!(marks.iter().all(|over| *over), "the first ten are within the limit");
    let to_operator = break_glass_deliveries(&operator).await;
    assert_eq!(to_operator.len(), over);
    let expected = BreakGlassContent {
        organisation: "provider/riverside".to_owned(),
        over_daily_limit: true,
        ..BreakGlassContent::default()
    };
    assert!(to_operator.iter().all(|(it, content)| *content == expected && it.placement_id.is_empty()));
    let entered = broken_glasses(&world.client("provider-a").await).await;
    assert_eq!(entered.iter().filter(|record| record.break_glass_over_limit).count(), over);
    assert_eq!(entered.len(), 18 + 2);
    // An operator has no persons.
    let (delivery, _) = &to_operator[0];
    let acted = AcknowledgeDeliveryRequest {
        request_id: new_id(),
        deliveries: vec![Acknowledged { cursor: delivery.cursor.clone(), ..Acknowledged::default() }],
        stage: DeliveryStage::ActedOn.into(),
        officer: Some(Officer { name: "Kit Example".to_owned(), ..Officer::default() }),
        ..AcknowledgeDeliveryRequest::default()
    };
    operator.call(delivery_service::ACKNOWLEDGE_DELIVERY, &acted).await.unwrap();
    // A retry that comes late reads again, so it is another emergency; and the day in London is another.
    world.advance("2026-11-21T00:00:00Z");
    assert!(!try_break(&clients[0], &request).await.unwrap().over_daily_limit);
    assert_eq!(break_glass_deliveries(&la).await.len(), 19);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_eleventh_of_a_day_on_sqlite() {
    let world = World::sqlite().await;
    the_eleventh_of_a_day_is_given_and_told(&world).await;
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_eleventh_of_a_day_on_postgresql() {
    let world = World::postgres().await;
    the_eleventh_of_a_day_is_given_and_told(&world).await;
    world.stop().await;
}

/// Checks that the sender reads any version of its own passport, and that a recipient chooses none.
#[tokio::test(flavor = "multi_thread")]
async fn a_sender_reads_its_versions() {
    let world = World::sqlite().await;
    let placement = world.placements("la-a", "provider-a").remove(1);
    let (la, provider) = (world.client("la-a").await, world.client("provider-a").await);
    let first = put_passport(&la, &placement, "").await.unwrap().etag;
    share_passport(&la, &placement, &first).await.unwrap();
    let second = put_passport(&la, &placement, &first).await.unwrap().etag;
    let read = async |client: &Client, version: &str| {
        let version = version.to_owned();
        let request = GetPassportRequest { placement_id: placement.clone(), version, ..Default::default() };
        try_break(client, &request).await.map(|answer| answer.etag)
    };
    for (version, expected) in [("", &second), ("2", &second), ("1", &first)] {
        assert_eq!(read(&la, version).await.as_ref(), Ok(expected), "{version}");
    }
    for version in ["0", "3", "01", "-1", "one", "99999999999999999999"] {
        assert_eq!(read(&la, version).await.unwrap_err(), "NOT_FOUND", "{version}");
    }
    assert_eq!(read(&provider, "").await.as_ref(), Ok(&first));
    for version in ["1", "2", "3"] {
        assert_eq!(read(&provider, version).await.unwrap_err(), "NOT_FOUND", "{version}");
    }
    world.stop().await;
}

/// Checks that a further placement of the child with the same provider opens nothing that the sender withholds from it.
async fn a_further_placement_opens_nothing_withheld(world: &World) {
    let (la, dsl) = (world.client("la-a").await, person(world, "provider-a", "dsl").await);
    let first = world.placements("la-a", "provider-a").remove(1);
    put(&la, &first, vec![safety("climbs"), block(Block::Safeguarding(safeguarding()))]).await;
    withhold(&la, &first, &[Kind::Safeguarding]).await.unwrap();
    end_placement(&la, &first, "2026-11-16").await;
    let second = place_again(world, "la-a", child_identity(&la, &first).await, "RV-AGAIN").await;
    let opened = async || {
        let answer = try_break(&dsl, &emergency(&second)).await.unwrap();
        answer.emergency_passports.iter().flat_map(kinds).collect::<Vec<_>>()
    };
    assert_eq!(opened().await, ["SAFETY"]);
    // The decisions of both placements hold, and each is lifted by itself, also once its placement is over.
    withhold(&la, &second, &[Kind::Safety]).await.unwrap();
    assert_eq!(opened().await, [""; 0]);
    withhold(&la, &first, &[]).await.unwrap();
    assert_eq!(opened().await, ["SAFEGUARDING"]);
    withhold(&la, &second, &[]).await.unwrap();
    assert_eq!(opened().await, ["SAFETY", "SAFEGUARDING"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_further_placement_opens_nothing_withheld_on_sqlite() {
    let world = World::sqlite().await;
    a_further_placement_opens_nothing_withheld(&world).await;
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_further_placement_opens_nothing_withheld_on_postgresql() {
    let world = World::postgres().await;
    a_further_placement_opens_nothing_withheld(&world).await;
    world.stop().await;
}

/// Checks the bounds of the reason, and which fields go together.
pub async fn the_request_is_checked(wire: &Wire, placement: &str) {
    let with_reason =
        |reason: String| GetPassportRequest { emergency_reason: reason, ..emergency(placement) };
    for (request, field) in [
        (with_reason("too short a reason ".to_owned()), "emergency_reason"),
        (with_reason("x".repeat(501)), "emergency_reason"),
        (with_reason(" ".repeat(30)), "emergency_reason"),
        (with_reason(".".repeat(20)), "emergency_reason"),
        (with_reason(format!("a{}b", " ".repeat(18))), "emergency_reason"),
        (with_reason(format!("ninewords{}", "1".repeat(20))), "emergency_reason"),
        (GetPassportRequest { sender: "la/330".to_owned(), ..emergency(placement) }, "sender"),
        (GetPassportRequest { version: "1".to_owned(), ..emergency(placement) }, "version"),
        (GetPassportRequest { request_id: "1".to_owned(), ..emergency(placement) }, "request_id"),
        (GetPassportRequest { life_at_risk: true, ..with_reason(String::new()) }, "life_at_risk"),
    ] {
        let answer = send(wire, &request, None).await;
        let fault = answer.reason();
        assert!(fault.starts_with(&format!("INVALID_REQUEST {field}:")), "{field}: {fault}");
    }
    for reason in
        ["x".repeat(500), "tenletters  tencharac".to_owned(), format!("tenletters{}", "1".repeat(10))]
    {
        assert_eq!(send(wire, &with_reason(reason), None).await.reason(), "PERSON_REQUIRED");
    }
}

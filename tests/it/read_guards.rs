//! A read that is decided before a right is narrowed and committed after it is decided again: no response whose
//! entry follows the change contains what was withdrawn. On both databases.

use std::pin::Pin;

use ap_gateway::client::{Client, ClientError, Reply, reason};
use ap_gateway::clock::Randomness;
use ap_gateway::proto::v1::{
    Cursor, EndAgreementRequest, EndPlacementRequest, EndReason, GetAttendanceRequest, GetPassportRequest,
    GetPlacementRequest, GetProgressRequest, ListAlertsRequest, ListDeliveriesRequest,
    ListExpectedReturnsRequest, ListPlacementsRequest, Officer, PassportBlockKind,
    WithholdInformationRequest, delivery_service, oversight_service, passport_service, placement_service,
    register_service, returns_service,
};

use prost::Message;

use super::exchange_semantics::{mark, new_id, submission, submit};
use super::fixtures::Fixtures;
use super::support::World;

/// The future result of a read: the response as text, or the reason of the refusal.
type ReadResult = Pin<Box<dyn Future<Output = Result<String, String>> + Send>>;

/// A method that reads about a placement, or deliveries after a cursor.
type ReadMethod = fn(Client, String, Option<Cursor>) -> ReadResult;

/// Returns the bytes of a response as text, or the reason of a refusal.
fn text_or_reason<R: Message>(answer: Result<Reply<R>, ClientError>) -> Result<String, String> {
    match answer {
        Ok(reply) => Ok(String::from_utf8_lossy(&reply.message.encode_to_vec()).into_owned()),
        Err(ClientError::Refused(status)) => Err(reason(&status)),
        Err(other) => panic!("{other}"),
    }
}

/// Commits a change between the decision and the commit of a read.
async fn read_across_change<C>(world: &World, change: C, read: ReadResult) -> Result<String, String>
where
    C: Future<Output = Result<String, String>> + Send + 'static,
{
    world.queue().set_paused(true);
    let changing = tokio::spawn(change);
    world.wait_for_queued(1).await;
    let reading = tokio::spawn(read);
    world.wait_for_queued(2).await;
    world.queue().set_paused(false);
    changing.await.unwrap().unwrap();
    reading.await.unwrap()
}

fn passport(riverside: Client, placement_id: String, _: Option<Cursor>) -> ReadResult {
    let request = GetPassportRequest { placement_id, ..GetPassportRequest::default() };
    Box::pin(async move { text_or_reason(riverside.call(passport_service::GET_PASSPORT, &request).await) })
}

fn deliveries(riverside: Client, _: String, cursor: Option<Cursor>) -> ReadResult {
    let request = ListDeliveriesRequest { cursor, ..ListDeliveriesRequest::default() };
    Box::pin(async move { text_or_reason(riverside.call(delivery_service::LIST_DELIVERIES, &request).await) })
}

fn placement(riverside: Client, placement_id: String, _: Option<Cursor>) -> ReadResult {
    let request = GetPlacementRequest { placement_id };
    Box::pin(async move { text_or_reason(riverside.call(placement_service::GET_PLACEMENT, &request).await) })
}

fn placements(riverside: Client, _: String, _: Option<Cursor>) -> ReadResult {
    let request = ListPlacementsRequest { page_size: 1_000, ..ListPlacementsRequest::default() };
    Box::pin(
        async move { text_or_reason(riverside.call(placement_service::LIST_PLACEMENTS, &request).await) },
    )
}

fn progress(riverside: Client, placement_id: String, _: Option<Cursor>) -> ReadResult {
    let request = GetProgressRequest { placement_id, ..GetProgressRequest::default() };
    Box::pin(async move { text_or_reason(riverside.call(returns_service::GET_PROGRESS, &request).await) })
}

fn attendance(riverside: Client, placement_id: String, _: Option<Cursor>) -> ReadResult {
    let request = GetAttendanceRequest {
        placement_id,
        from_date: "2026-11-01".to_owned(),
        to_date: "2026-11-20".to_owned(),
        ..GetAttendanceRequest::default()
    };
    Box::pin(async move { text_or_reason(riverside.call(returns_service::GET_ATTENDANCE, &request).await) })
}

fn expected(riverside: Client, _: String, _: Option<Cursor>) -> ReadResult {
    let request = ListExpectedReturnsRequest {
        from_date: "2026-11-16".to_owned(),
        to_date: "2026-11-20".to_owned(),
        ..ListExpectedReturnsRequest::default()
    };
    Box::pin(
        async move { text_or_reason(riverside.call(returns_service::LIST_EXPECTED_RETURNS, &request).await) },
    )
}

fn alerts(riverside: Client, _: String, _: Option<Cursor>) -> ReadResult {
    let request = ListAlertsRequest { page_size: 1_000, ..ListAlertsRequest::default() };
    Box::pin(async move { text_or_reason(riverside.call(oversight_service::LIST_ALERTS, &request).await) })
}

/// Withholds blocks of a passport; an empty list lifts it.
async fn withhold(la: Client, placement_id: String, blocks: Vec<i32>) -> Result<String, String> {
    let request = WithholdInformationRequest {
        request_id: new_id(),
        placement_id,
        blocks,
        reason: "the family asked for it".to_owned(),
        officer: Some(Officer {
            name: "Sam Example".to_owned(),
            role: "AP officer".to_owned(),
            ..Officer::default()
        }),
        ..WithholdInformationRequest::default()
    };
    text_or_reason(la.call(passport_service::WITHHOLD_INFORMATION, &request).await)
}

async fn a_withheld_block_is_in_no_answer_behind_the_withholding(world: &World) {
    let (la, riverside) = (world.client("la-a").await, world.client("provider-a").await);
    let placement_id = world.placements("la-a", "provider-a").remove(0);
    let needs = PassportBlockKind::Needs as i32;
    let readers: [(&str, ReadMethod); 2] = [("GetPassport", passport), ("ListDeliveries", deliveries)];
    for (name, read) in readers {
        let before = read(riverside.clone(), placement_id.clone(), None).await.unwrap();
        assert!(before.contains("SEMH"), "{name}: {before}");
        let change = withhold(la.clone(), placement_id.clone(), vec![needs]);
        let after = read_across_change(world, change, read(riverside.clone(), placement_id.clone(), None))
            .await
            .unwrap();
        assert!(!after.contains("SEMH") && after.contains("my dog"), "{name}: {after}");
        withhold(la.clone(), placement_id.clone(), Vec::new()).await.unwrap();
    }
}

async fn end_placement(la: Client, placement_id: String, etag: String) -> Result<String, String> {
    let request = EndPlacementRequest {
        request_id: new_id(),
        placement_id,
        etag,
        end_date: "2026-11-19".to_owned(),
        reason: EndReason::Reintegrated as i32,
        ..EndPlacementRequest::default()
    };
    text_or_reason(la.call(placement_service::END_PLACEMENT, &request).await)
}

/// Returns the cursor after the last delivery in Riverside's mailbox.
async fn mailbox_end(riverside: &Client) -> Option<Cursor> {
    let mut cursor = None;
    loop {
        let request = ListDeliveriesRequest { cursor, ..ListDeliveriesRequest::default() };
        let page = riverside.call(delivery_service::LIST_DELIVERIES, &request).await.unwrap().message;
        cursor = page.next;
        if !page.more {
            return cursor;
        }
    }
}

async fn nothing_of_a_placement_is_in_an_answer_behind_its_end(world: &World) {
    let (la, riverside) = (world.client("la-a").await, world.client("provider-a").await);
    let mut stage = Fixtures::create(world.dir.path(), Randomness::system()).await;
    let readers: [(&str, ReadMethod); 7] = [
        ("GetPlacement", placement),
        ("ListPlacements", placements),
        ("GetProgress", progress),
        ("GetAttendance", attendance),
        ("ListExpectedReturns", expected),
        ("ListDeliveries", deliveries),
        ("ListAlerts", alerts),
    ];
    let listed = riverside.call(oversight_service::LIST_ALERTS, &ListAlertsRequest::default()).await;
    let mut alerts_of_la = listed.unwrap().message.alerts.into_iter();
    let alerted = alerts_of_la.find(|alert| alert.commissioner == "la/330").unwrap().placement_id;
    for (name, read) in readers {
        let cursor = mailbox_end(&riverside).await;
        // Alerts and plans exist for the sandbox's own placements only.
        let own = match name {
            "ListAlerts" => Some(alerted.clone()),
            "ListExpectedReturns" => world
                .placements("la-a", "provider-a")
                .into_iter()
                .skip(1)
                .find(|placement| *placement != alerted),
            _ => None,
        };
        let (placement_id, etag) = if let Some(own) = own {
            let request = GetPlacementRequest { placement_id: own.clone() };
            let found = la.call(placement_service::GET_PLACEMENT, &request).await.unwrap().message;
            (own, found.placement.unwrap().etag)
        } else {
            stage.create_placement(3).await;
            (stage.names["active"].clone(), stage.names["active.etag"].clone())
        };
        // A delivery still names the placement after its end, but not the child.
        let shows = |answer: &str| match name {
            "ListDeliveries" => answer.contains("Kestrel"),
            // There is no progress return; even an empty result is only for parties.
            "GetProgress" => true,
            _ => answer.contains(&placement_id),
        };
        submit(&riverside, &submission(vec![mark(&placement_id, "2026-11-16", "/")])).await.unwrap();
        let before = read(riverside.clone(), placement_id.clone(), cursor.clone()).await.unwrap();
        assert!(shows(&before), "{name}: {before}");
        let read = read(riverside.clone(), placement_id.clone(), cursor);
        match read_across_change(world, end_placement(la.clone(), placement_id.clone(), etag), read).await {
            Ok(after) => assert!(!shows(&after), "{name}: {after}"),
            Err(reason) => assert_eq!(reason, "NOT_FOUND", "{name}"),
        }
    }
}

async fn a_passport_is_in_no_answer_behind_its_agreement_s_end(world: &World) {
    let (la, riverside) = (world.client("la-a").await, world.client("provider-a").await);
    let placement_id = world.placements("la-a", "provider-a").remove(0);
    let request = GetPlacementRequest { placement_id: placement_id.clone() };
    let found = la.call(placement_service::GET_PLACEMENT, &request).await.unwrap().message;
    let request = EndAgreementRequest {
        request_id: new_id(),
        agreement_id: found.placement.unwrap().agreement_id,
        ..EndAgreementRequest::default()
    };
    let change = async move { text_or_reason(la.call(register_service::END_AGREEMENT, &request).await) };
    let read = read_across_change(world, change, passport(riverside.clone(), placement_id, None)).await;
    assert_eq!(read.unwrap_err(), "AGREEMENT_NOT_IN_FORCE");
}

async fn all(world: World) {
    a_withheld_block_is_in_no_answer_behind_the_withholding(&world).await;
    nothing_of_a_placement_is_in_an_answer_behind_its_end(&world).await;
    a_passport_is_in_no_answer_behind_its_agreement_s_end(&world).await;
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_read_behind_a_narrowing_is_decided_again_on_sqlite() {
    all(World::sqlite().await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_read_behind_a_narrowing_is_decided_again_on_postgresql() {
    all(World::postgres().await).await;
}

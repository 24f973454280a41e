//! Plans, passports and progress returns, on both databases.

use ap_gateway::cli::audit;
use ap_gateway::cli::sandbox;
use ap_gateway::client::{Client, ClientError, reason};
use ap_gateway::proto::v1::delivery::Content;
use ap_gateway::proto::v1::passport_block::Content as Block;
use ap_gateway::proto::v1::{
    AcademicProgress, AcknowledgeDeliveryRequest, Acknowledged, BlockNotice, Contact, Delivery, DeliveryKind,
    DeliveryStage, EndAgreementRequest, EndPlacementRequest, GetPassportRequest, GetPlacementRequest,
    GetPlacementResponse, GetProgressRequest, ListDeliveriesRequest, ListPassportVersionsRequest, Officer,
    OutcomeProgress, PassportBlock, PassportBlockKind as Kind, PassportEmergency, PassportMedical,
    PassportMeta, PassportSafeguarding, PassportSafety, ProgressOutcome, ProgressReturn, PutPassportRequest,
    PutPassportResponse, PutPlanRequest, Rag, SharePassportRequest, SubmitProgressRequest,
    WithholdInformationRequest, delivery_service, passport_service, placement_service, register_service,
    returns_service,
};
use tempfile::TempDir;

use super::exchange_semantics::new_id;
use super::log_verification;
use super::support::World;

pub async fn get_placement(client: &Client, placement: &str) -> GetPlacementResponse {
    let request = GetPlacementRequest { placement_id: placement.to_owned() };
    client.call(placement_service::GET_PLACEMENT, &request).await.unwrap().message
}

/// Returns the deliveries of one kind about a placement, oldest first.
pub async fn deliveries_of_kind(client: &Client, kind: DeliveryKind, placement: &str) -> Vec<Delivery> {
    let (mut cursor, mut found) = (None, Vec::new());
    for _ in 0..100 {
        let request =
            ListDeliveriesRequest { cursor, kinds: vec![kind as i32], ..ListDeliveriesRequest::default() };
        let page = client.call(delivery_service::LIST_DELIVERIES, &request).await.unwrap().message;
        found.extend(page.deliveries.into_iter().filter(|delivery| delivery.placement_id == placement));
        cursor = page.next;
        if !page.more {
            break;
        }
    }
    found
}

/// Checks that an incomplete plan is stored and delivered but not active, and that each missing item is listed with
/// a due date.
async fn a_plan_that_lacks_things_is_not_active(world: &World) {
    let (la, riverside) = (world.client("la-a").await, world.client("provider-a").await);
    let id_of = world.placements("la-a", "provider-a").remove(0);
    let before = get_placement(&la, &id_of).await;
    assert!(before.plan_active);
    let mut plan = before.plan.unwrap();
    plan.duties[0].accountable = None;
    plan.exit_route.clear();
    // The planned end of the placement changes with the plan.
    "2027-03-25".clone_into(&mut plan.planned_end_date);
    let request = PutPlanRequest {
        request_id: new_id(),
        placement_id: id_of.clone(),
        etag: before.placement.unwrap().plan_etag,
        plan: Some(plan),
        ..PutPlanRequest::default()
    };
    let put = la.call(placement_service::PUT_PLAN, &request).await.unwrap().message;
    let lacks = ["NO_EXIT_ROUTE", "DUTY_WITHOUT_OWNER"].map(str::to_owned);
    assert_eq!((put.active, &put.open_items[..]), (false, &lacks[..]));
    let read = get_placement(&riverside, &id_of).await;
    assert!(!read.plan_active);
    let due = read.open_items.iter().filter(|open| lacks.contains(&open.item));
    // The plan is put on Friday 20 November, and the placement started before.
    assert_eq!(due.map(|open| open.due_date.as_str()).collect::<Vec<_>>(), ["2026-11-27"; 2]);
    let newest = deliveries_of_kind(&riverside, DeliveryKind::Plan, &id_of).await.pop().unwrap();
    let Some(Content::Placement(content)) = newest.content else { panic!("no plan") };
    assert_eq!((content.plan_active, &content.plan_open_items[..]), (false, &lacks[..]));
}

/// Reads a shared passport: its etag and the kinds of its blocks and notices, or the reason of a refusal.
async fn read_passport(client: &Client, placement: &str) -> Result<(String, Vec<Kind>, Vec<Kind>), String> {
    let request = GetPassportRequest { placement_id: placement.to_owned(), ..GetPassportRequest::default() };
    match client.call(passport_service::GET_PASSPORT, &request).await {
        Ok(reply) => {
            let (blocks, notices) = (reply.message.blocks, reply.message.notices);
            let blocks = blocks.iter().map(block_kind).collect();
            Ok((reply.message.etag, blocks, notices.iter().map(BlockNotice::kind).collect()))
        }
        Err(refused) => Err(refusal_reason(refused)),
    }
}

fn block_kind(block: &PassportBlock) -> Kind {
    match &block.content {
        Some(Block::Meta(_)) => Kind::Meta,
        Some(Block::Emergency(_)) => Kind::Emergency,
        Some(Block::Medical(_)) => Kind::Medical,
        Some(Block::Safety(_)) => Kind::Safety,
        Some(Block::Safeguarding(_)) => Kind::Safeguarding,
        _ => Kind::Unspecified,
    }
}

pub fn refusal_reason(refused: ClientError) -> String {
    match refused {
        ClientError::Refused(status) => reason(&status),
        other => panic!("{other}"),
    }
}

pub async fn put_passport(
    client: &Client,
    placement: &str,
    etag: &str,
) -> Result<PutPassportResponse, String> {
    let author = Officer { name: "Ada Officer".to_owned(), ..Officer::default() };
    let contact = Contact { name: "Robin Example".to_owned(), ..Contact::default() };
    let none = || "none known".to_owned();
    let contents = [
        Block::Meta(PassportMeta { authors: vec![author], ..PassportMeta::default() }),
        Block::Emergency(PassportEmergency { contacts: vec![contact] }),
        Block::Medical(PassportMedical { allergies: none(), medication: none(), ..Default::default() }),
        Block::Safety(PassportSafety { risk_summary: none(), ..PassportSafety::default() }),
        Block::Safeguarding(PassportSafeguarding { child_protection: true, ..Default::default() }),
    ];
    let request = PutPassportRequest {
        request_id: new_id(),
        placement_id: placement.to_owned(),
        etag: etag.to_owned(),
        blocks: contents
            .map(|content| PassportBlock { content: Some(content), ..Default::default() })
            .to_vec(),
        // From the second version on, `keep` must name every kind that no system may read.
        keep: if etag.is_empty() { Vec::new() } else { vec![Kind::Health as i32] },
        ..PutPassportRequest::default()
    };
    client
        .call(passport_service::PUT_PASSPORT, &request)
        .await
        .map(|reply| reply.message)
        .map_err(refusal_reason)
}

pub async fn share_passport(client: &Client, placement: &str, etag: &str) -> Result<(), String> {
    let request = SharePassportRequest {
        request_id: new_id(),
        placement_id: placement.to_owned(),
        etag: etag.to_owned(),
        ..SharePassportRequest::default()
    };
    client.call(passport_service::SHARE_PASSPORT, &request).await.map(drop).map_err(refusal_reason)
}

pub async fn withhold(client: &Client, placement: &str, blocks: &[Kind]) -> Result<(), String> {
    let request = WithholdInformationRequest {
        request_id: new_id(),
        placement_id: placement.to_owned(),
        blocks: blocks.iter().map(|kind| *kind as i32).collect(),
        reason: "the family asked for it".to_owned(),
        officer: Some(Officer { name: "Ada Officer".to_owned(), ..Officer::default() }),
        ..WithholdInformationRequest::default()
    };
    client.call(passport_service::WITHHOLD_INFORMATION, &request).await.map(drop).map_err(refusal_reason)
}

/// Acknowledges the newest passport of a placement, and returns whether the safety acknowledgement is still open.
pub async fn acknowledge(client: &Client, placement_id: &str, stage: DeliveryStage) -> bool {
    let newest = deliveries_of_kind(client, DeliveryKind::Passport, placement_id).await.pop().unwrap();
    assert!(newest.needs_action);
    let acted = stage == DeliveryStage::ActedOn;
    let request = AcknowledgeDeliveryRequest {
        request_id: new_id(),
        deliveries: vec![Acknowledged { cursor: newest.cursor, content_sha256: newest.content_sha256 }],
        stage: stage as i32,
        officer: acted.then(|| Officer { name: "Jo Example".to_owned(), ..Officer::default() }),
        ..AcknowledgeDeliveryRequest::default()
    };
    client.call(delivery_service::ACKNOWLEDGE_DELIVERY, &request).await.unwrap();
    lacks_safety(client, placement_id).await
}

async fn lacks_safety(client: &Client, placement_id: &str) -> bool {
    let read = get_placement(client, placement_id).await;
    read.open_items.iter().any(|open| open.item == "SAFETY_NOT_ACKNOWLEDGED" && open.due_date == "2026-09-08")
}

/// Checks that a shared passport reaches the provider, and that the open item of the start closes when a named
/// person has acted on it. Restricted blocks are announced by notices and never shown.
async fn a_passport_is_put_shared_and_acted_on(world: &World) {
    use Kind::{Emergency, Health, Medical, Meta, Safeguarding, Safety};
    let unreadable = || vec![Health, Safeguarding];
    let (la, riverside) = (world.client("la-a").await, world.client("provider-a").await);
    // The first child of the sandbox has a passport.
    let first = world.placements("la-a", "provider-a").remove(0);
    assert!(!lacks_safety(&riverside, &first).await);
    assert_eq!(read_passport(&riverside, &first).await.unwrap().2, unreadable());
    let id_of = world.placements("la-a", "provider-a").remove(1);
    assert!(lacks_safety(&riverside, &id_of).await);
    assert_eq!(read_passport(&riverside, &id_of).await.unwrap_err(), "NOT_FOUND");
    assert_eq!(read_passport(&la, &id_of).await.unwrap_err(), "NOT_FOUND");
    assert_eq!(share_passport(&la, &id_of, "1").await.unwrap_err(), "NOT_FOUND");
    let made = put_passport(&la, &id_of, "").await.unwrap();
    assert_eq!((made.etag.as_str(), made.open_items.join(" ")), ("1", "NO_CHILD_VOICE NO_REVIEW".to_owned()));
    assert_eq!(put_passport(&la, &id_of, "").await.unwrap_err(), "REVISION_MISMATCH");
    assert_eq!(read_passport(&riverside, &id_of).await.unwrap_err(), "NOT_FOUND");
    share_passport(&la, &id_of, "1").await.unwrap();
    let all = vec![Meta, Emergency, Medical, Safety];
    let read = Ok(("1".to_owned(), all.clone(), unreadable()));
    assert_eq!(read_passport(&riverside, &id_of).await, read);
    // Restricted blocks are not shown to the sender's system either.
    assert_eq!(read_passport(&la, &id_of).await, read);
    assert!(acknowledge(&riverside, &id_of, DeliveryStage::Acknowledged).await);
    assert!(!acknowledge(&riverside, &id_of, DeliveryStage::ActedOn).await);
    // A newer version that was not acted on opens the item again; an older share still shows its own version.
    put_passport(&la, &id_of, "1").await.unwrap();
    assert!(lacks_safety(&riverside, &id_of).await);
    assert_eq!(read_passport(&riverside, &id_of).await, read);
    assert_eq!(share_passport(&la, &id_of, "1").await.unwrap_err(), "REVISION_MISMATCH");
    share_passport(&la, &id_of, "2").await.unwrap();
    // A withheld block is absent except for fixed notices, and the passport cannot be acted on.
    withhold(&la, &id_of, &[Medical, Safeguarding]).await.unwrap();
    let cut = Ok(("2".to_owned(), vec![Meta, Emergency, Safety], unreadable()));
    assert_eq!(read_passport(&riverside, &id_of).await, cut);
    assert!(acknowledge(&riverside, &id_of, DeliveryStage::ActedOn).await);
    withhold(&la, &id_of, &[]).await.unwrap();
    share_passport(&la, &id_of, "2").await.unwrap();
    assert!(!acknowledge(&riverside, &id_of, DeliveryStage::ActedOn).await);
    let request = ListPassportVersionsRequest { placement_id: id_of, page_size: 1, ..Default::default() };
    let page = la.call(passport_service::LIST_PASSPORT_VERSIONS, &request).await.unwrap().message;
    assert_eq!((page.versions[0].etag.as_str(), page.versions[0].blocks.len()), ("2", 6));
    let request = ListPassportVersionsRequest { page_token: page.next_page_token, ..request };
    let page = la.call(passport_service::LIST_PASSPORT_VERSIONS, &request).await.unwrap().message;
    assert_eq!((page.versions[0].etag.as_str(), page.next_page_token.as_str()), ("1", ""));
}

/// Checks that a passport is hidden from non-parties, and that a school on roll has a passport of its own.
async fn a_passport_is_its_sender_s_own(world: &World) {
    let id_of = world.placements("school", "provider-a").remove(0);
    let school = world.client("school").await;
    put_passport(&school, &id_of, "").await.unwrap();
    for name in ["la-a", "la-b", "provider-b", "provider-c"] {
        let stranger = world.client(name).await;
        for placement in [id_of.as_str(), &new_id()] {
            assert_eq!(read_passport(&stranger, placement).await.unwrap_err(), "NOT_FOUND", "{name}");
            if name.starts_with("la") {
                assert_eq!(put_passport(&stranger, placement, "").await.unwrap_err(), "NOT_FOUND", "{name}");
                assert_eq!(
                    share_passport(&stranger, placement, "1").await.unwrap_err(),
                    "NOT_FOUND",
                    "{name}"
                );
                assert_eq!(withhold(&stranger, placement, &[]).await.unwrap_err(), "NOT_FOUND", "{name}");
            }
        }
    }
    let riverside = world.client("provider-a").await;
    assert_eq!(put_passport(&riverside, &id_of, "").await.unwrap_err(), "METHOD_NOT_ALLOWED");
}

/// Checks that sharing and reading need an agreement in force and an active placement.
async fn access_ends_with_agreement_and_placement(world: &World) {
    let (la, riverside) = (world.client("la-a").await, world.client("provider-a").await);
    let ended = world.placements("la-a", "provider-a").remove(1);
    let etag = get_placement(&la, &ended).await.placement.unwrap().etag;
    let request = EndPlacementRequest {
        request_id: new_id(),
        placement_id: ended.clone(),
        etag,
        end_date: "2026-11-20".to_owned(),
        ..EndPlacementRequest::default()
    };
    la.call(placement_service::END_PLACEMENT, &request).await.unwrap();
    assert_eq!(read_passport(&riverside, &ended).await.unwrap_err(), "NOT_FOUND");
    assert_eq!(share_passport(&la, &ended, "2").await.unwrap_err(), "STATE_INVALID");
    assert!(read_passport(&la, &ended).await.is_ok());
    assert!(
        deliveries_of_kind(&riverside, DeliveryKind::Passport, &ended)
            .await
            .iter()
            .all(|it| it.content.is_none())
    );
    let live = world.placements("la-a", "provider-a").remove(0);
    let made = sandbox::world::load(world.dir.path()).unwrap();
    let agreed =
        made.agreements.iter().find(|it| it.commissioner == "la-a" && it.provider == "provider-a").unwrap();
    let request = EndAgreementRequest {
        request_id: new_id(),
        agreement_id: agreed.agreement_id.clone(),
        ..EndAgreementRequest::default()
    };
    la.call(register_service::END_AGREEMENT, &request).await.unwrap();
    assert_eq!(read_passport(&riverside, &live).await.unwrap_err(), "AGREEMENT_NOT_IN_FORCE");
    assert_eq!(share_passport(&la, &live, "1").await.unwrap_err(), "AGREEMENT_NOT_IN_FORCE");
    assert!(
        deliveries_of_kind(&riverside, DeliveryKind::Passport, &live)
            .await
            .iter()
            .all(|it| it.content.is_none())
    );
}

pub fn progress_request(placement: &str, subject: &str, outcome: u32, reason: &str) -> SubmitProgressRequest {
    let academic = AcademicProgress { subject: subject.to_owned(), ..AcademicProgress::default() };
    let progress = ProgressReturn {
        from_date: "2026-09-01".to_owned(),
        to_date: "2026-10-23".to_owned(),
        academic: vec![academic],
        plan_etag: "1".to_owned(),
        outcomes: vec![OutcomeProgress { outcome, rag: Rag::Amber as i32, ..OutcomeProgress::default() }],
        author: Some(Officer { name: "Jo Example".to_owned(), ..Officer::default() }),
        signed_on: "2026-11-02".to_owned(),
        ..ProgressReturn::default()
    };
    SubmitProgressRequest {
        request_id: new_id(),
        placement_id: placement.to_owned(),
        progress: Some(progress),
        correction_reason: reason.to_owned(),
        ..SubmitProgressRequest::default()
    }
}

async fn progress_revisions(
    client: &Client,
    placement: &str,
    with_earlier: bool,
) -> Result<Vec<u32>, String> {
    let request = GetProgressRequest {
        placement_id: placement.to_owned(),
        with_earlier,
        ..GetProgressRequest::default()
    };
    let reply = client.call(returns_service::GET_PROGRESS, &request).await.map_err(refusal_reason)?;
    Ok(reply.message.records.iter().map(|record| record.revision).collect())
}

/// Checks that a period has one progress return, and that commissioner and school receive corrections.
async fn progress_is_told_against_the_plan(world: &World) {
    let (la, school) = (world.client("la-a").await, world.client("school").await);
    let riverside = world.client("provider-a").await;
    let id_of = world.placements("la-a", "provider-a").remove(2);
    let submit = async |request: &SubmitProgressRequest| {
        let reply =
            riverside.call(returns_service::SUBMIT_PROGRESS, request).await.map_err(refusal_reason)?;
        Ok::<_, String>((reply.message.outcome(), reply.message.revision, reply.message.flags))
    };
    let (stored, unchanged, corrected) =
        (ProgressOutcome::Stored, ProgressOutcome::Unchanged, ProgressOutcome::Corrected);
    let unknown = progress_request(&id_of, "English", 1, "");
    assert_eq!(submit(&unknown).await.unwrap_err(), "INVALID_REQUEST");
    assert_eq!(submit(&progress_request(&id_of, "English", 0, "")).await, Ok((stored, 1, vec![])));
    assert_eq!(submit(&progress_request(&id_of, "English", 0, "")).await, Ok((unchanged, 1, vec![])));
    // An unchanged return is not delivered, but recipients of the first can see the exchange.
    for client in [&la, &school] {
        let seen = audit::list_all_exchanges(client).await.unwrap();
        assert_eq!(seen.iter().filter(|exchange| exchange.method.ends_with("SubmitProgress")).count(), 2);
        assert_eq!(deliveries_of_kind(client, DeliveryKind::Progress, &id_of).await.len(), 1);
    }
    assert_eq!(submit(&progress_request(&id_of, "Art", 0, "")).await.unwrap_err(), "INVALID_REQUEST");
    assert_eq!(submit(&progress_request(&id_of, "Art", 0, "wrong child")).await, Ok((corrected, 2, vec![])));
    for client in [&la, &school, &riverside] {
        assert_eq!(progress_revisions(client, &id_of, false).await, Ok(vec![2]));
        assert_eq!(progress_revisions(client, &id_of, true).await, Ok(vec![1, 2]));
    }
    for client in [&la, &school] {
        assert_eq!(deliveries_of_kind(client, DeliveryKind::Progress, &id_of).await.len(), 2);
    }
    let newest = deliveries_of_kind(&la, DeliveryKind::Progress, &id_of).await.pop().unwrap();
    let Some(Content::Progress(record)) = newest.content else { panic!("no progress") };
    assert_eq!((record.revision, record.correction_reason.as_str()), (2, "wrong child"));
    for name in ["la-b", "provider-b", "provider-c"] {
        let stranger = world.client(name).await;
        assert_eq!(progress_revisions(&stranger, &id_of, true).await.unwrap_err(), "NOT_FOUND", "{name}");
    }
    // The passport that was shared with Riverside gives SEMH as the primary need.
    let known = world.placements("la-a", "provider-a").remove(0);
    let incomplete = vec!["INCOMPLETE".to_owned()];
    assert_eq!(submit(&progress_request(&known, "English", 0, "")).await, Ok((stored, 1, incomplete)));
}

async fn all(world: World) -> TempDir {
    a_plan_that_lacks_things_is_not_active(&world).await;
    a_passport_is_put_shared_and_acted_on(&world).await;
    a_passport_is_its_sender_s_own(&world).await;
    progress_is_told_against_the_plan(&world).await;
    access_ends_with_agreement_and_placement(&world).await;
    world.stop().await
}

#[tokio::test(flavor = "multi_thread")]
async fn documents_hold_on_sqlite() {
    let dir = all(World::sqlite().await).await;
    log_verification::assert_verifies(dir.path()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn documents_hold_on_postgresql() {
    all(World::postgres().await).await;
}

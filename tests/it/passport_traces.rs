//! A restricted part of a passport leaves no trace: with and without it, a system and a person who does not get it
//! have the same answers, deliveries, digests, sizes and log, ids aside. Of a withheld part nobody of the provider does.

use ap_gateway::client::Client;
use ap_gateway::proto::v1::delivery::Content;
use ap_gateway::proto::v1::passport_block::Content as Block;
use ap_gateway::proto::v1::{
    AcknowledgeDeliveryRequest, Acknowledged, AuditEntry, DataClass, Delivery, DeliveryKind, DeliveryStage,
    ExchangeRecord, GetDeliveryStatusRequest, GetPassportRequest, GetPassportResponse, ListExchangesRequest,
    ListPassportVersionsRequest, PassportBlock, PassportBlockKind as Kind, PassportContent, PassportLearning,
    PassportSafeguarding, Purpose, RecordKind, RoleCode, WatchDeliveriesRequest, WatchDeliveriesResponse,
    WatchPosition, audit_service, delivery_service, passport_service,
};
use prost::Message;

use super::documents::{deliveries_of_kind, refusal_reason, withhold};
use super::exchange_semantics::new_id;
use super::passport_fixtures::{
    agree, block, emergency, get_passport, health, meta, person, put_blocks, raised, safeguarding,
    share_under,
};
use super::support::World;

/// A restricted part: its name, blocks with it and without it, a role that gets it, and one that gets all but it.
type RestrictedPart = (&'static str, Vec<PassportBlock>, Vec<PassportBlock>, &'static str, &'static str);

fn parts() -> Vec<RestrictedPart> {
    let part = |name, with: PassportSafeguarding, without: Option<PassportSafeguarding>, gets, not| {
        let blocks = |part: Option<PassportSafeguarding>| {
            [meta(), emergency()].into_iter().chain(part.map(|it| block(Block::Safeguarding(it)))).collect()
        };
        (name, blocks(Some(with)), blocks(without), gets, not)
    };
    let all = safeguarding;
    let empty = PassportSafeguarding::default;
    let main = || PassportSafeguarding { looked_after: true, detail: all().detail, ..empty() };
    vec![
        ("health", vec![meta(), health(), emergency()], vec![meta(), emergency()], "senco", "social_worker"),
        part("safeguarding", main(), None, "vsh", "senco"),
        part(
            "no contact",
            all(),
            Some(PassportSafeguarding { no_contact: Vec::new(), ..all() }),
            "dsl",
            "head",
        ),
        part("address", all(), Some(PassportSafeguarding { address: String::new(), ..all() }), "dsl", "iro"),
        part(
            "youth justice",
            all(),
            Some(PassportSafeguarding { youth_justice: String::new(), ..all() }),
            "yjs",
            "social_worker",
        ),
        // A part that is all that there is of the block.
        part(
            "address alone",
            PassportSafeguarding { address: all().address, ..empty() },
            None,
            "dsl",
            "head",
        ),
        part(
            "offences alone",
            PassportSafeguarding { youth_justice: all().youth_justice, ..empty() },
            None,
            "yjs",
            "dcs",
        ),
        part("all", all(), None, "dsl", "tutor"),
    ]
}

/// A delivery without what differs between two deliveries of equal content, and its size.
fn masked(delivery: &Delivery) -> (Delivery, usize) {
    let masked = Delivery {
        cursor: None,
        object_id: "-".to_owned(),
        placement_id: "-".to_owned(),
        sender_leaf_hash: Vec::new().into(),
        sender_tree_size: 0,
        sender_inclusion_proof: Vec::new(),
        sender_checkpoint: String::new(),
        ..delivery.clone()
    };
    let size = masked.encoded_len();
    (masked, size)
}

/// A record of the log without ids.
fn masked_record(record: &ExchangeRecord) -> ExchangeRecord {
    let mut masked = ExchangeRecord { index: 0, exchange_id: String::new(), ..record.clone() };
    for subject in &mut masked.subjects {
        (subject.placement_id, subject.record_id) = (String::new(), String::new());
    }
    masked
}

/// The answer to `GetPassport`, the size of its entry, the number of passports in the caller's mailbox, and the newest of
/// them with its size. Earlier ones have other parts.
type Seen = (GetPassportResponse, usize, usize, Option<(Delivery, usize)>);

/// Reads a passport and, for the provider, collects the mailbox.
async fn read_all(client: &Client, placement: &str) -> Seen {
    let request = GetPassportRequest { placement_id: placement.to_owned(), ..GetPassportRequest::default() };
    let read = client.call(passport_service::GET_PASSPORT, &request).await.unwrap();
    let entry = AuditEntry::decode(&read.receipt.entry[..]).unwrap();
    assert!(entry.encoded_len() == read.receipt.entry.len());
    let deliveries = deliveries_of_kind(client, DeliveryKind::Passport, placement).await;
    (read.message, read.receipt.entry.len(), deliveries.len(), deliveries.last().map(masked))
}

/// What the log shows of a placement's passport, sorted by content.
async fn log_of(client: &Client, placement: &str) -> Vec<ExchangeRecord> {
    let request = ListExchangesRequest {
        placement_id: placement.to_owned(),
        record_kind: RecordKind::Passport as i32,
        page_size: 1_000,
        ..ListExchangesRequest::default()
    };
    let found = client.call(audit_service::LIST_EXCHANGES, &request).await.unwrap().message.exchanges;
    let mut records: Vec<_> = found.iter().map(masked_record).collect();
    // A reader collects the mailbox after each of its two reads, so the order differs.
    records.sort_by_key(Message::encode_to_vec);
    records
}

/// Acknowledges the newest passport of a placement with the digest with which this client collects it.
async fn acknowledge(client: &Client, placement: &str) -> Result<u32, String> {
    let newest = deliveries_of_kind(client, DeliveryKind::Passport, placement).await.pop().unwrap();
    acknowledge_as(client, &newest, newest.content_sha256.to_vec()).await
}

async fn acknowledge_as(client: &Client, delivery: &Delivery, digest: Vec<u8>) -> Result<u32, String> {
    let request = AcknowledgeDeliveryRequest {
        request_id: new_id(),
        deliveries: vec![Acknowledged { cursor: delivery.cursor.clone(), content_sha256: digest.into() }],
        stage: DeliveryStage::Acknowledged as i32,
        ..AcknowledgeDeliveryRequest::default()
    };
    let answer = client.call(delivery_service::ACKNOWLEDGE_DELIVERY, &request).await;
    answer.map(|reply| reply.message.acknowledged).map_err(refusal_reason)
}

async fn stages(client: &Client, placement: &str) -> Vec<(String, i32, i32)> {
    let request = GetDeliveryStatusRequest { object_id: placement.to_owned() };
    let found =
        client.call(delivery_service::GET_DELIVERY_STATUS, &request).await.unwrap().message.deliveries;
    let mut stages: Vec<_> = found.into_iter().map(|it| (it.recipient, it.kind, it.stage)).collect();
    // Recipients of one exchange have no order.
    stages.sort();
    stages
}

async fn a_restricted_part_leaves_no_trace(world: &World) {
    let (la, riverside) = (world.client("la-a").await, world.client("provider-a").await);
    let auditor = world.client("auditor").await;
    let placements = world.placements("la-a", "provider-a");
    let (with, without) = (&placements[1], &placements[2]);
    let classes = [DataClass::Passport, DataClass::Restricted];
    let agreement = agree(&la, &riverside, &classes, "10", &[Purpose::Safeguarding]).await;
    let mut etag = String::new();
    for (name, blocks_with, blocks_without, role, other_role) in parts() {
        let mut put = Vec::new();
        for (placement, blocks) in [(with, blocks_with), (without, blocks_without)] {
            put.push(put_blocks(&la, placement, &etag, blocks).await);
            share_under(&la, placement, &put[0].etag, &agreement).await;
        }
        assert_eq!(put[0], put[1], "{name}");
        etag.clone_from(&put[0].etag);
        let mut readers = vec![world.client("la-a").await, world.client("provider-a").await];
        for caller in ["la-a", "provider-a"] {
            for role in [other_role, "tutor", "quality_officer"] {
                readers.push(person(world, caller, role, "safeguarding").await);
            }
            readers.push(person(world, caller, role, "attendance").await);
            readers.push(person(world, caller, "other", "education_provision").await);
        }
        for (at, reader) in readers.iter().enumerate() {
            let (seen, not) = (read_all(reader, with).await, read_all(reader, without).await);
            assert_eq!(seen, not, "{name}: reader {at}");
            assert_eq!(seen.0.notices.len(), 2, "{name}: reader {at}");
        }
        // Who may read the part, reads it, also in its delivery.
        for caller in ["la-a", "provider-a"] {
            let reader = person(world, caller, role, "safeguarding").await;
            let (seen, not) = (read_all(&reader, with).await, read_all(&reader, without).await);
            assert_ne!(seen.0, not.0, "{name}");
            if caller == "provider-a" {
                let digest = |seen: &Seen| seen.3.clone().unwrap().0.content_sha256;
                assert_ne!(digest(&seen), digest(&not), "{name}");
                assert_eq!(
                    (acknowledge(&reader, with).await, acknowledge(&reader, without).await),
                    (Ok(1), Ok(1))
                );
            }
        }
        for placement in [with, without] {
            assert_eq!(acknowledge(&riverside, placement).await, Ok(1), "{name}");
        }
        assert_eq!(stages(&la, with).await, stages(&la, without).await, "{name}");
        let versions = async |placement: &str| {
            let request =
                ListPassportVersionsRequest { placement_id: placement.to_owned(), ..Default::default() };
            la.call(passport_service::LIST_PASSPORT_VERSIONS, &request).await.unwrap().message.versions
        };
        assert_eq!(versions(with).await, versions(without).await, "{name}");
        for reader in [&la, &riverside, &auditor] {
            let (seen, not) = (log_of(reader, with).await, log_of(reader, without).await);
            assert!(seen.len() > 10);
            assert_eq!(seen, not, "{name}");
        }
    }
    // A digest that was never sent is none, and one that was sent with the other delivery is not this one's.
    let newest = deliveries_of_kind(&riverside, DeliveryKind::Passport, with).await.pop().unwrap();
    let refused = acknowledge_as(&riverside, &newest, vec![0; 32]).await;
    assert_eq!(refused, Err("DIGEST_MISMATCH".to_owned()));
}

/// Checks that a withheld part, also of a person who may read it, leaves the answers of a passport without it.
async fn a_withheld_part_leaves_no_trace(world: &World) {
    let (la, riverside) = (world.client("la-a").await, world.client("provider-a").await);
    let placements = world.placements("la-a", "provider-a");
    let (with, without) = (&placements[1], &placements[2]);
    let classes = [DataClass::Passport, DataClass::Restricted];
    let agreement = agree(&la, &riverside, &classes, "10", &[Purpose::Safeguarding]).await;
    let mut etag = String::new();
    let raised = raised(Block::Learning(PassportLearning::default()), &[]);
    let kinds = [Kind::Health, Kind::Safeguarding, Kind::Learning, Kind::Emergency];
    let rest = [block(Block::Safeguarding(safeguarding())), raised, emergency()];
    let blocks = [health()].into_iter().chain(rest);
    for (at, (kind, part)) in kinds.into_iter().zip(blocks).enumerate() {
        // The mailbox has the earlier parts too, so they stay withheld.
        withhold(&la, with, &kinds[..=at]).await.unwrap();
        for (placement, blocks) in [(with, vec![meta(), part]), (without, vec![meta()])] {
            let put = put_blocks(&la, placement, &etag, blocks).await;
            share_under(&la, placement, &put.etag, &agreement).await;
        }
        etag = get_passport(&la, with).await.unwrap().etag;
        let dsl = person(world, "provider-a", "dsl", "safeguarding").await;
        for reader in [&riverside, &dsl] {
            let (seen, not) = (read_all(reader, with).await, read_all(reader, without).await);
            assert_eq!(seen, not, "{kind:?}");
            assert_eq!(log_of(reader, with).await, log_of(reader, without).await, "{kind:?}");
        }
        let own = person(world, "la-a", "dsl", "safeguarding").await;
        assert_ne!(get_passport(&own, with).await.unwrap().blocks.len(), 1, "{kind:?}");
        let remove = [meta()].to_vec();
        for placement in [with, without] {
            remove_raised(&la, placement, &etag, remove.clone()).await;
        }
        etag = get_passport(&la, with).await.unwrap().etag;
    }
}

/// Puts a version without any of the blocks that a put keeps by itself.
async fn remove_raised(la: &Client, placement: &str, etag: &str, blocks: Vec<PassportBlock>) {
    let request = ap_gateway::proto::v1::PutPassportRequest {
        request_id: new_id(),
        placement_id: placement.to_owned(),
        etag: etag.to_owned(),
        blocks,
        remove: [Kind::Health, Kind::Safeguarding, Kind::Learning].map(|kind| kind as i32).to_vec(),
        ..Default::default()
    };
    la.call(passport_service::PUT_PASSPORT, &request).await.unwrap();
}

/// Returns the newest passport that a stream sends.
async fn watch_passport(client: &Client, placement: &str) -> PassportContent {
    let kinds = vec![DeliveryKind::Passport as i32];
    let request = WatchDeliveriesRequest { cursor: None, kinds: kinds.clone() };
    let mut stream = client.open_stream(delivery_service::WATCH_DELIVERIES, &request).await.unwrap();
    let position = |message: &WatchDeliveriesResponse| {
        WatchPosition { cursor: message.next.clone(), kinds: kinds.clone() }.encode_to_vec().into()
    };
    for _ in 0..10 {
        let (message, _) = stream.next(position).await.unwrap().unwrap();
        let newest = message.deliveries.into_iter().rfind(|delivery| delivery.placement_id == placement);
        if let Some(Content::Passport(content)) = newest.and_then(|delivery| delivery.content) {
            return content;
        }
    }
    panic!("the stream sends no passport");
}

/// Checks that a stream has the reader's cut, and that the log names HEALTH and SAFEGUARDING by who read.
async fn a_stream_and_the_log_follow_the_reader(world: &World) {
    let (la, riverside) = (world.client("la-a").await, world.client("provider-a").await);
    let placement = &world.placements("la-a", "provider-a")[1];
    let classes = [DataClass::Passport, DataClass::Restricted];
    let agreement = agree(&la, &riverside, &classes, "", &[Purpose::Safeguarding]).await;
    put_blocks(&la, placement, "", vec![meta(), block(Block::Safeguarding(safeguarding()))]).await;
    share_under(&la, placement, "1", &agreement).await;
    let head = person(world, "provider-a", "head", "safeguarding").await;
    let read = watch_passport(&head, placement).await;
    let of_head = PassportSafeguarding {
        no_contact: Vec::new(),
        address: String::new(),
        youth_justice: String::new(),
        ..safeguarding()
    };
    assert_eq!(read.blocks.last().unwrap().content, Some(Block::Safeguarding(of_head)));
    assert_eq!(watch_passport(&riverside, placement).await.blocks.len(), 1);
    let watched =
        log_of(&la, placement).await.into_iter().filter(|it| it.method.ends_with("/WatchDeliveries"));
    let blocks: Vec<(RoleCode, Vec<Kind>)> =
        watched.map(|record| (record.role(), record.subjects[0].blocks().collect())).collect();
    // A head may read HEALTH too, and the log does not tell that there is none.
    let of_head = (RoleCode::Head, vec![Kind::Health, Kind::Safeguarding, Kind::Meta]);
    assert!(blocks.contains(&of_head) && blocks.contains(&(RoleCode::Unspecified, vec![Kind::Meta])));
    assert_eq!(blocks.len(), 2, "{blocks:?}");
    // The safeguarding lead reads no data about offences under an agreement without a condition for them.
    let dsl = person(world, "provider-a", "dsl", "safeguarding").await;
    let of_dsl = PassportSafeguarding { youth_justice: String::new(), ..safeguarding() };
    let read = get_passport(&dsl, placement).await.unwrap();
    assert_eq!(read.blocks.last().unwrap().content, Some(Block::Safeguarding(of_dsl)));
}

macro_rules! on_both_databases {
    ($($test:ident)+) => {$(
        mod $test {
            use super::super::support::World;

            #[tokio::test(flavor = "multi_thread")]
            async fn on_sqlite() {
                let world = World::sqlite().await;
                super::$test(&world).await;
                world.stop().await;
            }

            #[tokio::test(flavor = "multi_thread")]
            async fn on_postgresql() {
                let world = World::postgres().await;
                super::$test(&world).await;
                world.stop().await;
            }
        }
    )+};
}

on_both_databases! {
    a_restricted_part_leaves_no_trace
    a_withheld_part_leaves_no_trace
    a_stream_and_the_log_follow_the_reader
}

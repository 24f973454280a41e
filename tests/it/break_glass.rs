//! Break-glass over the wire: what a person reads in an emergency, what the log and the senders are told of it, and that
//! the eleventh of a day is given all the same. On both databases.

use ap_gateway::client::{Client, ClientError, reason};
use ap_gateway::clock::Randomness;
use ap_gateway::proto::v1::delivery::Content;
use ap_gateway::proto::v1::passport_block::Content as Block;
use ap_gateway::proto::v1::{
    AcknowledgeDeliveryRequest, Acknowledged, Article6, Article9, AuditEntry, BreakGlassContent, Contact,
    Delivery, DeliveryKind, DeliveryStage, EmergencyPassport, ExchangeRecord, GetDeliveryStatusRequest,
    GetPassportRequest, GetPassportResponse, LeafRole, ListExchangesRequest, Officer, Outcome, PassportBlock,
    PassportBlockKind as Kind, PassportEmergency, PassportHealth, PassportMedical, PassportMeta,
    PassportSafeguarding, PassportSafety, PassportVoice, Purpose, PutPassportRequest, RecordKind, RoleCode,
    Sensitivity, audit_service, delivery_service, passport_service,
};
use prost::Message;
use serde_json::json;
use tonic::Code;

use super::break_glass_count::the_request_is_checked;
use super::documents::withhold;
use super::exchange_semantics::new_id;
use super::fixtures::{Fixtures, find_example};
use super::support::{World, deliveries, gateway, run};
use super::tokens::{NAME, TestIssuer};
use super::wire::{Answer, Wire, frame};

const GET_PASSPORT: &str = "/apgateway.v1.PassportService/GetPassport";
/// The reason of the emergencies; it occurs nowhere else.
pub const REASON: &str = "A quokka bit the child and nobody at home answers.";

/// Returns a client of a person in a role.
pub async fn person(world: &World, caller: &str, role: &str) -> Client {
    let dir = world.dir.path();
    let token = TestIssuer::load(dir, caller).token(dir, caller, |claims| claims["role"] = json!(role));
    world.client(caller).await.with_token(&token).unwrap()
}

/// Returns a request to read in an emergency.
pub fn emergency(placement: &str) -> GetPassportRequest {
    GetPassportRequest {
        placement_id: placement.to_owned(),
        emergency_reason: REASON.to_owned(),
        ..GetPassportRequest::default()
    }
}

pub async fn try_break(client: &Client, request: &GetPassportRequest) -> Result<GetPassportResponse, String> {
    let answer = client.call(passport_service::GET_PASSPORT, request).await;
    answer.map(|answer| answer.message).map_err(|error| match error {
        ClientError::Refused(status) => reason(&status),
        other => panic!("{other}"),
    })
}

fn block(content: Block) -> PassportBlock {
    PassportBlock { content: Some(content), ..PassportBlock::default() }
}

/// Writes the first version of a passport of these blocks.
pub async fn put(sender: &Client, placement: &str, more: Vec<PassportBlock>) {
    let authors = vec![Officer { name: "Ada Officer".to_owned(), ..Officer::default() }];
    let mut blocks = vec![block(Block::Meta(PassportMeta { authors, ..PassportMeta::default() }))];
    blocks.extend(more);
    let (request_id, placement_id) = (new_id(), placement.to_owned());
    let request = PutPassportRequest { request_id, placement_id, blocks, ..PutPassportRequest::default() };
    sender.call(passport_service::PUT_PASSPORT, &request).await.unwrap();
}

pub fn safety(summary: &str) -> PassportBlock {
    block(Block::Safety(PassportSafety { risk_summary: summary.to_owned(), ..PassportSafety::default() }))
}

/// Puts passports of the authority and of the school, which share nothing. The authority withholds the medical block and
/// restricts the child's voice; the school knows an address and nothing else of safeguarding.
async fn put_passports(world: &World, placement: &str) {
    let (la, school) = (world.client("la-a").await, world.client("school").await);
    let contact = Contact { name: "Robin Example".to_owned(), ..Contact::default() };
    let none = || "none known".to_owned();
    let medical = PassportMedical { allergies: none(), medication: none(), ..PassportMedical::default() };
    let known = PassportSafeguarding {
        child_protection: true,
        no_contact: vec!["Pat Example".to_owned()],
        address: "3 Hidden Street".to_owned(),
        ..PassportSafeguarding::default()
    };
    let voice = PassportBlock {
        sensitivity: Sensitivity::Restricted.into(),
        ..block(Block::Voice(PassportVoice { goals: "to fly".to_owned(), ..PassportVoice::default() }))
    };
    let blocks = vec![
        block(Block::Emergency(PassportEmergency { contacts: vec![contact] })),
        block(Block::Medical(medical)),
        safety("climbs"),
        block(Block::Health(PassportHealth { conditions: "asthma".to_owned(), ..PassportHealth::default() })),
        block(Block::Safeguarding(known)),
        voice,
    ];
    put(&la, placement, blocks).await;
    withhold(&la, placement, &[Kind::Medical]).await.unwrap();
    let address = PassportSafeguarding { address: "3 Hidden Street".to_owned(), ..Default::default() };
    put(&school, placement, vec![safety("runs"), block(Block::Safeguarding(address))]).await;
}

pub fn kinds(passport: &EmergencyPassport) -> Vec<&'static str> {
    let name = |block: &PassportBlock| match block.content.as_ref().unwrap() {
        Block::Emergency(_) => "EMERGENCY",
        Block::Medical(_) => "MEDICAL",
        Block::Safety(_) => "SAFETY",
        Block::Health(_) => "HEALTH",
        Block::Safeguarding(_) => "SAFEGUARDING",
        Block::Voice(_) => "VOICE",
        _ => "another",
    };
    passport.blocks.iter().map(name).collect()
}

pub async fn broken_glasses(client: &Client) -> Vec<ExchangeRecord> {
    let request = ListExchangesRequest { break_glass: true, page_size: 1_000, ..Default::default() };
    client.call(audit_service::LIST_EXCHANGES, &request).await.unwrap().message.exchanges
}

pub async fn break_glass_deliveries(client: &Client) -> Vec<(Delivery, BreakGlassContent)> {
    let found = deliveries(client).await.into_iter();
    let found = found.filter(|delivery| delivery.kind() == DeliveryKind::BreakGlass);
    let content = |delivery: Delivery| match delivery.content.clone() {
        Some(Content::BreakGlass(content)) => (delivery, content),
        other => panic!("{}", other.is_some()),
    };
    found.map(content).collect()
}

/// Checks what is read, what the log shows to whom, and that each sender's DSL must act.
async fn an_emergency_opens_what_keeps_the_child_safe_and_each_sender_is_told(world: &World) {
    let placement = world.placements("la-a", "provider-a").remove(1);
    let dsl = person(world, "provider-a", "dsl").await;
    // Nobody has a passport of this child yet: refused, and entered all the same.
    assert_eq!(try_break(&dsl, &emergency(&placement)).await.unwrap_err(), "NOT_FOUND");
    put_passports(world, &placement).await;
    let system = world.client("provider-a").await;
    for (client, request) in [(&system, emergency(&placement)), (&system, emergency(&new_id()))] {
        let expected = if request.placement_id == placement { "PERSON_REQUIRED" } else { "NOT_FOUND" };
        assert_eq!(try_break(client, &request).await.unwrap_err(), expected);
    }
    let reply = dsl.call(passport_service::GET_PASSPORT, &emergency(&placement)).await.unwrap();
    let (answer, receipt) = (reply.message, reply.receipt);
    let entry = AuditEntry::decode(receipt.entry.clone()).unwrap();
    assert!(entry.break_glass && !entry.break_glass_over_limit && !answer.over_daily_limit);
    assert!(answer.blocks.is_empty() && answer.notices.is_empty() && answer.sender.is_empty());
    let passports = &answer.emergency_passports;
    let senders: Vec<_> = passports.iter().map(|it| (&*it.sender, &*it.etag, kinds(it))).collect();
    assert_eq!(
        senders,
        [
            ("la/330", "1", vec!["EMERGENCY", "SAFETY", "HEALTH", "SAFEGUARDING"]),
            ("school/134567", "1", vec!["SAFETY"]),
        ]
    );
    let Some(Block::Safeguarding(known)) = &passports[0].blocks[3].content else { panic!("no safeguarding") };
    let expected = PassportSafeguarding {
        child_protection: true,
        no_contact: vec!["Pat Example".to_owned()],
        ..PassportSafeguarding::default()
    };
    assert_eq!(*known, expected);
    the_log_shows_it(world, &receipt.exchange_id).await;
    the_senders_act(world, &placement, &receipt.exchange_id).await;
    // The school reads its own withheld and the authority's, for a life at risk.
    let head = person(world, "school", "head").await;
    let request = GetPassportRequest { life_at_risk: true, ..emergency(&placement) };
    let answer = try_break(&head, &request).await.unwrap();
    assert_eq!(answer.emergency_passports.len(), 2);
    let record = broken_glasses(&world.client("school").await).await.remove(0);
    let bases: Vec<_> =
        record.bases.iter().map(|it| (it.article_6(), it.article_9(), &*it.schedule_1)).collect();
    assert_eq!(bases, [(Article6::VitalInterests, Article9::VitalInterests, "")]);
    assert_eq!(break_glass_deliveries(&world.client("school").await).await.len(), 2);
}

/// Checks the entries: all to the caller, each sender's own part to the sender and its auditor, nothing to others.
async fn the_log_shows_it(world: &World, exchange: &str) {
    let of_caller = broken_glasses(&world.client("provider-a").await).await;
    let outcomes: Vec<_> = of_caller.iter().map(|it| (it.outcome(), &*it.reason, it.role())).collect();
    assert_eq!(
        outcomes,
        [
            (Outcome::Ok, "", RoleCode::Dsl),
            (Outcome::Refused, "NOT_FOUND", RoleCode::Unspecified),
            (Outcome::Refused, "PERSON_REQUIRED", RoleCode::Unspecified),
            (Outcome::Refused, "NOT_FOUND", RoleCode::Dsl),
        ]
    );
    let record = &of_caller[0];
    assert!(record.break_glass && record.exchange_id == exchange);
    assert_eq!(record.counterparts, ["la/330", "school/134567"]);
    let basis = &record.bases[..];
    assert_eq!(basis.len(), 1);
    assert_eq!(
        (&*basis[0].agreement_id, basis[0].purpose(), basis[0].article_6(), basis[0].article_9()),
        ("", Purpose::Safeguarding, Article6::PublicTask, Article9::SubstantialPublicInterest)
    );
    assert_eq!((&*basis[0].schedule_1, basis[0].agreement_lapsed), ("18", false));
    for (reader, sender) in [("la-a", "la/330"), ("school", "school/134567"), ("auditor", "la/330")] {
        let seen = broken_glasses(&world.client(reader).await).await;
        assert_eq!(seen.len(), 1, "{reader}");
        assert_eq!((&*seen[0].exchange_id, seen[0].counterparts.len()), (exchange, 0));
        assert_eq!(seen[0].bases, record.bases);
        let request = ap_gateway::proto::v1::GetExchangeRequest { exchange_id: exchange.to_owned() };
        let client = world.client(reader).await;
        let got = client.call(audit_service::GET_EXCHANGE, &request).await.unwrap().message.exchange.unwrap();
        let subjects: Vec<_> =
            got.subjects.iter().map(|it| (it.role(), it.kind(), &*it.sender, it.version)).collect();
        assert_eq!(subjects, [(LeafRole::Read, RecordKind::Passport, sender, 1)], "{reader}");
        // Both are named whether or not there is anything of them: the school's passport has an address alone.
        let named: Vec<Kind> = got.subjects[0].blocks().collect();
        assert!([Kind::Safety, Kind::Health, Kind::Safeguarding].iter().all(|kind| named.contains(kind)));
        assert!(!named.contains(&Kind::Voice));
    }
    for stranger in ["la-b", "provider-b", "operator"] {
        assert_eq!(broken_glasses(&world.client(stranger).await).await, [], "{stranger}");
    }
    let mut list = gateway();
    list.args(["audit", "list", "--break-glass", "--profile"]);
    let table = run(list.arg(world.dir.path().join("profiles/provider-a.toml")));
    assert_eq!(table.lines().count(), 1 + 4, "{table}");
    assert!(table.lines().nth(1).unwrap().contains("BREAK-GLASS"), "{table}");
}

/// Checks the deliveries: to each sender about its own passport, and that only its DSL acts on it.
async fn the_senders_act(world: &World, placement: &str, exchange: &str) {
    for stranger in ["la-b", "provider-a", "provider-b", "operator"] {
        assert_eq!(break_glass_deliveries(&world.client(stranger).await).await.len(), 0, "{stranger}");
    }
    for sender in ["la-a", "school"] {
        let system = world.client(sender).await;
        let (delivery, content) = break_glass_deliveries(&system).await.remove(0);
        assert!(delivery.needs_action && delivery.placement_id == placement);
        assert_eq!((&*delivery.sender, &*delivery.object_id), ("provider/riverside", exchange));
        let officer = content.officer.clone().unwrap();
        assert_eq!((&*officer.name, officer.role_code(), officer.attested), (NAME, RoleCode::Dsl, true));
        // The glass was broken on a Friday.
        let expected = BreakGlassContent {
            organisation: "provider/riverside".to_owned(),
            placement_id: placement.to_owned(),
            etag: "1".to_owned(),
            officer: Some(officer),
            reason: REASON.to_owned(),
            due_date: "2026-11-23".to_owned(),
            ..BreakGlassContent::default()
        };
        assert_eq!(content, expected);
        let request = |stage: DeliveryStage, name: Option<&str>| AcknowledgeDeliveryRequest {
            request_id: new_id(),
            deliveries: vec![Acknowledged {
                cursor: delivery.cursor.clone(),
                content_sha256: delivery.content_sha256.clone(),
            }],
            stage: stage.into(),
            officer: name.map(|name| Officer { name: name.to_owned(), ..Officer::default() }),
            ..AcknowledgeDeliveryRequest::default()
        };
        let received = request(DeliveryStage::Acknowledged, None);
        system.call(delivery_service::ACKNOWLEDGE_DELIVERY, &received).await.unwrap();
        let due = status(world, exchange, sender).await;
        assert_eq!((due.0, &*due.1), (DeliveryStage::Acknowledged, "2026-11-24T00:00:00Z"));
        let (dsl, head) = (person(world, sender, "dsl").await, person(world, sender, "head").await);
        for (client, name) in [(&system, NAME), (&head, NAME), (&dsl, "Another Person")] {
            let acted = request(DeliveryStage::ActedOn, Some(name));
            let refused = client.call(delivery_service::ACKNOWLEDGE_DELIVERY, &acted).await.unwrap_err();
            assert_eq!(super::documents::refusal_reason(refused), "PERSON_REQUIRED");
        }
        let acted = request(DeliveryStage::ActedOn, Some(NAME));
        dsl.call(delivery_service::ACKNOWLEDGE_DELIVERY, &acted).await.unwrap();
        assert_eq!(status(world, exchange, sender).await.0, DeliveryStage::ActedOn);
    }
}

/// Returns the stage of the delivery to a sender and the time at which the next one is due, as the caller sees them.
async fn status(world: &World, exchange: &str, sender: &str) -> (DeliveryStage, String) {
    let request = GetDeliveryStatusRequest { object_id: exchange.to_owned() };
    let client = world.client("provider-a").await;
    let answer = client.call(delivery_service::GET_DELIVERY_STATUS, &request).await.unwrap().message;
    let recipient = if sender == "la-a" { "la/330" } else { "school/134567" };
    let found = answer.deliveries.iter().find(|delivery| delivery.recipient == recipient).unwrap();
    let due = found.due_time.map(|due| due.to_string()).unwrap_or_default();
    (found.stage(), due)
}

#[tokio::test(flavor = "multi_thread")]
async fn an_emergency_on_sqlite() {
    let world = World::sqlite().await;
    an_emergency_opens_what_keeps_the_child_safe_and_each_sender_is_told(&world).await;
    let dir = world.stop().await;
    let mut bytes = Vec::new();
    for file in ["gateway.sqlite", "gateway.sqlite-wal", "anchor"] {
        bytes.extend(std::fs::read(dir.path().join(file)).unwrap_or_default());
    }
    let bytes = String::from_utf8_lossy(&bytes);
    for secret in ["quokka", NAME] {
        assert!(!bytes.contains(secret), "{secret}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_emergency_on_postgresql() {
    let world = World::postgres().await;
    an_emergency_opens_what_keeps_the_child_safe_and_each_sender_is_told(&world).await;
    world.stop().await;
}

/// Checks each state with each kind of caller: one status and one text, and an entry that says break-glass.
#[tokio::test(flavor = "multi_thread")]
async fn an_emergency_in_every_state() {
    let world = World::sqlite().await;
    let dir = world.dir.path().to_owned();
    let mut stage = Fixtures::create(&dir, Randomness::system()).await;
    let ended: Vec<(&str, String)> = {
        let mut declined_and_rejected = Vec::new();
        stage.create_placement(0).await;
        let decline = r#"{"placement_id": "$referred", "etag": "$referred.etag",
            "decline": {"reason": "DECLINE_REASON_NO_PLACE", "note": "full until spring"}}"#;
        change(&mut stage, "provider-a", "RespondToReferral", decline).await;
        declined_and_rejected.push(("declined", stage.names["referred"].clone()));
        stage.create_placement(1).await;
        let reject = find_example("DecidePlacement")
            .unwrap()
            .json
            .replace(r#""approved": true"#, r#""approved": false"#);
        change(&mut stage, "la-a", "DecidePlacement", &reject).await;
        declined_and_rejected.push(("rejected", stage.names["accepted"].clone()));
        declined_and_rejected
    };
    for reached in (0..=4).rev() {
        stage.create_placement(reached).await;
    }
    let mut placements: Vec<(&str, String)> = ["referred", "accepted", "approved", "active", "ended"]
        .map(|state| (state, stage.names[state].clone()))
        .to_vec();
    placements.extend(ended);
    placements.push(("unknown", new_id()));
    let la = world.client("la-a").await;
    put(&la, &stage.names["active"], vec![safety("climbs")]).await;
    let issuer = |caller: &str| TestIssuer::load(&dir, caller);
    let mut texts: Vec<(Code, String)> = Vec::new();
    for (state, placement) in &placements {
        let is_open = ["approved", "active"].contains(state);
        for (caller, role, purpose, expected) in [
            ("provider-a", "dsl", "safeguarding", "OK"),
            ("provider-a", "head", "education_provision", "OK"),
            ("provider-a", "placement_lead", "safeguarding", "OK"),
            ("provider-a", "health", "safeguarding", "OK"),
            ("provider-a", "senco", "safeguarding", "PERSON_REQUIRED"),
            ("provider-a", "dsl", "attendance", "PERSON_REQUIRED"),
            ("provider-a", "", "", "PERSON_REQUIRED"),
            // A commissioner, and a school that has no part.
            ("la-a", "dsl", "safeguarding", "NOT_FOUND"),
            ("la-a", "", "", "NOT_FOUND"),
            ("provider-b", "", "", "NOT_FOUND"),
        ] {
            let token = (!role.is_empty()).then(|| {
                let token = issuer(caller).token(&dir, caller, |claims| {
                    claims["role"] = json!(role);
                    claims["purpose"] = json!(purpose);
                });
                format!("Bearer {token}")
            });
            let answer = send(&stage.connection(caller).await, &emergency(placement), token.as_deref()).await;
            let expected = if is_open { expected } else { "NOT_FOUND" };
            assert_eq!(answer.reason(), expected, "{state} {caller} {role} {purpose}");
            if expected == "NOT_FOUND" {
                texts.push((answer.status().code(), answer.status().message().to_owned()));
            }
        }
    }
    texts.dedup();
    assert_eq!(texts.len(), 1, "{texts:?}");
    let entered = broken_glasses(&world.client("provider-a").await).await;
    assert_eq!(entered.len(), placements.len() * 7);
    let given = entered.iter().filter(|record| record.outcome() == Outcome::Ok).count();
    assert_eq!(given, 2 * 4);
    assert_eq!(break_glass_deliveries(&la).await.len(), given);
    the_request_is_checked(&stage.connection("provider-a").await, &stage.names["active"]).await;
    world.stop().await;
}

async fn change(stage: &mut Fixtures, caller: &str, method: &str, json: &str) {
    let mut request = super::fixtures::parse_request(method, &stage.substitute_names(json));
    stage.set_request_id(&mut request);
    assert_eq!(stage.call(caller, method, &request).await.reason(), "OK", "{method}");
}

/// Sends a request to read a passport, with a header `authorization` if it is given.
pub async fn send(wire: &Wire, request: &GetPassportRequest, token: Option<&str>) -> Answer {
    let headers: Vec<(&str, &str)> = token.map(|token| ("authorization", token)).into_iter().collect();
    wire.send(GET_PASSPORT, &headers, frame(&request.encode_to_vec())).await.unwrap()
}

//! A scripted theft: a stolen certificate collects and reads what it can, and its script keeps all that it receives. The
//! breach report equals that, to child, kind and block, for each controller its own; the operator's numbers are those of
//! the reports. Nobody else learns of it.

mod thief;

use std::collections::BTreeSet;

use ap_gateway::client::{Client, ClientError, explain};
use ap_gateway::proto::v1::{
    AuditEntry, BreachedOrganisation, ExchangeRecord, GetBreachScopeRequest, GetBreachScopeResponse,
    GetExchangeRequest, GetPlacementRequest, LeafRole, ListExchangesRequest, Outcome, RecordKind,
    audit_service, placement_service,
};
use prost::Message;

use self::thief::{Record, Thief};
use super::exchange_semantics::{mark, new_id, submission, submit};
use super::fixtures::ensure_certificate;
use super::passport_fixtures::person;
use super::support::{World, deliveries, gateway, run};
use super::wire::Wire;

/// The stolen certificate. Its owner has another one, which goes on working.
const THIEF: &str = "provider-a-old";
/// The owner of the stolen certificate, which is the sender of marks.
const RIVERSIDE: &str = "provider/riverside";

/// Returns the SHA-256 of the stolen certificate.
fn stolen(world: &World) -> String {
    let made = ap_gateway::cli::sandbox::world::load(world.dir.path()).unwrap();
    let mut organisations = made.organisations.iter();
    organisations.find(|organisation| organisation.name == THIEF).unwrap().certificate_sha256.clone()
}

/// Returns a request about a certificate, from 16:30 until 17:00.
fn about(certificate: &str) -> GetBreachScopeRequest {
    let at = |text: &str| Some(text.parse::<ap_gateway::clock::Instant>().unwrap().to_proto());
    GetBreachScopeRequest {
        certificate_sha256: certificate.to_owned(),
        from_time: at("2026-11-20T16:30:00Z"),
        to_time: at("2026-11-20T17:00:00Z"),
        ..GetBreachScopeRequest::default()
    }
}

/// Returns all pages of a report.
async fn report(client: &Client, request: &GetBreachScopeRequest) -> Vec<GetBreachScopeResponse> {
    let (mut pages, mut request) = (Vec::new(), request.clone());
    loop {
        let page = client.call(audit_service::GET_BREACH_SCOPE, &request).await.unwrap().message;
        request.page_token.clone_from(&page.next_page_token);
        pages.push(page);
        if request.page_token.is_empty() {
            return pages;
        }
    }
}

async fn reported_exchanges(client: &Client, request: &GetBreachScopeRequest) -> Vec<ExchangeRecord> {
    report(client, request).await.into_iter().flat_map(|page| page.exchanges).collect()
}

/// Returns what went out by a report, and how many records were sent.
fn gone_out(exchanges: &[ExchangeRecord]) -> (BTreeSet<Record>, usize) {
    let (mut records, mut sent) = (BTreeSet::new(), 0);
    for exchange in exchanges {
        for subject in &exchange.subjects {
            if subject.role() == LeafRole::Submitted {
                sent += 1;
                continue;
            }
            let blocks = subject.blocks().collect();
            let (placement, sender) = (subject.placement_id.clone(), subject.sender.clone());
            records.insert((exchange.exchange_id.clone(), placement, sender, subject.kind(), blocks));
        }
    }
    (records, sent)
}

/// Counts for the operator by an organisation's own report.
fn counted(organisation: &str, exchanges: &[ExchangeRecord]) -> BreachedOrganisation {
    let mut counted =
        BreachedOrganisation { organisation: organisation.to_owned(), ..BreachedOrganisation::default() };
    let mut children = BTreeSet::new();
    for exchange in exchanges {
        let (sent, out): (Vec<_>, Vec<_>) =
            exchange.subjects.iter().partition(|subject| subject.role() == LeafRole::Submitted);
        counted.exchange_count += u32::from(!out.is_empty());
        counted.submitting_exchange_count += u32::from(!sent.is_empty());
        counted.record_count += u32::try_from(out.len()).unwrap();
        children.extend(out.iter().map(|subject| subject.placement_id.clone()));
    }
    counted.child_count = u32::try_from(children.len()).unwrap();
    counted
}

/// Runs the theft between honest exchanges, before, meanwhile and after.
async fn steal(world: &World) -> Thief {
    let (honest, placement) =
        (world.client("provider-a").await, world.placements("la-a", "provider-a").remove(0));
    submit(&honest, &submission(vec![mark(&placement, "2026-11-03", "/")])).await.unwrap();
    let mut thief = Thief::new(world).await;
    let read = GetPlacementRequest { placement_id: placement.clone() };
    thief.client.call(placement_service::GET_PLACEMENT, &read).await.unwrap();
    world.advance("2026-11-20T16:30:00Z");
    thief.collect(deliveries(&honest).await.len()).await;
    honest.call(placement_service::GET_PLACEMENT, &read).await.unwrap();
    thief.read().await;
    submit(&thief.client, &submission(vec![mark(&placement, "2026-11-04", "/")])).await.unwrap();
    let refused = GetPlacementRequest { placement_id: new_id() };
    thief.client.call(placement_service::GET_PLACEMENT, &refused).await.unwrap_err();
    world.advance("2026-11-20T17:00:00Z");
    thief.client.call(placement_service::GET_PLACEMENT, &read).await.unwrap();
    thief
}

/// Checks the report of each controller, and the operator's numbers.
async fn the_report_equals_what_the_thief_kept(world: &World, thief: &Thief) {
    let request = about(&stolen(world));
    let kinds: BTreeSet<RecordKind> = thief.kept.iter().map(|(_, _, _, kind, _)| *kind).collect();
    let expected = [RecordKind::Placement, RecordKind::Plan, RecordKind::Passport, RecordKind::Attendance];
    assert!(expected.iter().all(|kind| kinds.contains(kind)), "{kinds:?}");
    let mut counts = Vec::new();
    for (name, organisation, sent) in
        [("la-a", "la/330", 1), ("provider-a", RIVERSIDE, 1), ("school", "school/134567", 1)]
    {
        let client = world.client(name).await;
        let exchanges = reported_exchanges(&client, &request).await;
        let (found, submitted) = gone_out(&exchanges);
        let kept = thief.of_controller(organisation);
        let difference: Vec<_> = found.symmetric_difference(&kept).collect();
        assert!(difference.is_empty() && !kept.is_empty(), "{organisation}: {difference:#?}");
        assert_eq!(submitted, sent, "{organisation}");
        counts.push(counted(organisation, &exchanges));
        // Small pages join to the same report.
        let paged = GetBreachScopeRequest { page_size: 3, ..request.clone() };
        assert_eq!(reported_exchanges(&client, &paged).await, exchanges, "{organisation}");
        // The system says the same, and another system of the same organisation is none of it.
        let system = exchanges[0].system.clone();
        let of_system = GetBreachScopeRequest {
            certificate_sha256: String::new(),
            organisation: RIVERSIDE.to_owned(),
            system,
            ..request.clone()
        };
        assert_eq!(gone_out(&reported_exchanges(&client, &of_system).await).0, kept, "{organisation}");
        // The list of exchanges names the same records.
        let listed = ListExchangesRequest {
            certificate_sha256: request.certificate_sha256.clone(),
            from_time: request.from_time,
            to_time: request.to_time,
            page_size: 1_000,
            ..ListExchangesRequest::default()
        };
        let listed = client.call(audit_service::LIST_EXCHANGES, &listed).await.unwrap().message.exchanges;
        assert_eq!(gone_out(&listed).0, kept, "{organisation}");
    }
    counts.sort_by(|one, other| one.organisation.cmp(&other.organisation));
    let pages = report(&world.client("operator").await, &request).await;
    assert_eq!(pages.len(), 1);
    assert_eq!(pages[0].breached, counts);
    assert!(pages[0].exchanges.is_empty());
    let names: Vec<&str> = pages[0].organisations.iter().map(|named| &*named.organisation).collect();
    assert_eq!(names, ["la/330", RIVERSIDE, "school/134567"]);
}

/// Returns the bytes of a report without its receipt.
async fn report_bytes(client: &Client, request: &GetBreachScopeRequest) -> Vec<u8> {
    let page = client.call(audit_service::GET_BREACH_SCOPE, request).await.unwrap().message;
    GetBreachScopeResponse { receipt: None, ..page }.encode_to_vec()
}

/// Checks that an organisation that is not concerned gets what it gets of an invented certificate, and what is refused.
async fn others_learn_nothing(world: &World) {
    let (real, invented) = (about(&stolen(world)), about(&"7".repeat(64)));
    for name in ["la-b", "provider-b", "provider-c"] {
        let client = world.client(name).await;
        let bytes = report_bytes(&client, &real).await;
        assert_eq!(bytes, report_bytes(&client, &invented).await, "{name}");
        assert!(bytes.is_empty(), "{name}");
    }
    let violation = async |name: &str, request: GetBreachScopeRequest| {
        let client = world.client(name).await;
        match client.call(audit_service::GET_BREACH_SCOPE, &request).await {
            Err(ClientError::Refused(status)) => explain(&status),
            other => panic!("{:?}", other.map(|reply| reply.message.exchanges.len())),
        }
    };
    for name in ["la-a", "operator"] {
        let nobody = GetBreachScopeRequest { organisation: "provider/nobody".to_owned(), ..real.clone() };
        assert!(violation(name, nobody).await.contains("no organisation is registered"), "{name}");
        let whose = GetBreachScopeRequest { certificate_sha256: String::new(), ..real.clone() };
        assert!(violation(name, whose).await.contains("certificate_sha256"), "{name}");
        let of_nobody = GetBreachScopeRequest { system: "mis".to_owned(), ..real.clone() };
        assert!(violation(name, of_nobody).await.contains("organisation"), "{name}");
        let open = GetBreachScopeRequest { to_time: None, ..real.clone() };
        assert!(violation(name, open).await.contains("to_time"), "{name}");
    }
    assert!(violation("auditor", real).await.contains("may not call"));
    let misspelt = ListExchangesRequest { reason: "NOTFOUND".to_owned(), ..ListExchangesRequest::default() };
    match world.client("la-a").await.call(audit_service::LIST_EXCHANGES, &misspelt).await {
        Err(ClientError::Refused(status)) => assert!(explain(&status).contains("no refusal has this reason")),
        other => panic!("{:?}", other.map(|reply| reply.message.exchanges.len())),
    }
}

/// Checks that a person's exchanges are found by the pseudonym.
async fn a_person_is_a_scope_too(world: &World) {
    let head = person(world, "provider-a", "head", "safeguarding").await;
    let placement = world.placements("la-a", "provider-a").remove(1);
    let request = GetPlacementRequest { placement_id: placement };
    let read = head.call(placement_service::GET_PLACEMENT, &request).await.unwrap().receipt;
    let entry = AuditEntry::decode(&read.entry[..]).unwrap();
    let practitioner =
        entry.practitioner.iter().fold(String::new(), |text, byte| format!("{text}{byte:02x}"));
    let request = GetBreachScopeRequest { practitioner, ..about("") };
    let request = GetBreachScopeRequest { to_time: about("").to_time.map(|to| later(to, 60)), ..request };
    let found = reported_exchanges(&world.client("la-a").await, &request).await;
    let ids: Vec<_> = found.iter().map(|exchange| exchange.exchange_id.clone()).collect();
    assert_eq!(ids, [read.exchange_id]);
    assert_eq!(gone_out(&found).0.len(), 1);
}

fn later(time: prost_types::Timestamp, seconds: i64) -> prost_types::Timestamp {
    prost_types::Timestamp { seconds: time.seconds + seconds, ..time }
}

/// Checks what an operator is shown of another's exchange, also of a certificate that belongs to nobody.
async fn an_operator_is_shown_any_exchange(world: &World, thief: &Thief) {
    let operator = world.client("operator").await;
    let show = async |client: &Client, id: &str| {
        let request = GetExchangeRequest { exchange_id: id.to_owned() };
        client.call(audit_service::GET_EXCHANGE, &request).await.map(|reply| reply.message)
    };
    let shown = show(&operator, &thief.passport_read).await.unwrap();
    let exchange = shown.exchange.unwrap();
    assert_eq!((exchange.organisation.as_str(), exchange.outcome()), (RIVERSIDE, Outcome::Ok));
    assert_eq!(exchange.certificate_sha256, stolen(world));
    let bare = ExchangeRecord {
        counterparts: Vec::new(),
        child_count: 0,
        bases: Vec::new(),
        subjects: Vec::new(),
        purpose: 0,
        practitioner: String::new(),
        ..exchange.clone()
    };
    assert_eq!(exchange, bare);
    assert!(shown.exchange_receipt.is_none(), "its entry would name the person");
    // The organisation sees that it was read.
    let request = ListExchangesRequest {
        counterpart: "operator/gateway".to_owned(),
        method: "GetExchange".to_owned(),
        ..ListExchangesRequest::default()
    };
    let riverside = world.client("provider-a").await;
    let seen = riverside.call(audit_service::LIST_EXCHANGES, &request).await.unwrap().message.exchanges;
    assert_eq!(seen.len(), 1);
    ensure_certificate(world.dir.path(), "nobody", "provider/nobody/mis");
    let refused = Wire::connect(world.dir.path(), "nobody").await;
    let refused = refused.call("/apgateway.v1.PlacementService/ListPlacements", &[]).await;
    assert_eq!(refused.reason(), "CERT_NOT_REGISTERED");
    let exchange = show(&operator, &refused.exchange()).await.unwrap().exchange.unwrap();
    assert_eq!(exchange.reason, "CERT_NOT_REGISTERED");
    assert_eq!(exchange.organisation, "provider/nobody");
    for (name, id) in [("la-a", refused.exchange()), ("operator", new_id())] {
        let client = world.client(name).await;
        let Err(ClientError::Refused(status)) = show(&client, &id).await else { panic!("{name}") };
        assert_eq!(ap_gateway::client::reason(&status), "NOT_FOUND", "{name}");
    }
    let text = command(world, "operator", &["exchange", "show", &refused.exchange()]);
    assert!(text.contains("reason: CERT_NOT_REGISTERED"), "{text}");
    let text =
        command(world, "school", &["audit", "list", "--reason", "NOT_FOUND", "--method", "GetPlacement"]);
    assert_eq!(text.lines().count(), 1, "{text}");
}

fn command(world: &World, name: &str, words: &[&str]) -> String {
    let mut command = gateway();
    command.args(words).arg("--profile").arg(world.dir.path().join(format!("profiles/{name}.toml")));
    run(&mut command)
}

/// Checks the verbs: the report of a controller and of the operator, the list with its filters, and the review.
fn verbs_say_the_same(world: &World, thief: &Thief) {
    let certificate = stolen(world);
    let scope = ["breach", "scope", "--certificate", &certificate, "--from", "2026-11-20T16:30:00Z"];
    let scope = [&scope[..], &["--to", "2026-11-20T17:00:00Z", "--aware", "2026-11-20T18:00:00Z"]].concat();
    let text = command(world, "la-a", &scope);
    for (_, placement, _, _, blocks) in thief.of_controller("la/330") {
        assert!(text.contains(&placement), "{text}");
        let names: Vec<_> =
            blocks.iter().map(|kind| kind.as_str_name().replace("PASSPORT_BLOCK_KIND_", "")).collect();
        assert!(text.contains(&names.join(" ")), "{text}");
    }
    for other in world.placements("school", "provider-a") {
        assert!(!text.contains(&other), "{text}");
    }
    assert!(text.contains("by 2026-11-23T18:00:00Z (UK GDPR Article 33)"), "{text}");
    assert!(text.contains("1 records were sent meanwhile"), "{text}");
    let text = command(world, "operator", &scope);
    assert!(text.contains("la/330") && text.contains("Article 33(2)"), "{text}");
    assert!(thief.commissioners.keys().all(|placement| !text.contains(placement)), "{text}");
    let path = world.dir.path().join("exchanges.csv");
    let words = [
        "audit",
        "list",
        "--certificate",
        &certificate,
        "--kind",
        "passport",
        "--csv",
        path.to_str().unwrap(),
    ];
    command(world, "la-a", &words);
    let text = std::fs::read_to_string(&path).unwrap();
    let mut rows = csv::Reader::from_reader(text.trim_start_matches('\u{feff}').as_bytes());
    let heading = rows.headers().unwrap().clone();
    let at = |name: &str| heading.iter().position(|column| column == name).unwrap();
    let rows: Vec<csv::StringRecord> = rows.records().map(Result::unwrap).collect();
    assert!(!rows.is_empty());
    for row in rows {
        assert_eq!(
            (&row[at("Certificate (SHA-256)")], &row[at("Kinds of record")]),
            (&*certificate, "passport")
        );
        assert!(thief.commissioners.contains_key(&row[at("Placements")]), "{row:?}");
        assert_eq!(&row[at("Reason")], "");
    }
    let text = command(world, "provider-a", &["review", "access", "--month", "2026-11"]);
    let riverside = format!("{RIVERSIDE} ");
    for (what, detail) in [
        ("certificate", certificate.as_str()),
        ("grant", "processor/"),
        ("refusal", "NOT_FOUND"),
        ("first read", riverside.as_str()),
    ] {
        assert!(text.lines().any(|line| line.starts_with(what) && line.contains(detail)), "{what}: {text}");
    }
}

async fn all(world: &World) -> Thief {
    let thief = steal(world).await;
    the_report_equals_what_the_thief_kept(world, &thief).await;
    others_learn_nothing(world).await;
    a_person_is_a_scope_too(world).await;
    an_operator_is_shown_any_exchange(world, &thief).await;
    thief
}

#[tokio::test(flavor = "multi_thread")]
async fn on_sqlite() {
    let world = World::sqlite().await;
    let thief = all(&world).await;
    verbs_say_the_same(&world, &thief);
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn on_postgresql() {
    let world = World::postgres().await;
    all(&world).await;
    world.stop().await;
}

//! "Who saw this passport" has one answer, whichever way it went out: the log lists each exchange with the version and
//! the kinds of blocks whose content was in it, to the passport's own sender and to the recipient only.

use std::path::Path;

use ap_gateway::client::Client;
use ap_gateway::proto::v1::{
    DeliveryKind, ExchangeRecord, GetPassportRequest, LeafRole, ListDeliveriesRequest, ListExchangesRequest,
    ListPassportVersionsRequest, PassportBlockKind as Kind, RecordKind, WatchDeliveriesRequest,
    WatchDeliveriesResponse, WatchPosition, audit_service, delivery_service, passport_service,
};
use prost::Message;

use super::documents::{put_passport, share_passport, withhold};
use super::exchange_semantics::new_id;
use super::support::{World, gateway, run};

/// The kinds of the passport of the tests that a system may read; a safeguarding block is in it too.
const READABLE: [Kind; 4] = [Kind::Emergency, Kind::Medical, Kind::Safety, Kind::Meta];

/// What the log says of one exchange about a passport: caller, method, role, sender, version and kinds of blocks.
type Seen = (String, String, LeafRole, String, u32, Vec<Kind>);

async fn list_seen(client: &Client, placement: &str) -> Vec<Seen> {
    let request = ListExchangesRequest {
        placement_id: placement.to_owned(),
        record_kind: RecordKind::Passport as i32,
        ..ListExchangesRequest::default()
    };
    let found = client.call(audit_service::LIST_EXCHANGES, &request).await.unwrap().message.exchanges;
    // The oldest first.
    found.iter().rev().flat_map(seen_in).collect()
}

fn seen_in(record: &ExchangeRecord) -> Vec<Seen> {
    let method = record.method.rsplit('/').next().unwrap();
    let seen = record.subjects.iter().map(|subject| {
        assert_eq!(subject.kind(), RecordKind::Passport);
        let (sender, blocks) = (subject.sender.clone(), subject.blocks().collect());
        let caller = record.organisation.clone();
        (caller, method.to_owned(), subject.role(), sender, subject.version, blocks)
    });
    seen.collect()
}

fn seen(caller: &str, method: &str, role: LeafRole, version: u32, blocks: &[Kind]) -> Seen {
    (caller.to_owned(), method.to_owned(), role, "la/330".to_owned(), version, blocks.to_vec())
}

async fn get_passport(client: &Client, placement: &str) {
    let request = GetPassportRequest { placement_id: placement.to_owned(), ..GetPassportRequest::default() };
    client.call(passport_service::GET_PASSPORT, &request).await.unwrap();
}

/// Collects all passports in the mailbox by both methods.
async fn collect_passports(client: &Client) {
    let kinds = vec![DeliveryKind::Passport as i32];
    let request = ListDeliveriesRequest { kinds: kinds.clone(), ..ListDeliveriesRequest::default() };
    client.call(delivery_service::LIST_DELIVERIES, &request).await.unwrap();
    let request = WatchDeliveriesRequest { cursor: None, kinds: kinds.clone() };
    let mut stream = client.open_stream(delivery_service::WATCH_DELIVERIES, &request).await.unwrap();
    let position = |message: &WatchDeliveriesResponse| {
        WatchPosition { cursor: message.next.clone(), kinds: kinds.clone() }.encode_to_vec().into()
    };
    for _ in 0..10 {
        let (message, _) = stream.next(position).await.unwrap().unwrap();
        if !message.deliveries.is_empty() {
            return;
        }
    }
    panic!("the stream sends no passport");
}

/// Checks that every way out is listed to the passport's own sender and its auditor, that the recipient finds its own
/// part, and that the school, which has a passport of the same child, finds its own alone.
async fn who_saw_a_passport_is_listed(world: &World) {
    let (la, provider) = (world.client("la-a").await, world.client("provider-a").await);
    let (school, auditor) = (world.client("school").await, world.client("auditor").await);
    let placement = world.placements("la-a", "provider-a").remove(1);
    let first = put_passport(&la, &placement, "").await.unwrap().etag;
    share_passport(&la, &placement, &first).await.unwrap();
    get_passport(&provider, &placement).await;
    collect_passports(&provider).await;
    let request = ListPassportVersionsRequest { placement_id: placement.clone(), ..Default::default() };
    la.call(passport_service::LIST_PASSPORT_VERSIONS, &request).await.unwrap();
    get_passport(&la, &placement).await;
    withhold(&la, &placement, &[Kind::Medical]).await.unwrap();
    get_passport(&provider, &placement).await;
    put_passport(&school, &placement, "").await.unwrap();
    let (to_sender, to_recipient) =
        (list_seen(&la, &placement).await, list_seen(&provider, &placement).await);
    let withheld = [Kind::Emergency, Kind::Safety, Kind::Meta];
    let shared = seen("la/330", "SharePassport", LeafRole::Submitted, 1, &[]);
    let of_recipient = [
        seen("provider/riverside", "GetPassport", LeafRole::Read, 1, &READABLE),
        seen("provider/riverside", "ListDeliveries", LeafRole::Delivered, 1, &READABLE),
        seen("provider/riverside", "WatchDeliveries", LeafRole::Delivered, 1, &READABLE),
        seen("provider/riverside", "GetPassport", LeafRole::Read, 1, &withheld),
    ];
    let of_sender = [
        seen("la/330", "ListPassportVersions", LeafRole::Read, 0, &[]),
        seen("la/330", "GetPassport", LeafRole::Read, 1, &READABLE),
    ];
    // The safeguarding block is named nowhere, because the sender's systems must not learn whether there is one.
    let put = seen("la/330", "PutPassport", LeafRole::Submitted, 1, &READABLE);
    let expected = [&[put, shared.clone()][..], &of_recipient[..3], &of_sender[..], &of_recipient[3..]];
    assert_eq!(to_sender, expected.concat());
    assert_eq!(list_seen(&auditor, &placement).await, to_sender);
    assert_eq!(to_recipient, [&[shared][..], &of_recipient[..]].concat());
    let own = (
        "school/134567".to_owned(),
        "PutPassport".to_owned(),
        LeafRole::Submitted,
        "school/134567".to_owned(),
        1,
        READABLE.to_vec(),
    );
    assert_eq!(list_seen(&school, &placement).await, [own]);
    for stranger in ["la-b", "provider-b"] {
        let client = world.client(stranger).await;
        assert_eq!(list_seen(&client, &placement).await, list_seen(&client, &new_id()).await);
    }
    the_command_shows_it(world.dir.path(), &placement);
}

/// Checks that `audit list` finds the exchanges by `--kind` and shows the records, in the table and in CSV.
fn the_command_shows_it(dir: &Path, placement: &str) {
    let list = |more: &[&str]| {
        let mut list = gateway();
        list.args(["audit", "list", "--placement", placement, "--kind", "passport"]).args(more);
        run(list.arg("--profile").arg(dir.join("profiles/auditor.toml")))
    };
    let table = list(&[]);
    let lines: Vec<&str> = table.lines().collect();
    assert_eq!(lines.len(), 1 + 8, "{table}");
    assert!(lines[0].ends_with("RECORDS"), "{table}");
    assert!(lines[1].ends_with("read passport 1 of la/330 (EMERGENCY SAFETY META)"), "{table}");
    assert!(lines[4].ends_with("collected passport 1 of la/330 (EMERGENCY MEDICAL SAFETY META)"), "{table}");
    assert!(lines[7].ends_with("sent passport 1 of la/330"), "{table}");
    let path = dir.join("passports.csv");
    list(&["--csv", path.to_str().unwrap()]);
    let text = std::fs::read_to_string(path).unwrap();
    let mut rows = csv::Reader::from_reader(text.trim_start_matches('\u{feff}').as_bytes());
    let at = rows.headers().unwrap().iter().position(|name| name == "Records").unwrap();
    let records: Vec<String> = rows.records().map(|row| row.unwrap()[at].to_owned()).collect();
    assert_eq!(records.len(), 8);
    assert_eq!(records[0], "read passport 1 of la/330 (EMERGENCY SAFETY META)");
    assert_eq!(records[3], "collected passport 1 of la/330 (EMERGENCY MEDICAL SAFETY META)");
    let mut misspelt = gateway();
    misspelt.args(["audit", "list", "--kind", "passports", "--profile"]);
    let output = misspelt.arg(dir.join("profiles/auditor.toml")).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&output.stderr).contains("--kind is one of placement, plan, passport"));
}

#[tokio::test(flavor = "multi_thread")]
async fn on_sqlite() {
    let world = World::sqlite().await;
    who_saw_a_passport_is_listed(&world).await;
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn on_postgresql() {
    let world = World::postgres().await;
    who_saw_a_passport_is_listed(&world).await;
    world.stop().await;
}

//! Another's id and an invented one are one answer, for every id of every method.

use ap_gateway::clock::Randomness;
use prost::Message;
use prost_reflect::{DynamicMessage, FieldDescriptor, Kind, ReflectMessage, Value};
use tonic::Code;

use super::super::stage::{Stage, descriptor, row};
use super::super::support::World;
use super::super::wire::{Answer, frame};
use super::{KINDS, methods};

/// What is named by an id: the field, what the stage's own is, and one of that shape that nobody has. A new
/// kind of id belongs here.
const IDS: &[(&str, &str, &str)] = &[
    ("placement_id", "$active", "019a7e52-93c1-4b0f-8d21-6f0e4d3c2b1a"),
    ("agreement_id", "$agreement", "019a7e52-93c1-7b0f-8d21-6f0e4d3c2b1a"),
    ("grant_id", "$grant", "019a7e52-93c1-7b0f-8d21-6f0e4d3c2b1b"),
    ("child_id", "$child", "019a7e52-93c1-4b0f-8d21-6f0e4d3c2b1c"),
    ("exchange_id", "$exchange", "019a7e52-93c1-7b0f-8d21-6f0e4d3c2b1d"),
    ("closure_id", "$closure", "019a7e52-93c1-7b0f-8d21-6f0e4d3c2b1e"),
    ("return_id", "$return", "019a7e52-93c1-7b0f-8d21-6f0e4d3c2b1e"),
    ("object_id", "$return", "019a7e52-93c1-7b0f-8d21-6f0e4d3c2b1e"),
    ("certificate_sha256", "$old", "5d0ab1c1e2f3a4b5c6d7e8f90a1b2c3d4e5f60718293a4b5c6d7e8f90a1b2c3d"),
    ("index", "$mail", "900000000"),
    ("alert_id", "$alert", "019a7e52-93c1-7b0f-8d21-6f0e4d3c2b1f"),
    ("upn", "$upn", "Z303400126001"),
    ("provider_reference", "$reference", "WREN-z"),
    ("organisation", "provider/riverside", "provider/riverbend"),
    ("provider", "provider/riverside", "provider/riverbend"),
    ("counterpart", "provider/riverside", "provider/riverbend"),
    ("commissioner", "la/330", "la/332"),
    ("la_of_residence", "la/330", "la/332"),
    ("schools_on_roll", "school/145678", "school/145679"),
    ("parties", "provider/riverside", "provider/riverbend"),
];

/// Fields that end in `_id` and name nothing of anybody's; and auditors and processors, who are known to all.
const NOT_IDS: &[&str] = &["request_id"];

/// What a stranger is told, where it is not `NOT_FOUND`.
const TOLD: &[(&str, &str)] = &[
    // The child is on this school's roll, so the passport would be its own; it has no agreement for it.
    ("SharePassport.agreement_id by school", "AGREEMENT_NOT_IN_FORCE"),
    // A row whose child is not among the caller's placements, and the batch with it.
    ("SubmitAttendance", "INVALID_REQUEST marks[0]."),
    // It has no agreement under which it could refer anybody to anyone.
    ("ConfirmMarks", "INVALID_REQUEST confirmations[0]."),
    ("CreateReferral", "AGREEMENT_NOT_IN_FORCE"),
    // What filters one's own exchanges or alerts finds nothing of another's.
    ("ListExchanges", "OK"),
    ("ListAlerts", "OK"),
];

/// Filters over one's own by whom one shares it with: naming another tells what one has oneself.
const FILTERS: &[(&str, &str)] = &[
    ("ListPlacements", "provider"),
    ("ListPlacements", "commissioner"),
    ("ListExchanges", "organisation"),
    ("ListExchanges", "counterpart"),
    // Those who share a placement may read them; others are in closures.rs.
    ("GetTermDates", "organisation"),
];

/// The ids that a request has room for, each as the fields that lead to it.
fn places(request: &DynamicMessage) -> Vec<Vec<FieldDescriptor>> {
    let mut found = Vec::new();
    for field in request.descriptor().fields() {
        let name = field.name();
        if IDS.iter().any(|(id, ..)| *id == name) {
            found.push(vec![field.clone()]);
        }
        assert!(
            !name.ends_with("_id") || NOT_IDS.contains(&name) || IDS.iter().any(|(id, ..)| *id == name),
            "{} is an id of a new kind: add what another's is to IDS in tests/it/matrix/ids.rs",
            field.full_name()
        );
        if let (Kind::Message(_), true) = (field.kind(), request.has_field(&field)) {
            let value = request.get_field(&field);
            let inner = match &*value {
                Value::List(list) => list.first().and_then(Value::as_message),
                value => value.as_message(),
            };
            for mut inner in inner.map(places).unwrap_or_default() {
                inner.insert(0, field.clone());
                found.push(inner);
            }
        }
    }
    found
}

/// Sets the field at a place; of a list on the way or at its end, the first element.
fn put(message: &mut DynamicMessage, place: &[FieldDescriptor], id: &str) {
    let (field, rest) = place.split_first().unwrap();
    let value = || match field.kind() {
        Kind::Uint64 => Value::U64(id.parse().unwrap()),
        _ => Value::String(id.to_owned()),
    };
    match (message.get_field_mut(field), rest.is_empty()) {
        (Value::List(list), true) if list.is_empty() => list.push(value()),
        (Value::List(list), true) => list[0] = value(),
        (Value::List(list), false) => put(list[0].as_message_mut().unwrap(), rest, id),
        (single, true) => *single = value(),
        (single, false) => put(single.as_message_mut().unwrap(), rest, id),
    }
}

/// What came back, but for what is each exchange's own.
fn compared(name: &str, answer: &Answer) -> Vec<(String, Vec<u8>)> {
    if answer.status().code() != Code::Ok {
        return answer.masked();
    }
    let mut reply = DynamicMessage::decode(descriptor(name).output(), answer.message.clone()).unwrap();
    reply.clear_field_by_name("receipt");
    vec![(String::new(), reply.encode_to_vec())]
}

/// What a stranger is told of another's thing, and of one that nobody has.
async fn told_of(
    stage: &mut Stage,
    (path, name, stranger): (&str, &str, &str),
    place: &[FieldDescriptor],
) -> [Answer; 2] {
    let (_, own, invented) = IDS.iter().find(|(id, ..)| *id == place.last().unwrap().name()).unwrap();
    let own = own.strip_prefix('$').map_or((*own).to_owned(), |name| stage.names[name].clone());
    let wire = stage.wire(stranger).await;
    let request = |id: &str| {
        let mut request = stage.request(row(name).unwrap(), true);
        put(&mut request, place, id);
        request.encode_to_vec()
    };
    [wire.call(path, &request(&own)).await, wire.call(path, &request(invented)).await]
}

async fn another_s_id_and_an_invented_one_are_one_answer(world: &World) {
    let mut stage = Stage::set(world.dir.path(), Randomness::system()).await;
    stage.play("RegisterOrganisation").await;
    let (mut pairs, mut found) = (0, Vec::new());
    for (path, name, action) in methods() {
        let strangers = KINDS.iter().filter(|(kind, _)| action.kinds().contains(kind));
        for (_, stranger) in strangers.filter(|(_, member)| !["auditor", "operator"].contains(member)) {
            for place in places(&stage.request(row(&name).unwrap(), true)) {
                let id = place.last().unwrap().name();
                if FILTERS.contains(&(&name, id)) {
                    continue;
                }
                let [own, invented] = told_of(&mut stage, (path, &name, stranger), &place).await;
                let exactly = format!("{name}.{id} by {stranger}");
                let told = TOLD.iter().find(|(of, _)| *of == name || *of == exactly);
                let expected = told.map_or("NOT_FOUND", |(_, told)| told);
                let what = format!("{name}, {id}, by {stranger}: {} / {}", own.told(), invented.told());
                let output_only = own.told().ends_with(": the field is set by the gateway only;");
                if !own.told().starts_with(expected) && !output_only {
                    found.push(format!("{what}: expected {expected}, see TOLD in matrix/ids.rs"));
                } else if compared(&name, &own) != compared(&name, &invented) {
                    found.push(format!("{what}: not the same"));
                }
                pairs += 1;
            }
        }
    }
    // A processor that was granted nothing, for one that there is and one that there is not.
    let wire = stage.wire("processor").await;
    let mut for_whom = Vec::new();
    for organisation in ["la/330", "la/332"] {
        let request = frame(&stage.request(row("ListPlacements").unwrap(), true).encode_to_vec());
        let (path, metadata) =
            ("/apgateway.v1.PlacementService/ListPlacements", [("ap-on-behalf-of", organisation)]);
        for_whom.push(wire.send(path, &metadata, request).await.unwrap());
    }
    assert_eq!(for_whom[0].told(), "GRANT_REQUIRED");
    assert_eq!(for_whom[0].masked(), for_whom[1].masked());
    assert!(found.is_empty(), "{found:#?}");
    assert!(pairs > 60, "{pairs}");
}

#[tokio::test(flavor = "multi_thread")]
async fn on_sqlite() {
    let world = World::sqlite().await;
    another_s_id_and_an_invented_one_are_one_answer(&world).await;
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn on_postgresql() {
    let world = World::postgres().await;
    another_s_id_and_an_invented_one_are_one_answer(&world).await;
    world.stop().await;
}

//! Another's id and an invented one get the same response, for every id field of every method.

use std::collections::BTreeSet;

use ap_gateway::clock::Randomness;
use prost::Message;
use prost_reflect::{DynamicMessage, FieldDescriptor, Kind, ReflectMessage, Value};
use tonic::Code;

use super::super::fixtures::{Fixtures, find_example, method_descriptor};
use super::super::support::World;
use super::super::wire::{Answer, frame};
use super::{CALLER_BY_KIND, all_methods};

/// Id fields: the field, the value of an existing object in the fixtures, and an invented value of the same form.
/// Add new kinds of ids here.
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
    ("issuer", "https://la-a.sandbox.ap.example", "https://la-z.sandbox.ap.example"),
    ("practitioner", "$practitioner", "5d0ab1c1e2f3a4b5c6d7e8f90a1b2c3d4e5f60718293a4b5c6d7e8f90a1b2c3d"),
    ("parties", "provider/riverside", "provider/riverbend"),
];

/// Fields that end in `_id` and identify no object. Auditors and processors are not hidden, so their ids are not
/// tested either.
const IGNORED_ID_FIELDS: &[&str] = &["request_id", "key_id"];

/// Expected results for strangers, where they are not `NOT_FOUND`.
const EXPECTED_EXCEPTIONS: &[(&str, &str)] = &[
    // The child is on this school's roll, so the passport would be its own, but it has no agreement for it.
    ("SharePassport.agreement_id by school", "AGREEMENT_NOT_IN_FORCE"),
    // The child is not among the caller's placements, so the row is invalid and the batch is refused.
    ("SubmitAttendance", "INVALID_REQUEST marks[0]."),
    ("ConfirmMarks", "INVALID_REQUEST confirmations[0]."),
    // The school has no agreement for referrals.
    ("CreateReferral", "AGREEMENT_NOT_IN_FORCE"),
    // An issuer is the organisation's own: several may register one of the same name, such as a vendor's.
    ("RegisterIssuer", "OK"),
    // A filter on the caller's own exchanges or alerts finds nothing of another's.
    ("ListExchanges", "OK"),
    ("GetBreachScope", "OK"),
    ("ListAlerts", "OK"),
];

/// Filters on the caller's own data by its counterparty; they reveal only what the caller itself has.
const OWN_DATA_FILTERS: &[(&str, &str)] = &[
    ("ListPlacements", "provider"),
    ("ListPlacements", "commissioner"),
    ("ListExchanges", "organisation"),
    ("ListExchanges", "counterpart"),
    // Who is registered is in the directory; the answer to others is tested in breach.rs.
    ("GetBreachScope", "organisation"),
    // Organisations that share a placement may read them; the refusal to others is tested in closures.rs.
    ("GetTermDates", "organisation"),
    // The refusal to others is tested in register_reads.rs.
    ("ListClosures", "organisation"),
    ("ListAttendance", "provider"),
];

/// Returns the id fields of a request, each as its path of fields.
fn id_field_paths(request: &DynamicMessage) -> Vec<Vec<FieldDescriptor>> {
    let mut found = Vec::new();
    for field in request.descriptor().fields() {
        let name = field.name();
        if IDS.iter().any(|(id, ..)| *id == name) {
            found.push(vec![field.clone()]);
        }
        assert!(
            !name.ends_with("_id")
                || IGNORED_ID_FIELDS.contains(&name)
                || IDS.iter().any(|(id, ..)| *id == name),
            "{} is a new kind of id: add an example to IDS in tests/it/matrix/ids.rs",
            field.full_name()
        );
        if let (Kind::Message(_), true) = (field.kind(), request.has_field(&field)) {
            let value = request.get_field(&field);
            let inner = match &*value {
                Value::List(list) => list.first().and_then(Value::as_message),
                value => value.as_message(),
            };
            for mut inner in inner.map(id_field_paths).unwrap_or_default() {
                inner.insert(0, field.clone());
                found.push(inner);
            }
        }
    }
    found
}

/// Sets the field at a path; in a list, the first element.
fn set_at_path(message: &mut DynamicMessage, place: &[FieldDescriptor], id: &str) {
    let (field, rest) = place.split_first().unwrap();
    let value = || match field.kind() {
        Kind::Uint64 => Value::U64(id.parse().unwrap()),
        _ => Value::String(id.to_owned()),
    };
    match (message.get_field_mut(field), rest.is_empty()) {
        (Value::List(list), true) if list.is_empty() => list.push(value()),
        (Value::List(list), true) => list[0] = value(),
        (Value::List(list), false) => set_at_path(list[0].as_message_mut().unwrap(), rest, id),
        (single, true) => *single = value(),
        (single, false) => set_at_path(single.as_message_mut().unwrap(), rest, id),
    }
}

/// Returns the parts of a response that do not differ between equal calls.
fn comparable_parts(name: &str, answer: &Answer) -> Vec<(String, Vec<u8>)> {
    if answer.status().code() != Code::Ok {
        return answer.masked();
    }
    let mut reply = DynamicMessage::decode(method_descriptor(name).output(), answer.message.clone()).unwrap();
    reply.clear_field_by_name("receipt");
    vec![(String::new(), reply.encode_to_vec())]
}

/// Calls a method as a stranger with another's id and with an invented one.
async fn call_with_both_ids(
    stage: &mut Fixtures,
    (path, name, stranger): (&str, &str, &str),
    place: &[FieldDescriptor],
) -> [Answer; 2] {
    let (_, own, invented) = IDS.iter().find(|(id, ..)| *id == place.last().unwrap().name()).unwrap();
    let own = own.strip_prefix('$').map_or((*own).to_owned(), |name| stage.names[name].clone());
    let wire = stage.connection(stranger).await;
    let request = |id: &str| {
        let mut request = stage.request(find_example(name).unwrap(), true);
        set_at_path(&mut request, place, id);
        request.encode_to_vec()
    };
    [wire.call(path, &request(&own)).await, wire.call(path, &request(invented)).await]
}

async fn another_s_id_and_an_invented_one_are_one_answer(world: &World) {
    let mut stage = Fixtures::create(world.dir.path(), Randomness::system()).await;
    stage.call_ok("RegisterOrganisation").await;
    let (mut met, mut found) = (BTreeSet::new(), Vec::new());
    for (path, name, action) in all_methods() {
        let strangers = CALLER_BY_KIND.iter().filter(|(kind, _)| action.callers.contains(kind));
        for (_, stranger) in strangers.filter(|(_, member)| !["auditor", "operator"].contains(member)) {
            for place in id_field_paths(&stage.request(find_example(&name).unwrap(), true)) {
                let id = place.last().unwrap().name();
                met.insert(id.to_owned());
                if OWN_DATA_FILTERS.contains(&(&name, id)) {
                    continue;
                }
                let [own, invented] = call_with_both_ids(&mut stage, (path, &name, stranger), &place).await;
                let exactly = format!("{name}.{id} by {stranger}");
                let exception =
                    EXPECTED_EXCEPTIONS.iter().find(|(method, _)| *method == name || *method == exactly);
                let expected = exception.map_or("NOT_FOUND", |(_, exception)| exception);
                let what = format!("{name}, {id}, by {stranger}: {} / {}", own.reason(), invented.reason());
                let output_only = own.reason().ends_with(": the field is set by the gateway only;");
                if !own.reason().starts_with(expected) && !output_only {
                    found.push(format!(
                        "{what}: expected {expected}, see EXPECTED_EXCEPTIONS in matrix/ids.rs"
                    ));
                } else if comparable_parts(&name, &own) != comparable_parts(&name, &invented) {
                    found.push(format!("{what}: not the same"));
                }
                met.extend(exception.map(|(excepted, _)| (*excepted).to_owned()));
            }
        }
    }
    // A processor without a grant, for an existing and an invented organisation.
    let wire = stage.connection("processor").await;
    let mut for_whom = Vec::new();
    for organisation in ["la/330", "la/332"] {
        let request = frame(&stage.request(find_example("ListPlacements").unwrap(), true).encode_to_vec());
        let (path, metadata) =
            ("/apgateway.v1.PlacementService/ListPlacements", [("ap-on-behalf-of", organisation)]);
        for_whom.push(wire.send(path, &metadata, request).await.unwrap());
    }
    assert_eq!(for_whom[0].reason(), "GRANT_REQUIRED");
    assert_eq!(for_whom[0].masked(), for_whom[1].masked());
    assert!(found.is_empty(), "{found:#?}");
    let unmet: Vec<_> = IDS.iter().filter(|(id, ..)| !met.contains(*id)).map(|(id, ..)| id).collect();
    assert!(unmet.is_empty(), "{unmet:?} of IDS are no fields of any request");
    let unmet: Vec<_> = EXPECTED_EXCEPTIONS
        .iter()
        .filter(|(excepted, _)| !met.contains(*excepted))
        .map(|(id, _)| id)
        .collect();
    assert!(unmet.is_empty(), "{unmet:?} of EXPECTED_EXCEPTIONS were not met");
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

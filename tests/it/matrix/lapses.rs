//! Rights after an agreement has lapsed or a placement has ended: new sharing stops, statements of fact are still
//! accepted, and former parties are treated as strangers.

use std::collections::BTreeMap;

use ap_gateway::clock::Randomness;
use ap_gateway::codes::organisation::OrganisationKind;
use ap_gateway::proto::v1::{MarkResult, SubmitAttendanceRequest, SubmitMode};
use prost_reflect::{DynamicMessage, Value};

use super::super::exchange_semantics::{mark, submission, submit};
use super::super::fixtures::{Fixtures, find_example, method_descriptor};
use super::super::support::World;
use super::all_methods;

/// Methods that share new data, with their result without an agreement. All other methods must go on, because
/// statements of fact are never refused.
const REFUSED_AFTER_LAPSE: &[(&str, &str)] = &[
    ("CreateReferral", "AGREEMENT_NOT_IN_FORCE"),
    ("SharePassport", "AGREEMENT_NOT_IN_FORCE"),
    // The caller of the example is the provider, for whom a read is new sharing.
    ("GetPassport", "AGREEMENT_NOT_IN_FORCE"),
];

/// Results of mutating methods for an ended placement, as its provider, or as its commissioner if providers may not
/// call the method. Reads are answered `NOT_FOUND`.
const ANSWERS_AFTER_END: &[(&str, &str)] = &[
    ("RespondToReferral", "STATE_INVALID"),
    ("DecidePlacement", "STATE_INVALID"),
    ("PutPlan", "STATE_INVALID"),
    ("StartPlacement", "STATE_INVALID"),
    ("EndPlacement", "STATE_INVALID"),
    // A change of roll before the end may be recorded afterwards.
    ("UpdateParties", "OK"),
    // The sender may still change its own record of the child.
    ("PutPassport", "OK"),
    ("SharePassport", "STATE_INVALID"),
    ("WithholdInformation", "OK"),
    ("SubmitAttendance", "OK"),
    // The example names a plan version that this placement does not have; otherwise it would be accepted.
    ("SubmitProgress", "INVALID_REQUEST progress.plan_etag: the placement's plan has no such version;"),
    ("NotifyExpectedAbsence", "OK"),
];

/// Returns the result of every method for the caller of its example, with `validate_only`.
async fn reasons_by_method(stage: &mut Fixtures) -> BTreeMap<String, String> {
    let mut reasons = BTreeMap::new();
    for (_, name, _) in all_methods() {
        let row = find_example(&name).unwrap();
        let answer = stage.call(row.caller, &name, &stage.request(row, true)).await;
        reasons.insert(name, answer.reason());
    }
    reasons
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lapsed_agreement_stops_new_sharing_and_nothing_else() {
    let world = World::sqlite().await;
    let mut stage = Fixtures::create(world.dir.path(), Randomness::system()).await;
    let before = reasons_by_method(&mut stage).await;
    for (name, reason) in &before {
        assert_eq!(
            reason, "OK",
            "{name}: the example in tests/it/example_requests.rs is not valid for its caller"
        );
    }
    let (spare, agreement) = (stage.names["ending"].clone(), stage.names["agreement"].clone());
    stage.names.insert("ending".to_owned(), agreement);
    stage.call_ok("EndAgreement").await;
    stage.names.insert("ending".to_owned(), spare);
    for (name, reason) in reasons_by_method(&mut stage).await {
        let expected =
            REFUSED_AFTER_LAPSE.iter().find(|(method, _)| *method == name).map_or("OK", |(_, reason)| reason);
        assert_eq!(reason, expected, "{name}: see REFUSED_AFTER_LAPSE in tests/it/matrix/lapses.rs");
    }
    drop(stage);
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_ended_placement_takes_facts_and_shows_its_provider_nothing() {
    let world = World::sqlite().await;
    let mut stage = Fixtures::create(world.dir.path(), Randomness::system()).await;
    let (ended, etag) = (stage.names["ended"].clone(), stage.names["ended.etag"].clone());
    let mut checked = Vec::new();
    for (_, name, action) in all_methods() {
        let row = find_example(&name).unwrap();
        let mut asked = vec![stage.request(row, true)];
        if !replace_placement(&mut asked[0], &ended, &etag) {
            continue;
        }
        let provider = action.callers.contains(&OrganisationKind::Provider);
        let caller = if provider { "provider-a" } else { "la-a" };
        let answer = stage.call(caller, &name, &asked[0]).await;
        let expected = ANSWERS_AFTER_END
            .iter()
            .find(|(method, _)| *method == name)
            .map_or("NOT_FOUND", |(_, reason)| reason);
        assert_eq!(answer.reason(), expected, "{name}: see ANSWERS_AFTER_END in tests/it/matrix/lapses.rs");
        if expected == "NOT_FOUND" {
            asked.push(stage.request(row, true));
            replace_placement(&mut asked[1], "019a7e52-93c1-4b0f-8d21-6f0e4d3c2b1a", &etag);
            assert_eq!(answer.masked(), stage.call(caller, &name, &asked[1]).await.masked(), "{name}");
        }
        checked.push((name, expected));
    }
    for (method, _) in ANSWERS_AFTER_END {
        assert!(checked.iter().any(|(name, _)| name == method), "{method} takes no placement");
    }
    assert!(checked.iter().any(|(_, expected)| *expected == "NOT_FOUND"), "no read was checked");
    let listed = stage
        .call("provider-a", "ListPlacements", &stage.request(find_example("ListPlacements").unwrap(), true))
        .await;
    let listed = String::from_utf8_lossy(&listed.message).into_owned();
    assert!(listed.contains(&stage.names["active"]) && !listed.contains(&ended));
    drop(stage);
    world.stop().await;
}

/// Changes a request to another placement; returns whether it names a placement.
fn replace_placement(request: &mut DynamicMessage, placement: &str, etag: &str) -> bool {
    let text = |value: &str| Value::String(value.to_owned());
    let marks = request.get_field_by_name_mut("marks").and_then(Value::as_list_mut);
    if let Some(mark) = marks.and_then(|marks| marks.first_mut()) {
        mark.as_message_mut().unwrap().set_field_by_name("placement_id", text(placement));
        return true;
    }
    let names = request.get_field_by_name("placement_id").is_some_and(|id| id.as_str() != Some(""));
    if names {
        request.set_field_by_name("placement_id", text(placement));
        if request.get_field_by_name("etag").is_some_and(|sent| sent.as_str() != Some("")) {
            request.set_field_by_name("etag", text(etag));
        }
    }
    names
}

#[tokio::test(flavor = "multi_thread")]
async fn late_returns_are_flagged_and_days_outside_the_placement_are_not_its() {
    let world = World::sqlite().await;
    let mut stage = Fixtures::create(world.dir.path(), Randomness::system()).await;
    let riverside = world.client("provider-a").await;
    let marks = ["2026-09-03", "2026-11-20", "2026-08-31", "2026-11-23"];
    let marks = marks.map(|date| mark(&stage.names["ended"], date, "/"));
    let request =
        SubmitAttendanceRequest { mode: SubmitMode::AcceptValid as i32, ..submission(marks.to_vec()) };
    // More than 60 school days after the first mark.
    world.advance("2026-12-18T16:00:00Z");
    let results = submit(&riverside, &request).await.unwrap().message.results;
    let outcomes = |result: &MarkResult| format!("{}{}", result.flags.join(" "), result.reason);
    let outcomes: Vec<String> = results.iter().map(outcomes).collect();
    assert_eq!(outcomes, ["LATE", "", "PLACEMENT_NOT_ACTIVE", "PLACEMENT_NOT_ACTIVE"]);
    // The agreements last a year; afterwards referrals under them are refused.
    world.advance("2027-09-01T09:00:00Z");
    let row = find_example("CreateReferral").unwrap();
    let answer = stage.call(row.caller, row.method, &stage.request(row, true)).await;
    assert_eq!(answer.reason(), "AGREEMENT_NOT_IN_FORCE");
    drop(stage);
    world.stop().await;
}

/// Checks that a commissioner with an agreement of its own learns nothing about another's children by their ids.
#[tokio::test(flavor = "multi_thread")]
async fn another_commissioner_s_child_is_as_good_as_unknown() {
    let world = World::sqlite().await;
    let mut stage = Fixtures::create(world.dir.path(), Randomness::system()).await;
    let made = ap_gateway::cli::sandbox::world::load(world.dir.path()).unwrap().agreements;
    let own = made.iter().find(|it| (&*it.commissioner, &*it.provider) == ("school", "provider-a")).unwrap();
    let theirs = stage.names["child"].clone();
    let mut asked = async |field: &str, value: &str| {
        let mut request = stage.request(find_example("CreateReferral").unwrap(), true);
        request.set_field_by_name("agreement_id", Value::String(own.agreement_id.clone()));
        request.set_field_by_name("legal_basis", Value::EnumNumber(3));
        let child = request.get_field_by_name_mut("child").unwrap().as_message_mut().unwrap();
        child.clear_field_by_name("upn");
        child.set_field_by_name(field, Value::String(value.to_owned()));
        stage.call("school", "CreateReferral", &request).await
    };
    let answers =
        [asked("child_id", &theirs).await, asked("child_id", "019a7e52-93c1-4b0f-8d21-6f0e4d3c2b1c").await];
    assert_eq!(answers[0].reason(), "NOT_FOUND");
    assert_eq!(answers[0].masked(), answers[1].masked());
    // A UPN that another commissioner uses creates a new child, as an unused one does.
    for upn in [super::super::fixtures::UPN, "Z303400126001"] {
        let answer = asked("upn", upn).await;
        let reply =
            DynamicMessage::decode(method_descriptor("CreateReferral").output(), answer.message.clone())
                .unwrap();
        let child = reply.get_field_by_name("child_id").unwrap().as_str().unwrap().to_owned();
        assert!(answer.reason() == "OK" && child != theirs);
    }
    drop(stage);
    world.stop().await;
}

//! What is left of a right when the agreement has lapsed or the placement has ended: new sharing stops, facts
//! are taken, and whoever has no part any more is told what an outsider is told.

use std::collections::BTreeMap;

use ap_gateway::clock::Randomness;
use ap_gateway::codes::organisation::OrganisationKind;
use ap_gateway::proto::v1::{MarkResult, SubmitAttendanceRequest, SubmitMode};
use prost_reflect::{DynamicMessage, Value};

use super::super::stage::{Stage, descriptor, row};
use super::super::story::{mark, submission, submit};
use super::super::support::World;
use super::methods;

/// Methods that share something new, and what they are told without an agreement. A method that is not here
/// must go on as before: facts are never refused.
const LAPSED: &[(&str, &str)] = &[
    ("CreateReferral", "AGREEMENT_NOT_IN_FORCE"),
    ("SharePassport", "AGREEMENT_NOT_IN_FORCE"),
    // Its row's caller is the provider, to whom reading is sharing.
    ("GetPassport", "AGREEMENT_NOT_IN_FORCE"),
];

/// What the provider of an ended placement, or its commissioner where the method is not a provider's, is
/// told by methods that change something. A read finds nothing, as if the placement were not.
const ENDED: &[(&str, &str)] = &[
    ("RespondToReferral", "STATE_INVALID"),
    ("DecidePlacement", "STATE_INVALID"),
    ("PutPlan", "STATE_INVALID"),
    ("StartPlacement", "STATE_INVALID"),
    ("EndPlacement", "STATE_INVALID"),
    // A change of roll before the end may be recorded after it.
    ("UpdateParties", "OK"),
    // The sender's own record of its child goes on.
    ("PutPassport", "OK"),
    ("SharePassport", "STATE_INVALID"),
    ("WithholdInformation", "OK"),
    ("SubmitAttendance", "OK"),
    // The row tells of a plan that this placement never had; the fact itself would be taken.
    ("SubmitProgress", "INVALID_REQUEST progress.plan_etag: the placement's plan has no such version;"),
    ("NotifyExpectedAbsence", "OK"),
];

/// What each row's caller is told, of every method; nothing is done.
async fn told(stage: &mut Stage) -> BTreeMap<String, String> {
    let mut told = BTreeMap::new();
    for (_, name, _) in methods() {
        let row = row(&name).unwrap();
        let answer = stage.call(row.caller, &name, &stage.request(row, true)).await;
        told.insert(name, answer.told());
    }
    told
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lapsed_agreement_stops_new_sharing_and_nothing_else() {
    let world = World::sqlite().await;
    let mut stage = Stage::set(world.dir.path(), Randomness::system()).await;
    let before = told(&mut stage).await;
    for (name, told) in &before {
        assert_eq!(told, "OK", "{name}: its row in tests/it/rows.rs is not one that its caller may send");
    }
    let (spare, agreement) = (stage.names["ending"].clone(), stage.names["agreement"].clone());
    stage.names.insert("ending".to_owned(), agreement);
    stage.play("EndAgreement").await;
    stage.names.insert("ending".to_owned(), spare);
    for (name, told) in told(&mut stage).await {
        let expected = LAPSED.iter().find(|(method, _)| *method == name).map_or("OK", |(_, told)| told);
        assert_eq!(told, expected, "{name}: see LAPSED in tests/it/matrix/lapses.rs");
    }
    drop(stage);
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_ended_placement_takes_facts_and_shows_its_provider_nothing() {
    let world = World::sqlite().await;
    let mut stage = Stage::set(world.dir.path(), Randomness::system()).await;
    let (ended, etag) = (stage.names["ended"].clone(), stage.names["ended.etag"].clone());
    let mut checked = 0;
    for (_, name, action) in methods() {
        let row = row(&name).unwrap();
        let mut asked = vec![stage.request(row, true)];
        if !names_placement(&mut asked[0], &ended, &etag) {
            continue;
        }
        let provider = action.kinds().contains(&OrganisationKind::Provider);
        let caller = if provider { "provider-a" } else { "la-a" };
        let answer = stage.call(caller, &name, &asked[0]).await;
        let expected = ENDED.iter().find(|(method, _)| *method == name).map_or("NOT_FOUND", |(_, told)| told);
        assert_eq!(answer.told(), expected, "{name}: see ENDED in tests/it/matrix/lapses.rs");
        if expected == "NOT_FOUND" {
            asked.push(stage.request(row, true));
            names_placement(&mut asked[1], "019a7e52-93c1-4b0f-8d21-6f0e4d3c2b1a", &etag);
            assert_eq!(answer.masked(), stage.call(caller, &name, &asked[1]).await.masked(), "{name}");
        }
        checked += 1;
    }
    assert!(checked >= 8, "{checked}");
    let listed = stage
        .call("provider-a", "ListPlacements", &stage.request(row("ListPlacements").unwrap(), true))
        .await;
    let listed = String::from_utf8_lossy(&listed.message).into_owned();
    assert!(listed.contains(&stage.names["active"]) && !listed.contains(&ended));
    drop(stage);
    world.stop().await;
}

/// A row's request about another placement; whether it names one.
fn names_placement(request: &mut DynamicMessage, placement: &str, etag: &str) -> bool {
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
    let mut stage = Stage::set(world.dir.path(), Randomness::system()).await;
    let riverside = world.client("provider-a").await;
    let marks = ["2026-09-03", "2026-11-20", "2026-08-31", "2026-11-23"];
    let marks = marks.map(|date| mark(&stage.names["ended"], date, "/"));
    let request =
        SubmitAttendanceRequest { mode: SubmitMode::AcceptValid as i32, ..submission(marks.to_vec()) };
    // More than sixty school days after the first of them.
    world.advance("2026-12-18T16:00:00Z");
    let results = submit(&riverside, &request).await.unwrap().message.results;
    let told = |result: &MarkResult| format!("{}{}", result.flags.join(" "), result.reason);
    let told: Vec<String> = results.iter().map(told).collect();
    assert_eq!(told, ["LATE", "", "PLACEMENT_NOT_ACTIVE", "PLACEMENT_NOT_ACTIVE"]);
    // The agreements are for a year: after it nobody refers under them.
    world.advance("2027-09-01T09:00:00Z");
    let row = row("CreateReferral").unwrap();
    let answer = stage.call(row.caller, row.method, &stage.request(row, true)).await;
    assert_eq!(answer.told(), "AGREEMENT_NOT_IN_FORCE");
    drop(stage);
    world.stop().await;
}

/// A commissioner that has an agreement of its own learns nothing of another's children by naming them.
#[tokio::test(flavor = "multi_thread")]
async fn another_commissioner_s_child_is_as_good_as_unknown() {
    let world = World::sqlite().await;
    let mut stage = Stage::set(world.dir.path(), Randomness::system()).await;
    let made = ap_gateway::cli::sandbox::world::load(world.dir.path()).unwrap().agreements;
    let own = made.iter().find(|it| (&*it.commissioner, &*it.provider) == ("school", "provider-a")).unwrap();
    let theirs = stage.names["child"].clone();
    let mut asked = async |field: &str, value: &str| {
        let mut request = stage.request(row("CreateReferral").unwrap(), true);
        request.set_field_by_name("agreement_id", Value::String(own.agreement_id.clone()));
        request.set_field_by_name("legal_basis", Value::EnumNumber(3));
        let child = request.get_field_by_name_mut("child").unwrap().as_message_mut().unwrap();
        child.clear_field_by_name("upn");
        child.set_field_by_name(field, Value::String(value.to_owned()));
        stage.call("school", "CreateReferral", &request).await
    };
    let answers =
        [asked("child_id", &theirs).await, asked("child_id", "019a7e52-93c1-4b0f-8d21-6f0e4d3c2b1c").await];
    assert_eq!(answers[0].told(), "NOT_FOUND");
    assert_eq!(answers[0].masked(), answers[1].masked());
    // Another's pupil number is a new child of one's own, as one that nobody has used.
    for upn in [super::super::stage::UPN, "Z303400126001"] {
        let answer = asked("upn", upn).await;
        let reply =
            DynamicMessage::decode(descriptor("CreateReferral").output(), answer.message.clone()).unwrap();
        let child = reply.get_field_by_name("child_id").unwrap().as_str().unwrap().to_owned();
        assert!(answer.told() == "OK" && child != theirs);
    }
    drop(stage);
    world.stop().await;
}

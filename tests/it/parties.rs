//! A child that changes school or home during a placement: each day belongs to the parties of that day.

use ap_gateway::client::Client;
use ap_gateway::clock::Randomness;
use ap_gateway::proto::v1::delivery::Content;
use ap_gateway::proto::v1::respond_to_referral_request::Answer;
use ap_gateway::proto::v1::{
    ConfirmMarksRequest, Confirmation, CreateReferralResponse, DaySession, Declination, DeclineReason,
    DeliveryKind, EndPlacementRequest, EndReason, ExpectedReturn, GetPlacementRequest,
    ListExpectedReturnsRequest, ListPlacementsRequest, Mark, NotifyExpectedAbsenceRequest, Placement,
    PlacementDetail, PlacementState, RespondToReferralRequest, Session, UpdatePartiesRequest,
    UpdatePartiesResponse, placement_service, returns_service,
};
use prost::Message;
use prost_reflect::Value;

use tonic_types::StatusExt;

use super::attendance::{attendance_content, deliveries_of_object as delivered_of};
use super::documents::{deliveries_of_kind, get_placement, refusal_reason};
use super::exchange_semantics::{get_attendance, mark, new_id, refusal_status, submission, submit};
use super::fixtures::{Fixtures, find_example, text_field};
use super::support::World;

const SCHOOL: &str = "school/134567";
const OTHER_SCHOOL: &str = "school/145678";

pub async fn update_parties(
    client: &Client,
    placement_id: &str,
    etag: &str,
    change: (&[&str], &str, &str),
) -> Result<UpdatePartiesResponse, String> {
    let (schools, residence, from) = change;
    let request = UpdatePartiesRequest {
        request_id: new_id(),
        placement_id: placement_id.to_owned(),
        etag: etag.to_owned(),
        schools_on_roll: schools.iter().map(|school| (*school).to_owned()).collect(),
        la_of_residence: residence.to_owned(),
        from_date: from.to_owned(),
        reason: "moved across the border".to_owned(),
        ..UpdatePartiesRequest::default()
    };
    client
        .call(placement_service::UPDATE_PARTIES, &request)
        .await
        .map(|reply| reply.message)
        .map_err(refusal_reason)
}

pub async fn current_etag(client: &Client, placement_id: &str) -> String {
    get_placement(client, placement_id).await.placement.unwrap().etag
}

/// Returns the days whose marks a reader can read.
async fn readable_days(client: &Client, placement_id: &str) -> Vec<String> {
    let read = get_attendance(client, placement_id).await.unwrap();
    read.marks
        .into_iter()
        .map(|history| history.mark.unwrap().date)
        .filter(|day| day.as_str() >= "2026-11-09")
        .collect()
}

/// Returns the days whose marks a return delivered to a recipient.
async fn delivered_days(client: &Client, return_id: &str) -> Vec<String> {
    let mut days = Vec::new();
    for delivery in delivered_of(client, return_id).await {
        for child in &attendance_content(&delivery).children {
            let marks = child.marks.iter().filter_map(|history| history.mark.as_ref());
            days.extend(marks.map(|mark| mark.date.clone()));
        }
    }
    days
}

fn corrected_mark(placement_id: &str, day: &str) -> Mark {
    Mark { correction_reason: "the register was wrong".to_owned(), ..mark(placement_id, day, "I") }
}

pub fn field_violations(refusal: &tonic::Status) -> Vec<String> {
    let details = refusal.get_error_details();
    let violations = details.bad_request().map(|bad| bad.field_violations.clone()).unwrap_or_default();
    violations.into_iter().map(|fault| format!("{} {}", fault.field, fault.reason)).collect()
}

/// Checks that the marks of a day go to the school on roll on that day, whenever they are submitted, corrected or
/// read.
async fn each_day_belongs_to_its_school(world: &World) {
    let (la, riverside) = (world.client("la-a").await, world.client("provider-a").await);
    let (school, other) = (world.client("school").await, world.client("provider-b").await);
    let id_of = world.placements("la-a", "provider-a").remove(0);
    let both = |code| vec![mark(&id_of, "2026-11-13", code), mark(&id_of, "2026-11-16", code)];
    // Marks of both days are submitted before the change, so the roster of the provider is cached.
    submit(&riverside, &submission(both("/"))).await.unwrap();
    let before = current_etag(&la, &id_of).await;
    assert_eq!(
        update_parties(&riverside, &id_of, &before, (&[OTHER_SCHOOL], "la/330", "2026-11-16"))
            .await
            .unwrap_err(),
        "METHOD_NOT_ALLOWED"
    );
    assert_eq!(
        update_parties(&school, &id_of, &before, (&[OTHER_SCHOOL], "la/330", "2026-11-16"))
            .await
            .unwrap_err(),
        "NOT_FOUND"
    );
    assert_eq!(
        update_parties(&la, &id_of, &before, (&[OTHER_SCHOOL], "la/330", "2026-11-21")).await.unwrap_err(),
        "INVALID_REQUEST"
    );
    update_parties(&la, &id_of, &before, (&[OTHER_SCHOOL], "la/330", "2026-11-16")).await.unwrap();
    assert_eq!(
        update_parties(&la, &id_of, &before, (&[OTHER_SCHOOL], "la/330", "2026-11-16")).await.unwrap_err(),
        "REVISION_MISMATCH"
    );
    let again = submission(vec![
        corrected_mark(&id_of, "2026-11-13"),
        corrected_mark(&id_of, "2026-11-16"),
        mark(&id_of, "2026-11-17", "/"),
    ]);
    let return_id = submit(&riverside, &again).await.unwrap().message.return_id;
    assert_eq!(delivered_days(&school, &return_id).await, ["2026-11-13"]);
    assert_eq!(delivered_days(&other, &return_id).await, ["2026-11-16", "2026-11-17"]);
    let only_new = submission(vec![mark(&id_of, "2026-11-18", "/")]);
    let return_id = submit(&riverside, &only_new).await.unwrap().message.return_id;
    assert!(delivered_of(&school, &return_id).await.is_empty());
    assert_eq!(readable_days(&school, &id_of).await, ["2026-11-13"]);
    assert_eq!(readable_days(&other, &id_of).await, ["2026-11-16", "2026-11-17", "2026-11-18"]);
    assert_eq!(readable_days(&la, &id_of).await.len(), 4);
}

/// Checks that a school that leaves can read the marks of its time and gets no further deliveries, and that a
/// school that joins gets the whole placement.
async fn who_leaves_gets_nothing_more_and_who_comes_gets_the_placement(world: &World) {
    let la = world.client("la-a").await;
    let (school, other) = (world.client("school").await, world.client("provider-b").await);
    let id_of = world.placements("la-a", "provider-a").remove(0);
    let brought = deliveries_of_kind(&other, DeliveryKind::Parties, &id_of).await;
    let Some(Content::Placement(content)) = &brought[0].content else { panic!("no placement") };
    let given = content.placement.as_ref().unwrap();
    assert_eq!(given.schools_on_roll, [OTHER_SCHOOL]);
    assert!(given.child.is_some() && given.detail.is_some() && content.plan.is_some());
    assert!(given.party_periods.is_empty());
    assert!(deliveries_of_kind(&school, DeliveryKind::Parties, &id_of).await.is_empty());
    let left = get_placement(&school, &id_of).await;
    let stood = left.placement.unwrap();
    assert_eq!(stood.party_until, "2026-11-15");
    assert_eq!(
        (stood.schools_on_roll.as_slice(), stood.la_of_residence.as_str()),
        (&[SCHOOL.to_owned()][..], "")
    );
    assert!(
        stood.child.is_none() && stood.detail.is_none() && left.plan.is_none() && left.open_items.is_empty()
    );
    assert_eq!(get_placement(&la, &id_of).await.placement.unwrap().party_periods.len(), 3);
    let list = |state: PlacementState| ListPlacementsRequest {
        state: state as i32,
        ..ListPlacementsRequest::default()
    };
    let listed =
        school.call(placement_service::LIST_PLACEMENTS, &list(PlacementState::Active)).await.unwrap();
    let listed = listed.message.placements.into_iter().find(|listed| listed.placement_id == id_of).unwrap();
    assert_eq!(listed, stood);
    // Its earlier deliveries no longer name the child.
    for delivery in deliveries_of_kind(&school, DeliveryKind::Start, &id_of).await {
        let Some(Content::Placement(content)) = delivery.content else { panic!("no placement") };
        assert!(content.placement.unwrap().child.is_none());
    }
}

/// Checks that confirmations and expected returns follow the days on roll too.
async fn registers_and_what_is_due_follow_the_roll(world: &World) {
    let (school, other) = (world.client("school").await, world.client("provider-b").await);
    let id_of = world.placements("la-a", "provider-a").remove(0);
    let confirm = async |client: &Client, day: &str| {
        let confirmation = Confirmation {
            placement_id: id_of.clone(),
            date: day.to_owned(),
            session: Session::Am as i32,
            code: "I".to_owned(),
            ..Confirmation::default()
        };
        let request = ConfirmMarksRequest {
            request_id: new_id(),
            confirmations: vec![confirmation],
            ..Default::default()
        };
        client
            .call(returns_service::CONFIRM_MARKS, &request)
            .await
            .map(|reply| reply.message.stored)
            .map_err(refusal_reason)
    };
    assert_eq!(confirm(&school, "2026-11-13").await, Ok(1));
    assert_eq!(confirm(&school, "2026-11-16").await.unwrap_err(), "INVALID_REQUEST");
    assert_eq!(confirm(&other, "2026-11-16").await, Ok(1));
    assert_eq!(confirm(&other, "2026-11-13").await.unwrap_err(), "INVALID_REQUEST");
    let absent = NotifyExpectedAbsenceRequest {
        request_id: new_id(),
        placement_id: id_of.clone(),
        sessions: vec![DaySession {
            date: "2026-11-16".to_owned(),
            session: Session::Am as i32,
            ..DaySession::default()
        }],
        code: "M".to_owned(),
        ..NotifyExpectedAbsenceRequest::default()
    };
    let refusal = refusal_status(school.call(returns_service::NOTIFY_EXPECTED_ABSENCE, &absent).await);
    assert_eq!(field_violations(&refusal), ["sessions[0].date NOT_PARTY_ON_DAY"]);
    let due = async |client: &Client| {
        let request = ListExpectedReturnsRequest {
            placement_id: id_of.clone(),
            from_date: "2026-11-09".to_owned(),
            to_date: "2026-11-20".to_owned(),
            ..ListExpectedReturnsRequest::default()
        };
        let reply = client.call(returns_service::LIST_EXPECTED_RETURNS, &request).await.unwrap();
        reply.message.returns
    };
    let before = |expected: &ExpectedReturn| expected.date.as_str() < "2026-11-16";
    let (old, new) = (due(&school).await, due(&other).await);
    assert!(!old.is_empty() && old.iter().all(before));
    assert!(!new.is_empty() && !new.iter().any(before));
}

/// Checks that the LA to which a child moves becomes a party from that day on, and the former one stops being a
/// party.
async fn the_la_of_residence_changes(world: &World) {
    let (school, la_a, la_b) =
        (world.client("school").await, world.client("la-a").await, world.client("la-b").await);
    let id_of = world.placements("school", "provider-a").remove(0);
    let get = GetPlacementRequest { placement_id: id_of.clone() };
    let refused = la_a.call(placement_service::GET_PLACEMENT, &get).await.map(|_| ()).unwrap_err();
    assert_eq!(refusal_reason(refused), "NOT_FOUND");
    let newest = current_etag(&school, &id_of).await;
    update_parties(&school, &id_of, &newest, (&[SCHOOL], "la/330", "2026-11-16")).await.unwrap();
    assert!(get_placement(&la_a, &id_of).await.placement.unwrap().child.is_some());
    assert_eq!(get_placement(&la_b, &id_of).await.placement.unwrap().party_until, "2026-11-15");
    // The change was a mistake: a second change from the same day restores the earlier state.
    let newest = current_etag(&school, &id_of).await;
    update_parties(&school, &id_of, &newest, (&[SCHOOL], "la/331", "2026-11-16")).await.unwrap();
    let refused = la_a.call(placement_service::GET_PLACEMENT, &get).await.map(|_| ()).unwrap_err();
    assert_eq!(refusal_reason(refused), "NOT_FOUND");
    assert_eq!(get_placement(&la_b, &id_of).await.placement.unwrap().party_until, "");
}

/// Checks that the LA of residence gets only child, provider, dates and legal basis until the start, also of a
/// declined referral.
async fn the_la_of_residence_gets_the_outline_until_the_start(world: &World) {
    let mut stage = Fixtures::create(world.dir.path(), Randomness::system()).await;
    let la_b = world.client("la-b").await;
    let mut elsewhere = stage.request(find_example("CreateReferral").unwrap(), false);
    elsewhere.set_field_by_name("la_of_residence", Value::String("la/331".to_owned()));
    let mut placed = Vec::new();
    for _ in 0..2 {
        stage.set_request_id(&mut elsewhere);
        elsewhere.set_field_by_name("schools_on_roll", Value::List(vec![Value::String(SCHOOL.to_owned())]));
        let answer = stage.call("la-a", "CreateReferral", &elsewhere).await;
        let made = CreateReferralResponse::decode(answer.message).unwrap();
        placed.push((made.placement_id, made.etag));
    }
    let outline = |placement: &Placement| {
        let detail = placement.detail.clone().unwrap();
        let dates = PlacementDetail { requested_start: detail.requested_start.clone(), ..Default::default() };
        assert_eq!(detail, dates);
        assert_eq!(placement.child.as_ref().unwrap().legal_forename, "Wren");
        assert_eq!((placement.provider.as_str(), placement.legal_basis), ("provider/riverside", 1));
        assert_eq!((placement.reason, placement.schools_on_roll.len()), (0, 0));
        assert!(placement.agreement_id.is_empty() && placement.provider_reference.is_empty());
    };
    // One referral is declined, the other is started.
    let (declined, started) = (placed[0].clone(), placed[1].clone());
    let decline = RespondToReferralRequest {
        request_id: new_id(),
        placement_id: declined.0.clone(),
        etag: declined.1,
        answer: Some(Answer::Decline(Declination {
            reason: DeclineReason::NoPlace as i32,
            note: "no staff".to_owned(),
        })),
        ..RespondToReferralRequest::default()
    };
    let riverside = world.client("provider-a").await;
    riverside.call(placement_service::RESPOND_TO_REFERRAL, &decline).await.unwrap();
    for (placement_id, _) in &placed {
        let read = get_placement(&la_b, placement_id).await;
        outline(read.placement.as_ref().unwrap());
        assert!(read.plan.is_none() && read.open_items.is_empty());
    }
    stage.names.insert("referred".to_owned(), started.0.clone());
    stage.names.insert("referred.etag".to_owned(), started.1.clone());
    stage.names.insert("reference".to_owned(), "WREN-RESIDENCE".to_owned());
    for (method, next) in
        [("RespondToReferral", "accepted"), ("DecidePlacement", "approved"), ("StartPlacement", "active")]
    {
        if method == "StartPlacement" {
            outline(get_placement(&la_b, &started.0).await.placement.as_ref().unwrap());
        }
        let reply = stage.call_ok(method).await;
        stage.names.insert(next.to_owned(), started.0.clone());
        stage.names.insert(format!("{next}.etag"), text_field(&reply, "etag"));
    }
    let whole = get_placement(&la_b, &started.0).await.placement.unwrap();
    assert_eq!(whole.detail.unwrap().safety, "none known");
    // Earlier deliveries stay reduced, so that their digests do not change.
    for (kind, whole) in
        [(DeliveryKind::Referral, false), (DeliveryKind::Decision, false), (DeliveryKind::Start, true)]
    {
        let [delivery] = &deliveries_of_kind(&la_b, kind, &started.0).await[..] else {
            panic!("not one {kind:?}")
        };
        let Some(Content::Placement(content)) = &delivery.content else { panic!("no placement") };
        let sent = content.placement.as_ref().unwrap();
        if whole {
            assert_eq!(sent.detail.as_ref().unwrap().safety, "none known");
        } else {
            outline(sent);
        }
    }
    let school = world.client("school").await;
    let [delivery] = &deliveries_of_kind(&school, DeliveryKind::Referral, &declined.0).await[..] else {
        panic!("not one")
    };
    let Some(Content::Placement(content)) = &delivery.content else { panic!("no placement") };
    assert_eq!(content.placement.as_ref().unwrap().detail.as_ref().unwrap().safety, "none known");
}

/// Checks that a former provider gets no delivery about a later change of parties.
async fn a_former_provider_learns_of_no_change(world: &World) {
    let (la, riverside) = (world.client("la-a").await, world.client("provider-a").await);
    let id_of = world.placements("la-a", "provider-a").pop().unwrap();
    let end = EndPlacementRequest {
        request_id: new_id(),
        placement_id: id_of.clone(),
        etag: current_etag(&la, &id_of).await,
        end_date: "2026-11-19".to_owned(),
        reason: EndReason::Moved as i32,
        ..EndPlacementRequest::default()
    };
    la.call(placement_service::END_PLACEMENT, &end).await.unwrap();
    let ended = current_etag(&la, &id_of).await;
    update_parties(&la, &id_of, &ended, (&[OTHER_SCHOOL], "la/330", "2026-11-16")).await.unwrap();
    assert_eq!(deliveries_of_kind(&riverside, DeliveryKind::Parties, &id_of).await.len(), 0);
    // The provider of an active placement does get one.
    let live = world.placements("la-a", "provider-a").remove(0);
    assert_ne!(deliveries_of_kind(&riverside, DeliveryKind::Parties, &live).await.len(), 0);
}

async fn all(world: World) {
    each_day_belongs_to_its_school(&world).await;
    who_leaves_gets_nothing_more_and_who_comes_gets_the_placement(&world).await;
    registers_and_what_is_due_follow_the_roll(&world).await;
    the_la_of_residence_changes(&world).await;
    the_la_of_residence_gets_the_outline_until_the_start(&world).await;
    a_former_provider_learns_of_no_change(&world).await;
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn on_sqlite() {
    all(World::sqlite().await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn on_postgresql() {
    all(World::postgres().await).await;
}

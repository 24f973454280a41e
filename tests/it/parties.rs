//! A child that changes school or home during a placement: each day belongs to its parties.

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

use super::attendance::{content, delivered as delivered_of};
use super::documents::{delivered, placement, told};
use super::stage::{Stage, row, text};
use super::story::{attendance, id, mark, refused, submission, submit};
use super::support::World;

const SCHOOL: &str = "school/134567";
const OTHER: &str = "school/145678";

pub async fn update(
    client: &Client,
    placement_id: &str,
    etag: &str,
    change: (&[&str], &str, &str),
) -> Result<UpdatePartiesResponse, String> {
    let (schools, residence, from) = change;
    let request = UpdatePartiesRequest {
        request_id: id(),
        placement_id: placement_id.to_owned(),
        etag: etag.to_owned(),
        schools_on_roll: schools.iter().map(|school| (*school).to_owned()).collect(),
        la_of_residence: residence.to_owned(),
        from_date: from.to_owned(),
        reason: "moved across the border".to_owned(),
        ..UpdatePartiesRequest::default()
    };
    client.call(placement_service::UPDATE_PARTIES, &request).await.map(|reply| reply.message).map_err(told)
}

pub async fn etag(client: &Client, placement_id: &str) -> String {
    placement(client, placement_id).await.placement.unwrap().etag
}

/// The days whose marks a reader is given.
async fn days(client: &Client, placement_id: &str) -> Vec<String> {
    let read = attendance(client, placement_id).await.unwrap();
    read.marks
        .into_iter()
        .map(|history| history.mark.unwrap().date)
        .filter(|day| day.as_str() >= "2026-11-09")
        .collect()
}

/// The days that a return brought a recipient.
async fn brought(client: &Client, return_id: &str) -> Vec<String> {
    let mut days = Vec::new();
    for delivery in delivered_of(client, return_id).await {
        for child in &content(&delivery).children {
            let marks = child.marks.iter().filter_map(|history| history.mark.as_ref());
            days.extend(marks.map(|mark| mark.date.clone()));
        }
    }
    days
}

fn corrected(placement_id: &str, day: &str) -> Mark {
    Mark { correction_reason: "the register was wrong".to_owned(), ..mark(placement_id, day, "I") }
}

pub fn violations(refusal: &tonic::Status) -> Vec<String> {
    let details = refusal.get_error_details();
    let violations = details.bad_request().map(|bad| bad.field_violations.clone()).unwrap_or_default();
    violations.into_iter().map(|fault| format!("{} {}", fault.field, fault.reason)).collect()
}

/// A day's marks go to the school on roll that day, whenever they are sent, corrected or read.
async fn each_day_belongs_to_its_school(world: &World) {
    let (la, riverside) = (world.client("la-a").await, world.client("provider-a").await);
    let (school, other) = (world.client("school").await, world.client("provider-b").await);
    let id_of = world.placements("la-a", "provider-a").remove(0);
    let both = |code| vec![mark(&id_of, "2026-11-13", code), mark(&id_of, "2026-11-16", code)];
    // Marks of both days are sent before the change is recorded: the roster of the provider is warm.
    submit(&riverside, &submission(both("/"))).await.unwrap();
    let before = etag(&la, &id_of).await;
    assert_eq!(
        update(&riverside, &id_of, &before, (&[OTHER], "la/330", "2026-11-16")).await.unwrap_err(),
        "METHOD_NOT_ALLOWED"
    );
    assert_eq!(
        update(&school, &id_of, &before, (&[OTHER], "la/330", "2026-11-16")).await.unwrap_err(),
        "NOT_FOUND"
    );
    assert_eq!(
        update(&la, &id_of, &before, (&[OTHER], "la/330", "2026-11-21")).await.unwrap_err(),
        "INVALID_REQUEST"
    );
    update(&la, &id_of, &before, (&[OTHER], "la/330", "2026-11-16")).await.unwrap();
    assert_eq!(
        update(&la, &id_of, &before, (&[OTHER], "la/330", "2026-11-16")).await.unwrap_err(),
        "REVISION_MISMATCH"
    );
    let again = submission(vec![
        corrected(&id_of, "2026-11-13"),
        corrected(&id_of, "2026-11-16"),
        mark(&id_of, "2026-11-17", "/"),
    ]);
    let return_id = submit(&riverside, &again).await.unwrap().message.return_id;
    assert_eq!(brought(&school, &return_id).await, ["2026-11-13"]);
    assert_eq!(brought(&other, &return_id).await, ["2026-11-16", "2026-11-17"]);
    let only_new = submission(vec![mark(&id_of, "2026-11-18", "/")]);
    let return_id = submit(&riverside, &only_new).await.unwrap().message.return_id;
    assert!(delivered_of(&school, &return_id).await.is_empty());
    assert_eq!(days(&school, &id_of).await, ["2026-11-13"]);
    assert_eq!(days(&other, &id_of).await, ["2026-11-16", "2026-11-17", "2026-11-18"]);
    assert_eq!(days(&la, &id_of).await.len(), 4);
}

/// Who leaves reads what stood until then, and is sent nothing more about the placement; who comes is sent it whole.
async fn who_leaves_gets_nothing_more_and_who_comes_gets_the_placement(world: &World) {
    let la = world.client("la-a").await;
    let (school, other) = (world.client("school").await, world.client("provider-b").await);
    let id_of = world.placements("la-a", "provider-a").remove(0);
    let brought = delivered(&other, DeliveryKind::Parties, &id_of).await;
    let Some(Content::Placement(content)) = &brought[0].content else { panic!("no placement") };
    let given = content.placement.as_ref().unwrap();
    assert_eq!(given.schools_on_roll, [OTHER]);
    assert!(given.child.is_some() && given.detail.is_some() && content.plan.is_some());
    assert!(given.party_periods.is_empty());
    assert!(delivered(&school, DeliveryKind::Parties, &id_of).await.is_empty());
    let left = placement(&school, &id_of).await;
    let stood = left.placement.unwrap();
    assert_eq!(stood.party_until, "2026-11-15");
    assert_eq!(
        (stood.schools_on_roll.as_slice(), stood.la_of_residence.as_str()),
        (&[SCHOOL.to_owned()][..], "")
    );
    assert!(
        stood.child.is_none() && stood.detail.is_none() && left.plan.is_none() && left.open_items.is_empty()
    );
    assert_eq!(placement(&la, &id_of).await.placement.unwrap().party_periods.len(), 3);
    let list = |state: PlacementState| ListPlacementsRequest {
        state: state as i32,
        ..ListPlacementsRequest::default()
    };
    let listed =
        school.call(placement_service::LIST_PLACEMENTS, &list(PlacementState::Active)).await.unwrap();
    let listed = listed.message.placements.into_iter().find(|listed| listed.placement_id == id_of).unwrap();
    assert_eq!(listed, stood);
    // Its old deliveries name the child no more.
    for delivery in delivered(&school, DeliveryKind::Start, &id_of).await {
        let Some(Content::Placement(content)) = delivery.content else { panic!("no placement") };
        assert!(content.placement.unwrap().child.is_none());
    }
}

/// What registers hold and what is due follow the days too.
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
        let request =
            ConfirmMarksRequest { request_id: id(), confirmations: vec![confirmation], ..Default::default() };
        client
            .call(returns_service::CONFIRM_MARKS, &request)
            .await
            .map(|reply| reply.message.stored)
            .map_err(told)
    };
    assert_eq!(confirm(&school, "2026-11-13").await, Ok(1));
    assert_eq!(confirm(&school, "2026-11-16").await.unwrap_err(), "INVALID_REQUEST");
    assert_eq!(confirm(&other, "2026-11-16").await, Ok(1));
    assert_eq!(confirm(&other, "2026-11-13").await.unwrap_err(), "INVALID_REQUEST");
    let absent = NotifyExpectedAbsenceRequest {
        request_id: id(),
        placement_id: id_of.clone(),
        sessions: vec![DaySession {
            date: "2026-11-16".to_owned(),
            session: Session::Am as i32,
            ..DaySession::default()
        }],
        code: "M".to_owned(),
        ..NotifyExpectedAbsenceRequest::default()
    };
    let refusal = refused(school.call(returns_service::NOTIFY_EXPECTED_ABSENCE, &absent).await);
    assert_eq!(violations(&refusal), ["sessions[0].date NOT_PARTY_ON_DAY"]);
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

/// The LA to which a child moves is a party from then on, and the one that it left no longer.
async fn the_la_of_residence_changes(world: &World) {
    let (school, la_a, la_b) =
        (world.client("school").await, world.client("la-a").await, world.client("la-b").await);
    let id_of = world.placements("school", "provider-a").remove(0);
    let get = GetPlacementRequest { placement_id: id_of.clone() };
    let refused = la_a.call(placement_service::GET_PLACEMENT, &get).await.map(|_| ()).unwrap_err();
    assert_eq!(told(refused), "NOT_FOUND");
    let newest = etag(&school, &id_of).await;
    update(&school, &id_of, &newest, (&[SCHOOL], "la/330", "2026-11-16")).await.unwrap();
    assert!(placement(&la_a, &id_of).await.placement.unwrap().child.is_some());
    assert_eq!(placement(&la_b, &id_of).await.placement.unwrap().party_until, "2026-11-15");
    // Recorded by mistake: from the same day on all is as it was.
    let newest = etag(&school, &id_of).await;
    update(&school, &id_of, &newest, (&[SCHOOL], "la/331", "2026-11-16")).await.unwrap();
    let refused = la_a.call(placement_service::GET_PLACEMENT, &get).await.map(|_| ()).unwrap_err();
    assert_eq!(told(refused), "NOT_FOUND");
    assert_eq!(placement(&la_b, &id_of).await.placement.unwrap().party_until, "");
}

/// Until the start the LA of residence gets child, provider, dates and legal basis; also of a referral that is declined.
async fn the_la_of_residence_gets_the_outline_until_the_start(world: &World) {
    let mut stage = Stage::set(world.dir.path(), Randomness::system()).await;
    let la_b = world.client("la-b").await;
    let mut elsewhere = stage.request(row("CreateReferral").unwrap(), false);
    elsewhere.set_field_by_name("la_of_residence", Value::String("la/331".to_owned()));
    let mut placed = Vec::new();
    for _ in 0..2 {
        stage.renew(&mut elsewhere);
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
    // One is declined, the other goes on to its start.
    let (declined, started) = (placed[0].clone(), placed[1].clone());
    let decline = RespondToReferralRequest {
        request_id: id(),
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
        let read = placement(&la_b, placement_id).await;
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
            outline(placement(&la_b, &started.0).await.placement.as_ref().unwrap());
        }
        let reply = stage.play(method).await;
        stage.names.insert(next.to_owned(), started.0.clone());
        stage.names.insert(format!("{next}.etag"), text(&reply, "etag"));
    }
    let whole = placement(&la_b, &started.0).await.placement.unwrap();
    assert_eq!(whole.detail.unwrap().safety, "none known");
    // What was written before the start stays what it was, so that its digest does not move.
    for (kind, whole) in
        [(DeliveryKind::Referral, false), (DeliveryKind::Decision, false), (DeliveryKind::Start, true)]
    {
        let [delivery] = &delivered(&la_b, kind, &started.0).await[..] else { panic!("not one {kind:?}") };
        let Some(Content::Placement(content)) = &delivery.content else { panic!("no placement") };
        let sent = content.placement.as_ref().unwrap();
        if whole {
            assert_eq!(sent.detail.as_ref().unwrap().safety, "none known");
        } else {
            outline(sent);
        }
    }
    let school = world.client("school").await;
    let [delivery] = &delivered(&school, DeliveryKind::Referral, &declined.0).await[..] else {
        panic!("not one")
    };
    let Some(Content::Placement(content)) = &delivery.content else { panic!("no placement") };
    assert_eq!(content.placement.as_ref().unwrap().detail.as_ref().unwrap().safety, "none known");
}

/// A provider whose placement has ended is not told of a roll that changes behind it.
async fn a_former_provider_learns_of_no_change(world: &World) {
    let (la, riverside) = (world.client("la-a").await, world.client("provider-a").await);
    let id_of = world.placements("la-a", "provider-a").pop().unwrap();
    let end = EndPlacementRequest {
        request_id: id(),
        placement_id: id_of.clone(),
        etag: etag(&la, &id_of).await,
        end_date: "2026-11-19".to_owned(),
        reason: EndReason::Moved as i32,
        ..EndPlacementRequest::default()
    };
    la.call(placement_service::END_PLACEMENT, &end).await.unwrap();
    let ended = etag(&la, &id_of).await;
    update(&la, &id_of, &ended, (&[OTHER], "la/330", "2026-11-16")).await.unwrap();
    assert_eq!(delivered(&riverside, DeliveryKind::Parties, &id_of).await.len(), 0);
    // A placement that is live tells its provider.
    let live = world.placements("la-a", "provider-a").remove(0);
    assert_ne!(delivered(&riverside, DeliveryKind::Parties, &live).await.len(), 0);
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

//! Children with several placements at one provider, and former providers: to which placement a mark is assigned,
//! and with which record it is compared.

use ap_gateway::cli::sandbox;
use ap_gateway::client::{Client, explain};
use ap_gateway::proto::v1::mark::{Child, Statement};
use ap_gateway::proto::v1::respond_to_referral_request::Answer;
use ap_gateway::proto::v1::{
    Acceptance, ChildIdentity, CreateReferralRequest, EndPlacementRequest, EndReason, LegalBasis,
    ListExpectedReturnsRequest, Mark, MarkOutcome, MarkResult, MissingItem, Officer, PlacementReason,
    PutPlanRequest, RespondToReferralRequest, ReturnState, SeenMark, Session, StartPlacementRequest,
    SubmitMode, TimetableSlot, Weekday, placement_service, returns_service,
};

use super::documents::get_placement;
use super::exchange_semantics::{mark, new_id, refusal_status, submission, submit};
use super::support::{World, gateway, run};

fn officer() -> Officer {
    Officer { name: "Sam Example".to_owned(), role: "AP commissioner".to_owned(), ..Officer::default() }
}

/// Creates a referral of a child by one of the sandbox's organisations to another.
async fn create_referral(
    world: &World,
    commissioner: &str,
    provider: &str,
    child: ChildIdentity,
) -> (String, String) {
    let made = sandbox::world::load(world.dir.path()).unwrap();
    let between = |(from, to): (&str, &str)| from == commissioner && to == provider;
    let mut agreed = made.agreements.iter();
    let agreed = agreed.find(|it| between((&it.commissioner, &it.provider))).unwrap();
    let organisation_of =
        |name: &str| made.organisations.iter().find(|it| it.name == name).unwrap().organisation.clone();
    let by_la = commissioner.starts_with("la");
    let request = CreateReferralRequest {
        request_id: new_id(),
        provider: organisation_of(provider),
        child: Some(child),
        la_of_residence: "la/330".to_owned(),
        schools_on_roll: vec![organisation_of("school")],
        legal_basis: if by_la { LegalBasis::Section19 } else { LegalBasis::AcademyDirection } as i32,
        reason: PlacementReason::BehaviouralSupport as i32,
        agreement_id: agreed.agreement_id.clone(),
        requested_start: "2026-11-02".to_owned(),
        sessions_per_week: 10,
        safety: "none known".to_owned(),
        officer: Some(officer()),
        ..CreateReferralRequest::default()
    };
    let client = world.client(commissioner).await;
    let answer = client.call(placement_service::CREATE_REFERRAL, &request).await.unwrap().message;
    (answer.placement_id, answer.etag)
}

/// Places the child again at Riverside from 2 November, without a plan.
pub async fn place_again(world: &World, commissioner: &str, child: ChildIdentity, reference: &str) -> String {
    place_at(world, (commissioner, "provider-a"), child, reference).await
}

/// Places the child at a provider from 2 November, without a plan.
pub async fn place_at(
    world: &World,
    (commissioner, provider): (&str, &str),
    child: ChildIdentity,
    reference: &str,
) -> String {
    let (teaching, client) = (world.client(provider).await, world.client(commissioner).await);
    let (placement_id, etag) = create_referral(world, commissioner, provider, child).await;
    let accept = RespondToReferralRequest {
        request_id: new_id(),
        placement_id: placement_id.clone(),
        etag,
        answer: Some(Answer::Accept(Acceptance { provider_reference: reference.to_owned() })),
        ..RespondToReferralRequest::default()
    };
    let etag = teaching.call(placement_service::RESPOND_TO_REFERRAL, &accept).await.unwrap().message.etag;
    let missing = [MissingItem::Plan, MissingItem::Decision, MissingItem::SafetyAcknowledgement];
    let start = StartPlacementRequest {
        request_id: new_id(),
        placement_id: placement_id.clone(),
        etag,
        start_date: "2026-11-02".to_owned(),
        missing_items: missing.map(|item| item as i32).to_vec(),
        officer: Some(officer()),
        reason: "the family asked for it".to_owned(),
        ..StartPlacementRequest::default()
    };
    client.call(placement_service::START_PLACEMENT, &start).await.unwrap();
    placement_id
}

/// Stores the plan of another placement with its own timetable: Monday morning, and Monday from 16:30.
async fn put_plan(client: &Client, other: &str, placement_id: &str) {
    let slot = |session: Session, start: &str, end: &str| TimetableSlot {
        weekday: Weekday::Monday as i32,
        session: session as i32,
        start_time: start.to_owned(),
        end_time: end.to_owned(),
        minutes_planned: 90,
        ..TimetableSlot::default()
    };
    let mut plan = get_placement(client, other).await.plan.unwrap();
    plan.timetable = vec![slot(Session::Am, "", ""), slot(Session::Timed, "16:30", "18:00")];
    plan.extra_dates.clear();
    let request = PutPlanRequest {
        request_id: new_id(),
        placement_id: placement_id.to_owned(),
        plan: Some(plan),
        ..PutPlanRequest::default()
    };
    client.call(placement_service::PUT_PLAN, &request).await.unwrap();
}

pub async fn end_placement(client: &Client, placement_id: &str, date: &str) {
    let request = EndPlacementRequest {
        request_id: new_id(),
        placement_id: placement_id.to_owned(),
        etag: get_placement(client, placement_id).await.placement.unwrap().etag,
        end_date: date.to_owned(),
        reason: EndReason::Reintegrated as i32,
        destination: "Northfield School".to_owned(),
        ..EndPlacementRequest::default()
    };
    client.call(placement_service::END_PLACEMENT, &request).await.unwrap();
}

fn mark_by_upn(upn: &str, date: &str, session: Session) -> Mark {
    Mark {
        child: Some(Child::Upn(upn.to_owned())),
        session: session as i32,
        statement: Some(Statement::Seen(SeenMark::Present as i32)),
        ..mark("", date, "")
    }
}

fn timed_mark(upn: &str, date: &str, start: &str, end: &str) -> Mark {
    let (start_time, end_time) = (start.to_owned(), end.to_owned());
    Mark { start_time, end_time, ..mark_by_upn(upn, date, Session::Timed) }
}

/// Submits marks with `ACCEPT_VALID` and returns the results.
async fn submit_valid(client: &Client, marks: Vec<Mark>) -> Vec<MarkResult> {
    let mut request = submission(marks);
    request.mode = SubmitMode::AcceptValid as i32;
    submit(client, &request).await.unwrap().message.results
}

/// Returns the child of a placement in the commissioner's record, for a referral by any organisation.
pub async fn child_identity(client: &Client, placement_id: &str) -> ChildIdentity {
    let child = get_placement(client, placement_id).await.placement.unwrap().child.unwrap();
    ChildIdentity { child_id: String::new(), ..child }
}

fn is_ambiguous(result: &MarkResult, mut between: [&str; 2]) -> bool {
    between.sort_unstable();
    result.outcome() == MarkOutcome::Rejected
        && (result.reason.as_str(), result.field.as_str()) == ("PLACEMENT_AMBIGUOUS", "upn")
        && result.candidate_placement_ids == between
}

/// Checks a child that two commissioners have placed: each placement gets the sessions of its own timetable, and a
/// session that no timetable decides is rejected with both ids. The UPN of the second placement is indexed under
/// another key.
async fn the_timetable_decides(world: World) -> World {
    let made = sandbox::world::load(world.dir.path()).unwrap();
    let of_la =
        |it: &&sandbox::world::WorldPlacement| it.commissioner == "la-a" && it.provider == "provider-a";
    let first = made.placements.iter().find(of_la).unwrap();
    let (reference, upn) = (first.provider_reference.clone(), first.upn.clone());
    let first = first.placement_id.clone();
    run(gateway().args(["rotate-keys", "--config"]).arg(world.dir.path().join("gateway.toml")));
    let world = world.restart().await;
    let (riverside, la) = (world.client("provider-a").await, world.client("la-a").await);
    let school = world.client("school").await;
    let second = place_again(&world, "school", child_identity(&la, &first).await, "RV-TWICE").await;
    let both = [first.as_str(), second.as_str()];
    let unplanned = submit_valid(&riverside, vec![mark_by_upn(&upn, "2026-11-03", Session::Am)]).await;
    assert_eq!(unplanned[0].placement_id, first);
    put_plan(&school, &world.placements("school", "provider-a")[0], &second).await;
    let by_reference = Mark {
        child: Some(Child::ProviderReference("RV-TWICE".to_owned())),
        ..mark_by_upn("", "2026-11-09", Session::Am)
    };
    let sent = vec![
        mark_by_upn(&upn, "2026-11-03", Session::Pm),
        timed_mark(&upn, "2026-11-09", "16:30", "18:00"),
        mark_by_upn(&upn, "2026-10-12", Session::Am),
        by_reference,
        mark_by_upn(&upn, "2026-11-09", Session::Am),
        timed_mark(&upn, "2026-11-09", "19:00", "20:00"),
        mark_by_upn(&upn, "2026-08-31", Session::Am),
    ];
    let answers = submit_valid(&riverside, sent).await;
    let placed: Vec<_> = answers.iter().take(4).map(|result| result.placement_id.as_str()).collect();
    assert_eq!(placed, [&first, &second, &first, &second]);
    assert!(answers[..4].iter().all(|result| result.outcome() == MarkOutcome::Stored), "{answers:?}");
    assert!(is_ambiguous(&answers[4], both) && is_ambiguous(&answers[5], both), "{answers:?}");
    assert_eq!(answers[6].reason, "PLACEMENT_NOT_ACTIVE");
    // A reference beside the UPN decides. Reference and UPN must identify the same child, under whichever keys they
    // are indexed.
    let beside = |reference: &str| Mark {
        check_provider_reference: reference.to_owned(),
        ..mark_by_upn(&upn, "2026-11-16", Session::Am)
    };
    let under_both_keys = |reference: &str| Mark {
        child: Some(Child::ProviderReference(reference.to_owned())),
        check_upn: upn.clone(),
        ..mark_by_upn("", "2026-11-18", Session::Am)
    };
    let sent = ["RV-TWICE", &reference].map(|reference| [beside(reference), under_both_keys(reference)]);
    let answers = submit_valid(&riverside, sent.concat()).await;
    let placed: Vec<_> = answers.iter().map(|result| result.placement_id.as_str()).collect();
    assert_eq!(placed, [&second, &second, &first, &first], "{answers:?}");
    // An atomic submission gets the same error, and can then name the placement.
    let atomic = submission(vec![mark_by_upn(&upn, "2026-11-09", Session::Am)]);
    let words = explain(&refusal_status(submit(&riverside, &atomic).await));
    assert!(words.contains("marks[0].upn") && both.iter().all(|id| words.contains(id)), "{words}");
    let named = submit_valid(&riverside, vec![mark(&first, "2026-11-09", "/")]).await;
    assert_eq!((named[0].outcome(), &named[0].placement_id), (MarkOutcome::Stored, &first));
    let due = ListExpectedReturnsRequest {
        placement_id: first.clone(),
        from_date: "2026-11-03".to_owned(),
        to_date: "2026-11-03".to_owned(),
        ..ListExpectedReturnsRequest::default()
    };
    let due = la.call(returns_service::LIST_EXPECTED_RETURNS, &due).await.unwrap().message.returns;
    assert!(due.iter().all(|one| one.state() == ReturnState::Late), "{due:?}");
    // The last day of an ended placement belongs to both.
    end_placement(&school, &second, "2026-11-16").await;
    let days = ["2026-11-16", "2026-11-17"].map(|day| mark_by_upn(&upn, day, Session::Am));
    let answers = submit_valid(&riverside, days.to_vec()).await;
    assert!(is_ambiguous(&answers[0], both), "{answers:?}");
    assert_eq!(answers[1].placement_id, first);
    world
}

/// Checks that marks of a former provider are compared with the record of its time, so that it learns no later
/// name.
async fn a_former_provider_learns_no_later_name(world: &World) {
    let (riverside, la) = (world.client("provider-a").await, world.client("la-a").await);
    let placements = world.placements("la-a", "provider-a");
    let (over, live) = (&placements[1], &placements[2]);
    let named = async |placement_id: &str, surname: &str| {
        let sent = Mark { surname: surname.to_owned(), ..mark(placement_id, "2026-11-10", "/") };
        let mut request = submission(vec![sent]);
        (request.validate_only, request.mode) = (true, SubmitMode::AcceptValid as i32);
        submit(&riverside, &request).await.unwrap().message.results[0].reason.clone()
    };
    let renamed = async |placement_id: &str, surname: &str| {
        let known = child_identity(&la, placement_id).await;
        let child = ChildIdentity { preferred_surname: surname.to_owned(), ..known };
        create_referral(world, "la-a", "provider-c", child).await;
    };
    renamed(over, "Before").await;
    end_placement(&la, over, "2026-11-16").await;
    let legal = child_identity(&la, over).await.legal_surname;
    renamed(over, "Afterwards").await;
    renamed(live, "Afterwards").await;
    assert_eq!(child_identity(&la, over).await.preferred_surname, "Afterwards");
    assert_eq!(named(over, &legal).await, "");
    assert_eq!(named(over, "Before").await, "");
    assert_eq!(named(over, "Afterwards").await, "IDENTITY_MISMATCH");
    assert_eq!(named(over, "Invented").await, "IDENTITY_MISMATCH");
    assert_eq!(named(live, "Afterwards").await, "");
}

#[tokio::test(flavor = "multi_thread")]
async fn one_child_placed_twice_on_sqlite() {
    let world = Box::pin(the_timetable_decides(World::sqlite().await)).await;
    a_former_provider_learns_no_later_name(&world).await;
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_child_placed_twice_on_postgresql() {
    let world = Box::pin(the_timetable_decides(World::postgres().await)).await;
    a_former_provider_learns_no_later_name(&world).await;
    world.stop().await;
}

//! A child with more than one placement at a provider, and a provider whose placement is over: which placement a mark
//! is about, and what it is compared with.

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

use super::documents::placement;
use super::story::{id, mark, refused, submission, submit};
use super::support::{World, gateway, run};

fn officer() -> Officer {
    Officer { name: "Sam Example".to_owned(), role: "AP commissioner".to_owned() }
}

/// A referral of a child by one of the world's organisations to another.
async fn refer(world: &World, commissioner: &str, provider: &str, child: ChildIdentity) -> (String, String) {
    let made = sandbox::world::load(world.dir.path()).unwrap();
    let between = |(from, to): (&str, &str)| from == commissioner && to == provider;
    let mut agreed = made.agreements.iter();
    let agreed = agreed.find(|it| between((&it.commissioner, &it.provider))).unwrap();
    let of = |name: &str| made.organisations.iter().find(|it| it.name == name).unwrap().organisation.clone();
    let by_la = commissioner.starts_with("la");
    let request = CreateReferralRequest {
        request_id: id(),
        provider: of(provider),
        child: Some(child),
        la_of_residence: "la/330".to_owned(),
        schools_on_roll: vec![of("school")],
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

/// The same child placed once more, from 2 November, without a plan.
async fn placed_again(world: &World, commissioner: &str, child: ChildIdentity, reference: &str) -> String {
    let (riverside, client) = (world.client("provider-a").await, world.client(commissioner).await);
    let (placement_id, etag) = refer(world, commissioner, "provider-a", child).await;
    let accept = RespondToReferralRequest {
        request_id: id(),
        placement_id: placement_id.clone(),
        etag,
        answer: Some(Answer::Accept(Acceptance { provider_reference: reference.to_owned() })),
        ..RespondToReferralRequest::default()
    };
    let etag = riverside.call(placement_service::RESPOND_TO_REFERRAL, &accept).await.unwrap().message.etag;
    let missing = [MissingItem::Plan, MissingItem::Decision, MissingItem::SafetyAcknowledgement];
    let start = StartPlacementRequest {
        request_id: id(),
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

/// Puts the plan of another placement with a timetable of its own: Monday morning, and Monday from 16:30.
async fn plan(client: &Client, other: &str, of: &str) {
    let slot = |session: Session, start: &str, end: &str| TimetableSlot {
        weekday: Weekday::Monday as i32,
        session: session as i32,
        start_time: start.to_owned(),
        end_time: end.to_owned(),
        minutes_planned: 90,
        ..TimetableSlot::default()
    };
    let mut plan = placement(client, other).await.plan.unwrap();
    plan.timetable = vec![slot(Session::Am, "", ""), slot(Session::Timed, "16:30", "18:00")];
    plan.extra_dates.clear();
    let request = PutPlanRequest {
        request_id: id(),
        placement_id: of.to_owned(),
        plan: Some(plan),
        ..PutPlanRequest::default()
    };
    client.call(placement_service::PUT_PLAN, &request).await.unwrap();
}

async fn end(client: &Client, of: &str, date: &str) {
    let request = EndPlacementRequest {
        request_id: id(),
        placement_id: of.to_owned(),
        etag: placement(client, of).await.placement.unwrap().etag,
        end_date: date.to_owned(),
        reason: EndReason::Reintegrated as i32,
        destination: "Northfield School".to_owned(),
        ..EndPlacementRequest::default()
    };
    client.call(placement_service::END_PLACEMENT, &request).await.unwrap();
}

fn by_upn(upn: &str, date: &str, session: Session) -> Mark {
    Mark {
        child: Some(Child::Upn(upn.to_owned())),
        session: session as i32,
        statement: Some(Statement::Seen(SeenMark::Present as i32)),
        ..mark("", date, "")
    }
}

fn timed(upn: &str, date: &str, start: &str, end: &str) -> Mark {
    let (start_time, end_time) = (start.to_owned(), end.to_owned());
    Mark { start_time, end_time, ..by_upn(upn, date, Session::Timed) }
}

/// Takes what is good of a register.
async fn results(client: &Client, marks: Vec<Mark>) -> Vec<MarkResult> {
    let mut request = submission(marks);
    request.mode = SubmitMode::AcceptValid as i32;
    submit(client, &request).await.unwrap().message.results
}

/// The child of a placement as its commissioner knows it, for a referral by anybody.
async fn child(client: &Client, of: &str) -> ChildIdentity {
    let child = placement(client, of).await.placement.unwrap().child.unwrap();
    ChildIdentity { child_id: String::new(), ..child }
}

fn is_ambiguous(result: &MarkResult, mut between: [&str; 2]) -> bool {
    between.sort_unstable();
    result.outcome() == MarkOutcome::Rejected
        && (result.reason.as_str(), result.field.as_str()) == ("PLACEMENT_AMBIGUOUS", "upn")
        && result.candidate_placement_ids == between
}

/// Two commissioners placed one child here: each gets the sessions of its own timetable, and what no timetable
/// decides is refused with both ids. The second placement's UPN is indexed under another key than the first's.
async fn the_timetable_decides(world: World) -> World {
    let made = sandbox::world::load(world.dir.path()).unwrap();
    let of_la = |it: &&sandbox::world::Placed| it.commissioner == "la-a" && it.provider == "provider-a";
    let first = made.placements.iter().find(of_la).unwrap();
    let (reference, upn) = (first.provider_reference.clone(), first.upn.clone());
    let first = first.placement_id.clone();
    run(gateway().args(["rotate-keys", "--config"]).arg(world.dir.path().join("gateway.toml")));
    let world = world.restart().await;
    let (riverside, la) = (world.client("provider-a").await, world.client("la-a").await);
    let school = world.client("school").await;
    let second = placed_again(&world, "school", child(&la, &first).await, "RV-TWICE").await;
    let both = [first.as_str(), second.as_str()];
    let unplanned = results(&riverside, vec![by_upn(&upn, "2026-11-03", Session::Am)]).await;
    assert_eq!(unplanned[0].placement_id, first);
    plan(&school, &world.placements("school", "provider-a")[0], &second).await;
    let by_reference = Mark {
        child: Some(Child::ProviderReference("RV-TWICE".to_owned())),
        ..by_upn("", "2026-11-09", Session::Am)
    };
    let sent = vec![
        by_upn(&upn, "2026-11-03", Session::Pm),
        timed(&upn, "2026-11-09", "16:30", "18:00"),
        by_upn(&upn, "2026-10-12", Session::Am),
        by_reference,
        by_upn(&upn, "2026-11-09", Session::Am),
        timed(&upn, "2026-11-09", "19:00", "20:00"),
        by_upn(&upn, "2026-08-31", Session::Am),
    ];
    let told = results(&riverside, sent).await;
    let placed: Vec<_> = told.iter().take(4).map(|result| result.placement_id.as_str()).collect();
    assert_eq!(placed, [&first, &second, &first, &second]);
    assert!(told[..4].iter().all(|result| result.outcome() == MarkOutcome::Stored), "{told:?}");
    assert!(is_ambiguous(&told[4], both) && is_ambiguous(&told[5], both), "{told:?}");
    assert_eq!(told[6].reason, "PLACEMENT_NOT_ACTIVE");
    // A reference beside the UPN says which; it and the UPN name one child, under whichever keys they are indexed.
    let beside = |reference: &str| Mark {
        check_provider_reference: reference.to_owned(),
        ..by_upn(&upn, "2026-11-16", Session::Am)
    };
    let under_both_keys = |reference: &str| Mark {
        child: Some(Child::ProviderReference(reference.to_owned())),
        check_upn: upn.clone(),
        ..by_upn("", "2026-11-18", Session::Am)
    };
    let sent = ["RV-TWICE", &reference].map(|reference| [beside(reference), under_both_keys(reference)]);
    let told = results(&riverside, sent.concat()).await;
    let placed: Vec<_> = told.iter().map(|result| result.placement_id.as_str()).collect();
    assert_eq!(placed, [&second, &second, &first, &first], "{told:?}");
    // A register of one piece is told the same, and names the placement then.
    let whole = submission(vec![by_upn(&upn, "2026-11-09", Session::Am)]);
    let words = explain(&refused(submit(&riverside, &whole).await));
    assert!(words.contains("marks[0].upn") && both.iter().all(|id| words.contains(id)), "{words}");
    let named = results(&riverside, vec![mark(&first, "2026-11-09", "/")]).await;
    assert_eq!((named[0].outcome(), &named[0].placement_id), (MarkOutcome::Stored, &first));
    let due = ListExpectedReturnsRequest {
        placement_id: first.clone(),
        from_date: "2026-11-03".to_owned(),
        to_date: "2026-11-03".to_owned(),
        ..ListExpectedReturnsRequest::default()
    };
    let due = la.call(returns_service::LIST_EXPECTED_RETURNS, &due).await.unwrap().message.returns;
    assert!(due.iter().all(|one| one.state() == ReturnState::Late), "{due:?}");
    // The last day of one that ended is a day of both.
    end(&school, &second, "2026-11-16").await;
    let days = ["2026-11-16", "2026-11-17"].map(|day| by_upn(&upn, day, Session::Am));
    let told = results(&riverside, days.to_vec()).await;
    assert!(is_ambiguous(&told[0], both), "{told:?}");
    assert_eq!(told[1].placement_id, first);
    world
}

/// A former provider is compared with the record of its time, and learns no later name.
async fn a_former_provider_learns_no_later_name(world: &World) {
    let (riverside, la) = (world.client("provider-a").await, world.client("la-a").await);
    let placements = world.placements("la-a", "provider-a");
    let (over, live) = (&placements[1], &placements[2]);
    let named = async |of: &str, surname: &str| {
        let sent = Mark { surname: surname.to_owned(), ..mark(of, "2026-11-10", "/") };
        let mut request = submission(vec![sent]);
        (request.validate_only, request.mode) = (true, SubmitMode::AcceptValid as i32);
        submit(&riverside, &request).await.unwrap().message.results[0].reason.clone()
    };
    let renamed = async |of: &str, surname: &str| {
        let known = child(&la, of).await;
        let child = ChildIdentity { preferred_surname: surname.to_owned(), ..known };
        refer(world, "la-a", "provider-c", child).await;
    };
    renamed(over, "Before").await;
    end(&la, over, "2026-11-16").await;
    let legal = child(&la, over).await.legal_surname;
    renamed(over, "Afterwards").await;
    renamed(live, "Afterwards").await;
    assert_eq!(child(&la, over).await.preferred_surname, "Afterwards");
    assert_eq!(named(over, &legal).await, "");
    assert_eq!(named(over, "Before").await, "");
    assert_eq!(named(over, "Afterwards").await, "IDENTITY_MISMATCH");
    assert_eq!(named(over, "Invented").await, "IDENTITY_MISMATCH");
    assert_eq!(named(live, "Afterwards").await, "");
}

#[tokio::test(flavor = "multi_thread")]
async fn one_child_placed_twice_on_sqlite() {
    let world = the_timetable_decides(World::sqlite().await).await;
    a_former_provider_learns_no_later_name(&world).await;
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_child_placed_twice_on_postgresql() {
    let world = the_timetable_decides(World::postgres().await).await;
    a_former_provider_learns_no_later_name(&world).await;
    world.stop().await;
}

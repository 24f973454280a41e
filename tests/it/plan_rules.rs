//! Rules about a placement's plan, passport and agreement, on both databases: each raises its alert at its instant, and
//! closes it when the cause is gone.

use ap_gateway::client::Client;
use ap_gateway::clock::Randomness;
use ap_gateway::proto::v1::respond_to_referral_request::Answer;
use ap_gateway::proto::v1::{
    Acceptance, Agreement, AgreementState, Alert, AlertState, Article6, Article9,
    CountersignAgreementRequest, CreateReferralRequest, DataClass, DecidePlacementRequest, DeliveryStage,
    EndAgreementRequest, Officer, Plan, PlanQualification, ProgressReturn, ProposeAgreementRequest, Purpose,
    PutPlanRequest, QualificationProgress, QualificationStatus, RespondToReferralRequest,
    StartPlacementRequest, SubmitProgressRequest, placement_service, register_service, returns_service,
};
use tempfile::TempDir;

use super::documents::{acknowledge, get_placement, put_passport, share_passport};
use super::exchange_semantics::new_id;
use super::fixtures::{Fixtures, find_example};
use super::log_verification::assert_verifies;
use super::placement_rules::{list_alerts, wait_for_alert};
use super::support::World;

/// A sandbox with its objects, and the two parties of the placements.
struct Stage {
    world: World,
    fixtures: Fixtures,
    la: Client,
    riverside: Client,
}

impl Stage {
    async fn create(world: World) -> Self {
        let fixtures = Fixtures::create(world.dir.path(), Randomness::system()).await;
        let (la, riverside) = (world.client("la-a").await, world.client("provider-a").await);
        Self { world, fixtures, la, riverside }
    }

    /// Returns the example request of a method.
    fn example<M: prost::Message + Default>(&self, method: &str) -> M {
        let request = self.fixtures.request(find_example(method).unwrap(), false);
        request.transcode_to::<M>().unwrap()
    }

    /// Refers a child of year 10 and approves the placement; returns its id.
    async fn refer(&self, surname: &str) -> String {
        let mut referral: CreateReferralRequest = self.example("CreateReferral");
        let child = referral.child.as_mut().unwrap();
        surname.clone_into(&mut child.legal_surname);
        (child.upn, child.preferred_surname, child.year_group) = (String::new(), String::new(), 10);
        "2011-12-04".clone_into(&mut child.date_of_birth);
        "la/331".clone_into(&mut referral.la_of_residence);
        referral.request_id = new_id();
        let id =
            self.la.call(placement_service::CREATE_REFERRAL, &referral).await.unwrap().message.placement_id;
        let mut answer: RespondToReferralRequest = self.example("RespondToReferral");
        (answer.request_id, answer.placement_id, answer.etag) = (new_id(), id.clone(), "1".to_owned());
        answer.answer = Some(Answer::Accept(Acceptance { provider_reference: format!("{surname}-1") }));
        self.riverside.call(placement_service::RESPOND_TO_REFERRAL, &answer).await.unwrap();
        let mut decision: DecidePlacementRequest = self.example("DecidePlacement");
        (decision.request_id, decision.placement_id, decision.etag) = (new_id(), id.clone(), "2".to_owned());
        self.la.call(placement_service::DECIDE_PLACEMENT, &decision).await.unwrap();
        id
    }

    /// Starts a placement on Friday 20 November.
    async fn start(&self, placement: &str) {
        let mut start: StartPlacementRequest = self.example("StartPlacement");
        (start.request_id, start.placement_id, start.etag) = (new_id(), placement.to_owned(), "3".to_owned());
        "2026-11-20".clone_into(&mut start.start_date);
        self.la.call(placement_service::START_PLACEMENT, &start).await.unwrap();
    }

    /// Puts a plan of one session a week of 150 minutes, with some changes.
    async fn put_plan(&self, placement: &str, change: impl FnOnce(&mut Plan)) {
        let mut put: PutPlanRequest = self.example("PutPlan");
        let etag = get_placement(&self.la, placement).await.placement.unwrap().plan_etag;
        (put.request_id, put.placement_id, put.etag) = (new_id(), placement.to_owned(), etag);
        let plan = put.plan.as_mut().unwrap();
        "2026-11-20".clone_into(&mut plan.start_date);
        "2027-07-16".clone_into(&mut plan.planned_end_date);
        plan.review_dates = vec!["2027-06-01".to_owned()];
        plan.rest_of_week_minutes = Some(0);
        change(plan);
        self.la.call(placement_service::PUT_PLAN, &put).await.unwrap();
    }

    /// Waits until the alert of a rule is in a state, for both parties.
    async fn wait_for(&self, placement: &str, rule: &str, state: AlertState) -> Alert {
        wait_for_alert(&self.la, placement, rule, state).await
    }

    async fn assert_none(&self, placement: &str, rule: &str) {
        assert_eq!(list_alerts(&self.la, placement, rule).await, [], "{rule}");
    }
}

/// Checks that a passport which replaces an acknowledged one is alerted when its school day ends, and that its
/// acknowledgement closes the alert.
async fn a_replaced_passport(stage: &Stage, (with, without): (&str, &str)) {
    let rule = "START_WITHOUT_PASSPORT";
    stage.world.advance("2026-11-21T00:00:01Z");
    stage.wait_for(without, rule, AlertState::Open).await;
    stage.assert_none(with, rule).await;
    stage.world.advance("2026-11-23T10:00:00Z");
    let etag = put_passport(&stage.la, with, "1").await.unwrap().etag;
    stage.world.advance("2026-11-23T23:59:59Z");
    stage.assert_none(with, rule).await;
    stage.world.advance("2026-11-24T00:00:01Z");
    let raised = stage.wait_for(with, rule, AlertState::Open).await;
    assert_eq!(raised.due_date, "2026-11-23");
    share_passport(&stage.la, with, &etag).await.unwrap();
    acknowledge(&stage.riverside, with, DeliveryStage::ActedOn).await;
    stage.wait_for(with, rule, AlertState::Closed).await;
}

/// Checks that what a plan lacks is due five school days after the start, that a plan which has it closes the alert, and
/// that a plan which lacks it again is due five school days later.
async fn a_plan_that_lacks_its_exit_route(stage: &Stage, placement: &str) {
    let rule = "OPEN_ITEM_OVERDUE";
    let due = async || {
        let items = get_placement(&stage.la, placement).await.open_items;
        items.into_iter().map(|item| (item.item, item.due_date)).collect::<Vec<_>>()
    };
    let lack = |day: &str| vec![("NO_EXIT_ROUTE".to_owned(), day.to_owned())];
    assert_eq!(due().await, lack("2026-11-27"));
    stage.world.advance("2026-11-27T23:59:59Z");
    stage.assert_none(placement, rule).await;
    stage.world.advance("2026-11-28T00:00:01Z");
    let raised = stage.wait_for(placement, rule, AlertState::Open).await;
    assert_eq!((&*raised.item, &*raised.due_date), ("NO_EXIT_ROUTE", "2026-11-27"));
    assert_eq!(list_alerts(&stage.riverside, placement, rule).await, std::slice::from_ref(&raised));
    stage.put_plan(placement, |plan| plan.exit_route.push_str(" or college")).await;
    stage.wait_for(placement, rule, AlertState::Closed).await;
    assert_eq!(due().await, []);
    stage.put_plan(placement, |plan| plan.exit_route.clear()).await;
    stage
        .put_plan(placement, |plan| (plan.exit_route, plan.meals) = (String::new(), "packed".to_owned()))
        .await;
    assert_eq!(due().await, lack("2026-12-04"), "a plan that lacks it still keeps the day");
    stage.world.advance("2026-12-05T00:00:01Z");
    let again = stage.wait_for(placement, rule, AlertState::Open).await;
    assert_eq!((&again.alert_id, again.times_raised), (&raised.alert_id, 2));
    assert_eq!(again.due_date, "2026-12-04");
}

/// Checks that a placement without a qualification is alerted when its 31st day ends, that a plan which names one closes
/// the alert at once, and that a progress return closes it when the day ends.
async fn a_child_without_a_qualification(stage: &Stage, (planned, returned): (&str, &str)) {
    let rule = "NO_QUALIFICATION";
    stage.world.advance("2026-12-20T23:59:59Z");
    stage.assert_none(planned, rule).await;
    stage.world.advance("2026-12-21T00:00:01Z");
    for placement in [planned, returned] {
        let raised = stage.wait_for(placement, rule, AlertState::Open).await;
        assert_eq!((&*raised.due_date, raised.severity), ("2026-12-20", 3));
        assert_eq!(list_alerts(&stage.riverside, placement, rule).await, [raised]);
    }
    let gcse = || PlanQualification { title: "GCSE mathematics".to_owned(), ..PlanQualification::default() };
    stage.put_plan(planned, |plan| plan.qualifications.push(gcse())).await;
    stage.wait_for(planned, rule, AlertState::Closed).await;
    let (qualification, status) = (Some(gcse()), QualificationStatus::Entered as i32);
    let entered = QualificationProgress { qualification, status, ..QualificationProgress::default() };
    let request = SubmitProgressRequest {
        request_id: new_id(),
        placement_id: returned.to_owned(),
        progress: Some(ProgressReturn {
            from_date: "2026-11-20".to_owned(),
            to_date: "2026-12-18".to_owned(),
            qualifications: vec![entered],
            author: Some(Officer { name: "Jo Example".to_owned(), ..Officer::default() }),
            signed_on: "2026-12-18".to_owned(),
            ..ProgressReturn::default()
        }),
        ..SubmitProgressRequest::default()
    };
    stage.riverside.call(returns_service::SUBMIT_PROGRESS, &request).await.unwrap();
    stage.world.advance("2026-12-22T00:00:01Z");
    stage.wait_for(returned, rule, AlertState::Closed).await;
}

/// Checks that low hours are alerted when the 31st school day ends, unless the rest of the week is unsaid, and that more
/// hours close the alert.
async fn a_plan_of_few_hours(stage: &Stage, (low, unsaid): (&str, &str)) {
    let rule = "HOURS_LOW";
    stage.world.advance("2027-01-06T23:59:59Z");
    stage.assert_none(low, rule).await;
    stage.world.advance("2027-01-07T00:00:01Z");
    let raised = stage.wait_for(low, rule, AlertState::Open).await;
    assert_eq!((&*raised.due_date, raised.severity), ("2027-01-06", 3));
    assert_eq!(list_alerts(&stage.riverside, low, rule).await, [], "the provider is not told");
    let residence = stage.world.client("la-b").await;
    assert_eq!(list_alerts(&residence, low, rule).await, [raised]);
    assert_eq!(list_alerts(&residence, low, "NO_QUALIFICATION").await, []);
    stage.assert_none(unsaid, rule).await;
    stage.put_plan(low, |plan| plan.rest_of_week_minutes = Some(1_200)).await;
    stage.wait_for(low, rule, AlertState::Closed).await;
}

/// Makes an agreement in force between the parties of the placements, until a day; returns its id.
async fn agree(stage: &Stage, to_date: &str) -> String {
    let classes = [
        DataClass::Referral,
        DataClass::Attendance,
        DataClass::Plan,
        DataClass::Passport,
        DataClass::Progress,
        DataClass::Restricted,
    ];
    let purposes = [Purpose::EducationProvision, Purpose::Attendance, Purpose::Safeguarding];
    let agreement = Agreement {
        parties: vec!["la/330".to_owned(), "provider/riverside".to_owned()],
        data_classes: classes.map(|class| class as i32).to_vec(),
        purposes: purposes.map(|purpose| purpose as i32).to_vec(),
        article_6: Article6::PublicTask as i32,
        article_9: Article9::SubstantialPublicInterest as i32,
        schedule_1: "6".to_owned(),
        from_date: "2027-01-01".to_owned(),
        to_date: to_date.to_owned(),
        review_by: to_date.to_owned(),
        ..Agreement::default()
    };
    let request = ProposeAgreementRequest {
        request_id: new_id(),
        agreement: Some(agreement),
        ..ProposeAgreementRequest::default()
    };
    let proposed = stage.la.call(register_service::PROPOSE_AGREEMENT, &request).await.unwrap().message;
    let request = CountersignAgreementRequest {
        request_id: new_id(),
        agreement_id: proposed.agreement_id.clone(),
        etag: proposed.etag,
        terms_sha256: proposed.terms_sha256,
        ..CountersignAgreementRequest::default()
    };
    let signed = stage.riverside.call(register_service::COUNTERSIGN_AGREEMENT, &request).await.unwrap();
    assert_eq!(signed.message.state(), AgreementState::InForce);
    proposed.agreement_id
}

/// Checks that the end of an agreement alerts its live placements at once, that another agreement closes the alerts at
/// once, and that they are open again when only twenty school days of it are left.
async fn an_agreement_that_ends(stage: &Stage, placements: [&str; 2]) {
    let rule = "NO_AGREEMENT";
    let agreement_id = stage.fixtures.names["agreement"].clone();
    let end = EndAgreementRequest { request_id: new_id(), agreement_id, ..EndAgreementRequest::default() };
    stage.assert_none(placements[0], rule).await;
    stage.la.call(register_service::END_AGREEMENT, &end).await.unwrap();
    for placement in placements {
        let raised = stage.wait_for(placement, rule, AlertState::Open).await;
        assert_eq!((&*raised.due_date, raised.severity), ("2027-01-06", 3));
        assert_eq!(list_alerts(&stage.riverside, placement, rule).await, [raised]);
    }
    agree(stage, "2027-02-26").await;
    for placement in placements {
        stage.wait_for(placement, rule, AlertState::Closed).await;
    }
    stage.world.advance("2027-01-28T23:59:59Z");
    assert_eq!(list_alerts(&stage.la, placements[0], rule).await[0].state(), AlertState::Closed);
    stage.world.advance("2027-01-29T00:00:01Z");
    for placement in placements {
        let again = stage.wait_for(placement, rule, AlertState::Open).await;
        assert_eq!((&*again.due_date, again.times_raised), ("2027-02-26", 2));
    }
    let agreement_id = agree(stage, "2027-04-30").await;
    for placement in placements {
        stage.wait_for(placement, rule, AlertState::Closed).await;
    }
    // It runs out while a child is referred whose placement has not started.
    let mut referral: CreateReferralRequest = stage.example("CreateReferral");
    let child = referral.child.as_mut().unwrap();
    (child.upn, child.legal_surname) = (String::new(), "Dunlin".to_owned());
    (referral.request_id, referral.agreement_id) = (new_id(), agreement_id);
    let made = stage.la.call(placement_service::CREATE_REFERRAL, &referral).await.unwrap().message;
    stage.assert_none(&made.placement_id, rule).await;
    stage.world.advance("2027-04-12T09:00:00Z");
    let raised = stage.wait_for(&made.placement_id, rule, AlertState::Open).await;
    assert_eq!((&*raised.due_date, raised.times_raised), ("2027-04-30", 1));
}

/// Checks that placements that started before the first day of the rules are not alerted.
async fn older_placements_are_not_alerted(stage: &Stage) {
    for placement in stage.world.placements("la-a", "provider-a") {
        for rule in ["HOURS_LOW", "NO_QUALIFICATION", "NO_AGREEMENT", "LONG_NON_SCHOOL"] {
            stage.assert_none(&placement, rule).await;
        }
    }
}

async fn all(world: World) -> TempDir {
    let stage = Stage::create(world).await;
    let (first, second) = (stage.refer("Bittern").await, stage.refer("Curlew").await);
    stage.put_plan(&first, |plan| plan.exit_route.clear()).await;
    stage.put_plan(&second, |plan| plan.rest_of_week_minutes = None).await;
    let etag = put_passport(&stage.la, &first, "").await.unwrap().etag;
    share_passport(&stage.la, &first, &etag).await.unwrap();
    acknowledge(&stage.riverside, &first, DeliveryStage::ActedOn).await;
    for placement in [&first, &second] {
        stage.start(placement).await;
    }
    let both = (&*first, &*second);
    a_replaced_passport(&stage, both).await;
    a_plan_that_lacks_its_exit_route(&stage, &first).await;
    a_child_without_a_qualification(&stage, both).await;
    a_plan_of_few_hours(&stage, both).await;
    an_agreement_that_ends(&stage, [&first, &second]).await;
    older_placements_are_not_alerted(&stage).await;
    stage.world.stop().await
}

#[tokio::test(flavor = "multi_thread")]
async fn rules_about_plans_hold_on_sqlite() {
    let dir = Box::pin(all(World::sqlite().await)).await;
    assert_verifies(dir.path()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rules_about_plans_hold_on_postgresql() {
    Box::pin(all(World::postgres().await)).await;
}

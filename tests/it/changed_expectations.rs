//! Returns that are missing on past days when what is expected of them changes, on both databases: a closure, parties, an
//! end, or a mark of a day without sessions.

use ap_gateway::client::Client;
use ap_gateway::clock::Randomness;
use ap_gateway::proto::v1::mark::Statement;
use ap_gateway::proto::v1::{
    AlertState, EndPlacementRequest, EndReason, ExpectedReturn, GetOversightReportRequest,
    ListExpectedReturnsRequest, Mark, ReturnState, RuleResult, SeenMark, Session, oversight_service,
    placement_service, returns_service,
};
use tempfile::TempDir;

use super::closures::{closure_request, declare_closure};
use super::exchange_semantics::{mark, new_id, submission, submit};
use super::fixtures::Fixtures;
use super::missing_returns::{AFTERNOON, MORNING, figures, start_placement, wait_for_alert, wait_for_ticks};
use super::parties::{current_etag, update_parties};
use super::support::World;

const NEXT_MORNING: &str = "provider/provider/riverside/2026-11-30T10:00:00Z";
/// The end of Wednesday 25 November, of which the plan names no session.
const EXTRA_DATE: &str = "provider/provider/riverside/2026-11-26T00:00:00Z";

async fn expected_afternoon(client: &Client, placement: &str) -> ExpectedReturn {
    let request = ListExpectedReturnsRequest {
        placement_id: placement.to_owned(),
        from_date: "2026-11-23".to_owned(),
        to_date: "2026-11-23".to_owned(),
        ..ListExpectedReturnsRequest::default()
    };
    let found = client.call(returns_service::LIST_EXPECTED_RETURNS, &request).await.unwrap().message.returns;
    found.into_iter().find(|one| one.session() == Session::Pm).unwrap()
}

/// Checks that a session without a cut-off of the plan is missing in the list when it is alerted: half an hour after its end.
async fn list_and_alert_have_one_cut_off(world: &World, own: &str) {
    let provider = world.client("provider-a").await;
    world.advance("2026-11-23T15:59:59Z");
    let due = expected_afternoon(&provider, own).await;
    assert_eq!((due.state(), due.due_time.unwrap().seconds), (ReturnState::Due, 1_795_449_600));
    world.advance("2026-11-23T16:00:01Z");
    wait_for_alert(&provider, AFTERNOON, (AlertState::Open, 1)).await;
    assert_eq!(expected_afternoon(&provider, own).await.state(), ReturnState::Missing);
}

/// Checks that a report fails only the placements of which a mark is missing.
async fn a_report_fails_who_is_owed_a_mark(world: &World, (own, elsewhere): (&str, &str)) {
    let (provider, la) = (world.client("provider-a").await, world.client("la-a").await);
    let afternoon = Mark { session: Session::Pm as i32, ..mark(elsewhere, "2026-11-23", "\\") };
    submit(&provider, &submission(vec![mark(elsewhere, "2026-11-23", "/"), afternoon])).await.unwrap();
    world.advance("2026-11-23T16:31:00Z");
    wait_for_alert(&la, MORNING, (AlertState::Open, 1)).await;
    let request = GetOversightReportRequest::default();
    let report = la.call(oversight_service::GET_OVERSIGHT_REPORT, &request).await.unwrap().message;
    for (placement, expected) in
        [(own, (RuleResult::Fail, "2026-11-23")), (elsewhere, (RuleResult::Pass, ""))]
    {
        let found = report.placements.iter().find(|one| one.placement_id == placement).unwrap();
        let result = found.results.iter().find(|one| one.rule == "RETURN_MISSING").unwrap();
        assert_eq!((result.result(), &*result.due_date), expected);
    }
}

/// Checks that any mark of a day without sessions closes its alert: of a half-day, and of a time.
async fn any_mark_of_an_extra_date_closes_it(world: &World, (own, elsewhere): (&str, &str)) {
    let (provider, residence) = (world.client("provider-a").await, world.client("la-b").await);
    world.advance("2026-11-26T00:31:00Z");
    for client in [&provider, &residence] {
        wait_for_alert(client, EXTRA_DATE, (AlertState::Open, 1)).await;
    }
    let timed = Mark {
        session: Session::Timed as i32,
        start_time: "17:00".to_owned(),
        end_time: "18:00".to_owned(),
        statement: Some(Statement::Seen(SeenMark::Present as i32)),
        ..mark(elsewhere, "2026-11-25", "")
    };
    submit(&provider, &submission(vec![timed])).await.unwrap();
    world.advance("2026-11-26T00:32:00Z");
    wait_for_alert(&residence, EXTRA_DATE, (AlertState::Closed, 1)).await;
    let open = wait_for_alert(&provider, EXTRA_DATE, (AlertState::Open, 1)).await;
    assert_eq!(open.figures, Some(figures(1, 1)));
    submit(&provider, &submission(vec![mark(own, "2026-11-25", "/")])).await.unwrap();
    wait_for_alert(&provider, EXTRA_DATE, (AlertState::Closed, 1)).await;
}

/// Checks that a closure that is withdrawn opens the alerts of each of its days again, not only of the first and the last.
async fn a_withdrawn_closure_opens_each_day_again(world: &World) {
    let (provider, la) = (world.client("provider-a").await, world.client("la-a").await);
    world.advance("2026-11-30T10:31:00Z");
    wait_for_alert(&la, NEXT_MORNING, (AlertState::Open, 1)).await;
    world.advance("2026-12-07T10:31:00Z");
    let mut closure = closure_request("2026-11-23", "Y4");
    "2026-12-07".clone_into(&mut closure.to_date);
    let declared = declare_closure(&provider, &closure).await.unwrap();
    for client in [&provider, &la] {
        wait_for_alert(client, NEXT_MORNING, (AlertState::Closed, 1)).await;
    }
    world.advance("2026-12-07T10:32:00Z");
    (closure.closure_id, closure.etag, closure.withdrawn) = (declared.closure_id, declared.etag, true);
    closure.request_id = new_id();
    declare_closure(&provider, &closure).await.unwrap();
    world.advance("2026-12-07T10:33:00Z");
    for client in [&provider, &la] {
        wait_for_alert(client, NEXT_MORNING, (AlertState::Open, 2)).await;
    }
}

/// Checks that the LA of residence since a past day is told of what is missing on its days.
async fn a_new_party_is_told_of_its_past_days(world: &World, (own, elsewhere): (&str, &str)) {
    let [provider, la, residence] =
        [world.client("provider-a").await, world.client("la-a").await, world.client("la-b").await];
    wait_for_alert(&residence, NEXT_MORNING, (AlertState::Open, 2)).await;
    submit(&provider, &submission(vec![mark(elsewhere, "2026-11-30", "/")])).await.unwrap();
    wait_for_alert(&residence, NEXT_MORNING, (AlertState::Closed, 2)).await;
    let etag = current_etag(&la, own).await;
    update_parties(&la, own, &etag, (&["school/134567"], "la/331", "2026-11-30")).await.unwrap();
    world.advance("2026-12-07T10:34:00Z");
    let alert = wait_for_alert(&residence, NEXT_MORNING, (AlertState::Open, 3)).await;
    assert_eq!(alert.figures, Some(figures(1, 1)));
}

/// Checks that a provider that ends a placement still owes its marks.
async fn an_end_leaves_what_is_owed(world: &World, own: &str) {
    let (provider, la) = (world.client("provider-a").await, world.client("la-a").await);
    let end = EndPlacementRequest {
        request_id: new_id(),
        placement_id: own.to_owned(),
        etag: current_etag(&la, own).await,
        end_date: "2026-12-07".to_owned(),
        reason: EndReason::Moved as i32,
        ..EndPlacementRequest::default()
    };
    provider.call(placement_service::END_PLACEMENT, &end).await.unwrap();
    world.advance("2026-12-07T10:35:00Z");
    wait_for_ticks().await;
    for client in [&provider, &la] {
        let alert = wait_for_alert(client, NEXT_MORNING, (AlertState::Open, 2)).await;
        assert_eq!(alert.figures, Some(figures(1, 1)));
    }
    submit(&provider, &submission(vec![mark(own, "2026-11-30", "/")])).await.unwrap();
    wait_for_alert(&provider, NEXT_MORNING, (AlertState::Closed, 2)).await;
}

async fn all(world: World) -> TempDir {
    let la = world.client("la-a").await;
    let mut stage = Fixtures::create(world.dir.path(), Randomness::system()).await;
    let own = start_placement(&mut stage, &la, "la/330").await;
    let elsewhere = start_placement(&mut stage, &la, "la/331").await;
    drop((stage, la));
    let both = (&*own, &*elsewhere);
    list_and_alert_have_one_cut_off(&world, &own).await;
    a_report_fails_who_is_owed_a_mark(&world, both).await;
    any_mark_of_an_extra_date_closes_it(&world, both).await;
    a_withdrawn_closure_opens_each_day_again(&world).await;
    a_new_party_is_told_of_its_past_days(&world, both).await;
    an_end_leaves_what_is_owed(&world, &own).await;
    world.stop().await
}

#[tokio::test(flavor = "multi_thread")]
async fn past_days_are_evaluated_again_on_sqlite() {
    Box::pin(all(World::sqlite().await)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn past_days_are_evaluated_again_on_postgresql() {
    Box::pin(all(World::postgres().await)).await;
}

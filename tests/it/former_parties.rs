//! What a former party could infer from page tokens, filters and the order of refusals.

use ap_gateway::client::Client;
use ap_gateway::proto::v1::{
    DaySession, DeliveryKind, EndPlacementRequest, GetPassportRequest, GetProgressRequest, ListAlertsRequest,
    ListExchangesRequest, NotifyExpectedAbsenceRequest, Session, audit_service, oversight_service,
    passport_service, placement_service, returns_service,
};

use super::documents::{deliveries_of_kind, progress_request, put_passport, refusal_reason, share_passport};
use super::exchange_semantics::{mark, new_id, refusal_status, submission, submit};
use super::parties::{current_etag, field_violations, update_parties};
use super::support::World;

const OTHER_SCHOOL: &str = "school/145678";

/// Returns the subjects of the progress returns that a reader gets page by page, and the number of pages.
async fn progress_subjects(client: &Client, placement_id: &str, with_earlier: bool) -> (Vec<String>, usize) {
    let (mut subjects, mut page_token) = (Vec::new(), String::new());
    for pages in 1..10 {
        let request = GetProgressRequest {
            placement_id: placement_id.to_owned(),
            with_earlier,
            page_size: 1,
            page_token,
        };
        let reply = client.call(returns_service::GET_PROGRESS, &request).await.unwrap().message;
        let records = reply.records.iter().filter_map(|record| record.progress.as_ref());
        subjects.extend(records.map(|progress| progress.academic[0].subject.clone()));
        if reply.next_page_token.is_empty() {
            return (subjects, pages);
        }
        page_token = reply.next_page_token;
    }
    panic!("the pages do not end");
}

/// Checks that a page ends at its size and not at a row that its reader may not see, and that a next page is
/// announced only if it has rows. Nothing is lost, and a former school learns nothing of later returns.
async fn pages_of_progress_lose_nothing_and_tell_nothing(world: &World) {
    let (la, riverside) = (world.client("la-a").await, world.client("provider-a").await);
    let (school, other) = (world.client("school").await, world.client("provider-b").await);
    let id_of = world.placements("la-a", "provider-a").remove(1);
    let send = async |subject: &str, (from, to): (&str, &str), reason: &str| {
        let mut request = progress_request(&id_of, subject, 0, reason);
        let progress = request.progress.as_mut().unwrap();
        (progress.from_date, progress.to_date) = (from.to_owned(), to.to_owned());
        "2026-11-20".clone_into(&mut progress.signed_on);
        progress.outcomes.clear();
        riverside.call(returns_service::SUBMIT_PROGRESS, &request).await.unwrap();
    };
    let (autumn, later, last) =
        (("2026-09-01", "2026-10-23"), ("2026-11-02", "2026-11-13"), ("2026-11-16", "2026-11-20"));
    send("Art", autumn, "").await;
    send("English", autumn, "wrong subject").await;
    send("Maths", later, "").await;
    send("Music", last, "").await;
    let texts = |subjects: &[&str]| subjects.iter().map(|subject| (*subject).to_owned()).collect::<Vec<_>>();
    assert_eq!(progress_subjects(&la, &id_of, false).await, (texts(&["English", "Maths", "Music"]), 3));
    assert_eq!(progress_subjects(&la, &id_of, true).await, (texts(&["Art", "English", "Maths", "Music"]), 4));
    let before = current_etag(&la, &id_of).await;
    update_parties(&la, &id_of, &before, (&[OTHER_SCHOOL], "la/330", "2026-11-16")).await.unwrap();
    assert_eq!(progress_subjects(&school, &id_of, false).await, (texts(&["English", "Maths"]), 2));
    assert_eq!(progress_subjects(&other, &id_of, false).await, (texts(&["Music"]), 1));
}

/// Checks that a former school that filters by placement finds no later return, even if other children of the
/// return still are its own.
async fn a_filter_by_placement_tells_nothing_of_later_returns(world: &World) {
    let (la, riverside) = (world.client("la-a").await, world.client("provider-a").await);
    let school = world.client("school").await;
    let placements = world.placements("la-a", "provider-a");
    let both = |day| submission(vec![mark(&placements[0], day, "/"), mark(&placements[2], day, "/")]);
    let found = async |client: &Client, placement: &str| {
        let request = ListExchangesRequest {
            placement_id: placement.to_owned(),
            method: "SubmitAttendance".to_owned(),
            ..ListExchangesRequest::default()
        };
        let reply = client.call(audit_service::LIST_EXCHANGES, &request).await.unwrap().message;
        reply.exchanges.len()
    };
    let (started, others) = (found(&school, &placements[0]).await, found(&school, &placements[2]).await);
    submit(&riverside, &both("2026-11-13")).await.unwrap();
    let before = current_etag(&la, &placements[0]).await;
    update_parties(&la, &placements[0], &before, (&[OTHER_SCHOOL], "la/330", "2026-11-16")).await.unwrap();
    submit(&riverside, &both("2026-11-17")).await.unwrap();
    assert_eq!(found(&school, &placements[2]).await, others + 2);
    assert_eq!(found(&school, &placements[0]).await, started + 1, "a return after its time is found");
    for reader in [&la, &riverside] {
        assert!(found(reader, &placements[0]).await >= started + 2);
    }
    let other = world.client("provider-b").await;
    assert_eq!(found(&other, &placements[0]).await, 1);
}

/// Checks that an absence notice for a later day is refused alike, whatever the state of the placement.
async fn a_refusal_does_not_tell_when_the_placement_ended(world: &World) {
    let (la, school) = (world.client("la-a").await, world.client("school").await);
    let id_of = world.placements("la-a", "provider-a").remove(0);
    let end = EndPlacementRequest {
        request_id: new_id(),
        placement_id: id_of.clone(),
        etag: current_etag(&la, &id_of).await,
        end_date: "2026-11-18".to_owned(),
        ..EndPlacementRequest::default()
    };
    la.call(placement_service::END_PLACEMENT, &end).await.unwrap();
    for date in ["2026-11-17", "2026-11-20"] {
        let session =
            DaySession { date: date.to_owned(), session: Session::Am as i32, ..DaySession::default() };
        let request = NotifyExpectedAbsenceRequest {
            request_id: new_id(),
            placement_id: id_of.clone(),
            sessions: vec![session],
            code: "M".to_owned(),
            ..NotifyExpectedAbsenceRequest::default()
        };
        let refusal = refusal_status(school.call(returns_service::NOTIFY_EXPECTED_ABSENCE, &request).await);
        assert_eq!(field_violations(&refusal), ["sessions[0].date NOT_PARTY_ON_DAY"], "{date}");
    }
}

/// Checks that the provider can no longer read the passport of a school that has left, because that school can no
/// longer withhold it. This holds for reads and deliveries.
async fn a_passport_leaves_with_its_school(world: &World) {
    let (commissioner, riverside) = (world.client("la-a").await, world.client("provider-a").await);
    let school = world.client("school").await;
    let id_of = world.placements("la-a", "provider-a").remove(2);
    put_passport(&school, &id_of, "").await.unwrap();
    let agreed = ap_gateway::cli::sandbox::world::load(world.dir.path()).unwrap();
    let mut agreed = agreed.agreements.into_iter();
    let agreed = agreed.find(|it| (&*it.commissioner, &*it.provider) == ("school", "provider-a")).unwrap();
    let request = ap_gateway::proto::v1::SharePassportRequest {
        request_id: new_id(),
        placement_id: id_of.clone(),
        etag: "1".to_owned(),
        agreement_id: agreed.agreement_id,
        ..Default::default()
    };
    school.call(passport_service::SHARE_PASSPORT, &request).await.unwrap();
    let get = GetPassportRequest {
        placement_id: id_of.clone(),
        sender: "school/134567".to_owned(),
        ..GetPassportRequest::default()
    };
    riverside.call(passport_service::GET_PASSPORT, &get).await.unwrap();
    let before = current_etag(&commissioner, &id_of).await;
    update_parties(&commissioner, &id_of, &before, (&[OTHER_SCHOOL], "la/330", "2026-11-16")).await.unwrap();
    let refusal =
        riverside.call(passport_service::GET_PASSPORT, &get).await.map(|_| ()).map_err(refusal_reason);
    assert_eq!(refusal, Err("NOT_FOUND".to_owned()));
    assert_eq!(share_passport(&school, &id_of, "1").await.unwrap_err(), "NOT_FOUND");
    for delivery in deliveries_of_kind(&riverside, DeliveryKind::Passport, &id_of).await {
        assert_eq!(delivery.content.is_none(), delivery.sender == "school/134567");
    }
}

/// Checks that a next page of alerts is announced only if it has an alert, because its token would otherwise reveal
/// alerts that the reader may not see.
async fn a_page_of_alerts_tells_of_no_other(world: &World) {
    let mut readers = 0;
    for name in ["la-a", "la-b", "school", "provider-a", "provider-b", "provider-c"] {
        let client = world.client(name).await;
        let whole = client.call(oversight_service::LIST_ALERTS, &ListAlertsRequest::default()).await.unwrap();
        let (mut page_token, mut paged) = (String::new(), Vec::new());
        for page in 0.. {
            let request = ListAlertsRequest { page_size: 1, page_token, ..ListAlertsRequest::default() };
            let reply = client.call(oversight_service::LIST_ALERTS, &request).await.unwrap().message;
            assert!(
                reply.alerts.len() == 1 || page == 0 && reply.next_page_token.is_empty(),
                "{name} {page}"
            );
            paged.extend(reply.alerts);
            page_token = reply.next_page_token;
            if page_token.is_empty() {
                break;
            }
        }
        assert_eq!(paged, whole.message.alerts, "{name}");
        readers += usize::from(!paged.is_empty());
    }
    assert!(readers > 0 && readers < 6, "some read alerts and some may not: {readers}");
}

async fn all(world: World) {
    a_page_of_alerts_tells_of_no_other(&world).await;
    pages_of_progress_lose_nothing_and_tell_nothing(&world).await;
    a_passport_leaves_with_its_school(&world).await;
    world.stop().await;
}

async fn all_after_leaving(world: World) {
    a_filter_by_placement_tells_nothing_of_later_returns(&world).await;
    a_refusal_does_not_tell_when_the_placement_ended(&world).await;
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn on_sqlite() {
    all(World::sqlite().await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn after_its_time_on_sqlite() {
    all_after_leaving(World::sqlite().await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn on_postgresql() {
    all(World::postgres().await).await;
    all_after_leaving(World::postgres().await).await;
}

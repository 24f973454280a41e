//! The reads of the register and of attendance across placements: agreements, grants, closures, the directory, lists of
//! placements by days, and a day or a week of attendance. Each organisation reads its own, and another's is not found.

use std::collections::BTreeSet;

use ap_gateway::cli::sandbox;
use ap_gateway::client::{Client, ClientError, reason};
use ap_gateway::proto::v1::delivery::Content;
use ap_gateway::proto::v1::{
    Agreement, AgreementState, Article6, ClosureKind, CountersignAgreementRequest, DataClass,
    DeclareClosureRequest, GetAgreementRequest, GetAttendanceRequest, GrantKind, ListAgreementsRequest,
    ListAttendanceRequest, ListAttendanceResponse, ListClosuresRequest, ListDirectoryRequest,
    ListGrantsRequest, ListPlacementsRequest, ProposeAgreementRequest, Purpose, placement_service,
    register_service as register, returns_service as returns,
};

use tempfile::TempDir;

use super::attendance::deliveries_of_object;
use super::exchange_semantics::{mark, new_id, refusal_status, submission, submit};
use super::log_verification;
use super::parties::field_violations;
use super::support::World;

const NOWHERE: &str = "6f1c2a34-0000-4000-8000-000000000000";

fn terms(parties: [&str; 2]) -> Agreement {
    Agreement {
        parties: parties.map(str::to_owned).to_vec(),
        data_classes: vec![DataClass::Referral.into()],
        purposes: vec![Purpose::EducationProvision.into()],
        article_6: Article6::PublicTask.into(),
        from_date: "2026-11-01".to_owned(),
        to_date: "2027-08-31".to_owned(),
        review_by: "2027-07-01".to_owned(),
        ..Agreement::default()
    }
}

async fn get_agreement(client: &Client, id: &str) -> Result<Agreement, ClientError> {
    let request = GetAgreementRequest { agreement_id: id.to_owned() };
    Ok(client.call(register::GET_AGREEMENT, &request).await?.message.agreement.unwrap())
}

async fn list_agreements(client: &Client, request: ListAgreementsRequest) -> Vec<Agreement> {
    let (mut request, mut found) = (request, Vec::new());
    for _ in 0..20 {
        let page = client.call(register::LIST_AGREEMENTS, &request).await.unwrap().message;
        found.extend(page.agreements);
        request.page_token = page.next_page_token;
        if request.page_token.is_empty() {
            return found;
        }
    }
    panic!("the list does not end");
}

/// Checks that nobody signs other terms than those that were read, and that the delivery carries them.
async fn terms_are_read_before_they_are_signed(world: &World) {
    let (la, oakfield) = (world.client("la-a").await, world.client("provider-b").await);
    let agreement = Some(terms(["la/330", "school/145678"]));
    let request = ProposeAgreementRequest { request_id: new_id(), agreement, ..Default::default() };
    let proposed = la.call(register::PROPOSE_AGREEMENT, &request).await.unwrap().message;
    let delivered = deliveries_of_object(&oakfield, &proposed.agreement_id).await.remove(0);
    let Some(Content::Register(content)) = delivered.content else { panic!("no content of the register") };
    let read = content.agreement.unwrap();
    assert_eq!((read.review_by.as_str(), &read.terms_sha256), ("2027-07-01", &proposed.terms_sha256));
    assert_eq!(read, get_agreement(&oakfield, &proposed.agreement_id).await.unwrap());
    let sign = |terms_sha256: String| CountersignAgreementRequest {
        request_id: new_id(),
        agreement_id: proposed.agreement_id.clone(),
        etag: proposed.etag.clone(),
        terms_sha256,
        ..CountersignAgreementRequest::default()
    };
    let unseen = oakfield.call(register::COUNTERSIGN_AGREEMENT, &sign(String::new())).await;
    assert_eq!(field_violations(&refusal_status(unseen)), ["terms_sha256 FIELD_REQUIRED"]);
    let other = oakfield.call(register::COUNTERSIGN_AGREEMENT, &sign("0".repeat(64))).await;
    assert_eq!(reason(&refusal_status(other)), "TERMS_CHANGED");
    oakfield.call(register::COUNTERSIGN_AGREEMENT, &sign(read.terms_sha256.clone())).await.unwrap();
    let signed = get_agreement(&la, &proposed.agreement_id).await.unwrap();
    assert_eq!(signed.state(), AgreementState::InForce);
    assert_eq!((signed.terms_sha256, signed.etag.as_str()), (read.terms_sha256, "2"));
}

/// Checks that an agreement of others is not found, and in no list.
async fn agreements_are_of_their_parties(world: &World) {
    let made = sandbox::world::load(world.dir.path()).unwrap().agreements;
    for (name, own) in [("la-a", "la/330"), ("provider-a", "provider/riverside"), ("la-b", "la/331")] {
        let client = world.client(name).await;
        let listed =
            list_agreements(&client, ListAgreementsRequest { page_size: 1, ..Default::default() }).await;
        assert!(listed.iter().all(|agreement| agreement.parties.iter().any(|party| party == own)), "{name}");
        let listed: BTreeSet<_> = listed.into_iter().map(|agreement| agreement.agreement_id).collect();
        for agreement in &made {
            let is_own = [&agreement.commissioner, &agreement.provider].contains(&&name.to_owned());
            assert_eq!(listed.contains(&agreement.agreement_id), is_own, "{name}");
            let got = get_agreement(&client, &agreement.agreement_id).await;
            if is_own {
                assert_eq!(got.unwrap().agreement_id, agreement.agreement_id);
            } else {
                let nowhere = refusal_status(get_agreement(&client, NOWHERE).await);
                let refused = refusal_status(got);
                assert_eq!((reason(&refused).as_str(), refused.message()), ("NOT_FOUND", nowhere.message()));
            }
        }
    }
    let la = world.client("la-a").await;
    let party = "provider/riverside".to_owned();
    let state = AgreementState::InForce.into();
    let filtered = list_agreements(&la, ListAgreementsRequest { state, party, ..Default::default() }).await;
    assert_eq!(filtered.len(), 1);
}

/// Checks that both ends of a grant list it, and nobody else.
async fn grants_are_of_their_two_ends(world: &World) {
    for (name, own, kinds) in [
        ("la-a", "la/330", vec![GrantKind::Auditor]),
        ("auditor", "auditor/northgate", vec![GrantKind::Auditor]),
        ("provider-a", "provider/riverside", vec![GrantKind::Processor]),
        ("la-b", "la/331", vec![]),
    ] {
        let client = world.client(name).await;
        let listed = client.call(register::LIST_GRANTS, &ListGrantsRequest::default()).await.unwrap().message;
        assert!(
            listed.grants.iter().all(|grant| [&grant.grantor, &grant.grantee].contains(&&own.to_owned()))
        );
        let found: Vec<_> = listed.grants.iter().map(ap_gateway::proto::v1::Grant::kind).collect();
        assert_eq!(found, kinds, "{name}");
    }
    // A grant lets a processor act, and not read who else may.
    let processor = world.client("processor").await;
    let refused = processor.call(register::LIST_GRANTS, &ListGrantsRequest::default()).await;
    assert_eq!(reason(&refusal_status(refused)), "GRANT_REQUIRED");
}

/// Checks that closures are listed by days, to those who share a placement with the organisation.
async fn closures_are_for_those_who_share_a_placement(world: &World) {
    let riverside = world.client("provider-a").await;
    for day in ["2026-12-01", "2026-12-08"] {
        let request = DeclareClosureRequest {
            request_id: new_id(),
            from_date: day.to_owned(),
            to_date: day.to_owned(),
            kind: ClosureKind::Unexpected.into(),
            reason_code: "Y4".to_owned(),
            ..DeclareClosureRequest::default()
        };
        riverside.call(register::DECLARE_CLOSURE, &request).await.unwrap();
    }
    let list = async |name: &str, organisation: &str, [from, to]: [&str; 2]| {
        let request = ListClosuresRequest {
            organisation: organisation.to_owned(),
            from_date: from.to_owned(),
            to_date: to.to_owned(),
        };
        world.client(name).await.call(register::LIST_CLOSURES, &request).await
    };
    let days = async |name: &str, organisation: &str, period| {
        let listed = list(name, organisation, period).await.unwrap().message.closures;
        listed.into_iter().map(|closure| closure.from_date).collect::<Vec<_>>()
    };
    assert_eq!(days("provider-a", "", ["2026-12-01", ""]).await, ["2026-12-01", "2026-12-08"]);
    assert_eq!(days("la-a", "provider/riverside", ["2026-12-02", "2026-12-31"]).await, ["2026-12-08"]);
    assert_eq!(days("la-a", "provider/riverside", ["2026-12-02", "2026-12-07"]).await, [""; 0]);
    for (name, organisation) in [("provider-c", "provider/riverside"), ("la-a", "provider/nobody")] {
        let refused = refusal_status(list(name, organisation, ["", ""]).await);
        assert_eq!(reason(&refused), "NOT_FOUND", "{name} {organisation}");
    }
    let wrong = refusal_status(list("la-a", "", ["2026-12-02", "2026-12-01"]).await);
    assert_eq!(field_violations(&wrong), ["to_date DATE_ORDER"]);
}

/// Checks that commissioners and providers find organisations by kind and by id, and auditors do not.
async fn the_directory_is_for_commissioners_and_providers(world: &World) {
    let list = async |name: &str, kind: &str, named: &[&str]| {
        let organisations = named.iter().map(|id| (*id).to_owned()).collect();
        let request =
            ListDirectoryRequest { page_size: 2, kind: kind.to_owned(), organisations, ..Default::default() };
        world.client(name).await.call(register::LIST_DIRECTORY, &request).await
    };
    let page = list("provider-a", "provider", &[]).await.unwrap().message;
    let ids: Vec<_> = page.organisations.iter().map(|entry| entry.organisation.as_str()).collect();
    assert_eq!(ids, ["provider/brightwater", "provider/riverside"]);
    let named = ["provider/riverside", "la/331", "provider/nobody", "la/331"];
    let named = list("la-a", "", &named).await.unwrap().message.organisations;
    let named: Vec<_> =
        named.iter().map(|entry| (entry.kind.as_str(), entry.display_name.is_empty())).collect();
    assert_eq!(named, [("la", false), ("provider", false)]);
    let wrong = refusal_status(list("la-a", "council", &[]).await);
    assert_eq!(field_violations(&wrong), ["kind ORGANISATION_KIND"]);
    let refused = refusal_status(list("auditor", "", &[]).await);
    assert_eq!(reason(&refused), "METHOD_NOT_ALLOWED");
}

async fn list_attendance(client: &Client, [from, to]: [&str; 2], page_size: i32) -> ListAttendanceResponse {
    let mut request = ListAttendanceRequest {
        page_size,
        from_date: from.to_owned(),
        to_date: to.to_owned(),
        ..ListAttendanceRequest::default()
    };
    let mut all = ListAttendanceResponse::default();
    for _ in 0..100 {
        let page = client.call(returns::LIST_ATTENDANCE, &request).await.unwrap().message;
        all.placements.extend(page.placements);
        request.page_token = page.next_page_token;
        if request.page_token.is_empty() {
            return all;
        }
    }
    panic!("the list does not end");
}

/// Checks that a week of attendance is that of the caller's own children, each as `GetAttendance` shows it.
async fn a_week_of_attendance_is_of_the_caller_s_children(world: &World) {
    let week = ["2026-11-16", "2026-11-20"];
    let riverside = world.client("provider-a").await;
    let (of_la, of_school) = (
        world.placements("la-a", "provider-a").remove(0),
        world.placements("school", "provider-a").remove(0),
    );
    // Y5 is shown to commissioner and home school only.
    let marks = vec![
        mark(&of_la, "2026-11-16", "/"),
        mark(&of_la, "2026-11-17", "Y5"),
        mark(&of_school, "2026-11-16", "I"),
    ];
    submit(&riverside, &submission(marks)).await.unwrap();
    for (name, sees) in [
        ("provider-a", [true, true]),
        ("la-a", [true, false]),
        // The LA of residence of the school's child.
        ("la-b", [false, true]),
        ("provider-c", [false; 2]),
    ] {
        let client = world.client(name).await;
        let listed = list_attendance(&client, week, 2).await;
        for (placement, sees) in [&of_la, &of_school].into_iter().zip(sees) {
            let found = listed.placements.iter().find(|found| found.placement_id == *placement);
            assert_eq!(found.is_some(), sees, "{name}");
            let Some(found) = found else { continue };
            let request = GetAttendanceRequest {
                placement_id: placement.clone(),
                from_date: week[0].to_owned(),
                to_date: week[1].to_owned(),
                ..GetAttendanceRequest::default()
            };
            let one = client.call(returns::GET_ATTENDANCE, &request).await.unwrap().message;
            let marks: Vec<_> = one.marks.into_iter().filter_map(|history| history.mark).collect();
            assert!(!marks.is_empty() && marks == found.marks, "{name}");
            assert_eq!(one.summary, found.summary);
        }
        assert_eq!(listed, list_attendance(&client, week, 100).await, "{name}: pages join");
    }
    let long = ListAttendanceRequest {
        from_date: "2026-11-14".to_owned(),
        to_date: "2026-11-21".to_owned(),
        ..ListAttendanceRequest::default()
    };
    let refused = refusal_status(riverside.call(returns::LIST_ATTENDANCE, &long).await);
    assert_eq!(field_violations(&refused), ["to_date RANGE_TOO_LONG"]);
}

/// Checks that placements are listed that were active on one of some days.
async fn placements_are_listed_by_days(world: &World) {
    let la = world.client("la-a").await;
    let count = async |from: &str, to: &str| {
        let request = ListPlacementsRequest {
            page_size: 1_000,
            from_date: from.to_owned(),
            to_date: to.to_owned(),
            ..ListPlacementsRequest::default()
        };
        la.call(placement_service::LIST_PLACEMENTS, &request).await.unwrap().message.placements.len()
    };
    let all = count("", "").await;
    assert!(all > 0);
    assert_eq!(count("2026-09-01", "2026-09-01").await, all);
    assert_eq!(count("", "2026-08-31").await, 0);
    assert_eq!(count("2026-12-01", "").await, all);
}

async fn all(world: World) -> TempDir {
    placements_are_listed_by_days(&world).await;
    agreements_are_of_their_parties(&world).await;
    terms_are_read_before_they_are_signed(&world).await;
    grants_are_of_their_two_ends(&world).await;
    closures_are_for_those_who_share_a_placement(&world).await;
    the_directory_is_for_commissioners_and_providers(&world).await;
    a_week_of_attendance_is_of_the_caller_s_children(&world).await;
    world.stop().await
}

#[tokio::test(flavor = "multi_thread")]
async fn on_sqlite() {
    log_verification::assert_verifies(all(World::sqlite().await).await.path()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn on_postgresql() {
    all(World::postgres().await).await;
}

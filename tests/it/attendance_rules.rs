//! Rules about attendance, on both databases: a mark raises the alert at once, those whom the rule book names are told, and a
//! correction, a withdrawn return or a session attended closes it or opens it again.

use std::time::Duration;

use ap_gateway::client::Client;
use ap_gateway::proto::v1::delivery::Content;
use ap_gateway::proto::v1::{
    Alert, AlertState, ConfirmMarksRequest, Confirmation, DeliveryKind, ListAlertsRequest, Mark,
    PutPlanRequest, Session, SettingType, SubmitAttendanceResponse, oversight_service, placement_service,
    returns_service,
};
use tempfile::TempDir;

use super::attendance::void_part;
use super::documents::{deliveries_of_kind, get_placement, put_passport};
use super::exchange_semantics::{mark, new_id, submission, submit};
use super::log_verification::assert_verifies;
use super::multiple_placements::{child_identity, place_again, place_at};
use super::oversight::resolve_alert;
use super::support::World;
use super::unknown_flags::others_see_no_difference;

/// Maximum number of polls, 20 ms apart.
const MAX_POLLS: usize = 1_000;

/// Changes of a mark of which each raises or closes an alert.
const CHANGES: usize = 6;
/// Time from a mark to the alert that follows it.
const MAX_TIME_TO_ALERT: Duration = Duration::from_millis(800);

/// Lists the alerts of a rule about a placement.
pub async fn list_alerts(client: &Client, placement: &str, rule: &str) -> Vec<Alert> {
    let (placement_id, rule) = (placement.to_owned(), rule.to_owned());
    let request = ListAlertsRequest { placement_id, rule, ..ListAlertsRequest::default() };
    client.call(oversight_service::LIST_ALERTS, &request).await.unwrap().message.alerts
}

/// Waits until the newest alert of a rule about a placement satisfies a condition.
async fn wait_for(
    client: &Client,
    (placement, rule): (&str, &str),
    expected: impl Fn(&Alert) -> bool,
) -> Alert {
    let mut last = None;
    for _ in 0..MAX_POLLS {
        last = list_alerts(client, placement, rule).await.pop();
        if let Some(alert) = last.clone().filter(|alert| expected(alert)) {
            return alert;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("{rule}: {last:#?}");
}

/// Waits until the newest alert of a rule about a placement is in this state.
pub async fn wait_for_state(client: &Client, about: (&str, &str), state: AlertState) -> Alert {
    wait_for(client, about, |alert| alert.state() == state).await
}

/// Makes marks of a placement, written as `2026-11-18:/O`: days, each with a code for the morning and the afternoon. A space
/// stands for no mark, `@` for C2.
fn marks(placement: &str, days: &str) -> Vec<Mark> {
    let mut marks = Vec::new();
    for day in days.split(", ") {
        let (day, codes) = day.split_once(':').unwrap();
        for (session, code) in [Session::Am, Session::Pm].into_iter().zip(codes.chars()) {
            let code = if code == '@' { "C2".to_owned() } else { code.to_string() };
            if code != " " {
                marks.push(Mark { session: session as i32, ..mark(placement, day, &code) });
            }
        }
    }
    marks
}

/// Submits marks of a placement, written as above.
pub async fn send(client: &Client, placement: &str, days: &str) -> SubmitAttendanceResponse {
    submit(client, &submission(marks(placement, days))).await.unwrap().message
}

pub async fn correct(client: &Client, placement: &str, days: &str) -> String {
    let correction_reason = "it was found out".to_owned();
    let corrected = marks(placement, days)
        .into_iter()
        .map(|mark| Mark { correction_reason: correction_reason.clone(), ..mark });
    submit(client, &submission(corrected.collect())).await.unwrap().message.return_id
}

/// Places children of the sandbox again at Riverside from Monday 2 November, for la-a.
pub async fn place_children(world: &World) -> Vec<String> {
    let mut placed = Vec::new();
    for commissioner in ["la-a", "school"] {
        let client = world.client(commissioner).await;
        for of_child in world.placements(commissioner, "provider-a") {
            let (child, reference) =
                (child_identity(&client, &of_child).await, format!("RV-AGAIN-{}", placed.len()));
            placed.push(place_again(world, "la-a", child, &reference).await);
        }
    }
    placed
}

/// Checks that an organisation has received an alert.
async fn assert_told(client: &Client, alert: &Alert) {
    let received = deliveries_of_kind(client, DeliveryKind::Alert, &alert.placement_id).await;
    let of_alert = received.iter().filter(|delivery| delivery.object_id == alert.alert_id);
    let contents: Vec<_> = of_alert.map(|delivery| delivery.content.clone()).collect();
    assert_eq!(contents, [Some(Content::Alert(alert.clone()))]);
}

/// Checks that no stranger is told.
async fn assert_not_told(world: &World, names: &[&str], alert: &Alert) {
    for name in names {
        let client = world.client(name).await;
        assert_eq!(list_alerts(&client, &alert.placement_id, &alert.rule).await, [], "{name}");
        for kind in [DeliveryKind::Alert, DeliveryKind::AlertEnded, DeliveryKind::AlertEscalated] {
            let received = deliveries_of_kind(&client, kind, &alert.placement_id).await;
            assert!(received.iter().all(|delivery| delivery.object_id != alert.alert_id), "{name}");
        }
    }
}

/// Checks the alert about the third day: at once, closed by a correction, not raised again soon.
async fn a_third_day_of_absence(world: &World, placement: &str) {
    let [la, riverside, school] =
        [world.client("la-a").await, world.client("provider-a").await, world.client("school").await];
    let about = (placement, "ABSENT_THIRD_DAY");
    send(&riverside, placement, "2026-11-16:OO, 2026-11-17:OO").await;
    wait_until_evaluated(world, placement).await;
    assert_eq!(list_alerts(&la, about.0, about.1).await, []);
    send(&riverside, placement, "2026-11-18:N").await;
    let raised = wait_for_state(&la, about, AlertState::Open).await;
    assert_eq!((raised.severity, &*raised.due_date, raised.times_raised), (2, "2026-11-18", 1));
    assert_eq!(list_alerts(&riverside, about.0, about.1).await, std::slice::from_ref(&raised));
    assert_told(&school, &raised).await;
    assert_not_told(world, &["la-b", "provider-b", "provider-c"], &raised).await;
    let correction = correct(&riverside, placement, "2026-11-18:M").await;
    wait_for_state(&la, about, AlertState::Closed).await;
    // The withdrawal restores the absence. The child is alerted again after twenty school days only.
    void_part(&riverside, &correction, 0).await.unwrap();
    wait_until_evaluated(world, placement).await;
    let closed = list_alerts(&la, about.0, about.1).await;
    assert_eq!((closed.len(), closed[0].state()), (1, AlertState::Closed));
    // It is Friday, so the child is on the list of the week, of which the commissioner alone is told.
    for round in 0.. {
        if weekly_list(&la).await == [placement] {
            break;
        }
        assert!(round < MAX_POLLS, "the child is on no list");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    for name in ["provider-a", "school", "la-b"] {
        assert!(weekly_list(&world.client(name).await).await.is_empty(), "{name}");
    }
}

/// Returns the placements on the open lists of absence.
async fn weekly_list(client: &Client) -> Vec<String> {
    let state = AlertState::Open as i32;
    let request =
        ListAlertsRequest { state, rule: "WEEKLY_ABSENCE".to_owned(), ..ListAlertsRequest::default() };
    let alerts = client.call(oversight_service::LIST_ALERTS, &request).await.unwrap().message.alerts;
    alerts.into_iter().flat_map(|alert| alert.figures.unwrap().placement_ids).collect()
}

/// Waits until no moment of a placement is due.
pub async fn wait_until_evaluated(world: &World, placement: &str) {
    let database = world.database().await;
    let sql = "SELECT m.due FROM moments m JOIN current_versions v ON v.key = m.version_key AND v.idx = m.idx \
               AND v.ordinal = m.ordinal WHERE m.subject = $1";
    for round in 0.. {
        let subject = vec![format!("placement/{placement}").into()];
        let row = database.reader().await.unwrap().fetch_one(sql, subject).await.unwrap().unwrap();
        // Every clock of these tests is later than the end of this day.
        let due: Option<i64> = row.get("due").unwrap();
        if due.is_none_or(|due| due > NOW_MICROS) {
            break;
        }
        assert!(round < MAX_POLLS, "the placement was not evaluated");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    database.close().await;
}

/// 16:00 on Friday 20 November 2026, the sandbox's clock.
const NOW_MICROS: i64 = 1_795_190_400_000_000;

/// Checks the alert about a child at risk: the commissioner alone is told, a correction closes it, a withdrawal opens it
/// again, and the school's register explains it. The same marks of a child that is not at risk raise none.
async fn an_absence_of_a_child_at_risk(world: &World, [placement, other]: [&str; 2]) {
    let (la, riverside) = (world.client("la-a").await, world.client("provider-a").await);
    let about = (placement, "ABSENT_AT_RISK");
    for marked in [placement, other] {
        send(&riverside, marked, "2026-11-19:/\\, 2026-11-20:O").await;
        wait_until_evaluated(world, marked).await;
        assert_eq!(list_alerts(&la, marked, about.1).await, [], "no passport marks the child");
    }
    put_passport(&la, placement, "").await.unwrap();
    for marked in [placement, other] {
        send(&riverside, marked, "2026-11-20: O").await;
        wait_until_evaluated(world, marked).await;
    }
    let raised = wait_for_state(&la, about, AlertState::Open).await;
    assert_eq!((raised.severity, &*raised.due_date), (1, "2026-11-20"));
    // Friday at 16:00, so two school hours end on Monday at 11:00.
    assert_eq!(raised.act_by_time.unwrap().seconds, NOW_MICROS / 1_000_000 + 67 * 3_600);
    assert_not_told(world, &["provider-a", "school", "la-b", "provider-c"], &raised).await;
    let mut corrections = Vec::new();
    for marked in [placement, other] {
        corrections.push(correct(&riverside, marked, "2026-11-20: \\").await);
        wait_until_evaluated(world, marked).await;
    }
    wait_for_state(&la, about, AlertState::Closed).await;
    for (marked, correction) in [placement, other].into_iter().zip(&corrections) {
        void_part(&riverside, correction, 0).await.unwrap();
        wait_until_evaluated(world, marked).await;
    }
    let again = wait_for_state(&la, about, AlertState::Open).await;
    assert_eq!((&again.alert_id, again.times_raised), (&raised.alert_id, 2));
    for marked in [placement, other] {
        confirm_medical(&world.client("school").await, marked).await;
        wait_until_evaluated(world, marked).await;
    }
    wait_for_state(&la, about, AlertState::Closed).await;
    assert_eq!(list_alerts(&la, other, about.1).await, []);
    assert_not_told(world, &["provider-a", "school", "la-b", "provider-c"], &raised).await;
    others_see_no_difference(world, [placement, other]).await;
}

/// Confirms that the register has a medical appointment on the afternoon of 20 November.
async fn confirm_medical(client: &Client, placement: &str) {
    let confirmation = Confirmation {
        placement_id: placement.to_owned(),
        date: "2026-11-20".to_owned(),
        session: Session::Pm as i32,
        code: "M".to_owned(),
        ..Confirmation::default()
    };
    let confirm = ConfirmMarksRequest {
        request_id: new_id(),
        confirmations: vec![confirmation],
        ..ConfirmMarksRequest::default()
    };
    client.call(returns_service::CONFIRM_MARKS, &confirm).await.unwrap();
}

/// Checks that a mark raises and closes an alert without waiting for the tick of the scheduler. Each change is sent just after
/// the one before was seen, so by the tick alone each would take a second.
async fn a_mark_wakes_the_scheduler(world: &World, placement: &str) {
    let (la, riverside) = (world.client("la-a").await, world.client("provider-a").await);
    let about = (placement, "ABSENT_AT_RISK");
    put_passport(&la, placement, "").await.unwrap();
    send(&riverside, placement, "2026-11-20:O").await;
    wait_for_state(&la, about, AlertState::Open).await;
    let begin = std::time::Instant::now();
    let mut times = Vec::new();
    for (code, state) in [('/', AlertState::Closed), ('O', AlertState::Open)].repeat(CHANGES / 2) {
        correct(&riverside, placement, &format!("2026-11-20:{code}")).await;
        wait_for_state(&la, about, state).await;
        times.push(begin.elapsed());
    }
    assert!(begin.elapsed() < MAX_TIME_TO_ALERT * u32::try_from(CHANGES).unwrap(), "{times:?}");
}

/// Checks the alert about fifteen days of illness.
async fn fifteen_days_of_illness(world: &World, placement: &str) {
    let (la, riverside) = (world.client("la-a").await, world.client("provider-a").await);
    let about = (placement, "ILLNESS_15");
    let days: Vec<String> = (2..20)
        .filter(|day| !matches!(day, 7 | 8 | 14 | 15))
        .map(|day| format!("2026-11-{day:02}:II"))
        .collect();
    send(&riverside, placement, &days.join(", ")).await;
    send(&riverside, placement, "2026-11-20:I").await;
    wait_until_evaluated(world, placement).await;
    assert_eq!(list_alerts(&la, about.0, about.1).await, [], "14.5 days");
    send(&riverside, placement, "2026-11-20: I").await;
    let raised = wait_for_state(&la, about, AlertState::Open).await;
    assert_eq!((raised.severity, &*raised.due_date), (2, "2026-11-20"));
    assert_not_told(world, &["provider-a", "school", "la-b"], &raised).await;
    correct(&riverside, placement, "2026-11-10:M").await;
    wait_for_state(&la, about, AlertState::Closed).await;
}

/// Checks the alert about leave without a part-time timetable.
async fn leave_without_a_timetable(world: &World, placement: &str) {
    let (la, riverside, school) =
        (world.client("la-a").await, world.client("provider-a").await, world.client("school").await);
    let about = (placement, "C2_UNPLANNED");
    send(&riverside, placement, "2026-11-12:@").await;
    wait_until_evaluated(world, placement).await;
    assert_eq!(list_alerts(&la, about.0, about.1).await, [], "in the week before");
    send(&riverside, placement, "2026-11-18:@").await;
    let raised = wait_for_state(&la, about, AlertState::Open).await;
    assert_eq!((raised.severity, &*raised.due_date), (3, "2026-11-18"));
    assert_told(&school, &raised).await;
    assert_not_told(world, &["provider-a", "la-b"], &raised).await;
    correct(&riverside, placement, "2026-11-18:M").await;
    wait_for_state(&la, about, AlertState::Closed).await;
}

/// Makes the placement one-to-one tuition.
async fn put_tuition_plan(la: &Client, placement: &str, planned: &str) {
    let mut plan = get_placement(la, planned).await.plan.unwrap();
    plan.set_setting_type(SettingType::OneOnOneTuition);
    "2026-12-18".clone_into(&mut plan.planned_end_date);
    let placement_id = placement.to_owned();
    let request =
        PutPlanRequest { request_id: new_id(), placement_id, plan: Some(plan), ..PutPlanRequest::default() };
    la.call(placement_service::PUT_PLAN, &request).await.unwrap();
}

/// Checks what the next days bring: tuition that was missed, a child at two places, attendance that dropped.
async fn what_the_days_bring(world: &World, [tuition, two_places, dropped]: [&str; 3]) {
    let (la, riverside) = (world.client("la-a").await, world.client("provider-a").await);
    let brightwater = world.client("provider-c").await;
    let child = child_identity(&la, two_places).await;
    let second = place_at(world, ("la-a", "provider-c"), child, "BW-TWO").await;
    let days =
        (2..20).filter(|day| !matches!(day, 7 | 8 | 14 | 15)).map(|day| format!("2026-11-{day:02}:/\\"));
    send(&riverside, dropped, &days.collect::<Vec<_>>().join(", ")).await;
    world.advance("2026-11-24T16:00:00Z");
    put_passport(&la, tuition, "").await.unwrap();
    send(&riverside, tuition, "2026-11-23:M, 2026-11-24:O").await;
    // What the commissioner does about an alert that the provider may not know of must not show in the alert of both.
    let at_risk = wait_for_state(&la, (tuition, "ABSENT_AT_RISK"), AlertState::Open).await;
    assert_not_told(world, &["provider-a"], &at_risk).await;
    assert_eq!(resolve_alert(&la, &at_risk, "rang the family").await, Ok(AlertState::Resolved));
    send(&riverside, two_places, "2026-11-24:/").await;
    send(&brightwater, &second, "2026-11-24:/\\").await;
    world.advance("2026-11-25T00:00:01Z");
    // Both started on one day, so the greater id decides.
    let (later, earlier) =
        if *second > *two_places { (&*second, two_places) } else { (two_places, &*second) };
    let raised = wait_for_state(&la, (later, "TWO_PLACES"), AlertState::Open).await;
    assert_eq!((raised.severity, &*raised.due_date), (2, "2026-11-24"));
    assert_eq!(list_alerts(&la, earlier, "TWO_PLACES").await, [], "one alert for both");
    assert_not_told(world, &["provider-a", "provider-c", "school", "la-b"], &raised).await;
    // A correction of the other placement's mark would be found when the day ends.
    let provider = if later == second { &brightwater } else { &riverside };
    correct(provider, later, "2026-11-24:O").await;
    wait_for_state(&la, (later, "TWO_PLACES"), AlertState::Closed).await;
    world.advance("2026-11-26T16:00:00Z");
    assert_eq!(list_alerts(&la, tuition, "TUITION_MISSED").await, []);
    send(&riverside, dropped, "2026-11-20:MM, 2026-11-23:MM, 2026-11-24:MM, 2026-11-25:MM, 2026-11-26:MM")
        .await;
    world.advance("2026-11-27T00:00:01Z");
    let raised = wait_for_state(&riverside, (tuition, "TUITION_MISSED"), AlertState::Open).await;
    assert_eq!((raised.severity, &*raised.due_date), (2, "2026-11-26"));
    assert_eq!(list_alerts(&la, tuition, "TUITION_MISSED").await, std::slice::from_ref(&raised));
    assert_not_told(world, &["school", "la-b", "provider-c"], &raised).await;
    let raised = wait_for_state(&la, (dropped, "ATTENDANCE_DROP"), AlertState::Open).await;
    assert_eq!((raised.severity, &*raised.due_date), (3, "2026-11-27"));
    let school = world.client("school").await;
    assert_told(&school, &raised).await;
    assert_not_told(world, &["provider-a", "la-b"], &raised).await;
    // A session that took place ends what was missed, when the day ends at the latest.
    world.advance("2026-11-27T16:00:00Z");
    send(&riverside, tuition, "2026-11-27:/").await;
    world.advance("2026-11-28T00:00:01Z");
    wait_for_state(&la, (tuition, "TUITION_MISSED"), AlertState::Closed).await;
}

async fn all(world: World) -> TempDir {
    let la = world.client("la-a").await;
    let planned = world.placements("la-a", "provider-a").remove(0);
    let placed = place_children(&world).await;
    let [third, at_risk, not_at_risk, ill, leave, tuition, two_places, dropped] = &placed[..] else {
        panic!("eight")
    };
    put_tuition_plan(&la, tuition, &planned).await;
    a_third_day_of_absence(&world, third).await;
    Box::pin(an_absence_of_a_child_at_risk(&world, [at_risk, not_at_risk])).await;
    a_mark_wakes_the_scheduler(&world, leave).await;
    fifteen_days_of_illness(&world, ill).await;
    leave_without_a_timetable(&world, leave).await;
    Box::pin(what_the_days_bring(&world, [tuition, two_places, dropped])).await;
    drop(la);
    world.stop().await
}

#[tokio::test(flavor = "multi_thread")]
async fn rules_about_attendance_hold_on_sqlite() {
    let dir = Box::pin(all(World::sqlite().await)).await;
    assert_verifies(dir.path()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rules_about_attendance_hold_on_postgresql() {
    Box::pin(all(World::postgres().await)).await;
}

//! Step of the alerts: a morning on which one provider is silent, one child is absent for the third day, and one placement is
//! past its end.

use std::path::Path;

use super::super::files::FileMark;
use super::super::sandbox::world_builder::documents::{decision, officer, plan};
use super::super::sent_requests::new_request_id;
use super::super::{Failure, print_line, sandbox, submit};
use super::mailbox::{Mailbox, acknowledge, collect_deliveries};
use super::{Clients, advance_clock, ensure};
use crate::calendar::TimeOfDay;
use crate::client::Client;
use crate::clock::Instant;
use crate::proto::v1::delivery::Content;
use crate::proto::v1::mark::{Child, Statement};
use crate::proto::v1::passport_block::Content as Block;
use crate::proto::v1::respond_to_referral_request::Answer;
use crate::proto::v1::{
    Acceptance, Alert, AlertState, ChildIdentity, Contact, CreateReferralRequest, DecidePlacementRequest,
    DeliveryKind, LegalBasis, ListAlertsRequest, Mark, PassportBlock, PassportEmergency, PassportMedical,
    PassportMeta, PassportSafety, PlacementReason, Plan, PutPassportRequest, PutPlanRequest,
    RespondToReferralRequest, Session, SharePassportRequest, StartPlacementRequest,
    oversight_service as oversight, passport_service as passports, placement_service as placements,
};

/// First day of the three placements, a Monday.
const FIRST_DAY: &str = "2026-11-23";
/// When they are made.
const PLACED_AT: &str = "2026-11-23T08:30:00Z";
/// Last day of the placement that is past its end.
const DAY_BEFORE: &str = "2026-11-24";
/// The bad morning, a Wednesday.
const BAD_DAY: &str = "2026-11-25";
/// Last day of the others.
const END_OF_TERM: &str = "2026-12-18";

/// A placement of the step: the child's forename, which is also the provider's reference, and its last day.
struct Placing<'a> {
    provider: &'a Client,
    /// Short name and id of the provider.
    names: (&'a str, &'a str),
    forename: &'a str,
    last_day: &'a str,
}

/// Shows the morning as the local authority follows it on its stream of alerts.
pub async fn show(dir: &Path, clients: &Clients) -> Result<(), Failure> {
    print_line(
        "9. A bad morning: three children who are placed since Monday, two with Riverside, one with Brightwater",
    );
    advance_clock(&clients.la, PLACED_AT).await?;
    let riverside = ("provider-a", "provider/riverside");
    let brightwater = ("provider-c", "provider/brightwater");
    let place = async |provider, names, forename, last_day| {
        place(dir, &clients.la, &Placing { provider, names, forename, last_day }).await
    };
    let absent = place(&clients.riverside, riverside, "Wren", END_OF_TERM).await?;
    let past_end = place(&clients.riverside, riverside, "Lark", DAY_BEFORE).await?;
    let silent = place(&clients.brightwater, brightwater, "Finch", END_OF_TERM).await?;
    for day in [FIRST_DAY, DAY_BEFORE] {
        advance_clock(&clients.la, &format!("{day}T09:45:00Z")).await?;
        send(&clients.riverside, day, &[(&absent, "N"), (&past_end, "/")]).await?;
        send(&clients.brightwater, day, &[(&silent, "/")]).await?;
    }
    let kinds = [DeliveryKind::Alert, DeliveryKind::AlertEscalated, DeliveryKind::AlertEnded];
    let mut alerts = Mailbox::of_kinds(&clients.la, &kinds).await?;
    advance_clock(&clients.la, &format!("{BAD_DAY}T00:00:00Z")).await?;
    show_alert(
        &mut alerts,
        "PAST_END",
        &format!("Lark's last day was {DAY_BEFORE}, and the placement is active"),
    )
    .await?;
    advance_clock(&clients.la, &format!("{BAD_DAY}T09:45:00Z")).await?;
    send(&clients.riverside, BAD_DAY, &[(&absent, "N"), (&past_end, "/")]).await?;
    show_alert(&mut alerts, "ABSENT_THIRD_DAY", "Wren has not come for three days, and nobody has said why")
        .await?;
    advance_clock(&clients.la, &format!("{BAD_DAY}T10:00:00Z")).await?;
    let open = list_open(&clients.brightwater, "RETURN_MISSING").await?;
    ensure(open.len() == 1, "the silent provider has no alert")?;
    print_line("   10:00  Brightwater alone: RETURN_MISSING: nothing has come by the cut-off");
    advance_clock(&clients.la, &format!("{BAD_DAY}T10:30:00Z")).await?;
    show_alert(&mut alerts, "RETURN_MISSING", "still nothing from Brightwater").await?;
    advance_clock(&clients.la, &format!("{BAD_DAY}T10:40:00Z")).await?;
    send(&clients.brightwater, BAD_DAY, &[(&silent, "/")]).await?;
    let closed = next_alert(&mut alerts, "RETURN_MISSING").await?.1;
    ensure(closed.state() == AlertState::Closed, "the alert did not close")?;
    print_line("   10:40  Brightwater sends its register at last, and its alert closes by itself");
    Ok(())
}

/// Returns the next alert on the stream, with the time in London; it must be of a rule.
async fn next_alert(alerts: &mut Mailbox, rule: &str) -> Result<(String, Alert), Failure> {
    let delivery = alerts.next().await?;
    let at = delivery.sent_time.as_ref().and_then(|time| Instant::from_proto(time).ok());
    let at = at.map(|at| TimeOfDay::in_london(at).to_string()).unwrap_or_default();
    match delivery.content {
        Some(Content::Alert(alert)) if alert.rule == rule => Ok((at, alert)),
        _ => Err(Failure::refused(format!("the next delivery is not an alert of {rule}"))),
    }
}

async fn show_alert(alerts: &mut Mailbox, rule: &str, text: &str) -> Result<(), Failure> {
    let (at, alert) = next_alert(alerts, rule).await?;
    ensure(alert.state() == AlertState::Open, "the alert is not open")?;
    print_line(&format!("   {at}  Local authority A: {rule}: {text}"));
    Ok(())
}

async fn list_open(client: &Client, rule: &str) -> Result<Vec<Alert>, Failure> {
    let state = AlertState::Open as i32;
    let request = ListAlertsRequest { rule: rule.to_owned(), state, ..ListAlertsRequest::default() };
    Ok(client.call(oversight::LIST_ALERTS, &request).await?.message.alerts)
}

/// Sends the marks of a morning.
async fn send(provider: &Client, day: &str, marks: &[(&String, &str)]) -> Result<(), Failure> {
    let marks = marks.iter().map(|(placement, code)| Mark {
        child: Some(Child::PlacementId((*placement).clone())),
        date: day.to_owned(),
        session: Session::Am as i32,
        statement: Some(Statement::Code((*code).to_owned())),
        ..Mark::default()
    });
    let marks: Vec<FileMark> = marks.map(FileMark::without_file).collect();
    let sent = submit::submit_marks(provider, &marks.iter().collect::<Vec<_>>(), "").await?;
    ensure(sent.stored() as usize == marks.len(), "not every mark of the morning was stored")
}

/// Places a child, from the referral to the start, and has the provider act on referral and passport. Returns the placement.
async fn place(dir: &Path, la: &Client, placing: &Placing<'_>) -> Result<String, Failure> {
    let Placing { provider, names: (short, id), forename, last_day } = *placing;
    let made = la.call(placements::CREATE_REFERRAL, &referral(dir, (short, id), forename)?).await?.message;
    let placement_id = made.placement_id;
    let accept = RespondToReferralRequest {
        request_id: new_request_id(),
        placement_id: placement_id.clone(),
        etag: made.etag,
        answer: Some(Answer::Accept(Acceptance { provider_reference: forename.to_owned() })),
        ..RespondToReferralRequest::default()
    };
    let etag = provider.call(placements::RESPOND_TO_REFERRAL, &accept).await?.message.etag;
    let decide = DecidePlacementRequest {
        request_id: new_request_id(),
        placement_id: placement_id.clone(),
        etag,
        decision: Some(decision()),
        ..DecidePlacementRequest::default()
    };
    let etag = la.call(placements::DECIDE_PLACEMENT, &decide).await?.message.etag;
    let put = PutPlanRequest {
        request_id: new_request_id(),
        placement_id: placement_id.clone(),
        plan: Some(plan_until(last_day)),
        ..PutPlanRequest::default()
    };
    la.call(placements::PUT_PLAN, &put).await?;
    share_passport(la, &placement_id).await?;
    let received = collect_deliveries(provider).await?.0.into_iter();
    let received: Vec<_> =
        received.filter(|one| one.placement_id == placement_id && one.needs_action).collect();
    acknowledge(provider, &received, Some(officer("Jo Example", "Designated safeguarding lead"))).await?;
    let start = StartPlacementRequest {
        request_id: new_request_id(),
        placement_id: placement_id.clone(),
        etag,
        start_date: FIRST_DAY.to_owned(),
        ..StartPlacementRequest::default()
    };
    la.call(placements::START_PLACEMENT, &start).await?;
    Ok(placement_id)
}

fn referral(dir: &Path, (short, id): (&str, &str), forename: &str) -> Result<CreateReferralRequest, Failure> {
    let world = sandbox::world::load(dir)?;
    let is_agreed =
        |agreed: &&sandbox::world::WorldAgreement| agreed.commissioner == "la-a" && agreed.provider == short;
    let agreement = world.agreements.iter().find(is_agreed).map(|agreed| agreed.agreement_id.clone());
    Ok(CreateReferralRequest {
        request_id: new_request_id(),
        provider: id.to_owned(),
        child: Some(ChildIdentity {
            legal_surname: "Example".to_owned(),
            legal_forename: forename.to_owned(),
            date_of_birth: "2013-03-04".to_owned(),
            year_group: 8,
            ..ChildIdentity::default()
        }),
        la_of_residence: "la/330".to_owned(),
        legal_basis: LegalBasis::Section19 as i32,
        reason: PlacementReason::BehaviouralSupport as i32,
        agreement_id: agreement.unwrap_or_default(),
        safety: "none known".to_owned(),
        needs: "a quiet start to the day".to_owned(),
        officer: Some(officer("Sam Example", "AP commissioner")),
        ..CreateReferralRequest::default()
    })
}

/// Returns a plan of mornings with a cut-off at ten o'clock.
fn plan_until(last_day: &str) -> Plan {
    let mut plan = plan("provider-a");
    plan.timetable.retain(|slot| slot.session == Session::Am as i32);
    (plan.sessions_per_week, plan.minutes_per_week) = (5, 750);
    FIRST_DAY.clone_into(&mut plan.start_date);
    last_day.clone_into(&mut plan.planned_end_date);
    plan.review_dates = vec![END_OF_TERM.to_owned()];
    for outcome in &mut plan.outcomes {
        last_day.clone_into(&mut outcome.target_date);
    }
    plan
}

async fn share_passport(la: &Client, placement_id: &str) -> Result<(), Failure> {
    let none = || "none known".to_owned();
    let robin = Contact { name: "Robin Example".to_owned(), ..Contact::default() };
    let author = officer("Sam Example", "AP commissioner");
    let blocks = [
        Block::Meta(PassportMeta { authors: vec![author], ..PassportMeta::default() }),
        Block::Emergency(PassportEmergency { contacts: vec![robin] }),
        Block::Medical(PassportMedical { allergies: none(), medication: none(), ..Default::default() }),
        Block::Safety(PassportSafety { risk_summary: none(), ..PassportSafety::default() }),
    ];
    let put = PutPassportRequest {
        request_id: new_request_id(),
        placement_id: placement_id.to_owned(),
        blocks: blocks
            .map(|content| PassportBlock { content: Some(content), ..PassportBlock::default() })
            .to_vec(),
        ..PutPassportRequest::default()
    };
    let etag = la.call(passports::PUT_PASSPORT, &put).await?.message.etag;
    let share = SharePassportRequest {
        request_id: new_request_id(),
        placement_id: placement_id.to_owned(),
        etag,
        ..SharePassportRequest::default()
    };
    la.call(passports::SHARE_PASSPORT, &share).await?;
    Ok(())
}

//! Printing and acknowledgement of deliveries, for `watch`.

use prost::Message;

use super::sent_requests::new_request_id;
use crate::proto::v1::delivery::Content;
use crate::proto::v1::{
    AcknowledgeDeliveryRequest, Acknowledged, Alert, AlertState, BreakGlassContent, Cursor, Delivery,
    DeliveryKind, DeliveryStage, MarkHistory, Officer, WatchDeliveriesResponse, WatchPosition,
};

/// Makes the message that requests the next batch of a stream, after the batch in `message`.
pub fn next_position(
    message: &WatchDeliveriesResponse,
    before: Option<&Cursor>,
    kinds: &[i32],
) -> prost::bytes::Bytes {
    let cursor = message.next.clone().or_else(|| before.cloned());
    WatchPosition { cursor, kinds: kinds.to_vec() }.encode_to_vec().into()
}

/// Makes a request that acknowledges deliveries, with a new request id.
pub fn acknowledge_request(batch: &[Delivery], officer: Option<Officer>) -> AcknowledgeDeliveryRequest {
    let acknowledged = batch.iter().map(|delivery| Acknowledged {
        cursor: delivery.cursor.clone(),
        content_sha256: delivery.content_sha256.clone(),
    });
    let stage = if officer.is_some() { DeliveryStage::ActedOn } else { DeliveryStage::Acknowledged };
    AcknowledgeDeliveryRequest {
        request_id: new_request_id(),
        deliveries: acknowledged.collect(),
        stage: stage as i32,
        officer,
        ..AcknowledgeDeliveryRequest::default()
    }
}

/// Returns a delivery as one line of text that identifies no child.
pub fn summary_line(delivery: &Delivery) -> String {
    let kind = DeliveryKind::try_from(delivery.kind).unwrap_or_default().as_str_name();
    let kind = kind.trim_start_matches("DELIVERY_KIND_");
    let index = delivery.cursor.as_ref().map_or(0, |cursor| cursor.index);
    let about = match &delivery.content {
        Some(Content::Attendance(content)) if content.nil_return => "nothing to report".to_owned(),
        Some(Content::Attendance(content)) => {
            let marks: Vec<&MarkHistory> = content.children.iter().flat_map(|child| &child.marks).collect();
            let corrected = marks.iter().filter(|mark| !mark.earlier.is_empty()).count();
            let more = if content.incomplete { ", more to come" } else { "" };
            let children = content.children.len();
            format!("{} sessions of {children} children, {corrected} corrected{more}", marks.len())
        }
        Some(Content::Placement(_)) => format!("placement {}", delivery.placement_id),
        Some(Content::Passport(content)) => {
            let (blocks, notices) = (content.blocks.len(), content.notices.len());
            format!(
                "passport of placement {}: {blocks} blocks, {notices} kinds restricted",
                delivery.placement_id
            )
        }
        Some(Content::Progress(content)) => {
            format!("progress of placement {}, revision {}", content.placement_id, content.revision)
        }
        Some(Content::Register(content)) if content.issuer.is_empty() => content.method.clone(),
        Some(Content::Register(content)) => format!("{} {}", content.method, content.issuer),
        Some(Content::Confirmation(content)) => {
            let sessions: usize = content.children.iter().map(|child| child.confirmations.len()).sum();
            format!("{sessions} sessions of {} children, as a register holds them", content.children.len())
        }
        Some(Content::Alert(alert)) => {
            let state = AlertState::try_from(alert.state).unwrap_or_default().as_str_name();
            let state = state.trim_start_matches("ALERT_STATE_").to_lowercase();
            let by = if alert.resolved_by.is_empty() { "" } else { " by " };
            let escalated = if alert.level > 0 { format!(", level {}", alert.level) } else { String::new() };
            format!(
                "{} of {}, due {}: {state}{by}{}{escalated}",
                if alert.item.is_empty() { &alert.rule } else { &alert.item },
                alert_subject(alert),
                alert.due_date,
                alert.resolved_by
            )
        }
        Some(Content::BreakGlass(content)) if content.placement_id.is_empty() => {
            format!("more emergencies than the limit of a day by {}", content.organisation)
        }
        Some(Content::BreakGlass(content)) => break_glass_text(content),
        Some(Content::ExpectedAbsence(content)) => format!("{} sessions", content.absences.len()),
        None => "no content for this organisation any more".to_owned(),
    };
    format!("{index:>8}  {kind:<16}  from {}  {about}", delivery.sender)
}

/// Returns what an alert is about: its placement, or its subject with its figures.
fn alert_subject(alert: &Alert) -> String {
    let Some(figures) = &alert.figures else { return format!("placement {}", alert.placement_id) };
    let count = |count: u32, one: &str, many: &str| match count {
        0 => None,
        1 => Some(format!("1 {one}")),
        _ => Some(format!("{count} {many}")),
    };
    let counts =
        [count(figures.sessions, "session", "sessions"), count(figures.children, "child", "children")];
    let counts: Vec<String> = counts.into_iter().flatten().collect();
    format!("{} ({})", alert.subject, counts.join(", "))
}

/// Returns who read a passport in an emergency. The reason is left out, because its words may name the child.
fn break_glass_text(content: &BreakGlassContent) -> String {
    let officer = content.officer.clone().unwrap_or_default();
    let role = officer.role_code().as_str_name().trim_start_matches("ROLE_CODE_").to_lowercase();
    let life = if content.life_at_risk { ", life at risk" } else { "" };
    let over = if content.over_daily_limit { ", more than the limit of a day" } else { "" };
    format!(
        "passport {} of placement {} read in an emergency by {}, {role}{life}{over}: a DSL acts by {}",
        content.etag, content.placement_id, officer.name, content.due_date
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::v1::{AlertFigures, RegisterContent, RoleCode};

    fn line(kind: DeliveryKind, content: Content) -> String {
        let sender = "provider/riverside".to_owned();
        summary_line(&Delivery { kind: kind.into(), content: Some(content), sender, ..Delivery::default() })
    }

    #[test]
    fn an_alert_names_its_placement_or_its_subject_with_the_figures() {
        let alert = Alert {
            rule: "RETURN_MISSING".to_owned(),
            subject: "provider/provider/riverside/2026-11-23T10:00:00Z".to_owned(),
            due_date: "2026-11-23".to_owned(),
            state: AlertState::Open.into(),
            ..Alert::default()
        };
        let figures = |sessions, children| AlertFigures { sessions, children, ..AlertFigures::default() };
        for (figures, placement_id, about) in [
            (Some(figures(3, 1)), "", format!("{} (3 sessions, 1 child)", alert.subject)),
            (Some(figures(0, 2)), "", format!("{} (2 children)", alert.subject)),
            (None, "7", "placement 7".to_owned()),
        ] {
            let alert = Alert { figures, placement_id: placement_id.to_owned(), ..alert.clone() };
            let printed = line(DeliveryKind::Alert, Content::Alert(alert));
            let expected = format!("RETURN_MISSING of {about}, due 2026-11-23: open");
            assert!(printed.ends_with(&expected), "{printed}");
        }
    }

    #[test]
    fn an_emergency_names_the_person_and_not_the_reason() {
        let officer = Officer {
            name: "Jo Example".to_owned(),
            role_code: RoleCode::PlacementLead.into(),
            ..Officer::default()
        };
        let content = BreakGlassContent {
            organisation: "provider/riverside".to_owned(),
            placement_id: "7".to_owned(),
            etag: "2".to_owned(),
            officer: Some(officer),
            reason: "Robin collapsed".to_owned(),
            due_date: "2026-11-23".to_owned(),
            ..BreakGlassContent::default()
        };
        let all = BreakGlassContent { life_at_risk: true, over_daily_limit: true, ..content.clone() };
        let print = |content| line(DeliveryKind::BreakGlass, Content::BreakGlass(content));
        assert_eq!(
            [print(content), print(all)],
            ["", ", life at risk, more than the limit of a day"].map(|marks| format!(
                "       0  BREAK_GLASS       from provider/riverside  passport 2 of placement 7 read in an \
                 emergency by Jo Example, placement_lead{marks}: a DSL acts by 2026-11-23"
            ))
        );
    }

    #[test]
    fn an_issuer_is_named() {
        let issuer = "https://mis.example".to_owned();
        let content =
            RegisterContent { method: "EndIssuer".to_owned(), issuer, ..RegisterContent::default() };
        let printed = line(DeliveryKind::Issuer, Content::Register(content));
        assert!(printed.ends_with("  EndIssuer https://mis.example"), "{printed}");
    }

    #[test]
    fn the_column_of_kinds_holds_each_kind() {
        let kinds = (0..100).filter_map(|number| DeliveryKind::try_from(number).ok());
        let columns = kinds
            .map(|kind| line(kind, Content::Register(RegisterContent::default())).find("  from ").unwrap());
        let columns: std::collections::BTreeSet<_> = columns.filter(|at| *at > 0).collect();
        assert_eq!(columns.len(), 1, "{columns:?}");
    }
}

//! `alerts list|resolve`: the alerts of which an organisation was told.

use std::collections::BTreeMap;

use super::args::{ListAlertsArgs, ResolveAlertArgs};
use super::session::Session;
use super::{Failure, exchanges, output, placements, profile};
use crate::calendar::{Date, TimeOfDay};
use crate::client::Client;
use crate::clock::Instant;
use crate::proto::v1::oversight_service as oversight;
use crate::proto::v1::{Alert, AlertOrder, AlertState, ListAlertsRequest, Officer, ResolveAlertRequest};

/// Maximum number of pages that are requested: ten million alerts.
const MAX_PAGES: usize = 10_000;
/// Alerts on each page.
const PAGE_SIZE: i32 = 1_000;
/// Prefix of the names of states.
const STATE_PREFIX: &str = "ALERT_STATE";

/// Prints the alerts that match, each with the reference under which the provider has the placement.
///
/// # Errors
/// The client's.
pub async fn list(args: &ListAlertsArgs) -> Result<(), Failure> {
    let text = |text: &Option<String>| text.clone().unwrap_or_default();
    let state = args.state.as_deref().map(|name| exchanges::enum_name(STATE_PREFIX, name));
    let state = state.and_then(|name| AlertState::from_str_name(&name)).unwrap_or_default();
    let order = if args.order == "received" { AlertOrder::Unspecified } else { AlertOrder::Urgency };
    let request = ListAlertsRequest {
        page_size: PAGE_SIZE,
        state: state as i32,
        placement_id: text(&args.placement),
        rule: text(&args.rule),
        severity: args.severity.unwrap_or_default(),
        order: order as i32,
        ..ListAlertsRequest::default()
    };
    let client = profile::connect_from_args(&args.connection).await?;
    let alerts = list_all(&client, request).await?;
    if args.connection.json {
        alerts.iter().try_for_each(|alert| output::print_json("Alert", alert))?;
        return output::check_written();
    }
    let references = placements::references(&client).await?;
    let rows: Vec<_> = alerts.iter().map(|alert| table_row(alert, &references)).collect();
    let heading = [
        "ALERT",
        "RULE",
        "SEVERITY",
        "LEVEL",
        "STATE",
        "DUE",
        "ACT BY",
        "ABOUT",
        "REFERENCE",
        "PROVIDER",
        "COMMISSIONER",
    ];
    output::print_table(heading, &rows);
    output::check_written()
}

/// Returns every alert that matches.
///
/// # Errors
/// The client's.
pub async fn list_all(client: &Client, mut request: ListAlertsRequest) -> Result<Vec<Alert>, Failure> {
    let mut found = Vec::new();
    for _ in 0..MAX_PAGES {
        let reply = client.call(oversight::LIST_ALERTS, &request).await?.message;
        found.extend(reply.alerts);
        request.page_token = reply.next_page_token;
        if request.page_token.is_empty() {
            break;
        }
    }
    Ok(found)
}

fn table_row(alert: &Alert, references: &BTreeMap<String, String>) -> [String; 11] {
    let rule = if alert.item.is_empty() { String::new() } else { format!(" {}", alert.item) };
    let about = if alert.placement_id.is_empty() { &alert.subject } else { &alert.placement_id };
    [
        alert.alert_id.clone(),
        format!("{}{rule}", alert.rule),
        alert.severity.to_string(),
        alert.level.to_string(),
        state_name(alert.state()),
        alert.due_date.clone(),
        alert.act_by_time.as_ref().map(london_time).unwrap_or_default(),
        about.clone(),
        references.get(&alert.placement_id).cloned().unwrap_or_default(),
        alert.provider.clone(),
        alert.commissioner.clone(),
    ]
}

fn state_name(state: AlertState) -> String {
    state.as_str_name().trim_start_matches(STATE_PREFIX).trim_start_matches('_').to_lowercase()
}

/// Returns day and time in London. The midnight after a day is the end of that day.
fn london_time(time: &prost_types::Timestamp) -> String {
    let Ok(at) = Instant::from_proto(time) else { return String::new() };
    let day = Date::in_london(at);
    match day.previous().filter(|ended| ended.end_of_day() == at) {
        Some(ended) => format!("{ended} end of day"),
        None => format!("{day} {}", TimeOfDay::in_london(at)),
    }
}

/// Resolves an alert.
///
/// # Errors
/// The client's.
pub async fn resolve(args: &ResolveAlertArgs) -> Result<(), Failure> {
    let request = ResolveAlertRequest {
        request_id: args.request_id.clone().unwrap_or_default(),
        alert_id: args.alert.clone(),
        officer: Some(Officer {
            name: args.officer.clone(),
            role: args.officer_role.clone(),
            ..Officer::default()
        }),
        note: args.note.clone(),
        ..ResolveAlertRequest::default()
    };
    let session = Session::open(&args.connection).await?;
    let changed = session.change(oversight::RESOLVE_ALERT, &request).await?;
    session.report(&changed, &format!("resolved alert {}", args.alert)).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_midnight_is_the_end_of_the_day_before() {
        let shown = |text: &str| {
            let at: Instant = text.parse().unwrap();
            london_time(&at.to_proto())
        };
        assert_eq!(shown("2026-12-02T00:00:00Z"), "2026-12-01 end of day");
        assert_eq!(shown("2026-12-01T23:59:00Z"), "2026-12-01 23:59");
        assert_eq!(shown("2026-07-01T23:00:00Z"), "2026-07-01 end of day");
        assert_eq!(shown("2026-07-02T00:00:00Z"), "2026-07-02 01:00");
    }
}

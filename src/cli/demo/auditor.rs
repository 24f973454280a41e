//! Step of the auditor: lists who exchanged what about one placement, in the order of the log, without data of the
//! child.

use super::super::sandbox::files::ORGANISATIONS;
use super::super::{Failure, exchanges, print_line};
use super::{Clients, ensure};
use crate::proto;
use crate::proto::v1::{ExchangeRecord, ListExchangesRequest, RoleCode};

/// Phrases that describe methods in the terms of their users.
const METHOD_PHRASES: [(&str, &str); 16] = [
    ("CreateReferral", "sends the referral"),
    ("RespondToReferral", "answers it"),
    ("DecidePlacement", "decides on the placement"),
    ("PutPlan", "sends the plan"),
    ("StartPlacement", "starts the placement"),
    ("PutPassport", "writes the passport"),
    ("GetPassport", "reads the passport"),
    ("SharePassport", "shares the passport"),
    ("GetPlacement", "reads the placement and its plan"),
    ("SubmitProgress", "sends a progress return"),
    ("SubmitAttendance", "sends sessions"),
    ("ConfirmMarks", "states what its register holds"),
    ("GetAttendance", "reads the sessions"),
    ("ListDeliveries", "collects what was sent to it"),
    ("WatchDeliveries", "receives what was sent to it"),
    ("AcknowledgeDelivery", "acknowledges it"),
];

/// Shows every exchange about a placement, and checks that provider and auditor read the same log.
pub async fn show(clients: &Clients, placement: &str) -> Result<(), Failure> {
    print_line(
        "11. The auditor, whom local authority A appointed, reads who exchanged what about one placement",
    );
    let request =
        ListExchangesRequest { placement_id: placement.to_owned(), ..ListExchangesRequest::default() };
    let mut found = exchanges::list_all(&clients.auditor, request).await?;
    found.reverse();
    for exchange in &found {
        print_line(&format!(
            "   {}  {} {}{}",
            time_to_the_minute(exchange),
            display_name(&exchange.organisation),
            method_phrase(&exchange.method),
            person_phrase(exchange)
        ));
    }
    ensure_persons_are_named(&found)?;
    for method in ["CreateReferral", "SharePassport", "SubmitAttendance", "SubmitProgress", "WatchDeliveries"]
    {
        let is_present =
            found.iter().any(|exchange| exchanges::short_method_name(&exchange.method) == method);
        ensure(is_present, "an exchange about the placement is missing from the log")?;
    }
    let notes = clients.riverside.checkpoints().notes(clients.riverside.log_key())?;
    clients.auditor.verify_checkpoints(&notes).await?;
    print_line(
        "   Every checkpoint that Riverside received is consistent with the log that the auditor reads",
    );
    Ok(())
}

/// Checks that the log says in which role each passport was read, and by which pseudonym.
fn ensure_persons_are_named(found: &[ExchangeRecord]) -> Result<(), Failure> {
    let by = |role: RoleCode, break_glass: bool| {
        found.iter().any(|exchange| {
            exchanges::short_method_name(&exchange.method) == "GetPassport"
                && exchange.role() == role
                && exchange.break_glass == break_glass
                && exchange.practitioner.len() == 64
        })
    };
    let is_complete =
        by(RoleCode::Dsl, false) && by(RoleCode::PlacementLead, false) && by(RoleCode::PlacementLead, true);
    ensure(is_complete, "a person who read the passport is missing from the log")
}

/// Returns role and pseudonym of the person who acted, and whether in an emergency; empty for a system.
fn person_phrase(exchange: &ExchangeRecord) -> String {
    if exchange.practitioner.is_empty() {
        return String::new();
    }
    let short: String = exchange.practitioner.chars().take(8).collect();
    let emergency = if exchange.break_glass { " in an emergency" } else { "" };
    format!("{emergency}: {}, pseudonym {short}", proto::role_name(exchange.role()))
}

/// Returns the time of an exchange, to the minute.
fn time_to_the_minute(exchange: &ExchangeRecord) -> String {
    let written = exchanges::exchange_time(exchange).map(exchanges::london_time_text).unwrap_or_default();
    written.chars().take(16).collect()
}

fn display_name(organisation: &str) -> &str {
    let member = ORGANISATIONS.iter().find(|(_, id, ..)| *id == organisation);
    member.map_or(organisation, |(.., name)| name)
}

fn method_phrase(method: &str) -> &str {
    let name = exchanges::short_method_name(method);
    METHOD_PHRASES.iter().find(|(method, _)| *method == name).map_or(name, |(_, phrase)| phrase)
}

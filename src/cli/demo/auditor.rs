//! The auditor's view: who exchanged what about one placement, in the order of the log, and nothing of the
//! child.

use super::super::sandbox::files::CAST;
use super::super::{Failure, audit, exchanges, say};
use super::{Clients, ensure};
use crate::proto::v1::{ExchangeRecord, ListExchangesRequest};

/// What methods do, in the words of those whose job it is.
const WORDS: [(&str, &str); 16] = [
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

/// Shows every exchange about a placement, and that the log is one for all.
pub async fn show(clients: &Clients, placement: &str) -> Result<(), Failure> {
    say("9. The auditor, whom local authority A appointed, reads who exchanged what about one placement");
    let request =
        ListExchangesRequest { placement_id: placement.to_owned(), ..ListExchangesRequest::default() };
    let mut found = exchanges::every(&clients.auditor, request).await?;
    found.reverse();
    for exchange in &found {
        say(&format!("   {}  {} {}", when(exchange), who(&exchange.organisation), what(&exchange.method)));
    }
    for method in ["CreateReferral", "SharePassport", "SubmitAttendance", "SubmitProgress", "WatchDeliveries"]
    {
        let there = found.iter().any(|exchange| exchanges::short(&exchange.method) == method);
        ensure(there, "an exchange about the placement is missing in the log")?;
    }
    let notes = clients.riverside.seen().notes();
    audit::consistent(&clients.auditor, &notes).await?;
    say("   Every checkpoint that Riverside was shown lies on the log that the auditor is shown");
    Ok(())
}

/// To the minute.
fn when(exchange: &ExchangeRecord) -> String {
    let written = exchanges::time(exchange).map(exchanges::in_london).unwrap_or_default();
    written.chars().take(16).collect()
}

fn who(organisation: &str) -> &str {
    let member = CAST.iter().find(|(_, id, ..)| *id == organisation);
    member.map_or(organisation, |(.., name)| name)
}

fn what(method: &str) -> &str {
    let name = exchanges::short(method);
    WORDS.iter().find(|(known, _)| *known == name).map_or(name, |(_, words)| words)
}

//! The field checks, by their names in the data file.

use ap_gateway::calendar::{Date, TimeError, TimeOfDay};
use ap_gateway::clock::{Instant, InstantError};
use ap_gateway::codes::uln::UlnError;
use ap_gateway::codes::urn::EstablishmentNumberError;
use ap_gateway::codes::{Ukprn, Uln, Urn};
use ap_gateway::exchange::check::{Check, TextRule};
use ap_gateway::violation_reason::ViolationReason;
use serde_json::Value as Json;

/// Returns the reason with which a check rejects a value; empty if it accepts it.
pub fn refusal_reason(reader: &str, value: &Json) -> &'static str {
    let (mut check, text) = (Check::new(), value.as_str().unwrap_or_default());
    let today = Date::parse("2026-11-20").unwrap();
    let taken = match reader {
        "upn" => check.upn("f", text).is_some(),
        "permanent_upn" => check.permanent_upn("f", text).is_some(),
        "uln" => check.parsed("f", text, |sent| Uln::parse(sent).map_err(UlnError::reason)).is_some(),
        "urn" => check
            .parsed("f", text, |sent| Urn::parse(sent).map_err(EstablishmentNumberError::reason))
            .is_some(),
        "ukprn" => check
            .parsed("f", text, |sent| Ukprn::parse(sent).map_err(EstablishmentNumberError::reason))
            .is_some(),
        "id" => check.uuid("f", text).is_some(),
        "date" => check.date("f", text).is_some(),
        "date_of_birth" => check.date_of_birth("f", text, today).is_some(),
        "london_time" => check.parsed("f", text, london_time).is_some(),
        "instant" => {
            check.parsed("f", text, |sent| sent.parse::<Instant>().map_err(InstantError::reason)).is_some()
        }
        "score" => check.score("f", text.parse().unwrap(), 0.0..=100.0).is_some(),
        "count" => check.int_range("f", value.as_i64().unwrap(), 0..=1 << 53).is_some(),
        "list" => check.list_len("f", usize::try_from(value.as_u64().unwrap()).unwrap(), 500),
        "notes" => check.text("f", text, TextRule::notes(10_000)).is_some(),
        "line" => check.text("f", text, TextRule::line(100)).is_some(),
        "name" => check.text("f", text, TextRule::legal_name(100)).is_some(),
        "required_name" => check.text("f", text, TextRule::legal_name(100).required()).is_some(),
        "postcode" => check.postcode("f", text).is_some(),
        "phone" => check.phone("f", text).is_some(),
        "email" => check.email("f", text).is_some(),
        other => panic!("there is no reader called {other}"),
    };
    let faults = check.finish().err().unwrap_or_default();
    assert_eq!(taken, faults.is_empty(), "{reader} gives a value exactly where nothing is at fault");
    faults.first.first().map_or("", |fault| fault.reason.name())
}

fn london_time(text: &str) -> Result<Instant, ViolationReason> {
    let (date, time) = text.split_once('T').unwrap();
    TimeOfDay::parse(time).unwrap().instant_on(Date::parse(date).unwrap()).map_err(TimeError::reason)
}

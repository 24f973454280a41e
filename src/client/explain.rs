//! A refusal in words: its reason, and every field at fault.

use std::fmt::Write;

use tonic::Status;
use tonic_types::StatusExt;

/// Metadata of a refusal that a person reads, in this order.
const FACTS: [(&str, &str); 9] = [
    ("state", "now"),
    ("needed", "possible in"),
    ("next_actor", "who acts next"),
    ("passport_acknowledged", "version of the passport that was acknowledged"),
    ("passport_needed", "version that is needed"),
    ("placement_id", "placement whose record is damaged"),
    ("next_page_token", "page token behind it"),
    ("next_index", "cursor behind it, index"),
    ("next_ordinal", "cursor behind it, ordinal"),
];

/// The reason of a refusal, its sentence, and the fields at fault, one a line.
#[must_use]
pub fn explain(status: &Status) -> String {
    let details = status.get_error_details();
    let reason = details.error_info().map_or("", |info| info.reason.as_str());
    let mut text = format!("{reason}: {}", status.message());
    for (key, words) in FACTS {
        let fact =
            details.error_info().and_then(|info| info.metadata.get(key)).filter(|fact| !fact.is_empty());
        if let Some(fact) = fact {
            write!(text, "\n  {words}: {fact}").ok();
        }
    }
    for violation in details.bad_request().map_or(&[][..], |request| &request.field_violations) {
        // A refusal with many violations leaves texts out where they do not fit.
        let words = [&violation.description, &violation.reason].into_iter().find(|words| !words.is_empty());
        write!(text, "\n  {}: {}", violation.field, words.map_or("", String::as_str)).ok();
    }
    let omitted = details.error_info().and_then(|info| info.metadata.get("violations_omitted"));
    if let Some(omitted) = omitted {
        write!(text, "\n  and {omitted} more").ok();
    }
    text
}

/// The stable name of a refusal's reason; empty where the status carries none.
#[must_use]
pub fn reason(status: &Status) -> String {
    status.get_error_details().error_info().map_or_else(String::new, |info| info.reason.clone())
}

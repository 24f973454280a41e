//! Describes a refusal for people: its reason, its facts and every invalid field.

use std::fmt::Write;

use tonic::Status;
use tonic_types::StatusExt;

/// Metadata keys of a refusal that are shown, in this order, each with its label.
const METADATA_LABELS: [(&str, &str); 9] = [
    ("state", "now"),
    ("needed", "possible in"),
    ("next_actor", "who acts next"),
    ("passport_acknowledged", "version of the passport that was acknowledged"),
    ("passport_needed", "version that is needed"),
    ("placement_id", "placement whose record is damaged"),
    ("next_page_token", "page token after it"),
    ("next_index", "cursor to go on from, index"),
    ("next_ordinal", "cursor to go on from, ordinal"),
];

/// Returns the reason of a refusal, its message, and the invalid fields, one per line.
#[must_use]
pub fn explain(status: &Status) -> String {
    let details = status.get_error_details();
    let reason = details.error_info().map_or("", |info| info.reason.as_str());
    let mut text = format!("{reason}: {}", status.message());
    for (key, label) in METADATA_LABELS {
        let fact =
            details.error_info().and_then(|info| info.metadata.get(key)).filter(|fact| !fact.is_empty());
        if let Some(fact) = fact {
            write!(text, "\n  {label}: {fact}").ok();
        }
    }
    for violation in details.bad_request().map_or(&[][..], |request| &request.field_violations) {
        // A refusal with many violations omits the texts that do not fit.
        let words = [&violation.description, &violation.reason].into_iter().find(|words| !words.is_empty());
        write!(text, "\n  {}: {}", violation.field, words.map_or("", String::as_str)).ok();
    }
    let omitted = details.error_info().and_then(|info| info.metadata.get("violations_omitted"));
    if let Some(omitted) = omitted {
        write!(text, "\n  and {omitted} more").ok();
    }
    text
}

/// Returns the stable name of a refusal's reason; empty when the status has none.
#[must_use]
pub fn reason(status: &Status) -> String {
    status.get_error_details().error_info().map_or_else(String::new, |info| info.reason.clone())
}

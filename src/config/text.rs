//! Parser of a configuration's text. An error is one line with the position, the key and the values that the key
//! may have.

use std::net::SocketAddr;
use std::ops::{Range, RangeInclusive};

use serde::Deserialize;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::Config;
use crate::server::ManagementAddress;

/// Bounds of every number, by key. A test compares the list with the configuration's struct.
pub(super) const RANGES: [(&str, RangeInclusive<i64>, &str); 20] = [
    ("database.fold_after_pages", 100..=1_000_000, "pages of 4 KiB"),
    ("log.clock_jump_seconds", 1..=86_400, "seconds"),
    ("limits.request_bytes", 4_096..=16_777_216, "bytes"),
    ("limits.connections", 1..=1_000_000, "connections"),
    ("limits.pending_connections", 16..=65_536, "connections"),
    ("limits.pending_connections_per_address", 1..=65_536, "connections"),
    ("limits.connections_per_organisation", 1..=1_000_000, "connections"),
    ("limits.requests_per_second", 1..=1_000_000, "calls"),
    ("limits.request_burst", 1..=1_000_000, "calls"),
    ("limits.refusals_per_second", 1..=1_000_000, "refusals"),
    ("limits.handshake_seconds", 1..=60, "seconds"),
    ("limits.drain_seconds", 1..=300, "seconds"),
    ("limits.decision_rows", 1..=10_000_000, "rows"),
    ("limits.decision_queries", 1..=10_000_000, "queries"),
    ("limits.decision_milliseconds", 1..=300_000, "milliseconds"),
    ("limits.heartbeat_seconds", 1..=300, "seconds"),
    ("limits.buffer_bytes", 33_554_432..=1_099_511_627_776, "bytes"),
    ("limits.buffer_bytes_per_organisation", 20_971_520..=1_099_511_627_776, "bytes"),
    ("limits.buffer_bytes_unregistered", 1_048_576..=1_099_511_627_776, "bytes"),
    ("limits.answer_stall_seconds", 1..=300, "seconds"),
];

/// Keys that name one file or several.
const PATH_KEYS: [&str; 12] = [
    "tls.certificate",
    "tls.key",
    "tls.client_ca",
    "tls.crls",
    "database.sqlite",
    "database.postgres_url_file",
    "log.anchor",
    "log.signing_key",
    "log.key_ring",
    "log.commitment_key",
    "oversight.rules",
    "management.backup_stamp",
];
/// A text that has a form.
struct TextForm {
    key: &'static str,
    is_valid: fn(&str) -> bool,
    /// What the value must be.
    message: &'static str,
}

const TEXT_FORMS: [TextForm; 4] = [
    TextForm {
        key: "listen",
        is_valid: |address| address.parse::<SocketAddr>().is_ok(),
        message: "must be an IP address and a port, such as 127.0.0.1:8443",
    },
    TextForm {
        key: "management.listen",
        is_valid: |address| address.parse::<ManagementAddress>().is_ok(),
        message: "must be a loopback address and a port, such as 127.0.0.1:9464, or unix: and the path of a socket",
    },
    TextForm {
        key: "trust_domain",
        is_valid: is_trust_domain,
        message: "must be a SPIFFE trust domain: 1 to 255 of a-z 0-9 . - _, such as ap.example",
    },
    TextForm {
        key: "token_audience",
        is_valid: is_audience,
        message: "must be 1 to 255 visible ASCII characters, such as https://ap.example",
    },
];

/// Error in a configuration's text.
#[derive(Debug)]
pub(super) struct ConfigFault {
    /// The line, from 1.
    pub line: usize,
    /// The key and its error.
    pub what: String,
}

/// Parses a configuration and checks every value that can be checked alone.
pub(super) fn parse(text: &str) -> Result<Config, ConfigFault> {
    let table = DeTable::parse(text).map_err(|error| ConfigFault::from_toml_error(text, None, &error))?;
    for (key, range, unit) in &RANGES {
        if let Some(value) = find(table.get_ref(), key)
            && !integer(value.get_ref()).is_some_and(|number| range.contains(&number))
        {
            let message =
                format!("must be a whole number of {unit} from {} to {}", range.start(), range.end());
            return Err(ConfigFault::at_span(text, &value.span(), key, &message));
        }
    }
    for key in PATH_KEYS {
        let Some(value) = find(table.get_ref(), key) else { continue };
        let named = value.get_ref().as_array().map_or_else(|| vec![value], |array| array.iter().collect());
        if named.is_empty() || named.iter().any(|path| path.get_ref().as_str() == Some("")) {
            return Err(ConfigFault::at_span(text, &value.span(), key, "must name a file"));
        }
    }
    for TextForm { key, is_valid, message } in TEXT_FORMS {
        if let Some(value) = find(table.get_ref(), key)
            && value.get_ref().as_str().is_some_and(|value| !is_valid(value))
        {
            return Err(ConfigFault::at_span(text, &value.span(), key, message));
        }
    }
    Config::deserialize(toml::Deserializer::from(table.clone()))
        .map_err(|error| ConfigFault::from_toml_error(text, Some(table.get_ref()), &error))
}

impl ConfigFault {
    fn at_span(text: &str, span: &Range<usize>, key: &str, message: &str) -> Self {
        let before = text.get(..span.start).unwrap_or_default();
        Self { line: before.matches('\n').count() + 1, what: format!("{key} {message}") }
    }

    /// Converts an error of the TOML parser, and adds the key at its position.
    fn from_toml_error(text: &str, table: Option<&DeTable<'_>>, error: &toml::de::Error) -> Self {
        let span = error.span().unwrap_or(0..0);
        let key = table.map(|table| key_at(table, &span)).unwrap_or_default();
        let message = error.message().lines().collect::<Vec<_>>().join(" ");
        let key = if key.is_empty() { "the file".to_owned() } else { key };
        Self::at_span(text, &span, &format!("{key}:"), &message)
    }
}

/// Returns the value of a dotted key.
fn find<'a, 'i>(table: &'a DeTable<'i>, key: &str) -> Option<&'a Spanned<DeValue<'i>>> {
    match key.split_once('.') {
        None => table.get(key),
        Some((section, key)) => table.get(section)?.get_ref().as_table()?.get(key),
    }
}

/// Returns the innermost key whose value contains a position of the text.
fn key_at(table: &DeTable<'_>, span: &Range<usize>) -> String {
    for (name, value) in table {
        let inner = value.get_ref().as_table().map(|table| key_at(table, span)).filter(|key| !key.is_empty());
        let name = name.get_ref();
        if let Some(inner) = inner {
            return format!("{name}.{inner}");
        }
        if value.span().contains(&span.start) && span.start < span.end {
            return name.to_string();
        }
    }
    String::new()
}

/// Returns the value as an integer, or `None` beyond 64 bits.
fn integer(value: &DeValue<'_>) -> Option<i64> {
    let number = value.as_integer()?;
    i64::from_str_radix(number.as_str(), number.radix()).ok()
}

/// Checks whether a text can be the audience of tokens: an empty one would be named by mistake.
fn is_audience(audience: &str) -> bool {
    (1..=255).contains(&audience.len()) && audience.bytes().all(|letter| letter.is_ascii_graphic())
}

/// Checks whether a name is a SPIFFE trust domain.
fn is_trust_domain(name: &str) -> bool {
    let letter =
        |letter: u8| letter.is_ascii_lowercase() || letter.is_ascii_digit() || b".-_".contains(&letter);
    (1..=255).contains(&name.len()) && name.bytes().all(letter)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_number_of_the_configuration_has_a_range() {
        let manual = include_str!("../config.rs");
        let number = |line: &str| {
            ["usize", "u64", "u32", "u16"].map(|kind| format!("{kind},")).iter().any(|it| line.ends_with(it))
        };
        let numbers = manual.lines().map(str::trim).filter(|line| line.starts_with("pub ") && number(line));
        let mut numbers: Vec<_> =
            numbers.filter_map(|line| line.strip_prefix("pub ")?.split(':').next()).collect();
        let mut bounded: Vec<_> = RANGES.iter().filter_map(|(key, ..)| key.split('.').next_back()).collect();
        numbers.sort_unstable();
        bounded.sort_unstable();
        assert_eq!(numbers, bounded);
    }
}

//! `audit list`: lists exchanges that match filters, as a table, as protobuf JSON, or as CSV for a spreadsheet.

use std::collections::{BTreeMap, BTreeSet};

use super::args::ListExchangesArgs;
use super::session::word;
use super::spreadsheet_writer::SpreadsheetWriter;
use super::{Failure, output, print_line, profile};
use crate::calendar::{Date, TimeOfDay};
use crate::client::Client;
use crate::clock::Instant;
use crate::exchange::Reason;
use crate::proto;
use crate::proto::v1::audit_service as audit;
use crate::proto::v1::{
    ExchangeRecord, ExchangeSubject, LeafRole, ListExchangesRequest, Outcome, Purpose, RecordKind,
};

/// Maximum number of pages that are requested.
const MAX_PAGES: usize = 100_000;
/// Exchanges on each page.
const PAGE_SIZE: i32 = 1_000;

const CSV_HEADINGS: [&str; 26] = [
    "Time in London",
    "Time (UTC)",
    "Organisation",
    "Organisation's name",
    "System",
    "Processor acting for it",
    "Certificate (SHA-256)",
    "Method",
    "Purpose",
    "Lawful basis",
    "Sharing agreement",
    "Outcome",
    "Reason",
    "Reason in words",
    "Counterparts",
    "Counterparts' names",
    "Number of children",
    "Placements",
    "Kinds of record",
    "Records",
    "Identity claimed in a header, and ignored",
    "Person (pseudonym)",
    "Person's role",
    "Read in an emergency",
    "Exchange",
    "Index in the log",
];

/// Display names of registered organisations, by organisation id.
type DisplayNames = BTreeMap<String, String>;

/// Prints or writes the exchanges that match, the newest first.
///
/// # Errors
/// Exit code 2 for an invalid filter, 69 if the file cannot be written; or the client's.
pub async fn list(args: &ListExchangesArgs) -> Result<(), Failure> {
    let request = list_request(args)?;
    let client = profile::connect_from_args(&args.connection).await?;
    if let Some(path) = &args.csv {
        let (mut sheet, mut count) = (SpreadsheetWriter::create(path, &CSV_HEADINGS)?, 0_usize);
        for_each_page(&client, request, |exchanges, names| {
            count += exchanges.len();
            output::print_progress(&format!("{count} exchanges"));
            exchanges.iter().try_for_each(|exchange| {
                sheet.write_row(csv_cells(exchange, names).each_ref().map(String::as_str))
            })
        })
        .await?;
        let is_output = sheet.is_written_in_place();
        sheet.finish()?;
        output::print_progress("");
        // A pipe, which may be standard output itself, must contain only the rows.
        if !is_output {
            print_line(&format!("{count} exchanges written"));
        }
        return Ok(());
    }
    let mut rows = Vec::new();
    for_each_page(&client, request, |exchanges, _| {
        if args.connection.json {
            return exchanges.iter().try_for_each(|exchange| output::print_json("ExchangeRecord", exchange));
        }
        rows.extend(exchanges.iter().map(table_row));
        output::print_progress(&format!("{} exchanges", rows.len()));
        Ok(())
    })
    .await?;
    if !args.connection.json {
        output::print_progress("");
        let heading = [
            "INDEX",
            "TIME",
            "ORGANISATION",
            "SYSTEM",
            "METHOD",
            "OUTCOME",
            "PERSON",
            "WITH",
            "PLACEMENTS",
            "RECORDS",
        ];
        output::print_table(heading, &rows);
    }
    Ok(())
}

/// Returns every exchange that matches, the newest first.
///
/// # Errors
/// The client's.
pub async fn list_all(
    client: &Client,
    request: ListExchangesRequest,
) -> Result<Vec<ExchangeRecord>, Failure> {
    let mut found = Vec::new();
    for_each_page(client, request, |exchanges, _| {
        found.extend(exchanges);
        Ok(())
    })
    .await?;
    Ok(found)
}

pub(super) async fn for_each_page(
    client: &Client,
    mut request: ListExchangesRequest,
    mut handle_page: impl FnMut(Vec<ExchangeRecord>, &DisplayNames) -> Result<(), Failure>,
) -> Result<(), Failure> {
    let mut names = DisplayNames::new();
    for _ in 0..MAX_PAGES {
        let reply = client.call(audit::LIST_EXCHANGES, &request).await?.message;
        names.extend(reply.organisations.into_iter().map(|named| (named.organisation, named.display_name)));
        handle_page(reply.exchanges, &names)?;
        request.page_token = reply.next_page_token;
        if request.page_token.is_empty() {
            break;
        }
    }
    Ok(())
}

fn list_request(args: &ListExchangesArgs) -> Result<ListExchangesRequest, Failure> {
    let text = |text: &Option<String>| text.clone().unwrap_or_default();
    let outcome = args.outcome.as_deref().map(|name| {
        Outcome::from_str_name(&enum_name("OUTCOME", name))
            .ok_or_else(|| Failure::usage("--outcome is one of ok, refused, replayed, malformed, failed"))
    });
    let purpose = args.purpose.as_deref().map(|name| {
        Purpose::from_str_name(&enum_name("PURPOSE", name)).ok_or_else(|| {
            Failure::usage("--purpose is one of education-provision, attendance, safeguarding, oversight")
        })
    });
    let kind = args.kind.as_deref().map(|name| {
        RecordKind::from_str_name(&enum_name("RECORD_KIND", name)).ok_or_else(|| {
            Failure::usage(
                "--kind is one of placement, plan, passport, withholding, attendance, statement, progress, alert, \
                 acknowledgement, expected-return, break-glass",
            )
        })
    });
    let role = args.role.as_deref().map(|code| {
        proto::role_code(&code.replace('-', "_"))
            .ok_or_else(|| Failure::usage("--role is a role code in lower case, such as dsl or ap_lead"))
    });
    Ok(ListExchangesRequest {
        page_size: PAGE_SIZE,
        practitioner: text(&args.practitioner),
        role: role.transpose()?.unwrap_or_default() as i32,
        break_glass: args.break_glass,
        certificate_sha256: text(&args.certificate),
        record_version: args.record_version.unwrap_or_default(),
        reason: text(&args.reason),
        organisation: text(&args.organisation),
        system: text(&args.system),
        counterpart: text(&args.counterpart),
        placement_id: text(&args.placement),
        method: text(&args.method),
        outcome: outcome.transpose()?.unwrap_or_default() as i32,
        purpose: purpose.transpose()?.unwrap_or_default() as i32,
        record_kind: kind.transpose()?.unwrap_or_default() as i32,
        from_time: args
            .from
            .as_deref()
            .map(|text| parse_day_or_instant(text, 0))
            .transpose()?
            .map(Instant::to_proto),
        to_time: args
            .to
            .as_deref()
            .map(|text| parse_day_or_instant(text, 1))
            .transpose()?
            .map(Instant::to_proto),
        page_token: String::new(),
    })
}

/// Returns the name of an enum's value from its prefix and the value as people write it.
pub(super) fn enum_name(kind: &str, written: &str) -> String {
    format!("{kind}_{}", written.to_uppercase().replace('-', "_"))
}

/// Parses an instant, or a day as its first midnight in London; `days` is added to a day.
pub(super) fn parse_day_or_instant(text: &str, days: i32) -> Result<Instant, Failure> {
    let day = Date::parse(text).ok().map(|day| day.plus_days(days));
    let midnight =
        TimeOfDay::from_minutes(0).zip(day).and_then(|(midnight, day)| midnight.instant_on(day).ok());
    midnight.or_else(|| text.parse().ok()).ok_or_else(|| {
        Failure::usage("a time is a day such as 2026-11-02 or an instant such as 2026-11-02T09:00:00Z")
    })
}

fn table_row(exchange: &ExchangeRecord) -> [String; 10] {
    let outcome = exchange.outcome().as_str_name().trim_start_matches("OUTCOME_");
    let outcome = format!("{outcome} {}", exchange.reason);
    [
        exchange.index.to_string(),
        exchange_time(exchange).map(|time| time.to_string()).unwrap_or_default(),
        exchange.organisation.clone(),
        exchange.system.clone(),
        short_method_name(&exchange.method).to_owned(),
        outcome.trim_end().to_owned(),
        person_text(exchange),
        exchange.counterparts.join(" "),
        placements_text(exchange),
        records_text(exchange),
    ]
}

/// Returns the first placement and the number of others; the CSV has all.
fn placements_text(exchange: &ExchangeRecord) -> String {
    let placements: BTreeSet<&str> = exchange.subjects.iter().map(|subject| &*subject.placement_id).collect();
    match (exchange.subjects.first(), placements.len()) {
        (None, _) => String::new(),
        (Some(first), 1) => first.placement_id.clone(),
        (Some(first), count) => format!("{} and {} more", first.placement_id, count - 1),
    }
}

/// Returns role and pseudonym of the person who acted, and whether it broke the glass; empty for a system. The pseudonym is
/// whole, because `--practitioner` takes no part of one.
pub(super) fn person_text(exchange: &ExchangeRecord) -> String {
    let pseudonym = &exchange.practitioner;
    let glass = match (exchange.break_glass, exchange.break_glass_over_limit) {
        (_, true) => " BREAK-GLASS OVER-LIMIT",
        (true, false) => " BREAK-GLASS",
        (false, false) => "",
    };
    let role = if pseudonym.is_empty() { String::new() } else { proto::role_name(exchange.role()) };
    format!("{role} {pseudonym}{glass}").trim().to_owned()
}

/// Returns the records that the exchange was about, such as `read passport 2 of la/330 (MEDICAL META)`.
fn records_text(exchange: &ExchangeRecord) -> String {
    join(exchange.subjects.iter().map(|subject| {
        let (how, kind) = (how_text(subject.role()), kind_text(subject.kind()));
        let version = if subject.version == 0 { String::new() } else { format!(" {}", subject.version) };
        let names = blocks_text(subject);
        let blocks = if names.is_empty() { String::new() } else { format!(" ({names})") };
        format!("{how} {kind}{version} of {}{blocks}", subject.sender)
    }))
}

/// Returns what the caller did with a record, in a word.
pub(super) fn how_text(role: LeafRole) -> &'static str {
    match role {
        LeafRole::Submitted => "sent",
        LeafRole::Delivered => "collected",
        LeafRole::Read | LeafRole::Unspecified => "read",
    }
}

/// Returns a kind of record, such as `expected-return`.
pub(super) fn kind_text(kind: RecordKind) -> String {
    word(kind.as_str_name(), "RECORD_KIND_")
}

/// Returns the kinds of blocks of a passport.
pub(super) fn blocks_text(subject: &ExchangeSubject) -> String {
    let names = subject.blocks().map(|block| block.as_str_name().trim_start_matches("PASSPORT_BLOCK_KIND_"));
    names.collect::<Vec<_>>().join(" ")
}

fn csv_cells(exchange: &ExchangeRecord, names: &DisplayNames) -> [String; 26] {
    let name = |id: &String| names.get(id).cloned().unwrap_or_default();
    let utc = exchange_time(exchange).map(|time| time.to_string()).unwrap_or_default();
    [
        exchange_time(exchange).map(london_time_text).unwrap_or_default(),
        utc,
        exchange.organisation.clone(),
        name(&exchange.organisation),
        exchange.system.clone(),
        exchange.processor.clone(),
        exchange.certificate_sha256.clone(),
        short_method_name(&exchange.method).to_owned(),
        purpose_text(exchange),
        lawful_basis_text(exchange),
        join(exchange.bases.iter().map(|basis| basis.agreement_id.clone())),
        proto::enum_value_comment("Outcome", exchange.outcome),
        exchange.reason.clone(),
        reason_text(&exchange.reason).to_owned(),
        exchange.counterparts.join("; "),
        exchange.counterparts.iter().map(name).collect::<Vec<_>>().join("; "),
        exchange.child_count.to_string(),
        join(exchange.subjects.iter().map(|subject| subject.placement_id.clone())),
        join(exchange.subjects.iter().map(|subject| kind_text(subject.kind()))),
        records_text(exchange),
        yes(exchange.identity_claimed),
        exchange.practitioner.clone(),
        Some(exchange.role).filter(|role| *role != 0).map(role_text).unwrap_or_default(),
        break_glass_text(exchange),
        exchange.exchange_id.clone(),
        exchange.index.to_string(),
    ]
}

fn break_glass_text(exchange: &ExchangeRecord) -> String {
    let beyond = if exchange.break_glass_over_limit { ", over the limit of the day" } else { "" };
    yes(exchange.break_glass) + beyond
}

fn yes(is_so: bool) -> String {
    if is_so { "yes".to_owned() } else { String::new() }
}

/// Returns a role in words.
fn role_text(role: i32) -> String {
    proto::enum_value_comment("RoleCode", role)
}

pub(super) fn exchange_time(exchange: &ExchangeRecord) -> Option<Instant> {
    exchange.time.as_ref().and_then(|time| Instant::from_proto(time).ok())
}

pub(super) fn short_method_name(method: &str) -> &str {
    method.rsplit('/').next().unwrap_or_default()
}

/// Formats a time in London as spreadsheets of every locale parse it.
pub(super) fn london_time_text(at: Instant) -> String {
    format!("{} {}:{:02}", Date::in_london(at), TimeOfDay::in_london(at), at.seconds().rem_euclid(60))
}

/// Returns the purpose of the person's token, or else the purposes of the agreements.
fn purpose_text(exchange: &ExchangeRecord) -> String {
    let own = Some(exchange.purpose).filter(|purpose| *purpose != 0);
    let purposes =
        own.map_or_else(|| exchange.bases.iter().map(|basis| basis.purpose).collect(), |own| vec![own]);
    join(purposes.into_iter().map(|purpose| proto::enum_value_comment("Purpose", purpose)))
}

/// Joins texts, each once.
fn join(texts: impl Iterator<Item = String>) -> String {
    let mut joined: Vec<String> = Vec::new();
    for text in texts {
        if !joined.contains(&text) {
            joined.push(text);
        }
    }
    joined.join("; ")
}

/// Returns the lawful bases: UK GDPR Article 6, and for special-category data Article 9 and the paragraph of Schedule 1
/// to the Data Protection Act 2018.
fn lawful_basis_text(exchange: &ExchangeRecord) -> String {
    let article =
        |number: u8, words: String| format!("UK GDPR Article {number}({}", words.trim_start_matches('('));
    let mut parts = Vec::new();
    for basis in &exchange.bases {
        if basis.article_6 != 0 {
            parts.push(article(6, proto::enum_value_comment("Article6", basis.article_6)));
        }
        if basis.article_9 != 0 {
            parts.push(article(9, proto::enum_value_comment("Article9", basis.article_9)));
        }
        if !basis.schedule_1.is_empty() {
            parts.push(format!("Schedule 1 to the Data Protection Act 2018, paragraph {}", basis.schedule_1));
        }
        if !basis.schedule_1_article_10.is_empty() {
            let paragraph = &basis.schedule_1_article_10;
            parts.push(format!(
                "for data about offences Schedule 1 to the Data Protection Act 2018, paragraph {paragraph}"
            ));
        }
    }
    join(parts.into_iter())
}

/// Returns a reason of a refusal in words; empty for another text.
pub(super) fn reason_text(name: &str) -> &'static str {
    Reason::ALL.iter().find(|reason| reason.name() == name).map_or("", |reason| reason.text())
}

//! `breach scope`: what went out to a stolen certificate, a system or a person, and the 72 hours of UK GDPR Article 33.

use std::collections::BTreeSet;

use serde_json::json;

use super::super::args::{BreachCommand, BreachScopeArgs};
use super::super::exchanges::{
    blocks_text, exchange_time, how_text, kind_text, london_time_text, parse_day_or_instant, person_text,
    short_method_name,
};
use super::super::session::Session;
use super::super::spreadsheet_writer::SpreadsheetWriter;
use super::super::{Failure, output, print_line};
use crate::clock::{Clock, Instant, SystemClock};
use crate::proto::v1::audit_service as audit;
use crate::proto::v1::{
    BreachedOrganisation, ExchangeRecord, ExchangeSubject, GetBreachScopeRequest, GetBreachScopeResponse,
    LeafRole,
};

/// Time within which a controller reports a breach to the Information Commissioner (UK GDPR Article 33(1)), in hours.
const REPORT_WITHIN_HOURS: i64 = 72;
const MICROS_PER_HOUR: i64 = 3_600_000_000;
/// Maximum number of pages that are requested.
const MAX_PAGES: usize = 100_000;
/// Exchanges on each page.
const PAGE_SIZE: i32 = 1_000;

const HEADING: [&str; 11] = [
    "TIME",
    "ORGANISATION",
    "SYSTEM",
    "METHOD",
    "HOW",
    "RECORD",
    "VERSION",
    "BLOCKS",
    "SENDER",
    "PLACEMENT",
    "EXCHANGE",
];
const CSV_HEADINGS: [&str; 16] = [
    "Time in London",
    "Time (UTC)",
    "Organisation",
    "System",
    "Processor acting for it",
    "Certificate (SHA-256)",
    "Person (pseudonym)",
    "Method",
    "How",
    "Kind of record",
    "Version",
    "Kinds of blocks",
    "Sender of the record",
    "Placement",
    "Record",
    "Exchange",
];
const COUNT_HEADING: [&str; 6] =
    ["ORGANISATION", "NAME", "EXCHANGES", "CHILDREN", "RECORDS", "EXCHANGES THAT SENT RECORDS"];

/// Runs a command of `breach`.
///
/// # Errors
/// The client's.
pub async fn run(command: &BreachCommand) -> Result<(), Failure> {
    match command {
        BreachCommand::Scope(args) => scope(args).await,
    }
}

async fn scope(args: &BreachScopeArgs) -> Result<(), Failure> {
    let text = |text: &Option<String>| text.clone().unwrap_or_default();
    let aware = args.aware.as_deref().map(|text| parse_day_or_instant(text, 0)).transpose()?;
    let request = GetBreachScopeRequest {
        page_size: PAGE_SIZE,
        certificate_sha256: text(&args.certificate),
        organisation: text(&args.organisation),
        system: text(&args.system),
        practitioner: text(&args.practitioner),
        from_time: Some(parse_day_or_instant(&args.from, 0)?.to_proto()),
        to_time: Some(parse_day_or_instant(&args.to, 1)?.to_proto()),
        ..GetBreachScopeRequest::default()
    };
    let session = Session::open(&args.connection).await?;
    let pages = read_pages(&session, request).await?;
    let clock = ReportClock::new(aware);
    if session.is_json() {
        for page in &pages {
            page.exchanges.iter().try_for_each(|exchange| output::print_json("ExchangeRecord", exchange))?;
            page.breached.iter().try_for_each(|found| output::print_json("BreachedOrganisation", found))?;
        }
        print_line(&clock.to_json().to_string());
        return output::check_written();
    }
    if pages.iter().any(|page| !page.breached.is_empty()) {
        return report_counts(args, &pages);
    }
    let exchanges: Vec<ExchangeRecord> = pages.into_iter().flat_map(|page| page.exchanges).collect();
    if let Some(path) = &args.csv {
        let mut sheet = SpreadsheetWriter::create(path, &CSV_HEADINGS)?;
        for (exchange, subject) in rows_of(&exchanges) {
            sheet.write_row(csv_cells(exchange, subject).each_ref().map(String::as_str))?;
        }
        let is_output = sheet.is_written_in_place();
        sheet.finish()?;
        if is_output {
            return Ok(());
        }
    } else {
        let rows: Vec<_> =
            rows_of(&exchanges).map(|(exchange, subject)| table_row(exchange, subject)).collect();
        output::print_table(HEADING, &rows);
        print_line("");
    }
    print_line(&summary(&exchanges));
    clock.print();
    output::check_written()
}

async fn read_pages(
    session: &Session<'_>,
    mut request: GetBreachScopeRequest,
) -> Result<Vec<GetBreachScopeResponse>, Failure> {
    let mut pages = Vec::new();
    for _ in 0..MAX_PAGES {
        let page = session.read(audit::GET_BREACH_SCOPE, &request).await?;
        request.page_token.clone_from(&page.next_page_token);
        pages.push(page);
        if request.page_token.is_empty() {
            break;
        }
    }
    Ok(pages)
}

/// Returns the lines of a report: each record of each exchange, and exchanges without a record.
fn rows_of(
    exchanges: &[ExchangeRecord],
) -> impl Iterator<Item = (&ExchangeRecord, Option<&ExchangeSubject>)> {
    exchanges.iter().flat_map(|exchange| {
        let bare = exchange.subjects.is_empty().then_some((exchange, None));
        exchange.subjects.iter().map(move |subject| (exchange, Some(subject))).chain(bare)
    })
}

fn table_row(exchange: &ExchangeRecord, subject: Option<&ExchangeSubject>) -> [String; 11] {
    let cell = |text: fn(&ExchangeSubject) -> String| subject.map(text).unwrap_or_default();
    [
        exchange_time(exchange).map(|time| time.to_string()).unwrap_or_default(),
        exchange.organisation.clone(),
        exchange.system.clone(),
        short_method_name(&exchange.method).to_owned(),
        cell(|subject| how_text(subject.role()).to_owned()),
        cell(|subject| kind_text(subject.kind())),
        cell(version_text),
        cell(blocks_text),
        cell(|subject| subject.sender.clone()),
        cell(|subject| subject.placement_id.clone()),
        exchange.exchange_id.clone(),
    ]
}

fn csv_cells(exchange: &ExchangeRecord, subject: Option<&ExchangeSubject>) -> [String; 16] {
    let [utc, organisation, system, method, how, kind, version, blocks, sender, placement, id] =
        table_row(exchange, subject);
    [
        exchange_time(exchange).map(london_time_text).unwrap_or_default(),
        utc,
        organisation,
        system,
        exchange.processor.clone(),
        exchange.certificate_sha256.clone(),
        person_text(exchange),
        method,
        how,
        kind,
        version,
        blocks,
        sender,
        placement,
        subject.map(|subject| subject.record_id.clone()).unwrap_or_default(),
        id,
    ]
}

fn version_text(subject: &ExchangeSubject) -> String {
    if subject.version == 0 { String::new() } else { subject.version.to_string() }
}

/// Returns what went out in one sentence, and what was sent in that time.
fn summary(exchanges: &[ExchangeRecord]) -> String {
    let (mut children, mut records, mut sent) = (BTreeSet::new(), 0_usize, 0_usize);
    let mut with_records = 0_usize;
    for exchange in exchanges {
        let gone_out = || exchange.subjects.iter().filter(|subject| subject.role() != LeafRole::Submitted);
        children.extend(gone_out().map(|subject| subject.placement_id.as_str()));
        records += gone_out().count();
        sent += exchange.subjects.len() - gone_out().count();
        with_records += usize::from(gone_out().next().is_some());
    }
    let children = children.len();
    let went_out =
        format!("{records} records about {children} placements went out in {with_records} exchanges");
    if sent == 0 {
        went_out
    } else {
        format!("{went_out}; {sent} records were sent meanwhile and may be false")
    }
}

/// Prints or writes the numbers that an operator gets.
fn report_counts(args: &BreachScopeArgs, pages: &[GetBreachScopeResponse]) -> Result<(), Failure> {
    let names: std::collections::BTreeMap<&str, &str> = pages
        .iter()
        .flat_map(|page| &page.organisations)
        .map(|named| (named.organisation.as_str(), named.display_name.as_str()))
        .collect();
    let name = |id: &str| names.get(id).copied().unwrap_or_default().to_owned();
    let rows: Vec<[String; 6]> =
        total(pages).iter().map(|found| count_row(found, name(&found.organisation))).collect();
    if let Some(path) = &args.csv {
        let mut sheet = SpreadsheetWriter::create(path, &COUNT_HEADING)?;
        rows.iter().try_for_each(|row| sheet.write_row(row.iter().map(String::as_str)))?;
        let is_output = sheet.is_written_in_place();
        sheet.finish()?;
        if is_output {
            return Ok(());
        }
    } else {
        output::print_table(COUNT_HEADING, &rows);
        print_line("");
    }
    if pages.len() > 1 {
        print_line(
            "the numbers of children are upper limits, because the range was counted in several pages",
        );
    }
    print_line(
        "notify each of them without undue delay, as their processor (UK GDPR Article 33(2)); the 72 hours of each \
         run from when it becomes aware",
    );
    output::check_written()
}

/// Adds up the pages, by organisation.
fn total(pages: &[GetBreachScopeResponse]) -> Vec<BreachedOrganisation> {
    let mut sums: Vec<BreachedOrganisation> = Vec::new();
    for found in pages.iter().flat_map(|page| &page.breached) {
        match sums.iter_mut().find(|sum| sum.organisation == found.organisation) {
            None => sums.push(found.clone()),
            Some(sum) => {
                sum.exchange_count += found.exchange_count;
                sum.child_count += found.child_count;
                sum.record_count += found.record_count;
                sum.submitting_exchange_count += found.submitting_exchange_count;
            }
        }
    }
    sums.sort_by(|one, other| one.organisation.cmp(&other.organisation));
    sums
}

fn count_row(found: &BreachedOrganisation, name: String) -> [String; 6] {
    let number = |count: u32| count.to_string();
    [
        found.organisation.clone(),
        name,
        number(found.exchange_count),
        number(found.child_count),
        number(found.record_count),
        number(found.submitting_exchange_count),
    ]
}

/// The 72 hours of UK GDPR Article 33, from when the controller became aware.
struct ReportClock {
    aware: Instant,
    report_by: Instant,
    hours_left: i64,
}

impl ReportClock {
    /// Starts the clock when the controller became aware, by default now.
    fn new(aware: Option<Instant>) -> Self {
        let now = SystemClock.now();
        let aware = aware.unwrap_or(now);
        let report_by = aware.micros().saturating_add(REPORT_WITHIN_HOURS * MICROS_PER_HOUR);
        let hours_left = report_by.saturating_sub(now.micros()).div_euclid(MICROS_PER_HOUR);
        Self { aware, report_by: Instant::from_micros(report_by).unwrap_or(aware), hours_left }
    }

    fn to_json(&self) -> serde_json::Value {
        json!({ "aware_time": self.aware.to_string(), "report_by_time": self.report_by.to_string() })
    }

    fn print(&self) {
        let left = match self.hours_left {
            left @ 0.. => format!("{left} hours are left"),
            late => format!("it is {} hours late: report it now, with the reasons for the delay", -late),
        };
        print_line(&format!(
            "aware since {}: if it is a risk to the children, report it to the Information Commissioner by {} (UK GDPR \
             Article 33); {left}",
            self.aware, self.report_by
        ));
    }
}

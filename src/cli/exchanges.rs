//! `audit list`: exchanges by who, what, when and why; for people, for scripts, or for a spreadsheet.

use std::collections::BTreeMap;

use super::args::ListExchanges;
use super::spreadsheet::Spreadsheet;
use super::{Failure, output, profile, say};
use crate::calendar::{Date, TimeOfDay};
use crate::client::Client;
use crate::clock::Instant;
use crate::exchange::Reason;
use crate::proto;
use crate::proto::v1::audit_service as audit;
use crate::proto::v1::{ExchangeRecord, ListExchangesRequest, Outcome, Purpose};

/// Pages that are followed.
const PAGES: usize = 100_000;
/// Exchanges of a page.
const PAGE: i32 = 1_000;

const HEADING: [&str; 20] = [
    "Time in London",
    "Time (UTC)",
    "Organisation",
    "Organisation's name",
    "System",
    "Processor acting for it",
    "Method",
    "Purpose",
    "Lawful basis",
    "Sharing agreement",
    "Outcome",
    "Reason",
    "Reason in words",
    "Counterparts",
    "Counterparts' names",
    "Number of counterparts",
    "Number of children",
    "Identity claimed in a header, and ignored",
    "Exchange",
    "Index in the log",
];

/// Names of organisations by their ids, as far as they are registered.
type Names = BTreeMap<String, String>;

/// Lists exchanges, the newest first.
///
/// # Errors
/// Exit code 2 for a filter, 69 when the file cannot be written; or the client's.
pub async fn list(args: &ListExchanges) -> Result<(), Failure> {
    let request = request(args)?;
    let client = profile::open(&args.of).await?;
    if let Some(path) = &args.csv {
        let (mut sheet, mut count) = (Spreadsheet::create(path, &HEADING)?, 0_usize);
        pages(&client, request, |exchanges, names| {
            count += exchanges.len();
            output::progress(&format!("{count} exchanges"));
            exchanges
                .iter()
                .try_for_each(|exchange| sheet.row(cells(exchange, names).each_ref().map(String::as_str)))
        })
        .await?;
        let is_output = sheet.is_written_through();
        sheet.finish()?;
        output::progress("");
        // A pipe, perhaps standard output itself, gets the rows and nothing else.
        if !is_output {
            say(&format!("{count} exchanges written"));
        }
        return Ok(());
    }
    let mut rows = Vec::new();
    pages(&client, request, |exchanges, _| {
        if args.of.json {
            return exchanges.iter().try_for_each(|exchange| output::json("ExchangeRecord", exchange));
        }
        rows.extend(exchanges.iter().map(row));
        output::progress(&format!("{} exchanges", rows.len()));
        Ok(())
    })
    .await?;
    if !args.of.json {
        output::progress("");
        output::table(["INDEX", "TIME", "ORGANISATION", "SYSTEM", "METHOD", "OUTCOME", "WITH"], &rows);
    }
    Ok(())
}

/// Every exchange that matches, the newest first.
///
/// # Errors
/// The client's.
pub async fn every(client: &Client, request: ListExchangesRequest) -> Result<Vec<ExchangeRecord>, Failure> {
    let mut found = Vec::new();
    pages(client, request, |exchanges, _| {
        found.extend(exchanges);
        Ok(())
    })
    .await?;
    Ok(found)
}

async fn pages(
    client: &Client,
    mut request: ListExchangesRequest,
    mut take: impl FnMut(Vec<ExchangeRecord>, &Names) -> Result<(), Failure>,
) -> Result<(), Failure> {
    let mut names = Names::new();
    for _ in 0..PAGES {
        let reply = client.call(audit::LIST_EXCHANGES, &request).await?.message;
        names.extend(reply.organisations.into_iter().map(|named| (named.organisation, named.display_name)));
        take(reply.exchanges, &names)?;
        request.page_token = reply.next_page_token;
        if request.page_token.is_empty() {
            break;
        }
    }
    Ok(())
}

fn request(args: &ListExchanges) -> Result<ListExchangesRequest, Failure> {
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
    Ok(ListExchangesRequest {
        page_size: PAGE,
        organisation: text(&args.organisation),
        system: text(&args.system),
        counterpart: text(&args.counterpart),
        placement_id: text(&args.placement),
        method: text(&args.method),
        outcome: outcome.transpose()?.unwrap_or_default() as i32,
        purpose: purpose.transpose()?.unwrap_or_default() as i32,
        from_time: args.from.as_deref().map(|text| moment(text, 0)).transpose()?.map(Instant::to_proto),
        to_time: args.to.as_deref().map(|text| moment(text, 1)).transpose()?.map(Instant::to_proto),
        ..ListExchangesRequest::default()
    })
}

fn enum_name(kind: &str, written: &str) -> String {
    format!("{kind}_{}", written.to_uppercase().replace('-', "_"))
}

/// An instant, or the midnight in London with which a day begins, or ends if `days` is 1.
fn moment(text: &str, days: i32) -> Result<Instant, Failure> {
    let day = Date::parse(text).ok().map(|day| day.plus_days(days));
    let midnight = TimeOfDay::from_minutes(0).zip(day).and_then(|(midnight, day)| midnight.on(day).ok());
    midnight.or_else(|| text.parse().ok()).ok_or_else(|| {
        Failure::usage("--from and --to are days such as 2026-11-02 or instants such as 2026-11-02T09:00:00Z")
    })
}

fn row(exchange: &ExchangeRecord) -> [String; 7] {
    let outcome = exchange.outcome().as_str_name().trim_start_matches("OUTCOME_");
    let outcome = format!("{outcome} {}", exchange.reason);
    [
        exchange.index.to_string(),
        time(exchange).map(|time| time.to_string()).unwrap_or_default(),
        exchange.organisation.clone(),
        exchange.system.clone(),
        short(&exchange.method).to_owned(),
        outcome.trim_end().to_owned(),
        exchange.counterparts.join(" "),
    ]
}

fn cells(exchange: &ExchangeRecord, names: &Names) -> [String; 20] {
    let name = |id: &String| names.get(id).cloned().unwrap_or_default();
    let utc = time(exchange).map(|time| time.to_string()).unwrap_or_default();
    [
        time(exchange).map(in_london).unwrap_or_default(),
        utc,
        exchange.organisation.clone(),
        name(&exchange.organisation),
        exchange.system.clone(),
        exchange.processor.clone(),
        short(&exchange.method).to_owned(),
        proto::words("Purpose", exchange.purpose),
        basis(exchange),
        exchange.agreement_id.clone(),
        proto::words("Outcome", exchange.outcome),
        exchange.reason.clone(),
        reason(&exchange.reason).to_owned(),
        exchange.counterparts.join("; "),
        exchange.counterparts.iter().map(name).collect::<Vec<_>>().join("; "),
        exchange.counterpart_count.to_string(),
        exchange.child_count.to_string(),
        if exchange.identity_claimed { "yes".to_owned() } else { String::new() },
        exchange.exchange_id.clone(),
        exchange.index.to_string(),
    ]
}

pub(super) fn time(exchange: &ExchangeRecord) -> Option<Instant> {
    exchange.time.as_ref().and_then(|time| Instant::from_proto(time).ok())
}

pub(super) fn short(method: &str) -> &str {
    method.rsplit('/').next().unwrap_or_default()
}

/// As a spreadsheet reads a time, whatever its language.
pub(super) fn in_london(at: Instant) -> String {
    format!("{} {}:{:02}", Date::in_london(at), TimeOfDay::in_london(at), at.seconds().rem_euclid(60))
}

/// Article 6, and for special-category data Article 9 with the paragraph of Schedule 1.
fn basis(exchange: &ExchangeRecord) -> String {
    let article =
        |number: u8, words: String| format!("UK GDPR Article {number}({}", words.trim_start_matches('('));
    let mut parts = Vec::new();
    if exchange.article_6 != 0 {
        parts.push(article(6, proto::words("Article6", exchange.article_6)));
    }
    if exchange.article_9 != 0 {
        parts.push(article(9, proto::words("Article9", exchange.article_9)));
    }
    if !exchange.schedule_1.is_empty() {
        parts.push(format!("Schedule 1 to the Data Protection Act 2018, paragraph {}", exchange.schedule_1));
    }
    parts.join("; ")
}

fn reason(name: &str) -> &'static str {
    Reason::ALL.iter().find(|reason| reason.name() == name).map_or("", |reason| reason.text())
}

//! `review access`: what an organisation reviews of a month's access: its certificates, grants and agreements, and what the
//! log says of refusals and unusual reads.

mod reads;

use serde_json::json;

use self::reads::{Finding, MonthOfReads};
use super::super::args::{ReviewAccessArgs, ReviewCommand};
use super::super::session::{Session, word};
use super::super::spreadsheet_writer::SpreadsheetWriter;
use super::super::{Failure, exchanges, output, print_line, profile};
use super::{instant_text, period_text};
use crate::calendar::{Date, TimeOfDay};
use crate::client::{self, ClientError};
use crate::clock::Instant;
use crate::exchange::Reason;
use crate::proto::v1::register_service as register;
use crate::proto::v1::{
    AgreementState, CertificateState, GetOrganisationRequest, ListAgreementsRequest, ListAgreementsResponse,
    ListExchangesRequest, ListGrantsRequest, RegisteredCertificate,
};
use crate::proto::{Rpc, v1};

/// Days before the month of which the log is read: who read of a child in them does not read it for the first time.
const DAYS_BEFORE: i32 = 92;
/// Days after the month in which what ends or expires is named.
const DAYS_AHEAD: i32 = 31;
/// Maximum number of pages of agreements and of grants.
const MAX_PAGES: usize = 1_000;
/// Exchanges, agreements and grants on each page.
const PAGE_SIZE: i32 = 1_000;

const HEADING: [&str; 5] = ["WHAT", "WHO OR WHICH", "DETAIL", "COUNT", "FIRST"];

/// The days that are reviewed.
struct Month {
    first: Date,
    last: Date,
}

/// Runs a command of `review`.
///
/// # Errors
/// The client's; exit code 2 for an invalid month.
pub async fn run(command: &ReviewCommand) -> Result<(), Failure> {
    match command {
        ReviewCommand::Access(args) => access(args).await,
    }
}

async fn access(args: &ReviewAccessArgs) -> Result<(), Failure> {
    let month = Month::parse(&args.month)?;
    let session = Session::open(&args.connection).await?;
    let log = read_log(&session, &month).await?;
    let organisation = profile::cursor_folder_and_organisation(&args.connection.profile)?.1;
    let mut findings = certificates(&session, organisation, &month, &log).await?;
    findings.extend(grants(&session, &month, &log).await?);
    findings.extend(agreements(&session, &month).await?);
    findings.extend(log.findings());
    write(args, &findings)
}

/// Prints or writes the findings.
fn write(args: &ReviewAccessArgs, findings: &[Finding]) -> Result<(), Failure> {
    if args.connection.json {
        for Finding { what, subject, detail, count, first } in findings {
            let line = json!({
                "what": what, "subject": subject, "detail": detail, "count": count, "first_time": first,
            });
            print_line(&line.to_string());
        }
        return output::check_written();
    }
    let rows = findings.iter().map(|found| {
        let Finding { what, subject, detail, count, first } = found;
        [(*what).to_owned(), subject.clone(), detail.clone(), count.to_string(), first.clone()]
    });
    let Some(path) = &args.csv else {
        output::print_table(HEADING, &rows.collect::<Vec<_>>());
        return output::check_written();
    };
    let mut sheet =
        SpreadsheetWriter::create(path, &["What", "Who or which", "Detail", "Count", "First (UTC)"])?;
    for row in rows {
        sheet.write_row(row.each_ref().map(String::as_str))?;
    }
    let is_output = sheet.is_written_in_place();
    sheet.finish()?;
    if !is_output {
        print_line(&format!("{} findings written", findings.len()));
    }
    output::check_written()
}

/// Reads the month's exchanges, and those before, by which a first read is told from others.
async fn read_log(session: &Session<'_>, month: &Month) -> Result<MonthOfReads, Failure> {
    let request = ListExchangesRequest {
        page_size: PAGE_SIZE,
        from_time: Some(midnight(month.first.plus_days(-DAYS_BEFORE))?.to_proto()),
        to_time: Some(midnight(month.first.plus_months(1))?.to_proto()),
        ..ListExchangesRequest::default()
    };
    let (mut log, mut count) = (MonthOfReads::new(midnight(month.first)?), 0_usize);
    exchanges::for_each_page(session.client(), request, |page, _| {
        for exchange in &page {
            log.add(exchange);
        }
        count += page.len();
        output::print_progress(&format!("{count} exchanges"));
        Ok(())
    })
    .await?;
    output::print_progress("");
    Ok(log)
}

/// Returns the organisation's registered certificates: how much each was used, and whether it expires.
async fn certificates(
    session: &Session<'_>,
    organisation: String,
    month: &Month,
    log: &MonthOfReads,
) -> Result<Vec<Finding>, Failure> {
    let request = GetOrganisationRequest { organisation };
    let found = session.read(register::GET_ORGANISATION, &request).await?.organisation.unwrap_or_default();
    let registered =
        found.certificates.iter().filter(|found| found.state == i32::from(CertificateState::Registered));
    let finding = |certificate: &RegisteredCertificate| {
        let count = log.uses.get(&certificate.sha256).copied().unwrap_or_default();
        let expires = Instant::from_micros(certificate.not_after_us).map(Date::in_london);
        let is_soon = expires.is_ok_and(|day| day <= month.last.plus_days(DAYS_AHEAD));
        let mut detail =
            format!("system {}, expires {}", certificate.system, instant_text(certificate.not_after_us));
        if is_soon {
            detail.push_str(": renew it");
        }
        if count == 0 {
            detail.push_str(": not used in the month");
        }
        Finding { what: "certificate", subject: certificate.sha256.clone(), detail, count, first: none() }
    };
    Ok(registered.map(finding).collect())
}

/// Returns the grants in force in the month, with the number of exchanges of whom they were given to.
async fn grants(session: &Session<'_>, month: &Month, log: &MonthOfReads) -> Result<Vec<Finding>, Failure> {
    let request = ListGrantsRequest { page_size: PAGE_SIZE, ..ListGrantsRequest::default() };
    let pages: Vec<v1::ListGrantsResponse> =
        read_all(session, register::LIST_GRANTS, request, |request, page: &v1::ListGrantsResponse| {
            request.page_token.clone_from(&page.next_page_token);
            !page.next_page_token.is_empty()
        })
        .await?;
    let in_force = pages
        .into_iter()
        .flat_map(|page| page.grants)
        .filter(|grant| !grant.ended && month.overlaps(&grant.from_date, &grant.to_date));
    let finding = |grant: v1::Grant| {
        let count = log.uses.get(&grant.grantee).copied().unwrap_or_default();
        let kind = word(grant.kind().as_str_name(), "GRANT_KIND_");
        let days = period_text(&grant.from_date, &grant.to_date);
        let open = if grant.to_date.is_empty() { ", without an end" } else { "" };
        let detail = format!(
            "{kind} {} for {}, {days}{open} {}",
            grant.grantee,
            grant.grantor,
            grant.methods.join(" ")
        );
        Finding {
            what: "grant",
            subject: grant.grant_id,
            detail: detail.trim_end().to_owned(),
            count,
            first: none(),
        }
    };
    Ok(in_force.map(finding).collect())
}

/// Returns the agreements in force that must be reviewed or that end. An organisation that is no party to any has none.
async fn agreements(session: &Session<'_>, month: &Month) -> Result<Vec<Finding>, Failure> {
    let request = ListAgreementsRequest {
        page_size: PAGE_SIZE,
        state: AgreementState::InForce.into(),
        ..ListAgreementsRequest::default()
    };
    let pages: Vec<ListAgreementsResponse> =
        read_all(session, register::LIST_AGREEMENTS, request, |request, page: &ListAgreementsResponse| {
            request.page_token.clone_from(&page.next_page_token);
            !page.next_page_token.is_empty()
        })
        .await?;
    let limit = month.last.plus_days(DAYS_AHEAD).to_string();
    let due = pages
        .into_iter()
        .flat_map(|page| page.agreements)
        .filter(|agreement| agreement.review_by <= limit || agreement.to_date <= limit);
    let finding = |agreement: v1::Agreement| Finding {
        what: "agreement",
        detail: format!(
            "{}: review by {}, ends {}",
            agreement.parties.join(" "),
            agreement.review_by,
            agreement.to_date
        ),
        subject: agreement.agreement_id,
        count: 0,
        first: none(),
    };
    Ok(due.map(finding).collect())
}

/// Reads all pages of a list; none if an organisation of this kind may not call the method. `advance` sets the token of
/// the next page, and returns whether there is one.
async fn read_all<Req: prost::Message, Resp: prost::Message + Default>(
    session: &Session<'_>,
    rpc: Rpc<Req, Resp>,
    mut request: Req,
    advance: impl Fn(&mut Req, &Resp) -> bool,
) -> Result<Vec<Resp>, Failure> {
    let mut pages = Vec::new();
    for _ in 0..MAX_PAGES {
        let page = match session.client().call(rpc, &request).await {
            Ok(reply) => reply.message,
            Err(ClientError::Refused(status))
                if client::reason(&status) == Reason::MethodNotAllowed.name() =>
            {
                break;
            }
            Err(error) => return Err(error.into()),
        };
        let has_more = advance(&mut request, &page);
        pages.push(page);
        if !has_more {
            break;
        }
    }
    Ok(pages)
}

impl Month {
    fn parse(text: &str) -> Result<Self, Failure> {
        let first = Date::parse(&format!("{text}-01"))
            .map_err(|_| Failure::usage("--month is a month such as 2026-11"))?;
        let last = first.plus_months(1).previous().unwrap_or(first);
        Ok(Self { first, last })
    }

    /// Returns whether days in the form YYYY-MM-DD, whose end may be open, have a day of the month.
    fn overlaps(&self, from: &str, to: &str) -> bool {
        *from <= *self.last.to_string() && (to.is_empty() || *to >= *self.first.to_string())
    }
}

/// Returns the first instant of a day in London.
fn midnight(day: Date) -> Result<Instant, Failure> {
    let midnight = TimeOfDay::from_minutes(0).and_then(|midnight| midnight.instant_on(day).ok());
    midnight.ok_or_else(|| Failure::usage("--month is a month such as 2026-11"))
}

fn none() -> String {
    "-".to_owned()
}

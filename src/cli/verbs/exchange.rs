//! `exchange show`: one exchange, by the id that a receipt or a refusal has.

use super::super::args::{ExchangeCommand, ShowExchangeArgs};
use super::super::exchanges::{how_text, kind_text, person_text, reason_text};
use super::super::session::{Session, word};
use super::super::{Failure, output, print_line};
use super::time_text;
use crate::proto::v1::audit_service as audit;
use crate::proto::v1::{ExchangeRecord, GetExchangeRequest};

/// Runs a command of `exchange`.
///
/// # Errors
/// The client's.
pub async fn run(command: &ExchangeCommand) -> Result<(), Failure> {
    match command {
        ExchangeCommand::Show(args) => show(args).await,
    }
}

async fn show(args: &ShowExchangeArgs) -> Result<(), Failure> {
    let session = Session::open(&args.connection).await?;
    let request = GetExchangeRequest { exchange_id: args.exchange.clone() };
    session
        .show(audit::GET_EXCHANGE, &request, async |session, reply| {
            print_exchange(session, &reply.exchange.unwrap_or_default()).await;
            Ok(())
        })
        .await
}

async fn print_exchange(session: &Session<'_>, exchange: &ExchangeRecord) {
    let ids = exchange.counterparts.iter().chain([&exchange.organisation, &exchange.processor]);
    let ids = ids.chain(exchange.subjects.iter().map(|subject| &subject.sender));
    let names = session.names(ids.map(String::as_str)).await;
    let processor = Some(&exchange.processor).filter(|id| !id.is_empty());
    for (label, value) in [
        ("exchange", exchange.exchange_id.clone()),
        ("index", exchange.index.to_string()),
        ("time", time_text(exchange.time.as_ref())),
        ("organisation", names.with_id(&exchange.organisation)),
        ("system", exchange.system.clone()),
        ("certificate", exchange.certificate_sha256.clone()),
        ("processor", processor.map(|id| names.with_id(id)).unwrap_or_default()),
        ("person", person_text(exchange)),
        ("method", exchange.method.clone()),
        ("outcome", word(exchange.outcome().as_str_name(), "OUTCOME_")),
        ("reason", exchange.reason.clone()),
        ("in words", reason_text(&exchange.reason).to_owned()),
        ("with", names.all(&exchange.counterparts)),
        (
            "repeats",
            Some(exchange.repeats).filter(|count| *count > 0).map_or_else(String::new, |n| n.to_string()),
        ),
    ] {
        if !value.is_empty() {
            print_line(&format!("{label}: {}", output::escape_control(&value)));
        }
    }
    if exchange.subjects.is_empty() {
        return;
    }
    let rows: Vec<_> = exchange
        .subjects
        .iter()
        .map(|subject| {
            let version = if subject.version == 0 { String::new() } else { subject.version.to_string() };
            let sender = names.with_id(&subject.sender);
            let how = how_text(subject.role()).to_owned();
            [how, kind_text(subject.kind()), version, sender, subject.placement_id.clone()]
        })
        .collect();
    output::print_table(["HOW", "RECORD", "VERSION", "SENDER", "PLACEMENT"], &rows);
}

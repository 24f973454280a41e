//! `progress`: progress returns of a provider.

use super::super::args::{PlacementArgs, ProgressCommand};
use super::super::session::Session;
use super::super::{Failure, json_request, output, print_line};
use super::time_text;
use crate::proto::v1::GetProgressRequest;
use crate::proto::v1::returns_service as rpc;

/// Runs a command of `progress`.
///
/// # Errors
/// The client's.
pub async fn run(command: &ProgressCommand) -> Result<(), Failure> {
    match command {
        ProgressCommand::Submit(args) => {
            json_request::send("SubmitProgress", &args.files, &args.connection).await
        }
        ProgressCommand::Show(args) => show(args).await,
    }
}

async fn show(args: &PlacementArgs) -> Result<(), Failure> {
    let session = Session::open(&args.connection).await?;
    let request =
        GetProgressRequest { placement_id: args.placement.clone(), ..GetProgressRequest::default() };
    let pages = session.list(rpc::GET_PROGRESS, &request).await?;
    if session.is_json() {
        return Ok(());
    }
    for record in pages.into_iter().flat_map(|page| page.records) {
        let received = time_text(record.received_time.as_ref());
        print_line(&format!("revision {}, received {received}", record.revision));
        print_line(&format!(
            "{:#}",
            output::to_json("ProgressReturn", &record.progress.unwrap_or_default())?
        ));
    }
    output::check_written()
}

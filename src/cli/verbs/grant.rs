//! `grant`: what processors and auditors may do for an organisation.

use super::super::args::{EndGrantArgs, GrantAuditorArgs, GrantCommand, GrantProcessorArgs, ProfileArgs};
use super::super::session::{Session, word};
use super::super::{Failure, output};
use super::period_text;
use crate::proto::v1::register_service as rpc;
use crate::proto::v1::{
    AppointAuditorRequest, AuthoriseProcessorRequest, EndGrantRequest, Grant, ListGrantsRequest,
};

/// Runs a command of `grant`.
///
/// # Errors
/// The client's.
pub async fn run(command: &GrantCommand) -> Result<(), Failure> {
    match command {
        GrantCommand::Processor(args) => processor(args).await,
        GrantCommand::Auditor(args) => auditor(args).await,
        GrantCommand::List(args) => list(args).await,
        GrantCommand::End(args) => end(args).await,
    }
}

async fn processor(args: &GrantProcessorArgs) -> Result<(), Failure> {
    let request = AuthoriseProcessorRequest {
        processor: args.processor.clone(),
        methods: args.methods.clone(),
        from_date: args.from.clone(),
        to_date: args.to.clone().unwrap_or_default(),
        ..AuthoriseProcessorRequest::default()
    };
    let session = Session::open(&args.connection).await?;
    let changed = session.change(rpc::AUTHORISE_PROCESSOR, &request).await?;
    let (id, methods) = (&changed.reply.grant_id, args.methods.join(", "));
    session.report(&changed, &format!("grant {id}: {} may call {methods}", args.processor)).await
}

async fn auditor(args: &GrantAuditorArgs) -> Result<(), Failure> {
    let request = AppointAuditorRequest {
        auditor: args.auditor.clone(),
        from_date: args.from.clone(),
        to_date: args.to.clone().unwrap_or_default(),
        ..AppointAuditorRequest::default()
    };
    let session = Session::open(&args.connection).await?;
    let changed = session.change(rpc::APPOINT_AUDITOR, &request).await?;
    let text = format!("grant {}: {} may read the log", changed.reply.grant_id, args.auditor);
    session.report(&changed, &text).await
}

async fn list(args: &ProfileArgs) -> Result<(), Failure> {
    let session = Session::open(args).await?;
    let request = ListGrantsRequest { page_size: 1_000, ..ListGrantsRequest::default() };
    let pages = session.list(rpc::LIST_GRANTS, &request).await?;
    if session.is_json() {
        return Ok(());
    }
    let grants: Vec<Grant> = pages.into_iter().flat_map(|page| page.grants).collect();
    let ids = grants.iter().flat_map(|grant| [grant.grantor.as_str(), grant.grantee.as_str()]);
    let names = session.names(ids).await;
    let rows: Vec<_> = grants
        .iter()
        .map(|grant| {
            [
                grant.grant_id.clone(),
                word(grant.kind().as_str_name(), "GRANT_KIND_"),
                names.with_id(&grant.grantor),
                names.with_id(&grant.grantee),
                if grant.ended { "ended".to_owned() } else { period_text(&grant.from_date, &grant.to_date) },
                grant.methods.join(" "),
            ]
        })
        .collect();
    output::print_table(["GRANT", "KIND", "GIVEN BY", "GIVEN TO", "DAYS", "METHODS"], &rows);
    output::check_written()
}

async fn end(args: &EndGrantArgs) -> Result<(), Failure> {
    let session = Session::open(&args.connection).await?;
    let request = EndGrantRequest { grant_id: args.grant.clone(), ..EndGrantRequest::default() };
    let changed = session.change(rpc::END_GRANT, &request).await?;
    session.report(&changed, &format!("ended grant {}", args.grant)).await
}

//! `agreement`: sharing agreements, whose terms are read before they are signed.

use super::super::args::{AgreementArgs, AgreementCommand, ListAgreementsArgs, SignAgreementArgs};
use super::super::session::{Session, enum_value, word};
use super::super::{Failure, json_request, output, print_line};
use super::period_text;
use crate::proto::v1::register_service as rpc;
use crate::proto::v1::{
    Agreement, AgreementState, Article9, CountersignAgreementRequest, EndAgreementRequest,
    GetAgreementRequest, ListAgreementsRequest,
};

/// Runs a command of `agreement`.
///
/// # Errors
/// The client's.
pub async fn run(command: &AgreementCommand) -> Result<(), Failure> {
    match command {
        AgreementCommand::Propose(args) => json_request::push("ProposeAgreement", args).await,
        AgreementCommand::Show(args) => show(args).await,
        AgreementCommand::List(args) => list(args).await,
        AgreementCommand::Sign(args) => sign(args).await,
        AgreementCommand::End(args) => end(args).await,
    }
}

async fn show(args: &AgreementArgs) -> Result<(), Failure> {
    let session = Session::open(&args.connection).await?;
    let request = GetAgreementRequest { agreement_id: args.agreement.clone() };
    session
        .show(rpc::GET_AGREEMENT, &request, async |session, reply| {
            print_terms(session, &reply.agreement.unwrap_or_default()).await;
            Ok(())
        })
        .await
}

async fn print_terms(session: &Session<'_>, agreement: &Agreement) {
    let names = session.names(agreement.parties.iter().map(String::as_str)).await;
    let classes = agreement.data_classes().map(|class| word(class.as_str_name(), "DATA_CLASS_"));
    let purposes = agreement.purposes().map(|purpose| word(purpose.as_str_name(), "PURPOSE_"));
    let article_9 = match agreement.article_9() {
        Article9::Unspecified => String::new(),
        condition => word(condition.as_str_name(), "ARTICLE9_"),
    };
    for (label, value) in [
        ("agreement", agreement.agreement_id.clone()),
        ("state", word(agreement.state().as_str_name(), "AGREEMENT_STATE_")),
        ("parties", names.all(&agreement.parties)),
        ("signed by", names.all(&agreement.countersigned_by)),
        ("data", classes.collect::<Vec<_>>().join(", ")),
        ("purposes", purposes.collect::<Vec<_>>().join(", ")),
        ("article 6", word(agreement.article_6().as_str_name(), "ARTICLE6_")),
        ("article 9", article_9),
        ("schedule 1", agreement.schedule_1.clone()),
        ("schedule 1, article 10", agreement.schedule_1_article_10.clone()),
        ("days", period_text(&agreement.from_date, &agreement.to_date)),
        ("review by", agreement.review_by.clone()),
        ("terms sha256", agreement.terms_sha256.clone()),
    ] {
        if !value.is_empty() {
            print_line(&format!("{label}: {}", output::escape_control(&value)));
        }
    }
}

async fn list(args: &ListAgreementsArgs) -> Result<(), Failure> {
    let state =
        args.state.as_deref().map(|state| enum_value("AgreementState", "AGREEMENT_STATE_", "--state", state));
    let request = ListAgreementsRequest {
        page_size: 1_000,
        state: state.transpose()?.unwrap_or_default(),
        party: args.with.clone().unwrap_or_default(),
        ..ListAgreementsRequest::default()
    };
    let session = Session::open(&args.connection).await?;
    let pages = session.list(rpc::LIST_AGREEMENTS, &request).await?;
    if session.is_json() {
        return Ok(());
    }
    let agreements: Vec<Agreement> = pages.into_iter().flat_map(|page| page.agreements).collect();
    let names = session.names(agreements.iter().flat_map(|found| &found.parties).map(String::as_str)).await;
    let rows: Vec<_> = agreements
        .iter()
        .map(|found| {
            [
                found.agreement_id.clone(),
                word(found.state().as_str_name(), "AGREEMENT_STATE_"),
                period_text(&found.from_date, &found.to_date),
                found.review_by.clone(),
                names.all(&found.parties),
            ]
        })
        .collect();
    output::print_table(["AGREEMENT", "STATE", "DAYS", "REVIEW BY", "PARTIES"], &rows);
    output::check_written()
}

async fn sign(args: &SignAgreementArgs) -> Result<(), Failure> {
    let session = Session::open(&args.connection).await?;
    let request = GetAgreementRequest { agreement_id: args.agreement.clone() };
    let etag = session.read(rpc::GET_AGREEMENT, &request).await?.agreement.unwrap_or_default().etag;
    let request = CountersignAgreementRequest {
        agreement_id: args.agreement.clone(),
        etag,
        terms_sha256: args.terms.clone(),
        ..CountersignAgreementRequest::default()
    };
    let changed = session.change(rpc::COUNTERSIGN_AGREEMENT, &request).await?;
    let text = match changed.reply.state() {
        AgreementState::InForce => format!("signed agreement {}, which is in force", args.agreement),
        _ => format!("signed agreement {}; others have not signed yet", args.agreement),
    };
    session.report(&changed, &text).await
}

async fn end(args: &AgreementArgs) -> Result<(), Failure> {
    let session = Session::open(&args.connection).await?;
    let agreement_id = args.agreement.clone();
    let request = EndAgreementRequest { agreement_id, ..EndAgreementRequest::default() };
    let changed = session.change(rpc::END_AGREEMENT, &request).await?;
    session.report(&changed, &format!("ended agreement {}", args.agreement)).await
}

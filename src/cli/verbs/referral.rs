//! `referral`: referrals to a provider, and its answer.

use super::super::args::{AcceptReferralArgs, DeclineReferralArgs, ReferralCommand};
use super::super::session::{Session, enum_value};
use super::super::{Failure, json_request};
use super::read_placement;
use crate::proto::v1::placement_service as rpc;
use crate::proto::v1::respond_to_referral_request::Answer;
use crate::proto::v1::{Acceptance, Declination, RespondToReferralRequest};

/// Runs a command of `referral`.
///
/// # Errors
/// The client's.
pub async fn run(command: &ReferralCommand) -> Result<(), Failure> {
    match command {
        ReferralCommand::Push(args) => json_request::push("CreateReferral", args).await,
        ReferralCommand::Accept(args) => accept(args).await,
        ReferralCommand::Decline(args) => decline(args).await,
    }
}

async fn accept(args: &AcceptReferralArgs) -> Result<(), Failure> {
    let session = Session::open(&args.connection).await?;
    let answer = Answer::Accept(Acceptance { provider_reference: args.reference.clone() });
    let text = format!("accepted placement {} as {}", args.placement, args.reference);
    respond(&session, &args.placement, answer, &text).await
}

async fn decline(args: &DeclineReferralArgs) -> Result<(), Failure> {
    let reason = enum_value("DeclineReason", "DECLINE_REASON_", "--reason", &args.reason)?;
    let session = Session::open(&args.connection).await?;
    let answer = Answer::Decline(Declination { reason, note: args.note.clone().unwrap_or_default() });
    respond(&session, &args.placement, answer, &format!("declined placement {}", args.placement)).await
}

async fn respond(session: &Session<'_>, placement: &str, answer: Answer, text: &str) -> Result<(), Failure> {
    let request = RespondToReferralRequest {
        placement_id: placement.to_owned(),
        etag: read_placement(session, placement).await?.etag,
        answer: Some(answer),
        ..RespondToReferralRequest::default()
    };
    let changed = session.change(rpc::RESPOND_TO_REFERRAL, &request).await?;
    session.report(&changed, text).await
}

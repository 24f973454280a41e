//! `passport get|share|withhold`: a child's passport, read and shared by a system or for the person of a token.

use super::args::{GetPassportArgs, SharePassportArgs, WithholdArgs};
use super::sent_requests::new_request_id;
use super::{Failure, exchanges, json_request, profile};
use crate::client::{self, ClientError};
use crate::exchange::Reason;
use crate::proto::v1::{
    GetPassportRequest, Officer, PassportBlockKind, SharePassportRequest, WithholdInformationRequest,
};

/// Prefix of the names of kinds of blocks.
const KIND_PREFIX: &str = "PASSPORT_BLOCK_KIND";
/// Advice if the person of a token may not read in an emergency.
const EMERGENCY_ROLES: &str = "an emergency needs the token of a person in the role dsl, head, placement_lead or health, for \
                               the purpose safeguarding or education_provision";

/// Prints a passport, as far as the caller may read it.
///
/// # Errors
/// The client's.
pub async fn get(args: &GetPassportArgs) -> Result<(), Failure> {
    // With an id the senders are told once, however often the client retries.
    let emergency_id =
        args.emergency_reason.as_ref().map(|_| args.request_id.clone().unwrap_or_else(new_request_id));
    let request = GetPassportRequest {
        placement_id: args.placement.clone(),
        sender: args.sender.clone().unwrap_or_default(),
        version: args.version.clone().unwrap_or_default(),
        emergency_reason: args.emergency_reason.clone().unwrap_or_default(),
        life_at_risk: args.life_at_risk,
        request_id: emergency_id.clone().unwrap_or_default(),
    };
    let (method, request) = json_request::dynamic_request("GetPassport", &request)?;
    let client = profile::connect_from_args(&args.connection).await?;
    let answer = client.call_dynamic(&method, &request).await;
    let Some(id) = emergency_id else {
        return json_request::print_reply(&answer?.message, args.connection.json);
    };
    let repeat_advice = format!(
        "sent with request_id {id}: repeated with --request-id within 10 minutes, it is no second emergency"
    );
    let reply = answer.map_err(|error| {
        let is_role = matches!(&error, ClientError::Refused(status)
            if client::reason(status) == Reason::PersonRequired.name());
        Failure::from(error).with_advice(if is_role { EMERGENCY_ROLES } else { &repeat_advice })
    })?;
    json_request::print_reply(&reply.message, args.connection.json)
        .map_err(|failure| failure.with_advice(&repeat_advice))
}

/// Shares the newest version of a passport.
///
/// # Errors
/// The client's.
pub async fn share(args: &SharePassportArgs) -> Result<(), Failure> {
    let request = SharePassportRequest {
        request_id: args.request_id.clone().unwrap_or_default(),
        placement_id: args.placement.clone(),
        etag: args.version.clone(),
        agreement_id: args.agreement.clone().unwrap_or_default(),
        ..SharePassportRequest::default()
    };
    let reply = json_request::call_message("SharePassport", &request, &args.connection).await?;
    let text = format!("shared version {} of the passport", args.version);
    json_request::print_result(&reply.message, &args.connection, &text)
}

/// Records or lifts a decision not to share blocks.
///
/// # Errors
/// Exit code 2 for a kind of block that does not exist; or the client's.
pub async fn withhold(args: &WithholdArgs) -> Result<(), Failure> {
    let blocks = args.blocks.iter().map(|name| block_kind(name)).collect::<Result<Vec<_>, _>>()?;
    let request = WithholdInformationRequest {
        request_id: args.request_id.clone().unwrap_or_default(),
        placement_id: args.placement.clone(),
        etag: args.etag.clone().unwrap_or_default(),
        blocks: blocks.into_iter().map(Into::into).collect(),
        reason: args.reason.clone(),
        officer: Some(Officer {
            name: args.officer.clone(),
            role: args.officer_role.clone(),
            ..Officer::default()
        }),
        ..WithholdInformationRequest::default()
    };
    let reply = json_request::call_message("WithholdInformation", &request, &args.connection).await?;
    let text = match &args.blocks[..] {
        [] => "nothing is withheld any more".to_owned(),
        blocks => format!("withheld from the provider: {}", blocks.join(", ")),
    };
    json_request::print_result(&reply.message, &args.connection, &text)
}

fn block_kind(name: &str) -> Result<PassportBlockKind, Failure> {
    let kind = PassportBlockKind::from_str_name(&exchanges::enum_name(KIND_PREFIX, name));
    kind.filter(|kind| *kind != PassportBlockKind::Unspecified).ok_or_else(|| {
        let kinds = (1..).map_while(|number| PassportBlockKind::try_from(number).ok());
        let names = kinds.map(|kind| {
            kind.as_str_name().trim_start_matches(KIND_PREFIX).trim_start_matches('_').to_lowercase()
        });
        Failure::usage(format!("--block is one of {}", names.collect::<Vec<_>>().join(", ")))
    })
}

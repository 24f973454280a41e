//! `passport get|share|withhold`: a child's passport, read and shared by a system or for the person of a token.

use super::args::{
    AcknowledgePassportArgs, GetPassportArgs, PassportCommand, PlacementArgs, SharePassportArgs, WithholdArgs,
};
use super::sent_requests::new_request_id;
use super::session::{Session, officer, word};
use super::verbs::time_text;
use super::{Failure, deliveries, exchanges, json_request, output, profile};
use crate::client::{self, ClientError};
use crate::exchange::Reason;
use crate::proto::v1::{
    DeliveryKind, GetPassportRequest, ListDeliveriesRequest, ListPassportVersionsRequest, Officer,
    PassportBlockKind, SharePassportRequest, WithholdInformationRequest, delivery_service, passport_service,
};

/// Maximum number of batches of the mailbox that are read: a million deliveries.
const MAX_BATCHES: usize = 10_000;
/// Prefix of the names of kinds of blocks.
const KIND_PREFIX: &str = "PASSPORT_BLOCK_KIND";
/// Advice if the person of a token may not read in an emergency.
const EMERGENCY_ROLES: &str = "an emergency needs the token of a person in the role dsl, head, placement_lead or health, for \
                               the purpose safeguarding or education_provision";

/// Runs a command of `passport`.
///
/// # Errors
/// The client's.
pub async fn run(command: &PassportCommand) -> Result<(), Failure> {
    match command {
        PassportCommand::Put(args) => json_request::push("PutPassport", args).await,
        PassportCommand::Get(args) => get(args).await,
        PassportCommand::Share(args) => share(args).await,
        PassportCommand::Withhold(args) => withhold(args).await,
        PassportCommand::Acknowledge(args) => acknowledge(args).await,
        PassportCommand::Versions(args) => list_versions(args).await,
    }
}

/// Prints a passport, as far as the caller may read it.
///
/// # Errors
/// The client's.
async fn get(args: &GetPassportArgs) -> Result<(), Failure> {
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
async fn share(args: &SharePassportArgs) -> Result<(), Failure> {
    let request = SharePassportRequest {
        request_id: args.request_id.clone().unwrap_or_default(),
        placement_id: args.placement.clone(),
        etag: args.version.clone(),
        agreement_id: args.agreement.clone().unwrap_or_default(),
        ..SharePassportRequest::default()
    };
    let session = Session::open(&args.connection).await?;
    let changed = session.change(passport_service::SHARE_PASSPORT, &request).await?;
    session.report(&changed, &format!("shared version {} of the passport", args.version)).await
}

/// Records or lifts a decision not to share blocks.
///
/// # Errors
/// Exit code 2 for a kind of block that does not exist; or the client's.
async fn withhold(args: &WithholdArgs) -> Result<(), Failure> {
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
    let session = Session::open(&args.connection).await?;
    let changed = session.change(passport_service::WITHHOLD_INFORMATION, &request).await?;
    let text = match &args.blocks[..] {
        [] => "nothing is withheld any more".to_owned(),
        blocks => format!("withheld from the provider: {}", blocks.join(", ")),
    };
    session.report(&changed, &text).await
}

/// Acknowledges the newest passport of a placement in the mailbox, as acted on by a named person.
async fn acknowledge(args: &AcknowledgePassportArgs) -> Result<(), Failure> {
    let session = Session::open(&args.connection).await?;
    let mut request = ListDeliveriesRequest {
        kinds: vec![DeliveryKind::Passport.into()],
        ..ListDeliveriesRequest::default()
    };
    let mut newest = None;
    for _ in 0..MAX_BATCHES {
        let reply = session.read(delivery_service::LIST_DELIVERIES, &request).await?;
        let of_placement = reply.deliveries.into_iter().filter(|found| found.placement_id == args.placement);
        newest = of_placement.last().or(newest);
        request.cursor = reply.next.or(request.cursor);
        if !reply.more {
            break;
        }
    }
    let newest = newest.ok_or_else(|| Failure::refused("no passport of this placement is in the mailbox"))?;
    let request =
        deliveries::acknowledge_request(std::slice::from_ref(&newest), Some(officer(&args.officer)));
    let changed = session.change(delivery_service::ACKNOWLEDGE_DELIVERY, &request).await?;
    let text = format!("{} acted on the passport of placement {}", args.officer.officer, args.placement);
    session.report(&changed, &text).await
}

/// Lists the versions of the caller's own passport.
async fn list_versions(args: &PlacementArgs) -> Result<(), Failure> {
    let session = Session::open(&args.connection).await?;
    let placement_id = args.placement.clone();
    let request = ListPassportVersionsRequest { placement_id, ..ListPassportVersionsRequest::default() };
    let pages = session.list(passport_service::LIST_PASSPORT_VERSIONS, &request).await?;
    if session.is_json() {
        return Ok(());
    }
    let versions = pages.into_iter().flat_map(|page| page.versions);
    let rows: Vec<_> = versions
        .map(|version| {
            let kinds =
                version.blocks.iter().map(|block| word(block.kind().as_str_name(), "PASSPORT_BLOCK_KIND_"));
            let blocks = kinds.collect::<Vec<_>>().join(" ");
            [version.etag, time_text(version.put_time.as_ref()), blocks]
        })
        .collect();
    output::print_table(["VERSION", "PUT", "BLOCKS"], &rows);
    output::check_written()
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

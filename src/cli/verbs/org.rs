//! `org`: organisations in the register.

use super::super::args::{ListOrgsArgs, OrgArgs, OrgCommand, OrgStateArgs, RegisterOrgArgs, RenameOrgArgs};
use super::super::session::{Session, officer, word};
use super::super::{Failure, output, print_line, profile};
use super::{instant_text, read_certificate};
use crate::proto::v1::register_service as rpc;
use crate::proto::v1::{
    CertificateState, GetOrganisationRequest, ListDirectoryRequest, ListOrganisationsRequest, Organisation,
    OrganisationState, RegisterOrganisationRequest, RegisteredCertificate, UpdateOrganisationRequest,
};

/// Runs a command of `org`.
///
/// # Errors
/// The client's.
pub async fn run(command: &OrgCommand) -> Result<(), Failure> {
    match command {
        OrgCommand::Register(args) => register(args).await,
        OrgCommand::Show(args) => show(args).await,
        OrgCommand::List(args) => list(args).await,
        OrgCommand::Rename(args) => rename(args).await,
        OrgCommand::Suspend(args) => set_state(args, OrganisationState::Suspended).await,
        OrgCommand::Restore(args) => set_state(args, OrganisationState::Active).await,
    }
}

async fn register(args: &RegisterOrgArgs) -> Result<(), Failure> {
    let request = RegisterOrganisationRequest {
        organisation: args.organisation.clone(),
        display_name: args.name.clone(),
        urn: args.urn.clone().unwrap_or_default(),
        ukprn: args.ukprn.clone().unwrap_or_default(),
        certificate: read_certificate(&args.certificate)?,
        ..RegisterOrganisationRequest::default()
    };
    let session = Session::open(&args.connection).await?;
    let changed = session.change(rpc::REGISTER_ORGANISATION, &request).await?;
    let text = format!(
        "registered {} as {}, with certificate {}",
        args.organisation, args.name, changed.reply.certificate_sha256
    );
    session.report(&changed, &text).await
}

async fn show(args: &OrgArgs) -> Result<(), Failure> {
    let session = Session::open(&args.connection).await?;
    let request = GetOrganisationRequest { organisation: own_or(args)? };
    session
        .show(rpc::GET_ORGANISATION, &request, async |_, reply| {
            let found = reply.organisation.unwrap_or_default();
            for (label, value) in [
                ("organisation", found.organisation.clone()),
                ("name", found.display_name.clone()),
                ("state", state_word(&found)),
                ("urn", found.urn.clone()),
                ("ukprn", found.ukprn.clone()),
            ] {
                if !value.is_empty() {
                    print_line(&format!("{label}: {}", output::escape_control(&value)));
                }
            }
            print_certificates(&found.certificates);
            Ok(())
        })
        .await
}

/// Returns the organisation that the arguments name, or the caller's own.
///
/// # Errors
/// Exit code 78 if the profile cannot be read.
pub fn own_or(args: &OrgArgs) -> Result<String, Failure> {
    match &args.organisation {
        Some(named) => Ok(named.clone()),
        None => Ok(profile::cursor_folder_and_organisation(&args.connection.profile)?.1),
    }
}

/// Prints certificates as a table.
pub fn print_certificates(certificates: &[RegisteredCertificate]) {
    let rows: Vec<_> = certificates
        .iter()
        .map(|certificate| {
            let state = CertificateState::try_from(certificate.state).unwrap_or_default();
            [
                certificate.sha256.clone(),
                certificate.system.clone(),
                word(state.as_str_name(), "CERTIFICATE_STATE_"),
                instant_text(certificate.not_after_us),
            ]
        })
        .collect();
    output::print_table(["CERTIFICATE", "SYSTEM", "STATE", "EXPIRES"], &rows);
}

fn state_word(organisation: &Organisation) -> String {
    word(organisation.state().as_str_name(), "ORGANISATION_STATE_")
}

async fn list(args: &ListOrgsArgs) -> Result<(), Failure> {
    let session = Session::open(&args.connection).await?;
    let rows: Vec<_> = if args.full {
        let pages = session.list(rpc::LIST_ORGANISATIONS, &ListOrganisationsRequest::default()).await?;
        let found = pages.into_iter().flat_map(|page| page.organisations);
        found
            .map(|found| {
                let certificates = found.certificates.len().to_string();
                [found.organisation.clone(), found.display_name.clone(), state_word(&found), certificates]
            })
            .collect()
    } else {
        let kind = args.kind.clone().unwrap_or_default();
        let request = ListDirectoryRequest { page_size: 1_000, kind, ..ListDirectoryRequest::default() };
        let pages = session.list(rpc::LIST_DIRECTORY, &request).await?;
        let found = pages.into_iter().flat_map(|page| page.organisations);
        found
            .map(|found| {
                let state = word(found.state().as_str_name(), "ORGANISATION_STATE_");
                [found.organisation, found.display_name, state, String::new()]
            })
            .collect()
    };
    if !session.is_json() {
        let last = if args.full { "CERTIFICATES" } else { "" };
        output::print_table(["ORGANISATION", "NAME", "STATE", last], &rows);
    }
    output::check_written()
}

async fn rename(args: &RenameOrgArgs) -> Result<(), Failure> {
    let session = Session::open(&args.connection).await?;
    let request = UpdateOrganisationRequest {
        etag: etag_of(&session, &args.organisation).await?,
        organisation: args.organisation.clone(),
        display_name: args.name.clone(),
        ..UpdateOrganisationRequest::default()
    };
    let changed = session.change(rpc::UPDATE_ORGANISATION, &request).await?;
    session.report(&changed, &format!("renamed {} to {}", args.organisation, args.name)).await
}

async fn set_state(args: &OrgStateArgs, state: OrganisationState) -> Result<(), Failure> {
    let session = Session::open(&args.connection).await?;
    let request = UpdateOrganisationRequest {
        etag: etag_of(&session, &args.organisation).await?,
        organisation: args.organisation.clone(),
        state: state.into(),
        reason: args.reason.clone(),
        officer: Some(officer(&args.officer)),
        ..UpdateOrganisationRequest::default()
    };
    let changed = session.change(rpc::UPDATE_ORGANISATION, &request).await?;
    let done = if state == OrganisationState::Suspended { "suspended" } else { "restored" };
    session.report(&changed, &format!("{done} {}", args.organisation)).await
}

/// Returns the version of an organisation's registration.
async fn etag_of(session: &Session<'_>, organisation: &str) -> Result<String, Failure> {
    let request = GetOrganisationRequest { organisation: organisation.to_owned() };
    let reply = session.read(rpc::GET_ORGANISATION, &request).await?;
    Ok(reply.organisation.unwrap_or_default().etag)
}

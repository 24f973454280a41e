//! `cert`: the certificates of an organisation.

use super::super::Failure;
use super::super::args::{CertCommand, OrgArgs, RegisterCertArgs, RevokeCertArgs};
use super::super::session::Session;
use super::org::{own_or, print_certificates};
use super::read_certificate;
use crate::proto::v1::register_service as rpc;
use crate::proto::v1::{GetOrganisationRequest, RegisterCertificateRequest, RevokeCertificateRequest};

/// Runs a command of `cert`.
///
/// # Errors
/// The client's.
pub async fn run(command: &CertCommand) -> Result<(), Failure> {
    match command {
        CertCommand::Register(args) => register(args).await,
        CertCommand::List(args) => list(args).await,
        CertCommand::Revoke(args) => revoke(args).await,
    }
}

async fn register(args: &RegisterCertArgs) -> Result<(), Failure> {
    // Every file is read before anything is sent.
    let certificates = args.files.iter().map(|file| read_certificate(file)).collect::<Result<Vec<_>, _>>()?;
    let session = Session::open(&args.connection).await?;
    for certificate in certificates {
        let request = RegisterCertificateRequest { certificate, ..RegisterCertificateRequest::default() };
        let changed = session.change(rpc::REGISTER_CERTIFICATE, &request).await?;
        let text = format!("registered certificate {}", changed.reply.certificate_sha256);
        session.report(&changed, &text).await?;
    }
    Ok(())
}

async fn list(args: &OrgArgs) -> Result<(), Failure> {
    let session = Session::open(&args.connection).await?;
    let request = GetOrganisationRequest { organisation: own_or(args)? };
    session
        .show(rpc::GET_ORGANISATION, &request, async |_, reply| {
            print_certificates(&reply.organisation.unwrap_or_default().certificates);
            Ok(())
        })
        .await
}

async fn revoke(args: &RevokeCertArgs) -> Result<(), Failure> {
    let session = Session::open(&args.connection).await?;
    let certificate_sha256 = args.sha256.clone();
    let request = RevokeCertificateRequest { certificate_sha256, ..RevokeCertificateRequest::default() };
    let changed = session.change(rpc::REVOKE_CERTIFICATE, &request).await?;
    session.report(&changed, &format!("revoked certificate {}", args.sha256)).await
}

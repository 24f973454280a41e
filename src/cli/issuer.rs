//! `issuer register|end|list`: the issuers of tokens for the persons of an organisation.

use super::args::{EndIssuerArgs, ProfileArgs, RegisterIssuerArgs};
use super::token::TokenSigner;
use super::{Failure, output, print_line, profile};
use crate::clock::Randomness;
use crate::proto::v1::{
    EndIssuerRequest, IssuerKey, ListIssuersRequest, ListIssuersResponse, RegisterIssuerRequest,
    register_service,
};

/// Registers an issuer with the public parts of the given private keys.
///
/// # Errors
/// Exit code 64 for a key file; or the client's.
pub async fn register(args: &RegisterIssuerArgs) -> Result<(), Failure> {
    let keys = args.keys.iter().map(|file| key_of(&TokenSigner::load(file)?));
    let request = RegisterIssuerRequest {
        request_id: new_request_id(),
        validate_only: false,
        issuer: args.iss.clone(),
        keys: keys.collect::<Result<_, Failure>>()?,
        etag: args.etag.clone().unwrap_or_default(),
    };
    let client = profile::connect_from_args(&args.connection).await?;
    let reply = client.call(register_service::REGISTER_ISSUER, &request).await?.message;
    if args.connection.json {
        output::print_json("RegisterIssuerResponse", &reply)?;
        return output::check_response_written();
    }
    for key in &request.keys {
        print_line(&format!(
            "{} {}",
            key.algorithm().as_str_name().trim_start_matches("TOKEN_ALGORITHM_"),
            key.key_id
        ));
    }
    print_line(&format!("registered {}, version {}", args.iss, reply.etag));
    output::check_response_written()
}

/// Returns the public key of a signer as a registration sends it.
///
/// # Errors
/// Exit code 70 if the library fails.
pub fn key_of(signer: &TokenSigner) -> Result<IssuerKey, Failure> {
    Ok(IssuerKey {
        key_id: signer.key_id().to_owned(),
        algorithm: signer.algorithm().into(),
        jwk: signer.public_jwk()?,
        ..IssuerKey::default()
    })
}

/// Ends an issuer.
///
/// # Errors
/// The client's.
pub async fn end(args: &EndIssuerArgs) -> Result<(), Failure> {
    let request =
        EndIssuerRequest { request_id: new_request_id(), validate_only: false, issuer: args.iss.clone() };
    let client = profile::connect_from_args(&args.connection).await?;
    let reply = client.call(register_service::END_ISSUER, &request).await?.message;
    if args.connection.json {
        output::print_json("EndIssuerResponse", &reply)?;
    } else {
        print_line(&format!("ended {}", args.iss));
    }
    output::check_response_written()
}

/// Lists the issuers of the caller.
///
/// # Errors
/// The client's.
pub async fn list(args: &ProfileArgs) -> Result<(), Failure> {
    let client = profile::connect_from_args(args).await?;
    let reply = client.call(register_service::LIST_ISSUERS, &ListIssuersRequest {}).await?.message;
    if args.json {
        return output::print_json("ListIssuersResponse", &reply);
    }
    print_table(&reply);
    output::check_written()
}

fn print_table(reply: &ListIssuersResponse) {
    let mut rows = Vec::new();
    for issuer in &reply.issuers {
        let state = if issuer.ended { "ended" } else { "in force" };
        for key in &issuer.keys {
            let algorithm = key.algorithm().as_str_name().trim_start_matches("TOKEN_ALGORITHM_");
            rows.push([
                issuer.issuer.clone(),
                issuer.etag.clone(),
                state.to_owned(),
                algorithm.to_owned(),
                key.key_id.clone(),
            ]);
        }
    }
    output::print_table(["ISSUER", "VERSION", "STATE", "ALGORITHM", "KEY"], &rows);
}

/// Returns a new request id.
#[must_use]
pub fn new_request_id() -> String {
    Randomness::system().uuid_v4().hyphenated().to_string()
}

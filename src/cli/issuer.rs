//! `issuer register|end|list`: the issuers of tokens for the persons of an organisation.

use super::args::{EndIssuerArgs, ProfileArgs, RegisterIssuerArgs};
use super::sent_requests::new_request_id;
use super::token::TokenSigner;
use super::{Failure, key_files, output, print_line, profile};
use crate::clock::{Clock, Instant, SystemClock};
use crate::identity;
use crate::proto::v1::{
    EndIssuerRequest, IssuerKey, ListIssuersRequest, ListIssuersResponse, RegisterIssuerRequest,
    TokenAlgorithm, register_service,
};

/// Registers an issuer with the given public keys, or with the public parts of the given private keys.
///
/// # Errors
/// Exit code 64 for a key file; or the client's.
pub async fn register(args: &RegisterIssuerArgs) -> Result<(), Failure> {
    let mut keys = match &args.jwk {
        Some(file) => key_files::read_public_keys(file)?.into_iter().map(public_key).collect(),
        None => {
            args.keys.iter().map(|file| key_of(&TokenSigner::load(file)?)).collect::<Result<Vec<_>, _>>()?
        }
    };
    for key in &mut keys {
        key.from_time = args.from.map(Instant::to_proto);
        key.to_time = args.to.map(Instant::to_proto);
    }
    let request = RegisterIssuerRequest {
        request_id: new_request_id(),
        validate_only: false,
        issuer: args.iss.clone(),
        keys,
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

fn public_key(key: key_files::PublicKey) -> IssuerKey {
    let algorithm = match key.algorithm {
        identity::TokenAlgorithm::Es256 => TokenAlgorithm::Es256,
        identity::TokenAlgorithm::EdDsa => TokenAlgorithm::Eddsa,
        identity::TokenAlgorithm::Ps256 => TokenAlgorithm::Ps256,
    };
    IssuerKey { key_id: key.key_id, algorithm: algorithm.into(), jwk: key.jwk, ..IssuerKey::default() }
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
    // Tokens are checked at real time, also by a sandbox whose clock stands.
    let now = SystemClock.now();
    let mut rows = Vec::new();
    for issuer in &reply.issuers {
        for key in &issuer.keys {
            let (from, to) = (instant(key.from_time.as_ref()), instant(key.to_time.as_ref()));
            let shown = |at: Option<Instant>| at.map_or_else(|| "-".to_owned(), |at| at.to_string());
            let algorithm = key.algorithm().as_str_name().trim_start_matches("TOKEN_ALGORITHM_");
            rows.push([
                issuer.issuer.clone(),
                issuer.etag.clone(),
                key_state(issuer.ended, from, to, now).to_owned(),
                shown(from),
                shown(to),
                algorithm.to_owned(),
                key.key_id.clone(),
            ]);
        }
    }
    output::print_table(["ISSUER", "VERSION", "STATE", "FROM", "TO", "ALGORITHM", "KEY"], &rows);
}

fn instant(time: Option<&prost_types::Timestamp>) -> Option<Instant> {
    time.and_then(|time| Instant::from_proto(time).ok())
}

/// Returns the state of a key, as the gateway decides it: from the beginning on, and before the end.
fn key_state(is_ended: bool, from: Option<Instant>, to: Option<Instant>, now: Instant) -> &'static str {
    match () {
        () if is_ended => "ended",
        () if to.is_some_and(|to| to <= now) => "expired",
        () if from.is_some_and(|from| now < from) => "not yet",
        () => "in force",
    }
}

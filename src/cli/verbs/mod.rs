//! The verbs of daily work, one file for each noun. Each builds a request, calls the method, and says what was done, with
//! its id, and who was told.

pub mod absence;
pub mod agreement;
pub mod breach;
pub mod by_method;
pub mod cert;
pub mod closure;
pub mod deliveries;
pub mod exchange;
pub mod grant;
pub mod marks;
pub mod org;
pub mod placement;
pub mod plan;
pub mod profile;
pub mod progress;
pub mod referral;
pub mod returns;
pub mod review;
pub mod terms;

use std::path::Path;

use prost::bytes::Bytes;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;

use super::session::Session;
use super::{Failure, input};
use crate::clock::Instant;
use crate::proto::v1::{GetPlacementRequest, Placement, placement_service};

/// Largest file of a certificate, in bytes.
const MAX_CERTIFICATE_FILE_BYTES: u64 = 64 << 10;

/// Reads the first certificate of a PEM file, as DER.
///
/// # Errors
/// Exit code 64 if the file cannot be read or has no certificate.
fn read_certificate(file: &Path) -> Result<Bytes, Failure> {
    let pem = input::read_bytes(file, MAX_CERTIFICATE_FILE_BYTES)?;
    let der = CertificateDer::from_pem_slice(&pem);
    let what = || Failure::input(format!("{}: no certificate in PEM", input::name_of(file)));
    Ok(Bytes::copy_from_slice(der.map_err(|_| what())?.as_ref()))
}

/// Returns the placement of an id, whose version a change needs.
///
/// # Errors
/// The client's.
async fn read_placement(session: &Session<'_>, id: &str) -> Result<Placement, Failure> {
    let request = GetPlacementRequest { placement_id: id.to_owned() };
    let reply = session.read(placement_service::GET_PLACEMENT, &request).await?;
    Ok(reply.placement.unwrap_or_default())
}

/// Returns an instant in microseconds as text.
fn instant_text(micros: i64) -> String {
    Instant::from_micros(micros).map_or_else(|_| "-".to_owned(), |time| time.to_string())
}

/// Returns a time of a message as text; `-` if there is none.
pub(super) fn time_text(time: Option<&prost_types::Timestamp>) -> String {
    let time = time.and_then(|time| Instant::from_proto(time).ok());
    time.map_or_else(|| "-".to_owned(), |time| time.to_string())
}

/// Returns a range of days as text, whose end may be open.
fn period_text(from: &str, to: &str) -> String {
    if to.is_empty() { format!("from {from}") } else { format!("{from} to {to}") }
}

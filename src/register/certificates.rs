//! Registered certificates. A valid chain is not enough: a client certificate must also be registered.

use super::organisations::{self, deliver_registration};
use crate::codes::organisation::{OrganisationId, OrganisationKind};
use crate::exchange::caller::CERTIFICATE_REGISTERED;
use crate::exchange::check::Check;
use crate::exchange::{
    Action, CallerRole, Decided, NextActor, PolicyFacts, Reason, Record, Refusal, RequestContext, WrongState,
};
use crate::identity::{CertificateError, PeerCertificate};
use crate::proto::v1::{
    CertificateState, RegisterCertificateRequest, RegisterCertificateResponse, RevokeCertificateRequest,
    RevokeCertificateResponse,
};
use crate::store::version_key::{KeyFamily, VersionKey};
use crate::store::{Column, RecordSubject, Snapshot, StoreError, Table, TableClass, Value};
use crate::tlog::Hash;

/// A row of `certificates`: one version of a certificate's registration.
pub struct CertificateRow {
    /// SHA-256 of the DER encoding.
    pub sha256: [u8; 32],
    /// The organisation that the certificate names.
    pub organisation: OrganisationId,
    /// The system that the certificate names.
    pub system: String,
    /// End of validity, in microseconds since 1970 UTC.
    pub not_after_us: i64,
    /// Registered or revoked.
    pub state: CertificateState,
    /// Version of the registration, from 1.
    pub version: i64,
}

impl CertificateRow {
    /// Creates the first registration of a certificate.
    #[must_use]
    pub fn new(certificate: &PeerCertificate) -> Self {
        Self {
            sha256: certificate.fingerprint(),
            organisation: certificate.organisation().clone(),
            system: certificate.system().to_owned(),
            not_after_us: certificate.not_after().micros(),
            state: CertificateState::Registered,
            version: 1,
        }
    }

    /// Returns the SHA-256 as lower-case hexadecimal digits.
    #[must_use]
    pub fn sha256_text(&self) -> String {
        Hash::from(self.sha256).to_string()
    }
}

impl Record for CertificateRow {
    const TABLE: &'static Table = &Table {
        name: "certificates",
        class: TableClass::Committed,
        subject: RecordSubject::NoChild,
        columns: &[
            Column::new::<i64>("idx"),
            Column::new::<i64>("ordinal"),
            Column::new::<Vec<u8>>("version_key"),
            Column::new::<Vec<u8>>("sha256"),
            Column::new::<String>("organisation"),
            Column::new::<String>("system"),
            Column::new::<i64>("not_after"),
            Column::new::<i64>("state"),
        ],
        replace_key: &[],
    };

    fn values(&self) -> Vec<Value> {
        vec![
            key(&self.sha256).as_bytes().into(),
            self.sha256.into(),
            self.organisation.as_str().into(),
            self.system.as_str().into(),
            self.not_after_us.into(),
            (self.state as i32).into(),
        ]
    }

    fn current_versions(&self) -> Vec<(VersionKey, i64)> {
        vec![(key(&self.sha256), self.version)]
    }
}

/// Returns the key of a certificate.
#[must_use]
pub fn key(sha256: &[u8; 32]) -> VersionKey {
    VersionKey::new(KeyFamily::Certificate).bytes(sha256)
}

/// Registers a further certificate of an organisation.
pub(super) async fn register(
    mut cx: RequestContext,
    m: RegisterCertificateRequest,
) -> Result<Decided<RegisterCertificateResponse>, Refusal> {
    let mut check = Check::new();
    check.request_id(&m.request_id);
    let certificate = check_certificate(&mut check, "certificate", &m.certificate);
    check.finish()?;
    let certificate = certificate.ok_or(Reason::Malformed)?;
    let facts = PolicyFacts::for_role(caller_part(&cx, certificate.organisation()));
    let permit = cx.permit(Action::RegisterCertificate, &facts)?;
    let registered = organisations::by_id(&mut cx.snapshot, certificate.organisation()).await?;
    registered.ok_or(Reason::NotFound)?;
    let row = CertificateRow::new(&certificate);
    if cx.snapshot.current_version(&key(&row.sha256)).await? > 0 {
        return Err(Reason::AlreadyExists.into());
    }
    let change = cx.change(&permit).guard(key(&row.sha256), 0).append(&row);
    let change = deliver_registration(&mut cx, change, &row.organisation).await?;
    let reply = RegisterCertificateResponse { certificate_sha256: row.sha256_text(), receipt: None };
    Ok(change.with_reply(&reply))
}

/// Revokes a certificate's registration, from the next commit on.
pub(super) async fn revoke(
    mut cx: RequestContext,
    m: RevokeCertificateRequest,
) -> Result<Decided<RevokeCertificateResponse>, Refusal> {
    let mut check = Check::new();
    check.request_id(&m.request_id);
    let sha256 = check.parsed("certificate_sha256", &m.certificate_sha256, parse_fingerprint);
    check.finish()?;
    let sha256 = sha256.ok_or(Reason::Malformed)?;
    let found = by_sha256(&mut cx.snapshot, &sha256).await?;
    let owner = found.as_ref().map(|row| row.organisation.clone());
    let facts =
        PolicyFacts::for_role(owner.as_ref().map_or(CallerRole::NoRole, |owner| caller_part(&cx, owner)));
    let permit = cx.permit(Action::RevokeCertificate, &facts)?;
    let mut row = found.ok_or(Reason::NotFound)?;
    if row.state != CertificateState::Registered {
        let needed = vec![CertificateState::Registered.as_str_name()];
        let present = row.state.as_str_name();
        return Err(WrongState { current: present, required: needed, next_actor: NextActor::Nobody }.into());
    }
    let change = cx.change(&permit).guard(key(&sha256), row.version);
    row.version += 1;
    row.state = CertificateState::Revoked;
    let change = change.append(&row).bump(VersionKey::authority(row.organisation.as_str()));
    let change = deliver_registration(&mut cx, change, &row.organisation).await?;
    Ok(change.with_reply(&RevokeCertificateResponse { receipt: None }))
}

/// Returns the newest registration of a certificate.
async fn by_sha256(snapshot: &mut Snapshot, sha256: &[u8; 32]) -> Result<Option<CertificateRow>, StoreError> {
    let sql = "SELECT c.organisation, c.system, c.not_after, c.state, h.version FROM current_versions h \
               JOIN certificates c ON c.idx = h.idx AND c.ordinal = h.ordinal WHERE h.key = $1";
    let row = snapshot.fetch_one(sql, vec![key(sha256).as_bytes().into()]).await?;
    let corrupt = |column| StoreError::corrupt("certificates", column);
    row.map(|row| {
        let state = if row.int(3)? == CERTIFICATE_REGISTERED {
            CertificateState::Registered
        } else {
            CertificateState::Revoked
        };
        Ok(CertificateRow {
            sha256: *sha256,
            organisation: OrganisationId::parse(row.text(0)?).map_err(|_| corrupt(0))?,
            system: row.text(1)?.to_owned(),
            not_after_us: row.int(2)?,
            state,
            version: row.int(4)?,
        })
    })
    .transpose()
}

/// Parses a certificate and checks it against the gateway's certificate profile.
pub(super) fn check_certificate(
    check: &mut Check,
    field: &'static str,
    der: &[u8],
) -> Option<PeerCertificate> {
    let fault = match PeerCertificate::parse(der) {
        Ok(certificate) => return Some(certificate),
        Err(CertificateError::ReservedSystem) => "SYSTEM_RESERVED",
        Err(_) => "CERTIFICATE_PROFILE",
    };
    check.add_violation(field, fault);
    None
}

/// Returns the caller's part in an organisation's registration.
pub(super) fn caller_part(cx: &RequestContext, organisation: &OrganisationId) -> CallerRole {
    if cx.caller.kind() == OrganisationKind::Operator {
        CallerRole::Operator
    } else if cx.caller.organisation == *organisation {
        CallerRole::Owner
    } else {
        CallerRole::NoRole
    }
}

fn parse_fingerprint(text: &str) -> Result<[u8; 32], &'static str> {
    let digits = text.as_bytes();
    if digits.len() != 64 || !digits.iter().all(|digit| matches!(digit, b'0'..=b'9' | b'a'..=b'f')) {
        return Err("FINGERPRINT_FORMAT");
    }
    let mut bytes = [0; 32];
    for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
        let pair = std::str::from_utf8(pair).map_err(|_| "FINGERPRINT_FORMAT")?;
        *byte = u8::from_str_radix(pair, 16).map_err(|_| "FINGERPRINT_FORMAT")?;
    }
    Ok(bytes)
}

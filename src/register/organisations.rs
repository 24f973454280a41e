//! Registered organisations. Only operators register, suspend and restore them.

use super::certificates::{self, CertificateRow, caller_part};
use super::state_change;
use crate::codes::organisation::{OrganisationId, OrganisationKind};
use crate::codes::urn::{EstablishmentNumberError, Ukprn, Urn};
use crate::exchange::check::{Check, TextRule};
use crate::exchange::{
    Action, CallerRole, Change, Decided, PageTokens, PolicyFacts, Reason, Record, Refusal, RequestContext,
};
use crate::proto::v1::{
    DeliveryKind, GetOrganisationRequest, GetOrganisationResponse, ListOrganisationsRequest,
    ListOrganisationsResponse, Organisation, OrganisationState, RegisterOrganisationRequest,
    RegisterOrganisationResponse, RegisteredCertificate, UpdateOrganisationRequest,
    UpdateOrganisationResponse,
};
use crate::store::version_key::{KeyFamily, VersionKey};
use crate::store::{Column, RecordSubject, Row, Snapshot, StoreError, Table, TableClass, Value};
use crate::tlog::Hash;

/// A row of `organisations`: one version of an organisation's registration.
#[derive(Clone, Debug)]
pub struct OrganisationRow {
    /// Id of the organisation.
    pub organisation: OrganisationId,
    /// Name of the organisation.
    pub display_name: String,
    /// Active or suspended.
    pub state: OrganisationState,
    /// Unique reference number in Get Information about Schools (GIAS).
    pub urn: Option<String>,
    /// UK provider reference number.
    pub ukprn: Option<String>,
    /// `StateChange`, sealed under a key of the organisation; set when this version changed the state.
    pub state_change: Option<Vec<u8>>,
    /// The etag, from 1.
    pub version: i64,
}

impl Record for OrganisationRow {
    const TABLE: &'static Table = &Table {
        name: "organisations",
        class: TableClass::Committed,
        subject: RecordSubject::NoChild,
        columns: &[
            Column::new::<i64>("idx"),
            Column::new::<i64>("ordinal"),
            Column::new::<Vec<u8>>("version_key"),
            Column::new::<String>("organisation"),
            Column::new::<String>("display_name"),
            Column::new::<i64>("state"),
            Column::new::<String>("urn"),
            Column::new::<String>("ukprn"),
            Column::new::<Vec<u8>>("state_change"),
        ],
        replace_key: &[],
    };

    fn values(&self) -> Vec<Value> {
        vec![
            key(&self.organisation).as_bytes().into(),
            self.organisation.as_str().into(),
            self.display_name.as_str().into(),
            (self.state as i32).into(),
            self.urn.clone().into(),
            self.ukprn.clone().into(),
            self.state_change.clone().into(),
        ]
    }

    fn current_versions(&self) -> Vec<(VersionKey, i64)> {
        vec![(key(&self.organisation), self.version)]
    }
}

/// Returns the key of an organisation's registration.
#[must_use]
pub fn key(organisation: &OrganisationId) -> VersionKey {
    VersionKey::new(KeyFamily::Organisation).text(organisation.as_str())
}

/// Registers an organisation with its first certificate.
pub(super) async fn register(
    mut cx: RequestContext,
    m: RegisterOrganisationRequest,
) -> Result<Decided<RegisterOrganisationResponse>, Refusal> {
    let mut check = Check::new();
    check.request_id(&m.request_id);
    let organisation = check.organisation("organisation", &m.organisation);
    let display_name = check.text("display_name", &m.display_name, TextRule::line(200).required());
    let urn = check_place_number(&mut check, "urn", &m.urn, |text| Urn::parse(text).map(drop));
    let ukprn = check_place_number(&mut check, "ukprn", &m.ukprn, |text| Ukprn::parse(text).map(drop));
    let certificate = certificates::check_certificate(&mut check, "certificate", &m.certificate);
    if let (Some(named), Some(certificate)) = (&organisation, &certificate)
        && named != certificate.organisation()
    {
        check.add_violation("certificate", "CERTIFICATE_OF_ANOTHER");
    }
    check.finish()?;
    let permit = cx.permit(Action::RegisterOrganisation, &PolicyFacts::for_role(operator_part(&cx)))?;
    let (Some(organisation), Some(certificate)) = (organisation, certificate) else {
        return Err(Reason::Malformed.into());
    };
    let row = OrganisationRow {
        organisation,
        display_name: display_name.unwrap_or_default(),
        state: OrganisationState::Active,
        urn,
        ukprn,
        state_change: None,
        version: 1,
    };
    let first = CertificateRow::new(&certificate);
    let exists = cx.snapshot.current_version(&key(&row.organisation)).await? > 0
        || cx.snapshot.current_version(&certificates::key(&first.sha256)).await? > 0;
    if exists {
        return Err(Reason::AlreadyExists.into());
    }
    let change = cx.change(&permit);
    let change = change.guard(key(&row.organisation), 0).guard(certificates::key(&first.sha256), 0);
    let change = change.append(&row).append(&first);
    let change = deliver_registration(&mut cx, change, &row.organisation).await?;
    let reply = RegisterOrganisationResponse {
        certificate_sha256: first.sha256_text(),
        etag: row.version.to_string(),
        receipt: None,
    };
    Ok(change.with_reply(&reply))
}

/// Renames, suspends or restores an organisation.
pub(super) async fn update(
    mut cx: RequestContext,
    m: UpdateOrganisationRequest,
) -> Result<Decided<UpdateOrganisationResponse>, Refusal> {
    let mut check = Check::new();
    check.request_id(&m.request_id);
    let organisation = check.organisation("organisation", &m.organisation);
    check.required("etag", &m.etag);
    let display_name = check.text("display_name", &m.display_name, TextRule::line(200));
    let state = check.optional_enum::<OrganisationState>("state", m.state);
    let state_change = state_change::check_state_change(&mut check, &m);
    check.finish()?;
    let permit = cx.permit(Action::UpdateOrganisation, &PolicyFacts::for_role(operator_part(&cx)))?;
    let organisation = organisation.ok_or(Reason::Malformed)?;
    let mut row = by_id(&mut cx.snapshot, &organisation).await?.ok_or(Reason::NotFound)?;
    if m.etag != row.version.to_string() {
        return Err(Reason::RevisionMismatch.into());
    }
    let change = cx.change(&permit).guard(key(&organisation), row.version);
    row.version += 1;
    row.display_name = display_name.unwrap_or(row.display_name);
    row.state = state.unwrap_or(row.state);
    row.state_change =
        state_change.map(|change| state_change::seal(&cx, &organisation, &change)).transpose()?;
    let change = change.append(&row).bump(VersionKey::authority(organisation.as_str()));
    let change = deliver_registration(&mut cx, change, &organisation).await?;
    Ok(change.with_reply(&UpdateOrganisationResponse { etag: row.version.to_string(), receipt: None }))
}

/// Returns one organisation with its certificates.
pub(super) async fn get(
    mut cx: RequestContext,
    m: GetOrganisationRequest,
) -> Result<Decided<GetOrganisationResponse>, Refusal> {
    let mut check = Check::new();
    let organisation = check.organisation("organisation", &m.organisation);
    check.finish()?;
    let organisation = organisation.ok_or(Reason::Malformed)?;
    let permit =
        cx.permit(Action::GetOrganisation, &PolicyFacts::for_role(caller_part(&cx, &organisation)))?;
    let row = by_id(&mut cx.snapshot, &organisation).await?.ok_or(Reason::NotFound)?;
    let found = load_message(&mut cx.snapshot, row).await?;
    let reply = GetOrganisationResponse { organisation: Some(found), receipt: None };
    Ok(cx.change(&permit).with_reply(&reply))
}

/// Lists all organisations by id.
pub(super) async fn list(
    mut cx: RequestContext,
    m: ListOrganisationsRequest,
) -> Result<Decided<ListOrganisationsResponse>, Refusal> {
    let mut check = Check::new();
    let page_size = i64::from(check.page_size("page_size", m.page_size, 100, 1_000).unwrap_or(100));
    let query = ListOrganisationsRequest { page_token: String::new(), page_size: 0 };
    let pages = PageTokens::for_query(&cx, "ListOrganisations", &query);
    let after = if m.page_token.is_empty() { Some(Vec::new()) } else { pages.open(&cx, &m.page_token) };
    if after.is_none() {
        check.add_violation("page_token", "PAGE_TOKEN_INVALID");
    }
    check.finish()?;
    let permit = cx.permit(Action::ListOrganisations, &PolicyFacts::for_role(operator_part(&cx)))?;
    let after = String::from_utf8(after.unwrap_or_default()).unwrap_or_default();
    let sql = "SELECT o.organisation, o.display_name, o.state, o.urn, o.ukprn, h.version FROM organisations o \
               JOIN current_versions h ON h.key = o.version_key AND h.idx = o.idx AND h.ordinal = o.ordinal \
               WHERE o.organisation > $1 ORDER BY o.organisation LIMIT $2";
    let rows = cx.snapshot.fetch(sql, vec![after.as_str().into(), page_size.into()]).await?;
    let mut organisations = Vec::with_capacity(rows.len());
    for row in &rows {
        let row = parse_row(row)?;
        organisations.push(load_message(&mut cx.snapshot, row).await?);
    }
    let last = organisations.last().filter(|_| i64::try_from(rows.len()) == Ok(page_size));
    let next_page_token = match last {
        None => String::new(),
        Some(last) => pages.seal(&cx, last.organisation.as_bytes())?,
    };
    Ok(cx.change(&permit).with_reply(&ListOrganisationsResponse {
        organisations,
        next_page_token,
        receipt: None,
    }))
}

/// Returns the newest registration of an organisation.
///
/// # Errors
/// [`StoreError`] when the query fails or a stored value is corrupt.
pub async fn by_id(
    snapshot: &mut Snapshot,
    organisation: &OrganisationId,
) -> Result<Option<OrganisationRow>, StoreError> {
    let sql = "SELECT o.organisation, o.display_name, o.state, o.urn, o.ukprn, h.version FROM current_versions h \
               JOIN organisations o ON o.idx = h.idx AND o.ordinal = h.ordinal WHERE h.key = $1";
    let row = snapshot.fetch_one(sql, vec![key(organisation).as_bytes().into()]).await?;
    row.map(|row| parse_row(&row)).transpose()
}

/// Returns whether an organisation is registered and active. A suspended organisation receives nothing new.
///
/// # Errors
/// [`StoreError`] when the query fails or a stored value is corrupt.
pub async fn is_active(snapshot: &mut Snapshot, organisation: &OrganisationId) -> Result<bool, StoreError> {
    let row = by_id(snapshot, organisation).await?;
    Ok(row.is_some_and(|row| row.state == OrganisationState::Active))
}

/// Delivers a change of an organisation's registration to the organisation and to every operator.
pub(super) async fn deliver_registration(
    cx: &mut RequestContext,
    change: Change,
    organisation: &OrganisationId,
) -> Result<Change, Refusal> {
    let object = cx.exchange_id;
    let mut change = change.deliver(organisation, DeliveryKind::Registration, object, None);
    let sql = "SELECT DISTINCT organisation FROM organisations WHERE organisation LIKE 'operator/%' \
               ORDER BY organisation";
    for row in cx.snapshot.fetch(sql, vec![]).await? {
        let corrupt = StoreError::corrupt("organisations", 0);
        let operator = OrganisationId::parse(row.text(0)?).map_err(|_| corrupt)?;
        if operator != *organisation {
            change = change.deliver(&operator, DeliveryKind::Registration, object, None);
        }
    }
    Ok(change)
}

/// Lists the registered organisations among these ids, as (id, name) in the order of their ids.
///
/// # Errors
/// [`StoreError`] when the query fails or a stored value is corrupt.
pub async fn list_names<'a>(
    snapshot: &mut Snapshot,
    organisations: impl IntoIterator<Item = &'a str>,
) -> Result<Vec<(String, String)>, StoreError> {
    let key = |id| VersionKey::new(KeyFamily::Organisation).text(id);
    let keys: Vec<VersionKey> = organisations.into_iter().map(key).collect();
    let sql = "SELECT o.organisation, o.display_name FROM current_versions h \
               JOIN organisations o ON o.idx = h.idx AND o.ordinal = h.ordinal WHERE h.key";
    let rows = snapshot.fetch_by_keys(sql, &keys).await?;
    let mut names: Vec<_> = rows
        .iter()
        .map(|row| Ok((row.text(0)?.to_owned(), row.text(1)?.to_owned())))
        .collect::<Result<_, StoreError>>()?;
    names.sort_unstable();
    Ok(names)
}

fn operator_part(cx: &RequestContext) -> CallerRole {
    if cx.caller.kind() == OrganisationKind::Operator { CallerRole::Operator } else { CallerRole::NoRole }
}

fn check_place_number(
    check: &mut Check,
    field: &'static str,
    text: &str,
    parse: impl Fn(&str) -> Result<(), EstablishmentNumberError>,
) -> Option<String> {
    if text.is_empty() {
        return None;
    }
    check.parsed(field, text, |text| {
        parse(text).map(|()| text.to_owned()).map_err(EstablishmentNumberError::reason)
    })
}

fn parse_row(row: &Row) -> Result<OrganisationRow, StoreError> {
    let corrupt = |column| StoreError::corrupt("organisations", column);
    let state = i32::try_from(row.int(2)?).ok().and_then(|state| OrganisationState::try_from(state).ok());
    Ok(OrganisationRow {
        organisation: OrganisationId::parse(row.text(0)?).map_err(|_| corrupt(0))?,
        display_name: row.text(1)?.to_owned(),
        state: state.ok_or(corrupt(2))?,
        urn: row.opt_text(3)?.map(str::to_owned),
        ukprn: row.opt_text(4)?.map(str::to_owned),
        // `state_change::written_at` reads it when it is delivered.
        state_change: None,
        version: row.int(5)?,
    })
}

async fn load_message(snapshot: &mut Snapshot, row: OrganisationRow) -> Result<Organisation, StoreError> {
    let sql = "SELECT c.sha256, c.system, c.not_after, c.state FROM certificates c \
               JOIN current_versions h ON h.key = c.version_key AND h.idx = c.idx AND h.ordinal = c.ordinal \
               WHERE c.organisation = $1 ORDER BY c.sha256";
    let mut certificates = Vec::new();
    for found in snapshot.fetch(sql, vec![row.organisation.as_str().into()]).await? {
        let corrupt = StoreError::corrupt("certificates", 3);
        let state = i32::try_from(found.int(3)?).map_err(|_| corrupt)?;
        certificates.push(RegisteredCertificate {
            sha256: Hash::from(found.hash(0)?).to_string(),
            system: found.text(1)?.to_owned(),
            not_after_us: found.int(2)?,
            state,
        });
    }
    Ok(Organisation {
        organisation: row.organisation.as_str().to_owned(),
        display_name: row.display_name,
        state: row.state as i32,
        urn: row.urn.unwrap_or_default(),
        ukprn: row.ukprn.unwrap_or_default(),
        certificates,
        etag: row.version.to_string(),
    })
}

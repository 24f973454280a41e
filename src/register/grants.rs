//! Grants: a processor may act for an organisation with named methods; an auditor may read the log of its
//! exchanges. Given and ended by the organisation itself.

use uuid::Uuid;

use super::organisations;
use crate::calendar::Date;
use crate::codes::organisation::{OrganisationId, OrganisationKind};
use crate::exchange::caller::GRANT_PROCESSOR;
use crate::exchange::check::Check;
use crate::exchange::{
    Action, Change, Cx, Decided, Facts, NextActor, Part, Reason, Record, Refusal, WrongState,
};
use crate::proto::v1::{
    AppointAuditorRequest, AppointAuditorResponse, AuthoriseProcessorRequest, AuthoriseProcessorResponse,
    DeliveryKind, EndGrantRequest, EndGrantResponse,
};
use crate::store::Kind::{Blob, Int, Text};
use crate::store::key::{Family, Key};
use crate::store::{Snapshot, StoreError, Table, Value};

/// A grant to an auditor, as stored.
const GRANT_AUDITOR: i64 = 2;
/// Most methods of one grant.
const METHODS: usize = 60;

/// A version of a grant.
struct GrantRow {
    id: Uuid,
    kind: i64,
    grantor: OrganisationId,
    grantee: OrganisationId,
    methods: String,
    from: Date,
    to: Option<Date>,
    ended: bool,
    version: i64,
}

impl Record for GrantRow {
    const TABLE: &'static Table = &Table {
        name: "grants",
        columns: &[
            ("idx", Int),
            ("ordinal", Int),
            ("head", Blob),
            ("grant_id", Blob),
            ("kind", Int),
            ("grantor", Text),
            ("grantee", Text),
            ("methods", Text),
            ("from_date", Text),
            ("to_date", Text),
            ("ended", Int),
        ],
        replace_by: &[],
    };

    fn values(&self) -> Vec<Value> {
        vec![
            key(self.id).as_bytes().into(),
            self.id.into(),
            self.kind.into(),
            self.grantor.as_str().into(),
            self.grantee.as_str().into(),
            self.methods.as_str().into(),
            self.from.to_string().into(),
            self.to.map(|to| to.to_string()).into(),
            self.ended.into(),
        ]
    }

    fn heads(&self) -> Vec<(Key, i64)> {
        vec![(key(self.id), self.version)]
    }
}

fn key(id: Uuid) -> Key {
    Key::new(Family::Grant).id(id)
}

/// Lets a processor act for the caller.
pub(super) async fn authorise_processor(
    mut cx: Cx,
    m: AuthoriseProcessorRequest,
) -> Result<Decided<AuthoriseProcessorResponse>, Refusal> {
    let mut check = Check::new();
    check.request_id(&m.request_id);
    let grantee = grantee(&mut check, "processor", &m.processor, OrganisationKind::Processor);
    if m.methods.is_empty() {
        check.fault("methods", "FIELD_REQUIRED");
    }
    if check.list_len("methods", m.methods.len(), METHODS) {
        for (at, method) in m.methods.iter().enumerate() {
            if crate::proto::path(method).is_none() {
                check.at("methods").index(at).fault("", "METHOD_UNKNOWN");
            } else if Action::ALL.iter().any(|action| action.name() == method && !action.is_grantable()) {
                check.at("methods").index(at).fault("", "METHOD_NOT_GRANTABLE");
            }
        }
    }
    let (from, to) = period(&mut check, &m.from_date, &m.to_date);
    check.finish()?;
    let permit = cx.permit(Action::AuthoriseProcessor, &Facts::own(Part::Own))?;
    let (Some(grantee), Some(from)) = (grantee, from) else {
        return Err(Reason::Malformed.into());
    };
    let row = granted(&mut cx, GRANT_PROCESSOR, grantee, m.methods.join(","), from, to).await?;
    let reply = AuthoriseProcessorResponse { grant_id: row.id.hyphenated().to_string(), receipt: None };
    Ok(told(cx.change(&permit).guard(key(row.id), 0).write(&row), &row).reply(&reply))
}

/// Lets an auditor read the log of the caller's exchanges.
pub(super) async fn appoint_auditor(
    mut cx: Cx,
    m: AppointAuditorRequest,
) -> Result<Decided<AppointAuditorResponse>, Refusal> {
    let mut check = Check::new();
    check.request_id(&m.request_id);
    let grantee = grantee(&mut check, "auditor", &m.auditor, OrganisationKind::Auditor);
    let (from, to) = period(&mut check, &m.from_date, &m.to_date);
    check.finish()?;
    let permit = cx.permit(Action::AppointAuditor, &Facts::own(Part::Own))?;
    let (Some(grantee), Some(from)) = (grantee, from) else {
        return Err(Reason::Malformed.into());
    };
    let row = granted(&mut cx, GRANT_AUDITOR, grantee, String::new(), from, to).await?;
    let reply = AppointAuditorResponse { grant_id: row.id.hyphenated().to_string(), receipt: None };
    Ok(told(cx.change(&permit).guard(key(row.id), 0).write(&row), &row).reply(&reply))
}

/// Ends a grant that the caller gave.
pub(super) async fn end(mut cx: Cx, m: EndGrantRequest) -> Result<Decided<EndGrantResponse>, Refusal> {
    let mut check = Check::new();
    check.request_id(&m.request_id);
    let id = check.uuid("grant_id", &m.grant_id);
    check.finish()?;
    let id = id.ok_or(Reason::Malformed)?;
    let found = by_id(&mut cx.snapshot, id, &cx.caller.organisation).await?;
    let facts = Facts::own(if found.is_some() { Part::Party } else { Part::None });
    let permit = cx.permit(Action::EndGrant, &facts)?;
    let mut row = found.ok_or(Reason::NotFound)?;
    if row.ended {
        return Err(WrongState { present: "ENDED", needed: Vec::new(), next_actor: NextActor::Nobody }.into());
    }
    let change = cx.change(&permit).guard(key(id), row.version);
    row.version += 1;
    row.ended = true;
    let change = change
        .write(&row)
        .bump(Key::authority(row.grantor.as_str()))
        .bump(Key::authority(row.grantee.as_str()));
    Ok(told(change, &row).reply(&EndGrantResponse { receipt: None }))
}

/// The organisations that appointed an auditor, and still do on this day.
///
/// # Errors
/// As [`StoreError`] says.
pub async fn appointed(
    snapshot: &mut Snapshot,
    auditor: &OrganisationId,
    today: Date,
) -> Result<Vec<OrganisationId>, StoreError> {
    let sql = "SELECT DISTINCT g.grantor FROM grants g \
               JOIN heads h ON h.key = g.head AND h.idx = g.idx AND h.ordinal = g.ordinal \
               WHERE g.grantee = $1 AND g.kind = $2 AND g.ended = 0 AND g.from_date <= $3 \
               AND (g.to_date IS NULL OR g.to_date >= $3) ORDER BY g.grantor";
    let arguments = vec![auditor.as_str().into(), GRANT_AUDITOR.into(), today.to_string().into()];
    let rows = snapshot.fetch(sql, arguments).await?;
    rows.iter()
        .map(|row| {
            let corrupt = StoreError::Corrupt { table: "grants", column: 0 };
            OrganisationId::parse(row.text(0)?).map_err(|_| corrupt)
        })
        .collect()
}

async fn granted(
    cx: &mut Cx,
    kind: i64,
    grantee: OrganisationId,
    methods: String,
    from: Date,
    to: Option<Date>,
) -> Result<GrantRow, Refusal> {
    // Auditors and processors are known to all; whether one is registered may be told.
    organisations::by_id(&mut cx.snapshot, &grantee).await?.ok_or(Reason::NotFound)?;
    let (id, grantor) = (cx.random.uuid_v7(cx.now), cx.caller.organisation.clone());
    Ok(GrantRow { id, kind, grantor, grantee, methods, from, to, ended: false, version: 1 })
}

fn told(change: Change, row: &GrantRow) -> Change {
    change.deliver(&row.grantee, DeliveryKind::Grant, row.id, None)
}

async fn by_id(
    snapshot: &mut Snapshot,
    id: Uuid,
    grantor: &OrganisationId,
) -> Result<Option<GrantRow>, StoreError> {
    let sql = "SELECT g.kind, g.grantee, g.methods, g.from_date, g.to_date, g.ended, h.version FROM heads h \
               JOIN grants g ON g.idx = h.idx AND g.ordinal = h.ordinal WHERE h.key = $1 AND g.grantor = $2";
    let row = snapshot.fetch_one(sql, vec![key(id).as_bytes().into(), grantor.as_str().into()]).await?;
    let corrupt = |column| StoreError::Corrupt { table: "grants", column };
    row.map(|row| {
        Ok(GrantRow {
            id,
            kind: row.int(0)?,
            grantor: grantor.clone(),
            grantee: OrganisationId::parse(row.text(1)?).map_err(|_| corrupt(1))?,
            methods: row.text(2)?.to_owned(),
            from: Date::parse(row.text(3)?).map_err(|_| corrupt(3))?,
            to: row.opt_text(4)?.map(|to| Date::parse(to).map_err(|_| corrupt(4))).transpose()?,
            ended: row.int(5)? != 0,
            version: row.int(6)?,
        })
    })
    .transpose()
}

fn grantee(
    check: &mut Check,
    field: &'static str,
    text: &str,
    kind: OrganisationKind,
) -> Option<OrganisationId> {
    let grantee = check.organisation(field, text)?;
    if grantee.kind() != kind {
        check.fault(field, "ORGANISATION_KIND");
        return None;
    }
    Some(grantee)
}

/// A period of days that may be open; both ends belong to it.
fn period(check: &mut Check, from: &str, to: &str) -> (Option<Date>, Option<Date>) {
    let (from, to) = (check.date("from_date", from), check.optional_date("to_date", to));
    if let (Some(from), Some(to)) = (from, to)
        && to < from
    {
        check.fault("to_date", "DATE_ORDER");
    }
    (from, to)
}

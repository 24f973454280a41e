//! Grants: a processor may call named methods for an organisation; an auditor may read the log of its exchanges. Only
//! the organisation itself gives and ends its grants.

use uuid::Uuid;

use super::organisations;
use crate::calendar::Date;
use crate::codes::organisation::{OrganisationId, OrganisationKind};
use crate::exchange::check::Check;
use crate::exchange::{
    CallerRole, Change, Decided, NextActor, PageTokens, PolicyFacts, Reason, Refusal, RequestContext,
    WrongState,
};
use crate::proto::v1::{
    AppointAuditorRequest, AppointAuditorResponse, AuthoriseProcessorRequest, AuthoriseProcessorResponse,
    DeliveryKind, EndGrantRequest, EndGrantResponse, Grant, GrantKind, ListGrantsRequest, ListGrantsResponse,
};
use crate::store::version_key::{KeyFamily, VersionKey};
use crate::store::{ColumnType, Revision, Snapshot, StoreError};
use crate::violation_reason::ViolationReason;
use crate::{record, select, stored_enums};

/// Maximum number of methods of one grant.
const MAX_METHODS: usize = 60;

stored_enums! { GrantKind }

record! {
    /// A version of a grant.
    pub struct GrantRow in "grants" as g, 18, Committed, NoChild {
        id: Uuid,
        version: Revision,
        kind: GrantKind,
        grantor: OrganisationId,
        grantee: OrganisationId,
        /// Short names of methods, separated by commas; empty for an auditor.
        methods: String,
        from_date: Date,
        to_date: Option<Date>,
        ended: bool,
    }
    written { version_key: VersionKey = |row| key(row.id); }
    versions = |row| vec![(key(row.id), row.version)];
}

fn key(id: Uuid) -> VersionKey {
    VersionKey::new(KeyFamily::Grant).id(id)
}

/// Grants a processor the right to act for the caller.
pub(super) async fn authorise_processor(
    mut cx: RequestContext,
    m: AuthoriseProcessorRequest,
) -> Result<Decided<AuthoriseProcessorResponse>, Refusal> {
    let mut check = Check::new();
    check.request_id(&m.request_id);
    let grantee = check_grantee(&mut check, "processor", &m.processor, OrganisationKind::Processor);
    if m.methods.is_empty() {
        check.add_violation("methods", ViolationReason::FieldRequired);
    }
    if check.list_len("methods", m.methods.len(), MAX_METHODS) {
        for (index, method) in m.methods.iter().enumerate() {
            let violation = match cx.methods.by_name(method) {
                None => Some(ViolationReason::MethodUnknown),
                Some(method) if !method.is_grantable() => Some(ViolationReason::MethodNotGrantable),
                Some(_) => None,
            };
            if let Some(reason) = violation {
                check.enter("methods").index(index).add_violation("", reason);
            }
        }
    }
    let (from, to) = check_period(&mut check, &m.from_date, &m.to_date);
    check.finish()?;
    let permit = cx.permit(&PolicyFacts::for_role(CallerRole::Owner))?;
    let (Some(grantee), Some(from)) = (grantee, from) else {
        return Err(Reason::Malformed.into());
    };
    let row = new_grant(&mut cx, GrantKind::Processor, grantee, m.methods.join(","), from, to).await?;
    let reply = AuthoriseProcessorResponse { grant_id: row.id.hyphenated().to_string(), receipt: None };
    Ok(notify_grantee(cx.change(&permit).guard(key(row.id), Revision::ABSENT).append(&row), &row)
        .with_reply(&reply))
}

/// Grants an auditor the right to read the log of the caller's exchanges.
pub(super) async fn appoint_auditor(
    mut cx: RequestContext,
    m: AppointAuditorRequest,
) -> Result<Decided<AppointAuditorResponse>, Refusal> {
    let mut check = Check::new();
    check.request_id(&m.request_id);
    let grantee = check_grantee(&mut check, "auditor", &m.auditor, OrganisationKind::Auditor);
    let (from, to) = check_period(&mut check, &m.from_date, &m.to_date);
    check.finish()?;
    let permit = cx.permit(&PolicyFacts::for_role(CallerRole::Owner))?;
    let (Some(grantee), Some(from)) = (grantee, from) else {
        return Err(Reason::Malformed.into());
    };
    let row = new_grant(&mut cx, GrantKind::Auditor, grantee, String::new(), from, to).await?;
    let reply = AppointAuditorResponse { grant_id: row.id.hyphenated().to_string(), receipt: None };
    Ok(notify_grantee(cx.change(&permit).guard(key(row.id), Revision::ABSENT).append(&row), &row)
        .with_reply(&reply))
}

/// Ends a grant that the caller gave.
pub(super) async fn end_grant(
    mut cx: RequestContext,
    m: EndGrantRequest,
) -> Result<Decided<EndGrantResponse>, Refusal> {
    let mut check = Check::new();
    check.request_id(&m.request_id);
    let id = check.uuid("grant_id", &m.grant_id);
    check.finish()?;
    let id = id.ok_or(Reason::Malformed)?;
    let found = by_id_of_grantor(&mut cx.snapshot, id, &cx.caller.organisation).await?;
    let facts = PolicyFacts::for_role(if found.is_some() { CallerRole::Party } else { CallerRole::NoRole });
    let permit = cx.permit(&facts)?;
    let mut row = found.ok_or(Reason::NotFound)?;
    if row.ended {
        return Err(
            WrongState { current: "ENDED", required: Vec::new(), next_actor: NextActor::Nobody }.into()
        );
    }
    let change = cx.change(&permit).guard(key(id), row.version);
    row.version = row.version.next();
    row.ended = true;
    let change = change
        .append(&row)
        .bump(VersionKey::authority(row.grantor.as_str()))
        .bump(VersionKey::authority(row.grantee.as_str()));
    Ok(notify_grantee(change, &row).with_reply(&EndGrantResponse { receipt: None }))
}

/// Lists the grants that the caller gave or was given, by id.
pub(super) async fn list(
    mut cx: RequestContext,
    m: ListGrantsRequest,
) -> Result<Decided<ListGrantsResponse>, Refusal> {
    let mut check = Check::new();
    let page_size = i64::from(check.page_size("page_size", m.page_size, 100, 1_000).unwrap_or(100));
    check.finish()?;
    let permit = cx.permit(&PolicyFacts::for_role(CallerRole::Owner))?;
    let pages = PageTokens::for_query(&cx, &ListGrantsRequest::default());
    let after = pages.start_position(&cx, &m.page_token, Uuid::nil(), |id| Uuid::from_slice(id).ok())?;
    let caller = cx.caller.organisation.clone();
    let sql = select!(
        GrantRow,
        "JOIN current_versions v ON v.key = g.version_key AND v.idx = g.idx AND v.ordinal = g.ordinal \
         WHERE (g.grantor = $1 OR g.grantee = $1) AND g.id > $2 ORDER BY g.id LIMIT $3"
    );
    let arguments = vec![caller.as_str().into(), after.into(), page_size.into()];
    let rows: Vec<GrantRow> = cx.snapshot.select(sql, arguments).await?;
    let is_full = i64::try_from(rows.len()) == Ok(page_size);
    let next_page_token = match rows.last().filter(|_| is_full) {
        None => String::new(),
        Some(last) => pages.seal(&cx, last.id.as_bytes())?,
    };
    let others = rows.iter().map(|row| if row.grantor == caller { &row.grantee } else { &row.grantor });
    let change = others.fold(cx.change(&permit), Change::add_counterpart);
    let grants = rows.iter().map(GrantRow::to_proto).collect();
    Ok(change.with_reply(&ListGrantsResponse { grants, next_page_token, receipt: None }))
}

impl GrantRow {
    /// Returns the grant as a message.
    fn to_proto(&self) -> Grant {
        Grant {
            grant_id: self.id.hyphenated().to_string(),
            etag: self.version.to_string(),
            kind: self.kind.into(),
            grantor: self.grantor.to_string(),
            grantee: self.grantee.to_string(),
            methods: self.methods.split(',').filter(|name| !name.is_empty()).map(str::to_owned).collect(),
            from_date: self.from_date.to_string(),
            to_date: self.to_date.map(|date| date.to_string()).unwrap_or_default(),
            ended: self.ended,
        }
    }
}

/// Lists the organisations whose appointment of an auditor is in force on this day.
///
/// # Errors
/// [`StoreError`] when the query fails or a stored value is corrupt.
pub async fn list_appointers(
    snapshot: &mut Snapshot,
    auditor: &OrganisationId,
    today: Date,
) -> Result<Vec<OrganisationId>, StoreError> {
    let sql = "SELECT DISTINCT g.grantor FROM grants g \
               JOIN current_versions h ON h.key = g.version_key AND h.idx = g.idx AND h.ordinal = g.ordinal \
               WHERE g.grantee = $1 AND g.kind = $2 AND g.ended = 0 AND g.from_date <= $3 \
               AND (g.to_date IS NULL OR g.to_date >= $3) ORDER BY g.grantor";
    let arguments = vec![auditor.as_str().into(), GrantKind::Auditor.to_value(), today.to_string().into()];
    let rows = snapshot.fetch(sql, arguments).await?;
    rows.iter().map(|row| row.get("grantor")).collect()
}

async fn new_grant(
    cx: &mut RequestContext,
    kind: GrantKind,
    grantee: OrganisationId,
    methods: String,
    from: Date,
    to: Option<Date>,
) -> Result<GrantRow, Refusal> {
    // NOT_FOUND may reveal whether an auditor or processor is registered, because that is public.
    organisations::by_id(&mut cx.snapshot, &grantee).await?.ok_or(Reason::NotFound)?;
    let (id, grantor) = (cx.random.uuid_v7(cx.now), cx.caller.organisation.clone());
    Ok(GrantRow {
        id,
        version: Revision::FIRST,
        kind,
        grantor,
        grantee,
        methods,
        from_date: from,
        to_date: to,
        ended: false,
    })
}

fn notify_grantee(change: Change, row: &GrantRow) -> Change {
    change.deliver(&row.grantee, DeliveryKind::Grant, row.id, None)
}

async fn by_id_of_grantor(
    snapshot: &mut Snapshot,
    id: Uuid,
    grantor: &OrganisationId,
) -> Result<Option<GrantRow>, StoreError> {
    let sql = select!(
        GrantRow,
        "JOIN current_versions v ON v.idx = g.idx AND v.ordinal = g.ordinal WHERE v.key = $1 AND g.grantor = $2"
    );
    let arguments = vec![key(id).as_bytes().into(), grantor.as_str().into()];
    let grant: Option<GrantRow> = snapshot.select(sql, arguments).await?.into_iter().next();
    // The end of a grant that names another key would not end this one.
    if grant.as_ref().is_some_and(|grant| grant.id != id) {
        return Err(StoreError::corrupt("grants", "id"));
    }
    Ok(grant)
}

fn check_grantee(
    check: &mut Check,
    field: &'static str,
    text: &str,
    kind: OrganisationKind,
) -> Option<OrganisationId> {
    let grantee = check.organisation(field, text)?;
    if grantee.kind() != kind {
        check.add_violation(field, ViolationReason::OrganisationKind);
        return None;
    }
    Some(grantee)
}

/// Checks an inclusive range of days whose end may be open.
fn check_period(check: &mut Check, from: &str, to: &str) -> (Option<Date>, Option<Date>) {
    let (from, to) = (check.date("from_date", from), check.optional_date("to_date", to));
    if let (Some(from), Some(to)) = (from, to)
        && to < from
    {
        check.add_violation("to_date", ViolationReason::DateOrder);
    }
    (from, to)
}

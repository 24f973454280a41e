//! Closures of providers and schools, planned or unexpected, as each organisation declares them. A closed day is not a
//! school day, and no return is due on it.

use uuid::Uuid;

use crate::calendar::{Date, Period, SchoolCalendar};
use crate::clock::Instant;
use crate::codes::organisation::OrganisationId;
use crate::exchange::check::{Check, TextRule};
use crate::exchange::{Reason, Refusal, RequestContext};
use crate::proto::v1::{Closure, ClosureKind, DeclareClosureRequest};
use crate::store::version_key::{KeyFamily, VersionKey};
use crate::store::{EntryIndex, Record as _, Revision, Snapshot, StoreError, ValueSet};
use crate::violation_reason::ViolationReason;
use crate::{record, select, stored_enums};

/// Maximum number of days of one closure.
const MAX_CLOSURE_DAYS: usize = 366;

stored_enums! { ClosureKind }

record! {
    /// A version of a closure.
    pub struct ClosureRow in "closures" as c, 31, Committed, NoChild {
        /// Id of the closure, assigned with its first version.
        pub id: Uuid,
        /// Version of the closure, from 1.
        pub version: Revision,
        /// The organisation that is closed.
        pub organisation: OrganisationId,
        /// The closed site; empty for the whole organisation.
        pub site: String,
        /// The first closed day.
        pub from_date: Date,
        /// The last closed day.
        pub to_date: Date,
        /// Planned or unexpected.
        pub kind: ClosureKind,
        /// The attendance code that registers use for it.
        pub code: String,
        /// Whether it was declared in error.
        pub withdrawn: bool,
        /// Time of its declaration.
        pub declared: Instant,
    }
    written { version_key: VersionKey = |row| key(row.id); }
    versions = |row| vec![(key(row.id), row.version)];
}

/// Parses a declaration to the first version of a closure; reports every fault of it.
///
/// # Errors
/// The violations of the request.
pub fn parse_declaration(cx: &RequestContext, m: &DeclareClosureRequest) -> Result<ClosureRow, Refusal> {
    let mut check = Check::new();
    check.uuid("request_id", &m.request_id);
    let id = check.optional_uuid("closure_id", &m.closure_id);
    let site = check.text("site", &m.site, TextRule::line(200)).unwrap_or_default();
    let days = check.period(("from_date", &m.from_date), ("to_date", &m.to_date), MAX_CLOSURE_DAYS);
    let kind = check.enum_value::<ClosureKind>("kind", m.kind);
    if kind.is_some_and(|kind| !is_code_of_kind(kind, &m.reason_code)) {
        check.add_violation("reason_code", ViolationReason::CodeNotOfAClosure);
    }
    check.finish()?;
    let (Some(days), Some(kind)) = (days, kind) else {
        return Err(Reason::Malformed.into());
    };
    Ok(ClosureRow {
        id: id.unwrap_or_else(|| cx.random.uuid_v7(cx.now)),
        version: Revision::FIRST,
        organisation: cx.caller.organisation.clone(),
        site,
        from_date: days.first(),
        to_date: days.last(),
        kind,
        code: m.reason_code.clone(),
        withdrawn: m.withdrawn,
        declared: cx.now,
    })
}

/// Returns the key of a closure, whose version is the etag.
#[must_use]
pub fn key(id: Uuid) -> VersionKey {
    VersionKey::new(KeyFamily::Closure).id(id)
}

/// Lists an organisation's closures by first day, including withdrawn ones.
///
/// # Errors
/// [`StoreError`] when the query fails or a stored value is corrupt.
pub async fn list_closures(
    snapshot: &mut Snapshot,
    organisation: &OrganisationId,
) -> Result<Vec<ClosureRow>, StoreError> {
    let sql = select!(
        ClosureRow,
        "JOIN current_versions v ON v.key = c.version_key AND v.idx = c.idx AND v.ordinal = c.ordinal \
         WHERE c.organisation = $1 ORDER BY c.from_date, c.id"
    );
    snapshot.select(sql, vec![organisation.as_str().into()]).await
}

/// Returns the closure that the exchange at a log index wrote, if it wrote one.
///
/// # Errors
/// [`StoreError`] when the query fails or a stored value is corrupt.
pub async fn written_at(
    snapshot: &mut Snapshot,
    index: EntryIndex,
) -> Result<Option<ClosureRow>, StoreError> {
    Ok(snapshot.written_at(index).await?.into_iter().next())
}

/// Lists the closures of organisations, in the order of each as [`list_closures`].
///
/// # Errors
/// [`StoreError`] when the query fails or a stored value is corrupt.
pub async fn list_closures_of(
    snapshot: &mut Snapshot,
    organisations: ValueSet,
) -> Result<Vec<ClosureRow>, StoreError> {
    let sql = select!(
        ClosureRow,
        "JOIN current_versions v ON v.key = c.version_key AND v.idx = c.idx AND v.ordinal = c.ordinal \
         WHERE c.organisation IN SET ORDER BY c.from_date, c.id"
    );
    snapshot.fetch_in_set(sql, Vec::new(), organisations).await?.iter().map(ClosureRow::read).collect()
}

impl ClosureRow {
    /// Adds the closure to its organisation's school calendar, unless it was withdrawn.
    ///
    /// # Errors
    /// [`StoreError::Corrupt`] when the last day is before the first.
    pub fn add_to(self, calendar: &mut SchoolCalendar) -> Result<(), StoreError> {
        // Y3 closes part of the premises. Without a named site it applies to no particular placement.
        match (self.site.is_empty(), self.code.as_str()) {
            _ if self.withdrawn => {}
            (true, "Y3") => {}
            (true, _) => calendar.closures.push(self.days()?),
            (false, _) => {
                let days = self.days()?;
                calendar.site_closures.push((self.site, days));
            }
        }
        Ok(())
    }

    /// Returns the closed days.
    fn days(&self) -> Result<Period, StoreError> {
        Period::new(self.from_date, self.to_date).ok_or_else(|| StoreError::corrupt("closures", "to_date"))
    }

    /// Returns the closure as a message.
    #[must_use]
    pub fn to_proto(&self) -> Closure {
        Closure {
            closure_id: self.id.hyphenated().to_string(),
            etag: self.version.to_string(),
            organisation: self.organisation.to_string(),
            site: self.site.clone(),
            from_date: self.from_date.to_string(),
            to_date: self.to_date.to_string(),
            kind: self.kind as i32,
            reason_code: self.code.clone(),
            withdrawn: self.withdrawn,
            declared_time: Some(self.declared.to_proto()),
        }
    }
}

/// Returns whether a code is valid for a closure of this kind: `#` or Y3 for a planned one; Y2 (travel), Y3 (part of
/// the premises), Y4 (the whole site) or Y6 (public health) for an unexpected one.
fn is_code_of_kind(kind: ClosureKind, code: &str) -> bool {
    match kind {
        ClosureKind::Planned => matches!(code, "#" | "Y3"),
        ClosureKind::Unexpected => matches!(code, "Y2" | "Y3" | "Y4" | "Y6"),
        ClosureKind::Unspecified => false,
    }
}

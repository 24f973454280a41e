//! Closures of providers and schools, planned or unexpected, as each organisation declares them. A closed day is not a
//! school day, and no return is due on it.

use uuid::Uuid;

use crate::calendar::{Date, Period, SchoolCalendar};
use crate::clock::Instant;
use crate::codes::organisation::OrganisationId;
use crate::exchange::Record;
use crate::proto::v1::{Closure, ClosureKind};
use crate::store::version_key::{KeyFamily, VersionKey};
use crate::store::{Column, RecordSubject, Row, Snapshot, StoreError, Table, TableClass, Value};

/// A row of `closures`: one version of a closure.
pub struct ClosureRow {
    /// Id of the closure, assigned with its first version.
    pub id: Uuid,
    /// Version of the closure, from 1.
    pub version: i64,
    /// The organisation that is closed.
    pub organisation: OrganisationId,
    /// The closed site; empty for the whole organisation.
    pub site: String,
    /// The closed days.
    pub days: Period,
    /// `apgateway.v1.ClosureKind`.
    pub kind: i32,
    /// The attendance code that registers use for it.
    pub code: String,
    /// Whether it was declared in error.
    pub withdrawn: bool,
    /// Time of its declaration, in microseconds since 1970 UTC.
    pub declared_us: i64,
}

impl Record for ClosureRow {
    const TABLE: &'static Table = &Table {
        name: "closures",
        class: TableClass::Committed,
        subject: RecordSubject::NoChild,
        columns: &[
            Column::new::<i64>("idx"),
            Column::new::<i64>("ordinal"),
            Column::new::<Vec<u8>>("version_key"),
            Column::new::<Vec<u8>>("closure"),
            Column::new::<i64>("version"),
            Column::new::<String>("organisation"),
            Column::new::<String>("site"),
            Column::new::<String>("from_date"),
            Column::new::<String>("to_date"),
            Column::new::<i64>("kind"),
            Column::new::<String>("code"),
            Column::new::<i64>("withdrawn"),
            Column::new::<i64>("declared"),
        ],
        replace_key: &[],
    };

    fn values(&self) -> Vec<Value> {
        vec![
            key(self.id).as_bytes().into(),
            self.id.into(),
            self.version.into(),
            self.organisation.as_str().into(),
            self.site.as_str().into(),
            self.days.first().to_string().into(),
            self.days.last().to_string().into(),
            self.kind.into(),
            self.code.as_str().into(),
            self.withdrawn.into(),
            self.declared_us.into(),
        ]
    }

    fn current_versions(&self) -> Vec<(VersionKey, i64)> {
        vec![(key(self.id), self.version)]
    }
}

/// Returns the key of a closure, whose version is the etag.
#[must_use]
pub fn key(id: Uuid) -> VersionKey {
    VersionKey::new(KeyFamily::Closure).id(id)
}

/// Builds a query for closures, with the columns in the order that [`parse_row`] expects.
macro_rules! select {
    ($rest:literal) => {
        concat!(
            "SELECT c.closure, c.version, c.organisation, c.site, c.from_date, c.to_date, c.kind, c.code, ",
            "c.withdrawn, c.declared FROM closures c ",
            $rest
        )
    };
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
        "JOIN current_versions h ON h.key = c.version_key AND h.idx = c.idx AND h.ordinal = c.ordinal \
         WHERE c.organisation = $1 ORDER BY c.from_date, c.closure"
    );
    snapshot.fetch(sql, vec![organisation.as_str().into()]).await?.iter().map(parse_row).collect()
}

/// Returns the closure that the exchange at a log index wrote, if it wrote one.
///
/// # Errors
/// [`StoreError`] when the query fails or a stored value is corrupt.
pub async fn written_at(snapshot: &mut Snapshot, index: i64) -> Result<Option<ClosureRow>, StoreError> {
    let row = snapshot.fetch_one(select!("WHERE c.idx = $1"), vec![index.into()]).await?;
    row.map(|row| parse_row(&row)).transpose()
}

/// Adds an organisation's closures to its school calendar.
///
/// # Errors
/// [`StoreError`] when the query fails or a stored value is corrupt.
pub async fn add_closures(
    calendar: &mut SchoolCalendar,
    snapshot: &mut Snapshot,
    organisation: &OrganisationId,
) -> Result<(), StoreError> {
    for closure in list_closures(snapshot, organisation).await? {
        if closure.withdrawn {
            continue;
        }
        // Y3 closes part of the premises. Without a named site it applies to no particular placement.
        match (closure.site.is_empty(), closure.code.as_str()) {
            (true, "Y3") => {}
            (true, _) => calendar.closures.push(closure.days),
            (false, _) => calendar.site_closures.push((closure.site, closure.days)),
        }
    }
    Ok(())
}

fn parse_row(row: &Row) -> Result<ClosureRow, StoreError> {
    let corrupt = |column| StoreError::corrupt("closures", column);
    let date = |column: usize| Date::parse(row.text(column)?).map_err(|_| corrupt(column));
    Ok(ClosureRow {
        id: row.uuid(0)?,
        version: row.int(1)?,
        organisation: OrganisationId::parse(row.text(2)?).map_err(|_| corrupt(2))?,
        site: row.text(3)?.to_owned(),
        days: Period::new(date(4)?, date(5)?).ok_or(corrupt(5))?,
        kind: i32::try_from(row.int(6)?).map_err(|_| corrupt(6))?,
        code: row.text(7)?.to_owned(),
        withdrawn: row.int(8)? != 0,
        declared_us: row.int(9)?,
    })
}

impl ClosureRow {
    /// Returns the closure as a message.
    #[must_use]
    pub fn to_proto(&self) -> Closure {
        Closure {
            closure_id: self.id.hyphenated().to_string(),
            etag: self.version.to_string(),
            organisation: self.organisation.to_string(),
            site: self.site.clone(),
            from_date: self.days.first().to_string(),
            to_date: self.days.last().to_string(),
            kind: self.kind,
            reason_code: self.code.clone(),
            withdrawn: self.withdrawn,
            declared_time: Instant::from_micros(self.declared_us).ok().map(Instant::to_proto),
        }
    }
}

/// Returns whether a code is valid for a closure of this kind: `#` or Y3 for a planned one; Y2 (travel), Y3 (part of
/// the premises), Y4 (the whole site) or Y6 (public health) for an unexpected one.
#[must_use]
pub fn is_code_of_kind(kind: ClosureKind, code: &str) -> bool {
    match kind {
        ClosureKind::Planned => matches!(code, "#" | "Y3"),
        ClosureKind::Unexpected => matches!(code, "Y2" | "Y3" | "Y4" | "Y6"),
        ClosureKind::Unspecified => false,
    }
}

//! Closures: that a provider or school is shut, planned or not, as it says itself. School days are counted by
//! them, and nothing is due in them.

use uuid::Uuid;

use crate::calendar::{Date, Period, SchoolCalendar};
use crate::clock::Instant;
use crate::codes::organisation::OrganisationId;
use crate::exchange::Record;
use crate::proto::v1::{Closure, ClosureKind};
use crate::store::Kind::{Blob, Int, Text};
use crate::store::key::{Family, Key};
use crate::store::{Row, Snapshot, StoreError, Table, Value};

/// A version of a closure.
pub struct ClosureRow {
    /// Made with the first version.
    pub id: Uuid,
    /// From 1.
    pub version: i64,
    /// Who is shut.
    pub organisation: OrganisationId,
    /// Which site; the whole organisation where it is empty.
    pub site: String,
    /// The days.
    pub days: Period,
    /// `apgateway.v1.ClosureKind`.
    pub kind: i32,
    /// The code that registers hold for it.
    pub code: String,
    /// It was declared in error.
    pub withdrawn: bool,
    /// When it was declared, in microseconds.
    pub declared: i64,
}

impl Record for ClosureRow {
    const TABLE: &'static Table = &Table {
        name: "closures",
        columns: &[
            ("idx", Int),
            ("ordinal", Int),
            ("head", Blob),
            ("closure", Blob),
            ("version", Int),
            ("organisation", Text),
            ("site", Text),
            ("from_date", Text),
            ("to_date", Text),
            ("kind", Int),
            ("code", Text),
            ("withdrawn", Int),
            ("declared", Int),
        ],
        replace_by: &[],
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
            self.declared.into(),
        ]
    }

    fn heads(&self) -> Vec<(Key, i64)> {
        vec![(key(self.id), self.version)]
    }
}

/// The key of a closure, whose version is the etag.
#[must_use]
pub fn key(id: Uuid) -> Key {
    Key::new(Family::Closure).id(id)
}

/// The columns of a closure, in the order in which [`read`] takes them.
macro_rules! select {
    ($rest:literal) => {
        concat!(
            "SELECT c.closure, c.version, c.organisation, c.site, c.from_date, c.to_date, c.kind, c.code, ",
            "c.withdrawn, c.declared FROM closures c ",
            $rest
        )
    };
}

/// An organisation's closures, the first first; withdrawn ones too.
///
/// # Errors
/// As [`StoreError`] says.
pub async fn of(
    snapshot: &mut Snapshot,
    organisation: &OrganisationId,
) -> Result<Vec<ClosureRow>, StoreError> {
    let sql = select!(
        "JOIN heads h ON h.key = c.head AND h.idx = c.idx AND h.ordinal = c.ordinal \
         WHERE c.organisation = $1 ORDER BY c.from_date, c.closure"
    );
    snapshot.fetch(sql, vec![organisation.as_str().into()]).await?.iter().map(read).collect()
}

/// The closure that the exchange at an index wrote, if it wrote one.
///
/// # Errors
/// As [`StoreError`] says.
pub async fn written_at(snapshot: &mut Snapshot, index: i64) -> Result<Option<ClosureRow>, StoreError> {
    let row = snapshot.fetch_one(select!("WHERE c.idx = $1"), vec![index.into()]).await?;
    row.map(|row| read(&row)).transpose()
}

/// Adds an organisation's closures to its school days.
///
/// # Errors
/// As [`StoreError`] says.
pub async fn add_to(
    calendar: &mut SchoolCalendar,
    snapshot: &mut Snapshot,
    organisation: &OrganisationId,
) -> Result<(), StoreError> {
    for closure in of(snapshot, organisation).await? {
        if closure.withdrawn {
            continue;
        }
        // Part of the premises (Y3) of no named site is nobody's closure in particular.
        match (closure.site.is_empty(), closure.code.as_str()) {
            (true, "Y3") => {}
            (true, _) => calendar.closures.push(closure.days),
            (false, _) => calendar.site_closures.push((closure.site, closure.days)),
        }
    }
    Ok(())
}

fn read(row: &Row) -> Result<ClosureRow, StoreError> {
    let corrupt = |column| StoreError::Corrupt { table: "closures", column };
    let date = |column: usize| Date::parse(row.text(column)?).map_err(|_| corrupt(column));
    Ok(ClosureRow {
        id: row.id(0)?,
        version: row.int(1)?,
        organisation: OrganisationId::parse(row.text(2)?).map_err(|_| corrupt(2))?,
        site: row.text(3)?.to_owned(),
        days: Period::new(date(4)?, date(5)?).ok_or(corrupt(5))?,
        kind: i32::try_from(row.int(6)?).map_err(|_| corrupt(6))?,
        code: row.text(7)?.to_owned(),
        withdrawn: row.int(8)? != 0,
        declared: row.int(9)?,
    })
}

impl ClosureRow {
    /// As it is sent.
    #[must_use]
    pub fn message(&self) -> Closure {
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
            declared_time: Instant::from_micros(self.declared).ok().map(Instant::to_proto),
        }
    }
}

/// Whether a register holds this code for a closure of this kind: `#` for one that was planned, Y2 (travel),
/// Y3 (part of the premises), Y4 (the whole site) and Y6 (public health) for one that was not; Y3 for either.
#[must_use]
pub fn fits(kind: ClosureKind, code: &str) -> bool {
    match kind {
        ClosureKind::Planned => matches!(code, "#" | "Y3"),
        ClosureKind::Unexpected => matches!(code, "Y2" | "Y3" | "Y4" | "Y6"),
        ClosureKind::Unspecified => false,
    }
}

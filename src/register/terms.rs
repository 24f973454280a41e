//! Term dates, as each organisation gives them for itself: school days are counted by them.

use prost::Message;

use super::closures;
use crate::calendar::{Date, Period, SchoolCalendar};
use crate::codes::organisation::OrganisationId;
use crate::exchange::check::Check;
use crate::exchange::{Action, Cx, Decided, Facts, Part, Reason, Record, Refusal};
use crate::proto::v1::{self, PutTermDatesRequest, PutTermDatesResponse, TermDates};
use crate::store::Kind::{Blob, Int, Text};
use crate::store::key::{Family, Key};
use crate::store::{Row, Snapshot, StoreError, Table, Value};

/// Academic years for which terms are taken.
const YEARS: std::ops::RangeInclusive<i64> = 2015..=2099;
/// Days of one term or break.
const MAX_DAYS: usize = 366;
/// Most days or periods of one kind.
const MOST: usize = 40;

/// An organisation's term dates of one academic year.
struct TermsRow {
    organisation: OrganisationId,
    year: i32,
    message: Vec<u8>,
    version: i64,
}

impl Record for TermsRow {
    const TABLE: &'static Table = &Table {
        name: "term_dates",
        columns: &[
            ("idx", Int),
            ("ordinal", Int),
            ("head", Blob),
            ("organisation", Text),
            ("academic_year", Int),
            ("message", Blob),
        ],
        replace_by: &[],
    };

    fn values(&self) -> Vec<Value> {
        vec![
            key(&self.organisation, self.year).as_bytes().into(),
            self.organisation.as_str().into(),
            self.year.into(),
            self.message.clone().into(),
        ]
    }

    fn heads(&self) -> Vec<(Key, i64)> {
        vec![(key(&self.organisation, self.year), self.version)]
    }
}

fn key(organisation: &OrganisationId, year: i32) -> Key {
    Key::new(Family::Terms).text(organisation.as_str()).bytes(&year.to_be_bytes())
}

/// Puts the caller's term dates of an academic year.
pub(super) async fn put(
    mut cx: Cx,
    m: PutTermDatesRequest,
) -> Result<Decided<PutTermDatesResponse>, Refusal> {
    let mut check = Check::new();
    check.request_id(&m.request_id);
    let sent = check.present("term_dates", m.term_dates.as_ref());
    if let Some(sent) = sent {
        let mut at = check.at("term_dates");
        at.int_range("academic_year", sent.academic_year, YEARS);
        if sent.terms.is_empty() {
            at.fault("terms", "FIELD_REQUIRED");
        }
        periods(&mut at, "terms", &sent.terms);
        periods(&mut at, "half_terms", &sent.half_terms);
        if at.list_len("inset_days", sent.inset_days.len(), MOST) {
            for (index, day) in sent.inset_days.iter().enumerate() {
                at.at("inset_days").index(index).date("", day);
            }
        }
    }
    check.finish()?;
    let sent = sent.ok_or(Reason::Malformed)?;
    let permit = cx.permit(Action::PutTermDates, &Facts::own(Part::Own))?;
    let organisation = cx.caller.organisation.clone();
    let before = cx.snapshot.version(&key(&organisation, sent.academic_year)).await?;
    let row = TermsRow {
        year: sent.academic_year,
        message: sent.encode_to_vec(),
        version: before + 1,
        organisation,
    };
    let change = cx.change(&permit).guard(key(&row.organisation, row.year), before);
    let change = change.write(&row).bump(Key::facts(row.organisation.as_str()));
    Ok(change.reply(&PutTermDatesResponse { etag: row.version.to_string(), receipt: None }))
}

/// A stored record that does not say what was checked when it came. Taken for absent dates it would move school days.
const CORRUPT: StoreError = StoreError::Corrupt { table: "term_dates", column: 0 };

/// An organisation's school days, from all the term dates and closures that it has given.
///
/// # Errors
/// As [`StoreError`] says.
pub async fn calendar(
    snapshot: &mut Snapshot,
    organisation: &OrganisationId,
) -> Result<SchoolCalendar, StoreError> {
    let mut calendar = SchoolCalendar::default();
    for dates in of(snapshot, organisation).await? {
        for (periods, stored) in
            [(&mut calendar.terms, &dates.terms), (&mut calendar.half_terms, &dates.half_terms)]
        {
            for sent in stored {
                periods.push(period(sent).ok_or(CORRUPT)?);
            }
        }
        for day in &dates.inset_days {
            calendar.inset_days.insert(Date::parse(day).map_err(|_| CORRUPT)?);
        }
    }
    closures::add_to(&mut calendar, snapshot, organisation).await?;
    Ok(calendar)
}

/// The term dates that an organisation has given, by academic year.
///
/// # Errors
/// As [`StoreError`] says.
pub async fn of(
    snapshot: &mut Snapshot,
    organisation: &OrganisationId,
) -> Result<Vec<TermDates>, StoreError> {
    let sql = "SELECT t.message FROM term_dates t \
               JOIN heads h ON h.key = t.head AND h.idx = t.idx AND h.ordinal = t.ordinal \
               WHERE t.organisation = $1 ORDER BY t.academic_year";
    let read = |row: &Row| TermDates::decode(row.blob(0)?).map_err(|_| CORRUPT);
    snapshot.fetch(sql, vec![organisation.as_str().into()]).await?.iter().map(read).collect()
}

fn periods(check: &mut Check, field: &'static str, sent: &[v1::Period]) {
    if !check.list_len(field, sent.len(), MOST) {
        return;
    }
    for (index, period) in sent.iter().enumerate() {
        let mut at = check.at(field).index(index);
        at.period(("first", &period.first), ("last", &period.last), MAX_DAYS);
    }
}

fn period(sent: &v1::Period) -> Option<Period> {
    Period::new(Date::parse(&sent.first).ok()?, Date::parse(&sent.last).ok()?)
}

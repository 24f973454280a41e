//! Term dates of organisations, from which school days are counted. Each organisation puts its own.

use std::collections::HashMap;

use prost::Message;

use super::{closures, moments};
use crate::calendar::{Date, Period, SchoolCalendar};
use crate::codes::organisation::OrganisationId;
use crate::exchange::check::Check;
use crate::exchange::{CallerRole, Decided, PolicyFacts, Reason, Refusal, RequestContext};
use crate::proto::v1::{self, PutTermDatesRequest, PutTermDatesResponse, TermDates};
use crate::store::version_key::{KeyFamily, VersionKey};
use crate::store::{Record as _, Revision, Snapshot, StoreError, ValueSet};
use crate::violation_reason::ViolationReason;
use crate::{record, select};

/// Academic years for which term dates are accepted.
const ACADEMIC_YEARS: std::ops::RangeInclusive<i64> = 2015..=2099;
/// Longest term or break, in days.
const MAX_PERIOD_DAYS: usize = 366;
/// Maximum number of terms, half-terms or inset days of one academic year.
const MAX_LIST_ITEMS: usize = 40;

record! {
    /// A version of an organisation's term dates of one academic year.
    pub struct TermsRow in "term_dates" as t, 20, Committed, NoChild {
        organisation: OrganisationId,
        /// The calendar year in which the academic year begins.
        academic_year: i32,
        version: Revision,
        /// `TermDates`, as checked.
        message: Vec<u8>,
    }
    written { version_key: VersionKey = |row| key(&row.organisation, row.academic_year); }
    versions = |row| vec![(key(&row.organisation, row.academic_year), row.version)];
}

impl TermsRow {
    fn decode(&self) -> Result<TermDates, StoreError> {
        TermDates::decode(&self.message[..]).map_err(|_| StoreError::corrupt("term_dates", "message"))
    }
}

fn key(organisation: &OrganisationId, year: i32) -> VersionKey {
    VersionKey::new(KeyFamily::Terms).text(organisation.as_str()).bytes(&year.to_be_bytes())
}

/// Stores the caller's term dates of an academic year.
pub(super) async fn put(
    mut cx: RequestContext,
    m: PutTermDatesRequest,
) -> Result<Decided<PutTermDatesResponse>, Refusal> {
    let mut check = Check::new();
    check.request_id(&m.request_id);
    let sent = check.present("term_dates", m.term_dates.as_ref());
    if let Some(sent) = sent {
        let mut at = check.enter("term_dates");
        at.int_range("academic_year", sent.academic_year, ACADEMIC_YEARS);
        if sent.terms.is_empty() {
            at.add_violation("terms", ViolationReason::FieldRequired);
        }
        check_periods(&mut at, "terms", &sent.terms);
        check_periods(&mut at, "half_terms", &sent.half_terms);
        if at.list_len("inset_days", sent.inset_days.len(), MAX_LIST_ITEMS) {
            for (index, day) in sent.inset_days.iter().enumerate() {
                at.enter("inset_days").index(index).date("", day);
            }
        }
    }
    check.finish()?;
    let sent = sent.ok_or(Reason::Malformed)?;
    let permit = cx.permit(&PolicyFacts::for_role(CallerRole::Owner))?;
    let organisation = cx.caller.organisation.clone();
    let former: Option<TermsRow> = cx.snapshot.newest(&key(&organisation, sent.academic_year)).await?;
    let before = former.as_ref().map_or(Revision::ABSENT, |former| former.version);
    let row = TermsRow {
        academic_year: sent.academic_year,
        message: sent.encode_to_vec(),
        version: before.next(),
        organisation,
    };
    let change = cx.change(&permit).guard(key(&row.organisation, row.academic_year), before);
    let change = change.append(&row).bump(VersionKey::facts(row.organisation.as_str()));
    let former = former.map(|former| former.decode()).transpose()?;
    let days =
        days_of_year(sent.academic_year, sent.terms.iter().chain(former.iter().flat_map(|it| &it.terms)));
    let change = moments::evaluate_provider_again(&mut cx, change, &row.organisation).await?;
    let change = moments::evaluate_provider_days(&mut cx, change, &row.organisation, days).await?;
    Ok(change.with_reply(&PutTermDatesResponse { etag: row.version.to_string(), receipt: None }))
}

/// Returns the first and the last day that the term dates of an academic year may concern: of the year itself, because
/// without terms each weekday of it may be a school day, and of these terms.
fn days_of_year<'a>(year: i32, terms: impl Iterator<Item = &'a v1::Period>) -> (Date, Date) {
    let august = |year: i32, day| i16::try_from(year).ok().and_then(|year| Date::new(year, 8, day).ok());
    let first = august(year, 1).unwrap_or(Date::MIN);
    let last = august(year.saturating_add(1), 31).unwrap_or(Date::MAX);
    terms
        .filter_map(parse_period)
        .fold((first, last), |(first, last), term| (first.min(term.first()), last.max(term.last())))
}

/// Loads an organisation's school calendar from its term dates and closures. Stored term dates that cannot be parsed are
/// an error, because ignoring them would change the count of school days.
///
/// # Errors
/// [`StoreError`] when the query fails or a stored value is corrupt.
pub async fn load_calendar(
    snapshot: &mut Snapshot,
    organisation: &OrganisationId,
) -> Result<SchoolCalendar, StoreError> {
    let mut calendar = SchoolCalendar::default();
    for dates in list_term_dates(snapshot, organisation).await? {
        add_term_dates(&mut calendar, &dates)?;
    }
    for closure in closures::list_closures(snapshot, organisation).await? {
        closure.add_to(&mut calendar)?;
    }
    Ok(calendar)
}

/// Loads the school calendars of organisations, each as [`load_calendar`] does one, with two queries.
///
/// # Errors
/// As [`load_calendar`].
pub async fn load_calendars(
    snapshot: &mut Snapshot,
    organisations: impl IntoIterator<Item = OrganisationId>,
) -> Result<HashMap<OrganisationId, SchoolCalendar>, StoreError> {
    let none = |organisation| (organisation, SchoolCalendar::default());
    let mut calendars: HashMap<_, _> = organisations.into_iter().map(none).collect();
    let set =
        || ValueSet::Texts(calendars.keys().map(|organisation| organisation.as_str().to_owned()).collect());
    let (of_terms, of_closures) = (set(), set());
    let sql = select!(
        TermsRow,
        "JOIN current_versions v ON v.key = t.version_key AND v.idx = t.idx AND v.ordinal = t.ordinal \
         WHERE t.organisation IN SET ORDER BY t.academic_year"
    );
    for row in snapshot.fetch_in_set(sql, Vec::new(), of_terms).await? {
        let row = TermsRow::read(&row)?;
        let dates = row.decode()?;
        if let Some(calendar) = calendars.get_mut(&row.organisation) {
            add_term_dates(calendar, &dates)?;
        }
    }
    for closure in closures::list_closures_of(snapshot, of_closures).await? {
        if let Some(calendar) = calendars.get_mut(&closure.organisation) {
            closure.add_to(calendar)?;
        }
    }
    Ok(calendars)
}

fn add_term_dates(calendar: &mut SchoolCalendar, dates: &TermDates) -> Result<(), StoreError> {
    let corrupt = || StoreError::corrupt("term_dates", "periods");
    for (periods, stored) in
        [(&mut calendar.terms, &dates.terms), (&mut calendar.half_terms, &dates.half_terms)]
    {
        for sent in stored {
            periods.push(parse_period(sent).ok_or_else(corrupt)?);
        }
    }
    for day in &dates.inset_days {
        calendar.inset_days.insert(Date::parse(day).map_err(|_| corrupt())?);
    }
    Ok(())
}

/// Lists an organisation's term dates by academic year.
///
/// # Errors
/// [`StoreError`] when the query fails or a stored value is corrupt.
pub async fn list_term_dates(
    snapshot: &mut Snapshot,
    organisation: &OrganisationId,
) -> Result<Vec<TermDates>, StoreError> {
    let sql = select!(
        TermsRow,
        "JOIN current_versions v ON v.key = t.version_key AND v.idx = t.idx AND v.ordinal = t.ordinal \
         WHERE t.organisation = $1 ORDER BY t.academic_year"
    );
    let rows: Vec<TermsRow> = snapshot.select(sql, vec![organisation.as_str().into()]).await?;
    rows.iter().map(TermsRow::decode).collect()
}

fn check_periods(check: &mut Check, field: &'static str, sent: &[v1::Period]) {
    if !check.list_len(field, sent.len(), MAX_LIST_ITEMS) {
        return;
    }
    for (index, period) in sent.iter().enumerate() {
        let mut at = check.enter(field).index(index);
        at.period(("first", &period.first), ("last", &period.last), MAX_PERIOD_DAYS);
    }
}

fn parse_period(sent: &v1::Period) -> Option<Period> {
    Period::new(Date::parse(&sent.first).ok()?, Date::parse(&sent.last).ok()?)
}

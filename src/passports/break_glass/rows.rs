//! Stored rows of break-glasses.

use std::time::Duration;

use prost::Message;
use uuid::Uuid;

use crate::calendar::Date;
use crate::clock::Instant;
use crate::codes::organisation::OrganisationId;
use crate::exchange::{Reason, Refusal, RequestContext};
use crate::passports::wire::CheckedEmergency;
use crate::placements::children::seal_refusal;
use crate::proto::v1::StoredBreakGlass;
use crate::record;
use crate::seal::{ChildKey, ColumnAddress};
use crate::store::Revision;
use crate::store::version_key::{KeyFamily, VersionKey};

/// Time within which the same request under the same id is a retry. A longer one would let a client read again and again
/// without telling the senders.
const RETRY_WINDOW: Duration = Duration::from_mins(10);

record! {
    /// A break-glass: the passports of a child were read in an emergency.
    pub struct BreakGlassRow in "break_glass" as g, 45, Committed, PlacementChild {
        /// Id: that of the exchange.
        pub id: Uuid,
        /// The organisation that read them.
        pub organisation: OrganisationId,
        pub placement: Uuid,
        /// The client's id of the request, if it sent one.
        pub request_id: Option<Uuid>,
        /// Sequence number under that id, from 1; 0 without one.
        pub request_number: Revision,
        /// The day in London on which it counts.
        pub day: Date,
        /// Sequence number of the organisation's break-glasses of that day, from 1; 0 beyond the limit.
        pub number: Revision,
        /// Whether it is beyond the limit of the day.
        pub over_limit: bool,
        /// Pseudonym of the person, as in the entry.
        pub practitioner: [u8; 32],
        /// Time, in microseconds since 1970 UTC.
        pub time: i64,
        /// `StoredBreakGlass`, sealed under the organisation's key of the child.
        pub statement: Vec<u8>,
    }
    versions = |row| row.versioned_keys();
}

impl BreakGlassRow {
    /// Returns the keys of the count of the day, within its limit, and of the request id.
    fn versioned_keys(&self) -> Vec<(VersionKey, Revision)> {
        let day = (!self.over_limit).then(|| (day_key(&self.organisation, self.day), self.number));
        let request = self.request_id.map(|id| (request_key(&self.organisation, id), self.request_number));
        day.into_iter().chain(request).collect()
    }
}

/// Returns the key of an organisation's break-glasses of a day, whose version counts them up to the limit.
pub fn day_key(organisation: &OrganisationId, day: Date) -> VersionKey {
    VersionKey::new(KeyFamily::BreakGlassDay).text(organisation.as_str()).text(&day.to_string())
}

/// Returns the key of an organisation's request id.
pub fn request_key(organisation: &OrganisationId, request: Uuid) -> VersionKey {
    VersionKey::new(KeyFamily::BreakGlassRequest).text(organisation.as_str()).id(request)
}

/// Returns the earlier break-glass that this one repeats: the same person, request id, reason and passports, within ten
/// minutes. Anything else under the same id is another break-glass, because an emergency is not refused for its id.
pub async fn find_repeated(
    cx: &mut RequestContext,
    asked: &CheckedEmergency,
    key: &ChildKey,
    statement: &StoredBreakGlass,
) -> Result<Option<BreakGlassRow>, Refusal> {
    let Some(id) = asked.request_id else { return Ok(None) };
    let newest: Option<BreakGlassRow> = cx.snapshot.newest(&request_key(&cx.caller.organisation, id)).await?;
    let person = cx.person().map(|person| person.practitioner);
    let is_recent = |row: &BreakGlassRow| {
        Instant::from_micros(row.time).is_ok_and(|time| cx.now.since(time) <= RETRY_WINDOW)
    };
    let earlier = newest
        .filter(|row| row.placement == asked.placement && Some(row.practitioner) == person && is_recent(row));
    let Some(row) = earlier else { return Ok(None) };
    Ok((open_statement(key, &row)? == *statement).then_some(row))
}

/// Seals what was said at a break-glass for storage.
pub fn seal_statement(
    cx: &RequestContext,
    key: &ChildKey,
    id: Uuid,
    statement: &StoredBreakGlass,
) -> Result<Vec<u8>, Refusal> {
    let fill = |bytes: &mut [u8]| cx.random.fill(bytes);
    key.seal(statement_column(&id), &statement.encode_to_vec(), &fill).map_err(seal_refusal)
}

/// Opens what was said at a break-glass.
pub fn open_statement(key: &ChildKey, row: &BreakGlassRow) -> Result<StoredBreakGlass, Refusal> {
    let plain = key.open(statement_column(&row.id), &row.statement).map_err(seal_refusal)?;
    StoredBreakGlass::decode(&plain[..]).map_err(|_| Reason::Failed.into())
}

fn statement_column(id: &Uuid) -> ColumnAddress<'_> {
    ColumnAddress { table: "break_glass", row: id.as_bytes(), column: "statement" }
}

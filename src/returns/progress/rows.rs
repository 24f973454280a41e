//! Rows of the table `progress`: one row per revision of a progress return.

use prost::Message;
use uuid::Uuid;

use super::rules::ProgressFlags;
use crate::calendar::Date;
use crate::codes::organisation::OrganisationId;
use crate::exchange::{Reason, Refusal, RequestContext};
use crate::placements::children::seal_refusal;
use crate::proto::v1::ProgressRecord;
use crate::record;
use crate::seal::{ChildKey, ColumnAddress};
use crate::store::Revision;
use crate::store::version_key::{KeyFamily, VersionKey};

record! {
    /// A row of `progress`: one revision of a progress return.
    pub struct ProgressRow in "progress" as p, 36, Committed, PlacementChild {
        pub placement: Uuid,
        pub child: Uuid,
        pub sender: OrganisationId,
        pub from_date: Date,
        pub to_date: Date,
        pub revision: Revision,
        pub flags: ProgressFlags,
        /// Microseconds UTC.
        pub received: i64,
        /// A `ProgressRecord` with the correction reason and the return, sealed under the provider's key of the child.
        pub progress: Vec<u8>,
    }
    versions = |row| vec![(row.key(), row.revision)];
}

impl ProgressRow {
    /// Returns the natural key of the progress return.
    pub fn key(&self) -> VersionKey {
        progress_key(self.placement, self.from_date, self.to_date)
    }
}

/// Returns the natural key of a progress return: placement, first and last day of the period.
pub fn progress_key(placement: Uuid, from: Date, to: Date) -> VersionKey {
    VersionKey::new(KeyFamily::Progress).id(placement).text(&from.to_string()).text(&to.to_string())
}

/// Seals a record for the row of this natural key and revision.
pub fn seal_progress(
    cx: &RequestContext,
    child_key: &ChildKey,
    (key, revision): (&VersionKey, Revision),
    record: &ProgressRecord,
) -> Result<Vec<u8>, Refusal> {
    let row = row_id(key, revision);
    let fill = |bytes: &mut [u8]| cx.random.fill(bytes);
    child_key.seal(progress_column(&row), &record.encode_to_vec(), &fill).map_err(seal_refusal)
}

/// Opens (decrypts) a row's record: correction reason and return.
pub fn open_progress(key: &ChildKey, row: &ProgressRow) -> Result<ProgressRecord, Refusal> {
    let sealed_at = row_id(&row.key(), row.revision);
    let plain = key.open(progress_column(&sealed_at), &row.progress).map_err(seal_refusal)?;
    ProgressRecord::decode(&plain[..]).map_err(|_| Reason::Failed.into())
}

fn row_id(key: &VersionKey, revision: Revision) -> Vec<u8> {
    [key.as_bytes(), &revision.to_be_bytes()].concat()
}

fn progress_column(row: &[u8]) -> ColumnAddress<'_> {
    ColumnAddress { table: "progress", row, column: "progress" }
}

//! Stored rows of passports: one row per block and version, one per share of a version, one per decision not to share.

use prost::Message;
use uuid::Uuid;

use super::rules::BlockKinds;
use crate::codes::organisation::OrganisationId;
use crate::exchange::{Reason, Refusal, RequestContext};
use crate::placements::children::seal_refusal;
use crate::placements::safety_acknowledgement;
use crate::proto::v1::{PassportBlock, PassportBlockKind as Kind, Sensitivity, Withholding};
use crate::seal::{ChildKey, ColumnAddress};
use crate::store::version_key::{KeyFamily, VersionKey};
use crate::store::{EntryIndex, Revision, Row, Snapshot, StoreError};
use crate::{record, select, stored_enums};

stored_enums! { Kind, Sensitivity }

record! {
    /// One block of one version of a passport.
    pub struct BlockRow in "passport_blocks" as b, 33, Committed, EveryChild {
        pub sender: OrganisationId,
        pub child: Uuid,
        /// The passport's etag, from 1.
        pub version: Revision,
        pub kind: Kind,
        pub sensitivity: Sensitivity,
        /// `PassportBlock`, sealed under the sender's key of the child.
        pub block: Vec<u8>,
    }
    versions = |row| row.versioned_keys();
}

impl BlockRow {
    /// Returns the passport's key for the META block, which every version has exactly once.
    fn versioned_keys(&self) -> Vec<(VersionKey, Revision)> {
        match self.kind {
            Kind::Meta => {
                vec![(safety_acknowledgement::passport_key(&self.sender, self.child), self.version)]
            }
            _ => Vec::new(),
        }
    }
}

record! {
    /// One version of a passport that was shared with a placement's provider.
    #[derive(Clone, Debug)]
    pub struct ShareRow in "passport_shares" as s, 34, Committed, PlacementChild {
        pub sender: OrganisationId,
        pub placement: Uuid,
        /// Sequence number of this sender's shares with the placement, from 1.
        pub number: Revision,
        /// The version that was shared.
        pub version: Revision,
        /// The agreement under which it was shared.
        pub agreement: Uuid,
    }
    versions = |row| vec![(share_key(&row.sender, row.placement), row.number)];
}

record! {
    /// One decision not to share.
    pub struct WithholdingRow in "passport_withholdings" as w, 35, Committed, PlacementChild {
        pub sender: OrganisationId,
        pub placement: Uuid,
        /// Sequence number of this sender's decisions for the placement, from 1.
        pub number: Revision,
        /// The withheld kinds of blocks.
        pub kinds: BlockKinds,
        /// `Withholding`, sealed under the sender's key of the child.
        pub decision: Vec<u8>,
    }
    versions = |row| vec![(withholding_key(&row.sender, row.placement), row.number)];
}

/// Returns the key of a sender's newest share with a placement.
pub fn share_key(sender: &OrganisationId, placement: Uuid) -> VersionKey {
    VersionKey::new(KeyFamily::PassportShare).text(sender.as_str()).id(placement)
}

/// Returns the key of a sender's newest decision not to share with a placement.
pub fn withholding_key(sender: &OrganisationId, placement: Uuid) -> VersionKey {
    VersionKey::new(KeyFamily::Withholding).text(sender.as_str()).id(placement)
}

/// Lists the blocks of a version, in the order in which they were sent.
pub async fn list_blocks(
    snapshot: &mut Snapshot,
    sender: &OrganisationId,
    child: Uuid,
    version: Revision,
) -> Result<Vec<BlockRow>, StoreError> {
    let sql = select!(BlockRow, "WHERE b.sender = $1 AND b.child = $2 AND b.version = $3 ORDER BY b.ordinal");
    snapshot.select(sql, vec![sender.as_str().into(), child.into(), version.into()]).await
}

/// Returns the newest share with a placement, if there is one, and adds its key to the read set.
pub async fn latest_share(
    snapshot: &mut Snapshot,
    sender: &OrganisationId,
    placement: Uuid,
) -> Result<Option<ShareRow>, StoreError> {
    let key = share_key(sender, placement);
    let shared: Option<ShareRow> = snapshot.newest(&key).await?;
    snapshot.record_read(key, shared.as_ref().map_or(Revision::ABSENT, |shared| shared.number));
    Ok(shared)
}

/// Returns the share that the exchange at an index wrote, if it wrote one.
pub async fn share_written_at(
    snapshot: &mut Snapshot,
    index: EntryIndex,
) -> Result<Option<ShareRow>, StoreError> {
    Ok(snapshot.written_at(index).await?.into_iter().next())
}

/// Returns the newest decision not to share with a placement, its text still sealed. Its key joins the read set, so
/// that an exchange is decided again if a newer decision is committed first.
pub async fn latest_withholding(
    snapshot: &mut Snapshot,
    sender: &OrganisationId,
    placement: Uuid,
) -> Result<Option<WithholdingRow>, StoreError> {
    let key = withholding_key(sender, placement);
    let decision: Option<WithholdingRow> = snapshot.newest(&key).await?;
    snapshot.record_read(key, decision.as_ref().map_or(Revision::ABSENT, |decision| decision.number));
    Ok(decision)
}

/// Lists the blocks of a range of versions, the newest version first: version, commit time in microseconds, kind and
/// sensitivity of each.
pub async fn list_versions(
    snapshot: &mut Snapshot,
    sender: &OrganisationId,
    child: Uuid,
    from: Revision,
    before: Revision,
) -> Result<Vec<(Revision, i64, Kind, Sensitivity)>, StoreError> {
    let sql = "SELECT b.version, e.time, b.kind, b.sensitivity FROM passport_blocks b \
               JOIN entries e ON e.idx = b.idx WHERE b.sender = $1 AND b.child = $2 \
               AND b.version >= $3 AND b.version < $4 ORDER BY b.version DESC, b.ordinal";
    let arguments = vec![sender.as_str().into(), child.into(), from.into(), before.into()];
    let rows = snapshot.fetch(sql, arguments).await?;
    let block =
        |row: &Row| Ok((row.get("version")?, row.get("time")?, row.get("kind")?, row.get("sensitivity")?));
    rows.iter().map(block).collect()
}

/// Seals a block for storage.
pub fn seal_block(
    cx: &RequestContext,
    key: &ChildKey,
    (child, version, kind): (Uuid, Revision, Kind),
    block: &PassportBlock,
) -> Result<Vec<u8>, Refusal> {
    let row = block_row_id((child, version, kind));
    let fill = |bytes: &mut [u8]| cx.random.fill(bytes);
    key.seal(block_column(&row), &block.encode_to_vec(), &fill).map_err(seal_refusal)
}

/// Opens a block.
pub fn open_block(key: &ChildKey, row: &BlockRow) -> Result<PassportBlock, Refusal> {
    let row_id = block_row_id((row.child, row.version, row.kind));
    let plain = key.open(block_column(&row_id), &row.block).map_err(seal_refusal)?;
    PassportBlock::decode(&plain[..]).map_err(|_| Reason::Failed.into())
}

/// Seals a decision not to share for storage.
pub fn seal_decision(
    cx: &RequestContext,
    key: &ChildKey,
    (placement, number): (Uuid, Revision),
    decision: &Withholding,
) -> Result<Vec<u8>, Refusal> {
    let row = decision_row_id((placement, number));
    let fill = |bytes: &mut [u8]| cx.random.fill(bytes);
    key.seal(decision_column(&row), &decision.encode_to_vec(), &fill).map_err(seal_refusal)
}

/// Opens a decision not to share, with its etag.
pub fn open_decision(key: &ChildKey, row: &WithholdingRow) -> Result<Withholding, Refusal> {
    let row_id = decision_row_id((row.placement, row.number));
    let plain = key.open(decision_column(&row_id), &row.decision).map_err(seal_refusal)?;
    let decision = Withholding::decode(&plain[..]).map_err(|_| Reason::Failed)?;
    Ok(Withholding { etag: row.number.to_string(), ..decision })
}

fn block_row_id((child, version, kind): (Uuid, Revision, Kind)) -> Vec<u8> {
    [&child.as_bytes()[..], &version.to_be_bytes(), &(kind as i32).to_be_bytes()].concat()
}

fn decision_row_id((placement, number): (Uuid, Revision)) -> Vec<u8> {
    [&placement.as_bytes()[..], &number.to_be_bytes()].concat()
}

fn block_column(row: &[u8]) -> ColumnAddress<'_> {
    ColumnAddress { table: "passport_blocks", row, column: "block" }
}

fn decision_column(row: &[u8]) -> ColumnAddress<'_> {
    ColumnAddress { table: "passport_withholdings", row, column: "decision" }
}

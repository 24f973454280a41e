//! Stored rows of passports: one row per block and version, one per share of a version, one per decision not to share.

use prost::Message;
use uuid::Uuid;

use crate::codes::organisation::OrganisationId;
use crate::exchange::{Reason, Record, Refusal, RequestContext};
use crate::placements::children::seal_refusal;
use crate::placements::safety_acknowledgement;
use crate::proto::v1::{PassportBlock, PassportBlockKind as Kind, Sensitivity, Withholding};
use crate::seal::{ChildKey, ColumnAddress};
use crate::store::version_key::{KeyFamily, VersionKey};
use crate::store::{Column, RecordSubject, Row, Snapshot, StoreError, Table, TableClass, Value};

/// A row of `passport_blocks`: one block of one version.
pub struct BlockRow {
    pub sender: OrganisationId,
    pub child: Uuid,
    /// The passport's etag, from 1.
    pub version: i64,
    pub kind: Kind,
    pub sensitivity: Sensitivity,
    /// `PassportBlock`, sealed under the sender's key of the child.
    pub block: Vec<u8>,
}

impl Record for BlockRow {
    const TABLE: &'static Table = &Table {
        name: "passport_blocks",
        class: TableClass::Committed,
        subject: RecordSubject::NoChild,
        columns: &[
            Column::new::<i64>("idx"),
            Column::new::<i64>("ordinal"),
            Column::new::<String>("sender"),
            Column::new::<Vec<u8>>("child"),
            Column::new::<i64>("version"),
            Column::new::<i64>("kind"),
            Column::new::<i64>("sensitivity"),
            Column::new::<Vec<u8>>("block"),
        ],
        replace_key: &[],
    };

    fn values(&self) -> Vec<Value> {
        vec![
            self.sender.as_str().into(),
            self.child.into(),
            self.version.into(),
            (self.kind as i32).into(),
            (self.sensitivity as i32).into(),
            self.block.clone().into(),
        ]
    }

    /// Returns the passport's key for the META block, which every version has exactly once.
    fn current_versions(&self) -> Vec<(VersionKey, i64)> {
        match self.kind {
            Kind::Meta => {
                vec![(safety_acknowledgement::passport_key(&self.sender, self.child), self.version)]
            }
            _ => Vec::new(),
        }
    }
}

/// A row of `passport_shares`: one version that was shared with a placement's provider.
#[derive(Clone, Debug)]
pub struct ShareRow {
    pub sender: OrganisationId,
    pub placement: Uuid,
    /// Sequence number of this sender's shares with the placement, from 1.
    pub number: i64,
    /// The version that was shared.
    pub version: i64,
    /// The agreement under which it was shared.
    pub agreement: Uuid,
}

impl Record for ShareRow {
    const TABLE: &'static Table = &Table {
        name: "passport_shares",
        class: TableClass::Committed,
        subject: RecordSubject::NoChild,
        columns: &[
            Column::new::<i64>("idx"),
            Column::new::<i64>("ordinal"),
            Column::new::<String>("sender"),
            Column::new::<Vec<u8>>("placement"),
            Column::new::<i64>("number"),
            Column::new::<i64>("version"),
            Column::new::<Vec<u8>>("agreement"),
        ],
        replace_key: &[],
    };

    fn values(&self) -> Vec<Value> {
        vec![
            self.sender.as_str().into(),
            self.placement.into(),
            self.number.into(),
            self.version.into(),
            self.agreement.into(),
        ]
    }

    fn current_versions(&self) -> Vec<(VersionKey, i64)> {
        vec![(share_key(&self.sender, self.placement), self.number)]
    }
}

/// A row of `passport_withholdings`: one decision not to share.
pub struct WithholdingRow {
    pub sender: OrganisationId,
    pub placement: Uuid,
    /// Sequence number of this sender's decisions for the placement, from 1.
    pub number: i64,
    /// The withheld kinds of blocks, one bit for each.
    pub kind_bits: i64,
    /// `Withholding`, sealed under the sender's key of the child.
    pub decision: Vec<u8>,
}

impl Record for WithholdingRow {
    const TABLE: &'static Table = &Table {
        name: "passport_withholdings",
        class: TableClass::Committed,
        subject: RecordSubject::NoChild,
        columns: &[
            Column::new::<i64>("idx"),
            Column::new::<i64>("ordinal"),
            Column::new::<String>("sender"),
            Column::new::<Vec<u8>>("placement"),
            Column::new::<i64>("number"),
            Column::new::<i64>("kinds"),
            Column::new::<Vec<u8>>("decision"),
        ],
        replace_key: &[],
    };

    fn values(&self) -> Vec<Value> {
        vec![
            self.sender.as_str().into(),
            self.placement.into(),
            self.number.into(),
            self.kind_bits.into(),
            self.decision.clone().into(),
        ]
    }

    fn current_versions(&self) -> Vec<(VersionKey, i64)> {
        vec![(withholding_key(&self.sender, self.placement), self.number)]
    }
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
    version: i64,
) -> Result<Vec<BlockRow>, StoreError> {
    let sql = "SELECT kind, sensitivity, block FROM passport_blocks \
               WHERE sender = $1 AND child = $2 AND version = $3 ORDER BY ordinal";
    let arguments = vec![sender.as_str().into(), child.into(), version.into()];
    let rows = snapshot.fetch(sql, arguments).await?;
    let block = |row: &Row| {
        let (sender, block) = (sender.clone(), row.blob(2)?.to_vec());
        Ok(BlockRow {
            sender,
            child,
            version,
            kind: parse_enum(row, 0)?,
            sensitivity: parse_enum(row, 1)?,
            block,
        })
    };
    rows.iter().map(block).collect()
}

/// Returns the newest share with a placement, if there is one, and adds its key to the read set.
pub async fn latest_share(
    snapshot: &mut Snapshot,
    sender: &OrganisationId,
    placement: Uuid,
) -> Result<Option<ShareRow>, StoreError> {
    let sql = "SELECT s.sender, s.placement, s.number, s.version, s.agreement FROM current_versions h \
               JOIN passport_shares s ON s.idx = h.idx AND s.ordinal = h.ordinal WHERE h.key = $1";
    let key = share_key(sender, placement);
    let row = snapshot.fetch_one(sql, vec![key.as_bytes().into()]).await?;
    let shared = row.map(|row| parse_share(&row)).transpose()?;
    snapshot.record_read(key, shared.as_ref().map_or(0, |shared| shared.number));
    Ok(shared)
}

/// Returns the share that the exchange at an index wrote, if it wrote one.
pub async fn share_written_at(snapshot: &mut Snapshot, index: i64) -> Result<Option<ShareRow>, StoreError> {
    let sql = "SELECT sender, placement, number, version, agreement FROM passport_shares WHERE idx = $1";
    snapshot.fetch_one(sql, vec![index.into()]).await?.map(|row| parse_share(&row)).transpose()
}

fn parse_share(row: &Row) -> Result<ShareRow, StoreError> {
    let corrupt = StoreError::corrupt("passport_shares", 0);
    Ok(ShareRow {
        sender: OrganisationId::parse(row.text(0)?).map_err(|_| corrupt)?,
        placement: row.uuid(1)?,
        number: row.int(2)?,
        version: row.int(3)?,
        agreement: row.uuid(4)?,
    })
}

/// Returns the newest decision not to share with a placement, its text still sealed. Its key joins the read set, so
/// that an exchange is decided again if a newer decision is committed first.
pub async fn latest_withholding(
    snapshot: &mut Snapshot,
    sender: &OrganisationId,
    placement: Uuid,
) -> Result<Option<WithholdingRow>, StoreError> {
    let sql = "SELECT w.number, w.kinds, w.decision FROM current_versions h \
               JOIN passport_withholdings w ON w.idx = h.idx AND w.ordinal = h.ordinal WHERE h.key = $1";
    let key = withholding_key(sender, placement);
    let Some(row) = snapshot.fetch_one(sql, vec![key.as_bytes().into()]).await? else {
        snapshot.record_read(key, 0);
        return Ok(None);
    };
    snapshot.record_read(key, row.int(0)?);
    let (number, kinds, decision) = (row.int(0)?, row.int(1)?, row.blob(2)?.to_vec());
    Ok(Some(WithholdingRow { sender: sender.clone(), placement, number, kind_bits: kinds, decision }))
}

/// Lists the blocks of a range of versions, the newest version first: version, commit time in microseconds, kind and
/// sensitivity of each.
pub async fn list_versions(
    snapshot: &mut Snapshot,
    sender: &OrganisationId,
    child: Uuid,
    from: i64,
    before: i64,
) -> Result<Vec<(i64, i64, Kind, Sensitivity)>, StoreError> {
    let sql = "SELECT b.version, e.time, b.kind, b.sensitivity FROM passport_blocks b \
               JOIN entries e ON e.idx = b.idx WHERE b.sender = $1 AND b.child = $2 \
               AND b.version >= $3 AND b.version < $4 ORDER BY b.version DESC, b.ordinal";
    let arguments = vec![sender.as_str().into(), child.into(), from.into(), before.into()];
    let rows = snapshot.fetch(sql, arguments).await?;
    rows.iter().map(|row| Ok((row.int(0)?, row.int(1)?, parse_enum(row, 2)?, parse_enum(row, 3)?))).collect()
}

fn parse_enum<E: TryFrom<i32>>(row: &Row, column: usize) -> Result<E, StoreError> {
    let number = i32::try_from(row.int(column)?).ok();
    number.and_then(|number| E::try_from(number).ok()).ok_or(StoreError::corrupt("passport_blocks", column))
}

/// Seals a block for storage.
pub fn seal_block(
    cx: &RequestContext,
    key: &ChildKey,
    (child, version, kind): (Uuid, i64, Kind),
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
    (placement, number): (Uuid, i64),
    decision: &Withholding,
) -> Result<Vec<u8>, Refusal> {
    let row = decision_row_id((placement, number));
    let fill = |bytes: &mut [u8]| cx.random.fill(bytes);
    key.seal(decision_column(&row), &decision.encode_to_vec(), &fill).map_err(seal_refusal)
}

/// Opens a decision not to share.
pub fn open_decision(key: &ChildKey, row: &WithholdingRow) -> Result<Withholding, Refusal> {
    let row_id = decision_row_id((row.placement, row.number));
    let plain = key.open(decision_column(&row_id), &row.decision).map_err(seal_refusal)?;
    Withholding::decode(&plain[..]).map_err(|_| Reason::Failed.into())
}

fn block_row_id((child, version, kind): (Uuid, i64, Kind)) -> Vec<u8> {
    [&child.as_bytes()[..], &version.to_be_bytes(), &(kind as i32).to_be_bytes()].concat()
}

fn decision_row_id((placement, number): (Uuid, i64)) -> Vec<u8> {
    [&placement.as_bytes()[..], &number.to_be_bytes()].concat()
}

fn block_column(row: &[u8]) -> ColumnAddress<'_> {
    ColumnAddress { table: "passport_blocks", row, column: "block" }
}

fn decision_column(row: &[u8]) -> ColumnAddress<'_> {
    ColumnAddress { table: "passport_withholdings", row, column: "decision" }
}

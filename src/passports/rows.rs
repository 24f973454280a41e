//! Passports as they are stored: one row a block and version, one a version that was shared, one a decision
//! not to share.

use prost::Message;
use uuid::Uuid;

use crate::codes::organisation::OrganisationId;
use crate::exchange::{Cx, Reason, Record, Refusal};
use crate::placements::children::failed;
use crate::placements::safety;
use crate::proto::v1::{PassportBlock, PassportBlockKind as Kind, Sensitivity, Withholding};
use crate::seal::{ChildKey, Column};
use crate::store::Kind::{Blob, Int, Text};
use crate::store::key::{Family, Key};
use crate::store::{Row, Snapshot, StoreError, Table, Value};

/// A block of a version.
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
        columns: &[
            ("idx", Int),
            ("ordinal", Int),
            ("sender", Text),
            ("child", Blob),
            ("version", Int),
            ("kind", Int),
            ("sensitivity", Int),
            ("block", Blob),
        ],
        replace_by: &[],
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

    /// Every version has its META block: that one stands for the passport.
    fn heads(&self) -> Vec<(Key, i64)> {
        match self.kind {
            Kind::Meta => vec![(safety::passport_key(&self.sender, self.child), self.version)],
            _ => Vec::new(),
        }
    }
}

/// A version that was shared with a placement's provider.
#[derive(Clone, Debug)]
pub struct ShareRow {
    pub sender: OrganisationId,
    pub placement: Uuid,
    /// How often this sender has shared with the placement, from 1.
    pub number: i64,
    /// The version that was shared.
    pub version: i64,
    /// The agreement under which it was.
    pub agreement: Uuid,
}

impl Record for ShareRow {
    const TABLE: &'static Table = &Table {
        name: "passport_shares",
        columns: &[
            ("idx", Int),
            ("ordinal", Int),
            ("sender", Text),
            ("placement", Blob),
            ("number", Int),
            ("version", Int),
            ("agreement", Blob),
        ],
        replace_by: &[],
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

    fn heads(&self) -> Vec<(Key, i64)> {
        vec![(share_key(&self.sender, self.placement), self.number)]
    }
}

/// A decision not to share.
pub struct WithholdingRow {
    pub sender: OrganisationId,
    pub placement: Uuid,
    /// How many decisions there are for the placement, from 1.
    pub number: i64,
    /// One bit a kind of block.
    pub kinds: i64,
    /// `Withholding`, sealed under the sender's key of the child.
    pub decision: Vec<u8>,
}

impl Record for WithholdingRow {
    const TABLE: &'static Table = &Table {
        name: "passport_withholdings",
        columns: &[
            ("idx", Int),
            ("ordinal", Int),
            ("sender", Text),
            ("placement", Blob),
            ("number", Int),
            ("kinds", Int),
            ("decision", Blob),
        ],
        replace_by: &[],
    };

    fn values(&self) -> Vec<Value> {
        vec![
            self.sender.as_str().into(),
            self.placement.into(),
            self.number.into(),
            self.kinds.into(),
            self.decision.clone().into(),
        ]
    }

    fn heads(&self) -> Vec<(Key, i64)> {
        vec![(withholding_key(&self.sender, self.placement), self.number)]
    }
}

/// The key of what a sender has shared with a placement.
pub fn share_key(sender: &OrganisationId, placement: Uuid) -> Key {
    Key::new(Family::PassportShare).text(sender.as_str()).id(placement)
}

/// The key of a sender's decisions not to share with a placement.
pub fn withholding_key(sender: &OrganisationId, placement: Uuid) -> Key {
    Key::new(Family::Withholding).text(sender.as_str()).id(placement)
}

/// The blocks of a version, in the order in which they were sent.
pub async fn blocks(
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
        Ok(BlockRow { sender, child, version, kind: code(row, 0)?, sensitivity: code(row, 1)?, block })
    };
    rows.iter().map(block).collect()
}

/// What was last shared with a placement, if anything was.
pub async fn shared(
    snapshot: &mut Snapshot,
    sender: &OrganisationId,
    placement: Uuid,
) -> Result<Option<ShareRow>, StoreError> {
    let sql = "SELECT s.sender, s.placement, s.number, s.version, s.agreement FROM heads h \
               JOIN passport_shares s ON s.idx = h.idx AND s.ordinal = h.ordinal WHERE h.key = $1";
    let key = share_key(sender, placement);
    let row = snapshot.fetch_one(sql, vec![key.as_bytes().into()]).await?;
    let shared = row.map(|row| share(&row)).transpose()?;
    snapshot.rest_on(key, shared.as_ref().map_or(0, |shared| shared.number));
    Ok(shared)
}

/// What the exchange at an index shared.
pub async fn shared_at(snapshot: &mut Snapshot, index: i64) -> Result<Option<ShareRow>, StoreError> {
    let sql = "SELECT sender, placement, number, version, agreement FROM passport_shares WHERE idx = $1";
    snapshot.fetch_one(sql, vec![index.into()]).await?.map(|row| share(&row)).transpose()
}

fn share(row: &Row) -> Result<ShareRow, StoreError> {
    let corrupt = StoreError::Corrupt { table: "passport_shares", column: 0 };
    Ok(ShareRow {
        sender: OrganisationId::parse(row.text(0)?).map_err(|_| corrupt)?,
        placement: row.id(1)?,
        number: row.int(2)?,
        version: row.int(3)?,
        agreement: row.id(4)?,
    })
}

/// The newest decision not to share with a placement: its number and what it withholds, with the decision
/// still sealed. The exchange rests on it: a decision that is committed meanwhile holds.
pub async fn withheld(
    snapshot: &mut Snapshot,
    sender: &OrganisationId,
    placement: Uuid,
) -> Result<Option<WithholdingRow>, StoreError> {
    let sql = "SELECT w.number, w.kinds, w.decision FROM heads h \
               JOIN passport_withholdings w ON w.idx = h.idx AND w.ordinal = h.ordinal WHERE h.key = $1";
    let key = withholding_key(sender, placement);
    let Some(row) = snapshot.fetch_one(sql, vec![key.as_bytes().into()]).await? else {
        snapshot.rest_on(key, 0);
        return Ok(None);
    };
    snapshot.rest_on(key, row.int(0)?);
    let (number, kinds, decision) = (row.int(0)?, row.int(1)?, row.blob(2)?.to_vec());
    Ok(Some(WithholdingRow { sender: sender.clone(), placement, number, kinds, decision }))
}

/// Versions before one, the newest first, each with its place in time and its blocks without content.
pub async fn versions(
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
    rows.iter().map(|row| Ok((row.int(0)?, row.int(1)?, code(row, 2)?, code(row, 3)?))).collect()
}

fn code<E: TryFrom<i32>>(row: &Row, column: usize) -> Result<E, StoreError> {
    let number = i32::try_from(row.int(column)?).ok();
    number
        .and_then(|number| E::try_from(number).ok())
        .ok_or(StoreError::Corrupt { table: "passport_blocks", column })
}

/// Seals a block for its row.
pub fn seal_block(
    cx: &Cx,
    key: &ChildKey,
    of: (Uuid, i64, Kind),
    block: &PassportBlock,
) -> Result<Vec<u8>, Refusal> {
    let row = block_row(of);
    let fill = |bytes: &mut [u8]| cx.random.fill(bytes);
    key.seal(at_block(&row), &block.encode_to_vec(), &fill).map_err(failed)
}

/// Opens a block.
pub fn open_block(key: &ChildKey, row: &BlockRow) -> Result<PassportBlock, Refusal> {
    let at = block_row((row.child, row.version, row.kind));
    let plain = key.open(at_block(&at), &row.block).map_err(failed)?;
    PassportBlock::decode(&plain[..]).map_err(|_| Reason::Failed.into())
}

/// Seals a decision not to share for its row.
pub fn seal_decision(
    cx: &Cx,
    key: &ChildKey,
    of: (Uuid, i64),
    decision: &Withholding,
) -> Result<Vec<u8>, Refusal> {
    let row = decision_row(of);
    let fill = |bytes: &mut [u8]| cx.random.fill(bytes);
    key.seal(at_decision(&row), &decision.encode_to_vec(), &fill).map_err(failed)
}

/// Opens a decision not to share.
pub fn open_decision(key: &ChildKey, row: &WithholdingRow) -> Result<Withholding, Refusal> {
    let at = decision_row((row.placement, row.number));
    let plain = key.open(at_decision(&at), &row.decision).map_err(failed)?;
    Withholding::decode(&plain[..]).map_err(|_| Reason::Failed.into())
}

fn block_row((child, version, kind): (Uuid, i64, Kind)) -> Vec<u8> {
    [&child.as_bytes()[..], &version.to_be_bytes(), &(kind as i32).to_be_bytes()].concat()
}

fn decision_row((placement, number): (Uuid, i64)) -> Vec<u8> {
    [&placement.as_bytes()[..], &number.to_be_bytes()].concat()
}

fn at_block(row: &[u8]) -> Column<'_> {
    Column { table: "passport_blocks", row, column: "block" }
}

fn at_decision(row: &[u8]) -> Column<'_> {
    Column { table: "passport_withholdings", row, column: "decision" }
}

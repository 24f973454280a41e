//! The digests with which deliveries were collected. A recipient acknowledges by the digest that it was sent, whatever
//! has been cut from the delivery since.
//!
//! A digest is kept as an HMAC: a plain hash of what was delivered could be compared with guesses about a child.

use std::collections::HashSet;

use super::rows::{Parcel, Place};
use crate::codes::organisation::OrganisationId;
use crate::exchange::{Cx, Reason, Refusal};
use crate::seal::{KeyRing, KeyedDigest};
use crate::store::Row;

/// Bytes of one record: index, ordinal, digest.
const RECORD_BYTES: usize = 8 + 8 + KeyedDigest::BYTES;
/// Newest batches of a recipient that are searched for a delivery.
const MAX_NEWEST: i64 = 1_000;
/// Batches with a delivery that are compared.
const MAX_COMPARED: i64 = 20;

/// Writes the digests of a batch for its row.
pub fn to_bytes(
    ring: &KeyRing,
    recipient: &OrganisationId,
    batch: impl Iterator<Item = (Place, [u8; 32])>,
) -> Vec<u8> {
    let record = |(at, sha256): (Place, [u8; 32])| {
        let digest = ring.delivery_digest(&message(recipient, at, &sha256));
        [&at.index.to_be_bytes()[..], &at.ordinal.to_be_bytes(), &digest.to_bytes()].concat()
    };
    batch.flat_map(record).collect()
}

/// The digests of batches that were read for one acknowledgement.
#[derive(Default)]
pub struct Collected {
    known: HashSet<(i64, i64, KeyedDigest)>,
}

impl Collected {
    /// Returns whether the delivery was ever sent to the caller with this digest.
    ///
    /// # Errors
    /// [`Reason::KeyUnavailable`] when it was sent with a digest that this node cannot compare; as
    /// [`crate::store::StoreError`] says.
    pub async fn holds(&mut self, cx: &mut Cx, parcel: &Parcel, sha256: &[u8; 32]) -> Result<bool, Refusal> {
        let digests = cx.vault.ring().delivery_digests(&message(&cx.caller.organisation, parcel.at, sha256));
        let Place { index, ordinal } = parcel.at;
        let found =
            |known: &HashSet<_>| digests.iter().any(|digest| known.contains(&(index, ordinal, *digest)));
        if found(&self.known) {
            return Ok(true);
        }
        for sql in [NEWEST, NEXT] {
            self.read(cx, sql, parcel).await?;
            if found(&self.known) {
                return Ok(true);
            }
        }
        let here = self.known.iter().filter(|(at, number, _)| (*at, *number) == (index, ordinal));
        for (.., digest) in here {
            cx.vault.ring().key(digest.key_id)?;
        }
        Ok(false)
    }

    async fn read(&mut self, cx: &mut Cx, sql: &'static str, parcel: &Parcel) -> Result<(), Refusal> {
        let arguments = vec![
            cx.caller.organisation.as_str().into(),
            parcel.at.index.into(),
            parcel.at.ordinal.into(),
            i64::from(parcel.kind).into(),
            MAX_NEWEST.into(),
            MAX_COMPARED.into(),
        ];
        for row in cx.snapshot.fetch(sql, arguments).await? {
            self.add(&row)?;
        }
        Ok(())
    }

    fn add(&mut self, row: &Row) -> Result<(), Refusal> {
        for record in row.blob(0)?.chunks(RECORD_BYTES) {
            let (index, rest) = record.split_first_chunk::<8>().ok_or(Reason::Failed)?;
            let (ordinal, digest) = rest.split_first_chunk::<8>().ok_or(Reason::Failed)?;
            let digest = KeyedDigest::from_bytes(digest).ok_or(Reason::Failed)?;
            self.known.insert((i64::from_be_bytes(*index), i64::from_be_bytes(*ordinal), digest));
        }
        Ok(())
    }
}

/// The batches with a delivery among the recipient's newest ones.
const NEWEST: &str = "SELECT c.digests FROM \
     (SELECT idx, ordinal FROM collections WHERE organisation = $1 ORDER BY idx DESC, ordinal DESC LIMIT $5) n \
     JOIN collections c ON c.idx = n.idx AND c.ordinal = n.ordinal \
     WHERE (c.to_idx, c.to_ordinal) >= ($2, $3) AND (c.from_idx, c.from_ordinal) < ($2, $3) \
     AND (c.kinds >> CAST($4 AS INTEGER)) & 1 = 1 ORDER BY c.idx DESC, c.ordinal DESC LIMIT $6";

/// The batches with a delivery among those that end soonest behind it, for one that is acknowledged late.
const NEXT: &str = "SELECT c.digests FROM \
     (SELECT idx, ordinal FROM collections WHERE organisation = $1 AND (to_idx, to_ordinal) >= ($2, $3) \
     ORDER BY to_idx, to_ordinal LIMIT $5) n \
     JOIN collections c ON c.idx = n.idx AND c.ordinal = n.ordinal \
     WHERE (c.from_idx, c.from_ordinal) < ($2, $3) AND (c.kinds >> CAST($4 AS INTEGER)) & 1 = 1 \
     ORDER BY c.to_idx, c.to_ordinal LIMIT $6";

fn message(recipient: &OrganisationId, at: Place, sha256: &[u8; 32]) -> Vec<u8> {
    let recipient = recipient.as_str().as_bytes();
    [&at.index.to_be_bytes()[..], &at.ordinal.to_be_bytes(), sha256, recipient].concat()
}

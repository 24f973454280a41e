//! Digests of the content that was sent to recipients. A recipient acknowledges a delivery with the digest that it
//! received, even if the content has been reduced since.
//!
//! A digest is stored as an HMAC, because a plain hash of the content could be compared with guesses about a child.

use std::collections::HashSet;

use super::rows::{MailboxPosition, StoredDelivery};
use crate::codes::organisation::OrganisationId;
use crate::exchange::{Reason, Refusal, RequestContext};
use crate::seal::{KeyRing, KeyedDigest};
use crate::store::{EntryIndex, Ordinal, Row};

/// Bytes of one encoded digest: index, ordinal, HMAC.
const RECORD_BYTES: usize = 8 + 8 + KeyedDigest::BYTES;
/// Maximum number of batches of a recipient that one query searches for a delivery.
const MAX_SEARCHED_BATCHES: i64 = 1_000;
/// Maximum number of batches with a delivery whose digests one query returns.
const MAX_COMPARED_BATCHES: i64 = 20;

/// Encodes the digests of a batch for its row.
pub fn encode_digests(
    ring: &KeyRing,
    recipient: &OrganisationId,
    batch: impl Iterator<Item = (MailboxPosition, [u8; 32])>,
) -> Vec<u8> {
    let record = |(at, sha256): (MailboxPosition, [u8; 32])| {
        let digest = ring.delivery_digest(&digest_message(recipient, at, &sha256));
        [&at.index.to_be_bytes()[..], &at.ordinal.to_be_bytes(), &digest.to_bytes()].concat()
    };
    batch.flat_map(record).collect()
}

/// The digests that were loaded for one acknowledgement request.
#[derive(Default)]
pub struct CollectedDigests {
    digests: HashSet<(EntryIndex, Ordinal, KeyedDigest)>,
}

impl CollectedDigests {
    /// Returns whether the delivery was sent to the caller with this digest, at any time.
    ///
    /// # Errors
    /// [`Reason::KeyUnavailable`] when a stored digest of the delivery is under a key that this node does not hold;
    /// [`crate::store::StoreError`] when a query fails.
    pub async fn contains(
        &mut self,
        cx: &mut RequestContext,
        header: &StoredDelivery,
        sha256: &[u8; 32],
    ) -> Result<bool, Refusal> {
        let digests = cx.vault.ring().delivery_digests(&digest_message(
            &cx.caller.organisation,
            header.position,
            sha256,
        ));
        let MailboxPosition { index, ordinal } = header.position;
        let found =
            |known: &HashSet<_>| digests.iter().any(|digest| known.contains(&(index, ordinal, *digest)));
        if found(&self.digests) {
            return Ok(true);
        }
        for sql in [SELECT_NEWEST, SELECT_NEXT] {
            self.load(cx, sql, header).await?;
            if found(&self.digests) {
                return Ok(true);
            }
        }
        let of_delivery = self.digests.iter().filter(|(at, number, _)| (*at, *number) == (index, ordinal));
        for (.., digest) in of_delivery {
            cx.vault.ring().key(digest.key_id)?;
        }
        Ok(false)
    }

    async fn load(
        &mut self,
        cx: &mut RequestContext,
        sql: &'static str,
        header: &StoredDelivery,
    ) -> Result<(), Refusal> {
        let arguments = vec![
            cx.caller.organisation.as_str().into(),
            header.position.index.into(),
            header.position.ordinal.into(),
            i64::from(header.kind).into(),
            MAX_SEARCHED_BATCHES.into(),
            MAX_COMPARED_BATCHES.into(),
        ];
        for row in cx.snapshot.fetch(sql, arguments).await? {
            self.add(&row)?;
        }
        Ok(())
    }

    fn add(&mut self, row: &Row) -> Result<(), Refusal> {
        for record in row.get::<Vec<u8>>("digests")?.chunks(RECORD_BYTES) {
            let (index, rest) = record.split_first_chunk::<8>().ok_or(Reason::Failed)?;
            let (ordinal, digest) = rest.split_first_chunk::<8>().ok_or(Reason::Failed)?;
            let digest = KeyedDigest::from_bytes(digest).ok_or(Reason::Failed)?;
            self.digests.insert((
                EntryIndex::from_be_bytes(*index),
                Ordinal::from_be_bytes(*ordinal),
                digest,
            ));
        }
        Ok(())
    }
}

/// Query for the batches with a delivery among the recipient's newest ones.
const SELECT_NEWEST: &str = "SELECT c.digests FROM \
     (SELECT idx, ordinal FROM collections WHERE organisation = $1 ORDER BY idx DESC, ordinal DESC LIMIT $5) n \
     JOIN collections c ON c.idx = n.idx AND c.ordinal = n.ordinal \
     WHERE (c.to_idx, c.to_ordinal) >= ($2, $3) AND (c.from_idx, c.from_ordinal) < ($2, $3) \
     AND (c.kinds >> CAST($4 AS INTEGER)) & 1 = 1 ORDER BY c.idx DESC, c.ordinal DESC LIMIT $6";

/// Query for the batches with a delivery among those that end soonest after it. It finds deliveries that are
/// acknowledged late.
const SELECT_NEXT: &str = "SELECT c.digests FROM \
     (SELECT idx, ordinal FROM collections WHERE organisation = $1 AND (to_idx, to_ordinal) >= ($2, $3) \
     ORDER BY to_idx, to_ordinal LIMIT $5) n \
     JOIN collections c ON c.idx = n.idx AND c.ordinal = n.ordinal \
     WHERE (c.from_idx, c.from_ordinal) < ($2, $3) AND (c.kinds >> CAST($4 AS INTEGER)) & 1 = 1 \
     ORDER BY c.to_idx, c.to_ordinal LIMIT $6";

fn digest_message(recipient: &OrganisationId, at: MailboxPosition, sha256: &[u8; 32]) -> Vec<u8> {
    let recipient = recipient.as_str().as_bytes();
    [&at.index.to_be_bytes()[..], &at.ordinal.to_be_bytes(), sha256, recipient].concat()
}

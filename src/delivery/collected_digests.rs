//! Digests of the content that was sent to recipients. A recipient acknowledges a delivery with the digest that it
//! received, even if the content has been reduced since.
//!
//! A digest is stored as an HMAC, because a plain hash of the content could be compared with guesses about a child. For
//! the same reason the digest of a content that is cut to its reader is bound to that reader: another one who sends a
//! guess must not learn from the answer what was sent to whom.

use std::collections::HashSet;

use super::content::PreparedDelivery;
use super::kinds;
use super::rows::{MailboxPosition, StoredDelivery};
use crate::exchange::{Caller, Reason, Refusal, RequestContext};
use crate::seal::KeyedDigest;
use crate::store::{EntryIndex, Ordinal, Row};

/// Bytes of one encoded digest: index, ordinal, HMAC.
const RECORD_BYTES: usize = 8 + 8 + KeyedDigest::BYTES;
/// Maximum number of batches of a recipient that one query searches for a delivery.
const MAX_SEARCHED_BATCHES: i64 = 1_000;
/// Maximum number of batches with a delivery whose digests one query returns.
const MAX_COMPARED_BATCHES: i64 = 20;

/// Encodes the digests of a batch for its row.
pub fn encode_digests(cx: &RequestContext, batch: &[PreparedDelivery]) -> Vec<u8> {
    let ring = cx.vault.ring();
    let record = |sent: &PreparedDelivery| {
        let at = sent.position;
        let message = digest_message(&cx.caller, at, sent.delivery.kind, &sent.content_sha256);
        let digest = ring.delivery_digest(&message);
        [&at.index.to_be_bytes()[..], &at.ordinal.to_be_bytes(), &digest.to_bytes()].concat()
    };
    batch.iter().flat_map(record).collect()
}

/// The digests that were loaded for one acknowledgement request.
#[derive(Default)]
pub struct CollectedDigests {
    digests: HashSet<(EntryIndex, Ordinal, KeyedDigest)>,
}

impl CollectedDigests {
    /// Returns whether the delivery was sent to the caller with this digest, at any time. A content that is cut to its
    /// reader must have been sent to the same person or, without one, to a system.
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
        let message = digest_message(&cx.caller, header.position, header.kind, sha256);
        let digests = cx.vault.ring().delivery_digests(&message);
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

/// Returns what the HMAC of a digest is over. No organisation's id has a zero byte, so what was sent to a person never
/// equals what was sent to a system.
fn digest_message(caller: &Caller, at: MailboxPosition, kind: i32, sha256: &[u8; 32]) -> Vec<u8> {
    let recipient = caller.organisation.as_str().as_bytes();
    let mut message = [&at.index.to_be_bytes()[..], &at.ordinal.to_be_bytes(), sha256, recipient].concat();
    if let Some(person) = caller.person.as_ref().filter(|_| kinds::is_cut_to_reader(kind)) {
        message.push(0);
        message.extend_from_slice(&person.practitioner);
    }
    message
}

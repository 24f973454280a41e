//! Compares checkpoints: proves that the log only grew since the checkpoints that were received before.

use super::checkpoint_folder::{CheckpointFolder, CheckpointFolderError, SeenCheckpoint, find_log};
use super::contradiction::{Contradiction, Inconsistency};
use super::log_replacements::{check_loss_is_recorded, verify_replacements};
use super::receipt::{Inclusion, ReceiptError};
use super::{Client, ClientError};
use crate::proto::v1::audit_service as audit;
use crate::proto::v1::{Delivery, GetCheckpointRequest, GetConsistencyProofRequest, Receipt};
use crate::tlog::{Checkpoint, Hash, verify_consistency};

/// Maximum number of comparisons of one checkpoint. Another is needed only if another process has meanwhile replaced
/// the newest checkpoint in the folder, which it does without its turn only if this one is slow.
const MAX_COMPARISONS: usize = 16;

/// Result of a comparison of checkpoints with the newest one.
pub struct ConsistencyReport {
    /// Size of the newest tree, in entries.
    pub size: u64,
    /// Number of checkpoints that are consistent with it.
    pub consistent_checkpoints: usize,
    /// Messages about the entries that accepted rollbacks lost.
    pub lost: Vec<String>,
}

/// Newest checkpoint of the gateway.
struct Newest {
    seen: SeenCheckpoint,
    /// First entry of each log that replaced another.
    replacements: Vec<Receipt>,
}

impl Client {
    /// Checks that no earlier call found a contradiction, and that the folder of checkpoints can be read.
    pub(super) async fn check_folder(&self) -> Result<(), ClientError> {
        if let Some(folder) = self.checkpoints.folder() {
            folder.load_newest(&self.log_key).await?;
        }
        Ok(())
    }

    /// Compares a checkpoint that was received with those in the folder, and stores it if it is the newest.
    pub(super) async fn check_received(&self, note: &str) -> Result<(), ClientError> {
        let Some(folder) = self.checkpoints.folder() else { return Ok(()) };
        let checkpoint = match self.checkpoints.find_recently_verified(note) {
            Some(checkpoint) => checkpoint,
            None => self.log_key.open(note)?,
        };
        let received = SeenCheckpoint { checkpoint, note: note.to_owned() };
        let _guard = self.checkpoints.comparison.lock().await;
        let _turn = folder.wait_for_turn().await?;
        for _ in 0..MAX_COMPARISONS {
            if self.compare_received(folder, &received).await? {
                return Ok(());
            }
        }
        Err(CheckpointFolderError::Busy(folder.path().to_owned()).into())
    }

    /// Verifies the proofs that deliveries of one batch carry: each sender's entry is in the tree of the sender's
    /// checkpoint, and the tree of the largest of these checkpoints, for which one proof is requested, is the beginning
    /// of the newest that was kept. So a sender and its recipient see one log.
    ///
    /// # Errors
    /// [`ClientError::Receipt`] if a proof of a delivery is not valid; otherwise as for [`Client::call`].
    pub async fn check_deliveries(&self, deliveries: &[Delivery]) -> Result<(), ClientError> {
        let mut largest: Option<SeenCheckpoint> = None;
        for delivery in deliveries {
            let leaf = <[u8; 32]>::try_from(&delivery.sender_leaf_hash[..]);
            let included = Inclusion {
                leaf: leaf.map(Hash::from).map_err(|_| ReceiptError::Malformed)?,
                index: delivery.cursor.as_ref().ok_or(ReceiptError::Malformed)?.index,
                tree_size: delivery.sender_tree_size,
                proof: &delivery.sender_inclusion_proof,
                note: &delivery.sender_checkpoint,
            };
            let checkpoint = included.verify(&self.log_key, &self.checkpoints)?;
            if largest.as_ref().is_none_or(|largest| largest.checkpoint.size() < checkpoint.size()) {
                largest = Some(SeenCheckpoint { checkpoint, note: delivery.sender_checkpoint.clone() });
            }
        }
        let (Some(folder), Some(largest)) = (self.checkpoints.folder(), largest) else { return Ok(()) };
        let kept = folder.load_newest(&self.log_key).await?;
        match find_log(&kept, self.log_key.present().name()) {
            Some(newest) if newest.checkpoint.size() >= largest.checkpoint.size() => {
                let proved = self.prove(&largest.checkpoint, &newest.checkpoint).await;
                self.with_evidence(folder, &[&largest], proved).await
            }
            _ => self.check_received(&largest.note).await,
        }
    }

    /// Requests the newest checkpoint, compares it as every call compares its own, and returns its note.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn check_newest(&self) -> Result<String, ClientError> {
        let Some(folder) = self.checkpoints.folder() else {
            return Ok(self.request_newest().await?.seen.note);
        };
        let _guard = self.checkpoints.comparison.lock().await;
        let _turn = folder.wait_for_turn().await?;
        for _ in 0..MAX_COMPARISONS {
            let kept = folder.load_newest(&self.log_key).await?;
            if let Some(newest) = self.compare_newest(folder, &kept, None).await? {
                return Ok(newest.note);
            }
        }
        Err(CheckpointFolderError::Busy(folder.path().to_owned()).into())
    }

    /// Verifies, by consistency proofs, that the newest tree extends the tree of each checkpoint. A checkpoint in the
    /// lost part of a replaced log is not compared; it must fit the loss that the log has recorded.
    ///
    /// # Errors
    /// [`ClientError::Inconsistent`] if one of them contradicts the log; otherwise see [`ClientError`].
    pub async fn verify_checkpoints(&self, notes: &[String]) -> Result<ConsistencyReport, ClientError> {
        let newest = self.request_newest().await?;
        let open = |note: &String| Ok(self.log_key.open_even_if_lost(note)?.0);
        let seen: Vec<Checkpoint> = notes.iter().map(open).collect::<Result<_, ClientError>>()?;
        self.verify_against(&newest, &seen.iter().collect::<Vec<_>>()).await
    }

    /// Compares a checkpoint once; returns false if another process has replaced the newest one meanwhile.
    async fn compare_received(
        &self,
        folder: &CheckpointFolder,
        received: &SeenCheckpoint,
    ) -> Result<bool, ClientError> {
        let kept = folder.load_newest(&self.log_key).await?;
        let newest = find_log(&kept, self.log_key.present().name());
        match newest {
            Some(newest) if newest.checkpoint == received.checkpoint => Ok(true),
            // The log has grown. A newest checkpoint would be no smaller than this one, so it is not requested.
            Some(newest) if newest.checkpoint.size() <= received.checkpoint.size() => {
                let proved = self.prove(&newest.checkpoint, &received.checkpoint).await;
                self.with_evidence(folder, &[received], proved).await?;
                Ok(folder.replace_newest(&self.log_key, Some(newest), received).await?)
            }
            None if kept.is_empty() => Ok(folder.replace_newest(&self.log_key, None, received).await?),
            _ => Ok(self.compare_newest(folder, &kept, Some(received)).await?.is_some()),
        }
    }

    /// Compares the gateway's newest checkpoint with those in the folder, and with one that was received; stores it.
    /// Returns it, or `None` if another process has replaced the newest one in the folder meanwhile.
    async fn compare_newest(
        &self,
        folder: &CheckpointFolder,
        kept: &[SeenCheckpoint],
        received: Option<&SeenCheckpoint>,
    ) -> Result<Option<SeenCheckpoint>, ClientError> {
        let requested = self.request_newest().await;
        let newest = self.with_evidence(folder, &[], requested).await?;
        // Older logs were compared when the first checkpoint of the current one was stored.
        let current = find_log(kept, self.log_key.present().name());
        let before = current.map_or_else(|| kept.iter().collect(), |current| vec![current]);
        let before: Vec<&Checkpoint> = before.into_iter().map(|seen| &seen.checkpoint).collect();
        let verified = self.verify_against(&newest, &before).await;
        self.with_evidence(folder, &[&newest.seen], verified).await?;
        let stored = find_log(kept, newest.seen.checkpoint.origin());
        if let Some(received) = received {
            let proved = self.prove(&received.checkpoint, &newest.seen.checkpoint).await;
            let is_kept = stored == Some(&newest.seen);
            let conflicting = if is_kept { vec![received] } else { vec![received, &newest.seen] };
            self.with_evidence(folder, &conflicting, proved).await?;
        }
        let is_stored = stored == Some(&newest.seen)
            || folder.replace_newest(&self.log_key, stored, &newest.seen).await?;
        Ok(is_stored.then_some(newest.seen))
    }

    /// Stores the checkpoints of a contradiction, and marks any other error as one of the check.
    async fn with_evidence<T>(
        &self,
        folder: &CheckpointFolder,
        conflicting: &[&SeenCheckpoint],
        checked: Result<T, ClientError>,
    ) -> Result<T, ClientError> {
        match checked {
            Err(ClientError::Inconsistent(found)) => {
                let stored = folder.store_conflicting(&self.log_key, conflicting).await;
                // The contradiction matters more than a full disk. The next call finds it again.
                if let Err(error) = &stored {
                    tracing::error!(%error, "the evidence of a contradiction could not be stored");
                }
                let is_stored = stored.is_ok() && !conflicting.is_empty();
                let evidence = is_stored.then(|| folder.path().to_owned());
                Err(ClientError::Inconsistent(Box::new(Inconsistency { evidence, ..*found })))
            }
            Err(error) => Err(ClientError::Unchecked(Box::new(error))),
            Ok(checked) => Ok(checked),
        }
    }

    async fn request_newest(&self) -> Result<Newest, ClientError> {
        let request = GetCheckpointRequest { tree_size: 0 };
        let reply = self.call_without_receipt(audit::GET_CHECKPOINT, &request).await;
        let reply = reply.map_err(|error| or_contradiction(error, Contradiction::NoNewest))?;
        let checkpoint = self.log_key.open(&reply.checkpoint)?;
        let seen = SeenCheckpoint { checkpoint, note: reply.checkpoint };
        Ok(Newest { seen, replacements: reply.replacements })
    }

    /// Verifies that the newest tree extends others, or that the log has recorded their loss.
    async fn verify_against(
        &self,
        newest: &Newest,
        before: &[&Checkpoint],
    ) -> Result<ConsistencyReport, ClientError> {
        let keys = &self.log_key;
        let ends = verify_replacements(keys, &newest.replacements)?;
        let mut lost: Vec<String> =
            ends.iter().map(|(index, last)| keys.describe_loss(*index, last)).collect();
        let mut consistent_checkpoints = 0;
        let newest = &newest.seen.checkpoint;
        for seen in before {
            if keys.is_beyond_kept(seen) {
                lost.push(check_loss_is_recorded(seen, &ends)?);
                continue;
            }
            self.prove(seen, newest).await?;
            consistent_checkpoints += 1;
        }
        Ok(ConsistencyReport { size: newest.size(), consistent_checkpoints, lost })
    }

    /// Requests and verifies the proof that one tree is the beginning of another.
    async fn prove(&self, before: &Checkpoint, newest: &Checkpoint) -> Result<(), ClientError> {
        let (from, to) = (before.size(), newest.size());
        if from > to {
            return Err(Contradiction::Shrunk { newest: to, before: from }.into());
        }
        if from == to {
            let is_one = before.root() == newest.root();
            return if is_one { Ok(()) } else { Err(Contradiction::SecondRoot(to).into()) };
        }
        let mut proof = Vec::new();
        if from > 0 {
            let request = GetConsistencyProofRequest { from_size: from, to_size: to };
            let reply = self.call_without_receipt(audit::GET_CONSISTENCY_PROOF, &request).await;
            let reply =
                reply.map_err(|error| or_contradiction(error, Contradiction::Unproved { from, to }))?;
            let hashes = reply.hashes.iter().map(|hash| <[u8; 32]>::try_from(&hash[..]).map(Hash::from));
            proof = hashes.collect::<Result<_, _>>().map_err(|_| Contradiction::Unproved { from, to })?;
        }
        let verified = verify_consistency(from, before.root(), to, newest.root(), &proof);
        Ok(verified.map_err(|_| Contradiction::NotContinued { from, to })?)
    }
}

/// Returns the contradiction in place of a refusal that a log without a fault does not give. A refusal that may pass,
/// or that is about the caller, is returned as it is.
fn or_contradiction(error: ClientError, contradiction: Contradiction) -> ClientError {
    let is_about_the_log = match &error {
        ClientError::Refused(status) => {
            let is_about_the_caller =
                matches!(status.code(), tonic::Code::Unauthenticated | tonic::Code::PermissionDenied);
            !is_about_the_caller && error.min_retry_delay().is_none()
        }
        ClientError::Malformed => true,
        _ => false,
    };
    if is_about_the_log { contradiction.into() } else { error }
}

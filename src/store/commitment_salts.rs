//! Salts of an entry's two commitments. They are random, are sent in the receipt, and are stored sealed for as long as
//! the reply, so that a repetition gets the same bytes.

use uuid::Uuid;

use crate::clock::Randomness;
use crate::seal::{ColumnAddress, KeyRing, OrganisationKey, SealError};

/// Salts of the commitments to a request and its reply, 32 random bytes each.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct CommitmentSalts {
    /// Salt of the commitment to the request as received.
    pub request: [u8; 32],
    /// Salt of the commitment to the reply as sent.
    pub reply: [u8; 32],
}

impl CommitmentSalts {
    /// Makes random salts.
    #[must_use]
    pub fn new(random: &Randomness) -> Self {
        let mut salts = Self { request: [0; 32], reply: [0; 32] };
        random.fill(&mut salts.request);
        random.fill(&mut salts.reply);
        salts
    }

    /// Encrypts the salts under the key of the organisation for which the exchange was made.
    ///
    /// # Errors
    /// [`SealError::CryptoLibrary`] only.
    pub fn seal(
        &self,
        ring: &KeyRing,
        organisation: &str,
        exchange: Uuid,
        random: &Randomness,
    ) -> Result<Vec<u8>, SealError> {
        let plain = [self.request, self.reply].concat();
        OrganisationKey::derive(ring, organisation)?
            .seal(salts_column(&exchange), &plain, &|bytes| random.fill(bytes))
    }

    /// Decrypts sealed salts.
    ///
    /// # Errors
    /// As [`OrganisationKey::open`].
    pub fn open(
        ring: &KeyRing,
        organisation: &str,
        exchange: Uuid,
        sealed: &[u8],
    ) -> Result<Self, SealError> {
        let plain = OrganisationKey::open(ring, organisation, salts_column(&exchange), sealed)?;
        let (request, reply) = plain.split_first_chunk::<32>().ok_or(SealError::UnknownFormat)?;
        Ok(Self { request: *request, reply: reply.try_into().map_err(|_| SealError::UnknownFormat)? })
    }
}

/// The column that the salts are sealed for, as associated data.
fn salts_column(exchange: &Uuid) -> ColumnAddress<'_> {
    ColumnAddress { table: "entries", row: exchange.as_bytes(), column: "salts" }
}

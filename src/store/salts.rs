//! The salts of an entry's two commitments: random, sent in the receipt, and kept sealed for as long as the
//! stored reply, so that a repetition gets the same bytes.

use uuid::Uuid;

use crate::clock::Randomness;
use crate::seal::{Column, KeyRing, OrganisationKey, SealError};

/// Salts of the commitments to request and reply, 32 random bytes each.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Salts {
    /// Of the commitment to the request as received.
    pub request: [u8; 32],
    /// Of the commitment to the reply as sent.
    pub reply: [u8; 32],
}

impl Salts {
    /// New salts.
    #[must_use]
    pub fn new(random: &Randomness) -> Self {
        let mut salts = Self { request: [0; 32], reply: [0; 32] };
        random.fill(&mut salts.request);
        random.fill(&mut salts.reply);
        salts
    }

    /// Seals them for the organisation whose exchange it is.
    ///
    /// # Errors
    /// [`SealError::Library`] only.
    pub fn seal(
        &self,
        ring: &KeyRing,
        organisation: &str,
        exchange: Uuid,
        random: &Randomness,
    ) -> Result<Vec<u8>, SealError> {
        let plain = [self.request, self.reply].concat();
        OrganisationKey::derive(ring, organisation)?.seal(at(&exchange), &plain, &|bytes| random.fill(bytes))
    }

    /// Opens them.
    ///
    /// # Errors
    /// As [`OrganisationKey::open`].
    pub fn open(
        ring: &KeyRing,
        organisation: &str,
        exchange: Uuid,
        sealed: &[u8],
    ) -> Result<Self, SealError> {
        let plain = OrganisationKey::open(ring, organisation, at(&exchange), sealed)?;
        let (request, reply) = plain.split_first_chunk::<32>().ok_or(SealError::Format)?;
        Ok(Self { request: *request, reply: reply.try_into().map_err(|_| SealError::Format)? })
    }
}

fn at(exchange: &Uuid) -> Column<'_> {
    Column { table: "entries", row: exchange.as_bytes(), column: "salts" }
}

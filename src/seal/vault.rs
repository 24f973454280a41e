//! Vault: the key ring in use and the commitment key, with a cache of unwrapped child keys.
//!
//! Owns the reload of the ring and the bounded cache. A key is returned only for the wrapped key that the caller has
//! just read, so a destroyed or replaced key is never served from the cache.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use arc_swap::ArcSwap;

use super::SealError;
use super::child_key::{ChildKey, WRAPPED_BYTES, WrappedKey};
use super::commitment_key::CommitmentKey;
use super::key_ring::KeyRing;

/// Key ring in use, commitment key, and cache of unwrapped keys; one per process.
pub struct Vault {
    ring: ArcSwap<KeyRing>,
    commitment_key: CommitmentKey,
    cache: Mutex<UnwrappedKeyCache>,
    /// Capacity of one generation, in keys; two generations are kept.
    generation_capacity: usize,
}

type SenderAndChild = (Box<str>, [u8; 16]);

/// Unwrapped key, with the wrapped bytes from which it was unwrapped.
struct CachedKey {
    wrapped_bytes: [u8; WRAPPED_BYTES],
    key: ChildKey,
}

/// Cache in two generations. When the young one is full it becomes the old one, and the previous old one is dropped. A
/// key that is used moves to the young one. This approximates least-recently-used eviction in constant time.
#[derive(Default)]
struct UnwrappedKeyCache {
    young: HashMap<SenderAndChild, CachedKey>,
    old: HashMap<SenderAndChild, CachedKey>,
}

impl Vault {
    /// Creates a vault that caches at most `capacity` unwrapped keys (about 200 bytes each).
    #[must_use]
    pub fn new(ring: KeyRing, commitment_key: CommitmentKey, capacity: usize) -> Self {
        Self {
            ring: ArcSwap::from_pointee(ring),
            commitment_key,
            cache: Mutex::default(),
            generation_capacity: (capacity / 2).max(1),
        }
    }

    /// Returns the ring in use. Hold it for one exchange, not longer.
    #[must_use]
    pub fn ring(&self) -> Arc<KeyRing> {
        self.ring.load_full()
    }

    /// Returns the commitment key of the log.
    #[must_use]
    pub fn commitment_key(&self) -> &CommitmentKey {
        &self.commitment_key
    }

    /// Replaces the ring by a newly loaded one, and clears the cache.
    ///
    /// # Errors
    /// [`SealError::KeyMissing`] or [`SealError::KeyChanged`] when the new ring lacks a key of the old one; the old
    /// ring remains in use.
    pub fn reload(&self, ring: KeyRing) -> Result<(), SealError> {
        ring.ensure_contains(&self.ring.load())?;
        self.ring.store(Arc::new(ring));
        *self.cache() = UnwrappedKeyCache::default();
        Ok(())
    }

    /// Returns the key of (sender, child), unwrapped from the wrapped key that its row holds now. Call
    /// [`Vault::evict`] when the row is deleted.
    ///
    /// # Errors
    /// Errors of [`WrappedKey::unwrap`].
    pub fn unwrap_key(
        &self,
        sender: &str,
        child: &[u8; 16],
        wrapped: &WrappedKey,
    ) -> Result<ChildKey, SealError> {
        let owner: SenderAndChild = (sender.into(), *child);
        if let Some(key) = self.find_cached(&owner, wrapped) {
            return Ok(key);
        }
        let key = wrapped.unwrap(&self.ring.load(), sender, child)?;
        self.cache().insert(
            owner,
            CachedKey { wrapped_bytes: wrapped.bytes, key: key.clone() },
            self.generation_capacity,
        );
        Ok(key)
    }

    /// Removes the key of (sender, child) from the cache. Call it on every node, once the shredding is durable.
    pub fn evict(&self, sender: &str, child: &[u8; 16]) {
        let owner: SenderAndChild = (sender.into(), *child);
        let mut cache = self.cache();
        cache.young.remove(&owner);
        cache.old.remove(&owner);
    }

    /// Returns the number of cached keys.
    #[must_use]
    pub fn cached_keys(&self) -> usize {
        let cache = self.cache();
        cache.young.len() + cache.old.len()
    }

    fn find_cached(&self, owner: &SenderAndChild, wrapped: &WrappedKey) -> Option<ChildKey> {
        let mut cache = self.cache();
        if let Some(found) = cache.young.get(owner) {
            return (found.wrapped_bytes == wrapped.bytes).then(|| found.key.clone());
        }
        let found = cache.old.remove(owner).filter(|found| found.wrapped_bytes == wrapped.bytes)?;
        let key = found.key.clone();
        cache.insert(owner.clone(), found, self.generation_capacity);
        Some(key)
    }

    fn cache(&self) -> MutexGuard<'_, UnwrappedKeyCache> {
        // A poisoned lock is safe to use, because each change is one call of a map.
        self.cache.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl UnwrappedKeyCache {
    fn insert(&mut self, owner: SenderAndChild, unwrapped: CachedKey, generation: usize) {
        if self.young.len() >= generation && !self.young.contains_key(&owner) {
            self.old = std::mem::take(&mut self.young);
        }
        self.old.remove(&owner);
        self.young.insert(owner, unwrapped);
    }
}

impl fmt::Debug for Vault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Vault").field("ring", &*self.ring.load()).finish_non_exhaustive()
    }
}

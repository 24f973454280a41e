//! The vault: the ring in use, and the children's keys unwrapped lately.
//!
//! Owns the reload of the ring and a bounded memory of unwrapped keys. A key is given out only against the
//! wrapped key that the caller has just read, so a destroyed or replaced key is never served from memory.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use arc_swap::ArcSwap;

use super::SealError;
use super::child::{ChildKey, WRAPPED_BYTES, WrappedKey};
use super::ring::KeyRing;

/// The ring in use and the keys unwrapped lately; one a process.
pub struct Vault {
    ring: ArcSwap<KeyRing>,
    held: Mutex<Held>,
    /// How many keys one generation holds; two generations are kept.
    generation: usize,
}

type Whose = (Box<str>, [u8; 16]);

/// An unwrapped key and the wrapped bytes that it came from.
struct Unwrapped {
    from: [u8; WRAPPED_BYTES],
    key: ChildKey,
}

/// Two generations: a full young one becomes the old one, and the old one is forgotten. What is used moves to
/// the young one, so this forgets roughly what was used longest ago, in constant time.
#[derive(Default)]
struct Held {
    young: HashMap<Whose, Unwrapped>,
    old: HashMap<Whose, Unwrapped>,
}

impl Vault {
    /// A vault that remembers at most `capacity` unwrapped keys (about 200 bytes each).
    #[must_use]
    pub fn new(ring: KeyRing, capacity: usize) -> Self {
        Self { ring: ArcSwap::from_pointee(ring), held: Mutex::default(), generation: (capacity / 2).max(1) }
    }

    /// The ring in use; hold it for one exchange, not longer.
    #[must_use]
    pub fn ring(&self) -> Arc<KeyRing> {
        self.ring.load_full()
    }

    /// Takes a newly loaded ring into use, and forgets all unwrapped keys.
    ///
    /// # Errors
    /// [`SealError::KeyMissing`] or [`SealError::KeyChanged`] when a key in use is not in it; the old ring stays.
    pub fn reload(&self, ring: KeyRing) -> Result<(), SealError> {
        ring.continues(&self.ring.load())?;
        self.ring.store(Arc::new(ring));
        *self.held() = Held::default();
        Ok(())
    }

    /// Unwraps the key of (sender, child), from the wrapped key that its row holds now. Call [`Vault::forget`] where
    /// the row is gone.
    ///
    /// # Errors
    /// Those of [`WrappedKey::unwrap`].
    pub fn get(&self, sender: &str, child: &[u8; 16], wrapped: &WrappedKey) -> Result<ChildKey, SealError> {
        let whose: Whose = (sender.into(), *child);
        if let Some(key) = self.remembered(&whose, wrapped) {
            return Ok(key);
        }
        let key = wrapped.unwrap(&self.ring.load(), sender, child)?;
        self.held().keep(whose, Unwrapped { from: wrapped.bytes, key: key.clone() }, self.generation);
        Ok(key)
    }

    /// Forgets the key of (sender, child): call it once its shredding is durable, on every node.
    pub fn forget(&self, sender: &str, child: &[u8; 16]) {
        let whose: Whose = (sender.into(), *child);
        let mut held = self.held();
        held.young.remove(&whose);
        held.old.remove(&whose);
    }

    /// How many unwrapped keys are remembered.
    #[must_use]
    pub fn remembers(&self) -> usize {
        let held = self.held();
        held.young.len() + held.old.len()
    }

    fn remembered(&self, whose: &Whose, wrapped: &WrappedKey) -> Option<ChildKey> {
        let mut held = self.held();
        if let Some(found) = held.young.get(whose) {
            return (found.from == wrapped.bytes).then(|| found.key.clone());
        }
        let found = held.old.remove(whose).filter(|found| found.from == wrapped.bytes)?;
        let key = found.key.clone();
        held.keep(whose.clone(), found, self.generation);
        Some(key)
    }

    fn held(&self) -> MutexGuard<'_, Held> {
        // Nothing in here is half done when a thread dies: each change is one call of a map.
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Held {
    fn keep(&mut self, whose: Whose, unwrapped: Unwrapped, generation: usize) {
        if self.young.len() >= generation && !self.young.contains_key(&whose) {
            self.old = std::mem::take(&mut self.young);
        }
        self.old.remove(&whose);
        self.young.insert(whose, unwrapped);
    }
}

impl fmt::Debug for Vault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Vault").field("ring", &*self.ring.load()).finish_non_exhaustive()
    }
}

//! The collector of violations that every `wire.rs` fills: it reads each field once, and names every fault by its
//! path (bad-input catalogue B1–B52).
//!
//! It must never repeat a value, stop at the first fault, or look anything up. A path is only written out when a
//! violation is recorded.

pub mod contact;
mod fields;
mod people;
pub mod reasons;
pub mod text;

#[cfg(test)]
mod tests;

use std::fmt::Write;
use std::ops::{Deref, DerefMut};

use uuid::Uuid;

pub use people::{LINE, LIST, NOTE};
pub use reasons::{REASONS, description};
pub use text::{NameRule, TextRule};

/// Violations kept; further ones are only counted.
pub const KEPT: usize = 50;

/// One fault of one field.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// Path, as `marks[1].date`.
    pub field: String,
    /// Reason of the catalogue.
    pub reason: &'static str,
    /// The reason in words.
    pub description: &'static str,
    /// Ids of the caller's own things that the fault is about, such as the placements of an ambiguous child.
    pub about: Vec<Uuid>,
}

impl Violation {
    /// Returns the reason in words, with the ids that it is about. It never repeats a value that was sent.
    #[must_use]
    pub fn text(&self) -> String {
        let ids: Vec<String> = self.about.iter().map(|id| id.hyphenated().to_string()).collect();
        if ids.is_empty() {
            self.description.to_owned()
        } else {
            format!("{}: {}", self.description, ids.join(", "))
        }
    }
}

/// The faults of a message: the first [`KEPT`], and how many more there were.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Violations {
    /// The first ones, in the order of reading.
    pub first: Vec<Violation>,
    /// How many are left out.
    pub omitted: usize,
}

impl Violations {
    /// Whether nothing was wrong.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.first.is_empty()
    }

    fn push(&mut self, violation: impl FnOnce() -> Violation) {
        if self.first.len() < KEPT {
            self.first.push(violation());
        } else {
            self.omitted += 1;
        }
    }
}

#[derive(Clone, Copy, Debug)]
enum Step {
    Field(&'static str),
    Index(usize),
}

/// Reads fields and collects what is wrong with them. A reader gives `None` where it recorded a violation, or, if
/// optional, where nothing was sent.
#[derive(Debug, Default)]
pub struct Check {
    path: Vec<Step>,
    violations: Violations,
}

/// A [`Check`] inside a message or row; leaves it when dropped.
#[derive(Debug)]
pub struct Scope<'c> {
    check: &'c mut Check,
    outside: usize,
}

impl Scope<'_> {
    /// The `index`-th of a repeated field.
    #[must_use]
    pub fn index(self, index: usize) -> Self {
        self.check.path.push(Step::Index(index));
        self
    }
}

impl Deref for Scope<'_> {
    type Target = Check;

    fn deref(&self) -> &Check {
        self.check
    }
}

impl DerefMut for Scope<'_> {
    fn deref_mut(&mut self) -> &mut Check {
        self.check
    }
}

impl Drop for Scope<'_> {
    fn drop(&mut self) {
        self.check.path.truncate(self.outside);
    }
}

impl Check {
    /// A check at the top of a message.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The one thing that is wrong with a message that was well formed: `field`, for `reason`.
    #[must_use]
    pub fn only(field: &'static str, reason: &'static str) -> Violations {
        let mut check = Self::new();
        check.fault(field, reason);
        check.violations
    }

    /// Goes into `field`; `check.at("marks").index(1)` is `marks[1]`.
    #[must_use]
    pub fn at(&mut self, field: &'static str) -> Scope<'_> {
        let outside = self.path.len();
        self.path.push(Step::Field(field));
        Scope { check: self, outside }
    }

    /// Reads row `index` of `field` apart from the rest: its violations are given back, not kept here. Pass them to
    /// [`Check::absorb`] where one bad row refuses the batch.
    pub fn row<T>(
        &mut self,
        field: &'static str,
        index: usize,
        read: impl FnOnce(&mut Self) -> T,
    ) -> (T, Violations) {
        let before = std::mem::take(&mut self.violations);
        let value = read(&mut self.at(field).index(index));
        (value, std::mem::replace(&mut self.violations, before))
    }

    /// Takes over the violations of a row.
    pub fn absorb(&mut self, row: Violations) {
        self.violations.omitted += row.omitted;
        for violation in row.first {
            self.violations.push(|| violation);
        }
    }

    /// Records that `field` is wrong for `reason`, one of [`REASONS`]; an empty `field` is the place itself.
    pub fn fault(&mut self, field: &'static str, reason: &'static str) {
        self.fault_about(field, reason, &[]);
    }

    /// As [`Check::fault`]; `about` are ids of things that the caller may know of.
    pub fn fault_about(&mut self, field: &'static str, reason: &'static str, about: &[Uuid]) {
        debug_assert!(REASONS.iter().any(|(listed, _)| *listed == reason), "{reason} is not in REASONS");
        let path = &self.path;
        let violation = || Violation {
            field: written(path, field),
            reason,
            description: description(reason),
            about: about.to_vec(),
        };
        self.violations.push(violation);
    }

    /// How many violations there are so far, those not kept too.
    #[must_use]
    pub fn count(&self) -> usize {
        self.violations.first.len() + self.violations.omitted
    }

    /// Whether the message is well formed.
    ///
    /// # Errors
    /// Every violation.
    pub fn finish(self) -> Result<(), Violations> {
        if self.violations.is_empty() { Ok(()) } else { Err(self.violations) }
    }
}

fn written(path: &[Step], field: &str) -> String {
    let mut out = String::new();
    for step in path.iter().copied() {
        match step {
            Step::Index(index) => {
                let _ = write!(out, "[{index}]");
            }
            Step::Field(name) => push_name(&mut out, name),
        }
    }
    if !field.is_empty() {
        push_name(&mut out, field);
    }
    out
}

fn push_name(out: &mut String, name: &str) {
    if !out.is_empty() {
        out.push('.');
    }
    out.push_str(name);
}

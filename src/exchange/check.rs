//! Collector of violations, which every `wire.rs` uses. A message's fields are each read once, and every
//! violation is recorded with its path (bad-input catalogue B1–B52).
//!
//! Invariants: it never repeats a value, never stops at the first violation and never looks anything up. A path
//! is formatted only when a violation is recorded.

mod common_fields;
pub mod contact;
mod fields;
pub mod text;

#[cfg(test)]
mod tests;

use std::fmt::Write;
use std::ops::{Deref, DerefMut};

use uuid::Uuid;

use crate::violation_reason::ViolationReason;

pub use common_fields::{MAX_LINE_CHARS, MAX_LIST_ITEMS, MAX_NOTE_CHARS};
pub use text::{NameRule, TextRule};

/// Maximum number of violations that are kept; further ones are only counted.
pub const MAX_VIOLATIONS: usize = 50;

/// Violation by one field.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// Path of the field, such as `marks[1].date`.
    pub field: String,
    /// Reason from the catalogue.
    pub reason: ViolationReason,
    /// Ids that the violation concerns and the caller may know, such as the placements of an ambiguous child.
    pub about_ids: Vec<Uuid>,
}

impl Violation {
    /// Returns the reason's text, with the ids that it concerns. It never repeats a value that was sent.
    #[must_use]
    pub fn text(&self) -> String {
        let ids: Vec<String> = self.about_ids.iter().map(|id| id.hyphenated().to_string()).collect();
        if ids.is_empty() {
            self.reason.text().to_owned()
        } else {
            format!("{}: {}", self.reason.text(), ids.join(", "))
        }
    }
}

/// Violations by a message: the first [`MAX_VIOLATIONS`], and the number of further ones.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Violations {
    /// The first violations, in the order of reading.
    pub first: Vec<Violation>,
    /// The number of violations that are left out.
    pub omitted: usize,
}

impl Violations {
    /// Returns whether there is no violation.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.first.is_empty()
    }

    fn push(&mut self, violation: impl FnOnce() -> Violation) {
        if self.first.len() < MAX_VIOLATIONS {
            self.first.push(violation());
        } else {
            self.omitted += 1;
        }
    }
}

#[derive(Clone, Copy, Debug)]
enum PathStep {
    Field(&'static str),
    Index(usize),
}

/// Reads fields and collects their violations. A reader returns `None` where it recorded a violation or, if the
/// field is optional, where nothing was sent.
#[derive(Debug, Default)]
pub struct Check {
    path: Vec<PathStep>,
    violations: Violations,
}

/// A [`Check`] inside a message or row. Dropping it returns to the enclosing path.
#[derive(Debug)]
pub struct Scope<'c> {
    check: &'c mut Check,
    parent_len: usize,
}

impl Scope<'_> {
    /// Appends the index of an item of a repeated field to the path.
    #[must_use]
    pub fn index(self, index: usize) -> Self {
        self.check.path.push(PathStep::Index(index));
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
        self.check.path.truncate(self.parent_len);
    }
}

impl Check {
    /// Creates a check at the top of a message.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Returns a single violation, for a message that was well formed otherwise.
    #[must_use]
    pub fn single_violation(field: &'static str, reason: ViolationReason) -> Violations {
        let mut check = Self::new();
        check.add_violation(field, reason);
        check.violations
    }

    /// Enters `field`; `check.enter("marks").index(1)` is `marks[1]`.
    #[must_use]
    pub fn enter(&mut self, field: &'static str) -> Scope<'_> {
        let outside = self.path.len();
        self.path.push(PathStep::Field(field));
        Scope { check: self, parent_len: outside }
    }

    /// Reads row `index` of `field` separately: its violations are returned, not collected. Pass them to
    /// [`Check::absorb`] where one bad row refuses the batch.
    pub fn read_row<T>(
        &mut self,
        field: &'static str,
        index: usize,
        read: impl FnOnce(&mut Self) -> T,
    ) -> (T, Violations) {
        let before = std::mem::take(&mut self.violations);
        let value = read(&mut self.enter(field).index(index));
        (value, std::mem::replace(&mut self.violations, before))
    }

    /// Adds the violations of a row.
    pub fn absorb(&mut self, row: Violations) {
        self.violations.omitted += row.omitted;
        for violation in row.first {
            self.violations.push(|| violation);
        }
    }

    /// Records a violation by `field` for `reason`. An empty `field` stands for the current path.
    pub fn add_violation(&mut self, field: &'static str, reason: ViolationReason) {
        self.add_violation_about(field, reason, &[]);
    }

    /// Records a violation as [`Check::add_violation`] does; `about` are ids that the caller may know.
    pub fn add_violation_about(&mut self, field: &'static str, reason: ViolationReason, about: &[Uuid]) {
        let path = &self.path;
        let violation = || Violation { field: format_path(path, field), reason, about_ids: about.to_vec() };
        self.violations.push(violation);
    }

    /// Returns the number of violations so far, including those that are not kept.
    #[must_use]
    pub fn count(&self) -> usize {
        self.violations.first.len() + self.violations.omitted
    }

    /// Ends the check.
    ///
    /// # Errors
    /// The violations, if there is any.
    pub fn finish(self) -> Result<(), Violations> {
        if self.violations.is_empty() { Ok(()) } else { Err(self.violations) }
    }
}

fn format_path(path: &[PathStep], field: &str) -> String {
    let mut out = String::new();
    for step in path.iter().copied() {
        match step {
            PathStep::Index(index) => {
                let _ = write!(out, "[{index}]");
            }
            PathStep::Field(name) => push_path_name(&mut out, name),
        }
    }
    if !field.is_empty() {
        push_path_name(&mut out, field);
    }
    out
}

fn push_path_name(out: &mut String, name: &str) {
    if !out.is_empty() {
        out.push('.');
    }
    out.push_str(name);
}

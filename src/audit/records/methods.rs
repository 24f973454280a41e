//! Methods that write records about children: the name of their records, and the split of a reply into the parts of
//! each child.

use std::collections::BTreeMap;

use uuid::Uuid;

use crate::exchange::{Method, MethodTable};
use crate::oversight::ALERT_METHOD;
use crate::{delivery, oversight, passports, placements, register, returns};

/// The methods of the capabilities whose records are verified, and that of the gateway itself.
const METHODS: MethodTable = MethodTable(&[
    register::METHODS,
    placements::METHODS,
    passports::METHODS,
    returns::METHODS,
    delivery::METHODS,
    oversight::METHODS,
    &[ALERT_METHOD],
]);

/// Returns the method of an entry; `None` if this release has no such method.
pub fn by_path(path: &str) -> Option<&'static Method> {
    METHODS.by_path(path)
}

/// Returns the name of the record that a method writes.
pub fn record_name(method: Option<&Method>) -> &'static str {
    method.and_then(|method| method.record).unwrap_or("a record")
}

/// A stored reply, split as the children's leaves commit to it.
pub enum ReplyParts<'a> {
    /// A reply about one child.
    Single(&'a [u8]),
    /// The encoded results of each placement, in the order of the reply.
    ByPlacement(BTreeMap<String, Vec<u8>>),
}

impl ReplyParts<'_> {
    /// Returns the part about a placement's child.
    pub fn for_placement(&self, placement: Uuid) -> &[u8] {
        match self {
            Self::Single(reply) => reply,
            Self::ByPlacement(parts) => {
                parts.get(&placement.hyphenated().to_string()).map_or(&[], Vec::as_slice)
            }
        }
    }
}

/// Splits a stored reply. `None` when it cannot be decoded.
pub fn split_reply<'a>(method: Option<&Method>, reply: &'a [u8]) -> Option<ReplyParts<'a>> {
    match method.and_then(|method| method.split_reply) {
        Some(split) => split(reply).ok().map(ReplyParts::ByPlacement),
        None => Some(ReplyParts::Single(reply)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gateway;

    #[test]
    fn every_method_that_writes_a_record_about_a_child_is_known() {
        let unknown = |method: &&Method| method.record.is_some() && by_path(method.path).is_none();
        assert_eq!(gateway::METHODS.iter().find(unknown), None);
    }
}

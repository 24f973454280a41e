//! Checks that a person writes no restricted part of a passport that the person does not read. They use the message and the
//! token alone, so that a refusal does not reveal what the passport holds.

use crate::exchange::check::Check;
use crate::passports::need_to_know::{Part, Reader};
use crate::proto::v1::passport_block::Content;
use crate::proto::v1::{PassportBlock, PassportBlockKind as Kind};
use crate::violation_reason::ViolationReason;

/// Checks the parts of a block that is sent.
pub fn check_written(check: &mut Check, block: &PassportBlock, writer: &Reader) {
    let mut expect_written = |field, part, is_sent: bool| {
        if is_sent && !writer.writes(part) {
            check.add_violation(field, ViolationReason::PartNotRead);
        }
    };
    match &block.content {
        Some(Content::Health(_)) => expect_written("health", Part::Health, true),
        Some(Content::Safeguarding(sent)) => {
            let main = Part::Safeguarding;
            expect_written("safeguarding.child_protection", main, sent.child_protection);
            expect_written("safeguarding.child_in_need", main, sent.child_in_need);
            expect_written("safeguarding.looked_after", main, sent.looked_after);
            expect_written("safeguarding.missing_before", main, sent.missing_before);
            expect_written("safeguarding.detail", main, !sent.detail.is_empty());
            expect_written("safeguarding.no_contact", Part::NoContact, !sent.no_contact.is_empty());
            expect_written("safeguarding.address", Part::Address, !sent.address.is_empty());
            expect_written("safeguarding.youth_justice", Part::YouthJustice, !sent.youth_justice.is_empty());
        }
        _ => {}
    }
}

/// Checks the kinds whose block is removed: the writer must read all parts of it.
pub fn check_removed(check: &mut Check, remove: &[i32], writer: &Reader) {
    for (at, kind) in remove.iter().enumerate() {
        let parts = match Kind::try_from(*kind) {
            Ok(Kind::Health) => &[Part::Health][..],
            Ok(Kind::Safeguarding) => &Part::OF_SAFEGUARDING,
            _ => &[],
        };
        if !parts.iter().all(|part| writer.writes(*part)) {
            check.enter("remove").index(at).add_violation("", ViolationReason::PartNotRead);
        }
    }
}

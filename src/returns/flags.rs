//! Flags of marks: what is unusual about a revision.

use bitflags::bitflags;

use crate::stored_flags;

bitflags! {
    /// What is unusual about a revision of a mark.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct MarkFlags: u32 {
        /// The mark was received more than [`LATE_AFTER_SCHOOL_DAYS`](super::rules::LATE_AFTER_SCHOOL_DAYS) school days
        /// after its day.
        const LATE = 1;
        /// No agreement covered attendance when the mark was received.
        const AGREEMENT_LAPSED = 2;
        /// The gateway wrote this revision because a return was withdrawn.
        const RESTORED = 4;
        /// This revision or an earlier one of the session has a restricted code
        /// ([`is_restricted`](super::rules::is_restricted)). Only sender, commissioner and home school get its texts.
        /// The flag is set when the revision is written, so that the content of a delivery depends on no later revision.
        const AFTER_RESTRICTED = 8;
        /// One reason was given for several sessions of the child, and [`MarkFlags::AFTER_RESTRICTED`] is set for one of
        /// them. Only sender, commissioner and home school get the reason. Later revisions do not inherit the flag.
        const REASON_RESTRICTED = 16;
    }
}

stored_flags! { MarkFlags }

impl MarkFlags {
    /// Returns the names of the flags that every reader gets. A restored revision without a statement is withdrawn.
    pub fn names(self, is_withdrawn: bool) -> Vec<String> {
        let restored = if is_withdrawn { "WITHDRAWN" } else { "RESTORED" };
        let names =
            [(Self::LATE, "LATE"), (Self::AGREEMENT_LAPSED, "AGREEMENT_LAPSED"), (Self::RESTORED, restored)];
        names.iter().filter(|(flag, _)| self.contains(*flag)).map(|(_, name)| (*name).to_owned()).collect()
    }
}

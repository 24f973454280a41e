//! Who may read which block, and what a start needs of a passport: pure.

use std::collections::BTreeSet;

use crate::proto::v1::passport_block::Content;
use crate::proto::v1::{BlockNotice, PassportBlock, PassportBlockKind as Kind, Sensitivity};

/// What a start needs acknowledged: whom to call, how to keep the child well, and what is a risk.
const FOR_A_START: [(Kind, &str); 3] = [
    (Kind::Emergency, "EMERGENCY_MISSING"),
    (Kind::Medical, "MEDICAL_MISSING"),
    (Kind::Safety, "SAFETY_MISSING"),
];

/// Kinds of blocks that no system may read, each with its field of a block.
pub const UNREADABLE: [(Kind, &str); 2] = [(Kind::Health, "health"), (Kind::Safeguarding, "safeguarding")];

/// Reports whether no system may read blocks of a kind.
#[must_use]
pub fn is_unreadable(kind: Kind) -> bool {
    UNREADABLE.iter().any(|(unreadable, _)| *unreadable == kind)
}

/// Builds the notices that every version has, because one that came only with its block would tell that there is one.
#[must_use]
pub fn unreadable_notices() -> Vec<BlockNotice> {
    let notice = |kind| BlockNotice { kind: kind as i32, sensitivity: least(kind) as i32 };
    UNREADABLE.into_iter().map(|(kind, _)| notice(kind)).collect()
}

/// The kind of a block's content.
#[must_use]
pub fn kind_of(content: &Content) -> Kind {
    match content {
        Content::Identity(_) => Kind::Identity,
        Content::Voice(_) => Kind::Voice,
        Content::Communication(_) => Kind::Communication,
        Content::Needs(_) => Kind::Needs,
        Content::Regulation(_) => Kind::Regulation,
        Content::Emergency(_) => Kind::Emergency,
        Content::Medical(_) => Kind::Medical,
        Content::Safety(_) => Kind::Safety,
        Content::Learning(_) => Kind::Learning,
        Content::Team(_) => Kind::Team,
        Content::Health(_) => Kind::Health,
        Content::Safeguarding(_) => Kind::Safeguarding,
        Content::Meta(_) => Kind::Meta,
    }
}

/// The least sensitivity of a kind: protection plans, no-contact persons, addresses and health in detail are
/// denied by default.
#[must_use]
pub fn least(kind: Kind) -> Sensitivity {
    match kind {
        Kind::Voice | Kind::Regulation | Kind::Emergency | Kind::Medical | Kind::Safety => {
            Sensitivity::ProvisionCritical
        }
        Kind::Health | Kind::Safeguarding | Kind::Unspecified => Sensitivity::Restricted,
        Kind::Identity | Kind::Communication | Kind::Needs | Kind::Learning | Kind::Team | Kind::Meta => {
            Sensitivity::Open
        }
    }
}

/// A block's sensitivity: its kind's, unless the sender said more.
///
/// # Errors
/// The reason of the violation where the sender said less.
pub fn sensitivity(kind: Kind, sent: Option<Sensitivity>) -> Result<Sensitivity, &'static str> {
    let least = least(kind);
    match sent {
        Some(sent) if sent < least => Err("SENSITIVITY_TOO_LOW"),
        sent => Ok(sent.unwrap_or(least)),
    }
}

/// What a system sees of a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shown {
    /// All of it.
    Content,
    /// That there is one.
    Notice,
    /// Nothing: it is withheld, and may as well not exist.
    Nothing,
}

/// What a system sees of a block of this sensitivity; restricted ones wait for a named person.
#[must_use]
pub fn shown(sensitivity: Sensitivity, withheld: bool) -> Shown {
    match sensitivity {
        _ if withheld => Shown::Nothing,
        Sensitivity::Open | Sensitivity::ProvisionCritical => Shown::Content,
        Sensitivity::Restricted | Sensitivity::Unspecified => Shown::Notice,
    }
}

/// What of these blocks a start would miss, whoever can be shown no more than that.
pub fn missing_for_a_start(readable: &[Kind]) -> impl Iterator<Item = &'static str> {
    FOR_A_START.into_iter().filter(|(kind, _)| !readable.contains(kind)).map(|(_, item)| item)
}

/// What a passport still lacks. Nothing of it refuses the passport.
#[must_use]
pub fn open_items(blocks: &[PassportBlock], kept: &BTreeSet<Kind>) -> Vec<&'static str> {
    let shown_of = |block: &&PassportBlock| shown(block.sensitivity(), false) == Shown::Content;
    let readable = blocks.iter().filter(shown_of).filter_map(|block| block.content.as_ref().map(kind_of));
    // Whether a kept kind has a block is not said: it may be one that the caller may not read.
    let readable: Vec<Kind> = readable.chain(kept.iter().copied()).collect();
    let contents = || blocks.iter().filter_map(|block| block.content.as_ref());
    let reviewed =
        contents().any(|content| matches!(content, Content::Meta(meta) if !meta.review_by.is_empty()));
    let voice = kept.contains(&Kind::Voice) || contents().any(|content| matches!(content, Content::Voice(_)));
    let rest = [(!voice, "NO_CHILD_VOICE"), (!reviewed, "NO_REVIEW")];
    missing_for_a_start(&readable)
        .chain(rest.into_iter().filter_map(|(lacks, item)| lacks.then_some(item)))
        .collect()
}

/// Kinds of blocks as bits, one each.
#[must_use]
pub fn bits(kinds: &[Kind]) -> i64 {
    kinds.iter().fold(0, |bits, kind| bits | 1 << (*kind as i32))
}

/// Whether a kind is among the bits.
#[must_use]
pub fn is_among(kind: Kind, bits: i64) -> bool {
    bits & (1 << (kind as i32)) != 0
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::v1::{PassportEmergency, PassportMedical, PassportMeta, PassportSafety, PassportVoice};

    fn every_kind() -> impl Iterator<Item = Kind> {
        (1..).map_while(|number| Kind::try_from(number).ok())
    }

    #[test]
    fn a_block_is_never_less_sensitive_than_its_kind() {
        assert_eq!(every_kind().count(), 13);
        let kinds = |sensitivity| {
            let of = every_kind().filter(|kind| least(*kind) == sensitivity);
            of.map(|kind| kind.as_str_name()[20..].to_owned()).collect::<Vec<_>>().join(" ")
        };
        assert_eq!(kinds(Sensitivity::Open), "IDENTITY COMMUNICATION NEEDS LEARNING TEAM META");
        assert_eq!(kinds(Sensitivity::ProvisionCritical), "VOICE REGULATION EMERGENCY MEDICAL SAFETY");
        assert_eq!(kinds(Sensitivity::Restricted), "HEALTH SAFEGUARDING");
        let restricted = every_kind().filter(|kind| least(*kind) == Sensitivity::Restricted);
        assert!(restricted.eq(UNREADABLE.into_iter().map(|(kind, _)| kind)));
        for kind in every_kind() {
            assert_eq!(sensitivity(kind, None), Ok(least(kind)));
            assert_eq!(sensitivity(kind, Some(Sensitivity::Restricted)), Ok(Sensitivity::Restricted));
            let open = sensitivity(kind, Some(Sensitivity::Open));
            assert_eq!(open.is_ok(), least(kind) == Sensitivity::Open, "{kind:?}");
        }
    }

    #[test]
    fn a_system_sees_no_restricted_block_and_nothing_that_is_withheld() {
        for (sensitivity, withheld, sees) in [
            (Sensitivity::Open, false, Shown::Content),
            (Sensitivity::ProvisionCritical, false, Shown::Content),
            (Sensitivity::Restricted, false, Shown::Notice),
            (Sensitivity::Unspecified, false, Shown::Notice),
            (Sensitivity::Open, true, Shown::Nothing),
            (Sensitivity::ProvisionCritical, true, Shown::Nothing),
            (Sensitivity::Restricted, true, Shown::Nothing),
        ] {
            assert_eq!(shown(sensitivity, withheld), sees, "{sensitivity:?} {withheld}");
        }
    }

    #[test]
    fn what_a_passport_lacks() {
        assert_eq!(
            open_items(&[], &BTreeSet::new()),
            ["EMERGENCY_MISSING", "MEDICAL_MISSING", "SAFETY_MISSING", "NO_CHILD_VOICE", "NO_REVIEW"]
        );
        let block = |sensitivity: Sensitivity, content| PassportBlock {
            sensitivity: sensitivity as i32,
            content: Some(content),
        };
        let (open, critical) = (Sensitivity::Open, Sensitivity::ProvisionCritical);
        let blocks = [
            block(critical, Content::Emergency(PassportEmergency::default())),
            // Restricted, so nobody could acknowledge it.
            block(Sensitivity::Restricted, Content::Medical(PassportMedical::default())),
            block(critical, Content::Safety(PassportSafety::default())),
            block(critical, Content::Voice(PassportVoice::default())),
            block(
                open,
                Content::Meta(PassportMeta { review_by: "2026-12-18".to_owned(), ..Default::default() }),
            ),
        ];
        assert_eq!(open_items(&blocks, &BTreeSet::new()), ["MEDICAL_MISSING"]);
        assert_eq!(open_items(&blocks, &BTreeSet::from([Kind::Medical])), [""; 0]);
    }

    #[test]
    fn kinds_are_bits() {
        let some = bits(&[Kind::Identity, Kind::Meta]);
        let found: Vec<Kind> = every_kind().filter(|kind| is_among(*kind, some)).collect();
        assert_eq!(found, [Kind::Identity, Kind::Meta]);
    }
}

//! Pure rules of passports: the sensitivity of blocks, and which blocks the start of a placement needs.

use std::collections::BTreeSet;

use bitflags::bitflags;

use super::need_to_know::Part;
use crate::proto::v1::passport_block::Content;
use crate::proto::v1::{BlockNotice, PassportBlock, PassportBlockKind as Kind, Sensitivity};
use crate::stored_flags;
use crate::violation_reason::ViolationReason;

/// Kinds of blocks that the provider must acknowledge before a start, each with the open item for its absence.
const REQUIRED_TO_START: [(Kind, &str); 3] = [
    (Kind::Emergency, "EMERGENCY_MISSING"),
    (Kind::Medical, "MEDICAL_MISSING"),
    (Kind::Safety, "SAFETY_MISSING"),
];

/// Kinds of blocks that no system may read, each with the name of its field in `PassportBlock`.
pub const UNREADABLE_KINDS: [(Kind, &str); 2] =
    [(Kind::Health, "health"), (Kind::Safeguarding, "safeguarding")];

/// Returns whether no system may read blocks of this kind.
#[must_use]
pub fn is_unreadable(kind: Kind) -> bool {
    UNREADABLE_KINDS.iter().any(|(unreadable, _)| *unreadable == kind)
}

/// Returns the notices that every version has. A notice that appeared only with its block would reveal the block.
#[must_use]
pub fn unreadable_notices() -> Vec<BlockNotice> {
    let notice = |kind| BlockNotice { kind: kind as i32, sensitivity: min_sensitivity(kind) as i32 };
    UNREADABLE_KINDS.into_iter().map(|(kind, _)| notice(kind)).collect()
}

/// Returns the kind of a block's content.
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

/// Returns the minimum sensitivity of a kind. Protection plans, no-contact persons, addresses and details of health are
/// restricted by default.
#[must_use]
pub fn min_sensitivity(kind: Kind) -> Sensitivity {
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

/// Returns the sensitivity of a block: the minimum of its kind, or the higher one that the sender set.
///
/// # Errors
/// The reason of the violation when the sender set a lower one.
pub fn resolve_sensitivity(kind: Kind, sent: Option<Sensitivity>) -> Result<Sensitivity, ViolationReason> {
    let least = min_sensitivity(kind);
    match sent {
        Some(sent) if sent < least => Err(ViolationReason::SensitivityTooLow),
        sent => Ok(sent.unwrap_or(least)),
    }
}

/// Returns whether a sender raised a block of this kind when it gave it this sensitivity.
#[must_use]
pub fn is_raised(kind: Kind, sensitivity: Sensitivity) -> bool {
    sensitivity == Sensitivity::Restricted && min_sensitivity(kind) != Sensitivity::Restricted
}

/// Returns whether systems read the content of a block.
#[must_use]
pub fn is_read_by_systems(kind: Kind, sensitivity: Sensitivity) -> bool {
    !Part::of_block(kind, sensitivity).is_restricted()
}

/// Returns the kind of a block, if systems read its content.
#[must_use]
pub fn readable_kind(block: &PassportBlock) -> Option<Kind> {
    let kind = block.content.as_ref().map(kind_of)?;
    is_read_by_systems(kind, block.sensitivity()).then_some(kind)
}

/// Returns the open items of a start whose provider can read only these kinds of blocks.
pub fn missing_to_start(readable: &[Kind]) -> impl Iterator<Item = &'static str> {
    REQUIRED_TO_START.into_iter().filter(|(kind, _)| !readable.contains(kind)).map(|(_, item)| item)
}

/// Returns the open items of a passport. They are warnings; the passport is accepted.
#[must_use]
pub fn open_items(blocks: &[PassportBlock], kept: &BTreeSet<Kind>) -> Vec<&'static str> {
    let readable = blocks.iter().filter_map(readable_kind);
    // A kept kind counts as present, because its absence would reveal a fact that the caller may not read.
    let readable: Vec<Kind> = readable.chain(kept.iter().copied()).collect();
    let contents = || blocks.iter().filter_map(|block| block.content.as_ref());
    let reviewed =
        contents().any(|content| matches!(content, Content::Meta(meta) if !meta.review_by.is_empty()));
    let voice = kept.contains(&Kind::Voice) || contents().any(|content| matches!(content, Content::Voice(_)));
    let rest = [(!voice, "NO_CHILD_VOICE"), (!reviewed, "NO_REVIEW")];
    missing_to_start(&readable)
        .chain(rest.into_iter().filter_map(|(lacks, item)| lacks.then_some(item)))
        .collect()
}

bitflags! {
    /// Kinds of blocks, one flag for each.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct BlockKinds: u32 {
        const IDENTITY = 1 << Kind::Identity as u32;
        const VOICE = 1 << Kind::Voice as u32;
        const COMMUNICATION = 1 << Kind::Communication as u32;
        const NEEDS = 1 << Kind::Needs as u32;
        const REGULATION = 1 << Kind::Regulation as u32;
        const EMERGENCY = 1 << Kind::Emergency as u32;
        const MEDICAL = 1 << Kind::Medical as u32;
        const SAFETY = 1 << Kind::Safety as u32;
        const LEARNING = 1 << Kind::Learning as u32;
        const TEAM = 1 << Kind::Team as u32;
        const HEALTH = 1 << Kind::Health as u32;
        const SAFEGUARDING = 1 << Kind::Safeguarding as u32;
        const META = 1 << Kind::Meta as u32;
    }
}

stored_flags! { BlockKinds }

impl BlockKinds {
    /// Returns whether a kind is among these. The unspecified kind, which only a damaged record has, is in no set, so
    /// that its block is not taken for a withheld one.
    #[must_use]
    pub fn includes(self, kind: Kind) -> bool {
        self.intersects(kind.into())
    }
}

impl From<Kind> for BlockKinds {
    fn from(kind: Kind) -> Self {
        Self::from_bits_truncate(1 << kind as u32)
    }
}

impl FromIterator<Kind> for BlockKinds {
    fn from_iter<I: IntoIterator<Item = Kind>>(kinds: I) -> Self {
        kinds.into_iter().map(Self::from).collect()
    }
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
            let found = every_kind().filter(|kind| min_sensitivity(*kind) == sensitivity);
            found.map(|kind| kind.as_str_name()[20..].to_owned()).collect::<Vec<_>>().join(" ")
        };
        assert_eq!(kinds(Sensitivity::Open), "IDENTITY COMMUNICATION NEEDS LEARNING TEAM META");
        assert_eq!(kinds(Sensitivity::ProvisionCritical), "VOICE REGULATION EMERGENCY MEDICAL SAFETY");
        assert_eq!(kinds(Sensitivity::Restricted), "HEALTH SAFEGUARDING");
        let restricted = every_kind().filter(|kind| min_sensitivity(*kind) == Sensitivity::Restricted);
        assert!(restricted.eq(UNREADABLE_KINDS.into_iter().map(|(kind, _)| kind)));
        for kind in every_kind() {
            assert_eq!(resolve_sensitivity(kind, None), Ok(min_sensitivity(kind)));
            assert_eq!(resolve_sensitivity(kind, Some(Sensitivity::Restricted)), Ok(Sensitivity::Restricted));
            let is_open = is_read_by_systems(kind, min_sensitivity(kind));
            assert_eq!(is_raised(kind, Sensitivity::Restricted), is_open, "{kind:?}");
            assert!(!is_raised(kind, min_sensitivity(kind)), "{kind:?}");
            let open = resolve_sensitivity(kind, Some(Sensitivity::Open));
            assert_eq!(open.is_ok(), min_sensitivity(kind) == Sensitivity::Open, "{kind:?}");
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
            share_with: Vec::new(),
        };
        let (open, critical) = (Sensitivity::Open, Sensitivity::ProvisionCritical);
        let blocks = [
            block(critical, Content::Emergency(PassportEmergency::default())),
            // Restricted, so no provider could acknowledge it.
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
        let some: BlockKinds = [Kind::Identity, Kind::Meta].into_iter().collect();
        let found: Vec<Kind> = every_kind().filter(|kind| some.includes(*kind)).collect();
        assert_eq!(found, [Kind::Identity, Kind::Meta]);
        assert!(!BlockKinds::all().includes(Kind::Unspecified));
        assert_eq!(every_kind().collect::<BlockKinds>(), BlockKinds::all());
    }
}

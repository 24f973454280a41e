//! Checks of `PassportService` requests. A refusal names every fault of a message at once, by its path.

mod blocks;
mod unread;

use std::collections::BTreeSet;

use uuid::Uuid;

use super::need_to_know::{Reader, role_reads_passports};
use super::rules;
use crate::codes::organisation::OrganisationId;
use crate::exchange::check::{Check, MAX_NOTE_CHARS, TextRule};
use crate::exchange::{Reason, Refusal};
use crate::proto::v1::{
    GetPassportRequest, ListPassportVersionsRequest, Officer, PassportBlock, PassportBlockKind as Kind,
    PutPassportRequest, RoleCode, Sensitivity, SharePassportRequest, WithholdInformationRequest,
};
use crate::violation_reason::ViolationReason;

/// Maximum number of blocks of a version, and of kinds in a list: the number of kinds.
const MAX_KINDS: usize = 13;
/// Maximum number of roles with which a block is shared: the number of role codes.
const MAX_ROLES: usize = 22;

/// Minimum number of code points of the reason of an emergency, where a run of white space counts as one: a reason and
/// not a word.
const MIN_EMERGENCY_REASON_CHARS: usize = 20;
/// Minimum number of letters among them, because dots or digits are no reason.
const MIN_EMERGENCY_REASON_LETTERS: usize = 10;
/// Maximum number of code points of the reason of an emergency.
const MAX_EMERGENCY_REASON_CHARS: usize = 500;

/// A checked `PutPassportRequest`.
pub struct CheckedPut {
    pub placement: Uuid,
    /// The etag of the version that was read, as it was sent; empty for the first.
    pub etag: String,
    /// Blocks of distinct kinds, each with its sensitivity set.
    pub blocks: Vec<PassportBlock>,
    /// Kinds whose block is copied from the previous version.
    pub keep: BTreeSet<Kind>,
    /// Kinds whose block is removed.
    pub remove: BTreeSet<Kind>,
}

/// A checked `SharePassportRequest`.
pub struct CheckedShare {
    pub placement: Uuid,
    pub etag: String,
    pub agreement: Option<Uuid>,
}

/// A checked `WithholdInformationRequest`.
pub struct CheckedWithholding {
    pub placement: Uuid,
    /// The etag of the decision that is replaced, as it was sent; empty for the first.
    pub etag: String,
    pub blocks: Vec<Kind>,
    pub reason: String,
    pub officer: Option<Officer>,
}

/// A checked `GetPassportRequest`.
pub enum CheckedGet {
    /// The passport of one sender; the caller's or the commissioner's if none is named.
    Ordinary {
        placement: Uuid,
        sender: Option<OrganisationId>,
        /// The etag of the version, as it was sent; empty for the newest.
        version: String,
    },
    /// The passports of all senders, in an emergency.
    Emergency(CheckedEmergency),
}

/// A checked request to read in an emergency.
pub struct CheckedEmergency {
    pub placement: Uuid,
    pub reason: String,
    pub life_at_risk: bool,
    pub request_id: Option<Uuid>,
}

/// Checks a request to put a version, which may change no part that its writer does not read.
pub fn check_put(m: &PutPassportRequest, writer: &Reader) -> Result<CheckedPut, Refusal> {
    let mut check = Check::new();
    check.request_id(&m.request_id);
    let placement = check.uuid("placement_id", &m.placement_id);
    let mut blocks = Vec::new();
    let mut kinds = BTreeSet::new();
    if check.list_len("blocks", m.blocks.len(), MAX_KINDS) {
        for (at, sent) in m.blocks.iter().enumerate() {
            let mut check = check.enter("blocks").index(at);
            unread::check_written(&mut check, sent, writer);
            let Some(block) = check_block(&mut check, sent) else { continue };
            if let Some(content) = &block.content
                && !kinds.insert(rules::kind_of(content))
            {
                check.add_violation("", ViolationReason::ConflictInBatch);
            }
            blocks.push(block);
        }
        if !kinds.contains(&Kind::Meta) {
            check.add_violation("blocks", ViolationReason::MetaRequired);
        }
    }
    let keep = check_kinds(&mut check, "keep", &m.keep, &mut kinds);
    let remove = check_kinds(&mut check, "remove", &m.remove, &mut kinds);
    unread::check_removed(&mut check, &m.remove, writer);
    // This uses the message alone, so that the refusal does not reveal what the passport holds.
    if !m.etag.is_empty() {
        for (_, field) in rules::UNREADABLE_KINDS.into_iter().filter(|(kind, _)| !kinds.contains(kind)) {
            check.enter("blocks").add_violation(field, ViolationReason::KeepOrRemove);
        }
    }
    check.finish()?;
    let placement = placement.ok_or(Reason::Malformed)?;
    Ok(CheckedPut { placement, etag: m.etag.clone(), blocks, keep, remove })
}

/// Reads a list of kinds. A kind that is already in `named` is a fault.
fn check_kinds(
    check: &mut Check,
    field: &'static str,
    sent: &[i32],
    named: &mut BTreeSet<Kind>,
) -> BTreeSet<Kind> {
    let mut kinds = BTreeSet::new();
    if check.list_len(field, sent.len(), MAX_KINDS) {
        for (at, sent) in sent.iter().enumerate() {
            let mut check = check.enter(field).index(at);
            let Some(kind) = check.enum_value::<Kind>("", *sent) else { continue };
            if !named.insert(kind) {
                check.add_violation("", ViolationReason::ConflictInBatch);
            }
            kinds.insert(kind);
        }
    }
    kinds
}

/// Checks a block and sets its sensitivity.
fn check_block(check: &mut Check, sent: &PassportBlock) -> Option<PassportBlock> {
    let content = check.present("content", sent.content.as_ref())?;
    let sent_sensitivity = check.optional_enum::<Sensitivity>("sensitivity", sent.sensitivity);
    let sensitivity = rules::resolve_sensitivity(rules::kind_of(content), sent_sensitivity);
    let sensitivity = sensitivity.map_err(|reason| check.add_violation("sensitivity", reason));
    let kind = rules::kind_of(content);
    let content = blocks::check_content(check, content);
    // Where the sensitivity itself is at fault, only that is named.
    let is_raised = sensitivity.is_ok_and(|sensitivity| rules::is_raised(kind, sensitivity));
    if !sent.share_with.is_empty() && sensitivity.is_ok() && !is_raised {
        check.add_violation("share_with", ViolationReason::ShareWithNotRaised);
    }
    check_share_with(check, &sent.share_with);
    Some(PassportBlock {
        sensitivity: sensitivity.ok()? as i32,
        content: Some(content),
        share_with: sent.share_with.clone(),
    })
}

/// Checks the roles with which a raised block is shared: known ones that read passports, each once.
fn check_share_with(check: &mut Check, sent: &[i32]) {
    if !check.list_len("share_with", sent.len(), MAX_ROLES) {
        return;
    }
    let mut named = BTreeSet::new();
    for (at, sent) in sent.iter().enumerate() {
        let mut check = check.enter("share_with").index(at);
        let Some(role) = check.enum_value::<RoleCode>("", *sent) else { continue };
        if !role_reads_passports(role) {
            check.add_violation("", ViolationReason::RoleReadsNoPassport);
        } else if !named.insert(*sent) {
            check.add_violation("", ViolationReason::ConflictInBatch);
        }
    }
}

/// Checks a request to share.
pub fn check_share(m: &SharePassportRequest) -> Result<CheckedShare, Refusal> {
    let mut check = Check::new();
    check.request_id(&m.request_id);
    let placement = check.uuid("placement_id", &m.placement_id);
    check.required("etag", &m.etag);
    let agreement = check.optional_uuid("agreement_id", &m.agreement_id);
    check.finish()?;
    Ok(CheckedShare { placement: placement.ok_or(Reason::Malformed)?, etag: m.etag.clone(), agreement })
}

/// Checks a decision not to share.
pub fn check_withhold(m: &WithholdInformationRequest) -> Result<CheckedWithholding, Refusal> {
    let mut check = Check::new();
    check.request_id(&m.request_id);
    let placement = check.uuid("placement_id", &m.placement_id);
    let mut blocks = Vec::new();
    if check.list_len("blocks", m.blocks.len(), MAX_KINDS) {
        for (at, sent) in m.blocks.iter().enumerate() {
            blocks.extend(check.enter("blocks").index(at).enum_value::<Kind>("", *sent));
        }
    }
    let reason = check.text_or_empty("reason", &m.reason, TextRule::notes(MAX_NOTE_CHARS).required());
    let officer = check.officer("officer", m.officer.as_ref());
    check.finish()?;
    let placement = placement.ok_or(Reason::Malformed)?;
    Ok(CheckedWithholding { placement, etag: m.etag.clone(), blocks, reason, officer })
}

/// Checks a request to read: the placement, and the sender if one is named; or an emergency.
pub fn check_get(m: &GetPassportRequest) -> Result<CheckedGet, Refusal> {
    let mut check = Check::new();
    let placement = check.uuid("placement_id", &m.placement_id);
    let sender = check.optional_organisation("sender", &m.sender);
    if m.emergency_reason.is_empty() {
        expect_absent(&mut check, "life_at_risk", m.life_at_risk);
        check.finish()?;
        let placement = placement.ok_or(Reason::Malformed)?;
        return Ok(CheckedGet::Ordinary { placement, sender, version: m.version.clone() });
    }
    for (field, is_sent) in [("sender", sender.is_some()), ("version", !m.version.is_empty())] {
        expect_absent(&mut check, field, is_sent);
    }
    let rule = TextRule::notes(MAX_EMERGENCY_REASON_CHARS).required();
    let reason = check.text("emergency_reason", &m.emergency_reason, rule);
    if reason.as_ref().is_some_and(|reason| !is_long_enough(reason)) {
        check.add_violation("emergency_reason", ViolationReason::ReasonTooShort);
    }
    if !m.request_id.is_empty() {
        check.request_id(&m.request_id);
    }
    check.finish()?;
    let (placement, reason) = placement.zip(reason).ok_or(Reason::Malformed)?;
    let request_id = Uuid::try_parse(&m.request_id).ok();
    let life_at_risk = m.life_at_risk;
    Ok(CheckedGet::Emergency(CheckedEmergency { placement, reason, life_at_risk, request_id }))
}

/// Returns whether the reason of an emergency can be one.
fn is_long_enough(reason: &str) -> bool {
    let words: Vec<&str> = reason.split_whitespace().collect();
    let letters = reason.chars().filter(|letter| letter.is_alphabetic()).count();
    words.join(" ").chars().count() >= MIN_EMERGENCY_REASON_CHARS && letters >= MIN_EMERGENCY_REASON_LETTERS
}

fn expect_absent(check: &mut Check, field: &'static str, is_sent: bool) {
    if is_sent {
        check.add_violation(field, ViolationReason::FieldNotExpected);
    }
}

/// Checks a request to list versions: the placement and the page size.
pub fn check_list(m: &ListPassportVersionsRequest) -> Result<(Uuid, u32), Refusal> {
    let mut check = Check::new();
    let placement = check.uuid("placement_id", &m.placement_id);
    let size = check.page_size("page_size", m.page_size, 50, 100);
    check.finish()?;
    placement.zip(size).ok_or_else(|| Reason::Malformed.into())
}

#[cfg(test)]
mod tests;

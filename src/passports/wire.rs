//! Messages of `PassportService` as values: every fault of a message at once, by its path.

mod blocks;

use std::collections::BTreeSet;

use uuid::Uuid;

use super::rules;
use crate::codes::organisation::OrganisationId;
use crate::exchange::check::{Check, NOTE, TextRule};
use crate::exchange::{Reason, Refusal};
use crate::proto::v1::{
    GetPassportRequest, ListPassportVersionsRequest, Officer, PassportBlock, PassportBlockKind as Kind,
    PutPassportRequest, Sensitivity, SharePassportRequest, WithholdInformationRequest,
};

/// Kinds of blocks.
const KINDS: usize = 13;

/// A version.
pub struct Put {
    pub placement: Uuid,
    /// The version that was read, as it was sent; empty for the first.
    pub etag: String,
    /// Each kind once, each with its sensitivity.
    pub blocks: Vec<PassportBlock>,
    /// Kinds whose block stays as it is.
    pub keep: BTreeSet<Kind>,
    /// Kinds whose block is removed.
    pub remove: BTreeSet<Kind>,
}

/// A share.
pub struct Share {
    pub placement: Uuid,
    pub etag: String,
    pub agreement: Option<Uuid>,
}

/// A decision not to share.
pub struct Withhold {
    pub placement: Uuid,
    pub blocks: Vec<Kind>,
    pub reason: String,
    pub officer: Option<Officer>,
}

pub fn put(m: &PutPassportRequest) -> Result<Put, Refusal> {
    let mut check = Check::new();
    check.request_id(&m.request_id);
    let placement = check.uuid("placement_id", &m.placement_id);
    let mut blocks = Vec::new();
    let mut kinds = BTreeSet::new();
    if check.list_len("blocks", m.blocks.len(), KINDS) {
        for (at, sent) in m.blocks.iter().enumerate() {
            let mut check = check.at("blocks").index(at);
            let Some(block) = block(&mut check, sent) else { continue };
            if let Some(content) = &block.content
                && !kinds.insert(rules::kind_of(content))
            {
                check.fault("", "CONFLICT_IN_BATCH");
            }
            blocks.push(block);
        }
        if !kinds.contains(&Kind::Meta) {
            check.fault("blocks", "META_REQUIRED");
        }
    }
    let keep = named_kinds(&mut check, "keep", &m.keep, &mut kinds);
    let remove = named_kinds(&mut check, "remove", &m.remove, &mut kinds);
    // From the message alone, so that the refusal does not depend on what the passport holds.
    if !m.etag.is_empty() {
        for (_, field) in rules::UNREADABLE.into_iter().filter(|(kind, _)| !kinds.contains(kind)) {
            check.at("blocks").fault(field, "KEEP_OR_REMOVE");
        }
    }
    check.finish()?;
    let placement = placement.ok_or(Reason::Malformed)?;
    Ok(Put { placement, etag: m.etag.clone(), blocks, keep, remove })
}

/// Reads a list of kinds, none of which was named before.
fn named_kinds(
    check: &mut Check,
    field: &'static str,
    sent: &[i32],
    named: &mut BTreeSet<Kind>,
) -> BTreeSet<Kind> {
    let mut kinds = BTreeSet::new();
    if check.list_len(field, sent.len(), KINDS) {
        for (at, sent) in sent.iter().enumerate() {
            let mut check = check.at(field).index(at);
            let Some(kind) = check.enum_value::<Kind>("", *sent) else { continue };
            if !named.insert(kind) {
                check.fault("", "CONFLICT_IN_BATCH");
            }
            kinds.insert(kind);
        }
    }
    kinds
}

fn block(check: &mut Check, sent: &PassportBlock) -> Option<PassportBlock> {
    let content = check.present("content", sent.content.as_ref())?;
    let said = check.optional_enum::<Sensitivity>("sensitivity", sent.sensitivity);
    let sensitivity = rules::sensitivity(rules::kind_of(content), said);
    let sensitivity = sensitivity.map_err(|reason| check.fault("sensitivity", reason));
    let content = blocks::content(check, content);
    Some(PassportBlock { sensitivity: sensitivity.ok()? as i32, content: Some(content) })
}

pub fn share(m: &SharePassportRequest) -> Result<Share, Refusal> {
    let mut check = Check::new();
    check.request_id(&m.request_id);
    let placement = check.uuid("placement_id", &m.placement_id);
    check.required("etag", &m.etag);
    let agreement = check.optional_uuid("agreement_id", &m.agreement_id);
    check.finish()?;
    Ok(Share { placement: placement.ok_or(Reason::Malformed)?, etag: m.etag.clone(), agreement })
}

pub fn withhold(m: &WithholdInformationRequest) -> Result<Withhold, Refusal> {
    let mut check = Check::new();
    check.request_id(&m.request_id);
    let placement = check.uuid("placement_id", &m.placement_id);
    let mut blocks = Vec::new();
    if check.list_len("blocks", m.blocks.len(), KINDS) {
        for (at, sent) in m.blocks.iter().enumerate() {
            blocks.extend(check.at("blocks").index(at).enum_value::<Kind>("", *sent));
        }
    }
    let reason = check.words("reason", &m.reason, TextRule::notes(NOTE).required());
    let officer = check.person("officer", m.officer.as_ref());
    check.finish()?;
    Ok(Withhold { placement: placement.ok_or(Reason::Malformed)?, blocks, reason, officer })
}

pub fn get(m: &GetPassportRequest) -> Result<(Uuid, Option<OrganisationId>), Refusal> {
    let mut check = Check::new();
    let placement = check.uuid("placement_id", &m.placement_id);
    let sender = check.optional_organisation("sender", &m.sender);
    check.finish()?;
    Ok((placement.ok_or(Reason::Malformed)?, sender))
}

pub fn list(m: &ListPassportVersionsRequest) -> Result<(Uuid, u32), Refusal> {
    let mut check = Check::new();
    let placement = check.uuid("placement_id", &m.placement_id);
    let size = check.page_size("page_size", m.page_size, 50, 100);
    check.finish()?;
    placement.zip(size).ok_or_else(|| Reason::Malformed.into())
}

#[cfg(test)]
mod tests;

//! `GetPassport` and `ListPassportVersions`: a sender reads its own passport, a provider the version shared with it.

use prost::Message;

use super::break_glass;
use super::content;
use super::need_to_know::{Part, Reader, ReadingRight, Visibility};
use super::reader;
use super::rows::{self, BlockRow};
use super::rules::{self, BlockKinds};
use super::sender::{self, can_send};
use super::wire::{self, CheckedGet};
use super::withhold::cut_decision;
use crate::clock::Instant;
use crate::codes::organisation::OrganisationId;
use crate::exchange::{
    CallerRole, Decided, LeafInput, PageTokens, Permit, PolicyFacts, Reason, RecordRef, Refusal,
    RequestContext,
};
use crate::placements::{self, Placement, children, safety_acknowledgement};
use crate::proto::v1::{
    BlockNotice, GetPassportRequest, GetPassportResponse, LeafRole, ListPassportVersionsRequest,
    ListPassportVersionsResponse, PassportVersion, RecordKind,
};
use crate::store::Revision;

/// Returns a passport, cut to what the caller's system or its person gets.
pub async fn get_passport(
    mut cx: RequestContext,
    m: GetPassportRequest,
) -> Result<Decided<GetPassportResponse>, Refusal> {
    let (id, named, wanted) = match wire::check_get(&m)? {
        CheckedGet::Ordinary { placement, sender, version } => (placement, sender, version),
        CheckedGet::Emergency(asked) => return break_glass::read_in_emergency(cx, asked).await,
    };
    let (placement, permit, sender, reader) = authorise_read(&mut cx, id, named).await?;
    let own = sender == cx.caller.organisation;
    let share = rows::latest_share(&mut cx.snapshot, &sender, placement.id).await?;
    let version = if own {
        cx.snapshot.current_version(&safety_acknowledgement::passport_key(&sender, placement.child)).await?
    } else {
        share.as_ref().map_or(Revision::ABSENT, |share| share.version)
    };
    let decision = rows::latest_withholding(&mut cx.snapshot, &sender, placement.id).await?;
    let version = if wanted.is_empty() { version } else { own_version(own, version, &wanted)? };
    let own_decision = decision.as_ref().filter(|_| own);
    if version == Revision::ABSENT && own_decision.is_none() {
        return Err(Reason::NotFound.into());
    }
    let key = children::load_required_key(&mut cx, &sender, placement.child).await?;
    let withheld = decision.as_ref().filter(|_| !own).map_or(BlockKinds::empty(), |decision| decision.kinds);
    let stored = (&sender, placement.child, version);
    let view = content::visible_blocks(&mut cx, &key, stored, withheld, &reader).await?;
    let opened = own_decision.map(|row| rows::open_decision(&key, row)).transpose()?;
    let withholding = opened.and_then(|decision| cut_decision(&reader, &view.notices, decision));
    if version == Revision::ABSENT && withholding.is_none() {
        return Err(Reason::NotFound.into());
    }
    let record = RecordRef::new(RecordKind::Passport, id, version);
    let record = record.with_blocks(view.logged_kinds.bits().into());
    let etag =
        |version: Revision| if version == Revision::ABSENT { String::new() } else { version.to_string() };
    let response = GetPassportResponse {
        sender: sender.to_string(),
        etag: etag(version),
        blocks: view.blocks,
        notices: view.notices,
        shared_etag: etag(share.map_or(Revision::ABSENT, |share| share.version)),
        withholding,
        ..GetPassportResponse::default()
    };
    let reply = response.encode_to_vec();
    let part =
        LeafInput { placement: id, role: LeafRole::Read, record, sender: &sender, key: &key, reply: &reply };
    Ok(read_change(&cx, &permit, &placement, &part).with_reply(&response))
}

/// Returns the version that its own sender asks for, if there is one up to the newest. To a recipient it is as if there
/// were none, because it reads no version but the one that was shared with it.
fn own_version(own: bool, newest: Revision, wanted: &str) -> Result<Revision, Reason> {
    let found = wanted.parse().ok().map(Revision::new).filter(|version| version.to_string() == wanted);
    let found = found.filter(|version| own && (Revision::FIRST..=newest).contains(version));
    found.ok_or(Reason::NotFound)
}

/// Returns the placement, the permit to read, the passport's sender (the caller, or one that shared with the caller), and
/// the reader.
async fn authorise_read(
    cx: &mut RequestContext,
    id: uuid::Uuid,
    named: Option<OrganisationId>,
) -> Result<(Placement, Permit, OrganisationId, Reader), Refusal> {
    let caller = cx.caller.organisation.clone();
    let found = placements::by_id_for_party(&mut cx.snapshot, id, &cx.caller.organisation).await?;
    let mut sender = caller.clone();
    let mut right = ReadingRight::Sender;
    let facts = match &found {
        Some(placement) if placement.role_of(&caller) == CallerRole::Provider => {
            sender = named.unwrap_or_else(|| placement.commissioner.clone());
            // An organisation that cannot have a passport is answered like one that has none.
            let part = if can_send(placement, &sender) { CallerRole::Provider } else { CallerRole::NoRole };
            let share = rows::latest_share(&mut cx.snapshot, &sender, placement.id).await?;
            let agreement = share.map_or(placement.agreement, |share| share.agreement);
            let basis = sender::sharing_basis(cx, placement, &sender, agreement).await?;
            right = reader::recipient_right(cx, placement, &sender, agreement).await?;
            PolicyFacts { status: placement.role_status(), basis, ..PolicyFacts::for_role(part) }
        }
        Some(placement) if named.is_none_or(|named| named == caller) => {
            PolicyFacts::for_role(placement.role_of(&caller))
        }
        _ => PolicyFacts::for_role(CallerRole::NoRole),
    };
    let permit = cx.permit(&facts)?;
    Ok((found.ok_or(Reason::NotFound)?, permit, sender, reader::of_call(cx, right)))
}

/// Lists the versions of the caller's own passport, without content.
pub async fn list_versions(
    mut cx: RequestContext,
    m: ListPassportVersionsRequest,
) -> Result<Decided<ListPassportVersionsResponse>, Refusal> {
    let (id, size) = wire::check_list(&m)?;
    let query = ListPassportVersionsRequest { page_size: 0, page_token: String::new(), ..m.clone() };
    let pages = PageTokens::for_query(&cx, &query);
    let (placement, permit) = sender::authorise_sender(&mut cx, id, None).await?;
    let sender = cx.caller.organisation.clone();
    let newest =
        cx.snapshot.current_version(&safety_acknowledgement::passport_key(&sender, placement.child)).await?;
    if newest == Revision::ABSENT {
        return Err(Reason::NotFound.into());
    }
    let reader = reader::of_call(&cx, ReadingRight::Sender);
    let first = newest.next().get();
    let before = pages.start_position(&cx, &m.page_token, first, PageTokens::decode_number)?;
    let from = Revision::new(before - i64::from(size)).max(Revision::FIRST);
    let mut response = ListPassportVersionsResponse::default();
    let listed =
        rows::list_versions(&mut cx.snapshot, &sender, placement.child, from, Revision::new(before)).await?;
    for (version, time, kind, sensitivity) in listed {
        let etag = version.to_string();
        if response.versions.last().is_none_or(|last| last.etag != etag) {
            let put_time = Instant::from_micros(time).ok().map(Instant::to_proto);
            response.versions.push(PassportVersion { etag, put_time, blocks: rules::unreadable_notices() });
        }
        let is_listed = reader.visibility(Part::of_block(kind, sensitivity), &[]) != Visibility::Absent;
        if rules::is_unreadable(kind) || !is_listed {
            continue;
        }
        if let Some(last) = response.versions.last_mut() {
            last.blocks.push(BlockNotice { kind: kind as i32, sensitivity: sensitivity as i32 });
        }
    }
    if from > Revision::FIRST {
        response.next_page_token = pages.seal(&cx, &from.to_be_bytes())?;
    }
    let key = children::load_required_key(&mut cx, &sender, placement.child).await?;
    let reply = response.encode_to_vec();
    let record = RecordRef::unversioned(RecordKind::Passport, id);
    let part =
        LeafInput { placement: id, role: LeafRole::Read, record, sender: &sender, key: &key, reply: &reply };
    Ok(read_change(&cx, &permit, &placement, &part).with_reply(&response))
}

/// Builds a change whose entry commits to the part of the reply that is about the child.
fn read_change(
    cx: &RequestContext,
    permit: &Permit,
    placement: &Placement,
    part: &LeafInput<'_>,
) -> crate::exchange::Change {
    let change = cx.change(permit).guard(placement.key(), placement.version);
    let change = change.append_child::<BlockRow>(part, &[]);
    if *part.sender == cx.caller.organisation { change } else { change.add_counterpart(part.sender) }
}

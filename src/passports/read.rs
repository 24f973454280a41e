//! `GetPassport` and `ListPassportVersions`: the sender reads its own, the provider what was shared with it.

use prost::Message;

use super::content::{self, View};
use super::rows::{self, BlockRow};
use super::rules;
use super::sender::{self, may_send};
use super::wire;
use crate::clock::Instant;
use crate::codes::organisation::OrganisationId;
use crate::exchange::{
    Action, ChildPart, Cx, Decided, Facts, LeafRole, Pages, Part, Permit, Reason, Refusal,
};
use crate::placements::{self, Placement, children, safety};
use crate::proto::v1::{
    BlockNotice, GetPassportRequest, GetPassportResponse, ListPassportVersionsRequest,
    ListPassportVersionsResponse, PassportVersion,
};
use crate::seal::ChildKey;

/// Gives a passport, as far as the caller's system may read it.
pub async fn get_passport(
    mut cx: Cx,
    m: GetPassportRequest,
) -> Result<Decided<GetPassportResponse>, Refusal> {
    let (id, named) = wire::get(&m)?;
    let (placement, permit, sender) = permitted(&mut cx, id, named).await?;
    let own = sender == cx.caller.organisation;
    let share = rows::shared(&mut cx.snapshot, &sender, placement.id).await?;
    let version = if own {
        cx.snapshot.version(&safety::passport_key(&sender, placement.child)).await?
    } else {
        share.as_ref().map_or(0, |share| share.version)
    };
    let decision = rows::withheld(&mut cx.snapshot, &sender, placement.id).await?;
    if version == 0 && !(own && decision.is_some()) {
        return Err(Reason::NotFound.into());
    }
    let key = children::required_key(&mut cx, &sender, placement.child).await?;
    let withheld = decision.as_ref().filter(|_| !own).map_or(0, |decision| decision.kinds);
    let View { blocks, notices } =
        content::view(&mut cx, &key, (&sender, placement.child, version), withheld).await?;
    let etag = |version: i64| if version == 0 { String::new() } else { version.to_string() };
    let response = GetPassportResponse {
        sender: sender.to_string(),
        etag: etag(version),
        blocks,
        notices,
        shared_etag: etag(share.map_or(0, |share| share.version)),
        withholding: decision.filter(|_| own).map(|row| rows::open_decision(&key, &row)).transpose()?,
        receipt: None,
    };
    let reply = response.encode_to_vec();
    Ok(was_read(&cx, &permit, (&placement, &sender), &key, &reply).reply(&response))
}

/// The placement, leave to read, and whose passport it is: the caller's own, or one that was shared with it.
async fn permitted(
    cx: &mut Cx,
    id: uuid::Uuid,
    named: Option<OrganisationId>,
) -> Result<(Placement, Permit, OrganisationId), Refusal> {
    let caller = cx.caller.organisation.clone();
    let found = placements::of_party(&mut cx.snapshot, id, &cx.caller.organisation).await?;
    let mut sender = caller.clone();
    let facts = match &found {
        Some(placement) if placement.part_of(&caller) == Part::Provider => {
            sender = named.unwrap_or_else(|| placement.commissioner.clone());
            // Whoever can have none is as one who has none.
            let part = if may_send(placement, &sender) { Part::Provider } else { Part::None };
            let share = rows::shared(&mut cx.snapshot, &sender, placement.id).await?;
            let agreement = share.map_or(placement.agreement, |share| share.agreement);
            let basis = sender::basis(cx, placement, &sender, agreement).await?;
            Facts { standing: placement.standing(), basis, ..Facts::own(part) }
        }
        Some(placement) if named.is_none_or(|named| named == caller) => {
            Facts::own(placement.part_of(&caller))
        }
        _ => Facts::own(Part::None),
    };
    let permit = cx.permit(Action::GetPassport, &facts)?;
    Ok((found.ok_or(Reason::NotFound)?, permit, sender))
}

/// Gives the versions of the caller's own passport, without content.
pub async fn list_versions(
    mut cx: Cx,
    m: ListPassportVersionsRequest,
) -> Result<Decided<ListPassportVersionsResponse>, Refusal> {
    let (id, size) = wire::list(&m)?;
    let bare = ListPassportVersionsRequest { page_size: 0, page_token: String::new(), ..m.clone() };
    let pages = Pages::of(&cx, "ListPassportVersions", &bare);
    let (placement, permit) = sender::of_sender(&mut cx, Action::ListPassportVersions, id, None).await?;
    let sender = cx.caller.organisation.clone();
    let newest = cx.snapshot.version(&safety::passport_key(&sender, placement.child)).await?;
    if newest == 0 {
        return Err(Reason::NotFound.into());
    }
    let before = pages.begin(&cx, &m.page_token, newest + 1, Pages::number)?;
    let from = (before - i64::from(size)).max(1);
    let mut response = ListPassportVersionsResponse::default();
    let listed = rows::versions(&mut cx.snapshot, &sender, placement.child, from, before).await?;
    for (version, time, kind, sensitivity) in listed {
        let etag = version.to_string();
        if response.versions.last().is_none_or(|last| last.etag != etag) {
            let put_time = Instant::from_micros(time).ok().map(Instant::to_proto);
            response.versions.push(PassportVersion { etag, put_time, blocks: rules::unreadable_notices() });
        }
        if rules::is_unreadable(kind) {
            continue;
        }
        if let Some(last) = response.versions.last_mut() {
            last.blocks.push(BlockNotice { kind: kind as i32, sensitivity: sensitivity as i32 });
        }
    }
    if from > 1 {
        response.next_page_token = pages.seal(&cx, &from.to_be_bytes())?;
    }
    let key = children::required_key(&mut cx, &sender, placement.child).await?;
    let reply = response.encode_to_vec();
    Ok(was_read(&cx, &permit, (&placement, &sender), &key, &reply).reply(&response))
}

/// A change that commits to what was read of the child.
fn was_read(
    cx: &Cx,
    permit: &Permit,
    (placement, sender): (&Placement, &OrganisationId),
    key: &ChildKey,
    reply: &[u8],
) -> crate::exchange::Change {
    let part = ChildPart { placement: placement.id, role: LeafRole::Read, key, reply };
    let change = cx.change(permit).guard(placement.key(), placement.version);
    let change = change.child::<BlockRow>(&part, &[]);
    if *sender == cx.caller.organisation { change } else { change.counterpart(sender) }
}

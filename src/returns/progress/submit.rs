//! `SubmitProgress`: stores a provider's progress return. Its period must overlap the placement, which may have ended.

use prost::Message;

use super::rows::{self, ProgressRow, progress_key, seal_progress};
use super::rules::{self, ProgressFlags};
use super::wire;
use crate::exchange::check::Check;
use crate::exchange::{
    CallerRole, Change, Decided, LeafInput, PolicyFacts, Reason, RecordRef, Refusal, RequestContext,
};
use crate::passports;
use crate::placements::{self, Placement, children, plan};
use crate::proto::v1::{
    DataClass, DeliveryKind, LeafRole, ProgressOutcome, ProgressRecord, ProgressReturn, RecordKind,
    SubmitProgressRequest, SubmitProgressResponse,
};
use crate::register::agreements;
use crate::seal::ChildKey;
use crate::store::Revision;
use crate::store::version_key::VersionKey;

/// Handles `SubmitProgress`.
pub(in crate::returns) async fn submit_progress(
    mut cx: RequestContext,
    m: SubmitProgressRequest,
) -> Result<Decided<SubmitProgressResponse>, Refusal> {
    let mut sent = wire::parse_submission(&m, cx.today)?;
    sent.progress.author = cx.attest(sent.progress.author.take());
    let provider = cx.caller.organisation.clone();
    let found =
        placements::by_id_for_party(&mut cx.snapshot, sent.placement, &cx.caller.organisation).await?;
    let facts = match &found {
        Some(placement) => {
            let parties = [&placement.commissioner, &placement.provider];
            let class = DataClass::Progress;
            let basis =
                agreements::basis_or_lapsed(&mut cx.snapshot, placement.agreement, &parties, class, cx.today)
                    .await?;
            PolicyFacts {
                status: placement.role_status(),
                basis,
                ..PolicyFacts::for_role(placement.role_of(&provider))
            }
        }
        None => PolicyFacts::for_role(CallerRole::NoRole),
    };
    let permit = cx.permit(&facts)?;
    let placement = found.ok_or(Reason::NotFound)?;
    let mut check = Check::new();
    let plan = match sent.plan_version {
        Some(version) => plan::load_version(&mut cx, &placement, version).await?,
        None => None,
    };
    rules::check_against_placement(&mut check, (&sent.progress, sent.period), &placement, plan.as_ref());
    check.finish()?;
    let child_key = children::load_required_key(&mut cx, &provider, placement.child).await?;
    let period = sent.period;
    let key = progress_key(placement.id, period.first(), period.last());
    let standing = load_current(&mut cx, &child_key, &key).await?;
    let before = standing.as_ref().map_or(Revision::ABSENT, |(row, _)| row.revision);
    let stored = standing.as_ref().and_then(|(_, record)| record.progress.as_ref());
    let outcome = rules::compare_with_current(&sent.progress, stored, &sent.reason)
        .map_err(|(field, reason)| Check::single_violation(field, reason))?;
    let revision = if outcome == ProgressOutcome::Unchanged { before } else { before.next() };
    let flags = match &standing {
        Some((row, _)) if outcome == ProgressOutcome::Unchanged => row.flags,
        _ => {
            let mut flags = completeness_flags(&mut cx, &placement, &sent.progress).await?;
            flags.set(ProgressFlags::AGREEMENT_LAPSED, !permit.has_agreement_in_force());
            flags
        }
    };
    let response = SubmitProgressResponse {
        outcome: outcome as i32,
        revision: revision.to_u32(),
        flags: flags.names(true),
        receipt: None,
    };
    let reply = response.encode_to_vec();
    let (role, record) = (LeafRole::Submitted, RecordRef::new(RecordKind::Progress, placement.id, revision));
    let (key_of_child, sender) = (&child_key, &provider);
    let part = LeafInput { placement: placement.id, role, record, sender, key: key_of_child, reply: &reply };
    let mut change = cx.change(&permit).guard(key.clone(), before).guard(placement.key(), placement.version);
    // A return belongs to the school on roll on the last day of its period.
    let schools = placement.schools_on(period.last());
    let recipients = [&placement.commissioner].into_iter().chain(schools);
    let recipients: Vec<_> = recipients.filter(|recipient| **recipient != provider).collect();
    if outcome == ProgressOutcome::Unchanged {
        let share = |change: Change, recipient| change.share_child(recipient, placement.id);
        let change = recipients.into_iter().fold(change, share);
        return Ok(change.append_child::<ProgressRow>(&part, &[]).with_reply(&response));
    }
    let record = ProgressRecord {
        correction_reason: if before == Revision::ABSENT { String::new() } else { sent.reason },
        progress: Some(sent.progress),
        ..ProgressRecord::default()
    };
    let row = ProgressRow {
        placement: placement.id,
        child: placement.child,
        sender: provider.clone(),
        progress: seal_progress(&cx, &child_key, (&key, revision), &record)?,
        from_date: period.first(),
        to_date: period.last(),
        revision,
        flags,
        received: cx.now.micros(),
    };
    for recipient in recipients {
        change = change.deliver(recipient, DeliveryKind::Progress, placement.id, Some(placement.id));
    }
    Ok(change.append_child(&part, &[row]).with_reply(&response))
}

/// Loads the newest revision for the period.
async fn load_current(
    cx: &mut RequestContext,
    child_key: &ChildKey,
    key: &VersionKey,
) -> Result<Option<(ProgressRow, ProgressRecord)>, Refusal> {
    let Some(row) = cx.snapshot.newest::<ProgressRow>(key).await? else { return Ok(None) };
    let record = rows::open_progress(child_key, &row)?;
    Ok(Some((row, record)))
}

/// Returns the flags that mark an incomplete return: [`ProgressFlags::INCOMPLETE`], and
/// [`ProgressFlags::INCOMPLETE_SHOWN_TO_PROVIDER`] if the provider may read the child's primary need.
async fn completeness_flags(
    cx: &mut RequestContext,
    placement: &Placement,
    progress: &ProgressReturn,
) -> Result<ProgressFlags, Refusal> {
    let mut flags = ProgressFlags::empty();
    if !rules::is_only_academic(progress) {
        return Ok(flags);
    }
    let primary = passports::load_semh_primary_need(cx, placement).await?;
    flags.set(ProgressFlags::INCOMPLETE, primary.is_semh);
    flags.set(ProgressFlags::INCOMPLETE_SHOWN_TO_PROVIDER, primary.is_semh && primary.provider_may_read);
    Ok(flags)
}

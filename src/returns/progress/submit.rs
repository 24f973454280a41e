//! `SubmitProgress`: taken from the provider for any period that touches the placement, also after its end.

use prost::Message;

use super::rows::{self, ProgressRow, key, seal};
use super::rules::{self, AGREEMENT_LAPSED, INCOMPLETE, INCOMPLETE_TOLD};
use super::wire;
use crate::calendar::Date;
use crate::exchange::check::Check;
use crate::exchange::{Action, Change, ChildPart, Cx, Decided, Facts, LeafRole, Part, Reason, Refusal};
use crate::passports;
use crate::placements::{self, Placement, children, plan};
use crate::proto::v1::{
    DataClass, DeliveryKind, ProgressOutcome, ProgressRecord, ProgressReturn, SubmitProgressRequest,
    SubmitProgressResponse,
};
use crate::register::agreements;
use crate::seal::ChildKey;

/// Takes a progress return.
pub(in crate::returns) async fn submit_progress(
    mut cx: Cx,
    m: SubmitProgressRequest,
) -> Result<Decided<SubmitProgressResponse>, Refusal> {
    let sent = wire::submission(&m, cx.today)?;
    let provider = cx.caller.organisation.clone();
    let found = placements::of_party(&mut cx.snapshot, sent.placement, &cx.caller.organisation).await?;
    let facts = match &found {
        Some(placement) => {
            let parties = [&placement.commissioner, &placement.provider];
            let class = DataClass::Progress;
            let basis =
                agreements::basis_or_lapsed(&mut cx.snapshot, placement.agreement, &parties, class, cx.today)
                    .await?;
            Facts { standing: placement.standing(), basis, ..Facts::own(placement.part_of(&provider)) }
        }
        None => Facts::own(Part::None),
    };
    let permit = cx.permit(Action::SubmitProgress, &facts)?;
    let placement = found.ok_or(Reason::NotFound)?;
    let mut check = Check::new();
    let plan = match sent.plan_version {
        Some(version) => plan::by_version(&mut cx, &placement, version).await?,
        None => None,
    };
    rules::fits(&mut check, &sent.progress, &placement, plan.as_ref());
    check.finish()?;
    let child_key = children::required_key(&mut cx, &provider, placement.child).await?;
    let period = (sent.progress.from_date.clone(), sent.progress.to_date.clone());
    let head = key(placement.id, &period);
    let standing = standing(&mut cx, &child_key, &head).await?;
    let before = standing.as_ref().map_or(0, |(row, _)| row.revision);
    let stands = standing.as_ref().and_then(|(_, record)| record.progress.as_ref());
    let outcome = rules::against(&sent.progress, stands, &sent.reason)
        .map_err(|(field, reason)| Check::only(field, reason))?;
    let revision = if outcome == ProgressOutcome::Unchanged { before } else { before + 1 };
    let flags = match &standing {
        Some((row, _)) if outcome == ProgressOutcome::Unchanged => row.flags,
        _ => flags(&mut cx, &placement, &sent.progress).await? + lapsed(!permit.is_agreed()),
    };
    let response = SubmitProgressResponse {
        outcome: outcome as i32,
        revision: u32::try_from(revision).unwrap_or(u32::MAX),
        flags: rules::flags(flags, true),
        receipt: None,
    };
    let reply = response.encode_to_vec();
    let part =
        ChildPart { placement: placement.id, role: LeafRole::Submitted, key: &child_key, reply: &reply };
    let mut change = cx.change(&permit).guard(head, before).guard(placement.key(), placement.version);
    // A return belongs to the school on roll on the last day of its period.
    let schools = Date::parse(&period.1).map_or_else(|_| Vec::new(), |last| placement.schools_on(last));
    let recipients = [&placement.commissioner].into_iter().chain(schools);
    let recipients: Vec<_> = recipients.filter(|recipient| **recipient != provider).collect();
    if outcome == ProgressOutcome::Unchanged {
        let change = recipients.into_iter().fold(change, Change::counterpart);
        return Ok(change.child::<ProgressRow>(&part, &[]).reply(&response));
    }
    let record = ProgressRecord {
        correction_reason: if before == 0 { String::new() } else { sent.reason },
        progress: Some(sent.progress),
        ..ProgressRecord::default()
    };
    let row = ProgressRow {
        placement: placement.id,
        child: placement.child,
        sender: provider.clone(),
        progress: seal(&cx, &child_key, (placement.id, &period, revision), &record)?,
        period,
        revision,
        flags,
        received: cx.now.micros(),
    };
    for recipient in recipients {
        change = change.deliver(recipient, DeliveryKind::Progress, placement.id, Some(placement.id));
    }
    Ok(change.child(&part, &[row]).reply(&response))
}

/// What stands for the period.
async fn standing(
    cx: &mut Cx,
    child_key: &ChildKey,
    head: &crate::store::key::Key,
) -> Result<Option<(ProgressRow, ProgressRecord)>, Refusal> {
    let sql = rows::select!("JOIN heads h ON p.idx = h.idx AND p.ordinal = h.ordinal WHERE h.key = $1");
    let Some(row) = cx.snapshot.fetch_one(sql, vec![head.as_bytes().into()]).await? else {
        return Ok(None);
    };
    let (row, _) = rows::read(&row)?;
    let record = rows::open(child_key, &row)?;
    Ok(Some((row, record)))
}

/// Whether the return is all that can be expected of it, and who may be told if it is not.
async fn flags(cx: &mut Cx, placement: &Placement, progress: &ProgressReturn) -> Result<i64, Refusal> {
    if !rules::is_only_academic(progress) {
        return Ok(0);
    }
    let primary = passports::semh_primary(cx, placement).await?;
    let (incomplete, told) =
        (i64::from(primary.holds), i64::from(primary.holds && primary.provider_may_read));
    Ok(incomplete * INCOMPLETE + told * INCOMPLETE_TOLD)
}

fn lapsed(lapsed: bool) -> i64 {
    if lapsed { AGREEMENT_LAPSED } else { 0 }
}

//! Break-glass: a person reads the passports of a child in an emergency, shared or not and without an agreement. A child
//! in danger waits for no agreement and no counter; in return each sender is told at once, and the log says so.

mod delivered;
mod rows;

use prost::Message;

use super::content::{self, VisibleBlocks};
use super::need_to_know::ReadingRight;
use super::reader;
use super::rows::BlockRow;
use super::rules::BlockKinds;
use super::wire::CheckedEmergency;
use crate::codes::organisation::OrganisationId;
use crate::exchange::{
    CallerRole, Change, Decided, LeafInput, Permit, Person, PolicyFacts, Reason, RecordRef, Refusal,
    RequestContext, SharingBasis,
};
use crate::placements::{self, Placement, children, safety_acknowledgement};
use crate::proto::v1::{
    Article6, Article9, BreakGlassRecipient, DeliveryKind, EmergencyPassport, GetPassportResponse, LeafRole,
    Officer, PlacementState, Purpose, RecordKind, StoredBreakGlass,
};
use crate::register::{organisations, terms};
use crate::seal::ChildKey;
use crate::store::Revision;
pub use delivered::{break_glass_content, due_date};
pub use rows::BreakGlassRow;

/// Number of times that an organisation may break the glass on a day in London before operators and senders are told
/// that it did so more often. Beyond it nothing is refused.
const DAILY_LIMIT: i64 = 10;

/// A sender's passport that is read, with the key that salts its leaf.
struct ReadPassport {
    sender: OrganisationId,
    version: Revision,
    key: ChildKey,
    /// The kinds of blocks that the log names.
    logged_kinds: BlockKinds,
    message: EmergencyPassport,
}

/// Returns what the newest passports of all senders say that keeps a child safe, and tells each sender.
pub async fn read_in_emergency(
    mut cx: RequestContext,
    asked: CheckedEmergency,
) -> Result<Decided<GetPassportResponse>, Refusal> {
    let (placement, permit) = authorise(&mut cx, &asked).await?;
    // Before any passport is looked for, so that a system does not learn whether there is one.
    let person = require_role(&cx, &permit)?.clone();
    let passports = load_passports(&mut cx, &placement).await?;
    if passports.is_empty() {
        return Err(Reason::NotFound.into());
    }
    let statement = statement(&mut cx, &asked, &person, &passports).await?;
    let (own, change) = {
        let change = cx.change(&permit).guard(placement.key(), placement.version);
        let caller = cx.caller.organisation.clone();
        children::load_or_generate_key(&mut cx, change, &caller, placement.child).await?
    };
    let (mut change, over_limit) = match rows::find_repeated(&mut cx, &asked, &own, &statement).await? {
        Some(earlier) => (change, earlier.over_limit),
        None => record(&mut cx, change, &placement, (&asked, &own, &statement)).await?,
    };
    if over_limit {
        change = change.over_break_glass_limit();
    }
    for passport in &passports {
        let reply = passport.message.encode_to_vec();
        let record = RecordRef::new(RecordKind::Passport, placement.id, passport.version);
        let record = record.with_blocks(passport.logged_kinds.bits().into());
        let (placement, role) = (placement.id, LeafRole::Read);
        let (sender, key) = (&passport.sender, &passport.key);
        let part = LeafInput { placement, role, record, sender, key, reply: &reply };
        change = change.append_child::<BlockRow>(&part, &[]).add_counterpart(sender);
    }
    let response = GetPassportResponse {
        emergency_passports: passports.into_iter().map(|passport| passport.message).collect(),
        over_daily_limit: over_limit,
        ..GetPassportResponse::default()
    };
    Ok(change.with_reply(&response))
}

/// Permits a provider or a school on roll of a placement that is active or about to start. In any other state, and to
/// any other organisation, it is as if there were no placement.
async fn authorise(
    cx: &mut RequestContext,
    asked: &CheckedEmergency,
) -> Result<(Placement, Permit), Refusal> {
    let caller = cx.caller.organisation.clone();
    let found = placements::by_id_for_party(&mut cx.snapshot, asked.placement, &caller).await?;
    let found = found.filter(|placement| {
        matches!(placement.state, PlacementState::Approved | PlacementState::Active)
            && (placement.provider == caller || placement.schools.contains(&caller))
    });
    let facts = match &found {
        Some(placement) => PolicyFacts {
            status: placement.role_status(),
            basis: Some(emergency_basis(asked.life_at_risk)),
            ..PolicyFacts::for_role(placement.role_of(&caller))
        },
        None => PolicyFacts::for_role(CallerRole::NoRole),
    };
    let permit = cx.permit(&facts)?;
    Ok((found.ok_or(Reason::NotFound)?, permit))
}

/// Returns the legal basis of a break-glass, which needs no agreement: safeguarding of children, or vital interests.
fn emergency_basis(life_at_risk: bool) -> SharingBasis {
    let (article_6, article_9, schedule_1) = if life_at_risk {
        (Article6::VitalInterests, Article9::VitalInterests, "")
    } else {
        (Article6::PublicTask, Article9::SubstantialPublicInterest, "18")
    };
    SharingBasis {
        agreement: None,
        purpose: Purpose::Safeguarding,
        article_6,
        article_9: Some(article_9),
        schedule_1: schedule_1.to_owned(),
        schedule_1_article_10: String::new(),
        lapsed: false,
    }
}

/// Returns the caller's person, if its role and purpose permit a break-glass.
fn require_role<'a>(cx: &'a RequestContext, permit: &Permit) -> Result<&'a Person, Refusal> {
    let person = cx.require_person(permit)?;
    let reader = reader::of_call(cx, ReadingRight::Emergency);
    reader.may_break_glass().then_some(person).ok_or_else(|| Reason::PersonRequired.into())
}

/// Reads the newest passport of each sender, the commissioner's first, as far as an emergency opens it. A sender whose
/// record of the child was erased has none.
async fn load_passports(
    cx: &mut RequestContext,
    placement: &Placement,
) -> Result<Vec<ReadPassport>, Refusal> {
    let others = placement.schools.iter().filter(|school| **school != placement.commissioner);
    let mut passports = Vec::new();
    for sender in std::iter::once(&placement.commissioner).chain(others) {
        let newest = safety_acknowledgement::passport_key(sender, placement.child);
        let version = cx.snapshot.current_version(&newest).await?;
        if version == Revision::ABSENT {
            continue;
        }
        let Some(key) = children::load_key(cx, sender, placement.child).await? else { continue };
        let etag = version.to_string();
        let VisibleBlocks { blocks, logged_kinds, .. } =
            load_opened(cx, placement, &key, (sender, version)).await?;
        let message = EmergencyPassport { sender: sender.to_string(), etag, blocks };
        passports.push(ReadPassport { sender: sender.clone(), version, key, logged_kinds, message });
    }
    Ok(passports)
}

/// Reads what an emergency opens of a version. What a sender withholds from the placement's provider stays closed to all
/// but the sender, in whichever placement of the child it decided so. Otherwise a further placement would open it.
async fn load_opened(
    cx: &mut RequestContext,
    placement: &Placement,
    key: &ChildKey,
    (sender, version): (&OrganisationId, Revision),
) -> Result<VisibleBlocks, Refusal> {
    let mut withheld = BlockKinds::empty();
    if *sender != cx.caller.organisation {
        let (provider, child) = (&placement.provider, placement.child);
        for id in placements::rows::list_ids_of_child(&mut cx.snapshot, provider, child).await? {
            withheld |= content::withheld_kinds(cx, sender, id).await?;
        }
    }
    let reader = reader::of_call(cx, ReadingRight::Emergency);
    content::visible_blocks(cx, key, (sender, placement.child, version), withheld, &reader).await
}

/// Makes what is stored of a break-glass: who, why, and whose passports, each with the next school day of its sender.
async fn statement(
    cx: &mut RequestContext,
    asked: &CheckedEmergency,
    person: &Person,
    passports: &[ReadPassport],
) -> Result<StoredBreakGlass, Refusal> {
    let mut recipients = Vec::new();
    for ReadPassport { sender, message, .. } in passports {
        let school_days = terms::load_calendar(&mut cx.snapshot, sender).await?;
        recipients.push(BreakGlassRecipient {
            sender: message.sender.clone(),
            etag: message.etag.clone(),
            due_date: school_days.add_school_days(cx.today, 1).to_string(),
        });
    }
    let officer = Officer {
        name: person.name.clone(),
        role_code: person.role.into(),
        attested: true,
        ..Officer::default()
    };
    let (reason, life_at_risk) = (asked.reason.clone(), asked.life_at_risk);
    Ok(StoredBreakGlass { officer: Some(officer), reason, life_at_risk, recipients })
}

/// Records a break-glass, counts it and delivers it to the senders. Returns whether it is beyond the limit of the day;
/// it is then delivered to the operators too.
async fn record(
    cx: &mut RequestContext,
    mut change: Change,
    placement: &Placement,
    (asked, own, statement): (&CheckedEmergency, &ChildKey, &StoredBreakGlass),
) -> Result<(Change, bool), Refusal> {
    let caller = cx.caller.organisation.clone();
    let day = rows::day_key(&caller, cx.today);
    let counted = cx.snapshot.current_version(&day).await?;
    // The count of a day only grows, so what is beyond the limit needs no guard and never contends for it.
    let over_limit = counted.get() >= DAILY_LIMIT;
    if !over_limit {
        change = change.guard(day, counted);
    }
    let mut request_number = Revision::ABSENT;
    if let Some(id) = asked.request_id {
        let request = rows::request_key(&caller, id);
        let before = cx.snapshot.current_version(&request).await?;
        request_number = before.next();
        change = change.guard(request, before);
    }
    let row = BreakGlassRow {
        id: cx.exchange_id,
        organisation: caller.clone(),
        placement: placement.id,
        request_id: asked.request_id,
        request_number,
        day: cx.today,
        number: if over_limit { Revision::ABSENT } else { counted.next() },
        over_limit,
        practitioner: cx.person().ok_or(Reason::PersonRequired)?.practitioner,
        time: cx.now.micros(),
        statement: rows::seal_statement(cx, own, cx.exchange_id, statement)?,
    };
    let record = RecordRef::unversioned(RecordKind::BreakGlass, row.id);
    let (role, sender) = (LeafRole::Submitted, &caller);
    let part = LeafInput { placement: placement.id, role, record, sender, key: own, reply: &[] };
    change = change.append_child(&part, std::slice::from_ref(&row));
    for recipient in &statement.recipients {
        let recipient = OrganisationId::parse(&recipient.sender).map_err(|_| Reason::Failed)?;
        change = change.deliver_own(&recipient, DeliveryKind::BreakGlass, row.id, placement.id);
    }
    if over_limit {
        for operator in organisations::list_operators(&mut cx.snapshot).await? {
            change = change.deliver(&operator, DeliveryKind::BreakGlass, row.id, None);
        }
    }
    Ok((change, over_limit))
}

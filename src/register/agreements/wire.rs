//! Checks of `ProposeAgreement` requests.

use uuid::Uuid;

use super::rows::AgreementRow;
use super::rules;
use crate::exchange::check::{Check, TextRule};
use crate::exchange::{Reason, Refusal};
use crate::proto::v1::{AgreementState, Article6, Article9, DataClass, ProposeAgreementRequest, Purpose};
use crate::store::Revision;
use crate::violation_reason::ViolationReason;

/// Maximum number of parties, data classes or purposes of one agreement.
const MAX_LIST_ITEMS: usize = 20;

/// Checks a proposal and returns its agreement, whose id is not set yet.
pub fn check_proposal(m: &ProposeAgreementRequest) -> Result<AgreementRow, Refusal> {
    let mut check = Check::new();
    check.request_id(&m.request_id);
    let Some(sent) = check.present("agreement", m.agreement.as_ref()) else {
        check.finish()?;
        return Err(Reason::Malformed.into());
    };
    let mut at = check.enter("agreement");
    let output_only = |at: &mut Check, field: &'static str, set: bool| {
        if set {
            at.add_violation(field, ViolationReason::FieldOutputOnly);
        }
    };
    output_only(&mut at, "agreement_id", !sent.agreement_id.is_empty());
    output_only(&mut at, "etag", !sent.etag.is_empty());
    output_only(&mut at, "state", sent.state != 0);
    output_only(&mut at, "countersigned_by", !sent.countersigned_by.is_empty());
    let mut parties = Vec::new();
    if at.list_len("parties", sent.parties.len(), MAX_LIST_ITEMS) {
        for (index, party) in sent.parties.iter().enumerate() {
            parties.extend(at.enter("parties").index(index).organisation("", party));
        }
        parties.sort();
        parties.dedup();
        if sent.parties.len() < 2 || (parties.len() < 2 && parties.len() == sent.parties.len()) {
            at.add_violation("parties", ViolationReason::FieldRequired);
        }
    }
    let mut data_classes = Vec::new();
    if at.list_len("data_classes", sent.data_classes.len(), MAX_LIST_ITEMS) {
        for (index, class) in sent.data_classes.iter().enumerate() {
            data_classes.extend(at.enter("data_classes").index(index).enum_value::<DataClass>("", *class));
        }
    }
    let mut purposes = Vec::new();
    if at.list_len("purposes", sent.purposes.len(), MAX_LIST_ITEMS) {
        for (index, purpose) in sent.purposes.iter().enumerate() {
            purposes.extend(at.enter("purposes").index(index).enum_value::<Purpose>("", *purpose));
        }
    }
    for (field, missing) in
        [("data_classes", sent.data_classes.is_empty()), ("purposes", sent.purposes.is_empty())]
    {
        if missing {
            at.add_violation(field, ViolationReason::FieldRequired);
        }
    }
    let article_6 = at.enum_value::<Article6>("article_6", sent.article_6);
    let article_9 = at.optional_enum::<Article9>("article_9", sent.article_9);
    let schedule_1 = at.text("schedule_1", &sent.schedule_1, TextRule::line(8)).unwrap_or_default();
    if let Some(article_6) = article_6 {
        for (field, reason) in rules::basis_faults(&parties, &data_classes, article_6, article_9, &schedule_1)
        {
            at.add_violation(field, reason);
        }
    }
    let schedule_1_article_10 =
        at.text("schedule_1_article_10", &sent.schedule_1_article_10, TextRule::line(8)).unwrap_or_default();
    if !schedule_1_article_10.is_empty()
        && !rules::ARTICLE_10_PARAGRAPHS.contains(&schedule_1_article_10.as_str())
    {
        at.add_violation("schedule_1_article_10", ViolationReason::Article10Paragraph);
    }
    let (from, to) = (at.date("from_date", &sent.from_date), at.date("to_date", &sent.to_date));
    let review_by = at.date("review_by", &sent.review_by);
    if let (Some(from), Some(to)) = (from, to)
        && to < from
    {
        at.add_violation("to_date", ViolationReason::DateOrder);
    }
    drop(at);
    check.finish()?;
    let (Some(article_6), Some(from), Some(to), Some(review_by)) = (article_6, from, to, review_by) else {
        return Err(Reason::Malformed.into());
    };
    Ok(AgreementRow {
        id: Uuid::nil(),
        version: Revision::FIRST,
        state: AgreementState::Proposed,
        parties,
        countersigned_by: Vec::new(),
        data_classes,
        purposes,
        article_6,
        article_9,
        schedule_1,
        schedule_1_article_10,
        from_date: from,
        to_date: to,
        review_by,
    })
}

//! The moment of an agreement that came into force or ended: the rules of oversight evaluate the placements of its parties.
//! There may be many, so each moment is about a page of the placements of one party and sets the moment of the next page.

use std::fmt;

use uuid::Uuid;

use super::rows::AgreementRow;
use crate::codes::organisation::{OrganisationId, OrganisationKind};
use crate::exchange::{Change, RequestContext};
use crate::store::StoreError;
use crate::store::moment::MomentRow;

/// A page of the placements that an agreement concerns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AgreementPage {
    /// The agreement.
    pub agreement: Uuid,
    /// The place of the party in the agreement's list whose placements are listed as those of a provider.
    pub party: usize,
    /// The placement after which the page begins.
    pub after: Uuid,
}

impl AgreementPage {
    /// Returns the first page; `None` if no party teaches children.
    #[must_use]
    pub fn first(agreement: &AgreementRow) -> Option<Self> {
        Self::of_party(agreement, 0)
    }

    /// Returns the first page of the next party that teaches children; `None` behind the last.
    #[must_use]
    pub fn of_next_party(self, agreement: &AgreementRow) -> Option<Self> {
        Self::of_party(agreement, self.party + 1)
    }

    fn of_party(agreement: &AgreementRow, from: usize) -> Option<Self> {
        let teaches = |party: &OrganisationId| {
            matches!(party.kind(), OrganisationKind::Provider | OrganisationKind::School)
        };
        let mut parties = agreement.parties.iter().enumerate().skip(from);
        let (party, _) = parties.find(|(_, party)| teaches(party))?;
        Some(Self { agreement: agreement.id, party, after: Uuid::nil() })
    }

    /// Parses the subject of a moment without its kind.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let mut fields = text.split('/');
        let (agreement, party, after) = (fields.next()?, fields.next()?, fields.next()?);
        let page = Self {
            agreement: Uuid::parse_str(agreement).ok()?,
            party: party.parse().ok()?,
            after: Uuid::parse_str(after).ok()?,
        };
        fields.next().is_none().then_some(page)
    }
}

impl fmt::Display for AgreementPage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "agreement/{}/{}/{}", self.agreement.hyphenated(), self.party, self.after.hyphenated())
    }
}

/// Has the placements of an agreement's parties evaluated now.
pub(super) async fn evaluate_placements(
    cx: &mut RequestContext,
    change: Change,
    agreement: &AgreementRow,
) -> Result<Change, StoreError> {
    let Some(first) = AgreementPage::first(agreement) else { return Ok(change) };
    let now = Some(cx.now);
    let (guard, moment) = MomentRow::schedule(&mut cx.snapshot, first.to_string(), now).await?;
    Ok(change.guard(guard.key, guard.version).append(&moment))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_is_read_from_its_text() {
        let page = AgreementPage { agreement: Uuid::from_u128(7), party: 3, after: Uuid::from_u128(9) };
        let text = page.to_string();
        let (kind, rest) = text.split_once('/').unwrap();
        assert_eq!((kind, AgreementPage::parse(rest)), ("agreement", Some(page)));
        for text in ["", "7/0/9", &format!("{rest}/0"), &rest.replace("/3/", "/x/")] {
            assert_eq!(AgreementPage::parse(text), None, "{text}");
        }
    }
}

//! Roles of the parties to a placement on each day: schools on roll and LA of residence may change during it,
//! commissioner and provider do not. Pure.
//!
//! The newest row of a placement holds the parties of today. Once a party has changed, the row also holds every period
//! of a school on roll or LA of residence. A mark belongs to the parties of its day, whenever it is sent, corrected or
//! read; a notice about the placement goes to the parties of the day on which it is sent.

use super::party_periods::PartyPeriod;
use super::rows::Placement;
use crate::calendar::Date;
use crate::codes::organisation::OrganisationId;
use crate::exchange::{CallerRole, RoleStatus};

/// The extent to which an organisation may read a placement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Everything.
    Full,
    /// Child, commissioner, provider, dates and legal basis: the LA of residence until the placement starts.
    Outline,
    /// The placement as of this day, the last on which the organisation was a party; without the child.
    Former(Date),
}

impl Placement {
    /// Returns the role of an organisation in the placement on a day.
    #[must_use]
    pub fn role_on(&self, organisation: &OrganisationId, day: Date) -> CallerRole {
        let part = self.role_of(organisation);
        if self.party_periods.is_empty() || matches!(part, CallerRole::Commissioner | CallerRole::Provider) {
            return part;
        }
        let mut periods = self.party_periods.iter().filter(|period| period.organisation == *organisation);
        periods.find(|period| period.contains(day)).map_or(CallerRole::NoRole, PartyPeriod::role)
    }

    /// Returns the role in which an organisation reads what belongs to a day, as [`Placement::reading_role`] does for today.
    #[must_use]
    pub fn reading_role_on(&self, organisation: &OrganisationId, day: Date) -> CallerRole {
        match self.role_on(organisation, day) {
            CallerRole::Provider
                if self.role_status() == RoleStatus::Ended && self.is_on_roll(organisation, day) =>
            {
                CallerRole::SchoolOnRoll
            }
            part => part,
        }
    }

    /// Reports whether the child is on the school's roll on a day.
    #[must_use]
    pub fn is_on_roll(&self, school: &OrganisationId, day: Date) -> bool {
        self.schools_on(day).contains(&school)
    }

    /// Returns the schools on whose roll the child is on a day.
    #[must_use]
    pub fn schools_on(&self, day: Date) -> Vec<&OrganisationId> {
        if self.party_periods.is_empty() {
            return self.schools.iter().collect();
        }
        self.parties_on(day, CallerRole::SchoolOnRoll)
    }

    /// Returns the LA of residence on a day; none on a day of which the placement knows none.
    #[must_use]
    pub fn residence_on(&self, day: Date) -> Vec<&OrganisationId> {
        if self.party_periods.is_empty() {
            return vec![&self.residence];
        }
        self.parties_on(day, CallerRole::Residence)
    }

    /// Returns the periods of all schools on roll except one; `None` if no party has changed.
    #[must_use]
    pub fn school_periods_without(&self, school: &OrganisationId) -> Option<Vec<PartyPeriod>> {
        let periods = self.party_periods.iter().filter(|period| period.role() == CallerRole::SchoolOnRoll);
        let others = periods.filter(|period| period.organisation != *school).cloned();
        (!self.party_periods.is_empty()).then(|| others.collect())
    }

    fn parties_on(&self, day: Date, part: CallerRole) -> Vec<&OrganisationId> {
        let periods =
            self.party_periods.iter().filter(|period| period.role() == part && period.contains(day));
        periods.map(|period| &period.organisation).collect()
    }

    /// Returns the recipients of what the provider sends about these days: commissioner, and the schools on roll and
    /// LA of residence of each day, each once, without `except`.
    #[must_use]
    pub fn recipients_on(
        &self,
        days: impl IntoIterator<Item = Date>,
        except: &OrganisationId,
    ) -> Vec<OrganisationId> {
        if self.party_periods.is_empty() {
            return self.recipients(except);
        }
        let mut recipients = vec![&self.commissioner];
        for day in days {
            for party in self.schools_on(day).into_iter().chain(self.parties_on(day, CallerRole::Residence)) {
                if !recipients.contains(&party) {
                    recipients.push(party);
                }
            }
        }
        recipients.into_iter().filter(|party| *party != except).cloned().collect()
    }

    /// Returns the last day of a former party: an organisation that was a school on roll or the LA of residence on a
    /// day of the placement, and has no role now.
    #[must_use]
    pub fn last_day_as_party(&self, organisation: &OrganisationId) -> Option<Date> {
        if self.role_of(organisation) != CallerRole::NoRole {
            return None;
        }
        let start = self.start_date?;
        let periods = self.party_periods.iter().filter(|period| period.organisation == *organisation);
        periods.filter_map(|period| period.until).filter(|until| start <= *until).max()
    }

    /// Reports whether an organisation was ever a school on roll or the LA of residence.
    #[must_use]
    pub fn was_party(&self, organisation: &OrganisationId) -> bool {
        self.party_periods.iter().any(|period| period.organisation == *organisation)
    }

    /// Returns the role that an organisation has, or else had on a day of the placement. It decides whether the
    /// organisation may ask at all; what belongs to a day is then filtered by [`Placement::role_on`].
    #[must_use]
    pub fn reading_role_on_any_day(&self, organisation: &OrganisationId) -> CallerRole {
        let part = self.reading_role(organisation);
        if part != CallerRole::NoRole || self.last_day_as_party(organisation).is_none() {
            return part;
        }
        let mut periods = self.party_periods.iter().filter(|period| period.organisation == *organisation);
        periods.next().map_or(CallerRole::NoRole, PartyPeriod::role)
    }

    /// Returns the extent to which an organisation may read the placement by its role; `None` without a role. The
    /// policy is not consulted.
    #[must_use]
    pub fn access_by_role(&self, organisation: &OrganisationId) -> Option<Access> {
        match self.reading_role(organisation) {
            CallerRole::NoRole => self.last_day_as_party(organisation).map(Access::Former),
            CallerRole::Residence if self.start_date.is_none() => Some(Access::Outline),
            _ => Some(Access::Full),
        }
    }

    /// Replaces schools on roll and LA of residence from a day on, and discards what was recorded for later days. A
    /// party that remains keeps its first day.
    pub fn change_parties(&mut self, schools: Vec<OrganisationId>, residence: OrganisationId, from: Date) {
        let before = if self.party_periods.is_empty() {
            let always = |organisation: &OrganisationId| PartyPeriod {
                organisation: organisation.clone(),
                from: None,
                until: None,
            };
            self.schools.iter().chain([&self.residence]).map(always).collect()
        } else {
            std::mem::take(&mut self.party_periods)
        };
        // The first day of the calendar has no previous day.
        let last = from.previous().unwrap_or(from);
        for mut period in before.into_iter().filter(|period| period.from.is_none_or(|first| first < from)) {
            let stays = schools.contains(&period.organisation) || residence == period.organisation;
            if period.until.is_none_or(|until| from <= until) {
                period.until = if stays { None } else { Some(last) };
            }
            if period.until.is_none_or(|until| until < from) {
                self.party_periods.push(period);
            }
        }
        for party in schools.iter().chain([&residence]) {
            let goes_on = |period: &PartyPeriod| period.organisation == *party && period.until.is_none();
            if !self.party_periods.iter().any(goes_on) {
                let organisation = party.clone();
                self.party_periods.push(PartyPeriod { organisation, from: Some(from), until: None });
            }
        }
        (self.schools, self.residence) = (schools, residence);
    }
}

#[cfg(test)]
mod tests;

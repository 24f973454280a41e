//! Who has which part in a placement on which day: schools on roll and LA of residence may change during it,
//! commissioner and provider do not. Pure.
//!
//! The newest row of a placement holds the parties of today, and, once any of them has changed, every period in
//! which an organisation had such a part. A mark belongs to the party of its day, whenever it is sent, corrected or
//! read; a notice about the placement goes to the parties of the day on which it is sent.

use super::rows::Placement;
use crate::calendar::Date;
use crate::codes::organisation::{OrganisationId, OrganisationKind};
use crate::exchange::{Part, Standing};
use crate::proto::v1;

/// A time in which an organisation is a school on roll or the LA of residence, as its kind says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PartyPeriod {
    /// The school or the LA.
    pub organisation: OrganisationId,
    /// First day; none where it was a party from the referral on.
    pub from: Option<Date>,
    /// Last day; none while it is a party.
    pub until: Option<Date>,
}

impl PartyPeriod {
    /// Reports whether a day lies in the period.
    #[must_use]
    pub fn contains(&self, day: Date) -> bool {
        self.from.is_none_or(|from| from <= day) && self.until.is_none_or(|until| day <= until)
    }

    /// The part in the placement.
    #[must_use]
    pub fn part(&self) -> Part {
        if self.organisation.kind() == OrganisationKind::La { Part::Residence } else { Part::SchoolOnRoll }
    }

    /// Builds the period's message.
    #[must_use]
    pub fn message(&self) -> v1::PartyPeriod {
        let day = |day: Option<Date>| day.map(|day| day.to_string()).unwrap_or_default();
        v1::PartyPeriod {
            organisation: self.organisation.to_string(),
            from_date: day(self.from),
            until_date: day(self.until),
        }
    }

    /// The period as text: organisation, first day and last day, `-` for an open end.
    fn to_text(&self) -> String {
        let day = |day: Option<Date>| day.map_or_else(|| "-".to_owned(), |day| day.to_string());
        format!("{} {} {}", self.organisation.as_str(), day(self.from), day(self.until))
    }

    fn from_text(text: &str) -> Option<Self> {
        let day = |text: &str| if text == "-" { Some(None) } else { Date::parse(text).ok().map(Some) };
        let mut words = text.split(' ');
        let organisation = OrganisationId::parse(words.next()?).ok()?;
        Some(Self { organisation, from: day(words.next()?)?, until: day(words.next()?)? })
    }
}

/// Encodes periods for their column; empty where no party has changed.
#[must_use]
pub fn to_text(periods: &[PartyPeriod]) -> String {
    periods.iter().map(PartyPeriod::to_text).collect::<Vec<_>>().join(",")
}

/// Decodes the column; none where it holds anything else.
#[must_use]
pub fn from_text(text: &str) -> Option<Vec<PartyPeriod>> {
    text.split(',').filter(|period| !period.is_empty()).map(PartyPeriod::from_text).collect()
}

/// How much of a placement an organisation may read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Everything.
    Whole,
    /// Child, commissioner, provider, dates and legal basis: the LA of residence until the placement starts.
    Outline,
    /// What stood until this day, the last on which the organisation was a party; no child.
    Former(Date),
}

impl Placement {
    /// The part that an organisation has in the placement on a day.
    #[must_use]
    pub fn part_on(&self, organisation: &OrganisationId, day: Date) -> Part {
        let part = self.part_of(organisation);
        if self.periods.is_empty() || matches!(part, Part::Commissioner | Part::Provider) {
            return part;
        }
        let mut periods = self.periods.iter().filter(|period| period.organisation == *organisation);
        periods.find(|period| period.contains(day)).map_or(Part::None, PartyPeriod::part)
    }

    /// The part in which an organisation reads what belongs to a day, as [`Placement::reader`] for today.
    #[must_use]
    pub fn reader_on(&self, organisation: &OrganisationId, day: Date) -> Part {
        match self.part_on(organisation, day) {
            Part::Provider if self.standing() == Standing::Ended && self.is_on_roll(organisation, day) => {
                Part::SchoolOnRoll
            }
            part => part,
        }
    }

    /// Reports whether the child is on the school's roll on a day.
    #[must_use]
    pub fn is_on_roll(&self, school: &OrganisationId, day: Date) -> bool {
        self.schools_on(day).contains(&school)
    }

    /// The schools on whose roll the child is on a day.
    #[must_use]
    pub fn schools_on(&self, day: Date) -> Vec<&OrganisationId> {
        if self.periods.is_empty() {
            return self.schools.iter().collect();
        }
        self.parties_on(day, Part::SchoolOnRoll)
    }

    /// The periods of schools on roll other than one; none while no party has changed.
    #[must_use]
    pub fn school_periods_without(&self, school: &OrganisationId) -> Option<Vec<PartyPeriod>> {
        let periods = self.periods.iter().filter(|period| period.part() == Part::SchoolOnRoll);
        let others = periods.filter(|period| period.organisation != *school).cloned();
        (!self.periods.is_empty()).then(|| others.collect())
    }

    fn parties_on(&self, day: Date, part: Part) -> Vec<&OrganisationId> {
        let periods = self.periods.iter().filter(|period| period.part() == part && period.contains(day));
        periods.map(|period| &period.organisation).collect()
    }

    /// Recipients of what the provider sends about these days: commissioner, and the schools on roll and LA of
    /// residence of each day, each once, without `except`.
    #[must_use]
    pub fn recipients_on(
        &self,
        days: impl IntoIterator<Item = Date>,
        except: &OrganisationId,
    ) -> Vec<OrganisationId> {
        if self.periods.is_empty() {
            return self.recipients(except);
        }
        let mut recipients = vec![&self.commissioner];
        for day in days {
            for party in self.schools_on(day).into_iter().chain(self.parties_on(day, Part::Residence)) {
                if !recipients.contains(&party) {
                    recipients.push(party);
                }
            }
        }
        recipients.into_iter().filter(|party| *party != except).cloned().collect()
    }

    /// The last day of an organisation that was a school on roll or the LA of residence on a day of the placement and
    /// is none now.
    #[must_use]
    pub fn left_on(&self, organisation: &OrganisationId) -> Option<Date> {
        if self.part_of(organisation) != Part::None {
            return None;
        }
        let start = self.start?;
        let periods = self.periods.iter().filter(|period| period.organisation == *organisation);
        periods.filter_map(|period| period.until).filter(|until| start <= *until).max()
    }

    /// Reports whether an organisation was ever a school on roll or the LA of residence.
    #[must_use]
    pub fn had_part(&self, organisation: &OrganisationId) -> bool {
        self.periods.iter().any(|period| period.organisation == *organisation)
    }

    /// The part that an organisation has, or else had on a day of the placement: what it may ask about at all. What
    /// belongs to a day is then cut by [`Placement::part_on`].
    #[must_use]
    pub fn reader_of_any_day(&self, organisation: &OrganisationId) -> Part {
        let part = self.reader(organisation);
        if part != Part::None || self.left_on(organisation).is_none() {
            return part;
        }
        let mut periods = self.periods.iter().filter(|period| period.organisation == *organisation);
        periods.next().map_or(Part::None, PartyPeriod::part)
    }

    /// How much of the placement an organisation may read, as far as its part goes; none without one.
    #[must_use]
    pub fn access(&self, organisation: &OrganisationId) -> Option<Access> {
        match self.reader(organisation) {
            Part::None => self.left_on(organisation).map(Access::Former),
            Part::Residence if self.start.is_none() => Some(Access::Outline),
            _ => Some(Access::Whole),
        }
    }

    /// Replaces schools on roll and LA of residence from a day on, whatever was recorded for later days. Who stays
    /// keeps its first day.
    pub fn change_parties(&mut self, schools: Vec<OrganisationId>, residence: OrganisationId, from: Date) {
        let before = if self.periods.is_empty() {
            let always = |organisation: &OrganisationId| PartyPeriod {
                organisation: organisation.clone(),
                from: None,
                until: None,
            };
            self.schools.iter().chain([&self.residence]).map(always).collect()
        } else {
            std::mem::take(&mut self.periods)
        };
        // The first day of the calendar has none before it.
        let last = from.previous().unwrap_or(from);
        for mut period in before.into_iter().filter(|period| period.from.is_none_or(|first| first < from)) {
            let stays = schools.contains(&period.organisation) || residence == period.organisation;
            if period.until.is_none_or(|until| from <= until) {
                period.until = if stays { None } else { Some(last) };
            }
            if period.until.is_none_or(|until| until < from) {
                self.periods.push(period);
            }
        }
        for party in schools.iter().chain([&residence]) {
            let goes_on = |period: &PartyPeriod| period.organisation == *party && period.until.is_none();
            if !self.periods.iter().any(goes_on) {
                let organisation = party.clone();
                self.periods.push(PartyPeriod { organisation, from: Some(from), until: None });
            }
        }
        (self.schools, self.residence) = (schools, residence);
    }
}

#[cfg(test)]
mod tests;

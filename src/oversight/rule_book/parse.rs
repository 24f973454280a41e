//! The parser of `rules.toml`. A fault names the line and the key.

use std::collections::BTreeMap;
use std::ops::{Range, RangeInclusive};

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::parameter::is_never_above;
use super::{Bundle, Delay, Parameter, PartyRole, Recipient, RuleBook, RuleSettings};
use crate::calendar::{Date, DateError, TimeOfDay};
use crate::oversight::act_by::{ActWithin, SchoolHours};
use crate::oversight::findings;
use crate::oversight::rule_id::RuleId;
use crate::oversight::rules::{self, AnyRule};
use crate::oversight::severity::Severity;

/// Largest number of school days, about a school year.
const MAX_SCHOOL_DAYS: i64 = 200;
/// Largest number of minutes, a week.
const MAX_MINUTES: i64 = 10_080;
/// Largest number of escalations.
const MAX_ESCALATIONS: i64 = 2;

/// A fault of a file of rules.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RuleBookFault {
    /// The line, from 1.
    pub line: usize,
    /// The key and its fault.
    pub what: String,
}

type Value<'i> = Spanned<DeValue<'i>>;

/// A table of the file with its dotted key.
struct Section<'a, 'i> {
    text: &'a str,
    key: String,
    span: Range<usize>,
    table: &'a DeTable<'i>,
}

/// Parses a text onto a rule book: what the text holds replaces what the book holds.
pub(super) fn parse(text: &str, mut book: RuleBook) -> Result<RuleBook, RuleBookFault> {
    let table = DeTable::parse(text).map_err(|error| {
        let span = error.span().unwrap_or(0..0);
        let message = error.message().lines().collect::<Vec<_>>().join(" ");
        if message == "duplicate key" {
            return fault(text, &span, &duplicate_key(text, &span), "is there twice");
        }
        fault(text, &span, "the file", &format!("is no TOML: {message}"))
    })?;
    let file = Section { text, key: String::new(), span: table.span(), table: table.get_ref() };
    file.require_known(&["life", "severity", "rules"])?;
    if let Some(life) = file.section("life")? {
        parse_life(&life, &mut book)?;
    }
    if let Some(severities) = file.section("severity")? {
        for severity in severities.sections()? {
            parse_severity(&severity, &mut book)?;
        }
    }
    if let Some(rules) = file.section("rules")? {
        for rule in rules.sections()? {
            let (id, settings) = parse_rule(&rule)?;
            book.rules.insert(id, settings);
        }
    }
    Ok(book)
}

fn parse_life(life: &Section<'_, '_>, book: &mut RuleBook) -> Result<(), RuleBookFault> {
    let (from, to) = ("school_hours_from", "school_hours_to");
    let (escalations, resolved) = ("escalations", "reopen_resolved_after_school_days");
    let closed = "reopen_closed_within_school_days";
    life.require_known(&[from, to, escalations, resolved, closed])?;
    let SchoolHours { from: present_from, to: present_to } = book.school_hours;
    book.school_hours = SchoolHours {
        from: life.time(from)?.unwrap_or(present_from),
        to: life.time(to)?.unwrap_or(present_to),
    };
    if book.school_hours.from >= book.school_hours.to {
        return Err(life.fault_at(to, "must be later than school_hours_from"));
    }
    if let Some(number) = life.number(escalations, 0..=MAX_ESCALATIONS)? {
        book.escalations = number;
    }
    if let Some(number) = life.number(resolved, 1..=MAX_SCHOOL_DAYS)? {
        book.reopen_resolved_after_school_days = number;
    }
    if let Some(number) = life.number(closed, 1..=MAX_SCHOOL_DAYS)? {
        book.reopen_closed_within_school_days = number;
    }
    Ok(())
}

fn parse_severity(section: &Section<'_, '_>, book: &mut RuleBook) -> Result<(), RuleBookFault> {
    let (minutes, days) = ("act_within_school_minutes", "act_within_school_days");
    section.require_known(&[minutes, days])?;
    let number = section.name().parse().ok().and_then(Severity::from_number);
    // `01` is a key of its own beside `1`.
    let number = number.filter(|severity| severity.number().to_string() == section.name());
    let severity = number.ok_or_else(|| section.fault("is not a severity from 1 to 3"))?;
    let within = match (section.number(minutes, 1..=MAX_MINUTES)?, section.number(days, 1..=MAX_SCHOOL_DAYS)?)
    {
        (Some(minutes), None) => ActWithin::SchoolMinutes(minutes),
        (None, Some(days)) => ActWithin::SchoolDays(days),
        _ => return Err(section.fault(&format!("needs exactly one of {minutes} and {days}"))),
    };
    book.act_within.insert(severity, within);
    Ok(())
}

fn parse_rule(section: &Section<'_, '_>) -> Result<(RuleId, RuleSettings), RuleBookFault> {
    section.require_known(&["from", "findings", "severity", "recipients", "bundle", "parameters"])?;
    let id = RuleId::parse(section.name()).ok_or_else(|| section.fault("is not a rule of this release"))?;
    let severity = section.number("severity", 1..=3)?.and_then(|number| Severity::from_number(number.into()));
    let settings = RuleSettings {
        from: section.date("from")?,
        findings: parse_findings(section)?,
        severity: severity.ok_or_else(|| section.fault("needs a severity"))?,
        recipients: parse_recipients(id, section)?,
        bundle: parse_bundle(id, section)?,
        parameters: parse_parameters(id, section)?,
    };
    if settings.findings.is_empty() || settings.recipients.is_empty() {
        return Err(section.fault("needs findings and recipients"));
    }
    if settings.bundle.is_some() && settings.recipients.iter().any(|recipient| recipient.after.is_some()) {
        return Err(section.fault_at("bundle", "tells everybody at once, so no recipient may have a delay"));
    }
    Ok((id, settings))
}

/// Parses the findings of the review that a rule answers, each one of the table of findings and named once.
fn parse_findings(rule: &Section<'_, '_>) -> Result<Vec<String>, RuleBookFault> {
    let key = "findings";
    let mut parsed: Vec<String> = Vec::new();
    for (name, span) in rule.texts(key)? {
        if !findings::all().iter().any(|finding| finding.finding == name) {
            return Err(rule.fault_in(
                &span,
                key,
                &format!("may not hold {name:?}, which is no finding of the review"),
            ));
        }
        if parsed.iter().any(|earlier| earlier == name) {
            return Err(rule.fault_in(&span, key, &format!("holds {name} twice")));
        }
        parsed.push(name.to_owned());
    }
    Ok(parsed)
}

/// Parses who is told: each one whom the rule may tell, once.
fn parse_recipients(id: RuleId, rule: &Section<'_, '_>) -> Result<Vec<Recipient>, RuleBookFault> {
    let key = "recipients";
    let mut recipients: Vec<Recipient> = Vec::new();
    for item in rule.list(key)? {
        let (name, recipient) = parse_recipient(rule, key, item)?;
        if !rules::may_tell(id).contains(&recipient.party) {
            let message = format!("may not hold {name}, who may not read everything on which the rule rests");
            return Err(rule.fault_in(&item.span(), key, &message));
        }
        if recipients.iter().any(|earlier| earlier.party == recipient.party) {
            return Err(rule.fault_in(&item.span(), key, &format!("holds {name} twice")));
        }
        recipients.push(recipient);
    }
    Ok(recipients)
}

/// Parses a recipient: the name of a party, or a table with it and a delay. Returns the name too.
fn parse_recipient<'a, 'i>(
    rule: &Section<'a, 'i>,
    key: &str,
    item: &'a Value<'i>,
) -> Result<(&'a str, Recipient), RuleBookFault> {
    let unknown = || {
        let names = PartyRole::NAMES.map(|(known, _)| known).join(", ");
        let message =
            format!("may hold {names}, each also as {{ party, after_minutes or after_school_days }}");
        rule.fault_in(&item.span(), key, &message)
    };
    let party = |name: &str| PartyRole::NAMES.iter().find(|(known, _)| *known == name).map(|(_, role)| *role);
    if let Some(name) = item.get_ref().as_str() {
        return Ok((name, Recipient { party: party(name).ok_or_else(unknown)?, after: None }));
    }
    let delayed = rule.child(key, item)?;
    let (minutes, days) = ("after_minutes", "after_school_days");
    delayed.require_known(&["party", minutes, days])?;
    let (name, _) = delayed.text("party")?.ok_or_else(unknown)?;
    let party = party(name).ok_or_else(unknown)?;
    let after = match (delayed.number(minutes, 1..=MAX_MINUTES)?, delayed.number(days, 1..=MAX_SCHOOL_DAYS)?)
    {
        (Some(minutes), None) => Delay::Minutes(minutes),
        (None, Some(days)) => Delay::SchoolDays(days),
        _ => return Err(delayed.fault(&format!("needs exactly one of {minutes} and {days}"))),
    };
    Ok((name, Recipient { party, after: Some(after) }))
}

/// Parses whose placements share an alert. Only a rule about a placement has it.
fn parse_bundle(id: RuleId, rule: &Section<'_, '_>) -> Result<Option<Bundle>, RuleBookFault> {
    let Some((name, span)) = rule.text("bundle")? else { return Ok(None) };
    if !matches!(rules::by_id(id), Some(AnyRule::OfPlacement(_))) {
        return Err(rule.fault_in(&span, "bundle", "is for rules about a placement"));
    }
    let found = Bundle::NAMES.iter().find(|(known, _)| *known == name).map(|(_, bundle)| Some(*bundle));
    let names = Bundle::NAMES.map(|(known, _)| known).join(" or ");
    found.ok_or_else(|| rule.fault_in(&span, "bundle", &format!("may be {names}")))
}

/// Parses the parameters of a rule: exactly those that it declares.
fn parse_parameters(
    id: RuleId,
    rule: &Section<'_, '_>,
) -> Result<BTreeMap<String, Vec<(Date, u32)>>, RuleBookFault> {
    let declared = rules::parameters(id);
    let mut parameters: BTreeMap<String, Vec<(Date, u32)>> = BTreeMap::new();
    let section = rule.section("parameters")?;
    if let Some(section) = &section {
        section.require_known(&declared.iter().map(|parameter| parameter.name).collect::<Vec<_>>())?;
    }
    for Parameter { name, min, max, .. } in declared {
        let range = i64::from(*min)..=i64::from(*max);
        let values =
            section.as_ref().map_or(Ok(Vec::new()), |section| section.dated_numbers(name, &range))?;
        if values.is_empty() {
            return Err(rule.fault(&format!("needs parameters.{name}, a list of {{ from, value }}")));
        }
        parameters.insert((*name).to_owned(), values);
    }
    for (name, other) in declared.iter().filter_map(|parameter| Some((parameter.name, parameter.not_above?)))
    {
        let (values, others) = (parameters.get(name), parameters.get(other));
        if !values.zip(others).is_none_or(|(values, others)| is_never_above(values, others)) {
            let message = format!("must not be above {other} on any day");
            return Err(section.as_ref().unwrap_or(rule).fault_at(name, &message));
        }
    }
    Ok(parameters)
}

impl<'a, 'i> Section<'a, 'i> {
    /// Returns the last part of the key.
    fn name(&self) -> &str {
        self.key.rsplit('.').next().unwrap_or_default()
    }

    fn child(&self, name: &str, value: &'a Value<'i>) -> Result<Self, RuleBookFault> {
        let key = if self.key.is_empty() { name.to_owned() } else { format!("{}.{name}", self.key) };
        let table = value.get_ref().as_table();
        let table = table.ok_or_else(|| fault(self.text, &value.span(), &key, "must be a table"))?;
        Ok(Self { text: self.text, key, span: value.span(), table })
    }

    /// Returns a table of this one.
    fn section(&self, name: &str) -> Result<Option<Self>, RuleBookFault> {
        self.table.get(name).map(|value| self.child(name, value)).transpose()
    }

    /// Returns every table of this one.
    fn sections(&self) -> Result<Vec<Self>, RuleBookFault> {
        self.table.iter().map(|(name, value)| self.child(name.get_ref(), value)).collect()
    }

    fn require_known(&self, known: &[&str]) -> Result<(), RuleBookFault> {
        for (name, _) in self.table {
            if !known.contains(&name.get_ref().as_ref()) {
                let key = if self.key.is_empty() {
                    name.get_ref().to_string()
                } else {
                    format!("{}.{}", self.key, name.get_ref())
                };
                let message = format!("is unknown; known are {}", known.join(", "));
                return Err(fault(self.text, &name.span(), &key, message.trim_end_matches("; known are ")));
            }
        }
        Ok(())
    }

    fn number(&self, name: &str, range: RangeInclusive<i64>) -> Result<Option<u32>, RuleBookFault> {
        let Some(value) = self.table.get(name) else { return Ok(None) };
        let number = integer(value.get_ref()).filter(|number| range.contains(number));
        let number = number.and_then(|number| u32::try_from(number).ok());
        let message = || format!("must be a whole number from {} to {}", range.start(), range.end());
        number.map(Some).ok_or_else(|| self.fault_in(&value.span(), name, &message()))
    }

    fn text(&self, name: &str) -> Result<Option<(&'a str, Range<usize>)>, RuleBookFault> {
        let Some(value) = self.table.get(name) else { return Ok(None) };
        let text = value.get_ref().as_str().map(|text| (text, value.span()));
        text.map(Some).ok_or_else(|| self.fault_in(&value.span(), name, "must be a text"))
    }

    fn time(&self, name: &str) -> Result<Option<TimeOfDay>, RuleBookFault> {
        let Some((text, span)) = self.text(name)? else { return Ok(None) };
        let time = TimeOfDay::parse(text).map(Some);
        time.map_err(|error| self.fault_in(&span, name, &format!("is {error}")))
    }

    /// Returns a day; an empty text is none, because nobody has published it.
    fn date(&self, name: &str) -> Result<Option<Date>, RuleBookFault> {
        let Some((text, span)) = self.text(name)? else { return Ok(None) };
        if text.is_empty() {
            return Ok(None);
        }
        Date::parse(text).map(Some).map_err(|error| {
            let message = match error {
                DateError::Range => "must be a day of the years 1900 to 2100".to_owned(),
                DateError::Format | DateError::Invalid => format!("is {error}"),
            };
            self.fault_in(&span, name, &message)
        })
    }

    fn list(&self, name: &str) -> Result<&'a [Value<'i>], RuleBookFault> {
        let Some(value) = self.table.get(name) else { return Ok(&[]) };
        let items = value.get_ref().as_array().map(|items| &items[..]);
        items.ok_or_else(|| self.fault_in(&value.span(), name, "must be a list"))
    }

    fn texts(&self, name: &str) -> Result<Vec<(&'a str, Range<usize>)>, RuleBookFault> {
        let Some(value) = self.table.get(name) else { return Ok(Vec::new()) };
        let texts = value.get_ref().as_array().map(|array| {
            array.iter().map(|text| Some((text.get_ref().as_str()?, text.span()))).collect::<Option<Vec<_>>>()
        });
        texts.flatten().ok_or_else(|| self.fault_in(&value.span(), name, "must be a list of texts"))
    }

    /// Returns the values of a parameter with the days from which they hold.
    fn dated_numbers(
        &self,
        name: &str,
        range: &RangeInclusive<i64>,
    ) -> Result<Vec<(Date, u32)>, RuleBookFault> {
        let Some(value) = self.table.get(name) else { return Ok(Vec::new()) };
        let items = value.get_ref().as_array();
        let items =
            items.ok_or_else(|| self.fault_in(&value.span(), name, "must be a list of { from, value }"))?;
        let mut values: Vec<(Date, u32)> = Vec::new();
        for item in items {
            let item = self.child(name, item)?;
            item.require_known(&["from", "value"])?;
            let (Some(from), Some(number)) = (item.date("from")?, item.number("value", range.clone())?)
            else {
                return Err(item.fault("needs from and value"));
            };
            if values.last().is_some_and(|(earlier, _)| *earlier >= from) {
                return Err(item.fault_at("from", "must be later than the one before"));
            }
            values.push((from, number));
        }
        Ok(values)
    }

    fn fault(&self, message: &str) -> RuleBookFault {
        fault(self.text, &self.span, &self.key, message)
    }

    /// Makes a fault at a key of the table, or at the table if it lacks the key.
    fn fault_at(&self, name: &str, message: &str) -> RuleBookFault {
        let span = self.table.get(name).map_or_else(|| self.span.clone(), Spanned::span);
        self.fault_in(&span, name, message)
    }

    fn fault_in(&self, span: &Range<usize>, name: &str, message: &str) -> RuleBookFault {
        fault(self.text, span, &format!("{}.{name}", self.key), message)
    }
}

fn fault(text: &str, span: &Range<usize>, key: &str, message: &str) -> RuleBookFault {
    let before = text.get(..span.start).unwrap_or_default();
    RuleBookFault { line: before.matches('\n').count() + 1, what: format!("{key} {message}") }
}

/// Returns the key that a text holds twice, with that of its table.
fn duplicate_key(text: &str, span: &Range<usize>) -> String {
    let before = text.get(..span.start).unwrap_or_default();
    let header = |line: &str| Some(line.trim().strip_prefix('[')?.split(']').next()?.trim().to_owned());
    let line_start = before.rfind('\n').map_or(0, |at| at + 1);
    if let Some(table) = text.get(line_start..).and_then(|rest| rest.lines().next()).and_then(header) {
        return table;
    }
    let key = text.get(span.clone()).unwrap_or_default().trim();
    let table = before.lines().rev().find_map(header);
    table.map_or_else(|| key.to_owned(), |table| format!("{table}.{key}"))
}

/// Returns the value as an integer, or `None` beyond 64 bits.
fn integer(value: &DeValue<'_>) -> Option<i64> {
    let number = value.as_integer()?;
    i64::from_str_radix(number.as_str(), number.radix()).ok()
}

#[cfg(test)]
mod tests;

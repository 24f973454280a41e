//! Readers of fields that many messages share: request ids, texts, lists, and people.

use uuid::Uuid;

use super::{Check, TextRule};
use crate::proto::v1::{Contact, Officer, PlanQualification, RoleCode, View};
use crate::violation_reason::ViolationReason;

/// Longest one-line text (a person's name, a role, a site), in code points.
pub const MAX_LINE_CHARS: usize = 200;
/// Longest note, in code points.
pub const MAX_NOTE_CHARS: usize = 4_000;
/// Maximum number of items of a list inside a message, unless the field states another maximum.
pub const MAX_LIST_ITEMS: usize = 50;

impl Check {
    /// Reads a request id: a UUID in lower case with hyphens, not nil.
    pub fn request_id(&mut self, sent: &str) {
        let exact = |sent: &str| {
            let id = Uuid::try_parse(sent).ok().filter(|id| !id.is_nil());
            id.filter(|id| id.hyphenated().to_string() == sent).ok_or(ViolationReason::IdempotencyKeyFormat)
        };
        self.parsed("request_id", sent, exact);
    }

    /// Reads a text as [`Check::text`]; returns an empty text in place of `None`.
    pub fn text_or_empty(&mut self, field: &'static str, sent: &str, rule: TextRule) -> String {
        self.text(field, sent, rule).unwrap_or_default()
    }

    /// Reads every item of a list of at most [`MAX_LIST_ITEMS`] items, each at its own path.
    pub fn read_list<T, U>(
        &mut self,
        field: &'static str,
        sent: &[T],
        mut one: impl FnMut(&mut Self, &T) -> U,
    ) -> Vec<U> {
        if !self.list_len(field, sent.len(), MAX_LIST_ITEMS) {
            return Vec::new();
        }
        sent.iter().enumerate().map(|(index, sent)| one(&mut self.enter(field).index(index), sent)).collect()
    }

    /// Reads the officer who acts: required, with a name.
    pub fn officer(&mut self, field: &'static str, sent: Option<&Officer>) -> Option<Officer> {
        let sent = self.present(field, sent)?;
        Some(self.enter(field).officer_fields(sent))
    }

    /// Reads an optional field as [`Check::officer`].
    pub fn optional_officer(&mut self, field: &'static str, sent: Option<&Officer>) -> Option<Officer> {
        sent.and_then(|sent| self.officer(field, Some(sent)))
    }

    /// Reads an officer's name and role at the current path. What is read is not attested:
    /// [`RequestContext::attest`](crate::exchange::RequestContext::attest) does that.
    pub fn officer_fields(&mut self, sent: &Officer) -> Officer {
        if sent.attested {
            self.add_violation("attested", ViolationReason::FieldOutputOnly);
        }
        let role_code = self.optional_enum::<RoleCode>("role_code", sent.role_code);
        Officer {
            role_code: role_code.map_or(0, i32::from),
            attested: false,
            name: self.text_or_empty("name", &sent.name, TextRule::legal_name(MAX_LINE_CHARS).required()),
            role: self.text_or_empty("role", &sent.role, TextRule::line(MAX_LINE_CHARS)),
        }
    }

    /// Reads a contact at the current path.
    pub fn contact(&mut self, sent: &Contact) -> Contact {
        Contact {
            name: self.text_or_empty("name", &sent.name, TextRule::legal_name(MAX_LINE_CHARS).required()),
            role: self.text_or_empty("role", &sent.role, TextRule::line(MAX_LINE_CHARS)),
            telephone: self.phone("telephone", &sent.telephone).unwrap_or_default(),
            email: self.email("email", &sent.email).unwrap_or_default(),
        }
    }

    /// Reads a planned qualification at the current path.
    pub fn qualification(&mut self, sent: &PlanQualification) -> PlanQualification {
        PlanQualification {
            qan: self.text_or_empty("qan", &sent.qan, TextRule::line(12)),
            title: self.text_or_empty("title", &sent.title, TextRule::line(MAX_LINE_CHARS).required()),
            level: self.text_or_empty("level", &sent.level, TextRule::line(20)),
            board: self.text_or_empty("board", &sent.board, TextRule::line(MAX_LINE_CHARS)),
            entry_series: self.text_or_empty(
                "entry_series",
                &sent.entry_series,
                TextRule::line(MAX_LINE_CHARS),
            ),
        }
    }

    /// Reads a view, or the reason why there is none. Returns `None` if both are empty.
    pub fn view(&mut self, field: &'static str, sent: Option<&View>) -> Option<View> {
        let sent = sent?;
        let mut check = self.enter(field);
        let view = View {
            text: check.text_or_empty("text", &sent.text, TextRule::notes(MAX_NOTE_CHARS)),
            not_given_reason: check.text_or_empty(
                "not_given_reason",
                &sent.not_given_reason,
                TextRule::notes(MAX_NOTE_CHARS),
            ),
        };
        (!view.text.is_empty() || !view.not_given_reason.is_empty()).then_some(view)
    }
}

//! Readers of what many messages have in common: request ids, texts, lists, and people.

use uuid::Uuid;

use super::{Check, TextRule};
use crate::proto::v1::{Contact, Officer, PlanQualification, View};

/// Code points of a person's name, a role, a site: one line.
pub const LINE: usize = 200;
/// Code points of a note.
pub const NOTE: usize = 4_000;
/// Most entries of a list inside a message, where nothing else is said.
pub const LIST: usize = 50;

impl Check {
    /// A request id: a UUID as its maker wrote it.
    pub fn request_id(&mut self, sent: &str) {
        let exact = |sent: &str| {
            let id = Uuid::try_parse(sent).ok().filter(|id| !id.is_nil());
            id.filter(|id| id.hyphenated().to_string() == sent).ok_or("IDEMPOTENCY_KEY_FORMAT")
        };
        self.parsed("request_id", sent, exact);
    }

    /// As [`Check::text`], empty where there is none.
    pub fn words(&mut self, field: &'static str, sent: &str, rule: TextRule) -> String {
        self.text(field, sent, rule).unwrap_or_default()
    }

    /// Every entry of a list of at most [`LIST`], each read at its own path.
    pub fn each<T, U>(
        &mut self,
        field: &'static str,
        sent: &[T],
        mut one: impl FnMut(&mut Self, &T) -> U,
    ) -> Vec<U> {
        if !self.list_len(field, sent.len(), LIST) {
            return Vec::new();
        }
        sent.iter().enumerate().map(|(at, sent)| one(&mut self.at(field).index(at), sent)).collect()
    }

    /// A person acting, who must be there and have a name.
    pub fn person(&mut self, field: &'static str, sent: Option<&Officer>) -> Option<Officer> {
        let sent = self.present(field, sent)?;
        Some(self.at(field).named(sent))
    }

    /// As [`Check::person`], or nobody yet.
    pub fn optional_person(&mut self, field: &'static str, sent: Option<&Officer>) -> Option<Officer> {
        sent.and_then(|sent| self.person(field, Some(sent)))
    }

    /// A person's name and role, at this place.
    pub fn named(&mut self, sent: &Officer) -> Officer {
        Officer {
            name: self.words("name", &sent.name, TextRule::legal_name(LINE).required()),
            role: self.words("role", &sent.role, TextRule::line(LINE)),
        }
    }

    /// Somebody who can be reached, at this place.
    pub fn contact(&mut self, sent: &Contact) -> Contact {
        Contact {
            name: self.words("name", &sent.name, TextRule::legal_name(LINE).required()),
            role: self.words("role", &sent.role, TextRule::line(LINE)),
            telephone: self.phone("telephone", &sent.telephone).unwrap_or_default(),
            email: self.email("email", &sent.email).unwrap_or_default(),
        }
    }

    /// A qualification that is worked towards, at this place.
    pub fn qualification(&mut self, sent: &PlanQualification) -> PlanQualification {
        PlanQualification {
            qan: self.words("qan", &sent.qan, TextRule::line(12)),
            title: self.words("title", &sent.title, TextRule::line(LINE).required()),
            level: self.words("level", &sent.level, TextRule::line(20)),
            board: self.words("board", &sent.board, TextRule::line(LINE)),
            entry_series: self.words("entry_series", &sent.entry_series, TextRule::line(LINE)),
        }
    }

    /// A view, or why there is none; neither is also an answer.
    pub fn view(&mut self, field: &'static str, sent: Option<&View>) -> Option<View> {
        let sent = sent?;
        let mut check = self.at(field);
        let view = View {
            text: check.words("text", &sent.text, TextRule::notes(NOTE)),
            not_given_reason: check.words("not_given_reason", &sent.not_given_reason, TextRule::notes(NOTE)),
        };
        (!view.text.is_empty() || !view.not_given_reason.is_empty()).then_some(view)
    }
}

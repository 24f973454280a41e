//! The need-to-know table: which part of a passport a system and each role read, for which purpose and under which
//! agreement. It is one pure function, [`Reader::visibility`], whose whole table is a golden file. Whatever shows a
//! passport is cut by it, also to the sender's own systems and persons.

use crate::exchange::RoleStatus;
use crate::proto::v1::{PassportBlockKind as Kind, PassportSafeguarding, Purpose, RoleCode, Sensitivity};

/// Part of a passport that the table tells apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Part {
    /// A block of sensitivity OPEN.
    Open,
    /// A block of sensitivity `PROVISION_CRITICAL`.
    ProvisionCritical,
    /// A block that its sender raised to RESTRICTED.
    Raised,
    /// The HEALTH block.
    Health,
    /// The SAFEGUARDING block without the three parts below.
    Safeguarding,
    /// The persons of the SAFEGUARDING block who must have no contact.
    NoContact,
    /// The address in the SAFEGUARDING block.
    Address,
    /// The youth justice information of the SAFEGUARDING block.
    YouthJustice,
}

impl Part {
    /// The parts of a SAFEGUARDING block.
    pub const OF_SAFEGUARDING: [Self; 4] =
        [Self::Safeguarding, Self::NoContact, Self::Address, Self::YouthJustice];

    /// Returns the part that a block is. The SAFEGUARDING block has further parts.
    #[must_use]
    pub fn of_block(kind: Kind, sensitivity: Sensitivity) -> Self {
        match (kind, sensitivity) {
            (Kind::Health, _) => Self::Health,
            (Kind::Safeguarding, _) => Self::Safeguarding,
            (_, Sensitivity::Open) => Self::Open,
            (_, Sensitivity::ProvisionCritical) => Self::ProvisionCritical,
            (_, Sensitivity::Restricted | Sensitivity::Unspecified) => Self::Raised,
        }
    }

    /// Returns whether an emergency opens the part: what keeps the child safe, but neither its address nor what its sender
    /// kept for some persons.
    #[must_use]
    pub const fn is_opened_in_emergency(self) -> bool {
        matches!(self, Self::ProvisionCritical | Self::Health | Self::Safeguarding | Self::NoContact)
    }

    /// Returns whether only persons read the part.
    #[must_use]
    pub const fn is_restricted(self) -> bool {
        !matches!(self, Self::Open | Self::ProvisionCritical)
    }
}

/// How much of a part a reader gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Visibility {
    /// The whole content.
    Content,
    /// A notice. That of a raised block says that there is one. Those of HEALTH and SAFEGUARDING say nothing, because
    /// every passport has them, whether or not it has such a block.
    Notice,
    /// Nothing: the answer is that of a passport without the part.
    Absent,
}

/// The terms of the agreement in force that covers passports, and under which one was shared.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AgreementTerms {
    /// The purposes that it names.
    pub purposes: Vec<Purpose>,
    /// Whether it names a condition for special-category data (UK GDPR Article 9).
    pub has_article_9_condition: bool,
    /// Whether it covers restricted parts.
    pub covers_restricted: bool,
    /// Whether it names a condition for data about offences (UK GDPR Article 10).
    pub has_article_10_condition: bool,
}

/// The right by which an organisation reads a passport.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ReadingRight {
    /// The passport is its own. Reading it shares nothing, so no agreement is the basis.
    Sender,
    /// The passport was shared with it: it provides the placement, which is live, under an agreement in force.
    Recipient(AgreementTerms),
    /// It provides the placement, or has the child on its roll, and a person of it breaks the glass.
    Emergency,
    /// None: the placement has ended, or no agreement in force covers passports.
    None,
}

impl ReadingRight {
    /// Returns the right of the provider with which a passport was shared, by the state of the placement and the terms of
    /// the agreement, if there is one in force. Passports are special-category data, so an agreement without a condition
    /// of Article 9 is none.
    #[must_use]
    pub fn of_recipient(status: RoleStatus, agreement: Option<AgreementTerms>) -> Self {
        match (status, agreement) {
            (RoleStatus::Live, Some(terms)) if terms.has_article_9_condition => Self::Recipient(terms),
            _ => Self::None,
        }
    }
}

/// A reader of a passport: an organisation's system, or the person for whom it calls.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reader {
    /// The organisation's right.
    pub right: ReadingRight,
    /// The person's role and purpose; `None` for a system.
    pub person: Option<(RoleCode, Purpose)>,
}

impl Reader {
    /// Returns the reader that an organisation's system is.
    #[must_use]
    pub fn system(right: ReadingRight) -> Self {
        Self { right, person: None }
    }

    /// Applies the table. `share_with` are the roles that the sender named on a raised block.
    #[must_use]
    pub fn visibility(&self, part: Part, share_with: &[RoleCode]) -> Visibility {
        if self.right == ReadingRight::None {
            return Visibility::Absent;
        }
        if self.right == ReadingRight::Emergency {
            let is_opened = self.may_break_glass() && part.is_opened_in_emergency();
            return if is_opened { Visibility::Content } else { Visibility::Absent };
        }
        if self.reads_content(part, share_with) {
            return Visibility::Content;
        }
        match part {
            Part::Health | Part::Safeguarding => Visibility::Notice,
            Part::Raised if self.reads_passports() => Visibility::Notice,
            _ => Visibility::Absent,
        }
    }

    /// Returns whether the reader gets any part of a SAFEGUARDING block.
    #[must_use]
    pub fn reads_of_safeguarding(&self) -> bool {
        Part::OF_SAFEGUARDING.into_iter().any(|part| self.visibility(part, &[]) == Visibility::Content)
    }

    /// Cuts a SAFEGUARDING block to the parts that the reader gets. `None` when they are empty, because an empty block
    /// would tell that another part is not.
    #[must_use]
    pub fn cut_safeguarding(&self, block: &PassportSafeguarding) -> Option<PassportSafeguarding> {
        let gets = |part| self.visibility(part, &[]) == Visibility::Content;
        let mut cut = if gets(Part::Safeguarding) { block.clone() } else { PassportSafeguarding::default() };
        cut.no_contact = if gets(Part::NoContact) { block.no_contact.clone() } else { Vec::new() };
        cut.address = if gets(Part::Address) { block.address.clone() } else { String::new() };
        cut.youth_justice =
            if gets(Part::YouthJustice) { block.youth_justice.clone() } else { String::new() };
        (cut != PassportSafeguarding::default()).then_some(cut)
    }

    /// Returns whether the reader writes a part: a system, because it holds its organisation's record, or a person who
    /// reads the part. This depends on the token alone, so that a refusal does not reveal what the passport holds.
    #[must_use]
    pub fn writes(&self, part: Part) -> bool {
        self.person.is_none() || self.visibility(part, &[]) == Visibility::Content
    }

    /// Returns whether the reader decides what is withheld. A person who does must read HEALTH and SAFEGUARDING.
    #[must_use]
    pub fn decides_withholding(&self) -> bool {
        self.writes(Part::Health) && self.writes(Part::Safeguarding)
    }

    /// Sets the parts of a SAFEGUARDING block that the reader does not write to those of the block before it. A reader
    /// who puts back what was read would otherwise remove them.
    pub fn keep_unwritten_parts(&self, sent: &mut PassportSafeguarding, before: &PassportSafeguarding) {
        let mut kept = if self.writes(Part::Safeguarding) { sent.clone() } else { before.clone() };
        let source = |part| if self.writes(part) { &*sent } else { before };
        kept.no_contact.clone_from(&source(Part::NoContact).no_contact);
        kept.address.clone_from(&source(Part::Address).address);
        kept.youth_justice.clone_from(&source(Part::YouthJustice).youth_justice);
        *sent = kept;
    }

    /// Returns whether the reader may read passports at all: a system, or a person in a role and for a purpose that
    /// reads them.
    #[must_use]
    pub fn reads_passports(&self) -> bool {
        let Some((role, purpose)) = self.person else { return self.right != ReadingRight::None };
        let for_purpose = matches!(purpose, Purpose::Safeguarding | Purpose::EducationProvision);
        let agreed = match &self.right {
            ReadingRight::Sender => true,
            ReadingRight::Recipient(terms) => terms.purposes.contains(&purpose),
            ReadingRight::Emergency => self.may_break_glass(),
            ReadingRight::None => false,
        };
        agreed && for_purpose && role_reads_passports(role)
    }

    /// Returns whether the reader is a person in a role and for a purpose that may break the glass.
    #[must_use]
    pub fn may_break_glass(&self) -> bool {
        use RoleCode::{Dsl, Head, Health, PlacementLead};
        self.person.is_some_and(|(role, purpose)| {
            matches!(role, Dsl | Head | PlacementLead | Health)
                && matches!(purpose, Purpose::Safeguarding | Purpose::EducationProvision)
        })
    }

    fn reads_content(&self, part: Part, share_with: &[RoleCode]) -> bool {
        if !self.reads_passports() {
            return false;
        }
        if !part.is_restricted() {
            return true;
        }
        let Some((role, _)) = self.person else { return false };
        self.agreement_covers(part) && self.role_reads(role, part, share_with)
    }

    /// Returns whether the basis of the sharing covers a restricted part.
    fn agreement_covers(&self, part: Part) -> bool {
        match &self.right {
            ReadingRight::Sender => true,
            ReadingRight::Recipient(terms) => {
                terms.covers_restricted && (part != Part::YouthJustice || terms.has_article_10_condition)
            }
            ReadingRight::Emergency | ReadingRight::None => false,
        }
    }

    fn role_reads(&self, role: RoleCode, part: Part, share_with: &[RoleCode]) -> bool {
        use RoleCode::{ApLead, Dsl, Head, Health, Iro, Senco, SocialWorker, Vsh, Yjs};
        match part {
            Part::Open | Part::ProvisionCritical => true,
            Part::Raised => role == Dsl || share_with.contains(&role),
            Part::Health => matches!(role, Dsl | Head | Senco | Health),
            Part::Safeguarding => {
                let of_sender = role == ApLead && self.right == ReadingRight::Sender;
                of_sender || matches!(role, Dsl | Head | SocialWorker | Vsh | Iro)
            }
            Part::NoContact | Part::Address => matches!(role, Dsl | SocialWorker),
            Part::YouthJustice => matches!(role, Dsl | Yjs),
        }
    }
}

/// Returns whether anybody in a role reads passports. The others read figures, and never a child.
#[must_use]
pub fn role_reads_passports(role: RoleCode) -> bool {
    use RoleCode::{Dco, IcbSendLead, Other, ParentCarerForum, QualityOfficer, Unspecified};
    !matches!(role, Dco | IcbSendLead | QualityOfficer | ParentCarerForum | Other | Unspecified)
}

#[cfg(test)]
mod tests;

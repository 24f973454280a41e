//! A delivery of a referral or a passport, as the subject of a moment and of an alert: what was sent about a placement from one
//! organisation to another. A passport that is shared again is the same subject, because only the newest must be acted on.

use std::fmt;

use uuid::Uuid;

use crate::codes::organisation::OrganisationId;
use crate::proto::v1::DeliveryKind;

/// What was sent about a placement from one organisation to another.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct DeliverySubject {
    /// REFERRAL or PASSPORT.
    pub kind: DeliveryKind,
    /// The placement.
    pub placement: Uuid,
    /// The sender.
    pub sender: OrganisationId,
    /// The recipient.
    pub recipient: OrganisationId,
}

impl DeliverySubject {
    /// Returns whether deliveries of a kind are subjects.
    #[must_use]
    pub const fn is_kind(kind: DeliveryKind) -> bool {
        matches!(kind, DeliveryKind::Referral | DeliveryKind::Passport)
    }

    /// Parses the subject of a moment or an alert without its kind, `delivery`.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let fields: Vec<&str> = text.split('/').collect();
        let [kind, placement, sender_kind, sender, recipient_kind, recipient] = fields[..] else {
            return None;
        };
        let kind = DeliveryKind::from_str_name(&format!("DELIVERY_KIND_{kind}"))?;
        Some(Self {
            kind: Some(kind).filter(|kind| Self::is_kind(*kind))?,
            placement: Uuid::parse_str(placement).ok()?,
            sender: OrganisationId::parse(&format!("{sender_kind}/{sender}")).ok()?,
            recipient: OrganisationId::parse(&format!("{recipient_kind}/{recipient}")).ok()?,
        })
    }
}

impl fmt::Display for DeliverySubject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = self.kind.as_str_name().trim_start_matches("DELIVERY_KIND_");
        let placement = self.placement.hyphenated();
        write!(f, "delivery/{kind}/{placement}/{}/{}", self.sender, self.recipient)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_subject_is_read_from_its_text() {
        let subject = DeliverySubject {
            kind: DeliveryKind::Referral,
            placement: Uuid::from_u128(7),
            sender: "la/330".parse().unwrap(),
            recipient: "provider/riverside".parse().unwrap(),
        };
        let text = subject.to_string();
        assert_eq!(text, "delivery/REFERRAL/00000000-0000-0000-0000-000000000007/la/330/provider/riverside");
        let (_, rest) = text.split_once('/').unwrap();
        assert_eq!(DeliverySubject::parse(rest), Some(subject));
        for text in ["", "PLAN/7", &rest.replace("REFERRAL", "PLAN"), &format!("{rest}/more"), &rest[1..]] {
            assert_eq!(DeliverySubject::parse(text), None, "{text}");
        }
    }
}

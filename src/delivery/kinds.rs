//! The kinds of deliveries: how the content of each is read, and whether a named person must act on it.

use crate::exchange::ReadContent;
use crate::proto::v1::DeliveryKind;
use crate::{oversight, passports, placements, register, returns};

/// A kind of delivery.
pub struct Kind {
    /// The kind in the protocol.
    pub number: DeliveryKind,
    /// Whether a named person must act on it: answer a referral, acknowledge a passport, resolve an alert, or
    /// see to a break-glass.
    pub needs_action: bool,
    /// Reads its content for a recipient.
    pub read: ReadContent,
}

macro_rules! kinds {
    (@needs_action) => { false };
    (@needs_action needs_action) => { true };
    ($($kind:ident => $read:path $([$needs_action:ident])?;)+) => {
        const KINDS: &[Kind] = &[$(Kind {
            number: DeliveryKind::$kind,
            needs_action: kinds!(@needs_action $($needs_action)?),
            read: |cx, source| Box::pin($read(cx, source)),
        }),+];
    };
}

kinds! {
    Referral => placements::placement_content [needs_action];
    Response => placements::placement_content;
    Decision => placements::placement_content;
    Plan => placements::placement_content;
    Start => placements::placement_content;
    End => placements::placement_content;
    Parties => placements::placement_content;
    Attendance => returns::attendance_content;
    Confirmation => returns::confirmation_content;
    ExpectedAbsence => returns::expected_absence_content;
    Progress => returns::progress_content;
    Registration => register::register_content;
    Grant => register::register_content;
    Agreement => register::register_content;
    Closure => register::register_content;
    Issuer => register::register_content;
    Passport => passports::passport_content [needs_action];
    Alert => oversight::alert_content [needs_action];
    BreakGlass => passports::break_glass_content [needs_action];
    AlertEnded => oversight::alert_content;
    AlertEscalated => oversight::alert_content [needs_action];
}

/// Returns the kind of a number in the protocol; `None` if no delivery has it.
pub fn by_number(number: i32) -> Option<&'static Kind> {
    KINDS.iter().find(|known| known.number as i32 == number)
}

impl Kind {
    /// Returns the name in the protocol, without its prefix.
    fn name(&self) -> &'static str {
        let name = self.number.as_str_name();
        name.strip_prefix("DELIVERY_KIND_").unwrap_or(name)
    }
}

/// Returns the name of a kind by its number in the protocol; `None` if no delivery has it.
pub fn kind_name(number: i32) -> Option<&'static str> {
    by_number(number).map(Kind::name)
}

/// Returns the names of all kinds.
pub fn kind_names() -> Vec<&'static str> {
    KINDS.iter().map(Kind::name).collect()
}

/// Returns whether the content of a kind is cut to the person or system that reads it, and not to the organisation alone.
pub fn is_cut_to_reader(number: i32) -> bool {
    number == DeliveryKind::Passport as i32
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto;

    #[test]
    fn every_kind_of_the_protocol_is_in_the_table_once() {
        let declared = proto::descriptor_pool().get_enum_by_name("apgateway.v1.DeliveryKind").unwrap();
        let mut declared: Vec<i32> = declared.values().map(|value| value.number()).collect();
        declared.retain(|number| *number != DeliveryKind::Unspecified as i32);
        let mut listed: Vec<i32> = KINDS.iter().map(|known| known.number as i32).collect();
        listed.sort_unstable();
        declared.sort_unstable();
        assert_eq!(declared, listed);
    }
}

//! What a caller asks to do: one row a method that has entries, with who may call it at all.

use crate::codes::organisation::OrganisationKind::{
    self, Auditor, La, Operator, Partner, Processor, Provider, School,
};

/// Any registered organisation.
const ANYONE: &[OrganisationKind] = &[La, School, Provider, Partner, Auditor, Processor, Operator];
/// Whoever can be a party to an agreement or give a grant.
const PARTIES: &[OrganisationKind] = &[La, School, Provider, Partner];
/// Whoever can have a part in a placement.
const TEACHING: &[OrganisationKind] = &[La, School, Provider];
/// Whoever can arrange a placement, or have the child on its roll.
const COMMISSIONING: &[OrganisationKind] = &[La, School];
/// Whoever can provide.
const PROVIDING: &[OrganisationKind] = &[Provider, School];
/// Whoever operates the gateway.
const OPERATOR: &[OrganisationKind] = &[Operator];

macro_rules! actions {
    (@changes changes) => { true };
    (@changes governs) => { true };
    (@changes reads) => { false };
    (@grantable changes) => { true };
    (@grantable governs) => { false };
    (@grantable reads) => { true };
    ($($action:ident $service:ident $effect:ident $kinds:ident;)*) => {
        /// What a caller asks to do: one variant a method that has entries.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Action {
            $(#[doc = concat!("`", stringify!($service), "`.")] $action,)*
        }

        impl Action {
            /// Every action, for the golden table.
            pub const ALL: &[Self] = &[$(Self::$action,)*];

            /// Whether the method changes something: then its first two fields are `request_id` and, where
            /// there is one, `validate_only` (AIP-155, AIP-163).
            #[must_use]
            pub fn is_mutating(self) -> bool {
                match self { $(Self::$action => actions!(@changes $effect),)* }
            }

            /// The method's own name.
            #[must_use]
            pub fn name(self) -> &'static str {
                match self { $(Self::$action => stringify!($action),)* }
            }

            /// Whether a grant can let a processor call the method. What changes who may do what (`governs`) is in no
            /// grant: a processor could give itself further rights.
            #[must_use]
            pub fn is_grantable(self) -> bool {
                match self { $(Self::$action => actions!(@grantable $effect),)* }
            }

            /// The kinds of organisation that may call the method at all, whatever their part in a thing.
            #[must_use]
            pub fn kinds(self) -> &'static [OrganisationKind] {
                match self { $(Self::$action => $kinds,)* }
            }
        }
    };
}

// One table instead of three matches: each row is read at once, and none can be forgotten in one of them.
actions! {
    RegisterOrganisation RegisterService governs OPERATOR;
    UpdateOrganisation RegisterService governs OPERATOR;
    GetOrganisation RegisterService reads ANYONE;
    ListOrganisations RegisterService reads OPERATOR;
    RegisterCertificate RegisterService governs ANYONE;
    RevokeCertificate RegisterService governs ANYONE;
    AuthoriseProcessor RegisterService governs PARTIES;
    AppointAuditor RegisterService governs PARTIES;
    EndGrant RegisterService governs PARTIES;
    ProposeAgreement RegisterService governs PARTIES;
    CountersignAgreement RegisterService governs PARTIES;
    EndAgreement RegisterService governs PARTIES;
    PutTermDates RegisterService changes TEACHING;
    GetTermDates RegisterService reads TEACHING;
    DeclareClosure RegisterService changes PROVIDING;
    CreateReferral PlacementService changes COMMISSIONING;
    RespondToReferral PlacementService changes PROVIDING;
    DecidePlacement PlacementService changes COMMISSIONING;
    PutPlan PlacementService changes COMMISSIONING;
    StartPlacement PlacementService changes COMMISSIONING;
    EndPlacement PlacementService changes TEACHING;
    UpdateParties PlacementService changes COMMISSIONING;
    GetPlacement PlacementService reads TEACHING;
    ListPlacements PlacementService reads TEACHING;
    PutPassport PassportService changes COMMISSIONING;
    GetPassport PassportService reads TEACHING;
    ListPassportVersions PassportService reads COMMISSIONING;
    SharePassport PassportService changes COMMISSIONING;
    WithholdInformation PassportService changes COMMISSIONING;
    SubmitAttendance ReturnsService changes PROVIDING;
    StreamAttendance ReturnsService changes PROVIDING;
    VoidReturn ReturnsService changes PROVIDING;
    ConfirmMarks ReturnsService changes COMMISSIONING;
    NotifyExpectedAbsence ReturnsService changes COMMISSIONING;
    ListExpectedReturns ReturnsService reads TEACHING;
    GetAttendance ReturnsService reads TEACHING;
    SubmitProgress ReturnsService changes PROVIDING;
    GetProgress ReturnsService reads TEACHING;
    WatchDeliveries DeliveryService reads ANYONE;
    ListDeliveries DeliveryService reads ANYONE;
    AcknowledgeDelivery DeliveryService changes ANYONE;
    GetDeliveryStatus DeliveryService reads ANYONE;
    ListAlerts OversightService reads TEACHING;
    ResolveAlert OversightService changes TEACHING;
    ListExchanges AuditService reads ANYONE;
    GetExchange AuditService reads ANYONE;
}

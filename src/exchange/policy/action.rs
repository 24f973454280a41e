//! Actions: one row for each method that has log entries, with the kinds of organisation that may call it.

use crate::codes::organisation::OrganisationKind::{
    self, Auditor, La, Operator, Partner, Processor, Provider, School,
};

/// Every kind of registered organisation.
const ANYONE: &[OrganisationKind] = &[La, School, Provider, Partner, Auditor, Processor, Operator];
/// Kinds that can be a party to an agreement or give a grant.
const AGREEMENT_PARTIES: &[OrganisationKind] = &[La, School, Provider, Partner];
/// Kinds that can have a role in a placement.
const PLACEMENT_PARTIES: &[OrganisationKind] = &[La, School, Provider];
/// Kinds that can arrange a placement, or have the child on their roll.
const COMMISSIONERS: &[OrganisationKind] = &[La, School];
/// Kinds that can provide.
const PROVIDERS: &[OrganisationKind] = &[Provider, School];
/// The kind of the gateway's operator.
const OPERATOR: &[OrganisationKind] = &[Operator];

macro_rules! actions {
    (@changes changes) => { true };
    (@changes governs) => { true };
    (@changes reads) => { false };
    (@grantable changes) => { true };
    (@grantable governs) => { false };
    (@grantable reads) => { true };
    ($($action:ident $service:ident $effect:ident $kinds:ident;)*) => {
        /// Action that a caller requests: one variant for each method that has log entries.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Action {
            $(#[doc = concat!("`", stringify!($service), "`.")] $action,)*
        }

        impl Action {
            /// Every action, for the golden table.
            pub const ALL: &[Self] = &[$(Self::$action,)*];

            /// Returns whether the method changes something. Its first two fields are then `request_id` and,
            /// where there is one, `validate_only` (AIP-155, AIP-163).
            #[must_use]
            pub fn is_mutating(self) -> bool {
                match self { $(Self::$action => actions!(@changes $effect),)* }
            }

            /// Returns the method's name without its service.
            #[must_use]
            pub fn name(self) -> &'static str {
                match self { $(Self::$action => stringify!($action),)* }
            }

            /// Returns whether a grant can let a processor call the method. No grant covers a method that changes
            /// rights (`governs`), because a processor could give itself further rights.
            #[must_use]
            pub fn is_grantable(self) -> bool {
                match self { $(Self::$action => actions!(@grantable $effect),)* }
            }

            /// Returns the kinds of organisation that may call the method at all, whatever their role in a
            /// record.
            #[must_use]
            pub fn kinds(self) -> &'static [OrganisationKind] {
                match self { $(Self::$action => $kinds,)* }
            }
        }
    };
}

// One table instead of three matches, so that an action cannot be missing from one of them.
actions! {
    RegisterOrganisation RegisterService governs OPERATOR;
    UpdateOrganisation RegisterService governs OPERATOR;
    GetOrganisation RegisterService reads ANYONE;
    ListOrganisations RegisterService reads OPERATOR;
    RegisterCertificate RegisterService governs ANYONE;
    RevokeCertificate RegisterService governs ANYONE;
    AuthoriseProcessor RegisterService governs AGREEMENT_PARTIES;
    AppointAuditor RegisterService governs AGREEMENT_PARTIES;
    EndGrant RegisterService governs AGREEMENT_PARTIES;
    ProposeAgreement RegisterService governs AGREEMENT_PARTIES;
    CountersignAgreement RegisterService governs AGREEMENT_PARTIES;
    EndAgreement RegisterService governs AGREEMENT_PARTIES;
    PutTermDates RegisterService changes PLACEMENT_PARTIES;
    GetTermDates RegisterService reads PLACEMENT_PARTIES;
    DeclareClosure RegisterService changes PROVIDERS;
    CreateReferral PlacementService changes COMMISSIONERS;
    RespondToReferral PlacementService changes PROVIDERS;
    DecidePlacement PlacementService changes COMMISSIONERS;
    PutPlan PlacementService changes COMMISSIONERS;
    StartPlacement PlacementService changes COMMISSIONERS;
    EndPlacement PlacementService changes PLACEMENT_PARTIES;
    UpdateParties PlacementService changes COMMISSIONERS;
    GetPlacement PlacementService reads PLACEMENT_PARTIES;
    ListPlacements PlacementService reads PLACEMENT_PARTIES;
    PutPassport PassportService changes COMMISSIONERS;
    GetPassport PassportService reads PLACEMENT_PARTIES;
    ListPassportVersions PassportService reads COMMISSIONERS;
    SharePassport PassportService changes COMMISSIONERS;
    WithholdInformation PassportService changes COMMISSIONERS;
    SubmitAttendance ReturnsService changes PROVIDERS;
    StreamAttendance ReturnsService changes PROVIDERS;
    VoidReturn ReturnsService changes PROVIDERS;
    ConfirmMarks ReturnsService changes COMMISSIONERS;
    NotifyExpectedAbsence ReturnsService changes COMMISSIONERS;
    ListExpectedReturns ReturnsService reads PLACEMENT_PARTIES;
    GetAttendance ReturnsService reads PLACEMENT_PARTIES;
    SubmitProgress ReturnsService changes PROVIDERS;
    GetProgress ReturnsService reads PLACEMENT_PARTIES;
    WatchDeliveries DeliveryService reads ANYONE;
    ListDeliveries DeliveryService reads ANYONE;
    AcknowledgeDelivery DeliveryService changes ANYONE;
    GetDeliveryStatus DeliveryService reads ANYONE;
    ListAlerts OversightService reads PLACEMENT_PARTIES;
    ResolveAlert OversightService changes PLACEMENT_PARTIES;
    ListExchanges AuditService reads ANYONE;
    GetExchange AuditService reads ANYONE;
}

//! Methods: the properties of each method that are known before a message is read. Each capability declares its methods
//! once, in the table of its `mod.rs`; routes, policy, grants and audit are made from the tables.

use super::refusal::Reason;
use crate::codes::organisation::OrganisationKind::{
    self, Auditor, La, Operator, Partner, Processor, Provider, School,
};

/// Every kind of registered organisation.
pub const ANYONE: &[OrganisationKind] = &[La, School, Provider, Partner, Auditor, Processor, Operator];
/// Kinds that can be a party to an agreement or give a grant.
pub const AGREEMENT_PARTIES: &[OrganisationKind] = &[La, School, Provider, Partner];
/// Kinds that can have a role in a placement.
pub const PLACEMENT_PARTIES: &[OrganisationKind] = &[La, School, Provider];
/// Kinds that can arrange a placement, or have the child on their roll.
pub const COMMISSIONERS: &[OrganisationKind] = &[La, School];
/// Kinds that can provide.
pub const PROVIDERS: &[OrganisationKind] = &[Provider, School];
/// Kinds that read who is registered under which name.
pub const DIRECTORY_READERS: &[OrganisationKind] = &[La, School, Provider, Partner, Operator];
/// The kind of the gateway's operator.
pub const OPERATOR: &[OrganisationKind] = &[Operator];

/// Role of the caller in the record that it acts on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CallerRole {
    /// The caller arranged the placement.
    Commissioner,
    /// The caller teaches the child.
    Provider,
    /// The child is on the caller's roll.
    SchoolOnRoll,
    /// The child lives in the caller's area.
    Residence,
    /// The caller is a party to the agreement, or one end of the grant.
    Party,
    /// The record is the caller's own: its registration, certificate, mailbox or exchange.
    Owner,
    /// The caller operates the gateway.
    Operator,
    /// No role. Answered `NOT_FOUND`, so that existence is not revealed.
    NoRole,
}

/// Whether the caller's role is still in force.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum RoleStatus {
    /// The referral or placement is live.
    Live,
    /// The placement has ended, or the referral was declined, rejected or withdrawn.
    Ended,
}

/// Condition under which a role permits a method.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Condition {
    /// No condition.
    Always,
    /// The placement is live; otherwise `NOT_FOUND`.
    WhileLive,
    /// An agreement in force covers the method; otherwise `AGREEMENT_NOT_IN_FORCE`.
    Agreed,
    /// The placement is live, otherwise `STATE_INVALID`, and an agreement in force covers the method, otherwise
    /// `AGREEMENT_NOT_IN_FORCE`.
    LiveAndAgreed,
    /// The placement is live, otherwise `NOT_FOUND`, and an agreement in force covers the method, otherwise
    /// `AGREEMENT_NOT_IN_FORCE`.
    WhileLiveAndAgreed,
    /// The placement is live, or an agreement in force covers the method; otherwise `AGREEMENT_NOT_IN_FORCE`.
    LiveOrAgreed,
}

impl Condition {
    fn check(self, status: RoleStatus, agreed: bool) -> Result<(), Reason> {
        let live = status == RoleStatus::Live;
        match self {
            Self::Always => Ok(()),
            Self::WhileLive | Self::WhileLiveAndAgreed if !live => Err(Reason::NotFound),
            Self::LiveAndAgreed if !live => Err(Reason::StateInvalid),
            Self::LiveOrAgreed if live => Ok(()),
            Self::WhileLive => Ok(()),
            _ if agreed => Ok(()),
            _ => Err(Reason::AgreementNotInForce),
        }
    }
}

/// Effect of a method.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Reads only.
    Reads,
    /// Reads what only the organisation itself is told, such as who acted for it. No grant covers such a method.
    ReadsOwn,
    /// Changes records.
    Changes,
    /// Changes rights. No grant covers such a method, because a processor could give itself further rights.
    Governs,
}

/// A method, as its capability declares it.
#[derive(Debug)]
pub struct Method {
    /// Path of its calls, `/package.Service/Method`. Entries record it.
    pub path: &'static str,
    /// What it does.
    pub effect: Effect,
    /// Kinds of organisation that may call it at all, whatever their role in a record.
    pub callers: &'static [OrganisationKind],
    /// Roles in a record that permit it. Any other role is answered `NOT_FOUND`.
    pub access: &'static [(CallerRole, Condition)],
}

/// Stands for a method that does not exist. Any organisation may call it, so that the refusal names the cause.
pub(super) const UNKNOWN_METHOD: &Method =
    &Method { path: "", effect: Effect::Reads, callers: ANYONE, access: &[] };

impl Method {
    /// Declares the method name under which the gateway itself writes records. Nobody can call it.
    #[must_use]
    pub const fn of_system_exchange(path: &'static str) -> Self {
        Self { path, effect: Effect::Changes, callers: &[], access: &[] }
    }

    /// Returns the full name of the method's service.
    #[must_use]
    pub fn service(&self) -> &'static str {
        self.path.split('/').nth(1).unwrap_or_default()
    }

    /// Returns the method's name without its service.
    #[must_use]
    pub fn name(&self) -> &'static str {
        self.path.rsplit('/').next().unwrap_or_default()
    }

    /// Returns whether the method changes something. Its first two fields are then `request_id` and, where there
    /// is one, `validate_only` (AIP-155, AIP-163).
    #[must_use]
    pub fn is_mutating(&self) -> bool {
        !matches!(self.effect, Effect::Reads | Effect::ReadsOwn)
    }

    /// Returns whether a grant can let a processor call the method.
    #[must_use]
    pub fn is_grantable(&self) -> bool {
        !matches!(self.effect, Effect::Governs | Effect::ReadsOwn)
    }

    /// Applies the policy rule: whether a role in a record permits the method. The golden table prints its result
    /// for every input.
    ///
    /// # Errors
    /// The one reason that may be disclosed: a record of others and an absent record give the same reason.
    pub fn verdict(&self, role: CallerRole, status: RoleStatus, agreed: bool) -> Result<(), Reason> {
        let permitted = self.access.iter().find(|(permitted, _)| *permitted == role);
        permitted.ok_or(Reason::NotFound)?.1.check(status, agreed)
    }
}

impl PartialEq for Method {
    /// Compares paths, because no two methods have the same.
    fn eq(&self, other: &Self) -> bool {
        self.path == other.path
    }
}

impl Eq for Method {}

/// Every method of the capabilities, by capability.
#[derive(Clone, Copy, Debug)]
pub struct MethodTable(pub &'static [&'static [&'static Method]]);

impl MethodTable {
    /// Iterates over the methods.
    pub fn iter(self) -> impl Iterator<Item = &'static Method> {
        self.0.iter().flat_map(|methods| methods.iter().copied())
    }

    /// Returns the method of a path.
    #[must_use]
    pub fn by_path(self, path: &str) -> Option<&'static Method> {
        self.iter().find(|method| method.path == path)
    }

    /// Returns the method of a name without its service.
    #[must_use]
    pub fn by_name(self, name: &str) -> Option<&'static Method> {
        self.iter().find(|method| method.name() == name)
    }
}

/// Declares the methods of a capability. Each row gives a method's constant in `proto`, how it is called (a function
/// of [`super::Routes`]) with its handlers, its effect, and who may call it. The table becomes a constant for each
/// method, `METHODS`, and `routes`. `with` declares a value that the handlers of one node share.
macro_rules! methods {
    (@table [$($state:ident = $value:expr)?] $(
        $service:ident :: $name:ident => $shape:ident($($handler:expr),+ $(,)?) {
            $effect:ident, callers: $callers:ident, access: [$($role:ident: $condition:ident),* $(,)?]
            $(,)?
        }
    )+) => {
        $(
            #[doc = concat!("`", stringify!($name), "` of `", stringify!($service), "`.")]
            pub const $name: &$crate::exchange::Method = &$crate::exchange::Method {
                path: $crate::proto::v1::$service::$name.path(),
                effect: $crate::exchange::method::Effect::$effect,
                callers: $crate::exchange::method::$callers,
                access: &[$((
                    $crate::exchange::CallerRole::$role,
                    $crate::exchange::method::Condition::$condition,
                )),*],
            };
        )+

        /// The methods of this capability.
        pub const METHODS: &[&$crate::exchange::Method] = &[$($name),+];

        /// Adds the methods of this capability to the routes.
        #[must_use]
        pub fn routes(routes: $crate::exchange::Routes) -> $crate::exchange::Routes {
            $(let $state = $value;)?
            routes$(.$shape($name, $crate::proto::v1::$service::$name, $($handler),+))+
        }
    };
    (with $state:ident = $value:expr; $($rows:tt)+) => {
        $crate::exchange::method::methods! { @table [$state = $value] $($rows)+ }
    };
    ($service:ident :: $($rows:tt)+) => {
        $crate::exchange::method::methods! { @table [] $service :: $($rows)+ }
    };
}

pub(crate) use methods;

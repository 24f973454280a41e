//! Refusals and their reasons.
//!
//! A refusal is built only from what the caller sent and may know. A record of others and an absent record give
//! the same reason. Texts never repeat a value. The catalogue of reasons in the documentation is generated from
//! [`Reason::ALL`].

mod tonic_status;

use tonic::Code;
use uuid::Uuid;

pub(super) use tonic_status::reason_from_status;

use super::check::{Violation, Violations};
use crate::store::Snapshot;

/// Who can remove the cause of a refusal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RemedyBy {
    /// The software that made the request.
    Client,
    /// People in the caller's organisation, or the other party.
    People,
    /// The gateway's operator.
    Operator,
    /// Nobody: the same request can be sent again.
    Retry,
}

macro_rules! reasons {
    ($($variant:ident $name:literal $code:ident $mender:ident $retry:literal $text:literal;)*) => {
        /// Reason of a refusal. Names are stable, because clients branch on them.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Reason {
            $(#[doc = $text] $variant,)*
        }

        impl Reason {
            /// Every reason, as the catalogue lists them.
            pub const ALL: &[Self] = &[$(Self::$variant,)*];

            /// Returns the stable name.
            #[must_use]
            pub fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)* }
            }

            /// Returns the gRPC status code.
            #[must_use]
            pub fn code(self) -> Code {
                match self { $(Self::$variant => Code::$code,)* }
            }

            /// Returns the text of the status.
            #[must_use]
            pub fn text(self) -> &'static str {
                match self { $(Self::$variant => $text,)* }
            }

            /// Returns who can remove the cause.
            #[must_use]
            pub fn remedy_by(self) -> RemedyBy {
                match self { $(Self::$variant => RemedyBy::$mender,)* }
            }

            /// Returns the milliseconds after which the same request may be sent again; 0 if that does not help.
            #[must_use]
            pub fn retry_after_ms(self) -> u64 {
                match self { $(Self::$variant => $retry,)* }
            }
        }
    };
}

// One table instead of five matches, so that a reason cannot be missing from one of them.
reasons! {
    Malformed "MALFORMED" InvalidArgument Client 0 "the request is not a message of this method";
    Invalid "INVALID_REQUEST" InvalidArgument Client 0 "fields of the request are at fault; each is named";
    CertificateNotRegistered "CERT_NOT_REGISTERED" Unauthenticated Operator 0 "this certificate is not registered for an organisation";
    CertificateRevoked "CERT_REVOKED" Unauthenticated People 0 "this certificate is no longer registered";
    RevocationListExpired "REVOCATION_LIST_EXPIRED" Unavailable Operator 60000 "the revocation list of this certificate's issuer has expired; its issuer must publish a new one";
    OrganisationSuspended "ORG_SUSPENDED" PermissionDenied Operator 0 "this organisation is suspended";
    TokenInvalid "TOKEN_INVALID" Unauthenticated Client 0 "the token in the authorization header is not valid for this call";
    PersonRequired "PERSON_REQUIRED" PermissionDenied People 0 "this needs the token of a person in a role and for a purpose that may do it; where an officer is named, of that person";
    MethodNotAllowed "METHOD_NOT_ALLOWED" PermissionDenied Client 0 "an organisation of this kind may not call this method";
    GrantRequired "GRANT_REQUIRED" PermissionDenied People 0 "no grant in force covers this";
    NotAppointed "NOT_APPOINTED" PermissionDenied People 0 "the caller may not read this organisation's exchanges: it has not appointed the caller as its auditor for today";
    NotFound "NOT_FOUND" NotFound Client 0 "the record does not exist, or this caller may not know of it";
    AgreementNotInForce "AGREEMENT_NOT_IN_FORCE" FailedPrecondition People 0 "no sharing agreement in force covers this";
    RecipientSuspended "RECIPIENT_SUSPENDED" FailedPrecondition Operator 0 "the organisation that this would go to is suspended";
    StateInvalid "STATE_INVALID" FailedPrecondition People 0 "this cannot be done in its present state; the metadata names it, the states in which it can, and who acts next";
    AlreadyExists "ALREADY_EXISTS" AlreadyExists Client 0 "the organisation has created this before";
    RevisionMismatch "REVISION_MISMATCH" Aborted Client 0 "the etag is not that of the newest version";
    TermsChanged "TERMS_CHANGED" FailedPrecondition People 0 "the terms are not those that were read; read the agreement again";
    DigestMismatch "DIGEST_MISMATCH" FailedPrecondition Client 0 "this delivery was never sent with this digest";
    RequestIdReused "IDEMPOTENCY_KEY_REUSED" AlreadyExists Client 0 "this request id was used for another request";
    StreamProtocol "STREAM_PROTOCOL" InvalidArgument Client 0 "the message is not allowed at this point of the stream";
    StreamDigestMismatch "STREAM_DIGEST_MISMATCH" InvalidArgument Client 0 "the commit's count or digest is not that of the part; nothing of the part was stored";
    StreamBroken "STREAM_BROKEN" Aborted Client 0 "the stream ended with a part open; nothing of the part was stored";
    SequenceGap "SEQUENCE_GAP" FailedPrecondition Client 0 "this is not the next part of the sequence";
    Contended "CONTENDED" Aborted Retry 100 "other exchanges changed the same records; nothing was done";
    TooManyInFlight "TOO_MANY_IN_FLIGHT" ResourceExhausted Retry 1000 "too many exchanges of this organisation are under way";
    RateLimited "RATE_LIMITED" ResourceExhausted Retry 1000 "this organisation makes more calls a second than it may";
    TooManyRefusals "TOO_MANY_REFUSALS" ResourceExhausted Client 1000 "too many calls with this certificate were refused within a second; the reason of the first of them tells why";
    BuffersFull "BUFFERS_FULL" ResourceExhausted Retry 1000 "the requests and unread answers of this organisation, or of all, take up the memory that they may; nothing was done";
    LogUnavailable "AUDIT_UNAVAILABLE" Unavailable Retry 1000 "the log cannot be written, so no request is answered";
    KeyUnavailable "KEY_UNAVAILABLE" Unavailable Operator 1000 "this node does not hold the key to a record that the answer needs; nothing was done";
    TooLarge "MESSAGE_TOO_LARGE" ResourceExhausted Client 0 "the message is larger than this gateway accepts";
    ReplyTooLarge "REPLY_TOO_LARGE" ResourceExhausted Client 0 "the answer would be larger than 4 MiB; ask for less at once";
    DecisionTooLarge "DECISION_TOO_LARGE" ResourceExhausted Client 0 "an answer would take more rows, queries or time than one exchange may use; ask for fewer days, placements or rows at once";
    HostMismatch "HOST_MISMATCH" Unauthenticated Client 0 "the call is for another host than the gateway's certificate names";
    EncodingUnknown "ENCODING_UNKNOWN" Unimplemented Client 0 "this compression is not supported; use gzip or none";
    UnknownMethod "UNKNOWN_METHOD" Unimplemented Client 0 "there is no such method";
    Protocol "PROTOCOL" InvalidArgument Client 0 "the call broke a rule of gRPC";
    NodeStopping "NODE_STOPPING" Unavailable Retry 1000 "this node of the gateway is shutting down; connect again, and go on from the metadata's cursor";
    DeadlineExceeded "DEADLINE_EXCEEDED" DeadlineExceeded Retry 1000 "the deadline passed before an answer was ready";
    Failed "FAILED" Internal Operator 0 "the gateway failed on this exchange; nothing was done";
}

/// Refusal of an exchange: a reason and, with [`Reason::Invalid`], the fields at fault.
#[derive(Clone, Debug)]
pub struct Refusal {
    /// The reason.
    pub reason: Reason,
    /// The fields at fault, at most 50 of them.
    pub violations: Vec<Violation>,
    /// The number of further fields at fault.
    pub omitted_violations: usize,
    /// Further facts for programs, sent as `ErrorInfo.metadata`. They hold only what the caller may know.
    pub metadata: Vec<(&'static str, String)>,
}

/// Who can move a record out of its present state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NextActor {
    /// The commissioner of the placement.
    Commissioner,
    /// The provider of the placement.
    Provider,
    /// Commissioner or provider.
    CommissionerOrProvider,
    /// Another party to the agreement.
    OtherParty,
    /// The caller, with another method or a new record.
    Caller,
    /// Nobody: the state is final.
    Nobody,
}

impl NextActor {
    /// Returns the name that the metadata holds.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Commissioner => "COMMISSIONER",
            Self::Provider => "PROVIDER",
            Self::CommissionerOrProvider => "COMMISSIONER_OR_PROVIDER",
            Self::OtherParty => "OTHER_PARTY",
            Self::Caller => "CALLER",
            Self::Nobody => "NOBODY",
        }
    }
}

/// State of a record that does not permit the requested action.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WrongState {
    /// The present state, as its enum value is named in the protocol, or a word of ERRORS.md.
    pub current: &'static str,
    /// The states that permit it; empty if no transition leads to one.
    pub required: Vec<&'static str>,
    /// Who acts next.
    pub next_actor: NextActor,
}

impl From<WrongState> for Refusal {
    fn from(wrong: WrongState) -> Self {
        Self {
            metadata: vec![
                ("state", wrong.current.to_owned()),
                ("needed", wrong.required.join(",")),
                ("next_actor", wrong.next_actor.name().to_owned()),
            ],
            ..Self::from(Reason::StateInvalid)
        }
    }
}

impl From<Reason> for Refusal {
    fn from(reason: Reason) -> Self {
        Self { reason, violations: Vec::new(), omitted_violations: 0, metadata: Vec::new() }
    }
}

impl From<Violations> for Refusal {
    fn from(violations: Violations) -> Self {
        Self {
            reason: Reason::Invalid,
            violations: violations.first,
            omitted_violations: violations.omitted,
            metadata: Vec::new(),
        }
    }
}

/// Failed reads. In an outage each call has one.
static UNREAD_SNAPSHOTS: crate::store::FaultLog = crate::store::FaultLog::new();

impl From<crate::store::StoreError> for Refusal {
    /// Converts a failed read. The operator's log holds the cause; the caller does not get it.
    fn from(error: crate::store::StoreError) -> Self {
        if matches!(error, crate::store::StoreError::LimitExceeded) {
            return Reason::DecisionTooLarge.into();
        }
        let cause = crate::store::error_chain(&error);
        if let Some(repeats) = UNREAD_SNAPSHOTS.due(&cause) {
            tracing::error!(error = cause, repeats, "a snapshot could not be read");
        }
        match error {
            crate::store::StoreError::Unreachable(_) | crate::store::StoreError::Full(_) => {
                Reason::LogUnavailable.into()
            }
            _ => Reason::Failed.into(),
        }
    }
}

impl From<crate::seal::SealError> for Refusal {
    /// Converts a failure to open sealed bytes on this node. The operator's log holds the cause.
    fn from(error: crate::seal::SealError) -> Self {
        tracing::error!(error = %error, "a sealed column could not be used");
        match error {
            crate::seal::SealError::KeyMissing { .. } => Reason::KeyUnavailable.into(),
            _ => Reason::Failed.into(),
        }
    }
}

impl From<crate::store::evidence::StoredReplyError> for Refusal {
    fn from(error: crate::store::evidence::StoredReplyError) -> Self {
        match error {
            crate::store::evidence::StoredReplyError::Store(error) => error.into(),
            crate::store::evidence::StoredReplyError::Seal(error) => error.into(),
        }
    }
}

/// Metadata key of [`Reason::Failed`]: the placement of the damaged record.
pub const DAMAGED_PLACEMENT_KEY: &str = "placement_id";
/// Metadata key of [`Reason::Failed`]: the token of the page after the damaged record.
pub const NEXT_PAGE_TOKEN_KEY: &str = "next_page_token";

impl Refusal {
    /// Ends a list of records of several children before a damaged record. If the damaged record is the first,
    /// the list is refused; the metadata then holds the position after the record, so that the caller can
    /// continue there. The operator's log names the record.
    ///
    /// # Errors
    /// The refusal itself, if the record is the first or the refusal does not concern one record.
    pub fn end_list_before_damaged(
        mut self,
        snapshot: &Snapshot,
        placement: Option<Uuid>,
        is_first: bool,
        behind: impl FnOnce() -> Result<Vec<(&'static str, String)>, Self>,
    ) -> Result<(), Self> {
        if self.reason != Reason::Failed || snapshot.has_failed() {
            return Err(self);
        }
        if !is_first {
            return Ok(());
        }
        let id = placement.map_or_else(String::new, |id| id.hyphenated().to_string());
        tracing::error!(placement.id = id, "a record is damaged; its reader can continue after it");
        self.metadata.push((DAMAGED_PLACEMENT_KEY, id));
        self.metadata.extend(behind()?);
        Err(self)
    }
}

//! Why an exchange is refused, as a value, and the one place where a refusal becomes a gRPC status.
//!
//! A refusal is built from what the caller sent and may know, and from nothing else: *not yours* and *does
//! not exist* are one reason. Its texts never repeat a value. The catalogue of reasons in the
//! documentation is printed from [`Reason::ALL`].

use std::collections::HashMap;
use std::time::Duration;

use tonic::{Code, Status};
use tonic_types::{ErrorDetails, FieldViolation, StatusExt};
use uuid::Uuid;

use super::check::{Violation, Violations};
use super::{Cx, details};

/// Who can mend what a refusal complains of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mender {
    /// The software that made the request.
    Client,
    /// Whoever decides in the caller's organisation, or the other party.
    People,
    /// The gateway's operator.
    Operator,
    /// Nobody: send the same request again.
    Time,
}

macro_rules! reasons {
    ($($variant:ident $name:literal $code:ident $mender:ident $retry:literal $text:literal;)*) => {
        /// A refusal's reason, stable for ever: clients branch on its name.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Reason {
            $(#[doc = $text] $variant,)*
        }

        impl Reason {
            /// Every reason, for the catalogue.
            pub const ALL: &[Self] = &[$(Self::$variant,)*];

            /// Its stable name.
            #[must_use]
            pub fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)* }
            }

            /// Its gRPC status code.
            #[must_use]
            pub fn code(self) -> Code {
                match self { $(Self::$variant => Code::$code,)* }
            }

            /// What the caller reads.
            #[must_use]
            pub fn text(self) -> &'static str {
                match self { $(Self::$variant => $text,)* }
            }

            /// Who mends it.
            #[must_use]
            pub fn mender(self) -> Mender {
                match self { $(Self::$variant => Mender::$mender,)* }
            }

            /// After how many milliseconds the same request may be sent again; 0 when that will not help.
            #[must_use]
            pub fn retry_after_ms(self) -> u64 {
                match self { $(Self::$variant => $retry,)* }
            }
        }
    };
}

// One table instead of five matches: each row is read at once, and none can be forgotten in one of them.
reasons! {
    Malformed "MALFORMED" InvalidArgument Client 0 "the request is not a message of this method";
    Invalid "INVALID_REQUEST" InvalidArgument Client 0 "fields of the request are at fault; each is named";
    CertificateNotRegistered "CERT_NOT_REGISTERED" Unauthenticated Operator 0 "this certificate is not registered for an organisation";
    CertificateRevoked "CERT_REVOKED" Unauthenticated People 0 "this certificate is no longer registered";
    RevocationListExpired "REVOCATION_LIST_EXPIRED" Unavailable Operator 60000 "the revocation list of this certificate's issuer has expired; its issuer must publish a new one";
    OrganisationSuspended "ORG_SUSPENDED" PermissionDenied Operator 0 "this organisation is suspended";
    MethodNotAllowed "METHOD_NOT_ALLOWED" PermissionDenied Client 0 "an organisation of this kind may not call this method";
    GrantRequired "GRANT_REQUIRED" PermissionDenied People 0 "no grant in force covers this";
    NotAppointed "NOT_APPOINTED" PermissionDenied People 0 "the caller may not read this organisation's exchanges: it has not appointed the caller as its auditor for today";
    NotFound "NOT_FOUND" NotFound Client 0 "there is no such thing that this caller may know of";
    AgreementNotInForce "AGREEMENT_NOT_IN_FORCE" FailedPrecondition People 0 "no sharing agreement in force covers this";
    RecipientSuspended "RECIPIENT_SUSPENDED" FailedPrecondition Operator 0 "the organisation that this would go to is suspended";
    StateInvalid "STATE_INVALID" FailedPrecondition People 0 "this cannot be done in its present state; the metadata names it, the states in which it can, and who acts next";
    AlreadyExists "ALREADY_EXISTS" AlreadyExists Client 0 "the organisation has made this before";
    RevisionMismatch "REVISION_MISMATCH" Aborted Client 0 "the etag is not that of the newest version";
    DigestMismatch "DIGEST_MISMATCH" FailedPrecondition Client 0 "the digest is none with which this delivery was sent";
    RequestIdReused "IDEMPOTENCY_KEY_REUSED" AlreadyExists Client 0 "this request id was used for another request";
    StreamProtocol "STREAM_PROTOCOL" InvalidArgument Client 0 "the message does not belong at this place of the stream";
    StreamDigestMismatch "STREAM_DIGEST_MISMATCH" InvalidArgument Client 0 "the commit's count or digest is not that of the part; nothing of the part was stored";
    StreamBroken "STREAM_BROKEN" Aborted Client 0 "the stream ended with a part open; nothing of the part was stored";
    SequenceGap "SEQUENCE_GAP" FailedPrecondition Client 0 "this is not the part that comes next";
    Contended "CONTENDED" Aborted Time 100 "others changed the same things; nothing was done";
    TooManyInFlight "TOO_MANY_IN_FLIGHT" ResourceExhausted Time 1000 "too many exchanges of this organisation are under way";
    LogUnavailable "AUDIT_UNAVAILABLE" Unavailable Time 1000 "the log cannot be written, so nothing is answered";
    KeyUnavailable "KEY_UNAVAILABLE" Unavailable Operator 1000 "this node does not hold the key to a record that the answer needs; nothing was done";
    TooLarge "MESSAGE_TOO_LARGE" ResourceExhausted Client 0 "the message is larger than this gateway takes";
    ReplyTooLarge "REPLY_TOO_LARGE" ResourceExhausted Client 0 "the answer would be larger than 4 MiB; ask for less at once";
    DecisionTooLarge "DECISION_TOO_LARGE" ResourceExhausted Client 0 "an answer would take more rows, queries or time than one exchange may use; ask for fewer days, placements or rows at once";
    HostMismatch "HOST_MISMATCH" Unauthenticated Client 0 "the call is for another host than the gateway's certificate names";
    EncodingUnknown "ENCODING_UNKNOWN" Unimplemented Client 0 "this compression is not taken; gzip is, and none";
    UnknownMethod "UNKNOWN_METHOD" Unimplemented Client 0 "there is no such method";
    Protocol "PROTOCOL" InvalidArgument Client 0 "the call broke a rule of gRPC";
    DeadlineExceeded "DEADLINE_EXCEEDED" DeadlineExceeded Time 1000 "the deadline passed before an answer was ready";
    Failed "FAILED" Internal Operator 0 "the gateway failed on this exchange; nothing was done";
}

/// A refusal: a reason, and for [`Reason::Invalid`] every field at fault.
#[derive(Clone, Debug)]
pub struct Refusal {
    /// Why.
    pub reason: Reason,
    /// The fields at fault, the first 50 of them.
    pub violations: Vec<Violation>,
    /// How many more there are.
    pub omitted: usize,
    /// Further facts for programs, by key: `ErrorInfo.metadata`. Only what the caller may know.
    pub facts: Vec<(&'static str, String)>,
}

/// Who can take a thing out of the state in which it is.
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
    /// The caller, with another method or a new thing.
    Caller,
    /// Nobody: the state is final.
    Nobody,
}

impl NextActor {
    /// The name that stands in the metadata.
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

/// A thing that is not in a state in which what was asked can be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WrongState {
    /// The present state, as its enum value is named in the protocol, or a word of ERRORS.md.
    pub present: &'static str,
    /// The states in which it could be done; none where there is no way to it.
    pub needed: Vec<&'static str>,
    /// Who acts next.
    pub next_actor: NextActor,
}

impl From<WrongState> for Refusal {
    fn from(wrong: WrongState) -> Self {
        Self {
            facts: vec![
                ("state", wrong.present.to_owned()),
                ("needed", wrong.needed.join(",")),
                ("next_actor", wrong.next_actor.name().to_owned()),
            ],
            ..Self::from(Reason::StateInvalid)
        }
    }
}

impl From<Reason> for Refusal {
    fn from(reason: Reason) -> Self {
        Self { reason, violations: Vec::new(), omitted: 0, facts: Vec::new() }
    }
}

impl From<Violations> for Refusal {
    fn from(violations: Violations) -> Self {
        Self {
            reason: Reason::Invalid,
            violations: violations.first,
            omitted: violations.omitted,
            facts: Vec::new(),
        }
    }
}

impl From<crate::store::StoreError> for Refusal {
    /// What could not be read cannot be decided from. The log says why; the caller learns nothing of it.
    fn from(error: crate::store::StoreError) -> Self {
        if matches!(error, crate::store::StoreError::LimitExceeded) {
            return Reason::DecisionTooLarge.into();
        }
        tracing::error!(error = %error, source = ?std::error::Error::source(&error), "a snapshot could not be read");
        match error {
            crate::store::StoreError::Unreachable(_) | crate::store::StoreError::Full(_) => {
                Reason::LogUnavailable.into()
            }
            _ => Reason::Failed.into(),
        }
    }
}

impl From<crate::seal::SealError> for Refusal {
    /// Refuses an exchange that met sealed bytes which do not open on this node. The operator's log says why.
    fn from(error: crate::seal::SealError) -> Self {
        tracing::error!(error = %error, "a sealed column could not be used");
        match error {
            crate::seal::SealError::KeyMissing { .. } => Reason::KeyUnavailable.into(),
            _ => Reason::Failed.into(),
        }
    }
}

impl From<crate::store::evidence::AnswerError> for Refusal {
    fn from(error: crate::store::evidence::AnswerError) -> Self {
        match error {
            crate::store::evidence::AnswerError::Store(error) => error.into(),
            crate::store::evidence::AnswerError::Seal(error) => error.into(),
        }
    }
}

/// Metadata of [`Reason::Failed`]: the placement of the damaged record.
pub const DAMAGED_PLACEMENT: &str = "placement_id";
/// Metadata of [`Reason::Failed`]: the token of the page behind the damaged record.
pub const NEXT_PAGE_TOKEN: &str = "next_page_token";

impl Refusal {
    /// Decides what a damaged record does to a list of records of several children: the list ends before it, or, where
    /// it is the first, is refused with the place behind it, so that the caller can go on. The operator's log names it.
    ///
    /// # Errors
    /// The refusal itself where the record is the first, or where it is not about one record.
    pub fn of_record(
        mut self,
        cx: &Cx,
        placement: Option<Uuid>,
        is_first: bool,
        behind: impl FnOnce() -> Result<Vec<(&'static str, String)>, Self>,
    ) -> Result<(), Self> {
        if self.reason != Reason::Failed || cx.snapshot.has_failed() {
            return Err(self);
        }
        if !is_first {
            return Ok(());
        }
        let id = placement.map_or_else(String::new, |id| id.hyphenated().to_string());
        tracing::error!(placement.id = id, "a record is damaged; its reader can go on behind it");
        self.facts.push((DAMAGED_PLACEMENT, id));
        self.facts.extend(behind()?);
        Err(self)
    }

    /// The status as the caller gets it, with `ErrorInfo`, `BadRequest` and `RetryInfo` (AIP-193). Where not all
    /// violations fit, `violations_omitted` counts the rest.
    #[must_use]
    pub fn status(&self, exchange: Uuid) -> Status {
        // Measured with a count, because whether there is one is known only when the violations are chosen.
        let most = self.with_details(exchange, Vec::new(), usize::MAX).details().len();
        let shown = details::fitting(&self.violations, most);
        let omitted = self.omitted + self.violations.len() - shown.len();
        self.with_details(exchange, shown, omitted)
    }

    fn with_details(&self, exchange: Uuid, shown: Vec<FieldViolation>, omitted: usize) -> Status {
        let mut details = ErrorDetails::new();
        let mut metadata = HashMap::from([("exchange_id".to_owned(), exchange.to_string())]);
        if omitted > 0 {
            metadata.insert("violations_omitted".to_owned(), omitted.to_string());
        }
        if !shown.is_empty() {
            details.set_bad_request(shown);
        }
        metadata.extend(self.facts.iter().map(|(key, value)| ((*key).to_owned(), value.clone())));
        details.set_error_info(self.reason.name(), "ap-gateway", metadata);
        if self.reason.retry_after_ms() > 0 {
            details.set_retry_info(Some(Duration::from_millis(self.reason.retry_after_ms())));
        }
        Status::with_error_details(self.reason.code(), self.reason.text(), details)
    }
}

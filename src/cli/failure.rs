//! Failure of a command: an exit code and a message for the person who ran it.

use std::error::Error;
use std::process::ExitCode;
use std::time::Duration;

use super::log_writer::LogWriter;
use crate::client::{CheckpointFolderError, ClientError};
use crate::config::ConfigError;
use crate::exchange::Reason;
use crate::store::{FatalError, StoreError, error_chain};

/// Advice if the gateway cannot be reached.
const UNREACHABLE_ADVICE: &str = "check that it is serving, that the profile's endpoint is its address, and that the \
                           certificates are in force; then run this again";
/// Advice if the gateway timed out or asked to retry later.
const RETRY_LATER_ADVICE: &str = "the client has retried as often as its limits allow; run this again later";
/// Advice if a checkpoint is signed by another key.
const NEW_KEY_ADVICE: &str = "a log that was replaced has a new key, from its operator";
/// Advice if a token is refused: the gateway gives one text for every fault of a token.
const TOKEN_ADVICE: &str = "the gateway does not say what is wrong with a token: make a new one with this profile, and check \
                            that `issuer list` shows its issuer and key in force and that the person was not ended";
/// Subject of a failure after the response, which may have taken effect.
const UNCHECKED: &str = "the log could not be compared with the checkpoints that were kept";

/// Failure of a command, with its exit code and its message.
#[derive(Debug)]
pub struct Failure {
    code: u8,
    message: String,
    retry_after: Option<Duration>,
}

impl Failure {
    fn with_code(code: u8, message: String) -> Self {
        Self { code, message, retry_after: None }
    }

    /// Makes a failure with exit code 1: the gateway refused, or a check found faults.
    pub fn refused(message: impl Into<String>) -> Self {
        Self::with_code(1, message.into())
    }

    /// Makes a failure with exit code 2: the arguments are invalid.
    pub fn usage(message: impl Into<String>) -> Self {
        Self::with_code(2, message.into())
    }

    /// Makes a failure with exit code 64: the input file is invalid.
    pub fn input(message: impl Into<String>) -> Self {
        Self::with_code(64, message.into())
    }

    /// Makes a failure with exit code 69: a required resource is unavailable.
    pub fn unavailable(what: &str, error: impl Error) -> Self {
        Self::with_code(69, format!("{what}: {}", error_chain(&error)))
    }

    /// Makes a failure with exit code 69: a peer does not answer.
    #[must_use]
    pub fn no_answer(message: &str) -> Self {
        Self::with_code(69, message.to_owned())
    }

    /// Makes a failure with exit code 70: a bug in the program.
    pub fn bug(what: &str, error: impl Error) -> Self {
        Self::with_code(70, format!("{what}: {}", error_chain(&error)))
    }

    /// Makes a failure with exit code 78: the configuration is invalid.
    pub fn configuration(message: impl Into<String>) -> Self {
        Self::with_code(78, message.into())
    }

    /// Makes a failure as [`Failure::configuration`] does, from an error and its sources.
    pub fn configuration_error(error: &dyn Error) -> Self {
        Self::configuration(error_chain(error))
    }

    /// Prefixes the message with the subject of the failure, such as a file name.
    #[must_use]
    pub fn with_subject(self, what: &str) -> Self {
        Self { message: format!("{what}: {}", self.message), ..self }
    }

    /// Appends a line of advice to the message.
    #[must_use]
    pub fn with_advice(self, note: &str) -> Self {
        Self { message: format!("{}\n{note}", self.message), ..self }
    }

    /// Returns the shortest pause before a retry, or `None` if a retry would not help.
    #[must_use]
    pub fn retry_after(&self) -> Option<Duration> {
        self.retry_after
    }

    /// Prints the message to standard error, behind the lines of the log, and returns the exit code. It does not wait
    /// for a reader of standard error longer than the log does.
    #[must_use]
    pub fn report(&self) -> ExitCode {
        LogWriter::print(format!("ap-gateway: {}\n", self.message));
        ExitCode::from(self.code)
    }
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.message)
    }
}

impl From<ConfigError> for Failure {
    fn from(error: ConfigError) -> Self {
        Self::configuration(error_chain(&error))
    }
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Inconsistent(_)
            | StoreError::Corrupt { .. }
            | StoreError::Anchor { .. }
            | StoreError::NotDurable(_) => Self::refused(error_chain(&error)),
            StoreError::Unusable(_) => Self::configuration_error(&error),
            StoreError::Refused(_) => Self::configuration(format!("the database: {}", error_chain(&error))),
            StoreError::Damaged { .. } => FatalError::Damaged(error).into(),
            StoreError::Disk(_) => Self::bug("the database", error),
            _ => Self::unavailable("the database", error),
        }
    }
}

impl From<FatalError> for Failure {
    fn from(fatal: FatalError) -> Self {
        match fatal {
            FatalError::Diverged(_) => Self::refused(error_chain(&fatal)),
            _ => Self::bug("the gateway stopped", fatal),
        }
    }
}

impl From<ClientError> for Failure {
    fn from(error: ClientError) -> Self {
        let retry_after = error.min_retry_delay();
        let failure = match error {
            ClientError::Profile(_) => Self::configuration(error_chain(&error)),
            ClientError::Unreachable(_) => {
                Self::unavailable("the gateway", error).with_advice(UNREACHABLE_ADVICE)
            }
            ClientError::TimedOut => Self::unavailable("the gateway", error).with_advice(RETRY_LATER_ADVICE),
            // The connection was lost, the gateway cannot write its log, or it requests a later retry.
            ClientError::Refused(status) if retry_after.is_some() => {
                Self::with_code(69, format!("the gateway: {}", status.message()))
                    .with_advice(RETRY_LATER_ADVICE)
            }
            ClientError::Refused(status) => {
                let failure = Self::refused(crate::client::explain(&status));
                let is_token = crate::client::reason(&status) == Reason::TokenInvalid.name();
                if is_token { failure.with_advice(TOKEN_ADVICE) } else { failure }
            }
            ClientError::Malformed | ClientError::Receipt(_) | ClientError::Inconsistent(_) => {
                Self::refused(error_chain(&error))
            }
            ClientError::Checkpoint(error) => Self::refused(error.to_string()).with_advice(NEW_KEY_ADVICE),
            ClientError::Unchecked(cause) => Self::from(*cause).with_subject(UNCHECKED),
            ClientError::Folder(error) => error.into(),
        };
        Self { retry_after, ..failure }
    }
}

impl From<CheckpointFolderError> for Failure {
    fn from(error: CheckpointFolderError) -> Self {
        match error {
            CheckpointFolderError::Conflict(_) => Self::refused(error.to_string()),
            CheckpointFolderError::Damaged { .. } => Self::configuration(error.to_string()),
            _ => Self::unavailable("the folder of checkpoints", error),
        }
    }
}

//! How a verb fails: an exit code and a sentence for whoever ran it.

use std::error::Error;
use std::io::Write;
use std::process::ExitCode;
use std::time::Duration;

use crate::client::ClientError;
use crate::config::ConfigError;
use crate::store::{Fatal, StoreError};

/// What to do about a gateway that cannot be reached.
const UNREACHABLE: &str = "check that it is serving, that the profile's endpoint is its address, and that the \
                           certificates are in force; then run this again";
/// What to do about a gateway that answers too late, or not now.
const AGAIN_LATER: &str = "it was asked as often as the client's limits allow; run this again later";

/// Why a verb did not do what it was asked.
#[derive(Debug)]
pub struct Failure {
    code: u8,
    message: String,
    retry_after: Option<Duration>,
}

impl Failure {
    fn with(code: u8, message: String) -> Self {
        Self { code, message, retry_after: None }
    }

    /// The gateway refused, or a check found something: exit code 1.
    pub fn refused(message: impl Into<String>) -> Self {
        Self::with(1, message.into())
    }

    /// The arguments are at fault: exit code 2.
    pub fn usage(message: impl Into<String>) -> Self {
        Self::with(2, message.into())
    }

    /// The input file is at fault: exit code 64.
    pub fn input(message: impl Into<String>) -> Self {
        Self::with(64, message.into())
    }

    /// Something needed is not there now: exit code 69.
    pub fn unavailable(what: &str, error: impl Error) -> Self {
        Self::with(69, format!("{what}: {}", chain(&error)))
    }

    /// The program is at fault: exit code 70.
    pub fn bug(what: &str, error: impl Error) -> Self {
        Self::with(70, format!("{what}: {}", chain(&error)))
    }

    /// The configuration is at fault: exit code 78.
    pub fn configuration(message: impl Into<String>) -> Self {
        Self::with(78, message.into())
    }

    /// As [`Failure::configuration`], from an error and what lies below it.
    pub fn configuration_of(error: &dyn Error) -> Self {
        Self::configuration(chain(error))
    }

    /// The same, said of something.
    #[must_use]
    pub fn of(self, what: &str) -> Self {
        Self { message: format!("{what}: {}", self.message), ..self }
    }

    /// The same, with what to do about it.
    #[must_use]
    pub fn and(self, note: &str) -> Self {
        Self { message: format!("{}\n{note}", self.message), ..self }
    }

    /// Gives the shortest pause after which the same could succeed, where the failure may pass by itself.
    #[must_use]
    pub fn retry_after(&self) -> Option<Duration> {
        self.retry_after
    }

    /// Says why on standard error, and gives the exit code.
    #[must_use]
    pub fn report(&self) -> ExitCode {
        writeln!(std::io::stderr().lock(), "ap-gateway: {}", self.message).ok();
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
        Self::configuration(chain(&error))
    }
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Inconsistent(_) | StoreError::Corrupt { .. } | StoreError::Anchor { .. } => {
                Self::refused(chain(&error))
            }
            _ => Self::unavailable("the database", error),
        }
    }
}

impl From<Fatal> for Failure {
    fn from(fatal: Fatal) -> Self {
        match fatal {
            Fatal::Diverged(_) => Self::refused(chain(&fatal)),
            _ => Self::bug("the gateway stopped", fatal),
        }
    }
}

impl From<ClientError> for Failure {
    fn from(error: ClientError) -> Self {
        let retry_after = error.retry_delay();
        let failure = match &error {
            ClientError::Profile(_) => Self::configuration(chain(&error)),
            ClientError::Unreachable(_) => Self::unavailable("the gateway", error).and(UNREACHABLE),
            ClientError::TimedOut => Self::unavailable("the gateway", error).and(AGAIN_LATER),
            // The connection was cut, the gateway cannot write its log, or it asks to be called later.
            ClientError::Refused(status) if retry_after.is_some() => {
                Self::with(69, format!("the gateway: {}", status.message())).and(AGAIN_LATER)
            }
            ClientError::Refused(status) => Self::refused(crate::client::explain(status)),
            ClientError::Malformed | ClientError::Receipt(_) => Self::refused(chain(&error)),
        };
        Self { retry_after, ..failure }
    }
}

/// The error and what lies below it, one sentence.
fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut below = error.source();
    while let Some(source) = below {
        text = format!("{text}: {source}");
        below = source.source();
    }
    text
}

//! How a verb fails: an exit code and a sentence for whoever ran it.

use std::error::Error;
use std::io::Write;
use std::process::ExitCode;

use tonic::Code;

use crate::client::ClientError;
use crate::config::ConfigError;
use crate::store::{Fatal, StoreError};

/// Why a verb did not do what it was asked.
#[derive(Debug)]
pub struct Failure {
    code: u8,
    message: String,
}

impl Failure {
    /// The gateway refused, or a check found something: exit code 1.
    pub fn refused(message: impl Into<String>) -> Self {
        Self { code: 1, message: message.into() }
    }

    /// The arguments are at fault: exit code 2.
    pub fn usage(message: impl Into<String>) -> Self {
        Self { code: 2, message: message.into() }
    }

    /// The input file is at fault: exit code 64.
    pub fn input(message: impl Into<String>) -> Self {
        Self { code: 64, message: message.into() }
    }

    /// Something needed is not there now: exit code 69.
    pub fn unavailable(what: &str, error: impl Error) -> Self {
        Self { code: 69, message: format!("{what}: {}", chain(&error)) }
    }

    /// The program is at fault: exit code 70.
    pub fn bug(what: &str, error: impl Error) -> Self {
        Self { code: 70, message: format!("{what}: {}", chain(&error)) }
    }

    /// The configuration is at fault: exit code 78.
    pub fn configuration(message: impl Into<String>) -> Self {
        Self { code: 78, message: message.into() }
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
        match &error {
            ClientError::Profile(_) => Self::configuration(chain(&error)),
            ClientError::Unreachable(_) => Self::unavailable("the gateway", error),
            // A connection that is cut, or a gateway that cannot write its log.
            ClientError::Refused(status) if status.code() == Code::Unavailable => {
                Self { code: 69, message: format!("the gateway: {}", status.message()) }
            }
            ClientError::Refused(status) => Self::refused(crate::client::explain(status)),
            ClientError::Malformed | ClientError::Receipt(_) => Self::refused(chain(&error)),
        }
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

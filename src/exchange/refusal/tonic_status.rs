//! Conversion between refusals and the statuses of tonic.

use std::collections::HashMap;
use std::time::Duration;

use tonic::{Code, Status};
use tonic_types::{ErrorDetails, FieldViolation, StatusExt};
use uuid::Uuid;

use super::{Reason, Refusal};
use crate::exchange::error_details;

impl Refusal {
    /// Returns the gRPC status with `ErrorInfo`, `BadRequest` and `RetryInfo` (AIP-193). If not all violations
    /// fit, `violations_omitted` counts the rest.
    #[must_use]
    pub fn status(&self, exchange: Uuid) -> Status {
        // Measured with a count, because the count is known only after the violations are selected.
        let most = self.with_details(exchange, Vec::new(), usize::MAX).details().len();
        let shown = error_details::fit_violations(&self.violations, most);
        let omitted = self.omitted_violations + self.violations.len() - shown.len();
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
        metadata.extend(self.metadata.iter().map(|(key, value)| ((*key).to_owned(), value.clone())));
        details.set_error_info(self.reason.name(), "ap-gateway", metadata);
        if self.reason.retry_after_ms() > 0 {
            details.set_retry_info(Some(Duration::from_millis(self.reason.retry_after_ms())));
        }
        Status::with_error_details(self.reason.code(), self.reason.text(), details)
    }
}

/// Maps a status of tonic 0.14.9 to a reason. tonic returns `OUT_OF_RANGE` for a message that is too large,
/// `RESOURCE_EXHAUSTED` for one that grows too large, and `INTERNAL` for one that it cannot decode.
pub(in crate::exchange) fn reason_from_status(has_route: bool, status: &Status) -> Reason {
    match status.code() {
        Code::Unimplemented if !has_route => Reason::UnknownMethod,
        Code::Unimplemented => Reason::EncodingUnknown,
        Code::OutOfRange | Code::ResourceExhausted => Reason::TooLarge,
        Code::Internal | Code::InvalidArgument => Reason::Malformed,
        _ => Reason::Protocol,
    }
}

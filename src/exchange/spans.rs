//! Spans of exchanges, for an exporter of traces. They name the exchange, its method and the caller's trace, and nobody.

use tracing::Span;
use uuid::Uuid;

use super::call::Call;
use super::method::Method;

/// Makes the span of an exchange. Inside are `permit` and `decide` of each attempt, and the stages of its commit: `queue`,
/// `transaction`, `sync` and `anchor`.
pub(super) fn exchange_span(call: &Call) -> Span {
    named_span(call.method, call.exchange_id, &call.trace_id)
}

/// Makes the span of a system exchange.
pub(super) fn system_exchange_span(method: &'static Method, exchange: Uuid) -> Span {
    named_span(method, exchange, "")
}

fn named_span(method: &'static Method, exchange: Uuid, trace_id: &str) -> Span {
    let (service, name) = (method.service(), method.name());
    tracing::info_span!("exchange", exchange.id = %exchange, rpc.service = service, rpc.method = name, trace.id = trace_id)
}

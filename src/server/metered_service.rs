//! Service that charges each call of a connection, and its response, to the connection's memory, and counts the call
//! until its response was sent.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use http_body::Body as _;
use tonic::body::Body;
use tower::Service;

use super::active_calls::ActiveCalls;
use super::response_body::{ResponseBody, UNKNOWN_CODE, status_code};
use crate::exchange::{AwaitedResponse, ConnectionMemory};
use crate::metrics::CallMetrics;

/// Wraps the service of a connection. Each request carries its memory as [`crate::exchange::CallMemory`].
#[derive(Clone)]
pub struct MeteredService<S> {
    /// The service that answers.
    pub inner: S,
    /// The memory of the connection.
    pub memory: Arc<ConnectionMemory>,
    /// The calls of the connection that are under way.
    pub calls: ActiveCalls,
    /// Counts the calls by method and status.
    pub metrics: CallMetrics,
}

impl<S, B> Service<http::Request<B>> for MeteredService<S>
where
    S: Service<http::Request<B>, Response = http::Response<Body>, Error = Infallible>,
    S::Future: Send + 'static,
{
    type Response = http::Response<ResponseBody>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: http::Request<B>) -> Self::Future {
        let started = self.metrics.begin(request.uri().path());
        let headers = request.headers().iter().map(|(name, value)| name.as_str().len() + value.len());
        let memory = self.memory.call(headers.sum());
        request.extensions_mut().insert(memory.clone());
        let (call, answered) = (self.calls.begin(), self.inner.call(request));
        Box::pin(async move {
            let response = answered.await?;
            // A stream of responses is under way only until it has begun.
            let call = response.extensions().get::<AwaitedResponse>().map(|_| call);
            // The response to a refused call has its status in the headers.
            let started = match status_code(response.headers()) {
                Some(code) => {
                    started.finish(code);
                    None
                }
                // A body that is empty is not asked for its end.
                None if response.body().is_end_stream() => {
                    started.finish(UNKNOWN_CODE);
                    None
                }
                None => Some(started),
            };
            Ok(response.map(|body| ResponseBody::new(body, memory, call).measured(started)))
        })
    }
}

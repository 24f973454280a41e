//! Dispatch of requests: to the services outside the log, or to the exchange pipeline.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use tonic::body::Body;

use crate::config::Config;
use crate::exchange::ExchangeService;

type ResponseFuture =
    Pin<Box<dyn Future<Output = Result<http::Response<Body>, std::convert::Infallible>> + Send>>;

/// Service outside the log: health, reflection and the sandbox's controls have no entries.
pub struct UnauditedService {
    /// The prefix of its paths, `/package.Service/`.
    pub path_prefix: String,
    /// Handles a request.
    pub handler: Box<dyn Fn(http::Request<Body>) -> ResponseFuture + Send + Sync>,
}

/// The service of a node.
#[derive(Clone)]
pub(super) struct Dispatch {
    pub gateway: ExchangeService,
    pub unaudited: Arc<Vec<UnauditedService>>,
}

impl tower::Service<http::Request<Body>> for Dispatch {
    type Response = http::Response<Body>;
    type Error = std::convert::Infallible;
    type Future = ResponseFuture;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> ResponseFuture {
        match self.unaudited.iter().find(|extra| request.uri().path().starts_with(&extra.path_prefix)) {
            Some(extra) => (extra.handler)(request),
            None => tower::Service::call(&mut self.gateway, request),
        }
    }
}

impl UnauditedService {
    /// Wraps a tonic service.
    pub fn new<S>(service: S) -> Self
    where
        S: tower::Service<
                http::Request<Body>,
                Response = http::Response<Body>,
                Error = std::convert::Infallible,
            > + tonic::server::NamedService
            + Clone
            + Send
            + Sync
            + 'static,
        S::Future: Send,
    {
        let answer = move |request| -> ResponseFuture {
            Box::pin(tower::ServiceExt::oneshot(service.clone(), request))
        };
        Self { path_prefix: format!("/{}/", S::NAME), handler: Box::new(answer) }
    }
}

/// Returns the services outside the log: health, `extra`, and reflection if it is configured.
pub(super) fn unaudited_services(
    config: &Config,
    health: UnauditedService,
    extra: Option<UnauditedService>,
) -> Vec<UnauditedService> {
    let mut extras = vec![health];
    extras.extend(extra);
    if config.reflection {
        let builder = || {
            tonic_reflection::server::Builder::configure()
                .register_encoded_file_descriptor_set(crate::proto::DESCRIPTOR_SET)
        };
        if let (Ok(v1), Ok(v1alpha)) = (builder().build_v1(), builder().build_v1alpha()) {
            extras.extend([UnauditedService::new(v1), UnauditedService::new(v1alpha)]);
        } else {
            tracing::error!("reflection could not be set up");
        }
    }
    extras
}

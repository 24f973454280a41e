//! Dispatch of requests: to the services outside the log, or to the exchange pipeline.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use tonic::Status;
use tonic::body::Body;

use crate::config::Config;
use crate::exchange::{CallMemory, ExchangeService, MessageBody, keep_only_grpc};

/// Largest message to a service outside the log, in bytes: a name of a service, or a symbol.
pub(super) const MAX_UNAUDITED_MESSAGE_BYTES: usize = 4 << 10;
/// Maximum time for the first message to a service outside the log.
const MAX_UNAUDITED_WAIT: Duration = Duration::from_secs(30);

type ResponseFuture =
    Pin<Box<dyn Future<Output = Result<http::Response<Body>, std::convert::Infallible>> + Send>>;

/// Service outside the log: health, reflection and the sandbox's controls have no entries.
pub struct UnauditedService {
    /// The prefix of its paths, `/package.Service/`.
    pub path_prefix: String,
    /// Whether its answers are large, so that they are charged before they are made.
    pub has_large_answers: bool,
    /// Handles a request.
    pub handler: Box<dyn Fn(http::Request<Body>) -> ResponseFuture + Send + Sync>,
}

/// The service of a node.
#[derive(Clone)]
pub(super) struct Dispatch {
    pub gateway: ExchangeService,
    pub unaudited: Arc<[Arc<UnauditedService>]>,
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
            Some(extra) => {
                let (extra, gateway) = (Arc::clone(extra), self.gateway.clone());
                Box::pin(async move {
                    Ok(extra.serve(&gateway, request).await.unwrap_or_else(|refused| *refused))
                })
            }
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
        let path_prefix = format!("/{}/", S::NAME);
        Self { path_prefix, has_large_answers: false, handler: Box::new(answer) }
    }

    /// Answers a request once its first message is there, so that a slow one holds nothing but what has arrived.
    ///
    /// # Errors
    /// The response of a call that is not admitted.
    async fn serve(
        &self,
        gateway: &ExchangeService,
        request: http::Request<Body>,
    ) -> Result<http::Response<Body>, Box<http::Response<Body>>> {
        let mut request = gateway.admit_unaudited(request).await?;
        keep_only_grpc(&mut request);
        let memory = request.extensions().get::<CallMemory>().cloned().unwrap_or_else(CallMemory::unlimited);
        let (parts, body) = request.into_parts();
        let mut body = MessageBody::new(body, memory.clone(), MAX_UNAUDITED_MESSAGE_BYTES);
        if tokio::time::timeout(MAX_UNAUDITED_WAIT, body.wait_for_message()).await.is_err() {
            return Ok(Status::deadline_exceeded("the request did not arrive").into_http());
        }
        if self.has_large_answers {
            gateway.charge_unaudited(&parts, &memory).await?;
        }
        let Ok(response) = (self.handler)(http::Request::from_parts(parts, Body::new(body))).await;
        Ok(response)
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
            let v1 = v1.max_decoding_message_size(MAX_UNAUDITED_MESSAGE_BYTES);
            let v1alpha = v1alpha.max_decoding_message_size(MAX_UNAUDITED_MESSAGE_BYTES);
            let services = [UnauditedService::new(v1), UnauditedService::new(v1alpha)];
            extras.extend(services.map(|service| UnauditedService { has_large_answers: true, ..service }));
        } else {
            tracing::error!("reflection could not be set up");
        }
    }
    extras
}

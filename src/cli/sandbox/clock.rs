//! The sandbox's held clock: kept in its folder, and moved forward through `SandboxService`.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use prost::Message;
use tonic::body::Body;
use tonic::server::{Grpc, NamedService, UnaryService};
use tonic::{Request, Response, Status};

use super::Failure;
use crate::clock::{Clock, HeldClock, Instant};
use crate::exchange::codec::{Answer, ExchangeCodec};
use crate::gateway::Extra;
use crate::proto::sandbox::{AdvanceClockRequest, AdvanceClockResponse};

/// Keeps where the clock stands.
///
/// # Errors
/// Exit code 69 when the folder cannot be written.
pub fn save(dir: &Path, now: Instant) -> Result<(), Failure> {
    std::fs::write(dir.join("clock"), now.to_string())
        .map_err(|error| Failure::unavailable("the clock's file", error))
}

/// Where the clock stands.
///
/// # Errors
/// Exit code 78 when the file is not there or holds no instant.
pub fn load(dir: &Path) -> Result<Instant, Failure> {
    let text = std::fs::read_to_string(dir.join("clock")).unwrap_or_default();
    text.trim().parse().map_err(|_| Failure::configuration("the folder's clock file holds no instant"))
}

/// The service that moves the clock.
pub fn controls(clock: HeldClock, dir: PathBuf) -> Extra {
    Extra::new(Controls(Arc::new((clock, dir))))
}

#[derive(Clone)]
struct Controls(Arc<(HeldClock, PathBuf)>);

impl NamedService for Controls {
    const NAME: &'static str = "apgateway.sandbox.v1.SandboxService";
}

type Boxed<T> = std::pin::Pin<Box<dyn Future<Output = T> + Send>>;

impl tower::Service<http::Request<Body>> for Controls {
    type Response = http::Response<Body>;
    type Error = std::convert::Infallible;
    type Future = Boxed<Result<http::Response<Body>, Self::Error>>;

    fn poll_ready(&mut self, _: &mut std::task::Context<'_>) -> std::task::Poll<Result<(), Self::Error>> {
        std::task::Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        let controls = self.clone();
        Box::pin(async move {
            if request.uri().path() != crate::proto::sandbox::sandbox_service::ADVANCE_CLOCK.path() {
                return Ok(Status::unimplemented("no such method").into_http());
            }
            Ok(Grpc::new(ExchangeCodec::default()).unary(controls, request).await)
        })
    }
}

impl UnaryService<Bytes> for Controls {
    type Response = Answer;
    type Future = Boxed<Result<Response<Answer>, Status>>;

    fn call(&mut self, request: Request<Bytes>) -> Self::Future {
        let advanced = self.advance(request.into_inner());
        Box::pin(async move { advanced })
    }
}

impl Controls {
    fn advance(&self, message: Bytes) -> Result<Response<Answer>, Status> {
        let (clock, dir) = &*self.0;
        let asked = AdvanceClockRequest::decode(message).ok().and_then(|request| request.to);
        let to = asked.and_then(|to| Instant::from_proto(&to).ok());
        let to = to.ok_or_else(|| Status::invalid_argument("to is not an instant"))?;
        clock.advance_to(to).map_err(|_| Status::failed_precondition("the clock moves forward only"))?;
        save(dir, to).map_err(|_| Status::unavailable("the clock could not be kept"))?;
        let answer = AdvanceClockResponse { now: Some(clock.now().to_proto()) };
        Ok(Response::new(Answer::Hashes(answer.encode_to_vec().into())))
    }
}

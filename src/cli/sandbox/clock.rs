//! Held clock of the sandbox. It is stored in the folder, and `SandboxService` moves it forward.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use prost::Message;
use tokio::sync::Mutex;
use tonic::body::Body;
use tonic::server::{Grpc, NamedService, UnaryService};
use tonic::{Request, Response, Status};

use super::Failure;
use crate::clock::{Clock, Instant, ManualClock};
use crate::exchange::CallMemory;
use crate::exchange::codec::{ExchangeCodec, OutboundMessage};
use crate::gateway::UnauditedService;
use crate::oversight::AlertScheduler;
use crate::proto::sandbox::{AdvanceClockRequest, AdvanceClockResponse};

/// Stores the time of the clock.
///
/// # Errors
/// Exit code 69 when the folder cannot be written.
pub fn save_clock(dir: &Path, now: Instant) -> Result<(), Failure> {
    std::fs::write(dir.join("clock"), now.to_string())
        .map_err(|error| Failure::unavailable("the clock's file", error))
}

/// Loads the time of the clock.
///
/// # Errors
/// Exit code 78 when the file is missing or holds no instant.
pub fn load_clock(dir: &Path) -> Result<Instant, Failure> {
    let text = std::fs::read_to_string(dir.join("clock")).unwrap_or_default();
    text.trim().parse().map_err(|_| Failure::configuration("the clock file of the folder holds no time"))
}

/// Returns the service that moves the clock. It also runs what has fallen due, so that a script finds its alerts raised when
/// the call returns.
pub fn clock_service(
    clock: ManualClock,
    dir: PathBuf,
    alerts: Arc<Mutex<AlertScheduler>>,
) -> UnauditedService {
    UnauditedService::new(ClockService { clock, dir: dir.into(), alerts })
}

#[derive(Clone)]
struct ClockService {
    clock: ManualClock,
    dir: Arc<Path>,
    alerts: Arc<Mutex<AlertScheduler>>,
}

impl NamedService for ClockService {
    const NAME: &'static str = "apgateway.sandbox.v1.SandboxService";
}

type BoxFuture<T> = std::pin::Pin<Box<dyn Future<Output = T> + Send>>;

impl tower::Service<http::Request<Body>> for ClockService {
    type Response = http::Response<Body>;
    type Error = std::convert::Infallible;
    type Future = BoxFuture<Result<http::Response<Body>, Self::Error>>;

    fn poll_ready(&mut self, _: &mut std::task::Context<'_>) -> std::task::Poll<Result<(), Self::Error>> {
        std::task::Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        let controls = self.clone();
        Box::pin(async move {
            if request.uri().path() != crate::proto::sandbox::sandbox_service::ADVANCE_CLOCK.path() {
                return Ok(Status::unimplemented("no such method").into_http());
            }
            let memory = CallMemory::unlimited();
            let codec = ExchangeCodec { client_streaming: false, memory };
            Ok(Grpc::new(codec).unary(controls, request).await)
        })
    }
}

impl UnaryService<Bytes> for ClockService {
    type Response = OutboundMessage;
    type Future = BoxFuture<Result<Response<OutboundMessage>, Status>>;

    fn call(&mut self, request: Request<Bytes>) -> Self::Future {
        let controls = self.clone();
        Box::pin(async move { controls.advance(request.into_inner()).await })
    }
}

impl ClockService {
    async fn advance(&self, message: Bytes) -> Result<Response<OutboundMessage>, Status> {
        let requested = AdvanceClockRequest::decode(message).ok().and_then(|request| request.to);
        let to = requested.and_then(|to| Instant::from_proto(&to).ok());
        let to = to.ok_or_else(|| Status::invalid_argument("to is not a timestamp"))?;
        let mut alerts = self.alerts.lock().await;
        // What is due before the clock moves is done at its own time.
        alerts.tick().await;
        self.clock.advance_to(to).map_err(|_| Status::failed_precondition("the clock moves forward only"))?;
        save_clock(&self.dir, to).map_err(|_| Status::unavailable("the clock could not be stored"))?;
        alerts.tick().await;
        let answer = AdvanceClockResponse { now: Some(self.clock.now().to_proto()) };
        Ok(Response::new(OutboundMessage::Hashes(answer.encode_to_vec().into())))
    }
}

//! Admission of calls to the services outside the log. They take from the rate of their organisation as other calls do.
//! Their refusals have no entry, because the calls have none; the operator's log has them.

use std::sync::Arc;

use http::request::Parts;
use http::{Request, Response, StatusCode};
use tonic::Status;
use tonic::body::Body;

use super::headers;
use super::memory::CallMemory;
use super::method::UNKNOWN_METHOD;
use super::refusal::{Reason, Refusal};
use super::service::{ExchangeService, HostMismatch, drain_rejected, http_only_response};
use crate::identity::PeerCertificate;

impl ExchangeService {
    /// Admits a call to a service outside the log.
    ///
    /// # Errors
    /// The response, if the call is for another host, or is rejected because its organisation calls too often.
    pub async fn admit_unaudited(
        &self,
        request: Request<Body>,
    ) -> Result<Request<Body>, Box<Response<Body>>> {
        let (parts, body) = request.into_parts();
        let Some(peer) = parts.extensions.get::<Arc<PeerCertificate>>() else {
            return Err(Box::new(Status::unauthenticated("no client certificate").into_http()));
        };
        if headers::are_too_large(&parts.headers) {
            return Err(Box::new(http_only_response(StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE)));
        }
        let admitted = self.pipeline.limiter.admit(peer).and_then(|()| {
            let is_own = parts.extensions.get::<HostMismatch>().is_none();
            is_own.then_some(()).ok_or(Reason::HostMismatch)
        });
        let Err(reason) = admitted else {
            return Ok(Request::from_parts(parts, body));
        };
        drain_rejected(body).await;
        Err(Box::new(self.refuse_unaudited(&parts, peer, reason)))
    }

    /// Charges the answers of a call to a service outside the log before they are made. The charge is held until the
    /// response ends, because such a service makes the next answer whether the last one was read or not.
    ///
    /// # Errors
    /// The response, if the caller's share of memory stays full.
    pub async fn charge_unaudited(
        &self,
        parts: &Parts,
        memory: &CallMemory,
    ) -> Result<(), Box<Response<Body>>> {
        let Some(peer) = parts.extensions.get::<Arc<PeerCertificate>>() else {
            return Err(Box::new(Status::unauthenticated("no client certificate").into_http()));
        };
        self.pipeline.note_registration(peer, memory).await;
        if memory.begin_exchange(false).await {
            return Ok(());
        }
        Err(Box::new(self.refuse_unaudited(parts, peer, Reason::BuffersFull)))
    }

    fn refuse_unaudited(&self, parts: &Parts, peer: &Arc<PeerCertificate>, reason: Reason) -> Response<Body> {
        let memory = parts.extensions.get::<CallMemory>().cloned().unwrap_or_else(CallMemory::unlimited);
        let call = self.build_call(UNKNOWN_METHOD, Arc::clone(peer), &parts.headers, memory);
        self.pipeline.refusal_log.add(&call, call.exchange_id, reason);
        Refusal::from(reason).status(call.exchange_id).into_http()
    }
}

//! Builder of the table of routes: the handlers of every method, typed by its messages.

use std::collections::HashMap;
use std::sync::Arc;

use bytes::Bytes;
use prost::Message;

use super::call::{BoxFuture, Decision, DecisionFuture, Handler, HashHandler, NextItem};
use super::change::Decided;
use super::context::RequestContext;
use super::method::Method;
use super::part_stream::{PartHandlers, PartMessage};
use super::refusal::{Reason, Refusal};
use super::watch::{FeedBatch, Watcher};
use crate::proto::Rpc;

#[derive(Clone)]
pub(super) enum Route {
    Unary(Handler),
    Watch(Watcher),
    Stream(PartHandlers),
    /// Returns hashes only: no entry, no receipt.
    Hashes(HashHandler),
}

/// Builder of the table of methods.
#[derive(Clone, Default)]
pub struct Routes {
    pub(super) by_path: HashMap<&'static str, (&'static Method, Route)>,
}

impl Routes {
    /// Returns whether a path is a method whose responses are a stream from the log, which ends only when the caller or
    /// the node ends it.
    pub(super) fn is_watch(&self, path: &str) -> bool {
        self.by_path.get(path).is_some_and(|(_, route)| matches!(route, Route::Watch(_)))
    }

    /// Adds a method with one request and one reply.
    #[must_use]
    pub fn unary<Req, Resp, F, Fut>(mut self, method: &'static Method, _: Rpc<Req, Resp>, handler: F) -> Self
    where
        Req: Message + Default + 'static,
        Resp: 'static,
        F: Fn(RequestContext, Req) -> Fut + Clone + Send + Sync + 'static,
        Fut: Future<Output = Result<Decided<Resp>, Refusal>> + Send + 'static,
    {
        self.by_path.insert(method.path, (method, Route::Unary(typed_handler(handler))));
        self
    }

    /// Adds a method that takes a stream of messages. `open` answers the first message. `part` answers each later
    /// part, whose messages it receives as one. `piece` classifies a message within its part.
    #[must_use]
    pub fn part_stream<Req, Resp, O, OFut, P, PFut>(
        mut self,
        method: &'static Method,
        _: Rpc<Req, Resp>,
        piece: fn(&Req) -> Result<PartMessage, Refusal>,
        open: O,
        part: P,
    ) -> Self
    where
        Req: Message + Default + 'static,
        Resp: 'static,
        O: Fn(RequestContext, Req) -> OFut + Clone + Send + Sync + 'static,
        OFut: Future<Output = Result<Decided<Resp>, Refusal>> + Send + 'static,
        P: Fn(RequestContext, Req) -> PFut + Clone + Send + Sync + 'static,
        PFut: Future<Output = Result<Decided<Resp>, Refusal>> + Send + 'static,
    {
        let piece = Arc::new(move |message: Bytes| {
            piece(&Req::decode(message).map_err(|_| Refusal::from(Reason::Malformed))?)
        });
        let receiver = PartHandlers { open: typed_handler(open), part: typed_handler(part), classify: piece };
        self.by_path.insert(method.path, (method, Route::Stream(receiver)));
        self
    }

    /// Adds a method that returns hashes only and has no entry (the closed list in ARCHITECTURE.md).
    #[must_use]
    pub fn hashes_only<Req, Resp, F, Fut>(
        mut self,
        method: &'static Method,
        _: Rpc<Req, Resp>,
        handler: F,
    ) -> Self
    where
        Req: Message + Default + 'static,
        Resp: Message + 'static,
        F: Fn(RequestContext, Req) -> Fut + Clone + Send + Sync + 'static,
        Fut: Future<Output = Result<Resp, Refusal>> + Send + 'static,
    {
        let handler = Arc::new(move |cx: RequestContext, message: Bytes| -> BoxFuture<'static, _> {
            let handler = handler.clone();
            Box::pin(async move {
                let message = Req::decode(message).map_err(|_| Reason::Malformed)?;
                Ok(handler(cx, message).await?.encode_to_vec().into())
            })
        });
        self.by_path.insert(method.path, (method, Route::Hashes(handler)));
        self
    }

    /// Adds a method whose responses are a stream from the log. `open` answers the request with a position, `feed`
    /// returns what follows a position, `heartbeat` builds a heartbeat from a position and the newest checkpoint, and
    /// `resume` returns a position as metadata of the refusal that ends a stream.
    #[must_use]
    pub fn watch<Req, Resp, S, O, OFut, F, FFut>(
        mut self,
        method: &'static Method,
        _: Rpc<Req, Resp>,
        open: O,
        feed: F,
        heartbeat: fn(S, String) -> Resp,
        resume: fn(S) -> Vec<(&'static str, String)>,
    ) -> Self
    where
        Req: Message + Default + 'static,
        Resp: Message + 'static,
        S: Message + Default + 'static,
        O: Fn(RequestContext, Req) -> OFut + Clone + Send + Sync + 'static,
        OFut: Future<Output = Result<(Decided<Resp>, S), Refusal>> + Send + 'static,
        F: Fn(RequestContext, S) -> FFut + Clone + Send + Sync + 'static,
        FFut: Future<Output = Result<FeedBatch<Resp, S>, Refusal>> + Send + 'static,
    {
        let watcher = Watcher::new(open, feed, heartbeat, resume);
        self.by_path.insert(method.path, (method, Route::Watch(watcher)));
        self
    }
}

/// Wraps a capability's function so that it decodes its message and returns a [`Decision`].
fn typed_handler<Req, Resp, F, Fut>(handler: F) -> Handler
where
    Req: Message + Default + 'static,
    Resp: 'static,
    F: Fn(RequestContext, Req) -> Fut + Clone + Send + Sync + 'static,
    Fut: Future<Output = Result<Decided<Resp>, Refusal>> + Send + 'static,
{
    Arc::new(move |cx: RequestContext, message: Bytes| -> DecisionFuture {
        let handler = handler.clone();
        Box::pin(async move {
            let message = Req::decode(message).map_err(|_| Reason::Malformed)?;
            let Decided { change, reply, .. } = handler(cx, message).await?;
            Ok(NextItem::Ready(Decision { change, reply, position: Bytes::new() }))
        })
    })
}

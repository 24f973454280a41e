//! The exchange pipeline: every method of `apgateway.v1` runs through it.
//!
//! identify → method → check → permit → decide → replay → commit → answer. A capability is one plain `async fn`
//! per RPC. It turns a message into a [`Decided`] or a [`Refusal`], and has access to neither the transport nor
//! the database. The decision and its log entry become durable in one transaction; the response is sent only
//! after that.

mod call;
mod call_limiter;
pub mod caller;
pub mod change;
pub mod check;
pub mod codec;
mod context;
mod deadline;
mod decision;
mod delivered_content;
mod delivery_deadlines;
mod emergency;
mod entry;
mod error_details;
mod headers;
mod identification;
pub mod memory;
mod message_body;
pub mod method;
mod outcomes;
mod page_token;
mod part_stream;
pub mod person;
mod pipeline;
pub mod policy;
pub mod refusal;
mod refusal_log;
mod registration;
mod rejections;
mod request_id;
mod routes;
mod service;
mod spans;
mod system_exchange;
mod unaudited;
mod watch;

pub use call_limiter::{CallLimiter, CallLimits, UNLIMITED};
pub use caller::Caller;
pub use change::{Change, Decided, LeafInput, RecordRef};
pub use context::RequestContext;
pub use delivered_content::{ChildContent, ContentSubject, DeliveredContent, DeliverySource, ReadContent};
pub use delivery_deadlines::DeliveryDeadlines;
pub use entry::log_replaced_proposal;
pub use headers::{MAX_HEADER_LIST_BYTES, keep_only_grpc};
pub use memory::{CallMemory, Charge, ConnectionMemory, MemoryBudget, MemoryLimits};
pub use message_body::MessageBody;
pub use method::{CallerRole, Method, MethodTable, RoleStatus};
pub use outcomes::outcome_labels;
pub use page_token::PageTokens;
pub use part_stream::PartMessage;
pub use person::Person;
pub use pipeline::{ExchangeLimits, ExchangePipeline};
pub use policy::{Permit, PolicyFacts, SharingBasis};
pub use refusal::{NextActor, Reason, Refusal, WrongState};
pub use refusal_log::RefusalLog;
pub use routes::Routes;
pub use service::{AwaitedResponse, ExchangeService, HostMismatch, MessageLimits};
pub use watch::FeedBatch;

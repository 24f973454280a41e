//! The content of a delivery, as the capability that wrote it reads it again for a recipient.

use prost::Message;
use uuid::Uuid;

use super::call::BoxFuture;
use super::change::{LeafInput, RecordRef};
use super::context::RequestContext;
use super::refusal::Refusal;
use crate::codes::organisation::OrganisationId;
use crate::proto::v1::delivery::Content;
use crate::proto::v1::{DeliveryKind, LeafRole};
use crate::seal::ChildKey;
use crate::store::EntryIndex;

/// What a delivery's content is read from: the sender's entry and what its exchange delivered.
#[derive(Clone, Copy)]
pub struct DeliverySource<'a> {
    /// Index of the sender's entry.
    pub index: EntryIndex,
    /// Kind of the delivery.
    pub kind: DeliveryKind,
    /// The organisation whose exchange wrote it.
    pub sender: &'a OrganisationId,
    /// The object that was delivered.
    pub object: Uuid,
    /// The object's placement, if it is about one only.
    pub placement: Option<Uuid>,
    /// Time of the sender's entry, in microseconds since 1970 UTC.
    pub sent_us: i64,
    /// Path of the sender's method.
    pub method: &'a str,
}

/// The child and the record that a part of a delivery is about.
pub struct ContentSubject {
    /// The child's placement.
    pub placement: Uuid,
    /// The organisation that sent the record.
    pub sender: OrganisationId,
    /// The sender's key of the child.
    pub key: ChildKey,
    /// The record.
    pub record: RecordRef,
}

/// The part of a delivery that is about one child. It becomes one leaf of the entry.
pub struct ChildContent {
    /// What it is about.
    pub subject: ContentSubject,
    /// The encoded part.
    pub encoded: Vec<u8>,
}

impl ChildContent {
    /// Returns the input of the leaf.
    #[must_use]
    pub fn leaf_input(&self) -> LeafInput<'_> {
        let ContentSubject { placement, sender, key, record } = &self.subject;
        let (placement, record, role) = (*placement, *record, LeafRole::Delivered);
        LeafInput { placement, role, record, sender, key, reply: &self.encoded }
    }
}

/// The content of a delivery, reduced to what its recipient may read now.
#[derive(Default)]
pub struct DeliveredContent {
    /// The content. `None` when the recipient no longer has a part in it, or the child's record is erased.
    pub content: Option<Content>,
    /// The content's message, encoded. Its SHA-256 is the digest of the delivery.
    pub encoded: Vec<u8>,
    /// The children that it is about.
    pub children: Vec<ChildContent>,
    /// Number of marks or sessions in it.
    pub marks: usize,
}

/// Function of a capability that reads the content of a kind of delivery.
pub type ReadContent = for<'a> fn(
    &'a mut RequestContext,
    DeliverySource<'a>,
) -> BoxFuture<'a, Result<DeliveredContent, Refusal>>;

impl DeliveredContent {
    /// Creates content about these children. `wrap` is the content's variant in the delivery.
    pub fn new<M: Message>(message: M, wrap: fn(M) -> Content, children: Vec<ChildContent>) -> Self {
        Self { encoded: message.encode_to_vec(), content: Some(wrap(message)), children, marks: 0 }
    }

    /// Creates content that is about one child as a whole.
    pub fn about_child<M: Message>(message: M, wrap: fn(M) -> Content, subject: ContentSubject) -> Self {
        let mut content = Self::new(message, wrap, Vec::new());
        let encoded = content.encoded.clone();
        content.children.push(ChildContent { subject, encoded });
        content
    }

    /// Sets the number of marks or sessions, by which batches are limited.
    #[must_use]
    pub fn with_marks(self, marks: usize) -> Self {
        Self { marks, ..self }
    }
}

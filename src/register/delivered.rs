//! The content of a delivered change of the register: its subject, and the agreement with its terms, closure, change of
//! state or issuer that it wrote.

use super::{agreements, closures, issuers, state_change};
use crate::exchange::{DeliveredContent, DeliverySource, Refusal, RequestContext};
use crate::proto::v1::RegisterContent;
use crate::proto::v1::delivery::Content;

/// Reads the content of a registration, grant, agreement, closure or issuer.
///
/// # Errors
/// [`crate::exchange::Reason::Failed`] when a stored value cannot be opened.
pub async fn register_content(
    cx: &mut RequestContext,
    source: DeliverySource<'_>,
) -> Result<DeliveredContent, Refusal> {
    let closure = closures::written_at(&mut cx.snapshot, source.index).await?;
    let content = RegisterContent {
        organisation: source.sender.to_string(),
        method: source.method.rsplit('/').next().unwrap_or_default().to_owned(),
        closure: closure.map(|closure| closure.to_proto()),
        state_change: state_change::written_at(cx, source.index, source.object).await?,
        agreement: agreements::written_at(&mut cx.snapshot, source.index).await?.map(|row| row.to_proto()),
        issuer: issuers::written_at(&mut cx.snapshot, source.index).await?.unwrap_or_default(),
    };
    Ok(DeliveredContent::new(content, Content::Register, Vec::new()))
}

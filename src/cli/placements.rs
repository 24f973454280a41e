//! References of placements, for tables that name them.

use std::collections::BTreeMap;

use super::Failure;
use crate::client::Client;
use crate::proto::v1::placement_service as placement;
use crate::proto::v1::{ListPlacementsRequest, Placement};

/// Maximum number of pages that are requested: a million placements.
const MAX_PAGES: usize = 10_000;

/// Returns the provider's reference of each placement, by its id. It names no child.
///
/// # Errors
/// The client's.
pub async fn references(client: &Client) -> Result<BTreeMap<String, String>, Failure> {
    let mut references = BTreeMap::new();
    for_each(client, |found| {
        references.insert(found.placement_id, found.provider_reference);
        Ok(())
    })
    .await?;
    Ok(references)
}

async fn for_each(
    client: &Client,
    mut handle: impl FnMut(Placement) -> Result<(), Failure>,
) -> Result<(), Failure> {
    let mut page_token = String::new();
    for _ in 0..MAX_PAGES {
        let request = ListPlacementsRequest { page_token, ..ListPlacementsRequest::default() };
        let reply = client.call(placement::LIST_PLACEMENTS, &request).await?.message;
        reply.placements.into_iter().try_for_each(&mut handle)?;
        page_token = reply.next_page_token;
        if page_token.is_empty() {
            break;
        }
    }
    Ok(())
}

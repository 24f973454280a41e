//! `placements list`: prints the placements of an organisation.

use std::collections::BTreeMap;

use super::args::ProfileArgs;
use super::{Failure, output, profile};
use crate::client::Client;
use crate::proto::v1::placement_service as placement;
use crate::proto::v1::{ListPlacementsRequest, Placement, PlacementState};

/// Maximum number of pages that are requested: a million placements.
const MAX_PAGES: usize = 10_000;

/// Prints every placement to which the organisation is a party.
///
/// # Errors
/// The client's.
pub async fn list(args: &ProfileArgs) -> Result<(), Failure> {
    let client = profile::connect_from_args(args).await?;
    let mut rows = Vec::new();
    for_each(&client, |found| {
        if args.json {
            return output::print_json("Placement", &found);
        }
        let state = PlacementState::try_from(found.state).unwrap_or_default();
        let state = state.as_str_name().trim_start_matches("PLACEMENT_STATE_").to_owned();
        rows.push([
            found.placement_id,
            state,
            found.commissioner,
            found.provider,
            found.start_date,
            found.planned_end_date,
            found.provider_reference,
        ]);
        Ok(())
    })
    .await?;
    if !args.json {
        output::print_table(
            ["PLACEMENT", "STATE", "COMMISSIONER", "PROVIDER", "START", "PLANNED END", "REFERENCE"],
            &rows,
        );
    }
    Ok(())
}

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

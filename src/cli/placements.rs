//! `placements list`: prints the placements of an organisation.

use super::args::ProfileArgs;
use super::{Failure, output, profile};
use crate::proto::v1::placement_service as placement;
use crate::proto::v1::{ListPlacementsRequest, PlacementState};

/// Maximum number of pages that are requested: a million placements.
const MAX_PAGES: usize = 10_000;

/// Prints every placement to which the organisation is a party.
///
/// # Errors
/// The client's.
pub async fn list(args: &ProfileArgs) -> Result<(), Failure> {
    let client = profile::connect_from_args(args).await?;
    let (mut rows, mut page_token) = (Vec::new(), String::new());
    for _ in 0..MAX_PAGES {
        let request = ListPlacementsRequest { page_token, ..ListPlacementsRequest::default() };
        let reply = client.call(placement::LIST_PLACEMENTS, &request).await?.message;
        for found in reply.placements {
            if args.json {
                output::print_json("Placement", &found)?;
                continue;
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
        }
        page_token = reply.next_page_token;
        if page_token.is_empty() {
            break;
        }
    }
    if !args.json {
        output::print_table(
            ["PLACEMENT", "STATE", "COMMISSIONER", "PROVIDER", "START", "PLANNED END", "REFERENCE"],
            &rows,
        );
    }
    Ok(())
}

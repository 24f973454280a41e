//! `placements list`.

use super::args::OfProfile;
use super::{Failure, output, profile};
use crate::proto::v1::placement_service as placement;
use crate::proto::v1::{ListPlacementsRequest, PlacementState};

/// Pages that are followed: a million placements.
const PAGES: usize = 10_000;

/// Lists every placement in which the organisation has a part.
///
/// # Errors
/// As the client's.
pub async fn list(of: &OfProfile) -> Result<(), Failure> {
    let client = profile::open(of).await?;
    let (mut rows, mut page_token) = (Vec::new(), String::new());
    for _ in 0..PAGES {
        let request = ListPlacementsRequest { page_token, ..ListPlacementsRequest::default() };
        let reply = client.call(placement::LIST_PLACEMENTS, &request).await?.message;
        for found in reply.placements {
            if of.json {
                output::json("Placement", &found)?;
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
    if !of.json {
        output::table(
            ["PLACEMENT", "STATE", "COMMISSIONER", "PROVIDER", "START", "PLANNED END", "REFERENCE"],
            &rows,
        );
    }
    Ok(())
}

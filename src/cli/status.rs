//! `status`: prints what goes to and comes from each organisation, for the operator.

use super::args::ProfileArgs;
use super::{Failure, output, profile};
use crate::clock::Instant;
use crate::proto::v1::{
    ListOrganisationStatusRequest, OrganisationState, OrganisationStatus, audit_service as audit,
};

/// Organisations of a page.
const PAGE_SIZE: i32 = 200;
/// Maximum number of pages that are requested: a hundred thousand organisations.
const MAX_PAGES: usize = 500;

/// Prints the status of each organisation.
///
/// # Errors
/// The client's.
pub async fn list(args: &ProfileArgs) -> Result<(), Failure> {
    let client = profile::connect_from_args(args).await?;
    let (mut rows, mut page_token) = (Vec::new(), String::new());
    for _ in 0..MAX_PAGES {
        let request = ListOrganisationStatusRequest { page_size: PAGE_SIZE, page_token };
        let reply = client.call(audit::LIST_ORGANISATION_STATUS, &request).await?.message;
        for found in reply.organisations {
            if args.json {
                output::print_json("OrganisationStatus", &found)?;
            } else {
                rows.push(table_row(found));
            }
        }
        page_token = reply.next_page_token;
        if page_token.is_empty() {
            break;
        }
    }
    if !args.json {
        output::print_table(
            ["ORGANISATION", "STATE", "CALLED", "COLLECTED", "WAITING", "SINCE", "OPEN ALERTS"],
            &rows,
        );
    }
    Ok(())
}

fn table_row(found: OrganisationStatus) -> [String; 7] {
    let state = OrganisationState::try_from(found.state).unwrap_or_default();
    let time = |time: Option<prost_types::Timestamp>| {
        let time = time.and_then(|time| Instant::from_proto(&time).ok());
        time.map_or_else(|| "never".to_owned(), |time| time.to_string())
    };
    let since = if found.waiting_deliveries > 0 { time(found.waiting_since_time) } else { String::new() };
    [
        found.organisation,
        state.as_str_name().trim_start_matches("ORGANISATION_STATE_").to_owned(),
        time(found.last_call_time),
        time(found.last_collection_time),
        found.waiting_deliveries.to_string(),
        since,
        found.open_alerts.to_string(),
    ]
}

//! `practitioner list|end`: the persons who acted for an organisation with a token.

use super::args::{EndPractitionerArgs, ProfileArgs};
use super::sent_requests::new_request_id;
use super::{Failure, output, print_line, profile};
use crate::clock::Instant;
use crate::proto::v1::{
    EndPractitionerRequest, ListPractitionersRequest, Practitioner, register_service as register,
};

/// Maximum number of pages that are requested: a million persons.
const MAX_PAGES: usize = 1_000;
/// Persons on each page.
const PAGE_SIZE: i32 = 1_000;

/// Prints every person who acted for the caller.
///
/// # Errors
/// The client's.
pub async fn list(args: &ProfileArgs) -> Result<(), Failure> {
    let client = profile::connect_from_args(args).await?;
    let (mut rows, mut page_token) = (Vec::new(), String::new());
    for _ in 0..MAX_PAGES {
        let request = ListPractitionersRequest { page_size: PAGE_SIZE, page_token };
        let reply = client.call(register::LIST_PRACTITIONERS, &request).await?.message;
        for person in reply.practitioners {
            if args.json {
                output::print_json("Practitioner", &person)?;
            } else {
                rows.push(table_row(person));
            }
        }
        page_token = reply.next_page_token;
        if page_token.is_empty() {
            break;
        }
    }
    if !args.json {
        output::print_table(["PSEUDONYM", "NAME", "SUBJECT", "ISSUER", "STATE", "LAST SEEN"], &rows);
    }
    output::check_written()
}

fn table_row(person: Practitioner) -> [String; 6] {
    let seen = person.last_seen_time.as_ref().and_then(|time| Instant::from_proto(time).ok());
    [
        person.practitioner,
        person.name,
        person.subject,
        person.issuer,
        if person.ended { "ended" } else { "in force" }.to_owned(),
        seen.map(|time| time.to_string()).unwrap_or_default(),
    ]
}

/// Ends a person.
///
/// # Errors
/// The client's.
pub async fn end(args: &EndPractitionerArgs) -> Result<(), Failure> {
    let request = EndPractitionerRequest {
        request_id: new_request_id(),
        validate_only: false,
        practitioner: args.practitioner.clone(),
    };
    let client = profile::connect_from_args(&args.connection).await?;
    let reply = client.call(register::END_PRACTITIONER, &request).await?.message;
    if args.connection.json {
        output::print_json("EndPractitionerResponse", &reply)?;
    } else {
        print_line(&format!("ended {}", args.practitioner));
    }
    output::check_response_written()
}

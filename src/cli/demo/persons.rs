//! Step of the persons: who reads the safeguarding block of a passport.

use std::path::Path;

use super::super::args::TokenArgs;
use super::super::sandbox::files::{issuer_key, issuer_name};
use super::super::{Failure, print_line, sandbox, token};
use super::{Clients, ensure};
use crate::client::Client;
use crate::proto::v1::passport_block;
use crate::proto::v1::{
    GetPassportRequest, GetPassportResponse, PassportBlock, PassportBlockKind, PassportSafeguarding,
    passport_service as passports,
};

/// Person of the demonstration.
struct Person {
    /// Short name of the organisation.
    organisation: &'static str,
    name: &'static str,
    role: &'static str,
    purpose: &'static str,
}

const PLACEMENT_LEAD: Person = Person {
    organisation: "provider-a",
    name: "Ash Example",
    role: "placement_lead",
    purpose: "education_provision",
};
const SAFEGUARDING_LEAD: Person =
    Person { organisation: "provider-a", name: "Jo Example", role: "dsl", purpose: "safeguarding" };

/// Reads a passport as a system and for two persons.
pub async fn show(dir: &Path, clients: &Clients, placement: &str) -> Result<(), Failure> {
    print_line(
        "8. What is most sensitive needs a person, whom a token of the organisation's own issuer names",
    );
    let system = read(&clients.riverside, placement).await?;
    let has_notice =
        system.notices.iter().any(|notice| notice.kind == i32::from(PassportBlockKind::Safeguarding));
    ensure(safeguarding(&system.blocks).is_none() && has_notice, "a system reads the safeguarding block")?;
    print_line("   Riverside's system reads the notice on safeguarding that every passport has, and no more");
    let lead = client_for(dir, &clients.riverside, &PLACEMENT_LEAD)?;
    let read_by_lead = read(&lead, placement).await?;
    let same = read_by_lead.blocks == system.blocks && read_by_lead.notices == system.notices;
    ensure(same, "the placement lead does not read what the system reads")?;
    print_line("   Ash Example, who leads the placement, reads what the system reads");
    let read_by_dsl = read(&client_for(dir, &clients.riverside, &SAFEGUARDING_LEAD)?, placement).await?;
    let block = safeguarding(&read_by_dsl.blocks);
    let block = block.ok_or_else(|| Failure::refused("the safeguarding lead reads no safeguarding block"))?;
    ensure(block.child_in_need && !block.address.is_empty(), "the block has another content")?;
    print_line(&format!(
        "   Jo Example, the designated safeguarding lead, reads: a child in need, the address; no contact: {}",
        block.no_contact.join(", ")
    ));
    Ok(())
}

/// Returns the connection of a system, whose calls are made for a person: with a token as `token` makes it.
fn client_for(dir: &Path, system: &Client, person: &Person) -> Result<Client, Failure> {
    let token = token::make(&TokenArgs {
        issuer_key: issuer_key(dir, person.organisation),
        iss: issuer_name(person.organisation),
        subject: person.name.to_lowercase().replace(' ', "."),
        name: person.name.to_owned(),
        role: person.role.to_owned(),
        purpose: person.purpose.to_owned(),
        profile: sandbox::profile_path(dir, person.organisation),
        audience: None,
        minutes: 15,
    })?;
    Ok(system.clone().with_token(&token)?)
}

async fn read(client: &Client, placement: &str) -> Result<GetPassportResponse, Failure> {
    let request = GetPassportRequest { placement_id: placement.to_owned(), ..GetPassportRequest::default() };
    Ok(client.call(passports::GET_PASSPORT, &request).await?.message)
}

fn safeguarding(blocks: &[PassportBlock]) -> Option<&PassportSafeguarding> {
    blocks.iter().find_map(|block| match &block.content {
        Some(passport_block::Content::Safeguarding(content)) => Some(content),
        _ => None,
    })
}

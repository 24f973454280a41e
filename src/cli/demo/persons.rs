//! Step of the persons: who reads the safeguarding block of a passport, and an emergency in which the glass is broken.

use std::path::Path;

use super::super::args::TokenArgs;
use super::super::sandbox::files::{issuer_key, issuer_name};
use super::super::{Failure, print_line, sandbox, token};
use super::mailbox::{Mailbox, acknowledge};
use super::{Clients, ensure};
use crate::client::Client;
use crate::proto::v1::delivery::Content;
use crate::proto::v1::passport_block;
use crate::proto::v1::{
    BreakGlassContent, GetPassportRequest, GetPassportResponse, Officer, PassportBlock, PassportBlockKind,
    PassportSafeguarding, passport_service as passports,
};

/// Reason that the person who breaks the glass gives.
const EMERGENCY_REASON: &str = "A man at the gate says that he may take the child home";

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
const SAFEGUARDING_LEAD_OF_LA: Person =
    Person { organisation: "la-a", name: "Noor Example", role: "dsl", purpose: "safeguarding" };

/// Reads a passport as a system and for two persons, breaks the glass, and has the sender act on that.
pub async fn show(
    dir: &Path,
    clients: &Clients,
    mailbox: &mut Mailbox,
    placement: &str,
) -> Result<(), Failure> {
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
        "   Jo Example, the designated safeguarding lead, reads it: in need; no contact with {}; the address",
        block.no_contact.join(", ")
    ));
    break_glass(&lead, placement).await?;
    act_on_it(dir, clients, mailbox).await
}

/// Reads in an emergency what the role alone does not give.
async fn break_glass(lead: &Client, placement: &str) -> Result<(), Failure> {
    let request = GetPassportRequest {
        placement_id: placement.to_owned(),
        emergency_reason: EMERGENCY_REASON.to_owned(),
        ..GetPassportRequest::default()
    };
    let opened = lead.call(passports::GET_PASSPORT, &request).await?.message;
    let blocks = opened.emergency_passports.first().map_or(&[][..], |passport| &passport.blocks);
    let block = safeguarding(blocks);
    let block = block.ok_or_else(|| Failure::refused("the emergency did not open the safeguarding block"))?;
    ensure(block.address.is_empty(), "an emergency opens the address")?;
    print_line(&format!("   \"{EMERGENCY_REASON}\": Ash breaks the glass"));
    print_line(&format!(
        "   and reads: no contact with {}; the address stays closed",
        block.no_contact.join(", ")
    ));
    Ok(())
}

/// Shows that the sender is told, and that its safeguarding lead, and nobody else, acts on it.
async fn act_on_it(dir: &Path, clients: &Clients, mailbox: &mut Mailbox) -> Result<(), Failure> {
    let delivery = mailbox.next().await?;
    let Some(Content::BreakGlass(BreakGlassContent { officer: Some(by), reason, due_date, .. })) =
        &delivery.content
    else {
        return Err(Failure::refused("the commissioner does not receive the emergency"));
    };
    ensure(reason == EMERGENCY_REASON, "the emergency has another reason")?;
    print_line(&format!("   Local authority A is told at once: {}; to be acted on by {due_date}", by.name));
    let person = SAFEGUARDING_LEAD_OF_LA;
    let officer = Officer {
        name: person.name.to_owned(),
        role: "Designated safeguarding lead".to_owned(),
        ..Officer::default()
    };
    let batch = std::slice::from_ref(&delivery);
    let refused = acknowledge(&clients.la, batch, Some(officer.clone())).await;
    ensure(refused.is_err(), "a system acted on an emergency")?;
    acknowledge(&client_for(dir, &clients.la, &person)?, batch, Some(officer)).await?;
    print_line("   Noor Example, its designated safeguarding lead, acts on it; its system alone cannot");
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

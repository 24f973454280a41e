//! `world.json`: the content of the sandbox, for people who test against it.

use std::path::Path;

use serde::{Deserialize, Serialize};

use super::Failure;

/// Content of the sandbox.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
pub struct World {
    /// Organisations with their certificates.
    pub organisations: Vec<WorldOrganisation>,
    /// Issuers of tokens.
    #[serde(default)]
    pub issuers: Vec<WorldIssuer>,
    /// Sharing agreements.
    pub agreements: Vec<WorldAgreement>,
    /// Placements with their children.
    pub placements: Vec<WorldPlacement>,
}

/// Organisation of the sandbox.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct WorldOrganisation {
    /// Short name, as in the names of its certificate, key and profile.
    pub name: String,
    /// Organisation id.
    pub organisation: String,
    /// Path of its certificate.
    pub certificate: String,
    /// SHA-256 of the certificate, hexadecimal.
    pub certificate_sha256: String,
}

/// Issuer of tokens for the persons of an organisation of the sandbox.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct WorldIssuer {
    /// Short name of the organisation.
    pub name: String,
    /// Name of the issuer, as its tokens have it.
    pub issuer: String,
    /// Path of its private key.
    pub key: String,
    /// Audience of its tokens: this gateway.
    pub audience: String,
}

/// Sharing agreement of the sandbox.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct WorldAgreement {
    /// Short name of the commissioner, which proposed it.
    pub commissioner: String,
    /// Short name of the provider, the other party.
    pub provider: String,
    /// UUID of the agreement.
    pub agreement_id: String,
}

/// Placement of the sandbox.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct WorldPlacement {
    /// UUID of the placement.
    pub placement_id: String,
    /// Short name of the commissioner.
    pub commissioner: String,
    /// Short name of the provider.
    pub provider: String,
    /// Unique pupil number of the invented child.
    pub upn: String,
    /// Reference of the provider for the placement.
    pub provider_reference: String,
    /// UUID of the child in the commissioner's record.
    pub child_id: String,
    /// Version of the placement when the world was created.
    pub etag: String,
}

/// Writes `world.json`.
///
/// # Errors
/// Exit code 69 when the folder cannot be written.
pub fn save(dir: &Path, world: &World) -> Result<(), Failure> {
    let text = serde_json::to_string_pretty(world).map_err(|error| Failure::bug("the world", error))?;
    std::fs::write(dir.join("world.json"), text).map_err(|error| Failure::unavailable("world.json", error))
}

/// Reads `world.json`.
///
/// # Errors
/// Exit code 78 when the folder holds no sandbox.
pub fn load(dir: &Path) -> Result<World, Failure> {
    let text = std::fs::read_to_string(dir.join("world.json")).unwrap_or_default();
    serde_json::from_str(&text).map_err(|_| Failure::configuration("the folder holds no sandbox"))
}

//! `world.json`: what is in the sandbox, for those who test against it.

use std::path::Path;

use serde::{Deserialize, Serialize};

use super::Failure;

/// Everything in the sandbox.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
pub struct World {
    /// Organisations with their certificates.
    pub organisations: Vec<Member>,
    /// Sharing agreements.
    pub agreements: Vec<Agreed>,
    /// Placements with their children.
    pub placements: Vec<Placed>,
}

/// An organisation.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Member {
    /// Short name: that of its certificate, key and profile.
    pub name: String,
    /// Its id.
    pub organisation: String,
    /// Its certificate's file.
    pub certificate: String,
    /// SHA-256 of the certificate, hexadecimal.
    pub certificate_sha256: String,
}

/// A sharing agreement.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Agreed {
    /// Short name of who proposed it.
    pub commissioner: String,
    /// Short name of the other party.
    pub provider: String,
    /// UUID.
    pub agreement_id: String,
}

/// A placement.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Placed {
    /// UUID.
    pub placement_id: String,
    /// Short name of who commissions it.
    pub commissioner: String,
    /// Short name of who provides it.
    pub provider: String,
    /// Unique pupil number of the invented child.
    pub upn: String,
    /// The provider's reference.
    pub provider_reference: String,
    /// The child's UUID in the commissioner's record.
    pub child_id: String,
    /// Version of the placement when the world was made.
    pub etag: String,
}

/// Writes the world.
///
/// # Errors
/// Exit code 69 when the folder cannot be written.
pub fn save(dir: &Path, world: &World) -> Result<(), Failure> {
    let text = serde_json::to_string_pretty(world).map_err(|error| Failure::bug("the world", error))?;
    std::fs::write(dir.join("world.json"), text).map_err(|error| Failure::unavailable("world.json", error))
}

/// Reads the world.
///
/// # Errors
/// Exit code 78 when the folder holds none.
pub fn load(dir: &Path) -> Result<World, Failure> {
    let text = std::fs::read_to_string(dir.join("world.json")).unwrap_or_default();
    serde_json::from_str(&text).map_err(|_| Failure::configuration("the folder holds no sandbox"))
}

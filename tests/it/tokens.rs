//! Tokens of persons for tests: valid ones, and ones with any fault.

use std::path::Path;

use ap_gateway::cli::sandbox;
use ap_gateway::clock::{Clock, SystemClock};
use ap_gateway::codes::OrganisationId;
use ap_gateway::proto::v1::{AuditEntry, GetOrganisationRequest, GetOrganisationResponse, Receipt};
use ap_gateway::tlog::Hash;
use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::jwk::{Jwk, ThumbprintHash};
use jsonwebtoken::{Algorithm, EncodingKey};
use prost::Message;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use serde_json::{Value, json};
use tonic::Code;

use super::wire::{Answer, Wire, frame};

/// The path of a method that anybody may call for itself.
pub const GET_ORGANISATION: &str = "/apgateway.v1.RegisterService/GetOrganisation";
/// The person of the tokens: issuer-wide id and name, which occur nowhere else.
pub const SUBJECT: &str = "wallaroo-4711";
pub const NAME: &str = "Ada Bandicoot";

/// Issuer of the sandbox with its private key.
pub struct TestIssuer {
    key: EncodingKey,
    pub key_id: String,
    pub jwk: Jwk,
}

impl TestIssuer {
    /// Loads the issuer of an organisation of the sandbox.
    pub fn load(dir: &Path, name: &str) -> Self {
        let world = sandbox::world::load(dir).unwrap();
        let issuer = world.issuers.iter().find(|issuer| issuer.name == name).unwrap();
        let PrivateKeyDer::Pkcs8(der) = PrivateKeyDer::from_pem_file(dir.join(&issuer.key)).unwrap() else {
            panic!("not PKCS#8")
        };
        Self::new(der.secret_pkcs8_der())
    }

    /// Takes a P-256 key, PKCS#8.
    pub fn new(der: &[u8]) -> Self {
        let key = EncodingKey::from_ec_der(der);
        let jwk = Jwk::from_encoding_key(&key, Algorithm::ES256).unwrap();
        let key_id = jwk.thumbprint(ThumbprintHash::SHA256).unwrap();
        Self { key, key_id, jwk }
    }

    /// Returns the header of a valid token.
    pub fn header(&self) -> Value {
        json!({"alg": "ES256", "typ": "JWT", "kid": self.key_id})
    }

    /// Signs a token.
    pub fn sign(&self, header: &Value, claims: &Value) -> String {
        self.sign_text(&header.to_string(), &claims.to_string())
    }

    /// Signs the texts of a header and of claims, which need not be JSON that a library would write.
    pub fn sign_text(&self, header: &str, claims: &str) -> String {
        let signed = format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(claims));
        let signature = jsonwebtoken::crypto::sign(signed.as_bytes(), &self.key, Algorithm::ES256).unwrap();
        format!("{signed}.{signature}")
    }

    /// Signs a valid token of a caller of the sandbox, whose claims `edit` may change.
    pub fn token(&self, dir: &Path, caller: &str, edit: impl FnOnce(&mut Value)) -> String {
        let mut claims = claims(dir, caller);
        edit(&mut claims);
        self.sign(&self.header(), &claims)
    }
}

/// Returns the claims of a valid token for a certificate of the sandbox.
pub fn claims(dir: &Path, caller: &str) -> Value {
    let certificate = CertificateDer::from_pem_file(dir.join(format!("certs/{caller}.pem"))).unwrap();
    let (organisation, name) = match caller {
        "la-a" => ("la/330", "la-a"),
        "school" => ("school/134567", "school"),
        _ => ("provider/riverside", "provider-a"),
    };
    let now = SystemClock.now().seconds();
    json!({
        "iss": format!("https://{name}.sandbox.ap.example"), "sub": SUBJECT, "jti": format!("{caller}-{now}"),
        "organisation": organisation, "aud": "https://sandbox.ap.example", "iat": now, "nbf": now,
        "exp": now + 900, "cnf": {"x5t#S256": URL_SAFE_NO_PAD.encode(digest(&SHA256, &certificate))},
        "role": "dsl", "purpose": "safeguarding", "name": NAME,
    })
}

/// Returns the request for a caller's own registration.
pub fn own_registration(dir: &Path, caller: &str) -> Vec<u8> {
    let organisation = OrganisationId::parse(claims(dir, caller)["organisation"].as_str().unwrap()).unwrap();
    GetOrganisationRequest { organisation: organisation.as_str().to_owned() }.encode_to_vec()
}

/// Asks for the caller's registration with a token.
pub async fn get_with(wire: &Wire, dir: &Path, caller: &str, token: &str) -> Answer {
    let header = format!("Bearer {token}");
    let body = frame(&own_registration(dir, caller));
    wire.send(GET_ORGANISATION, &[("authorization", &header)], body).await.unwrap()
}

/// Returns the entry of an exchange that asked for a registration.
pub fn entry_of(answer: &Answer) -> AuditEntry {
    assert_eq!(answer.status().code(), Code::Ok, "{}", answer.reason());
    let reply = GetOrganisationResponse::decode(answer.message.clone()).unwrap();
    let Receipt { entry, .. } = reply.receipt.unwrap();
    AuditEntry::decode(entry).unwrap()
}

/// Makes one call for a person and returns the pseudonym.
pub async fn sign_in(dir: &Path, caller: &str, edit: impl FnOnce(&mut Value)) -> String {
    let token = TestIssuer::load(dir, caller).token(dir, caller, edit);
    let wire = Wire::connect(dir, caller).await;
    let entry = entry_of(&get_with(&wire, dir, caller, &token).await);
    pseudonym(&entry)
}

/// Returns the pseudonym in an entry, in hexadecimal.
pub fn pseudonym(entry: &AuditEntry) -> String {
    Hash::try_from(&entry.practitioner[..]).unwrap().to_string()
}

//! `token`: makes a token for a person, signed by an issuer's key. A system can so be the issuer of its own persons.

use std::path::Path;

use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::jwk::{Jwk, ThumbprintHash};
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use serde_json::json;

use super::args::TokenArgs;
use super::{Failure, key_files, output, print_line, profile};
use crate::clock::{Clock, Instant, Randomness, SystemClock};
use crate::exchange::check::TextRule;
use crate::exchange::check::text::check_text;
use crate::identity::{MAX_ID_CHARS, MAX_NAME_CHARS};
use crate::proto;
use crate::proto::v1::TokenAlgorithm;

/// Longest life of a token, in minutes.
const MAX_MINUTES: u32 = 15;

/// The private key of an issuer, which signs tokens.
pub struct TokenSigner {
    key: EncodingKey,
    algorithm: Algorithm,
    jwk: Jwk,
    key_id: String,
}

/// What a token says.
pub struct TokenContent<'a> {
    /// Name of the issuer.
    pub issuer: &'a str,
    /// The person at the issuer.
    pub subject: &'a str,
    /// Name of the person.
    pub name: &'a str,
    /// Role code, in lower case.
    pub role: &'a str,
    /// Purpose, in lower case.
    pub purpose: &'a str,
    /// The organisation acted for.
    pub organisation: &'a str,
    /// The gateway's audience.
    pub audience: &'a str,
    /// The certificate with which the token is sent, DER.
    pub certificate: &'a [u8],
    /// The time of issue.
    pub now: Instant,
    /// Life of the token, in minutes.
    pub minutes: u32,
}

impl TokenSigner {
    /// Reads a private key in PEM: P-256, Ed25519 or RSA as PKCS#8, or RSA as PKCS#1.
    ///
    /// # Errors
    /// Exit code 64 if the file cannot be read or holds no such key.
    pub fn load(path: &Path) -> Result<Self, Failure> {
        let key = key_files::read_private_key(path)?;
        let rsa = |der: &[u8]| (EncodingKey::from_rsa_der(der), Algorithm::PS256);
        let candidates = match &key {
            PrivateKeyDer::Pkcs8(der) => {
                let der = der.secret_pkcs8_der();
                let mut candidates = vec![
                    (EncodingKey::from_ec_der(der), Algorithm::ES256),
                    (EncodingKey::from_ed_der(der), Algorithm::EdDSA),
                ];
                candidates.extend(key_files::unwrap_pkcs8(der).map(|der| rsa(&der)));
                candidates
            }
            PrivateKeyDer::Pkcs1(der) => vec![rsa(der.secret_pkcs1_der())],
            _ => Vec::new(),
        };
        let usable = |(key, algorithm): (EncodingKey, Algorithm)| {
            jsonwebtoken::crypto::sign(b"", &key, algorithm).ok()?;
            let jwk = Jwk::from_encoding_key(&key, algorithm).ok()?;
            let key_id = jwk.thumbprint(ThumbprintHash::SHA256).ok()?;
            Some(Self { key, algorithm, jwk, key_id })
        };
        let unusable = || Failure::input(format!("{}: {}", path.display(), key_files::UNUSABLE_KEY));
        candidates.into_iter().find_map(usable).ok_or_else(unusable)
    }

    /// Returns the id of the key: its thumbprint (RFC 7638).
    #[must_use]
    pub fn key_id(&self) -> &str {
        &self.key_id
    }

    /// Returns the algorithm of the key.
    #[must_use]
    pub fn algorithm(&self) -> TokenAlgorithm {
        match self.algorithm {
            Algorithm::EdDSA => TokenAlgorithm::Eddsa,
            Algorithm::PS256 => TokenAlgorithm::Ps256,
            _ => TokenAlgorithm::Es256,
        }
    }

    /// Returns the public key as a JWK.
    ///
    /// # Errors
    /// Exit code 70 if the library fails.
    pub fn public_jwk(&self) -> Result<String, Failure> {
        serde_json::to_string(&self.jwk.algorithm).map_err(|error| Failure::bug("the public key", error))
    }

    /// Signs a token.
    ///
    /// # Errors
    /// Exit code 70 if the library fails.
    pub fn sign(&self, content: &TokenContent<'_>, random: &Randomness) -> Result<String, Failure> {
        let header = Header { kid: Some(self.key_id.clone()), ..Header::new(self.algorithm) };
        let now = content.now.seconds();
        let thumbprint = URL_SAFE_NO_PAD.encode(digest(&SHA256, content.certificate));
        let claims = json!({
            "iss": content.issuer,
            "sub": content.subject,
            "jti": random.uuid_v4().hyphenated().to_string(),
            "organisation": content.organisation,
            "aud": content.audience,
            "iat": now,
            "nbf": now,
            "exp": now + i64::from(content.minutes) * 60,
            "cnf": {"x5t#S256": thumbprint},
            "role": content.role,
            "purpose": content.purpose,
            "name": content.name,
        });
        jsonwebtoken::encode(&header, &claims, &self.key).map_err(|error| Failure::bug("the token", error))
    }
}

/// Prints a token for the organisation and the certificate of a profile.
///
/// # Errors
/// As [`make`].
pub fn print(args: &TokenArgs) -> Result<(), Failure> {
    print_line(&make(args)?);
    output::check_written()
}

/// Makes a token for the organisation and the certificate of a profile.
///
/// # Errors
/// Exit code 2 for a role, purpose, life, subject or name that no token has, 64 for the key, 78 for the profile.
pub fn make(args: &TokenArgs) -> Result<String, Failure> {
    if !(1..=MAX_MINUTES).contains(&args.minutes) {
        return Err(Failure::usage("--minutes must be 1 to 15"));
    }
    if proto::role_code(&args.role).is_none() {
        return Err(Failure::usage("--role must be a role code in lower case, such as dsl or ap_lead"));
    }
    if proto::purpose(&args.purpose).is_none() {
        return Err(Failure::usage(
            "--purpose must be education_provision, attendance, safeguarding or oversight",
        ));
    }
    for (flag, text, most) in
        [("--subject", &args.subject, MAX_ID_CHARS), ("--name", &args.name, MAX_NAME_CHARS)]
    {
        if !(1..=most).contains(&text.chars().count()) {
            return Err(Failure::usage(format!("{flag} must have 1 to {most} characters")));
        }
    }
    if !matches!(check_text(&args.name, TextRule::line(MAX_NAME_CHARS).required()), Ok(Some(_))) {
        return Err(Failure::usage(
            "--name must be one line with a letter, without tabs, control characters and invisible characters",
        ));
    }
    let signer = TokenSigner::load(&args.issuer_key)?;
    let (profile, _) = profile::load(&args.profile)?;
    let (_, organisation) = profile::cursor_folder_and_organisation(&args.profile)?;
    let audience = args.audience.as_ref().or(profile.token_audience.as_ref());
    let audience = audience.ok_or_else(|| {
        Failure::usage("--audience is needed, because the profile has no token_audience: the gateway's operator names it")
    })?;
    let certificate = CertificateDer::from_pem_file(&profile.certificate)
        .map_err(|_| Failure::configuration(format!("{} cannot be used", profile.certificate.display())))?;
    let content = TokenContent {
        issuer: &args.iss,
        subject: &args.subject,
        name: &args.name,
        role: &args.role,
        purpose: &args.purpose,
        organisation: &organisation,
        audience,
        certificate: &certificate,
        now: SystemClock.now(),
        minutes: args.minutes,
    };
    signer.sign(&content, &Randomness::system())
}

//! Each rule of a token, by a token that breaks it alone.

use jsonwebtoken::{EncodingKey, Header, encode};
use rcgen::{KeyPair, PKCS_ECDSA_P256_SHA256, PKCS_ED25519};
use serde_json::{Value, json};

use super::*;
use crate::identity::JwkError;

const CERTIFICATE: [u8; 32] = [7; 32];
const NOW: i64 = 1_795_190_400;

fn instant(seconds: i64) -> Instant {
    Instant::from_micros(seconds * 1_000_000).unwrap()
}

fn expected(audience: Option<&str>) -> Expected<'_> {
    let organisation = "provider/riverside";
    Expected { organisation, audience, certificate_sha256: CERTIFICATE, now: instant(NOW) }
}

fn good_claims() -> Value {
    json!({
        "iss": "https://mis.example", "sub": "p-1", "jti": "1", "organisation": "provider/riverside",
        "aud": "https://ap.example", "iat": NOW, "nbf": NOW, "exp": NOW + 900,
        "cnf": {"x5t#S256": URL_SAFE_NO_PAD.encode(CERTIFICATE)},
        "role": "dsl", "purpose": "safeguarding", "name": "Ada Example",
    })
}

fn good_header() -> Value {
    json!({"alg": "ES256", "typ": "JWT", "kid": "k1"})
}

struct Signer {
    pair: KeyPair,
    key: TokenKey,
}

impl Signer {
    fn new() -> Self {
        let pair = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).unwrap();
        let point = pair.public_key_raw();
        let (x, y) = (URL_SAFE_NO_PAD.encode(&point[1..33]), URL_SAFE_NO_PAD.encode(&point[33..]));
        let jwk = json!({"kty": "EC", "crv": "P-256", "x": x, "y": y}).to_string();
        let key = TokenKey::from_jwk(&jwk, "k1", TokenAlgorithm::Es256).unwrap();
        Self { pair, key }
    }

    fn sign(&self, header: &Value, claims: &Value) -> String {
        let part = |json: &Value| URL_SAFE_NO_PAD.encode(json.to_string());
        self.sign_parts(&format!("{}.{}", part(header), part(claims)))
    }

    fn sign_parts(&self, signed: &str) -> String {
        let key = EncodingKey::from_ec_der(&self.pair.serialize_der());
        let algorithm = jsonwebtoken::Algorithm::ES256;
        let signature = jsonwebtoken::crypto::sign(signed.as_bytes(), &key, algorithm).unwrap();
        format!("{signed}.{signature}")
    }

    fn verify(&self, token: &str) -> Result<(Claims, Instant), InvalidToken> {
        UnverifiedToken::parse(token)?.verify(&self.key, &expected(Some("https://ap.example")))
    }
}

fn with(mut json: Value, name: &str, value: Value) -> Value {
    json[name] = value;
    json
}

#[test]
fn a_good_token_is_valid_until_its_end() {
    let signer = Signer::new();
    let (claims, end) = signer.verify(&signer.sign(&good_header(), &good_claims())).unwrap();
    assert_eq!((&*claims.sub, &*claims.role, end), ("p-1", "dsl", instant(NOW + 930)));
    assert_eq!(format!("{claims:?}"), "Claims { .. }");
    let good = [
        ("typ", json!("at+jwt"), "aud", json!(["https://other.example", "https://ap.example"])),
        ("typ", json!("AT+JWT"), "iat", json!(NOW + 30)),
        ("typ", json!("JWT"), "nbf", json!(NOW + 30)),
        ("typ", json!("JWT"), "sub", json!("s".repeat(128))),
        ("typ", json!("JWT"), "name", json!("é".repeat(200))),
        ("typ", json!("JWT"), "scope", json!("anything else")),
    ];
    for (in_header, typ, claim, value) in good {
        let token = signer.sign(&with(good_header(), in_header, typ), &with(good_claims(), claim, value));
        assert!(signer.verify(&token).is_ok(), "{claim}");
    }
    let mut without_nbf = good_claims();
    without_nbf.as_object_mut().unwrap().remove("nbf");
    assert!(signer.verify(&signer.sign(&good_header(), &without_nbf)).is_ok());
    // 29.9 seconds after its end.
    let late = with(with(good_claims(), "iat", json!(NOW - 900)), "exp", json!(NOW - 29));
    assert!(signer.verify(&signer.sign(&good_header(), &late)).is_ok());
}

#[test]
fn a_claim_that_breaks_a_rule_makes_the_token_invalid() {
    let signer = Signer::new();
    let wrong = [
        ("sub", json!("")),
        ("sub", json!("s".repeat(129))),
        ("sub", json!(7)),
        ("jti", json!("")),
        ("jti", json!("j".repeat(129))),
        ("organisation", json!("provider/brightwater")),
        ("aud", json!("https://other.example")),
        ("aud", json!([])),
        ("aud", json!({"a": "https://ap.example"})),
        ("iat", json!(NOW + 31)),
        ("iat", json!(NOW - 1)),
        ("iat", json!(f64::from(1_795_190_400))),
        ("iat", json!(NOW.to_string())),
        ("nbf", json!(NOW + 31)),
        ("nbf", json!(NOW.to_string())),
        ("exp", json!(NOW - 30)),
        ("exp", json!(NOW + 901)),
        ("exp", json!((NOW + 900).to_string())),
        ("exp", json!(i64::MAX)),
        ("exp", json!(true)),
        ("cnf", json!({"x5t#S256": URL_SAFE_NO_PAD.encode([8; 32])})),
        ("cnf", json!({"x5t#S256": ""})),
        ("cnf", json!({})),
        ("name", json!("")),
        ("name", json!("n".repeat(201))),
        ("role", json!(["dsl"])),
        ("purpose", json!(null)),
    ];
    for (claim, value) in wrong {
        let token = signer.sign(&good_header(), &with(good_claims(), claim, value.clone()));
        assert_eq!(signer.verify(&token).unwrap_err(), InvalidToken, "{claim} {value}");
    }
    for claim in ["iss", "sub", "jti", "organisation", "aud", "iat", "exp", "cnf", "role", "purpose", "name"]
    {
        let mut claims = good_claims();
        claims.as_object_mut().unwrap().remove(claim);
        assert!(signer.verify(&signer.sign(&good_header(), &claims)).is_err(), "without {claim}");
    }
    let good = signer.sign(&good_header(), &good_claims());
    let parsed = UnverifiedToken::parse(&good).unwrap();
    assert!(parsed.verify(&signer.key, &expected(None)).is_err(), "without an audience");
}

#[test]
fn a_header_that_breaks_a_rule_makes_the_token_invalid() {
    let signer = Signer::new();
    let wrong = [
        ("alg", json!("none")),
        ("alg", json!("HS256")),
        ("alg", json!("ES384")),
        ("alg", json!("RS256")),
        ("alg", json!("EdDSA")),
        ("alg", json!("PS256")),
        ("typ", json!("JOSE")),
        ("typ", json!(null)),
        ("kid", json!("")),
        ("kid", json!("k".repeat(129))),
        ("jwk", json!({"kty": "EC"})),
        ("jku", json!("https://evil.example/jwks")),
        ("x5u", json!("https://evil.example/cert")),
        ("x5c", json!(["MII"])),
        ("crit", json!(["exp"])),
        ("crit", json!(null)),
    ];
    for (name, value) in wrong {
        let token = signer.sign(&with(good_header(), name, value.clone()), &good_claims());
        assert_eq!(signer.verify(&token).unwrap_err(), InvalidToken, "{name} {value}");
    }
    let twice = r#"{"alg":"ES256","alg":"ES256","typ":"JWT","kid":"k1"}"#;
    let claims = URL_SAFE_NO_PAD.encode(good_claims().to_string());
    let token = signer.sign_parts(&format!("{}.{claims}", URL_SAFE_NO_PAD.encode(twice)));
    assert!(signer.verify(&token).is_err(), "a member twice");
}

#[test]
fn a_token_of_another_form_is_invalid() {
    let signer = Signer::new();
    let good = signer.sign(&good_header(), &good_claims());
    let (content, signature) = good.rsplit_once('.').unwrap();
    let padded = format!("{content}.{signature}==");
    let (four, long) = (
        format!("{good}."),
        signer.sign(&good_header(), &with(good_claims(), "x", json!("x".repeat(8_192)))),
    );
    let unsigned = format!("{content}.");
    for token in ["", ".", "..", "a.b.c", content, &unsigned, &padded, &four, &long, "e30.e30."] {
        assert!(signer.verify(token).is_err(), "{} bytes", token.len());
    }
    let other = Signer::new();
    assert!(other.verify(&good).is_err(), "another key");
    let parsed = UnverifiedToken::parse(&good).unwrap();
    let unregistered = TokenKey::unregistered(TokenAlgorithm::Es256).unwrap();
    assert!(parsed.verify(&unregistered, &expected(Some("https://ap.example"))).is_err());
}

/// The confusion of algorithms: the public key of the issuer as the secret of an HMAC.
#[test]
fn an_hmac_under_the_public_key_is_invalid() {
    let signer = Signer::new();
    let header = Header { kid: Some("k1".to_owned()), ..Header::default() };
    let secret = EncodingKey::from_secret(signer.pair.public_key_raw());
    let token = encode(&header, &good_claims(), &secret).unwrap();
    assert!(signer.verify(&token).is_err());
}

#[test]
fn only_public_keys_of_the_three_kinds_are_taken() {
    let ed25519 = KeyPair::generate_for(&PKCS_ED25519).unwrap();
    let x = URL_SAFE_NO_PAD.encode(ed25519.public_key_raw());
    let okp = json!({"kty": "OKP", "crv": "Ed25519", "x": x});
    let parse = |jwk: &Value, algorithm| TokenKey::from_jwk(&jwk.to_string(), "k1", algorithm).err();
    assert_eq!(parse(&okp, TokenAlgorithm::EdDsa), None);
    assert_eq!(parse(&with(okp.clone(), "kid", json!("k1")), TokenAlgorithm::EdDsa), None);
    assert_eq!(parse(&with(okp.clone(), "kid", json!("k2")), TokenAlgorithm::EdDsa), Some(JwkError::Format));
    assert_eq!(
        parse(&with(okp.clone(), "alg", json!("ES256")), TokenAlgorithm::EdDsa),
        Some(JwkError::Format)
    );
    assert_eq!(parse(&okp, TokenAlgorithm::Es256), Some(JwkError::Format));
    assert_eq!(parse(&with(okp, "d", json!("AAAA")), TokenAlgorithm::EdDsa), Some(JwkError::Private));
    let rsa = |bytes: usize, first: u8| {
        let mut n = vec![0xc5; bytes];
        n[0] = first;
        json!({"kty": "RSA", "n": URL_SAFE_NO_PAD.encode(n), "e": "AQAB"})
    };
    assert_eq!(parse(&rsa(256, 0xc5), TokenAlgorithm::Ps256), None);
    assert_eq!(parse(&rsa(1_024, 0xc5), TokenAlgorithm::Ps256), None);
    for wrong in [rsa(255, 0xc5), rsa(256, 0x7f), rsa(1_025, 0xc5), with(rsa(256, 0xc5), "e", json!("Aw"))] {
        assert_eq!(parse(&wrong, TokenAlgorithm::Ps256), Some(JwkError::Format));
    }
    let off_curve = json!({"kty": "EC", "crv": "P-256", "x": URL_SAFE_NO_PAD.encode([1; 32]),
        "y": URL_SAFE_NO_PAD.encode([1; 32])});
    assert_eq!(parse(&off_curve, TokenAlgorithm::Es256), Some(JwkError::Format));
    let shared = json!({"kty": "oct", "k": "AAAA"});
    assert_eq!(parse(&shared, TokenAlgorithm::Es256), Some(JwkError::Private));
}

#[test]
fn a_jwk_for_another_use_is_refused_and_ed25519_has_two_names() {
    let pair = KeyPair::generate_for(&PKCS_ED25519).unwrap();
    let okp = json!({"kty": "OKP", "crv": "Ed25519", "x": URL_SAFE_NO_PAD.encode(pair.public_key_raw())});
    let parse = |name: &str, value: &str, algorithm| {
        TokenKey::from_jwk(&with(okp.clone(), name, json!(value)).to_string(), "k1", algorithm).err()
    };
    for (name, value, fault) in [
        ("use", "sig", None),
        ("use", "enc", Some(JwkError::Format)),
        ("use", "", Some(JwkError::Format)),
        ("alg", "EdDSA", None),
        ("alg", "Ed25519", None),
        ("alg", "Ed448", Some(JwkError::Format)),
    ] {
        assert_eq!(parse(name, value, TokenAlgorithm::EdDsa), fault, "{name} {value}");
    }
    let p256 = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).unwrap();
    let point = p256.public_key_raw();
    let (x, y) = (URL_SAFE_NO_PAD.encode(&point[1..33]), URL_SAFE_NO_PAD.encode(&point[33..]));
    let named = json!({"kty": "EC", "crv": "P-256", "x": x, "y": y, "alg": "Ed25519"}).to_string();
    assert_eq!(TokenKey::from_jwk(&named, "k1", TokenAlgorithm::Es256).err(), Some(JwkError::Format));
}

/// Under a point of small order one signature is valid for any claims, so it is no key; nor is a point in a form that
/// RFC 8032 does not have.
#[test]
fn a_point_of_small_order_or_of_another_form_is_no_key() {
    let least = |first: u8| std::array::from_fn(|at| if at == 0 { first } else { 0 });
    let most = |first: u8| std::array::from_fn(|at| [first, 0xff, 0x7f][usize::from(at > 0) + at / 31]);
    let of_order_8 =
        ["JuiVj8KyJ7BFw_SJ8u-Y8NXfrAXTxjM5sTgCiG1T_AU", "xxdqcD1N2E-6PAt2DRBnDyogU_osOczGTsf9d5KsA3o"];
    let of_order_8: [[u8; 32]; 2] =
        of_order_8.map(|text| URL_SAFE_NO_PAD.decode(text).unwrap().try_into().unwrap());
    let mut points: Vec<[u8; 32]> = vec![least(0), least(1)];
    points.extend(of_order_8);
    // p - 1, and all from p on.
    points.extend((0xec..=0xff).map(most));
    for point in points {
        for sign in [0, 0x80] {
            let mut encoded = point;
            encoded[31] |= sign;
            let x = URL_SAFE_NO_PAD.encode(encoded);
            let jwk = json!({"kty": "OKP", "crv": "Ed25519", "x": x}).to_string();
            let fault = TokenKey::from_jwk(&jwk, "k1", TokenAlgorithm::EdDsa).err();
            assert_eq!(fault, Some(JwkError::Format), "{x}");
        }
    }
}

//! Identification of persons: a token, verified by an issuer of the organisation that the caller acts for.

use std::sync::Arc;

use super::rows::{self, PractitionerIdentity, PractitionerRow};
use crate::clock::Instant;
use crate::exchange::change::row_write;
use crate::exchange::check::TextRule;
use crate::exchange::check::text::check_text;
use crate::exchange::person::{IdentifiedPerson, PersonClaims, VerifiedPerson};
use crate::exchange::{Person, Reason, Refusal};
use crate::identity::{
    Claims, Expected, InvalidToken, MAX_ID_CHARS, MAX_NAME_CHARS, TokenKey, UnverifiedToken,
};
use crate::proto::{self, v1::IssuerKey};
use crate::register::issuers;
use crate::seal::KeyedDigest;
use crate::store::proposal::Guard;
use crate::store::{Revision, Snapshot};

impl From<InvalidToken> for Refusal {
    fn from(_: InvalidToken) -> Self {
        Reason::TokenInvalid.into()
    }
}

/// Verifies the token of a call and returns its person.
///
/// # Errors
/// [`Reason::TokenInvalid`] for every fault of the token, and for an issuer or a person that was ended; otherwise the
/// fault of the database or of the key ring.
pub async fn identify(
    snapshot: &mut Snapshot,
    claims: PersonClaims<'_>,
) -> Result<IdentifiedPerson, Refusal> {
    let token = UnverifiedToken::parse(claims.token)?;
    let organisation = claims.organisation;
    let issuer_key = issuers::key(organisation, token.issuer());
    let issuer = issuers::by_name(snapshot, organisation, token.issuer()).await?;
    let issuer_guard =
        Guard { key: issuer_key, version: issuer.as_ref().map_or(Revision::ABSENT, |row| row.version) };
    let registered = issuer.filter(|row| !row.ended).map(|row| row.to_proto()).transpose()?;
    let key = registered.as_ref().and_then(|issuer| issuers::find_key(issuer, token.key_id()));
    let (key, key_ends) = verification_key(key, &token, claims.now);
    let expected = Expected {
        organisation: organisation.as_str(),
        audience: claims.audience,
        certificate_sha256: claims.peer.fingerprint(),
        now: claims.now,
    };
    let (verified, token_ends) = token.verify(&key?, &expected)?;
    let (person, mut guards, record) = find_person(snapshot, &claims, verified).await?;
    guards.push(issuer_guard);
    let valid_until = key_ends.map_or(token_ends, |ends| ends.min(token_ends));
    Ok((VerifiedPerson { person: Arc::new(person), guards, valid_until }, record))
}

/// Returns the key that verifies the token, and when it ends. A key that is not registered, not yet or no longer valid, or
/// for another algorithm is replaced by one that verifies nothing.
fn verification_key(
    registered: Option<&IssuerKey>,
    token: &UnverifiedToken<'_>,
    now: Instant,
) -> (Result<TokenKey, InvalidToken>, Option<Instant>) {
    let at =
        |time: &Option<prost_types::Timestamp>| time.as_ref().and_then(|time| Instant::from_proto(time).ok());
    let found = registered.and_then(|key| {
        let algorithm = issuers::algorithm_of(key.algorithm())?;
        let key_ends = at(&key.to_time);
        let is_valid =
            at(&key.from_time).is_none_or(|from| from <= now) && key_ends.is_none_or(|to| now < to);
        let parsed = TokenKey::from_jwk(&key.jwk, &key.key_id, algorithm).ok()?;
        (is_valid && algorithm == token.algorithm()).then_some((parsed, key_ends))
    });
    match found {
        Some((key, ends)) => (Ok(key), ends),
        None => (TokenKey::unregistered(token.algorithm()), None),
    }
}

/// Returns the person of verified claims, with guards on what is stored of it, and the row that is to be stored if
/// there is none or the name is new.
async fn find_person(
    snapshot: &mut Snapshot,
    claims: &PersonClaims<'_>,
    verified: Claims,
) -> Result<(Person, Vec<Guard>, Option<crate::store::proposal::RowWrite>), Refusal> {
    let invalid = || Refusal::from(Reason::TokenInvalid);
    let organisation = claims.organisation.clone();
    let role = proto::role_code(&verified.role).ok_or_else(invalid)?;
    let purpose = proto::purpose(&verified.purpose).ok_or_else(invalid)?;
    let line = |text: &str, most| check_text(text, TextRule::line(most).required()).ok().flatten();
    let name = line(&verified.name, MAX_NAME_CHARS).ok_or_else(invalid)?;
    // These are kept as they are: composed, they would be another person's.
    for id in [&verified.sub, &verified.jti] {
        line(id, MAX_ID_CHARS).ok_or_else(invalid)?;
    }
    let ring = claims.vault.ring();
    let digests = ring.practitioner_digests(organisation.as_str(), &verified.iss, &verified.sub);
    let keys: Vec<_> = digests.iter().map(|digest| rows::key(&organisation, digest)).collect();
    let known: Vec<PractitionerRow> = snapshot.newest_by_keys(&keys).await?;
    let known = known.into_iter().next();
    let guards = keys.into_iter().map(|key| {
        let version =
            known.as_ref().filter(|row| row.key() == key).map_or(Revision::ABSENT, |row| row.version);
        Guard { key, version }
    });
    let guards = guards.collect();
    if known.as_ref().is_some_and(|row| row.ended) {
        return Err(invalid());
    }
    let identity = PractitionerIdentity {
        issuer: verified.iss.clone(),
        subject: verified.sub.clone(),
        name: name.clone(),
    };
    let is_recorded = match &known {
        Some(row) => row.open(&ring)? == identity,
        None => false,
    };
    let before = known.as_ref().map_or(Revision::ABSENT, |row| row.version);
    // The pseudonym stays the same when another key of the ring becomes active.
    let practitioner = match &known {
        Some(row) => row.practitioner.clone(),
        None => digests.first().map(KeyedDigest::to_bytes).ok_or(Reason::Failed)?,
    };
    let pseudonym = KeyedDigest::from_bytes(&practitioner).ok_or(Reason::Failed)?.tag;
    let record = if is_recorded {
        None
    } else {
        let sealed = PractitionerRow::seal(&ring, &organisation, &practitioner, &identity, claims.random)?;
        let organisation = organisation.clone();
        let version = before.next();
        let row = PractitionerRow { organisation, practitioner, version, identity: sealed, ended: false };
        Some(row_write(&row))
    };
    let (issuer, subject) = (verified.iss, verified.sub);
    let person = Person { organisation, issuer, subject, practitioner: pseudonym, role, purpose, name };
    Ok((person, guards, record))
}

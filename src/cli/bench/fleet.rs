//! Fleet of many providers with placements of their own, created in a sandbox by calls of the gateway's methods. With
//! it the load comes from many organisations, as a real load does.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use serde::{Deserialize, Serialize};
use tokio::task::JoinSet;

use super::super::sandbox::{self, files};
use super::super::token::{TokenContent, TokenSigner};
use super::super::{Failure, profile};
use crate::client::{CheckpointStore, Client, Profile};
use crate::clock::{Clock, Randomness, SystemClock};
use crate::identity::pki::{SandboxAuthority, Validity};
use crate::proto::v1::respond_to_referral_request::Answer;
use crate::proto::v1::{
    Acceptance, Agreement, Article6, Article9, ChildIdentity, CountersignAgreementRequest,
    CreateReferralRequest, DataClass, DecidePlacementRequest, Decision, IssuerKey, LegalBasis, MissingItem,
    Officer, PlacementReason, ProposeAgreementRequest, Purpose, RegisterIssuerRequest,
    RegisterOrganisationRequest, RespondToReferralRequest, StartPlacementRequest,
    placement_service as placement, register_service as register,
};

/// Maximum number of providers that are created concurrently.
const MAX_CONCURRENT: usize = 32;

/// Provider of the fleet.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct FleetProvider {
    /// Name of its certificate and key in `fleet/`.
    pub name: String,
    /// UUIDs of its placements.
    pub placements: Vec<String>,
}

/// Creates the missing providers, and returns all of them.
///
/// # Errors
/// Errors of the client. A refusal is a fault of the gateway or of this script.
pub async fn load_or_create(
    dir: &Path,
    providers: usize,
    placements: usize,
) -> Result<Vec<FleetProvider>, Failure> {
    let path = dir.join("fleet.json");
    let mut fleet: Vec<FleetProvider> = std::fs::read_to_string(&path)
        .ok()
        .and_then(|text| serde_json::from_str(&text).ok())
        .unwrap_or_default();
    let la = profile::connect(&sandbox::profile_path(dir, "la-a")).await?;
    let operator = profile::connect(&sandbox::profile_path(dir, "operator")).await?;
    let authority = Arc::new(load_authority(dir)?);
    let mut making = JoinSet::new();
    for number in fleet.len()..providers {
        if making.len() >= MAX_CONCURRENT {
            fleet.extend(join_result(making.join_next().await)?);
        }
        let making_one = ProviderBuilder {
            dir: dir.to_owned(),
            la: la.clone(),
            operator: operator.clone(),
            authority: Arc::clone(&authority),
            random: Randomness::system(),
        };
        making.spawn(async move { making_one.make_provider(number, placements).await });
    }
    while !making.is_empty() {
        fleet.extend(join_result(making.join_next().await)?);
    }
    fleet.sort_by(|one, other| one.name.cmp(&other.name));
    let text = serde_json::to_string(&fleet).map_err(|error| Failure::bug("the fleet", error))?;
    std::fs::write(&path, text).map_err(|error| Failure::unavailable("fleet.json", error))?;
    Ok(fleet)
}

/// Connects as a provider of the fleet. All connections share one store of checkpoints.
///
/// # Errors
/// Errors of the client.
pub async fn connect(dir: &Path, name: &str, seen: &Arc<CheckpointStore>) -> Result<Client, Failure> {
    let (template, _) = profile::load(&sandbox::profile_path(dir, "la-a"))?;
    let profile = Profile {
        certificate: dir.join(format!("fleet/{name}.pem")),
        key: dir.join(format!("fleet/{name}.key")),
        ..template
    };
    Ok(Client::connect(&profile, Arc::clone(seen)).await?.without_retries())
}

/// Connects as [`connect`] does, for a person of the provider: each call has the person's token. The provider registers
/// an issuer with the first connection.
///
/// # Errors
/// Errors of the client.
pub async fn connect_person(dir: &Path, name: &str, seen: &Arc<CheckpointStore>) -> Result<Client, Failure> {
    let client = connect(dir, name, seen).await?;
    let (issuer, random) = (format!("https://{name}.ap.example"), Randomness::system());
    let key = dir.join(format!("fleet/{name}-issuer.key"));
    let is_new = !key.exists();
    if is_new {
        let made = SandboxAuthority::new_key().map_err(|error| Failure::bug("a key", error))?;
        files::write_file(&dir.join("fleet"), &format!("{name}-issuer.key"), &made)?;
    }
    let signer = TokenSigner::load(&key)?;
    if is_new {
        let key = IssuerKey {
            key_id: signer.key_id().to_owned(),
            algorithm: signer.algorithm().into(),
            jwk: signer.public_jwk()?,
            ..IssuerKey::default()
        };
        let request = RegisterIssuerRequest {
            request_id: random.uuid_v4().hyphenated().to_string(),
            issuer: issuer.clone(),
            keys: vec![key],
            ..RegisterIssuerRequest::default()
        };
        client.call(register::REGISTER_ISSUER, &request).await?;
    }
    let (profile, _) = profile::load(&sandbox::profile_path(dir, "la-a"))?;
    let certificate = CertificateDer::from_pem_file(dir.join(format!("fleet/{name}.pem")))
        .map_err(|_| Failure::configuration("the folder has no certificate of the provider"))?;
    let content = TokenContent {
        issuer: &issuer,
        subject: "1",
        name: "Jo Example",
        role: "attendance_officer",
        purpose: "attendance",
        organisation: &format!("provider/{name}"),
        audience: &profile.token_audience.unwrap_or_default(),
        certificate: &certificate,
        now: SystemClock.now(),
        minutes: 15,
    };
    Ok(client.with_token(&signer.sign(&content, &random)?)?)
}

fn join_result(
    done: Option<Result<Result<FleetProvider, Failure>, tokio::task::JoinError>>,
) -> Result<Option<FleetProvider>, Failure> {
    let made = done.transpose().map_err(|error| Failure::bug("a provider of the fleet", error))?;
    made.transpose()
}

fn load_authority(dir: &Path) -> Result<SandboxAuthority, Failure> {
    let read = |name: &str| {
        std::fs::read_to_string(dir.join(name))
            .map_err(|_| Failure::configuration("the folder holds no certificate authority of a sandbox"))
    };
    let now = SystemClock.now().seconds();
    let validity = Validity { from: now - 86_400, to: now + 30 * 86_400 };
    SandboxAuthority::from_pem(&read("ca.pem")?, &read("ca.key")?, validity)
        .map_err(|error| Failure::bug("the sandbox's authority", error))
}

struct ProviderBuilder {
    dir: PathBuf,
    la: Client,
    operator: Client,
    authority: Arc<SandboxAuthority>,
    random: Randomness,
}

impl ProviderBuilder {
    fn new_request_id(&self) -> String {
        self.random.uuid_v4().hyphenated().to_string()
    }

    async fn make_provider(&self, number: usize, placements: usize) -> Result<FleetProvider, Failure> {
        let name = format!("fleet-{number:05}");
        let organisation = format!("provider/{name}");
        let client = self.register(number, &name, &organisation).await?;
        let agreement_id = self.make_agreement(&client, &organisation).await?;
        let mut made = Vec::with_capacity(placements);
        for child in 0..placements {
            made.push(self.make_placement(&client, &organisation, &agreement_id, child).await?);
        }
        Ok(FleetProvider { name, placements: made })
    }

    async fn register(&self, number: usize, name: &str, organisation: &str) -> Result<Client, Failure> {
        let uri = format!("spiffe://{}/{organisation}/register", files::TRUST_DOMAIN);
        let now = SystemClock.now().seconds();
        let validity = Validity { from: now - 86_400, to: now + 30 * 86_400 };
        let issued = self.authority.issue_client(&[&uri], 10_000 + number as u64, validity);
        let issued = issued.map_err(|error| Failure::bug("a certificate", error))?;
        files::write_file(&self.dir.join("fleet"), &format!("{name}.pem"), &issued.certificate_pem)?;
        files::write_file(&self.dir.join("fleet"), &format!("{name}.key"), &issued.key_pem)?;
        let request = RegisterOrganisationRequest {
            request_id: self.new_request_id(),
            organisation: organisation.to_owned(),
            display_name: format!("Provider {number}"),
            certificate: issued.der.into(),
            ..RegisterOrganisationRequest::default()
        };
        self.operator.call(register::REGISTER_ORGANISATION, &request).await?;
        connect(&self.dir, name, &Arc::new(CheckpointStore::default())).await
    }

    async fn make_agreement(&self, client: &Client, organisation: &str) -> Result<String, Failure> {
        let agreement = Agreement {
            parties: vec!["la/330".to_owned(), organisation.to_owned()],
            data_classes: vec![DataClass::Referral as i32, DataClass::Attendance as i32],
            purposes: vec![Purpose::Attendance as i32],
            article_6: Article6::PublicTask as i32,
            article_9: Article9::SubstantialPublicInterest as i32,
            schedule_1: "6".to_owned(),
            from_date: "2026-08-01".to_owned(),
            to_date: "2027-08-31".to_owned(),
            review_by: "2027-07-01".to_owned(),
            ..Agreement::default()
        };
        let request = ProposeAgreementRequest {
            request_id: self.new_request_id(),
            agreement: Some(agreement),
            ..ProposeAgreementRequest::default()
        };
        let proposed = self.la.call(register::PROPOSE_AGREEMENT, &request).await?.message;
        let request = CountersignAgreementRequest {
            request_id: self.new_request_id(),
            agreement_id: proposed.agreement_id.clone(),
            etag: proposed.etag,
            terms_sha256: proposed.terms_sha256,
            ..CountersignAgreementRequest::default()
        };
        client.call(register::COUNTERSIGN_AGREEMENT, &request).await?;
        Ok(proposed.agreement_id)
    }

    /// Creates a placement: referral, acceptance, decision, start. A named officer waives the missing items.
    async fn make_placement(
        &self,
        client: &Client,
        organisation: &str,
        agreement_id: &str,
        child: usize,
    ) -> Result<String, Failure> {
        let referral = referral(self.new_request_id(), organisation, agreement_id);
        let made = self.la.call(placement::CREATE_REFERRAL, &referral).await?.message;
        let accept = RespondToReferralRequest {
            request_id: self.new_request_id(),
            placement_id: made.placement_id.clone(),
            etag: made.etag,
            answer: Some(Answer::Accept(Acceptance { provider_reference: format!("FL-{child:04}") })),
            ..RespondToReferralRequest::default()
        };
        let etag = client.call(placement::RESPOND_TO_REFERRAL, &accept).await?.message.etag;
        let decide = DecidePlacementRequest {
            request_id: self.new_request_id(),
            placement_id: made.placement_id.clone(),
            etag,
            decision: Some(Decision {
                approved: true,
                rationale: "the offer meets the need".to_owned(),
                decided_by: Some(officer()),
                decided_on: "2026-09-01".to_owned(),
                ..Decision::default()
            }),
            ..DecidePlacementRequest::default()
        };
        let etag = self.la.call(placement::DECIDE_PLACEMENT, &decide).await?.message.etag;
        let start = StartPlacementRequest {
            request_id: self.new_request_id(),
            placement_id: made.placement_id.clone(),
            etag,
            start_date: "2026-09-01".to_owned(),
            officer: Some(officer()),
            missing_items: vec![MissingItem::Plan as i32, MissingItem::SafetyAcknowledgement as i32],
            reason: "plan and passport follow".to_owned(),
            ..StartPlacementRequest::default()
        };
        self.la.call(placement::START_PLACEMENT, &start).await?;
        Ok(made.placement_id)
    }
}

fn referral(request_id: String, provider: &str, agreement_id: &str) -> CreateReferralRequest {
    CreateReferralRequest {
        request_id,
        provider: provider.to_owned(),
        child: Some(ChildIdentity {
            legal_surname: "Example".to_owned(),
            legal_forename: "Robin".to_owned(),
            date_of_birth: "2012-03-04".to_owned(),
            ..ChildIdentity::default()
        }),
        la_of_residence: "la/330".to_owned(),
        legal_basis: LegalBasis::Section19 as i32,
        reason: PlacementReason::Other as i32,
        agreement_id: agreement_id.to_owned(),
        requested_start: "2026-09-01".to_owned(),
        sessions_per_week: 10,
        safety: "none known".to_owned(),
        officer: Some(officer()),
        ..CreateReferralRequest::default()
    }
}

fn officer() -> Officer {
    Officer { name: "Sam Example".to_owned(), role: "AP commissioner".to_owned(), ..Officer::default() }
}

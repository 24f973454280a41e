//! The fleet: many providers with placements of their own, made in a sandbox through the gateway's front
//! door, so that a load is of many organisations as a real one is.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use tokio::task::JoinSet;

use super::super::sandbox::{self, files};
use super::super::{Failure, profile};
use crate::client::{Client, Profile, Seen};
use crate::clock::{Clock, Randomness, SystemClock};
use crate::identity::pki::{Authority, Validity};
use crate::proto::v1::respond_to_referral_request::Answer;
use crate::proto::v1::{
    Acceptance, Agreement, Article6, Article9, ChildIdentity, CountersignAgreementRequest,
    CreateReferralRequest, DataClass, DecidePlacementRequest, Decision, LegalBasis, MissingItem, Officer,
    PlacementReason, ProposeAgreementRequest, Purpose, RegisterOrganisationRequest, RespondToReferralRequest,
    StartPlacementRequest, placement_service as placement, register_service as register,
};

/// Organisations that are being made at once.
const AT_ONCE: usize = 32;

/// A provider of the fleet.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Provider {
    /// Name of its certificate and key below `fleet/`.
    pub name: String,
    /// UUIDs of its placements.
    pub placements: Vec<String>,
}

/// Makes the providers that are not there yet, and gives all of them.
///
/// # Errors
/// As the client's: a refusal here is a fault of the gateway or of this script.
pub async fn make(dir: &Path, providers: usize, placements: usize) -> Result<Vec<Provider>, Failure> {
    let kept = dir.join("fleet.json");
    let mut fleet: Vec<Provider> = std::fs::read_to_string(&kept)
        .ok()
        .and_then(|text| serde_json::from_str(&text).ok())
        .unwrap_or_default();
    let la = profile::connect(&sandbox::profile(dir, "la-a")).await?;
    let operator = profile::connect(&sandbox::profile(dir, "operator")).await?;
    let authority = Arc::new(authority(dir)?);
    let mut making = JoinSet::new();
    for number in fleet.len()..providers {
        if making.len() >= AT_ONCE {
            fleet.extend(made(making.join_next().await)?);
        }
        let making_one = Making {
            dir: dir.to_owned(),
            la: la.clone(),
            operator: operator.clone(),
            authority: Arc::clone(&authority),
            random: Randomness::system(),
        };
        making.spawn(async move { making_one.provider(number, placements).await });
    }
    while !making.is_empty() {
        fleet.extend(made(making.join_next().await)?);
    }
    fleet.sort_by(|one, other| one.name.cmp(&other.name));
    let text = serde_json::to_string(&fleet).map_err(|error| Failure::bug("the fleet", error))?;
    std::fs::write(&kept, text).map_err(|error| Failure::unavailable("fleet.json", error))?;
    Ok(fleet)
}

/// Connects as a provider of the fleet; all of them keep the checkpoints that they see in one place.
///
/// # Errors
/// As the client's.
pub async fn connect(dir: &Path, name: &str, seen: &Arc<Seen>) -> Result<Client, Failure> {
    let (like, _) = profile::read(&sandbox::profile(dir, "la-a"))?;
    let profile = Profile {
        certificate: dir.join(format!("fleet/{name}.pem")),
        key: dir.join(format!("fleet/{name}.key")),
        ..like
    };
    Ok(Client::connect(&profile, Arc::clone(seen)).await?.without_retries())
}

fn made(
    done: Option<Result<Result<Provider, Failure>, tokio::task::JoinError>>,
) -> Result<Option<Provider>, Failure> {
    let made = done.transpose().map_err(|error| Failure::bug("a provider of the fleet", error))?;
    made.transpose()
}

fn authority(dir: &Path) -> Result<Authority, Failure> {
    let read = |name: &str| {
        std::fs::read_to_string(dir.join(name))
            .map_err(|_| Failure::configuration("the folder holds no sandbox's authority"))
    };
    let now = SystemClock.now().seconds();
    let validity = Validity { from: now - 86_400, to: now + 30 * 86_400 };
    Authority::from_pem(&read("ca.pem")?, &read("ca.key")?, validity)
        .map_err(|error| Failure::bug("the sandbox's authority", error))
}

struct Making {
    dir: PathBuf,
    la: Client,
    operator: Client,
    authority: Arc<Authority>,
    random: Randomness,
}

impl Making {
    fn id(&self) -> String {
        self.random.uuid_v4().hyphenated().to_string()
    }

    async fn provider(&self, number: usize, placements: usize) -> Result<Provider, Failure> {
        let name = format!("fleet-{number:05}");
        let organisation = format!("provider/{name}");
        let client = self.register(number, &name, &organisation).await?;
        let agreement_id = self.agree(&client, &organisation).await?;
        let mut made = Vec::with_capacity(placements);
        for child in 0..placements {
            made.push(self.place(&client, &organisation, &agreement_id, child).await?);
        }
        Ok(Provider { name, placements: made })
    }

    async fn register(&self, number: usize, name: &str, organisation: &str) -> Result<Client, Failure> {
        let uri = format!("spiffe://{}/{organisation}/register", files::TRUST_DOMAIN);
        let now = SystemClock.now().seconds();
        let validity = Validity { from: now - 86_400, to: now + 30 * 86_400 };
        let issued = self.authority.client(&[&uri], 10_000 + number as u64, validity);
        let issued = issued.map_err(|error| Failure::bug("a certificate", error))?;
        files::write(&self.dir.join("fleet"), &format!("{name}.pem"), &issued.certificate)?;
        files::write(&self.dir.join("fleet"), &format!("{name}.key"), &issued.key)?;
        let request = RegisterOrganisationRequest {
            request_id: self.id(),
            organisation: organisation.to_owned(),
            display_name: format!("Provider {number}"),
            certificate: issued.der.into(),
            ..RegisterOrganisationRequest::default()
        };
        self.operator.call(register::REGISTER_ORGANISATION, &request).await?;
        connect(&self.dir, name, &Arc::new(Seen::default())).await
    }

    async fn agree(&self, client: &Client, organisation: &str) -> Result<String, Failure> {
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
            request_id: self.id(),
            agreement: Some(agreement),
            ..ProposeAgreementRequest::default()
        };
        let proposed = self.la.call(register::PROPOSE_AGREEMENT, &request).await?.message;
        let request = CountersignAgreementRequest {
            request_id: self.id(),
            agreement_id: proposed.agreement_id.clone(),
            etag: proposed.etag,
            ..CountersignAgreementRequest::default()
        };
        client.call(register::COUNTERSIGN_AGREEMENT, &request).await?;
        Ok(proposed.agreement_id)
    }

    /// Referral, acceptance, decision, start; what is missing is passed by a named officer.
    async fn place(
        &self,
        client: &Client,
        organisation: &str,
        agreement_id: &str,
        child: usize,
    ) -> Result<String, Failure> {
        let referral = referral(self.id(), organisation, agreement_id);
        let made = self.la.call(placement::CREATE_REFERRAL, &referral).await?.message;
        let accept = RespondToReferralRequest {
            request_id: self.id(),
            placement_id: made.placement_id.clone(),
            etag: made.etag,
            answer: Some(Answer::Accept(Acceptance { provider_reference: format!("FL-{child:04}") })),
            ..RespondToReferralRequest::default()
        };
        let etag = client.call(placement::RESPOND_TO_REFERRAL, &accept).await?.message.etag;
        let decide = DecidePlacementRequest {
            request_id: self.id(),
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
            request_id: self.id(),
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
    Officer { name: "Sam Example".to_owned(), role: "AP commissioner".to_owned() }
}

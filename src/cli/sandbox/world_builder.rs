//! Script that creates the world. Every step is a call of the gateway's own methods over mTLS by the organisation that
//! would make it, so that everything in the sandbox has its entry in the log.

pub(in crate::cli) mod documents;
mod passport;

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::Path;

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use serde::Deserialize;

use documents::{decision, officer, plan};

use super::super::token::TokenSigner;
use super::super::{Failure, issuer, profile};
use super::files::{self, ISSUERS, ORGANISATIONS};
use super::world::{World, WorldAgreement, WorldIssuer, WorldOrganisation, WorldPlacement};
use crate::client::Client;
use crate::clock::{ManualClock, Randomness};
use crate::proto::v1::respond_to_referral_request::Answer;
use crate::proto::v1::{
    Acceptance, Agreement, AppointAuditorRequest, Article6, Article9, AuthoriseProcessorRequest,
    ChildIdentity, CountersignAgreementRequest, CreateReferralRequest, DataClass, DecidePlacementRequest,
    LegalBasis, MissingItem, Period, PlacementReason, ProposeAgreementRequest, Purpose, PutPlanRequest,
    PutTermDatesRequest, RegisterCertificateRequest, RegisterIssuerRequest, RegisterOrganisationRequest,
    RespondToReferralRequest, StartPlacementRequest, TermDates, placement_service as placement,
    register_service as register,
};

/// Number of the child that has a passport: the first that local authority A places with Riverside.
const CHILD_WITH_PASSPORT: usize = 2;
const CHILDREN: &str = include_str!("children.json");

#[derive(Clone, Deserialize)]
struct SandboxChild {
    provider: String,
    upn: String,
    surname: String,
    forename: String,
    date_of_birth: String,
    sex: String,
    year_group: i32,
    provider_reference: Option<String>,
}

struct WorldBuilder<'a> {
    dir: &'a Path,
    random: Randomness,
    clients: BTreeMap<&'static str, Client>,
    world: World,
}

/// Runs the script. It moves the clock to the placements' first day on the way.
///
/// # Errors
/// Errors of the client. A refusal is a fault of the gateway or of the script.
pub async fn build(dir: &Path, clock: &ManualClock, random: Randomness) -> Result<World, Failure> {
    let mut script = WorldBuilder { dir, random, clients: BTreeMap::new(), world: World::default() };
    script.register_organisations().await?;
    script.register_issuers().await?;
    script.put_term_dates().await?;
    let children: Vec<SandboxChild> =
        serde_json::from_str(CHILDREN).map_err(|error| Failure::bug("the sandbox's children", error))?;
    let pairs =
        [("la-a", "provider-a"), ("school", "provider-a"), ("school", "provider-b"), ("la-a", "provider-c")];
    for (commissioner, provider) in pairs {
        script.make_agreement(commissioner, provider).await?;
    }
    script.appoint_auditor_and_processor().await?;
    let first_day = super::parse_instant(super::PLACEMENTS_START_AT)?;
    clock.advance_to(first_day).map_err(|error| Failure::bug("the sandbox's clock", error))?;
    for (index, child) in children.iter().enumerate() {
        let (commissioner, provider) = match child.provider.as_str() {
            "riverside" => (if index % 2 == 1 { "la-a" } else { "school" }, "provider-a"),
            "oakfield" => ("school", "provider-b"),
            _ => ("la-a", "provider-c"),
        };
        script.make_placement(commissioner, provider, child, index + 1).await?;
    }
    Ok(script.world)
}

impl WorldBuilder<'_> {
    async fn client(&mut self, name: &'static str) -> Result<Client, Failure> {
        if let Some(client) = self.clients.get(name) {
            return Ok(client.clone());
        }
        let client = profile::connect(&super::profile_path(self.dir, name)).await?;
        self.clients.insert(name, client.clone());
        Ok(client)
    }

    fn new_request_id(&self) -> String {
        self.random.uuid_v4().hyphenated().to_string()
    }

    fn certificate_der(&self, name: &str) -> Result<CertificateDer<'static>, Failure> {
        CertificateDer::from_pem_file(self.dir.join("certs").join(format!("{name}.pem")))
            .map_err(|_| Failure::configuration("a certificate of the sandbox cannot be read"))
    }

    async fn register_organisations(&mut self) -> Result<(), Failure> {
        let operator = self.client("operator").await?;
        for (name, organisation, _, display_name) in ORGANISATIONS {
            let der = self.certificate_der(name)?;
            let mut sha256 = sha256_hex(&der);
            if name != "operator" {
                let urn = organisation.strip_prefix("school/").unwrap_or_default();
                let request = RegisterOrganisationRequest {
                    request_id: self.new_request_id(),
                    organisation: organisation.to_owned(),
                    display_name: display_name.to_owned(),
                    urn: urn.to_owned(),
                    certificate: der.to_vec().into(),
                    ..RegisterOrganisationRequest::default()
                };
                sha256 = operator
                    .call(register::REGISTER_ORGANISATION, &request)
                    .await?
                    .message
                    .certificate_sha256;
            }
            self.world.organisations.push(WorldOrganisation {
                name: name.to_owned(),
                organisation: organisation.to_owned(),
                certificate: format!("certs/{name}.pem"),
                certificate_sha256: sha256,
            });
        }
        let riverside = self.client("provider-a").await?;
        let request = RegisterCertificateRequest {
            request_id: self.new_request_id(),
            certificate: self.certificate_der("provider-a-old")?.to_vec().into(),
            ..RegisterCertificateRequest::default()
        };
        riverside.call(register::REGISTER_CERTIFICATE, &request).await?;
        self.world.organisations.push(WorldOrganisation {
            name: "provider-a-old".to_owned(),
            organisation: "provider/riverside".to_owned(),
            certificate: "certs/provider-a-old.pem".to_owned(),
            certificate_sha256: sha256_hex(&self.certificate_der("provider-a-old")?),
        });
        Ok(())
    }

    async fn register_issuers(&mut self) -> Result<(), Failure> {
        for name in ISSUERS {
            let signer = TokenSigner::load(&files::issuer_key(self.dir, name))?;
            let request = RegisterIssuerRequest {
                request_id: self.new_request_id(),
                issuer: files::issuer_name(name),
                keys: vec![issuer::key_of(&signer)?],
                ..RegisterIssuerRequest::default()
            };
            self.client(name).await?.call(register::REGISTER_ISSUER, &request).await?;
            self.world.issuers.push(WorldIssuer {
                name: name.to_owned(),
                issuer: request.issuer,
                key: format!("certs/{name}-issuer.key"),
                audience: files::TOKEN_AUDIENCE.to_owned(),
            });
        }
        Ok(())
    }

    async fn put_term_dates(&mut self) -> Result<(), Failure> {
        let period = |first: &str, last: &str| Period { first: first.to_owned(), last: last.to_owned() };
        let term_dates = TermDates {
            academic_year: 2026,
            terms: vec![period("2026-09-02", "2026-12-18")],
            half_terms: vec![period("2026-10-26", "2026-10-30")],
            inset_days: vec![],
        };
        for name in ["la-a", "la-b", "school", "provider-a", "provider-b", "provider-c"] {
            let request = PutTermDatesRequest {
                request_id: self.new_request_id(),
                term_dates: Some(term_dates.clone()),
                ..PutTermDatesRequest::default()
            };
            self.client(name).await?.call(register::PUT_TERM_DATES, &request).await?;
        }
        Ok(())
    }

    async fn make_agreement(
        &mut self,
        commissioner: &'static str,
        provider: &'static str,
    ) -> Result<(), Failure> {
        let agreement = Agreement {
            parties: vec![organisation_id(commissioner), organisation_id(provider)],
            data_classes: vec![
                DataClass::Referral as i32,
                DataClass::Attendance as i32,
                DataClass::Plan as i32,
                DataClass::Passport as i32,
                DataClass::Progress as i32,
                DataClass::Restricted as i32,
            ],
            purposes: vec![
                Purpose::EducationProvision as i32,
                Purpose::Attendance as i32,
                Purpose::Safeguarding as i32,
            ],
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
        let proposed =
            self.client(commissioner).await?.call(register::PROPOSE_AGREEMENT, &request).await?.message;
        let request = CountersignAgreementRequest {
            request_id: self.new_request_id(),
            agreement_id: proposed.agreement_id.clone(),
            etag: proposed.etag,
            terms_sha256: proposed.terms_sha256,
            ..CountersignAgreementRequest::default()
        };
        self.client(provider).await?.call(register::COUNTERSIGN_AGREEMENT, &request).await?;
        self.world.agreements.push(WorldAgreement {
            commissioner: commissioner.to_owned(),
            provider: provider.to_owned(),
            agreement_id: proposed.agreement_id,
        });
        Ok(())
    }

    async fn appoint_auditor_and_processor(&mut self) -> Result<(), Failure> {
        let request = AppointAuditorRequest {
            request_id: self.new_request_id(),
            auditor: organisation_id("auditor"),
            from_date: "2026-08-20".to_owned(),
            to_date: "2027-08-31".to_owned(),
            ..AppointAuditorRequest::default()
        };
        self.client("la-a").await?.call(register::APPOINT_AUDITOR, &request).await?;
        let request = AuthoriseProcessorRequest {
            request_id: self.new_request_id(),
            processor: organisation_id("processor"),
            methods: ["SubmitAttendance", "ListPlacements"].map(str::to_owned).to_vec(),
            from_date: "2026-08-20".to_owned(),
            to_date: "2027-08-31".to_owned(),
            ..AuthoriseProcessorRequest::default()
        };
        self.client("provider-a").await?.call(register::AUTHORISE_PROCESSOR, &request).await?;
        Ok(())
    }

    /// Creates a placement: referral, acceptance, decision, plan, start.
    async fn make_placement(
        &mut self,
        commissioner: &'static str,
        provider: &'static str,
        child: &SandboxChild,
        number: usize,
    ) -> Result<(), Failure> {
        let arranging = self.client(commissioner).await?;
        let teaching = self.client(provider).await?;
        let made =
            arranging.call(placement::CREATE_REFERRAL, &self.referral(commissioner, provider, child)).await?;
        let made = made.message;
        let initials = match provider {
            "provider-a" => "RV",
            "provider-b" => "OA",
            _ => "BW",
        };
        let reference = child.provider_reference.clone().unwrap_or_else(|| format!("{initials}-{number:03}"));
        let accept = RespondToReferralRequest {
            request_id: self.new_request_id(),
            placement_id: made.placement_id.clone(),
            etag: made.etag,
            answer: Some(Answer::Accept(Acceptance { provider_reference: reference.clone() })),
            ..RespondToReferralRequest::default()
        };
        let etag = teaching.call(placement::RESPOND_TO_REFERRAL, &accept).await?.message.etag;
        let decide = DecidePlacementRequest {
            request_id: self.new_request_id(),
            placement_id: made.placement_id.clone(),
            etag,
            decision: Some(decision()),
            ..DecidePlacementRequest::default()
        };
        let etag = arranging.call(placement::DECIDE_PLACEMENT, &decide).await?.message.etag;
        let plan = PutPlanRequest {
            request_id: self.new_request_id(),
            placement_id: made.placement_id.clone(),
            plan: Some(plan(provider)),
            ..PutPlanRequest::default()
        };
        let planned = arranging.call(placement::PUT_PLAN, &plan).await?.message;
        if !planned.active {
            return Err(Failure::refused("a plan of the sandbox has open items"));
        }
        let mut start = StartPlacementRequest {
            request_id: self.new_request_id(),
            placement_id: made.placement_id.clone(),
            etag,
            start_date: "2026-09-01".to_owned(),
            ..StartPlacementRequest::default()
        };
        // One child has a passport. A named officer waives the missing item for the others.
        if number == CHILD_WITH_PASSPORT {
            self.put_and_share_passport(&arranging, &teaching, &made.placement_id).await?;
        } else {
            start.missing_items = vec![MissingItem::SafetyAcknowledgement as i32];
            start.officer = Some(officer("Sam Example", "AP commissioner"));
            "the passport is still being written with the family".clone_into(&mut start.reason);
        }
        let etag = arranging.call(placement::START_PLACEMENT, &start).await?.message.etag;
        self.world.placements.push(WorldPlacement {
            placement_id: made.placement_id,
            commissioner: commissioner.to_owned(),
            provider: provider.to_owned(),
            upn: child.upn.clone(),
            provider_reference: reference,
            child_id: made.child_id,
            etag,
        });
        Ok(())
    }

    fn referral(&self, commissioner: &str, provider: &str, child: &SandboxChild) -> CreateReferralRequest {
        let agreed = (self.world.agreements.iter())
            .find(|agreed| agreed.commissioner == commissioner && agreed.provider == provider);
        let by_la = commissioner.starts_with("la");
        CreateReferralRequest {
            request_id: self.new_request_id(),
            provider: organisation_id(provider),
            child: Some(ChildIdentity {
                legal_surname: child.surname.clone(),
                legal_forename: child.forename.clone(),
                date_of_birth: child.date_of_birth.clone(),
                sex: child.sex.clone(),
                upn: child.upn.clone(),
                year_group: child.year_group,
                ..ChildIdentity::default()
            }),
            schools_on_roll: if provider == "provider-c" { vec![] } else { vec![organisation_id("school")] },
            la_of_residence: organisation_id(if by_la { "la-a" } else { "la-b" }),
            legal_basis: if by_la { LegalBasis::Section19 } else { LegalBasis::AcademyDirection } as i32,
            reason: PlacementReason::BehaviouralSupport as i32,
            agreement_id: agreed.map(|agreed| agreed.agreement_id.clone()).unwrap_or_default(),
            requested_start: "2026-09-01".to_owned(),
            sessions_per_week: 10,
            safety: "none known".to_owned(),
            needs: "settles with a familiar adult at the door".to_owned(),
            officer: Some(officer("Sam Example", "AP commissioner")),
            ..CreateReferralRequest::default()
        }
    }
}

fn organisation_id(name: &str) -> String {
    ORGANISATIONS
        .iter()
        .find(|(short, ..)| *short == name)
        .map(|(_, id, ..)| (*id).to_owned())
        .unwrap_or_default()
}

fn sha256_hex(der: &[u8]) -> String {
    let hash = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, der);
    hash.as_ref().iter().fold(String::new(), |mut hex, byte| {
        write!(hex, "{byte:02x}").ok();
        hex
    })
}

//! What the organisations of the school month do, each as calls of the gateway.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use ap_gateway::calendar::Date;
use ap_gateway::cli::sandbox;
use ap_gateway::client::Client;
use ap_gateway::proto::v1::mark::{Child, Statement};
use ap_gateway::proto::v1::passport_block::Content as Block;
use ap_gateway::proto::v1::respond_to_referral_request::Answer;
use ap_gateway::proto::v1::{
    Acceptance, AcknowledgeDeliveryRequest, Acknowledged, AlertState, ClosureKind, Contact,
    CreateReferralRequest, DaySession, DecidePlacementRequest, DeclareClosureRequest, DeliveryKind,
    DeliveryStage, EndPlacementRequest, LegalBasis, ListAlertsRequest, Mark, MissingItem,
    NotifyExpectedAbsenceRequest, Officer, PassportBlock, PassportBlockKind as Kind, PassportEmergency,
    PassportMedical, PassportMeta, PassportSafeguarding, PassportSafety, Plan, PutPassportRequest,
    PutPlanRequest, RespondToReferralRequest, Session, StartPlacementRequest, SubmitAttendanceRequest,
    SubmitAttendanceResponse, VoidReturnRequest, delivery_service, oversight_service, passport_service,
    placement_service, register_service, returns_service,
};
use prost::Message;

use super::super::documents::{
    acknowledge, deliveries_of_kind, get_placement, progress_request, share_passport,
};
use super::super::exchange_semantics::new_id;
use super::super::fixtures::{find_example, parse_request};
use super::super::support::World;
use super::script::{Step, word_after};

/// A placement that the script made.
pub struct Placed {
    pub id: String,
    pub commissioner: String,
    pub provider: String,
    active: bool,
}

/// The organisations, and what they have made so far.
pub struct Actors {
    pub clients: BTreeMap<String, Client>,
    pub placed: BTreeMap<String, Placed>,
    organisations: BTreeMap<String, String>,
    agreements: BTreeMap<(String, String), String>,
    /// A plan without open items, by commissioner and provider.
    plans: BTreeMap<(String, String), Plan>,
    returns: BTreeMap<String, String>,
    /// The etags of the passports, by child.
    passports: BTreeMap<String, String>,
    /// Whether passports hold what only the commissioner's own persons may know.
    flagged: bool,
}

impl Actors {
    /// Connects every organisation of the sandbox.
    pub async fn connect(world: &World, flagged: bool) -> Self {
        let made = sandbox::world::load(world.dir.path()).unwrap();
        let mut clients = BTreeMap::new();
        for name in super::ORGANISATIONS {
            clients.insert(name.to_owned(), world.client(name).await);
        }
        let mut plans = BTreeMap::new();
        for placed in &made.placements {
            let pair = (placed.commissioner.clone(), placed.provider.clone());
            if let Entry::Vacant(entry) = plans.entry(pair) {
                let read = get_placement(&clients[&placed.commissioner], &placed.placement_id).await;
                entry.insert(read.plan.unwrap());
            }
        }
        let organisations = made.organisations.into_iter().map(|one| (one.name, one.organisation)).collect();
        let agreements = made.agreements.into_iter();
        let agreements = agreements.map(|one| ((one.commissioner, one.provider), one.agreement_id)).collect();
        let (placed, returns, passports) = (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
        Self { clients, placed, organisations, agreements, plans, returns, passports, flagged }
    }

    /// Does a step.
    pub async fn act(&mut self, step: &Step) {
        let client = self.clients[&step.who].clone();
        let words: Vec<&str> = step.what.iter().map(String::as_str).collect();
        match words[..] {
            ["places", name, "with", provider, ..] => self.place(&client, step, name, provider).await,
            ["replans", name, ..] => self.put_plan(&client, step, name).await,
            ["shares", "passport", "of", name] => self.share_passport(&client, name).await,
            ["acknowledges", "passport", "of", name] => {
                acknowledge(&client, &self.placed[name].id, DeliveryStage::ActedOn).await;
            }
            ["starts", name, ..] => self.start(&client, step, name).await,
            ["ends", name, ..] => self.end(&client, step, name).await,
            ["takes-back-end-of", name] => self.take_back_end(&client, name).await,
            ["registers", session, ..] => self.register(&client, step, session).await,
            ["is-silent", _] => {}
            ["corrects", session, date, name, code] => {
                let mark = self.mark(name, session, date.to_owned(), code);
                let mark = Mark { correction_reason: "a parent telephoned".to_owned(), ..mark };
                send_marks(&client, vec![mark]).await;
            }
            ["voids", label] => self.void(&client, label).await,
            ["closes", date] => close(&client, date).await,
            ["announces", name, "away", date, session, code] => {
                let request = NotifyExpectedAbsenceRequest {
                    request_id: new_id(),
                    placement_id: self.placed[name].id.clone(),
                    sessions: vec![DaySession {
                        date: date.to_owned(),
                        session: session_of(session) as i32,
                        ..DaySession::default()
                    }],
                    code: code.to_owned(),
                    ..NotifyExpectedAbsenceRequest::default()
                };
                client.call(returns_service::NOTIFY_EXPECTED_ABSENCE, &request).await.unwrap();
            }
            ["reports-on", name] => {
                let request = progress_request(&self.placed[name].id, "English", 0, "");
                client.call(returns_service::SUBMIT_PROGRESS, &request).await.unwrap();
            }
            ["resolves", rule, "of", name] => self.resolve(&client, rule, name).await,
            ["acts-on", rule, "of", name] => self.act_on(&client, rule, name).await,
            _ => panic!("nobody can do this: {step:?}"),
        }
    }

    async fn place(&mut self, client: &Client, step: &Step, name: &str, provider: &str) {
        let pair = (step.who.clone(), provider.to_owned());
        let by_la = step.who.starts_with("la");
        let mut referral: CreateReferralRequest = example("CreateReferral");
        let child = referral.child.as_mut().unwrap();
        (child.legal_forename, child.legal_surname) = (name.to_owned(), "Example".to_owned());
        (child.preferred_forename, child.preferred_surname) = (String::new(), String::new());
        word_after(&step.what, "upn").unwrap_or_default().clone_into(&mut child.upn);
        child.year_group = word_after(&step.what, "year").map_or(8, |year| year.parse().unwrap());
        referral.request_id = new_id();
        referral.provider = self.organisations[provider].clone();
        referral.la_of_residence = self.organisations[if by_la { "la-a" } else { "la-b" }].clone();
        if provider != "provider-c" {
            referral.schools_on_roll = vec![self.organisations["school"].clone()];
        }
        let basis = if by_la { LegalBasis::Section19 } else { LegalBasis::AcademyDirection };
        referral.legal_basis = basis as i32;
        referral.agreement_id = self.agreements[&pair].clone();
        let made = client.call(placement_service::CREATE_REFERRAL, &referral).await.unwrap().message;
        let accept = RespondToReferralRequest {
            request_id: new_id(),
            placement_id: made.placement_id.clone(),
            etag: made.etag,
            answer: Some(Answer::Accept(Acceptance { provider_reference: format!("{name}-{}", step.day) })),
            ..RespondToReferralRequest::default()
        };
        let teaching = &self.clients[provider];
        let etag = teaching.call(placement_service::RESPOND_TO_REFERRAL, &accept).await.unwrap().message.etag;
        let mut decide: DecidePlacementRequest = example("DecidePlacement");
        (decide.request_id, decide.placement_id, decide.etag) = (new_id(), made.placement_id.clone(), etag);
        decide.decision.as_mut().unwrap().decided_on = step.day.to_string();
        client.call(placement_service::DECIDE_PLACEMENT, &decide).await.unwrap();
        let (commissioner, provider) = pair;
        let placed = Placed { id: made.placement_id, commissioner, provider, active: false };
        assert!(self.placed.insert(name.to_owned(), placed).is_none(), "{name} is placed twice");
        self.put_plan(client, step, name).await;
    }

    /// Puts a plan like those of the sandbox with the dates of the step.
    async fn put_plan(&self, client: &Client, step: &Step, name: &str) {
        let placed = &self.placed[name];
        let placement = get_placement(client, &placed.id).await.placement.unwrap();
        let end = word_after(&step.what, "until").unwrap().to_owned();
        let base = self.plans[&(placed.commissioner.clone(), placed.provider.clone())].clone();
        let start = if placement.start_date.is_empty() { step.day.to_string() } else { placement.start_date };
        let mut plan = Plan { start_date: start, planned_end_date: end.clone(), ..base };
        // A review after the month, so that a plan lacks none.
        plan.review_dates = vec![word_after(&step.what, "review").unwrap_or("2026-12-04").to_owned()];
        plan.extra_dates.clear();
        plan.outcomes.iter_mut().for_each(|outcome| outcome.target_date.clone_from(&end));
        let put = PutPlanRequest {
            request_id: new_id(),
            placement_id: placed.id.clone(),
            etag: placement.plan_etag,
            plan: Some(plan),
            ..PutPlanRequest::default()
        };
        client.call(placement_service::PUT_PLAN, &put).await.unwrap();
    }

    /// Puts a passport that a start needs, and shares it.
    async fn share_passport(&mut self, client: &Client, name: &str) {
        let placement_id = self.placed[name].id.clone();
        let none = || "none known".to_owned();
        let author = Officer { name: "Ada Officer".to_owned(), ..Officer::default() };
        let contact = Contact { name: "Robin Example".to_owned(), ..Contact::default() };
        let mut contents = vec![
            Block::Meta(PassportMeta { authors: vec![author], ..PassportMeta::default() }),
            Block::Emergency(PassportEmergency { contacts: vec![contact] }),
            Block::Medical(PassportMedical { allergies: none(), medication: none(), ..Default::default() }),
            Block::Safety(PassportSafety { risk_summary: none(), ..PassportSafety::default() }),
        ];
        if self.flagged {
            contents.push(Block::Safeguarding(PassportSafeguarding {
                child_protection: true,
                looked_after: true,
                ..PassportSafeguarding::default()
            }));
        }
        let blocks = contents.into_iter();
        let unread = [Kind::Health, Kind::Safeguarding].into_iter();
        let unread =
            unread.filter(|kind| *kind == Kind::Health || !self.flagged).map(|kind| kind as i32).collect();
        let request = PutPassportRequest {
            request_id: new_id(),
            placement_id: placement_id.clone(),
            blocks: blocks
                .map(|content| PassportBlock { content: Some(content), ..Default::default() })
                .collect(),
            etag: self.passports.get(name).cloned().unwrap_or_default(),
            // From the second version on, `keep` must name every kind that no system may read.
            keep: if self.passports.contains_key(name) { unread } else { Vec::new() },
            ..PutPassportRequest::default()
        };
        let etag = client.call(passport_service::PUT_PASSPORT, &request).await.unwrap().message.etag;
        share_passport(client, &placement_id, &etag).await.unwrap();
        self.passports.insert(name.to_owned(), etag);
    }

    async fn start(&mut self, client: &Client, step: &Step, name: &str) {
        let placed = self.placed.get_mut(name).unwrap();
        let etag = get_placement(client, &placed.id).await.placement.unwrap().etag;
        let mut start = StartPlacementRequest {
            request_id: new_id(),
            placement_id: placed.id.clone(),
            etag,
            start_date: step.day.to_string(),
            ..StartPlacementRequest::default()
        };
        if step.what.iter().any(|word| word == "unacknowledged") {
            start.missing_items = vec![MissingItem::SafetyAcknowledgement as i32];
            start.officer = Some(officer());
            "the child cannot wait for it".clone_into(&mut start.reason);
        }
        client.call(placement_service::START_PLACEMENT, &start).await.unwrap();
        placed.active = true;
    }

    async fn end(&mut self, client: &Client, step: &Step, name: &str) {
        let end = EndPlacementRequest { end_date: step.day.to_string(), ..EndPlacementRequest::default() };
        self.send_end(client, name, end).await;
        self.placed.get_mut(name).unwrap().active = false;
    }

    async fn take_back_end(&mut self, client: &Client, name: &str) {
        let correction_reason = "the family came back".to_owned();
        let end =
            EndPlacementRequest { withdrawn: true, correction_reason, ..EndPlacementRequest::default() };
        self.send_end(client, name, end).await;
        self.placed.get_mut(name).unwrap().active = true;
    }

    async fn send_end(&self, client: &Client, name: &str, end: EndPlacementRequest) {
        let placement_id = self.placed[name].id.clone();
        let etag = get_placement(client, &placement_id).await.placement.unwrap().etag;
        let end = EndPlacementRequest { request_id: new_id(), placement_id, etag, ..end };
        client.call(placement_service::END_PLACEMENT, &end).await.unwrap();
    }

    /// Sends a session's marks of all children who are placed with the provider: present, except for what the step says,
    /// such as `Ash=N`; `Ash=-` has no mark.
    async fn register(&mut self, client: &Client, step: &Step, session: &str) {
        let date = word_after(&step.what, "of").map_or_else(|| step.day.to_string(), str::to_owned);
        let said: BTreeMap<&str, &str> = step.what.iter().filter_map(|word| word.split_once('=')).collect();
        let only = step.what.iter().any(|word| word == "only");
        let present = if session == "am" { "/" } else { "\\" };
        let mut marks = Vec::new();
        for (name, placed) in &self.placed {
            let said = said.get(name.as_str()).copied();
            if placed.provider != step.who || !placed.active || (only && said.is_none()) || said == Some("-")
            {
                continue;
            }
            marks.push(self.mark(name, session, date.clone(), said.unwrap_or(present)));
        }
        if marks.is_empty() {
            return;
        }
        let sent = send_marks(client, marks).await;
        if let Some(label) = word_after(&step.what, "as") {
            self.returns.insert(label.to_owned(), sent.return_id);
        }
    }

    fn mark(&self, name: &str, session: &str, date: String, code: &str) -> Mark {
        Mark {
            child: Some(Child::PlacementId(self.placed[name].id.clone())),
            date,
            session: session_of(session) as i32,
            statement: Some(Statement::Code(code.to_owned())),
            ..Mark::default()
        }
    }

    async fn void(&self, client: &Client, label: &str) {
        let request = VoidReturnRequest {
            request_id: new_id(),
            return_id: self.returns[label].clone(),
            reason: "the register of another day".to_owned(),
            ..VoidReturnRequest::default()
        };
        client.call(returns_service::VOID_RETURN, &request).await.unwrap();
    }

    async fn resolve(&self, client: &Client, rule: &str, name: &str) {
        let (placement_id, rule) = (self.placed[name].id.clone(), rule.to_owned());
        let request = ListAlertsRequest { placement_id, rule, ..ListAlertsRequest::default() };
        let found = client.call(oversight_service::LIST_ALERTS, &request).await.unwrap().message.alerts;
        let open = found.iter().find(|alert| alert.state() == AlertState::Open).unwrap();
        let request = ap_gateway::proto::v1::ResolveAlertRequest {
            request_id: new_id(),
            alert_id: open.alert_id.clone(),
            officer: Some(officer()),
            note: "spoken to the family".to_owned(),
            ..Default::default()
        };
        client.call(oversight_service::RESOLVE_ALERT, &request).await.unwrap();
    }

    async fn act_on(&self, client: &Client, rule: &str, name: &str) {
        let received = deliveries_of_kind(client, DeliveryKind::Alert, &self.placed[name].id).await;
        let received = received.into_iter().rfind(|one| super::events::alert_of(one).rule == rule).unwrap();
        let request = AcknowledgeDeliveryRequest {
            request_id: new_id(),
            deliveries: vec![Acknowledged {
                cursor: received.cursor,
                content_sha256: received.content_sha256,
            }],
            stage: DeliveryStage::ActedOn as i32,
            officer: Some(officer()),
            ..AcknowledgeDeliveryRequest::default()
        };
        client.call(delivery_service::ACKNOWLEDGE_DELIVERY, &request).await.unwrap();
    }
}

async fn send_marks(client: &Client, marks: Vec<Mark>) -> SubmitAttendanceResponse {
    let request = SubmitAttendanceRequest { request_id: new_id(), marks, ..Default::default() };
    client.call(returns_service::SUBMIT_ATTENDANCE, &request).await.unwrap().message
}

async fn close(client: &Client, date: &str) {
    Date::parse(date).unwrap();
    let request = DeclareClosureRequest {
        request_id: new_id(),
        from_date: date.to_owned(),
        to_date: date.to_owned(),
        kind: ClosureKind::Planned as i32,
        reason_code: "#".to_owned(),
        ..DeclareClosureRequest::default()
    };
    client.call(register_service::DECLARE_CLOSURE, &request).await.unwrap();
}

fn session_of(name: &str) -> Session {
    match name {
        "am" => Session::Am,
        "pm" => Session::Pm,
        _ => panic!("{name} is no session"),
    }
}

fn officer() -> Officer {
    Officer { name: "Jo Example".to_owned(), role: "AP officer".to_owned(), ..Officer::default() }
}

fn example<T: Message + Default>(method: &str) -> T {
    parse_request(method, find_example(method).unwrap().json).transcode_to().unwrap()
}

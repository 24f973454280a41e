//! The need-to-know table over the wire: each line of its golden file, for a system and for each role, with real tokens.

use std::collections::{BTreeMap, HashMap};

use ap_gateway::client::Client;
use ap_gateway::proto::v1::passport_block::Content as Block;
use ap_gateway::proto::v1::{
    Agreement, Article6, Article9, Contact, CountersignAgreementRequest, DataClass, EndAgreementRequest,
    EndPlacementRequest, GetPassportRequest, GetPassportResponse, Officer, PassportBlock,
    PassportBlockKind as Kind, PassportEmergency, PassportHealth, PassportLearning, PassportMeta,
    PassportSafeguarding, PassportVoice, ProposeAgreementRequest, Purpose, PutPassportRequest,
    PutPassportResponse, RoleCode, Sensitivity, SharePassportRequest, passport_service, placement_service,
    register_service,
};
use serde_json::json;

use super::documents::{get_placement, refusal_reason};
use super::exchange_semantics::new_id;
use super::support::World;
use super::tokens::TestIssuer;

const GOLDEN: &str = include_str!("../../src/passports/need_to_know.golden");
const PURPOSES: [Purpose; 4] =
    [Purpose::EducationProvision, Purpose::Safeguarding, Purpose::Attendance, Purpose::Oversight];
/// The roles with which the second raised block of the passport is shared, as the golden file names them.
const SHARE_WITH: [RoleCode; 2] = [RoleCode::PlacementLead, RoleCode::Tutor];

/// A line of the golden file. Each value is the first of those for which the line holds.
struct Line {
    part: String,
    is_shared_with: bool,
    system: String,
    /// The view of each role that the line names.
    views: BTreeMap<String, String>,
    /// The view of every other role.
    rest: String,
}

/// What a line holds for: party, state, agreement and purpose.
type Setting = [String; 4];

fn read_golden() -> BTreeMap<Setting, Vec<Line>> {
    let mut settings: BTreeMap<Setting, Vec<Line>> = BTreeMap::new();
    for line in GOLDEN.lines().filter(|line| !line.starts_with('#')) {
        let columns: Vec<&str> = line.split(" | ").collect();
        let first = |column: usize, any: &str| match columns[column].split(", ").next().unwrap() {
            "any" => any.to_owned(),
            value => value.to_owned(),
        };
        let mut views = BTreeMap::new();
        let mut rest = String::new();
        for view in columns[7].split("; ") {
            let (view, roles) = view.split_once(": ").unwrap();
            match roles {
                "every other role" => view.clone_into(&mut rest),
                _ => views.extend(roles.split(' ').map(|role| (role.to_owned(), view.to_owned()))),
            }
        }
        let setting =
            [first(1, "sender"), first(2, "live"), first(3, "none"), first(4, "education_provision")];
        settings.entry(setting).or_default().push(Line {
            part: columns[0].to_owned(),
            is_shared_with: first(5, "nobody") != "nobody",
            system: columns[6].trim_start_matches("system ").to_owned(),
            views,
            rest,
        });
    }
    settings
}

pub fn block(content: Block) -> PassportBlock {
    PassportBlock { content: Some(content), ..PassportBlock::default() }
}

/// A block that its sender raised to RESTRICTED.
pub fn raised(content: Block, share_with: &[RoleCode]) -> PassportBlock {
    PassportBlock {
        sensitivity: Sensitivity::Restricted as i32,
        share_with: share_with.iter().map(|role| *role as i32).collect(),
        content: Some(content),
    }
}

pub fn meta() -> PassportBlock {
    let author = Officer { name: "Ada Officer".to_owned(), ..Officer::default() };
    block(Block::Meta(PassportMeta { authors: vec![author], ..PassportMeta::default() }))
}

pub fn emergency() -> PassportBlock {
    let contact = Contact { name: "Robin Example".to_owned(), ..Contact::default() };
    block(Block::Emergency(PassportEmergency { contacts: vec![contact] }))
}

pub fn health() -> PassportBlock {
    block(Block::Health(PassportHealth { conditions: "asthma".to_owned(), ..Default::default() }))
}

/// A SAFEGUARDING block with all its parts.
pub fn safeguarding() -> PassportSafeguarding {
    PassportSafeguarding {
        looked_after: true,
        detail: "seen weekly".to_owned(),
        no_contact: vec!["Kit Example".to_owned()],
        address: "1 Example Street".to_owned(),
        youth_justice: "a referral order".to_owned(),
        ..PassportSafeguarding::default()
    }
}

/// A passport with every part of the table.
fn every_part() -> Vec<PassportBlock> {
    vec![
        meta(),
        emergency(),
        raised(Block::Voice(PassportVoice { goals: "a bakery".to_owned(), ..Default::default() }), &[]),
        raised(
            Block::Learning(PassportLearning { interests: "bread".to_owned(), ..Default::default() }),
            &SHARE_WITH,
        ),
        health(),
        block(Block::Safeguarding(safeguarding())),
    ]
}

/// Puts a version. Kinds that no system may read and that are not sent are removed.
pub async fn put_blocks(
    client: &Client,
    placement: &str,
    etag: &str,
    blocks: Vec<PassportBlock>,
) -> PutPassportResponse {
    let sent = |kind| match kind {
        Kind::Health => blocks.iter().any(|block| matches!(block.content, Some(Block::Health(_)))),
        _ => blocks.iter().any(|block| matches!(block.content, Some(Block::Safeguarding(_)))),
    };
    let unsent =
        [Kind::Health, Kind::Safeguarding].into_iter().filter(|kind| !etag.is_empty() && !sent(*kind));
    let remove = unsent.map(|kind| kind as i32).collect();
    let request = PutPassportRequest {
        request_id: new_id(),
        placement_id: placement.to_owned(),
        etag: etag.to_owned(),
        blocks,
        remove,
        ..PutPassportRequest::default()
    };
    client.call(passport_service::PUT_PASSPORT, &request).await.unwrap().message
}

/// Puts an agreement in force between la-a and provider-a, and returns its id.
pub async fn agree(
    la: &Client,
    riverside: &Client,
    classes: &[DataClass],
    article_10: &str,
    purposes: &[Purpose],
) -> String {
    let agreement = Agreement {
        parties: vec!["la/330".to_owned(), "provider/riverside".to_owned()],
        data_classes: classes.iter().map(|class| *class as i32).collect(),
        purposes: purposes.iter().map(|purpose| *purpose as i32).collect(),
        article_6: Article6::PublicTask as i32,
        article_9: Article9::SubstantialPublicInterest as i32,
        schedule_1: "18".to_owned(),
        schedule_1_article_10: article_10.to_owned(),
        from_date: "2026-08-01".to_owned(),
        to_date: "2027-08-31".to_owned(),
        review_by: "2027-07-01".to_owned(),
        ..Agreement::default()
    };
    let request =
        ProposeAgreementRequest { request_id: new_id(), agreement: Some(agreement), ..Default::default() };
    let proposed = la.call(register_service::PROPOSE_AGREEMENT, &request).await.unwrap().message;
    let request = CountersignAgreementRequest {
        request_id: new_id(),
        agreement_id: proposed.agreement_id.clone(),
        etag: proposed.etag,
        ..CountersignAgreementRequest::default()
    };
    riverside.call(register_service::COUNTERSIGN_AGREEMENT, &request).await.unwrap();
    proposed.agreement_id
}

pub async fn share_under(la: &Client, placement: &str, etag: &str, agreement: &str) {
    let request = SharePassportRequest {
        request_id: new_id(),
        placement_id: placement.to_owned(),
        etag: etag.to_owned(),
        agreement_id: agreement.to_owned(),
        ..SharePassportRequest::default()
    };
    la.call(passport_service::SHARE_PASSPORT, &request).await.unwrap();
}

/// Returns how a reader sees a part in an answer; `None` is a refusal.
fn view_of(answer: Option<&GetPassportResponse>, part: &str, is_shared_with: bool) -> &'static str {
    let Some(answer) = answer else { return "absent" };
    let contents = || answer.blocks.iter().filter_map(|block| block.content.as_ref());
    let has = |is_it: fn(&Block) -> bool| contents().any(is_it);
    let notice = |kind| match answer.notices.iter().any(|notice| notice.kind() == kind) {
        true => "notice",
        false => "absent",
    };
    let content_or = |is_content: bool, otherwise| if is_content { "content" } else { otherwise };
    let of_safeguarding = |is_there: fn(&PassportSafeguarding) -> bool| {
        contents().any(|content| matches!(content, Block::Safeguarding(it) if is_there(it)))
    };
    match (part, is_shared_with) {
        ("Open", _) => content_or(has(|it| matches!(it, Block::Meta(_))), "absent"),
        ("ProvisionCritical", _) => content_or(has(|it| matches!(it, Block::Emergency(_))), "absent"),
        ("Raised", true) => content_or(has(|it| matches!(it, Block::Learning(_))), notice(Kind::Learning)),
        ("Raised", false) => content_or(has(|it| matches!(it, Block::Voice(_))), notice(Kind::Voice)),
        ("Health", _) => content_or(has(|it| matches!(it, Block::Health(_))), notice(Kind::Health)),
        ("Safeguarding", _) => content_or(of_safeguarding(|it| it.looked_after), notice(Kind::Safeguarding)),
        ("NoContact", _) => content_or(of_safeguarding(|it| !it.no_contact.is_empty()), "absent"),
        ("Address", _) => content_or(of_safeguarding(|it| !it.address.is_empty()), "absent"),
        ("YouthJustice", _) => content_or(of_safeguarding(|it| !it.youth_justice.is_empty()), "absent"),
        (other, _) => panic!("{other}"),
    }
}

pub async fn get_passport(client: &Client, placement: &str) -> Result<GetPassportResponse, String> {
    let request = GetPassportRequest { placement_id: placement.to_owned(), ..GetPassportRequest::default() };
    let answer = client.call(passport_service::GET_PASSPORT, &request).await;
    answer.map(|reply| reply.message).map_err(refusal_reason)
}

/// A client whose calls have a token.
pub async fn person(world: &World, caller: &str, role: &str, purpose: &str) -> Client {
    let dir = world.dir.path();
    let token = TestIssuer::load(dir, caller).token(dir, caller, |claims| {
        claims["role"] = json!(role);
        claims["purpose"] = json!(purpose);
    });
    world.client(caller).await.with_token(&token).unwrap()
}

/// The parties of the test, their passport, and the agreements that were made.
struct Parties {
    la: Client,
    riverside: Client,
    live: String,
    ended: String,
    /// By agreement and purposes.
    agreements: HashMap<(String, String), String>,
}

impl Parties {
    async fn new(world: &World) -> Self {
        let (la, riverside) = (world.client("la-a").await, world.client("provider-a").await);
        let mut placements = world.placements("la-a", "provider-a");
        let (ended, live) = (placements.remove(2), placements.remove(1));
        for placement in [&live, &ended] {
            put_blocks(&la, placement, "", every_part()).await;
        }
        let mut parties = Self { la, riverside, live, ended, agreements: HashMap::new() };
        // What is shared before the end is not read after it.
        let all = parties.agreement("PASSPORT RESTRICTED and Article 10", "education_provision").await;
        share_under(&parties.la, &parties.ended, "1", &all).await;
        let etag = get_placement(&parties.la, &parties.ended).await.placement.unwrap().etag;
        let request = EndPlacementRequest {
            request_id: new_id(),
            placement_id: parties.ended.clone(),
            etag,
            end_date: "2026-11-20".to_owned(),
            ..EndPlacementRequest::default()
        };
        parties.la.call(placement_service::END_PLACEMENT, &request).await.unwrap();
        parties
    }

    /// Returns an agreement of the golden file, which names a purpose or all others.
    async fn agreement(&mut self, covers: &str, purpose: &str) -> String {
        let known = (covers.to_owned(), purpose.to_owned());
        if let Some(agreement) = self.agreements.get(&known) {
            return agreement.clone();
        }
        let named = |of: &Purpose| {
            let is_it = of.as_str_name() == format!("PURPOSE_{}", purpose_of(purpose).to_ascii_uppercase());
            is_it != purpose.ends_with(" not named")
        };
        let purposes: Vec<_> = PURPOSES.into_iter().filter(named).collect();
        let classes = match covers.contains("RESTRICTED") {
            true => &[DataClass::Passport, DataClass::Restricted][..],
            false => &[DataClass::Passport],
        };
        let article_10 = if covers.contains("Article 10") { "10" } else { "" };
        let agreement = agree(&self.la, &self.riverside, classes, article_10, &purposes).await;
        self.agreements.insert(known, agreement.clone());
        agreement
    }

    /// Shares the passport under the agreement of a setting.
    async fn share(&mut self, agreement: &str, purpose: &str) {
        if agreement != "none" {
            let agreement = self.agreement(agreement, purpose).await;
            share_under(&self.la, &self.live, "1", &agreement).await;
            return;
        }
        let classes = [DataClass::Passport, DataClass::Restricted];
        let agreement = agree(&self.la, &self.riverside, &classes, "10", &PURPOSES).await;
        share_under(&self.la, &self.live, "1", &agreement).await;
        let end = EndAgreementRequest { request_id: new_id(), agreement_id: agreement, ..Default::default() };
        self.la.call(register_service::END_AGREEMENT, &end).await.unwrap();
    }
}

fn purpose_of(column: &str) -> &str {
    column.trim_end_matches(" not named")
}

/// Drives each line of the golden file for a system and for each role.
async fn each_line_holds(world: &World) {
    let mut parties = Parties::new(world).await;
    let roles: Vec<String> = (1..)
        .map_while(|number| RoleCode::try_from(number).ok())
        .map(|role| role.as_str_name().trim_start_matches("ROLE_CODE_").to_ascii_lowercase())
        .collect();
    let mut persons: HashMap<(String, String, String), Client> = HashMap::new();
    let settings = read_golden();
    assert!(settings.len() >= 10);
    assert_eq!(settings.values().map(Vec::len).sum::<usize>(), GOLDEN.lines().count() - 1);
    for (setting, lines) in settings {
        let [party, state, agreement, purpose] = &setting;
        let caller = if party == "sender" { "la-a" } else { "provider-a" };
        if party == "provider" && state == "live" {
            parties.share(agreement, purpose).await;
        }
        let placement = if state == "live" { parties.live.clone() } else { parties.ended.clone() };
        let system = if party == "sender" { &parties.la } else { &parties.riverside };
        let read = get_passport(system, &placement).await;
        let refused = match (party.as_str(), state.as_str(), agreement.as_str()) {
            ("provider", "ended", _) => Some("NOT_FOUND"),
            ("provider", _, "none") => Some("AGREEMENT_NOT_IN_FORCE"),
            _ => None,
        };
        assert_eq!(read.as_ref().err().map(String::as_str), refused, "{setting:?}");
        for line in &lines {
            let view = view_of(read.as_ref().ok(), &line.part, line.is_shared_with);
            assert_eq!(view, line.system, "{setting:?} {} system", line.part);
        }
        for role in &roles {
            let key = (caller.to_owned(), role.clone(), purpose_of(purpose).to_owned());
            if !persons.contains_key(&key) {
                let client = person(world, caller, role, purpose_of(purpose)).await;
                persons.insert(key.clone(), client);
            }
            let read = get_passport(&persons[&key], &placement).await;
            assert_eq!(read.as_ref().err().map(String::as_str), refused, "{setting:?} {role}");
            for line in &lines {
                let view = view_of(read.as_ref().ok(), &line.part, line.is_shared_with);
                let expected = line.views.get(role).unwrap_or(&line.rest);
                assert_eq!(view, expected, "{setting:?} {} {role}", line.part);
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn on_sqlite() {
    let world = World::sqlite().await;
    each_line_holds(&world).await;
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn on_postgresql() {
    let world = World::postgres().await;
    each_line_holds(&world).await;
    world.stop().await;
}

/// Restricted parts are special-category data, and a paragraph for Article 10 is one that the law has for it.
#[tokio::test(flavor = "multi_thread")]
async fn an_agreement_on_restricted_parts_needs_an_article_9_condition() {
    let world = World::sqlite().await;
    let la = world.client("la-a").await;
    let agreement = Agreement {
        parties: vec!["la/330".to_owned(), "provider/riverside".to_owned()],
        data_classes: vec![DataClass::Restricted as i32],
        purposes: vec![Purpose::Safeguarding as i32],
        article_6: Article6::PublicTask as i32,
        schedule_1_article_10: "8".to_owned(),
        from_date: "2026-08-01".to_owned(),
        to_date: "2027-08-31".to_owned(),
        review_by: "2027-07-01".to_owned(),
        ..Agreement::default()
    };
    let request =
        ProposeAgreementRequest { request_id: new_id(), agreement: Some(agreement), ..Default::default() };
    let refused = la.call(register_service::PROPOSE_AGREEMENT, &request).await;
    let refused = super::exchange_semantics::refusal_status(refused);
    let faults = super::parties::field_violations(&refused);
    assert_eq!(
        faults,
        ["agreement.article_9 ARTICLE_9_REQUIRED", "agreement.schedule_1_article_10 ARTICLE_10_PARAGRAPH"]
    );
    world.stop().await;
}

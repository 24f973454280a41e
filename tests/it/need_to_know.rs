//! The need-to-know table over the wire: each line of its golden file, for a system and for each role, with real tokens.

use std::collections::{BTreeMap, HashMap};

use ap_gateway::client::Client;
use ap_gateway::proto::v1::passport_block::Content as Block;
use ap_gateway::proto::v1::{
    Agreement, Article6, DataClass, EndAgreementRequest, EndPlacementRequest, GetPassportResponse,
    PassportBlock, PassportBlockKind as Kind, PassportLearning, PassportSafeguarding, PassportVoice,
    ProposeAgreementRequest, Purpose, RoleCode, placement_service, register_service,
};

use super::documents::get_placement;
use super::exchange_semantics::new_id;
use super::passport_fixtures::{
    agree, block, emergency, get_passport, health, meta, person, put_blocks, raised, safeguarding,
    share_under,
};
use super::support::World;

const GOLDEN: &str = include_str!("../../src/passports/need_to_know.golden");
const PURPOSES: [Purpose; 4] =
    [Purpose::EducationProvision, Purpose::Safeguarding, Purpose::Attendance, Purpose::Oversight];
/// The roles with which the second raised block of the passport is shared, as the golden file names them.
const SHARE_WITH: [RoleCode; 2] = [RoleCode::PlacementLead, RoleCode::Tutor];

/// Values of the column of agreements that can be put in force, and of the column of purposes.
const AGREEMENTS: [&str; 5] = [
    "none",
    "PASSPORT",
    "PASSPORT and Article 10",
    "PASSPORT RESTRICTED",
    "PASSPORT RESTRICTED and Article 10",
];
const NAMED: [&str; 8] = [
    "education_provision",
    "education_provision not named",
    "safeguarding",
    "safeguarding not named",
    "attendance",
    "attendance not named",
    "oversight",
    "oversight not named",
];

/// A line of the golden file.
#[derive(Clone)]
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

/// Returns the settings of which a line holds. A sender reads under no agreement, and nobody after the end.
fn settings_of(columns: &[&str]) -> Vec<Setting> {
    let values = |column: usize, all: &[&str]| -> Vec<String> {
        let found = columns[column].split(", ").filter(|value| *value == "any" || all.contains(value));
        found
            .flat_map(|value| if value == "any" { all.to_vec() } else { vec![value] })
            .map(str::to_owned)
            .collect()
    };
    let mut found = Vec::new();
    for state in values(2, &["live", "ended"]) {
        let is_read_under_agreement = columns[1] == "provider" && state == "live";
        for agreement in values(3, &AGREEMENTS) {
            for purpose in values(4, &NAMED) {
                let is_one = agreement == "none" && !purpose.ends_with(" not named");
                if is_read_under_agreement || is_one {
                    found.push([columns[1].to_owned(), state.clone(), agreement.clone(), purpose]);
                }
            }
        }
    }
    found
}

/// Reads the golden file: the lines of each setting; only the first setting of each line, if `each_line_once` is set.
fn read_golden(each_line_once: bool) -> BTreeMap<Setting, Vec<Line>> {
    let mut settings: BTreeMap<Setting, Vec<Line>> = BTreeMap::new();
    for line in GOLDEN.lines().filter(|line| !line.starts_with('#')) {
        let columns: Vec<&str> = line.split(" | ").collect();
        let mut views = BTreeMap::new();
        let mut rest = String::new();
        for view in columns[7].split("; ") {
            let (view, roles) = view.split_once(": ").unwrap();
            match roles {
                "every other role" => view.clone_into(&mut rest),
                _ => views.extend(roles.split(' ').map(|role| (role.to_owned(), view.to_owned()))),
            }
        }
        let line = Line {
            part: columns[0].to_owned(),
            is_shared_with: columns[5].starts_with("placement_lead"),
            system: columns[6].trim_start_matches("system ").to_owned(),
            views,
            rest,
        };
        let held = settings_of(&columns);
        assert!(!held.is_empty(), "{columns:?}");
        for setting in held.into_iter().take(if each_line_once { 1 } else { usize::MAX }) {
            settings.entry(setting).or_default().push(line.clone());
        }
    }
    settings
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

/// Returns how a reader sees a part in an answer; `None` is a refusal.
fn view_of(answer: Option<&GetPassportResponse>, part: &str, is_shared_with: bool) -> &'static str {
    let Some(answer) = answer else { return "absent" };
    let contents = || answer.blocks.iter().filter_map(|block| block.content.as_ref());
    let has = |is_it: fn(&Block) -> bool| contents().any(is_it);
    let notice = |kind| {
        let is_noticed = answer.notices.iter().any(|notice| notice.kind() == kind);
        if is_noticed { "notice" } else { "absent" }
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
        let named = |named: &Purpose| {
            let is_it =
                named.as_str_name() == format!("PURPOSE_{}", purpose_of(purpose).to_ascii_uppercase());
            is_it != purpose.ends_with(" not named")
        };
        let purposes: Vec<_> = PURPOSES.into_iter().filter(named).collect();
        let both = [DataClass::Passport, DataClass::Restricted];
        let classes = if covers.contains("RESTRICTED") { &both[..] } else { &both[..1] };
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
async fn each_line_holds(world: &World, each_line_once: bool) {
    let mut parties = Parties::new(world).await;
    let roles: Vec<String> = (1..)
        .map_while(|number| RoleCode::try_from(number).ok())
        .map(|role| role.as_str_name().trim_start_matches("ROLE_CODE_").to_ascii_lowercase())
        .collect();
    let mut persons: HashMap<(String, String, String), Client> = HashMap::new();
    let settings = read_golden(each_line_once);
    let (driven, lines) = (settings.values().map(Vec::len).sum::<usize>(), GOLDEN.lines().count() - 1);
    if each_line_once {
        assert_eq!(driven, lines);
    } else {
        // Five agreements and eight purposes of the provider; states and purposes of the sender; the end.
        assert_eq!(settings.len(), 5 * 8 + 2 * 4 + 4);
        assert!(settings.values().all(|lines| lines.len() >= 8));
    }
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

/// Every setting of every line.
#[tokio::test(flavor = "multi_thread")]
async fn on_sqlite() {
    let world = World::sqlite().await;
    each_line_holds(&world, false).await;
    world.stop().await;
}

/// One setting of each line.
#[tokio::test(flavor = "multi_thread")]
async fn on_postgresql() {
    let world = World::postgres().await;
    each_line_holds(&world, true).await;
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

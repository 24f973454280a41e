//! What a person does not read of a passport, the person neither changes nor learns from a decision or a flag.

use ap_gateway::client::Client;
use ap_gateway::proto::v1::passport_block::Content as Block;
use ap_gateway::proto::v1::{
    GetProgressRequest, Officer, PassportBlock, PassportBlockKind as Kind, PassportHealth, PassportLearning,
    PassportNeeds, PassportSafeguarding, PutPassportRequest, SpecialNeed, WithholdInformationRequest,
    Withholding, passport_service, returns_service,
};

use super::documents::{progress_request, refusal_reason, withhold};
use super::exchange_semantics::{new_id, refusal_status};
use super::parties::field_violations;
use super::passport_fixtures::{block, get_passport, health, meta, person, put_blocks, raised, safeguarding};
use super::support::World;

/// Sends a version, and returns the violations of its fields.
async fn put(client: &Client, placement: &str, etag: &str, parts: Parts) -> Result<String, Vec<String>> {
    let numbers = |kinds: Vec<Kind>| kinds.into_iter().map(|kind| kind as i32).collect();
    let request = PutPassportRequest {
        request_id: new_id(),
        placement_id: placement.to_owned(),
        etag: etag.to_owned(),
        blocks: [vec![meta()], parts.blocks].concat(),
        keep: numbers(parts.keep),
        remove: numbers(parts.remove),
        ..PutPassportRequest::default()
    };
    match client.call(passport_service::PUT_PASSPORT, &request).await {
        Ok(reply) => Ok(reply.message.etag),
        refused => Err(field_violations(&refusal_status(refused))),
    }
}

/// Blocks of a version beside META, and the kinds that it keeps and removes.
#[derive(Clone, Default)]
struct Parts {
    blocks: Vec<PassportBlock>,
    keep: Vec<Kind>,
    remove: Vec<Kind>,
}

fn sent(part: PassportSafeguarding) -> Parts {
    Parts { blocks: vec![block(Block::Safeguarding(part))], keep: vec![Kind::Health], remove: Vec::new() }
}

/// What persons try to change without reading it, each with its role and the violations.
fn changes() -> Vec<(&'static str, Parts, Vec<&'static str>)> {
    let empty = PassportSafeguarding::default;
    let all = safeguarding;
    let detail = || PassportSafeguarding { detail: "a note".to_owned(), ..empty() };
    let remove = |kind, keep| Parts { remove: vec![kind], keep: vec![keep], ..Parts::default() };
    let written = PassportHealth { treatment: "none".to_owned(), ..PassportHealth::default() };
    let health =
        Parts { blocks: vec![block(Block::Health(written))], keep: vec![Kind::Safeguarding], remove: vec![] };
    let of_all = vec![
        "blocks[1].safeguarding.looked_after PART_NOT_READ",
        "blocks[1].safeguarding.detail PART_NOT_READ",
        "blocks[1].safeguarding.no_contact PART_NOT_READ",
        "blocks[1].safeguarding.address PART_NOT_READ",
        "blocks[1].safeguarding.youth_justice PART_NOT_READ",
    ];
    vec![
        ("tutor", sent(detail()), vec!["blocks[1].safeguarding.detail PART_NOT_READ"]),
        ("tutor", sent(all()), of_all.clone()),
        ("dco", sent(all()), of_all.clone()),
        ("yjs", sent(all()), of_all[..4].to_vec()),
        ("head", sent(all()), of_all[2..].to_vec()),
        ("social_worker", sent(all()), of_all[4..].to_vec()),
        ("social_worker", health.clone(), vec!["blocks[1].health PART_NOT_READ"]),
        ("tutor", remove(Kind::Safeguarding, Kind::Health), vec!["remove[0] PART_NOT_READ"]),
        ("head", remove(Kind::Safeguarding, Kind::Health), vec!["remove[0] PART_NOT_READ"]),
        ("vsh", remove(Kind::Health, Kind::Safeguarding), vec!["remove[0] PART_NOT_READ"]),
    ]
}

/// Checks that a person changes what the person reads and nothing else, and that a refusal is the same whether or not the
/// passport has the part. A system replaces the block.
async fn a_person_changes_only_what_the_person_reads(world: &World) {
    let la = world.client("la-a").await;
    let placements = world.placements("la-a", "provider-a");
    let (with, without) = (&placements[1], &placements[2]);
    put_blocks(&la, with, "", vec![meta(), health(), block(Block::Safeguarding(safeguarding()))]).await;
    put_blocks(&la, without, "", vec![meta()]).await;
    for (role, parts, violations) in changes() {
        let writer = person(world, "la-a", role, "safeguarding").await;
        for placement in [with, without] {
            let refused = put(&writer, placement, "1", parts.clone()).await.unwrap_err();
            assert_eq!(refused, violations, "{role}");
        }
    }
    // The lead reads all of it, but not for every purpose.
    let attendance = person(world, "la-a", "dsl", "attendance").await;
    assert_eq!(put(&attendance, with, "1", sent(safeguarding())).await.unwrap_err().len(), 5);
    let dsl = person(world, "la-a", "dsl", "safeguarding").await;
    let stored = async || {
        let blocks = get_passport(&dsl, with).await.unwrap().blocks;
        assert!(blocks.iter().any(|block| matches!(block.content, Some(Block::Health(_)))));
        blocks.into_iter().find_map(|block| match block.content {
            Some(Block::Safeguarding(found)) => Some(found),
            _ => None,
        })
    };
    // A person changes what the person reads, and the rest stays.
    let tutor = person(world, "la-a", "tutor", "education_provision").await;
    let kept = Parts { keep: vec![Kind::Health, Kind::Safeguarding], ..Parts::default() };
    put(&tutor, with, "1", kept).await.unwrap();
    put(&tutor, with, "2", sent(PassportSafeguarding::default())).await.unwrap();
    assert_eq!(stored().await, Some(safeguarding()));
    let head = person(world, "la-a", "head", "safeguarding").await;
    let of_head = PassportSafeguarding { child_in_need: true, ..PassportSafeguarding::default() };
    put(&head, with, "3", sent(of_head)).await.unwrap();
    let changed = PassportSafeguarding {
        child_in_need: true,
        looked_after: false,
        detail: String::new(),
        ..safeguarding()
    };
    assert_eq!(stored().await, Some(changed.clone()));
    let worker = person(world, "la-a", "social_worker", "safeguarding").await;
    let moved = PassportSafeguarding { address: "2 Example Street".to_owned(), ..changed };
    let of_worker = PassportSafeguarding { youth_justice: String::new(), ..moved.clone() };
    put(&worker, with, "4", sent(of_worker)).await.unwrap();
    assert_eq!(stored().await, Some(moved.clone()));
    let cleared = PassportSafeguarding { youth_justice: String::new(), ..moved };
    put(&dsl, with, "5", sent(cleared.clone())).await.unwrap();
    assert_eq!(stored().await, Some(cleared));
    let of_system = PassportSafeguarding { detail: "of the record".to_owned(), ..Default::default() };
    put(&la, with, "6", sent(of_system.clone())).await.unwrap();
    assert_eq!(stored().await, Some(of_system));
}

async fn withholding(client: &Client, placement: &str) -> Option<Withholding> {
    get_passport(client, placement).await.unwrap().withholding
}

/// Decides, with the etag of the decision that is replaced.
async fn decide(client: &Client, placement: &str, etag: &str, blocks: &[Kind]) -> Result<String, String> {
    let request = WithholdInformationRequest {
        request_id: new_id(),
        placement_id: placement.to_owned(),
        blocks: blocks.iter().map(|kind| *kind as i32).collect(),
        reason: "the address is hidden".to_owned(),
        officer: Some(Officer { name: "Ada Officer".to_owned(), ..Officer::default() }),
        etag: etag.to_owned(),
        ..WithholdInformationRequest::default()
    };
    let answer = client.call(passport_service::WITHHOLD_INFORMATION, &request).await;
    answer.map(|reply| reply.message.etag).map_err(refusal_reason)
}

/// Checks that a decision tells a reader of the sender nothing of a kind that the reader does not get.
async fn a_decision_tells_of_no_kind_that_is_not_read(world: &World) {
    use Kind::{Health, Learning, Medical, Safeguarding, Voice};
    let la = world.client("la-a").await;
    let placement = &world.placements("la-a", "provider-a")[1];
    let learning = raised(Block::Learning(PassportLearning::default()), &[]);
    let etag = get_passport(&la, placement).await.unwrap().etag;
    put_blocks(&la, placement, &etag, vec![meta(), learning]).await;
    let mut readers = vec![world.client("la-a").await];
    for role in ["tutor", "attendance_officer", "other", "senco", "vsh", "head", "dsl"] {
        readers.push(person(world, "la-a", role, "safeguarding").await);
    }
    // What the system, tutor, attendance officer, OTHER, SENCO, VSH, HEAD and DSL get: the kinds, and whether all.
    let none = || (vec![], false);
    let cases = [
        (vec![Health, Safeguarding], {
            let both = (vec![Health, Safeguarding], true);
            let senco = (vec![Health], false);
            [none(), none(), none(), none(), senco, (vec![Safeguarding], false), both.clone(), both]
        }),
        (vec![Safeguarding, Voice], {
            let (voice, both) = ((vec![Voice], false), (vec![Safeguarding, Voice], true));
            [voice.clone(), voice.clone(), voice.clone(), none(), voice, both.clone(), both.clone(), both]
        }),
        (vec![Medical, Learning], {
            let one = || (vec![Medical], false);
            [one(), one(), one(), none(), one(), one(), one(), (vec![Medical, Learning], true)]
        }),
        (vec![], [none(), none(), none(), none(), none(), none(), (vec![], true), (vec![], true)]),
    ];
    for (number, (kinds, views)) in cases.into_iter().enumerate() {
        withhold(&la, placement, &kinds).await.unwrap();
        for (at, (reader, (read, is_whole))) in readers.iter().zip(views).enumerate() {
            let got = withholding(reader, placement).await;
            if !is_whole {
                let cut = || Withholding { blocks: numbers(&read), ..Withholding::default() };
                assert_eq!(got, (!read.is_empty()).then(cut), "{kinds:?} reader {at}");
                continue;
            }
            let got = got.unwrap();
            assert_eq!(got.blocks, numbers(&read), "{kinds:?} reader {at}");
            assert_eq!(got.etag, (number + 1).to_string());
            assert!(got.decided_by.is_some() && got.recorded_time.is_some() && !got.reason.is_empty());
        }
    }
}

fn numbers(kinds: &[Kind]) -> Vec<i32> {
    kinds.iter().map(|kind| *kind as i32).collect()
}

/// Checks that only a person who reads HEALTH and SAFEGUARDING decides, and replaces only the decision that was read.
async fn a_person_decides_who_reads_what_is_withheld(world: &World) {
    let la = world.client("la-a").await;
    let placement = &world.placements("la-a", "provider-a")[2];
    assert_eq!(decide(&la, placement, "", &[Kind::Safeguarding]).await, Ok("1".to_owned()));
    let mut unentitled = vec![person(world, "la-a", "dsl", "attendance").await];
    for role in ["other", "quality_officer", "tutor", "ap_lead", "senco", "vsh"] {
        unentitled.push(person(world, "la-a", role, "safeguarding").await);
    }
    for reader in &unentitled {
        for (etag, blocks) in [("", &[][..]), ("1", &[]), ("1", &[Kind::Medical])] {
            assert_eq!(decide(reader, placement, etag, blocks).await, Err("PERSON_REQUIRED".to_owned()));
        }
    }
    let stranger = world.client("la-b").await;
    assert_eq!(decide(&stranger, placement, "1", &[]).await, Err("NOT_FOUND".to_owned()));
    let (dsl, head) = (
        person(world, "la-a", "dsl", "safeguarding").await,
        person(world, "la-a", "head", "education_provision").await,
    );
    for etag in ["", "0", "2"] {
        let refused = decide(&dsl, placement, etag, &[Kind::Medical]).await;
        assert_eq!(refused, Err("REVISION_MISMATCH".to_owned()), "{etag}");
    }
    let read = withholding(&dsl, placement).await.unwrap();
    assert_eq!(read.blocks, numbers(&[Kind::Safeguarding]));
    assert_eq!(decide(&dsl, placement, &read.etag, &[Kind::Medical]).await, Ok("2".to_owned()));
    assert_eq!(decide(&head, placement, "2", &[]).await, Ok("3".to_owned()));
    // A system does not read every decision, so it may leave the etag out; one that it sends is compared.
    assert_eq!(decide(&la, placement, "2", &[]).await, Err("REVISION_MISMATCH".to_owned()));
    assert_eq!(decide(&la, placement, "3", &[]).await, Ok("4".to_owned()));
    assert_eq!(decide(&la, placement, "", &[]).await, Ok("5".to_owned()));
}

/// Checks that the need in a block that was raised to RESTRICTED sets no flag, which more readers get than the block.
async fn a_raised_need_sets_no_flag(world: &World) {
    let (la, school) = (world.client("la-a").await, world.client("school").await);
    let riverside = world.client("provider-a").await;
    let placement = &world.placements("la-a", "provider-a")[2];
    let semh = || {
        let need = SpecialNeed { r#type: "SEMH".to_owned(), rank: 1 };
        Block::Needs(PassportNeeds { types: vec![need], ..PassportNeeds::default() })
    };
    let flags = async |client: &Client| {
        let request = GetProgressRequest { placement_id: placement.clone(), ..Default::default() };
        client.call(returns_service::GET_PROGRESS, &request).await.unwrap().message.records[0].flags.clone()
    };
    for (at, (needs, expected)) in
        [(raised(semh(), &[]), &[][..]), (block(semh()), &["INCOMPLETE"][..])].into_iter().enumerate()
    {
        let etag = get_passport(&la, placement).await.unwrap().etag;
        put_blocks(&la, placement, &etag, vec![meta(), needs]).await;
        let (subject, reason) = if at == 0 { ("English", "") } else { ("Art", "a better account") };
        let request = progress_request(placement, subject, 0, reason);
        riverside.call(returns_service::SUBMIT_PROGRESS, &request).await.unwrap();
        for client in [&la, &person(world, "la-a", "tutor", "education_provision").await, &school] {
            assert_eq!(flags(client).await, expected);
        }
    }
}

async fn all(world: World) {
    a_person_changes_only_what_the_person_reads(&world).await;
    a_decision_tells_of_no_kind_that_is_not_read(&world).await;
    a_person_decides_who_reads_what_is_withheld(&world).await;
    a_raised_need_sets_no_flag(&world).await;
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn on_sqlite() {
    all(World::sqlite().await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn on_postgresql() {
    all(World::postgres().await).await;
}

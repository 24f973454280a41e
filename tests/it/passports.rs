//! Which blocks of the previous version a new version of a passport keeps.

use ap_gateway::proto::v1::passport_block::Content as Block;
use ap_gateway::proto::v1::{
    BlockNotice, GetPassportRequest, ListPassportVersionsRequest, Officer, PassportBlock,
    PassportBlockKind as Kind, PassportMeta, PassportSafeguarding, PassportVoice, PutPassportRequest,
    Sensitivity, passport_service,
};
use tonic_types::StatusExt;

use super::exchange_semantics::{new_id, refusal_status};
use super::support::World;

/// Checks that writing back what was read loses no unreadable block, and that the sender's system does not learn
/// whether there is one: refusals and replies are the same with it and without it.
async fn a_passport_that_is_read_and_put_back_loses_nothing(world: &World) {
    let school = world.client("school").await;
    let (with, without) = (
        world.placements("school", "provider-a").remove(1),
        world.placements("school", "provider-a").remove(2),
    );
    let put_blocks =
        async |placement: &str, etag: &str, blocks: Vec<PassportBlock>, keep: &[Kind], remove: &[Kind]| {
            let kinds = |kinds: &[Kind]| kinds.iter().map(|kind| *kind as i32).collect();
            let request = PutPassportRequest {
                request_id: new_id(),
                placement_id: placement.to_owned(),
                etag: etag.to_owned(),
                blocks,
                keep: kinds(keep),
                remove: kinds(remove),
                ..PutPassportRequest::default()
            };
            school.call(passport_service::PUT_PASSPORT, &request).await
        };
    let read = async |placement: &str| {
        let request = GetPassportRequest { placement_id: placement.to_owned(), ..Default::default() };
        school.call(passport_service::GET_PASSPORT, &request).await.unwrap().message
    };
    let notices = async |placement: &str| {
        read(placement).await.notices.iter().map(BlockNotice::kind).collect::<Vec<_>>()
    };
    let author = Officer { name: "Ada Officer".to_owned(), ..Officer::default() };
    let block = |content| PassportBlock { content: Some(content), ..PassportBlock::default() };
    let meta = block(Block::Meta(PassportMeta { authors: vec![author], ..PassportMeta::default() }));
    let secret =
        block(Block::Safeguarding(PassportSafeguarding { looked_after: true, ..Default::default() }));
    let mut refusals = Vec::new();
    let mut replies = Vec::new();
    for (placement, first) in [(&with, vec![meta.clone(), secret.clone()]), (&without, vec![meta.clone()])] {
        let etag = put_blocks(placement, "", first, &[], &[]).await.unwrap().message.etag;
        let back = read(placement).await.blocks;
        for keep in [&[][..], &[Kind::Health]] {
            let refusal = refusal_status(put_blocks(placement, &etag, back.clone(), keep, &[]).await);
            let exchange = refusal.get_error_details().error_info().unwrap().metadata["exchange_id"].clone();
            let details = String::from_utf8_lossy(refusal.details()).replace(&exchange, "-");
            refusals.push((refusal.message().to_owned(), details));
        }
        let both = [Kind::Health, Kind::Safeguarding];
        let put = put_blocks(placement, &etag, back.clone(), &both, &[]).await.unwrap().message;
        replies.push(put.clone());
        refusal_status(put_blocks(placement, &put.etag, back, &both, &[Kind::Health]).await);
    }
    assert!(refusals[0].1.contains("blocks.health") && refusals[0].1.contains("blocks.safeguarding"));
    assert!(!refusals[1].1.contains("blocks.health") && refusals[1].1.contains("KEEP_OR_REMOVE"));
    assert_eq!((&refusals[..2], &replies[0]), (&refusals[2..], &replies[1]));
    // Notices and versions do not reveal it either: both kinds are always named.
    let unreadable = [Kind::Health, Kind::Safeguarding];
    assert_eq!((notices(&with).await, notices(&without).await), (unreadable.to_vec(), unreadable.to_vec()));
    let versions = async |placement: &str| {
        let request =
            ListPassportVersionsRequest { placement_id: placement.to_owned(), ..Default::default() };
        let reply = school.call(passport_service::LIST_PASSPORT_VERSIONS, &request).await.unwrap().message;
        reply.versions.into_iter().map(|version| (version.etag, version.blocks)).collect::<Vec<_>>()
    };
    assert_eq!(versions(&with).await, versions(&without).await);
    assert_eq!(versions(&with).await[0].1.len(), 3);
    // A block that its author restricted is kept as well, until it is removed.
    let health = [Kind::Health];
    let voice = PassportBlock {
        sensitivity: Sensitivity::Restricted as i32,
        ..block(Block::Voice(PassportVoice::default()))
    };
    put_blocks(&with, "2", vec![meta.clone(), secret, voice], &health, &[]).await.unwrap();
    let kept = [Kind::Health, Kind::Safeguarding];
    put_blocks(&with, "3", vec![meta.clone()], &kept, &[]).await.unwrap();
    assert_eq!(notices(&with).await, [Kind::Health, Kind::Safeguarding, Kind::Voice]);
    put_blocks(&with, "4", vec![meta], &health, &[Kind::Safeguarding, Kind::Voice]).await.unwrap();
    assert_eq!(notices(&with).await, unreadable);
}

#[tokio::test(flavor = "multi_thread")]
async fn on_sqlite() {
    let world = World::sqlite().await;
    a_passport_that_is_read_and_put_back_loses_nothing(&world).await;
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn on_postgresql() {
    let world = World::postgres().await;
    a_passport_that_is_read_and_put_back_loses_nothing(&world).await;
    world.stop().await;
}

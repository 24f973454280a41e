//! Rotation of the key ring while the gateway serves: new data is sealed under the new key, and old data can still
//! be opened.

use std::path::Path;
use std::time::Duration;

use ap_gateway::cli::sandbox;
use ap_gateway::client::Client;
use ap_gateway::proto::v1::mark::Child;
use ap_gateway::proto::v1::{
    ChildIdentity, CreateReferralRequest, LegalBasis, Officer, PlacementReason, placement_service,
};

use super::exchange_semantics::{get_attendance, mark, new_id, submission, submit};
use super::support::{World, gateway, run};

/// Runs `activate-key` and returns exit code and output.
fn activate_key(config: &Path) -> (Option<i32>, String) {
    let output = gateway().args(["activate-key", "--config"]).arg(config).output().unwrap();
    let printed = [output.stdout, output.stderr].concat();
    (output.status.code(), String::from_utf8_lossy(&printed).into_owned())
}

/// Refers a new child; the child's key is wrapped by the active key.
pub async fn create_referral(la: &Client, agreement_id: &str) {
    let child = ChildIdentity {
        legal_surname: "Example".to_owned(),
        legal_forename: "Robin".to_owned(),
        date_of_birth: "2012-03-04".to_owned(),
        ..ChildIdentity::default()
    };
    let request = CreateReferralRequest {
        request_id: new_id(),
        provider: "provider/riverside".to_owned(),
        child: Some(child),
        la_of_residence: "la/330".to_owned(),
        legal_basis: LegalBasis::Section19 as i32,
        reason: PlacementReason::Other as i32,
        agreement_id: agreement_id.to_owned(),
        requested_start: "2026-11-23".to_owned(),
        sessions_per_week: 10,
        safety: "none known".to_owned(),
        officer: Some(Officer {
            name: "Sam Example".to_owned(),
            role: "AP commissioner".to_owned(),
            ..Officer::default()
        }),
        ..CreateReferralRequest::default()
    };
    la.call(placement_service::CREATE_REFERRAL, &request).await.unwrap();
}

async fn newest_sealing_key(world: &World) -> i64 {
    let database = world.database().await;
    let sql = "SELECT kek_id FROM child_keys ORDER BY idx DESC, ordinal DESC LIMIT 1";
    let row = database.reader().await.unwrap().fetch_one(sql, vec![]).await.unwrap();
    database.close().await;
    row.unwrap().get("kek_id").unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rotated_ring_is_taken_up_and_the_old_keys_still_open() {
    let world = World::sqlite().await;
    let made = sandbox::world::load(world.dir.path()).unwrap();
    let agreed = made.agreements.iter().find(|agreed| agreed.provider == "provider-a").unwrap();
    let placed = made.placements.iter().find(|placed| placed.commissioner == "la-a").unwrap();
    let (la, riverside) = (world.client("la-a").await, world.client("provider-a").await);
    let mut noted = mark(&placed.placement_id, "2026-11-02", "I");
    noted.comment = "sealed under the old key".to_owned();
    submit(&riverside, &submission(vec![noted])).await.unwrap();
    create_referral(&la, &agreed.agreement_id).await;
    let before = newest_sealing_key(&world).await;
    let config = world.dir.path().join("gateway.toml");
    let (code, printed) = activate_key(&config);
    assert!(code == Some(78) && printed.contains("run rotate-keys first"), "{code:?}: {printed}");
    run(gateway().args(["rotate-keys", "--config"]).arg(&config));
    create_referral(&la, &agreed.agreement_id).await;
    assert_eq!(newest_sealing_key(&world).await, before, "a key that is only distributed does not seal");
    run(gateway().args(["activate-key", "--config"]).arg(&config));
    let ring = std::fs::read(world.dir.path().join("key-ring")).unwrap();
    let (code, printed) = activate_key(&config);
    assert!(
        code == Some(0) && printed.contains("seals already: there is nothing to do"),
        "{code:?}: {printed}"
    );
    assert_eq!(std::fs::read(world.dir.path().join("key-ring")).unwrap(), ring, "no second key is made");
    let mut after = before;
    for _ in 0..120 {
        tokio::time::sleep(Duration::from_millis(50)).await;
        create_referral(&la, &agreed.agreement_id).await;
        after = newest_sealing_key(&world).await;
        if after != before {
            break;
        }
    }
    assert_eq!(after, before + 1, "a new child's key is wrapped by the new key");
    // The child is found by its UPN although the blind index is from the old key, and old data is opened.
    let mut by_upn = mark(&placed.placement_id, "2026-11-03", "/");
    by_upn.child = Some(Child::Upn(placed.upn.clone()));
    assert_eq!(submit(&riverside, &submission(vec![by_upn])).await.unwrap().message.stored, 1);
    let marks = get_attendance(&la, &placed.placement_id).await.unwrap().marks;
    let comments = marks.iter().map(|history| history.mark.as_ref().unwrap().comment.as_str());
    assert_eq!(comments.collect::<Vec<_>>(), ["sealed under the old key", ""]);
    world.stop().await;
}

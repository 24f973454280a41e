//! The access matrix, generated from the descriptors: every method is in it from the day on which it is
//! declared. What it cannot guess of a new method it asks for, by the method's name.

mod credentials;
mod ids;
mod lapses;

use std::collections::BTreeSet;

use ap_gateway::clock::Randomness;
use ap_gateway::codes::organisation::OrganisationKind;
use ap_gateway::exchange::Action;
use ap_gateway::{gateway, proto};

use super::rows::ROWS;
use super::stage::{Stage, path, row};
use super::support::World;

/// One of the cast for each kind of organisation.
const KINDS: [(OrganisationKind, &str); 7] = [
    (OrganisationKind::La, "la-b"),
    (OrganisationKind::School, "school"),
    (OrganisationKind::Provider, "provider-c"),
    (OrganisationKind::Partner, "newcomer"),
    (OrganisationKind::Auditor, "auditor"),
    (OrganisationKind::Processor, "processor"),
    (OrganisationKind::Operator, "operator"),
];

/// Every method with its path and what it asks to do.
fn methods() -> Vec<(&'static str, String, Action)> {
    let actions = gateway::routes().actions();
    let all =
        actions.into_iter().map(|(path, action)| (path, path.rsplit('/').next().unwrap().to_owned(), action));
    all.collect()
}

#[test]
fn every_method_has_a_route_and_a_row() {
    let declared: BTreeSet<String> = proto::methods().map(|method| path(&method)).collect();
    let routed: BTreeSet<String> = methods().into_iter().map(|(path, ..)| path.to_owned()).collect();
    assert_eq!(declared, routed);
    for (_, name, action) in methods() {
        assert!(row(&name).is_some(), "{name} has no row: add a valid request of it to tests/it/rows.rs");
        let declared = proto::methods().find(|method| method.name() == name).unwrap();
        let hashes = declared.output().get_field(15).is_none();
        assert!(hashes || proto::is_mutating(&declared) == action.is_mutating(), "{name}");
    }
    for row in ROWS {
        assert!(methods().iter().any(|(_, name, _)| name == row.method), "{} is no method", row.method);
    }
}

/// A kind of organisation that may not call a method is told so, whatever it sends; one that may is not.
#[tokio::test(flavor = "multi_thread")]
async fn a_method_is_for_some_kinds_of_organisation() {
    let world = World::sqlite().await;
    let mut stage = Stage::set(world.dir.path(), Randomness::system()).await;
    stage.play("RegisterOrganisation").await;
    let (mut allowed, mut refused) = (0, 0);
    for (path, name, action) in methods() {
        for (kind, member) in KINDS {
            let answer = stage.wire(member).await.call(path, &[]).await;
            let may = action.kinds().contains(&kind);
            assert_eq!(answer.told() != "METHOD_NOT_ALLOWED", may, "{name} by {kind:?}: {}", answer.told());
            *(if may { &mut allowed } else { &mut refused }) += 1;
        }
    }
    assert!(allowed > 50 && refused > 50, "{allowed} {refused}");
    drop(stage);
    world.stop().await;
}

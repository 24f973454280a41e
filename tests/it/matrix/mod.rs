//! The access matrix, generated from the protobuf descriptors: it covers every declared method. A test fails and
//! names the method if it needs information about a new one.

mod credentials;
mod ids;
mod lapses;

use std::collections::BTreeSet;

use ap_gateway::clock::Randomness;
use ap_gateway::codes::organisation::OrganisationKind;
use ap_gateway::exchange::Method;
use ap_gateway::proto;

use super::example_requests::EXAMPLE_REQUESTS;
use super::fixtures::{Fixtures, find_example, method_path, sorted_methods};
use super::support::World;

/// One caller for each kind of organisation.
const CALLER_BY_KIND: [(OrganisationKind, &str); 7] = [
    (OrganisationKind::La, "la-b"),
    (OrganisationKind::School, "school"),
    (OrganisationKind::Provider, "provider-c"),
    (OrganisationKind::Partner, "newcomer"),
    (OrganisationKind::Auditor, "auditor"),
    (OrganisationKind::Processor, "processor"),
    (OrganisationKind::Operator, "operator"),
];

/// Returns every method: path, name and declaration.
fn all_methods() -> Vec<(&'static str, String, &'static Method)> {
    sorted_methods().into_iter().map(|method| (method.path, method.name().to_owned(), method)).collect()
}

#[test]
fn every_method_has_a_route_and_a_row() {
    let declared: BTreeSet<String> = proto::methods().map(|method| method_path(&method)).collect();
    let routed: BTreeSet<String> = all_methods().into_iter().map(|(path, ..)| path.to_owned()).collect();
    assert_eq!(declared, routed);
    for (_, name, action) in all_methods() {
        assert!(
            find_example(&name).is_some(),
            "{name} has no example: add a valid request to tests/it/example_requests.rs"
        );
        let declared = proto::methods().find(|method| method.name() == name).unwrap();
        let hashes = declared.output().get_field(15).is_none();
        assert!(hashes || proto::is_mutating(&declared) == action.is_mutating(), "{name}");
    }
    for row in EXAMPLE_REQUESTS {
        assert!(all_methods().iter().any(|(_, name, _)| name == row.method), "{} is no method", row.method);
    }
}

/// Checks that a method is refused to kinds of organisations that may not call it, whatever the request, and not to
/// others.
#[tokio::test(flavor = "multi_thread")]
async fn a_method_is_for_some_kinds_of_organisation() {
    let world = World::sqlite().await;
    let mut stage = Fixtures::create(world.dir.path(), Randomness::system()).await;
    stage.call_ok("RegisterOrganisation").await;
    let mut met = BTreeSet::new();
    for (path, name, action) in all_methods() {
        for (kind, member) in CALLER_BY_KIND {
            let answer = stage.connection(member).await.call(path, &[]).await;
            let may = action.callers.contains(&kind);
            assert_eq!(
                answer.reason() != "METHOD_NOT_ALLOWED",
                may,
                "{name} by {kind:?}: {}",
                answer.reason()
            );
            met.insert((member, may));
        }
    }
    assert_eq!(
        met.len(),
        2 * CALLER_BY_KIND.len(),
        "each kind may call some methods and not others: {met:?}"
    );
    drop(stage);
    world.stop().await;
}

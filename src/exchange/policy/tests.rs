//! Test of the policy against its golden table: who may call which method, and with which role.

use std::fmt::Write;

use super::*;
use crate::{gateway, golden, proto};

const PARTS: [CallerRole; 8] = [
    CallerRole::Commissioner,
    CallerRole::Provider,
    CallerRole::SchoolOnRoll,
    CallerRole::Residence,
    CallerRole::Party,
    CallerRole::Owner,
    CallerRole::Operator,
    CallerRole::NoRole,
];

/// Prints the table. A role that gets `NOT_FOUND` in every case has no row, because the record does not exist for
/// it.
fn table() -> String {
    let mut out =
        String::from("action · who may call · role: live and agreed | live | ended and agreed | ended\n");
    for action in gateway::METHODS.iter().filter(|method| !method.access.is_empty()) {
        let kinds: Vec<_> = action.callers.iter().map(|kind| kind.as_str()).collect();
        let does = if action.is_mutating() { "changes" } else { "reads" };
        let does = if action.is_grantable() { does.to_owned() } else { format!("{does}, itself only") };
        writeln!(out, "{} {does} · {}", action.name(), kinds.join(" ")).unwrap();
        for part in PARTS {
            let cases = [
                (RoleStatus::Live, true),
                (RoleStatus::Live, false),
                (RoleStatus::Ended, true),
                (RoleStatus::Ended, false),
            ];
            let results = cases.map(|(standing, agreed)| {
                action.verdict(part, standing, agreed).map_or_else(Reason::name, |()| "OK")
            });
            if results != ["NOT_FOUND"; 4] {
                writeln!(out, "    {part:?}: {}", results.join(" | ")).unwrap();
            }
        }
    }
    out
}

#[test]
fn the_policy_is_its_golden_table() {
    golden::check("src/exchange/policy/policy.golden", &table());
}

#[test]
fn every_action_is_a_method_that_says_whether_it_changes_something() {
    for action in gateway::METHODS.iter() {
        let name = action.name();
        let method = proto::methods().find(|method| method.name() == name).unwrap();
        assert_eq!(proto::is_mutating(&method), action.is_mutating(), "{name}");
    }
}

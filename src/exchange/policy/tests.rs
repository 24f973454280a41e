//! The whole policy as a golden table: who may call what, and with which part in the thing.

use std::fmt::Write;

use super::*;
use crate::proto;

const PARTS: [Part; 8] = [
    Part::Commissioner,
    Part::Provider,
    Part::SchoolOnRoll,
    Part::Residence,
    Part::Party,
    Part::Own,
    Part::Operator,
    Part::None,
];

/// A part that gets `NOT_FOUND` whatever else holds has no row: to it the thing does not exist.
fn table() -> String {
    let mut out =
        String::from("action · who may call · part: live and agreed | live | ended and agreed | ended\n");
    for action in Action::ALL {
        let kinds: Vec<_> = action.kinds().iter().map(|kind| kind.as_str()).collect();
        let does = if action.is_mutating() { "changes" } else { "reads" };
        writeln!(out, "{action:?} {does} · {}", kinds.join(" ")).unwrap();
        for part in PARTS {
            let cases = [
                (Standing::Live, true),
                (Standing::Live, false),
                (Standing::Ended, true),
                (Standing::Ended, false),
            ];
            let told = cases.map(|(standing, agreed)| {
                verdict(*action, part, standing, agreed).map_or_else(Reason::name, |()| "OK")
            });
            if told != ["NOT_FOUND"; 4] {
                writeln!(out, "    {part:?}: {}", told.join(" | ")).unwrap();
            }
        }
    }
    out
}

#[test]
fn the_policy_is_its_golden_table() {
    assert_eq!(table(), include_str!("policy.golden"));
}

#[test]
fn every_action_is_a_method_that_says_whether_it_changes_something() {
    for action in Action::ALL {
        let name = format!("{action:?}");
        let method = proto::methods().find(|method| method.name() == name).unwrap();
        assert_eq!(proto::is_mutating(&method), action.is_mutating(), "{name}");
    }
}

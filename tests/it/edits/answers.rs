//! Edits that change an answer of the gateway, made as an attacker would: consistently in every table, by somebody who
//! holds the database but neither the log's signing key nor the key ring.

use ap_gateway::store::Value;

use super::copies::Statement;
use super::generate::Edit;

/// An edit that changes an answer. The statements are valid on both databases.
struct AnswerEdit {
    /// What the gateway would answer.
    name: &'static str,
    /// The table whose rows decide the answer.
    table: &'static str,
    statements: &'static [&'static str],
}

const fn answer(name: &'static str, table: &'static str, statements: &'static [&'static str]) -> AnswerEdit {
    AnswerEdit { name, table, statements }
}

/// Begins the subquery for the position of the newest version of a record.
macro_rules! newest {
    ($table:literal, $which:literal) => {
        concat!(
            "(SELECT r.idx, r.ordinal FROM ",
            $table,
            " r JOIN current_versions v ON v.idx = r.idx AND v.ordinal = r.ordinal WHERE ",
            $which,
            " ORDER BY r.idx DESC, r.ordinal LIMIT 1)"
        )
    };
}

/// Sets columns of the newest version of a record.
macro_rules! set {
    ($table:literal, $set:literal, $which:literal) => {
        concat!("UPDATE ", $table, " SET ", $set, " WHERE (idx, ordinal) = ", newest!($table, $which))
    };
}

/// Makes an older version of a record the current one.
macro_rules! set_back {
    ($table:literal, $same:literal, $which:literal) => {
        concat!(
            "UPDATE current_versions SET version = version - 1, (idx, ordinal) = (SELECT o.idx, o.ordinal FROM ",
            $table,
            " o JOIN ",
            $table,
            " r ON ",
            $same,
            " WHERE r.idx = current_versions.idx AND r.ordinal = current_versions.ordinal) WHERE (idx, ordinal) = ",
            newest!($table, $which)
        )
    };
}

/// Deletes the newest version of a record and the current version that names it.
macro_rules! delete {
    ($table:literal, $which:literal) => {
        &[
            concat!("CREATE TEMPORARY TABLE target AS SELECT * FROM ", newest!($table, $which), " AS t"),
            "DELETE FROM current_versions WHERE (idx, ordinal) = (SELECT idx, ordinal FROM target)",
            concat!("DELETE FROM ", $table, " WHERE (idx, ordinal) = (SELECT idx, ordinal FROM target)"),
            "DROP TABLE target",
        ]
    };
}

/// The last exchange that stored a single mark.
macro_rules! last_mark {
    () => {
        "(SELECT MAX(idx) FROM marks)"
    };
}

const ANSWERS: &[AnswerEdit] = &[
    answer(
        "an absence is a presence again: the current version is the first one",
        "current_versions",
        &[set_back!(
            "marks",
            "o.placement = r.placement AND o.date = r.date AND o.slot = r.slot AND o.revision = r.revision - 1",
            "r.revision = 2"
        )],
    ),
    answer(
        "a revoked certificate is registered",
        "certificates",
        &[set!("certificates", "state = 1", "r.state = 2")],
    ),
    answer(
        "a revoked certificate is registered: the current version is the first one",
        "current_versions",
        &[set_back!("certificates", "o.sha256 = r.sha256 AND o.version = r.version - 1", "r.state = 2")],
    ),
    answer(
        "another provider reads a placement",
        "placements",
        &[
            concat!(
                "INSERT INTO placement_parties (idx, ordinal, organisation, placement) \
                 SELECT r.idx, 700, 'provider/brightwater', r.id FROM placements r WHERE (r.idx, r.ordinal) = ",
                newest!("placements", "r.state = 6 AND r.provider = 'provider/riverside'")
            ),
            set!(
                "placements",
                "provider = 'provider/brightwater'",
                "r.state = 6 AND r.provider = 'provider/riverside'"
            ),
        ],
    ),
    answer(
        "another authority lists a placement",
        "placement_parties",
        &["INSERT INTO placement_parties (idx, ordinal, organisation, placement) \
           SELECT idx, 701, 'la/331', id FROM placements WHERE version = 1 AND commissioner = 'la/330' \
           ORDER BY idx LIMIT 1"],
    ),
    answer(
        "a mark is not found: its ordinal is 100 more, also in its current version",
        "marks",
        &[
            concat!(
                "UPDATE current_versions SET ordinal = ordinal + 100 WHERE ordinal >= 0 AND idx = ",
                last_mark!()
            ),
            concat!("UPDATE marks SET ordinal = ordinal + 100 WHERE idx = ", last_mark!()),
        ],
    ),
    answer("a mark has another code", "marks", &[set!("marks", "code = 'N'", "r.code = '/'")]),
    answer(
        "an agreement ends later",
        "agreements",
        &[set!("agreements", "to_date = '2031-08-31'", "r.state = 2")],
    ),
    answer("an ended agreement is in force", "agreements", &[set!("agreements", "state = 2", "r.state = 3")]),
    answer("an ended grant is valid", "grants", &[set!("grants", "ended = 0", "r.ended = 1")]),
    answer(
        "an ended grant is valid: the row that ended it is gone, and the version before it is current",
        "grants",
        &[
            set_back!("grants", "o.id = r.id AND o.version = r.version - 1", "r.ended = 1"),
            "DELETE FROM grants WHERE (idx, ordinal) IN (SELECT r.idx, r.ordinal FROM grants r \
             LEFT JOIN current_versions v ON v.idx = r.idx AND v.ordinal = r.ordinal \
             WHERE r.ended = 1 AND v.idx IS NULL)",
        ],
    ),
    answer(
        "a processor may call another method",
        "grants",
        &[set!("grants", "methods = methods || ',GetPassport'", "r.kind = 1 AND r.ended = 0")],
    ),
    answer(
        "nothing is missing: an open item is deleted",
        "open_items",
        delete!("open_items", "r.is_checked = 0"),
    ),
    answer(
        "an open alert is closed",
        "alerts",
        &[set!("alerts", "state = 3, ended = raised", "r.state = 1")],
    ),
    answer(
        "a delivery was never made",
        "parties",
        &["DELETE FROM parties WHERE (organisation, idx, ordinal) = (SELECT organisation, idx, ordinal \
           FROM parties WHERE kind > 0 ORDER BY idx DESC, ordinal LIMIT 1)"],
    ),
    answer(
        "a delivery is in the mailbox of another authority",
        "parties",
        &["UPDATE parties SET organisation = 'la/331' WHERE (organisation, idx, ordinal) = \
           (SELECT organisation, idx, ordinal FROM parties WHERE kind > 0 AND organisation = 'la/330' \
           ORDER BY idx DESC, ordinal LIMIT 1)"],
    ),
    answer(
        "a recipient acted on a delivery that it only received",
        "acknowledgements",
        &[set!("acknowledgements", "delivery_idx = delivery_idx + 1", "r.delivery_idx > 0")],
    ),
    answer(
        "a retry gets the reply of another request",
        "entries",
        &["UPDATE entries SET reply = (SELECT o.reply FROM entries o WHERE o.method = entries.method \
           AND o.reply <> entries.reply ORDER BY o.idx DESC LIMIT 1) WHERE idx = (SELECT MIN(idx) FROM entries \
           WHERE method LIKE '%SubmitAttendance' AND reply IS NOT NULL)"],
    ),
    answer(
        "a retry is stored again: its request id is gone",
        "entries",
        &["UPDATE entries SET request_id = NULL, request_mac = NULL, reply = NULL WHERE idx = \
           (SELECT MAX(idx) FROM entries WHERE method LIKE '%SubmitAttendance' AND reply IS NOT NULL)"],
    ),
    answer(
        "a group was never signed: its checkpoint is gone, and its entries name the next one",
        "checkpoints",
        &[
            "CREATE TEMPORARY TABLE target AS SELECT size FROM checkpoints ORDER BY size LIMIT 1 OFFSET 100",
            "UPDATE entries SET size = (SELECT MIN(c.size) FROM checkpoints c WHERE c.size > entries.size) \
             WHERE size = (SELECT size FROM target)",
            "DELETE FROM checkpoints WHERE size = (SELECT size FROM target)",
            "DROP TABLE target",
        ],
    ),
    answer(
        "a suspended organisation is active",
        "organisations",
        &[set!("organisations", "state = 1", "r.state = 2")],
    ),
    answer(
        "a suspended organisation is active: the current version is the one before",
        "current_versions",
        &[set_back!(
            "organisations",
            "o.organisation = r.organisation AND o.version = r.version - 1",
            "r.state = 2"
        )],
    ),
    answer(
        "a term has its earlier dates",
        "current_versions",
        &[set_back!(
            "term_dates",
            "o.organisation = r.organisation AND o.academic_year = r.academic_year AND o.version = r.version - 1",
            "r.version > 1"
        )],
    ),
    answer("a return was not withdrawn", "voids", delete!("voids", "r.part = 0")),
    answer("a withdrawn closure holds", "closures", &[set!("closures", "withdrawn = 0", "r.withdrawn = 1")]),
    answer(
        "a passport has a block of its first version",
        "passport_blocks",
        &["UPDATE passport_blocks SET block = (SELECT o.block FROM passport_blocks o \
           WHERE o.sender = passport_blocks.sender AND o.child = passport_blocks.child \
           AND o.kind = passport_blocks.kind AND o.version = 1) WHERE (idx, ordinal) = \
           (SELECT r.idx, r.ordinal FROM passport_blocks r JOIN passport_blocks o ON o.sender = r.sender \
           AND o.child = r.child AND o.kind = r.kind AND o.version = 1 WHERE r.version = 2 \
           ORDER BY r.idx, r.ordinal LIMIT 1)"],
    ),
    answer(
        "nothing is withheld: the last decision is gone, and the one before it is current",
        "passport_withholdings",
        &[
            "CREATE TEMPORARY TABLE target AS SELECT r.idx, r.ordinal FROM passport_withholdings r \
             ORDER BY r.idx DESC LIMIT 1",
            set_back!(
                "passport_withholdings",
                "o.sender = r.sender AND o.placement = r.placement AND o.number = r.number - 1",
                "r.number > 1"
            ),
            "DELETE FROM passport_withholdings WHERE (idx, ordinal) = (SELECT idx, ordinal FROM target)",
            "DROP TABLE target",
        ],
    ),
    answer(
        "a register has another code",
        "statements",
        &[set!("statements", "code = 'B'", "r.code IS NOT NULL AND r.kind = 1")],
    ),
    answer(
        "a batch was not collected",
        "collections",
        &["DELETE FROM collections WHERE (idx, ordinal) = \
           (SELECT idx, ordinal FROM collections ORDER BY idx DESC LIMIT 1)"],
    ),
    answer("a return had marks", "returns", &["UPDATE returns SET is_nil = 0, stored = 1 WHERE is_nil = 1"]),
    answer(
        "a right that was narrowed is not noticed: the counters are one less",
        "current_versions",
        &["UPDATE current_versions SET version = version - 1 WHERE ordinal = -1 AND version > 1"],
    ),
    answer(
        "the last exchanges never were",
        "entries",
        &[
            "CREATE TEMPORARY TABLE target AS SELECT size FROM checkpoints ORDER BY size DESC LIMIT 1 OFFSET 3",
            "DELETE FROM current_versions WHERE idx >= (SELECT size FROM target)",
            "DELETE FROM marks WHERE idx >= (SELECT size FROM target)",
            "DELETE FROM returns WHERE idx >= (SELECT size FROM target)",
            "DELETE FROM parties WHERE idx >= (SELECT size FROM target)",
            "DELETE FROM entries WHERE idx >= (SELECT size FROM target)",
            "DELETE FROM checkpoints WHERE size > (SELECT size FROM target)",
            "DROP TABLE target",
        ],
    ),
];

/// Returns the edits. The finding of each must name its table, or another of the tables that it changes.
pub fn answer_edits() -> Vec<Edit> {
    let make = |edit: &AnswerEdit| {
        let statement = |sql: &&str| -> Statement { ((*sql).to_owned(), Vec::<Value>::new()) };
        Edit {
            table: edit.table.to_owned(),
            what: edit.name.to_owned(),
            column: String::new(),
            statements: edit.statements.iter().map(statement).collect(),
            entries: std::collections::BTreeSet::new(),
        }
    };
    ANSWERS.iter().map(make).collect()
}

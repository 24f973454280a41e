//! The baselines of a release: `deploy/release` writes them, and `.ci/baselines` refuses what is not compatible with
//! them.

use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

use super::limits::output;
use super::support::{installed_tool, run};

const RETURNS: &str = "proto/apgateway/v1/returns.proto";
const MIGRATION: &str = "src/store/migrations/sqlite/0001_log.sql";

const FORM: &str = "src/store/form-1.golden";
const KEPT_DATABASE: &str = "tests/data/format-1/gateway.sqlite";

/// What `.ci/baselines` prints before the first release.
const NOTHING_RELEASED: &str = "nothing was released yet";

/// The folders of a checkout that the scripts read, copied.
struct Checkout(TempDir);

/// Builds a command that runs one of the repository's scripts.
fn script(path: &str) -> Command {
    let mut script = Command::new(Path::new(env!("CARGO_MANIFEST_DIR")).join(path));
    let buf = installed_tool("node_modules/.bin/buf");
    script.env("AP_GATEWAY_TEST_TOOLS", buf.ancestors().nth(3).unwrap());
    script
}

impl Checkout {
    /// Copies folders and files without the baselines of a release.
    fn unreleased() -> Self {
        let copy = Self(TempDir::new().unwrap());
        for folder in ["proto", "src/store/migrations", FORM, "tests/data/format-1"] {
            let to = copy.path(folder);
            std::fs::create_dir_all(to.parent().unwrap()).unwrap();
            run(Command::new("cp").arg("-R").arg(Path::new(env!("CARGO_MANIFEST_DIR")).join(folder)).arg(to));
        }
        for baseline in ["proto/released.binpb", "src/store/migrations/released.sha256"] {
            run(Command::new("rm").arg("-f").arg(copy.path(baseline)));
        }
        copy
    }

    fn released() -> Self {
        let copy = Self::unreleased();
        run(script("deploy/release").arg(copy.0.path()));
        copy
    }

    fn path(&self, path: &str) -> PathBuf {
        self.0.path().join(path)
    }

    /// Replaces a text, which the file contains, in its first place.
    fn replace(self, path: &str, from: &str, to: &str) -> Self {
        let text = std::fs::read_to_string(self.path(path)).unwrap();
        assert!(text.contains(from), "{path} does not contain {from:?}");
        std::fs::write(self.path(path), text.replacen(from, to, 1)).unwrap();
        self
    }

    /// Compares the checkout with its baselines: `Err` with what was printed if they are not compatible.
    fn compare(&self) -> Result<String, String> {
        let output = output(script(".ci/baselines").arg(self.0.path()));
        let printed = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
        if output.status.success() { Ok(printed) } else { Err(printed) }
    }
}

#[test]
fn this_checkout_is_compatible_with_the_newest_release() {
    run(&mut script(".ci/baselines"));
}

#[test]
fn without_a_release_the_comparison_says_that_there_was_none() {
    let printed = Checkout::unreleased().compare().unwrap();
    assert!(printed.contains(NOTHING_RELEASED), "{printed}");
    assert_eq!(printed.lines().count(), 1);
}

#[test]
fn what_is_added_is_compatible() {
    let copy = Checkout::released();
    assert_eq!(copy.compare(), Ok(String::new()));
    let copy = copy.replace(
        RETURNS,
        "message VoidReturnRequest {\n",
        "message VoidReturnRequest {\n  // An addition.\n  string addition = 99;\n",
    );
    std::fs::write(copy.path("src/store/migrations/sqlite/9999_additive_future.sql"), "SELECT 1;\n").unwrap();
    assert_eq!(copy.compare(), Ok(String::new()));
    // Then the next release takes it up.
    run(script("deploy/release").arg(copy.0.path()));
    std::fs::remove_file(copy.path("src/store/migrations/sqlite/9999_additive_future.sql")).unwrap();
    copy.compare().unwrap_err();
}

#[test]
fn a_field_goes_only_with_its_number_and_name_reserved() {
    const FIELD: &str = "  string return_id = 3;\n  // Reason for the withdrawal";
    for (left_behind, is_compatible) in [
        ("", false),
        ("  reserved 3;\n", false),
        ("  reserved \"return_id\";\n", false),
        ("  reserved 3;\n  reserved \"return_id\";\n", true),
    ] {
        let to = format!("{left_behind}  // Reason for the withdrawal");
        let compared = Checkout::released().replace(RETURNS, FIELD, &to).compare();
        assert_eq!(compared.is_ok(), is_compatible, "{left_behind:?}: {compared:?}");
        let printed = compared.unwrap_or_else(|printed| printed);
        assert!(is_compatible || printed.contains("VoidReturnRequest"), "{printed}");
    }
    let renamed = Checkout::released().replace(RETURNS, FIELD, &FIELD.replace("return_id", "id"));
    assert!(renamed.compare().unwrap_err().contains("changed name"));
}

#[test]
fn a_released_migration_neither_changes_nor_goes() {
    let changed = Checkout::released().replace(MIGRATION, "CREATE TABLE", "CREATE  TABLE");
    assert!(changed.compare().unwrap_err().contains("sqlite/0001_log.sql: FAILED"));
    let gone = Checkout::released();
    std::fs::remove_file(gone.path(MIGRATION)).unwrap();
    assert!(gone.compare().unwrap_err().contains("sqlite/0001_log.sql"));
}

#[test]
fn a_released_form_and_its_kept_database_neither_change_nor_go() {
    let changed = Checkout::released().replace(FORM, "marks", "mark");
    assert!(changed.compare().unwrap_err().contains("form-1.golden: FAILED"));
    for file in [FORM, KEPT_DATABASE] {
        let gone = Checkout::released();
        std::fs::remove_file(gone.path(file)).unwrap();
        assert!(gone.compare().unwrap_err().contains(file.rsplit('/').next().unwrap()), "{file}");
    }
}

#[test]
fn a_release_needs_both_baselines_and_follows_from_the_last() {
    for baseline in ["proto/released.binpb", "src/store/migrations/released.sha256"] {
        let copy = Checkout::released();
        std::fs::remove_file(copy.path(baseline)).unwrap();
        copy.compare().unwrap_err();
    }
    let changed = Checkout::released().replace(MIGRATION, "CREATE TABLE", "CREATE  TABLE");
    assert!(!output(script("deploy/release").arg(changed.0.path())).status.success());
}

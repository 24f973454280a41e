//! Property test with generated registers. A generator renders known marks and applies mutations that systems and
//! people cause. The reader must return only marks that were rendered, and must report or refuse all others.

use std::collections::HashSet;

use super::super::*;
use super::generator::{ExpectedMark, GeneratedFile, Mutation};
use super::rng::Rng;
use crate::proto::v1::Session;
use crate::proto::v1::mark::Child;

/// Number of files in one run; `AP_GATEWAY_TEST_FILES` overrides it.
const DEFAULT_FILE_COUNT: u64 = 2_000;

fn expected_form(row: &FileMark) -> ExpectedMark {
    let mark = &row.mark;
    let child = match &mark.child {
        Some(Child::Upn(name) | Child::ProviderReference(name) | Child::PlacementId(name)) => name.clone(),
        None => String::new(),
    };
    let code = match &mark.statement {
        Some(Statement::Code(code)) => code.clone(),
        other => format!("{other:?}"),
    };
    let half = if mark.session == Session::Am as i32 { "AM" } else { "PM" };
    ExpectedMark {
        row: row.row_number,
        line: row.line,
        child,
        date: mark.date.clone(),
        half,
        code,
        comment: mark.comment.clone(),
    }
}

/// Checks the file of one seed; returns whether the reader accepted at least a part of it.
fn check_seed(seed: u64) -> bool {
    let file = GeneratedFile::random(&mut Rng::new(seed));
    let shown = || format!("seed {seed}, {:?}:\n{}", file.mutations, String::from_utf8_lossy(&file.bytes));
    let register = match parse(&file.bytes, None) {
        Ok(register) => register,
        Err(failure) => {
            assert!(file.may_be_refused(), "{failure}\n{}", shown());
            return false;
        }
    };
    let findings = &register.diagnostics;
    if register.is_refused() {
        assert!(register.marks.is_empty(), "{}", shown());
        // The only mark of a file may have been cut off.
        let mut refusals = findings.iter().filter(|finding| finding.severity == Severity::Refusal);
        let empty = refusals.all(|finding| finding.reason == "FILE_WITHOUT_MARKS");
        assert!(
            file.may_be_refused() || (empty && file.mutations.contains(&Mutation::CellCut)),
            "{findings:?}\n{}",
            shown()
        );
        return false;
    }
    if file.is_garbled() {
        return true;
    }
    let mut left: HashSet<ExpectedMark> = file.expected_marks.iter().cloned().collect();
    let mut refused_by_the_gateway = HashSet::new();
    for row in &register.marks {
        let read = expected_form(row);
        if read.child.is_empty() || read.date.is_empty() || row.mark.session == 0 {
            refused_by_the_gateway.insert(read.row);
            continue;
        }
        assert!(left.remove(&read), "{read:?} was not rendered\n{findings:?}\n{}", shown());
    }
    for meant in left {
        let named = findings.iter().any(|finding| finding.row == meant.row && finding.line == meant.line)
            || refused_by_the_gateway.contains(&meant.row);
        assert!(
            named && file.may_lose_rows(),
            "{meant:?} is lost and not reported\n{findings:?}\n{}",
            shown()
        );
    }
    true
}

#[test]
fn a_random_register_is_read_as_it_was_meant_or_refused() {
    let wanted = std::env::var("AP_GATEWAY_TEST_FILES").ok().and_then(|count| count.parse().ok());
    let files: u64 = wanted.unwrap_or(DEFAULT_FILE_COUNT);
    let seed = std::env::var("AP_GATEWAY_TEST_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(0);
    let read = (seed..seed + files).filter(|seed| check_seed(*seed)).count() as u64;
    println!("{files} files from seed {seed}: {read} read, the others refused whole");
    assert!(files < 1_000 || read > files / 3, "{read} of {files}");
}

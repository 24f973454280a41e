//! Random registers: a grammar renders known content through what systems and people do to files, and the reader must
//! read of it only what was meant, and name or refuse the rest.

use std::collections::HashSet;

use super::super::*;
use super::grammar::{Done, File, Meant, Rng};
use crate::proto::v1::Session;
use crate::proto::v1::mark::Child;

/// Files of one run; `AP_GATEWAY_TEST_FILES` asks for more.
const FILES: u64 = 2_000;

fn key(row: &Row) -> Meant {
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
    Meant {
        row: row.number,
        line: row.line,
        child,
        date: mark.date.clone(),
        half,
        code,
        comment: mark.comment.clone(),
    }
}

/// Checks one file; returns whether it was read, in part or whole.
fn check(seed: u64) -> bool {
    let file = File::random(&mut Rng::new(seed));
    let shown = || format!("seed {seed}, {:?}:\n{}", file.done, String::from_utf8_lossy(&file.bytes));
    let register = match parse(&file.bytes, None) {
        Ok(register) => register,
        Err(failure) => {
            assert!(file.may_be_refused(), "{failure}\n{}", shown());
            return false;
        }
    };
    let findings = &register.findings;
    if register.is_refused() {
        assert!(register.rows.is_empty(), "{}", shown());
        // A file may have had one mark only, and that was cut off.
        let mut refusals = findings.iter().filter(|finding| finding.severity == Severity::Refusal);
        let empty = refusals.all(|finding| finding.reason == "FILE_WITHOUT_MARKS");
        assert!(
            file.may_be_refused() || (empty && file.done.contains(&Done::CellCut)),
            "{findings:?}\n{}",
            shown()
        );
        return false;
    }
    if file.is_garbled() {
        return true;
    }
    let mut left: HashSet<Meant> = file.meant.iter().cloned().collect();
    let mut refused_by_the_gateway = HashSet::new();
    for row in &register.rows {
        let read = key(row);
        if read.child.is_empty() || read.date.is_empty() || row.mark.session == 0 {
            refused_by_the_gateway.insert(read.row);
            continue;
        }
        assert!(left.remove(&read), "{read:?} was not meant\n{findings:?}\n{}", shown());
    }
    for meant in left {
        let named = findings.iter().any(|finding| finding.row == meant.row && finding.line == meant.line)
            || refused_by_the_gateway.contains(&meant.row);
        assert!(named && file.may_lose_rows(), "{meant:?} is lost without a word\n{findings:?}\n{}", shown());
    }
    true
}

#[test]
fn a_random_register_is_read_as_it_was_meant_or_refused() {
    let wanted = std::env::var("AP_GATEWAY_TEST_FILES").ok().and_then(|count| count.parse().ok());
    let files: u64 = wanted.unwrap_or(FILES);
    let seed = std::env::var("AP_GATEWAY_TEST_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(0);
    let read = (seed..seed + files).filter(|seed| check(*seed)).count() as u64;
    println!("{files} files from seed {seed}: {read} read, the others refused whole");
    assert!(files < 1_000 || read > files / 3, "{read} of {files}");
}

//! Generator of `proto/ERRORS.md`, the catalogue of errors for integrators, from the types of reasons. A test
//! checks that the file agrees with them.

use std::collections::BTreeSet;
use std::fmt::Write;

use super::files::diagnostics::DESCRIPTIONS;
use crate::exchange::refusal::{Reason, RemedyBy};
use crate::violation_reason::ViolationReason;

const INTRODUCTION: &str = "\
# Errors

Generated from the code by its tests; to regenerate it: `AP_GATEWAY_REGENERATE=1 cargo test --lib catalogue`.

Every refusal carries `google.rpc.ErrorInfo` (domain `ap-gateway`) with one of the reasons below and the
exchange's id in its metadata. Branch on reasons, never on texts: reasons are stable, texts are for people.
`INVALID_REQUEST` also carries `google.rpc.BadRequest`, which lists all invalid fields at once, each by path, with a
reason of the second table. It lists at most 50 faults, and fewer if their paths and reasons alone would exceed 4 KiB
of trailers. Texts that do not fit are omitted; `violations_omitted` counts the faults that are not listed.
`google.rpc.RetryInfo` gives the delay after which the same request may be sent again, with the same `request_id`. No
text repeats a value of the request.

Metadata of `ErrorInfo`, if they apply:

- `exchange_id` and `violations_omitted`.
- `STATE_INVALID`: `state` (the current one: an enum value of the protocol, or `ENDED`, `VOIDED`, `COMPLETE`,
  `COUNTERSIGNED`), `needed` (states in which the request is valid, separated by commas; empty if there is none any
  more) and `next_actor` (`COMMISSIONER`, `PROVIDER`, `COMMISSIONER_OR_PROVIDER`, `OTHER_PARTY`, `CALLER`, `NOBODY`).
- `SAFETY_NOT_ACKNOWLEDGED`: `passport_acknowledged` and `passport_needed`, versions of the commissioner's own passport
  (0 if there is none).
- `NODE_STOPPING`, if it ends a stream of deliveries: `next_log`, `next_index` and `next_ordinal` of the `Cursor` from
  which a new stream goes on; none if nothing was read yet.
- `FAILED`, if a list or a mailbox begins with a damaged record: `placement_id`, and the position after the record as
  `next_page_token`, or as `next_log`, `next_index` and `next_ordinal` of a `Cursor`. A request from that position
  skips the damaged record.

";

fn catalogue() -> String {
    let mut out = INTRODUCTION.to_owned();
    out.push_str(
        "## Refusals\n\n| Reason | Status | Retry? | Who fixes it | Meaning |\n|---|---|---|---|---|\n",
    );
    for reason in Reason::ALL {
        let again = match reason.retry_after_ms() {
            0 => "no".to_owned(),
            after => format!("after {after} ms"),
        };
        let remedy_by = match reason.remedy_by() {
            RemedyBy::Client => "the calling software",
            RemedyBy::People => "people: the caller's or the other party's",
            RemedyBy::Operator => "the gateway's operator",
            RemedyBy::Retry => "nobody: it is temporary",
        };
        let status = upper_snake_case(&format!("{:?}", reason.code()));
        writeln!(out, "| `{}` | {status} | {again} | {remedy_by} | {} |", reason.name(), reason.text())
            .unwrap();
    }
    out.push_str(
        "\n## Fields at fault\n\nReasons of fields of a request, or `reason` of a single mark that was rejected.\n\n",
    );
    out.push_str("| Reason | Meaning |\n|---|---|\n");
    for reason in ViolationReason::ALL {
        writeln!(out, "| `{reason}` | {} |", reason.text()).unwrap();
    }
    out.push_str(
        "\n## Files and warnings\n\nFurther reasons that `ap-gateway submit` reports for a row of a file, and warnings \
         about marks, which do not refuse them.\n\n| Reason | Meaning |\n|---|---|\n",
    );
    let listed: BTreeSet<&str> = ViolationReason::ALL.iter().map(|reason| reason.name()).collect();
    for (reason, words) in DESCRIPTIONS.iter().filter(|(reason, _)| !listed.contains(reason)) {
        writeln!(out, "| `{reason}` | {words} |").unwrap();
    }
    out
}

fn upper_snake_case(name: &str) -> String {
    let mut out = String::new();
    for (at, letter) in name.chars().enumerate() {
        if at > 0 && letter.is_uppercase() {
            out.push('_');
        }
        out.extend(letter.to_uppercase());
    }
    out
}

#[test]
fn the_catalogue_is_its_golden_file() {
    crate::golden::check("proto/ERRORS.md", &catalogue());
}

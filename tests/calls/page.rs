//! docs/errors.md is complete and right: every code of the source, with its gRPC status and the CLI's exit code.

use std::collections::BTreeSet;
use std::path::Path;

use leasehold::client::Error;
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt};

use crate::support::page::{Row, rows};

fn source(file: &str) -> String {
    std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("src").join(file)).expect("a source file")
}

/// The string literals in capitals between two marks.
fn literals(text: &str, from: &str, to: &str) -> BTreeSet<String> {
    let start = text.find(from).unwrap_or_else(|| panic!("`{from}` is not in the source any more: mend this test"));
    let body = &text[start..];
    let body = &body[..body.find(to).expect("its end")];
    let is_code = |word: &&str| word.len() > 3 && word.bytes().all(|b| b.is_ascii_uppercase() || b == b'_');
    body.split('"').skip(1).step_by(2).filter(is_code).map(str::to_owned).collect()
}

#[test]
fn page_lists_the_codes_of_the_source_and_no_others() {
    let code = "pub fn code(&self) -> &'static str {";
    let mut codes = literals(&source("domain/refusal.rs"), code, "\n    }\n");
    codes.extend(literals(&source("service/error.rs"), code, "\n    }\n"));
    codes.extend(literals(&source("serve/door/deadline.rs"), "fn deadline_exceeded(", "fn status("));
    assert!(codes.len() > 45 && codes.contains("BAD_GRPC_TIMEOUT"), "all were found: {codes:?}");
    let listed: BTreeSet<String> = rows().into_iter().map(|row| row.code).collect();
    assert_eq!(codes.difference(&listed).collect::<Vec<_>>(), Vec::<&String>::new(), "missing on the page");
    assert_eq!(listed.difference(&codes).collect::<Vec<_>>(), Vec::<&String>::new(), "on the page only");
}

#[test]
fn page_has_the_exit_codes_that_the_client_gives() {
    for Row { code, status, exit } in rows() {
        let mut details = ErrorDetails::new();
        details.set_error_info(code.clone(), "leasehold.dev", [("next".to_owned(), "x".to_owned())]);
        let given = match Error::from(Status::with_error_details(status, "m", details)) {
            Error::Caller(_) | Error::Denied(_) => 3,
            Error::NotFound(_) => 4,
            Error::Conflict(_) => 5,
            Error::LeaseLost(_) => 6,
            Error::Unavailable(_) => 7,
            Error::Fault(_) => 1,
        };
        assert_eq!(exit, given, "{code}");
    }
    assert!(rows().iter().any(|row| row.status == Code::Aborted), "statuses are read");
}

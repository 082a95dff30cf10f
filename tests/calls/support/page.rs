//! docs/errors.md as a table.

use std::path::Path;

use tonic::Code;

/// A code as the page has it.
pub(crate) struct Row {
    pub(crate) code: String,
    pub(crate) status: Code,
    pub(crate) exit: u8,
}

/// All codes of the page.
pub(crate) fn rows() -> Vec<Row> {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/errors.md");
    let text = std::fs::read_to_string(page).expect("the page is there");
    let cells = |line: &str| line.split('|').map(|cell| cell.trim().to_owned()).collect::<Vec<_>>();
    text.lines().filter(|line| line.starts_with("| `")).map(cells).map(row).collect()
}

fn row(cells: Vec<String>) -> Row {
    let [_, code, status, exit, happened, next, _] = &cells[..] else { panic!("five columns: {cells:?}") };
    assert!(!happened.is_empty() && !next.is_empty(), "{code}");
    // gRPC's numbers are fixed; the name of each in capitals with underscores is on the page.
    let named = |code: &Code| format!("{code:?}").to_uppercase() == status.replace('_', "");
    Row {
        code: code.trim_matches('`').to_owned(),
        status: (0..=16).map(Code::from).find(named).unwrap_or_else(|| panic!("no status {status}")),
        exit: exit.parse().expect("an exit code"),
    }
}

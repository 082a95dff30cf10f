//! The shipped lists: one entry a line, `#` begins a comment that says where entries come from.

/// The entries of a list, without what follows a tab.
pub(super) fn entries(text: &str) -> impl Iterator<Item = &str> {
    let lines = text.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
    lines.map(|line| line.split('\t').next().unwrap_or_default())
}

/// The entries with all their columns.
pub(super) fn rows(text: &str) -> impl Iterator<Item = Vec<&str>> {
    let lines = text.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
    lines.map(|line| line.split('\t').collect())
}

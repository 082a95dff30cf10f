//! Printing: tables for people, JSON for programs, and nothing but data on stdout.
//!
//! JSON has the field names of the `.proto` files and all fields, 64-bit numbers as strings (as proto3 JSON has them) and enums as
//! short words in lower case. Lists are one array; `watch` prints one object a line.

mod access;
mod environments;
mod events;
mod keys;
mod leases;
mod states;
mod transfer;

use std::io::{self, IsTerminal, Write};
use std::time::{Duration, UNIX_EPOCH};

use comfy_table::{ContentArrangement, Table, presets};
use serde_json::Value;

use super::failure::Failure;
use super::flags::OutputFormat;

pub(crate) use keys::outcome;
pub(crate) use leases::{behind, granted, who};
pub(crate) use transfer::{Arrived, Left};

/// Something that can be shown in a row, by itself, and to a program.
pub(crate) trait Show {
    /// The heads of the columns.
    const HEAD: &'static [&'static str];
    /// One row, a cell for each head.
    fn row(&self) -> Vec<String>;
    /// Everything a person may want to know about one.
    fn card(&self) -> Vec<(&'static str, String)>;
    fn json(&self) -> Value;
}

/// Where results go.
#[derive(Clone, Copy)]
pub(crate) struct Out {
    format: OutputFormat,
}

impl Out {
    pub(crate) fn new(format: OutputFormat) -> Self {
        Self { format }
    }

    /// Many things of a kind.
    pub(crate) fn list<T: Show>(self, things: &[T]) -> Result<(), Failure> {
        match self.format {
            OutputFormat::Json => self.print_json(&Value::Array(things.iter().map(Show::json).collect())),
            OutputFormat::Table => {
                let mut table = plain_table();
                table.set_header(T::HEAD);
                for thing in things {
                    table.add_row(thing.row());
                }
                print(&trimmed(&table))
            }
        }
    }

    /// One thing.
    pub(crate) fn one<T: Show>(self, thing: &T) -> Result<(), Failure> {
        self.card(&thing.card(), || thing.json())
    }

    /// One thing that is put together here.
    pub(crate) fn card(self, pairs: &[(&'static str, String)], json: impl FnOnce() -> Value) -> Result<(), Failure> {
        match self.format {
            OutputFormat::Json => self.print_json(&json()),
            OutputFormat::Table => {
                let mut table = plain_table();
                for (name, value) in pairs.iter().filter(|(_, value)| !value.is_empty()) {
                    table.add_row([*name, value]);
                }
                print(&trimmed(&table))
            }
        }
    }

    /// Words of a kind.
    pub(crate) fn words(self, head: &str, words: &[String]) -> Result<(), Failure> {
        if self.is_json() {
            return self.print_json(&Value::Array(words.iter().cloned().map(Value::String).collect()));
        }
        let mut table = plain_table();
        table.set_header([head]);
        for word in words {
            table.add_row([word]);
        }
        print(&trimmed(&table))
    }

    /// One thing of a stream, on a line of its own.
    pub(crate) fn line<T: Show>(self, thing: &T) -> Result<(), Failure> {
        match self.format {
            OutputFormat::Json => print(&format!("{}\n", thing.json())),
            OutputFormat::Table => print(&format!("{}\n", thing.row().join("  ").trim_end())),
        }
    }

    /// Whether a program reads the output.
    pub(crate) fn is_json(self) -> bool {
        self.format == OutputFormat::Json
    }

    fn print_json(self, value: &Value) -> Result<(), Failure> {
        print(&format!("{value:#}\n"))
    }
}

/// Says something to the person at the terminal; it is no data.
pub(crate) fn note(text: impl AsRef<str>) {
    // If stderr is gone there is nobody to tell.
    let _ = writeln!(io::stderr().lock(), "{}", text.as_ref());
}

/// Says that a refused document was kept, and what can be done with it. `what` goes before the draft's name.
pub(crate) fn tell_kept(what: &str, state: &str, draft: &str) {
    note(format!("kept: {what} {draft}"));
    note(format!("      leasehold state drafts diff {state} {draft}      what it would change"));
    note(format!("      leasehold state drafts promote {state} {draft}   make it the current version"));
    note(format!("      leasehold state drafts discard {state} {draft}   give it up"));
}

/// Asks a person; without one the answer is `None`.
pub(crate) fn confirm(question: &str) -> Option<bool> {
    if !io::stdin().is_terminal() || !io::stderr().is_terminal() {
        return None;
    }
    let _ = write!(io::stderr().lock(), "{question} [y/N] ");
    let mut answer = String::new();
    if io::stdin().read_line(&mut answer).ok()? == 0 {
        note("");
    }
    Some(matches!(answer.trim(), "y" | "Y" | "yes"))
}

/// Asks before something that cannot be taken back, unless `yes`.
pub(crate) fn insist(yes: bool, question: &str) -> Result<(), Failure> {
    if yes {
        return Ok(());
    }
    match confirm(question) {
        Some(true) => Ok(()),
        Some(false) => {
            note("nothing was done");
            Err(Failure::Told)
        }
        None => Err(Failure::usage("this cannot be taken back, and there is no terminal to ask", "add --yes")),
    }
}

pub(crate) fn print(text: &str) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes())?;
    out.flush()?;
    Ok(())
}

fn plain_table() -> Table {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_content_arrangement(ContentArrangement::Disabled);
    table
}

fn trimmed(table: &Table) -> String {
    let mut text = String::new();
    for line in table.lines() {
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

/// A point in time for people; empty if there is none.
fn time(unix_ms: i64) -> String {
    match u64::try_from(unix_ms) {
        Ok(0) | Err(_) => String::new(),
        Ok(ms) => humantime::format_rfc3339_seconds(UNIX_EPOCH + Duration::from_millis(ms)).to_string(),
    }
}

/// A length of time for people, to the second above ten seconds; empty if there is none.
fn span(ms: u64) -> String {
    match ms {
        0 => String::new(),
        ms if ms >= 10_000 => humantime::format_duration(Duration::from_secs(ms / 1000)).to_string(),
        ms => humantime::format_duration(Duration::from_millis(ms)).to_string(),
    }
}

/// A number for people; empty if it is 0.
fn nonzero(n: u64) -> String {
    if n == 0 { String::new() } else { n.to_string() }
}

/// A 64-bit number as proto3 JSON has it.
fn wide(n: impl ToString) -> Value {
    Value::String(n.to_string())
}

/// The name of an enum's value without its common prefix, in lower case.
fn word(name: &str, prefix: &str) -> String {
    name.strip_prefix(prefix).unwrap_or(name).to_ascii_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_times_read_well() {
        assert_eq!(span(59_999), "59s");
        assert_eq!(span(1_500), "1s 500ms");
        assert_eq!(span(0), "");
        assert_eq!(time(0), "");
        assert_eq!(time(1_700_000_000_000), "2023-11-14T22:13:20Z");
        assert_eq!(word("MODE_EXCLUSIVE", "MODE_"), "exclusive");
        assert_eq!(wide(u64::MAX), Value::String("18446744073709551615".into()));
    }
}

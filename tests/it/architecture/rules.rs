//! Which layer may name what.

use super::paths::Source;

/// The layers, and which others each may name. `serve` is the composition root as well, in one file only.
const ARROWS: &[(&str, &[&str])] = &[
    ("domain", &[]),
    ("backend", &[]),
    ("secrets", &["domain"]),
    ("counts", &[]),
    ("store", &["domain", "counts"]),
    ("service", &["store", "secrets", "domain", "counts"]),
    ("serve", &["service", "domain", "pb", "backend", "counts"]),
    ("client", &["pb", "backend"]),
    ("cli", &["client", "pb", "serve", "service", "store", "secrets", "domain", "backend"]),
    ("pb", &[]),
    ("main", &["cli"]),
    ("lib", &[]),
];

const COMPOSITION_ROOT: &str = "serve/start.rs";
const COMPOSITION_ROOT_MAY_NAME: &[&str] = &["store", "secrets"];

/// The pure layers.
const PURE: &[&str] = &["domain", "backend"];

/// What a pure layer cannot have.
const BANNED_IN_PURE: &[&str] = &[
    "tokio",
    "tonic",
    "rusqlite",
    "std::fs",
    "std::net",
    "std::env",
    "std::thread",
    "std::process",
    "std::time::Instant",
    "std::time::SystemTime",
    "getrandom",
    "rand",
    "uuid::Uuid::now_v7",
    "uuid::Uuid::new_v4",
];

/// Of these what is a value and does nothing.
const PURE_VALUES: &[&str] = &["std::net::IpAddr"];

/// Crates that one place alone may name.
const HOMES: &[(&str, &str)] = &[("age", "secrets/"), ("rusqlite", "store/sqlite/")];

/// What `source` does against the rules, one line each.
pub(super) fn violations(source: &Source) -> Vec<String> {
    let layer = layer_of(&source.name);
    let mut lines = Vec::new();
    for path in &source.paths {
        let written = path.join("::");
        if let Err(why) = check_arrow(layer, &source.name, path) {
            lines.push(format!("src/{}: `{written}`: {why}", source.name));
        }
        let banned = BANNED_IN_PURE.iter().any(|banned| names(path, banned)) && !PURE_VALUES.contains(&written.as_str());
        if PURE.contains(&layer) && banned {
            lines.push(format!("src/{}: `{written}`: this layer is pure: no I/O, clock or randomness", source.name));
        }
        for (name, home) in HOMES {
            if path[0] == *name && !source.name.starts_with(home) {
                lines.push(format!("src/{}: `{written}`: only src/{home} names the crate `{name}`", source.name));
            }
        }
    }
    lines
}

fn layer_of(name: &str) -> &str {
    name.split_once('/').map_or_else(|| name.trim_end_matches(".rs"), |(folder, _)| folder)
}

fn check_arrow(layer: &str, file: &str, path: &[String]) -> Result<(), String> {
    if path[0] != "crate" || layer == "lib" {
        return Ok(());
    }
    let Some(target) = path.get(1).map(String::as_str) else { return Ok(()) };
    if target == "*" {
        return Err("a glob over the crate's root hides the arrows".to_owned());
    }
    if target == layer || !ARROWS.iter().any(|(name, _)| *name == target) {
        return Ok(());
    }
    let Some((_, allowed)) = ARROWS.iter().find(|(name, _)| *name == layer) else {
        return Err(format!("`{layer}` is not on the map: give it a place in src/lib.rs and in ARROWS"));
    };
    let is_root = file == COMPOSITION_ROOT && COMPOSITION_ROOT_MAY_NAME.contains(&target);
    if allowed.contains(&target) || is_root { Ok(()) } else { Err(format!("an arrow from `{layer}` to `{target}`")) }
}

/// Whether `path` names `banned`, something in it, or everything around it by a glob.
fn names(path: &[String], banned: &str) -> bool {
    let banned: Vec<&str> = banned.split("::").collect();
    match path.split_last() {
        Some((last, around)) if last == "*" && around.len() < banned.len() => around.iter().zip(&banned).all(|(a, b)| a == b),
        _ => path.len() >= banned.len() && path.iter().zip(&banned).all(|(a, b)| a == b),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn count(name: &str, text: &str) -> usize {
        violations(&Source::parse(name, text)).len()
    }

    fn assert_violates(name: &str, text: &str) {
        assert!(count(name, text) > 0, "{name} passes with: {text}");
    }

    fn assert_keeps(name: &str, text: &str) {
        let found = violations(&Source::parse(name, text));
        assert!(found.is_empty(), "{name}: {found:?}");
    }

    #[test]
    fn every_arrow_that_is_not_drawn_is_a_violation() {
        let layers = ["domain", "backend", "counts", "secrets", "store", "service", "serve", "client", "cli", "pb"];
        for (from, allowed) in ARROWS.iter().filter(|(name, _)| layers.contains(name)) {
            for to in layers.into_iter().filter(|to| to != from) {
                let (name, text) = (format!("{from}/file.rs"), format!("use crate::{to}::Thing;"));
                if allowed.contains(&to) { assert_keeps(&name, &text) } else { assert_violates(&name, &text) }
            }
        }
    }

    #[test]
    fn upward_arrow_is_a_violation_however_it_is_written() {
        for text in [
            "use crate::serve::door;",
            "use crate::{domain::Lease, serve::{self as up}};",
            "use super::serve::Limits;",
            "use crate as root; fn f() { root::serve::run() }",
            "fn f() { crate::serve::run() }",
            "fn f(x: &mut Vec<crate::serve::Peer>) {}",
            "impl crate::serve::Door for X {}",
            "fn f() { println!(\"{}\", crate::serve::NAME) }",
            "mod inner { fn f() { super::super::serve::run() } }",
            "use super::*;",
        ] {
            assert_violates("store/mod.rs", text);
        }
    }

    #[test]
    fn store_and_secrets_do_not_know_each_other() {
        assert_violates("store/sqlite/mod.rs", "use crate::secrets::Seal;");
        assert_violates("secrets/seal.rs", "use crate::store::Store;");
    }

    #[test]
    fn nothing_uses_the_command_line() {
        for layer in ["domain", "backend", "secrets", "store", "service", "serve", "client"] {
            assert_violates(&format!("{layer}/file.rs"), "use crate::cli::Args;");
        }
        assert_keeps("main.rs", "fn main() { leasehold::cli::run() }");
        assert_violates("main.rs", "fn main() { leasehold::store::open() }");
    }

    #[test]
    fn engines_are_named_in_the_composition_root_only() {
        let text = "use crate::{secrets::Keys, store::sqlite::Sqlite};";
        assert_keeps("serve/start.rs", text);
        assert_eq!(count("serve/grpc/lease.rs", text), 2);
        assert_violates("serve/start.rs", "use crate::client::Client;");
    }

    #[test]
    fn layer_that_is_not_on_the_map_may_name_no_other() {
        assert_violates("helpers.rs", "use crate::domain::Lease;");
    }

    #[test]
    fn impure_domain_is_a_violation() {
        for banned in BANNED_IN_PURE {
            assert_violates("domain/lease.rs", &format!("fn f() {{ {banned}::x(); }}"));
            assert_violates("domain/lease.rs", &format!("use {banned};"));
            assert_violates("backend/md5.rs", &format!("use {banned};"));
            assert_keeps("store/sqlite/clock.rs", &format!("use {banned};"));
        }
        for text in [
            "use std::time; fn f() { time::Instant::now() }",
            "use std::time::*;",
            "use std::*;",
            "use uuid::Uuid; fn f() { Uuid::new_v4() }",
            "use uuid::Uuid as Id; fn f() { <Id>::now_v7() }",
            "fn f(deadline: ::std::time::SystemTime) {}",
            "fn f() { vec![std::env::var(\"X\")] }",
            "extern crate tokio as t;",
        ] {
            assert_violates("domain/lease.rs", text);
        }
        assert_keeps("domain/lease.rs", "use std::time::Duration; use uuid::Uuid; fn f(id: Uuid) { Uuid::from_bytes(x) }");
        assert_keeps("domain/lease.rs", "#[cfg(test)] mod tests { fn f() { std::env::var(\"CASES\") } }");
    }

    #[test]
    fn driver_outside_its_home_is_a_violation() {
        assert_violates("service/keys.rs", "use age::x25519::Identity;");
        assert_violates("service/keys.rs", "use age;");
        assert_keeps("service/keys.rs", "fn f(age: u8) { g(age); println!(\"{}\", age) }");
        assert_keeps("secrets/wrap.rs", "use age::x25519::Identity;");
        assert_violates("store/memory/mod.rs", "fn f(c: rusqlite::Connection) {}");
        assert_violates("store/mod.rs", "fn f(c: &rusqlite::Connection) {}");
        assert_keeps("store/sqlite/writer.rs", "use rusqlite::Connection;");
    }
}

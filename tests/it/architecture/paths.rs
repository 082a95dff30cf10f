//! Every path that a source file names, written out in full.

use std::collections::{BTreeSet, HashMap};

use syn::visit::{self, Visit};
use syn::{Attribute, Expr, ExprPath, File, Item, ItemExternCrate, ItemMod, ItemUse, Macro, Meta, QSelf, Type, UseTree};

/// A file and the paths in it that are not only for tests. Paths within the crate begin with `crate`.
pub(super) struct Source {
    /// The path below `src/`.
    pub(super) name: String,
    pub(super) paths: BTreeSet<Vec<String>>,
}

impl Source {
    /// # Panics
    /// When `text` is not Rust.
    pub(super) fn parse(name: &str, text: &str) -> Self {
        let file: File = syn::parse_file(text).unwrap_or_else(|error| panic!("{name}: {error}"));
        let mut collector = Collector { module: module_of(name), imports: HashMap::new(), found: BTreeSet::new() };
        // Twice: an import may stand below its use, and only the second pass knows all of them.
        collector.visit_file(&file);
        collector.visit_file(&file);
        Self { name: name.to_owned(), paths: collector.found }
    }
}

/// `store/sqlite/mod.rs` is `crate::store::sqlite`, and `domain/lease.rs` is `crate::domain::lease`.
fn module_of(name: &str) -> Vec<String> {
    let mut module = vec!["crate".to_owned()];
    module.extend(name.trim_end_matches(".rs").split('/').map(str::to_owned));
    if matches!(module.last().map(String::as_str), Some("mod" | "lib" | "main")) {
        module.pop();
    }
    module
}

struct Collector {
    module: Vec<String>,
    /// What names in this file stand for. Scopes are not told apart: a name imported anywhere counts everywhere.
    imports: HashMap<String, BTreeSet<Vec<String>>>,
    found: BTreeSet<Vec<String>>,
}

impl Collector {
    /// Writes `path` out from the crate's root or from an external crate.
    fn absolute(&self, mut path: Vec<String>) -> Vec<String> {
        if path.first().is_some_and(|first| first == "leasehold") {
            path[0] = "crate".to_owned();
        }
        if path.first().is_some_and(|first| first == "core" || first == "alloc") {
            path[0] = "std".to_owned();
        }
        if !path.first().is_some_and(|first| first == "self" || first == "super") {
            return path;
        }
        let mut base = self.module.clone();
        let mut rest = path.into_iter().peekable();
        while let Some(step) = rest.next_if(|step| step == "self" || step == "super") {
            if step == "super" {
                base.pop();
            }
        }
        base.extend(rest);
        base
    }

    /// A path that an import or [`Self::mentioned`] has found.
    fn found(&mut self, path: Vec<String>) {
        let path = self.absolute(path);
        for target in path.first().and_then(|first| self.imports.get(first)).into_iter().flatten() {
            self.found.insert(target.iter().chain(&path[1..]).cloned().collect());
        }
        self.found.insert(path);
    }

    /// A path in code. A single word that is not imported is a name of this module or a variable, whatever crate is called so.
    fn mentioned(&mut self, path: Vec<String>) {
        if path.len() > 1 || self.imports.contains_key(&path[0]) {
            self.found(path);
        }
    }

    fn import(&mut self, mut prefix: Vec<String>, tree: &UseTree) {
        let (path, name) = match tree {
            UseTree::Path(path) => {
                prefix.push(path.ident.to_string());
                return self.import(prefix, &path.tree);
            }
            UseTree::Group(group) => {
                for tree in &group.items {
                    self.import(prefix.clone(), tree);
                }
                return;
            }
            UseTree::Glob(_) => {
                prefix.push("*".to_owned());
                (prefix, None)
            }
            UseTree::Name(name) => {
                // `use a::b::{self}` imports `b`.
                if name.ident != "self" || prefix.is_empty() {
                    prefix.push(name.ident.to_string());
                }
                let last = prefix.last().cloned();
                (prefix, last)
            }
            UseTree::Rename(rename) => {
                if rename.ident != "self" || prefix.is_empty() {
                    prefix.push(rename.ident.to_string());
                }
                (prefix, Some(rename.rename.to_string()))
            }
        };
        self.found(path.clone());
        if let Some(name) = name {
            let target = self.absolute(path);
            if target != [name.clone()] {
                self.imports.entry(name).or_default().insert(target);
            }
        }
    }
}

impl<'ast> Visit<'ast> for Collector {
    fn visit_item(&mut self, item: &'ast Item) {
        if !attributes_of(item).iter().any(is_for_tests) {
            visit::visit_item(self, item);
        }
    }

    fn visit_item_mod(&mut self, module: &'ast ItemMod) {
        self.module.push(module.ident.to_string());
        visit::visit_item_mod(self, module);
        self.module.pop();
    }

    fn visit_item_use(&mut self, item: &'ast ItemUse) {
        self.import(Vec::new(), &item.tree);
    }

    fn visit_item_extern_crate(&mut self, item: &'ast ItemExternCrate) {
        self.found(vec![item.ident.to_string()]);
        if let Some((_, name)) = &item.rename {
            self.imports.entry(name.to_string()).or_default().insert(vec![item.ident.to_string()]);
        }
    }

    fn visit_path(&mut self, path: &'ast syn::Path) {
        self.mentioned(segments(path));
        visit::visit_path(self, path);
    }

    fn visit_expr(&mut self, expr: &'ast Expr) {
        // `<Uuid>::new_v4` names what `Uuid::new_v4` names.
        if let Expr::Path(ExprPath { qself: Some(QSelf { ty, position: 0, .. }), path, .. }) = expr
            && let Type::Path(of) = &**ty
        {
            let mut joined = segments(&of.path);
            joined.extend(segments(path));
            self.found(joined);
        }
        visit::visit_expr(self, expr);
    }

    fn visit_macro(&mut self, mac: &'ast Macro) {
        for path in paths_in_tokens(&mac.tokens.to_string()) {
            self.mentioned(path);
        }
        visit::visit_macro(self, mac);
    }
}

fn segments(path: &syn::Path) -> Vec<String> {
    path.segments.iter().map(|segment| segment.ident.to_string()).collect()
}

/// The paths in a macro's input, which has no grammar: all `a :: b` outside string literals.
fn paths_in_tokens(tokens: &str) -> Vec<Vec<String>> {
    let mut paths: Vec<Vec<String>> = Vec::new();
    let mut joins = false;
    let mut rest = tokens;
    while let Some(first) = rest.chars().next() {
        let length = match first {
            '"' => string_length(rest),
            _ if first.is_alphanumeric() || first == '_' => {
                let length = rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(rest.len());
                let word = rest[..length].to_owned();
                match paths.last_mut() {
                    Some(path) if joins => path.push(word),
                    _ => paths.push(vec![word]),
                }
                joins = false;
                length
            }
            ':' if rest.starts_with("::") => {
                joins = true;
                2
            }
            _ if first.is_whitespace() => first.len_utf8(),
            _ => {
                joins = false;
                first.len_utf8()
            }
        };
        rest = &rest[length..];
    }
    paths
}

fn string_length(text: &str) -> usize {
    let mut escaped = false;
    let end = text.char_indices().skip(1).find(|(_, c)| {
        let ends = *c == '"' && !escaped;
        escaped = *c == '\\' && !escaped;
        ends
    });
    end.map_or(text.len(), |(at, _)| at + 1)
}

/// `#[cfg(test)]`, also with further conditions, and `#[test]`.
pub(super) fn is_for_tests(attribute: &Attribute) -> bool {
    match &attribute.meta {
        Meta::Path(path) => path.is_ident("test"),
        Meta::List(list) if list.path.is_ident("cfg") => {
            let condition = list.tokens.to_string().replace(' ', "");
            condition == "test" || condition.starts_with("all(test,") || condition.starts_with("all(test)")
        }
        _ => false,
    }
}

fn attributes_of(item: &Item) -> &[Attribute] {
    match item {
        Item::Const(item) => &item.attrs,
        Item::Enum(item) => &item.attrs,
        Item::Fn(item) => &item.attrs,
        Item::Impl(item) => &item.attrs,
        Item::Macro(item) => &item.attrs,
        Item::Mod(item) => &item.attrs,
        Item::Static(item) => &item.attrs,
        Item::Struct(item) => &item.attrs,
        Item::Trait(item) => &item.attrs,
        Item::Type(item) => &item.attrs,
        Item::Use(item) => &item.attrs,
        _ => &[],
    }
}

#[test]
fn paths_are_seen_wherever_they_stand() {
    let text = r#"
        use std::{fs as files, time::{self, Duration}, collections::*};
        use super::super::store::Engine;
        use later::thing;
        mod inner { use super::sibling::X; fn f() { super::super::cli::run() } }
        fn f(x: crate::pb::v1::Lease) -> Result<(), <tonic::Status as Trait>::Y> {
            files::read("crate::not::this");
            time::Instant::now();
            <uuid::Uuid>::new_v4();
            assert!(matches!(x, crate::service::Z), "std::net::{}", tokio::time::sleep(1));
            thing::more();
        }
        use std::process as later;
        #[cfg(test)] mod tests { use crate::hidden; }
        #[cfg(all(test, unix))] use crate::hidden_too;
    "#;
    let source = Source::parse("domain/lease/queue.rs", text);
    let paths: Vec<String> = source.paths.iter().map(|path| path.join("::")).collect();
    for expected in [
        "std::fs",
        "std::fs::read",
        "std::time::Instant::now",
        "std::collections::*",
        "crate::domain::store::Engine",
        "crate::domain::lease::queue::sibling::X",
        "crate::domain::lease::cli::run",
        "crate::pb::v1::Lease",
        "tonic::Status",
        "uuid::Uuid::new_v4",
        "crate::service::Z",
        "tokio::time::sleep",
        "later::thing",
    ] {
        assert!(
            paths.iter().any(|path| path == expected || path.starts_with(&format!("{expected}::"))),
            "{expected}: {paths:#?}"
        );
    }
    for unexpected in ["crate::not", "crate::hidden", "std::net"] {
        assert!(!paths.iter().any(|path| path.starts_with(unexpected)), "{unexpected}: {paths:#?}");
    }
}

//! Tests of the formats, and the documents they are tried on.

mod diff;
mod inspect;
mod json;

use proptest::prelude::*;

/// A JSON value apart from how it is written.
#[derive(Clone, Debug)]
enum Tree {
    Plain(&'static str),
    Text(String),
    List(Vec<Tree>),
    /// The numbers make the keys differ.
    Object(Vec<(String, Tree)>),
}

fn text() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        Just("a"),
        Just("\""),
        Just("\\"),
        Just("/"),
        Just("~"),
        Just("\n"),
        Just("\u{1}"),
        Just("é"),
        Just("𝄞"),
        Just("0123456789")
    ];
    prop::collection::vec(piece, 0..6).prop_map(|pieces| pieces.concat())
}

fn tree() -> impl Strategy<Value = Tree> {
    let plain = prop_oneof![
        Just("null"),
        Just("true"),
        Just("false"),
        Just("0"),
        Just("-12"),
        Just("1.5E+3"),
        Just("0e0"),
        Just("18446744073709551615")
    ];
    let leaf = prop_oneof![plain.prop_map(Tree::Plain), text().prop_map(Tree::Text)];
    leaf.prop_recursive(5, 60, 6, |inner| {
        let members = prop::collection::vec((text(), inner.clone()), 0..6);
        prop_oneof![prop::collection::vec(inner, 0..6).prop_map(Tree::List), members.prop_map(Tree::unique)]
    })
}

impl Tree {
    fn unique(members: Vec<(String, Tree)>) -> Tree {
        Tree::Object(members.into_iter().enumerate().map(|(index, (key, value))| (format!("{key}{index}"), value)).collect())
    }

    /// Writes it in one of the many ways that mean the same; `style` decides which.
    fn write(&self, style: &mut Style, out: &mut Vec<u8>) {
        style.blank(out);
        match self {
            Tree::Plain(token) => out.extend_from_slice(token.as_bytes()),
            Tree::Text(text) => style.string(text, out),
            Tree::List(items) => style.list(b"[]", items, out, |item, style, out| item.write(style, out)),
            Tree::Object(members) => {
                let mut members: Vec<_> = members.iter().collect();
                if style.next().is_multiple_of(2) {
                    members.reverse();
                }
                style.list(b"{}", &members, out, |(key, value), style, out| {
                    style.blank(out);
                    style.string(key, out);
                    style.blank(out);
                    out.push(b':');
                    value.write(style, out);
                });
            }
        }
        style.blank(out);
    }

    fn written(&self, style: u64) -> Vec<u8> {
        let mut out = Vec::new();
        self.write(&mut Style(style), &mut out);
        out
    }
}

/// A small generator of choices, so that one tree is written in many ways.
struct Style(u64);

impl Style {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        self.0 >> 33
    }

    fn blank(&mut self, out: &mut Vec<u8>) {
        let blank: &[u8] = [b"" as &[u8], b"", b" ", b"\n", b"\t\r\n", b"                 "][self.next() as usize % 6];
        out.extend_from_slice(blank);
    }

    fn list<T>(&mut self, brackets: &[u8; 2], items: &[T], out: &mut Vec<u8>, write: impl Fn(&T, &mut Style, &mut Vec<u8>)) {
        out.push(brackets[0]);
        for (index, item) in items.iter().enumerate() {
            if index > 0 {
                out.push(b',');
            }
            write(item, self, out);
        }
        if items.is_empty() {
            self.blank(out);
        }
        out.push(brackets[1]);
    }

    fn string(&mut self, text: &str, out: &mut Vec<u8>) {
        out.push(b'"');
        for c in text.chars() {
            let short = match c {
                '"' | '\\' | '/' => Some(c),
                '\n' => Some('n'),
                _ => None,
            };
            let must = c < ' ' || c == '"' || c == '\\';
            match (self.next() % 4, short) {
                (0 | 1, Some(short)) => out.extend_from_slice(format!("\\{short}").as_bytes()),
                (choice, _) if must || choice == 0 => {
                    for unit in c.encode_utf16(&mut [0; 2]) {
                        let written =
                            if self.next().is_multiple_of(2) { format!("\\u{unit:04x}") } else { format!("\\u{unit:04X}") };
                        out.extend_from_slice(written.as_bytes());
                    }
                }
                _ => out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes()),
            }
        }
        out.push(b'"');
    }
}

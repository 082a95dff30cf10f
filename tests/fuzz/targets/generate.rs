//! Documents that follow from bytes: of every format, spelt in every way that JSON allows, with secrets at places that are marked and at others.

use std::collections::HashSet;

use leasehold::domain::format::Format;

use super::Source;

pub(crate) struct Made {
    pub(crate) format: Format,
    pub(crate) bytes: Vec<u8>,
    /// What is marked, and long enough to be looked for everywhere. Spelt without escapes, and long enough to stand nowhere by chance.
    pub(crate) secrets: Vec<String>,
}

/// How deep values are nested at most.
const DEEPEST: usize = 5;

const KEYS: [&str; 24] = [
    "id",
    "name",
    "password",
    "db_password",
    "token",
    "config",
    "tags",
    "plain",
    "value",
    "type",
    "sensitive",
    "private",
    "user_data",
    "secret_arn",
    "connection",
    "a b",
    "caf\u{e9}",
    "\"quoted\\\"",
    "",
    "get_password_data",
    "API_KEY",
    "environment",
    "\u{1F511}",
    "urn",
];

const TEXTS: [&str; 14] = [
    "",
    "a",
    "eu-west-1",
    "hunter2!",
    "postgres://app:p%40ss-word-1@db.internal:5432/app",
    "correct horse battery staple",
    "-----BEGIN PRIVATE KEY-----\nMIIEvQIBADANBgkqhkiG9w0BAQEFAASC\nBKcwggSjAgEAAoIBAQC7\n-----END PRIVATE KEY-----\n",
    "ghp_0123456789abcdefghijABCDEFGHIJ012345",
    "{\"inner\":\"nested-secret-1\"}",
    "caf\u{e9} \u{1F511} \u{7f}",
    "line\nbreak\ttab\\\"/",
    "MTIzNDU2Nzg5MDEyMzQ1Njc4OTA=",
    "[1,2,",
    "%7B%22a%22%3A1%7D",
];

const NUMBERS: [&str; 14] = [
    "0",
    "-0",
    "1e5",
    "1.0",
    "12345678901234567890",
    "1E+2",
    "0.1e-7",
    "1e400",
    "-0.0",
    "3",
    "4",
    "1234567890123456",
    "1.000000000000000001",
    "99999999999999999999999999999999",
];

/// A document; the first bytes choose its format.
pub(crate) fn document(source: &mut Source<'_>) -> Made {
    let format = *source.pick(&[Format::Terraform, Format::Terraform, Format::Pulumi, Format::Json, Format::Opaque]);
    if format == Format::Opaque {
        return Made { format, bytes: [b"x", source.rest()].concat(), secrets: Vec::new() };
    }
    let style = *source.pick(&[Style::Compact, Style::Indented, Style::Odd]);
    let mut writer = Writer { source, out: Vec::new(), style, depth: 0, secrets: Vec::new(), left: 2_000 };
    match format {
        Format::Terraform => writer.terraform(),
        Format::Pulumi => writer.pulumi(),
        Format::Json | Format::Opaque => {
            writer.blank();
            writer.value(0);
        }
    }
    writer.blank();
    Made { format, bytes: writer.out, secrets: writer.secrets }
}

#[derive(Clone, Copy, PartialEq)]
enum Style {
    Compact,
    Indented,
    /// White space of all kinds anywhere, and characters escaped that need not be.
    Odd,
}

struct Writer<'s, 'b> {
    source: &'s mut Source<'b>,
    out: Vec<u8>,
    style: Style,
    depth: usize,
    secrets: Vec<String>,
    /// How many values may still be written.
    left: usize,
}

impl Writer<'_, '_> {
    fn terraform(&mut self) {
        let count = self.source.below(6);
        self.object(|w, more| {
            more(w, "version", &mut |w| w.raw("4"));
            more(w, "terraform_version", &mut |w| w.string("1.11.4"));
            more(w, "serial", &mut |w| w.raw("18446744073709551615"));
            more(w, "lineage", &mut |w| w.string("6f2c1d1e-0000-4000-8000-000000000001"));
            more(w, "outputs", &mut |w| w.outputs());
            more(w, "resources", &mut |w| w.array(count, |w, n| w.resource(n)));
            more(w, "check_results", &mut |w| w.raw("null"));
        });
    }

    fn outputs(&mut self) {
        let (count, mut names) = (self.source.below(4), HashSet::new());
        self.object(|w, more| {
            for _ in 0..count {
                let name = w.name(&mut names);
                more(w, &name, &mut |w| {
                    let sensitive = w.source.chance(2);
                    w.object(|w, more| {
                        more(w, "value", &mut |w| if sensitive { w.secret() } else { w.value(2) });
                        more(w, "type", &mut |w| w.string("string"));
                        if sensitive {
                            more(w, "sensitive", &mut |w| w.raw("true"));
                        }
                    });
                });
            }
        });
    }

    fn resource(&mut self, n: usize) {
        let (module, instances) = (self.source.chance(3), 1 + self.source.below(3));
        let kind = *self.source.pick(&["aws_db_instance", "terraform_data", "random_password"]);
        let name = if self.source.chance(8) { "same".to_owned() } else { format!("r{n}") };
        self.object(|w, more| {
            if module {
                more(w, "module", &mut |w| w.string("module.net[\"a\"]"));
            }
            more(w, "mode", &mut |w| w.string("managed"));
            more(w, "type", &mut |w| w.string(kind));
            more(w, "name", &mut |w| w.string(&name));
            more(w, "provider", &mut |w| w.string("provider[\"registry.terraform.io/hashicorp/aws\"]"));
            more(w, "instances", &mut |w| w.array(instances, |w, n| w.instance(n)));
        });
    }

    fn instance(&mut self, n: usize) {
        let (index, mut names, mut marked) = (self.source.below(3), HashSet::new(), Vec::new());
        let count = self.source.below(6);
        self.object(|w, more| {
            match index {
                1 => more(w, "index_key", &mut |w| w.raw(&n.to_string())),
                2 => more(w, "index_key", &mut |w| w.string(&n.to_string())),
                _ => {}
            }
            more(w, "schema_version", &mut |w| w.raw("1"));
            more(w, "attributes", &mut |w| {
                w.object(|w, more| {
                    for _ in 0..count {
                        let name = w.name(&mut names);
                        let mark = w.source.chance(3);
                        if mark {
                            marked.push(name.clone());
                        }
                        more(w, &name, &mut |w| if mark { w.secret() } else { w.value(2) });
                    }
                });
            });
            more(w, "sensitive_attributes", &mut |w| {
                let marked = std::mem::take(&mut marked);
                w.array(marked.len(), |w, n| w.mark(&marked[n]));
            });
            if w.source.chance(2) {
                more(w, "private", &mut |w| w.string("eyJzY2hlbWFfdmVyc2lvbiI6IjEifQ=="));
            }
            if w.source.chance(8) {
                more(w, "deposed", &mut |w| w.string("0a1b2c3d"));
            }
        });
    }

    /// A path of one step, and at times one more that leads nowhere.
    fn mark(&mut self, name: &str) {
        let steps = 1 + usize::from(self.source.chance(6));
        self.array(steps, |w, n| {
            w.object(|w, more| {
                if n == 0 {
                    more(w, "type", &mut |w| w.string("get_attr"));
                    more(w, "value", &mut |w| w.string(name));
                } else {
                    more(w, "type", &mut |w| w.string("index"));
                    // No text: what stands in a mark is never sealed.
                    let step = *w.source.pick(&["0", "7", "-1", "null", "{\"value\":0,\"type\":\"number\"}", "[]"]);
                    more(w, "value", &mut |w| w.raw(step));
                }
            });
        });
    }

    fn pulumi(&mut self) {
        let count = self.source.below(5);
        self.object(|w, more| {
            more(w, "version", &mut |w| w.raw("3"));
            more(w, "deployment", &mut |w| {
                w.object(|w, more| {
                    more(w, "manifest", &mut |w| w.value(3));
                    more(w, "resources", &mut |w| w.array(count, |w, n| w.pulumi_resource(n)));
                });
            });
        });
    }

    fn pulumi_resource(&mut self, n: usize) {
        let urn = format!("urn:pulumi:dev::app::aws:rds/instance:Instance::r{n}");
        self.object(|w, more| {
            more(w, "urn", &mut |w| w.string(&urn));
            more(w, "type", &mut |w| w.string("aws:rds/instance:Instance"));
            let mut first = None;
            for part in ["inputs", "outputs"] {
                let (count, mut names) = (w.source.below(5), HashSet::new());
                more(w, part, &mut |w| {
                    w.object(|w, more| {
                        for _ in 0..count {
                            let name = w.name(&mut names);
                            first.get_or_insert_with(|| name.clone());
                            more(w, &name, &mut |w| if w.source.chance(3) { w.pulumi_secret() } else { w.value(2) });
                        }
                    });
                });
            }
            if w.source.chance(2) {
                more(w, "additionalSecretOutputs", &mut |w| w.array(1, |w, _| w.string(first.as_deref().unwrap_or("none"))));
            }
        });
    }

    fn pulumi_secret(&mut self) {
        let plain = self.source.chance(2);
        self.object(|w, more| {
            more(w, "4dabf18193072939515e22adb298388d", &mut |w| w.string("1b47061264138c4ac30d75fd1eb44270"));
            if plain {
                let secret = w.new_secret();
                more(w, "plaintext", &mut |w| w.string(&format!("\"{secret}\"")));
            } else {
                more(w, "ciphertext", &mut |w| w.string("AAABAKx0v1:bm9uZQ=="));
            }
        });
    }

    /// A marked string that stands nowhere by chance.
    fn secret(&mut self) {
        match self.source.below(4) {
            0 => self.value(3),
            _ => {
                let secret = self.new_secret();
                self.plain_string(&secret);
            }
        }
    }

    fn new_secret(&mut self) -> String {
        let secret = format!("Canary-{}-{:016x}!", self.secrets.len(), self.source.u64());
        self.secrets.push(secret.clone());
        secret
    }

    fn value(&mut self, level: usize) {
        self.left = self.left.saturating_sub(1);
        let leaf = level >= DEEPEST || self.left == 0 || self.source.is_over();
        let count = self.source.below(4);
        match if leaf { self.source.below(5) } else { self.source.below(9) } {
            0 => self.raw("null"),
            1 => {
                let number = *self.source.pick(&NUMBERS);
                self.raw(number);
            }
            2 => {
                let is = if self.source.chance(2) { "true" } else { "false" };
                self.raw(is);
            }
            3 | 4 => self.text(),
            5 | 6 => self.array(count, |w, _| w.value(level + 1)),
            _ => {
                let mut names = HashSet::new();
                self.object(|w, more| {
                    for _ in 0..count {
                        let name = w.name(&mut names);
                        more(w, &name, &mut |w| w.value(level + 1));
                    }
                });
            }
        }
    }

    /// A text: of the list, of the bytes, or with a secret of before in it.
    fn text(&mut self) {
        match self.source.below(4) {
            0 => {
                let length = self.source.below(40);
                let text = String::from_utf8_lossy(self.source.bytes(length)).into_owned();
                self.string(&text);
            }
            1 if !self.secrets.is_empty() => {
                let secret = self.source.below(self.secrets.len());
                let text = format!("export TOKEN='{}'\n", self.secrets[secret]);
                self.string(&text);
            }
            _ => {
                let text = *self.source.pick(&TEXTS);
                self.string(text);
            }
        }
    }

    /// A key that is not in the object yet.
    fn name(&mut self, names: &mut HashSet<String>) -> String {
        let name = (*self.source.pick(&KEYS)).to_owned();
        if names.insert(name.clone()) {
            return name;
        }
        let other = format!("k{}", names.len());
        names.insert(other.clone());
        other
    }

    fn object(&mut self, members: impl FnOnce(&mut Self, &mut dyn FnMut(&mut Self, &str, &mut dyn FnMut(&mut Self)))) {
        self.raw("{");
        self.depth += 1;
        let mut first = true;
        members(self, &mut |w, name, value| {
            if !std::mem::take(&mut first) {
                w.raw(",");
            }
            w.line();
            w.string(name);
            w.blank();
            w.raw(if w.style == Style::Indented { ": " } else { ":" });
            w.blank();
            value(w);
        });
        self.depth -= 1;
        if !first {
            self.line();
        }
        self.blank();
        self.raw("}");
    }

    fn array(&mut self, count: usize, mut element: impl FnMut(&mut Self, usize)) {
        self.raw("[");
        self.depth += 1;
        for n in 0..count {
            if n > 0 {
                self.raw(",");
            }
            self.line();
            element(self, n);
        }
        self.depth -= 1;
        if count > 0 {
            self.line();
        }
        self.blank();
        self.raw("]");
    }

    /// Where a printed document begins a line.
    fn line(&mut self) {
        match self.style {
            Style::Compact => {}
            Style::Indented => {
                self.raw("\n");
                self.raw(&"  ".repeat(self.depth));
            }
            Style::Odd => self.blank(),
        }
    }

    /// White space where nobody puts any.
    fn blank(&mut self) {
        if self.style == Style::Odd {
            let blank = *self.source.pick(&["", "", " ", "\t", "\r\n", "\n \n"]);
            self.raw(blank);
        }
    }

    fn raw(&mut self, text: &str) {
        self.out.extend_from_slice(text.as_bytes());
    }

    /// A string with no escape that need not be, so that a test can look for it.
    fn plain_string(&mut self, text: &str) {
        let token = serde_json::to_string(text).expect("a string");
        self.raw(&token);
    }

    fn string(&mut self, text: &str) {
        if self.style != Style::Odd {
            return self.plain_string(text);
        }
        self.raw("\"");
        for character in text.chars() {
            let mut units = [0; 2];
            match (character, self.source.below(8)) {
                ('/', 1) => self.raw("\\/"),
                ('\n', 1) => self.raw("\\n"),
                (_, 2) | ('"' | '\\' | '\0'..='\u{1f}', _) => {
                    for unit in character.encode_utf16(&mut units) {
                        let escape = if self.source.chance(2) { format!("\\u{unit:04X}") } else { format!("\\u{unit:04x}") };
                        self.raw(&escape);
                    }
                }
                _ => self.raw(character.encode_utf8(&mut [0; 4])),
            }
        }
        self.raw("\"");
    }
}

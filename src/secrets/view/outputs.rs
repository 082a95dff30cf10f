//! The outputs of a document, opened, and nothing else of it.
//!
//! Values are taken from the exact bytes: a number stays as it is spelt, whatever its size.

use zeroize::Zeroizing;

use crate::domain::format::Format;
use crate::domain::format::json::JsonError;
use crate::domain::format::value::{Kind, Value};
use crate::secrets::path::{Path, StepKind};

/// Why a document has no such view.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OutputsError {
    /// Its format knows no outputs.
    #[error("documents of the format `{0}` have no outputs")]
    Format(Format),
    /// It is not JSON, which was checked when it was written.
    #[error("{0}")]
    NotJson(#[from] JsonError),
}

/// Whether the hole at this path is part of an output: only these have to be opened.
#[must_use]
pub fn is_output(format: Format, path: &Path) -> bool {
    let first = path.steps().find(|(kind, _)| *kind == StepKind::Section);
    match format {
        Format::Terraform => path.steps().next() == Some((StepKind::Section, b"outputs")),
        Format::Pulumi => first == Some((StepKind::Section, b"outputs")),
        Format::Json | Format::Opaque => false,
    }
}

/// The outputs of a document whose other secrets may be masked. Of Terraform what `terraform output -json` prints, of Pulumi what
/// `pulumi stack output --json --show-secrets` does; secrets that only the Pulumi program can decrypt stay as they are.
///
/// # Errors
/// [`OutputsError`].
pub fn outputs(format: Format, document: &[u8]) -> Result<Zeroizing<Vec<u8>>, OutputsError> {
    let mut out = Zeroizing::new(Vec::with_capacity(4096));
    match format {
        Format::Terraform => terraform(Value::of(document)?, &mut out),
        Format::Pulumi => pulumi(Value::of(document)?, &mut out),
        Format::Json | Format::Opaque => return Err(OutputsError::Format(format)),
    }
    Ok(out)
}

/// The outputs of a Terraform state as a state that has nothing else: what its data source `terraform_remote_state` reads.
///
/// # Errors
/// [`OutputsError::NotJson`].
pub fn outputs_state(document: &[u8]) -> Result<Zeroizing<Vec<u8>>, OutputsError> {
    let root = Value::of(document)?;
    let part = |name: &str, missing: &'static [u8]| root.get(name).map_or(missing, Value::raw);
    let parts: [(&[u8], &[u8]); 6] = [
        (b"\"version\"", part("version", b"4")),
        (b"\"terraform_version\"", part("terraform_version", b"\"\"")),
        (b"\"serial\"", part("serial", b"0")),
        (b"\"lineage\"", part("lineage", b"\"\"")),
        (b"\"outputs\"", part("outputs", b"{}")),
        (b"\"resources\"", b"[]"),
    ];
    let mut out = Zeroizing::new(Vec::with_capacity(4096));
    object(&mut out, 0, parts.into_iter(), |raw, out| out.extend_from_slice(raw));
    out.push(b'\n');
    Ok(out)
}

fn terraform(root: Value<'_>, out: &mut Vec<u8>) {
    let outputs = root.get("outputs").map(|outputs| outputs.members().collect::<Vec<_>>()).unwrap_or_default();
    object(out, 0, outputs.iter().map(|output| (output.key(), output.value())), |output, out| {
        let part = |name: &str, missing: &'static [u8]| output.get(name).map_or(missing, Value::raw);
        let sensitive = !matches!(part("sensitive", b"false"), b"false" | b"null");
        let parts: [(&[u8], &[u8]); 3] = [
            (b"\"sensitive\"", if sensitive { b"true" } else { b"false" }),
            (b"\"type\"", part("type", b"\"dynamic\"")),
            (b"\"value\"", part("value", b"null")),
        ];
        object(out, 1, parts.into_iter(), |raw, out| out.extend_from_slice(raw));
    });
    out.push(b'\n');
}

fn pulumi(root: Value<'_>, out: &mut Vec<u8>) {
    let latest = root.get("checkpoint").and_then(|checkpoint| checkpoint.get("latest"));
    let resources = root.get("deployment").or(latest).unwrap_or(root).get("resources");
    let stack = resources.and_then(|resources| {
        resources.elements().find(|one| one.get("type").is_some_and(|kind| kind.text().as_deref() == Some("pulumi:pulumi:Stack")))
    });
    let outputs = stack.and_then(|stack| stack.get("outputs"));
    let outputs = outputs.map(|outputs| outputs.members().collect::<Vec<_>>()).unwrap_or_default();
    object(out, 0, outputs.iter().map(|output| (output.key(), output.value())), plain);
    out.push(b'\n');
}

/// A value as it is, but for secrets of Pulumi that hold their plaintext: those are what they hold.
fn plain(value: Value<'_>, out: &mut Vec<u8>) {
    match value.kind() {
        Kind::Object if value.get(SIGNATURE).is_some() => {
            let plaintext = value.get("plaintext").and_then(Value::text).map(|text| Zeroizing::new(text.into_owned()));
            match plaintext.as_ref().and_then(|text| Value::of(text.as_bytes()).ok()) {
                Some(inner) => plain(inner, out),
                None => out.extend_from_slice(value.raw()),
            }
        }
        Kind::Object => {
            let mut first = true;
            out.push(b'{');
            for member in value.members() {
                separate(&mut first, out);
                out.extend_from_slice(member.key());
                out.extend_from_slice(b": ");
                plain(member.value(), out);
            }
            out.push(b'}');
        }
        Kind::Array => {
            let mut first = true;
            out.push(b'[');
            for element in value.elements() {
                separate(&mut first, out);
                plain(element, out);
            }
            out.push(b']');
        }
        _ => out.extend_from_slice(value.raw()),
    }
}

/// What marks an object of Pulumi as something else than a plain one.
const SIGNATURE: &str = "4dabf18193072939515e22adb298388d";

fn separate(first: &mut bool, out: &mut Vec<u8>) {
    if !std::mem::take(first) {
        out.extend_from_slice(b", ");
    }
}

/// An object with a member on each line, as Terraform indents.
fn object<'a, T>(
    out: &mut Vec<u8>,
    depth: usize,
    members: impl Iterator<Item = (&'a [u8], T)>,
    mut put: impl FnMut(T, &mut Vec<u8>),
) {
    let mut empty = true;
    out.push(b'{');
    for (key, value) in members {
        out.extend_from_slice(if std::mem::take(&mut empty) { b"\n" } else { b",\n" });
        out.extend_from_slice(b"  ".repeat(depth + 1).as_slice());
        out.extend_from_slice(key);
        out.extend_from_slice(b": ");
        put(value, out);
    }
    if !empty {
        out.push(b'\n');
        out.extend_from_slice(b"  ".repeat(depth).as_slice());
    }
    out.push(b'}');
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(format: Format, document: &str) -> String {
        String::from_utf8(outputs(format, document.as_bytes()).unwrap().to_vec()).unwrap()
    }

    #[test]
    fn outputs_of_terraform_keep_every_digit() {
        let document = r#"{"version":4,"outputs":{"n":{"value":12345678901234567890.10,"type":"number"},
            "s":{"type":"string","value":"a\u00e9","sensitive":true}},"resources":[]}"#;
        let expected = r#"{
  "n": {
    "sensitive": false,
    "type": "number",
    "value": 12345678901234567890.10
  },
  "s": {
    "sensitive": true,
    "type": "string",
    "value": "a\u00e9"
  }
}
"#;
        assert_eq!(shown(Format::Terraform, document), expected);
        assert_eq!(shown(Format::Terraform, r#"{"version":4}"#), "{}\n");
    }

    #[test]
    fn outputs_of_pulumi_are_those_of_the_stack_with_its_plaintext_secrets_unwrapped() {
        let secret = |rest: &str| format!(r#"{{"{SIGNATURE}":"1b47061264138c4ac30d75fd1eb44270",{rest}}}"#);
        let document = format!(
            r#"{{"version":3,"deployment":{{"resources":[{{"urn":"u","type":"aws:x","outputs":{{"no":1}}}},
            {{"urn":"s","type":"pulumi:pulumi:Stack","outputs":{{"a":1e400,"b":{},"c":[{{"d":{}}}],"e":{}}}}}]}}}}"#,
            secret(r#""plaintext":"\"open \\u003c sesame\"""#),
            secret(r#""plaintext":"{{\"x\": 1.50}}""#).replace("{{", "{").replace("}}", "}"),
            secret(r#""ciphertext":"v1:abc""#),
        );
        let expected = format!(
            "{{\n  \"a\": 1e400,\n  \"b\": \"open \\u003c sesame\",\n  \"c\": [{{\"d\": {{\"x\": 1.50}}}}],\n  \"e\": {}\n}}\n",
            secret(r#""ciphertext":"v1:abc""#)
        );
        assert_eq!(shown(Format::Pulumi, &document), expected);
    }

    #[test]
    fn other_formats_have_no_outputs() {
        for format in [Format::Json, Format::Opaque] {
            assert_eq!(outputs(format, b"{}").err(), Some(OutputsError::Format(format)));
        }
    }
}

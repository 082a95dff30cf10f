//! The finder: what it finds can be cut out and put back, reads as JSON without it, and holds what is known to be secret.

use std::collections::HashSet;

use leasehold::domain::format::Format;
use leasehold::domain::format::json::scan;
use leasehold::domain::rules::SealRule;
use leasehold::secrets::find::{Search, find};
use leasehold::secrets::hole::{Hole, JsonType};
use leasehold::secrets::path::Path;
use leasehold::secrets::seal::cut::{cut, join};
use leasehold::secrets::view::redacted::masks_of;

use super::{Source, generate};

const RULES: [&str; 4] = ["seal aws_*:config.**", "seal *:plain", "except *:tags.**", "except output:value"];

pub(crate) fn run(data: &[u8]) {
    let mut source = Source(data);
    let rules: Vec<SealRule> =
        RULES.iter().filter(|_| source.chance(2)).map(|rule| rule.parse().expect("it is a rule")).collect();
    let format = *source.pick(&[None, Some(Format::Terraform), Some(Format::Pulumi), Some(Format::Json), Some(Format::Opaque)]);
    match format {
        Some(format) => check(format, &rules, source.rest(), &[]),
        None => {
            let made = generate::document(&mut source);
            check(made.format, &rules, &made.bytes, &made.secrets);
        }
    }
}

pub(crate) fn check(format: Format, rules: &[SealRule], document: &[u8], secrets: &[String]) {
    let none = HashSet::new();
    let Ok(found) = find(document, &Search::new(format, rules, &none)) else {
        assert!(scan(document, &mut ()).is_err() && format != Format::Opaque, "JSON is refused");
        return;
    };
    let parts = cut(document, &found.holes).expect("places in order, that do not overlap, each with a path of its own");
    let ordinals: Vec<u32> = (0..found.holes.len() as u32).collect();
    let tokens: Vec<&[u8]> = parts.tokens.iter().map(|token| token.bytes).collect();
    let head = parts.head(found.holes.clone(), &ordinals, found.overflow);
    assert!(head.is_sound());
    let text = parts.text.concat();
    assert!(join(&text, &head.holes, &tokens) == document, "another document comes back");
    if format == Format::Opaque {
        return;
    }
    let masks = masks_of(&text, &head.holes);
    assert!(scan(&join(&text, &head.holes, &masks), &mut ()).is_ok(), "the redacted form is no JSON");
    assert!(found.holes.iter().zip(&tokens).all(|(hole, token)| is_of(hole.kind, token)));
    for secret in secrets {
        let stands = text.windows(secret.len()).any(|window| window == secret.as_bytes());
        assert!(!stands, "a marked secret is left in the text");
    }
    again(format, rules, document, &found.holes);
}

/// What was sealed stays sealed, whatever the rules say.
fn again(format: Format, rules: &[SealRule], document: &[u8], holes: &[Hole]) {
    let before: HashSet<Path> = holes.iter().map(|hole| hole.path.clone()).collect();
    let found = find(document, &Search::new(format, rules, &before)).expect("it was JSON before");
    let covers =
        |hole: &Hole| found.holes.iter().any(|other| other.span.start <= hole.span.start && hole.span.end <= other.span.end);
    assert!(holes.iter().all(covers), "what was sealed is not any more");
    let lone = find(document, &Search::new(format, &[], &before)).expect("it was JSON before");
    assert!(cut(document, &lone.holes).is_ok());
}

fn is_of(kind: JsonType, token: &[u8]) -> bool {
    scan(token, &mut ()).is_ok()
        && match kind {
            JsonType::Object => token[0] == b'{',
            JsonType::Array => token[0] == b'[',
            JsonType::String => token[0] == b'"',
            JsonType::Number => token[0] == b'-' || token[0].is_ascii_digit(),
            JsonType::Bool => matches!(token, b"true" | b"false"),
            JsonType::Null => token == b"null",
            JsonType::Opaque => false,
        }
}

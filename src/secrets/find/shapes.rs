//! Values that are secret by their shape, wherever they stand.

use std::{ops::Range, sync::LazyLock};

use aho_corasick::AhoCorasick;
use regex::bytes::{Regex, RegexBuilder, RegexSet, RegexSetBuilder};

use super::lists;

/// No shape but a URL is shorter.
const SHORTEST: usize = 20;

/// How many finds in one text are told apart; a text with more is taken as a whole.
const MOST: usize = 1_024;

/// The parts of the text that are secret by their shape, each to be looked for elsewhere. Empty if there are none.
pub(super) fn find(text: &[u8]) -> Vec<Range<usize>> {
    let shapes = &*SHAPES;
    let worth = if text.len() < SHORTEST { has_user(text) } else { shapes.literals.is_match(text) };
    if !worth {
        return Vec::new();
    }
    let mut found = Vec::new();
    for shape in shapes.set.matches(text) {
        let mut from = 0;
        while let Some(captures) = shapes.each[shape].captures_at(text, from) {
            let whole = captures.get(0).map_or(from..text.len(), |whole| whole.range());
            from = whole.end;
            match captures.name("password") {
                Some(password) if is_template(password.as_bytes()) || is_digest(&text[whole.end..]) => {}
                Some(password) => found.extend([whole.clone(), password.range()]),
                None if text[whole.clone()].starts_with(PEM) => {
                    let end = pem_end(text, whole.end);
                    from = end;
                    found.push(whole.start..end);
                }
                None => found.push(whole.clone()),
            }
            if found.len() > MOST {
                return std::iter::once(0..text.len()).collect();
            }
        }
    }
    found
}

/// The passwords of the URLs in the text.
pub(super) fn passwords(text: &[u8]) -> Vec<Range<usize>> {
    if !has_user(text) {
        return Vec::new();
    }
    let each = SHAPES.url.captures_iter(text).take(MOST);
    each.filter_map(|captures| captures.name("password").map(|password| password.range())).collect()
}

/// What begins the blocks of PEM.
pub(super) const PEM: &[u8] = b"-----BEGIN";

/// The insides of the blocks of PEM in the text, without white space.
pub(super) fn pem_bodies(text: &[u8]) -> Vec<zeroize::Zeroizing<Vec<u8>>> {
    let mut bodies = Vec::new();
    let mut rest = text;
    while let Some(begin) = position(rest, PEM)
        && bodies.len() < MOST
    {
        let inside = &rest[begin + PEM.len()..];
        let inside = position(inside, b"-----").map_or(&[][..], |label| &inside[label + 5..]);
        let end = position(inside, b"-----").unwrap_or(inside.len());
        // Headers such as `Proc-Type: 4,ENCRYPTED` end with an empty line.
        let body = position(&inside[..end], b"\n\n").map_or(&inside[..end], |head| &inside[head + 2..end]);
        let mut bare = zeroize::Zeroizing::new(Vec::with_capacity(body.len()));
        bare.extend(body.iter().filter(|byte| !byte.is_ascii_whitespace()));
        bodies.push(bare);
        rest = &inside[end..];
    }
    bodies
}

struct Shapes {
    literals: AhoCorasick,
    set: RegexSet,
    each: Vec<Regex>,
    url: Regex,
}

static SHAPES: LazyLock<Shapes> = LazyLock::new(|| {
    let rows: Vec<Vec<&str>> = lists::rows(include_str!("lists/shapes.txt")).collect();
    let literals = rows.iter().flat_map(|row| row[1].split(' '));
    let regexes = || rows.iter().map(|row| row[2]);
    let regex = |text| RegexBuilder::new(text).unicode(false).build().expect("the shipped list is tested");
    let each: Vec<Regex> = regexes().map(regex).collect();
    let url = rows.iter().position(|row| row[1] == "://").expect("the shipped list has URLs");
    Shapes {
        literals: AhoCorasick::new(literals).expect("a short list"),
        set: RegexSetBuilder::new(regexes()).unicode(false).build().expect("the shipped list is tested"),
        url: each[url].clone(),
        each,
    }
});

fn has_user(text: &[u8]) -> bool {
    text.contains(&b'@') && position(text, b"://").is_some()
}

/// Whether the password is filled in later, or was masked.
fn is_template(password: &[u8]) -> bool {
    let starts = [&b"${"[..], b"$(", b"{{", b"{", b"%(", b"%{", b"$"];
    starts.iter().any(|start| password.starts_with(start))
        || password.iter().all(|byte| matches!(byte, b'*' | b'x' | b'X' | b'.'))
}

/// Whether what looked like a password was the tag of an image: `docker://nginx:1.25@sha256:…`.
fn is_digest(after: &[u8]) -> bool {
    after.starts_with(b"sha256:") || after.starts_with(b"sha512:")
}

/// The end of the block of PEM whose first line ends at `from`.
fn pem_end(text: &[u8], from: usize) -> usize {
    let Some(end) = position(&text[from..], b"-----END") else { return text.len() };
    let label = from + end + 8;
    position(&text[label..], b"-----").map_or(text.len(), |dashes| label + dashes + 5)
}

fn position(text: &[u8], part: &[u8]) -> Option<usize> {
    memchr::memmem::find(text, part)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shapes_of_the_list_have_one_of_their_literals_in_every_match() {
        for row in lists::rows(include_str!("lists/shapes.txt")) {
            assert_eq!(row.len(), 4, "{row:?}");
            Regex::new(row[2]).unwrap();
            assert!(!row[3].is_empty(), "{} has no source", row[0]);
        }
    }

    #[test]
    fn shapes_are_found_where_they_stand() {
        let jwt = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0.dozjgNryP4J3jVmNHl0w5N_XgL0n3I9PlFUP0THsR8U";
        let pem = "-----BEGIN RSA PRIVATE KEY-----\nMIIEowIBAAKCAQEA\n-----END RSA PRIVATE KEY-----";
        let lease = format!("lhl_{}", "A".repeat(60));
        let github = format!("ghp_{}", "a1".repeat(18));
        for secret in
            [jwt, pem, &lease, &github, "AGE-SECRET-KEY-1QQPQQZZZZZZZZZZZZZZZZZZZZZZZZZZZZZ", "hvs.CAESIJ0123456789abcdefghijkl"]
        {
            let text = format!("before {secret} after");
            assert_eq!(find(text.as_bytes()).first(), Some(&(7..7 + secret.len())), "{secret}");
        }
        let url = b"see postgres://app:hunter2@db:5432/app!";
        let found: Vec<&[u8]> = find(url).into_iter().map(|part| &url[part]).collect();
        assert_eq!(found, [&b"postgres://app:hunter2@"[..], b"hunter2"]);
        assert_eq!(find(b"a://:b@c").len(), 2, "short ones too");
    }

    #[test]
    fn shapes_leave_what_only_resembles_them() {
        for text in [
            "https://example.com:8443/path@home",
            "https://user@example.com/",
            "postgres://app:${DB_PASSWORD}@db/app",
            "postgres://app:****@db/app",
            "docker-pullable://nginx:1.25@sha256:0123456789",
            "-----BEGIN PUBLIC KEY-----\nMIIB\n-----END PUBLIC KEY-----",
            "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----",
            "AKIAIOSFODNN7EXAMPLE",
            "eyJzY2hlbWFfdmVyc2lvbiI6IjEifQ==",
            "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAI somebody@example.com",
        ] {
            assert!(find(text.as_bytes()).is_empty(), "{text}");
        }
    }

    #[test]
    fn shapes_give_the_bodies_of_pem_without_lines_and_headers() {
        let text = b"x -----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\n\nAAAA\nBBBB\n-----END RSA PRIVATE KEY-----\n-----BEGIN X-----\nCC";
        let bodies: Vec<Vec<u8>> = pem_bodies(text).iter().map(|body| body.to_vec()).collect();
        assert_eq!(bodies, [b"AAAABBBB".to_vec(), b"CC".to_vec()]);
    }
}

//! The rules of an environment, followed while the document goes by.
//!
//! Each rule is a small automaton over segments; bit n says that its first n segments have been matched. A place costs one step of the rules
//! that can still match there.

use crate::domain::rules::{Effect, MAX_SEGMENTS, SealRule};

/// The rules in the form that is followed.
pub(super) struct Patterns(Vec<Pattern>);

struct Pattern {
    effect: Effect,
    types: String,
    segments: Vec<Segment>,
}

enum Segment {
    /// `**`
    Deep,
    One(String),
}

/// The rules that can still match, with how far they are.
pub(super) type Active = Vec<(u16, u32)>;

/// What the rules say about a place.
#[derive(Clone, Copy, Default)]
pub(super) struct Says {
    pub(super) seal: bool,
    pub(super) except: bool,
}

impl Patterns {
    pub(super) fn of(rules: &[SealRule]) -> Self {
        let segment = |text: &str| if text == "**" { Segment::Deep } else { Segment::One(text.to_owned()) };
        let pattern = |rule: &SealRule| Pattern {
            effect: rule.effect(),
            types: rule.types().to_owned(),
            segments: rule.path().split('.').take(MAX_SEGMENTS).map(segment).collect(),
        };
        Self(rules.iter().take(usize::from(u16::MAX)).map(pattern).collect())
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The rules for things of a type, before the first segment.
    pub(super) fn start(&self, of_type: &[u8]) -> Active {
        let meant = self.0.iter().enumerate().filter(|(_, pattern)| glob(pattern.types.as_bytes(), of_type));
        meant.map(|(rule, pattern)| (rule as u16, pattern.closed(1))).collect()
    }

    /// One segment down.
    pub(super) fn step(&self, active: &Active, segment: &[u8]) -> Active {
        let step = |&(rule, at): &(u16, u32)| (rule, self.0[usize::from(rule)].step(at, segment));
        active.iter().map(step).filter(|(_, at)| *at != 0).collect()
    }

    /// Either of two.
    pub(super) fn either(&self, mut active: Active, other: Active) -> Active {
        for (rule, at) in other {
            match active.iter_mut().find(|(known, _)| *known == rule) {
                Some((_, known)) => *known |= at,
                None => active.push((rule, at)),
            }
        }
        active
    }

    pub(super) fn says(&self, active: &Active) -> Says {
        let mut says = Says::default();
        for (rule, at) in active {
            let pattern = &self.0[usize::from(*rule)];
            if at >> pattern.segments.len() & 1 == 1 {
                match pattern.effect {
                    Effect::Seal => says.seal = true,
                    Effect::Except => says.except = true,
                }
            }
        }
        says
    }
}

impl Pattern {
    fn step(&self, at: u32, text: &[u8]) -> u32 {
        let mut next = 0;
        for (n, segment) in self.segments.iter().enumerate().filter(|(n, _)| at >> n & 1 == 1) {
            match segment {
                Segment::Deep => next |= 1 << n,
                Segment::One(pattern) if glob(pattern.as_bytes(), text) => next |= 1 << (n + 1),
                Segment::One(_) => {}
            }
        }
        self.closed(next)
    }

    /// With what is reached by letting `**` stand for nothing.
    fn closed(&self, mut at: u32) -> u32 {
        for (n, segment) in self.segments.iter().enumerate() {
            if at >> n & 1 == 1 && matches!(segment, Segment::Deep) {
                at |= 1 << (n + 1);
            }
        }
        at
    }
}

/// Whether the text is as the pattern, in which `*` is any run of bytes.
fn glob(pattern: &[u8], text: &[u8]) -> bool {
    let (mut p, mut t) = (0, 0);
    let mut star = None;
    while t < text.len() {
        match pattern.get(p) {
            Some(b'*') => {
                star = Some((p, t));
                p += 1;
            }
            Some(byte) if *byte == text[t] => {
                p += 1;
                t += 1;
            }
            _ => {
                let Some((at, taken)) = star else { return false };
                star = Some((at, taken + 1));
                p = at + 1;
                t = taken + 1;
            }
        }
    }
    pattern[p..].iter().all(|byte| *byte == b'*')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn says(rule: &str, of_type: &str, path: &str) -> bool {
        let patterns = Patterns::of(&[rule.parse().unwrap()]);
        let mut active = patterns.start(of_type.as_bytes());
        for segment in path.split('.') {
            active = patterns.step(&active, segment.as_bytes());
        }
        patterns.says(&active).seal
    }

    #[test]
    fn patterns_match_what_their_stars_stand_for() {
        for (rule, of_type, path, matches) in [
            ("seal aws_*:user_data", "aws_instance", "user_data", true),
            ("seal aws_*:user_data", "google_instance", "user_data", false),
            ("seal aws_*:user_data", "aws_instance", "user_data.0", false),
            ("seal *:tags.**", "x", "tags", true),
            ("seal *:tags.**", "x", "tags.a.b.c", true),
            ("seal *:tags.**", "x", "tag", false),
            ("seal *:**.b.**.d", "x", "a.b.c.b.d", true),
            ("seal *:**.b.**.d", "x", "b.d", true),
            ("seal *:**.b.**.d", "x", "b.d.e", false),
            ("seal *:a.*.c", "x", "a.0.c", true),
            ("seal *:a.*.c", "x", "a.c", false),
            ("seal *:db_*_word", "x", "db_pass_word", true),
            ("seal *:db_*_word", "x", "db_word", false),
            ("seal *:**", "", "anything.at.all", true),
            ("seal x:**", "", "anything", false),
        ] {
            assert_eq!(says(rule, of_type, path), matches, "{rule} {of_type} {path}");
        }
    }
}

//! How many tokens there may be: so that nobody fills the store, or keeps others from theirs.

use std::collections::BTreeSet;

use super::{Access, Credential, Maker, TokenRecord};
use crate::domain::time::WallTime;

/// How many tokens there may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Room {
    /// Live ones that one credential has made, itself or through tokens that it made. That of `leasehold init` is not bounded by this: all come
    /// from it.
    pub of_one: usize,
    /// The same, with those that have ended and are kept.
    pub kept: usize,
    /// Live ones in all.
    pub total: usize,
    /// Who has fewer live ones than this gets another whatever others have: an issuer's tokens can be exchanged even if somebody has made
    /// as many as there may be.
    pub few: usize,
}

impl Room {
    /// 1,000 live ones of one maker serve 4,000 runs in an hour that live for a quarter of it; 100 such makers fill the total.
    pub const DEFAULT: Self = Self { of_one: 1_000, kept: 100_000, total: 100_000, few: 10 };
}

/// Why there is no room for another token.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Crowded {
    /// Its maker, or one of those that made that.
    #[error("{0} has made as many tokens as may live at once: {1}")]
    Live(String, usize),
    /// The same, ended ones included.
    #[error("{0} has made as many tokens as are kept: {1}, most of which have ended")]
    Kept(String, usize),
    /// Somebody.
    #[error("there are as many live tokens as the server takes: {0}")]
    Total(usize),
}

impl Crowded {
    /// What to do next.
    #[must_use]
    pub fn next(&self) -> &'static str {
        match self {
            Self::Live(..) => {
                "revoke what is not used any more (`leasehold token list`, `leasehold token revoke`), or let it expire: give `--for`"
            }
            Self::Kept(..) => {
                "give `--for`, and no name: what the server names itself is forgotten two days after it has expired"
            }
            Self::Total(_) => "have tokens revoked that are not used any more; give `--for`, so that they expire",
        }
    }
}

impl Access {
    /// Whether this credential may make another token now.
    ///
    /// # Errors
    /// There is no room for it.
    pub fn room_for(&self, who: &Credential, room: Room, now: WallTime) -> Result<(), Crowded> {
        let tokens = self.chain(who).into_iter().filter_map(|step| match step {
            Credential::Token(name) => {
                self.tokens.get(&name).filter(|token| token.maker != Maker::Init).map(|_| Maker::Token(name))
            }
            Credential::Principal(_) => None,
        });
        let source = self.source(who).filter(|source| *source != Maker::Init);
        // None: all come from it.
        let mut most = None;
        for maker in tokens.chain(source) {
            let made = self.made_by(&maker);
            let live = made.iter().filter(|token| token.live(now)).count();
            most = most.max(Some(live));
            if live >= room.of_one {
                return Err(Crowded::Live(maker.to_string(), room.of_one));
            }
            if made.len() >= room.kept {
                return Err(Crowded::Kept(maker.to_string(), room.kept));
            }
        }
        if most.is_some_and(|most| most < room.few) {
            return Ok(());
        }
        match self.tokens.values().filter(|token| token.live(now)).count() {
            live if live >= room.total => Err(Crowded::Total(room.total)),
            _ => Ok(()),
        }
    }

    /// All tokens that were made by this one or through those that it made.
    fn made_by(&self, maker: &Maker) -> Vec<&TokenRecord> {
        let mut made = Vec::new();
        let mut next = vec![maker.to_string()];
        while let Some(maker) = next.pop() {
            for token in self.by_maker.get(&maker).into_iter().flatten().filter_map(|name| self.tokens.get(name)) {
                made.push(token);
                next.push(Maker::Token(token.name.clone()).to_string());
            }
        }
        made
    }

    pub(super) fn note_maker(&mut self, token: &TokenRecord) {
        self.by_maker.entry(token.maker.to_string()).or_default().insert(token.name.clone());
    }

    pub(super) fn forget_makers(&mut self) {
        self.by_maker.retain(|_, made: &mut BTreeSet<_>| {
            made.retain(|name| self.tokens.contains_key(name));
            !made.is_empty()
        });
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{NOW, admin, grant, made_by, of_token, scope, token};
    use super::*;
    use crate::domain::access::TokenName;

    const ROOM: Room = Room { of_one: 5, kept: 8, total: 12, few: 2 };
    const LATER: WallTime = WallTime(NOW.0 + 1_000);

    fn stranger(name: &str) -> (Credential, Maker) {
        let principal: crate::domain::names::Principal = name.parse().unwrap();
        (Credential::Principal(principal.clone()), Maker::Principal(principal))
    }

    fn with(maker: &Maker, names: std::ops::Range<usize>, ends: Option<WallTime>) -> Vec<TokenRecord> {
        names.map(|n| TokenRecord { expires: ends, ..token(&format!("t{n}"), maker.clone(), &[scope("reader", "**")]) }).collect()
    }

    fn access(tokens: Vec<TokenRecord>) -> Access {
        let all = grant(1, "oidc:test:*", scope("reader", "**"));
        Access::new(vec![all], std::iter::once(admin()).chain(tokens).collect())
    }

    #[test]
    fn live_tokens_of_one_are_bounded_also_through_those_that_it_made() {
        let lead = token("lead", made_by("admin"), &[scope("reader", "**")]);
        let mut tokens = with(&made_by("lead"), 0..3, Some(LATER));
        tokens.extend(with(&made_by("t0"), 3..5, Some(LATER)));
        tokens.push(lead);
        let mut access = access(tokens);
        let full = Err(Crowded::Live("token:lead".to_owned(), 5));
        for who in ["lead", "t0", "t4"] {
            assert_eq!(access.room_for(&of_token(who), ROOM, NOW), full, "{who}");
        }
        assert_eq!(access.room_for(&of_token("admin"), ROOM, NOW), Ok(()), "all come from it");
        assert_eq!(access.room_for(&of_token("lead"), ROOM, LATER), Ok(()), "they have expired");
        let gone = TokenRecord { revoked: Some(NOW), ..access.token(&"t4".parse().unwrap()).unwrap().clone() };
        access.revoke(&gone);
        assert_eq!(access.room_for(&of_token("lead"), ROOM, NOW), Ok(()), "one was revoked");
    }

    #[test]
    fn tokens_that_have_ended_are_bounded_until_they_are_forgotten() {
        let (who, maker) = stranger("oidc:test:ci");
        let mut tokens = with(&maker, 0..7, Some(NOW));
        let drawn: TokenName = "x-0123456789abcdef".parse().unwrap();
        tokens.push(TokenRecord { name: drawn, expires: Some(NOW), ..token("drawn", maker, &[scope("reader", "**")]) });
        let mut access = access(tokens);
        assert_eq!(access.room_for(&who, ROOM, LATER), Err(Crowded::Kept("oidc:test:ci".to_owned(), 8)));
        access.forget_ended(LATER);
        assert_eq!(access.room_for(&who, ROOM, LATER), Ok(()), "the name that was drawn is forgotten");
        assert_eq!(access.tokens().count(), 8, "names that were chosen mean one token for ever");
    }

    #[test]
    fn nobody_is_shut_out_by_the_tokens_of_others() {
        let lead = token("lead", made_by("admin"), &[scope("reader", "**")]);
        let (hog, of_hog) = stranger("oidc:test:hog");
        let (other, of_other) = stranger("oidc:test:other");
        let mut tokens = with(&of_hog, 0..4, Some(LATER));
        tokens.extend(with(&made_by("admin"), 4..12, Some(LATER)));
        tokens.push(lead);
        let mut access = access(tokens);
        let full = Err(Crowded::Total(12));
        assert_eq!(access.room_for(&hog, ROOM, NOW), full);
        assert_eq!(access.room_for(&of_token("admin"), ROOM, NOW), full);
        for n in 12..14 {
            assert_eq!(access.room_for(&other, ROOM, NOW), Ok(()), "it has next to none");
            assert_eq!(access.room_for(&of_token("lead"), ROOM, NOW), Ok(()));
            with(&of_other, n..n + 1, Some(LATER)).into_iter().for_each(|token| access.put_token(token));
        }
        assert_eq!(access.room_for(&other, ROOM, NOW), full);
    }
}

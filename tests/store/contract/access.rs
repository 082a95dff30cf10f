//! Tokens: which are forgotten when they have ended, and which names stay for ever.

use leasehold::domain::access::{AccessAct, Maker, Scope, TokenName, TokenRecord};
use leasehold::domain::ids::TokenHash;
use leasehold::domain::time::WallTime;
use leasehold::store::{Query, Rows};

use super::on_every_engine;
use crate::engines::Engine;
use crate::rig::Rig;

fn token(name: &str, n: u8, expires: Option<i64>, exchanged: bool) -> TokenRecord {
    let name: TokenName = name.parse().unwrap();
    TokenRecord {
        principal: name.principal(),
        hash: TokenHash([n; 32]),
        name,
        maker: Maker::Init,
        scopes: vec![Scope::new("reader".parse().unwrap(), "**".parse().unwrap())],
        made: WallTime(1),
        expires: expires.map(WallTime),
        revoked: None,
        used: None,
        exchanged: exchanged.then_some(TokenHash([n + 100; 32])),
    }
}

fn names<E: Engine>(rig: &Rig<E>) -> Vec<String> {
    let Rows::Access(_, tokens) = rig.select(Query::Access) else { panic!("other rows") };
    tokens.into_iter().map(|token| token.name.to_string()).collect()
}

on_every_engine! {
    fn tokens_are_forgotten_when_they_have_ended_unless_somebody_chose_their_name(rig) {
        let all = [
            token("x-0123456789abcdef", 1, Some(10), false),
            token("x-0123456789abcde0", 2, Some(11), false),
            token("x-0123456789abcde1", 3, None, false),
            token("x-0123456789abcdef0", 4, Some(10), false),
            token("x-0123456789abcdeg", 5, Some(10), false),
            token("x-012345", 6, Some(10), false),
            token("chosen", 7, Some(10), false),
            token("exchanged", 8, Some(10), true),
            token("exchanged-later", 9, Some(11), true),
        ];
        for token in all {
            rig.access(AccessAct::CreateToken(Box::new(token))).unwrap();
        }
        rig.access(AccessAct::Forget(WallTime(11))).unwrap();
        let left = [
            "chosen",
            "exchanged-later",
            "x-012345",
            "x-0123456789abcde0",
            "x-0123456789abcde1",
            "x-0123456789abcdef0",
            "x-0123456789abcdeg",
        ];
        assert_eq!(names(&rig), left);
    }
}

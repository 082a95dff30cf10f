//! Changes of what is granted. Whether the caller may make them is asked before; the rules see to it that names mean one token for ever
//! and that a credential is exchanged once.

use super::Subject;
use super::grant::{Grant, TokenName, TokenRecord};
use crate::domain::command::Needs;
use crate::domain::decide::Work;
use crate::domain::decision::{Change, Reply};
use crate::domain::ids::GrantId;
use crate::domain::refusal::Refusal;
use crate::domain::time::WallTime;

/// Acts on what is granted.
#[derive(Clone, Debug)]
pub enum AccessAct {
    /// A new token.
    CreateToken(Box<TokenRecord>),
    /// A token is not accepted any more, from now on and for ever; grants to it go.
    RevokeToken(TokenName),
    /// A new grant.
    Grant(Grant),
    /// A grant goes.
    RevokeGrant(GrantId),
    /// When tokens were last seen.
    Used(Vec<(TokenName, WallTime)>),
    /// Tokens that were exchanged for another credential or have a drawn name, and expired before this time, are forgotten.
    Forget(WallTime),
    /// Nothing, but for a request that was answered before: that answer is given again. For who may not, or not any more, ask anew.
    Recall,
}

impl AccessAct {
    /// What of the store it needs to see.
    pub(in crate::domain) fn needs(&self) -> Needs {
        match self {
            Self::CreateToken(token) => Needs { token: Some(token.name.clone()), exchanged: token.exchanged, ..Needs::default() },
            Self::RevokeToken(name) => Needs { token: Some(name.clone()), ..Needs::default() },
            Self::RevokeGrant(id) => Needs { grant: Some(*id), ..Needs::default() },
            Self::Grant(_) | Self::Used(_) | Self::Forget(_) | Self::Recall => Needs::default(),
        }
    }
}

/// Decides an act on what is granted.
pub(in crate::domain) fn decide(work: &mut Work<'_>, act: &AccessAct) -> Result<Reply, Refusal> {
    match act {
        AccessAct::CreateToken(token) => {
            if work.snapshot.token.is_some() {
                return Err(Refusal::TokenExists(token.name.to_string()));
            }
            if work.snapshot.exchanged {
                return Err(Refusal::CredentialSpent);
            }
            work.changes.push(Change::PutToken(token.clone()));
            work.remember();
            Ok(Reply::Token(token.clone()))
        }
        AccessAct::RevokeToken(name) => {
            let mut token = work.snapshot.token.take().ok_or_else(|| Refusal::TokenNotFound(name.to_string()))?;
            if token.revoked.is_none() {
                token.revoked = Some(work.ctx.wall);
                work.changes.push(Change::PutToken(Box::new(token.clone())));
                let subject = Subject::try_from(name.principal().to_string()).expect("a token's principal is a subject");
                work.changes.push(Change::DropGrantsTo(subject));
                work.remember();
            }
            Ok(Reply::Token(Box::new(token)))
        }
        AccessAct::Grant(grant) => {
            work.changes.push(Change::PutGrant(Box::new(grant.clone())));
            work.remember();
            Ok(Reply::Grant(Box::new(grant.clone())))
        }
        AccessAct::RevokeGrant(id) => {
            let grant = work.snapshot.grant.take().ok_or(Refusal::GrantNotFound(*id))?;
            work.changes.push(Change::DropGrant(*id));
            work.remember();
            Ok(Reply::Grant(Box::new(grant)))
        }
        AccessAct::Used(tokens) => {
            work.changes.push(Change::TokensUsed(tokens.clone()));
            Ok(Reply::Settled)
        }
        AccessAct::Forget(before) => {
            work.changes.push(Change::ForgetTokens(*before));
            Ok(Reply::Settled)
        }
        AccessAct::Recall => Ok(Reply::Settled),
    }
}

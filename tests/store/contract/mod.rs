//! What every engine keeps: the same assertions for all of them.

mod access;
mod audit;
mod drafts;
mod environments;
mod events;
mod keys;
mod locks;
mod queues;
mod requests;
mod time;
mod versions;

/// Each test once for every engine.
macro_rules! on_every_engine {
    ($($(#[$doc:meta])* fn $name:ident($rig:ident) $body:block)*) => {
        mod generic {
            #![allow(unused_mut, reason = "not every test restarts its engine")]
            use super::*;
            $($(#[$doc])* pub(crate) fn $name<E: crate::engines::Engine>() {
                let mut $rig = crate::rig::Rig::<E>::new();
                $body
            })*
        }
        mod memory {
            $(#[test] fn $name() { super::generic::$name::<crate::engines::InMemory>(); })*
        }
        mod sqlite {
            $(#[test] fn $name() { super::generic::$name::<crate::engines::OnSqlite>(); })*
        }
    };
}
pub(crate) use on_every_engine;

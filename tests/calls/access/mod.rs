//! Who may do what, over the wire: the whole matrix, the gate before everything, tokens, grants, revocation, and what is shown to whom.

mod gate;
mod grants;
mod interleaved;
mod lost;
mod matrix;
mod page;
mod reading;
mod revocation;
mod shown;
mod tokens;
pub(crate) mod turned;
pub(crate) mod wire;

//! How documents are shown to those who may not see, or should not hold, all of them in the clear.

pub mod outputs;
pub mod redacted;
pub mod sealed;

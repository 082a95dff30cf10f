//! Who may do what.

/// Acts on what is granted.
#[derive(Clone, Debug)]
pub enum AccessAct {}

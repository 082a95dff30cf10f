//! What was done, by whom: rows that follow from commands and what came of them.

/// Acts on the audit.
#[derive(Clone, Debug)]
pub enum AuditAct {}

//! The place for rules that bind at the lease: approvals, holds, ownership, drift. None exist yet; when they come, [`super::decide()`]
//! asks here before a grant, with what the snapshot holds.

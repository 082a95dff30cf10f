//! Sealing and opening documents.

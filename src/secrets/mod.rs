//! Finding, sealing and opening the secrets in documents, and the keys for it: the only place that names the age crate.
//!
//! | module | what it is |
//! |---|---|
//! | [`find`] | which places of a document hold secrets |
//! | [`seal`] | how they, and what is left, are sealed and opened |
//! | [`view`] | documents as readers get them who do not get all |
//! | [`keys`], [`master`] | the tree of keys, and where its top comes from |
//! | [`operational`] | the server's own key, for what needs no document |

pub mod audit;
pub mod cache;
pub mod data_key;
pub mod find;
pub mod hole;
pub mod hygiene;
pub mod identities;
pub mod keys;
pub mod master;
pub mod operational;
pub mod path;
pub mod recipient;
pub mod seal;
pub mod view;
mod wrap;

#[cfg(test)]
mod testing;

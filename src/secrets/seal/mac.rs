//! Holds the parts of a version or draft together: finds at reading that values, skeletons, etags or tokens were mixed, moved or dropped.
//!
//! HMAC-SHA256(K_mac, lp(suite) ‖ lp(environment) ‖ lp(state) ‖ lp(holder) ‖ lp(previous etag, or nothing) ‖ lp(u64 token) ‖ lp(format) ‖
//! lp(u32 rules ‖ u64 rules of the environment) ‖ lp(encoded head) ‖ u64 n ‖ n lp(sealed value) ‖ text). It is over plaintext heads and
//! texts, so that a text can be stored anew, as a difference for instance, without it.

use hmac::{Hmac, Mac};
use sha2::Sha256;
use subtle::ConstantTimeEq;

use super::encoding::lp;
use super::{Binding, Holder, OpenError, SUITE, SealingKeys, hmac};
use crate::domain::format::Format;
use crate::domain::ids::{Etag, Token};

/// What is said of a version or draft beside its content.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Subject {
    /// The state.
    pub binding: Binding,
    /// The version or draft of it.
    pub holder: Holder,
    /// The etag of the version before.
    pub previous_etag: Option<Etag>,
    /// The fencing token under which it was written.
    pub token: Token,
    /// What the document is.
    pub format: Format,
    /// By which rules secrets were found: the revision of those that are shipped, and of the environment's.
    pub rules: (u32, u64),
}

/// The MAC of a version or draft, before its text has gone by.
pub struct VersionMac(Hmac<Sha256>);

impl VersionMac {
    /// Takes all but the text. `head` is the encoded head, `values` are the sealed values of its holes, in their order.
    #[must_use]
    pub fn new<V: AsRef<[u8]>>(keys: &SealingKeys, subject: &Subject, head: &[u8], values: &[V]) -> Self {
        let mut start = Vec::with_capacity(192);
        lp(&mut start, &[&SUITE]);
        lp(&mut start, &[&subject.binding.environment.0]);
        lp(&mut start, &[&subject.binding.state.0]);
        subject.holder.lp(&mut start);
        lp(&mut start, &[subject.previous_etag.as_ref().map_or(&[], |etag| etag.0.as_slice())]);
        lp(&mut start, &[&subject.token.0.to_be_bytes()]);
        lp(&mut start, &[subject.format.name().as_bytes()]);
        lp(&mut start, &[&subject.rules.0.to_be_bytes(), &subject.rules.1.to_be_bytes()]);
        start.extend_from_slice(&(head.len() as u64).to_be_bytes());
        let mut mac = hmac(&keys.keys.mac);
        mac.update(&start);
        mac.update(head);
        mac.update(&(values.len() as u64).to_be_bytes());
        for value in values {
            mac.update(&(value.as_ref().len() as u64).to_be_bytes());
            mac.update(value.as_ref());
        }
        Self(mac)
    }

    /// Takes more of the text.
    pub fn text(&mut self, part: &[u8]) {
        self.0.update(part);
    }

    /// The MAC.
    #[must_use]
    pub fn finish(self) -> [u8; 32] {
        self.0.finalize().into_bytes().into()
    }

    /// Compares with the stored one, in constant time.
    ///
    /// # Errors
    /// They differ.
    pub fn verify(self, stored: &[u8]) -> Result<(), OpenError> {
        if bool::from(self.finish().as_slice().ct_eq(stored)) { Ok(()) } else { Err(OpenError) }
    }
}

/// The MAC of a version or draft whose text is at hand, in parts.
#[must_use]
pub fn mac<V: AsRef<[u8]>>(keys: &SealingKeys, subject: &Subject, head: &[u8], values: &[V], text: &[&[u8]]) -> [u8; 32] {
    let mut mac = VersionMac::new(keys, subject, head, values);
    text.iter().for_each(|part| mac.text(part));
    mac.finish()
}

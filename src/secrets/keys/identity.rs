//! The age identities of an environment: what its data keys are wrapped to.

use std::str::FromStr;

use age::secrecy::ExposeSecret;
use age::x25519::Identity;
use zeroize::Zeroizing;

use super::{UnwrapError, WrapError};
use crate::domain::ids::{EnvironmentId, IdentityVersion};
use crate::secrets::master::Masters;
use crate::secrets::recipient::Recipient;
use crate::secrets::wrap::{self, Fields};

/// One identity of an environment's keyring. No `Debug`; age wipes the key on drop.
pub struct EnvironmentIdentity {
    environment: EnvironmentId,
    version: IdentityVersion,
    identity: Identity,
}

const KIND: &str = "leasehold/v1/environment-identity";

impl EnvironmentIdentity {
    /// Makes the identity of a new version, wrapped for the store.
    ///
    /// # Errors
    /// Too many recipients.
    pub fn create(
        masters: &Masters,
        environment: EnvironmentId,
        version: IdentityVersion,
        recovery: &[Recipient],
    ) -> Result<(Self, Vec<u8>), WrapError> {
        let made = Self { environment, version, identity: Identity::generate() };
        let wrapped = made.rewrap(masters, recovery)?;
        Ok((made, wrapped))
    }

    /// Opens a wrapped identity; also says to which master it was wrapped. If that is not the current one, a rewrap is due.
    ///
    /// # Errors
    /// [`UnwrapError`] for a wrong key, another environment's or version's identity, or a forged one.
    pub fn open(
        masters: &Masters,
        environment: EnvironmentId,
        version: IdentityVersion,
        wrapped: &[u8],
    ) -> Result<(Self, Recipient), UnwrapError> {
        masters.open(|master| Self::read(&wrap::unwrap(master, KIND, wrapped)?, environment, version))
    }

    /// Wraps it to the current master and the recovery recipients.
    ///
    /// # Errors
    /// Too many recipients.
    pub fn rewrap(&self, masters: &Masters, recovery: &[Recipient]) -> Result<Vec<u8>, WrapError> {
        let recipient = self.recipient().to_string();
        let secret = self.identity.to_string();
        let ids = [KIND.as_bytes(), &self.environment.0, &self.version.0.to_be_bytes(), recipient.as_bytes()];
        let fields = [ids.as_slice(), &[secret.expose_secret().as_bytes()]].concat();
        wrap::wrap(masters.current(), recovery, &fields)
    }

    /// Whom data keys are wrapped to.
    #[must_use]
    pub fn recipient(&self) -> Recipient {
        Recipient::of(&self.identity)
    }

    /// Whose it is.
    #[must_use]
    pub fn environment(&self) -> EnvironmentId {
        self.environment
    }

    /// Which one of the environment's.
    #[must_use]
    pub fn version(&self) -> IdentityVersion {
        self.version
    }

    /// The identity as age writes it (`AGE-SECRET-KEY-1…`): for exporting it.
    #[must_use]
    pub fn expose(&self) -> Zeroizing<String> {
        Zeroizing::new(self.identity.to_string().expose_secret().to_owned())
    }

    pub(super) fn as_age(&self) -> &Identity {
        &self.identity
    }

    pub(super) fn unverified(
        opener: &Identity,
        environment: EnvironmentId,
        version: IdentityVersion,
        wrapped: &[u8],
    ) -> Result<Self, UnwrapError> {
        Self::read(&wrap::danger_unwrap_unverified(opener, KIND, wrapped)?, environment, version)
    }

    fn read(fields: &Fields<5>, environment: EnvironmentId, version: IdentityVersion) -> Result<Self, UnwrapError> {
        let [_, bound_environment, bound_version, recipient, material] = fields.get();
        let secret = std::str::from_utf8(material).map_err(|_| UnwrapError)?;
        let identity = Identity::from_str(secret).map_err(|_| UnwrapError)?;
        let ours = bound_environment == environment.0
            && bound_version == version.0.to_be_bytes()
            && recipient == identity.to_public().to_string().as_bytes();
        if ours { Ok(Self { environment, version, identity }) } else { Err(UnwrapError) }
    }
}

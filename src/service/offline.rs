//! Opening what a database holds without a server: with the master key for checks, with a recovery identity when all else is gone.

use std::cell::RefCell;
use std::collections::{BTreeMap, HashMap};
use std::path::Path;
use std::sync::Arc;

use zeroize::Zeroizing;

use super::opening::{OpenedPieces, Skeleton, Stored, open_pieces};
use super::pull::Meta;
use super::vault::Ring;
use crate::domain::environment::Environment;
use crate::domain::ids::{DataKeyId, EnvironmentId, IdentityVersion};
use crate::domain::sealing::Keyring;
use crate::secrets::identities::Identities;
use crate::secrets::keys::{EnvironmentIdentity, UnwrapError, data_key, recovery};
use crate::secrets::master::{MasterError, MasterSource, Masters, read_identities};
use crate::secrets::seal::{OpenError, SealingKeys};
use crate::store::Document;
use crate::store::sqlite::{Found, Named, Offline};

/// What opens the keys of environments.
pub enum Opener {
    /// The master key, which authenticates them.
    Master(Masters),
    /// Recovery identities: they open, and authenticate nothing of what is wrapped to the master.
    Recovery(Identities),
}

/// The environments of a database that could be opened.
pub struct Archive<'d> {
    database: &'d Offline,
    opener: &'d Opener,
    environments: BTreeMap<String, Opened>,
    /// Environments whose keys do not open, by name, and to whom they are wrapped.
    pub shut: Vec<Shut>,
}

/// An environment whose keys do not open.
pub struct Shut {
    /// Its name, as its row has it.
    pub name: String,
    /// Whom its keys are wrapped to besides the master; nobody also if they cannot be read.
    pub recovery: Vec<String>,
}

/// A whole document, and what of it is not in its sealed values.
pub struct Contents {
    /// The very bytes that were written.
    pub document: Zeroizing<Vec<u8>>,
    /// The table of its holes.
    pub head: Vec<u8>,
    /// Its text without what was sealed apart.
    pub text: Vec<u8>,
}

/// An environment's opened identities.
struct Opened {
    id: EnvironmentId,
    identities: Vec<(u32, EnvironmentIdentity)>,
    /// One state after another is opened, so that few are at hand.
    keys: RefCell<HashMap<DataKeyId, Arc<SealingKeys>>>,
}

/// Opened data keys at hand at most.
const KEYS: usize = 64;

impl Opener {
    /// The master key in a file.
    ///
    /// # Errors
    /// [`MasterError`] says what to do.
    pub fn master(file: &Path) -> Result<Self, MasterError> {
        MasterSource::File(file.to_owned()).load(None).map(Self::Master)
    }

    /// The recovery identities in a file.
    ///
    /// # Errors
    /// [`MasterError`] says what to do.
    pub fn recovery(file: &Path) -> Result<Self, MasterError> {
        read_identities(file).map(Self::Recovery)
    }
}

impl<'d> Archive<'d> {
    /// Opens the keys of all environments.
    ///
    /// # Errors
    /// The environments cannot be read.
    pub fn open(database: &'d Offline, opener: &'d Opener) -> Result<Self, crate::store::sqlite::OpenError> {
        let mut archive = Self { database, opener, environments: BTreeMap::new(), shut: Vec::new() };
        for Found { name, environment, keyring } in database.environments()? {
            let recovery = keyring.as_ref().map(|keyring| keyring.recovery.clone()).unwrap_or_default();
            let opened = match (environment, keyring) {
                (Ok(environment), Ok(keyring)) if environment.name.as_str() == name => opener.open(environment, keyring).ok(),
                _ => None,
            };
            match opened {
                Some(opened) => drop(archive.environments.insert(name, opened)),
                None => archive.shut.push(Shut { name, recovery }),
            }
        }
        Ok(archive)
    }

    /// The environments that open, with the recipients of their identities.
    pub fn environments(&self) -> impl Iterator<Item = (&str, Vec<String>)> {
        let recipients = |opened: &Opened| opened.identities.iter().map(|(_, key)| key.recipient().to_string()).collect();
        self.environments.iter().map(move |(name, opened)| (name.as_str(), recipients(opened)))
    }

    /// Opens a version or draft that stands under a name, and checks that it is what was written there.
    ///
    /// # Errors
    /// Damaged, moved, put back, or its environment does not open: one error for all causes.
    pub fn contents(&self, name: &Named, document: &Document) -> Result<Contents, OpenError> {
        let environment = self.environments.get(&name.environment).ok_or(OpenError)?;
        let path = match document {
            Document::Version(version) => &version.path,
            Document::Draft(draft) => &draft.path,
        };
        if path.as_str() != name.path {
            return Err(OpenError);
        }
        let meta = match document.clone() {
            Document::Version(version) => Meta::Version(version),
            Document::Draft(draft) => Meta::Draft(draft),
        };
        let stored = Stored::of(environment.id, &meta).map_err(|_| OpenError)?;
        let keys = self.keys(environment, stored.seal.data_key)?;
        let pieces = self.database.pieces(document).map_err(|_| OpenError)?;
        let opened: OpenedPieces = open_pieces(&keys, &stored.body(), pieces)?;
        let ordinals: Vec<u32> = opened.0.holes.iter().map(|hole| hole.ordinal).collect();
        let values = self.database.values(stored.seal.data_key, &ordinals).map_err(|_| OpenError)?;
        let skeleton = Skeleton::bound(keys, &stored, opened, values)?;
        Ok(Contents { document: skeleton.open()?, head: skeleton.head.encode(), text: skeleton.text })
    }

    fn keys(&self, environment: &Opened, id: DataKeyId) -> Result<Arc<SealingKeys>, OpenError> {
        let mut known = environment.keys.borrow_mut();
        if let Some(keys) = known.get(&id) {
            return Ok(Arc::clone(keys));
        }
        let record = self.database.data_key(id).map_err(|_| OpenError)?;
        let identity = environment.identities.iter().find(|(version, _)| *version == record.identity).ok_or(OpenError)?;
        let key = match self.opener {
            Opener::Master(_) => data_key::open(&identity.1, &record),
            Opener::Recovery(own) => recovery::data_key(own, &identity.1, &record),
        };
        let keys = Arc::new(SealingKeys::derive(&key.map_err(|_| OpenError)?));
        if known.len() >= KEYS {
            known.clear();
        }
        known.insert(id, Arc::clone(&keys));
        Ok(keys)
    }
}

impl Opener {
    fn open(&self, environment: Environment, keyring: Keyring) -> Result<Opened, UnwrapError> {
        let id = environment.id;
        let identities = match self {
            Self::Master(masters) => Ring::open(masters, environment, keyring)?.into_identities(),
            Self::Recovery(own) => {
                let mut identities = Vec::new();
                for record in &keyring.identities {
                    let Some(key) = &record.key else { continue };
                    let recipient = record.recipient.parse().map_err(|_| UnwrapError)?;
                    let version = IdentityVersion(record.version.into());
                    let identity = recovery::environment_identity(own, id, version, &recipient, &key.wrapped.0);
                    // Made before this recovery recipient was: the data keys may all be under later ones.
                    identities.extend(identity.ok().map(|identity| (record.version, identity)));
                }
                identities
            }
        };
        if identities.is_empty() { Err(UnwrapError) } else { Ok(Opened { id, identities, keys: RefCell::default() }) }
    }
}

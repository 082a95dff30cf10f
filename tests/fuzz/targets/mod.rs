//! What is fuzzed: each target takes any bytes and panics if something does not hold. `tests/secrets/corpus.rs` runs them over the inputs that
//! the fuzzer has found worth keeping, without a fuzzer.

pub(crate) mod envelope;
pub(crate) mod finder;
pub(crate) mod generate;
pub(crate) mod head;
pub(crate) mod outline;
pub(crate) mod rules;
pub(crate) mod skeleton;
mod source;
pub(crate) mod tokenizer;
pub(crate) mod value;
pub(crate) mod view;

pub(crate) use source::{Source, noise};

use leasehold::domain::ids::{DataKeyId, EnvironmentId, StateId};
use leasehold::secrets::data_key::DataKey;
use leasehold::secrets::seal::{Binding, SealingKeys};

/// The same keys for every run: a target does the same with the same bytes.
pub(crate) fn keys() -> SealingKeys {
    SealingKeys::derive(&DataKey::new(DataKeyId([7; 16]), &[9; 32]))
}

pub(crate) const BINDING: Binding = Binding { environment: EnvironmentId([1; 16]), state: StateId([2; 16]) };

/// Takes any bytes, and panics where something does not hold.
pub(crate) type Target = fn(&[u8]);

/// The targets, by name.
pub(crate) const ALL: [(&str, Target); 9] = [
    ("envelope", envelope::run),
    ("finder", finder::run),
    ("head", head::run),
    ("outline", outline::run),
    ("rules", rules::run),
    ("skeleton", skeleton::run),
    ("tokenizer", tokenizer::run),
    ("value", value::run),
    ("view", view::run),
];

//! What tests of keys share.

use std::os::unix::fs::FileExt;

/// Fails to compile if the type can be printed, cloned or serialised.
macro_rules! assert_stays_secret {
    ($($type:ty),* $(,)?) => {$(
        const _: fn() = || {
            // Two ways to read `marker` for a type that has the trait, one for a type that has not.
            trait Ambiguous<A> {
                fn marker() {}
            }
            struct Prints;
            struct Shows;
            struct Clones;
            struct Serialises;
            impl<T: ?Sized> Ambiguous<()> for T {}
            impl<T: ?Sized + std::fmt::Debug> Ambiguous<Prints> for T {}
            impl<T: ?Sized + std::fmt::Display> Ambiguous<Shows> for T {}
            impl<T: Clone> Ambiguous<Clones> for T {}
            impl<T: ?Sized + serde::Serialize> Ambiguous<Serialises> for T {}
            let _ = <$type as Ambiguous<_>>::marker;
        };
    )*};
}
pub(super) use assert_stays_secret;

/// Drops a value, and looks whether any 16 bytes of `secret` in a row are left where it stood.
pub(super) fn is_wiped_on_drop<T>(value: T, secret: &[u8; 32]) -> bool {
    let value = Box::new(value);
    let (address, size) = ((&raw const *value).addr(), size_of::<T>());
    assert!(holds(&peek(address, size), secret), "the secret is in the value itself");
    drop(value);
    !holds(&peek(address, size), secret)
}

fn holds(memory: &[u8], secret: &[u8; 32]) -> bool {
    secret.windows(16).any(|part| memory.windows(16).any(|window| window == part))
}

/// Reads our own memory as a debugger would.
fn peek(address: usize, size: usize) -> Vec<u8> {
    let mut bytes = vec![0; size];
    std::fs::File::open("/proc/self/mem").unwrap().read_exact_at(&mut bytes, address as u64).unwrap();
    bytes
}

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
    is_wiped_where(value, secret, |value| ((&raw const *value).addr(), size_of::<T>()))
}

/// The same for a value that holds its secret elsewhere: the address and how many bytes.
pub(super) fn is_wiped_where<T>(value: T, secret: &[u8; 32], place: impl Fn(&T) -> (usize, usize)) -> bool {
    let memory = std::fs::File::open("/proc/self/mem").unwrap();
    let value = Box::new(value);
    let (address, size) = place(&value);
    let address = address as u64;
    // Allocated before: the allocator would give what was just freed to the next who asks for as much, and wipe it for us.
    let mut seen = vec![0; size];
    memory.read_exact_at(&mut seen, address).unwrap();
    assert!(holds(&seen, secret), "the secret is in the value itself");
    drop(value);
    memory.read_exact_at(&mut seen, address).unwrap();
    !holds(&seen, secret)
}

fn holds(memory: &[u8], secret: &[u8; 32]) -> bool {
    secret.windows(16).any(|part| memory.windows(16).any(|window| window == part))
}

#[test]
fn what_is_not_wiped_is_seen() {
    let secret = std::array::from_fn(|at| at as u8 ^ 0xa5);
    let mut value = [0; 256];
    value[128..160].copy_from_slice(&secret);
    assert!(!is_wiped_on_drop(value, &secret));
}

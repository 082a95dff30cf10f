//! Parse, run, exit code.

/// Wipes what is freed: what crates for encryption keep in buffers of theirs (age holds the plaintext of a wrap in one) is not theirs to wipe,
/// and out of our reach.
#[global_allocator]
static ALLOCATOR: zeroizing_alloc::ZeroAlloc<std::alloc::System> = zeroizing_alloc::ZeroAlloc(std::alloc::System);

fn main() -> std::process::ExitCode {
    leasehold::cli::main(std::env::args_os())
}

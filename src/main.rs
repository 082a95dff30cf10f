//! Parse, run, exit code.

fn main() -> std::process::ExitCode {
    leasehold::cli::main(std::env::args_os())
}

//! Compiles the protocol without an external `protoc`.

#[expect(clippy::disallowed_methods, reason = "cargo hands the folder over this way")]
fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("cargo:rerun-if-changed=proto");
    let files =
        ["common", "environment", "key", "lease", "server", "state", "watch"].map(|name| format!("leasehold/v1/{name}.proto"));
    let mut compiler = protox::Compiler::new(["proto"])?;
    // Reflection needs the imports; the comments need the source info.
    compiler.include_imports(true).include_source_info(true);
    compiler.open_files(files)?;
    let out = std::path::PathBuf::from(std::env::var("OUT_DIR")?);
    std::fs::write(out.join("leasehold.bin"), compiler.encode_file_descriptor_set())?;
    let generated = tonic_prost_build::configure().bytes(".leasehold.v1.Chunk.data");
    // What holds a secret is not to be printed by accident.
    generated.skip_debug([".leasehold.v1.UnlockRequest"]).compile_fds(compiler.file_descriptor_set())?;
    Ok(())
}

//! Compiles the protocol without an external `protoc`, and lists its calls.

#[expect(clippy::disallowed_methods, reason = "cargo hands the folder over this way")]
fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("cargo:rerun-if-changed=proto");
    let files = ["access", "audit", "common", "environment", "key", "lease", "server", "state", "watch"];
    let mut compiler = protox::Compiler::new(["proto"])?;
    // Reflection needs the imports; the comments need the source info.
    compiler.include_imports(true).include_source_info(true);
    compiler.open_files(files.map(|name| format!("leasehold/v1/{name}.proto")))?;
    let out = std::path::PathBuf::from(std::env::var("OUT_DIR")?);
    std::fs::write(out.join("leasehold.bin"), compiler.encode_file_descriptor_set())?;
    let set = compiler.file_descriptor_set();
    // An enum of the calls: a match on it that forgets one does not compile.
    let (mut names, mut paths) = (String::new(), String::new());
    for (file, service) in set.file.iter().flat_map(|file| file.service.iter().map(move |service| (file, service))) {
        for method in &service.method {
            let (service, method) = (service.name(), method.name());
            let name = format!("{}{method}", service.trim_end_matches("Service"));
            names += &format!("{name},");
            paths += &format!("Self::{name}=>\"/{}.{service}/{method}\",", file.package());
        }
    }
    let all = names.replace(',', ",Self::");
    let all = all.trim_end_matches(",Self::");
    let list = format!(
        "/// A call of the protocol.\n#[derive(Clone,Copy,Debug,PartialEq,Eq)]pub enum Rpc{{{names}}}impl Rpc{{/// All of them.\n\
         pub const ALL:&[Self]=&[Self::{all}];/// Its path on the wire.\npub const fn path(self)->&'static str{{match self{{{paths}}}}}}}"
    );
    std::fs::write(out.join("rpc.rs"), list)?;
    let generated = tonic_prost_build::configure().bytes(".leasehold.v1.Chunk.data");
    // What holds a secret is not to be printed by accident.
    let secret = [".leasehold.v1.UnlockRequest", ".leasehold.v1.CreateTokenResponse"];
    Ok(generated.skip_debug(secret).compile_fds(set)?)
}

//! Compiles the definition of what is asked of a container runtime.

use std::path::PathBuf;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let root = PathBuf::from(std::env::var("CARGO_MANIFEST_DIR")?).join("../../proto/cri");
    println!("cargo:rerun-if-changed={}", root.display());
    // Servers are what tests ask instead of a runtime.
    tonic_prost_build::configure()
        .build_transport(false)
        .generate_default_stubs(true)
        .compile_protos(&[root.join("runtime.proto")], &[root])?;
    Ok(())
}

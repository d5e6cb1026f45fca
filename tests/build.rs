//! Builds the workload programs. They are static, so that the same bytes run on every kernel of the matrix.

use std::path::{Path, PathBuf};
use std::process::Command;

const STRICT: &[&str] = &["-O2", "-Wall", "-Wextra", "-Werror", "-std=gnu11", "-static"];
/// No C library, no headers a loader would have to read: what an exec costs is then the kernel's own.
const BARE: &[&str] = &[
    "-nostdlib",
    "-fno-stack-protector",
    "-fno-pie",
    "-no-pie",
    "-fno-asynchronous-unwind-tables",
    "-Wl,--build-id=none",
];
const WORKLOAD: &[&str] = &[
    "main.c",
    "process.c",
    "thread.c",
    "exec.c",
    "place.c",
    "argument.c",
    "credential.c",
    "load.c",
    "policy.c",
    "asking.c",
    "enforce.c",
    "attack.c",
    "egress.c",
    "guard.c",
    "values.c",
    "hashed.c",
    "same_file.c",
];

fn main() {
    println!("cargo::rerun-if-changed=workloads");
    println!("cargo::rerun-if-env-changed=CC");
    let out = PathBuf::from(std::env::var_os("OUT_DIR").unwrap_or_default());
    if let Err(error) = pods() {
        fail(&format!("cannot compile the protobuf definitions: {error}"));
    }
    compile(&out.join("workload"), WORKLOAD, &["-pthread", "-s"]);
    compile(&out.join("leaf"), &["leaf.c"], &["-s"]);
    compile(&out.join("nop"), &["nop.c"], &[BARE, &["-s"]].concat());
    // It is found by its symbol.
    compile(&out.join("probed"), &["probed.c"], &[]);
    // Its callers are found by their frames and named by their symbols; it has a build id.
    let frames = ["-fno-omit-frame-pointer", "-fno-optimize-sibling-calls", "-Wl,--build-id=sha1"];
    compile(&out.join("stacks"), &["stacks.c"], &frames);
}

/// What is asked of a container runtime, and of the agent by clients that know the compatible services only.
fn pods() -> std::io::Result<()> {
    println!("cargo::rerun-if-changed=proto");
    println!("cargo::rerun-if-changed=../proto/tetragon");
    let compiler = || tonic_prost_build::configure().build_server(false).build_transport(false);
    compiler().compile_protos(&["proto/pods.proto", "proto/health.proto"], &["proto"])?;
    let compatible = ["tetragon/sensors.proto", "tetragon/eventlogservice.proto"];
    compiler().compile_protos(&compatible, &["../proto"])
}

fn compile(program: &Path, sources: &[&str], further: &[&str]) {
    let compiler = std::env::var("CC").unwrap_or_else(|_| "cc".to_owned());
    let status = Command::new(&compiler)
        .args(STRICT)
        .args(further)
        .arg("-o")
        .arg(program)
        .args(sources.iter().map(|source| Path::new("workloads").join(source)))
        .status();
    match status {
        Ok(status) if status.success() => {}
        Ok(status) => fail(&format!("{compiler} could not build {}: {status}", program.display())),
        Err(error) => fail(&format!("cannot run the C compiler {compiler}: {error}; install gcc or set CC")),
    }
}

#[expect(clippy::exit, reason = "the way a build script says that it failed")]
fn fail(message: &str) -> ! {
    println!("cargo::error={message}");
    std::process::exit(1)
}

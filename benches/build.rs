//! Builds the measured programs. They are static, so that the same bytes run on every kernel.

use std::path::{Path, PathBuf};
use std::process::Command;

const BENCH: &str = "workloads/bench.c";
/// The tests have the smallest possible program too; what is measured is what is tested.
const NOP: &str = "../tests/workloads/nop.c";
const BARE: &[&str] = &[
    "-nostdlib",
    "-fno-stack-protector",
    "-fno-pie",
    "-no-pie",
    "-fno-asynchronous-unwind-tables",
    "-Wl,--build-id=none",
];

fn main() {
    println!("cargo::rerun-if-changed={BENCH}");
    println!("cargo::rerun-if-changed={NOP}");
    println!("cargo::rerun-if-env-changed=CC");
    let out = PathBuf::from(std::env::var_os("OUT_DIR").unwrap_or_default());
    compile(&out.join("bench"), BENCH, &["-std=gnu11"]);
    compile(&out.join("nop"), NOP, BARE);
}

fn compile(program: &Path, source: &str, further: &[&str]) {
    let compiler = std::env::var("CC").unwrap_or_else(|_| "cc".to_owned());
    let status = Command::new(&compiler)
        .args(["-O2", "-Wall", "-Wextra", "-Werror", "-static", "-s", "-o"])
        .arg(program)
        .arg(source)
        .args(further)
        .status();
    match status {
        Ok(status) if status.success() => {}
        Ok(status) => fail(&format!("{compiler} could not build {source}: {status}")),
        Err(error) => fail(&format!("cannot run the C compiler {compiler}: {error}; install gcc or set CC")),
    }
}

#[expect(clippy::exit, reason = "the way a build script says that it failed")]
fn fail(message: &str) -> ! {
    println!("cargo::error={message}");
    std::process::exit(1)
}

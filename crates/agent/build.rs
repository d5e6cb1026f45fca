//! Tells the agent from which commit it was built, for GetInfo. Without git, as in a source archive, it says so by
//! empty values.

use std::path::Path;
use std::process::Command;

fn main() {
    let commit = git(&["rev-parse", "HEAD"]);
    let time = git(&["show", "--no-patch", "--format=%cI", "HEAD"]);
    let modified = if commit.is_empty() {
        ""
    } else if git(&["status", "--porcelain", "--untracked-files=no"]).is_empty() {
        "false"
    } else {
        "true"
    };
    println!("cargo:rustc-env=SAKER_COMMIT={commit}");
    println!("cargo:rustc-env=SAKER_COMMIT_TIME={time}");
    println!("cargo:rustc-env=SAKER_MODIFIED={modified}");
    let compiler = std::env::var("RUSTC").unwrap_or_else(|_| "rustc".into());
    println!("cargo:rustc-env=SAKER_COMPILER={}", output(&compiler, &["--version"]));
    println!("cargo:rerun-if-changed=src");
    // Grows with every commit. What does not exist would make each build run this.
    let log = git(&["rev-parse", "--git-path", "logs/HEAD"]);
    if Path::new(&log).exists() {
        println!("cargo:rerun-if-changed={log}");
    }
}

fn git(arguments: &[&str]) -> String {
    output("git", arguments)
}

/// What a program prints, on one line; empty when it fails.
fn output(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).output();
    let text = output.ok().filter(|output| output.status.success()).map(|output| output.stdout);
    String::from_utf8_lossy(&text.unwrap_or_default()).trim().replace('\n', " ")
}

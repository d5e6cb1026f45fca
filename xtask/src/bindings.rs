//! `cargo xtask bindings`: makes `crates/abi/src/generated.rs` from the headers in `bpf/abi`.
//!
//! The output is committed, so that building needs no libclang; CI runs `--check`, so that it cannot go stale.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};

use anyhow::{Context, Result, ensure};

const HEADER: &str = "bpf/abi/all.h";
const OUTPUT: &str = "crates/abi/src/generated.rs";
/// Safe reading of untrusted bytes: the derive refuses padding and types with invalid bit patterns.
const DERIVES: [&str; 5] =
    ["Debug", "zerocopy::FromBytes", "zerocopy::IntoBytes", "zerocopy::KnownLayout", "zerocopy::Immutable"];

/// Arguments of the verb.
#[derive(clap::Args)]
pub struct Args {
    /// Compare with what is committed instead of writing; fails when they differ.
    #[arg(long)]
    check: bool,
}

#[derive(Debug)]
struct Derives;

impl bindgen::callbacks::ParseCallbacks for Derives {
    fn add_derives(&self, info: &bindgen::callbacks::DeriveInfo<'_>) -> Vec<String> {
        match info.kind {
            bindgen::callbacks::TypeKind::Struct => DERIVES.map(str::to_owned).to_vec(),
            _ => Vec::new(),
        }
    }
}

/// Runs the verb.
///
/// # Errors
/// The headers do not parse, rustfmt is missing, or a file cannot be read or written.
pub fn run(args: &Args) -> Result<ExitCode> {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("..");
    let made = format(&root, &generate(&root)?)?;
    let path = root.join(OUTPUT);
    if !args.check {
        std::fs::write(&path, made).with_context(|| format!("cannot write {OUTPUT}"))?;
        println!("wrote {OUTPUT}");
        return Ok(ExitCode::SUCCESS);
    }
    let committed = std::fs::read_to_string(&path).with_context(|| format!("cannot read {OUTPUT}"))?;
    if committed == made {
        println!("{OUTPUT} is what {HEADER} makes");
        return Ok(ExitCode::SUCCESS);
    }
    eprintln!("{OUTPUT} differs from what {HEADER} makes: run `cargo xtask bindings` and commit the result");
    Ok(ExitCode::FAILURE)
}

fn generate(root: &Path) -> Result<String> {
    let bindings = bindgen::Builder::default()
        .header(root.join(HEADER).to_string_lossy())
        .raw_line("//! Generated from bpf/abi by `cargo xtask bindings`; do not edit.")
        .disable_header_comment()
        .use_core()
        .layout_tests(false)
        .prepend_enum_name(false)
        .default_enum_style(bindgen::EnumVariation::Consts)
        .allowlist_type("saker_.*")
        .allowlist_var("SAKER_.*")
        .derive_default(true)
        // Their arrays are too long for a derived Default; zerocopy makes zeroed ones.
        .no_default(
            "saker_plan|saker_text_key|saker_prefix_key|saker_binary_sets|saker_column|saker_binary_column|\
             saker_group_made",
        )
        .derive_debug(false)
        .parse_callbacks(Box::new(Derives))
        .formatter(bindgen::Formatter::None)
        .clang_args(["-target", "x86_64-linux-gnu"])
        .generate()
        .with_context(|| format!("cannot parse {HEADER}"))?;
    Ok(bindings.to_string())
}

fn format(root: &Path, text: &str) -> Result<String> {
    let mut child = Command::new("rustfmt")
        .args(["--edition", "2024", "--config-path"])
        .arg(root)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .context("cannot start rustfmt; install it with `rustup component add rustfmt`")?;
    let mut stdin = child.stdin.take().context("rustfmt has no standard input")?;
    stdin.write_all(text.as_bytes()).context("rustfmt took no input")?;
    drop(stdin);
    let output = child.wait_with_output().context("rustfmt gave no output")?;
    ensure!(output.status.success(), "rustfmt failed on the bindings: {}", output.status);
    String::from_utf8(output.stdout).context("rustfmt wrote no UTF-8")
}

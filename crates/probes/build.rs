//! Compiles the kernel side and generates its skeletons.

use std::collections::BTreeSet;
use std::env;
use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};
use libbpf_cargo::SkeletonBuilder;
use libbpf_rs::btf::{Btf, BtfKind, BtfType, TypeId};

/// Sources below `bpf/` and the names of their skeletons.
const OBJECTS: [(&str, &str); 9] = [
    ("process/process.bpf.c", "process"),
    ("probe/mechanisms.bpf.c", "mechanisms"),
    ("probe/symbols.bpf.c", "symbols"),
    ("policy/hook.bpf.c", "hook"),
    ("policy/build_id.bpf.c", "build_id"),
    ("policy/follow.bpf.c", "follow"),
    ("policy/sockets.bpf.c", "sockets"),
    ("policy/groups.bpf.c", "groups"),
    ("guard/guard.bpf.c", "guard"),
];

fn main() -> Result<()> {
    let root = Path::new(&env::var("CARGO_MANIFEST_DIR")?).join("../../bpf");
    let root = root.canonicalize().context("the folder bpf/ is missing beside crates/")?;
    let out = PathBuf::from(env::var("OUT_DIR")?);
    let clang = clang()?;
    for (source, name) in OBJECTS {
        SkeletonBuilder::new()
            .source(root.join(source))
            .obj(out.join(format!("{name}.bpf.o")))
            .clang(&clang)
            .clang_args(arguments(&root)?)
            .build_and_generate(out.join(format!("{name}.skel.rs")))
            .with_context(|| format!("cannot build bpf/{source}"))?;
    }
    write_type_names(&out, "process")?;
    write_type_names(&out, "hook")?;
    SkeletonBuilder::new()
        .source(root.join("test/layout.bpf.c"))
        .obj(out.join("layout.bpf.o"))
        .clang(&clang)
        .clang_args(arguments(&root)?)
        .build()
        .context("cannot build bpf/test/layout.bpf.c")?;
    println!("cargo:rerun-if-changed={}", root.display());
    println!("cargo:rerun-if-env-changed=CLANG");
    Ok(())
}

/// Writes the names of the types that an object asks the kernel for, one a line.
fn write_type_names(out: &Path, name: &str) -> Result<()> {
    let btf = Btf::from_path(out.join(format!("{name}.bpf.o")))?;
    let mut names = BTreeSet::new();
    for id in 1..btf.len() {
        let Some(found) = btf.type_by_id::<BtfType<'_>>(TypeId::from(u32::try_from(id)?)) else { continue };
        let named = matches!(
            found.kind(),
            BtfKind::Struct | BtfKind::Union | BtfKind::Enum | BtfKind::Enum64 | BtfKind::Typedef
        );
        let Some(name) = found.name().and_then(OsStr::to_str).filter(|_| named) else { continue };
        // What follows three underscores tells variants of one type apart; the kernel knows nothing of it.
        let essential = name.split_once("___").map_or(name, |(essential, _)| essential);
        names.insert(essential.to_owned());
    }
    let text = names
        .into_iter()
        .filter(|name| !name.is_empty())
        .fold(String::new(), |text, name| text + &name + "\n");
    fs::write(out.join(format!("{name}.types")), text)?;
    Ok(())
}

/// `CLANG`, or the newest of the versions known to work.
fn clang() -> Result<String> {
    if let Ok(clang) = env::var("CLANG") {
        return Ok(clang);
    }
    let names = ["clang-21", "clang-20", "clang-19", "clang-18", "clang-17", "clang-16", "clang"];
    for name in names {
        if Command::new(name).arg("--version").output().is_ok_and(|o| o.status.success()) {
            return Ok(name.to_owned());
        }
    }
    bail!("no clang found: run scripts/install-deps, or set CLANG to a clang of version 16 or later");
}

fn arguments(root: &Path) -> Result<Vec<String>> {
    let mut arguments = vec![
        "-mcpu=v3".to_owned(),
        "-Wall".to_owned(),
        "-Werror".to_owned(),
        format!("-I{}", root.join("vmlinux").display()),
    ];
    // Where Debian keeps the kernel's user-space headers of an architecture (asm/types.h).
    let arch = env::var("CARGO_CFG_TARGET_ARCH")?;
    arguments.push(format!("-I/usr/include/{arch}-linux-gnu"));
    Ok(arguments)
}

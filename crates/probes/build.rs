//! Compiles the kernel side and generates its skeletons.

use std::collections::BTreeSet;
use std::env;
use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};
use libbpf_cargo::SkeletonBuilder;
use libbpf_rs::btf::{Btf, BtfKind, BtfType, TypeId};

#[path = "build/trim.rs"]
mod trim;

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

/// Set: objects keep the lines of their sources, which verifiers then show beside what they refuse.
const LINES: &str = "SAKER_BPF_LINES";

fn main() -> Result<()> {
    let root = Path::new(&env::var("CARGO_MANIFEST_DIR")?).join("../../bpf");
    let root = root.canonicalize().context("the folder bpf/ is missing beside crates/")?;
    let out = PathBuf::from(env::var("OUT_DIR")?);
    let clang = clang()?;
    let lines = env::var_os(LINES).is_some();
    for (source, name) in OBJECTS {
        let object = out.join(format!("{name}.bpf.o"));
        let mut builder = SkeletonBuilder::new();
        builder.source(root.join(source)).obj(&object).clang(&clang).clang_args(arguments(&root)?);
        builder.build().with_context(|| format!("cannot build bpf/{source}"))?;
        let whole = fs::read(&object)?;
        let trimmed =
            trim::trim(&whole, lines).with_context(|| format!("cannot trim the object of bpf/{source}"))?;
        fs::write(&object, trimmed)?;
        builder
            .generate(out.join(format!("{name}.skel.rs")))
            .with_context(|| format!("cannot make a skeleton of bpf/{source}"))?;
    }
    let whole = fs::read(out.join("hook.bpf.o"))?;
    let empty = trim::empty(&whole).context("cannot empty the object of hooks")?;
    fs::write(out.join("hook.empty.bpf.o"), empty)?;
    let skeleton = out.join("hook.skel.rs");
    let text = choose_object(&fs::read_to_string(&skeleton)?)?;
    fs::write(&skeleton, text)?;
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
    println!("cargo:rerun-if-changed=build");
    println!("cargo:rerun-if-env-changed=CLANG");
    println!("cargo:rerun-if-env-changed={LINES}");
    Ok(())
}

/// A skeleton that asks at each time which object it opens.
fn choose_object(skeleton: &str) -> Result<String> {
    const OPENS: &str = "ObjectSkeletonConfigBuilder::new(&DATA)";
    ensure!(
        skeleton.matches(OPENS).count() == 1,
        "the skeleton of hooks does not open its object as expected"
    );
    Ok(skeleton.replace(OPENS, "ObjectSkeletonConfigBuilder::new(super::object_to_open(&DATA))"))
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

//! Makes the first-stage ram disk: a static init and the few modules it needs, in load order.

use std::fs::{self, File};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{ChildStdout, Command, Stdio};

use anyhow::{Context, Result, ensure};

use super::cache::KernelSet;
use crate::process::{self, command, start_error};

/// The program that becomes process 1.
const INIT: &str = include_str!("../../../tests/vm/harness/init.c");

/// Modules without which the machine cannot reach its file system and its output port.
const MODULES: [&str; 5] = ["virtio_pci", "virtio_console", "9pnet_virtio", "9p", "overlay"];

/// Whether the set's ram disk was made from the init that this program carries.
pub(crate) fn is_current(set: &KernelSet) -> bool {
    set.initrd().is_file() && fs::read_to_string(source_of(set)).is_ok_and(|source| source == INIT)
}

/// Makes the ram disk of a set; an old one is replaced at once.
pub(crate) fn build(set: &KernelSet) -> Result<()> {
    let root = set.dir.join("initrd.tree");
    let _ = fs::remove_dir_all(&root);
    for dir in ["mod", "proc", "dev", "host", "rw", "new"] {
        let path = root.join(dir);
        fs::create_dir_all(&path).with_context(|| format!("cannot create {}", path.display()))?;
    }
    compile_init(set, &root)?;
    for (index, module) in modules(set)?.iter().enumerate() {
        unpack_module(module, &root.join("mod"), index)?;
    }
    pack(&root, &set.dir.join("initrd.partial"))?;
    let _ = fs::remove_dir_all(&root);
    fs::rename(set.dir.join("initrd.partial"), set.initrd())
        .with_context(|| format!("cannot put {} in place", set.initrd().display()))
}

fn source_of(set: &KernelSet) -> PathBuf {
    set.dir.join("init.c")
}

fn compile_init(set: &KernelSet, root: &Path) -> Result<()> {
    let source = source_of(set);
    fs::write(&source, INIT).with_context(|| format!("cannot write {}", source.display()))?;
    let mut gcc = command("gcc");
    gcc.args(["-static", "-O2", "-Wall", "-Wextra", "-o"]).arg(root.join("init")).arg(&source);
    process::output(&mut gcc).map(drop)
}

/// The module files to load, each after those it depends on.
fn modules(set: &KernelSet) -> Result<Vec<PathBuf>> {
    let base = set.dir.join("tree");
    let base = if base.join("lib/modules").is_dir() { base } else { base.join("usr") };
    let mut files: Vec<PathBuf> = Vec::new();
    for module in MODULES {
        let mut query = command("modprobe");
        query.arg("-d").arg(&base).args(["-S", &set.release, "-a", "--show-depends", module]);
        let shown = process::output(&mut query).with_context(|| format!("kernel {}", set.release))?;
        for file in insmod_lines(&shown) {
            if !files.contains(&file) {
                files.push(file);
            }
        }
    }
    Ok(files)
}

/// Takes the files out of `insmod FILE [OPTION...]` lines; `builtin NAME` lines need no loading.
fn insmod_lines(shown: &str) -> impl Iterator<Item = PathBuf> {
    shown.lines().filter_map(|line| line.strip_prefix("insmod ")).map(|rest| PathBuf::from(rest.trim_end()))
}

/// Copies a module uncompressed, under a name that sorts in load order.
fn unpack_module(file: &Path, into: &Path, index: usize) -> Result<()> {
    let name = file.file_name().with_context(|| format!("module {} has no name", file.display()))?;
    let name = name.to_string_lossy();
    let plain = name.trim_end_matches(".xz").trim_end_matches(".zst").trim_end_matches(".gz");
    let target = into.join(format!("{index:03}-{plain}"));
    let packed = File::open(file).with_context(|| format!("cannot open {}", file.display()))?;
    let out = File::create(&target).with_context(|| format!("cannot create {}", target.display()))?;
    let mut unpack = match file.extension().and_then(|e| e.to_str()) {
        Some("xz") => command("xz"),
        Some("zst") => command("zstd"),
        Some("gz") => command("gzip"),
        _ => return process::filter(&mut command("cat"), packed, out),
    };
    process::filter(unpack.arg("-dc"), packed, out)
}

/// `find | cpio | gzip`, with every stage's failure seen.
fn pack(root: &Path, into: &Path) -> Result<()> {
    let mode = fs::Permissions::from_mode(0o755);
    fs::set_permissions(root.join("init"), mode).context("cannot make init executable")?;
    let out = File::create(into).with_context(|| format!("cannot create {}", into.display()))?;
    let mut find = command("find");
    find.arg(".").current_dir(root);
    let mut cpio = command("cpio");
    cpio.args(["-o", "-H", "newc", "--quiet", "-R", "0:0"]).current_dir(root);
    let mut gzip = command("gzip");
    gzip.arg("-1").stdout(out);
    let (mut finding, names) = stage(&mut find, Stdio::null())?;
    let (mut archiving, archive) = stage(&mut cpio, names.into())?;
    let zipped = gzip.stdin(archive).status().map_err(|error| start_error(error, &gzip))?;
    let archived = archiving.wait().context("waiting for cpio")?;
    let found = finding.wait().context("waiting for find")?;
    let good = found.success() && archived.success() && zipped.success();
    ensure!(good, "cannot pack {}: find {found}, cpio {archived}, gzip {zipped}", root.display());
    Ok(())
}

fn stage(command: &mut Command, input: Stdio) -> Result<(std::process::Child, ChildStdout)> {
    let mut child =
        command.stdin(input).stdout(Stdio::piped()).spawn().map_err(|error| start_error(error, command))?;
    let output = child.stdout.take().context("a pipe is missing")?;
    Ok((child, output))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_load_order_and_skips_what_is_built_in() {
        let shown = "builtin virtio\ninsmod /m/virtio_ring.ko.xz \ninsmod /m/virtio_pci.ko.xz \n";
        let files: Vec<_> = insmod_lines(shown).collect();
        assert_eq!(files, [Path::new("/m/virtio_ring.ko.xz"), Path::new("/m/virtio_pci.ko.xz")]);
    }
}

//! Turns downloaded kernel packages into a set that boots.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use super::cache::KernelSet;
use super::series::Series;
use super::{bzimage, initrd};
use crate::process::{self, command};

/// Makes a set in `dir` out of the packages in `debs`; nothing is installed.
pub(crate) fn prepare(series: Series, debs: &Path, dir: &Path) -> Result<KernelSet> {
    let tree = dir.join("tree");
    unpack(debs, &tree)?;
    let (base, release) = find_modules(&tree)?;
    let image = find_image(&tree, &base, &release)?;
    process::output(command("depmod").arg("-b").arg(&base).arg(&release))?;
    let modules = base.join("lib/modules").join(&release);
    let target = modules.strip_prefix(dir).context("the modules lie outside the set")?;
    symlink(target, dir.join("moddir")).with_context(|| format!("cannot link {}/moddir", dir.display()))?;
    fs::write(dir.join("release"), format!("{release}\n"))
        .with_context(|| format!("cannot write {}/release", dir.display()))?;
    let set = KernelSet::read(series, dir.to_owned())?;
    bzimage::extract(&image, &set.vmlinux(), &dir.join("vmlinux.packed"))?;
    initrd::build(&set)?;
    Ok(set)
}

fn unpack(debs: &Path, tree: &Path) -> Result<()> {
    fs::create_dir_all(tree).with_context(|| format!("cannot create {}", tree.display()))?;
    let listed = fs::read_dir(debs).with_context(|| format!("cannot list {}", debs.display()))?;
    for entry in listed {
        let deb = entry.with_context(|| format!("cannot list {}", debs.display()))?.path();
        process::output(command("dpkg").arg("-x").arg(&deb).arg(tree))?;
    }
    Ok(())
}

/// The folder above `lib/modules`, which newer packages keep under `/usr`, and the kernel's release.
fn find_modules(tree: &Path) -> Result<(PathBuf, String)> {
    for base in [tree.to_owned(), tree.join("usr")] {
        let Ok(releases) = fs::read_dir(base.join("lib/modules")) else { continue };
        if let Some(release) = releases.filter_map(Result::ok).next() {
            return Ok((base, release.file_name().to_string_lossy().into_owned()));
        }
    }
    bail!("the packages hold no kernel modules (looked under {})", tree.display())
}

fn find_image(tree: &Path, base: &Path, release: &str) -> Result<PathBuf> {
    let places = [
        tree.join(format!("boot/vmlinuz-{release}")),
        base.join(format!("lib/modules/{release}/vmlinuz")),
        tree.join(format!("usr/lib/linux/vmlinuz-{release}")),
    ];
    match places.iter().find(|place| place.is_file()) {
        Some(image) => Ok(image.clone()),
        None => bail!("the packages hold no kernel image for {release} (looked under {})", tree.display()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_both_layouts() {
        for (modules, image, base) in [
            ("lib/modules/5.10.0-46-amd64", "boot/vmlinuz-5.10.0-46-amd64", ""),
            ("usr/lib/modules/7.2.13-amd64", "usr/lib/modules/7.2.13-amd64/vmlinuz", "usr"),
        ] {
            let tree = tempfile::tempdir().unwrap();
            fs::create_dir_all(tree.path().join(modules)).unwrap();
            fs::create_dir_all(tree.path().join("boot")).unwrap();
            fs::write(tree.path().join(image), "").unwrap();
            let (found, release) = find_modules(tree.path()).unwrap();
            assert_eq!(found, tree.path().join(base));
            assert_eq!(find_image(tree.path(), &found, &release).unwrap(), tree.path().join(image));
        }
    }

    #[test]
    fn names_what_is_missing() {
        let tree = tempfile::tempdir().unwrap();
        assert!(find_modules(tree.path()).unwrap_err().to_string().contains("no kernel modules"));
    }
}

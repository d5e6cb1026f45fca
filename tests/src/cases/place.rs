//! Other roots and mounts.

use anyhow::{Result, ensure};

use super::facts::check_leaf;
use crate::case::{Case, shared};
use crate::observe::{Lab, same};

/// The table.
pub const CASES: &[Case] =
    &[shared("chroot", chroot), shared("overlay-mount", overlay), shared("bind-mount", bind_mount)];

fn chroot(lab: &mut Lab) -> Result<()> {
    let seen = lab.observe(&["chroot"])?;
    let exec = seen.exec("child.pid")?;
    // As the process sees it: its root is the jail.
    same("binary", exec.text("process/binary"), "/bin/program")?;
    same("cwd", exec.text("process/cwd"), "/bin")?;
    let path = exec.text("process/canonical_path");
    let outside = seen.run.cwd.join("jail/bin/program");
    ensure!(path == "/bin/program" || *path == *outside.to_string_lossy(), "canonical_path is {path}");
    seen.check_end("child").map(drop)
}

fn overlay(lab: &mut Lab) -> Result<()> {
    let seen = lab.observe(&["overlay"])?;
    let exec = seen.exec("child.pid")?;
    let path = seen.run.cwd.join("over/merged/program");
    same("binary", exec.text("process/binary"), &*path.to_string_lossy())?;
    same("mount namespace is the host's", exec.truth("process/ns/mnt/is_host"), false)?;
    same("inode", exec.number("process/inode"), seen.run.facts.number("inode")?)?;
    check_leaf(exec, &seen.run.facts)
}

fn bind_mount(lab: &mut Lab) -> Result<()> {
    let seen = lab.observe(&["bind-mount"])?;
    let exec = seen.exec("child.pid")?;
    let path = seen.run.cwd.join("bound/program");
    same("binary", exec.text("process/binary"), &*path.to_string_lossy())?;
    same("inode", exec.number("process/inode"), seen.run.facts.number("inode")?)?;
    check_leaf(exec, &seen.run.facts)
}

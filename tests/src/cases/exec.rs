//! What is executed, and how it is named.

use std::path::Path;

use anyhow::{Result, ensure};
use serde_json::Value;

use super::facts::check_leaf;
use crate::case::{Case, shared};
use crate::event::Kind;
use crate::observe::{Lab, Observation, same};

/// The table.
pub const CASES: &[Case] = &[
    shared("script", script),
    shared("symlink", symlink),
    shared("relative-path", relative),
    shared("proc-self-exe", self_exe),
    shared("memfd", memfd),
    shared("deleted-file", deleted),
    shared("long-path", long_path),
    shared("failed-exec", failed_exec),
];

fn inside(seen: &Observation, name: &str) -> String {
    seen.run.cwd.join(name).to_string_lossy().into_owned()
}

fn text(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}

fn script(lab: &mut Lab) -> Result<()> {
    let seen = lab.observe(&["script"])?;
    let exec = seen.exec("child.pid")?;
    let path = inside(&seen, "script.sh");
    same("binary", exec.text("process/binary"), &path)?;
    same("script", exec.text("process/script"), &path)?;
    same("interpreter", exec.text("process/interpreter"), &text(&lab.programs.leaf))?;
    // The kernel puts the path in place of argv[0].
    let arguments = "interpreter-argument ./script.sh own arguments";
    same("arguments", exec.text("process/arguments"), arguments)?;
    check_leaf(exec, &seen.run.facts)
}

fn symlink(lab: &mut Lab) -> Result<()> {
    let seen = lab.observe(&["symlink"])?;
    let exec = seen.exec("child.pid")?;
    same("binary", exec.text("process/binary"), &inside(&seen, "link"))?;
    same("canonical_path", exec.text("process/canonical_path"), &inside(&seen, "target"))?;
    same("inode", exec.number("process/inode"), seen.run.facts.number("inode")?)?;
    check_leaf(exec, &seen.run.facts)
}

fn relative(lab: &mut Lab) -> Result<()> {
    let seen = lab.observe(&["relative"])?;
    let exec = seen.exec("child.pid")?;
    // Joined with the working directory, not resolved: what is resolved is the canonical path.
    same("binary", exec.text("process/binary"), &inside(&seen, "inner/../inner/./program"))?;
    same("canonical_path", exec.text("process/canonical_path"), &inside(&seen, "inner/program"))?;
    same("cwd", exec.text("process/cwd"), &inside(&seen, "inner"))?;
    check_leaf(exec, &seen.run.facts)
}

fn self_exe(lab: &mut Lab) -> Result<()> {
    let seen = lab.observe(&["self-exe"])?;
    let pid = seen.run.facts.pid("child.pid")?;
    let execs = seen.all(Kind::Exec, pid);
    same("exec events", execs.len(), 2)?;
    same("binary", execs[0].text("process/binary"), "/proc/self/exe")?;
    same("canonical_path", execs[0].text("process/canonical_path"), &text(&lab.programs.workload))?;
    same("argv[0]", execs[0].at("process/argv/0"), &Value::from("renamed"))?;
    check_leaf(execs[1], &seen.run.facts)
}

fn memfd(lab: &mut Lab) -> Result<()> {
    let seen = lab.observe(&["memfd"])?;
    let exec = seen.exec("child.pid")?;
    same("memfd", exec.truth("process/memfd"), true)?;
    same("binary", exec.text("process/binary"), &descriptor(&seen)?)?;
    same("inode", exec.number("process/inode"), seen.run.facts.number("leaf.exe.ino")?)?;
    let path = exec.text("process/canonical_path");
    ensure!(path.contains("memfd:saker-memfd"), "canonical_path is {path}");
    same("links", exec.at("process/binary_properties/file/inode/links"), &Value::from(0))?;
    let inode = exec.number("process/binary_properties/file/inode/number");
    same("unlinked inode", inode, exec.number("process/inode"))
}

/// What the kernel calls a program that is executed by descriptor.
fn descriptor(seen: &Observation) -> Result<String> {
    Ok(format!("/dev/fd/{}", seen.run.facts.text("descriptor")?))
}

fn deleted(lab: &mut Lab) -> Result<()> {
    let seen = lab.observe(&["deleted"])?;
    let exec = seen.exec("child.pid")?;
    same("memfd", exec.truth("process/memfd"), false)?;
    same("deleted", exec.truth("process/deleted"), true)?;
    same("binary", exec.text("process/binary"), &descriptor(&seen)?)?;
    same("inode", exec.number("process/inode"), seen.run.facts.number("inode")?)?;
    let path = exec.text("process/canonical_path");
    ensure!(path.starts_with(&inside(&seen, "doomed")), "canonical_path is {path}");
    same("links", exec.at("process/binary_properties/file/inode/links"), &Value::from(0))
}

fn long_path(lab: &mut Lab) -> Result<()> {
    let seen = lab.observe(&["long-path", "30", "200"])?;
    let exec = seen.exec("child.pid")?;
    let mut cwd = text(&seen.run.cwd);
    for step in 0..30_u8 {
        let letter = char::from(b'a' + step % 26);
        cwd.push('/');
        cwd.extend(std::iter::repeat_n(letter, 198));
        cwd.push_str(&format!("{step:02}"));
    }
    ensure!(cwd.len() > 4096, "the path is not long");
    same("inode", exec.number("process/inode"), seen.run.facts.number("inode")?)?;
    same("flag errorCWD", exec.flag("errorCWD"), false)?;
    same("length of cwd", exec.text("process/cwd").len(), cwd.len())?;
    ensure!(exec.text("process/cwd") == cwd, "another cwd of the same length");
    let program = format!("{cwd}/program");
    for field in ["canonical_path", "binary"] {
        let told = exec.text(&format!("process/{field}"));
        ensure!(told == program, "{field} of {} bytes, not {}", told.len(), program.len());
    }
    Ok(())
}

fn failed_exec(lab: &mut Lab) -> Result<()> {
    let seen = lab.observe(&["failed-exec"])?;
    for error in ["2", "13", "8"] {
        same("errno", seen.run.facts.all(&format!("errno.{error}")), vec![error; 2])?;
    }
    let forked = seen.check_end("forked")?;
    ensure!(seen.all(Kind::Exec, forked.pid()).is_empty(), "an exec event of execs that failed");
    same("flags", forked.text("process/flags"), "clone")?;
    same("binary", forked.text("process/binary"), seen.root()?.text("process/binary"))?;
    let exec = seen.exec("executed.pid")?;
    let exit = seen.check_end("executed")?;
    same("identity after the failures", exit.exec_id(), exec.exec_id())?;
    same("arguments", exit.text("process/arguments"), "failed-exec inner")?;
    ensure!(
        seen.events.iter().all(|event| !event.text("process/arguments").contains("must-not-run")),
        "something that never ran is told"
    );
    Ok(())
}

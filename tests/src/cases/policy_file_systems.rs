//! Files by what they are, on file systems that do not say which file is which: overlays have files of several layers, btrfs
//! numbers anew in each subvolume, FAT has no numbers. What cannot be told is refused with the reason, the rest holds.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};
use serde_json::Value;

use super::policy::Bench;
use super::policy_same_file::{Place, refusing, without_lsm};
use crate::agent;
use crate::case::{Case, alone};
use crate::observe::same;
use crate::wait;

/// The table.
pub const CASES: &[Case] = &[alone("policy-file-systems", file_systems).spread()];

/// Size of an image: what btrfs takes at least, and a little more. It is sparse.
const IMAGE: u64 = 160 << 20;

/// A mount that goes with this value.
struct Mounted(PathBuf);

impl Mounted {
    /// None: this machine has no overlays.
    fn overlay(place: &Place, lower: &str, at: &str) -> Result<Option<Self>> {
        for name in [at, "upper", "work"] {
            fs::create_dir_all(place.at(name))?;
        }
        let options = format!(
            "lowerdir={},upperdir={},workdir={}",
            place.text(lower),
            place.text("upper"),
            place.text("work")
        );
        let target = place.at(at);
        let options = std::ffi::CString::new(options)?;
        match mount("overlay", &target, "overlay", MountFlags::empty(), Some(options.as_c_str())) {
            Ok(()) => Ok(Some(Self(target))),
            Err(error) => {
                println!("        overlays cannot be mounted ({error}): NOT RUN");
                Ok(None)
            }
        }
    }

    /// An image of a file system, new. None: this kernel does not have it.
    fn image(place: &Place, kind: &str, at: &str) -> Result<Option<Self>> {
        for module in ["loop", kind] {
            // What is built in needs no module.
            drop(Command::new("modprobe").arg(module).output());
        }
        let known = fs::read_to_string("/proc/filesystems")?;
        let has = known.lines().any(|line| line.split_whitespace().last() == Some(kind));
        if !has || !Path::new("/dev/loop-control").exists() {
            println!("        this kernel has no {kind}, or no loop devices: NOT RUN");
            return Ok(None);
        }
        let (file, target) = (place.at(&format!("{at}.image")), place.at(at));
        fs::File::create(&file)?.set_len(IMAGE)?;
        fs::create_dir_all(&target)?;
        run(&format!("mkfs.{kind}"), &[&file])?;
        run(
            "mount",
            &[Path::new("-t"), Path::new(kind), Path::new("-o"), Path::new("loop"), &file, &target],
        )?;
        Ok(Some(Self(target)))
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        if let Err(error) = unmount(&self.0, UnmountFlags::DETACH) {
            eprintln!("cannot unmount {}: {error}", self.0.display());
        }
    }
}

fn run(program: &str, arguments: &[&Path]) -> Result<()> {
    let path = std::env::var("PATH").unwrap_or_default() + ":/usr/sbin:/sbin";
    let output = Command::new(program).args(arguments).env("PATH", path).output();
    let output = output.with_context(|| format!("cannot run {program} (scripts/install-deps test)"))?;
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    ensure!(output.status.success(), "{program} {arguments:?}: {told}");
    Ok(())
}

/// Refuses the workload to open these.
fn policy(bench: &Bench, values: &[String]) -> String {
    refusing(&bench.program(), &[("file_open", "file")], values)
}

/// What the workload reads of each.
fn read(bench: &mut Bench, paths: &[String]) -> Result<Vec<String>> {
    let all: Vec<&str> = std::iter::once("read-each").chain(paths.iter().map(String::as_str)).collect();
    let facts = bench.lab.observe(&all)?.run.facts;
    (0..paths.len()).map(|index| facts.text(&index.to_string()).map(str::to_owned)).collect()
}

/// The agent refuses this value with this reason.
fn refused(bench: &Bench, value: &str, reason: &str) -> Result<()> {
    let path = bench.write("same.yaml", &policy(bench, &[value.to_owned()]))?;
    let output = bench.ask(&["add", &path.to_string_lossy()])?;
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    ensure!(!output.status.success(), "a file that cannot be told was taken: {value}");
    for words in [value, "cannot be told by what it is", reason, "a rule on its path"] {
        ensure!(told.contains(words), "{words:?} is not said: {told}");
    }
    bench.order(&["delete", "same"]).map(drop)
}

/// `explain` says beforehand that it will.
fn explained(bench: &Bench, value: &str, reason: &str) -> Result<()> {
    let path = bench.write("same.yaml", &policy(bench, &[value.to_owned()]))?;
    let mut explain = Command::new(agent::binary()?);
    explain.args(["policy", "explain", "-o", "json", "--kernel", "this"]).arg(&path);
    let output = explain.output()?;
    let said: Value = serde_json::from_slice(&output.stdout)?;
    let said = &said["policies"][0]["kernel"];
    same("explained", (&said["served"], output.status.success()), (&Value::Bool(false), false))?;
    ensure!(said["errors"][0]["message"].as_str().is_some_and(|told| told.contains(reason)), "{said}");
    Ok(())
}

fn file_systems() -> Result<()> {
    if without_lsm()? {
        return Ok(());
    }
    let mut bench = Bench::open()?;
    let place = Place::make(&bench.lab.scratch)?;
    overlays(&mut bench, &place)?;
    images(&mut bench, &place)?;
    bench.lab.agent.stop()
}

/// Through an overlay the lower file is what it is; what is copied up is another file, unless the upper folder is named too.
fn overlays(bench: &mut Bench, place: &Place) -> Result<()> {
    let Some(_mounted) = Mounted::overlay(place, "neighbour", "over")? else { return Ok(()) };
    let names = ["over/linked-single", "over/linked-secret", "over/open", "single"];
    let paths = names.map(|name| place.text(name));
    refused(bench, &paths[0], "gives files of different layers the same numbers")?;
    bench.add("same.yaml", &policy(bench, &[place.text("single"), place.text("protected")]))?;
    same("as it lies below", read(bench, &paths)?, ["E1", "E1", "open", "E1"].map(str::to_owned).to_vec())?;
    // Another program writes to it, which the policy is not for: the overlay makes a copy.
    fs::OpenOptions::new().append(true).open(&paths[0])?.write_all(b"more\n")?;
    ensure!(place.at("upper/linked-single").exists(), "it was not copied up");
    same(
        "a copy is another file",
        read(bench, &paths)?,
        ["secret single", "E1", "open", "E1"].map(str::to_owned).to_vec(),
    )?;
    bench.order(&["delete", "same"])?;
    let values = ["single", "protected", "upper"].map(|name| place.text(name));
    bench.add("same.yaml", &policy(bench, &values))?;
    let all = ["E1", "E1", "open", "E1"].map(str::to_owned).to_vec();
    same("with the upper folder", read(bench, &paths)?, all.clone())?;
    // Copied up while the policy is in force: it lies in the folder by then.
    fs::OpenOptions::new().append(true).open(&paths[1])?.write_all(b"more\n")?;
    ensure!(place.at("upper/linked-secret").exists(), "it was not copied up");
    same("copied up since", read(bench, &paths)?, all)?;
    bench.order(&["delete", "same"])?;
    same("without the policy", read(bench, &paths[..1])?, vec!["secret single".to_owned()])
}

/// Where numbers do not say which file it is, the policy is refused, and a rule on the path holds.
fn images(bench: &mut Bench, place: &Place) -> Result<()> {
    for (kind, reason) in [("vfat", "numbers its files anew"), ("btrfs", "tells programs another device")] {
        // By a path that leads to nothing, it is taken.
        let (secret, open) = (place.text(&format!("{kind}/secret")), place.text(&format!("{kind}/open")));
        fs::create_dir_all(place.at(kind))?;
        bench.add("same.yaml", &policy(bench, std::slice::from_ref(&secret)))?;
        let Some(mounted) = Mounted::image(place, kind, kind)? else {
            bench.order(&["delete", "same"])?;
            continue;
        };
        fs::write(&secret, "secret\n")?;
        fs::write(&open, "open\n")?;
        // It leads to such a file later: nothing is refused by numbers, which the status says.
        wait::until("the status to tell of it", wait::LONG, || {
            let note = bench.hook("same")?["note"].as_str().unwrap_or_default().to_owned();
            let told = note.contains(&secret) && note.contains("cannot be told by what it is");
            Ok((told && note.contains(reason)).then_some(()))
        })?;
        let both = [secret.clone(), open.clone()];
        same("later", read(bench, &both)?, ["secret", "open"].map(str::to_owned).to_vec())?;
        bench.order(&["delete", "same"])?;
        refused(bench, &secret, reason)?;
        let by_path = policy(bench, std::slice::from_ref(&secret)).replace("SameFile", "Equal");
        bench.add("same.yaml", &by_path)?;
        same("by its path", read(bench, &both)?, ["E1", "open"].map(str::to_owned).to_vec())?;
        bench.order(&["delete", "same"])?;
        if kind == "btrfs" {
            let inner = place.at("btrfs/inner");
            run("btrfs", &[Path::new("subvolume"), Path::new("create"), &inner])?;
            let secret = inner.join("secret").display().to_string();
            fs::write(&secret, "secret\n")?;
            refused(bench, &secret, reason)?;
            explained(bench, &secret, reason)?;
        }
        drop(mounted);
    }
    Ok(())
}

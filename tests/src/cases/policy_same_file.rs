//! Files by what they are: no other name, mount, namespace or link leads past a policy that names them, and their neighbours
//! are left alone.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};

use super::policy::Bench;
use super::policy_enforce::{hooks, lsm};
use crate::case::{Case, alone};
use crate::observe::same;
use crate::scratch::Scratch;
use crate::wait;

/// The table.
pub const CASES: &[Case] = &[
    alone("policy-same-file", same_file),
    alone("policy-same-file-replaced", replaced).spread(),
    alone("policy-same-file-moved", moved).spread(),
    alone("policy-same-file-events-lost", events_lost).spread(),
];

/// Attempts of each thread while names change places.
const ROUNDS: &str = "300";

/// A file system of its own, gone with this.
pub(super) struct Place(PathBuf);

impl Place {
    pub(super) fn make(scratch: &Scratch) -> Result<Self> {
        let base = scratch.fresh("place")?;
        mount("tmpfs", &base, "tmpfs", MountFlags::empty(), None).context("mount a file system")?;
        let place = Self(base);
        for folder in ["protected/deep/er", "protected-not", "neighbour"] {
            fs::create_dir_all(place.at(folder))?;
        }
        let files = [
            ("single", "secret single\n"),
            ("protected/secret", "secret\n"),
            ("protected/deep/er/inner", "secret inner\n"),
            ("protected-not/open", "open\n"),
            ("neighbour/open", "open\n"),
        ];
        for (name, text) in files {
            fs::write(place.at(name), text)?;
        }
        for (name, link) in [("single", "linked-single"), ("protected/secret", "linked-secret")] {
            fs::hard_link(place.at(name), place.at("neighbour").join(link))?;
        }
        symlink(place.at("protected/secret"), place.at("neighbour/symlink"))?;
        Ok(place)
    }

    pub(super) fn at(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    pub(super) fn text(&self, name: &str) -> String {
        self.at(name).display().to_string()
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = unmount(&self.0, UnmountFlags::DETACH);
    }
}

/// Refuses a program what it asks of these files.
pub(super) fn refusing(program: &Path, hooks: &[(&str, &str)], values: &[String]) -> String {
    let program = program.display();
    let values = values.join(", ");
    let hook = |(name, ty): &(&str, &str)| {
        format!(
            "  - hook: {name}\n    message: not this one\n    args: [{{index: 0, type: {ty}}}]\n    selectors:\n    \
             - matchBinaries: [{{operator: In, values: [{program}]}}]\n      \
             matchArgs: [{{index: 0, operator: SameFile, values: [{values}]}}]\n      \
             matchActions: [{{action: Override, argError: -1}}]\n"
        )
    };
    let hooks: String = hooks.iter().map(hook).collect();
    format!(
        "apiVersion: cilium.io/v1alpha1\nkind: TracingPolicy\nmetadata: {{name: same}}\nspec:\n  lsmhooks:\n{hooks}"
    )
}

pub(super) fn without_lsm() -> Result<bool> {
    if lsm()? {
        return Ok(false);
    }
    println!("        LSM programs take no effect on this kernel: NOT RUN");
    Ok(true)
}

/// By no way is anything read that is protected; what is not, is.
fn same_file() -> Result<()> {
    if without_lsm()? {
        return Ok(());
    }
    let mut bench = Bench::open()?;
    let place = Place::make(&bench.lab.scratch)?;
    let values = [place.text("protected"), place.text("single")];
    bench.add("same.yaml", &refusing(&bench.program(), &[("file_open", "file")], &values))?;
    let base = place.0.display().to_string();
    let seen = bench.lab.observe(&["same-file", &base])?;
    let facts = &seen.run.facts;
    let ways = [
        "plain.single",
        "plain.secret",
        "plain.inner",
        "plain.folder",
        "linked.single",
        "linked.secret",
        "symlink",
        "root.single",
        "root.secret",
        "handle",
        "place",
        "made",
        "namespace",
        "bound.secret",
        "bound.inner",
        "bound.file",
        "bound.deep",
        "chroot.single",
    ];
    for way in ways {
        same(way, facts.text(way)?, "E1")?;
    }
    // Rings of 5.10 open with threads of the kernel, which are no programs that a selector names.
    let release = fs::read_to_string("/proc/sys/kernel/osrelease")?;
    let ring = facts.text("ring")?;
    ensure!(["E1", "E38"].contains(&ring) || release.starts_with("5.10."), "by a ring: {ring}");
    if facts.has("overlay.errno") {
        println!(
            "        without overlays, which this kernel does not have: {}",
            facts.text("overlay.errno")?
        );
    } else {
        for way in ["secret", "inner", "written", "after", "deep", "linked"] {
            let name = format!("over.{way}");
            same(&name, facts.text(&name)?, "E1")?;
        }
        same("copied", facts.text("over.copied")?, "E1")?;
        ensure!(facts.text("over.upper")?.starts_with('E'), "copied: {}", facts.text("over.upper")?);
        same("another file of an overlay", facts.text("over.open")?, "open")?;
    }
    for way in ["open", "similar", "chroot.open"] {
        same(way, facts.text(way)?, "open")?;
    }
    let told = hooks(&seen, "KPROBE_ACTION_OVERRIDE");
    ensure!(told.len() >= ways.len(), "{} events", told.len());
    for event in &told {
        same("policy", event.text("policy_name"), "same")?;
        same("message", event.text("message"), "not this one")?;
    }
    if !facts.has("overlay.errno") {
        // What an overlay opens has its own path since Linux 6.7, and that in the overlay before.
        let in_overlay =
            told.iter().any(|event| event.text("args/0/file_arg/path").ends_with("/over/secret"));
        same("told by its path in the overlay", in_overlay, is_before(&release, (6, 7)))?;
    }
    // Others may.
    same("the file", fs::read_to_string(place.at("protected/secret"))?.as_str(), "secret\n")?;
    swapped(&mut bench, &place)?;
    bench.order(&["delete", "same"])?;
    let after = bench.lab.observe(&["read-each", &place.text("neighbour/linked-secret")])?;
    same("without the policy", after.run.facts.text("0")?, "secret")
}

/// Whether a release of the kernel is older than a version.
fn is_before(release: &str, version: (u32, u32)) -> bool {
    let mut numbers = release.split(['.', '-', '+']).map(|number| number.parse().unwrap_or(0));
    (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0)) < version
}

/// While two names change places, each attempt finds the one file or the other.
fn swapped(bench: &mut Bench, place: &Place) -> Result<()> {
    let (one, other) = (place.text("neighbour/linked-single"), place.text("neighbour/open"));
    let seen = bench.lab.observe(&["same-file-swap", &one, &other, ROUNDS])?;
    let facts = &seen.run.facts;
    for fact in ["leaked", "odd"] {
        same(fact, facts.number(fact)?, 0)?;
    }
    ensure!(facts.number("refused")? > 0 && facts.number("harmless")? > 0, "nothing changed places");
    // Attempts by a symbolic link that is exchanged meanwhile, by eight threads.
    let (secret, harmless) = (place.text("neighbour/linked-secret"), place.text("protected-not/open"));
    let seen = bench.lab.observe(&["forbidden", &secret, &harmless, "50"])?;
    let facts = &seen.run.facts;
    same("opened", facts.number("opened")?, 0)?;
    same("refused otherwise", facts.number("other")?, 0)?;
    ensure!(facts.has("harmless"), "another file was refused as well");
    // The name of the policy itself leads to one and the other.
    let (one, other) = (place.text("single"), place.text("neighbour/open"));
    let seen = bench.lab.observe(&["same-file-swap", &one, &other, ROUNDS])?;
    same("leaked", seen.run.facts.number("leaked")?, 0)
}

/// What a path leads to later counts, and what it led to before until it is gone.
fn replaced() -> Result<()> {
    if without_lsm()? {
        return Ok(());
    }
    let mut bench = Bench::open()?;
    let place = Place::make(&bench.lab.scratch)?;
    let values = [place.text("single"), place.text("later"), place.text("folder")];
    bench.add("same.yaml", &refusing(&bench.program(), &[("file_open", "file")], &values))?;
    let note = bench.hook("same")?["note"].as_str().unwrap_or_default().to_owned();
    ensure!(note.contains("/later: leads to nothing now"), "the status does not tell: {note:?}");
    fs::write(place.at("new"), "secret new\n")?;
    fs::rename(place.at("new"), place.at("single"))?;
    fs::write(place.at("later"), "secret later\n")?;
    fs::write(place.at("outside"), "secret outside\n")?;
    fs::create_dir_all(place.at("folder/deep"))?;
    fs::write(place.at("folder/deep/file"), "secret deep\n")?;
    let paths =
        ["single", "later", "folder/deep/file", "neighbour/linked-single"].map(|name| place.text(name));
    let all: Vec<&str> = std::iter::once("read-each").chain(paths.iter().map(String::as_str)).collect();
    let mut refused = |wanted: &[&str]| -> Result<()> {
        wait::until("files that are new to be refused", wait::LONG, || {
            let seen = bench.lab.observe(&all)?;
            let read = (0..paths.len()).map(|index| seen.run.facts.text(&index.to_string()));
            let read: Vec<&str> = read.collect::<Result<_>>()?;
            Ok((read == wanted).then_some(()))
        })
    };
    // The old file, which has a name left, stays what it was.
    refused(&["E1", "E1", "E1", "E1"])?;
    // A further name of what lies in a folder.
    fs::hard_link(place.at("folder/deep/file"), place.at("linked"))?;
    fs::remove_file(place.at("later"))?;
    refused(&["E1", "E2", "E1", "E1"])?;
    let linked = place.text("linked");
    wait::until("a hard link to be refused", wait::LONG, || {
        let seen = bench.lab.observe(&["read-each", &linked])?;
        Ok((seen.run.facts.text("0")? == "E1").then_some(()))
    })?;
    // What is gone leaves nothing behind: others that get its number are not refused.
    for number in 0..64 {
        fs::write(place.at(&format!("fresh-{number}")), "open\n")?;
    }
    let fresh: Vec<String> = (0..64).map(|number| place.text(&format!("fresh-{number}"))).collect();
    let all: Vec<&str> = std::iter::once("read-each").chain(fresh.iter().map(String::as_str)).collect();
    wait::until("files that are new to be readable", wait::LONG, || {
        let seen = bench.lab.observe(&all)?;
        let read = (0..fresh.len()).map(|index| seen.run.facts.text(&index.to_string()));
        Ok(read.collect::<Result<Vec<_>>>()?.iter().all(|text| *text == "open").then_some(()))
    })
}

/// Hooks that have a folder or another name at hand: neither can be moved away or get another name.
fn moved() -> Result<()> {
    if without_lsm()? {
        return Ok(());
    }
    let mut bench = Bench::open()?;
    let place = Place::make(&bench.lab.scratch)?;
    let others = [("path_link", "dentry"), ("path_unlink", "path"), ("bprm_check_security", "linux_binprm")];
    let values = [place.text("protected"), place.text("single")];
    let mut text = refusing(&bench.program(), &others, &values);
    let rename =
        refusing(&bench.program(), &[("path_rename", "dentry")], &values).replace("index: 0", "index: 1");
    text += rename.split_once("lsmhooks:\n").context("no hooks")?.1;
    bench.add("same.yaml", &text)?;
    for from in ["single", "protected/secret", "neighbour/linked-single", "protected/deep"] {
        let seen =
            bench.lab.observe(&["link-and-move", &place.text(from), &place.text("neighbour/another")])?;
        same(from, seen.run.facts.text("link")?, "E1")?;
        same(from, seen.run.facts.text("rename")?, "E1")?;
    }
    let seen =
        bench.lab.observe(&["link-and-move", &place.text("neighbour/open"), &place.text("neighbour/new")])?;
    same("another file", (seen.run.facts.text("link")?, seen.run.facts.text("rename")?), ("E0", "E0"))?;
    bench.lab.agent.stop()
}

/// How many events a queue of inotify keeps, for those that are made while this is there.
struct Queued(String);

impl Queued {
    const PLACE: &str = "/proc/sys/fs/inotify/max_queued_events";

    fn at_most(number: u32) -> Result<Self> {
        let before = Self(fs::read_to_string(Self::PLACE)?);
        fs::write(Self::PLACE, number.to_string())?;
        Ok(before)
    }
}

impl Drop for Queued {
    fn drop(&mut self) {
        if let Err(error) = fs::write(Self::PLACE, &self.0) {
            eprintln!("cannot set {}: {error}", Self::PLACE);
        }
    }
}

/// More happens to the files of a policy than the kernel keeps events of: what is refused stays refused, under whatever name,
/// and what comes in its place is found.
fn events_lost() -> Result<()> {
    if without_lsm()? {
        return Ok(());
    }
    let mut bench = Bench::start(&["--log-level=debug"])?;
    let place = Place::make(&bench.lab.scratch)?;
    let values = [place.text("single"), place.text("protected")];
    let text = refusing(&bench.program(), &[("file_open", "file")], &values);
    {
        let _few = Queued::at_most(4)?;
        bench.add("same.yaml", &text)?;
    }
    // The policy's own name leads to one file and the other, and nothing leaks meanwhile.
    let (one, other) = (place.text("single"), place.text("open"));
    fs::write(place.at("open"), "open\n")?;
    let lost = |bench: &Bench| -> Result<usize> {
        Ok(bench.lab.agent.log()?.matches("events of files were lost").count())
    };
    let storm = |bench: &mut Bench| -> Result<()> {
        let before = lost(bench)?;
        wait::until("events to be lost", wait::LONG, || {
            let seen = bench.lab.observe(&["same-file-swap", &one, &other, ROUNDS])?;
            same("leaked", seen.run.facts.number("leaked")?, 0)?;
            Ok((lost(bench)? > before).then_some(()))
        })
    };
    storm(&mut bench)?;
    // Both were what the path led to. The other one is gone for good, which nobody has told of.
    let which = fs::read_to_string(&one)?;
    let (secret, open) = if which.starts_with("secret") { (&one, &other) } else { (&other, &one) };
    let kept = place.text("neighbour/kept");
    fs::rename(secret, &kept)?;
    fs::remove_file(open)?;
    storm_of_names(&place)?;
    fs::write(&one, "secret new\n")?;
    fs::write(place.at("single-not"), "open\n")?;
    let names = [
        "single",
        "neighbour/kept",
        "neighbour/linked-single",
        "protected/secret",
        "neighbour/open",
        "single-not",
    ];
    let paths = names.map(|name| place.text(name));
    let all: Vec<&str> = std::iter::once("read-each").chain(paths.iter().map(String::as_str)).collect();
    wait::until("what is new to be refused", wait::LONG, || {
        let seen = bench.lab.observe(&all)?;
        let read = |index: usize| seen.run.facts.text(&index.to_string());
        for (index, wanted) in [(1, "E1"), (2, "E1"), (3, "E1"), (4, "open")] {
            same(names[index], read(index)?, wanted)?;
        }
        Ok((read(0)? == "E1" && read(5)? == "open").then_some(()))
    })?;
    bench.lab.agent.stop()
}

/// Many files come and go beside those of the policy.
fn storm_of_names(place: &Place) -> Result<()> {
    for number in 0..500 {
        let (from, to) = (place.at(&format!("storm-{number}")), place.at(&format!("storm-{number}-away")));
        fs::write(&from, "")?;
        fs::rename(&from, &to)?;
        fs::remove_file(&to)?;
    }
    Ok(())
}

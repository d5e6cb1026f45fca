//! Values of policies that need more than a look at an argument: buffers beyond a record, arguments of 32-bit calls,
//! and what a file holds.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

use super::policy::{Bench, offers};
use super::policy_post::decoded;
use crate::case::{Case, alone};
use crate::event::{Event, Kind};
use crate::observe::{Observation, same};

/// The table.
pub const CASES: &[Case] = &[
    alone("policy-long-buffers", long_buffers),
    alone("policy-narrow-callers", narrow_callers),
    alone("policy-file-hashes", file_hashes),
];

/// Bytes of a buffer that are told at most.
const MOST: usize = 327_360;

fn policy(bench: &Bench, name: &str, spec: &str) -> String {
    let filter = format!("matchBinaries: [{{operator: In, values: [{}]}}]", bench.program().display());
    format!(
        "apiVersion: cilium.io/v1alpha1\nkind: TracingPolicy\nmetadata:\n  name: {name}\nspec:\n{}",
        spec.replace("OWN", &filter)
    )
}

fn hooks(seen: &Observation) -> Vec<&Event> {
    seen.events.iter().filter(|event| event.kind == Kind::Hook).collect()
}

/// What the workload fills buffers with.
fn bytes(size: usize) -> Vec<u8> {
    (0..size).map(|at| (at * 31 + at / 256 * 7) as u8).collect()
}

/// The bytes of an argument, with the size that the whole has.
fn told(argument: &Value) -> Result<(usize, Vec<u8>)> {
    let cut = &argument["truncated_bytes_arg"];
    let letters = if cut.is_null() { &argument["bytes_arg"] } else { &cut["bytes_arg"] };
    let bytes = decoded(letters.as_str().with_context(|| format!("no bytes: {argument}"))?)?;
    let size = cut["orig_size"].as_str().and_then(|size| size.parse().ok()).or(cut["orig_size"].as_u64());
    Ok((size.map_or(bytes.len(), |size| size as usize), bytes))
}

/// `maxData`: what is written, read and written in pieces, to the last byte or to the bound.
fn long_buffers() -> Result<()> {
    let mut bench = Bench::open()?;
    let spec = "  kprobes:
  - call: sys_write
    syscall: true
    args:
    - {index: 1, type: char_buf, sizeArgIndex: 3, maxData: true}
    - {index: 2, type: size_t}
    selectors:
    - OWN
      matchArgs: [{index: 2, operator: GreaterThan, values: ['4096']}]
  - call: sys_pread64
    syscall: true
    return: true
    args: [{index: 1, type: char_buf, sizeArgIndex: 3, returnCopy: true, maxData: true}]
    returnArg: {index: 0, type: int}
    selectors:
    - OWN
  - call: sys_writev
    syscall: true
    args: [{index: 1, type: char_iovec, sizeArgIndex: 3, maxData: true}]
    selectors:
    - OWN
";
    bench.add("long.yaml", &policy(&bench, "long", spec))?;
    let seen = bench.lab.observe(&["long-buffers"])?;
    for fact in ["write", "longest", "read", "vector"] {
        same(fact, seen.run.facts.find(fact), Some("done"))?;
    }
    let events = hooks(&seen);
    let wanted =
        [("sys_write", 100_000), ("sys_write", 400_000), ("sys_pread64", 50_000), ("sys_writev", 60_001)];
    same("events", events.len(), wanted.len())?;
    for (event, (name, size)) in events.into_iter().zip(wanted) {
        ensure!(event.text("function_name").ends_with(name), "{}", event.text("function_name"));
        let (whole, found) = told(event.at("args/0"))?;
        same(name, (whole, found.len()), (size, size.min(MOST)))?;
        ensure!(found == bytes(found.len()), "{name}: other bytes than those of {size}");
        if name == "sys_pread64" {
            same("result", &event.at("return")["int_arg"], &json!(50_000))?;
        }
    }
    bench.lab.agent.stop()
}

/// Calls as 32-bit programs make them: by the name, the arguments and the result of their own kind.
fn narrow_callers() -> Result<()> {
    let mut bench = Bench::open()?;
    let seen = bench.lab.observe(&["narrow"])?;
    if seen.run.facts.find("there").is_none() {
        println!("        this kernel has no calls of 32-bit programs: NOT RUN");
        return bench.lab.agent.stop();
    }
    let spec = "  lists: [{name: opens, type: syscalls, values: [i386/sys_openat, i386/sys_open]}]
  kprobes:
  - call: list:opens
    syscall: true
    return: true
    args: [{index: 1, type: string}, {index: 2, type: int}]
    returnArg: {index: 0, type: int}
    selectors:
    - OWN
";
    bench.add("narrow.yaml", &policy(&bench, "narrow", spec))?;
    let seen = bench.lab.observe(&["narrow"])?;
    let number = |fact| -> Result<i64> { Ok(seen.run.facts.find(fact).context("no fact")?.parse()?) };
    let mut wanted = Vec::new();
    for (fact, path, flags) in [("there", "/dev/null", 1), ("missing", "/no/such/file", 0)] {
        wanted.push(("__ia32_sys_openat", json!(path), json!(flags), json!(number(fact)?)));
    }
    let of = |event: &Event, place: &str, field: &str| event.at(place)[field].clone();
    let events = hooks(&seen);
    let events = events.into_iter().map(|event| {
        let (path, flags) = (of(event, "args/0", "string_arg"), of(event, "args/1", "int_arg"));
        (event.text("function_name"), path, flags, of(event, "return", "int_arg"))
    });
    same("calls", events.collect::<Vec<_>>(), wanted)?;
    ensure!(number("there")? >= 0 && number("missing")? == -2, "the calls themselves went wrong");
    bench.lab.agent.stop()
}

/// A file in memory: on an overlay there are two of each, the one that is opened and the one below.
struct File(PathBuf);

impl File {
    fn new() -> Result<Self> {
        let path = Path::new("/dev/shm").join(format!("saker-hashed-{}", std::process::id()));
        fs::write(&path, bytes(70_000)).with_context(|| format!("cannot write {}", path.display()))?;
        Ok(Self(path))
    }
}

impl Drop for File {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_file(&self.0) {
            eprintln!("cannot remove {}: {error}", self.0.display());
        }
    }
}

/// `imaHash`: with the file's hash, without one where there is no content, refused where the kernel computes none.
fn file_hashes() -> Result<()> {
    let mut bench = Bench::open()?;
    let spec = "  lsmhooks:
  - hook: file_lock
    args: [{index: 0, type: file}]
    selectors:
    - OWN
      matchActions: [{action: Post, imaHash: true}]
";
    let text = policy(&bench, "hashes", spec);
    let symbols = fs::read_to_string("/proc/kallsyms")?;
    let has = |name: &str| symbols.lines().any(|line| line.split_ascii_whitespace().nth(2) == Some(name));
    if !offers(&["lsm"])? || !has("bpf_ima_file_hash") || !has("ima_file_hash") {
        let path = bench.write("hashes.yaml", &text)?;
        let output = bench.ask(&["add", &path.to_string_lossy()])?;
        let told = String::from_utf8_lossy(&output.stderr).into_owned();
        let reason = ["IMA", "hashes of files", "LSM"].iter().any(|words| told.contains(words));
        ensure!(!output.status.success() && reason, "it was not refused for what it asks for: {told}");
        println!("        this kernel tells no hashes: the refusal is tested");
        return bench.lab.agent.stop();
    }
    bench.add("hashes.yaml", &text)?;
    let file = File::new()?;
    let seen = bench.lab.observe(&["lock", &file.0.to_string_lossy()])?;
    same("locked", seen.run.facts.find("locked"), Some("done"))?;
    let [event] = hooks(&seen)[..] else { anyhow::bail!("not one event: {:?}", hooks(&seen)) };
    let (algorithm, digits) = event.text("ima_hash").split_once(':').context("no hash")?;
    let output = Command::new(format!("{algorithm}sum")).arg(&file.0).output()?;
    let sum = String::from_utf8(output.stdout)?;
    same(algorithm, Some(digits), sum.split_whitespace().next())?;
    same("path", event.text("args/0/file_arg/path"), &*file.0.to_string_lossy())?;
    // A folder holds nothing that could be hashed.
    let seen = bench.lab.observe(&["lock", "/dev/shm"])?;
    let [event] = hooks(&seen)[..] else { anyhow::bail!("not one event: {:?}", hooks(&seen)) };
    same("hash of a folder", event.text("ima_hash"), "")?;
    ensure!(!event.text("ima_hash_missing").is_empty(), "nothing says why there is none");
    bench.lab.agent.stop()
}

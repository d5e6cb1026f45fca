//! Policies that decide by what a file holds: whatever its name, wherever it lies. Everything is for the test's own
//! program by its path.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use super::keep::{Line, ask, kill};
use super::policy::Bench;
use crate::agent;
use crate::case::{Case, alone};
use crate::event::{Event, Kind};
use crate::observe::{Observation, same};
use crate::scratch::Scratch;

/// The table.
pub const CASES: &[Case] = &[
    alone("policy-hash-refuses", refuses),
    alone("policy-hash-parallel", parallel).long(),
    alone("policy-hash-allows", allows).spread(),
    alone("policy-hash-programs", programs).long(),
    alone("policy-hash-modes", modes).long(),
    alone("policy-hash-library", library).long(),
    alone("policy-hash-kept", kept).spread(),
    alone("policy-hash-build-ids", build_ids),
];

const EPERM: u64 = 1;
/// Attempts of each of the eight threads.
const ROUNDS: u32 = 125;
/// Of a child that was not executed, as the workload has it.
const REFUSED: u64 = 201;

/// What is asked of a file that is mapped to be executed, or of a program.
struct Asked<'a> {
    hook: &'a str,
    operator: &'a str,
    values: &'a [String],
    without: &'a str,
    action: &'a str,
}

impl Asked<'_> {
    fn policy(&self, program: &Path) -> String {
        let (program, values) = (program.display(), self.values.join(", "));
        let (ty, executed) = match self.hook {
            "mmap_file" => ("file", "matchArgs: [{index: 2, operator: Mask, values: ['4']}]\n      "),
            _ => ("linux_binprm", ""),
        };
        let further = if executed.is_empty() { "" } else { "\n    - {index: 2, type: uint64}" };
        format!(
            "apiVersion: cilium.io/v1alpha1\nkind: TracingPolicy\nmetadata: {{name: hashed}}\nspec:\n  lsmhooks:\n  \
             - hook: {}\n    message: not this content\n    args:\n    - {{index: 0, type: {ty}}}{further}\n    selectors:\n    \
             - matchBinaries: [{{operator: In, values: [{program}]}}]\n      {executed}matchFileHashes: \
             [{{operator: {}, values: [{values}]{}}}]\n      matchActions: [{}]\n",
            self.hook, self.operator, self.without, self.action
        )
    }
}

const REFUSE: &str = "{action: Override, argError: -1}";

fn hash(algorithm: &str, path: &Path) -> Result<String> {
    let output = Command::new(format!("{algorithm}sum")).arg(path).output()?;
    let text = String::from_utf8(output.stdout)?;
    Ok(format!("{algorithm}:{}", text.split_whitespace().next().context("no hash")?))
}

/// The algorithm of this kernel's hashes, by what it refuses; none: it takes no such policy, and says why.
fn algorithm(bench: &Bench) -> Result<Option<String>> {
    let values = [format!("md5:{}", "0".repeat(32))];
    let asked = Asked { hook: "mmap_file", operator: "In", values: &values, without: "", action: REFUSE };
    let path = bench.write("hashed.yaml", &asked.policy(&bench.program()))?;
    let output = bench.ask(&["add", &path.to_string_lossy()])?;
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    ensure!(!output.status.success(), "a hash that IMA never computes was taken");
    if let Some((_, rest)) = told.split_once("hashes files by ") {
        let name = rest.split(',').next().unwrap_or_default().to_owned();
        ensure!(
            name != "md5" && told.contains(&format!("give the hashes by {name}")),
            "no way is told: {told}"
        );
        return Ok(Some(name));
    }
    let symbols = fs::read_to_string("/proc/kallsyms")?;
    let has = |name: &str| symbols.lines().any(|line| line.split_ascii_whitespace().nth(2) == Some(name));
    let able = super::policy_enforce::lsm()? && has("bpf_ima_file_hash") && has("ima_file_hash");
    let reason = ["IMA", "hashes of files", "LSM"].iter().any(|words| told.contains(words));
    ensure!(!able && reason, "it was not refused for what it asks for: {told}");
    println!("        this kernel computes no hashes: the refusal is tested");
    Ok(None)
}

/// Files of the same content by other names, and one that differs in a byte.
struct Files {
    bad: PathBuf,
    alike: Vec<PathBuf>,
    neighbour: PathBuf,
}

impl Files {
    fn make(scratch: &Scratch, content: &[u8]) -> Result<Self> {
        let folder = scratch.fresh("contents")?;
        let (bad, copy, link) = (folder.join("bad.so"), folder.join("harmless"), folder.join("link"));
        let neighbour = folder.join("neighbour.so");
        fs::write(&bad, content)?;
        fs::write(&copy, content)?;
        fs::hard_link(&bad, &link)?;
        let mut other = content.to_vec();
        *other.last_mut().context("it is empty")? ^= 1;
        fs::write(&neighbour, &other)?;
        for path in [&bad, &copy, &neighbour] {
            fs::set_permissions(path, fs::Permissions::from_mode(0o755))?;
        }
        // Another file system, where there is no overlay.
        let memory = PathBuf::from(format!("/dev/shm/saker-hashed-{}", std::process::id()));
        fs::write(&memory, content)?;
        Ok(Self { bad, alike: vec![copy, link, memory], neighbour })
    }

    /// A workload with all of them; the neighbour is the last.
    fn all<'a>(&'a self, workload: &'a str) -> Result<Vec<&'a str>> {
        let paths = std::iter::once(&self.bad).chain(&self.alike).chain([&self.neighbour]);
        let names = paths.map(|path| path.to_str().context("no text"));
        std::iter::once(Ok(workload)).chain(names).collect()
    }
}

impl Drop for Files {
    fn drop(&mut self) {
        let memory = self.alike.iter().filter(|path| path.starts_with("/dev/shm"));
        memory.for_each(|path| drop(fs::remove_file(path)));
    }
}

fn content() -> Vec<u8> {
    (0..70_000_usize).map(|at| (at * 31 + at / 256 * 7) as u8).collect()
}

fn told(seen: &Observation) -> Vec<&Event> {
    seen.events.iter().filter(|event| event.kind == Kind::Hook).collect()
}

fn count(hook: &Value, name: &str) -> u64 {
    hook[name].as_u64().unwrap_or_default()
}

/// The processes that `saker mapped` finds by the digest of a file.
fn mapped(hash: &str) -> Result<Vec<u64>> {
    let Some(digits) = hash.strip_prefix("sha256:") else { return Ok(Vec::new()) };
    let output =
        Command::new(agent::binary()?).args(["mapped", "-o", "json", "--sha256", digits]).output()?;
    let told: Value = serde_json::from_slice(&output.stdout)?;
    let found = told["found"].as_array().context("nothing is listed")?;
    Ok(found.iter().filter_map(|one| one["pid"].as_u64()).collect())
}

/// A content cannot be mapped to be executed, under any name; its neighbour can. What is told has the hash.
fn refuses() -> Result<()> {
    let mut bench = Bench::open()?;
    let Some(algorithm) = algorithm(&bench)? else { return bench.lab.agent.stop() };
    let files = Files::make(&bench.lab.scratch, &content())?;
    let bad = hash(&algorithm, &files.bad)?;
    // Among thousands.
    let mut values: Vec<String> = (0..5_000)
        .map(|at| format!("{algorithm}:{at:0width$x}", width = bad.len() - algorithm.len() - 1))
        .collect();
    values.push(bad.clone());
    let asked = Asked { hook: "mmap_file", operator: "In", values: &values, without: "", action: REFUSE };
    bench.add("hashed.yaml", &asked.policy(&bench.program()))?;
    let seen = bench.lab.observe(&files.all("map")?)?;
    let facts = &seen.run.facts;
    for number in 1..=4 {
        same("a file of this content", facts.number(&format!("map.{number}"))?, EPERM)?;
    }
    for fact in ["map.5", "read", "memory"] {
        same(fact, facts.number(fact)?, 0)?;
    }
    let events = told(&seen);
    same("events", events.len(), 4)?;
    for event in events {
        same("action", event.text("action"), "KPROBE_ACTION_OVERRIDE")?;
        same("withheld", event.text("action_withheld"), "")?;
        same("hash", event.text("ima_hash"), bad.as_str())?;
        same("missing", event.text("ima_hash_missing"), "")?;
        same("policy", event.text("policy_name"), "hashed")?;
        same("message", event.text("message"), "not this content")?;
        same("process", event.exec_id(), seen.root()?.exec_id())?;
        ensure!(!event.text("args/0/file_arg/path").is_empty(), "no path");
    }
    let hook = bench.hook("hashed")?;
    for name in ["matched", "overridden", "posted"] {
        same(name, count(&hook, name), 4)?;
    }
    same("not done", count(&hook, "failed") + count(&hook, "spared"), 0)?;
    // By a descriptor of which IMA can compute none it does not get in either.
    let path = files.bad.to_str().context("no text")?;
    let seen = bench.lab.observe(&["map-direct", path])?;
    if let Some(error) = seen.run.facts.find("direct") {
        same("past the page cache", error, "1")?;
        let [event] = told(&seen)[..] else { anyhow::bail!("not one event: {:?}", told(&seen)) };
        same("hash", event.text("ima_hash"), "")?;
        same("missing", event.text("ima_hash_missing"), "failed")?;
        same("withheld", event.text("action_withheld"), "")?;
        // Unless that is what the policy says.
        let without = ", withoutHash: Tell";
        let lenient = Asked { values: &values, without, ..asked };
        bench.order(&["delete", "hashed"])?;
        bench.add("hashed.yaml", &lenient.policy(&bench.program()))?;
        let seen = bench.lab.observe(&["map-direct", path])?;
        same("past the page cache", seen.run.facts.find("direct"), Some("0"))?;
        let [event] = told(&seen)[..] else { anyhow::bail!("not one event: {:?}", told(&seen)) };
        same("withheld", event.text("action_withheld"), "unhashed")?;
        same("counted", count(&bench.hook("hashed")?, "failed"), 1)?;
        same("another", bench.lab.observe(&files.all("map")?)?.run.facts.number("map.1")?, EPERM)?;
    } else {
        println!("        this file system has no way past the page cache");
    }
    bench.order(&["delete", "hashed"])?;
    let seen = bench.lab.observe(&files.all("map")?)?;
    same("without the policy", seen.run.facts.number("map.1")?, 0)?;
    bench.lab.agent.stop()
}

/// A thousand attempts at once: none gets through, and no neighbour is hit.
fn parallel() -> Result<()> {
    let mut bench = Bench::open()?;
    let Some(algorithm) = algorithm(&bench)? else { return bench.lab.agent.stop() };
    let files = Files::make(&bench.lab.scratch, &content())?;
    let values = [hash(&algorithm, &files.bad)?];
    let asked = Asked { hook: "mmap_file", operator: "In", values: &values, without: "", action: REFUSE };
    bench.add("hashed.yaml", &asked.policy(&bench.program()))?;
    let path = |path: &Path| path.to_str().map(str::to_owned).context("no text");
    let (bad, good, rounds) = (path(&files.bad)?, path(&files.neighbour)?, ROUNDS.to_string());
    let seen = bench.lab.observe(&["map-many", &bad, &good, &rounds])?;
    let facts = &seen.run.facts;
    let all = u64::from(8 * ROUNDS);
    same("attempts", facts.number("tried")?, all)?;
    same("mapped", facts.number("mapped")?, 0)?;
    same("refused otherwise", facts.number("other")?, 0)?;
    same("neighbours", facts.number("spared")?, all)?;
    let hook = bench.hook("hashed")?;
    same("overridden", count(&hook, "overridden"), all)?;
    same("told", told(&seen).len() as u64 + count(&hook, "lost"), all)?;
    bench.lab.agent.stop()
}

/// Only listed contents may be mapped to be executed.
fn allows() -> Result<()> {
    let mut bench = Bench::open()?;
    let Some(algorithm) = algorithm(&bench)? else { return bench.lab.agent.stop() };
    let files = Files::make(&bench.lab.scratch, &content())?;
    let values = [hash(&algorithm, &files.bad)?];
    let asked = Asked { hook: "mmap_file", operator: "NotIn", values: &values, without: "", action: REFUSE };
    bench.add("hashed.yaml", &asked.policy(&bench.program()))?;
    let seen = bench.lab.observe(&files.all("map")?)?;
    let facts = &seen.run.facts;
    for fact in ["map.1", "map.2", "map.3", "map.4", "read", "memory"] {
        same(fact, facts.number(fact)?, 0)?;
    }
    same("another content", facts.number("map.5")?, EPERM)?;
    let [event] = told(&seen)[..] else { anyhow::bail!("not one event: {:?}", told(&seen)) };
    same("hash", event.text("ima_hash"), hash(&algorithm, &files.neighbour)?.as_str())?;
    // What is written to it changes what it may.
    fs::write(&files.neighbour, content())?;
    same("as it is now", bench.lab.observe(&files.all("map")?)?.run.facts.number("map.5")?, 0)?;
    bench.lab.agent.stop()
}

/// A program cannot be executed, under any name, or whoever does is ended; who runs it already is found.
fn programs() -> Result<()> {
    let mut bench = Bench::open()?;
    let Some(algorithm) = algorithm(&bench)? else { return bench.lab.agent.stop() };
    let mut program = fs::read(&bench.lab.programs.nop)?;
    // So that nobody else is hit, and the neighbour's last byte is not part of the program.
    program.extend_from_slice(b"a program of the test's own");
    let files = Files::make(&bench.lab.scratch, &program)?;
    let bad = hash(&algorithm, &files.bad)?;
    let run = &files.all("execute")?;
    let (names, run) = (["execute.1", "execute.2", "execute.3"], [&run[..4], &run[5..]].concat());
    let seen = bench.lab.observe(&run)?;
    let before: Vec<String> = (1..=4)
        .map(|at| Ok(seen.run.facts.text(&format!("execute.{at}.status"))?.to_owned()))
        .collect::<Result<_>>()?;
    let values = [bad.clone()];
    for action in [REFUSE, "{action: Sigkill}"] {
        let asked =
            Asked { hook: "bprm_check_security", operator: "In", values: &values, without: "", action };
        bench.add("hashed.yaml", &asked.policy(&bench.program()))?;
        let seen = bench.lab.observe(&run)?;
        let facts = &seen.run.facts;
        for name in names {
            if action == REFUSE {
                same(name, facts.number(&format!("{name}.status"))?, REFUSED)?;
            } else {
                same(name, facts.number(&format!("{name}.signal"))?, 9)?;
            }
        }
        same("the neighbour", facts.text("execute.4.status")?, before[3].as_str())?;
        let events = told(&seen);
        same("events", events.len(), 3)?;
        for event in events {
            same("hash", event.text("ima_hash"), bad.as_str())?;
            same("withheld", event.text("action_withheld"), "")?;
        }
        let hook = bench.hook("hashed")?;
        same("done", count(&hook, if action == REFUSE { "overridden" } else { "signalled" }), 3)?;
        bench.order(&["delete", "hashed"])?;
    }
    // What runs already is not refused, and found.
    let copy = bench.lab.scratch.fresh("running")?.join("sleeper");
    fs::copy("/bin/sleep", &copy)?;
    fs::OpenOptions::new()
        .append(true)
        .open(&copy)
        .and_then(|mut file| std::io::Write::write_all(&mut file, b"the test's own"))?;
    let mut child = Command::new(&copy).arg("600").spawn()?;
    let wanted = hash("sha256", &copy)?;
    let found = crate::wait::until("the process to be found", crate::wait::LONG, || {
        Ok(mapped(&wanted)?.contains(&u64::from(child.id())).then_some(()))
    });
    child.kill()?;
    child.wait()?;
    found?;
    bench.lab.agent.stop()
}

/// The policy of the library on liblzma by its content, with this hash in place of those that were published.
fn library_policy(hash: &str) -> Result<String> {
    let text = super::policy_scenarios::text("liblzma-contents")?;
    let (values, rest): (Vec<&str>, Vec<&str>) =
        text.lines().partition(|line| line.trim_start().starts_with("- sha256:"));
    ensure!(!values.is_empty(), "the policy lists no hashes");
    let text = rest.join("\n");
    ensure!(text.contains("        values:\n      matchActions:"), "the list of hashes stands elsewhere");
    Ok(text.replace(
        "        values:\n      matchActions:",
        &format!("        values: ['{hash}']\n      matchActions:"),
    ))
}

/// The policy of the library: a release under another name than it had cannot be loaded by anybody, and everything else is,
/// while every file that is mapped to be executed is hashed. Who has it already goes on, and is found.
fn library() -> Result<()> {
    let mut bench = Bench::open()?;
    let Some(algorithm) = algorithm(&bench)? else {
        let path =
            bench.write("liblzma-contents.yaml", &super::policy_scenarios::text("liblzma-contents")?)?;
        ensure!(!bench.ask(&["add", &path.to_string_lossy()])?.status.success(), "the policy was taken");
        return bench.lab.agent.stop();
    };
    same("the algorithm of the policy", algorithm.as_str(), "sha256")?;
    let folder = bench.lab.scratch.fresh("libraries")?;
    let (listed, good) = (folder.join("backdoored"), folder.join("good"));
    fs::create_dir_all(&good)?;
    let loaded = good.join("liblzma.so.5");
    fs::copy(super::policy_scenarios::own_liblzma()?, &loaded)?;
    // What stands behind the sections is not part of the library, but of the file.
    let mut content = fs::read(&loaded)?;
    content.extend_from_slice(b"the test's own release");
    fs::write(&listed, &content)?;
    fs::write(folder.join("liblzma.so.5"), &content)?;
    // The same library with another byte.
    *content.last_mut().context("it is empty")? ^= 1;
    fs::write(&loaded, &content)?;
    let xz = |folder: &Path| {
        let mut command = Command::new("/usr/bin/xz");
        command.env("LD_LIBRARY_PATH", folder).env("LC_ALL", "C").stdin(Stdio::piped());
        command
    };
    let runs = |folder: &Path| -> Result<(bool, String)> {
        let output = xz(folder).arg("--version").output()?;
        Ok((output.status.success(), String::from_utf8_lossy(&output.stderr).into_owned()))
    };
    ensure!(runs(&folder)?.0, "the library cannot be loaded without the policy either");
    let wanted = hash(&algorithm, &listed)?;
    // One that has it already.
    let mut reading = xz(&folder).arg("-dc").stdout(Stdio::null()).stderr(Stdio::null()).spawn()?;
    let pid = u64::from(reading.id());
    let has_it = crate::wait::until("the process that has the library", crate::wait::LONG, || {
        Ok(mapped(&wanted)?.contains(&pid).then_some(()))
    });
    bench.add("liblzma-contents.yaml", &library_policy(&wanted)?)?;
    let still = mapped(&wanted)?;
    let ended = reading.try_wait()?;
    drop(reading.stdin.take());
    reading.wait()?;
    has_it?;
    same("processes that have it", (still, ended), (vec![pid], None))?;
    let from = bench.lab.stream.events.len();
    let (done, message) = runs(&folder)?;
    ensure!(!done && message.contains("liblzma.so.5"), "it was loaded: {message}");
    ensure!(runs(&good)?.0, "a library of the same name was refused");
    ensure!(Command::new("sha256sum").arg(&listed).output()?.status.success(), "the file cannot be read");
    bench.lab.settle()?;
    let events = bench.lab.stream.events[from..].iter().filter(|event| event.kind == Kind::Hook);
    let refused: Vec<&Event> = events.filter(|event| event.text("action_withheld").is_empty()).collect();
    ensure!(!refused.is_empty(), "nothing was told");
    for event in refused {
        same("program", event.text("process/binary"), "/usr/bin/xz")?;
        same("hash", event.text("ima_hash"), wanted.as_str())?;
    }
    bench.order(&["delete", "liblzma-contents"])?;
    ensure!(runs(&folder)?.0, "the policy is gone and the library is still refused");
    bench.lab.agent.stop()
}

/// Monitoring tells what would be refused, with the hash.
fn modes() -> Result<()> {
    let mut bench = Bench::open()?;
    let Some(algorithm) = algorithm(&bench)? else { return bench.lab.agent.stop() };
    let files = Files::make(&bench.lab.scratch, &content())?;
    let values = [hash(&algorithm, &files.bad)?];
    let asked = Asked { hook: "mmap_file", operator: "In", values: &values, without: "", action: REFUSE };
    bench.add("hashed.yaml", &asked.policy(&bench.program()))?;
    for (mode, error, withheld) in [("monitor", 0, "monitor"), ("enforce", EPERM, "")] {
        bench.order(&["set-mode", "hashed", mode])?;
        let seen = bench.lab.observe(&files.all("map")?)?;
        same(mode, seen.run.facts.number("map.1")?, error)?;
        same("the neighbour", seen.run.facts.number("map.5")?, 0)?;
        same("events", told(&seen).len(), 4)?;
        for event in told(&seen) {
            same("withheld", event.text("action_withheld"), withheld)?;
            same("hash", event.text("ima_hash"), values[0].as_str())?;
        }
    }
    let hook = bench.hook("hashed")?;
    same("monitored", count(&hook, "monitored_override"), 4)?;
    same("overridden", count(&hook, "overridden"), 4)?;
    bench.lab.agent.stop()
}

/// What stays in force while no agent runs decides by contents too, and so does the next agent's.
fn kept() -> Result<()> {
    let mut bench = Bench::open()?;
    let found = algorithm(&bench)?;
    bench.lab.agent.stop()?;
    let Some(algorithm) = found else { return Ok(()) };
    let line = Line::new()?;
    let files = Files::make(&line.scratch, &content())?;
    let values = [hash(&algorithm, &files.bad)?];
    let asked = Asked { hook: "mmap_file", operator: "In", values: &values, without: "", action: REFUSE };
    let file = line.write("hashed.yaml", &asked.policy(&line.programs.workload))?;
    let mut agent = line.start()?;
    ask(&agent, &["add", &file.to_string_lossy()])?;
    let check = || -> Result<()> {
        let facts = line.programs.start(&line.scratch, &files.all("map")?)?.finish()?.facts;
        for number in 1..=4 {
            same("a file of this content", facts.number(&format!("map.{number}"))?, EPERM)?;
        }
        same("the neighbour", facts.number("map.5")?, 0)
    };
    check()?;
    kill(&mut agent)?;
    check().context("while no agent runs")?;
    // Another content takes the place of one that is listed, and a listed one of another.
    let (good, listed) = (fs::read(&files.neighbour)?, content());
    for (path, content) in [(&files.bad, &good), (&files.neighbour, &listed)] {
        let new = path.with_extension("new");
        fs::write(&new, content)?;
        fs::rename(&new, path)?;
    }
    let changed = || -> Result<()> {
        let facts = line.programs.start(&line.scratch, &files.all("map")?)?.finish()?.facts;
        same("what is harmless now", facts.number("map.1")?, 0)?;
        for number in 2..=5 {
            same("a file of this content now", facts.number(&format!("map.{number}"))?, EPERM)?;
        }
        Ok(())
    };
    changed().context("exchanged while no agent runs")?;
    let mut agent = line.start()?;
    changed().context("with the next agent")?;
    agent.stop()
}

/// The build id of a file, as the tools of the linker show it.
fn build_id(path: &Path) -> Result<String> {
    let output = Command::new("readelf").arg("-n").arg(path).env("LC_ALL", "C").output()?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let line = text.lines().find_map(|line| line.trim().strip_prefix("Build ID: ").map(str::to_owned));
    line.context("it has no build id")
}

/// What the linker named so cannot be mapped to be executed, also where a byte of it is another; what it did not name can.
/// Refused where programs cannot read files.
fn build_ids() -> Result<()> {
    let mut bench = Bench::open()?;
    let stacks = bench.lab.programs.stacks.clone();
    let id = build_id(&stacks)?;
    let policy = |operator: &str| {
        let values = [id.clone(), "00ff".to_owned()];
        let asked = Asked { hook: "mmap_file", operator, values: &values, without: "", action: REFUSE };
        asked.policy(&bench.program()).replace("matchFileHashes", "matchBuildIds").replace("00ff", "'00ff'")
    };
    let policies = [policy("In"), policy("NotIn")];
    let path = bench.write("hashed.yaml", &policies[0])?;
    let output = bench.ask(&["add", &path.to_string_lossy()])?;
    if !output.status.success() {
        let told = String::from_utf8_lossy(&output.stderr).into_owned();
        let symbols = fs::read_to_string("/proc/kallsyms")?;
        let able = super::policy_enforce::lsm()? && symbols.contains(" bpf_dynptr_from_file");
        let reason = ["cannot read files", "may not sleep", "LSM"].iter().any(|words| told.contains(words));
        ensure!(!able && reason, "it was not refused for what it asks for: {told}");
        println!("        programs of this kernel cannot read files: the refusal is tested");
        return bench.lab.agent.stop();
    }
    let mut program = fs::read(&stacks)?;
    program.extend_from_slice(b"the test's own");
    let named = Files::make(&bench.lab.scratch, &program)?;
    let other = bench.lab.scratch.fresh("unnamed")?.join("unnamed");
    fs::write(&other, content())?;
    let mut all = named.all("map")?;
    all.push(other.to_str().context("no text")?);
    for (operator, with, without) in [("In", EPERM, 0), ("NotIn", 0, EPERM)] {
        if operator == "NotIn" {
            bench.order(&["delete", "hashed"])?;
            bench.add("hashed.yaml", &policies[1])?;
        }
        let seen = bench.lab.observe(&all)?;
        for number in 1..=5 {
            same(operator, seen.run.facts.number(&format!("map.{number}"))?, with)?;
        }
        same(operator, seen.run.facts.number("map.6")?, without)?;
        same("memory", seen.run.facts.number("memory")?, 0)?;
        let events = told(&seen);
        same("events", events.len(), if operator == "In" { 5 } else { 1 })?;
        for event in events {
            same("withheld", event.text("action_withheld"), "")?;
            let (told, missing) = (event.text("ima_hash"), event.text("ima_hash_missing"));
            if operator == "In" {
                same("build id", told, format!("build-id:{id}").as_str())?;
            } else {
                same("no build id", (told, missing), ("", "no_build_id"))?;
            }
        }
    }
    bench.order(&["delete", "hashed"])?;
    named_programs(&mut bench, &id, &named)?;
    bench.lab.agent.stop()
}

/// Nor can it be executed, under any name; a program with another build id can.
fn named_programs(bench: &mut Bench, id: &str, named: &Files) -> Result<()> {
    let values = [id.to_owned()];
    let asked =
        Asked { hook: "bprm_check_security", operator: "In", values: &values, without: "", action: REFUSE };
    let text = asked.policy(&bench.program()).replace("matchFileHashes", "matchBuildIds");
    let other = bench.lab.programs.nop.clone();
    ensure!(build_id(&other).ok().as_deref() != Some(id), "both programs have one build id");
    let all = named.all("execute")?;
    // The one in another file system may not be executed anyhow.
    let mut run = [&all[..4], &all[5..]].concat();
    run.push(other.to_str().context("no text")?);
    let before = bench.lab.observe(&run)?;
    bench.add("hashed.yaml", &text)?;
    let seen = bench.lab.observe(&run)?;
    for number in 1..=4 {
        let name = format!("execute.{number}.status");
        ensure!(before.run.facts.number(&name)? != REFUSED, "{name}: it is not executed without the policy");
        same(&name, seen.run.facts.number(&name)?, REFUSED)?;
    }
    let name = "execute.5.status";
    same(name, seen.run.facts.text(name)?, before.run.facts.text(name)?)?;
    let events = told(&seen);
    same("events", events.len(), 4)?;
    for event in events {
        same("withheld", event.text("action_withheld"), "")?;
        same("build id", event.text("ima_hash"), format!("build-id:{id}").as_str())?;
    }
    Ok(())
}

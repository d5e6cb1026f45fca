//! Policies that interfere: what they refuse does not happen, whoever they are for is hit, nobody else is, and events say
//! what was done. Everything is for the test's own program by its path.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use rustix::mount::{MountFlags, UnmountFlags, mount, mount_bind, unmount};

use super::policy::{Bench, offers};
use crate::case::{Case, alone};
use crate::event::{Event, Kind};
use crate::observe::{Observation, same};

/// The table.
pub const CASES: &[Case] = &[
    alone("policy-refuses", refuses),
    alone("policy-refuses-at-lsm", refuses_at_lsm),
    alone("policy-refuses-otherwise", refuses_otherwise),
    alone("policy-refuses-with-return", refuses_with_return),
    alone("policy-modes", modes),
    alone("policy-kills", kills),
    alone("policy-prevention-required", prevention),
    alone("policy-card-data", card_data),
];

/// Attempts of each of the eight threads.
const ROUNDS: u32 = 150;

/// A file that may not be opened, and one that may.
pub(super) struct Files {
    pub(super) secret: String,
    pub(super) harmless: String,
}

impl Files {
    pub(super) fn make(bench: &Bench) -> Result<Self> {
        let folder = bench.lab.scratch.fresh("files")?;
        let file = |name: &str| -> Result<String> {
            let path = folder.join(name);
            fs::write(&path, format!("{name}\n"))?;
            Ok(path.display().to_string())
        };
        Ok(Self { secret: file("secret")?, harmless: file("harmless")? })
    }
}

/// Refuses this program to open this file.
pub(super) fn refusing(hook: &str, program: &str, file: &str, error: i32, further: &str) -> String {
    format!(
        "apiVersion: cilium.io/v1alpha1\nkind: TracingPolicy\nmetadata: {{name: refusing}}\nspec:\n{further}  {hook}\n    \
         message: not this one\n    args: [{{index: 0, type: file}}]\n    selectors:\n    \
         - matchBinaries: [{{operator: In, values: [{program}]}}]\n      \
         matchArgs: [{{index: 0, operator: Equal, values: [{file}]}}]\n      \
         matchActions: [{{action: Override, argError: {error}}}]\n"
    )
}

pub(super) const BY_FUNCTION: &str = "kprobes:\n  - call: security_file_open\n    syscall: false";
const BY_LSM: &str = "lsmhooks:\n  - hook: file_open";

pub(super) fn hooks<'a>(seen: &'a Observation, action: &str) -> Vec<&'a Event> {
    let told = |event: &&Event| event.kind == Kind::Hook && event.text("action") == action;
    seen.events.iter().filter(told).collect()
}

/// Adds a policy if this kernel can refuse at all; false: it said that it cannot, and the policy is not in force.
pub(super) fn added(bench: &Bench, text: &str) -> Result<bool> {
    let able = offers(&["fmodret"])? || lsm()?;
    let path = bench.write("refusing.yaml", text)?;
    let output = bench.ask(&["add", &path.to_string_lossy()])?;
    let message = String::from_utf8_lossy(&output.stderr).into_owned();
    if output.status.success() {
        ensure!(able, "a kernel without LSM programs and fmod_ret took the policy");
        return Ok(true);
    }
    // Where a program can be left out, it must not be what refuses; returns are not seen by those that cannot.
    if message.contains("is left out when it is preempted") {
        ensure!(
            !lsm()? || text.contains("return: true"),
            "LSM programs, which are never left out, were not taken: {message}"
        );
        println!("        refused, as programs of this kernel can be preempted");
        return Ok(false);
    }
    let reasons = ["lets no program decide", "LSM programs take no effect", "no LSM hook"];
    let able = able && !text.contains("lsmhooks");
    ensure!(!able && reasons.iter().any(|reason| message.contains(reason)), "refused: {message}");
    println!("        refused, as this kernel cannot: {}", message.lines().next().unwrap_or_default());
    Ok(false)
}

/// Whether LSM programs take effect.
pub(super) fn lsm() -> Result<bool> {
    let modules = fs::read_to_string("/sys/kernel/security/lsm").unwrap_or_default();
    Ok(offers(&["lsm"])? && modules.split(',').any(|name| name.trim() == "bpf"))
}

/// Nothing gets through in any way and from any thread; the neighbours are not touched; each attempt is told and counted.
fn refuse_all(hook: &str, error: i32, family: &str) -> Result<()> {
    let mut bench = Bench::open()?;
    let files = Files::make(&bench)?;
    let program = bench.program().display().to_string();
    if !added(&bench, &refusing(hook, &program, &files.secret, error, ""))? {
        return Ok(());
    }
    let rounds = ROUNDS.to_string();
    let seen = bench.lab.observe(&["forbidden", &files.secret, &files.harmless, &rounds])?;
    let facts = &seen.run.facts;
    same("attempts", facts.number("tried")?, u64::from(8 * ROUNDS))?;
    same("forbidden files opened", facts.number("opened")?, 0)?;
    ensure!(facts.has("harmless"), "another file was refused as well");
    if error == -1 {
        same("refused with another error", facts.number("other")?, 0)?;
    }
    // Another program may: the test's own.
    same("the file", fs::read_to_string(&files.secret)?.as_str(), "secret\n")?;
    let told = hooks(&seen, "KPROBE_ACTION_OVERRIDE");
    // Attempts through the link lead to the harmless file now and then.
    ensure!(told.len() >= 8 * ROUNDS as usize / 2, "{} of {} attempts were told", told.len(), 8 * ROUNDS);
    for event in &told {
        same("kind", event.key.as_str(), family)?;
        same("policy", event.text("policy_name"), "refusing")?;
        same("message", event.text("message"), "not this one")?;
        same("file", event.text("args/0/file_arg/path"), files.secret.as_str())?;
        ensure!(event.text("action_withheld").is_empty(), "{}", event.text("action_withheld"));
        same("process", event.exec_id(), seen.root()?.exec_id())?;
        ensure!(
            event.at("return").is_null(),
            "a call that did not happen has a return: {}",
            event.at("return")
        );
    }
    let hook = bench.hook("refusing")?;
    let count = |name: &str| hook[name].as_u64().unwrap_or_default();
    same("counted", count("overridden"), told.len() as u64 + count("lost"))?;
    same("matched", count("matched"), count("overridden"))?;
    bench.order(&["delete", "refusing"])?;
    let after = bench.lab.observe(&["forbidden", &files.secret, &files.harmless, "1"])?;
    same("refused without the policy", after.run.facts.number("other")?, 0)?;
    ensure!(after.run.facts.number("opened")? > 0, "the policy is gone and the file still refused");
    Ok(())
}

fn refuses() -> Result<()> {
    refuse_all(BY_FUNCTION, -1, "process_kprobe")
}

fn refuses_at_lsm() -> Result<()> {
    refuse_all(BY_LSM, -13, "process_lsm")
}

/// What opens a file by its path in less usual ways is refused too; other paths to the same file are other paths, which
/// SECURITY.md says. Programs of rings of 5.10 are threads of the kernel, which are no programs that a selector names.
fn refuses_otherwise() -> Result<()> {
    let mut bench = Bench::open()?;
    let files = Files::make(&bench)?;
    let program = bench.program().display().to_string();
    if !added(&bench, &refusing(BY_FUNCTION, &program, &files.secret, -1, ""))? {
        return Ok(());
    }
    let seen = bench.lab.observe(&["opened-otherwise", &files.secret])?;
    let facts = &seen.run.facts;
    same("in a child that shares all memory", facts.text("vfork")?, "1")?;
    let no_rings = "38";
    if facts.text("ring")? == no_rings {
        println!("        without rings, which this kernel does not have");
    } else {
        same("by a ring", facts.text("ring")?, "1")?;
        if !fs::read_to_string("/proc/sys/kernel/osrelease")?.starts_with("5.10.") {
            same("by a thread of a ring", facts.text("ring.later")?, "1")?;
        }
    }
    if facts.has("handle") {
        same("by a handle", facts.text("handle")?, "1")?;
    }
    same("a hard link", facts.text("linked")?, "0")?;
    same("another mount", facts.text("mounted")?, "0")?;
    bench.lab.agent.stop()
}

/// Where returns are told too, the function itself decides, and a refused call has no return.
fn refuses_with_return() -> Result<()> {
    let hook = "kprobes:\n  - call: security_file_open\n    syscall: false\n    return: true\n    \
                returnArg: {index: 0, type: int}";
    refuse_all(hook, -1, "process_kprobe")
}

/// Monitoring tells what would be refused; modes change without attaching anything anew.
fn modes() -> Result<()> {
    let mut bench = Bench::open()?;
    let files = Files::make(&bench)?;
    let program = bench.program().display().to_string();
    let options = "  options: [{name: policy-mode, value: monitor}]\n";
    if !added(&bench, &refusing(BY_FUNCTION, &program, &files.secret, -1, options))? {
        return Ok(());
    }
    let mut number = None;
    for (mode, enforced) in [("", false), ("enforce", true), ("monitor", false)] {
        if !mode.is_empty() {
            bench.order(&["set-mode", "refusing", mode])?;
        }
        let seen = bench.lab.observe(&["forbidden", &files.secret, &files.harmless, "6"])?;
        let opened = seen.run.facts.number("opened")?;
        ensure!((opened == 0) == enforced, "mode {mode:?}: {opened} were opened");
        let told = hooks(&seen, "KPROBE_ACTION_OVERRIDE");
        ensure!(!told.is_empty(), "mode {mode:?}: nothing was told");
        let withheld = if enforced { "" } else { "monitor" };
        for event in told {
            same("withheld", event.text("action_withheld"), withheld)?;
        }
        let policy = bench.policy("refusing")?;
        let mode = if enforced { "TP_MODE_ENFORCE" } else { "TP_MODE_MONITOR" };
        same("mode", policy["mode"].as_str(), Some(mode))?;
        let now = policy["hooks"][0]["calls"].as_u64();
        ensure!(now > number, "the counters began anew: {now:?} after {number:?}");
        number = now;
    }
    let hook = bench.hook("refusing")?;
    ensure!(hook["overridden"].as_u64() > Some(0) && hook["monitored_override"].as_u64() > Some(0), "{hook}");
    Ok(())
}

/// A signal ends who did it, after the fact on system calls, of which the policy's status warns.
fn kills() -> Result<()> {
    let mut bench = Bench::open()?;
    let files = Files::make(&bench)?;
    let program = bench.program().display().to_string();
    for (action, signal, told) in
        [("Sigkill", 9, "KPROBE_ACTION_SIGKILL"), ("Signal, argSig: 10", 10, "KPROBE_ACTION_SIGNAL")]
    {
        let text = format!(
            "apiVersion: cilium.io/v1alpha1\nkind: TracingPolicy\nmetadata: {{name: ending}}\nspec:\n  kprobes:\n  \
             - call: sys_unlink\n    syscall: true\n    args: [{{index: 0, type: string}}]\n    selectors:\n    \
             - matchBinaries: [{{operator: In, values: [{program}]}}]\n      \
             matchArgs: [{{index: 0, operator: Equal, values: [{}]}}]\n      matchActions: [{{action: {action}}}]\n",
            files.secret
        );
        bench.add("ending.yaml", &text)?;
        let note = bench.hook("ending")?["note"].as_str().unwrap_or_default().to_owned();
        ensure!(note.contains("does not prevent the operation"), "the status does not warn: {note:?}");
        let seen = bench.lab.observe(&["ended", &files.secret])?;
        same("signal", seen.run.facts.number("child.signal")?, signal)?;
        let child = seen.run.facts.number("child.pid")?;
        let told = hooks(&seen, told);
        same("events", told.len(), 1)?;
        same("killed", told[0].number("process/pid"), child)?;
        let other = bench.lab.observe(&["ended", &files.harmless])?;
        same("another file", other.run.facts.number("child.status")?, 7)?;
        let hook = bench.hook("ending")?;
        same("counted", hook["signalled"].as_u64(), Some(1))?;
        bench.order(&["delete", "ending"])?;
        Files::make(&bench).context("the files again")?;
    }
    Ok(())
}

/// The policy of the library: one program reads card data, others see its name and nothing else.
fn card_data() -> Result<()> {
    const FOLDER: &str = "/srv/card-data";
    const FILE: &str = "/srv/card-data/cards.db";
    const SERVICE: &str = "/usr/local/bin/card-service";
    if !lsm()? {
        println!("        LSM programs take no effect on this kernel: NOT RUN");
        return Ok(());
    }
    ensure!(
        !Path::new(FOLDER).exists() && !Path::new(SERVICE).exists(),
        "{FOLDER} or {SERVICE} is there already"
    );
    let mut bench = Bench::open()?;
    // The root of the emulated machines is an overlay, whose files cannot be told by what they are.
    fs::create_dir_all("/srv")?;
    mount("tmpfs", "/srv", "tmpfs", MountFlags::empty(), None).context("mount a file system")?;
    fs::create_dir_all(FOLDER)?;
    fs::write(FILE, "4111 1111 1111 1111\n")?;
    fs::copy("/bin/cat", SERVICE).context("copy the service")?;
    let earlier = "/srv/earlier-mount";
    fs::hard_link(FILE, "/srv/earlier-name")?;
    fs::create_dir_all(earlier)?;
    mount_bind(FOLDER, earlier).context("mount the folder elsewhere")?;
    let policy = concat!(env!("CARGO_MANIFEST_DIR"), "/../policies/card-data.yaml");
    bench.add("card-data.yaml", &fs::read_to_string(policy)?)?;
    let run = |line: &[&str]| -> Result<(bool, String)> {
        let (program, rest) = line.split_first().context("no program")?;
        let output = Command::new(program).args(rest).env("LC_ALL", "C").output();
        let output = output.with_context(|| format!("run {line:?}"))?;
        let told =
            String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
        Ok((output.status.success(), told))
    };
    let from = bench.lab.stream.events.len();
    same("ls", run(&["ls", FOLDER])?, (true, "cards.db\n".to_owned()))?;
    same("the service", run(&[SERVICE, FILE])?, (true, "4111 1111 1111 1111\n".to_owned()))?;
    let copy = bench.lab.scratch.path().join("copy").display().to_string();
    let mounted = format!("{earlier}/cards.db");
    for line in [
        &["cat", FILE] as &[&str],
        &["cp", FILE, &copy],
        &["sh", "-c", "cd /srv && cat ./card-data/../card-data/cards.db"],
        &["sh", "-c", "cat /proc/self/root/srv/card-data/cards.db"],
        &["ln", FILE, "/srv/second-name"],
        &["mv", FILE, "/srv/moved"],
        &["mv", FOLDER, "/srv/moved"],
        &["sh", "-c", "echo changed > /srv/card-data/cards.db"],
        &["cat", "/srv/earlier-name"],
        &["cat", &mounted],
    ] {
        let (done, told) = run(line)?;
        ensure!(!done && told.contains("Operation not permitted"), "{line:?}: {told}");
        ensure!(!told.contains("4111"), "{line:?} shows the data: {told}");
    }
    ensure!(
        !Path::new("/srv/second-name").exists() && !Path::new("/srv/moved").exists(),
        "it has another name"
    );
    same("copied", fs::read(&copy).unwrap_or_default().len(), 0)?;
    bench.lab.settle().context("settle")?;
    let told: Vec<&Event> =
        bench.lab.stream.events[from..].iter().filter(|one| one.kind == Kind::Hook).collect();
    ensure!(told.len() >= 8, "{} events", told.len());
    for event in told {
        same("action", event.text("action"), "KPROBE_ACTION_OVERRIDE")?;
        ensure!(event.text("message").starts_with("card data was to"), "{}", event.text("message"));
        ensure!(event.text("process/binary") != SERVICE, "the service was hit");
    }
    bench.order(&["delete", "card-data"])?;
    same("without the policy", run(&["cat", FILE])?.1, "4111 1111 1111 1111\n".to_owned())?;
    fs::remove_file(SERVICE)?;
    unmount("/srv", UnmountFlags::DETACH).context("unmount")
}

/// Who asks for prevention gets no policy that only kills afterwards.
fn prevention() -> Result<()> {
    let bench = Bench::start(&["--require-prevention"])?;
    let program = bench.program().display().to_string();
    let path = bench.write(
        "late.yaml",
        &format!(
            "apiVersion: cilium.io/v1alpha1\nkind: TracingPolicy\nmetadata: {{name: late}}\nspec:\n  kprobes:\n  \
             - call: sys_unlink\n    syscall: true\n    selectors:\n    \
             - matchBinaries: [{{operator: In, values: [{program}]}}]\n      matchActions: [{{action: Sigkill}}]\n"
        ),
    )?;
    let output = bench.ask(&["add", &path.to_string_lossy()])?;
    let message = String::from_utf8_lossy(&output.stderr);
    ensure!(!output.status.success() && message.contains("`require-prevention` is set"), "{message}");
    ensure!(message.contains("path_unlink") || message.contains("LSM hook"), "no hint: {message}");
    Ok(())
}

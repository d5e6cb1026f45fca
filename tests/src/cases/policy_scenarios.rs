//! Policies of the library that refuse, as they are: what intruders do works without the policy and not with it, and what
//! stands beside it goes on.

use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};

use super::policy::Bench;
use super::policy_enforce::lsm;
use crate::agent;
use crate::case::{Case, alone};
use crate::event::{Event, Kind};
use crate::observe::same;

/// The table.
pub const CASES: &[Case] = &[
    alone("policy-scenario-liblzma", liblzma),
    alone("policy-scenario-escape", escape).spread(),
    alone("policy-scenario-shell", shell).spread(),
    alone("policy-scenario-kernel", kernel).spread(),
    alone("policy-scenario-injection", injection).spread(),
    alone("policy-scenario-root", root).spread(),
    alone("policy-scenario-paths", paths).spread(),
];

const EPERM: u64 = 1;
const EACCES: u64 = 13;
const SIGKILL: u64 = 9;

/// What is told of one way: `error`, `signal`, or an allowed one's `error`.
#[derive(Clone, Copy)]
enum Way {
    /// Refused with EPERM; without the policy done.
    Refused(&'static str),
    /// Refused with EACCES, which the kernel makes of it; without the policy done.
    RefusedAccess(&'static str),
    /// Refused with EPERM; without the policy with another error, which comes later.
    RefusedEarlier(&'static str),
    /// A process that is ended; without the policy its status is 7.
    Ended(&'static str),
    /// Done with the policy and without.
    Allowed(&'static str),
    /// A process whose status is 7 with the policy and without.
    Lives(&'static str),
}

/// An agent, where LSM programs take effect; none: the case says that it is not run.
fn bench() -> Result<Option<Bench>> {
    if !lsm()? {
        println!("        LSM programs take no effect on this kernel: NOT RUN");
        return Ok(None);
    }
    Bench::open().map(Some)
}

/// A policy of the library.
pub(super) fn text(policy: &str) -> Result<String> {
    let path = format!("{}/../policies/{policy}.yaml", env!("CARGO_MANIFEST_DIR"));
    fs::read_to_string(&path).with_context(|| path)
}

/// Runs a workload without a policy of the library and with it; before each run it is prepared. Returns the events that the
/// policy told.
fn attack(
    bench: &mut Bench,
    policy: &str,
    prepare: &dyn Fn() -> Result<()>,
    workload: &[&str],
    ways: &[Way],
) -> Result<Vec<Event>> {
    let mut told = Vec::new();
    for with in [false, true] {
        prepare()?;
        if with {
            bench.add(&format!("{policy}.yaml"), &text(policy)?)?;
        }
        let seen = bench.lab.observe(workload)?;
        let facts = &seen.run.facts;
        for way in ways {
            match way {
                Way::Refused(name) => same(name, facts.number(name)?, if with { EPERM } else { 0 })?,
                Way::RefusedAccess(name) => {
                    // Older kernels leave it EPERM.
                    let error = facts.number(name)?;
                    ensure!(
                        [EPERM, EACCES].contains(&error) == with && (error == 0) != with,
                        "{name}: error {error}"
                    );
                }
                Way::RefusedEarlier(name) => {
                    let error = facts.number(name)?;
                    ensure!(error != 0 && (error == EPERM) == with, "{name}: error {error}, policy: {with}");
                }
                Way::Ended(name) if with => same(name, facts.number(&format!("{name}.signal"))?, SIGKILL)?,
                Way::Ended(name) | Way::Lives(name) => {
                    same(name, facts.number(&format!("{name}.status"))?, 7)?;
                }
                Way::Allowed(name) => same(name, facts.number(name)?, 0)?,
            }
        }
        if with {
            let hooks = seen.events.iter().filter(|event| event.kind == Kind::Hook);
            told = hooks.filter(|event| event.text("policy_name") == policy).cloned().collect();
            bench.order(&["delete", policy])?;
        }
    }
    let wanted = ways.iter().filter(|way| !matches!(way, Way::Allowed(_) | Way::Lives(_))).count();
    ensure!(told.len() >= wanted, "{} events of {wanted} that were refused: {told:#?}", told.len());
    for event in &told {
        ensure!(!event.text("message").is_empty(), "no message: {event:?}");
        let action = event.text("action");
        ensure!(["KPROBE_ACTION_OVERRIDE", "KPROBE_ACTION_SIGKILL"].contains(&action), "action {action:?}");
        same("withheld", event.text("action_withheld"), "")?;
    }
    Ok(told)
}

/// Where the library lies that this machine's `xz` is linked with.
pub(super) fn own_liblzma() -> Result<PathBuf> {
    let output = Command::new("ldd").arg("/usr/bin/xz").output().context("cannot run ldd")?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let line =
        text.lines().find(|line| line.contains("liblzma.so.5")).context("xz is not linked with liblzma")?;
    let path = line.split_whitespace().find(|word| word.starts_with('/')).context("ldd names no path")?;
    Ok(fs::canonicalize(path)?)
}

/// The processes that `saker mapped` finds by the path of a file.
fn mapped(file: &Path) -> Result<Vec<u32>> {
    let output = Command::new(agent::binary()?).arg("mapped").arg(file).args(["-o", "json"]).output()?;
    let told: serde_json::Value = serde_json::from_slice(&output.stdout)
        .with_context(|| String::from_utf8_lossy(&output.stderr).into_owned())?;
    let found = told["found"].as_array().context("nothing is listed")?;
    Ok(found.iter().filter_map(|one| one["pid"].as_u64()).filter_map(|pid| pid.try_into().ok()).collect())
}

/// The library with a backdoor cannot be loaded, whoever is linked with it; as a file it can be looked at.
fn liblzma() -> Result<()> {
    let Some(mut bench) = bench()? else { return Ok(()) };
    let folder = bench.lab.scratch.fresh("libraries")?;
    let bad = folder.join("liblzma.so.5.6.1");
    fs::copy(own_liblzma()?, &bad)?;
    let good = folder.join("good");
    fs::create_dir(&good)?;
    fs::copy(&bad, good.join("liblzma.so.5"))?;
    std::os::unix::fs::symlink(&bad, folder.join("liblzma.so.5"))?;
    let xz = |folder: &Path| -> Result<(bool, String)> {
        let output = Command::new("/usr/bin/xz")
            .arg("--version")
            .env("LD_LIBRARY_PATH", folder)
            .env("LC_ALL", "C")
            .output()?;
        Ok((output.status.success(), String::from_utf8_lossy(&output.stderr).into_owned()))
    };
    ensure!(xz(&folder)?.0, "the library cannot be loaded without the policy either");
    // One that has it already.
    let mut reading = Command::new("/usr/bin/xz")
        .arg("-dc")
        .env("LD_LIBRARY_PATH", &folder)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()?;
    let has_it = crate::wait::until("the process that has the library", crate::wait::LONG, || {
        Ok(mapped(&bad)?.contains(&reading.id()).then_some(()))
    });
    bench.add("liblzma.yaml", &text("liblzma")?)?;
    let still = mapped(&bad)?;
    drop(reading.stdin.take());
    reading.wait()?;
    has_it?;
    same("processes that have it", still, vec![reading.id()])?;
    let from = bench.lab.stream.events.len();
    let (done, message) = xz(&folder)?;
    ensure!(!done && message.contains("liblzma.so.5"), "it was loaded: {message}");
    ensure!(xz(&good)?.0, "a library with another name was refused");
    ensure!(Command::new("sha256sum").arg(&bad).output()?.status.success(), "the file cannot be read");
    bench.lab.settle()?;
    let told: Vec<&Event> =
        bench.lab.stream.events[from..].iter().filter(|event| event.kind == Kind::Hook).collect();
    ensure!(!told.is_empty(), "nothing was told");
    for event in told {
        same("file", event.text("args/0/file_arg/path"), bad.to_string_lossy().as_ref())?;
        same("program", event.text("process/binary"), "/usr/bin/xz")?;
        same("action", event.text("action"), "KPROBE_ACTION_OVERRIDE")?;
    }
    bench.order(&["delete", "liblzma"])?;
    ensure!(xz(&folder)?.0, "the policy is gone and the library is still refused");
    Ok(())
}

fn escape() -> Result<()> {
    use Way::{Allowed, Ended, Refused};
    let Some(mut bench) = bench()? else { return Ok(()) };
    let folder = bench.lab.scratch.fresh("node")?;
    let manifests = folder.join("kubernetes/manifests");
    let prepare = || {
        fs::create_dir_all(&manifests)?;
        Ok(fs::write(manifests.join("old.yaml"), "kind: Pod\n")?)
    };
    let ways = [
        Refused("memfd"),
        Refused("deleted"),
        Ended("setns"),
        Refused("overwrite"),
        Refused("empty"),
        Refused("make"),
        Refused("link"),
        Refused("symlink"),
        Refused("move"),
        Allowed("allowed.program"),
        Allowed("allowed.read"),
    ];
    let folder = folder.display().to_string();
    attack(&mut bench, "container-escape", &prepare, &["attack-escape", &folder], &ways)?;
    Ok(())
}

fn shell() -> Result<()> {
    use Way::{Ended, Lives};
    let Some(mut bench) = bench()? else { return Ok(()) };
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let port = listener.local_addr()?.port().to_string();
    let ways = [Ended("dup2"), Ended("dup3"), Lives("allowed.number"), Lives("allowed.pipe")];
    attack(&mut bench, "reverse-shell", &|| Ok(()), &["attack-shell", &port], &ways)?;
    // The shell's own means.
    let line = format!("exec 3<>/dev/tcp/127.0.0.1/{port}");
    let connects =
        || -> Result<bool> { Ok(Command::new("bash").args(["-c", &line]).output()?.status.success()) };
    ensure!(connects()?, "bash cannot connect without the policy either");
    bench.add("reverse-shell.yaml", &text("reverse-shell")?)?;
    ensure!(!connects()?, "bash has connected");
    Ok(())
}

fn kernel() -> Result<()> {
    use Way::{Allowed, Refused, RefusedEarlier};
    let Some(mut bench) = bench()? else { return Ok(()) };
    let ways = [RefusedEarlier("file"), RefusedEarlier("memory"), Refused("bpf"), Allowed("allowed.map")];
    attack(&mut bench, "kernel-lockdown", &|| Ok(()), &["attack-kernel"], &ways)?;
    Ok(())
}

fn injection() -> Result<()> {
    use Way::{Allowed, Refused, RefusedAccess};
    let Some(mut bench) = bench()? else { return Ok(()) };
    let ways = [
        Refused("write"),
        Refused("read"),
        RefusedAccess("memory"),
        Refused("seize"),
        Refused("attach"),
        Refused("traceme"),
        Allowed("allowed.environ"),
        Allowed("allowed.status"),
    ];
    attack(&mut bench, "injection", &|| Ok(()), &["attack-process"], &ways)?;
    Ok(())
}

fn root() -> Result<()> {
    use Way::{Allowed, Refused};
    let Some(mut bench) = bench()? else { return Ok(()) };
    let program = bench.lab.scratch.path().join("becomes-root");
    fs::copy(&bench.lab.programs.nop, &program)?;
    fs::set_permissions(&program, fs::Permissions::from_mode(0o4755))?;
    let ways = [Refused("program"), Refused("setuid"), Allowed("allowed.program"), Allowed("allowed.other")];
    let program = program.display().to_string();
    attack(&mut bench, "setuid", &|| Ok(()), &["attack-root", &program], &ways)?;
    Ok(())
}

/// In the root file system, and where another one is mounted: paths are whole there too.
fn paths() -> Result<()> {
    use Way::{Allowed, Refused};
    const FOLDER: &str = "/usr/lib/saker-test";
    let Some(mut bench) = bench()? else { return Ok(()) };
    ensure!(!Path::new(FOLDER).exists(), "{FOLDER} is there already");
    let names = [
        "write",
        "open-truncate",
        "truncate",
        "make",
        "node",
        "folder",
        "remove",
        "remove-folder",
        "symlink",
        "link",
        "link-out",
        "move",
        "move-out",
        "rights",
        "mount",
        "bind",
    ];
    let ways: Vec<Way> = names.into_iter().map(Refused).chain([Allowed("allowed.read")]).collect();
    for mounted in [false, true] {
        let parent = Path::new(FOLDER);
        fs::create_dir(parent)?;
        let mount = |line: &[&str]| -> Result<()> {
            let (program, rest) = line.split_first().context("no program")?;
            let status = Command::new(program).args(rest).status()?;
            ensure!(status.success(), "{line:?}: {status}");
            Ok(())
        };
        if mounted {
            mount(&["mount", "-t", "tmpfs", "none", FOLDER])?;
        }
        let prepare = || -> Result<()> {
            // What the run without the policy has left.
            let below = parent.join("files/below");
            while below.exists() && Command::new("umount").arg(&below).output()?.status.success() {}
            for entry in fs::read_dir(parent)? {
                let path = entry?.path();
                if path.is_dir() { fs::remove_dir_all(&path)? } else { fs::remove_file(&path)? }
            }
            let files = parent.join("files");
            fs::create_dir(&files)?;
            for name in ["below", "empty"] {
                fs::create_dir(files.join(name))?;
            }
            for name in ["old", "gone", "aside", "from"] {
                fs::write(files.join(name), format!("{name}\n"))?;
            }
            Ok(())
        };
        let folder = format!("{FOLDER}/files");
        let told = attack(&mut bench, "system-paths", &prepare, &["attack-files", &folder], &ways)
            .with_context(|| format!("mounted: {mounted}"))?;
        let inside = |event: &&Event| event.text("args/0/file_arg/path").starts_with(FOLDER);
        ensure!(told.iter().any(|event| inside(&event)), "no path of a file: {told:#?}");
        for name in ["old", "gone", "aside", "from"] {
            let content = fs::read_to_string(parent.join("files").join(name))?;
            same("a file that was to be changed", content, format!("{name}\n"))?;
        }
        if mounted {
            mount(&["umount", FOLDER])?;
        }
        fs::remove_dir_all(parent)?;
    }
    Ok(())
}

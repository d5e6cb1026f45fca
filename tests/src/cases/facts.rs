//! What an executed leaf says of itself, beside what its exec event says.

use std::fs;
use std::sync::Once;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use crate::event::Event;
use crate::observe::same;
use crate::workload::Facts;

/// Capabilities in the order of their numbers, as the compatible form names them.
const CAPABILITIES: &[&str] = &[
    "CAP_CHOWN",
    "DAC_OVERRIDE",
    "CAP_DAC_READ_SEARCH",
    "CAP_FOWNER",
    "CAP_FSETID",
    "CAP_KILL",
    "CAP_SETGID",
    "CAP_SETUID",
    "CAP_SETPCAP",
    "CAP_LINUX_IMMUTABLE",
    "CAP_NET_BIND_SERVICE",
    "CAP_NET_BROADCAST",
    "CAP_NET_ADMIN",
    "CAP_NET_RAW",
    "CAP_IPC_LOCK",
    "CAP_IPC_OWNER",
    "CAP_SYS_MODULE",
    "CAP_SYS_RAWIO",
    "CAP_SYS_CHROOT",
    "CAP_SYS_PTRACE",
    "CAP_SYS_PACCT",
    "CAP_SYS_ADMIN",
    "CAP_SYS_BOOT",
    "CAP_SYS_NICE",
    "CAP_SYS_RESOURCE",
    "CAP_SYS_TIME",
    "CAP_SYS_TTY_CONFIG",
    "CAP_MKNOD",
    "CAP_LEASE",
    "CAP_AUDIT_WRITE",
    "CAP_AUDIT_CONTROL",
    "CAP_SETFCAP",
    "CAP_MAC_OVERRIDE",
    "CAP_MAC_ADMIN",
    "CAP_SYSLOG",
    "CAP_WAKE_ALARM",
    "CAP_BLOCK_SUSPEND",
    "CAP_AUDIT_READ",
    "CAP_PERFMON",
    "CAP_BPF",
    "CAP_CHECKPOINT_RESTORE",
];

/// Said once.
static HIDDEN: Once = Once::new();

/// Everything that can be compared. The leaf must have run with /proc and have printed last.
///
/// # Errors
/// When something differs.
pub fn check_leaf(event: &Event, facts: &Facts) -> Result<()> {
    check_user(event, facts)?;
    check_file(event, facts)?;
    check_place(event, facts)?;
    check_namespaces(event, facts)
}

fn numbers(facts: &Facts, name: &str) -> Result<Vec<u64>> {
    let text = facts.text(name)?;
    let parts = text.split_whitespace().map(str::parse);
    parts.collect::<Result<_, _>>().with_context(|| format!("the fact {name} is {text}"))
}

/// Users, groups and capabilities.
///
/// # Errors
/// When something differs.
pub fn check_user(event: &Event, facts: &Facts) -> Result<()> {
    let (uid, gid) = (numbers(facts, "leaf.status.Uid")?, numbers(facts, "leaf.status.Gid")?);
    same("uid", event.number("process/uid"), uid[1])?;
    for (names, ids) in [(["uid", "euid", "suid", "fsuid"], uid), (["gid", "egid", "sgid", "fsgid"], gid)] {
        for (name, id) in names.into_iter().zip(ids) {
            let told = event.at(&format!("process/process_credentials/{name}"));
            same(name, told, &Value::from(id))?;
        }
    }
    for (set, name) in [("permitted", "CapPrm"), ("effective", "CapEff"), ("inheritable", "CapInh")] {
        let wanted = facts.text(&format!("leaf.status.{name}"))?;
        let told = capability_bits(event.at(&format!("process/cap/{set}")))?;
        same(set, told, u64::from_str_radix(wanted, 16)?)?;
    }
    same("cap_bounding", event.text("process/cap_bounding"), facts.text("leaf.status.CapBnd")?)?;
    let login = facts.find("leaf.loginuid").map_or(Ok(u64::from(u32::MAX)), str::parse)?;
    same("auid", event.number("process/auid"), login)?;
    let privileges = facts.text("leaf.status.NoNewPrivs")? == "1";
    same("no_new_privs", event.truth("process/no_new_privs"), privileges)
}

/// The set as a number.
///
/// # Errors
/// When it has an unknown name.
pub fn capability_bits(names: &Value) -> Result<u64> {
    let mut bits = 0;
    for name in names.as_array().into_iter().flatten().filter_map(Value::as_str) {
        let known = CAPABILITIES.iter().position(|capability| *capability == name);
        bits |= 1 << known.with_context(|| format!("{name} is no capability"))?;
    }
    Ok(bits)
}

fn check_file(event: &Event, facts: &Facts) -> Result<()> {
    let path = facts.text("leaf.exe")?;
    same("canonical_path", event.text("process/canonical_path"), path)?;
    same("inode", event.number("process/inode"), facts.number("leaf.exe.ino")?)?;
    let device = format!("{}:{}", facts.text("leaf.exe.major")?, facts.text("leaf.exe.minor")?);
    same("device", event.text("process/device"), &device)?;
    same("command", event.text("process/command"), facts.text("leaf.comm")?)
}

fn check_place(event: &Event, facts: &Facts) -> Result<()> {
    same("cwd", event.text("process/cwd"), facts.text("leaf.cwd")?)?;
    // Seen from inside a PID namespace the numbers are others.
    if facts.text("leaf.status.NSpid")?.contains(' ') {
        let inner = facts.number("leaf.pid")?;
        return same("ns_pid", event.number("process/ns_pid"), inner);
    }
    same("pid", u64::from(event.pid()), facts.number("leaf.pid")?)?;
    same("ns_pid", event.number("process/ns_pid"), 0)?;
    same("session_id", event.number("process/session_id"), facts.number("leaf.sid")?)?;
    same("process_group", event.number("process/process_group"), facts.number("leaf.pgid")?)
}

fn check_namespaces(event: &Event, facts: &Facts) -> Result<()> {
    let names = [
        "uts",
        "ipc",
        "mnt",
        "pid",
        "pid_for_children",
        "net",
        "time",
        "time_for_children",
        "cgroup",
        "user",
    ];
    for name in names {
        let Some(inum) = facts.find(&format!("leaf.ns.{name}")) else {
            println!("        this kernel has no {name} namespace, which is therefore not compared");
            continue;
        };
        let told = event.number(&format!("process/ns/{name}/inum"));
        same(&format!("{name} namespace"), told, inum.parse()?)?;
        let of_first = name.trim_end_matches("_for_children");
        let Some(host) = host_namespace(of_first) else {
            HIDDEN.call_once(|| {
                println!("        a sandbox hides the first process: is_host is never compared");
            });
            continue;
        };
        let is_host = host == format!("{of_first}:[{inum}]");
        let told = event.truth(&format!("process/ns/{name}/is_host"));
        same(&format!("{name} namespace is the host's"), told, is_host)?;
    }
    Ok(())
}

/// The first process's namespace of this type; `None`: even root may not see it.
fn host_namespace(name: &str) -> Option<String> {
    Some(fs::read_link(format!("/proc/1/ns/{name}")).ok()?.to_string_lossy().into_owned())
}

/// That a time of the JSON form (RFC 3339) lies between two others of the same form.
///
/// # Errors
/// When it does not.
pub fn check_between(what: &str, time: &str, first: &str, last: &str) -> Result<()> {
    // Without the Z and the fraction's missing zeros, the texts compare like the times.
    let plain = |text: &str| text.trim_end_matches('Z').to_owned();
    ensure!(
        plain(first) <= plain(time) && plain(time) <= plain(last),
        "{what}: {time} is not between {first} and {last}"
    );
    Ok(())
}

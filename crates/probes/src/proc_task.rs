//! A process as `/proc` shows it, in the form of a task record: for kernels without a task iterator and for
//! processes that a kernel keeps out of it.

use std::fs;
use std::os::linux::fs::MetadataExt;
use std::path::{Path, PathBuf};

use saker_abi::generated::{
    SAKER_PROC_KERNEL_THREAD, SAKER_PROC_NO_NEW_PRIVS, saker_creds, saker_exec, saker_key, saker_namespaces,
};
use saker_abi::{Status, Tag, build};

/// Nanoseconds of one clock tick: user space sees 100 a second on every architecture (USER_HZ).
const TICK: u64 = 10_000_000;
/// Source: include/linux/sched.h.
const PF_KTHREAD: u64 = 0x0020_0000;

/// A proc file system, by the path where it is mounted.
#[derive(Clone, Copy, Debug)]
pub struct Proc<'a>(pub &'a Path);

/// What `/proc/PID/stat` tells.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stat {
    /// The kernel's name of the task.
    pub comm: String,
    /// Process id of the parent; 0: none.
    pub parent: u32,
    group: u32,
    session: u32,
    flags: u64,
    /// Creation in nanoseconds of CLOCK_BOOTTIME, rounded down to a clock tick.
    pub start: u64,
}

impl Stat {
    /// The name stands in parentheses and may hold any character, these included.
    fn parse(line: &str) -> Option<Self> {
        let (from, to) = (line.find('(')?, line.rfind(')')?);
        let fields: Vec<&str> = line.get(to + 1..)?.split_ascii_whitespace().collect();
        let number = |at: usize| fields.get(at)?.parse::<i64>().ok().map(|n| u64::try_from(n).unwrap_or(0));
        let id = |at: usize| u32::try_from(number(at)?).ok();
        Some(Self {
            comm: line.get(from + 1..to)?.to_owned(),
            parent: id(1)?,
            group: id(2)?,
            session: id(3)?,
            flags: number(6)?,
            start: number(19)?.saturating_mul(TICK),
        })
    }
}

impl Proc<'_> {
    /// A file of a process.
    pub fn of(&self, pid: u32, file: &str) -> PathBuf {
        self.0.join(pid.to_string()).join(file)
    }

    /// The line of a process.
    pub fn stat(&self, pid: u32) -> Option<Stat> {
        Stat::parse(&fs::read_to_string(self.of(pid, "stat")).ok()?)
    }

    /// The record of a process. `key` and `parent` are as other records of the snapshot have them, where they do.
    #[must_use]
    pub fn record(&self, stat: &Stat, key: saker_key, parent: saker_key, now: u64) -> Vec<u8> {
        let pid = key.pid;
        let mut task = saker_exec::default();
        task.rec.time = now;
        task.rec.process = key;
        let id = &mut task.id;
        (id.parent, id.real_parent) = (parent, parent);
        (id.start_boottime, id.tid) = (key.ktime, pid);
        (id.sid, id.pgid) = (stat.session, stat.group);
        id.auid = self.number(pid, "loginuid");
        id.audit_session = self.number(pid, "sessionid");
        for (to, from) in id.comm.iter_mut().take(15).zip(stat.comm.bytes()) {
            *to = from.cast_signed();
        }
        if stat.flags & PF_KTHREAD != 0 {
            id.flags |= SAKER_PROC_KERNEL_THREAD;
        }
        let status = fs::read_to_string(self.of(pid, "status")).unwrap_or_default();
        if field(&status, "NoNewPrivs:").first() == Some(&"1") {
            id.flags |= SAKER_PROC_NO_NEW_PRIVS;
        }
        id.creds = creds(&status);
        id.ns = self.namespaces(pid);
        if let Ok(file) = fs::metadata(self.of(pid, "exe")) {
            task.exe.ino = file.st_ino();
            task.exe.mode = file.st_mode();
            task.exe.nlink = u32::try_from(file.st_nlink()).unwrap_or(u32::MAX);
            (task.exe.uid, task.exe.gid) = (file.st_uid(), file.st_gid());
        }
        let mut built = build::task(task);
        for (tag, link) in [(Tag::EXE, "exe"), (Tag::CWD, "cwd")] {
            if let Ok(path) = fs::read_link(self.of(pid, link)) {
                built = built.value(tag, Status::Ok, 0, &components(&path));
            }
        }
        built.finish()
    }

    fn number(&self, pid: u32, file: &str) -> u32 {
        let text = fs::read_to_string(self.of(pid, file)).unwrap_or_default();
        text.trim().parse().unwrap_or(u32::MAX)
    }

    fn namespaces(&self, pid: u32) -> saker_namespaces {
        let inum = |name: &str| {
            let link = fs::read_link(self.of(pid, "ns").join(name)).unwrap_or_default();
            let link = link.to_string_lossy();
            let inum = link.split_once('[').and_then(|(_, rest)| rest.strip_suffix(']'));
            inum.and_then(|inum| inum.parse().ok()).unwrap_or(0)
        };
        saker_namespaces {
            uts: inum("uts"),
            ipc: inum("ipc"),
            mnt: inum("mnt"),
            pid: inum("pid"),
            pid_for_children: inum("pid_for_children"),
            net: inum("net"),
            time: inum("time"),
            time_for_children: inum("time_for_children"),
            cgroup: inum("cgroup"),
            user: inum("user"),
        }
    }
}

/// A path in the form of the records: components from the leaf up, each ended by NUL.
fn components(path: &Path) -> Vec<u8> {
    use std::os::unix::ffi::OsStrExt;
    let bytes = path.as_os_str().as_bytes();
    let bytes = bytes.strip_suffix(b" (deleted)").unwrap_or(bytes);
    let parts = bytes.split(|&byte| byte == b'/').rev().filter(|part| !part.is_empty());
    parts.flat_map(|part| part.iter().copied().chain([0])).collect()
}

fn field<'a>(status: &'a str, name: &str) -> Vec<&'a str> {
    let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default();
    line.split_ascii_whitespace().collect()
}

fn creds(status: &str) -> saker_creds {
    let id = |name: &str, at: usize| field(status, name).get(at).and_then(|n| n.parse().ok()).unwrap_or(0);
    let set = |name: &str| {
        field(status, name).first().and_then(|hex| u64::from_str_radix(hex, 16).ok()).unwrap_or(0)
    };
    saker_creds {
        uid: id("Uid:", 0),
        euid: id("Uid:", 1),
        suid: id("Uid:", 2),
        fsuid: id("Uid:", 3),
        gid: id("Gid:", 0),
        egid: id("Gid:", 1),
        sgid: id("Gid:", 2),
        fsgid: id("Gid:", 3),
        cap_inheritable: set("CapInh:"),
        cap_permitted: set("CapPrm:"),
        cap_effective: set("CapEff:"),
        cap_bounding: set("CapBnd:"),
        cap_ambient: set("CapAmb:"),
        ..saker_creds::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_may_hold_parentheses_and_spaces() {
        let line = "7 (a) b (c)) S 1 5 6 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 1 0 1234 99";
        let stat = Stat::parse(line).unwrap();
        assert_eq!(stat.comm, "a) b (c)");
        assert_eq!((stat.parent, stat.group, stat.session), (1, 5, 6));
        assert_eq!(stat.start, 1234 * TICK);
        assert_eq!(Stat::parse("7 (x S 1"), None);
        assert_eq!(Stat::parse(""), None);
    }

    #[test]
    fn paths_become_components() {
        assert_eq!(components(Path::new("/usr/bin/x (deleted)")), b"x\0bin\0usr\0");
        assert_eq!(components(Path::new("/")), b"");
    }

    #[test]
    fn this_process_is_described() {
        let pid = std::process::id();
        let proc = Proc(Path::new("/proc"));
        let stat = proc.stat(pid).unwrap();
        let key = saker_key { ktime: stat.start, pid, zero: 0 };
        let bytes = proc.record(&stat, key, saker_key::default(), stat.start + 1);
        let record = saker_abi::decode(&bytes).unwrap();
        let exe = record.values().find(|value| value.tag == Tag::EXE).unwrap();
        let own = std::env::current_exe().unwrap();
        assert_eq!(exe.bytes, components(&own));
    }
}

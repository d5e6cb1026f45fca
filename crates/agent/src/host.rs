//! What the agent must know about the host: its name, its clocks, its namespaces, its users.

use std::collections::HashMap;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::time::{ClockId, clock_gettime};
use saker_abi::{Body, NamespaceInums};
use saker_engine::{SnapshotTask, UserNames};
use zerocopy::IntoBytes;

/// Name of this node: the environment's (as Kubernetes passes it), else the host's.
#[must_use]
pub fn node_name() -> String {
    given_name(|variable| std::env::var(variable).ok())
        .unwrap_or_else(|| rustix::system::uname().nodename().to_string_lossy().into_owned())
}

/// A variable that is set to nothing names nobody.
fn given_name(variable: impl Fn(&str) -> Option<String>) -> Option<String> {
    ["NODE_NAME", "HUBBLE_NODE_NAME"]
        .into_iter()
        .find_map(|name| variable(name).filter(|name| !name.is_empty()))
}

/// Release of the running kernel.
#[must_use]
pub fn kernel_release() -> String {
    rustix::system::uname().release().to_string_lossy().into_owned()
}

/// Nanoseconds of CLOCK_BOOTTIME.
#[must_use]
pub fn boot_now() -> u64 {
    let time = clock_gettime(ClockId::Boottime);
    let nanoseconds = i128::from(time.tv_sec) * 1_000_000_000 + i128::from(time.tv_nsec);
    u64::try_from(nanoseconds).unwrap_or(0)
}

/// Wall clock minus CLOCK_BOOTTIME in nanoseconds.
#[must_use]
pub fn boot_to_wall() -> u64 {
    let nanoseconds = |clock| {
        let time = clock_gettime(clock);
        i128::from(time.tv_sec) * 1_000_000_000 + i128::from(time.tv_nsec)
    };
    u64::try_from(nanoseconds(ClockId::Realtime) - nanoseconds(ClockId::Boottime)).unwrap_or(0)
}

/// Namespaces of the host's first process, as the kernel side told them. The links in its directory of the proc
/// file system are not readable for everybody who may load sensors. Without that process: none is known.
#[must_use]
pub fn host_namespaces(snapshot: &[SnapshotTask]) -> NamespaceInums {
    let of = |pid: u32| {
        snapshot.iter().find_map(|task| match &saker_abi::decode(&task.record).ok()?.body {
            Body::Task(exec) if exec.rec.process.pid == pid => Some(exec.id.ns),
            _ => None,
        })
    };
    // A hardened kernel may hide the first process's; kthreadd is in the initial ones for ever.
    of(1).filter(|ns| ns.as_bytes().iter().any(|&byte| byte != 0)).or_else(|| of(2)).unwrap_or_default()
}

/// Names from the passwd file of the host, read anew when it has changed.
#[derive(Debug)]
pub struct PasswdFile {
    path: PathBuf,
    names: HashMap<u32, Box<str>>,
    version: Option<(u64, i64, i64)>,
    looked: Option<Instant>,
}

impl PasswdFile {
    /// How often the file is looked at.
    const INTERVAL: Duration = Duration::from_secs(5);
    /// Users that are remembered.
    const MAX_USERS: usize = 65_536;

    /// The file as the host's first process sees it, so also from inside a container.
    #[must_use]
    pub fn of_host(procfs: &Path) -> Self {
        let of_init = procfs.join("1/root/etc/passwd");
        let path = if of_init.exists() { of_init } else { PathBuf::from("/etc/passwd") };
        Self::at(path)
    }

    fn at(path: PathBuf) -> Self {
        Self { path, names: HashMap::new(), version: None, looked: None }
    }

    /// All users, in the order of their numbers.
    pub fn all(&mut self) -> Vec<(u32, Box<str>)> {
        self.refresh();
        let mut all: Vec<_> = self.names.iter().map(|(uid, name)| (*uid, name.clone())).collect();
        all.sort_unstable();
        all
    }

    fn refresh(&mut self) {
        if self.looked.is_some_and(|at| at.elapsed() < Self::INTERVAL) {
            return;
        }
        self.looked = Some(Instant::now());
        let version =
            fs::metadata(&self.path).ok().map(|found| (found.ino(), found.mtime(), found.mtime_nsec()));
        if version == self.version {
            return;
        }
        self.version = version;
        self.names.clear();
        for line in
            fs::read(&self.path).unwrap_or_default().split(|&byte| byte == b'\n').take(Self::MAX_USERS)
        {
            let line = String::from_utf8_lossy(line);
            let mut fields = line.split(':');
            let (name, uid) = (fields.next(), fields.nth(1).and_then(|uid| uid.parse().ok()));
            if let (Some(name), Some(uid)) = (name.filter(|name| !name.is_empty()), uid) {
                // The first of several names of a number is the one that the system shows.
                self.names.entry(uid).or_insert_with(|| name.into());
            }
        }
    }
}

impl UserNames for PasswdFile {
    fn name(&mut self, uid: u32) -> Option<Box<str>> {
        self.refresh();
        self.names.get(&uid).cloned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn empty_variables_name_no_node() {
        let name = |first: &str, second: &str| {
            given_name(|variable| Some(if variable == "NODE_NAME" { first } else { second }.to_owned()))
        };
        assert_eq!(name("", "hub").as_deref(), Some("hub"));
        assert_eq!(name("node", "hub").as_deref(), Some("node"));
        assert_eq!(name("", ""), None);
        assert_eq!(given_name(|_| None), None);
    }

    #[test]
    fn names_of_users() {
        let directory = tempfile::TempDir::new().unwrap();
        let path = directory.path().join("passwd");
        fs::write(&path, "root:x:0:0::/:/bin/sh\ntoor:x:0:0::/:/bin/sh\nbad line\n:x:7::\nweb:x:33:33:::\n")
            .unwrap();
        let mut users = PasswdFile::at(path.clone());
        assert_eq!(users.name(0).as_deref(), Some("root"));
        assert_eq!(users.name(33).as_deref(), Some("web"));
        assert_eq!(users.name(7), None);
        fs::remove_file(&path).unwrap();
        users.looked = None;
        assert_eq!(users.name(0), None);
    }

    #[test]
    fn namespaces_of_the_first_process() {
        let task = |pid, inum| {
            let mut exec = saker_abi::Exec::default();
            exec.rec.process = saker_abi::Key::new(pid, 1);
            exec.id.ns.pid = inum;
            SnapshotTask { record: saker_abi::build::task(exec).finish(), ..SnapshotTask::default() }
        };
        assert_eq!(host_namespaces(&[task(2, 7), task(1, 9)]).pid, 9);
        assert_eq!(host_namespaces(&[task(2, 7), task(1, 0)]).pid, 7);
        assert_eq!(host_namespaces(&[]), NamespaceInums::default());
    }

    #[test]
    fn wall_clock_is_ahead_of_boot_time() {
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
        assert!(u128::from(boot_to_wall()) <= now.as_nanos());
        assert!(boot_to_wall() > 1_600_000_000 * 1_000_000_000);
    }
}

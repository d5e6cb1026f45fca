//! The processes that are there, by the task iterator and the proc file system.

use std::collections::{HashMap, HashSet};
use std::fs::{self, File};
use std::io::Read;
use std::os::linux::fs::MetadataExt;
use std::path::Path;

use libbpf_rs::Iter;
use saker_abi::generated::{SAKER_ARGS_MAX, SAKER_RECORD_MAX, saker_exec, saker_key, saker_record};
use zerocopy::FromBytes;

use crate::proc_task::Proc;
use crate::{Error, Sensors};

/// One process of a snapshot.
#[derive(Clone, Debug, Default)]
pub struct SnapshotTask {
    /// Its record, kind `TASK`.
    pub record: Vec<u8>,
    /// Its argument vector, each ended by NUL; empty for kernel threads and what ended meanwhile.
    pub argv: Vec<u8>,
    /// Its environment likewise, when the sensors send environments.
    pub environ: Vec<u8>,
}

impl Sensors {
    /// Reads all processes. Every process that starts or ends meanwhile is told of by the ring. What the
    /// iterator leaves out, because this kernel has none or keeps a process from it, comes from the proc file system.
    ///
    /// # Errors
    /// The iterator could not be read.
    pub fn snapshot(&self, environment: bool) -> Result<Vec<SnapshotTask>, Error> {
        let begin = boot_time();
        let mut tasks = if self.has_task_iterator() { self.iterate(environment)? } else { Vec::new() };
        add_missing(&mut tasks, &Proc(&self.procfs), begin, environment);
        Ok(tasks)
    }

    fn iterate(&self, environment: bool) -> Result<Vec<SnapshotTask>, Error> {
        let link = self.task_iterator()?;
        let mut iterator =
            Iter::new(&link).map_err(|e| Error::Iterator(std::io::Error::other(e.to_string())))?;
        let mut bytes = Vec::with_capacity(256 * 1024);
        iterator.read_to_end(&mut bytes).map_err(Error::Iterator)?;
        let mut tasks = Vec::new();
        let mut rest = bytes.as_slice();
        while let Some((record, tail)) = split_record(rest) {
            tasks.push(complete(&Proc(&self.procfs), record, environment));
            rest = tail;
        }
        if !rest.is_empty() {
            let text = format!("{} bytes at the end are no record", rest.len());
            return Err(Error::Iterator(std::io::Error::new(std::io::ErrorKind::InvalidData, text)));
        }
        Ok(tasks)
    }
}

/// Nanoseconds of CLOCK_BOOTTIME.
fn boot_time() -> u64 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
    u64::try_from(now.tv_sec).unwrap_or(0) * 1_000_000_000 + u64::try_from(now.tv_nsec).unwrap_or(0)
}

/// A process must be this old, in nanoseconds, to be looked for in /proc: younger ones are the live sensors'.
const SETTLED: u64 = 1_000_000_000;

/// Adds the processes that were there before `begin` and that the snapshot lacks.
fn add_missing(tasks: &mut Vec<SnapshotTask>, proc: &Proc<'_>, begin: u64, environment: bool) {
    // The keys of all that the snapshot speaks of: its processes and, if only as somebody's parent, others.
    let mut keys: HashMap<u32, saker_key> = HashMap::new();
    let mut listed = HashSet::new();
    for task in tasks.iter() {
        let Ok((exec, _)) = saker_exec::read_from_prefix(&task.record) else { continue };
        listed.insert(exec.rec.process.pid);
        keys.insert(exec.rec.process.pid, exec.rec.process);
        keys.entry(exec.id.real_parent.pid).or_insert(exec.id.real_parent);
    }
    let Ok(entries) = fs::read_dir(proc.0) else { return };
    let pids = entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<u32>().ok());
    let missing: Vec<u32> = pids.filter(|pid| !listed.contains(pid)).collect();
    for pid in missing {
        let Some(stat) = proc.stat(pid) else { continue };
        if stat.start + SETTLED > begin {
            continue;
        }
        let derived = |pid: u32, ktime: u64| saker_key { ktime, pid, zero: 0 };
        let key = keys.get(&pid).copied().unwrap_or_else(|| derived(pid, stat.start));
        let parent = keys.get(&stat.parent).copied().unwrap_or_else(|| match proc.stat(stat.parent) {
            Some(parent) => derived(stat.parent, parent.start),
            None => saker_key::default(),
        });
        tasks.push(complete(proc, &proc.record(&stat, key, parent, begin), environment));
    }
}

/// The first record of `bytes` and what follows it; `None` when there is no whole one.
fn split_record(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (header, _) = saker_record::read_from_prefix(bytes).ok()?;
    let len = header.len as usize;
    if len < size_of::<saker_record>() || header.len > SAKER_RECORD_MAX {
        return None;
    }
    bytes.split_at_checked(len)
}

/// Adds what only /proc tells. The file executed is compared before and after, so that an exec in between does
/// not lend its arguments to the program before.
fn complete(proc: &Proc<'_>, record: &[u8], environment: bool) -> SnapshotTask {
    let mut task = SnapshotTask { record: record.to_vec(), ..SnapshotTask::default() };
    let Ok((exec, _)) = saker_exec::read_from_prefix(record) else { return task };
    let pid = exec.rec.process.pid;
    if exec.exe.ino == 0 {
        return task; // a kernel thread
    }
    let argv = read_bounded(&proc.of(pid, "cmdline"));
    let environ = if environment { read_bounded(&proc.of(pid, "environ")) } else { Vec::new() };
    if runs_inode(proc, pid, exec.exe.ino) {
        task.argv = argv;
        task.environ = environ;
    }
    task
}

fn runs_inode(proc: &Proc<'_>, pid: u32, inode: u64) -> bool {
    fs::metadata(proc.of(pid, "exe")).is_ok_and(|file| file.st_ino() == inode)
}

/// A file's beginning, up to the bound of a live record; empty when it cannot be read.
fn read_bounded(path: &Path) -> Vec<u8> {
    let mut bytes = Vec::new();
    if let Ok(file) = File::open(path) {
        // A process that vanishes while it is read leaves what was read so far, which is then discarded.
        let _ = file.take(u64::from(SAKER_ARGS_MAX)).read_to_end(&mut bytes);
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A directory that looks like a proc file system with one process.
    fn other_proc() -> std::path::PathBuf {
        let path = std::env::temp_dir().join(format!("saker-proc-{}", std::process::id()));
        fs::create_dir_all(path.join("4000000")).unwrap();
        fs::write(
            path.join("4000000/stat"),
            "4000000 (else where) S 1 5 6 0 -1 4194560 0 0 0 0 0 0 0 0 20 0 1 0 7 9",
        )
        .unwrap();
        path
    }

    #[test]
    fn processes_come_from_the_proc_file_system_that_was_named() {
        let path = other_proc();
        let mut tasks = Vec::new();
        add_missing(&mut tasks, &Proc(&path), u64::MAX, false);
        fs::remove_dir_all(&path).unwrap();
        let pids: Vec<u32> = tasks
            .iter()
            .map(|task| saker_exec::read_from_prefix(&task.record).unwrap().0.rec.process.pid)
            .collect();
        assert_eq!(pids, [4_000_000]);
    }

    #[test]
    fn a_cut_record_is_not_split_off() {
        assert!(split_record(&[]).is_none());
        assert!(split_record(&[0; 200]).is_none());
        let mut bytes = vec![0_u8; 100];
        bytes[8..12].copy_from_slice(&88_u32.to_ne_bytes());
        let (record, rest) = split_record(&bytes).unwrap();
        assert_eq!((record.len(), rest.len()), (88, 12));
        bytes[8..12].copy_from_slice(&101_u32.to_ne_bytes());
        assert!(split_record(&bytes).is_none());
    }
}

//! What keeps others, root among them, from ending, changing and blinding the agent (`bpf/guard/guard.bpf.c`).
//!
//! Programs of security modules know the agent by its number, its files by their inodes, and its BPF objects by their
//! numbers. Which inodes: this process opens each file while it says what the file is, and a program takes down the
//! address of what is opened. So it is the kernel's own answer, on whatever file system; and as the file stays open here,
//! the address stays that of the same inode.

mod objects;

use std::fs;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use libbpf_rs::btf::types::{Func, FuncProto};
use libbpf_rs::btf::{Btf, BtfType, ReferencesType};
use libbpf_rs::skel::{OpenSkel, Skel, SkelBuilder};
use libbpf_rs::{Link, MapCore, MapFlags, MapHandle, OpenObject};
use rustix::fs::{Mode, OFlags};
use saker_abi::generated::{
    SAKER_GUARD_BELOW, SAKER_GUARD_FILE, SAKER_GUARD_HOOKS, SAKER_GUARD_INNER, SAKER_GUARD_INODES_MAX,
    SAKER_GUARD_MOUNT, SAKER_GUARD_NAME, SAKER_GUARD_POLICY, saker_guard_count,
};
use zerocopy::FromBytes;

use crate::guard_skel::{GuardSkelBuilder, OpenGuardSkel};
use crate::hooks::{own_id, ring_limit};
use crate::library_log::LibraryLog;
use crate::{Error, Sensors, facts, keep, loader};

const LIFTED: &str = "saker_guard_lifted";
const MARKING: &str = "saker_guard_marking";
const INODES: &str = "saker_guard_inodes";
const COUNTS: &str = "saker_guard_counts";
const ONLY: [u8; 4] = 0_u32.to_ne_bytes();
/// Only where pins are guarded: the kernel asks it for each component of each path.
const PERMISSION: &str = "saker_guard_inode_permission";
/// Entries below a directory that are looked at for other names.
const ENTRIES_MAX: usize = 16_384;
/// Where control groups of version 2 are, unless the mounts say otherwise.
const GROUPS: &str = "/sys/fs/cgroup";

/// What is guarded beside the process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Part {
    /// A file or socket. One that is not there is left out.
    File(PathBuf),
    /// A directory with all that is below it. The same.
    Below(PathBuf),
    /// A directory of pins, into which nobody else goes.
    Pins(PathBuf),
}

/// A hook of the guard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GuardHook {
    /// Name of the hook of security modules.
    pub name: &'static str,
    /// Names of what its events tell; the second is there only of hooks about files.
    pub values: &'static [&'static str],
}

const fn about(name: &'static str, number: &'static str) -> GuardHook {
    GuardHook {
        name,
        values: match number.as_bytes() {
            b"signal" => &["signal"],
            b"mode" => &["mode"],
            b"resource" => &["resource"],
            b"thread" => &["thread"],
            b"nice" => &["nice"],
            b"priority" => &["priority"],
            b"mask" => &["mask"],
            b"flags" => &["flags"],
            b"command" => &["command"],
            _ => &["id"],
        },
    }
}

const fn of_file(name: &'static str) -> GuardHook {
    GuardHook { name, values: &["mode", "name"] }
}

/// The hooks, in the order of `enum saker_guard_hook`.
pub const GUARD_HOOKS: [GuardHook; SAKER_GUARD_HOOKS as usize] = [
    about("task_kill", "signal"),
    about("file_send_sigiotask", "signal"),
    about("ptrace_access_check", "mode"),
    about("task_setrlimit", "resource"),
    about("task_setscheduler", "thread"),
    about("task_setnice", "nice"),
    about("task_setioprio", "priority"),
    of_file("file_open"),
    of_file("inode_create"),
    of_file("inode_mkdir"),
    of_file("inode_mknod"),
    of_file("inode_symlink"),
    of_file("inode_link"),
    of_file("inode_unlink"),
    of_file("inode_rmdir"),
    of_file("inode_rename"),
    of_file("inode_setattr"),
    about("inode_permission", "mask"),
    about("sb_umount", "flags"),
    about("bpf", "command"),
    about("bpf_map", "id"),
    about("bpf_prog", "id"),
];

/// What a hook did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct GuardCount {
    /// Attempts that were refused.
    pub refused: u64,
    /// Of them those for which the ring had no room.
    pub lost: u64,
}

/// The guard. It ends when this is dropped, and with the process.
pub struct Guard {
    /// First, so that nothing is refused any more while the rest goes.
    links: Mutex<Vec<Link>>,
    parts: Vec<Part>,
    lifted: MapHandle,
    marking: MapHandle,
    inodes: MapHandle,
    counts: MapHandle,
    objects: objects::Objects,
    /// Inodes whose addresses are known to the kernel side.
    held: Mutex<Vec<OwnedFd>>,
}

impl Guard {
    /// Number of the policy that stands in its records.
    pub const POLICY: u32 = SAKER_GUARD_POLICY;

    /// Guards this process and these parts from now on: all of it, or nothing and an error.
    ///
    /// # Errors
    /// Programs of security modules take no effect here, this process is in another PID namespace than the first, a part
    /// cannot be looked at, or the kernel refuses a program.
    pub fn begin(sensors: &Sensors, parts: Vec<Part>) -> Result<Self, Error> {
        check(&facts::security_modules(), own_id())?;
        let _lock = loader::lock();
        let log = LibraryLog::capture();
        let failed = |operation: &'static str| {
            let log = log.tail();
            move |source| Error::Load { operation, source, log }
        };
        let mut place: MaybeUninit<OpenObject> = MaybeUninit::uninit();
        let mut open = GuardSkelBuilder::default().open(&mut place).map_err(failed("open"))?;
        let guards_pins = parts.iter().any(|part| matches!(part, Part::Pins(_)));
        configure(&mut open, sensors, guards_pins)?;
        let skel =
            open.load().map_err(|source| Error::Load { operation: "load", source, log: log.tail() })?;
        let handle = |name: &'static str| {
            let map = skel.object().maps().find(|map| map.name() == name);
            let map = map.ok_or_else(|| Error::Option(format!("the object has no map {name}")))?;
            MapHandle::try_from(&map).map_err(|source| Error::Map { map: name, source })
        };
        let mut links = Vec::new();
        for program in skel.object().progs_mut().filter(|program| guards_pins || program.name() != PERMISSION)
        {
            links.push(program.attach_lsm().map_err(failed("attach"))?);
        }
        let guard = Self {
            links: Mutex::new(links),
            parts,
            lifted: handle(LIFTED)?,
            marking: handle(MARKING)?,
            inodes: handle(INODES)?,
            counts: handle(COUNTS)?,
            objects: objects::Objects::new(handle(objects::MAP)?),
            held: Mutex::default(),
        };
        guard.mark_all()?;
        guard.tend()?;
        Ok(guard)
    }

    /// Marks all parts anew: while the guard was lifted files may have been replaced.
    ///
    /// # Errors
    /// One cannot be looked at, or the kernel has no room.
    pub fn mark_all(&self) -> Result<(), Error> {
        let mut held = self.held();
        let failed = |source| Error::Map { map: INODES, source };
        for key in self.inodes.keys().take(2 * SAKER_GUARD_INODES_MAX as usize).collect::<Vec<_>>() {
            match self.inodes.delete(&key) {
                Err(error) if error.kind() != libbpf_rs::ErrorKind::NotFound => return Err(failed(error)),
                _ => {}
            }
        }
        held.clear();
        self.mark_existing(Path::new("/proc/self/exe"), SAKER_GUARD_FILE, true, &mut held)?;
        if let Ok(binary) = fs::read_link("/proc/self/exe") {
            self.mark_above(&binary, &mut held)?;
        }
        for part in &self.parts {
            match part {
                Part::File(path) => self.mark_part(path, SAKER_GUARD_FILE, &mut held)?,
                Part::Below(path) => {
                    self.mark_part(path, SAKER_GUARD_BELOW, &mut held)?;
                    self.mark_other_names(path, &mut held)?;
                }
                Part::Pins(path) => {
                    self.mark_part(path, SAKER_GUARD_BELOW | SAKER_GUARD_INNER, &mut held)?;
                    if let Some(root) = keep::mounted_at(path) {
                        self.mark_existing(&root, SAKER_GUARD_MOUNT, false, &mut held)?;
                    }
                }
            }
        }
        self.mark_group(&mut held)
    }

    /// A part, which need not be there, by all its names, and the directories that lead to it.
    fn mark_part(&self, path: &Path, bits: u32, held: &mut Vec<OwnedFd>) -> Result<(), Error> {
        if fs::symlink_metadata(path).is_err() {
            return Ok(());
        }
        // A symbolic link is a name that could lead elsewhere tomorrow.
        self.mark_existing(path, bits | SAKER_GUARD_FILE, false, held)?;
        self.mark_above(path, held)?;
        if let Ok(found) = fs::canonicalize(path)
            && found != path
        {
            self.mark_existing(&found, bits, false, held)?;
            self.mark_above(&found, held)?;
        }
        Ok(())
    }

    fn mark_above(&self, path: &Path, held: &mut Vec<OwnedFd>) -> Result<(), Error> {
        for above in path.ancestors().skip(1).filter(|above| !above.as_os_str().is_empty()) {
            self.mark_existing(above, SAKER_GUARD_NAME, false, held)?;
        }
        Ok(())
    }

    /// Files below a directory that have another name somewhere, by which they could be written.
    fn mark_other_names(&self, root: &Path, held: &mut Vec<OwnedFd>) -> Result<(), Error> {
        let mut open = vec![root.to_owned()];
        let mut seen = 0;
        while let Some(dir) = open.pop() {
            let Ok(entries) = fs::read_dir(&dir) else { continue };
            for entry in entries.flatten() {
                seen += 1;
                if seen > ENTRIES_MAX {
                    return Err(Error::Option(format!(
                        "{} has more than {ENTRIES_MAX} entries: too many to guard; choose another directory, or run \
                         without --self-protection",
                        root.display()
                    )));
                }
                let Ok(found) = entry.metadata() else { continue };
                if found.is_dir() {
                    open.push(entry.path());
                } else if found.nlink() > 1 {
                    self.mark_existing(&entry.path(), SAKER_GUARD_FILE, false, held)?;
                }
            }
        }
        Ok(())
    }

    /// The files by which all processes of the agent's control group, or of one above it, are killed or frozen.
    fn mark_group(&self, held: &mut Vec<OwnedFd>) -> Result<(), Error> {
        let groups = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
        let Some(own) = groups.lines().find_map(|line| line.strip_prefix("0::/")) else { return Ok(()) };
        for group in Path::new(own).ancestors() {
            for name in ["cgroup.kill", "cgroup.freeze"] {
                let file = Path::new(GROUPS).join(group).join(name);
                if file.exists() {
                    self.mark_existing(&file, SAKER_GUARD_FILE, false, held)?;
                }
            }
        }
        Ok(())
    }

    /// Has the kernel side take down the inode of a file. It is held open by its place, which is no opening to the kernel,
    /// and then opened by that, so that both are the same.
    fn mark_existing(
        &self,
        path: &Path,
        bits: u32,
        follow: bool,
        held: &mut Vec<OwnedFd>,
    ) -> Result<(), Error> {
        let looking = |error: rustix::io::Errno| Error::System {
            operation: format!("look at {} to guard it", path.display()),
            source: error.into(),
        };
        let links = if follow { OFlags::empty() } else { OFlags::NOFOLLOW };
        let flags = OFlags::PATH | OFlags::CLOEXEC | links;
        let place = match rustix::fs::open(path, flags, Mode::empty()) {
            // Gone meanwhile.
            Err(rustix::io::Errno::NOENT) => return Ok(()),
            other => other.map_err(looking)?,
        };
        if rustix::fs::fstat(&place).is_ok_and(|found| is_link(found.st_mode)) {
            // It cannot be opened itself; that its directory's name stays is all that can be had.
            return Ok(());
        }
        let thread = rustix::thread::gettid().as_raw_nonzero().get().cast_unsigned();
        self.set_marking(u64::from(bits) << 32 | u64::from(thread))?;
        let by = format!("/proc/self/fd/{}", place.as_raw_fd());
        let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC | OFlags::NOCTTY;
        // Whether it can be opened does not matter: sockets cannot.
        drop(rustix::fs::open(by, flags, Mode::empty()));
        let left = self.marking.lookup(&ONLY, MapFlags::ANY);
        let left = left.map_err(|source| Error::Map { map: MARKING, source })?.unwrap_or_default();
        self.set_marking(0)?;
        if left.iter().any(|byte| *byte != 0) {
            return Err(Error::Option(format!(
                "{} cannot be guarded: its opening was not seen, or more than {SAKER_GUARD_INODES_MAX} files are guarded",
                path.display()
            )));
        }
        held.push(place);
        Ok(())
    }

    fn set_marking(&self, word: u64) -> Result<(), Error> {
        let set = self.marking.update(&ONLY, &word.to_ne_bytes(), MapFlags::ANY);
        set.map_err(|source| Error::Map { map: MARKING, source })
    }

    /// Refuses nothing until then, in nanoseconds of `CLOCK_BOOTTIME`; 0: it guards. The kernel keeps the time.
    ///
    /// # Errors
    /// The kernel cannot be told; nothing has changed.
    pub fn lift_until(&self, until: u64) -> Result<(), Error> {
        let set = self.lifted.update(&ONLY, &until.to_ne_bytes(), MapFlags::ANY);
        set.map_err(|source| Error::Map { map: LIFTED, source })
    }

    /// Takes down the links that were made since, and makes room. Called now and then: what is not taken down yet is known
    /// by its program.
    ///
    /// # Errors
    /// The kernel cannot be told.
    pub fn tend(&self) -> Result<(), Error> {
        // Not while files are marked, which takes the same word.
        let _held = self.held();
        let looked = self.set_marking(u64::MAX).and_then(|()| self.objects.make_room());
        self.set_marking(0)?;
        looked?;
        self.objects.enter_own()
    }

    /// What each hook did, in the order of [`GUARD_HOOKS`].
    ///
    /// # Errors
    /// The kernel cannot be asked.
    pub fn counts(&self) -> Result<Vec<GuardCount>, Error> {
        let count = |number: u32| {
            let found = self.counts.lookup(&number.to_ne_bytes(), MapFlags::ANY);
            let found = found.map_err(|source| Error::Map { map: COUNTS, source })?.unwrap_or_default();
            let found = saker_guard_count::read_from_prefix(&found).map(|(count, _)| count);
            let saker_guard_count { refused, lost } = found.unwrap_or_default();
            Ok(GuardCount { refused, lost })
        };
        (0..SAKER_GUARD_HOOKS).map(count).collect()
    }

    /// Ends it at once.
    pub fn end(&self) {
        self.links.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    fn held(&self) -> MutexGuard<'_, Vec<OwnedFd>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn is_link(mode: u32) -> bool {
    rustix::fs::FileType::from_raw_mode(mode) == rustix::fs::FileType::Symlink
}

/// Whether the guard can be all that it is.
fn check(modules: &[String], own: u32) -> Result<(), Error> {
    if !modules.iter().any(|name| name == "bpf") {
        return Err(Error::Option(
            "--self-protection: programs of security modules take no effect on this kernel: boot with `bpf` in lsm=, or run \
             without the option"
                .into(),
        ));
    }
    if own == 0 {
        return Err(Error::Option(
            "--self-protection: the agent is not in the first PID namespace of the machine (containers: hostPID), so its \
             process cannot be told from others"
                .into(),
        ));
    }
    Ok(())
}

fn configure(open: &mut OpenGuardSkel<'_>, sensors: &Sensors, guards_pins: bool) -> Result<(), Error> {
    let failed = |source| Error::Load { operation: "configure", source, log: String::new() };
    let [ring, stats, reader, processes] = sensors.shared_maps()?;
    let functions = if sensors.is_preemptible() { loader::preemption_functions() } else { Vec::new() };
    let namespace = fs::metadata("/proc/self/ns/mnt");
    let namespace = namespace
        .map_err(|source| Error::System { operation: "look at the own mount namespace".into(), source })?;
    if let Some(rodata) = open.maps.rodata_data.as_deref_mut() {
        rodata.saker_task_storage = sensors.uses_task_storage();
        rodata.saker_preemptible = !functions.is_empty();
        rodata.saker_ring_limit = ring_limit(&ring);
        rodata.saker_guarded = own_id();
        rodata.saker_guarded_mounts = u32::try_from(namespace.ino()).unwrap_or(0);
        rodata.saker_setattr_mapped = arguments_of("bpf_lsm_inode_setattr")? == 3;
    }
    let maps = &mut open.maps;
    maps.saker_ring.reuse_fd(ring.as_fd()).map_err(failed)?;
    maps.saker_stats.reuse_fd(stats.as_fd()).map_err(failed)?;
    maps.data_reader.reuse_fd(reader.as_fd()).map_err(failed)?;
    maps.saker_processes.set_autocreate(sensors.uses_task_storage()).map_err(failed)?;
    maps.saker_processes_hash.set_autocreate(!sensors.uses_task_storage()).map_err(failed)?;
    let records =
        if sensors.uses_task_storage() { &mut maps.saker_processes } else { &mut maps.saker_processes_hash };
    records.reuse_fd(processes.as_fd()).map_err(failed)?;
    maps.saker_leaderless.set_autocreate(false).map_err(failed)?;
    for mut program in open.open_object_mut().progs_mut() {
        let wanted = guards_pins || program.name() != PERMISSION;
        program.set_autoload(wanted);
        loader::forbid_preemption(&mut program, &functions).map_err(failed)?;
    }
    Ok(())
}

/// How many arguments a function of the kernel has.
fn arguments_of(name: &str) -> Result<usize, Error> {
    let unknown = || Error::Option(format!("--self-protection: this kernel does not describe {name}"));
    let btf = Btf::from_vmlinux().map_err(|_| unknown())?;
    let found = btf.type_by_name::<BtfType<'_>>(name).ok_or_else(unknown)?;
    let function = Func::try_from(found).map_err(|_| unknown())?;
    let shape: FuncProto<'_> = btf.type_by_id(function.referenced_type_id()).ok_or_else(unknown)?;
    Ok(shape.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_refused_where_it_would_have_holes() {
        let modules = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
        assert!(check(&modules(&["lockdown", "bpf"]), 7).is_ok());
        let refused = check(&modules(&["lockdown", "apparmor"]), 7).unwrap_err().to_string();
        assert!(refused.contains("`bpf` in lsm="), "{refused}");
        let refused = check(&modules(&["bpf"]), 0).unwrap_err().to_string();
        assert!(refused.contains("PID namespace"), "{refused}");
    }

    #[test]
    fn hooks_have_the_numbers_of_the_kernel_side() {
        use saker_abi::generated as raw;
        let at = |number: u32| GUARD_HOOKS[number as usize].name;
        assert_eq!(at(raw::SAKER_GUARD_TASK_KILL), "task_kill");
        assert_eq!(at(raw::SAKER_GUARD_FILE_OPEN), "file_open");
        assert_eq!(at(raw::SAKER_GUARD_INODE_RENAME), "inode_rename");
        assert_eq!(at(raw::SAKER_GUARD_INODE_PERMISSION), "inode_permission");
        assert_eq!(at(raw::SAKER_GUARD_BPF_PROG), "bpf_prog");
    }
}

//! Loading and attaching the process sensors, and their counters.

use std::mem::MaybeUninit;
use std::os::fd::AsFd;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use libbpf_rs::skel::{OpenSkel, SkelBuilder};
use libbpf_rs::{Link, MapCore, MapFlags, MapHandle, OpenObject, ProgramMut};
use saker_abi::generated::saker_stats;
use zerocopy::{FromBytes, IntoBytes};

use crate::keep::{self, Keep, Pinned, Processes};
use crate::library_log::LibraryLog;
use crate::loader::{self, Contents, Prepared, Section, Shortcut};
use crate::missed::{Missed, left_out};
use crate::process_skel::{OpenProcessSkel, ProcessSkel, ProcessSkelBuilder};
use crate::{Error, KernelFacts, Reader, capabilities};

/// How the sensors are loaded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// Size of the ring buffer in bytes; rounded up to a power of two of at least a page.
    pub ring_bytes: usize,
    /// Processes the fallback table holds on kernels without task storage.
    pub hash_entries: u32,
    /// Send the environment of executed programs.
    pub environment: bool,
    /// Where the proc file system is mounted that shows all processes.
    pub procfs: PathBuf,
    /// Act as if the kernel had no task storage, to test the fallback.
    pub force_hash: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            ring_bytes: 2 << 20,
            hash_entries: 32768,
            environment: false,
            procfs: "/proc".into(),
            force_hash: false,
        }
    }
}

/// Names of the kernel's types that the object asks for.
const TYPES: &str = include_str!(concat!(env!("OUT_DIR"), "/process.types"));

/// Sections of the object's programs.
const SECTIONS: [Section<'static>; 4] = [
    Section::tracepoint(c"tp_btf/sched_process_fork", "btf_trace_sched_process_fork"),
    Section::tracepoint(c"tp_btf/sched_process_exec", "btf_trace_sched_process_exec"),
    Section::tracepoint(c"tp_btf/sched_process_exit", "btf_trace_sched_process_exit"),
    Section::iterator(c"iter/task", "bpf_iter_task"),
];

/// Smallest ring accepted: a record must fit twice.
const RING_MIN: usize = 64 << 10;
/// Largest ring accepted.
const RING_MAX: usize = 1 << 30;

/// The loaded and attached sensors. Dropping them detaches.
pub struct Sensors {
    // Links go first: nothing runs any more when the maps go.
    links: Vec<Link>,
    skel: ProcessSkel<'static>,
    task_storage: bool,
    bpf_loop: bool,
    task_iterator: bool,
    understudies: bool,
    pub(crate) procfs: PathBuf,
    missed: Mutex<Missed>,
    keep: Option<Arc<Keep>>,
    /// Goes after the links, which does not matter: a pin holds what it is of.
    _pinned: Option<Pinned>,
}

/// Number of sensors: exec, fork, exit.
pub const SENSORS: usize = 3;

impl Sensors {
    /// Opens, loads and attaches. Records flow into the ring from here on.
    ///
    /// # Errors
    /// Missing rights, an unsupported kernel, a bad option, or a program the kernel refuses.
    pub fn load(options: &Options, facts: &KernelFacts) -> Result<Self, Error> {
        Self::load_beside(options, facts, None)
    }

    /// The same beside what earlier agents kept, if there is anything: then nothing is told before the turn is taken. If
    /// what is loaded is to stay, it is pinned.
    ///
    /// # Errors
    /// The same, or something cannot be pinned.
    pub fn load_beside(
        options: &Options,
        facts: &KernelFacts,
        keep: Option<Arc<Keep>>,
    ) -> Result<Self, Error> {
        let ring_bytes = ring_size(options.ring_bytes)?;
        check_rights(facts)?;
        facts.require_sensors()?;
        let log = LibraryLog::capture();
        let task_iterator = facts.task_iterator;
        let task_storage = facts.task_storage && !options.force_hash;
        let mut wanted = Wanted {
            options,
            facts,
            ring_bytes,
            task_storage,
            understudies: needs_understudies(facts, task_storage),
            processes: keep.as_ref().map_or_else(Processes::default, |keep| keep.processes()),
            keep: keep.as_deref(),
        };
        let _lock = loader::lock();
        let skel = match wanted.load(true, &log) {
            Ok(skel) => skel,
            Err(error) => {
                tracing::debug!("loading without the library's own view of the kernel's types: {error}");
                // Only the quick way knows how to forbid preemption. Sensors that are preempted miss processes, which
                // is counted and told.
                wanted.understudies = false;
                wanted.load(false, &log)?
            }
        };
        let mut sensors = Self {
            links: Vec::new(),
            skel,
            task_storage,
            bpf_loop: facts.bpf_loop,
            task_iterator,
            understudies: wanted.understudies,
            procfs: options.procfs.clone(),
            missed: Mutex::default(),
            keep,
            _pinned: None,
        };
        sensors.attach().map_err(|source| Error::Load { operation: "attach", source, log: log.tail() })?;
        sensors.pin()?;
        Ok(sensors)
    }

    /// Exit first and fork last: what is seen to begin is then also seen to end.
    fn attach(&mut self) -> Result<(), libbpf_rs::Error> {
        if self.understudies {
            self.give_bodies()?;
        }
        let [exec, fork, exit] = self.live();
        let order = [exit, exec, fork].into_iter().flatten();
        let links: Result<Vec<_>, _> = order.map(ProgramMut::attach_trace).collect();
        self.links = links?;
        Ok(())
    }

    /// Has all stay when this process is gone, if that is wanted.
    fn pin(&mut self) -> Result<(), Error> {
        let Some(keep) = self.keep.clone() else { return Ok(()) };
        let maps = &self.skel.maps;
        let handle = |map, name| MapHandle::try_from(map).map_err(|source| Error::Map { map: name, source });
        let mut kept = vec![
            ("ring", handle(&maps.saker_ring, "saker_ring")?),
            ("reader", handle(&maps.data_reader, ".data.reader")?),
            (keep::STATS, handle(&maps.saker_stats, "saker_stats")?),
        ];
        if self.task_storage {
            kept.push(("processes", handle(&maps.saker_processes, "saker_processes")?));
            kept.push(("leaderless", handle(&maps.saker_leaderless, "saker_leaderless")?));
        } else {
            kept.push(("hash", handle(&maps.saker_processes_hash, "saker_processes_hash")?));
            kept.push(("ended", handle(&maps.saker_ended, "saker_ended")?));
        }
        if self.understudies {
            // The kernel empties arrays of programs when nobody has them open or pinned any more.
            kept.push(("exec-body", handle(&maps.saker_exec_body, "saker_exec_body")?));
            kept.push(("fork-body", handle(&maps.saker_fork_body, "saker_fork_body")?));
            kept.push(("exit-body", handle(&maps.saker_exit_body, "saker_exit_body")?));
        }
        self._pinned = keep.pin_base(&mut self.links, kept)?;
        Ok(())
    }

    /// Where what is loaded stays, or what is left of others.
    #[must_use]
    pub fn keep(&self) -> Option<&Arc<Keep>> {
        self.keep.as_ref()
    }

    /// Puts the sensors where their understudies jump to.
    fn give_bodies(&self) -> Result<(), libbpf_rs::Error> {
        use std::os::fd::AsRawFd;
        let (maps, progs) = (&self.skel.maps, &self.skel.progs);
        let bodies = [
            (&maps.saker_exec_body, &progs.saker_exec),
            (&maps.saker_fork_body, &progs.saker_fork),
            (&maps.saker_exit_body, &progs.saker_exit),
        ];
        bodies.into_iter().try_for_each(|(map, program)| {
            map.update(&0_u32.to_ne_bytes(), &program.as_fd().as_raw_fd().to_ne_bytes(), MapFlags::ANY)
        })
    }

    /// The programs to attach for exec, fork and exit: the sensors in the variants this kernel takes, or their
    /// understudies.
    fn live(&self) -> [Vec<&ProgramMut<'static>>; SENSORS] {
        let p = &self.skel.progs;
        if self.understudies {
            return [
                vec![&p.saker_exec_1, &p.saker_exec_2, &p.saker_exec_3, &p.saker_exec_4],
                vec![&p.saker_fork_1, &p.saker_fork_2, &p.saker_fork_3, &p.saker_fork_4],
                vec![&p.saker_exit_1, &p.saker_exit_2, &p.saker_exit_3, &p.saker_exit_4],
            ];
        }
        let exit = if self.task_storage { &p.saker_exit } else { &p.saker_exit_hash };
        let exec = if self.bpf_loop { &p.saker_exec } else { &p.saker_exec_bounded };
        [vec![exec], vec![&p.saker_fork], vec![exit]]
    }

    /// What hooks share with the sensors: ring, counters, the reader's word, and the records of processes, whose map
    /// is the hash where there is no task storage.
    ///
    /// # Errors
    /// A map cannot be passed on.
    pub(crate) fn shared_maps(&self) -> Result<[MapHandle; 4], Error> {
        let maps = &self.skel.maps;
        let handle = |map, name| MapHandle::try_from(map).map_err(|source| Error::Map { map: name, source });
        let processes = if self.task_storage { &maps.saker_processes } else { &maps.saker_processes_hash };
        Ok([
            handle(&maps.saker_ring, "saker_ring")?,
            handle(&maps.saker_stats, "saker_stats")?,
            handle(&maps.data_reader, ".data.reader")?,
            handle(processes, "saker_processes")?,
        ])
    }

    pub(crate) fn is_preemptible(&self) -> bool {
        self.understudies
    }

    /// Detaches the sensors: nothing new comes into the ring. What is in it can still be read.
    pub fn detach(&mut self) {
        self.links.clear();
    }

    pub(crate) fn has_task_iterator(&self) -> bool {
        self.task_iterator
    }

    /// The task iterator's link; each call makes one.
    pub(crate) fn task_iterator(&self) -> Result<Link, Error> {
        let programs = &self.skel.progs;
        let program = if self.bpf_loop { &programs.saker_task } else { &programs.saker_task_bounded };
        loader::attach_iterator(program).map_err(|source| Error::Load {
            operation: "attach",
            source,
            log: String::new(),
        })
    }

    /// The reader of the ring buffer. Make one only: two would share the records between them.
    ///
    /// # Errors
    /// The ring cannot be mapped.
    pub fn reader(&self) -> Result<Reader, Error> {
        let maps = &self.skel.maps;
        let handle = |map, name| MapHandle::try_from(map).map_err(|source| Error::Map { map: name, source });
        Reader::new(handle(&maps.saker_ring, "saker_ring")?, handle(&maps.data_reader, ".data.reader")?)
    }

    /// Counters of each possible CPU, in their order.
    ///
    /// # Errors
    /// The map cannot be read.
    pub fn stats(&self) -> Result<Vec<saker_stats>, Error> {
        stats_in(&self.skel.maps.saker_stats)
    }

    /// Times exec, fork and exit went unseen because the kernel ran none of their programs, at most: each is a
    /// record not made. The kernel does so where a program is running on the same CPU already.
    #[must_use]
    pub fn missed(&self) -> [u64; SENSORS] {
        let count = |program: &&ProgramMut<'_>| left_out(program.as_fd()).unwrap_or(0);
        let counts = self.live().map(|programs| programs.iter().map(count).collect());
        self.missed.lock().unwrap_or_else(PoisonError::into_inner).take(counts)
    }

    /// Kernel memory in bytes, as the kernel charges it: of all programs together, which are called `programs`, and of
    /// each map.
    #[must_use]
    pub fn memory(&self) -> Vec<(String, u64)> {
        use libbpf_rs::skel::Skel;
        let object = self.skel.object();
        let programs = object.progs().filter_map(|program| program_fdinfo(program.as_fd(), "memlock:"));
        let programs = ("programs".to_owned(), programs.sum());
        let map = |map: libbpf_rs::Map<'_>| {
            let bytes = program_fdinfo(map.as_fd(), "memlock:")?;
            Some((map.name().to_string_lossy().into_owned(), bytes))
        };
        std::iter::once(programs).chain(object.maps().filter_map(map)).collect()
    }

    /// Whether process records are kept in task storage (else in a hash).
    #[must_use]
    pub fn uses_task_storage(&self) -> bool {
        self.task_storage
    }
}

/// A number of `/proc/self/fdinfo`, e.g. `memlock:`.
pub(crate) fn program_fdinfo(fd: std::os::fd::BorrowedFd<'_>, field: &str) -> Option<u64> {
    use std::os::fd::AsRawFd;
    let path = format!("/proc/self/fdinfo/{}", fd.as_raw_fd());
    let text = std::fs::read_to_string(path).ok()?;
    text.lines().find_map(|line| line.strip_prefix(field))?.trim().parse().ok()
}

fn ring_size(wanted: usize) -> Result<u32, Error> {
    if !(RING_MIN..=RING_MAX).contains(&wanted) {
        return Err(Error::Option(format!(
            "a ring buffer of {wanted} bytes is out of range: choose 64K to 1G (option rb-size-total)"
        )));
    }
    u32::try_from(wanted.next_power_of_two()).map_err(|error| Error::Option(error.to_string()))
}

fn check_rights(facts: &KernelFacts) -> Result<(), Error> {
    let missing = capabilities::missing(facts.capabilities);
    if missing.is_empty() {
        return Ok(());
    }
    Err(Error::NotPermitted {
        operation: "load BPF programs and read processes",
        missing: missing.join(", "),
    })
}

/// What is loaded and how.
struct Wanted<'a> {
    options: &'a Options,
    facts: &'a KernelFacts,
    ring_bytes: u32,
    task_storage: bool,
    understudies: bool,
    /// Those of the last agent.
    processes: Processes,
    keep: Option<&'a Keep>,
}

impl Wanted<'_> {
    /// Opens and loads the object; `quick`: with [`Shortcut`], if this kernel allows it. The caller holds
    /// [`loader::lock`].
    fn load(&self, quick: bool, log: &LibraryLog) -> Result<ProcessSkel<'static>, Error> {
        let failed = |operation| move |source| Error::Load { operation, source, log: log.tail() };
        // The object lives as long as the agent, and the skeleton borrows its place.
        let place: &'static mut MaybeUninit<OpenObject> = Box::leak(Box::new(MaybeUninit::uninit()));
        let mut builder = ProcessSkelBuilder::default();
        let targets = SECTIONS.iter().filter_map(Section::target);
        let prepared = if quick { Prepared::find(TYPES, targets) } else { None };
        let shortcut = prepared
            .as_ref()
            .and_then(|prepared| Shortcut::take(builder.object_builder_mut(), prepared, &SECTIONS, true));
        if shortcut.is_none() {
            builder = ProcessSkelBuilder::default();
        }
        let mut open = builder.open(place).map_err(failed("open"))?;
        configure(&mut open, self).map_err(failed("configure"))?;
        if let Some(shortcut) = &shortcut {
            shortcut.settle(open.open_object_mut(), None, &Contents::Whole);
        }
        open.load().map_err(failed("load"))
    }
}

fn configure(open: &mut OpenProcessSkel<'_>, wanted: &Wanted<'_>) -> Result<(), libbpf_rs::Error> {
    let &Wanted { options, facts, ring_bytes, task_storage, understudies, .. } = wanted;
    configure_understudies(open, understudies)?;
    open.maps.saker_ring.set_max_entries(ring_bytes)?;
    open.maps.saker_processes.set_autocreate(task_storage)?;
    open.maps.saker_leaderless.set_autocreate(task_storage)?;
    open.maps.saker_ended.set_autocreate(!task_storage)?;
    open.maps.saker_processes_hash.set_autocreate(!task_storage)?;
    if !task_storage {
        open.maps.saker_processes_hash.set_max_entries(options.hash_entries.max(1))?;
    }
    if let Some(rodata) = open.maps.rodata_data.as_deref_mut() {
        rodata.saker_task_storage = task_storage;
        rodata.saker_environment = options.environment;
        rodata.saker_preemptible = understudies;
    }
    configure_turn(open, wanted)?;
    open.progs.saker_exit.set_autoload(task_storage);
    open.progs.saker_exit_hash.set_autoload(!task_storage);
    open.progs.saker_exec.set_autoload(facts.bpf_loop);
    open.progs.saker_exec_bounded.set_autoload(!facts.bpf_loop);
    open.progs.saker_task.set_autoload(facts.bpf_loop && facts.task_iterator);
    open.progs.saker_task_bounded.set_autoload(!facts.bpf_loop && facts.task_iterator);
    Ok(())
}

/// What is shared with earlier agents.
fn configure_turn(open: &mut OpenProcessSkel<'_>, wanted: &Wanted<'_>) -> Result<(), libbpf_rs::Error> {
    let Some(keep) = wanted.keep else { return Ok(()) };
    open.maps.data_turn.reuse_fd(keep.turn_map().as_fd())?;
    if let Some(rodata) = open.maps.rodata_data.as_deref_mut() {
        rodata.saker_generation = keep.generation();
    }
    for (name, map) in &wanted.processes.0 {
        let maps = &mut open.maps;
        match (*name, wanted.task_storage) {
            ("processes", true) => maps.saker_processes.reuse_fd(map.as_fd())?,
            ("leaderless", true) => maps.saker_leaderless.reuse_fd(map.as_fd())?,
            ("hash", false) => maps.saker_processes_hash.reuse_fd(map.as_fd())?,
            ("ended", false) => maps.saker_ended.reuse_fd(map.as_fd())?,
            _ => {}
        }
    }
    Ok(())
}

/// Whether sensors may be preempted and so need programs that stand in for them (`bpf/lib/understudy.h`). All
/// kernels of which that is known have task storage, where the stand-ins look.
fn needs_understudies(facts: &KernelFacts, task_storage: bool) -> bool {
    facts.preemptible_tracepoints && facts.bpf_loop && task_storage
}

fn configure_understudies(open: &mut OpenProcessSkel<'_>, wanted: bool) -> Result<(), libbpf_rs::Error> {
    let maps = &mut open.maps;
    for body in [&mut maps.saker_exec_body, &mut maps.saker_fork_body, &mut maps.saker_exit_body] {
        body.set_autocreate(wanted)?;
    }
    let p = &mut open.progs;
    let programs = [
        &mut p.saker_exec_1,
        &mut p.saker_exec_2,
        &mut p.saker_exec_3,
        &mut p.saker_exec_4,
        &mut p.saker_fork_1,
        &mut p.saker_fork_2,
        &mut p.saker_fork_3,
        &mut p.saker_fork_4,
        &mut p.saker_exit_1,
        &mut p.saker_exit_2,
        &mut p.saker_exit_3,
        &mut p.saker_exit_4,
    ];
    for program in programs {
        program.set_autoload(wanted);
    }
    Ok(())
}

/// What each CPU counted, in a map of the sensors of this agent or of another.
pub(crate) fn stats_in(map: &impl MapCore) -> Result<Vec<saker_stats>, Error> {
    let values = map.lookup_percpu(0_u32.as_bytes(), MapFlags::ANY);
    let values = values.map_err(|source| Error::Map { map: "saker_stats", source })?.unwrap_or_default();
    let read = values.iter().map(|bytes| saker_stats::read_from_prefix(bytes));
    Ok(read.map(|read| read.map(|(stats, _)| stats).unwrap_or_default()).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ring_sizes_are_powers_of_two_in_range() {
        assert_eq!(ring_size(2 << 20).unwrap(), 2 << 20);
        assert_eq!(ring_size(100_000).unwrap(), 131_072);
        assert!(ring_size(4096).unwrap_err().to_string().contains("rb-size-total"));
        assert!(ring_size(usize::MAX).is_err());
    }
}

//! Handing on what processes have of those before them, while a policy follows descendants
//! (`bpf/policy/follow.bpf.c`).

use std::io::Read;
use std::mem::MaybeUninit;
use std::os::fd::AsFd;

use libbpf_rs::skel::{OpenSkel, Skel, SkelBuilder};
use libbpf_rs::{Iter, Link, MapCore, MapHandle, OpenObject};

use crate::follow_skel::{FollowSkel, FollowSkelBuilder, OpenFollowSkel};
use crate::sensors::LibraryLog;
use crate::{Error, loader};

/// Table of processes, and bits by number: maps that hooks which follow share.
pub(crate) const MAPS: [&str; 2] = ["saker_lineages", "saker_follow_pids"];

/// Attached wherever programs of tracepoints run undisturbed.
const PROGRAMS: [&str; 3] = ["saker_follow_fork", "saker_follow_exec", "saker_follow_free"];
/// Attached as well where they may be preempted.
const SECOND: [&str; 2] = ["saker_follow_fork_2", "saker_follow_exec_2"];
/// Looks at all processes.
const ITERATOR: &str = "saker_follow_task";

/// How the programs are loaded.
pub(crate) struct Wanted<'a> {
    /// Functions that forbid preemption, where it must be.
    pub preemption: &'a [(i32, u32)],
    /// The kernel has task iterators.
    pub task_iterator: bool,
    /// Maps that are there already, by name. What is missing is made.
    pub shared: Vec<(&'static str, &'a MapHandle)>,
    /// Names of those that may be made.
    pub made: &'a [&'static str],
}

/// The programs, attached. Dropping them forgets all lineages.
pub(crate) struct Follow {
    // Links go first: nothing runs any more when the maps go.
    _links: Vec<Link>,
    skel: FollowSkel<'static>,
    task_iterator: bool,
}

impl Follow {
    /// Loads and attaches. Lineages are handed on from here on.
    ///
    /// # Errors
    /// A program the kernel refuses, with the end of what its verifier said.
    pub fn load(wanted: &Wanted<'_>) -> Result<Self, Error> {
        let _lock = loader::lock();
        let log = LibraryLog::capture();
        let failed = |operation: &'static str| {
            let log = log.tail();
            move |source| Error::Load { operation, source, log }
        };
        // The object lives until the agent ends, and the skeleton borrows its place.
        let place: &'static mut MaybeUninit<OpenObject> = Box::leak(Box::new(MaybeUninit::uninit()));
        let mut open = FollowSkelBuilder::default().open(place).map_err(failed("open"))?;
        configure(&mut open, wanted).map_err(failed("configure"))?;
        let skel =
            open.load().map_err(|source| Error::Load { operation: "load", source, log: log.tail() })?;
        let mut links = Vec::new();
        for program in skel.object().progs_mut() {
            let name = program.name().to_string_lossy().into_owned();
            if name != ITERATOR && is_wanted(&name, wanted) {
                links.push(program.attach_trace().map_err(failed("attach"))?);
            }
        }
        Ok(Self { _links: links, skel, task_iterator: wanted.task_iterator })
    }

    /// One of its maps.
    ///
    /// # Errors
    /// The object has no such map, or it cannot be passed on.
    pub fn map(&self, name: &'static str) -> Result<MapHandle, Error> {
        let map = self.skel.object().maps().find(|map| map.name() == name);
        let map = map.ok_or_else(|| Error::Option(format!("the object has no map {name}")))?;
        MapHandle::try_from(&map).map_err(|source| Error::Map { map: name, source })
    }

    /// Finds out the lineage of all processes that are there. Where the kernel has no task iterator, that of a
    /// process is found out when it is asked for.
    ///
    /// # Errors
    /// The iterator cannot be read.
    pub fn look_at_all(&self) -> Result<(), Error> {
        if !self.task_iterator {
            return Ok(());
        }
        let link = loader::attach_iterator(&self.skel.progs.saker_follow_task)
            .map_err(|source| Error::Load { operation: "attach", source, log: String::new() })?;
        let mut iterator =
            Iter::new(&link).map_err(|e| Error::Iterator(std::io::Error::other(e.to_string())))?;
        let mut nothing = Vec::new();
        iterator.read_to_end(&mut nothing).map_err(Error::Iterator)?;
        Ok(())
    }
}

fn is_wanted(name: &str, wanted: &Wanted<'_>) -> bool {
    PROGRAMS.contains(&name)
        || name == ITERATOR && wanted.task_iterator
        || SECOND.contains(&name) && !wanted.preemption.is_empty()
}

fn configure(open: &mut OpenFollowSkel<'_>, wanted: &Wanted<'_>) -> Result<(), libbpf_rs::Error> {
    if let Some(rodata) = open.maps.rodata_data.as_deref_mut() {
        rodata.saker_preemptible = !wanted.preemption.is_empty();
    }
    for mut map in open.open_object_mut().maps_mut() {
        let name = map.name().to_string_lossy().into_owned();
        if let Some((_, shared)) = wanted.shared.iter().find(|(shared, _)| *shared == name) {
            map.reuse_fd(shared.as_fd())?;
        } else if name.starts_with("saker_")
            && !wanted.made.contains(&name.as_str())
            && !MAPS.contains(&name.as_str())
        {
            map.set_autocreate(false)?;
        }
    }
    for mut program in open.open_object_mut().progs_mut() {
        let name = program.name().to_string_lossy().into_owned();
        program.set_autoload(is_wanted(&name, wanted));
        loader::forbid_preemption(&mut program, wanted.preemption)?;
    }
    Ok(())
}

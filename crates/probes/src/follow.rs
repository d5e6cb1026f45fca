//! What is kept of each process while a policy asks for it (`bpf/policy/follow.bpf.c`).

use std::io::Read;
use std::mem::MaybeUninit;
use std::os::fd::AsFd;
use std::sync::Arc;

use libbpf_rs::skel::{OpenSkel, Skel, SkelBuilder};
use libbpf_rs::{Iter, Link, MapCore, MapHandle, OpenObject};

use crate::follow_skel::{FollowSkel, FollowSkelBuilder, OpenFollowSkel};
use crate::keep::{Keep, Pinned};
use crate::library_log::LibraryLog;
use crate::{Error, loader};

/// What the programs do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Job {
    /// Hand lineages on.
    Follow,
    /// Keep what namespaces and capabilities tasks began with.
    Watch,
}

/// Names of a job's programs and maps.
struct Names {
    /// Attached wherever programs of tracepoints run undisturbed.
    programs: [&'static str; 3],
    /// Attached as well where they may be preempted.
    second: [&'static str; 2],
    /// Looks at all processes.
    iterator: &'static str,
    maps: [&'static str; 2],
}

const FOLLOW: Names = Names {
    programs: ["saker_follow_fork", "saker_follow_exec", "saker_follow_free"],
    second: ["saker_follow_fork_2", "saker_follow_exec_2"],
    iterator: "saker_follow_task",
    maps: ["saker_lineages", "saker_follow_pids"],
};

const WATCH: Names = Names {
    programs: ["saker_watch_fork", "saker_watch_exec", "saker_watch_free"],
    second: ["saker_watch_fork_2", "saker_watch_exec_2"],
    iterator: "saker_watch_task",
    maps: ["saker_task_states", "saker_changes_told"],
};

impl Job {
    const fn names(self) -> &'static Names {
        match self {
            Self::Follow => &FOLLOW,
            Self::Watch => &WATCH,
        }
    }

    /// Maps that its programs and the hooks that need it share.
    pub const fn maps(self) -> [&'static str; 2] {
        self.names().maps
    }
}

/// How the programs are loaded.
pub(crate) struct Wanted<'a> {
    /// What for.
    pub job: Job,
    /// Functions that forbid preemption, where it must be.
    pub preemption: &'a [(i32, u32)],
    /// The kernel has task iterators.
    pub task_iterator: bool,
    /// Maps that are there already, by name. What is missing is made.
    pub shared: Vec<(&'static str, &'a MapHandle)>,
    /// Names of those that may be made.
    pub made: &'a [&'static str],
    /// Where the programs stay.
    pub keep: Option<&'a Arc<Keep>>,
}

/// The programs of a job, attached. Dropping them forgets what they kept.
pub(crate) struct Follow {
    // Links go first: nothing runs any more when the maps go.
    _links: Vec<Link>,
    skel: FollowSkel<'static>,
    /// Those of the job, in its order.
    pub maps: [MapHandle; 2],
    job: Job,
    task_iterator: bool,
    /// What has the programs stay when the agent is gone.
    _pinned: Option<Pinned>,
}

impl Follow {
    /// Loads and attaches: from here on the job is done.
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
            if name != wanted.job.names().iterator && is_wanted(&name, wanted) {
                links.push(program.attach_trace().map_err(failed("attach"))?);
            }
        }
        let name = if wanted.job == Job::Follow { "follow" } else { "watch" };
        let pinned = wanted.keep.map(|keep| keep.pin_links(name, &mut links)).transpose()?.flatten();
        let [first, second] = wanted.job.maps();
        let maps = [map_of(&skel, first)?, map_of(&skel, second)?];
        Ok(Self {
            _links: links,
            skel,
            maps,
            job: wanted.job,
            task_iterator: wanted.task_iterator,
            _pinned: pinned,
        })
    }

    /// One of its maps.
    ///
    /// # Errors
    /// The object has no such map, or it cannot be passed on.
    pub fn map(&self, name: &'static str) -> Result<MapHandle, Error> {
        map_of(&self.skel, name)
    }

    /// Does for all processes that are there what is done for those that begin. Where the kernel has no task iterator,
    /// that is done for a process when a hook asks for it.
    ///
    /// # Errors
    /// The iterator cannot be read.
    pub fn look_at_all(&self) -> Result<(), Error> {
        if !self.task_iterator {
            return Ok(());
        }
        let program = match self.job {
            Job::Follow => &self.skel.progs.saker_follow_task,
            Job::Watch => &self.skel.progs.saker_watch_task,
        };
        let link = loader::attach_iterator(program).map_err(|source| Error::Load {
            operation: "attach",
            source,
            log: String::new(),
        })?;
        let mut iterator =
            Iter::new(&link).map_err(|e| Error::Iterator(std::io::Error::other(e.to_string())))?;
        let mut nothing = Vec::new();
        iterator.read_to_end(&mut nothing).map_err(Error::Iterator)?;
        Ok(())
    }
}

fn map_of(skel: &FollowSkel<'_>, name: &'static str) -> Result<MapHandle, Error> {
    let map = skel.object().maps().find(|map| map.name() == name);
    let map = map.ok_or_else(|| Error::Option(format!("the object has no map {name}")))?;
    MapHandle::try_from(&map).map_err(|source| Error::Map { map: name, source })
}

fn is_wanted(name: &str, wanted: &Wanted<'_>) -> bool {
    let names = wanted.job.names();
    names.programs.contains(&name)
        || name == names.iterator && wanted.task_iterator
        || names.second.contains(&name) && !wanted.preemption.is_empty()
}

fn configure(open: &mut OpenFollowSkel<'_>, wanted: &Wanted<'_>) -> Result<(), libbpf_rs::Error> {
    if let Some(rodata) = open.maps.rodata_data.as_deref_mut() {
        rodata.saker_preemptible = !wanted.preemption.is_empty();
        rodata.saker_follows = wanted.job == Job::Follow;
    }
    for mut map in open.open_object_mut().maps_mut() {
        let name = map.name().to_string_lossy().into_owned();
        if let Some((_, shared)) = wanted.shared.iter().find(|(shared, _)| *shared == name) {
            map.reuse_fd(shared.as_fd())?;
        } else if name.starts_with("saker_")
            && !wanted.made.contains(&name.as_str())
            && !wanted.job.maps().contains(&name.as_str())
            // Of one entry here, and never looked at: what goes through patterns knows those of policies too.
            && name != "saker_columns"
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

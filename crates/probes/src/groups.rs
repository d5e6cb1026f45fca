//! Control groups and the containers they belong to (`bpf/policy/groups.bpf.c`).
//!
//! A program enters each new group before anybody can be in it; those that were there before are entered here. A group
//! belongs to what its parent belongs to, or begins a container, which its name says or whoever asks the runtime.

use std::fs;
use std::mem::MaybeUninit;
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use libbpf_rs::skel::{OpenSkel, Skel, SkelBuilder};
use libbpf_rs::{ErrorKind, Link, MapCore, MapFlags, MapHandle, OpenObject, RingBuffer, RingBufferBuilder};
use saker_abi::generated::{saker_group, saker_group_made};
use zerocopy::{FromBytes, IntoBytes};

use crate::groups_skel::GroupsSkelBuilder;
use crate::keep::{Keep, Pinned};
use crate::library_log::LibraryLog;
use crate::sensors::program_fdinfo;
use crate::{Error, loader};

/// Control groups that are kept; the kernel itself has seldom a tenth.
const GROUPS_MAX: u32 = 65_536;
/// What a container has of which it is not known yet which filters it fulfils: all of them.
const ANY: u64 = u64::MAX;
/// Inode number, and so id, of the root of the whole hierarchy. Source: kernfs numbers begin with it.
const ROOT: u64 = 1;
/// Characters of a container's id.
const ID_LENGTH: usize = 64;
/// Levels below the root that are looked at. The kernel allows more only to who raises its own limit.
const DEPTH_MAX: usize = 128;
const TABLE: &str = "saker_groups";
const HOST: &str = "saker_groups_host";
const ONLY: [u8; 4] = 0_u32.to_ne_bytes();

/// A control group that begins a container.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ContainerGroup {
    /// Its id.
    pub id: u64,
    /// The last component of its path.
    pub name: String,
}

impl ContainerGroup {
    /// The id of its container, as its name has it.
    #[must_use]
    pub fn container_id(&self) -> &str {
        let name = self.name.strip_suffix(".scope").unwrap_or(&self.name);
        name.rsplit(['-', ':']).next().unwrap_or_default()
    }
}

/// Which group belongs to which container, kept by programs. Dropping it detaches them.
pub struct Groups {
    /// What has the programs stay when the agent is gone.
    _pinned: Option<Pinned>,
    /// Held, and never looked at again.
    _links: Mutex<Vec<Link>>,
    table: MapHandle,
    host: MapHandle,
    lost: MapHandle,
    made: MapHandle,
    root: PathBuf,
}

impl Groups {
    /// Groups that the kernel's table has room for.
    pub const CAPACITY: usize = GROUPS_MAX as usize;

    /// Begins to keep all groups. `named`: somebody says by [`Groups::decide`] which filters containers fulfil, and
    /// until then it is not known; otherwise they fulfil none.
    ///
    /// # Errors
    /// There is no unified hierarchy to be seen, or the kernel refuses a program or a map.
    pub fn begin(named: bool) -> Result<Self, Error> {
        Self::begin_kept(named, None)
    }

    /// The same, staying when this process is gone if that is wanted.
    ///
    /// # Errors
    /// The same, or the programs cannot be pinned.
    pub fn begin_kept(named: bool, keep: Option<&Arc<Keep>>) -> Result<Self, Error> {
        let root = unified_root().map_err(Error::Option)?;
        let _lock = loader::lock();
        let log = LibraryLog::capture();
        let failed = |operation: &'static str| {
            let log = log.tail();
            move |source| Error::Load { operation, source, log }
        };
        let mut place: MaybeUninit<OpenObject> = MaybeUninit::uninit();
        let mut open = GroupsSkelBuilder::default().open(&mut place).map_err(failed("open"))?;
        if let Some(rodata) = open.maps.rodata_data.as_deref_mut() {
            rodata.saker_groups_named = named;
        }
        open.maps.saker_groups.set_max_entries(GROUPS_MAX).map_err(failed("configure"))?;
        let skel =
            open.load().map_err(|source| Error::Load { operation: "load", source, log: log.tail() })?;
        let handle = |name: &'static str| {
            let map = skel.object().maps().find(|map| map.name() == name);
            let map = map.ok_or_else(|| Error::Option(format!("the object has no map {name}")))?;
            MapHandle::try_from(&map).map_err(|source| Error::Map { map: name, source })
        };
        let mut links = Vec::new();
        // Links hold the programs when the object is gone.
        for program in skel.object().progs_mut() {
            links.push(program.attach_trace().map_err(failed("attach"))?);
        }
        let pinned = keep.map(|keep| keep.pin_links("groups", &mut links)).transpose()?.flatten();
        let groups = Self {
            _pinned: pinned,
            _links: Mutex::new(links),
            table: handle(TABLE)?,
            host: handle(HOST)?,
            lost: handle("saker_groups_lost")?,
            made: handle("saker_groups_new")?,
            root,
        };
        // After the programs: a group that is not seen here is made later, and they see it.
        groups.enter_all(named)?;
        Ok(groups)
    }

    /// Enters all groups that are not there yet, top down: a program that finds the parent of a new group missing leaves
    /// the group to this, which lists the parent's children after it has entered the parent.
    fn enter_all(&self, named: bool) -> Result<(), Error> {
        Self::walk(self.root.clone(), |id, name, above| {
            let begins = above == 0 && is_container(name.as_bytes());
            let bits = if begins && named { ANY } else { 0 };
            let entry = saker_group { container: if begins { id } else { above }, bits };
            let added = self.table.update(&id.to_ne_bytes(), entry.as_bytes(), MapFlags::NO_EXIST);
            match added {
                Ok(()) => Ok(entry.container),
                // A program was first, or it is a container that was claimed.
                Err(error) if error.kind() == ErrorKind::AlreadyExists => {
                    Ok(self.entry(id)?.map_or(entry.container, |known| known.container))
                }
                Err(source) => Err(Error::Map { map: TABLE, source }),
            }
        })
    }

    /// Goes through a group and all below it, each after its parent. `visit` is given the id, the name, and what it returned for the
    /// parent. Groups that go meanwhile are left out.
    fn walk(root: PathBuf, mut visit: impl FnMut(u64, &str, u64) -> Result<u64, Error>) -> Result<(), Error> {
        let mut open = vec![(root, String::new(), 0, 0)];
        while let Some((path, name, above, depth)) = open.pop() {
            let Ok(found) = fs::symlink_metadata(&path) else { continue };
            let own = visit(found.ino(), &name, above)?;
            let Ok(children) = fs::read_dir(&path) else { continue };
            if depth == DEPTH_MAX {
                continue;
            }
            for child in children.flatten() {
                if child.file_type().is_ok_and(|ty| ty.is_dir()) {
                    let name = child.file_name().to_string_lossy().into_owned();
                    open.push((child.path(), name, own, depth + 1));
                }
            }
        }
        Ok(())
    }

    fn entry(&self, id: u64) -> Result<Option<saker_group>, Error> {
        let found = self.table.lookup(&id.to_ne_bytes(), MapFlags::ANY);
        let found = found.map_err(|source| Error::Map { map: TABLE, source })?;
        Ok(found.and_then(|bytes| saker_group::read_from_bytes(&bytes).ok()))
    }

    /// The groups that begin a container.
    ///
    /// # Errors
    /// The kernel's table cannot be read.
    pub fn containers(&self) -> Result<Vec<ContainerGroup>, Error> {
        let mut found = Vec::new();
        Self::walk(self.root.clone(), |id, name, _| {
            if self.entry(id)?.is_some_and(|entry| entry.container == id) {
                found.push(ContainerGroup { id, name: name.to_owned() });
            }
            Ok(0)
        })?;
        Ok(found)
    }

    /// Whether a group is there still.
    ///
    /// # Errors
    /// The kernel's table cannot be read.
    pub fn is_there(&self, group: u64) -> Result<bool, Error> {
        Ok(self.entry(group)?.is_some())
    }

    /// Whether it is not known yet which filters the container of a group fulfils.
    ///
    /// # Errors
    /// The kernel's table cannot be read.
    pub fn is_undecided(&self, group: u64) -> Result<bool, Error> {
        Ok(self.entry(group)?.is_some_and(|entry| entry.bits == ANY))
    }

    /// The group that is that of a group's container, which may be itself; 0: the host's; none: it is not known.
    ///
    /// # Errors
    /// The kernel's table cannot be read.
    pub fn container_of(&self, group: u64) -> Result<Option<u64>, Error> {
        Ok(self.entry(group)?.map(|entry| entry.container))
    }

    /// Says which filters processes outside of containers fulfil, a bit each.
    ///
    /// # Errors
    /// The kernel's table cannot be written.
    pub fn set_host(&self, bits: u64) -> Result<(), Error> {
        let done = self.host.update(&ONLY, &bits.to_ne_bytes(), MapFlags::ANY);
        done.map_err(|source| Error::Map { map: HOST, source })
    }

    /// Says which filters the container of this group fulfils. False: the group is gone.
    ///
    /// # Errors
    /// The kernel's table cannot be written.
    pub fn decide(&self, group: u64, bits: u64) -> Result<bool, Error> {
        let entry = saker_group { container: group, bits };
        // Only over what is there: numbers of groups that are gone are not used again.
        match self.table.update(&group.to_ne_bytes(), entry.as_bytes(), MapFlags::EXIST) {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
            Err(source) => Err(Error::Map { map: TABLE, source }),
        }
    }

    /// Makes of a group that its name does not make a container's, with all below it, that of a container which fulfils
    /// these filters. The path is that within the hierarchy. None: there is no such group, or it is the root, which
    /// is nobody's.
    ///
    /// # Errors
    /// The kernel's table cannot be written.
    pub fn claim(&self, path: &str, bits: u64) -> Result<Option<u64>, Error> {
        let Some(id) = self.find(path) else { return Ok(None) };
        if !self.decide(id, bits)? {
            return Ok(None);
        }
        // From here on new groups below it are entered as the container's. Those that were made before can be seen.
        Self::walk(self.below(path), |found, _, _| {
            if found == id {
                return Ok(id);
            }
            let entry = saker_group { container: id, bits: 0 };
            let key = found.to_ne_bytes();
            // Also over nothing: what a program is about to enter was found out before.
            self.table
                .update(&key, entry.as_bytes(), MapFlags::ANY)
                .map_err(|source| Error::Map { map: TABLE, source })?;
            Ok(id)
        })?;
        Ok(Some(id))
    }

    /// Id of the group at a path within the hierarchy; none: there is no such group, or it is the root.
    #[must_use]
    pub fn find(&self, path: &str) -> Option<u64> {
        let id = fs::symlink_metadata(self.below(path)).ok()?.ino();
        (id != ROOT).then_some(id)
    }

    fn below(&self, path: &str) -> PathBuf {
        self.root.join(path.trim_start_matches('/'))
    }

    /// Groups that there was no room for: calls within them are told with a mark.
    ///
    /// # Errors
    /// The counter cannot be read.
    pub fn lost(&self) -> Result<u64, Error> {
        let map = "saker_groups_lost";
        let found = self.lost.lookup(&ONLY, MapFlags::ANY).map_err(|source| Error::Map { map, source })?;
        Ok(found.and_then(|bytes| u64::read_from_bytes(&bytes).ok()).unwrap_or_default())
    }

    /// Kernel memory of the table, in bytes.
    #[must_use]
    pub fn memory(&self) -> u64 {
        program_fdinfo(self.table.as_fd(), "memlock:").unwrap_or(0)
    }

    /// The maps that hooks ask, by name.
    pub(crate) fn maps(&self) -> [(&'static str, &MapHandle); 2] {
        [(TABLE, &self.table), (HOST, &self.host)]
    }
}

/// New containers as they come. To be made and used by one thread.
pub struct NewContainers {
    ring: RingBuffer<'static>,
    found: Arc<Mutex<Vec<ContainerGroup>>>,
}

impl NewContainers {
    /// Containers whose group was made from now on.
    ///
    /// # Errors
    /// The ring cannot be mapped.
    pub fn of(groups: &Groups) -> Result<Self, Error> {
        let found = Arc::new(Mutex::new(Vec::new()));
        let into = Arc::clone(&found);
        let failed = |source| Error::Map { map: "saker_groups_new", source };
        let mut builder = RingBufferBuilder::new();
        let take = move |bytes: &[u8]| {
            if let Ok((made, _)) = saker_group_made::read_from_prefix(bytes) {
                let name = made.name.split(|byte| *byte == 0).next().unwrap_or_default();
                let name = String::from_utf8_lossy(name).into_owned();
                let group = ContainerGroup { id: made.group, name };
                into.lock().unwrap_or_else(PoisonError::into_inner).push(group);
            }
            0
        };
        builder.add(&groups.made, take).map_err(failed)?;
        Ok(Self { ring: builder.build().map_err(failed)?, found })
    }

    /// Those that came, after waiting for the first for so long at most.
    ///
    /// # Errors
    /// The ring cannot be read.
    pub fn wait(&mut self, patience: Duration) -> Result<Vec<ContainerGroup>, Error> {
        let polled = self.ring.poll(patience);
        if let Err(source) = polled
            && source.kind() != ErrorKind::Interrupted
        {
            return Err(Error::Map { map: "saker_groups_new", source });
        }
        Ok(std::mem::take(&mut *self.found.lock().unwrap_or_else(PoisonError::into_inner)))
    }
}

/// Where the whole unified hierarchy is mounted.
///
/// # Errors
/// Nowhere, or but a part of it can be seen; in words, as the end of a sentence.
pub fn unified_root() -> Result<PathBuf, String> {
    let mounts = fs::read_to_string("/proc/self/mountinfo")
        .map_err(|error| format!("/proc/self/mountinfo cannot be read: {error}"))?;
    let mut partial = None;
    for path in mounts.lines().filter_map(unified_mount) {
        match fs::symlink_metadata(&path) {
            Ok(found) if found.ino() == ROOT => return Ok(path),
            _ => partial = Some(path),
        }
    }
    Err(match partial {
        Some(path) => format!(
            "the one hierarchy that can be seen, at {}, is not that of the host: run the agent in the host's control \
             group namespace",
            path.display()
        ),
        None => "the unified hierarchy of control groups (cgroup2) is not mounted here: those of version 1 do not say \
                 in which container a process is"
            .to_owned(),
    })
}

/// The mount point of a line of mountinfo that is one of the unified hierarchy.
fn unified_mount(line: &str) -> Option<PathBuf> {
    let (mount, kind) = line.split_once(" - ")?;
    if kind.split(' ').next()? != "cgroup2" {
        return None;
    }
    let point = mount.split(' ').nth(4)?;
    // As the kernel writes what would end a field.
    let point =
        point.replace("\\040", " ").replace("\\011", "\t").replace("\\012", "\n").replace("\\134", "\\");
    Some(Path::new(&point).to_owned())
}

/// Whether the last component of a path names a container. The same as `names_container` of groups.bpf.c.
fn is_container(name: &[u8]) -> bool {
    if name.ends_with(b"service") {
        return false;
    }
    let name = name.strip_suffix(b".scope").unwrap_or(name);
    let Some((before, id)) = name.split_last_chunk::<ID_LENGTH>() else { return false };
    // What watches over a container bears its id, and is none.
    !id.contains(&b'-') && !id.contains(&b':') && !before.ends_with(b"conmon-")
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "4ef4e5cb9b1a7e1d6d1d8e3f0a9b8c7d6e5f4a3b2c1d0e9f8a7b6c5d4e3f2a1b";

    #[test]
    fn names_of_containers() {
        for (name, is) in [
            (ID.to_owned(), true),
            (format!("docker-{ID}.scope"), true),
            (format!("system.slice:docker:{ID}"), true),
            (format!("crio-conmon-{ID}.scope"), false),
            (format!("{ID}.service"), false),
            (format!("a-{}", &ID[1..]), false),
            (format!("{}-{}", &ID[..32], &ID[32..]), false),
            ("user@1000.service".to_owned(), false),
            (String::new(), false),
        ] {
            assert_eq!(is_container(name.as_bytes()), is, "{name}");
        }
    }

    #[test]
    fn mounts_of_the_unified_hierarchy() {
        let line = "30 23 0:26 / /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw,nsdelegate";
        assert_eq!(unified_mount(line), Some(PathBuf::from("/sys/fs/cgroup")));
        let spaced = "30 23 0:26 / /a\\040b rw - cgroup2 none rw";
        assert_eq!(unified_mount(spaced), Some(PathBuf::from("/a b")));
        let first = "31 23 0:27 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu";
        assert_eq!(unified_mount(first), None);
        assert_eq!(unified_mount(""), None);
    }
}

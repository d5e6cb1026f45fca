//! Programs and maps that outlive the agent: pinned in a directory of a BPF file system.
//!
//! ```text
//! DIR/turn                the word of bpf/lib/turn.h: the generation that tells and acts
//! DIR/switch              the switch of bpf/policy/act.h, by which no policy acts
//! DIR/GENERATION/base/    what the sensors need: links, ring, records of processes
//! DIR/GENERATION/NUMBER/  one policy: its links, and last `text`, which says that it is whole
//! ```
//!
//! A generation is one run of an agent. The word decides which one counts, so every state in which an agent can be
//! killed has one meaning: what is above the word was never in force and is removed; what is at or below it is in
//! force until the next agent has taken over, by one write of the word.

mod place;
mod uninstall;

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use libbpf_rs::{Link, MapCore, MapFlags, MapHandle, MapType, libbpf_sys};
use saker_abi::generated::{saker_process, saker_stats};
use zerocopy::FromBytes;

pub(crate) use self::place::mounted_at;
pub use self::place::{FILE_SYSTEM, directory};
use self::place::{check_owner, failed, is_bpf, lock, make_dir, remove_all, removed, unpin};
pub use self::uninstall::{Removed, uninstall};
use crate::{Error, Reader, sensors};

const TURN: &str = "turn";
/// The switch of all policies that act, also of earlier agents.
const SWITCH: &str = "switch";
const BASE: &str = "base";
/// What the sensors counted.
pub(crate) const STATS: &str = "stats";
/// Of a policy; pinned when all its links are.
const TEXT: &str = "text";
const ONLY: [u8; 4] = 0_u32.to_ne_bytes();
/// Bytes of the text of a policy that are read.
const TEXT_MAX: u32 = 16 << 20;
/// Generations whose policies may wait for a successor.
const EARLIER_MAX: usize = 16;

/// A directory of pins that belongs to this process.
pub struct Keep {
    root: PathBuf,
    turn: MapHandle,
    switch: MapHandle,
    generation: u32,
    /// What this agent loads is to stay.
    pins: bool,
    earlier: Mutex<Vec<Earlier>>,
    leaving: AtomicBool,
    /// Pins of this agent that could not be removed, deepest first: what they pin is attached as long as they are there.
    stuck: Mutex<Vec<PathBuf>>,
    /// The texts of earlier policies are known, so that what their hooks told can be read.
    told: AtomicBool,
    /// Locked as long as this lives.
    _lock: File,
}

/// What an earlier agent left, and is in force.
struct Earlier {
    generation: u32,
    policies: Vec<KeptPolicy>,
}

/// A policy that an earlier agent left.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeptPolicy {
    /// Of that agent.
    pub generation: u32,
    /// Its number there, which its records carry.
    pub number: u32,
    /// What was kept with it.
    pub text: Vec<u8>,
}

/// Maps of processes that generations share, so that a process keeps its key.
#[derive(Default)]
pub(crate) struct Processes(pub(crate) Vec<(&'static str, MapHandle)>);

/// Pins that go when this is dropped, unless the agent leaves what it loaded behind.
pub(crate) struct Pinned {
    keep: Arc<Keep>,
    paths: Vec<PathBuf>,
}

impl Pinned {
    /// Whether they could be removed now.
    pub(crate) fn can_go(&self) -> Result<(), Error> {
        self.keep.can_remove()
    }
}

impl Drop for Pinned {
    fn drop(&mut self) {
        if !self.keep.is_leaving() {
            // First what says that the whole is there.
            let stuck = self.paths.iter().rev().filter(|path| !removed(path));
            let stuck: Vec<PathBuf> = stuck.cloned().collect();
            self.keep.stuck.lock().unwrap_or_else(PoisonError::into_inner).extend(stuck);
        }
    }
}

impl Keep {
    /// Takes a directory, which is created, with the BPF file system below it, if this agent `pins`. `None`: it does
    /// not, and there is nothing that an earlier one left.
    ///
    /// # Errors
    /// Another agent has it, it is in no BPF file system, or the system refuses.
    pub fn open(named: &Path, pins: bool) -> Result<Option<Arc<Self>>, Error> {
        let root = directory(named);
        if !pins && !root.join(TURN).exists() {
            return Ok(None);
        }
        let parent = root.parent().unwrap_or(Path::new("/"));
        if !is_bpf(parent) {
            if parent != Path::new(FILE_SYSTEM) {
                let what = format!("{} is in no BPF file system; choose another bpf-dir", root.display());
                return Err(Error::Option(what));
            }
            let mounted = rustix::mount::mount(
                "bpf",
                parent,
                "bpf",
                rustix::mount::MountFlags::empty(),
                Some(c"mode=0700"),
            );
            mounted.map_err(|error| failed("mount the BPF file system on", parent)(error.into()))?;
        }
        make_dir(&root)?;
        let lock = lock(&root)?;
        check_owner(&root)?;
        // As the library makes the map of a section.
        let turn = word_of(&root, TURN, "saker_turn", 4, libbpf_sys::BPF_F_MMAPABLE)?;
        let switch = word_of(&root, SWITCH, "saker_switch", 8, 0)?;
        let current = turn_in(&turn)?;
        let (mut earlier, mut newest) = (Vec::new(), current);
        for generation in generations(&root)? {
            newest = newest.max(generation);
            if generation > current {
                tracing::info!(generation, "removing what an agent was about to load when it ended");
                remove_all(&root.join(generation.to_string()))?;
                continue;
            }
            earlier.push(Earlier { generation, policies: policies(&root, generation) });
        }
        if earlier.len() > EARLIER_MAX {
            let what =
                format!("{} has pins of {} agents; see `saker uninstall`", root.display(), earlier.len());
            return Err(Error::Option(what));
        }
        let full =
            || Error::Option(format!("all numbers are used up in {}; see `saker uninstall`", root.display()));
        let generation = newest.checked_add(1).ok_or_else(full)?;
        let keep = Self {
            turn,
            switch,
            generation,
            pins,
            told: AtomicBool::new(false),
            leaving: AtomicBool::new(false),
            stuck: Mutex::default(),
            earlier: Mutex::new(earlier),
            _lock: lock,
            root,
        };
        let keep = Arc::new(keep);
        if pins {
            make_dir(&keep.own())?;
            make_dir(&keep.own().join(BASE))?;
        }
        if keep.earlier().is_empty() {
            // Nothing is in force that could go on until all is loaded.
            keep.take_turn()?;
        }
        Ok(Some(keep))
    }

    /// The number of this agent.
    #[must_use]
    pub fn generation(&self) -> u32 {
        self.generation
    }

    /// What this agent loads is to stay.
    #[must_use]
    pub fn pins(&self) -> bool {
        self.pins
    }

    /// Where it is.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.root
    }

    fn own(&self) -> PathBuf {
        self.root.join(self.generation.to_string())
    }

    fn earlier(&self) -> std::sync::MutexGuard<'_, Vec<Earlier>> {
        self.earlier.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn switch_map(&self) -> &MapHandle {
        &self.switch
    }

    pub(crate) fn turn_map(&self) -> &MapHandle {
        &self.turn
    }

    /// Policies that earlier agents left and that are in force.
    #[must_use]
    pub fn policies(&self) -> Vec<KeptPolicy> {
        self.earlier().iter().flat_map(|one| one.policies.clone()).collect()
    }

    /// This agent's programs tell and act from now on, those of others only refuse and signal until they are released.
    ///
    /// # Errors
    /// The kernel's map cannot be written: nothing has changed.
    pub fn take_turn(&self) -> Result<(), Error> {
        let done = self.turn.update(&ONLY, &self.generation.to_ne_bytes(), MapFlags::ANY);
        done.map_err(|source| Error::Map { map: TURN, source })
    }

    /// Whether it is this agent's turn.
    #[must_use]
    pub fn has_turn(&self) -> bool {
        turn_in(&self.turn).is_ok_and(|turn| turn == self.generation)
    }

    /// Detaches a policy of an earlier agent.
    ///
    /// # Errors
    /// A pin cannot be removed.
    pub fn release(&self, policy: &KeptPolicy) -> Result<(), Error> {
        remove_all(&self.root.join(policy.generation.to_string()).join(policy.number.to_string()))?;
        for one in self.earlier().iter_mut().filter(|one| one.generation == policy.generation) {
            one.policies.retain(|other| other.number != policy.number);
        }
        Ok(())
    }

    /// Detaches what earlier agents left beside their policies, and forgets those without any.
    ///
    /// # Errors
    /// A pin cannot be removed.
    pub fn release_bases(&self) -> Result<(), Error> {
        let mut earlier = self.earlier();
        for one in earlier.iter() {
            let dir = self.root.join(one.generation.to_string());
            if one.policies.is_empty() {
                remove_all(&dir)?;
            }
        }
        earlier.retain(|one| !one.policies.is_empty());
        Ok(())
    }

    /// From now on what was told by the hooks of earlier policies can be read.
    pub fn set_told(&self) {
        self.told.store(true, Ordering::Release);
    }

    /// Whether it can.
    #[must_use]
    pub fn is_told(&self) -> bool {
        self.told.load(Ordering::Acquire)
    }

    /// What this agent loaded stays when it ends, if it is to stay and in force. Returns whether it does.
    #[must_use]
    pub fn leave(&self) -> bool {
        let stays = self.pins && self.has_turn();
        self.leaving.store(stays, Ordering::Release);
        stays
    }

    /// Whether the agent ends and leaves all behind.
    #[must_use]
    pub fn is_leaving(&self) -> bool {
        self.leaving.load(Ordering::Acquire)
    }

    /// Whether pins of this agent could be removed now, without which nothing that is pinned can be taken out of force.
    ///
    /// # Errors
    /// They could not; the directory was mounted anew, to be read only.
    pub(crate) fn can_remove(&self) -> Result<(), Error> {
        let own = self.own();
        let may = rustix::fs::access(&own, rustix::fs::Access::WRITE_OK);
        may.map_err(|error| failed("remove pins below", &own)(error.into()))
    }

    /// Tries again to remove what could not be removed, and says what is in force because of what is left; none: nothing is.
    pub fn clear(&self) -> Option<String> {
        let mut stuck = self.stuck.lock().unwrap_or_else(PoisonError::into_inner);
        let mut reason = None;
        stuck.retain(|path| match unpin(path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                reason.get_or_insert_with(|| format!("{}: {error}", path.display()));
                true
            }
            _ => false,
        });
        reason.map(|reason| {
            format!(
                "what was taken out of force is in force still, for its pins cannot be removed: {reason}; they are removed as \
                 soon as they can be"
            )
        })
    }

    /// Readers of what earlier agents' programs told, oldest first.
    ///
    /// # Errors
    /// A ring cannot be mapped.
    pub fn readers(&self) -> Result<Vec<EarlierReader>, Error> {
        let mut readers = Vec::new();
        for one in self.earlier().iter() {
            let base = self.root.join(one.generation.to_string()).join(BASE);
            let open = |name: &str| MapHandle::from_pinned_path(base.join(name));
            // An agent that was killed while it pinned them has told nothing since.
            let (Ok(ring), Ok(reader)) = (open("ring"), open("reader")) else { continue };
            // Agents of earlier versions did not keep them, or had others.
            let stats = open(STATS).ok().filter(|map| map.value_size() as usize == size_of::<saker_stats>());
            let reader = Reader::new(ring, reader)?;
            readers.push(EarlierReader { generation: one.generation, reader, stats });
        }
        Ok(readers)
    }

    /// An earlier agent's programs may still tell.
    #[must_use]
    pub fn is_earlier(&self, generation: u32) -> bool {
        self.earlier().iter().any(|one| one.generation == generation)
    }

    /// Maps of processes that the last agent left, if they hold what this version keeps.
    pub(crate) fn processes(&self) -> Processes {
        // An agent that was killed while it pinned them has kept none.
        let found = self
            .earlier()
            .iter()
            .rev()
            .map(|one| self.processes_of(one.generation))
            .find(|found| !found.is_empty());
        let Some(found) = found else { return Processes::default() };
        let wanted = |name| if name == "ended" { 1 } else { size_of::<saker_process>() };
        if found.iter().any(|(name, map)| map.value_size() as usize != wanted(*name)) {
            tracing::warn!(
                "the last agent kept other records of processes than this version: processes get new identities"
            );
            return Processes::default();
        }
        Processes(found)
    }

    fn processes_of(&self, generation: u32) -> Vec<(&'static str, MapHandle)> {
        let base = self.root.join(generation.to_string()).join(BASE);
        let open = |name| Some((name, MapHandle::from_pinned_path(base.join(name)).ok()?));
        PROCESSES.into_iter().filter_map(open).collect()
    }

    /// Pins what the sensors need.
    pub(crate) fn pin_base(
        self: &Arc<Self>,
        links: &mut [Link],
        maps: Vec<(&str, MapHandle)>,
    ) -> Result<Option<Pinned>, Error> {
        let mut pinned = Pinned { keep: Arc::clone(self), paths: Vec::new() };
        if !self.pins {
            return Ok(None);
        }
        let base = self.own().join(BASE);
        for (name, mut map) in maps {
            let path = base.join(name);
            map.pin(&path).map_err(|source| pinning(&path, source))?;
            pinned.paths.push(path);
        }
        self.pin_all(&base, "sensor", links, &mut pinned)?;
        Ok(Some(pinned))
    }

    /// Pins links that hooks of several policies need, under this name.
    pub(crate) fn pin_links(
        self: &Arc<Self>,
        name: &str,
        links: &mut [Link],
    ) -> Result<Option<Pinned>, Error> {
        let mut pinned = Pinned { keep: Arc::clone(self), paths: Vec::new() };
        if !self.pins {
            return Ok(None);
        }
        self.pin_all(&self.own().join(BASE), name, links, &mut pinned)?;
        Ok(Some(pinned))
    }

    fn pin_all(&self, dir: &Path, name: &str, links: &mut [Link], pinned: &mut Pinned) -> Result<(), Error> {
        for (index, link) in links.iter_mut().enumerate() {
            let path = dir.join(format!("{name}-{index}"));
            link.pin(&path).map_err(|source| pinning(&path, source))?;
            pinned.paths.push(path);
        }
        Ok(())
    }

    /// Pins all links of a policy, hook by hook, and then its text.
    pub(crate) fn pin_policy<'a>(
        self: &Arc<Self>,
        number: u32,
        hooks: impl Iterator<Item = &'a mut [Link]>,
        text: &[u8],
    ) -> Result<Pinned, Error> {
        let dir = self.own().join(number.to_string());
        make_dir(&dir)?;
        let mut pinned = Pinned { keep: Arc::clone(self), paths: vec![dir.clone()] };
        for (index, links) in hooks.enumerate() {
            self.pin_all(&dir, &format!("hook-{index}"), links, &mut pinned)?;
        }
        let path = dir.join(TEXT);
        let size = u32::try_from(text.len()).ok().filter(|size| (1..=TEXT_MAX).contains(size));
        let size =
            size.ok_or_else(|| Error::Option(format!("the text of a policy has {} bytes", text.len())))?;
        let options = libbpf_sys::bpf_map_create_opts {
            sz: size_of::<libbpf_sys::bpf_map_create_opts>() as libbpf_sys::size_t,
            ..libbpf_sys::bpf_map_create_opts::default()
        };
        let map = MapHandle::create(MapType::Array, Some("saker_text"), 4, size, 1, &options);
        let mut map = map.map_err(|source| pinning(&path, source))?;
        map.update(&ONLY, text, MapFlags::ANY).map_err(|source| pinning(&path, source))?;
        map.pin(&path).map_err(|source| pinning(&path, source))?;
        pinned.paths.push(path);
        Ok(pinned)
    }
}

impl Drop for Keep {
    fn drop(&mut self) {
        if self.is_leaving() {
            return;
        }
        let own = self.own();
        if own.exists()
            && let Err(error) = remove_all(&own)
        {
            tracing::warn!("{error}");
        }
        // Nothing of anybody: as if it had never been.
        if generations(&self.root).is_ok_and(|found| found.is_empty()) {
            for name in [SWITCH, TURN] {
                let _ = fs::remove_file(self.root.join(name));
            }
            let _ = fs::remove_dir(&self.root);
        }
    }
}

/// Names of the maps that generations share.
const PROCESSES: [&str; 4] = ["processes", "leaderless", "hash", "ended"];

fn pinning(path: &Path, source: libbpf_rs::Error) -> Error {
    Error::Pin { path: path.to_owned(), source }
}

/// A map of one word that all generations share.
fn word_of(root: &Path, file: &str, name: &str, size: u32, map_flags: u32) -> Result<MapHandle, Error> {
    let path = root.join(file);
    if path.exists() {
        let map = MapHandle::from_pinned_path(&path).map_err(|source| pinning(&path, source))?;
        if map.value_size() != size || map.max_entries() != 1 {
            let what = format!("{} is not what this version knows; see `saker uninstall`", path.display());
            return Err(Error::Option(what));
        }
        return Ok(map);
    }
    let options = libbpf_sys::bpf_map_create_opts {
        sz: size_of::<libbpf_sys::bpf_map_create_opts>() as libbpf_sys::size_t,
        map_flags,
        ..libbpf_sys::bpf_map_create_opts::default()
    };
    let map = MapHandle::create(MapType::Array, Some(name), 4, size, 1, &options);
    let mut map = map.map_err(|source| pinning(&path, source))?;
    map.pin(&path).map_err(|source| pinning(&path, source))?;
    Ok(map)
}

fn turn_in(map: &MapHandle) -> Result<u32, Error> {
    let found = map.lookup(&ONLY, MapFlags::ANY).map_err(|source| Error::Map { map: TURN, source })?;
    Ok(found.and_then(|bytes| u32::read_from_bytes(&bytes).ok()).unwrap_or_default())
}

/// Generations that are there, oldest first.
fn generations(root: &Path) -> Result<Vec<u32>, Error> {
    let mut found = Vec::new();
    for entry in fs::read_dir(root).map_err(failed("list", root))? {
        let entry = entry.map_err(failed("list", root))?;
        found.extend(entry.file_name().to_str().and_then(|name| name.parse::<u32>().ok()));
    }
    found.sort_unstable();
    Ok(found)
}

/// The whole policies of a generation. What is left of others is removed.
fn policies(root: &Path, generation: u32) -> Vec<KeptPolicy> {
    let dir = root.join(generation.to_string());
    let mut found = Vec::new();
    for entry in fs::read_dir(&dir).into_iter().flatten().flatten() {
        let Some(number) = entry.file_name().to_str().and_then(|name| name.parse::<u32>().ok()) else {
            continue;
        };
        let map = MapHandle::from_pinned_path(entry.path().join(TEXT)).ok();
        let map = map.filter(|map| map.value_size() <= TEXT_MAX && map.max_entries() == 1);
        match map.and_then(|map| map.lookup(&ONLY, MapFlags::ANY).ok().flatten()) {
            Some(text) => found.push(KeptPolicy { generation, number, text }),
            None => {
                tracing::info!(
                    generation,
                    number,
                    "removing what was pinned of a policy that was not all in force"
                );
                if let Err(error) = remove_all(&entry.path()) {
                    tracing::warn!("{error}");
                }
            }
        }
    }
    found.sort_unstable_by_key(|policy| policy.number);
    found
}

/// Reads what an earlier agent's programs told.
pub struct EarlierReader {
    /// Whose they are.
    pub generation: u32,
    /// The ring.
    pub reader: Reader,
    stats: Option<MapHandle>,
}

impl EarlierReader {
    /// The number of the last record that was made on each CPU, whether there was room for it or not; empty: it is not known.
    #[must_use]
    pub fn last_numbers(&self) -> Vec<u64> {
        let stats = self.stats.as_ref().and_then(|map| sensors::stats_in(map).ok());
        stats.into_iter().flatten().map(|cpu| cpu.seq).collect()
    }
}

//! Loading and attaching the hooks of policies.
//!
//! Each hook is a program of its own with its plan in frozen read-only data (`bpf/policy/hook.bpf.c`). All share the
//! ring, the records of processes and the scratch; the sets of a policy are shared by its hooks.

mod attach;
pub(crate) mod build_ids;
mod choice;
mod group;
mod kin;
mod loaded;
mod maps;
#[cfg(test)]
mod memory_tests;
mod needs;
mod own;
mod ready;
mod sequences;
mod waiting;

use std::collections::BTreeMap;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::{Arc, OnceLock, Weak};

use libbpf_rs::skel::{OpenSkel, Skel, SkelBuilder};
use libbpf_rs::{AsRawLibbpf, Link, MapCore, MapHandle, OpenObject, ProgramType};
use saker_abi::generated::{
    SAKER_PLAN_AT_EXIT, SAKER_PLAN_COOKIE, SAKER_PLAN_FOLLOW, SAKER_PLAN_PARENT, SAKER_PLAN_RETURN,
    SAKER_PLAN_TRACKS, SAKER_PLAN_WORKLOADS, saker_above, saker_binary_column, saker_follow_key,
    saker_hook_stats, saker_known, saker_plan, saker_prefix_key, saker_text_key,
};
use saker_policy::plan::{Attach, Sets};
use saker_policy::words::Mode;
use zerocopy::IntoBytes;

use self::attach::{cause, programs};
use self::choice::{SYSCALLS, choose_programs, mechanism_number, sections, target};
use self::loaded::set_mode;
pub use self::loaded::{HookCounts, SelectorCounts};
use self::maps::{
    ABOVE, CALLS, GROUPS, KNOWN, MODE, PARENTS, PROGRAM_CALLS, PUT_OFF, PolicyMaps, SELECTORS, SEQUENCES,
    SETS, SHARED, SHARED_BY_HOOKS, SOCKETS, STATS, handle, open_map,
};
use self::needs::{
    Hashes, acts, asks_for_changes, counts_selectors, file_sets, hash_of, hashes, needs_program_calls,
    needs_sockets, operators_of, parts_of, possible_cpus, selector_shards, stacks_of, types_of,
};
pub(crate) use self::own::own_id;
use self::own::own_start;
use self::ready::Ready;
use self::waiting::Waiting;
use crate::files::Watch;
use crate::follow::Follow;
use crate::hook_skel::{HookSkel, HookSkelBuilder, OpenHookSkel};
use crate::keep::{Keep, Pinned};
use crate::lent::LentTypes;
use crate::loader::{self, Contents, OpensEmpty, Prepared, Shortcut};
use crate::sockets::Tracking;
use crate::template::Templates;
use crate::{Enforcement, Error, Groups, Sensors, mechanisms};

/// A hook to load.
#[derive(Clone)]
pub struct HookSpec {
    /// How to attach it.
    pub attach: Attach,
    /// What it does.
    pub plan: Box<saker_plan>,
}

/// Whether this kernel lets a program know which of its places is meant (`SAKER_PLAN_COOKIE`).
#[must_use]
pub fn tells_places() -> bool {
    let helper = libbpf_rs::libbpf_sys::BPF_FUNC_get_attach_cookie;
    ProgramType::Kprobe.is_helper_supported(helper).unwrap_or(false)
}

/// Which bits a binary's path has; for all policies together.
#[derive(Clone, Default)]
pub struct Binaries {
    /// Whole paths (set 0) and suffixes (set 1).
    pub texts: Vec<(saker_text_key, u64)>,
    /// Prefixes, each with the bits of those it begins with.
    pub prefixes: Vec<(saker_prefix_key, u64)>,
    /// Lengths of the suffixes.
    pub lengths: Vec<u32>,
    /// Processes by their number.
    pub pids: Vec<(saker_follow_key, u64)>,
    /// Bits that are handed on to descendants, by what they mean: another number when a bit means something else.
    pub followed: BTreeMap<u8, u64>,
    /// Columns of patterns, at most `SAKER_COLUMNS_MAX`.
    pub columns: Vec<saker_binary_column>,
}

/// Who is never acted upon, unless a selector names it and this says otherwise.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Spared {
    /// The first process of the machine may be hit.
    pub hits_init: bool,
    /// This process may be.
    pub hits_agent: bool,
}

/// Maps that the hooks of all policies share.
pub struct Hooks {
    ring: MapHandle,
    stats: MapHandle,
    reader: MapHandle,
    processes: MapHandle,
    task_storage: bool,
    /// Functions that forbid preemption, where it must be; empty: nothing to forbid.
    preemption: Vec<(i32, u32)>,
    ring_limit: u64,
    /// Thread-group id of this process as the kernel has it; 0: not known.
    agent: u32,
    spared: Spared,
    enforcement: Arc<Enforcement>,
    calls: Option<Arc<MapHandle>>,
    shared: Vec<(&'static str, MapHandle)>,
    /// Made by the first hook that looks at returns of programs.
    program_calls: Option<MapHandle>,
    /// Made by the first hook that looks at parents.
    parents: Option<MapHandle>,
    /// Made by the first hook with values that are sockets.
    sockets: Option<MapHandle>,
    /// There while a policy tracks sockets.
    tracking: Weak<Tracking>,
    /// Which control group belongs to which container; empty: nobody keeps it.
    groups: Vec<(&'static str, MapHandle)>,
    generation: u32,
    task_iterator: bool,
    /// Hands lineages on, while a hook or a filter follows.
    follow: Option<Follow>,
    /// Keeps what tasks began with, while a hook asks for changes: it belongs to these hooks.
    watch: Weak<Follow>,
    /// What each bit that is followed means, and since which generation.
    followed: BTreeMap<u8, (u64, u32)>,
    /// When this process began, in clock ticks since the boot.
    agent_start: u64,
    keep: Option<Arc<Keep>>,
    /// Looks after the files that policies name.
    watched: Watch,
    /// Where the kernel counts changes of mounts is being looked for, or was: the first hook that compares paths asks for it.
    sequences_looked_for: bool,
    /// In place of sets that a policy has none of, in the order of those.
    empty_sets: [OnceLock<MapHandle>; SETS.len()],
    /// What describes the types of the object of hooks, of which there are many.
    own_types: LentTypes,
    /// Its programs before plans are written into them.
    templates: Templates,
}

/// Names of the types that the object asks for.
const TYPES: &str = include_str!(concat!(env!("OUT_DIR"), "/hook.types"));

/// A hook in the kernel. Dropping it detaches it.
///
/// Of its object it keeps only what is asked for later: an object holds open all of its some forty maps.
pub struct LoadedHook {
    // Links go first: nothing runs any more when the maps go.
    links: Vec<Link>,
    _waiting: Option<Waiting>,
    programs: Vec<OwnedFd>,
    stats: MapHandle,
    /// Of a hook with several selectors.
    selectors: Option<(u16, MapHandle)>,
    memory: u64,
    /// How it was attached.
    pub attach: Attach,
    /// Why it was attached in another way than was asked for; empty: it was not.
    pub note: String,
    /// Its programs hold only what its plan uses. Not so where the kernel's description of types lacks what they
    /// attach to, as of functions of modules, and where the kernel refused them so.
    pub pruned: bool,
    /// What keeps what it asks for.
    _watch: Option<Arc<Follow>>,
}

/// Where the objects of a hook are while it is loaded: that with nothing in its programs, that of a first attempt with
/// all in them, that of a second, and that of what finds build ids.
type Places = [MaybeUninit<OpenObject>; 4];

/// The hooks of a policy in the kernel. Dropping them detaches all.
pub struct LoadedPolicy {
    /// Its hooks, in the order of the plans.
    pub hooks: Vec<LoadedHook>,
    maps: PolicyMaps,
    /// Sets of files, each with the place of the hook that asks for it.
    file_sets: Vec<(u32, usize)>,
    /// Of a policy that tracks sockets.
    tracking: Option<Arc<Tracking>>,
}

/// What has a policy stay when the agent is gone. Dropping it takes the pins away.
pub struct PinnedPolicy {
    pinned: Pinned,
}

impl PinnedPolicy {
    /// Whether the pins could be taken away now.
    ///
    /// # Errors
    /// They could not: dropped, the policy would stay in force.
    pub fn can_go(&self) -> Result<(), Error> {
        self.pinned.can_go()
    }
}

impl LoadedPolicy {
    /// Has all its hooks stay when this process is gone, with a text for whoever finds them.
    ///
    /// # Errors
    /// One of its links cannot be pinned, as those of perf events before Linux 5.15: then none is.
    pub fn pin(&mut self, keep: &Arc<Keep>, number: u32, text: &[u8]) -> Result<PinnedPolicy, Error> {
        let hooks = self.hooks.iter_mut().map(|hook| hook.links.as_mut_slice());
        Ok(PinnedPolicy { pinned: keep.pin_policy(number, hooks, text)? })
    }
}

/// Bytes of the ring that hooks may fill; the rest is for records of processes.
pub(crate) fn ring_limit(ring: &MapHandle) -> u64 {
    const PERCENT: u64 = 60;
    u64::from(ring.max_entries()) * PERCENT / 100
}

impl Hooks {
    /// Prepares to load hooks beside these sensors.
    ///
    /// # Errors
    /// A map of the sensors cannot be passed on.
    pub fn beside(sensors: &Sensors) -> Result<Self, Error> {
        let [ring, stats, reader, processes] = sensors.shared_maps()?;
        Ok(Self {
            ring_limit: ring_limit(&ring),
            agent: own_id(),
            spared: Spared::default(),
            enforcement: Enforcement::begin(sensors.keep().map(AsRef::as_ref))?,
            ring,
            stats,
            reader,
            processes,
            task_storage: sensors.uses_task_storage(),
            preemption: if sensors.is_preemptible() { loader::preemption_functions() } else { Vec::new() },
            shared: Vec::new(),
            calls: None,
            program_calls: None,
            parents: None,
            sockets: None,
            tracking: Weak::new(),
            groups: Vec::new(),
            // Those of other agents in the same records are others.
            generation: sensors.keep().map_or(0, |keep| keep.generation().wrapping_shl(20)),
            task_iterator: sensors.has_task_iterator(),
            follow: None,
            watch: Weak::new(),
            followed: BTreeMap::new(),
            agent_start: own_start(),
            keep: sensors.keep().cloned(),
            watched: Watch::default(),
            sequences_looked_for: false,
            empty_sets: [const { OnceLock::new() }; SETS.len()],
            own_types: LentTypes::default(),
            templates: Templates::default(),
        })
    }

    /// What holds for the actions of all policies.
    #[must_use]
    pub fn enforcement(&self) -> &Arc<Enforcement> {
        &self.enforcement
    }

    /// Says for hooks that are loaded from now on whom they may hit.
    pub fn spare(&mut self, spared: Spared) {
        self.spared = spared;
    }

    /// Hooks that ask for workloads look here from now on.
    ///
    /// # Errors
    /// A map cannot be passed on.
    pub fn ask_groups(&mut self, groups: &Groups) -> Result<(), Error> {
        let maps = groups.maps().into_iter().map(|(map, handle)| {
            let handle = MapHandle::try_from(handle).map_err(|source| Error::Map { map, source })?;
            Ok((map, handle))
        });
        self.groups = maps.collect::<Result<_, Error>>()?;
        Ok(())
    }

    /// Loads all hooks of a policy that acts, see [`Self::load_in`].
    ///
    /// # Errors
    /// The same.
    pub fn load(&mut self, specs: &[HookSpec], sets: &Sets) -> Result<LoadedPolicy, Error> {
        self.load_in(specs, sets, Mode::Enforce)
    }

    /// Loads all hooks of a policy, and attaches them when all are loaded: all, or none and an error. Its mode counts for
    /// the actions that interfere.
    ///
    /// # Errors
    /// A program the kernel refuses, with the end of what its verifier said, or a function that cannot be hooked.
    pub fn load_in(&mut self, specs: &[HookSpec], sets: &Sets, mode: Mode) -> Result<LoadedPolicy, Error> {
        if let Some(spec) = specs.iter().find(|spec| choice::is_called_by_functions(&spec.attach)) {
            choice::check_functions_call(&spec.attach, std::path::Path::new(choice::CALLS_ENABLED))?;
        }
        let mut policy = LoadedPolicy {
            hooks: Vec::new(),
            maps: PolicyMaps::of(sets)?,
            file_sets: file_sets(specs),
            tracking: None,
        };
        let targets = specs.iter().filter_map(|spec| target(&spec.attach)).collect::<Vec<_>>();
        let prepared = Prepared::find(TYPES, targets.iter().map(String::as_str).chain(SYSCALLS));
        let mut places: Vec<Places> = specs.iter().map(|_| [const { MaybeUninit::uninit() }; 4]).collect();
        let mut ready = Vec::new();
        for (spec, places) in specs.iter().zip(&mut places) {
            ready.push(self.load_one(spec, prepared.as_ref(), places, &mut policy.maps)?);
        }
        policy.maps.fill(sets)?;
        if let Some(map) = &policy.maps.mode {
            set_mode(map, mode)?;
        }
        if specs.iter().any(|spec| spec.plan.flags & SAKER_PLAN_TRACKS != 0) {
            policy.tracking = Some(self.track()?);
        }
        let mut without_trampoline = Vec::new();
        for (hook, spec) in ready.into_iter().zip(specs) {
            match hook.attach() {
                Ok(hook) => policy.hooks.push(hook),
                Err(error) if spec.attach.is_at_once() => {
                    let hook = self.one_by_one(spec, prepared.as_ref(), &mut policy.maps, &error)?;
                    policy.hooks.push(hook);
                }
                // All such functions are told at once.
                Err(Error::Trampoline { refused }) => without_trampoline.extend(refused),
                Err(error) => return Err(error),
            }
        }
        if !without_trampoline.is_empty() {
            return Err(Error::Trampoline { refused: without_trampoline });
        }
        if let Some(files) = &policy.maps.files {
            self.watched.begin(files)?;
        }
        Ok(policy)
    }

    /// Loads a hook once more that the kernel did not attach to all its places in one step, and attaches it to one after
    /// the other.
    fn one_by_one(
        &mut self,
        spec: &HookSpec,
        prepared: Option<&Prepared>,
        maps: &mut PolicyMaps,
        refused: &Error,
    ) -> Result<LoadedHook, Error> {
        let spec = HookSpec { attach: spec.attach.one_by_one(), plan: spec.plan.clone() };
        let mut places: Places = [const { MaybeUninit::uninit() }; 4];
        let hook = self.load_one(&spec, prepared, &mut places, maps)?.attach()?;
        let note = format!(
            "attached one by one, for the kernel does not attach it to all places at once: {}",
            cause(refused)
        );
        Ok(LoadedHook { note, ..hook })
    }

    /// The table of owners of sockets, which all policies that track sockets share.
    fn track(&mut self) -> Result<Arc<Tracking>, Error> {
        if let Some(tracking) = self.tracking.upgrade() {
            return Ok(tracking);
        }
        let missing = || Error::Option(format!("no hook has made the map {SOCKETS}"));
        let outer = self.sockets.as_ref().ok_or_else(missing)?;
        let outer = MapHandle::try_from(outer).map_err(|source| Error::Map { map: SOCKETS, source })?;
        let _lock = loader::lock();
        let tracking = Arc::new(Tracking::begin(outer, self.keep.as_ref())?);
        self.tracking = Arc::downgrade(&tracking);
        Ok(tracking)
    }

    fn load_one<'a>(
        &mut self,
        spec: &HookSpec,
        prepared: Option<&Prepared>,
        [empty, first, second, third]: &'a mut Places,
        maps: &mut PolicyMaps,
    ) -> Result<Ready<'a>, Error> {
        let tells_places = spec.plan.flags & SAKER_PLAN_COOKIE != 0;
        if tells_places && !self::tells_places() {
            let what = "this kernel cannot tell places of one hook apart, which needs Linux 5.15; \
                        make a hook of each";
            return Err(Error::Option(what.to_owned()));
        }
        if spec.plan.flags & SAKER_PLAN_FOLLOW != 0 {
            self.follow()?;
        }
        if spec.plan.flags & SAKER_PLAN_WORKLOADS != 0 && self.groups.is_empty() {
            let what = "a hook asks for workloads, and nobody keeps which control group is whose";
            return Err(Error::Option(what.to_owned()));
        }
        if let Attach::Kprobes { on_return: true, at_once: true, .. } = &spec.attach {
            // Found out before the lock is held under which it is put into the program.
            mechanisms::return_distance()
                .map_err(|reason| Error::Option(format!("returns cannot be hooked in one step: {reason}")))?;
        }
        let watch = if asks_for_changes(&spec.plan) { Some(self.watch()?) } else { None };
        let mut loaded = match self.load_filled(spec, prepared, empty, watch.as_deref(), maps) {
            Ok(None) => self.load_object(spec, prepared, first, watch.as_deref(), maps),
            Ok(Some(skel)) => Ok((skel, true)),
            Err(error) => Err(error),
        };
        if let (Some(_), Err(Error::Load { operation: "load", log, .. })) = (prepared, &loaded) {
            tracing::warn!(
                hook = %spec.attach.mechanism(),
                log = %log,
                "the kernel refuses a program that was written out for its policy, so it gets the whole of it: \
                 please report this",
            );
            loaded = self.load_object(spec, None, second, watch.as_deref(), maps);
        }
        let (skel, pruned) = loaded?;
        self.keep_shared(&skel)?;
        let asks_for_mounts = spec.plan.stage.iter().any(|stage| stage.beginnings != 0);
        if asks_for_mounts && self.task_storage && !self.sequences_looked_for {
            self.sequences_looked_for = true;
            sequences::find(handle(&skel, SEQUENCES)?);
        }
        if needs_program_calls(&spec.attach) && self.program_calls.is_none() {
            self.program_calls = Some(handle(&skel, PROGRAM_CALLS)?);
        }
        if spec.plan.flags & SAKER_PLAN_PARENT != 0 && self.parents.is_none() {
            self.parents = Some(handle(&skel, PARENTS)?);
        }
        if needs_sockets(&spec.plan) && self.sockets.is_none() {
            self.sockets = Some(handle(&skel, SOCKETS)?);
        }
        if maps.sets.is_empty() {
            maps.sets = SETS.iter().map(|name| handle(&skel, name)).collect::<Result<_, _>>()?;
        }
        if acts(&spec.plan) && maps.mode.is_none() {
            maps.mode = Some(handle(&skel, MODE)?);
        }
        let waiting = self.waiting_of(spec);
        let hashes = hashes(&spec.plan);
        let build_ids = match &spec.attach {
            Attach::Lsm(hook) if hashes == Hashes::BuildIds => {
                Some(build_ids::load(hook, hash_of(spec), Some(&handle(&skel, PUT_OFF)?), third)?)
            }
            _ => None,
        };
        let selectors = if counts_selectors(&spec.plan) { spec.plan.selectors } else { 0 };
        let attach = spec.attach.clone();
        Ok(Ready { skel, attach, pruned, tells_places, hashes, build_ids, selectors, watch, waiting })
    }

    /// Loads the object of a hook. Returns also whether its programs were pruned, for which `prepared` is needed.
    fn load_object<'a>(
        &self,
        spec: &HookSpec,
        prepared: Option<&Prepared>,
        place: &'a mut MaybeUninit<OpenObject>,
        watch: Option<&Follow>,
        maps: &PolicyMaps,
    ) -> Result<(HookSkel<'a>, bool), Error> {
        let _lock = loader::lock();
        let log = crate::library_log::LibraryLog::capture();
        let failed = |operation: &'static str| {
            let log = log.tail();
            move |source| Error::Load { operation, source, log }
        };
        let mut builder = HookSkelBuilder::default();
        let target = target(&spec.attach).unwrap_or_default();
        let sections = sections(&spec.attach, &target);
        // Until the object is loaded.
        let shortcut = prepared
            .and_then(|prepared| Shortcut::take(builder.object_builder_mut(), prepared, &sections, false));
        if shortcut.is_none() {
            builder = HookSkelBuilder::default();
        }
        let mut open = builder.open(place).map_err(failed("open"))?;
        self.configure(&mut open, spec, watch, maps).map_err(failed("configure"))?;
        choose_programs(&mut open, spec, &self.preemption, shortcut.is_some())
            .map_err(failed("choose the programs"))?;
        if let Some(shortcut) = &shortcut {
            shortcut.settle(open.open_object_mut(), self.own_types.descriptor(), &Contents::Kept);
        }
        let skel =
            open.load().map_err(|source| Error::Load { operation: "load", source, log: log.tail() })?;
        self.own_types.keep(skel.object().as_libbpf_object());
        for made in shortcut.iter().flat_map(Shortcut::take_templates) {
            self.templates.keep(made);
        }
        Ok((skel, shortcut.is_some()))
    }

    /// Loads the object of a hook with nothing in its programs, into which comes what was kept of those of an earlier hook.
    /// None: nothing was kept that fits.
    fn load_filled<'a>(
        &self,
        spec: &HookSpec,
        prepared: Option<&Prepared>,
        place: &'a mut MaybeUninit<OpenObject>,
        watch: Option<&Follow>,
        maps: &PolicyMaps,
    ) -> Result<Option<HookSkel<'a>>, Error> {
        let wanted = programs(&spec.attach, hashes(&spec.plan));
        let names = wanted.iter().map(|(name, _)| *name).filter(|name| *name != build_ids::PROGRAM);
        let names: Vec<&str> = names.collect();
        let lent = self.own_types.descriptor();
        let (Some(prepared), true) = (prepared, lent.is_some() && self.templates.know(&names)) else {
            return Ok(None);
        };
        let _lock = loader::lock();
        let log = crate::library_log::LibraryLog::capture();
        let failed = |operation: &'static str| {
            let log = log.tail();
            move |source| Error::Load { operation, source, log }
        };
        let mut builder = HookSkelBuilder::default();
        let target = target(&spec.attach).unwrap_or_default();
        let sections = sections(&spec.attach, &target);
        let shortcut = Shortcut::take(builder.object_builder_mut(), prepared, &sections, false);
        let Some(shortcut) = shortcut else { return Ok(None) };
        let opens_empty = OpensEmpty::begin();
        let mut open = builder.open(place).map_err(failed("open"))?;
        drop(opens_empty);
        self.configure(&mut open, spec, watch, maps).map_err(failed("configure"))?;
        choose_programs(&mut open, spec, &[], true).map_err(failed("choose the programs"))?;
        let kept = self.templates.find(&names, &loader::maps_to_make(open.open_object()));
        let Some(kept) = kept else { return Ok(None) };
        shortcut.settle(open.open_object_mut(), lent, &Contents::Filled(kept));
        let skel =
            open.load().map_err(|source| Error::Load { operation: "load", source, log: log.tail() })?;
        if shortcut.filled() != names.len() {
            let what = format!("of {} programs of a hook {} were filled", names.len(), shortcut.filled());
            return Err(Error::Option(what));
        }
        Ok(Some(skel))
    }

    fn configure(
        &self,
        open: &mut OpenHookSkel<'_>,
        spec: &HookSpec,
        watch: Option<&Follow>,
        maps: &PolicyMaps,
    ) -> Result<(), libbpf_rs::Error> {
        self.configure_constants(open, spec, watch)?;
        open.maps.saker_ring.reuse_fd(self.ring.as_fd())?;
        open.maps.saker_stats.reuse_fd(self.stats.as_fd())?;
        open.maps.data_reader.reuse_fd(self.reader.as_fd())?;
        if let Some(keep) = &self.keep {
            open.maps.data_turn.reuse_fd(keep.turn_map().as_fd())?;
        }
        open.maps.saker_processes.set_autocreate(self.task_storage)?;
        open.maps.saker_processes_hash.set_autocreate(!self.task_storage)?;
        if self.task_storage {
            open.maps.saker_processes.reuse_fd(self.processes.as_fd())?;
        } else {
            open.maps.saker_processes_hash.reuse_fd(self.processes.as_fd())?;
        }
        open.maps.saker_leaderless.set_autocreate(false)?;
        open_map(open, PROGRAM_CALLS)?.set_autocreate(needs_program_calls(&spec.attach))?;
        if let Some(calls) = self.program_calls.as_ref().filter(|_| needs_program_calls(&spec.attach)) {
            open_map(open, PROGRAM_CALLS)?.reuse_fd(calls.as_fd())?;
        }
        let mut put_off = open_map(open, PUT_OFF)?;
        put_off.set_autocreate(hashes(&spec.plan).decide())?;
        if hashes(&spec.plan).decide() {
            maps::make(&mut put_off)?;
        }
        let mut mode = open_map(open, MODE)?;
        mode.set_autocreate(acts(&spec.plan))?;
        match &maps.mode {
            Some(made) => mode.reuse_fd(made.as_fd())?,
            None if acts(&spec.plan) => drop(maps::make(&mut mode)?),
            None => {}
        }
        for (name, map) in self.enforcement.maps() {
            open_map(open, name)?.set_autocreate(acts(&spec.plan))?;
            if acts(&spec.plan) {
                open_map(open, name)?.reuse_fd(map.as_fd())?;
            }
        }
        let mut selectors = open_map(open, SELECTORS)?;
        selectors.set_autocreate(counts_selectors(&spec.plan))?;
        let entries = selector_shards()?.saturating_mul(spec.plan.selectors.into());
        selectors.set_max_entries(entries.max(1))?;
        if counts_selectors(&spec.plan) {
            maps::make(&mut selectors)?;
        }
        open_map(open, SOCKETS)?.set_autocreate(needs_sockets(&spec.plan))?;
        if let Some(sockets) = self.sockets.as_ref().filter(|_| needs_sockets(&spec.plan)) {
            open_map(open, SOCKETS)?.reuse_fd(sockets.as_fd())?;
        }
        let cpus = possible_cpus()?;
        let sized =
            |entries: u32, entry: usize| entries.saturating_mul(u32::try_from(entry).unwrap_or(u32::MAX));
        let mut stats = open_map(open, STATS)?;
        stats.set_value_size(sized(cpus.saturating_add(1), size_of::<saker_hook_stats>()))?;
        maps::make(&mut stats)?;
        open_map(open, ABOVE)?.set_value_size(sized(cpus, size_of::<saker_above>()))?;
        open_map(open, KNOWN)?.set_value_size(sized(cpus, size_of::<saker_known>()))?;
        for (name, shared) in &self.shared {
            open_map(open, name)?.reuse_fd(shared.as_fd())?;
        }
        for name in GROUPS {
            open_map(open, name)?.set_autocreate(spec.plan.flags & SAKER_PLAN_WORKLOADS != 0)?;
        }
        for (name, map) in self.groups.iter().filter(|_| spec.plan.flags & SAKER_PLAN_WORKLOADS != 0) {
            open_map(open, name)?.reuse_fd(map.as_fd())?;
        }
        self.configure_kin(open, spec.plan.flags, watch)?;
        for ((name, size), index) in SETS.iter().zip(maps.sizes).zip(0..) {
            let mut map = open_map(open, name)?;
            let empty = self.empty_sets.get::<usize>(index).filter(|_| size == 0);
            match (maps.sets.get::<usize>(index), empty) {
                (Some(made), _) => map.reuse_fd(made.as_fd())?,
                (None, Some(empty)) => maps::reuse(&mut map, empty)?,
                (None, None) => {
                    map.set_max_entries(size.max(1))?;
                    maps::make(&mut map)?;
                }
            }
        }
        Ok(())
    }

    /// What the verifier takes for constants: the plan, and what else is decided before the programs are loaded.
    fn configure_constants(
        &self,
        open: &mut OpenHookSkel<'_>,
        spec: &HookSpec,
        watch: Option<&Follow>,
    ) -> Result<(), libbpf_rs::Error> {
        if let Some(constants) = open.maps.data_constants_data.as_deref_mut() {
            constants.saker_task_storage = self.task_storage;
            constants.saker_preemptible = !self.preemption.is_empty();
            constants.saker_ring_limit = self.ring_limit;
            constants.saker_mechanism = mechanism_number(&spec.attach);
            constants.saker_watches = watch.is_some();
            constants.saker_follows = spec.plan.flags & SAKER_PLAN_FOLLOW != 0;
            constants.saker_stacks = stacks_of(&spec.plan);
            constants.saker_ops = operators_of(&spec.plan);
            constants.saker_types = types_of(&spec.plan);
            constants.saker_parts = parts_of(&spec.plan);
            constants.saker_agent = self.agent;
            constants.saker_signals = group::has_signals(&spec.plan);
            constants.saker_set_errors = group::sets_errors(&spec.attach, &spec.plan);
            constants.saker_storage_walked = group::walks_storage(&spec.attach, self.task_storage);
            constants.saker_agent_start = self.agent_start;
            constants.saker_generation = self.keep.as_ref().map_or(0, |keep| keep.generation());
            constants.saker_hits_init = self.spared.hits_init;
            constants.saker_hits_agent = self.spared.hits_agent;
            constants.saker_selector_shards = selector_shards()?;
            constants.saker_hash_of = hash_of(spec);
            constants.saker_cpus = possible_cpus()?;
            constants.saker_syscalls = spec.plan.syscall;
            constants.saker_narrow_syscalls = spec.plan.narrow;
            if let Attach::Kprobes { on_return: true, at_once: true, .. } = &spec.attach
                && let Ok(distance) = mechanisms::return_distance()
            {
                constants.saker_return_distance = distance;
            }
        }
        open.maps.data_plan.set_initial_value(spec.plan.as_bytes())?;
        maps::freeze(&mut open.maps.data_plan)?;
        maps::freeze(&mut open.maps.data_constants)?;
        Ok(())
    }

    /// What forgets the calls of a hook that wait for their return.
    fn waiting_of(&mut self, spec: &HookSpec) -> Option<Waiting> {
        let at_return = spec.plan.flags & (SAKER_PLAN_RETURN | SAKER_PLAN_AT_EXIT) == SAKER_PLAN_RETURN;
        let waits = at_return || hashes(&spec.plan) == Hashes::Told;
        if !waits || needs_program_calls(&spec.attach) {
            return None;
        }
        let calls = Arc::clone(self.calls.as_ref()?);
        Some(Waiting { calls, policy: spec.plan.policy, hook: spec.plan.hook })
    }

    /// How many calls of functions of the kernel wait for their return, of all policies.
    #[must_use]
    pub fn waiting_calls(&self) -> usize {
        self.calls.as_ref().map_or(0, |calls| waiting::keys(calls).len())
    }

    /// Whether hooks keep where mounts hang from one call to the next: they do from the first that compares paths on, once the kernel
    /// has told where changes of mounts are counted. None: they never do on this kernel.
    #[must_use]
    pub fn keeps_mounts(&self) -> Option<bool> {
        let found = || self.shared.iter().any(|(name, map)| *name == SEQUENCES && sequences::are_in(map));
        self.task_storage.then(found)
    }

    fn keep_shared(&mut self, skel: &HookSkel<'_>) -> Result<(), Error> {
        let missing = |shared: &[(&str, MapHandle)], name| shared.iter().all(|(known, _)| *known != name);
        for name in SHARED.into_iter().chain(SHARED_BY_HOOKS) {
            if missing(&self.shared, name) {
                self.shared.push((name, handle(skel, name)?));
            }
        }
        if self.calls.is_none() {
            self.calls = Some(Arc::new(handle(skel, CALLS)?));
        }
        Ok(())
    }
}

//! The maps of hooks: their names, and what is in those of a policy.

use std::os::fd::{AsFd, AsRawFd};
use std::sync::{Arc, OnceLock};

use libbpf_rs::skel::{OpenSkel, Skel};
use libbpf_rs::{MapCore, MapFlags, MapHandle, MapType, OpenMapMut, libbpf_sys};
use saker_policy::plan::Sets;
use zerocopy::IntoBytes;

use crate::files::{Files, Watched};
use crate::hook_skel::{HookSkel, OpenHookSkel};
use crate::sensors::program_fdinfo;
use crate::{Error, files, loader};

/// Calls of functions of programs whose return will be told; shared by the hooks that need it.
pub(super) const PROGRAM_CALLS: &str = "saker_program_calls";

/// What is known of parents; shared by the hooks that need it.
pub(super) const PARENTS: &str = "saker_parents";
/// Holds the table of owners of sockets; shared by the hooks that need it.
pub(super) const SOCKETS: &str = "saker_sockets";

/// Maps that all hooks share; the first hook that is loaded makes them, or what hands lineages on before it.
pub(super) const SHARED: [&str; 8] = [
    "saker_hook_scratch",
    "saker_hook_levels",
    CALLS,
    "saker_rates",
    "saker_binary_sets",
    "saker_binary_texts",
    "saker_binary_prefixes",
    "saker_binary_columns",
];

/// The same that only hooks have.
pub(super) const SHARED_BY_HOOKS: [&str; 3] = [KNOWN, ABOVE, SEQUENCES];

/// Which control group belongs to which container, see [`Groups`].
pub(super) const GROUPS: [&str; 2] = ["saker_groups", "saker_groups_host"];

/// Calls whose return is waited for.
pub(super) const CALLS: &str = "saker_calls";

/// Calls of a hook that are decided by the hash of their file, until it is known; only there when the hook needs it.
pub(super) const PUT_OFF: &str = "saker_put_off";

/// Whether a policy acts or only tells; shared by its hooks.
pub(super) const MODE: &str = "saker_mode";

/// What each CPU found out last of the task it runs.
pub(super) const KNOWN: &str = "saker_known";

/// Where mounts hang, as each CPU found out.
pub(super) const ABOVE: &str = "saker_above";

/// Where the kernel counts renames and changes of mounts.
pub(super) const SEQUENCES: &str = "saker_sequences";

/// Counters of a hook.
pub(super) const STATS: &str = "saker_hook_stats";

/// Counters of its selectors, if it has several.
pub(super) const SELECTORS: &str = "saker_selector_stats";

/// Maps of a policy's sets, in the order of [`Sets`]; files come last.
pub(super) const SETS: [&str; 7] = [
    "saker_numbers",
    "saker_texts",
    "saker_prefixes",
    "saker_networks",
    "saker_pieces",
    "saker_columns",
    files::MAP,
];

/// Maps that the hooks of a policy share; its first hook makes them.
#[derive(Default)]
pub(super) struct PolicyMaps {
    pub(super) sets: Vec<MapHandle>,
    /// Entries of each; without one it is not the policy's own.
    pub(super) sizes: [u32; SETS.len()],
    /// Of a policy that names files.
    pub(super) files: Option<Watched>,
    /// Of a policy that acts.
    pub(super) mode: Option<MapHandle>,
}

pub(super) fn handle(skel: &HookSkel<'_>, name: &'static str) -> Result<MapHandle, Error> {
    let map = skel.object().maps().find(|map| map.name() == name);
    let map = map.ok_or_else(|| Error::Option(format!("the object has no map {name}")))?;
    MapHandle::try_from(&map).map_err(|source| Error::Map { map: name, source })
}

pub(super) fn open_map<'a>(
    open: &'a mut OpenHookSkel<'_>,
    name: &str,
) -> Result<OpenMapMut<'a>, libbpf_rs::Error> {
    let found = open.open_object_mut().maps_mut().find(|map| map.name() == name);
    found.ok_or_else(|| libbpf_rs::Error::from(std::io::Error::from(std::io::ErrorKind::NotFound)))
}

impl PolicyMaps {
    /// Maps to be made; the files that a policy names are found.
    pub(super) fn of(sets: &Sets) -> Result<Self, Error> {
        let files = if sets.files.is_empty() { None } else { Some(Arc::new(Files::find(&sets.files)?)) };
        let sizes = [
            sets.numbers.len(),
            sets.texts.len(),
            sets.prefixes.len(),
            sets.networks.len(),
            sets.pieces.len(),
            sets.columns.len(),
            files.as_ref().map_or(0, |files| files.room() as usize),
        ];
        let sizes = sizes.map(|size| u32::try_from(size).unwrap_or(u32::MAX));
        Ok(Self { files, sizes, ..Self::default() })
    }

    /// Puts what the policy names into them.
    pub(super) fn fill(&self, sets: &Sets) -> Result<(), Error> {
        fill_sets(&self.sets, sets)?;
        let (Some(files), Some(map)) = (&self.files, self.sets.last()) else { return Ok(()) };
        let map = MapHandle::try_from(map).map_err(|source| Error::Map { map: files::MAP, source })?;
        files.tell(map)
    }
}

/// Puts the sets of a policy into its maps.
fn fill_sets(maps: &[MapHandle], sets: &Sets) -> Result<(), Error> {
    let one = [1_u8].as_slice();
    let fill = |index: usize, entries: &mut dyn Iterator<Item = (&[u8], &[u8])>| -> Result<(), Error> {
        let (Some(map), Some(name)) = (maps.get(index), SETS.get(index)) else { return Ok(()) };
        for (key, value) in entries {
            map.update(key, value, MapFlags::ANY).map_err(|source| Error::Map { map: name, source })?;
        }
        Ok(())
    };
    fill(0, &mut sets.numbers.iter().map(|key| (key.as_bytes(), one)))?;
    fill(1, &mut sets.texts.iter().map(|key| (key.as_bytes(), one)))?;
    fill(2, &mut sets.prefixes.iter().map(|key| (key.as_bytes(), one)))?;
    fill(3, &mut sets.networks.iter().map(|key| (key.as_bytes(), one)))?;
    fill(4, &mut sets.pieces.iter().map(|(key, piece)| (key.as_bytes(), piece.as_bytes())))?;
    let numbers: Vec<_> = (0_u32..).zip(&sets.columns).map(|(number, _)| number.to_ne_bytes()).collect();
    let columns = sets.columns.iter().map(IntoBytes::as_bytes);
    fill(5, &mut numbers.iter().map(<[u8; 4]>::as_slice).zip(columns))
}

/// Bytes of a map's name in the kernel (`BPF_OBJ_NAME_LEN` less one).
const NAME: usize = 15;

/// Makes a map of an object that is not loaded yet, as the object has it but for the types of its keys and values: for them
/// the kernel would keep the description of all types of the object.
pub(super) fn make(map: &mut OpenMapMut<'_>) -> Result<MapHandle, libbpf_rs::Error> {
    let options = libbpf_sys::bpf_map_create_opts {
        sz: size_of::<libbpf_sys::bpf_map_create_opts>() as libbpf_sys::size_t,
        map_flags: map.map_flags(),
        ..libbpf_sys::bpf_map_create_opts::default()
    };
    let name: String = map.name().to_string_lossy().chars().take(NAME).collect();
    let made = MapHandle::create(
        map.map_type(),
        Some(name),
        map.key_size(),
        map.value_size(),
        map.max_entries(),
        &options,
    )?;
    map.reuse_fd(made.as_fd())?;
    Ok(made)
}

/// Gives an object that is not loaded yet the map that is kept for it; the first one makes it.
pub(super) fn reuse(map: &mut OpenMapMut<'_>, kept: &OnceLock<MapHandle>) -> Result<(), libbpf_rs::Error> {
    if let Some(kept) = kept.get() {
        return map.reuse_fd(kept.as_fd());
    }
    map.set_max_entries(1)?;
    let _ = kept.set(make(map)?);
    Ok(())
}

/// Makes a map of an object that is not loaded yet with its initial value, which programs only read and nobody writes
/// any more. Programs are pruned by the initial value; the verifier sees the map.
pub(super) fn freeze(map: &mut OpenMapMut<'_>) -> Result<(), libbpf_rs::Error> {
    let options = libbpf_sys::bpf_map_create_opts {
        sz: size_of::<libbpf_sys::bpf_map_create_opts>() as libbpf_sys::size_t,
        map_flags: libbpf_sys::BPF_F_RDONLY_PROG,
        ..libbpf_sys::bpf_map_create_opts::default()
    };
    let value = map.initial_value().unwrap_or_default();
    let size = u32::try_from(value.len()).unwrap_or(u32::MAX);
    let name: String = map.name().to_string_lossy().chars().take(NAME).collect();
    let frozen = MapHandle::create(MapType::Array, Some(name), size_of::<u32>() as u32, size, 1, &options)?;
    frozen.update(&0_u32.to_ne_bytes(), value, MapFlags::ANY)?;
    frozen.freeze()?;
    map.reuse_fd(frozen.as_fd())
}

/// Kernel memory that is a hook's alone, in bytes: of its programs, and of those maps of its own that stay when its object
/// is gone, because a program uses them or they are held open. What was all put into the instructions does not stay.
pub(super) fn memory_of(skel: &HookSkel<'_>) -> u64 {
    let object = skel.object();
    let (held, of_object) = ([STATS, SELECTORS, PUT_OFF], loader::CONSTANTS);
    let ends_with = |map: &libbpf_rs::Map<'_>, names: &[&str]| {
        names.iter().any(|name| map.name().to_string_lossy().ends_with(name))
    };
    // None: the kernel does not say, so all may be used.
    let used: Option<Vec<Vec<u32>>> = object
        .progs()
        .filter(|program| program.as_fd().as_raw_fd() >= 0)
        .map(|p| loader::maps_used_by(p.as_fd()))
        .collect();
    let is_used = |map: &libbpf_rs::Map<'_>| match (&used, map.info()) {
        (Some(used), Ok(info)) => used.iter().any(|ids| ids.contains(&info.info.id)),
        _ => true,
    };
    let maps =
        object.maps().filter(|map| ends_with(map, &held) || ends_with(map, &of_object) && is_used(map));
    let maps = maps.filter_map(|map| program_fdinfo(map.as_fd(), "memlock:"));
    let programs = object.progs().filter_map(|program| program_fdinfo(program.as_fd(), "memlock:"));
    maps.chain(programs).sum()
}

//! What hooks share of what is known of processes: their binaries, what they come from, and what they began with.

use std::collections::{BTreeMap, HashSet};
use std::os::fd::AsFd;
use std::sync::Arc;

use libbpf_rs::{MapCore, MapFlags, MapHandle};
use saker_abi::generated::{SAKER_PLAN_FOLLOW, SAKER_PLAN_PARENT, saker_binary_sets};
use zerocopy::{FromZeros, Immutable, IntoBytes};

use super::maps::{PARENTS, SHARED, open_map};
use super::{Binaries, Hooks};
use crate::Error;
use crate::follow::{Follow, Job, Wanted};
use crate::hook_skel::OpenHookSkel;

impl Hooks {
    /// Maps for hooks that look at what a process comes from, or at what it changed.
    pub(super) fn configure_kin(
        &self,
        open: &mut OpenHookSkel<'_>,
        flags: u32,
        watch: Option<&Follow>,
    ) -> Result<(), libbpf_rs::Error> {
        let follows = flags & SAKER_PLAN_FOLLOW != 0;
        for (index, name) in Job::Follow.maps().iter().enumerate() {
            let mut map = open_map(open, name)?;
            map.set_autocreate(follows)?;
            let made = self.follow.as_ref().filter(|_| follows).and_then(|follow| follow.maps.get(index));
            if let Some(made) = made {
                map.reuse_fd(made.as_fd())?;
            }
        }
        let asks = flags & SAKER_PLAN_PARENT != 0;
        let mut map = open_map(open, PARENTS)?;
        map.set_autocreate(asks)?;
        if let Some(made) = self.parents.as_ref().filter(|_| asks) {
            map.reuse_fd(made.as_fd())?;
        }
        for (index, name) in Job::Watch.maps().iter().enumerate() {
            let mut map = open_map(open, name)?;
            map.set_autocreate(watch.is_some())?;
            if let Some(made) = watch.and_then(|watch| watch.maps.get(index)) {
                map.reuse_fd(made.as_fd())?;
            }
        }
        Ok(())
    }

    /// What hands lineages on, which is loaded if it is not there.
    pub(super) fn follow(&mut self) -> Result<&Follow, Error> {
        if self.follow.is_none() {
            self.follow = Some(self.begin(Job::Follow)?);
        }
        self.follow.as_ref().ok_or_else(|| Error::Option("nothing hands lineages on".to_owned()))
    }

    /// What keeps what tasks began with; likewise.
    pub(super) fn watch(&mut self) -> Result<Arc<Follow>, Error> {
        if let Some(watch) = self.watch.upgrade() {
            return Ok(watch);
        }
        let watch = Arc::new(self.begin(Job::Watch)?);
        watch.look_at_all()?;
        self.watch = Arc::downgrade(&watch);
        Ok(watch)
    }

    fn begin(&mut self, job: Job) -> Result<Follow, Error> {
        let mut shared: Vec<_> = self.shared.iter().map(|(name, map)| (*name, map)).collect();
        shared.push(("saker_stats", &self.stats));
        let (preemption, task_iterator) = (&self.preemption, self.task_iterator);
        let programs = Follow::load(&Wanted {
            job,
            preemption,
            task_iterator,
            shared,
            made: &SHARED,
            keep: self.keep.as_ref(),
        })?;
        if self.shared.is_empty() {
            let shared = SHARED.into_iter().map(|name| Ok((name, programs.map(name)?)));
            self.shared = shared.collect::<Result<_, Error>>()?;
        }
        Ok(programs)
    }

    /// Says which binaries have which bits, from now on. Records of processes are made anew as hooks meet them; what
    /// is followed is found out at once for all processes that are there.
    ///
    /// # Errors
    /// No hook has been loaded yet, a map is full or cannot be written, or what hands lineages on cannot be loaded.
    pub fn set_binaries(&mut self, binaries: &Binaries) -> Result<(), Error> {
        let generation = self.generation.checked_add(1).unwrap_or(1);
        let followed = self.meanings(&binaries.followed, generation);
        if !followed.is_empty() {
            let [_, pids] = &self.follow()?.maps;
            put(pids, "saker_follow_pids", &binaries.pids)?;
        }
        let texts = self.shared_map("saker_binary_texts")?;
        let prefixes = self.shared_map("saker_binary_prefixes")?;
        put(texts, "saker_binary_texts", &binaries.texts)?;
        put(prefixes, "saker_binary_prefixes", &binaries.prefixes)?;
        // Columns are counted, so that what is left of others behind them is not looked at; and a process looked at
        // while they change is looked at again, for the generation is another then.
        let columns = self.shared_map("saker_binary_columns")?;
        let columns_failed = |source| Error::Map { map: "saker_binary_columns", source };
        let numbered = || (0_u32..).zip(&binaries.columns);
        for (number, column) in numbered() {
            let done = columns.update(&number.to_ne_bytes(), column.as_bytes(), MapFlags::ANY);
            done.map_err(columns_failed)?;
        }
        let mut sets = saker_binary_sets::new_zeroed();
        sets.columns = u32::try_from(binaries.columns.len()).unwrap_or(u32::MAX);
        sets.lengths = u32::try_from(binaries.lengths.len()).unwrap_or(u32::MAX);
        for (to, length) in sets.length.iter_mut().zip(&binaries.lengths) {
            *to = *length;
        }
        for (bit, (_, since)) in &followed {
            sets.followed |= 1_u64.checked_shl((*bit).into()).unwrap_or(0);
            if let Some(to) = sets.since.get_mut(usize::from(*bit)) {
                *to = *since;
            }
        }
        // The generation last: nobody may take it for known before all of it can be seen.
        for generation in [self.generation, generation] {
            sets.generation = generation;
            let map = "saker_binary_sets";
            let done = self.shared_map(map)?.update(&0_u32.to_ne_bytes(), sets.as_bytes(), MapFlags::ANY);
            done.map_err(|source| Error::Map { map, source })?;
        }
        keep_only(texts, "saker_binary_texts", &binaries.texts)?;
        keep_only(prefixes, "saker_binary_prefixes", &binaries.prefixes)?;
        let numbers: Vec<_> = numbered().map(|(number, _)| number.to_ne_bytes()).collect();
        remove_others(columns, numbers.iter().map(<[u8; 4]>::as_slice)).map_err(columns_failed)?;
        let new = followed.values().any(|(_, since)| *since == generation);
        self.generation = generation;
        self.followed = followed;
        if let Some(follow) = &self.follow {
            keep_only(&follow.maps[1], "saker_follow_pids", &binaries.pids)?;
            if new {
                follow.look_at_all()?;
            }
        }
        if self.followed.is_empty() {
            self.follow = None;
        }
        Ok(())
    }

    /// What bits mean, each with the generation since when.
    fn meanings(&self, followed: &BTreeMap<u8, u64>, generation: u32) -> BTreeMap<u8, (u64, u32)> {
        let since = |(bit, meaning): (&u8, &u64)| {
            let known = self.followed.get(bit).filter(|(known, _)| known == meaning);
            (*bit, known.copied().unwrap_or((*meaning, generation)))
        };
        followed.iter().map(since).collect()
    }

    fn shared_map(&self, name: &'static str) -> Result<&MapHandle, Error> {
        let found = self.shared.iter().find(|(shared, _)| *shared == name).map(|(_, map)| map);
        found.ok_or_else(|| Error::Option(format!("the map {name} is not there yet")))
    }
}

/// Puts all entries into a map.
fn put<K: IntoBytes + Immutable>(
    to: &MapHandle,
    map: &'static str,
    entries: &[(K, u64)],
) -> Result<(), Error> {
    entries
        .iter()
        .try_for_each(|(key, bits)| to.update(key.as_bytes(), bits.as_bytes(), MapFlags::ANY))
        .map_err(|source| Error::Map { map, source })
}

/// Removes all other entries from a map.
fn keep_only<K: IntoBytes + Immutable>(
    from: &MapHandle,
    map: &'static str,
    entries: &[(K, u64)],
) -> Result<(), Error> {
    remove_others(from, entries.iter().map(|(key, _)| key.as_bytes()))
        .map_err(|source| Error::Map { map, source })
}

/// Removes all keys but these.
fn remove_others<'a>(map: &MapHandle, keep: impl Iterator<Item = &'a [u8]>) -> Result<(), libbpf_rs::Error> {
    let keep: HashSet<&[u8]> = keep.collect();
    let gone: Vec<Vec<u8>> = map.keys().filter(|key| !keep.contains(key.as_slice())).collect();
    gone.iter().try_for_each(|key| map.delete(key))
}

//! Files by what they are (`SAKER_OP_SAME_FILE`): which file each path of a policy leads to, told to the kernel when the
//! policy is loaded, and told anew when a file is replaced.
//!
//! One thread looks after the files of all policies. New ones are put into the kernel's table before old ones are taken
//! out, so that a file that stays is in it at any time. What cannot be looked at keeps what was known of it, and what was
//! moved away stays what it was until it is gone.

mod events;
mod known;
mod resolve;
mod watch;

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use libbpf_rs::{ErrorKind, MapCore, MapFlags, MapHandle};
use saker_abi::generated::{SAKER_FILES_MAX, saker_file_key};
use saker_policy::plan::NamedFiles;
use zerocopy::IntoBytes;

use self::known::{Known, parents, pause};
pub(crate) use self::watch::Watch;
use crate::Error;

/// The table in the kernel.
pub(crate) const MAP: &str = "saker_files";
/// Time between two looks at what the paths lead to, and at least so many times what a look takes: a fiftieth of a CPU.
const LOOK: Duration = Duration::from_secs(1);
const SHARE: u32 = 50;
/// Room beyond twice what is found at first.
const ROOM: usize = 1_024;
/// Folders that are watched for entries that come and go; the paths of others are looked at every second.
const FOLDERS_MAX: usize = 1_024;

/// Set, device, inode: as `saker_file_key`.
type Key = (u32, u32, u64);

/// Looks once for what the paths of `SameFile` and `NotSameFile` lead to, as is done when a policy is loaded. Returns what
/// its status would say of them.
///
/// # Errors
/// The policy would be refused: a path leads to a file whose numbers do not say which it is, a folder is too large, or they
/// are too many.
pub fn look_for_files(sets: &[NamedFiles]) -> Result<Vec<String>, Error> {
    let files = Files::find(sets)?;
    Ok(files.problems().into_iter().map(|(_, told)| told).collect())
}

/// Of the policies whose files are looked after.
pub(crate) type Watched = Arc<Files>;

/// The files of a policy.
pub(crate) struct Files {
    sets: Vec<NamedFiles>,
    state: Mutex<State>,
}

struct State {
    known: Known,
    /// Made when the policy is loaded.
    map: Option<MapHandle>,
    /// What is in it.
    told: BTreeSet<Key>,
    problems: Vec<(u32, String)>,
    /// When to look again.
    due: Option<Instant>,
}

impl Files {
    /// Looks for what all paths lead to.
    ///
    /// # Errors
    /// A path leads to a file whose numbers do not say which it is, a folder is too large, or they are too many.
    pub(crate) fn find(sets: &[NamedFiles]) -> Result<Self, Error> {
        let mut known = Known::begin();
        let look = known.look(sets);
        if let Some(reason) = look.refused {
            return Err(Error::Option(reason));
        }
        if look.wanted.len() > SAKER_FILES_MAX as usize {
            return Err(Error::Option(format!(
                "`SameFile` and `NotSameFile` lead to {} files, {SAKER_FILES_MAX} are possible: files in folders that have \
                 another name count one by one",
                look.wanted.len()
            )));
        }
        let state = State { known, map: None, told: look.wanted, problems: look.problems, due: None };
        Ok(Self { sets: sets.to_vec(), state: Mutex::new(state) })
    }

    /// Entries that the table in the kernel needs: old files and new ones are in it side by side.
    pub(crate) fn room(&self) -> u32 {
        let named = self.sets.iter().map(|set| set.paths.len()).sum::<usize>();
        let entries = 2 * self.state().told.len().max(named) + ROOM;
        u32::try_from(entries).unwrap_or(u32::MAX)
    }

    /// Puts all that was found into the table, and keeps it for what is found later.
    pub(crate) fn tell(&self, map: MapHandle) -> Result<(), Error> {
        let mut state = self.state();
        for key in &state.told {
            insert(&map, *key).map_err(|source| Error::Map { map: MAP, source })?;
        }
        state.map = Some(map);
        Ok(())
    }

    /// Looks again, if it is time to, and tells the kernel what has changed. Returns when to come back.
    pub(crate) fn refresh(&self, at_once: bool) -> Instant {
        let began = Instant::now();
        let mut state = self.state();
        if let Some(due) = state.due.filter(|due| *due > began && !at_once) {
            return due;
        }
        for folder in parents(&self.sets).into_iter().take(FOLDERS_MAX) {
            state.known.events.watch_folder(folder);
        }
        let look = state.known.look(&self.sets);
        state.problems = look.problems;
        state.change(&look.wanted);
        let due = Instant::now() + pause(began.elapsed());
        state.due = Some(due);
        due
    }

    /// What is wrong with the paths of each set, as of the last look.
    pub(crate) fn problems(&self) -> Vec<(u32, String)> {
        self.state().problems.clone()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Makes the table what is wanted: first what is new.
    fn change(&mut self, wanted: &BTreeSet<Key>) {
        let Some(map) = &self.map else { return };
        for key in wanted.difference(&self.told).copied().collect::<Vec<_>>() {
            match insert(map, key) {
                Ok(()) => {
                    self.told.insert(key);
                    tracing::debug!(set = key.0, device = key.1, inode = key.2, "a file of a policy is new");
                }
                Err(error) => {
                    let note =
                        format!("the kernel has no room for further files: {error}; apply the policy anew");
                    self.problems.push((key.0, note));
                    break;
                }
            }
        }
        for key in self.told.difference(wanted).copied().collect::<Vec<_>>() {
            match map.delete(in_kernel(key).as_bytes()) {
                Err(error) if error.kind() != ErrorKind::NotFound => {
                    self.problems.push((key.0, format!("a file that is gone is still meant: {error}")));
                }
                _ => {
                    self.told.remove(&key);
                }
            }
        }
    }
}

fn in_kernel((set, device, inode): Key) -> saker_file_key {
    saker_file_key { set, device, inode }
}

fn insert(map: &MapHandle, key: Key) -> Result<(), libbpf_rs::Error> {
    map.update(in_kernel(key).as_bytes(), &[1], MapFlags::ANY)
}

#[cfg(test)]
#[path = "files/tests.rs"]
mod tests;

//! What holds for the actions of all policies together: the switch that has none of them act, and what was done in
//! each control group.
//!
//! Both are maps that user space makes, so that they are there before any hook, and that every hook which acts
//! shares (`bpf/policy/act.h`).

use std::sync::Arc;

use libbpf_rs::{MapCore, MapFlags, MapHandle, MapType};
use saker_abi::generated::{SAKER_ENFORCED_GROUPS_MAX, saker_enforced};
use zerocopy::{FromBytes, IntoBytes};

use crate::{Error, Keep};

/// Map of the switch.
const SWITCH: &str = "saker_switch";
/// Map of what was done by control group.
const ENFORCED: &str = "saker_enforced";
/// Id of the entry for all groups that have none of their own.
const OTHERS: u64 = 0;

/// What was done to the processes of a control group, by all policies.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Enforced {
    /// Calls in whose place a result was given.
    pub denied: u64,
    /// Signals sent.
    pub signalled: u64,
    /// Calls to which nothing was done, for whatever reason.
    pub withheld: u64,
}

impl Enforced {
    /// This and that.
    #[must_use]
    pub fn plus(self, other: Self) -> Self {
        Self {
            denied: self.denied.saturating_add(other.denied),
            signalled: self.signalled.saturating_add(other.signalled),
            withheld: self.withheld.saturating_add(other.withheld),
        }
    }
}

/// The switch and the counters.
pub struct Enforcement {
    switch: MapHandle,
    groups: MapHandle,
}

impl Enforcement {
    /// Groups that are counted by themselves.
    pub const CAPACITY: usize = SAKER_ENFORCED_GROUPS_MAX as usize;

    /// Makes both: policies act, and nothing was done yet. Where policies outlive agents, one switch is for those of all.
    ///
    /// # Errors
    /// The kernel has no room for them.
    pub fn begin(keep: Option<&Keep>) -> Result<Arc<Self>, Error> {
        let failed = |source| Error::Map { map: SWITCH, source };
        let switch = match keep {
            Some(keep) => MapHandle::try_from(keep.switch_map()).map_err(failed)?,
            None => map(MapType::Array, SWITCH, size_of::<u32>(), size_of::<u64>(), 1, 0)?,
        };
        let flags = libbpf_rs::libbpf_sys::BPF_F_NO_PREALLOC;
        let (key, value) = (size_of::<u64>(), size_of::<saker_enforced>());
        let groups = map(MapType::Hash, ENFORCED, key, value, SAKER_ENFORCED_GROUPS_MAX + 1, flags)?;
        let made = Self { switch, groups };
        made.set_off_until(0)?;
        made.put(OTHERS, saker_enforced::default())?;
        Ok(Arc::new(made))
    }

    /// Has no policy act until then, in nanoseconds of `CLOCK_BOOTTIME`; 0: they do, `u64::MAX`: none does until this
    /// is called again. It holds for every action that begins after this returns, and the kernel keeps the time.
    ///
    /// # Errors
    /// The kernel cannot be told; nothing has changed.
    pub fn set_off_until(&self, until: u64) -> Result<(), Error> {
        let set = self.switch.update(&0_u32.to_ne_bytes(), &until.to_ne_bytes(), MapFlags::ANY);
        set.map_err(|source| Error::Map { map: SWITCH, source })
    }

    /// What was done, by the id of the control group. Groups that there was no room for are together under 0.
    ///
    /// # Errors
    /// The kernel cannot be asked.
    pub fn groups(&self) -> Result<Vec<(u64, Enforced)>, Error> {
        let failed = |source| Error::Map { map: ENFORCED, source };
        let mut found = Vec::new();
        // While groups come and go the kernel begins again now and then.
        for key in self.groups.keys().take(2 * Self::CAPACITY) {
            let Ok((id, _)) = u64::read_from_prefix(&key) else { continue };
            let Some(value) = self.groups.lookup(&key, MapFlags::ANY).map_err(failed)? else { continue };
            let Ok((counts, _)) = saker_enforced::read_from_prefix(&value) else { continue };
            let saker_enforced { denied, signalled, withheld } = counts;
            found.push((id, Enforced { denied, signalled, withheld }));
        }
        found.sort_by_key(|(id, _)| *id);
        found.dedup_by_key(|(id, _)| *id);
        Ok(found)
    }

    /// Takes out the entry of a group that is gone, in which nothing can be done any more.
    ///
    /// # Errors
    /// It is the one for all others, which stays, or the kernel cannot be told.
    pub fn forget(&self, group: u64) -> Result<(), Error> {
        if group == OTHERS {
            return Err(Error::Option("what is counted of other control groups cannot be forgotten".into()));
        }
        let deleted = self.groups.delete(&group.to_ne_bytes());
        deleted.map_err(|source| Error::Map { map: ENFORCED, source })
    }

    fn put(&self, group: u64, counts: saker_enforced) -> Result<(), Error> {
        let put = self.groups.update(&group.to_ne_bytes(), counts.as_bytes(), MapFlags::ANY);
        put.map_err(|source| Error::Map { map: ENFORCED, source })
    }

    /// The maps with their names in the objects of hooks.
    pub(crate) fn maps(&self) -> [(&'static str, &MapHandle); 2] {
        [(SWITCH, &self.switch), (ENFORCED, &self.groups)]
    }
}

fn map(
    kind: MapType,
    name: &'static str,
    key: usize,
    value: usize,
    entries: u32,
    flags: u32,
) -> Result<MapHandle, Error> {
    let options = libbpf_rs::libbpf_sys::bpf_map_create_opts {
        sz: size_of::<libbpf_rs::libbpf_sys::bpf_map_create_opts>() as _,
        map_flags: flags,
        ..Default::default()
    };
    let size = |bytes: usize| u32::try_from(bytes).unwrap_or(u32::MAX);
    MapHandle::create(kind, Some(name), size(key), size(value), entries, &options)
        .map_err(|source| Error::Map { map: name, source })
}

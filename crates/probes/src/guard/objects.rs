//! BPF objects of this process, by their numbers.
//!
//! Maps and programs are taken down by the kernel side when this process gets the first descriptor of them. Links are
//! found here, and what was there before the guard.

use std::collections::HashSet;
use std::fs;

use libbpf_rs::query::{LinkInfoIter, MapInfoIter, ProgInfoIter};
use libbpf_rs::{ErrorKind, MapCore, MapFlags, MapHandle};
use saker_abi::generated::{
    SAKER_GUARD_LINK, SAKER_GUARD_MAP, SAKER_GUARD_OBJECTS_MAX, SAKER_GUARD_PROG, saker_guard_object,
};
use zerocopy::{FromBytes, IntoBytes};

use crate::Error;

/// Name of the map.
pub(super) const MAP: &str = "saker_guard_objects";
/// Fields of `/proc/self/fdinfo`.
const FIELDS: [(&str, u32); 3] =
    [("map_id:", SAKER_GUARD_MAP), ("prog_id:", SAKER_GUARD_PROG), ("link_id:", SAKER_GUARD_LINK)];

/// Those that are guarded.
pub(super) struct Objects(MapHandle);

impl Objects {
    pub fn new(map: MapHandle) -> Self {
        Self(map)
    }

    /// Takes out the numbers of what is gone, when there are many. Opens whatever there is, which the kernel side must not
    /// take for this process's.
    pub fn make_room(&self) -> Result<(), Error> {
        let limit = SAKER_GUARD_OBJECTS_MAX as usize;
        if self.0.keys().take(limit).count() <= limit / 4 * 3 {
            return Ok(());
        }
        let there = existing();
        for key in self.0.keys().take(limit).collect::<Vec<_>>() {
            let Ok((object, _)) = saker_guard_object::read_from_prefix(&key) else { continue };
            if there.contains(&(object.kind, object.id)) {
                continue;
            }
            match self.0.delete(&key) {
                Err(source) if source.kind() != ErrorKind::NotFound => {
                    return Err(Error::Map { map: MAP, source });
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// Takes down what descriptors of this process are of.
    pub fn enter_own(&self) -> Result<(), Error> {
        for (kind, id) in own() {
            let key = saker_guard_object { kind, id };
            let entered = self.0.update(key.as_bytes(), &1_u32.to_ne_bytes(), MapFlags::ANY);
            entered.map_err(|source| Error::Map { map: MAP, source })?;
        }
        Ok(())
    }
}

/// Kind and number of what descriptors of this process are of.
fn own() -> HashSet<(u32, u32)> {
    let mut found = HashSet::new();
    let Ok(entries) = fs::read_dir("/proc/self/fdinfo") else { return found };
    for entry in entries.flatten() {
        let text = fs::read_to_string(entry.path()).unwrap_or_default();
        found.extend(of_descriptor(&text));
    }
    found
}

/// What a text of `/proc/self/fdinfo` tells. That of a link tells its program too, which is this process's as well.
fn of_descriptor(text: &str) -> impl Iterator<Item = (u32, u32)> {
    text.lines().filter_map(|line| {
        let (field, kind) = FIELDS.iter().find(|(field, _)| line.starts_with(field))?;
        Some((*kind, line.strip_prefix(field)?.trim().parse().ok()?))
    })
}

/// What there is in the kernel.
fn existing() -> HashSet<(u32, u32)> {
    let maps = MapInfoIter::default().map(|info| (SAKER_GUARD_MAP, info.id));
    let programs = ProgInfoIter::default().map(|info| (SAKER_GUARD_PROG, info.id));
    let links = LinkInfoIter::default().map(|info| (SAKER_GUARD_LINK, info.id));
    maps.chain(programs).chain(links).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn descriptors_tell_what_they_are_of() {
        let link = "pos:\t0\nflags:\t02000000\nlink_type:\ttracing\nlink_id:\t12\nprog_tag:\t3b185187f1855c4c\nprog_id:\t34\n";
        assert_eq!(of_descriptor(link).collect::<Vec<_>>(), [(SAKER_GUARD_LINK, 12), (SAKER_GUARD_PROG, 34)]);
        assert_eq!(
            of_descriptor("map_type:\t2\nmap_id:\t7\nmap_extra:\t0x0\n").next(),
            Some((SAKER_GUARD_MAP, 7))
        );
        assert_eq!(of_descriptor("pos:\t0\nmnt_id:\t15\nmap_id: many\n").count(), 0);
    }
}

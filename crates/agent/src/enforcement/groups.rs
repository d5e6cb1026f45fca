//! Control groups in which policies acted: which they are, and which are gone.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::DirEntryExt;
use std::path::{Path, PathBuf};

use saker_engine::container_id;
use saker_probes::Enforced;

use super::Rails;
use crate::pods::PodTable;

/// Groups that are looked at to find some: no more are made by any sane node.
const MAX_LOOKED_AT: usize = 65_536;
/// Id of the first group.
const ROOT: u64 = 1;
/// Id under which those are that have no entry of their own.
const OTHERS: u64 = 0;
/// Entries, of [`saker_probes::Enforcement::CAPACITY`], beyond which those of groups that are gone are taken out.
const CROWDED: usize = saker_probes::Enforcement::CAPACITY * 3 / 4;

/// What was done in a control group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupView {
    /// Its id; 0: those that are gone, and those there was no room for.
    pub id: u64,
    /// Its path below the root of the unified hierarchy; empty: not known.
    pub path: String,
    /// Namespace and name of its pod; empty: it is of none, or that is not known.
    pub pod: String,
    /// What was done.
    pub counts: Enforced,
}

/// What was found of some groups.
#[derive(Debug, Default)]
struct Found {
    paths: BTreeMap<u64, String>,
    /// Everything was looked at: what was not found is not there.
    whole: bool,
}

/// Looks for groups below a root.
fn find(root: &Path, wanted: &BTreeSet<u64>) -> Found {
    let mut found = Found { whole: true, ..Found::default() };
    let mut left = vec![PathBuf::new()];
    let mut looked_at = 0;
    if wanted.contains(&ROOT) {
        found.paths.insert(ROOT, "/".into());
    }
    while let Some(folder) = left.pop() {
        let inside = match fs::read_dir(root.join(&folder)) {
            Ok(inside) => inside,
            // It went meanwhile.
            Err(error) if error.kind() == ErrorKind::NotFound => continue,
            Err(_) => {
                found.whole = false;
                continue;
            }
        };
        for entry in inside.flatten().filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir())) {
            looked_at += 1;
            if found.paths.len() == wanted.len() || looked_at > MAX_LOOKED_AT {
                found.whole &= found.paths.len() == wanted.len();
                return found;
            }
            let path = folder.join(entry.file_name());
            if wanted.contains(&entry.ino()) {
                found.paths.insert(entry.ino(), format!("/{}", path.display()));
            }
            left.push(path);
        }
    }
    found
}

/// Takes out the groups that are not there any more, and says what was done in them.
fn forget(rails: &dyn Rails, entries: &mut Vec<(u64, Enforced)>, found: &Found, gone: &mut Enforced) {
    if !found.whole {
        return;
    }
    entries.retain(|(id, counts)| {
        if *id == OTHERS || found.paths.contains_key(id) {
            return true;
        }
        // Nobody is in it, so nothing is added between.
        if rails.forget(*id).is_ok() {
            *gone = gone.plus(*counts);
        }
        false
    });
}

fn look(entries: &[(u64, Enforced)]) -> Found {
    let wanted: BTreeSet<u64> = entries.iter().map(|(id, _)| *id).filter(|id| *id != OTHERS).collect();
    match saker_probes::groups::unified_root() {
        Ok(root) => find(&root, &wanted),
        // Their names cannot be known.
        Err(_) => Found::default(),
    }
}

/// What was done in each group, the most first.
pub(super) fn views(
    rails: &dyn Rails,
    gone: &mut Enforced,
    pods: Option<&PodTable>,
) -> anyhow::Result<Vec<GroupView>> {
    let mut entries = rails.groups()?;
    let found = look(&entries);
    forget(rails, &mut entries, &found, gone);
    let view = |(id, counts): (u64, Enforced)| {
        let path = found.paths.get(&id).cloned().unwrap_or_default();
        let pod = pods.and_then(|pods| pod_of(&path, pods)).unwrap_or_default();
        GroupView { id, path, pod, counts: if id == OTHERS { counts.plus(*gone) } else { counts } }
    };
    let mut views: Vec<GroupView> = entries.into_iter().map(view).collect();
    views.retain(|view| view.counts != Enforced::default());
    let most = |view: &GroupView| view.counts.denied + view.counts.signalled + view.counts.withheld;
    views.sort_by(|left, right| most(right).cmp(&most(left)).then(left.id.cmp(&right.id)));
    Ok(views)
}

/// Takes out groups that are gone if there is little room left.
pub(super) fn make_room(rails: &dyn Rails, gone: &mut Enforced) -> anyhow::Result<()> {
    let mut entries = rails.groups()?;
    if entries.len() > CROWDED {
        let found = look(&entries);
        forget(rails, &mut entries, &found, gone);
    }
    Ok(())
}

/// The pod of the innermost container on the way to a group.
fn pod_of(path: &str, pods: &PodTable) -> Option<String> {
    let container = path.rsplit('/').find_map(|name| container_id(name, false))?;
    let pod = pods.find(container)?;
    Some(format!("{}/{}", pod.namespace, pod.name))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt;

    use super::*;

    #[test]
    fn groups_are_found_by_their_number() {
        let root = tempfile::tempdir().unwrap();
        let inner = root.path().join("a/b");
        fs::create_dir_all(&inner).unwrap();
        fs::write(root.path().join("a/file"), "").unwrap();
        let id = fs::metadata(&inner).unwrap().ino();
        let file = fs::metadata(root.path().join("a/file")).unwrap().ino();
        let found = find(root.path(), &[ROOT, id].into());
        assert_eq!(found.paths, [(ROOT, "/".to_owned()), (id, "/a/b".to_owned())].into());
        let found = find(root.path(), &[id, file].into());
        assert!(found.whole && !found.paths.contains_key(&file), "{found:?}");
    }

    #[test]
    fn pods_are_those_of_the_innermost_container() {
        let pods = PodTable::default();
        let id = "4ef4e5cb9b1a7e1d6d1d8e3f0a9b8c7d6e5f4a3b2c1d0e9f8a7b6c5d4e3f2a1b";
        let pod = saker_k8s::Pod { namespace: "shop".into(), name: "cart".into(), ..Default::default() };
        pods.insert(&saker_k8s::Container { id: id.into(), pod: pod.into(), ..Default::default() });
        let path = format!("/kubepods.slice/cri-containerd-{id}.scope/inner");
        assert_eq!(pod_of(&path, &pods).as_deref(), Some("shop/cart"));
        assert_eq!(pod_of("/system.slice/ssh.service", &pods), None);
    }
}

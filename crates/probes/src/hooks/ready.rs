//! A hook that is loaded, on its way to be attached.

use std::os::fd::AsFd;
use std::sync::Arc;

use libbpf_rs::skel::Skel;
use saker_policy::plan::Attach;

use super::LoadedHook;
use super::attach::{attach_program, programs};
use super::maps::{SELECTORS, STATS, handle, memory_of};
use super::needs::Hashes;
use super::waiting::Waiting;
use crate::build_id_skel::BuildIdSkel;
use crate::follow::Follow;
use crate::hook_skel::HookSkel;
use crate::{Error, mechanisms};

/// A hook that is loaded and not attached.
pub(super) struct Ready<'a> {
    pub(super) skel: HookSkel<'a>,
    pub(super) attach: Attach,
    pub(super) pruned: bool,
    /// Its program asks at which place it runs.
    pub(super) tells_places: bool,
    /// A second program computes hashes, and a third decides by them.
    pub(super) hashes: Hashes,
    /// Instead of the second program, one of another object.
    pub(super) build_ids: Option<BuildIdSkel<'a>>,
    /// Selectors that are counted one by one; 0: there are none.
    pub(super) selectors: u16,
    pub(super) watch: Option<Arc<Follow>>,
    pub(super) waiting: Option<Waiting>,
}

impl Ready<'_> {
    /// Attaches it. From then on it tells and acts.
    pub(super) fn attach(self) -> Result<LoadedHook, Error> {
        let mut wanted = programs(&self.attach, self.hashes);
        if self.hashes != Hashes::None {
            let unknown =
                |reason| Error::Option(format!("the order of programs of a hook is not known: {reason}"));
            // As it is for returns, the program of the hash is attached first: then it must be the one that runs last.
            if !mechanisms::last_runs_first().map_err(unknown)? {
                wanted.reverse();
            }
        }
        let object = self.skel.object();
        let other = self.build_ids.as_ref().map(Skel::object);
        let mut programs = Vec::new();
        for (name, _) in &wanted {
            let own = object.progs().chain(other.into_iter().flat_map(libbpf_rs::Object::progs));
            let Some(program) = own.into_iter().find(|program| program.name() == *name) else { continue };
            let failed = |source| Error::System { operation: format!("keep the program {name}"), source };
            programs.push(program.as_fd().try_clone_to_owned().map_err(failed)?);
        }
        let (stats, memory) = (handle(&self.skel, STATS)?, memory_of(&self.skel));
        let selectors = match self.selectors {
            0 => None,
            count => Some((count, handle(&self.skel, SELECTORS)?)),
        };
        // From here on it may see what this process does.
        let mut links = Vec::new();
        // The return goes first: an entry that matches expects it.
        for (name, _) in wanted.iter().rev() {
            let mut own = object.progs_mut().chain(other.into_iter().flat_map(libbpf_rs::Object::progs_mut));
            let program = own.find(|program| program.name() == *name);
            let program =
                program.ok_or_else(|| Error::Option(format!("the object has no program {name}")))?;
            attach_program(&program, name, &self.attach, self.tells_places, &mut links)?;
        }
        Ok(LoadedHook {
            links,
            _waiting: self.waiting,
            programs,
            stats,
            selectors,
            memory,
            attach: self.attach,
            note: String::new(),
            pruned: self.pruned,
            _watch: self.watch,
        })
    }
}

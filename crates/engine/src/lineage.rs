//! Who created whom, as events show it.

use std::sync::Arc;

use saker_abi::{Identity, Key};
use saker_api::event::{Process, ProcessView};

use crate::engine::Engine;
use crate::table::{Entry, Slot, State};

/// Longest list of ancestors; no sane process tree is deeper.
const DEEPEST: usize = 256;

/// An entry of the process table.
#[derive(Clone, Debug)]
pub struct Remembered {
    /// The process with the references that events show.
    pub view: ProcessView,
    /// It lives, as this identity.
    pub alive: bool,
}

impl Engine {
    /// The form for events of the process in `slot`; made now when it has none yet.
    pub(crate) fn process_of(&mut self, slot: Slot) -> Option<Arc<Process>> {
        let entry = self.table.get_mut(slot)?;
        if let State::Shared(process) = &entry.state {
            return Some(Arc::clone(process));
        }
        let State::Forked(forked) = &entry.state else { return None };
        let process = Arc::new(self.factory.forked(entry.key, forked));
        entry.state = State::Shared(Arc::clone(&process));
        Some(process)
    }

    pub(crate) fn view(&mut self, slot: Slot) -> Option<ProcessView> {
        let process = self.process_of(slot)?;
        let refcnt = self.table.get(slot)?.refcnt();
        Some(ProcessView { process, refcnt })
    }

    /// Everything in the table, for whoever looks for what it keeps. What no event needed yet is made for this answer only.
    pub fn processes(&mut self) -> Vec<Remembered> {
        let (table, factory) = (&self.table, &mut self.factory);
        let shown = |entry: &Entry| {
            let process = match &entry.state {
                State::Shared(process) => Arc::clone(process),
                State::Forked(forked) => Arc::new(factory.forked(entry.key, forked)),
            };
            let view = ProcessView { process, refcnt: entry.refcnt() };
            Remembered { view, alive: entry.alive() }
        };
        table.iter().map(shown).collect()
    }

    /// The creator of a process: from the table, else as much as its key tells.
    pub(crate) fn parent_view(&mut self, slot: Option<Slot>, key: Key) -> Option<ProcessView> {
        if let Some(view) = slot.and_then(|slot| self.view(slot)) {
            return Some(view);
        }
        if key.pid == 0 {
            // Only the first processes have no creator; any other without a key is one we do not know.
            return Some(ProcessView { process: self.factory.kernel(), refcnt: 1 })
                .filter(|_| key.ktime <= 1);
        }
        self.counters.table.unknown_parents += 1;
        Some(ProcessView { process: Arc::new(self.factory.unknown(key)), refcnt: 0 })
    }

    /// From the parent of `parent` up to the first process or the first thread of the kernel.
    pub(crate) fn ancestors(&mut self, parent: Option<Slot>) -> Vec<ProcessView> {
        let mut views = Vec::new();
        let mut at = parent;
        while let Some(slot) = at.and_then(|slot| self.table.parent_of(slot).map(|(above, _)| above)) {
            if views.len() == DEEPEST {
                self.counters.ancestors_cut += 1;
                break;
            }
            let Some(view) = self.view(slot) else { break };
            let first = view.process.pid <= 2;
            views.push(view);
            if first {
                break;
            }
            at = Some(slot);
        }
        views
    }

    /// `exec_id` of the present parent when it is another process than the creator.
    pub(crate) fn reparented_to(&mut self, id: &Identity) -> Option<Arc<str>> {
        if id.real_parent.pid == id.parent.pid || id.real_parent.is_none() {
            return None;
        }
        let known = self.table.find(id.real_parent).and_then(|slot| match &self.table.get(slot)?.state {
            State::Shared(process) => Some(Arc::clone(&process.exec_id)),
            State::Forked(_) => None,
        });
        Some(known.unwrap_or_else(|| self.factory.exec_id(id.real_parent)))
    }
}

//! Which filters on workloads every container fulfils: what policies ask for and what is known of containers, brought
//! together and told to the kernel.
//!
//! Policies are owned by one thread and containers followed by another; both come here, and what one says is told to the
//! kernel before the other can say something else.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use anyhow::{Context, Result};
use saker_policy::matcher::Container;
use saker_policy::plan::WorkloadTest;
use saker_probes::{Groups, Keep};

/// Filters and containers.
pub struct Workloads {
    known: Mutex<Known>,
    /// Somebody says which containers are of which pods.
    named: bool,
    /// Where what is loaded stays.
    keep: Option<Arc<Keep>>,
}

#[derive(Default)]
struct Known {
    groups: Option<Arc<Groups>>,
    filters: Vec<(u8, WorkloadTest)>,
    /// By the id of their control group; of no pod those that are none's.
    containers: BTreeMap<u64, Option<Container>>,
}

impl Workloads {
    /// `named`: somebody will say which containers are of which pods.
    #[must_use]
    pub fn new(named: bool) -> Self {
        Self { known: Mutex::default(), named, keep: None }
    }

    /// What is loaded stays there.
    #[must_use]
    pub fn kept(self, keep: Option<Arc<Keep>>) -> Self {
        Self { keep, ..self }
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What keeps control groups, which begins if it is not there.
    ///
    /// # Errors
    /// The kernel refuses it, or there is no unified hierarchy.
    pub fn groups(&self) -> Result<Arc<Groups>> {
        let mut known = self.known();
        if let Some(groups) = &known.groups {
            return Ok(Arc::clone(groups));
        }
        let began = Groups::begin_kept(self.named, self.keep.as_ref())
            .context("control groups cannot be followed")?;
        Ok(Arc::clone(known.groups.insert(Arc::new(began))))
    }

    /// Says which filters there are, each with its bit: the kernel has all of them when this returns.
    ///
    /// # Errors
    /// The kernel's table cannot be written.
    pub fn set_filters(&self, filters: Vec<(u8, WorkloadTest)>) -> Result<()> {
        let groups = self.groups()?;
        let mut known = self.known();
        known.filters = filters;
        groups.set_host(known.bits(None))?;
        let mut gone = Vec::new();
        for (group, container) in &known.containers {
            if !groups.decide(*group, known.bits_of(container.as_ref()))? {
                gone.push(*group);
            }
        }
        for group in gone {
            known.containers.remove(&group);
        }
        Ok(())
    }

    /// No policy asks for workloads: nothing need be kept, unless containers are named.
    pub fn rest(&self) {
        let mut known = self.known();
        known.filters.clear();
        if !self.named {
            known.groups = None;
        }
    }

    /// Says what the container of a control group is; none: it is of no pod. False: the group is gone.
    ///
    /// # Errors
    /// The kernel's table cannot be written.
    pub fn identify(&self, group: u64, container: Option<Container>) -> Result<bool> {
        let groups = self.groups()?;
        let mut known = self.known();
        let there = groups.decide(group, known.bits_of(container.as_ref()))?;
        if there {
            known.containers.insert(group, container);
        } else {
            known.containers.remove(&group);
        }
        Ok(there)
    }

    /// The same of a group whose name says nothing, and of all below it. Returns its id; none: the group is gone.
    ///
    /// # Errors
    /// The kernel's table cannot be written.
    pub fn claim(&self, path: &str, container: Container) -> Result<Option<u64>> {
        let groups = self.groups()?;
        let mut known = self.known();
        let bits = known.bits(Some(&container));
        let group = groups.claim(path, bits)?;
        if let Some(group) = group {
            known.containers.insert(group, Some(container));
        }
        Ok(group)
    }

    /// A container is gone. Its group, if it is there still, stays what it was, and is told of new filters.
    ///
    /// # Errors
    /// The kernel's table cannot be read.
    pub fn forget(&self, group: u64) -> Result<()> {
        let groups = self.groups()?;
        if !groups.is_there(group)? {
            self.known().containers.remove(&group);
        }
        Ok(())
    }

    /// Whether processes in this control group fulfil a filter; `None`: it is not known yet.
    #[must_use]
    pub fn fulfils(&self, group: u64, test: &WorkloadTest) -> Option<bool> {
        let known = self.known();
        match known.groups.as_ref()?.container_of(group).ok()?? {
            0 => Some(test.holds(None)),
            container => known
                .containers
                .get(&container)
                .map(|found| found.as_ref().is_some_and(|one| test.holds(Some(one)))),
        }
    }

    /// Groups that the kernel's table had no room for.
    #[must_use]
    pub fn lost(&self) -> u64 {
        let groups = self.known().groups.clone();
        groups.and_then(|groups| groups.lost().ok()).unwrap_or_default()
    }
}

impl Known {
    fn bits(&self, container: Option<&Container>) -> u64 {
        let held = self.filters.iter().filter(|(_, test)| test.holds(container));
        held.fold(0, |bits, (bit, _)| bits | 1_u64.checked_shl((*bit).into()).unwrap_or_default())
    }

    /// A container of no pod fulfils nothing: it is neither of a pod nor of the host.
    fn bits_of(&self, container: Option<&Container>) -> u64 {
        container.map_or(0, |container| self.bits(Some(container)))
    }
}

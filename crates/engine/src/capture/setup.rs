//! What the engine of an agent was configured with, as lines `name=value` in the header of its capture: then a
//! replay gives the same events.

use std::collections::HashMap;

use saker_api::event::Visible;

use crate::config::{Ancestors, EngineConfig, Environment, UserNames};

/// Most processes that a replay remembers, whatever the capture says.
const MAX_PROCESSES: usize = 1 << 26;

/// The part of an engine's configuration that an operator chose.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Setup {
    /// Name of the cluster.
    pub cluster: String,
    /// Optional fields.
    pub visible: Visible,
    /// Whether frames of stacks show their addresses.
    pub stack_addresses: bool,
    /// Which events carry ancestors.
    pub ancestors: Ancestors,
    /// Bound of the process table.
    pub processes: usize,
    /// What is kept of environments.
    pub environment: Environment,
    /// Names of the host's users, if they are shown.
    pub users: Vec<(u32, Box<str>)>,
}

impl Default for Setup {
    fn default() -> Self {
        let config = EngineConfig::default();
        Self {
            cluster: String::new(),
            visible: config.visible,
            stack_addresses: config.stack_addresses,
            ancestors: config.ancestors,
            processes: config.capacity,
            environment: config.environment,
            users: Vec::new(),
        }
    }
}

/// The users of a capture.
struct Users(HashMap<u32, Box<str>>);

impl UserNames for Users {
    fn name(&mut self, uid: u32) -> Option<Box<str>> {
        self.0.get(&uid).cloned()
    }
}

impl Setup {
    /// The users, for an engine; `None`: none are shown.
    pub(super) fn users(&self) -> Option<Box<dyn UserNames>> {
        (!self.users.is_empty()).then(|| Box::new(Users(self.users.iter().cloned().collect())) as _)
    }

    pub(super) fn to_text(&self) -> String {
        let users: Vec<String> = self.users.iter().map(|(uid, name)| format!("{uid}:{name}")).collect();
        let fields = [
            ("cluster", self.cluster.clone()),
            ("credentials", self.visible.credentials.to_string()),
            ("namespaces", self.visible.namespaces.to_string()),
            ("extras", self.visible.extras.to_string()),
            ("stack_addresses", self.stack_addresses.to_string()),
            ("ancestors_exec", self.ancestors.exec.to_string()),
            ("ancestors_exit", self.ancestors.exit.to_string()),
            ("ancestors_kprobe", self.ancestors.kprobe.to_string()),
            ("ancestors_tracepoint", self.ancestors.tracepoint.to_string()),
            ("ancestors_uprobe", self.ancestors.uprobe.to_string()),
            ("ancestors_usdt", self.ancestors.usdt.to_string()),
            ("ancestors_lsm", self.ancestors.lsm.to_string()),
            ("ancestors_loader", self.ancestors.loader.to_string()),
            ("processes", self.processes.to_string()),
            ("environment", self.environment.enabled.to_string()),
            ("environment_names", self.environment.names.join(",")),
            ("users", users.join(",")),
        ];
        fields.map(|(name, value)| format!("{name}={}\n", value.replace('\n', " "))).concat()
    }

    /// `None`: a value makes no sense. Names that are not known are those of a newer writer.
    pub(super) fn from_text(text: &str) -> Option<Self> {
        let mut setup = Self::default();
        for line in text.lines() {
            let (name, value) = line.split_once('=')?;
            let switch = || value.parse::<bool>().ok();
            match name {
                "cluster" => value.clone_into(&mut setup.cluster),
                "credentials" => setup.visible.credentials = switch()?,
                "namespaces" => setup.visible.namespaces = switch()?,
                "extras" => setup.visible.extras = switch()?,
                "stack_addresses" => setup.stack_addresses = switch()?,
                "ancestors_exec" => setup.ancestors.exec = switch()?,
                "ancestors_exit" => setup.ancestors.exit = switch()?,
                "ancestors_kprobe" => setup.ancestors.kprobe = switch()?,
                "ancestors_tracepoint" => setup.ancestors.tracepoint = switch()?,
                "ancestors_uprobe" => setup.ancestors.uprobe = switch()?,
                "ancestors_usdt" => setup.ancestors.usdt = switch()?,
                "ancestors_lsm" => setup.ancestors.lsm = switch()?,
                "ancestors_loader" => setup.ancestors.loader = switch()?,
                "processes" => setup.processes = value.parse::<usize>().ok()?.min(MAX_PROCESSES),
                "environment" => setup.environment.enabled = switch()?,
                "environment_names" => {
                    let names = value.split(',').filter(|name| !name.is_empty());
                    setup.environment.names = names.map(str::to_owned).collect();
                }
                "users" => {
                    let users = value.split(',').filter_map(|user| user.split_once(':'));
                    setup.users =
                        users.filter_map(|(uid, name)| Some((uid.parse().ok()?, name.into()))).collect();
                }
                _ => {}
            }
        }
        Some(setup)
    }
}

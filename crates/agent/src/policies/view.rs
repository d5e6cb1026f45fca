//! What is told of a policy.

use std::collections::BTreeSet;

use saker_policy::model::Policy;
use saker_policy::words::Mode as Asked;
use saker_probes::{HookCounts, SelectorCounts};

use super::Key;

/// State of a policy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// All its hooks are attached.
    Enabled,
    /// All its hooks are attached, but a list names functions that this kernel does not have, as it may.
    PartiallyEnabled,
    /// Nothing is attached, as asked for.
    Disabled,
    /// Nothing is attached, because it could not be.
    LoadError,
    /// It is being loaded.
    Loading,
    /// Nothing is attached, because it is for other nodes.
    Skipped,
}

impl State {
    /// All of them, in the order of the list.
    pub const ALL: [Self; 6] = [
        Self::Enabled,
        Self::PartiallyEnabled,
        Self::Disabled,
        Self::LoadError,
        Self::Loading,
        Self::Skipped,
    ];

    /// Its name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Enabled => "enabled",
            Self::PartiallyEnabled => "partially_enabled",
            Self::Disabled => "disabled",
            Self::LoadError => "load_error",
            Self::Loading => "loading",
            Self::Skipped => "skipped",
        }
    }

    /// Its hooks are attached.
    #[must_use]
    pub fn is_enabled(self) -> bool {
        matches!(self, Self::Enabled | Self::PartiallyEnabled)
    }
}

/// Whether a policy acts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// It acts.
    Enforce,
    /// It has actions but only tells.
    Monitor,
    /// It has no actions.
    MonitorOnly,
}

impl Mode {
    /// That of a policy.
    #[must_use]
    pub fn of(policy: &Policy) -> Self {
        match policy.options.mode {
            _ if !policy.enforces() => Self::MonitorOnly,
            Some(Asked::Monitor) => Self::Monitor,
            _ => Self::Enforce,
        }
    }

    /// That of a policy for which a mode was asked since it was written.
    #[must_use]
    pub fn with(policy: &Policy, asked: Option<Asked>) -> Self {
        match (Self::of(policy), asked) {
            (Self::MonitorOnly, _) => Self::MonitorOnly,
            (_, Some(Asked::Enforce)) => Self::Enforce,
            (_, Some(Asked::Monitor)) => Self::Monitor,
            (own, None) => own,
        }
    }

    /// The mode that its hooks are loaded in.
    #[must_use]
    pub fn asked(self) -> Asked {
        match self {
            Self::Enforce | Self::MonitorOnly => Asked::Enforce,
            Self::Monitor => Asked::Monitor,
        }
    }

    /// Its name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Enforce => "enforce",
            Self::Monitor => "monitor",
            Self::MonitorOnly => "monitor_only",
        }
    }
}

/// State of a hook.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HookState {
    /// It is attached.
    Loaded,
    /// It is attached to those functions of its list that this kernel has.
    Partial,
    /// It is not attached.
    NotLoaded,
}

impl HookState {
    /// Its name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Loaded => "loaded",
            Self::Partial => "partial",
            Self::NotLoaded => "not_loaded",
        }
    }
}

/// A hook of a policy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HookView {
    /// Its field in the policy, such as `spec.kprobes[0]`.
    pub path: String,
    /// What is hooked; empty: not known before it is loaded.
    pub function: String,
    /// How it is attached; empty: it is not.
    pub mechanism: String,
    /// State.
    pub state: HookState,
    /// Why it cannot be attached.
    pub error: String,
    /// Functions of its list that this kernel does not have.
    pub missing: Vec<String>,
    /// Why it is not attached in the way that is taken first; empty: it is.
    pub note: String,
    /// What it counted since it was attached.
    pub counts: HookCounts,
    /// Its selectors, in their order; of a hook without any one that has no index.
    pub selectors: Vec<SelectorView>,
    /// Kernel memory, in bytes.
    pub memory: u64,
}

/// A selector of a hook.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SelectorView {
    /// Its place; none: the hook has no selectors.
    pub index: Option<u32>,
    /// Its label; empty: none.
    pub label: String,
    /// What it counted since its hook was attached.
    pub counts: SelectorCounts,
}

impl SelectorView {
    /// Those of the hook at this field of a policy, which have counted nothing.
    #[must_use]
    pub fn of(policy: &Policy, path: &str) -> Vec<Self> {
        let Some(hook) = policy.hooks.iter().find(|hook| hook.path == path) else { return Vec::new() };
        if hook.selectors.is_empty() {
            return vec![Self::default()];
        }
        let view = |(index, selector): (u32, &saker_policy::model::Selector)| Self {
            index: Some(index),
            label: selector.label.clone(),
            counts: SelectorCounts::default(),
        };
        (0..).zip(&hook.selectors).map(view).collect()
    }
}

impl HookView {
    /// Name of the peer's sensor that serves such hooks.
    #[must_use]
    pub fn sensor(&self) -> String {
        let section = self.section().0;
        let name = match section {
            "fentries" => "fentry",
            "lsmhooks" => "lsm",
            _ => section.trim_end_matches('s'),
        };
        format!("generic_{name}")
    }

    /// The section of the policy it stands in, such as `kprobes`, and its place there.
    #[must_use]
    pub fn section(&self) -> (&str, u32) {
        let field = self.path.strip_prefix("spec.").unwrap_or(&self.path);
        match field.split_once('[') {
            Some((section, rest)) => {
                let digits = rest.split(']').next().unwrap_or_default();
                (section, digits.parse().unwrap_or(0))
            }
            None => (field, 0),
        }
    }
}

/// A policy, as it is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct View {
    /// Number, never used again while the agent runs.
    pub id: u32,
    /// Name, namespace and domain. A file that holds no policy has its name.
    pub key: Key,
    /// Where it came from.
    pub origin: String,
    /// State.
    pub state: State,
    /// Why it is not attached, or why a newer version of its file is not.
    pub error: String,
    /// Whether it acts.
    pub mode: Mode,
    /// Its hooks, in the order of the policy; those of a list one by one, but for what shares a program.
    pub hooks: Vec<HookView>,
    /// Kernel memory of all hooks and of what they share, in bytes.
    pub memory: u64,
}

impl View {
    /// Names of the peer's sensors that serve such hooks.
    #[must_use]
    pub fn sensors(&self) -> Vec<String> {
        self.hooks.iter().map(HookView::sensor).collect::<BTreeSet<_>>().into_iter().collect()
    }

    /// What all its hooks counted.
    #[must_use]
    pub fn counts(&self) -> HookCounts {
        self.hooks.iter().fold(HookCounts::default(), |sum, hook| HookCounts {
            calls: sum.calls + hook.counts.calls,
            matched: sum.matched + hook.counts.matched,
            posted: sum.posted + hook.counts.posted,
            limited: sum.limited + hook.counts.limited,
            lost: sum.lost + hook.counts.lost,
            unpaired: sum.unpaired + hook.counts.unpaired,
            missed: sum.missed + hook.counts.missed,
            missed_at_once: sum.missed_at_once + hook.counts.missed_at_once,
            signalled: sum.signalled + hook.counts.signalled,
            overridden: sum.overridden + hook.counts.overridden,
            monitored_signal: sum.monitored_signal + hook.counts.monitored_signal,
            monitored_override: sum.monitored_override + hook.counts.monitored_override,
            spared: sum.spared + hook.counts.spared,
            failed: sum.failed + hook.counts.failed,
            undecided: sum.undecided + hook.counts.undecided,
            unposted: sum.unposted + hook.counts.unposted,
            runs: sum.runs + hook.counts.runs,
            run_time_ns: sum.run_time_ns + hook.counts.run_time_ns,
        })
    }
}

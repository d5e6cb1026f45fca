//! What both services have in common about policies: who may change them, answers, and the two forms of a list.

use std::sync::atomic::Ordering;

use saker_api::{saker_v1, tetragon as api};
use saker_policy::words::Mode as Asked;
use saker_probes::{HookCounts, SelectorCounts};
use tonic::{Request, Response, Status};

use super::compatible::Answer;
use super::connections::Peer;
use super::{Service, client_of};
use crate::policies::{
    self, HookState, HookView, Key, Mode, Policies, PolicyError, SelectorView, State, View,
};

impl Service {
    /// The policies.
    pub(super) fn policies(&self) -> &Policies {
        &self.inner.state.policies
    }

    /// Who asks for a change, for the log. Through the socket come those its permissions let in, and who shows a certificate
    /// is known; anybody on the machine can connect to an address otherwise.
    pub(super) fn may_change<T>(&self, request: &Request<T>) -> Result<String, Status> {
        let known = matches!(Peer::of(request), Some(Peer::Socket(_) | Peer::Certified(..)));
        if !known && !self.inner.rules.changes.load(Ordering::Relaxed) {
            return Err(Status::permission_denied(
                "policies and settings can be changed only through the Unix socket of the agent, or with a certificate \
                 that the agent asks for (server-tls-require-client-cert); option server-allow-changes allows it here",
            ));
        }
        Ok(client_of(request))
    }

    /// The policies of a domain, or all, with fresh counters.
    pub(super) async fn views(&self, domain: &str) -> Vec<View> {
        self.policies().refresh().await;
        let mut views = self.policies().views();
        views.retain(|view| domain.is_empty() || view.key.domain == domain);
        views
    }
}

/// The key that a call means.
pub(super) fn key(name: String, namespace: String, domain: &str) -> Result<Key, Status> {
    let domain = policies::domain(domain).map_err(|error| status(&error))?;
    Ok(Key { domain, namespace, name })
}

/// The mode that a call asks for.
pub(super) fn mode(mode: api::TracingPolicyMode) -> Result<Asked, Status> {
    match mode {
        api::TracingPolicyMode::TpModeEnforce => Ok(Asked::Enforce),
        api::TracingPolicyMode::TpModeMonitor => Ok(Asked::Monitor),
        _ => Err(Status::invalid_argument("a mode can be set to TP_MODE_ENFORCE or TP_MODE_MONITOR")),
    }
}

/// The answer to a change, which is logged with who asked for it.
pub(super) fn done<T>(
    client: &str,
    what: &'static str,
    outcome: Result<Key, PolicyError>,
    answer: T,
) -> Answer<T> {
    match outcome {
        Ok(key) => {
            tracing::info!(client, what, policy = %key, "policy changed");
            Ok(Response::new(answer))
        }
        Err(error) => {
            tracing::warn!(client, what, "policy not changed: {error}");
            Err(status(&error))
        }
    }
}

pub(super) fn status(error: &PolicyError) -> Status {
    let text = error.to_string();
    match error {
        PolicyError::Text(_) | PolicyError::Domain(..) => Status::invalid_argument(text),
        PolicyError::Exists(_) => Status::already_exists(text),
        PolicyError::Unknown { .. } => Status::not_found(text),
        PolicyError::Refused { .. } | PolicyError::Owned { .. } | PolicyError::Mode { .. } => {
            Status::failed_precondition(text)
        }
        PolicyError::Full | PolicyError::Busy => Status::resource_exhausted(text),
        PolicyError::NotKept { .. } | PolicyError::Stays { .. } => Status::internal(text),
        PolicyError::Stopped => Status::unavailable(text),
    }
}

/// A policy as clients of Tetragon know it.
pub(super) fn compatible(view: &View) -> api::TracingPolicyStatus {
    let partial = view.state == State::PartiallyEnabled;
    api::TracingPolicyStatus {
        id: view.id.into(),
        name: view.key.name.clone(),
        namespace: view.key.namespace.clone(),
        info: format!("from {}", view.origin),
        sensors: view.sensors(),
        enabled: view.state.is_enabled(),
        filter_id: 0,
        error: view.error.clone(),
        state: state(view.state).into(),
        kernel_memory_bytes: view.memory,
        mode: match view.mode {
            Mode::Enforce => api::TracingPolicyMode::TpModeEnforce,
            Mode::Monitor => api::TracingPolicyMode::TpModeMonitor,
            Mode::MonitorOnly => api::TracingPolicyMode::TpModeMonitorOnly,
        }
        .into(),
        stats: Some(api::TracingPolicyStats {
            action_counters: Some(policy_counters(view)),
            selector_action_counters: (0..).zip(&view.hooks).flat_map(selector_counters).collect(),
        }),
        domain: view.key.domain.clone(),
        // Clients show these for every policy that has them.
        hook_statuses: if partial { view.hooks.iter().map(hook_status).collect() } else { Vec::new() },
    }
}

/// What a policy did. At a declared probe nothing is overridden: what is counted there are arguments that were set.
fn policy_counters(view: &View) -> api::TracingPolicyActionCounters {
    let sets = view.hooks.iter().filter(|hook| sets_arguments(hook));
    let (set, monitor_set) = sets.fold((0, 0), |(set, monitored), hook| {
        (set + hook.counts.overridden, monitored + hook.counts.monitored_override)
    });
    let all = action_counters(&view.counts().into(), false);
    api::TracingPolicyActionCounters {
        r#override: all.r#override - set,
        monitor_override: all.monitor_override - monitor_set,
        set,
        monitor_set,
        ..all
    }
}

fn sets_arguments(hook: &HookView) -> bool {
    hook.section().0 == "usdts"
}

fn action_counters(counts: &SelectorCounts, sets: bool) -> api::TracingPolicyActionCounters {
    let (written, monitored) = (counts.overridden, counts.monitored_override);
    api::TracingPolicyActionCounters {
        post: counts.posted,
        signal: counts.signalled,
        monitor_signal: counts.monitored_signal,
        r#override: if sets { 0 } else { written },
        monitor_override: if sets { 0 } else { monitored },
        set: if sets { written } else { 0 },
        monitor_set: if sets { monitored } else { 0 },
        nopost: counts.unposted,
        ..api::TracingPolicyActionCounters::default()
    }
}

/// What each selector of a hook did, which has this place among all hooks of its policy.
fn selector_counters(
    (index, hook): (u32, &HookView),
) -> impl Iterator<Item = api::TracingPolicySelectorActionCounters> + '_ {
    hook.selectors.iter().map(move |selector| api::TracingPolicySelectorActionCounters {
        hook: hook.function.clone(),
        hook_index: Some(index),
        selector_index: selector.index,
        action_counters: Some(action_counters(&selector.counts, sets_arguments(hook))),
        selector_label: selector.label.clone(),
    })
}

fn state(state: State) -> api::TracingPolicyState {
    match state {
        State::Enabled => api::TracingPolicyState::TpStateEnabled,
        State::PartiallyEnabled => api::TracingPolicyState::TpStatePartiallyEnabled,
        State::Disabled => api::TracingPolicyState::TpStateDisabled,
        State::LoadError => api::TracingPolicyState::TpStateLoadError,
        State::Loading => api::TracingPolicyState::TpStateLoading,
        State::Skipped => api::TracingPolicyState::TpStateSkipped,
    }
}

fn hook_status(hook: &HookView) -> api::HookStatus {
    let (section, index) = hook.section();
    let description = if hook.missing.is_empty() {
        hook.function.clone()
    } else {
        format!("this kernel does not have {}", hook.missing.join(", "))
    };
    api::HookStatus {
        section: section.to_owned(),
        state: match hook.state {
            HookState::Loaded => api::HookState::StatusLoaded,
            HookState::Partial => api::HookState::StatusPartialCallNotFound,
            HookState::NotLoaded => api::HookState::StatusUnspecified,
        }
        .into(),
        hook_description: description,
        hook_idx: index,
    }
}

/// A policy with everything.
pub(crate) fn own(view: &View) -> saker_v1::Policy {
    saker_v1::Policy {
        id: view.id,
        name: view.key.name.clone(),
        namespace: view.key.namespace.clone(),
        domain: view.key.domain.clone(),
        origin: view.origin.clone(),
        state: view.state.name().into(),
        error: view.error.clone(),
        mode: view.mode.name().into(),
        hooks: view.hooks.iter().map(own_hook).collect(),
        kernel_memory_bytes: view.memory,
    }
}

fn own_hook(hook: &HookView) -> saker_v1::PolicyHook {
    saker_v1::PolicyHook {
        path: hook.path.clone(),
        function: hook.function.clone(),
        mechanism: hook.mechanism.clone(),
        state: hook.state.name().into(),
        error: hook.error.clone(),
        missing: hook.missing.clone(),
        kernel_memory_bytes: hook.memory,
        note: hook.note.clone(),
        counters: Some(counters(&hook.counts)),
        selectors: hook.selectors.iter().map(own_selector).collect(),
    }
}

fn own_selector(selector: &SelectorView) -> saker_v1::PolicySelector {
    let SelectorCounts {
        matched,
        posted,
        unposted,
        signalled,
        overridden,
        monitored_signal,
        monitored_override,
        withheld,
    } = selector.counts;
    saker_v1::PolicySelector {
        index: selector.index,
        label: selector.label.clone(),
        matched,
        posted,
        unposted,
        signalled,
        overridden,
        monitored_signal,
        monitored_override,
        withheld,
    }
}

fn counters(counts: &HookCounts) -> saker_v1::HookCounters {
    let HookCounts {
        calls,
        matched,
        posted,
        limited,
        lost,
        unpaired,
        missed,
        missed_at_once: _,
        undecided,
        signalled,
        overridden,
        monitored_signal,
        monitored_override,
        spared,
        failed,
        unposted,
        runs,
        run_time_ns,
    } = *counts;
    saker_v1::HookCounters {
        calls,
        matched,
        posted,
        limited,
        lost,
        unpaired,
        missed,
        undecided,
        signalled,
        overridden,
        monitored_signal,
        monitored_override,
        spared,
        failed,
        unposted,
        runs,
        run_time_ns,
    }
}

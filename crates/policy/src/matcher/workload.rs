//! Workloads: pods, containers, the host.

use std::collections::BTreeMap;

use super::event::{Container, Process};
use crate::model::{LabelCondition, LabelSelector, Policy, WorkloadFilter};

/// The label that every pod has, with the name of its namespace.
const NAMESPACE_LABEL: &str = "k8s:io.kubernetes.pod.namespace";

/// Whether a policy is for a process at all.
pub(super) fn applies(policy: &Policy, process: &Process) -> bool {
    let scope = policy.scope();
    let inside =
        scope.is_none_or(|scope| process.container.as_ref().is_some_and(|own| own.namespace == scope));
    inside && policy.workloads.as_ref().is_none_or(|filter| matches(filter, process))
}

/// Whether a process is of these workloads.
pub(super) fn matches(filter: &WorkloadFilter, process: &Process) -> bool {
    let Some(container) = &process.container else { return filter.host };
    if filter.pods.is_none() && filter.containers.is_none() {
        return false;
    }
    let pods = filter.pods.as_ref().is_none_or(|selector| selects(selector, &pod_labels(container)));
    let containers =
        filter.containers.as_ref().is_none_or(|selector| selects(selector, &container_labels(container)));
    pods && containers
}

fn pod_labels(container: &Container) -> BTreeMap<&str, &str> {
    let own = container.labels.iter().map(|(key, value)| (key.as_str(), value.as_str()));
    own.chain([(NAMESPACE_LABEL, container.namespace.as_str())]).collect()
}

fn container_labels(container: &Container) -> BTreeMap<&str, &str> {
    [("name", container.name.as_str()), ("repo", container.repo.as_str())].into()
}

fn selects(selector: &LabelSelector, labels: &BTreeMap<&str, &str>) -> bool {
    let value = |key: &String| labels.get(key.as_str());
    selector.conditions.iter().all(|condition| match condition {
        LabelCondition::In { key, values } => {
            value(key).is_some_and(|own| values.iter().any(|value| value == own))
        }
        LabelCondition::NotIn { key, values } => {
            value(key).is_none_or(|own| values.iter().all(|value| value != own))
        }
        LabelCondition::Exists(key) => value(key).is_some(),
        LabelCondition::Missing(key) => value(key).is_none(),
    })
}

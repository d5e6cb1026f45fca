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
    selects(filter.pods.as_ref(), filter.containers.as_ref(), filter.host, process.container.as_ref())
}

/// Whether processes of a container are meant; of none, those of the host. What is none does not restrict; without both
/// pods and containers, no container is meant.
pub(crate) fn selects(
    pods: Option<&LabelSelector>,
    containers: Option<&LabelSelector>,
    host: bool,
    container: Option<&Container>,
) -> bool {
    let Some(container) = container else { return host };
    let fits = |selector: Option<&LabelSelector>, labels: &BTreeMap<&str, &str>| {
        selector.is_none_or(|selector| fulfils(selector, labels))
    };
    (pods.is_some() || containers.is_some())
        && fits(pods, &pod_labels(container))
        && fits(containers, &container_labels(container))
}

fn pod_labels(container: &Container) -> BTreeMap<&str, &str> {
    let own = container.labels.iter().map(|(key, value)| (key.as_str(), value.as_str()));
    own.chain([(NAMESPACE_LABEL, container.namespace.as_str())]).collect()
}

/// A pod's own container, which only holds its namespaces, has none.
fn container_labels(container: &Container) -> BTreeMap<&str, &str> {
    let labels = [("name", container.name.as_str()), ("repo", container.repo.as_str())];
    labels.into_iter().filter(|(_, value)| !value.is_empty()).collect()
}

/// Whether labels fulfil all conditions.
pub(crate) fn fulfils(selector: &LabelSelector, labels: &BTreeMap<&str, &str>) -> bool {
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

//! Which workloads a policy or a selector is for.

use saker_abi::generated::{
    SAKER_OP_WORKLOAD, SAKER_PLAN_WORKLOADS, SAKER_WORKLOADS_MAX, saker_clause, saker_plan,
};

use super::Lowering;
use super::builder::Builder;
use super::process::op;
use crate::diagnostic::{At, Path};
use crate::model::{LabelCondition, LabelSelector, WorkloadFilter};
use crate::plan::WorkloadTest;
use crate::words::Kind;

/// The position of the policy's own filter; none: it is for all processes, or what was told.
pub(super) fn of_policy(cx: &mut Lowering<'_>) -> Option<u8> {
    let policy = cx.policy;
    let spec = Path::default().field("spec");
    let filter = policy.workloads.as_ref();
    if policy.kind == Kind::Namespaced {
        let at = At { span: policy.span, path: Path::default().field("kind") };
        // A scope of its own restricts to pods, also where nothing else does.
        let pods = filter.and_then(|filter| filter.pods.clone()).unwrap_or_default();
        let test = WorkloadTest {
            namespace: Some(policy.scope().unwrap_or_default().to_owned()),
            pods: Some(pods),
            containers: filter.and_then(|filter| filter.containers.clone()),
            host: false,
        };
        return position(cx, test, &at, "the policy is for the pods of one namespace");
    }
    let filter = filter?;
    let at = At { span: filter.span, path: spec };
    position(cx, test(filter)?, &at, "the policy is for chosen pods or containers")
}

/// The clause of a selector; none: it is for all, or what was told.
pub(super) fn of_selector(
    cx: &mut Lowering<'_>,
    builder: &mut Builder,
    filter: &WorkloadFilter,
    at: &At,
) -> Option<saker_clause> {
    let position = position(cx, test(filter)?, at, "the selector is for chosen pods or containers")?;
    builder.flag(SAKER_PLAN_WORKLOADS);
    Some(saker_clause { first: position, ..op(SAKER_OP_WORKLOAD, false) })
}

/// Restricts a hook to the policy's workloads.
pub(super) fn restrict(plan: &mut saker_plan, position: Option<u8>) {
    if let Some(bit) = position.and_then(|position| 1_u64.checked_shl(position.into())) {
        plan.workload = bit;
        plan.flags |= SAKER_PLAN_WORKLOADS;
    }
}

/// None: everything is meant.
fn test(filter: &WorkloadFilter) -> Option<WorkloadTest> {
    let all =
        |selector: &Option<LabelSelector>| selector.as_ref().is_some_and(|one| one.conditions.is_empty());
    if filter.host && all(&filter.pods) && all(&filter.containers) {
        return None;
    }
    Some(WorkloadTest {
        namespace: None,
        pods: filter.pods.clone(),
        containers: filter.containers.clone(),
        host: filter.host,
    })
}

/// The position of a filter among those of the policy.
fn position(cx: &mut Lowering<'_>, test: WorkloadTest, at: &At, what: &str) -> Option<u8> {
    if test.asks_for_names() && !cx.choices.names_pods {
        let message = format!("{what}, and nobody says which containers are of which pods");
        let hint = "start the agent with `--enable-cri`, and with `--cri-endpoint` where the socket of the container \
                    runtime is in no usual place; a `hostSelector: {}` alone works without";
        cx.report.error_hint(at, message, hint);
        return None;
    }
    if let Err(reason) = cx.kernel.control_groups() {
        let message = format!("the workloads of processes are told by their control groups, and {reason}");
        cx.report.error(at, message);
        return None;
    }
    let test = normal(test);
    let known = cx.workloads.iter().position(|other| *other == test);
    let position = known.unwrap_or_else(|| {
        cx.workloads.push(test);
        cx.workloads.len() - 1
    });
    if position >= SAKER_WORKLOADS_MAX as usize {
        let message =
            format!("the policy has more than {SAKER_WORKLOADS_MAX} different filters on workloads");
        cx.report.error_hint(at, message, "split the policy, or put several labels into one filter");
        return None;
    }
    u8::try_from(position).ok()
}

/// The filter with its conditions and values in order and each once, so that equal ones look equal.
fn normal(test: WorkloadTest) -> WorkloadTest {
    let pods = test.pods.map(in_order);
    let containers = test.containers.map(in_order);
    WorkloadTest { pods, containers, ..test }
}

fn in_order(selector: LabelSelector) -> LabelSelector {
    let mut conditions = selector.conditions;
    for condition in &mut conditions {
        if let LabelCondition::In { values, .. } | LabelCondition::NotIn { values, .. } = condition {
            values.sort_unstable();
            values.dedup();
        }
    }
    conditions.sort_unstable();
    conditions.dedup();
    LabelSelector { conditions }
}

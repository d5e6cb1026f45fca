//! Label selectors and workloads.

use super::Context;
use crate::diagnostic::{At, Report};
use crate::model::{LabelCondition, LabelSelector, WorkloadFilter};
use crate::shape::{Item, Record};
use crate::words::{Kind, LabelOperator};
use crate::yaml::shorten;

/// The labels of a container.
const CONTAINER_KEYS: &[&str] = &["name", "repo"];

/// Workloads at the top of a policy.
pub(super) fn of_policy(spec: &Record, cx: &mut Context<'_>) -> Option<WorkloadFilter> {
    if cx.kind == Kind::Namespaced && spec.given("hostSelector") {
        let at = spec.at("hostSelector");
        cx.report.error(&at, "a TracingPolicyNamespaced is for pods: it cannot have a `hostSelector`");
    }
    workloads(spec, cx)
}

/// Workloads of a selector or of a policy; none when nothing is asked for.
pub(super) fn workloads(record: &Record, cx: &mut Context<'_>) -> Option<WorkloadFilter> {
    let pods = record.record("podSelector").map(|labels| self::labels(labels, None, cx.report));
    let keys = Some(CONTAINER_KEYS);
    let containers = record.record("containerSelector").map(|labels| self::labels(labels, keys, cx.report));
    let host = record.record("hostSelector");
    if let Some(host) = host
        && host.names().next().is_some()
    {
        let hint = "only `hostSelector: {}` is possible: the host has no labels";
        cx.report.error_hint(&host.at, "a `hostSelector` has no conditions", hint);
    }
    if pods.is_none() && containers.is_none() && host.is_none() {
        return None;
    }
    Some(WorkloadFilter { span: record.at.span, pods, containers, host: host.is_some() })
}

/// A label selector. `keys`: the only labels there are.
pub(super) fn labels(record: &Record, keys: Option<&[&str]>, report: &mut Report) -> LabelSelector {
    let mut conditions = Vec::new();
    for (key, item) in record.map("matchLabels") {
        check_key(&key.text, keys, &At { span: key.span, path: item.at.path.clone() }, report);
        let values = item.text().map(|text| text.value).into_iter().collect();
        conditions.push(LabelCondition::In { key: key.text.clone(), values });
    }
    for expression in record.records("matchExpressions") {
        conditions.extend(condition(expression, keys, report));
    }
    LabelSelector { conditions }
}

fn condition(record: &Record, keys: Option<&[&str]>, report: &mut Report) -> Option<LabelCondition> {
    let key = record.any_text("key")?.value;
    check_key(&key, keys, &record.at("key"), report);
    let operator = LabelOperator::parse(&record.text("operator")?.value)?;
    let values: Vec<String> =
        record.list("values").iter().filter_map(Item::text).map(|text| text.value).collect();
    let needs = matches!(operator, LabelOperator::In | LabelOperator::NotIn);
    if needs && values.is_empty() {
        report.error(&record.at, format!("`{}` needs `values`", operator.name()));
    }
    if !needs && !values.is_empty() {
        report.error(&record.at("values"), format!("`{}` takes no values", operator.name()));
    }
    Some(match operator {
        LabelOperator::In => LabelCondition::In { key, values },
        LabelOperator::NotIn => LabelCondition::NotIn { key, values },
        LabelOperator::Exists => LabelCondition::Exists(key),
        LabelOperator::DoesNotExist => LabelCondition::Missing(key),
    })
}

fn check_key(key: &str, keys: Option<&[&str]>, at: &At, report: &mut Report) {
    match keys {
        Some(keys) if !keys.contains(&key) => {
            let message = format!("a container has no label `{}`", shorten(key));
            report.error_hint(at, message, "the labels of a container are `name` and `repo`");
        }
        _ if key.is_empty() => report.error(at, "the name of a label cannot be empty"),
        _ => {}
    }
}

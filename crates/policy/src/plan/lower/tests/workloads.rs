//! Which workloads a policy is for.

use saker_abi::generated::{SAKER_OP_WORKLOAD, SAKER_PLAN_WORKLOADS};

use super::fake::Fake;
use super::process_clauses;
use crate::matcher::Container;
use crate::plan::{Choices, PolicyPlan, lower_with};
use crate::testing::{accepted, with_spec};

const HOOK: &str = "kprobes: [{call: security_file_open, syscall: false}]";

/// The plan where it is known which containers are of which pods.
fn named(text: &str) -> PolicyPlan {
    let choices = Choices { names_pods: true, ..Choices::default() };
    lower_with(&accepted(text), &Fake::default(), &choices).unwrap()
}

fn spec(workloads: &str) -> PolicyPlan {
    named(&with_spec(&format!("{workloads}\n{HOOK}")))
}

fn container(name: &str, namespace: &str, app: &str) -> Container {
    let labels = [("app".to_owned(), app.to_owned())].into();
    Container { name: name.into(), repo: format!("registry/{name}"), namespace: namespace.into(), labels }
}

#[test]
fn a_policy_without_them_asks_for_nothing() {
    for all in ["", "podSelector: {}\ncontainerSelector: {}\nhostSelector: {}"] {
        let plan = spec(all);
        assert!(plan.workloads.is_empty(), "{all}");
        assert_eq!((plan.hooks[0].plan.workload, plan.hooks[0].plan.flags & SAKER_PLAN_WORKLOADS), (0, 0));
    }
}

#[test]
fn each_combination_means_what_the_language_says() {
    let web = container("nginx", "shop", "web");
    let store = container("redis", "shop", "db");
    let subjects = [None, Some(&web), Some(&store)];
    for (text, holds) in [
        ("podSelector: {matchLabels: {app: web}}", [false, true, false]),
        ("containerSelector: {matchLabels: {repo: registry/redis}}", [false, false, true]),
        ("podSelector: {}\ncontainerSelector: {matchLabels: {name: nginx}}", [false, true, false]),
        (
            "podSelector: {matchLabels: {app: web}}\ncontainerSelector: {matchLabels: {name: redis}}",
            [false, false, false],
        ),
        ("hostSelector: {}", [true, false, false]),
        ("podSelector: {matchLabels: {app: db}}\nhostSelector: {}", [true, false, true]),
        ("podSelector: {}", [false, true, true]),
        ("podSelector: {matchLabels: {'k8s:io.kubernetes.pod.namespace': shop}}", [false, true, true]),
        (
            "podSelector: {matchExpressions: [{key: app, operator: NotIn, values: [web]}]}",
            [false, false, true],
        ),
    ] {
        let plan = spec(text);
        assert_eq!(plan.workloads.len(), 1, "{text}");
        assert_eq!(subjects.map(|one| plan.workloads[0].holds(one)), holds, "{text}");
        assert_eq!(plan.hooks[0].plan.workload, 1, "{text}");
        assert_ne!(plan.hooks[0].plan.flags & SAKER_PLAN_WORKLOADS, 0);
    }
}

#[test]
fn a_namespaced_policy_is_for_the_pods_of_its_namespace() {
    let text = with_spec(HOOK).replace("kind: TracingPolicy", "kind: TracingPolicyNamespaced");
    let plan = named(&text.replace("name: x", "name: x\n  namespace: shop"));
    let test = &plan.workloads[0];
    assert!(test.holds(Some(&container("a", "shop", "web"))));
    assert!(!test.holds(Some(&container("a", "shops", "web"))) && !test.holds(None));
}

#[test]
fn selectors_have_clauses_and_share_equal_filters() {
    let plan = named(&with_spec(
        "hostSelector: {}
kprobes:
- call: security_file_open
  syscall: false
  selectors:
  - matchWorkloads: {podSelector: {matchExpressions: [{key: a, operator: In, values: [y, x]}]}}
  - matchWorkloads: {podSelector: {matchExpressions: [{key: a, operator: In, values: [x, y, x]}]}}
  - matchWorkloads: {hostSelector: {}}
  - matchWorkloads: {podSelector: {}, containerSelector: {}, hostSelector: {}}",
    ));
    assert_eq!(plan.workloads.len(), 2);
    let hook = &plan.hooks[0].plan;
    assert_eq!(hook.workload, 1, "the policy's own comes first");
    let clause = process_clauses(hook)[0];
    assert_eq!((u32::from(clause.op), clause.first), (SAKER_OP_WORKLOAD, 1));
    let of = |number: usize| {
        let selector = &hook.selector[number];
        let clauses = &hook.clause[usize::from(selector.process)..][..usize::from(selector.process_count)];
        clauses.iter().map(|clause| clause.first).collect::<Vec<_>>()
    };
    assert_eq!([of(0), of(1), of(2), of(3)], [vec![1], vec![1], vec![0], vec![]]);
}

#[test]
fn nodes_are_chosen_by_labels() {
    let policy = accepted(&with_spec(&format!("nodeSelector: {{matchLabels: {{disk: ssd}}}}\n{HOOK}")));
    let with = |value: &str| {
        let node_labels = [("disk".to_owned(), value.to_owned())].into();
        Choices { node_labels, ..Choices::default() }
    };
    assert!(with("ssd").are_of_node(&policy) && !with("hdd").are_of_node(&policy));
    assert!(!Choices::default().are_of_node(&policy));
    assert!(Choices::default().are_of_node(&accepted(&with_spec(HOOK))));
    assert_eq!(lower_with(&policy, &Fake::default(), &with("hdd")).unwrap().hooks.len(), 1);
}

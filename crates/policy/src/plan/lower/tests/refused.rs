//! What this version cannot do is refused, all of it at once.

use std::fmt::Write;

use super::fake::Fake;
use super::{assert_refused, planned, refused};
use crate::model::Policy;
use crate::plan::lower;
use crate::testing::{accepted, with_hook, with_spec};

#[test]
fn filters_and_actions() {
    for (selector, path, words) in [
        ("matchWorkloads: {podSelector: {}}", "matchWorkloads", "chosen pods"),
        (
            "matchActions: [{action: CleanupEnforcerNotification}]",
            "matchActions[0].action",
            "`CleanupEnforcer",
        ),
        (
            "matchActions: [{action: NoPost}, {action: GetUrl, argUrl: 'http://x'}]",
            "matchActions",
            "`GetUrl` is done when the event is told",
        ),
        (
            "matchActions: [{action: DnsLookup, argFqdn: x}, {action: NoPost}]",
            "matchActions",
            "`DnsLookup` is done when the event is told",
        ),
    ] {
        let text = with_hook(&format!(
            "args: [{{index: 0, type: string}}, {{index: 1, type: int}}, {{index: 1, type: sock}}]\nselectors:\n- {selector}"
        ));
        assert_refused(&text, &Fake::default(), &[&format!("spec.kprobes[0].selectors[0].{path}: "), words]);
    }
}

#[test]
fn whole_policies() {
    let hook = "kprobes: [{call: security_file_open, syscall: false}]";
    for (spec, words) in [
        (format!("podSelector: {{}}\n{hook}"), "the policy is for chosen pods or containers"),
        (format!("podSelector: {{}}\nhostSelector: {{}}\n{hook}"), "`--enable-cri`"),
        (format!("containerSelector: {{matchLabels: {{name: x}}}}\n{hook}"), "chosen pods"),
    ] {
        assert_refused(&with_spec(&spec), &Fake::default(), &[words]);
    }
    let namespaced = with_spec(hook).replace("kind: TracingPolicy", "kind: TracingPolicyNamespaced");
    assert_refused(&namespaced, &Fake::default(), &["kind: the policy is for the pods of one namespace"]);
    let no_groups = Fake { no_groups: Some("cgroup2 is not mounted"), ..Fake::default() };
    let host = with_spec(&format!("hostSelector: {{}}\n{hook}"));
    assert_refused(&host, &no_groups, &["told by their control groups, and cgroup2 is not mounted"]);
    let enforcer = "enforcers: [{calls: [sys_openat]}]\nkprobes:\n- {call: security_file_open, syscall: false, \
                    selectors: [{matchActions: [{action: NotifyEnforcer, argError: -1}]}]}";
    assert_refused(&with_spec(enforcer), &Fake::default(), &["takes effect at the call at which it is made"]);
}

#[test]
fn everything_is_told_at_once() {
    let text = with_spec(
        "podSelector: {}
kprobes:
- call: none_such
  syscall: false
  args: [{index: 0, type: char_buf}]
  selectors:
  - matchWorkloads: {containerSelector: {}}
    matchActions: [{action: CleanupEnforcerNotification}]
- call: security_file_open
  syscall: false
  args: [{index: 5, type: file}]
  selectors:
  - matchActions: [{action: CleanupEnforcerNotification}]",
    );
    let words = ["chosen pods", "none_such", "matchWorkloads", "kprobes[0].selectors[0].matchActions[0]"];
    assert_refused(&text, &Fake::default(), &words);
    assert_refused(&text, &Fake::default(), &["kprobes[1].selectors[0].matchActions[0]", "no argument 5"]);
}

#[test]
fn options_that_mean_nothing_here_are_understood() {
    let options = "options:\n- {name: disable-kprobe-multi, value: 'true'}\n- {name: policy-mode, value: monitor}\n\
                   kprobes: [{call: security_file_open, syscall: false}]";
    assert_eq!(planned(&with_spec(options), &Fake::default()).hooks.len(), 1);
}

#[test]
fn unknown_namespaces_of_the_host() {
    let text =
        with_hook("selectors:\n- matchNamespaces: [{namespace: Mnt, operator: In, values: [host_ns]}]");
    let kernel = Fake { host: saker_abi::NamespaceInums::default(), ..Fake::default() };
    assert_refused(&text, &kernel, &["`host_ns` cannot be compared"]);
}

#[test]
fn bounds() {
    // Clauses of all selectors.
    let mut selectors = String::new();
    for index in 0..40 {
        let filters: Vec<String> = (0..14)
            .map(|value| format!("{{index: 1, operator: NotEqual, values: ['{}']}}", index * 20 + value))
            .collect();
        writeln!(selectors, "- matchArgs: [{}]", filters.join(", ")).unwrap();
    }
    let text = with_hook(&format!("args: [{{index: 1, type: int}}]\nselectors:\n{selectors}"));
    assert_refused(&text, &Fake::default(), &["560 conditions in its selectors, 512 are possible"]);
    // Numbers of all clauses.
    let mut selectors = String::new();
    for index in 0..20 {
        let numbers: Vec<String> = (0..120).map(|value| (index * 200 + value + 1).to_string()).collect();
        writeln!(selectors, "- matchPIDs: [{{operator: In, values: [{}]}}]", numbers.join(", ")).unwrap();
    }
    let text = with_hook(&format!("selectors:\n{selectors}"));
    assert_refused(&text, &Fake::default(), &["2400 numbers in its selectors, 2048 are possible"]);
    // Filters on binaries of the policy.
    let mut hooks = String::from("kprobes:\n");
    for hook in 0..2 {
        writeln!(hooks, "- call: security_file_open\n  syscall: false\n  selectors:").unwrap();
        for index in 0..40 {
            writeln!(hooks, "  - matchBinaries: [{{operator: In, values: [/{hook}/{index}]}}]").unwrap();
        }
    }
    assert_refused(&with_spec(&hooks), &Fake::default(), &["more than 64 different filters on binaries"]);
    let numbers: Vec<String> = (1..=200).map(|number| number.to_string()).collect();
    let text =
        with_hook(&format!("selectors:\n- matchPIDs: [{{operator: In, values: [{}]}}]", numbers.join(", ")));
    assert_refused(&text, &Fake::default(), &["200 numbers are listed, 128 are possible"]);
}

#[test]
fn a_type_that_is_not_known_is_told_once() {
    let text = with_spec(
        "tracepoints:
- subsystem: syscalls
  event: sys_enter_lseek
  args: [{index: 7}]
  selectors:
  - matchArgs: [{index: 7, operator: Equal, values: ['4']}]",
    );
    let told = refused(&text, &Fake::default());
    assert!(told.len() == 1 && told[0].contains("args[0].type: the fields of"), "{told:#?}");
}

#[test]
fn programs_of_a_list() {
    let text = |count: usize| {
        let names = vec!["security_file_open"; count].join(", ");
        with_spec(&format!(
            "lists: [{{name: l, values: [{names}]}}]\nkprobes: [{{call: 'list:l', syscall: false}}]"
        ))
    };
    assert_eq!(planned(&text(512), &Fake::default()).hooks.len(), 512);
    assert_refused(&text(513), &Fake::default(), &["513 programs, 512 are possible"]);
}

#[test]
fn a_policy_without_hooks_is_an_empty_plan() {
    let policy: Policy = accepted(&with_spec("kprobes: []"));
    assert!(lower(&policy, &Fake::default()).unwrap().hooks.is_empty());
}

#[test]
fn said_once_for_a_whole_list() {
    let text = with_spec(
        "lists: [{name: l, values: [security_file_open, security_file_permission]}]
kprobes:
- call: 'list:l'
  syscall: false
  args: [{index: 4, type: int}]
  data: [{index: 0, type: int, source: current_task, resolve: nothing}]",
    );
    let told = refused(&text, &Fake::default());
    assert_eq!(told.iter().filter(|line| line.contains("no member `nothing`")).count(), 1, "{told:#?}");
}

use saker_api::event::{ExecEvent, ProcessView};

use super::*;
use crate::testing::{self, syscall};

const ALL: ProcessLabels = ProcessLabels { binary: true, namespace: true, pod: true, workload: true };

fn pod(name: &str) -> Arc<Pod> {
    let (namespace, workload) = ("shop".to_owned(), "web".to_owned());
    Arc::new(Pod { namespace, name: name.into(), workload, ..Pod::default() })
}

fn exec(binary: &Arc<str>, pod: Option<&Arc<Pod>>) -> Arc<Event> {
    let mut event = Arc::unwrap_or_clone(testing::exec(7));
    let flags = Arc::from("execve clone");
    let process =
        Process { binary: Arc::clone(binary), pod: pod.map(Arc::clone), flags, ..Process::default() };
    let process = ProcessView { process: Arc::new(process), refcnt: 1 };
    event.kind = EventKind::Exec(ExecEvent { process, parent: None, ancestors: Vec::new() });
    Arc::new(event)
}

fn counted(shown: ProcessLabels, events: &[Arc<Event>], bound: usize) -> EventTotals {
    let (mut counts, mut totals) = (EventCounts::new(shown), EventTotals::new(bound));
    counts.count(events);
    counts.add_to(&mut totals);
    counts.add_to(&mut totals);
    totals
}

fn types(totals: &EventTotals) -> Vec<(i32, String, u64)> {
    let row = |(kind, labels, count): (&i32, &Labels, u64)| {
        let Labels { binary, namespace, pod, workload } = labels;
        (*kind, format!("{binary}|{namespace}|{pod}|{workload}"), count)
    };
    totals.types.iter().map(row).collect()
}

#[test]
fn events_are_counted_by_type_and_process() {
    let (cat, ls, web): (Arc<str>, Arc<str>, _) = ("/bin/cat".into(), "/bin/ls".into(), pod("web-1"));
    let same_text: Arc<str> = "/bin/cat".into();
    let events = [
        exec(&cat, None),
        exec(&cat, None),
        exec(&same_text, None),
        exec(&ls, Some(&web)),
        exec(&ls, Some(&pod("web-2"))),
    ];
    let totals = counted(ALL, &events, 100);
    let row = |text: &str, count| (1, text.to_owned(), count);
    let (one, two) = ("/bin/ls|shop|web-1|web", "/bin/ls|shop|web-2|web");
    assert_eq!(types(&totals), [row("/bin/cat|||", 3), row(one, 1), row(two, 1)]);
    assert_eq!(totals.flags, [("clone".into(), 5), ("execve".into(), 5)].into());

    let workloads = ProcessLabels { namespace: true, workload: true, ..ProcessLabels::default() };
    assert_eq!(types(&counted(workloads, &events, 100)), [row("|||", 3), row("|shop||web", 2)]);
    assert_eq!(types(&counted(ProcessLabels::default(), &events, 100)), [row("|||", 5)]);
}

#[test]
fn events_of_policies_are_counted_by_policy_and_hook() {
    let same = testing::hook("files", "openat");
    let events =
        [&same, &same, &testing::hook("files", "openat"), &testing::hook("files", "read")].map(Arc::clone);
    let totals = counted(ALL, &events, 100);
    let rows: Vec<_> = totals.policies.iter().map(|(key, _, n)| (&*key.policy, &*key.hook, n)).collect();
    assert_eq!(rows, [("files", "openat", 3), ("files", "read", 1)]);
    assert_eq!(types(&totals), [(EventType::ProcessKprobe as i32, "|||".to_owned(), 4)]);
}

#[test]
fn system_calls_are_told_apart() {
    let totals = counted(ALL, &[syscall(1, "x64"), syscall(1, "x64"), syscall(1, "i386")], 100);
    let rows: Vec<_> = totals.syscalls.iter().map(|(call, _, n)| (call.number, call.narrow, n)).collect();
    assert_eq!(rows, [(1, false, 2), (1, true, 1)]);
    assert_eq!(totals.policies.iter().map(|(.., n)| n).sum::<u64>(), 3, "they are events of policies too");
}

#[test]
fn what_has_no_room_is_counted_for_others() {
    let many: Vec<_> = (0..50).map(|n| exec(&format!("/bin/p{n}").into(), None)).collect();
    let mut totals = counted(ALL, &many, 10);
    assert_eq!(types(&totals).len(), 11);
    assert!(types(&totals).contains(&(1, "other|other|other|other".to_owned(), 40)));
    // A policy has a name of its own among the others, until there are too many of these too.
    let hooks: Vec<_> = (0..3_000).map(|n| testing::hook(&format!("p{n}"), "f")).collect();
    let mut counts = EventCounts::new(ALL);
    assert!(counts.count(&hooks), "that many are too many to keep");
    counts.add_to(&mut totals);
    assert_eq!(totals.policies.iter().count(), 10 + OTHER_MAX + 1);
    assert_eq!(totals.policies.iter().map(|(.., count)| count).sum::<u64>(), 3_000);
    let rest = totals.policies.iter().find(|(key, ..)| **key == PolicyHook::default());
    assert_eq!(rest.map(|(.., count)| count), Some(3_000 - 10 - OTHER_MAX as u64));
}

#[test]
fn series_of_a_pod_go_a_minute_after_it() {
    let (cat, gone, stays): (Arc<str>, _, _) = ("/bin/cat".into(), pod("gone"), pod("stays"));
    let mut totals =
        counted(ALL, &[exec(&cat, None), exec(&cat, Some(&gone)), exec(&cat, Some(&stays))], 100);
    let start = Instant::now();
    let is_there = |_: &str, name: &str| name == "stays";
    totals.drop_pods(start, is_there);
    totals.drop_pods(start + GONE / 2, is_there);
    assert_eq!(types(&totals).len(), 3);
    // It came back, and goes again.
    totals.drop_pods(start + GONE / 2, |_, _| true);
    totals.drop_pods(start + GONE, is_there);
    assert_eq!(types(&totals).len(), 3);
    totals.drop_pods(start + GONE * 2, is_there);
    let left: Vec<_> = types(&totals).into_iter().map(|(_, labels, _)| labels).collect();
    assert_eq!(left, ["/bin/cat|||", "/bin/cat|shop|stays|web"]);
}

//! The order of evaluation, short circuit, and every filter on processes and values.

use std::net::IpAddr;

use super::*;
use crate::testing::{accepted, hook, with_filter, with_hook, with_spec};
use crate::words::Namespace;

fn file(path: &str) -> Value {
    Value::Path { path: path.into(), mode: 0o100_644, file: Vec::new() }
}

fn event(values: Vec<Value>) -> Event {
    Event { values, ..Event::default() }
}

/// Whether the only filter of a policy with one captured value holds.
fn outcome(ty: &str, operator: &str, values: &str, value: Value) -> Outcome {
    let policy = accepted(&with_filter(ty, operator, values));
    let decision = Matcher::new(&policy).decide(hook(&policy), &event(vec![value]));
    decision.tried[0].clauses[0].outcome
}

fn holds(ty: &str, operator: &str, values: &str, value: Value) -> bool {
    outcome(ty, operator, values, value).holds()
}

/// Whether a selector with these filters matches a process.
fn selects(filters: &str, process: &Process) -> bool {
    let policy = accepted(&with_hook(&format!("selectors:\n- {filters}")));
    let event = Event { process: process.clone(), ..Event::default() };
    Matcher::new(&policy).decide(hook(&policy), &event).selector.is_some()
}

#[test]
fn first_selector_that_matches_decides() {
    let policy = accepted(&with_hook(
        "args: [{index: 1, type: int}]\nselectors:\n\
         - matchArgs: [{index: 1, operator: GT, values: ['10']}, {index: 1, operator: LT, values: ['20']}]\n\
         \x20 matchActions: [{action: NoPost}]\n\
         - matchArgs: [{index: 1, operator: GT, values: ['5']}]\n  matchActions: [{action: Sigkill}]\n",
    ));
    let decide = |number| {
        let decision = Matcher::new(&policy).decide(hook(&policy), &event(vec![Value::Integer(number)]));
        (decision.selector, decision.posts, decision.actions.len(), decision.tried.len())
    };
    assert_eq!(decide(15), (Some(0), false, 1, 1));
    assert_eq!(decide(25), (Some(1), true, 1, 2));
    assert_eq!(decide(7), (Some(1), true, 1, 2));
    assert_eq!(decide(1), (None, false, 0, 2));
    // The second filter of the first selector is not tried when the first one fails.
    let low = event(vec![Value::Integer(7)]);
    let decision = Matcher::new(&policy).decide(hook(&policy), &low);
    assert_eq!(decision.tried[0].clauses.len(), 1);
}

#[test]
fn without_selectors_every_call_is_told_and_an_empty_selector_matches() {
    let policy = accepted(&with_hook(""));
    assert!(Matcher::new(&policy).decide(hook(&policy), &Event::default()).posts);
    let policy = accepted(&with_hook("selectors: [{}]"));
    let decision = Matcher::new(&policy).decide(hook(&policy), &Event::default());
    assert_eq!((decision.selector, decision.posts), (Some(0), true));
}

#[test]
fn filters_are_tried_in_the_order_of_the_language() {
    let policy = accepted(&with_hook(
        "args: [{index: 0, type: int}]\ndata: [{index: 0, type: int, source: current_task, resolve: pid}]\nselectors:\n\
         - matchData: [{operator: Equal, values: ['0']}]\n  matchArgs: [{operator: Equal, values: ['0']}]\n\
         \x20 matchCapabilityChanges: [{operator: NotIn, values: [CAP_KILL]}]\n\
         \x20 matchNamespaceChanges: [{operator: In, values: [Mnt]}]\n\
         \x20 matchCapabilities: [{operator: NotIn, values: [CAP_KILL]}]\n\
         \x20 matchNamespaces: [{namespace: Mnt, operator: In, values: [host_ns]}]\n\
         \x20 matchPIDs: [{operator: NotIn, values: [1]}]\n\
         \x20 matchParentBinaries: [{operator: NotIn, values: [/a]}]\n\
         \x20 matchBinaries: [{operator: NotIn, values: [/a]}]\n\
         \x20 matchWorkloads: {hostSelector: {}}\n",
    ));
    let mut event = event(vec![Value::Integer(0), Value::Integer(0)]);
    event.process.namespace_changes = vec![Namespace::Mnt];
    event.process.capability_changes.effective = 1;
    let decision = Matcher::new(&policy).decide(hook(&policy), &event);
    let fields: Vec<_> = decision.tried[0].clauses.iter().map(|clause| clause.field).collect();
    let expected = [
        "matchWorkloads",
        "matchBinaries",
        "matchParentBinaries",
        "matchPIDs",
        "matchNamespaces",
        "matchCapabilities",
        "matchNamespaceChanges",
        "matchCapabilityChanges",
        "matchArgs",
        "matchData",
    ];
    assert_eq!(fields, expected);
    assert!(decision.posts);
}

#[test]
fn what_could_not_be_read_matches_nothing() {
    for (ty, operator, values) in [
        ("int", "Equal", "['1']"),
        ("int", "NotEqual", "['1']"),
        ("file", "NotPrefix", "[/x]"),
        ("sock", "NotDAddr", "[1.2.3.4]"),
        ("int", "CelExpr", "['arg0 != int32(1)']"),
        ("kernel_cap_t", "NotEqual", "['1']"),
    ] {
        assert_eq!(outcome(ty, operator, values, Value::Failed), Outcome::Unreadable, "{ty} {operator}");
    }
    let policy = accepted(&with_filter("int", "NotEqual", "['1']"));
    assert!(!Matcher::new(&policy).decide(hook(&policy), &Event::default()).posts, "a value that is missing");
}

#[test]
fn integers() {
    let number = |ty, operator, values, number: i128| holds(ty, operator, values, Value::Integer(number));
    assert!(number("int8", "LT", "['0']", -1));
    assert!(number("int16", "Equal", "['-1']", -1));
    assert!(number("int16", "Equal", "['-1']", 0xffff), "the same bits");
    assert!(number("uint32", "GT", "['5', '10']", 6), "greater than one of them is enough");
    assert!(!number("uint32", "GT", "['5', '10']", 5));
    assert!(number("size_t", "Equal", "['0x100000001']", 0x1_0000_0001));
    assert!(!number("size_t", "Equal", "['1']", 0x1_0000_0001), "all 64 bits count");
    assert!(number("int", "InMap", "['-3', '5:7']", -3));
    assert!(number("int", "NotInMap", "['5:7']", 8));
    assert!(!number("int", "NotInMap", "['5:7']", 6));
    assert!(number("int", "InRange", "['-7:-5']", -5));
    assert!(number("int", "Mask", "['0x80000000']", -1));
    assert!(!number("int", "Mask", "['6']", 1));
    assert!(number("int", "CelExpr", "['arg0 + int32(1) == int32(3)']", 2));
}

#[test]
fn paths_and_texts() {
    assert!(holds("file", "Prefix", "[/etc/]", file("/etc/passwd")));
    assert!(holds("file", "NotPostfix", "[shadow]", file("/etc/passwd")));
    assert!(!holds("file", "NotPostfix", "[passwd]", file("/etc/passwd")));
    assert!(holds("path", "Glob", "['/home/*/.ssh/**']", file("/home/a/.ssh/id")));
    assert!(holds("dentry", "SubString", "[pass]", file("/etc/passwd")));
    let empty = || Value::Path { path: Vec::new(), mode: 0o010_000, file: Vec::new() };
    for operator in ["Equal", "NotEqual", "NotPrefix", "NotPostfix", "NotGlob"] {
        assert_eq!(outcome("file", operator, "[/x]", empty()), Outcome::EmptyPath, "{operator}");
    }
    for (values, path, same) in [
        ("[/etc/shadow]", "/etc/shadow", true),
        ("[/etc/shadow]", "/etc/shadow-", false),
        ("[/etc//ssh/]", "/etc/ssh/keys/id", true),
        ("[/etc/ssh]", "/etc/ssh", true),
        ("[/etc/ssh]", "/etc/sshd", false),
        ("[/]", "/x", true),
    ] {
        assert_eq!(holds("file", "SameFile", values, file(path)), same, "{values} {path}");
        assert_eq!(holds("dentry", "NotSameFile", values, file(path)), !same, "{values} {path}");
        // By another path that leads to it.
        let other = Value::Path { path: b"/mnt/x".to_vec(), mode: 0, file: path.into() };
        assert_eq!(holds("path", "SameFile", values, other), same, "{values} {path}");
    }
    assert!(holds("file", "FileType", "[fifo]", empty()));
    assert!(holds("file", "NotFileType", "[reg]", empty()));
    assert!(holds("string", "Equal", "[\"a\\0\"]", Value::Text(b"a".to_vec())));
    assert!(holds("char_buf", "Postfix", "[\"\\0\"]", Value::Bytes(b"a\0".to_vec())));
    assert!(holds("string", "SubStringIgnCase", "[AbC]", Value::Text(b"xaBcx".to_vec())));
    assert!(
        holds("string", "NotEqual", "[a]", Value::Text(Vec::new())),
        "text may be empty, other than a path"
    );
    assert!(holds("sockaddr_un", "Prefix", "['@x']", Value::LocalAddress(b"@xy".to_vec())));
    assert_eq!(outcome("file", "Equal", "[/x]", Value::Integer(1)), Outcome::OtherKind);
}

#[test]
fn sockets() {
    let ip = |text: &str| text.parse::<IpAddr>().ok();
    let socket = || {
        Value::Socket(SocketValue {
            family: 2,
            protocol: 6,
            state: Some(1),
            source: ip("10.0.0.1"),
            destination: ip("192.168.1.2"),
            source_port: 1023,
            destination_port: 1024,
        })
    };
    for (operator, values, expected) in [
        ("SAddr", "[10.0.0.0/8]", true),
        ("DAddr", "[10.0.0.0/8]", false),
        ("NotDAddr", "[10.0.0.0/8]", true),
        ("SAddr", "['::/0']", false),
        ("NotSAddr", "['::/0']", true),
        ("SPort", "['1000:1023']", true),
        ("NotDPort", "['1024']", false),
        ("SPortPriv", "[]", true),
        ("DPortPriv", "[]", false),
        ("NotDPortPriv", "[]", true),
        ("NotSportPriv", "[]", false),
        ("Protocol", "[IPPROTO_UDP, IPPROTO_TCP]", true),
        ("Family", "[AF_INET6]", false),
        ("State", "[TCP_ESTABLISHED]", true),
    ] {
        assert_eq!(holds("sock", operator, values, socket()), expected, "{operator} {values}");
    }
    let local = || Value::Socket(SocketValue { family: 1, ..SocketValue::default() });
    for operator in ["SAddr", "NotSAddr", "NotDAddr"] {
        assert_eq!(outcome("sock", operator, "[1.2.3.4]", local()), Outcome::NoAddress, "{operator}");
    }
    assert_eq!(outcome("sock", "NotDPort", "['1']", local()), Outcome::NoAddress);
    assert!(holds("sock", "Family", "[AF_UNIX]", local()));
    assert!(!holds("sock", "State", "[TCP_LISTEN]", local()));
    let address = || Value::Address { family: 10, address: ip("::1"), port: 53 };
    assert!(holds("sockaddr", "SAddr", "['::1']", address()));
    assert!(holds("sockaddr", "SPort", "['53']", address()));
    assert!(holds("sockaddr", "Family", "[AF_INET6]", address()));
    assert!(holds("sockaddr_un", "Family", "[AF_UNIX]", Value::LocalAddress(Vec::new())));
}

#[test]
fn capability_sets() {
    assert!(holds("cap_effective", "Mask", "[CAP_SYS_ADMIN]", Value::Capabilities(1 << 21 | 1)));
    assert!(!holds("cap_effective", "Equal", "[CAP_SYS_ADMIN]", Value::Capabilities(1 << 21 | 1)));
    let policy = accepted(&with_hook(
        "args: [{index: 0, type: cap_effective}, {index: 1, type: cap_effective}]\nselectors:\n\
         - matchArgs: [{args: [0, 1], operator: CapabilitiesGained}]",
    ));
    let gains = |old, new| {
        let event = event(vec![Value::Capabilities(old), Value::Capabilities(new)]);
        Matcher::new(&policy).decide(hook(&policy), &event).posts
    };
    assert!(gains(0b01, 0b10));
    assert!(!gains(0b11, 0b01));
    let half = event(vec![Value::Capabilities(1), Value::Failed]);
    assert!(!Matcher::new(&policy).decide(hook(&policy), &half).posts);
}

#[test]
fn system_calls_in_lists() {
    let policy = accepted(&with_spec(
        "lists: [{name: l, type: syscalls, values: [sys_dup, i386/sys_dup2]}]\ntracepoints:\n- subsystem: raw_syscalls\n\
         \x20 event: sys_enter\n  args: [{index: 4, type: syscall64}]\n  selectors:\n\
         \x20 - matchArgs: [{index: 4, operator: InMap, values: ['list:l', '1000']}]",
    ));
    let call = |abi, name: &str| Value::Syscall(Syscall { abi, name: name.into() });
    let posts = |value| Matcher::new(&policy).decide(hook(&policy), &event(vec![value])).posts;
    use crate::model::Abi;
    assert!(posts(call(None, "dup")) && posts(call(Some(Abi::X64), "dup")));
    assert!(!posts(call(Some(Abi::I386), "dup")) && posts(call(Some(Abi::I386), "dup2")));
    assert!(!posts(call(None, "dup2")) && !posts(call(None, "read")));
    assert!(posts(Value::Integer(1000)) && !posts(Value::Integer(32)));
    let numbers = |call: &Syscall| if call.name == "dup" { vec![32] } else { vec![63 | 1 << 31] };
    let numbered = |number| {
        let matcher = Matcher::with_numbers(&policy, &numbers);
        matcher.decide(hook(&policy), &event(vec![Value::Integer(number)])).posts
    };
    assert!(numbered(32) && numbered(63 | 1 << 31) && !numbered(63));
}

#[test]
fn pids_and_descent() {
    let ancestor = |pid, namespace_pid| Ancestor { pid, namespace_pid, ..Ancestor::default() };
    let inside = Process {
        pid: 500,
        namespace_pid: Some(7),
        ancestors: vec![ancestor(400, Some(1)), ancestor(10, None)],
        ..Process::default()
    };
    let host = Process { pid: 7, ancestors: vec![ancestor(1, None)], ..Process::default() };
    for (filter, expected_inside, expected_host) in [
        ("operator: In, values: [500]", true, false),
        ("operator: NotIn, values: [500]", false, true),
        ("operator: In, values: [400]", false, false),
        ("operator: In, values: [400, 1], followForks: true", true, true),
        ("operator: NotIn, values: [10, 1], followForks: true", false, false),
        ("operator: In, values: [7], isNamespacePID: true", true, false),
        ("operator: NotIn, values: [0, 1], isNamespacePID: true", true, false),
        ("operator: In, values: [1], isNamespacePID: true, followForks: true", true, false),
        ("operator: NotIn, values: [0], isNamespacePID: true, followForks: true", true, false),
    ] {
        let filter = format!("matchPIDs: [{{{filter}}}]");
        assert_eq!(selects(&filter, &inside), expected_inside, "inside: {filter}");
        assert_eq!(selects(&filter, &host), expected_host, "host: {filter}");
    }
    let both = "matchPIDs: [{operator: NotIn, values: [1]}, {operator: NotIn, values: [500]}]";
    assert!(!selects(both, &inside), "every entry must hold");
}

#[test]
fn binaries_and_descent() {
    let ancestor = |binary: &str| Ancestor { binary: binary.into(), ..Ancestor::default() };
    let process = Process {
        binary: "/usr/bin/cat".into(),
        earlier: vec!["/usr/bin/env".into()],
        ancestors: vec![
            Ancestor { earlier: vec!["/usr/bin/su".into()], ..ancestor("/usr/bin/bash") },
            ancestor("/usr/sbin/sshd"),
        ],
        ..Process::default()
    };
    for (filter, expected) in [
        ("matchBinaries: [{operator: In, values: [/usr/bin/cat]}]", true),
        ("matchBinaries: [{operator: NotIn, values: [/usr/bin/cat]}]", false),
        ("matchBinaries: [{operator: In, values: [/usr/sbin/sshd]}]", false),
        ("matchBinaries: [{operator: In, values: [/usr/sbin/sshd], followChildren: true}]", true),
        ("matchBinaries: [{operator: NotIn, values: [/usr/sbin/sshd], followChildren: true}]", false),
        ("matchBinaries: [{operator: Prefix, values: [/usr/]}]", true),
        ("matchBinaries: [{operator: NotPostfix, values: [/cat]}]", false),
        ("matchBinaries: [{operator: Glob, values: ['/*/bin/c?t']}]", true),
        ("matchBinaries: [{operator: NotGlob, values: ['/*']}]", true),
        ("matchParentBinaries: [{operator: In, values: [/usr/bin/bash]}]", true),
        ("matchParentBinaries: [{operator: In, values: [/usr/sbin/sshd]}]", false),
        ("matchParentBinaries: [{operator: In, values: [/usr/sbin/sshd], followChildren: true}]", true),
        ("matchBinaries: [{operator: In, values: [/usr/bin/env]}]", false),
        ("matchBinaries: [{operator: In, values: [/usr/bin/env], followChildren: true}]", true),
        ("matchBinaries: [{operator: NotIn, values: [/usr/bin/su], followChildren: true}]", false),
        ("matchParentBinaries: [{operator: In, values: [/usr/bin/su]}]", false),
        ("matchParentBinaries: [{operator: In, values: [/usr/bin/su], followChildren: true}]", true),
        ("matchParentBinaries: [{operator: In, values: [/usr/bin/env], followChildren: true}]", false),
    ] {
        assert_eq!(selects(filter, &process), expected, "{filter}");
    }
    assert!(!selects("matchParentBinaries: [{operator: In, values: [/a]}]", &Process::default()));
}

#[test]
fn namespaces_and_capabilities() {
    let mut process = Process {
        namespaces: [(Namespace::Mnt, NamespaceState::Inode(5)), (Namespace::User, NamespaceState::Inode(6))]
            .into(),
        namespace_changes: vec![Namespace::Net],
        ..Process::default()
    };
    process.capabilities.effective = 1 << 21;
    process.capability_changes.permitted = 1 << 5;
    for (filter, expected) in [
        ("matchNamespaces: [{namespace: Mnt, operator: In, values: ['5', '9']}]", true),
        ("matchNamespaces: [{namespace: Mnt, operator: NotIn, values: [host_ns]}]", true),
        ("matchNamespaces: [{namespace: Pid, operator: In, values: [host_ns]}]", true),
        ("matchNamespaces: [{namespace: Pid, operator: NotIn, values: [host_ns, '5']}]", false),
        ("matchNamespaceChanges: [{operator: In, values: [Net, Mnt]}]", true),
        ("matchNamespaceChanges: [{operator: In, values: [Mnt]}]", false),
        ("matchNamespaceChanges: [{operator: NotIn, values: [Mnt]}]", true),
        ("matchNamespaceChanges: [{operator: NotIn, values: [Net]}]", false),
        ("matchCapabilities: [{operator: In, values: [CAP_SYS_ADMIN, CAP_KILL]}]", true),
        ("matchCapabilities: [{operator: NotIn, values: [CAP_KILL]}]", true),
        ("matchCapabilities: [{operator: NotIn, values: [CAP_SYS_ADMIN]}]", false),
        ("matchCapabilities: [{type: Permitted, operator: In, values: [CAP_SYS_ADMIN]}]", false),
        ("matchCapabilityChanges: [{type: Permitted, operator: In, values: [CAP_KILL]}]", true),
        ("matchCapabilityChanges: [{type: Permitted, operator: NotIn, values: [CAP_KILL]}]", false),
        ("matchCapabilityChanges: [{operator: In, values: [CAP_KILL]}]", false),
    ] {
        assert_eq!(selects(filter, &process), expected, "{filter}");
    }
    let namespaced =
        "matchCapabilities: [{operator: NotIn, isNamespaceCapability: true, values: [CAP_KILL]}]";
    assert!(selects(namespaced, &process));
    process.namespaces.clear();
    assert!(!selects(namespaced, &process), "in the host's user namespace");
}

/// The table of workloads, by host, container that fits, container that does not.
#[test]
fn workloads() {
    let container = |label: &str, name: &str| Process {
        container: Some(Container {
            name: name.into(),
            namespace: "default".into(),
            labels: [("app".to_owned(), label.to_owned())].into(),
            ..Container::default()
        }),
        ..Process::default()
    };
    let processes = [Process::default(), container("x", "y"), container("x", "z"), container("w", "y")];
    let pods = "podSelector: {matchLabels: {app: x}}";
    let containers = "containerSelector: {matchExpressions: [{key: name, operator: In, values: [y]}]}";
    for (fields, expected) in [
        ("loader: false".to_owned(), [true, true, true, true]),
        ("podSelector: {}\ncontainerSelector: {}\nhostSelector: {}".into(), [true, true, true, true]),
        (pods.into(), [false, true, true, false]),
        (containers.into(), [false, true, false, true]),
        (format!("{pods}\n{containers}"), [false, true, false, false]),
        ("hostSelector: {}".into(), [true, false, false, false]),
        (format!("{pods}\nhostSelector: {{}}"), [true, true, true, false]),
        ("podSelector: {}".into(), [false, true, true, true]),
        (
            "podSelector: {matchLabels: {'k8s:io.kubernetes.pod.namespace': default}}".into(),
            [false, true, true, true],
        ),
        (
            "podSelector: {matchExpressions: [{key: app, operator: NotIn, values: [x]}]}".into(),
            [false, false, false, true],
        ),
    ] {
        let text = with_spec(&format!("{fields}\nkprobes: [{{call: sys_read}}]"));
        let policy = accepted(&text);
        let found = processes.clone().map(|process| workload::applies(&policy, &process));
        assert_eq!(found, expected, "{fields}");
        let namespaced = text.replace("kind: TracingPolicy", "kind: TracingPolicyNamespaced");
        if !fields.contains("hostSelector") {
            let policy = accepted(&namespaced);
            assert!(!workload::applies(&policy, &processes[0]), "the host is no pod of a namespace");
            let other = accepted(&namespaced.replace("  name: x", "  name: x\n  namespace: other"));
            assert!(!workload::applies(&other, &processes[1]), "a pod of another namespace");
        }
    }
}

#[test]
fn returns() {
    let policy = accepted(&with_hook(
        "return: true\nreturnArg: {index: 0, type: int}\nargs: [{index: 0, type: int}]\nselectors:\n\
         - matchArgs: [{operator: Equal, values: ['1']}]\n\
         \x20 matchReturnArgs: [{operator: LT, values: ['0']}]\n  matchReturnActions: [{action: Sigkill}]\n\
         - matchArgs: [{operator: Equal, values: ['2']}]\n  matchActions: [{action: Override, argError: -1}]\n\
         \x20 matchReturnArgs: [{operator: Equal, values: ['5']}]\n",
    ));
    let decide = |number, returned| {
        let event = Event { values: vec![Value::Integer(number)], returned, ..Event::default() };
        let decision = Matcher::new(&policy).decide(hook(&policy), &event);
        (decision.posts, decision.at_return.map(|at_return| at_return.actions.len()))
    };
    let returned = |number| Some(Value::Integer(number));
    assert_eq!(decide(1, returned(-9)), (true, Some(1)));
    assert_eq!(decide(1, returned(0)), (false, Some(0)));
    assert_eq!(decide(1, None), (true, None));
    assert_eq!(decide(2, returned(0)), (true, None), "an overridden call does not return");
    assert_eq!(decide(3, returned(-9)), (false, None), "the return is not armed");
}

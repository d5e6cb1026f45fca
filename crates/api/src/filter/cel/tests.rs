use std::sync::Arc;

use super::*;
use crate::event::{
    Argument, ArgumentValue, Event, EventKind, ExecEvent, HookEvent, HookInfo, Node, Object, ObjectKind,
    Process, ProcessView, Seldom, Timestamp,
};
use crate::tetragon;
use crate::tetragon::kprobe_argument::Arg;

fn view(process: Process) -> ProcessView {
    ProcessView { process: Arc::new(process), refcnt: 1 }
}

fn process() -> Process {
    let labels = [("app".to_owned(), "web".to_owned()), ("tier".to_owned(), "front".to_owned())].into();
    let pod = tetragon::Pod { name: "web-0".into(), pod_labels: labels, ..tetragon::Pod::default() };
    Process {
        exec_id: "abc".into(),
        pid: 1001,
        uid: 0,
        binary: "/usr/bin/curl".into(),
        arguments: "-s https://example.org".into(),
        flags: "execve".into(),
        start_time: Timestamp(1_795_422_600_000_000_000),
        pod: Some(Arc::new(pod)),
        ..Process::default()
    }
}

fn event(kind: EventKind) -> Event {
    Event { time: Timestamp(1), node: Arc::new(Node::default()), kind }
}

fn exec() -> Event {
    event(EventKind::Exec(ExecEvent { process: view(process()), parent: None, ancestors: Vec::new() }))
}

fn kprobe() -> Event {
    let object = Object {
        kind: ObjectKind::File,
        path: "/etc/shadow".into(),
        cut: false,
        unreachable: false,
        mode: 0o100_644,
        inode: 7,
        device: (8, 1),
    };
    let sock =
        tetragon::KprobeSock { daddr: "10.1.2.3".into(), dport: 443, ..tetragon::KprobeSock::default() };
    let args = [
        ArgumentValue::Object(object),
        ArgumentValue::Int(-5),
        ArgumentValue::Other(Box::new(Arg::SockArg(sock))),
    ];
    event(EventKind::Hook(HookEvent {
        process: view(process()),
        parent: None,
        caller: crate::event::Caller::default(),
        hook: Arc::new(HookInfo {
            policy: "files".into(),
            tags: vec!["a".into(), "b".into()],
            ..HookInfo::default()
        }),
        function: "security_file_open".into(),
        args: args.into_iter().map(|value| Argument { value, label: None }).collect(),
        more: Seldom::default(),
        result: None,
        action: 3,
        return_action: 0,
        selector: None,
        repeats: 0,
        cgroup_id: 0,
        entry_missing: false,
        socket_owner: false,
        workload_undecided: false,
    }))
}

fn matches(text: &str, event: &Event) -> bool {
    let expression = Expression::compile(text).unwrap_or_else(|mistake| panic!("{text}: {mistake:?}"));
    let passes = expression.matches(&EventView::from(event));
    let message = tetragon::GetEventsResponse::from(event);
    assert_eq!(expression.matches(&EventView::from(&message)), passes, "as a message: {text}");
    passes
}

#[test]
fn fields_of_events_are_looked_at() {
    for (text, expected) in [
        (r#"process_exec.process.binary == "/usr/bin/curl""#, true),
        ("process_exec.process.pid == 1001u", true),
        ("process_exec.process.pid == 1001", true),
        ("process_exec.process.pid > 1000 && process_exec.process.uid == 0u", true),
        ("process_exec.process.pid in [1u, 1001u]", true),
        ("process_exec.process.pid in [1, 2]", false),
        (r#"process_exec.process.arguments.matches("https?://[a-z.]+")"#, true),
        (r#"matches(process_exec.process.arguments, "^x")"#, false),
        (
            r#"process_exec.process.binary.startsWith("/usr") && !process_exec.process.binary.endsWith("x")"#,
            true,
        ),
        (r#"process_exec.process.pod.pod_labels["app"] == "web""#, true),
        (r#"process_exec.process.pod.pod_labels.tier == "front""#, true),
        (
            r#""app" in process_exec.process.pod.pod_labels && size(process_exec.process.pod.pod_labels) == 2"#,
            true,
        ),
        ("has(process_exec.process.pod.pod_labels.none)", false),
        (r#"process_exec.process.pod.pod_labels["none"] == "x""#, false),
        ("has(process_exec.parent)", false),
        // What is not set has its default, and what is wrapped is null.
        (r#"process_exec.parent.binary == """#, true),
        ("process_exec.parent.pid == null", true),
        ("process_exec.parent.pid > 0", false),
        ("process_exec.process.in_init_tree == null || process_exec.process.in_init_tree", true),
        (r#"process_exec.process.start_time > timestamp("2026-11-23T08:00:00Z")"#, true),
        (r#"process_exec.process.start_time - timestamp("2026-11-23T08:00:00Z") == duration("30m")"#, true),
        // Of another kind nothing is known.
        ("process_exit.process.pid == 1001u", false),
        ("!has(process_exit.parent) && process_exec.process.pid == 1001u", false),
        ("process_exit.process.pid == 1u || process_exec.process.pid == 1001u", true),
    ] {
        assert_eq!(matches(text, &exec()), expected, "{text}");
    }
    for (text, expected) in [
        (r#"process_kprobe.args[0].file_arg.path.startsWith("/etc/")"#, true),
        (r#"process_kprobe.args.exists(a, a.file_arg.path == "/etc/shadow")"#, true),
        ("process_kprobe.args.exists(a, has(a.sock_arg) && a.sock_arg.dport == 443u)", true),
        ("process_kprobe.args.all(a, has(a.file_arg))", false),
        ("process_kprobe.args.exists_one(a, has(a.int_arg) && a.int_arg < 0)", true),
        ("process_kprobe.args.filter(a, has(a.file_arg)).size() == 1", true),
        (r#"process_kprobe.args.map(a, a.sock_arg.daddr)[2] == "10.1.2.3""#, true),
        (r#"process_kprobe.args.map(a, has(a.file_arg), a.file_arg.path) == ["/etc/shadow"]"#, true),
        (r#"cidr("10.0.0.0/8").containsIP(process_kprobe.args[2].sock_arg.daddr)"#, true),
        (r#"ip(process_kprobe.args[2].sock_arg.daddr).isGlobalUnicast()"#, true),
        ("process_kprobe.args[9].int_arg == 0", false),
        ("process_kprobe.action == tetragon.KprobeAction.KPROBE_ACTION_SIGKILL", true),
        (r#"process_kprobe.policy_name == "files" && "b" in process_kprobe.tags"#, true),
        (r#"process_exec.process.pid == 1u || process_kprobe.function_name == "security_file_open""#, true),
    ] {
        assert_eq!(matches(text, &kprobe()), expected, "{text}");
    }
}

#[test]
fn the_language_is_that_of_its_definition() {
    for (text, expected) in [
        ("1 + 2 * 3 == 7 && (1 + 2) * 3 == 9 && 7 - 2 - 1 == 4", true),
        ("7 / 2 == 3 && -7 / 2 == -3 && -7 % 2 == -1 && 7u % 4u == 3u", true),
        ("-9223372036854775808 < 0 && 0xff == 255 && 1.5e3 == 1500.0 && 18446744073709551615u > 1u", true),
        ("9223372036854775807 + 1 > 0", false),
        ("1 / 0 == 1 || true", true),
        ("1 / 0 == 1 && false || true", true),
        ("true ? 1 == 1 : 1 / 0 == 1", true),
        ("1u == 1 && 1.0 == 1 && 2.5 > 2u && -1 < 0u", true),
        ("[1, 2] + [3] == [1, 2, 3] && {'a': 1}['a'] == 1 && {'a': 1}.a == 1 && 'a' in {'a': 1}", true),
        (r#""a" + 'b' == "ab" && "\x41\u00e9\101\t" == "AéA\u0009""#, true),
        ("r'a\\b'.size() == 3 && 'é'.size() == 1 && b'é'.size() == 2 && '''a'b'''.size() == 3", true),
        (
            "int('12') == 12 && uint(3) == 3u && double('1.5') == 1.5 && string(7u) == '7' && int(3.9) == 3",
            true,
        ),
        ("bool('true') && bytes('ab') == b'ab' && string(b'ab') == 'ab' && dyn(1) == 1", true),
        ("duration('1h30m') == duration('90m') && duration('-1.5s') < duration('0')", true),
        (
            "timestamp(0) + duration('1s') == timestamp('1970-01-01T00:00:01Z') && int(timestamp(5)) == 5",
            true,
        ),
        (
            "[1, 2, 3].all(x, x > 0) && [1, 2].exists(x, [2, 3].exists(y, x == y)) && ![].exists(x, x == 1)",
            true,
        ),
        ("[0, 2].exists(x, 4 / x == 2) && ![0, 2].all(x, 4 / x == 3)", true),
        ("{'a': 1, 'b': 2}.exists(k, k == 'b')", true),
        ("isIP('::1') && !isIP('::ffff:1.2.3.4') && !isIP('1.2.3') && ip('::1').isLoopback()", true),
        (
            "ip('fe80::1').isLinkLocalUnicast() && ip('224.0.0.1').isLinkLocalMulticast() && ip('::').isUnspecified()",
            true,
        ),
        (
            "ip('1.2.3.4').family() == 4 && string(ip('2001:DB8::1')) == '2001:db8::1' && !ip.isCanonical('2001:DB8::1')",
            true,
        ),
        (
            "cidr('10.1.0.0/16').containsCIDR('10.1.2.0/24') && !cidr('10.1.0.0/16').containsCIDR(cidr('10.0.0.0/8'))",
            true,
        ),
        (
            "cidr('10.1.2.3/16').masked() == cidr('10.1.0.0/16') && cidr('::/0').prefixLength() == 0 && cidr('::/0').containsIP(ip('::1'))",
            true,
        ),
        (
            "isCIDR('10.0.0.0/32') && !isCIDR('10.0.0.0/33') && !isCIDR('10.0.0.0/08') && cidr('10.0.0.1/8').ip() == ip('10.0.0.1')",
            true,
        ),
        ("string(cidr('10.0.0.0/8')) == '10.0.0.0/8' && !cidr('10.0.0.0/8').containsIP('::1')", true),
        ("ip('nonsense').isLoopback()", false),
        ("0.0 / 0.0 < 1.0 || 0.0 / 0.0 == 0.0 / 0.0", false),
    ] {
        let text = format!("process_exec.process.pid == 1001u && ({text})");
        assert_eq!(matches(&text, &exec()), expected, "{text}");
    }
    assert!(matches("process_exec.process.pid == 1001u // not a part", &exec()));
}

#[test]
fn mistakes_are_told_with_their_byte() {
    for (text, at, reason) in [
        ("", 0, "a value is expected"),
        ("process_exec.process.pid ==", 27, "a value is expected"),
        ("process_exec.process.pid == 1u)", 30, "should end here"),
        ("process_exec.proces.pid == 1u", 13, "tetragon.ProcessExec has no field \"proces\""),
        ("process_exec.process.pid", 21, "the result is no bool but uint or null"),
        ("true", 0, "mentions no kind of event"),
        ("proc.pid == 1", 0, "there is no variable \"proc\""),
        ("process_exec.process.binary == 1", 21, "there is no string == int"),
        ("process_exec.process.pid + 1 == 2u", 21, "there is no uint + int; use int()"),
        ("process_exec.process.binary.startswith('x')", 28, "there is no function string.startswith(string)"),
        ("process_exec.process.binary.startsWith(1)", 28, "there is no string.startsWith(int)"),
        ("process_exec.process.binary.matches('(')", 36, "bad regular expression"),
        ("process_exec.process.binary.matches(process_exec.process.cwd)", 57, "must be written out"),
        ("process_exec.process.pid && true", 21, "a bool is expected here, not uint or null"),
        ("process_exec.process.binary == 'x", 31, "has no end"),
        ("process_exec.process.binary == '\\q'", 32, "no such escape"),
        ("process_exec.process.pid == 99999999999999999999", 28, "does not fit"),
        ("process_exec.process.pid == 9223372036854775808", 28, "write u behind it"),
        ("process_exec.process.pid # 1", 25, "'#' has no meaning"),
        ("process_kprobe.args.exists(a)", 20, "takes a variable"),
        ("process_kprobe.args.exists(1, true)", 27, "name of a variable"),
        ("process_exec.process.pid.exists(a, true)", 21, "has no elements"),
        ("process_kprobe.args['x'] == null", 20, "string is no index"),
        ("has(process_exec)", 0, "`has` takes a field"),
        ("process_kprobe.action == tetragon.KprobeAction.NONE", 47, "has no value NONE"),
        ("process_exec.process.pid = 1u", 25, "should end here"),
    ] {
        let mistake = Expression::compile(text).unwrap_err();
        assert!(mistake.reason.contains(reason), "{text}: {mistake:?}");
        assert_eq!(mistake.at, at, "{text}: {mistake:?}");
    }
    let deep = format!("{}true{}", "(".repeat(1_000), ")".repeat(1_000));
    assert!(Expression::compile(&deep).unwrap_err().reason.contains("nested"));
    let deep = format!("{}process_exec.process.pid == 1u", "!".repeat(1_000));
    assert!(Expression::compile(&deep).unwrap_err().reason.contains("nested"));
    let deep = format!("process_exec.process.pid == 1u{}", " + 1u".repeat(1_000));
    assert!(Expression::compile(&deep).unwrap_err().reason.contains("nested"));
    let wide = format!("process_exec.process.pid == 1001u{}", " || false".repeat(1_000));
    assert!(matches(&wide, &exec()), "parts that stand beside each other are not nested");
    assert!(Expression::compile(&" ".repeat(20_000)).unwrap_err().reason.contains("bytes at most"));
}

#[test]
fn evaluation_is_bounded() {
    let list = format!("[{}]", vec!["1"; 100].join(","));
    let slow = format!(
        "process_exec.process.pid > 0 && {list}.all(a, {list}.all(b, {list}.all(c, a == b + c - 1)))"
    );
    let expression = Expression::compile(&slow).unwrap();
    let event = exec();
    let view = EventView::from(&event);
    assert_eq!(eval::evaluate(&expression.root, view.dynamic()), Err(eval::Failure::Steps));
    assert!(!expression.matches(&view));
    assert_eq!(expression.failures.load(Ordering::Relaxed), 1);
    // Doubling a text again and again.
    let doubled = (0..40).fold("['aaaaaaaa']".to_owned(), |text, _| format!("{text}.map(x, x + x)"));
    let growing = format!("{doubled}.size() == 1 && process_exec.process.pid > 0");
    let expression = Expression::compile(&growing).unwrap();
    assert_eq!(eval::evaluate(&expression.root, view.dynamic()), Err(eval::Failure::Steps));
}

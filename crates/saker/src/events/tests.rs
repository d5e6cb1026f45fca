use std::io::Write as _;

use clap::Parser;
use saker_api::tetragon::{EventType, FieldFilterAction};

use super::*;

#[derive(Parser)]
struct Line {
    #[command(flatten)]
    args: EventsArgs,
}

fn args(line: &[&str]) -> EventsArgs {
    Line::try_parse_from(std::iter::once("events").chain(line.iter().copied())).unwrap().args
}

#[test]
fn flags_become_one_filter() {
    let request = request::request(&args(&[
        "-e",
        "exec,PROCESS_EXIT,kprobe",
        "--policy-names",
        "files,net",
        "--pid",
        "1,2",
        "--process",
        "^/bin",
        "--parent",
        "sh$",
        "-F",
        "parent",
        "-n",
        "3",
    ]))
    .unwrap();
    let [filter] = request.allow_list.as_slice() else { panic!("{request:?}") };
    let types = [EventType::ProcessExec, EventType::ProcessExit, EventType::ProcessKprobe];
    assert_eq!(filter.event_set, types.map(i32::from));
    assert_eq!(filter.policy_names, ["files", "net"]);
    assert_eq!(filter.pid, [1, 2]);
    assert_eq!((&filter.binary_regex[0][..], &filter.parent_binary_regex[0][..]), ("^/bin", "sh$"));
    assert_eq!(request.field_filters[0].action(), FieldFilterAction::Exclude);
    assert!(request::request(&args(&[])).unwrap().allow_list.is_empty());
}

#[test]
fn mistakes_are_told() {
    let error = |line: &[&str]| format!("{:#}", request::request(&args(line)).unwrap_err());
    assert!(error(&["-e", "nonsense"]).contains("no event type `nonsense`"));
    assert!(error(&["--process", "("]).contains("allow_list[0].binary_regex[0]: bad regular expression"));
    assert!(Line::try_parse_from(["events", "-n", "0"]).is_err());
    assert!(Line::try_parse_from(["events", "--pid", "x"]).is_err());
}

#[test]
fn lines_of_a_file_are_filtered_and_counted() {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    let line = |pid: u32| {
        format!(
            "{{\"process_exec\":{{\"process\":{{\"pid\":{pid},\"binary\":\"/bin/x\"}}}},\"node_name\":\"n\"}}\n"
        )
    };
    file.write_all(format!("{}\n{}{}", line(1), line(2), line(3).trim_end()).as_bytes()).unwrap();
    let path = file.path().to_str().unwrap();
    let arguments = args(&[path, "--pid", "2,3"]);
    let request = request::request(&arguments).unwrap();
    let mut printer = Printer::new(&args(&["-n", "5"]));
    let input = lines::input(&arguments).unwrap().unwrap();
    lines::run(&arguments, input, (&request, Times::default()), &mut printer).unwrap();
    assert_eq!(printer.left, Some(3));

    file.write_all(b"\nnot json\n").unwrap();
    let input = lines::input(&arguments).unwrap().unwrap();
    let error =
        lines::run(&arguments, input, (&request, Times::default()), &mut printer).unwrap_err().to_string();
    assert!(error.contains("1 of 5 lines"), "{error}");
}

#[test]
fn all_fields_of_a_filter_have_flags() {
    let request = request::request(&args(&[
        "--namespace",
        "shop,bank",
        "--host",
        "--namespace-regex",
        "^s",
        "--pod",
        "web",
        "--label",
        "app in (a,b)",
        "--container",
        "nginx",
        "--container-id",
        "^0",
        "--cel-expression",
        "process_exec.process.pid in [1u,2u]",
        "--ancestor",
        "sshd",
        "--parent-arguments",
        "x",
        "--arguments",
        "y",
        "--health-check",
        "false",
        "--in-init-tree",
        "true",
        "--pid-set",
        "7",
        "--deny-list",
        r#"{"pid":[1]} {"namespace":["x"]}"#,
        "--aggregate",
        "30s",
        "--rate-limit",
        "100",
    ]))
    .unwrap();
    let [filter] = request.allow_list.as_slice() else { panic!("{request:?}") };
    assert_eq!(filter.namespace, ["shop", "bank", ""]);
    assert_eq!((&filter.namespace_regex[0][..], &filter.pod_regex[0][..]), ("^s", "web"));
    assert_eq!((&filter.labels[0][..], &filter.container_id[0][..]), ("app in (a,b)", "^0"));
    assert_eq!(filter.container_name_regex, ["nginx"]);
    assert_eq!(filter.cel_expression, ["process_exec.process.pid in [1u,2u]"]);
    assert_eq!((filter.health_check, filter.in_init_tree), (Some(false), Some(true)));
    assert_eq!((&filter.ancestor_binary_regex[0][..], &filter.parent_arguments_regex[0][..]), ("sshd", "x"));
    assert_eq!((filter.pid_set.as_slice(), filter.arguments_regex[0].as_str()), ([7].as_slice(), "y"));
    assert_eq!((request.deny_list.len(), request.rate_limit), (2, Some(100)));
    let window = request.aggregation_options.unwrap().window_size.unwrap();
    assert_eq!((window.seconds, window.nanos), (30, 0));

    let allowed = request::request(&args(&["--allow-list", r#"{"pid":[1]}{"pid":[2]}"#])).unwrap();
    assert_eq!(allowed.allow_list.len(), 2);
    for (line, expected) in [
        (&["--allow-list", "{}", "--pid", "1"][..], "cannot be given together"),
        (&["--deny-list", "{\"x\":1}"], "--deny-list: filter number 1, line 1"),
        (&["--aggregate", "soon"], "--aggregate"),
        (&["--aggregate", "0"], "needs some time"),
    ] {
        let error = format!("{:#}", request::request(&args(line)).unwrap_err());
        assert!(error.contains(expected), "{line:?}: {error}");
    }
}

#[test]
fn bad_expressions_are_told_with_their_place() {
    for (line, expected) in [
        (
            ["--cel-expression", "process_exec.process.pid == 'x'"],
            "allow_list[0].cel_expression[0]: bad expression \"process_exec.process.pid == 'x'\" at byte 21",
        ),
        (["--label", "a in b"], "allow_list[0].labels[0]: bad label selector \"a in b\" at byte 5"),
        (["-F", "process.binari"], "field_filters[0].fields: no event has a field \"process.binari\""),
    ] {
        let arguments = args(&[&["/dev/null"][..], &line].concat());
        let error = run(&arguments).unwrap_err();
        assert!(error.to_string().contains(expected), "{error}");
        assert!(error.is::<Usage>());
    }
}

#[test]
fn times_are_points_or_how_long_ago() {
    let times = |line: &[&str]| Times::of(&args(line)).map_err(|error| format!("{error:#}"));
    let event = |seconds| {
        let time = Some(prost_types::Timestamp { seconds, nanos: 5 });
        let response = saker_api::tetragon::GetEventsResponse { time, ..Default::default() };
        Event { event: Some(response), ..Event::default() }
    };
    let hour = times(&["--since", "2026-05-04T12:00:00Z", "--until", "2026-05-04T13:00:00Z"]).unwrap();
    let noon = 1_777_896_000;
    for (seconds, expected) in [(noon - 1, false), (noon, true), (noon + 3_599, true), (noon + 3_600, false)]
    {
        assert_eq!(hour.hold(&event(seconds)), expected, "{seconds}");
    }
    assert!(!hour.hold(&Event::default()) && Times::default().hold(&Event::default()));
    let now = i64::try_from(std::time::UNIX_EPOCH.elapsed().unwrap().as_secs()).unwrap();
    let recent = times(&["--since", "1h30m"]).unwrap();
    assert!(recent.hold(&event(now)) && !recent.hold(&event(now - 6_000)));
    assert!(times(&["--since", "yesterday"]).unwrap_err().contains("neither a time"));
    assert!(times(&["--since", "1m", "--until", "2m"]).unwrap_err().contains("later than"));
}

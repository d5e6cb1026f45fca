//! What filters let through, and what they refuse.

use std::sync::Arc;

use crate::samples;
use saker_api::event::{Credentials, Event, EventKind, ExecEvent, Node, Process, Timestamp};
use saker_api::filter::{
    FilterError, Filters, Offered, Place, Subscription, parse_field_filters, parse_filters,
};
use saker_api::tetragon::{self, EventType, GetEventsRequest, get_events_response};
use saker_api::{filter, saker_v1};

fn everything() -> Offered {
    Offered::everything()
}

fn filters(allow: &str, deny: &str) -> Result<Filters, FilterError> {
    Filters::compile(&parse_filters(allow)?, &parse_filters(deny)?, &everything())
}

fn allows(allow: &str, event: &Event) -> bool {
    let compiled = filters(allow, "").unwrap();
    let passes = compiled.passes(event);
    let message = tetragon::GetEventsResponse::from(event);
    assert_eq!(filters(allow, "").unwrap().passes_message(&message), passes, "as a message: {allow}");
    let ours = saker_v1::Event::from(event);
    assert_eq!(filters(allow, "").unwrap().passes_received(&ours), passes, "as our message: {allow}");
    passes
}

/// curl, run by bash, with an ancestor sshd.
fn exec() -> Event {
    let creds = Credentials { cap_permitted: 0b110, cap_effective: 0b010, ..Credentials::default() };
    let process = Process {
        docker: "0123456789abcdef".into(),
        in_init_tree: Some(true),
        creds: Some(Box::new(creds)),
        visible: saker_api::event::Visible { credentials: true, ..Default::default() },
        ..samples::curl()
    };
    let shell = Process { arguments: "--login".into(), ..samples::shell() };
    let sshd = Process { pid: 500, binary: "/usr/sbin/sshd".into(), ..Process::default() };
    event(ExecEvent {
        process: samples::view(process),
        parent: Some(samples::view(shell)),
        ancestors: vec![samples::view(sshd)],
    })
}

fn event(exec: ExecEvent) -> Event {
    let node = Arc::new(Node { name: "kestrel".to_owned(), ..Node::default() });
    Event { time: Timestamp(1), node, kind: EventKind::Exec(exec) }
}

#[test]
fn each_field_matches_what_it_names() {
    for (filter, expected) in [
        ("", true),
        ("{}", true),
        (r#"{"binary_regex":["curl$"]}"#, true),
        (r#"{"binary_regex":["^curl"]}"#, false),
        (r#"{"binary_regex":["^/sbin","/curl"]}"#, true),
        (r#"{"arguments_regex":["example\\.org"]}"#, true),
        (r#"{"arguments_regex":["example.com"]}"#, false),
        (r#"{"parent_binary_regex":["bash"]}"#, true),
        (r#"{"parent_binary_regex":["curl"]}"#, false),
        (r#"{"parent_arguments_regex":["^--login$"]}"#, true),
        (r#"{"parent_arguments_regex":["example"]}"#, false),
        (r#"{"ancestor_binary_regex":["sshd"]}"#, true),
        (r#"{"ancestor_binary_regex":["bash"]}"#, false),
        (r#"{"container_id":["^0123"]}"#, true),
        (r#"{"container_id":["^123"]}"#, false),
        (r#"{"pid":[1,1001]}"#, true),
        (r#"{"pid":[900]}"#, false),
        (r#"{"pid_set":[900]}"#, true),
        (r#"{"pid_set":[500]}"#, true),
        (r#"{"pid_set":[7]}"#, false),
        (r#"{"event_set":["PROCESS_EXEC"]}"#, true),
        (r#"{"event_set":["PROCESS_EXIT"]}"#, false),
        (r#"{"in_init_tree":true}"#, true),
        (r#"{"in_init_tree":false}"#, false),
        (r#"{"health_check":false}"#, true),
        (r#"{"health_check":true}"#, false),
        (r#"{"namespace":[""]}"#, true),
        (r#"{"namespace":["default"]}"#, false),
        (r#"{"namespace_regex":[".*"]}"#, false),
        (r#"{"pod_regex":[".*"]}"#, false),
        (r#"{"container_name_regex":[".*"]}"#, false),
        (r#"{"labels":["!x"]}"#, false),
        (r#"{"policy_names":[""]}"#, false),
        (r#"{"policy_names":["p"]}"#, false),
        (r#"{"capabilities":{"permitted":{"all":["DAC_OVERRIDE","CAP_DAC_READ_SEARCH"]}}}"#, true),
        (r#"{"capabilities":{"effective":{"all":["DAC_OVERRIDE","CAP_DAC_READ_SEARCH"]}}}"#, false),
        (r#"{"capabilities":{"effective":{"any":["DAC_OVERRIDE","CAP_DAC_READ_SEARCH"]}}}"#, true),
        (r#"{"capabilities":{"effective":{"exactly":["DAC_OVERRIDE"]}}}"#, true),
        (r#"{"capabilities":{"permitted":{"exactly":["DAC_OVERRIDE"]}}}"#, false),
        (r#"{"capabilities":{"inheritable":{"none":["CAP_CHOWN"]}}}"#, true),
        (r#"{"capabilities":{"effective":{"none":["DAC_OVERRIDE"]}}}"#, false),
    ] {
        assert_eq!(allows(filter, &exec()), expected, "{filter}");
    }
}

#[test]
fn events_of_policies_are_matched_by_policy_type_and_thread() {
    let samples = samples::all();
    let named =
        |name: &str| samples.iter().find(|(other, _)| *other == name).map(|(_, event)| event).unwrap();
    for (name, kind) in [
        ("kprobe", "PROCESS_KPROBE"),
        ("tracepoint", "PROCESS_TRACEPOINT"),
        ("uprobe", "PROCESS_UPROBE"),
        ("usdt", "PROCESS_USDT"),
        ("lsm", "PROCESS_LSM"),
    ] {
        let event = named(name);
        assert!(allows(&format!(r#"{{"event_set":["{kind}"]}}"#), event), "{name}");
        assert!(!allows(r#"{"event_set":["PROCESS_EXEC","PROCESS_LOADER"]}"#, event), "{name}");
        assert!(allows(r#"{"policy_names":["other","watch"]}"#, event), "{name}");
        assert!(!allows(r#"{"policy_names":["watc"]}"#, event), "{name}");
        assert!(
            allows(r#"{"binary_regex":["curl"],"parent_binary_regex":["bash"],"pid":[1001]}"#, event),
            "{name}"
        );
    }
    // Capabilities are those of the thread at the time, not those at the exec.
    let event = named("kprobe_everything");
    assert!(allows(r#"{"capabilities":{"effective":{"all":["CAP_SYS_ADMIN"]}}}"#, event));
    assert!(!allows(r#"{"capabilities":{"effective":{"none":["CAP_SYS_ADMIN"]}}}"#, event));
}

#[test]
fn field_filters_reach_into_arguments_and_our_fields_beside_them() {
    let samples = samples::all();
    let event =
        samples.iter().find(|(name, _)| *name == "kprobe_everything").map(|(_, event)| event).unwrap();
    let message = saker_v1::Event::from(event);
    let kept = fields(r#"{"fields":"args.label,args.inode,policy_name,repeats"}"#).apply_event(&message);
    let hook = kept.hook.unwrap();
    assert_eq!((hook.repeats, hook.cgroup_id, hook.selector, hook.args.len()), (9, 0, None, 2));
    assert_eq!((hook.args[0].inode, hook.args[0].device.as_str()), (77, ""));
    let Some(get_events_response::Event::ProcessKprobe(inner)) = kept.event.unwrap().event else {
        panic!("another kind")
    };
    assert_eq!(
        (inner.policy_name.as_str(), inner.function_name.as_str(), inner.process),
        ("watch", "", None)
    );
    assert_eq!((inner.args[0].label.as_str(), &inner.args[0].arg), ("opened", &None));
    let rest = fields(r#"{"fields":"args,process","action":"EXCLUDE"}"#).apply_event(&message);
    assert!(rest.process.is_none() && rest.parent.is_some());
    let hook = rest.hook.unwrap();
    assert_eq!((hook.repeats, hook.args.len(), hook.data.len()), (9, 0, 1));
}

#[test]
fn fields_are_anded_values_and_filters_ored() {
    let both = r#"{"binary_regex":["curl"],"pid":[1001]}"#;
    let one = r#"{"binary_regex":["curl"],"pid":[1]}"#;
    assert!(allows(both, &exec()));
    assert!(!allows(one, &exec()));
    assert!(allows(&format!("{one}\n{both}"), &exec()));
}

#[test]
fn deny_wins_over_allow() {
    let curl = r#"{"binary_regex":["curl"]}"#;
    assert!(!filters(curl, curl).unwrap().passes(&exec()));
    assert!(!filters("", curl).unwrap().passes(&exec()));
    assert!(filters("", r#"{"binary_regex":["wget"]}"#).unwrap().passes(&exec()));
    assert!(!filters("", "{}").unwrap().passes(&exec()));
}

#[test]
fn pods_of_messages_are_matched() {
    let mut message = tetragon::GetEventsResponse::from(&exec());
    let Some(get_events_response::Event::ProcessExec(exec)) = &mut message.event else { unreachable!() };
    exec.process.as_mut().unwrap().pod = Some(tetragon::Pod {
        namespace: "shop".to_owned(),
        name: "web-0".to_owned(),
        pod_labels: [("app".to_owned(), "web".to_owned())].into(),
        container: Some(tetragon::Container {
            name: "nginx".to_owned(),
            maybe_exec_probe: true,
            ..Default::default()
        }),
        ..Default::default()
    });
    for (filter, expected) in [
        (r#"{"namespace":["shop"]}"#, true),
        (r#"{"namespace":[""]}"#, false),
        (r#"{"namespace_regex":["^sh"]}"#, true),
        (r#"{"pod_regex":["^web-"]}"#, true),
        (r#"{"container_name_regex":["nginx"]}"#, true),
        (r#"{"labels":["app=db","app in (web)"]}"#, true),
        (r#"{"labels":["app!=web"]}"#, false),
        (r#"{"health_check":true}"#, true),
        (r#"{"health_check":false}"#, false),
    ] {
        assert_eq!(filters(filter, "").unwrap().passes_message(&message), expected, "{filter}");
    }
}

#[test]
fn an_event_without_a_process_meets_no_condition_on_one() {
    let throttle = tetragon::GetEventsResponse {
        event: Some(get_events_response::Event::ProcessThrottle(tetragon::ProcessThrottle::default())),
        ..Default::default()
    };
    for filter in [
        r#"{"in_init_tree":false}"#,
        r#"{"health_check":false}"#,
        r#"{"namespace":[""]}"#,
        r#"{"pid_set":[1]}"#,
        r#"{"binary_regex":[""]}"#,
        r#"{"capabilities":{"effective":{"none":["CAP_CHOWN"]}}}"#,
    ] {
        assert!(!filters(filter, "").unwrap().passes_message(&throttle), "{filter}");
    }
    assert!(filters(r#"{"event_set":["PROCESS_THROTTLE"]}"#, "").unwrap().passes_message(&throttle));
}

#[test]
fn descendants_stay_in_a_pid_set() {
    let child = |exec_id: &str, pid, parent: Process| {
        let process = Process {
            exec_id: exec_id.into(),
            pid,
            parent_exec_id: parent.exec_id.clone(),
            ..Process::default()
        };
        event(ExecEvent {
            process: samples::view(process),
            parent: Some(samples::view(parent)),
            ancestors: Vec::new(),
        })
    };
    let process = |exec_id: &str, pid, parent: &str| Process {
        exec_id: exec_id.into(),
        pid,
        parent_exec_id: parent.into(),
        ..Process::default()
    };
    let set = filters(r#"{"pid_set":[900]}"#, "").unwrap();
    assert!(!set.passes(&child("other", 30, process("stranger", 20, ""))), "not related");
    assert!(set.passes(&child("a", 31, samples::shell())), "child of the root");
    assert!(set.passes(&child("b", 32, process("a", 31, ""))), "grandchild");
    // The parent forked only: its own event never came, but it tells its parent.
    assert!(set.passes(&child("c", 33, process("forked", 40, "b"))), "across a fork without exec");
    // The same PID again is another process.
    assert!(!set.passes(&child("d", 34, process("later", 31, "stranger"))), "a reused PID");
    // Events that the filter leaves out teach it too.
    let exits =
        filters(r#"{"event_set":["PROCESS_EXIT"]} {"pid_set":[900],"event_set":["PROCESS_LSM"]}"#, "");
    let exits = exits.unwrap();
    assert!(!exits.passes(&child("a", 31, samples::shell())));
    let mut later = tetragon::GetEventsResponse::from(&child("b", 32, process("a", 31, "")));
    let Some(get_events_response::Event::ProcessExec(exec)) = later.event else { unreachable!() };
    let (process_of, parent) = (exec.process, exec.parent);
    let hook = tetragon::ProcessLsm { process: process_of, parent, ..Default::default() };
    later.event = Some(get_events_response::Event::ProcessLsm(hook));
    assert!(exits.passes_message(&later));
    // The root is known by the id that its child tells.
    let root = filters(r#"{"pid_set":[900]}"#, "").unwrap();
    assert!(root.passes(&child("e", 35, process("forked", 41, &samples::shell().exec_id))));
}

#[test]
fn gaps_are_told_unless_denied_by_name() {
    let gap = samples::gap();
    for (allow, deny, ours, compatible) in [
        ("", "", true, false),
        (r#"{"binary_regex":["curl"]}"#, "", true, false),
        (r#"{"event_set":["PROCESS_EXEC"]}"#, "", true, false),
        ("", "{}", true, false),
        (r#"{"event_set":["RATE_LIMIT_INFO"]}"#, "", true, true),
        ("", r#"{"event_set":["RATE_LIMIT_INFO"]}"#, false, false),
        (r#"{"event_set":["RATE_LIMIT_INFO"]}"#, r#"{"event_set":["RATE_LIMIT_INFO"]}"#, false, false),
    ] {
        let compiled = filters(allow, deny).unwrap();
        assert_eq!(compiled.passes(&gap), ours, "ours: {allow} {deny}");
        let received = saker_v1::Event::from(&gap);
        assert_eq!(compiled.passes_received(&received), ours, "received: {allow} {deny}");
        assert_eq!(compiled.passes_compatible(&gap), compatible, "compatible: {allow} {deny}");
    }
}

#[test]
fn what_cannot_be_honoured_is_refused_with_its_place() {
    let nothing = Offered { credentials: false, pid_set: false, ancestors: vec![EventType::ProcessExec] };
    for (filter, offered, expected) in [
        (
            r#"{} {"binary_regex":["ok","a(b"]}"#,
            &everything(),
            r#"deny_list[1].binary_regex[1]: bad regular expression "a(b" at byte 1: unclosed group"#,
        ),
        (
            r#"{"cel_expression":["true","process_exec.process.pid == 1u && process_exec.x"]}"#,
            &everything(),
            "deny_list[0].cel_expression[0]: bad expression \"true\" at byte 0: it mentions no kind of event",
        ),
        (
            r#"{"labels":["a in b"]}"#,
            &everything(),
            r#"deny_list[0].labels[0]: bad label selector "a in b" at byte 5: a list in parentheses is expected here"#,
        ),
        (
            r#"{"capabilities":{"effective":{"any":["CAP_BPF"],"none":["CAP_CHOWN"]}}}"#,
            &everything(),
            "deny_list[0].capabilities.effective: exactly one of any, all, exactly, none must be given, not 2",
        ),
        (
            r#"{"capabilities":{"effective":{}}}"#,
            &everything(),
            "deny_list[0].capabilities.effective: exactly one of any, all, exactly, none must be given, not 0",
        ),
        (r#"{"event_set":[3]}"#, &everything(), "deny_list[0].event_set: 3 is not an event type"),
        (r#"{"capabilities":{}}"#, &nothing, "start it with --enable-process-cred"),
        (r#"{"pid_set":[1]}"#, &nothing, "start it with --enable-pid-set-filter"),
        (r#"{"ancestor_binary_regex":["x"]}"#, &nothing, "start it with --enable-ancestors"),
        (
            r#"{"ancestor_binary_regex":["x"],"event_set":["PROCESS_EXEC","PROCESS_LSM"]}"#,
            &nothing,
            "start it with --enable-ancestors",
        ),
    ] {
        let error = Filters::compile(&[], &parse_filters(filter).unwrap(), offered).unwrap_err().to_string();
        assert!(error.contains(expected), "{filter} gave {error:?}");
    }
    let of_exec = r#"{"ancestor_binary_regex":["x"],"event_set":["PROCESS_EXEC"]}"#;
    assert!(Filters::compile(&parse_filters(of_exec).unwrap(), &[], &nothing).is_ok());
}

#[test]
fn refusals_have_the_status_that_fits() {
    let place = Place { list: "allow_list", index: 0 };
    let status = |error: FilterError| tonic::Status::from(error).code();
    assert_eq!(status(FilterError::EventType { place, value: 3 }), tonic::Code::InvalidArgument);
    let option = "--enable-process-cred".to_owned();
    assert_eq!(
        status(FilterError::NotOffered { place, field: "capabilities", option }),
        tonic::Code::FailedPrecondition
    );
}

#[test]
fn expressions_that_would_take_too_much_memory_are_refused() {
    let error = filters(r#"{"binary_regex":["(\\w{1000}){1000}"]}"#, "").unwrap_err();
    assert!(matches!(error, FilterError::Regex { .. }), "{error}");
    let many = vec![tetragon::Filter::default(); 2_000];
    let error = Filters::compile(&many, &[], &everything()).unwrap_err();
    assert!(matches!(error, FilterError::TooMany { given: 2_000, .. }), "{error}");
}

fn fields(text: &str) -> filter::FieldFilters {
    filter::FieldFilters::compile(&parse_field_filters(text).unwrap()).unwrap()
}

fn exec_of(message: &tetragon::GetEventsResponse) -> &tetragon::ProcessExec {
    match &message.event {
        Some(get_events_response::Event::ProcessExec(exec)) => exec,
        other => panic!("an exec event is expected, not {other:?}"),
    }
}

#[test]
fn field_filters_keep_or_drop_fields_of_the_event_only() {
    let message = tetragon::GetEventsResponse::from(&exec());
    let kept = fields(r#"{"fields":"process.binary,process.pid,ancestors.binary"}"#).apply(&message);
    assert_eq!((kept.time, &kept.node_name), (message.time, &message.node_name));
    let process = tetragon::Process { binary: "/usr/bin/curl".into(), pid: Some(1001), ..Default::default() };
    let ancestor = tetragon::Process { binary: "/usr/sbin/sshd".into(), ..Default::default() };
    let expected = tetragon::ProcessExec { process: Some(process), parent: None, ancestors: vec![ancestor] };
    assert_eq!(exec_of(&kept), &expected);

    let dropped = fields(r#"{"fields":"parent,process.cap.permitted","action":"EXCLUDE"}"#).apply(&message);
    let mut expected = exec_of(&message).clone();
    expected.parent = None;
    expected.process.as_mut().unwrap().cap.as_mut().unwrap().permitted.clear();
    assert_eq!(exec_of(&dropped), &expected);
}

#[test]
fn field_filters_apply_in_order_and_to_their_event_types() {
    let message = tetragon::GetEventsResponse::from(&exec());
    let none = fields(r#"{"fields":"process","action":"EXCLUDE","event_set":["PROCESS_EXIT"]}"#);
    assert_eq!(none.apply(&message), message);
    let inverted = fields(
        r#"{"fields":"process","action":"EXCLUDE","event_set":["PROCESS_EXIT"],"invertEventSet":true}"#,
    );
    assert_eq!(exec_of(&inverted.apply(&message)).process, None);
    let both = fields(r#"{"fields":"process,parent"} {"fields":"process.pid","action":"EXCLUDE"}"#);
    let kept = both.apply(&message);
    assert_eq!(exec_of(&kept).process.as_ref().unwrap().pid, None);
    assert!(exec_of(&kept).parent.is_some() && exec_of(&kept).ancestors.is_empty());
}

#[test]
fn field_filters_know_our_names() {
    let mut message = saker_v1::Event::from(&exec());
    message.process.as_mut().unwrap().canonical_path = "/usr/bin/curl".to_owned();
    message.process.as_mut().unwrap().command = "curl".to_owned();
    let kept = fields(r#"{"fields":"process.binary,process.canonical_path"}"#).apply_event(&message);
    let extra = saker_v1::ProcessExtra { canonical_path: "/usr/bin/curl".to_owned(), ..Default::default() };
    assert_eq!((kept.process, kept.parent), (Some(extra), None));
    let binary = "/usr/bin/curl".to_owned();
    assert_eq!(
        exec_of(kept.event.as_ref().unwrap()).process,
        Some(tetragon::Process { binary, ..Default::default() })
    );
    let gap = saker_v1::Event::from(&samples::gap());
    assert_eq!(fields(r#"{"fields":"process.binary"}"#).apply_event(&gap), gap);
}

#[test]
fn field_filters_that_mean_nothing_are_refused() {
    for (text, expected) in [
        (r#"{"fields":"process.binari"}"#, r#"no event has a field "process.binari": there is no "binari""#),
        (r#"{"fields":"proces"}"#, r#"there is no "proces""#),
        (r#"{"fields":"process.binary.x"}"#, r#"there is no "x""#),
        (r#"{"fields":"process.pod.pod_labels.app"}"#, r#"there is no "app""#),
        (r#"{"fields":""}"#, "it names no fields"),
        (r#"{"fields":"process","event_set":[2]}"#, "2 is not an event type"),
    ] {
        let error =
            filter::FieldFilters::compile(&parse_field_filters(text).unwrap()).unwrap_err().to_string();
        assert!(error.contains(expected), "{text} gave {error:?}");
    }
}

#[test]
fn a_request_is_compiled_as_a_whole() {
    let request = GetEventsRequest {
        allow_list: parse_filters(r#"{"pid":[1001]}"#).unwrap(),
        aggregation_options: Some(tetragon::AggregationOptions::default()),
        field_filters: parse_field_filters(r#"{"fields":"process.pid"}"#).unwrap(),
        ..Default::default()
    };
    let subscription = Subscription::compile(&request, &everything()).unwrap();
    assert!(subscription.filters.passes(&exec()) && !subscription.fields.is_empty());
    assert!(subscription.fields.concern(&exec()) && !Subscription::default().fields.concern(&exec()));
    assert!(subscription.aggregation.is_some() && subscription.rate.is_none());
    let ours = saker_v1::GetEventsRequest { rate_limit: Some(7), ..request.into() };
    assert_eq!(Subscription::compile_own(ours, &everything()).unwrap().rate, Some(7));
    let backwards = tetragon::AggregationOptions {
        window_size: Some(prost_types::Duration { seconds: -1, nanos: 0 }),
        ..Default::default()
    };
    let request = GetEventsRequest { aggregation_options: Some(backwards), ..Default::default() };
    let error = Subscription::compile(&request, &everything()).unwrap_err().to_string();
    assert_eq!(error, "aggregation_options: the window must not be negative");
}

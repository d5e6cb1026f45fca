//! The same event gets the same verdict, be it seen as the model, as a message or as its JSON line.

use crate::{arbitrary, samples};
use proptest::prelude::*;
use saker_api::event::{Event, EventKind};
use saker_api::filter::{Filters, Offered, parse_filters};
use saker_api::{json, saker_v1, tetragon};

/// Filters of each field; some match often.
const FILTERS: [&str; 30] = [
    "{}",
    r#"{"event_set":["PROCESS_EXEC","PROCESS_KPROBE"]}"#,
    r#"{"event_set":["PROCESS_EXIT"]}"#,
    r#"{"binary_regex":["a","^/"]}"#,
    r#"{"arguments_regex":["[a-z]"]}"#,
    r#"{"parent_binary_regex":["[a-m]"]}"#,
    r#"{"parent_arguments_regex":["."]}"#,
    r#"{"ancestor_binary_regex":["[n-z]"]}"#,
    r#"{"container_id":["[0-9a]"]}"#,
    r#"{"container_name_regex":["."]}"#,
    r#"{"pod_regex":["."]}"#,
    r#"{"namespace":[""]}"#,
    r#"{"namespace_regex":["[a-z]"]}"#,
    r#"{"labels":["app","!tier"]}"#,
    r#"{"health_check":true}"#,
    r#"{"health_check":false}"#,
    r#"{"in_init_tree":true}"#,
    r#"{"in_init_tree":false}"#,
    r#"{"pid":[0,1,2,3,1001]}"#,
    r#"{"pid_set":[0,1,2,3,900]}"#,
    r#"{"policy_names":["watch","a"]}"#,
    r#"{"capabilities":{"effective":{"any":["CAP_SYS_ADMIN","CAP_CHOWN"]}}}"#,
    r#"{"capabilities":{"permitted":{"none":["CAP_KILL"]}}}"#,
    r#"{"cel_expression":["process_exec.process.pid > 1000u","process_kprobe.args.size() > 1"]}"#,
    r#"{"cel_expression":["process_exit.status == 0u && process_exit.signal == \"\""]}"#,
    r#"{"cel_expression":["process_kprobe.args.exists(a, has(a.string_arg) || a.int_arg < 0)"]}"#,
    r#"{"cel_expression":["process_lsm.process.binary.matches(\"[a-f]\") || process_usdt.args.all(a, a.label == \"\")"]}"#,
    r#"{"cel_expression":["process_exec.process.in_init_tree == null","process_tracepoint.subsys != \"x\""]}"#,
    r#"{"cel_expression":["process_exec.process.start_time > timestamp(0) && has(process_exec.parent)"]}"#,
    r#"{"cel_expression":["process_exec.process.pod.pod_labels.exists(k, k.size() > 2)"]}"#,
];

fn agree(event: &Event) {
    let mut out = Vec::new();
    json::write_event(event, &mut out);
    let line = json::parse_line(str::from_utf8(&out).unwrap()).unwrap();
    let ours = saker_v1::Event::from(event);
    // What is not shown cannot be found in a line; an agent refuses to filter by it.
    let shown = event.kind.processes().0.is_none_or(|view| view.process.visible.credentials);
    for text in FILTERS.iter().filter(|text| shown || !text.contains("capabilities")) {
        let compile =
            || Filters::compile(&parse_filters(text).unwrap(), &[], &Offered::everything()).unwrap();
        let expected = compile().passes(event);
        assert_eq!(compile().passes_received(&ours), expected, "as our message: {text}");
        assert_eq!(compile().passes_received(&line), expected, "as a line: {text}");
        if !matches!(event.kind, EventKind::Gap(_)) {
            let message = tetragon::GetEventsResponse::from(event);
            assert_eq!(compile().passes_message(&message), expected, "as a message: {text}");
        }
    }
}

#[test]
fn samples_get_the_same_verdict_in_all_forms() {
    for (_, event) in samples::all() {
        agree(&event);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]
    #[test]
    fn any_event_gets_the_same_verdict_in_all_forms(event in arbitrary::event()) {
        agree(&event);
    }
}

//! Any text is filters, field filters, redaction filters and an expression, or an error with a place within it; what is
//! accepted is applied to events without panic, and says the same of the model and of its message.

#![no_main]

use std::sync::{Arc, OnceLock};

use libfuzzer_sys::fuzz_target;
use saker_api::event::{ Seldom,
    Argument, ArgumentValue, Caller, Event, EventKind, ExecEvent, Family, HookEvent, HookInfo, Node, Process,
    ProcessView, Timestamp,
};
use saker_api::filter::{
    FieldFilters, FilterError, Filters, Offered, parse_field_filters, parse_filters, parse_redaction_filters,
};
use saker_api::redaction::Redaction;
use saker_api::{saker_v1, tetragon};

fn process() -> Process {
    Process {
        exec_id: "bm9kZToxMjM0NTo2Nzg=".into(),
        pid: 678,
        binary: "/usr/bin/curl".into(),
        arguments: "--password=a \"b c\" é".into(),
        environment: vec![("TOKEN".into(), "x=y".into()), ("EMPTY".into(), "".into())],
        pod: Some(Arc::new(tetragon::Pod {
            name: "web-0".into(),
            pod_labels: [("app".to_owned(), "web".to_owned())].into(),
            ..tetragon::Pod::default()
        })),
        ..Process::default()
    }
}

/// An execution and an event of a policy.
fn events() -> &'static [Event; 2] {
    static EVENTS: OnceLock<[Event; 2]> = OnceLock::new();
    EVENTS.get_or_init(|| {
        let view = || ProcessView { process: Arc::new(process()), refcnt: 1 };
        let exec = ExecEvent { process: view(), parent: Some(view()), ancestors: vec![view()] };
        let values = [ArgumentValue::Int(-1), ArgumentValue::Text("/etc/x".into(), false)];
        let hook = HookEvent {
            process: view(),
            parent: None,
            caller: Caller::default(),
            hook: Arc::new(HookInfo { policy: "p".into(), family: Family::Kprobe, ..HookInfo::default() }),
            function: "f".into(),
            args: values.into_iter().map(|value| Argument { value, label: None }).collect(),
            more: Seldom::default(),
            result: None,
            action: 1,
            return_action: 0,
            selector: Some(0),
            repeats: 0,
            cgroup_id: 0,
            entry_missing: false,
            socket_owner: false,
            workload_undecided: false,
        };
        let kinds = [EventKind::Exec(exec), EventKind::Hook(hook)];
        kinds.map(|kind| Event { time: Timestamp(1), node: Arc::new(Node::default()), kind })
    })
}

fn apply(filters: &[tetragon::Filter]) {
    let compile = || Filters::compile(filters, &[], &Offered::everything());
    match compile() {
        Ok(compiled) => {
            for event in events() {
                // Filters learn from events, so each form gets fresh ones.
                let again = compile().expect("compiled before");
                assert_eq!(compiled.passes(event), again.passes_received(&saker_v1::Event::from(event)));
            }
        }
        Err(FilterError::Expression { expression, offset, .. }) => assert!(offset <= expression.len().max(16 << 10)),
        Err(FilterError::Regex { pattern, offset, .. }) => assert!(offset <= pattern.len()),
        Err(_) => {}
    }
}

fuzz_target!(|bytes: &[u8]| {
    let Ok(text) = str::from_utf8(bytes) else { return };
    apply(&[tetragon::Filter { cel_expression: vec![text.to_owned()], ..tetragon::Filter::default() }]);
    if let Ok(filters) = parse_filters(text) {
        apply(&filters);
    }
    if let Ok(fields) = parse_field_filters(text).and_then(|list| FieldFilters::compile(&list)) {
        for event in events() {
            let message = saker_v1::Event::from(event);
            let kept = fields.apply_event(&message);
            assert_eq!(kept.event.map(|event| event.time), message.event.map(|event| event.time));
        }
    }
    if let Ok(redaction) = parse_redaction_filters(text).and_then(|list| Redaction::compile(&list)) {
        redaction.apply(&mut process());
    }
    // As an expression by itself, which hardly any text of JSON is.
    let one = tetragon::RedactionFilter { redact: vec![text.to_owned()], ..tetragon::RedactionFilter::default() };
    if let Ok(redaction) = Redaction::compile(&[one]) {
        let mut hidden = process();
        redaction.apply(&mut hidden);
        assert_eq!(hidden.environment.len(), 2);
    }
});

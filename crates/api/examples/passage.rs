//! What stands between an event and a receiver costs, in nanoseconds of CPU time for an event, its JSON line included: nothing,
//! filters, field filters, folding. And what its line or its protobuf bytes cost alone, by how much of it is there already:
//! the text of its process, and with [`Writer`] all of the line but values and time.
//!
//! `cargo run --release -p saker-api --example passage [EVENTS]`

use std::hint::black_box;
use std::sync::Arc;
use std::time::Duration;

use saker_api::event::{
    Argument, ArgumentValue, Caller, Event, EventKind, HookEvent, HookInfo, Node, Process, ProcessView,
    Seldom, Timestamp,
};
use saker_api::filter::{
    FieldFilters, FilterError, Filters, Offered, Subscription, parse_field_filters, parse_filters,
};
use saker_api::json::{self, Writer};
use saker_api::passage::{Aggregation, Audience, Form, Passage, Told, Verdict};
use saker_api::proto;
use saker_api::redaction::Redaction;
use saker_api::tetragon::RedactionFilter;

fn main() -> Result<(), FilterError> {
    let count = std::env::args().nth(1).and_then(|text| text.parse().ok()).unwrap_or(200_000);
    let filters = |text: &str| Filters::compile(&parse_filters(text)?, &[], &Offered::everything());
    let with = |text: &str| filters(text).map(|filters| Subscription { filters, ..Subscription::default() });
    let masked = FieldFilters::compile(&parse_field_filters(r#"{"fields":"parent","action":"EXCLUDE"}"#)?)?;
    let chosen = r#"{"fields":"process.exec_id,process.pid,process.binary,args","action":"INCLUDE"}"#;
    let chosen = FieldFilters::compile(&parse_field_filters(chosen)?)?;
    let other = r#"{"fields":"parent","action":"EXCLUDE","event_set":["PROCESS_EXIT"]}"#;
    let other = FieldFilters::compile(&parse_field_filters(other)?)?;
    for (what, subscription) in [
        ("nothing", Subscription::default()),
        ("pid", with(r#"{"pid":[1001]}"#)?),
        ("binary_regex", with(r#"{"binary_regex":["/usr/bin/.*gcc"]}"#)?),
        ("cel_expression", with(r#"{"cel_expression":["process_kprobe.process.pid == 1001u"]}"#)?),
        (
            "cel_expression on arguments",
            with(
                r#"{"cel_expression":["process_kprobe.args.exists(a, a.string_arg.startsWith(\"/home\"))"]}"#,
            )?,
        ),
        (
            "cel_expression of another kind, no match",
            with(r#"{"cel_expression":["process_exec.process.pid == 1u"]}"#)?,
        ),
        ("field filter, exclude", Subscription { fields: masked, ..Subscription::default() }),
        ("field filter, include", Subscription { fields: chosen, ..Subscription::default() }),
        ("field filter of another kind", Subscription { fields: other, ..Subscription::default() }),
        (
            "folding, nothing equal",
            Subscription { aggregation: Some(Aggregation::default()), ..Subscription::default() },
        ),
        ("rate limit", Subscription { rate: Some(u32::MAX), ..Subscription::default() }),
    ] {
        let events = events(count, false);
        println!("{what}: {:.0} ns", cost(subscription, &events));
    }
    let same = events(count, true);
    let folding = Subscription { aggregation: Some(Aggregation::default()), ..Subscription::default() };
    println!("folding, all equal: {:.0} ns", cost(folding, &same));

    let filter =
        RedactionFilter { redact: vec!["--password[= ](\\S+)".into()], ..RedactionFilter::default() };
    let redaction = Redaction::compile(&[filter])?;
    let mut process = process();
    let start = cpu_time();
    for _ in 0..count {
        redaction.apply(black_box(&mut process));
    }
    println!("redaction of a process, no match: {:.0} ns", per(start, count));
    encoding(count)
}

/// What an event costs as JSON and as protobuf.
fn encoding(count: u32) -> Result<(), FilterError> {
    let mut out = Vec::new();
    for (known, what) in [(false, "written anew"), (true, "known")] {
        let line = encode(count, known, |event| {
            out.clear();
            json::write_event(event, &mut out);
            black_box(&out);
        });
        let bytes = encode(count, known, |event| drop(black_box(proto::encode_response(event))));
        println!("process {what}: JSON line {line:.0} ns, protobuf {bytes:.0} ns");
    }
    let mut writer = Writer::default();
    let line = encode(count, true, |event| {
        out.clear();
        writer.write_event(event, &mut out);
        black_box(&out);
    });
    println!("all known but values and time: JSON line {line:.0} ns");
    let exclude = r#"{"fields":"parent","action":"EXCLUDE"}"#;
    let include = r#"{"fields":"process.exec_id,process.pid,process.binary,args","action":"INCLUDE"}"#;
    for (what, mask) in [("exclude", exclude), ("include", include)] {
        let fields = FieldFilters::compile(&parse_field_filters(mask)?)?;
        // As a client gets it: the bytes of the event are made once for all.
        let bytes = encode(count, true, |event| {
            let told = Told::Event { event, count: 1 };
            drop(black_box(told.encode(Form::Compatible, &fields, proto::encode_response)));
        });
        println!("field filter, {what}: protobuf {bytes:.0} ns");
    }
    Ok(())
}

/// Encodes events of one process, or each of a process whose text and bytes nobody has made yet; its parent's are there.
fn encode(count: u32, known: bool, mut write: impl FnMut(&Event)) -> f64 {
    const BATCH: u32 = 1_000;
    let mut spent = Duration::ZERO;
    let (mut warm, batches) = (Vec::new(), count.div_ceil(BATCH));
    for _ in 0..batches {
        let mut events = events(BATCH, false);
        let Some(Event { kind: EventKind::Hook(first), .. }) = events.first().map(|event| &**event) else {
            break;
        };
        let parent = first.parent.clone();
        // One process for all, and the parent's forms: by an event that does not count.
        json::write_event(&events[0], &mut warm);
        drop(black_box(proto::encode_response(&events[0])));
        warm.clear();
        if !known {
            for event in &mut events {
                let Some(Event { kind: EventKind::Hook(hook), .. }) = Arc::get_mut(event) else { continue };
                hook.process = ProcessView { process: Arc::new(process()), refcnt: 1 };
                hook.parent.clone_from(&parent);
            }
        }
        let start = cpu_time();
        events.iter().for_each(|event| write(event));
        spent += cpu_time().saturating_sub(start);
    }
    spent.as_secs_f64() * 1e9 / f64::from(batches * BATCH)
}

fn cost(subscription: Subscription, events: &[Arc<Event>]) -> f64 {
    let subscription = Arc::new(subscription);
    let mut passage = Passage::new(Arc::clone(&subscription), Audience::Export);
    let (mut writer, mut out) = (Writer::default(), Vec::new());
    let mut write = |told: &Told<'_>| {
        out.clear();
        told.write_json(&mut writer, &subscription.fields, &mut out);
        black_box(&out);
    };
    let start = cpu_time();
    for event in events {
        let now = passage.clock();
        while let Some(ready) = passage.next(now) {
            write(&ready.told());
        }
        if passage.take(event, now) == Verdict::Tell {
            write(&event.into());
        }
    }
    per(start, events.len() as u32)
}

fn per(start: Duration, count: u32) -> f64 {
    cpu_time().saturating_sub(start).as_secs_f64() * 1e9 / f64::from(count)
}

/// What this thread has used: what else the machine does is not in it.
fn cpu_time() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    Duration::try_from(time).unwrap_or_default()
}

fn process() -> Process {
    Process {
        exec_id: "a2VzdHJlbDoxMjM0NTY3ODkwMTI6MTAwMQ==".into(),
        pid: 1001,
        uid: 1000,
        cwd: "/home/ada/project".into(),
        binary: "/usr/bin/x86_64-linux-gnu-gcc-12".into(),
        arguments: "-c -O2 -Wall -I include -o build/main.o src/main.c".into(),
        flags: "execve clone".into(),
        start_time: Timestamp(1_795_422_600_123_000_000),
        ..Process::default()
    }
}

fn events(count: u32, same: bool) -> Vec<Arc<Event>> {
    let node = Arc::new(Node { name: "kestrel".to_owned(), ..Node::default() });
    let (process, parent) = (Arc::new(process()), Arc::new(self::process()));
    let hook = Arc::new(HookInfo { policy: "files".into(), ..HookInfo::default() });
    let view = |process: &Arc<Process>| ProcessView { process: Arc::clone(process), refcnt: 1 };
    let event = |index: u32| {
        let number = if same { 0 } else { index };
        let values =
            [ArgumentValue::Text(format!("/home/ada/project/{number}").into(), false), ArgumentValue::Int(4)];
        let hook = HookEvent {
            process: view(&process),
            parent: Some(view(&parent)),
            caller: Caller { tid: 1001, ..Caller::default() },
            hook: Arc::clone(&hook),
            function: "sys_openat".into(),
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
        let time = Timestamp(1_795_422_600_123_456_789 + u64::from(index));
        Arc::new(Event { time, node: Arc::clone(&node), kind: EventKind::Hook(hook) })
    };
    (0..count).map(event).collect()
}

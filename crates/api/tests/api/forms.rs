//! All forms of an event say the same: the hand-written JSON is canonical protobuf JSON, the joined bytes are
//! those of the types, and a line read back is the event it was written from.

use std::sync::Arc;

use crate::arbitrary;
use proptest::prelude::*;
use prost::Message;
use prost_reflect::{DescriptorPool, DynamicMessage, SerializeOptions};
use saker_api::compact::Compact;
use saker_api::event::{Event, EventKind, Node};
use saker_api::filter::{FieldFilters, Filters, Offered, parse_field_filters, parse_filters};
use saker_api::{FILE_DESCRIPTOR_SET, json, proto, saker_v1, tetragon};
use serde_json::Value;

const KINDS: [&str; 8] = [
    "process_exec",
    "process_exit",
    "process_kprobe",
    "process_tracepoint",
    "process_loader",
    "process_uprobe",
    "process_lsm",
    "process_usdt",
];

/// Canonical JSON by the descriptors, independent of the code under test.
fn canonical<M: Message>(name: &str, message: &M) -> Value {
    let pool = DescriptorPool::decode(FILE_DESCRIPTOR_SET).unwrap();
    let bytes = message.encode_to_vec();
    let dynamic = DynamicMessage::decode(pool.get_message_by_name(name).unwrap(), bytes.as_slice()).unwrap();
    let options = SerializeOptions::new().use_proto_field_name(true);
    dynamic.serialize_with_options(serde_json::value::Serializer, &options).unwrap()
}

fn line(event: &Event) -> Value {
    let mut out = Vec::new();
    json::write_event(event, &mut out);
    assert_eq!(out.pop(), Some(b'\n'), "a line ends with a newline");
    assert!(out.iter().all(|&byte| byte >= 0x20 && byte != 0x7f), "a line holds no control character");
    serde_json::from_str(str::from_utf8(&out).unwrap()).unwrap()
}

/// Our additions, which the reader of compatible lines does not know.
fn without_extras(mut line: Value) -> Value {
    let pool = DescriptorPool::decode(FILE_DESCRIPTOR_SET).unwrap();
    let names = |message: &str| -> Vec<String> {
        let message = pool.get_message_by_name(message).unwrap();
        message.fields().map(|field| field.name().to_owned()).collect()
    };
    let remove = |value: Option<&mut Value>, names: &[String]| {
        if let Some(Value::Object(object)) = value {
            names.iter().for_each(|name| drop(object.shift_remove(name)));
        }
    };
    let mut of_hooks = names("saker.v1.HookExtra");
    of_hooks.retain(|name| !["args", "data", "return"].contains(&name.as_str()));
    for kind in KINDS {
        let Some(inner) = line.get_mut(kind) else { continue };
        remove(inner.get_mut("process"), &names("saker.v1.ProcessExtra"));
        remove(inner.get_mut("parent"), &names("saker.v1.ProcessExtra"));
        for ancestor in inner.get_mut("ancestors").and_then(Value::as_array_mut).into_iter().flatten() {
            remove(Some(ancestor), &names("saker.v1.ProcessExtra"));
        }
        if kind.starts_with("process_ex") {
            remove(Some(inner), &names("saker.v1.ExitExtra"));
            continue;
        }
        remove(Some(inner), &of_hooks);
        remove(inner.get_mut("return"), &names("saker.v1.ArgumentExtra"));
        for list in ["args", "data"] {
            for argument in inner.get_mut(list).and_then(Value::as_array_mut).into_iter().flatten() {
                remove(Some(argument), &names("saker.v1.ArgumentExtra"));
            }
        }
    }
    line
}

fn shows_extras(event: &Event) -> bool {
    let (Some(process), parent, ancestors) = event.kind.processes() else { return true };
    std::iter::once(process).chain(parent).chain(ancestors).all(|view| view.process.visible.extras)
}

/// An event of a hook without what few have.
fn as_usual(mut event: Event) -> Event {
    if let EventKind::Hook(hook) = &mut event.kind {
        (hook.caller.creds, hook.caller.namespaces) = (None, None);
        hook.more.ancestors.clear();
        hook.more.kernel_stack.clear();
        hook.more.user_stack.clear();
        (hook.more.stack_missing, hook.more.return_missing) = ("", "");
        (hook.repeats, hook.entry_missing, hook.socket_owner) = (0, false, false);
    }
    event
}

/// Changes one of the things that make a line.
fn changed(event: &mut Event, change: u8) {
    let (time, node) = (&mut event.time, &mut event.node);
    let EventKind::Hook(hook) = &mut event.kind else { return };
    match change {
        1 => time.0 ^= 1_000,
        2 => *node = Arc::new(Node { name: "another".into(), ..(**node).clone() }),
        3 => hook.process.refcnt ^= 1,
        4 => hook.parent = None,
        5 => hook.parent.iter_mut().for_each(|parent| parent.refcnt ^= 1),
        6 => hook.caller.tid ^= 1,
        7 => hook.function = "another".into(),
        8 => hook.action ^= 1,
        9 => hook.return_action ^= 1,
        10 => hook.selector = hook.selector.map_or(Some(0), |_| None),
        11 => hook.cgroup_id ^= 1,
        12 => hook.repeats ^= 1,
        13 => drop(hook.args.pop()),
        14 => hook.result = None,
        15 => hook.entry_missing = !hook.entry_missing,
        _ => {}
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn lines_are_canonical_json(event in arbitrary::event()) {
        let mut expected = canonical("tetragon.GetEventsResponse", &tetragon::GetEventsResponse::from(&event));
        if let EventKind::Gap(_) = event.kind {
            let ours = saker_v1::Event::from(&event);
            let expected = expected.as_object_mut().unwrap();
            expected.shift_remove("rate_limit_info");
            expected.insert("gap".to_owned(), canonical("saker.v1.Gap", &ours.gap.unwrap()));
        }
        prop_assert_eq!(without_extras(line(&event)), expected);
    }

    #[test]
    fn bytes_are_those_of_the_types(event in arbitrary::event()) {
        // Twice: the second time from the bytes kept with the processes.
        for _ in 0..2 {
            let response = tetragon::GetEventsResponse::decode(proto::encode_response(&event)).unwrap();
            prop_assert_eq!(&response, &tetragon::GetEventsResponse::from(&event));
            let ours = saker_v1::Event::decode(proto::encode_event(&event)).unwrap();
            prop_assert_eq!(&ours, &saker_v1::Event::from(&event));
            prop_assert_eq!(ours.event.as_ref(), Some(&response));
        }
    }

    #[test]
    fn what_a_client_prints_is_what_the_agent_writes(event in arbitrary::event()) {
        prop_assume!(shows_extras(&event));
        let printed: Value = serde_json::from_str(&json::message_line(&saker_v1::Event::from(&event))).unwrap();
        prop_assert_eq!(printed, line(&event));
    }

    #[test]
    fn a_line_read_back_is_the_event(event in arbitrary::event()) {
        prop_assume!(shows_extras(&event));
        let mut out = Vec::new();
        json::write_event(&event, &mut out);
        let read = json::parse_line(str::from_utf8(&out).unwrap()).unwrap();
        let mut expected = saker_v1::Event::from(&event);
        // The line leaves the thread out, and an environment's or label's order is kept.
        if let Some(exit) = &mut expected.exit {
            exit.tid = 0;
        }
        prop_assert_eq!(read, expected);
    }

    #[test]
    fn a_writer_that_remembers_writes_the_same_lines(
        events in proptest::collection::vec(arbitrary::event(), 1..4),
        steps in proptest::collection::vec((any::<prop::sample::Index>(), 0..16u8), 1..40),
    ) {
        let usual: Vec<_> = events.iter().cloned().map(as_usual).collect();
        let events = [events, usual].concat();
        let mut writer = json::Writer::default();
        for (which, change) in steps {
            let mut event = which.get(&events).clone();
            changed(&mut event, change);
            let (mut expected, mut actual) = (Vec::new(), Vec::new());
            // Until it is remembered.
            for _ in 0..3 {
                json::write_event(&event, &mut expected);
                writer.write_event(&event, &mut actual);
            }
            prop_assert_eq!(String::from_utf8(actual), String::from_utf8(expected));
        }
    }

    #[test]
    fn a_compact_line_is_one_line_without_commands(event in arbitrary::event()) {
        let mut line = String::new();
        Compact { colors: false, timestamps: true, stacks: false }.write_event(&event, &mut line);
        prop_assert_eq!(line.pop(), Some('\n'));
        prop_assert!(!line.chars().any(char::is_control), "{:?}", line);
        let mut from_message = String::new();
        Compact { colors: false, timestamps: true, stacks: false }.write_message(&saker_v1::Event::from(&event), &mut from_message);
        prop_assert_eq!(from_message.trim_end_matches('\n'), line);
    }

    #[test]
    fn any_text_is_a_filter_or_an_error(text in arbitrary::text(), regex in arbitrary::text()) {
        let _ = parse_filters(&text);
        let _ = parse_field_filters(&text);
        let filter = tetragon::Filter {
            binary_regex: vec![regex.clone()],
            labels: vec![text],
            ..Default::default()
        };
        let _ = Filters::compile(&[filter], &[], &Offered::everything());
        let mask = prost_types::FieldMask { paths: vec![regex] };
        let _ = FieldFilters::compile(&[tetragon::FieldFilter { fields: Some(mask), ..Default::default() }]);
    }

    #[test]
    fn any_text_is_an_event_or_an_error(text in arbitrary::text()) {
        let _ = json::parse_line(&text);
        let _ = json::parse_line(&format!("{{\"process_exec\":{{\"process\":{{\"binary\":\"{text}\"}}}}}}"));
    }
}

#[test]
fn lines_that_are_no_events_are_named() {
    for (line, expected) in [
        ("", "not a JSON object"),
        ("{\"process_exec\":", "not a JSON object"),
        ("[]", "another value than an object"),
        ("{}", "none of the keys"),
        ("{\"process_exec\":{\"process\":{\"pid\":\"x\"}}}", "not an event"),
        ("{\"process_exec\":7}", "not an event"),
    ] {
        let error = json::parse_line(line).unwrap_err().to_string();
        assert!(error.contains(expected), "{line:?} gave {error:?}");
    }
}

#[test]
fn our_names_are_not_those_of_the_compatible_form() {
    let pool = DescriptorPool::decode(FILE_DESCRIPTOR_SET).unwrap();
    for (ours, theirs) in [
        ("saker.v1.ProcessExtra", "tetragon.Process"),
        ("saker.v1.ExitExtra", "tetragon.ProcessExit"),
        ("saker.v1.ExitExtra", "tetragon.ProcessExec"),
        ("saker.v1.HookExtra", "tetragon.ProcessKprobe"),
        ("saker.v1.HookExtra", "tetragon.ProcessTracepoint"),
        ("saker.v1.HookExtra", "tetragon.ProcessUprobe"),
        ("saker.v1.HookExtra", "tetragon.ProcessUsdt"),
        ("saker.v1.HookExtra", "tetragon.ProcessLsm"),
        ("saker.v1.HookExtra", "tetragon.ProcessLoader"),
        ("saker.v1.ArgumentExtra", "tetragon.KprobeArgument"),
    ] {
        let theirs = pool.get_message_by_name(theirs).unwrap();
        for field in pool.get_message_by_name(ours).unwrap().fields() {
            // These hold what stands inside the arguments of the same lists.
            if ours == "saker.v1.HookExtra" && ["args", "data", "return"].contains(&field.name()) {
                continue;
            }
            assert!(theirs.get_field_by_name(field.name()).is_none(), "{} is taken", field.name());
        }
    }
}

#[test]
fn the_first_key_of_a_message_line_is_its_kind() {
    use tetragon::get_events_response::Event as Kind;
    let info = tetragon::RateLimitInfo { number_of_dropped_process_events: 7 };
    for kind in [
        Kind::RateLimitInfo(info),
        Kind::Test(tetragon::Test::default()),
        Kind::ProcessExec(Default::default()),
    ] {
        let response = tetragon::GetEventsResponse {
            event: Some(kind),
            node_name: "n".into(),
            cluster_name: "c".into(),
            time: Some(prost_types::Timestamp { seconds: 1, nanos: 0 }),
            ..Default::default()
        };
        let line = json::message_line(&saker_v1::Event { event: Some(response), ..Default::default() });
        let object: serde_json::Map<String, Value> = serde_json::from_str(&line).unwrap();
        let keys: Vec<&str> = object.keys().map(String::as_str).collect();
        assert!(["rate_limit_info", "test", "process_exec"].contains(&keys[0]), "{line}");
        assert_eq!(keys[1..], ["node_name", "time", "cluster_name"], "{line}");
    }
}

//! Field filters against the same done with fields by name, on random events and masks.

use std::sync::{Arc, LazyLock};

use bytes::Bytes;
use proptest::collection::vec;
use proptest::prelude::*;
use prost::Message;
use prost_reflect::{DescriptorPool, DynamicMessage, FieldDescriptor, MessageDescriptor, Value};
use saker_api::event::{Event, EventKind};
use saker_api::filter::{FieldFilters, parse_field_filters};
use saker_api::json::{self, Writer};
use saker_api::passage::{Form, Told, encoder};
use saker_api::{FILE_DESCRIPTOR_SET, saker_v1, tetragon};

use crate::arbitrary;

static POOL: LazyLock<DescriptorPool> =
    LazyLock::new(|| DescriptorPool::decode(FILE_DESCRIPTOR_SET).unwrap());

fn described<M: Message>(message: &M, name: &str) -> DynamicMessage {
    DynamicMessage::decode(POOL.get_message_by_name(name).unwrap(), &*message.encode_to_vec()).unwrap()
}

fn pruned<M: Message + Default>(message: &M, name: &str, prune: impl FnOnce(&mut DynamicMessage)) -> M {
    let mut dynamic = described(message, name);
    prune(&mut dynamic);
    dynamic.transcode_to().unwrap()
}

/// A field filter as its definition has it: paths by name, over whatever has names.
struct Reference<'a>(&'a tetragon::FieldFilter);

impl Reference<'_> {
    fn includes(&self) -> bool {
        self.0.action == tetragon::FieldFilterAction::Include as i32
    }

    fn concerns(&self, kind: &str) -> bool {
        let listed =
            self.0.event_set.iter().any(|value| {
                tetragon::EventType::try_from(*value).unwrap().as_str_name().to_lowercase() == kind
            });
        self.0.event_set.is_empty() || listed != self.0.invert_event_set.unwrap_or_default()
    }

    /// What stands behind `name` of paths that begin with it.
    fn below<'p>(paths: &[&'p str], name: &str) -> Vec<&'p str> {
        let rest = |path: &&'p str| {
            let rest = path.strip_prefix(name)?;
            if rest.is_empty() { Some("") } else { rest.strip_prefix('.') }
        };
        paths.iter().filter_map(rest).collect()
    }

    /// Whether the field stays, and if only in part, by which paths.
    fn verdict<'p>(&self, paths: &[&'p str], name: &str) -> (bool, Vec<&'p str>) {
        let below = Self::below(paths, name);
        if below.is_empty() || below.contains(&"") {
            (self.includes() != below.is_empty(), Vec::new())
        } else {
            (true, below)
        }
    }

    fn message(&self, paths: &[&str], message: &mut DynamicMessage) {
        let fields: Vec<FieldDescriptor> = message.fields().map(|(field, _)| field).collect();
        for field in fields {
            match self.verdict(paths, field.name()) {
                (false, _) => message.clear_field(&field),
                (true, below) if below.is_empty() => {}
                (true, below) => self.value(&below, message.get_field_mut(&field)),
            }
        }
    }

    fn value(&self, paths: &[&str], value: &mut Value) {
        match value {
            Value::Message(message) => self.message(paths, message),
            Value::List(list) => list.iter_mut().for_each(|value| self.value(paths, value)),
            _ => {}
        }
    }

    fn paths(&self) -> Vec<&str> {
        self.0.fields.iter().flat_map(|mask| &mask.paths).map(String::as_str).collect()
    }

    fn part(&self, name: &str, part: saker_v1::ProcessExtra) -> Option<saker_v1::ProcessExtra> {
        match self.verdict(&self.paths(), name) {
            (false, _) => None,
            (true, below) if below.is_empty() => Some(part),
            (true, below) => {
                Some(pruned(&part, "saker.v1.ProcessExtra", |message| self.message(&below, message)))
            }
        }
    }

    fn event(&self, event: saker_v1::Event) -> saker_v1::Event {
        let paths = self.paths();
        let mut kept = event;
        let response = kept.event.take().unwrap_or_default();
        let mut dynamic = described(&response, "tetragon.GetEventsResponse");
        let is_event =
            |field: &FieldDescriptor| field.containing_oneof().is_some_and(|oneof| oneof.name() == "event");
        let kind = dynamic.fields().map(|(field, _)| field).find(is_event);
        if let Some(kind) = kind.filter(|kind| self.concerns(kind.name())) {
            self.value(&paths, dynamic.get_field_mut(&kind));
            kept.process = kept.process.and_then(|part| self.part("process", part));
            kept.parent = kept.parent.and_then(|part| self.part("parent", part));
            kept.ancestors =
                kept.ancestors.into_iter().filter_map(|part| self.part("ancestors", part)).collect();
            let exit = |exit| pruned(&exit, "saker.v1.ExitExtra", |message| self.message(&paths, message));
            kept.exit = kept.exit.map(exit);
            let hook = |hook| pruned(&hook, "saker.v1.HookExtra", |message| self.message(&paths, message));
            kept.hook = kept.hook.map(hook);
        }
        kept.event = Some(dynamic.transcode_to().unwrap());
        kept
    }
}

/// Every path of three parts at most that a filter can name.
fn all_paths() -> Vec<String> {
    fn descend(message: &MessageDescriptor, before: &str, depth: usize, paths: &mut Vec<String>) {
        for field in message.fields() {
            let path = format!("{before}{}", field.name());
            if let Some(inner) = field.kind().as_message().filter(|_| depth > 1 && !field.is_map()) {
                descend(inner, &format!("{path}."), depth - 1, paths);
            }
            paths.push(path);
        }
    }
    let message = |name: &str| POOL.get_message_by_name(name).unwrap();
    let mut paths = Vec::new();
    for name in ["ProcessExec", "ProcessExit", "ProcessKprobe", "ProcessTracepoint", "ProcessLsm"] {
        descend(&message(&format!("tetragon.{name}")), "", 3, &mut paths);
    }
    for name in ["saker.v1.ExitExtra", "saker.v1.HookExtra"] {
        descend(&message(name), "", 2, &mut paths);
    }
    for part in ["process.", "parent.", "ancestors."] {
        descend(&message("saker.v1.ProcessExtra"), part, 1, &mut paths);
    }
    paths.sort();
    paths.dedup();
    paths
}

fn filter() -> impl Strategy<Value = tetragon::FieldFilter> {
    let paths = all_paths();
    // Short ones hit most.
    let short: Vec<String> = paths.iter().filter(|path| path.matches('.').count() < 2).cloned().collect();
    let path = prop_oneof![prop::sample::select(short), prop::sample::select(paths)];
    let kind = prop::sample::select(vec![1, 5, 9, 10, 12]);
    (vec(path, 1..8), any::<bool>(), vec(kind, 0..3), any::<Option<bool>>()).prop_map(
        |(paths, include, event_set, invert_event_set)| tetragon::FieldFilter {
            event_set,
            fields: Some(prost_types::FieldMask { paths }),
            action: if include {
                tetragon::FieldFilterAction::Include.into()
            } else {
                tetragon::FieldFilterAction::Exclude.into()
            },
            invert_event_set,
        },
    )
}

fn check(event: &Arc<Event>, filters: &[tetragon::FieldFilter]) {
    let fields = FieldFilters::compile(filters).unwrap();
    let whole = saker_v1::Event::from(&**event);
    let wanted = match event.kind {
        EventKind::Gap(_) => whole.clone(),
        _ => filters.iter().fold(whole.clone(), |event, filter| Reference(filter).event(event)),
    };
    assert_eq!(fields.apply_event(&whole), wanted, "{filters:?}");
    let told = Told::from(event);
    let bytes = |form: Form| -> Bytes { told.encode(form, &fields, encoder(form)).0 };
    assert_eq!(saker_v1::Event::decode(bytes(Form::Own)).unwrap(), wanted, "{filters:?}");
    let compatible = tetragon::GetEventsResponse::decode(bytes(Form::Compatible)).unwrap();
    assert_eq!(Some(&compatible), wanted.event.as_ref(), "{filters:?}");
    // What options hide of an event stands in no line, though in its messages.
    if value_of(&told, &FieldFilters::default()) == parsed(&json::message_line(&whole)) {
        assert_eq!(value_of(&told, &fields), parsed(&json::message_line(&wanted)), "{filters:?}");
    }
}

fn parsed(line: &str) -> serde_json::Value {
    serde_json::from_str(line).unwrap()
}

/// The line of an event behind another one.
fn value_of(told: &Told<'_>, fields: &FieldFilters) -> serde_json::Value {
    let mut line = b"before\n".to_vec();
    told.write_json(&mut Writer::default(), fields, &mut line);
    parsed(std::str::from_utf8(line.strip_prefix(b"before\n").unwrap()).unwrap())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn what_remains_is_what_the_paths_say(
        event in arbitrary::event(),
        filters in vec(filter(), 1..4),
    ) {
        check(&Arc::new(event), &filters);
    }
}

#[test]
fn paths_into_values_that_are_no_objects_in_json_are_kept_to_as_well() {
    let event = Arc::new(crate::samples::exit());
    for text in [
        r#"{"fields":"process.pid.value,process.start_time.seconds"}"#,
        r#"{"fields":"process.pid.value","action":"EXCLUDE"}"#,
    ] {
        check(&event, &parse_field_filters(text).unwrap());
    }
}

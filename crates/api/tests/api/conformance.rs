//! The compatible interface has the promised names, numbers and types, nothing less and nothing more.

use std::collections::BTreeSet;

use prost_reflect::{Cardinality, DescriptorPool, FieldDescriptor, Kind};
use saker_api::FILE_DESCRIPTOR_SET;

fn pool() -> DescriptorPool {
    DescriptorPool::decode(FILE_DESCRIPTOR_SET).unwrap()
}

/// Lines of a table without its comments.
fn table(text: &str) -> BTreeSet<String> {
    text.lines().filter(|line| !line.starts_with('#')).map(str::to_owned).collect()
}

fn short(name: &str) -> String {
    name.strip_prefix("tetragon.").unwrap_or(name).to_owned()
}

fn kind(kind: &Kind) -> String {
    match kind {
        Kind::Message(message) => short(message.full_name()),
        Kind::Enum(of) => short(of.full_name()),
        scalar => format!("{scalar:?}").to_lowercase(),
    }
}

fn describe(field: &FieldDescriptor) -> String {
    let optional = field.containing_oneof().is_some_and(|oneof| oneof.is_synthetic());
    let of = match field.kind() {
        Kind::Message(entry) if field.is_map() => {
            let part = |field: FieldDescriptor| kind(&field.kind());
            format!("map<{}, {}>", part(entry.map_entry_key_field()), part(entry.map_entry_value_field()))
        }
        of if field.cardinality() == Cardinality::Repeated => format!("repeated {}", kind(&of)),
        of if optional => format!("optional {}", kind(&of)),
        of => kind(&of),
    };
    let oneof = field.containing_oneof().filter(|oneof| !oneof.is_synthetic());
    let oneof = oneof.map(|oneof| format!(" oneof {}", oneof.name())).unwrap_or_default();
    format!("{} {} {} {of}{oneof}", field.parent_message().name(), field.name(), field.number())
}

#[test]
fn messages_have_the_promised_fields() {
    let mut actual = BTreeSet::new();
    for message in pool().all_messages() {
        if message.package_name() == "tetragon" && !message.is_map_entry() {
            if message.fields().len() == 0 {
                actual.insert(message.name().to_owned());
            }
            actual.extend(message.fields().map(|field| describe(&field)));
        }
    }
    let expected = table(include_str!("../conformance/messages.txt"));
    assert_eq!(expected.difference(&actual).collect::<Vec<_>>(), [""; 0], "promised, but not there");
    assert_eq!(actual.difference(&expected).collect::<Vec<_>>(), [""; 0], "there, but not promised");
}

#[test]
fn enums_have_the_promised_values() {
    let ours = pool();
    let enums = ours.all_enums().filter(|of| of.package_name() == "tetragon");
    let actual: BTreeSet<String> = enums
        .flat_map(|of| {
            of.values()
                .map(|value| format!("{} {} {}", of.name(), value.name(), value.number()))
                .collect::<Vec<_>>()
        })
        .collect();
    let expected = table(include_str!("../conformance/enums.txt"));
    assert_eq!(expected.difference(&actual).collect::<Vec<_>>(), [""; 0], "promised, but not there");
    assert_eq!(actual.difference(&expected).collect::<Vec<_>>(), [""; 0], "there, but not promised");
}

#[test]
fn an_event_has_the_number_of_its_type() {
    let pool = pool();
    let types = pool.get_enum_by_name("tetragon.EventType").unwrap();
    let response = pool.get_message_by_name("tetragon.GetEventsResponse").unwrap();
    let events = response.oneofs().find(|oneof| oneof.name() == "event").unwrap();
    for field in events.fields() {
        let value = types.get_value(i32::try_from(field.number()).unwrap()).unwrap();
        assert_eq!(value.name().to_lowercase(), field.name());
    }
    assert_eq!(events.fields().len() + 1, types.values().len(), "every type but UNDEF is an event");
    let reserved: Vec<_> = response.reserved_ranges().map(|range| (range.start, range.end)).collect();
    assert_eq!(reserved, [(2, 5), (6, 9), (13, 27)]);
}

#[test]
fn services_have_the_promised_methods() {
    let pool = pool();
    let methods = |service: &str| -> Vec<String> {
        let service = pool.get_service_by_name(service).unwrap();
        let describe = |method: prost_reflect::MethodDescriptor| {
            let stream = if method.is_server_streaming() { "stream " } else { "" };
            let (input, output) = (method.input(), method.output());
            format!("{}({}) {stream}{}", method.name(), short(input.full_name()), short(output.full_name()))
        };
        service.methods().map(describe).collect()
    };
    let same_named = [
        "AddTracingPolicy",
        "DeleteTracingPolicy",
        "ListTracingPolicies",
        "ConfigureTracingPolicy",
        "EnableTracingPolicy",
        "DisableTracingPolicy",
        "ListSensors",
        "EnableSensor",
        "DisableSensor",
        "RemoveSensor",
        "ListDomains",
        "GetVersion",
        "GetInfo",
        "RuntimeHook",
        "GetDebug",
        "SetDebug",
    ];
    let mut expected = vec![
        "GetEvents(GetEventsRequest) stream GetEventsResponse".to_owned(),
        "GetHealth(GetHealthStatusRequest) GetHealthStatusResponse".to_owned(),
    ];
    expected.extend(same_named.map(|name| format!("{name}({name}Request) {name}Response")));
    assert_eq!(methods("tetragon.FineGuidanceSensors"), expected);
    assert_eq!(
        methods("tetragon.EventLogService"),
        ["SetEventLogParams", "GetEventLogParams"]
            .map(|name| format!("{name}({name}Request) {name}Response"))
    );
}

#[test]
fn definitions_are_imported_by_the_promised_paths() {
    let pool = pool();
    for file in ["events", "tetragon", "sensors", "capabilities", "bpf", "eventlogservice"] {
        let path = format!("tetragon/{file}.proto");
        let file = pool.get_file_by_name(&path).unwrap_or_else(|| panic!("{path} is not there"));
        assert_eq!(file.package_name(), "tetragon");
    }
}

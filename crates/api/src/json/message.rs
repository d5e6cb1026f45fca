//! Lines from messages and messages from lines, for clients: the same form as the agent writes, by way of the
//! descriptors, so that it also serves kinds of events that this version has no model for.

use prost_reflect::{DeserializeOptions, DynamicMessage, SerializeOptions};
use serde_json::{Map, Value};

use crate::descriptors::Described;
use crate::saker_v1::{
    ArgumentExtra, Enforcement, Event, ExitExtra, Gap, GetStatusResponse, HookExtra, ProcessExtra,
    TryPolicyResponse,
};
use crate::tetragon::{GetEventsResponse, ListTracingPoliciesResponse, RateLimitInfo, get_events_response};

/// What stands in every line beside its event.
const ENVELOPE: [&str; 5] = ["node_name", "time", "aggregation_info", "cluster_name", "node_labels"];

/// Kinds of events about a process that have fields of ours beside the compatible ones.
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
/// Of these, the ones of policies.
const HOOKS: [&str; 6] = [
    "process_kprobe",
    "process_tracepoint",
    "process_loader",
    "process_uprobe",
    "process_lsm",
    "process_usdt",
];

/// A line that is not an event.
#[derive(Debug, thiserror::Error)]
pub enum ParseError {
    /// Not JSON.
    #[error("not a JSON object: {0}")]
    Json(#[from] serde_json::Error),
    /// JSON of another shape.
    #[error("not an event: {0}")]
    Shape(String),
}

/// The line of an event that came as a message, without a newline.
#[must_use]
pub fn message_line(event: &Event) -> String {
    Value::Object(message_object(event)).to_string()
}

/// The status of an agent as a JSON object.
#[must_use]
pub fn status_object(status: &GetStatusResponse) -> Value {
    Value::Object(object(status))
}

/// Whether policies act, and what they did, as a JSON object.
#[must_use]
pub fn enforcement_object(enforcement: &Enforcement) -> Value {
    Value::Object(object(enforcement))
}

/// What a trial of a policy told as a JSON object.
#[must_use]
pub fn trial_object(trial: &TryPolicyResponse) -> Value {
    Value::Object(object(trial))
}

/// The policies of an agent as a JSON object.
#[must_use]
pub fn policies_object(policies: &ListTracingPoliciesResponse) -> Value {
    Value::Object(object(policies))
}

fn message_object(event: &Event) -> Map<String, Value> {
    let mut line = event.event.as_ref().map(object).unwrap_or_default();
    // The definition has the kinds that came late behind the envelope; a line begins with its kind.
    if let Some(kind) = line.keys().find(|key| !ENVELOPE.contains(&key.as_str())).cloned()
        && let Some(inner) = line.shift_remove(&kind)
    {
        line.shift_insert(0, kind, inner);
    }
    if let Some(gap) = &event.gap {
        line.remove("rate_limit_info");
        line.shift_insert(0, "gap".to_owned(), Value::Object(object(gap)));
    }
    for kind in KINDS {
        let Some(Value::Object(inner)) = line.get_mut(kind) else { continue };
        merge(inner.get_mut("process"), event.process.as_ref());
        merge(inner.get_mut("parent"), event.parent.as_ref());
        if let Some(Value::Array(ancestors)) = inner.get_mut("ancestors") {
            for (ancestor, extra) in ancestors.iter_mut().zip(&event.ancestors) {
                merge(Some(ancestor), Some(extra));
            }
        }
        if let Some(exit) = &event.exit {
            let mut exit = object(exit);
            // The process has it already: the compatible form tells the thread there.
            exit.remove("tid");
            inner.extend(exit);
        }
        if let Some(hook) = &event.hook {
            merge_hook(inner, hook);
        }
    }
    line
}

/// Puts what only Saker tells of a policy's event beside its fields, and of an argument inside the argument.
fn merge_hook(inner: &mut Map<String, Value>, hook: &HookExtra) {
    let mut fields = object(hook);
    for (list, extras) in [("args", &hook.args), ("data", &hook.data)] {
        fields.remove(list);
        if let Some(Value::Array(arguments)) = inner.get_mut(list) {
            for (argument, extra) in arguments.iter_mut().zip(extras) {
                merge_argument(Some(argument), Some(extra));
            }
        }
    }
    fields.remove("return");
    merge_argument(inner.get_mut("return"), hook.r#return.as_ref());
    inner.extend(fields);
}

fn merge_argument(argument: Option<&mut Value>, extra: Option<&ArgumentExtra>) {
    if let (Some(Value::Object(argument)), Some(extra)) = (argument, extra) {
        argument.extend(object(extra));
    }
}

/// Puts the fields that only Saker tells beside the compatible ones.
fn merge(process: Option<&mut Value>, extra: Option<&ProcessExtra>) {
    if let (Some(Value::Object(process)), Some(extra)) = (process, extra) {
        process.extend(object(extra));
    }
}

/// Canonical JSON with the names of the definition.
fn object<M: Described>(message: &M) -> Map<String, Value> {
    let options = SerializeOptions::new().use_proto_field_name(true);
    match message.to_dynamic().serialize_with_options(serde_json::value::Serializer, &options) {
        Ok(Value::Object(object)) => object,
        // A timestamp beyond the year 9999 has no JSON form.
        Ok(other) => Map::from_iter([("error".to_owned(), other)]),
        Err(error) => Map::from_iter([("error".to_owned(), Value::String(error.to_string()))]),
    }
}

/// The event of a line, with whatever of our additions the line has.
///
/// # Errors
/// [`ParseError`] when the line is not JSON, or a field has a value of the wrong type. Fields with unknown
/// names are left out.
pub fn parse_line(line: &str) -> Result<Event, ParseError> {
    let line: Value = serde_json::from_str(line)?;
    if !line.is_object() {
        return Err(ParseError::Shape("the line holds another value than an object".to_owned()));
    }
    let mut event = Event { event: Some(message::<GetEventsResponse>(&line)?), ..Event::default() };
    let response = event.event.get_or_insert_default();
    if let Some(gap) = line.get("gap") {
        let gap = message::<Gap>(gap)?;
        let info = RateLimitInfo { number_of_dropped_process_events: gap.lost };
        response.event = Some(get_events_response::Event::RateLimitInfo(info));
        event.gap = Some(gap);
    }
    if let Some(inner) = KINDS.iter().find_map(|kind| line.get(kind)) {
        event.process = extra(inner.get("process"))?;
        event.parent = extra(inner.get("parent"))?;
        if let Some(Value::Array(ancestors)) = inner.get("ancestors") {
            event.ancestors = ancestors.iter().map(message).collect::<Result<_, _>>()?;
        }
    }
    event.exit = line.get("process_exit").map(message::<ExitExtra>).transpose()?;
    // The lists of arguments have the same names in both forms, so each part finds its own fields there.
    let hook = HOOKS.iter().find_map(|kind| line.get(kind));
    event.hook = hook.map(message::<HookExtra>).transpose()?;
    if response.event.is_none() {
        return Err(ParseError::Shape(
            "it has none of the keys process_exec, process_exit, gap …".to_owned(),
        ));
    }
    Ok(event)
}

fn extra(process: Option<&Value>) -> Result<Option<ProcessExtra>, ParseError> {
    process.map(message).transpose()
}

fn message<M: Described>(value: &Value) -> Result<M, ParseError> {
    let options = DeserializeOptions::new().deny_unknown_fields(false);
    let dynamic = DynamicMessage::deserialize_with_options(M::descriptor(), value, &options)
        .map_err(|error| ParseError::Shape(error.to_string()))?;
    M::from_dynamic(&dynamic).ok_or_else(|| ParseError::Shape(format!("it is not a {}", M::NAME)))
}

//! From flags to what the agent is asked.

use anyhow::{Context, Result, bail};
use prost_types::FieldMask;
use regex::Regex;
use saker_api::tetragon::{EventType, FieldFilter, FieldFilterAction, Filter, GetEventsRequest};

use super::EventsArgs;

/// The request; its filters can also be applied to lines of a file.
pub fn request(args: &EventsArgs) -> Result<GetEventsRequest> {
    let mut types = Vec::new();
    for name in &args.event_types {
        types.push(i32::from(event_type(name)?));
    }
    for (flag, patterns) in
        [("process", &args.process), ("parent", &args.parent), ("arguments", &args.arguments)]
    {
        for pattern in patterns {
            Regex::new(pattern).with_context(|| format!("--{flag} `{pattern}` is no regular expression"))?;
        }
    }
    let filter = Filter {
        event_set: types.clone(),
        pid: args.pid.clone(),
        pid_set: args.pid_set.clone(),
        binary_regex: args.process.clone(),
        parent_binary_regex: args.parent.clone(),
        arguments_regex: args.arguments.clone(),
        policy_names: args.policy_names.clone(),
        ..Filter::default()
    };
    let mut request = GetEventsRequest::default();
    if filter != Filter::default() {
        request.allow_list.push(filter);
    }
    let mut fields = |paths: &[String], action: FieldFilterAction| {
        if !paths.is_empty() {
            let fields = Some(FieldMask { paths: paths.to_vec() });
            request.field_filters.push(FieldFilter {
                fields,
                action: action.into(),
                ..FieldFilter::default()
            });
        }
    };
    fields(&args.include_fields, FieldFilterAction::Include);
    fields(&args.exclude_fields, FieldFilterAction::Exclude);
    Ok(request)
}

/// A type by its full or short name, in any case.
fn event_type(name: &str) -> Result<EventType> {
    let upper = name.to_ascii_uppercase().replace('-', "_");
    let known =
        EventType::from_str_name(&upper).or_else(|| EventType::from_str_name(&format!("PROCESS_{upper}")));
    match known {
        Some(known) => Ok(known),
        None => bail!(
            "there is no event type `{name}`; known are exec, exit, kprobe, tracepoint, loader, uprobe, usdt, lsm, \
             and the names of the event reference"
        ),
    }
}

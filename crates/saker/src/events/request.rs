//! From flags to what the agent is asked.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, bail, ensure};
use prost_types::{FieldMask, Timestamp};
use saker_api::filter::{Offered, Subscription, parse_filters};
use saker_api::saker_v1::{Event, GetEventsRequest};
use saker_api::tetragon::{AggregationOptions, EventType, FieldFilter, FieldFilterAction, Filter};

use super::EventsArgs;

/// The request; its filters can also be applied to lines of a file.
pub fn request(args: &EventsArgs) -> Result<GetEventsRequest> {
    let types = args.event_types.iter().map(|name| event_type(name).map(i32::from));
    // Processes outside of Kubernetes have the namespace of this name.
    let host = args.host.then(String::new);
    let filter = Filter {
        event_set: types.collect::<Result<_>>()?,
        pid: args.pid.clone(),
        pid_set: args.pid_set.clone(),
        binary_regex: args.process.clone(),
        parent_binary_regex: args.parent.clone(),
        ancestor_binary_regex: args.ancestor.clone(),
        arguments_regex: args.arguments.clone(),
        parent_arguments_regex: args.parent_arguments.clone(),
        namespace: args.namespace.iter().cloned().chain(host).collect(),
        namespace_regex: args.namespace_regex.clone(),
        pod_regex: args.pod.clone(),
        container_name_regex: args.container.clone(),
        container_id: args.container_id.clone(),
        labels: args.label.clone(),
        policy_names: args.policy_names.clone(),
        cel_expression: args.cel_expression.clone(),
        health_check: args.health_check,
        in_init_tree: args.in_init_tree,
        capabilities: None,
    };
    let mut request = GetEventsRequest {
        allow_list: parse_filters(&args.allow_list).context("--allow-list")?,
        deny_list: parse_filters(&args.deny_list).context("--deny-list")?,
        rate_limit: args.rate_limit,
        ..GetEventsRequest::default()
    };
    if filter != Filter::default() {
        ensure!(
            request.allow_list.is_empty(),
            "--allow-list cannot be given together with flags that filter; put their conditions into its filters"
        );
        request.allow_list.push(filter);
    }
    if let Some(window) = &args.aggregate {
        let window = saker_agent::config::duration(window).context("--aggregate")?;
        ensure!(!window.is_zero(), "--aggregate: a window needs some time, such as `15s`");
        let window = window.try_into().context("--aggregate")?;
        request.aggregation_options =
            Some(AggregationOptions { window_size: Some(window), channel_buffer_size: 0 });
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
    // An agent refuses it too, but this is known without one.
    Subscription::compile_own(request.clone(), &Offered::everything())?;
    Ok(request)
}

/// The times between which events of a file are shown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Times {
    since: Option<(i64, i32)>,
    until: Option<(i64, i32)>,
}

impl Times {
    /// As the flags have them.
    pub fn of(args: &EventsArgs) -> Result<Self> {
        let now = SystemTime::now();
        let read = |flag: &str, text: &Option<String>| {
            text.as_deref()
                .map(|text| time(text, now).with_context(|| format!("--{flag} `{text}`")))
                .transpose()
        };
        let times = Self { since: read("since", &args.since)?, until: read("until", &args.until)? };
        ensure!(
            times.since.zip(times.until).is_none_or(|(since, until)| since <= until),
            "--since is later than --until"
        );
        Ok(times)
    }

    /// Whether no time is excluded.
    pub fn is_open(&self) -> bool {
        *self == Self::default()
    }

    /// Whether an event happened between them, both included. One without a time did only if none is excluded.
    pub fn hold(&self, event: &Event) -> bool {
        let time = event.event.as_ref().and_then(|event| event.time).map(|time| (time.seconds, time.nanos));
        match time {
            None => self.is_open(),
            Some(time) => {
                self.since.is_none_or(|since| since <= time) && self.until.is_none_or(|until| time <= until)
            }
        }
    }
}

/// A point in time, or how long ago it was, as seconds and nanoseconds since 1970.
fn time(text: &str, now: SystemTime) -> Result<(i64, i32)> {
    if let Ok(time) = text.parse::<Timestamp>() {
        return Ok((time.seconds, time.nanos));
    }
    let ago = saker_agent::config::duration(text).ok().filter(|ago: &Duration| !ago.is_zero());
    let Some(ago) = ago else {
        bail!("it is neither a time, such as 2026-05-04T12:00:00Z, nor how long ago, such as 1h30m")
    };
    let since =
        now.checked_sub(ago).and_then(|time| time.duration_since(UNIX_EPOCH).ok()).unwrap_or_default();
    Ok((i64::try_from(since.as_secs())?, i32::try_from(since.subsec_nanos())?))
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

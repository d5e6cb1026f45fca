//! Writes events as JSON lines.
//!
//! A line is the canonical protobuf JSON of the compatible message with the names of its fields as they stand
//! in the definition: defaults are left out, wrapped values are printed even when zero, 64-bit numbers are
//! strings. Fields that only Saker tells stand beside the compatible ones, under names that those do not use,
//! and a gap has a key of its own. A process is written once and its text copied into each event.

#[macro_use]
mod text;

mod argument;
mod credentials;
mod frame;
mod hook;
mod message;
mod objects;
mod pod;
mod process;

use std::ops::Range;

use crate::event::{Event, EventKind, ExecEvent, ExitEvent, GapEvent, Node, ProcessView};
use crate::signal;
pub use frame::Writer;
pub use message::{
    ParseError, enforcement_object, message_line, parse_line, policies_object, status_object, trial_object,
};
use process::Place;
pub use text::rfc3339;
use text::{comma, flag_field, key, quoted_number, string, string_field, time_field, wide_field};

/// Appends the event as one line, its newline included.
pub fn write_event(event: &Event, out: &mut Vec<u8>) {
    let time = match &event.kind {
        EventKind::Exec(exec) => {
            write_exec(exec, out);
            None
        }
        EventKind::Exit(exit) => Some(write_exit(event, exit, out)),
        EventKind::Hook(event) => {
            hook::write(event, out);
            None
        }
        EventKind::Gap(gap) => {
            write_gap(gap, out);
            None
        }
    };
    write_envelope(event, &event.node, time, out);
}

fn write_exec(exec: &ExecEvent, out: &mut Vec<u8>) {
    out.extend_from_slice(b"{\"process_exec\":{\"process\":");
    process::write(&exec.process, Place::Executed, out);
    write_lineage(exec.parent.as_ref(), &exec.ancestors, out);
    out.push(b'}');
}

/// Returns where it has written the time of the event, key included.
fn write_exit(event: &Event, exit: &ExitEvent, out: &mut Vec<u8>) -> Range<usize> {
    out.extend_from_slice(b"{\"process_exit\":{\"process\":");
    process::write(&exit.process, Place::Other, out);
    write_lineage(exit.parent.as_ref(), &exit.ancestors, out);
    string_field(out, name!("signal"), signal::name(exit.signal));
    text::number_field(out, name!("status"), exit.status);
    let begin = out.len();
    time_field(out, name!("time"), event.time);
    let time = begin..out.len();
    let visible = exit.process.process.visible;
    if visible.extras {
        flag_field(out, name!("core_dumped"), exit.core_dumped);
        if let (true, Some(creds)) = (visible.credentials, &exit.creds) {
            key(out, name!("credentials_at_exit"));
            credentials::write_at_exit(creds, out);
        }
        string_field(out, name!("reparented_to"), exit.reparented_to.as_deref().unwrap_or_default());
        flag_field(out, name!("reconstructed"), exit.reconstructed);
    }
    out.push(b'}');
    time
}

fn write_lineage(parent: Option<&ProcessView>, ancestors: &[ProcessView], out: &mut Vec<u8>) {
    if let Some(parent) = parent {
        out.extend_from_slice(b",\"parent\":");
        process::write(parent, Place::Other, out);
    }
    if !ancestors.is_empty() {
        out.extend_from_slice(b",\"ancestors\":[");
        for ancestor in ancestors {
            comma(out);
            process::write(ancestor, Place::Other, out);
        }
        out.push(b']');
    }
}

fn write_gap(gap: &GapEvent, out: &mut Vec<u8>) {
    out.extend_from_slice(b"{\"gap\":{");
    wide_field(out, name!("lost"), gap.lost);
    if let Some(cpu) = gap.cpu {
        text::wrapped_field(out, name!("cpu"), cpu);
    }
    wide_field(out, name!("first_seq"), gap.first_seq);
    wide_field(out, name!("last_seq"), gap.last_seq);
    string_field(out, name!("stage"), gap.stage);
    if !gap.causes.is_empty() {
        key(out, name!("causes"));
        out.push(b'{');
        for (cause, count) in gap.merged_causes() {
            key_of_data(out, cause);
            quoted_number(out, count);
        }
        out.push(b'}');
    }
    out.push(b'}');
}

/// Node and time, and the end of the line. `time`: where the line has the time already.
fn write_envelope(event: &Event, node: &Node, time: Option<Range<usize>>, out: &mut Vec<u8>) {
    write_node(node, out);
    match time {
        // An object of an event is never empty, so the comma belongs there too.
        Some(written) => out.extend_from_within(written),
        None => time_field(out, name!("time"), event.time),
    }
    write_end(node, out);
}

/// What stands before the time of the event.
fn write_node(node: &Node, out: &mut Vec<u8>) {
    string_field(out, name!("node_name"), &node.name);
}

/// What stands behind the time, and the end of the line.
fn write_end(node: &Node, out: &mut Vec<u8>) {
    string_field(out, name!("cluster_name"), &node.cluster);
    if !node.labels.is_empty() {
        key(out, name!("node_labels"));
        out.push(b'{');
        for (name, value) in &node.labels {
            key_of_data(out, name);
            string(out, value);
        }
        out.push(b'}');
    }
    out.extend_from_slice(b"}\n");
}

/// Tells in the last line how many events it stands for.
pub(crate) fn add_count(count: u64, out: &mut Vec<u8>) {
    if out.ends_with(b"}\n") {
        out.truncate(out.len() - 2);
        key(out, name!("aggregation_info"));
        out.extend_from_slice(b"{\"count\":");
        quoted_number(out, count);
        out.extend_from_slice(b"}}\n");
    }
}

/// A key that comes from data, so that it may need escapes.
fn key_of_data(out: &mut Vec<u8>, name: &str) {
    comma(out);
    string(out, name);
    out.push(b':');
}

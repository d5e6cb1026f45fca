//! Writes events as lines for people.
//!
//! A line is `EMOJI LABEL SOURCE BINARY REST`, where SOURCE is the pod or the node. Values from the event that
//! hold a space or an unprintable character are quoted as Go quotes strings, so that a line stays one line and
//! a terminal is never commanded. A process with CAP_SYS_ADMIN in effect is marked at the end of its line.

mod hook;
mod message;
mod quote;
mod stack;
mod table;

use std::borrow::Cow;
use std::fmt::Write;

use crate::event::{Event, EventKind, Timestamp};
use crate::json::rfc3339;
use crate::saker_v1;
use crate::signal;
use crate::tetragon::{CapabilitiesType, GetEventsResponse};
use crate::view::{EventView, ProcessRef};
pub use quote::quoted;

/// Column at which the mark of a privileged process ends.
const TRAILER_COLUMN: usize = 120;

/// Writes compact lines.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Compact {
    /// Colours by terminal escapes.
    pub colors: bool,
    /// The time before each line.
    pub timestamps: bool,
    /// Behind the line of an event the callers it tells, one on a line each.
    pub stacks: bool,
}

/// Colours by what is coloured.
#[derive(Clone, Copy, Debug)]
enum Color {
    Label,
    Alert,
    Source,
    Binary,
    Arguments,
    Status,
    Path,
}

impl Color {
    const fn code(self) -> &'static str {
        match self {
            Self::Alert | Self::Status => "\x1b[31m",
            Self::Source => "\x1b[32m",
            Self::Path => "\x1b[33m",
            Self::Label => "\x1b[34m",
            Self::Binary => "\x1b[35m",
            Self::Arguments => "\x1b[36m",
        }
    }
}

impl Compact {
    /// Appends the line of an event, its newline included.
    pub fn write_event(&self, event: &Event, out: &mut String) {
        let mut line = self.line(event.time, &event.node.name, out);
        match &event.kind {
            EventKind::Exec(_) => line.exec(&EventView::from(event)),
            EventKind::Exit(exit) => {
                let outcome = outcome(signal::name(exit.signal), exit.status, exit.reconstructed);
                line.exit(&EventView::from(event), &outcome);
            }
            EventKind::Hook(hook) => line.policy_event(&EventView::from(event), hook),
            EventKind::Gap(gap) => line.gap(gap.lost, gap.cpu, gap.stage, gap.merged_causes()),
        }
        line.end();
        if let (true, EventKind::Hook(hook)) = (self.stacks, &event.kind) {
            stack::of_event(hook, out);
        }
    }

    /// Appends the line of an event that came as our message, its newline included.
    pub fn write_message(&self, event: &saker_v1::Event, out: &mut String) {
        let Some(response) = &event.event else { return };
        let mut line = self.line(time_of(response), &response.node_name, out);
        if let Some(gap) = &event.gap {
            let causes = gap.causes.iter().map(|(cause, &count)| (cause.as_str(), count));
            line.gap(gap.lost, gap.cpu, &gap.stage, causes);
        } else {
            line.response(response, event.exit.as_ref().is_some_and(|exit| exit.reconstructed));
        }
        line.end();
        if self.stacks {
            stack::of_message(response, event.hook.as_ref(), out);
        }
    }

    /// Appends the line of an event that came as a compatible message, its newline included.
    pub fn write_response(&self, response: &GetEventsResponse, out: &mut String) {
        let mut line = self.line(time_of(response), &response.node_name, out);
        line.response(response, false);
        line.end();
        if self.stacks {
            stack::of_message(response, None, out);
        }
    }

    /// Appends what the process of an event did, on no line of its own: the label and the rest, without emoji, source and
    /// binary.
    pub fn write_act(&self, response: &GetEventsResponse, out: &mut String) {
        let (colors, node) = (self.colors, response.node_name.as_str());
        Line { colors, node, columns: 0, trailer: false, bare: true, out }.response(response, false);
    }

    fn line<'a>(&self, time: Timestamp, node: &'a str, out: &'a mut String) -> Line<'a> {
        if self.timestamps {
            let (text, _) = rfc3339(time);
            out.extend(text.iter().map(|&byte| char::from(byte)));
            out.push_str("Z ");
        }
        Line { colors: self.colors, node, columns: 0, trailer: false, bare: false, out }
    }
}

fn time_of(response: &GetEventsResponse) -> Timestamp {
    let nanoseconds = response.time.as_ref().and_then(|time| {
        let seconds = u64::try_from(time.seconds).ok()?.checked_mul(1_000_000_000)?;
        seconds.checked_add(u64::try_from(time.nanos).ok()?)
    });
    Timestamp(nanoseconds.unwrap_or_default())
}

/// How a process ended: by a signal, with a status, or unseen.
fn outcome(signal: &str, status: u32, unseen: bool) -> Cow<'_, str> {
    match (signal, unseen) {
        ("", true) => Cow::Borrowed("?"),
        ("", false) => Cow::Owned(status.to_string()),
        (signal, _) => Cow::Borrowed(signal),
    }
}

/// A line in the making.
struct Line<'a> {
    colors: bool,
    node: &'a str,
    /// Columns so far, escapes and time not counted.
    columns: usize,
    /// Whether the process is to be marked.
    trailer: bool,
    /// Without what tells of which process the line is.
    bare: bool,
    out: &'a mut String,
}

impl Line<'_> {
    fn exec(&mut self, event: &EventView<'_>) {
        self.label("🚀", "process", Color::Label);
        self.process(event.process, true);
    }

    fn exit(&mut self, event: &EventView<'_>, outcome: &str) {
        self.label("💥", "exit", Color::Label);
        self.process(event.process, true);
        self.value(Color::Status, outcome);
    }

    /// Records that were lost, and why as far as it is known, the greatest cause first.
    fn gap<'c>(
        &mut self,
        lost: u64,
        cpu: Option<u32>,
        stage: &str,
        causes: impl Iterator<Item = (&'c str, u64)>,
    ) {
        self.label("⚠️", "gap", Color::Alert);
        self.value(Color::Source, self.node);
        let mut text = format!("{lost} {} lost", if lost == 1 { "record" } else { "records" });
        match cpu {
            Some(cpu) => text.push_str(&format!(" on CPU {cpu}")),
            None if !stage.is_empty() => text.push_str(&format!(" in {}", quoted(stage))),
            None => {}
        }
        let mut causes: Vec<_> = causes.collect();
        causes.sort_unstable_by_key(|&(cause, count)| (std::cmp::Reverse(count), cause));
        for (index, (cause, count)) in causes.iter().enumerate() {
            text.push_str(if index == 0 { " (" } else { ", " });
            text.push_str(&format!("{} {count}", quoted(cause)));
        }
        if !causes.is_empty() {
            text.push(')');
        }
        self.plain(&text);
    }

    /// Emoji and label; the first thing on a line. An emoji takes two columns.
    fn label(&mut self, emoji: &str, label: &str, color: Color) {
        if self.bare {
            return self.colored(color, |out| out.push_str(label));
        }
        self.out.push_str(emoji);
        self.out.push(' ');
        self.colored(color, |out| {
            let _ = write!(out, "{label:<7}");
        });
        self.columns += 3 + label.chars().count().max(7);
    }

    /// Source, binary and, if asked for, arguments of a process.
    fn process(&mut self, process: Option<ProcessRef<'_>>, arguments: bool) {
        if self.bare {
            return;
        }
        match process.and_then(ProcessRef::pod) {
            // The names of Kubernetes objects need no quotes, but a stream may claim any name.
            Some(pod) => self.value(Color::Source, &format!("{}/{}", pod.namespace, pod.name)),
            None => self.value(Color::Source, self.node),
        }
        let Some(process) = process else { return };
        self.value(Color::Binary, process.binary());
        if arguments {
            self.value(Color::Arguments, process.arguments());
        }
        let sys_admin = 1 << CapabilitiesType::CapSysAdmin as u32;
        self.trailer =
            process.shown_capabilities().is_some_and(|[_, effective, _]| effective & sys_admin != 0);
    }

    /// A value after a space, quoted if need be; nothing for an empty one.
    fn value(&mut self, color: Color, text: &str) {
        if !text.is_empty() {
            let text = quoted(text);
            self.columns += 1 + text.chars().count();
            self.out.push(' ');
            self.colored(color, |out| out.push_str(&text));
        }
    }

    /// Words of ours after a space.
    fn plain(&mut self, text: &str) {
        self.columns += 1 + text.chars().count();
        self.out.push(' ');
        self.out.push_str(text);
    }

    fn colored(&mut self, color: Color, write: impl FnOnce(&mut String)) {
        if self.colors {
            self.out.push_str(color.code());
        }
        write(self.out);
        if self.colors {
            self.out.push_str("\x1b[0m");
        }
    }

    fn end(mut self) {
        if self.trailer {
            let mark = "🛑 CAP_SYS_ADMIN";
            let columns = mark.chars().count() + 1;
            let padding = TRAILER_COLUMN.saturating_sub(self.columns + columns).max(1);
            self.out.extend(std::iter::repeat_n(' ', padding));
            self.colored(Color::Binary, |out| out.push_str(mark));
        }
        self.out.push('\n');
    }
}

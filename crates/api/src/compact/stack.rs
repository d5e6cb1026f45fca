//! The callers that an event tells, below its line.

use std::fmt::Write;

use super::quoted;
use crate::event::{Frame, HookEvent};
use crate::saker_v1::HookExtra;
use crate::tetragon::get_events_response::Event as Kind;
use crate::tetragon::{GetEventsResponse, StackTraceEntry};

/// A frame in either form.
struct Shown<'a> {
    address: u64,
    offset: u64,
    symbol: &'a str,
    module: &'a str,
}

impl<'a> From<&'a Frame> for Shown<'a> {
    fn from(frame: &'a Frame) -> Self {
        let Frame { address, offset, symbol, module } = frame;
        Self { address: *address, offset: *offset, symbol, module }
    }
}

impl<'a> From<&'a StackTraceEntry> for Shown<'a> {
    fn from(entry: &'a StackTraceEntry) -> Self {
        let StackTraceEntry { address, offset, symbol, module } = entry;
        Self { address: *address, offset: *offset, symbol, module }
    }
}

/// Appends the stacks of an event.
pub(super) fn of_event(event: &HookEvent, out: &mut String) {
    kernel(event.more.kernel_stack.iter().map(Shown::from), out);
    user(event.more.user_stack.iter().map(Shown::from), out);
}

/// Appends the stacks of an event that came as a message.
pub(super) fn of_message(response: &GetEventsResponse, extra: Option<&HookExtra>, out: &mut String) {
    let none: (&[StackTraceEntry], &[StackTraceEntry]) = (&[], &[]);
    let (in_kernel, in_program) = match (&response.event, extra) {
        (Some(Kind::ProcessKprobe(event)), _) => {
            (event.kernel_stack_trace.as_slice(), event.user_stack_trace.as_slice())
        }
        (_, Some(extra)) => (extra.kernel_stack.as_slice(), extra.user_stack.as_slice()),
        _ => none,
    };
    kernel(in_kernel.iter().map(Shown::from), out);
    user(in_program.iter().map(Shown::from), out);
}

fn kernel<'a>(frames: impl Iterator<Item = Shown<'a>>, out: &mut String) {
    let mut frames = frames.peekable();
    if frames.peek().is_some() {
        out.push_str("Kernel:\n");
    }
    for Shown { address, offset, symbol, .. } in frames {
        let _ = write!(out, "   {address:#x}:");
        if !symbol.is_empty() {
            let _ = write!(out, " {}+{offset:#x}", quoted(symbol));
        }
        out.push('\n');
    }
}

fn user<'a>(frames: impl Iterator<Item = Shown<'a>>, out: &mut String) {
    let mut frames = frames.peekable();
    if frames.peek().is_some() {
        out.push_str("User:\n");
    }
    for Shown { address, offset, symbol, module } in frames {
        let _ = write!(out, "   {address:#x}:");
        if !symbol.is_empty() {
            let _ = write!(out, " {}", quoted(symbol));
        }
        let _ = writeln!(out, " ({}+{offset:#x})", quoted(module));
    }
}

//! What lines of hooks have in common.
//!
//! A process that calls a hook mostly calls it again, and then all of the line but the captured values and the time is
//! the same: who called, what, and what was done about it. Such a line is put together from the copy of an earlier one.

use std::sync::Arc;

use super::{hook, objects::Objects, text::key, text::timestamp, write_end, write_event, write_node};
use crate::event::{Event, EventKind, Family, HookEvent, HookInfo, HookMore, Node, Process, ProcessView};

/// Sets of frames; a power of two.
const SETS: usize = 16;
/// Frames of a set, which hold lines of different processes or hooks.
const WAYS: usize = 4;
/// Longest frame that is kept, in bytes.
const FRAME_MAX: usize = 8 * 1024;

/// Writes events as JSON lines, each the same as [`write_event`] writes it, and remembers what lines have in common.
/// It holds the processes of the events that it remembers, [`Writer::PROCESSES_MAX`] at most.
#[derive(Debug, Default)]
pub struct Writer {
    sets: [Set; SETS],
    objects: Objects,
}

#[derive(Debug, Default)]
struct Set {
    ways: [Way; WAYS],
    /// The way that is given up next.
    next: usize,
}

#[derive(Debug, Default)]
struct Way {
    /// Tells process and hook apart, mostly; 0: none. It says nothing of whether they are alive.
    tag: u64,
    /// Made at the second event: many processes call a hook once.
    frame: Option<Box<Frame>>,
}

/// A line without captured values and time, and what it was made of. While that is held here, nothing else has its
/// address, so that it is known by it.
#[derive(Debug)]
struct Frame {
    process: ProcessView,
    parent: Option<ProcessView>,
    hook: Arc<HookInfo>,
    function: Arc<str>,
    node: Arc<Node>,
    tid: u32,
    action: i32,
    return_action: i32,
    selector: Option<u16>,
    cgroup_id: u64,
    /// Up to the values, up to the time, and the rest.
    text: Box<[u8]>,
    values: usize,
    time: usize,
}

impl Writer {
    /// Most processes that it holds.
    pub const PROCESSES_MAX: usize = 2 * SETS * WAYS;

    /// Appends the event as one line, its newline included.
    pub fn write_event(&mut self, event: &Event, out: &mut Vec<u8>) {
        match &event.kind {
            EventKind::Hook(hook) if event.time.0 != 0 && is_usual(hook) => self.write_hook(event, hook, out),
            _ => write_event(event, out),
        }
    }

    fn write_hook(&mut self, event: &Event, hook: &HookEvent, out: &mut Vec<u8>) {
        let tag = tag(hook);
        let set = &mut self.sets[tag as usize % SETS];
        let Some(way) = set.ways.iter_mut().find(|way| way.tag == tag) else {
            set.ways[set.next] = Way { tag, frame: None };
            set.next = (set.next + 1) % WAYS;
            write_event(event, out);
            return;
        };
        match &way.frame {
            Some(frame) if frame.is_of(event, hook) => frame.write(event, hook, &mut self.objects, out),
            _ => way.frame = Frame::make(event, hook, out),
        }
    }
}

/// Whether nothing in the event but its values and its time is of this call alone.
fn is_usual(hook: &HookEvent) -> bool {
    hook.caller.creds.is_none()
        && hook.caller.namespaces.is_none()
        && hook.repeats == 0
        && !(hook.entry_missing | hook.socket_owner | hook.workload_undecided)
        && hook.hook.family != Family::Loader
        && (hook.more.is_none() || has_usual(&hook.more))
}

/// Whether of what few events have there are values only.
fn has_usual(more: &HookMore) -> bool {
    more.ancestors.is_empty()
        && more.kernel_stack.is_empty()
        && more.user_stack.is_empty()
        && more.stack_missing.is_empty()
        && more.return_missing.is_empty()
        && more.file_hash.is_empty()
        && more.file_hash_missing.is_empty()
        && more.action_withheld.is_empty()
        && more.return_action_withheld.is_empty()
}

/// Mixes what tells frames apart most often; never 0.
fn tag(hook: &HookEvent) -> u64 {
    const MULTIPLIER: u64 = 0x9e37_79b9_7f4a_7c15;
    let mix = |sum: u64, address: usize| (sum.rotate_left(29) ^ address as u64).wrapping_mul(MULTIPLIER);
    let process = mix(u64::from(hook.caller.tid), Arc::as_ptr(&hook.process.process).addr());
    let mixed = mix(mix(process, Arc::as_ptr(&hook.hook).addr()), hook.function.as_ptr().addr());
    // The low bits of a product say least.
    mixed.rotate_right(32) | 1 << 63
}

fn is_same(one: &ProcessView, other: &ProcessView) -> bool {
    Arc::<Process>::ptr_eq(&one.process, &other.process) && one.refcnt == other.refcnt
}

impl Frame {
    /// Whether the line of an event is this one's but for values and time.
    fn is_of(&self, event: &Event, hook: &HookEvent) -> bool {
        let same_parent = match (&self.parent, &hook.parent) {
            (Some(one), Some(other)) => is_same(one, other),
            (None, None) => true,
            _ => false,
        };
        same_parent
            && is_same(&self.process, &hook.process)
            && Arc::ptr_eq(&self.hook, &hook.hook)
            && Arc::ptr_eq(&self.function, &hook.function)
            && Arc::ptr_eq(&self.node, &event.node)
            && self.tid == hook.caller.tid
            && (self.action, self.return_action) == (hook.action, hook.return_action)
            && (self.selector, self.cgroup_id) == (hook.selector, hook.cgroup_id)
    }

    /// Appends the line of an event of which this is the frame.
    fn write(&self, event: &Event, hook: &HookEvent, objects: &mut Objects, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.text[..self.values]);
        hook::write_values(hook, Some(objects), out);
        out.extend_from_slice(&self.text[self.values..self.time]);
        timestamp(out, event.time);
        out.extend_from_slice(&self.text[self.time..]);
    }

    /// Appends the line of an event and keeps its frame, unless it is too long.
    fn make(event: &Event, hook: &HookEvent, out: &mut Vec<u8>) -> Option<Box<Self>> {
        let begin = out.len();
        hook::write_head(hook, out);
        let mut text = out[begin..].to_vec();
        let values = text.len();
        hook::write_values(hook, None, out);
        let tail = out.len();
        hook::write_tail(hook, out);
        write_node(&event.node, out);
        // With its key: the line of an event whose time is not known is no usual one.
        key(out, name!("time"));
        text.extend_from_slice(&out[tail..]);
        let time = text.len();
        timestamp(out, event.time);
        let end = out.len();
        write_end(&event.node, out);
        text.extend_from_slice(&out[end..]);
        (text.len() <= FRAME_MAX).then(|| {
            Box::new(Self {
                process: hook.process.clone(),
                parent: hook.parent.clone(),
                hook: Arc::clone(&hook.hook),
                function: Arc::clone(&hook.function),
                node: Arc::clone(&event.node),
                tid: hook.caller.tid,
                action: hook.action,
                return_action: hook.return_action,
                selector: hook.selector,
                cgroup_id: hook.cgroup_id,
                text: text.into(),
                values,
                time,
            })
        })
    }
}

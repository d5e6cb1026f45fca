//! Events as protobuf bytes.

use bytes::{BufMut, Bytes};
use prost::Message;
use prost::encoding::{WireType, encode_key, encode_varint, encoded_len_varint, key_len};
use std::borrow::Cow;

use super::extra::{common_extra, thread_extra, without_processes};
use super::hook::frame;
use super::message::{common_message, envelope, shown_properties, thread_message};
use super::timestamp;
use crate::event::{Caller, Event, EventKind, Family, HookEvent, ProcessView, ProtoForm};
use crate::tetragon::KprobeArgument;
use crate::{signal, tetragon};

// Numbers of the fields that are put together by hand; a test compares the result with the types'.
const EXEC: u32 = 1;
const EXIT: u32 = 5;
const PROCESS: u32 = 1;
const PARENT: u32 = 2;
const EXEC_ANCESTORS: u32 = 3;
const EXIT_SIGNAL: u32 = 3;
const EXIT_STATUS: u32 = 4;
const EXIT_TIME: u32 = 5;
const EXIT_ANCESTORS: u32 = 6;
const REFCNT: u32 = 13;
const BINARY_PROPERTIES: u32 = 18;
const OUR_EVENT: u32 = 1;
const OUR_PROCESS: u32 = 2;
const OUR_PARENT: u32 = 3;
const OUR_ANCESTORS: u32 = 4;

/// Numbers of the fields of a hook's event; 0: its message has none such.
struct HookFields {
    kind: u32,
    function: u32,
    subsystem: u32,
    event: u32,
    path: u32,
    offset: u32,
    ref_ctr_offset: u32,
    args: u32,
    data: u32,
    result: u32,
    action: u32,
    return_action: u32,
    policy: u32,
    message: u32,
    tags: u32,
    parent: u32,
    ancestors: u32,
    kernel_stack: u32,
    user_stack: u32,
    loaded: u32,
    build_id: u32,
    file_hash: u32,
}

const NO_FIELDS: HookFields = HookFields {
    kind: 0,
    function: 0,
    subsystem: 0,
    event: 0,
    path: 0,
    offset: 0,
    ref_ctr_offset: 0,
    args: 0,
    data: 0,
    result: 0,
    action: 0,
    return_action: 0,
    policy: 0,
    message: 0,
    tags: 0,
    parent: PARENT,
    ancestors: 0,
    kernel_stack: 0,
    user_stack: 0,
    loaded: 0,
    build_id: 0,
    file_hash: 0,
};
const KPROBE: HookFields = HookFields {
    kind: 9,
    function: 3,
    args: 4,
    result: 5,
    action: 6,
    kernel_stack: 7,
    policy: 8,
    return_action: 9,
    message: 10,
    tags: 11,
    user_stack: 12,
    ancestors: 13,
    data: 14,
    ..NO_FIELDS
};
const TRACEPOINT: HookFields = HookFields {
    kind: 10,
    subsystem: 4,
    event: 5,
    args: 6,
    policy: 7,
    action: 8,
    message: 9,
    tags: 10,
    ancestors: 11,
    ..NO_FIELDS
};
const UPROBE: HookFields = HookFields {
    kind: 12,
    path: 3,
    function: 4,
    policy: 5,
    message: 6,
    args: 7,
    tags: 8,
    ancestors: 9,
    offset: 10,
    ref_ctr_offset: 11,
    action: 12,
    data: 13,
    ..NO_FIELDS
};
const LSM: HookFields = HookFields {
    kind: 28,
    function: 3,
    policy: 5,
    message: 6,
    args: 7,
    action: 8,
    tags: 9,
    ancestors: 10,
    file_hash: 11,
    ..NO_FIELDS
};
const USDT: HookFields = HookFields {
    kind: 29,
    path: 3,
    subsystem: 4,
    event: 5,
    policy: 6,
    message: 7,
    args: 8,
    tags: 9,
    ancestors: 10,
    action: 11,
    ..NO_FIELDS
};
const LOADER: HookFields =
    HookFields { kind: 11, loaded: 2, build_id: 3, parent: 4, ancestors: 5, ..NO_FIELDS };

/// The bytes of the compatible message [`tetragon::GetEventsResponse`].
#[must_use]
pub fn encode_response(event: &Event) -> Bytes {
    let response = Response::of(event);
    let mut out = Vec::with_capacity(response.len());
    response.put(&mut out);
    out.into()
}

/// The bytes of our message [`crate::saker_v1::Event`].
#[must_use]
pub fn encode_event(event: &Event) -> Bytes {
    let response = Response::of(event);
    let rest = without_processes(event);
    let (process, parent, ancestors) = event.kind.processes();
    let caller = if let EventKind::Hook(hook) = &event.kind { Some(&hook.caller) } else { None };
    let extras = process.map(|view| (OUR_PROCESS, ExtraBytes::of(view, caller)));
    let extras = extras.into_iter().chain(parent.map(|view| (OUR_PARENT, ExtraBytes::of(view, None))));
    let extras = extras.chain(ancestors.iter().map(|view| (OUR_ANCESTORS, ExtraBytes::of(view, None))));
    let extras: Vec<_> = extras.collect();

    let length = response.len();
    let of_extras: usize = extras.iter().map(|(number, bytes)| delimited_len(*number, bytes.len())).sum();
    let mut out = Vec::with_capacity(delimited_len(OUR_EVENT, length) + of_extras + rest.encoded_len());
    put_header(OUR_EVENT, length, &mut out);
    response.put(&mut out);
    for (number, bytes) in extras {
        put_header(number, bytes.len(), &mut out);
        out.put_slice(bytes.common);
        out.put_slice(&bytes.thread);
    }
    rest.encode_raw(&mut out);
    out.into()
}

/// What only we tell of a process: bytes kept with it, and of a thread that called a hook its own.
struct ExtraBytes<'a> {
    common: &'a [u8],
    thread: Cow<'a, [u8]>,
}

impl<'a> ExtraBytes<'a> {
    fn of(view: &'a ProcessView, caller: Option<&Caller>) -> Self {
        let process = &*view.process;
        let form =
            process.encoded.extra.get_or_init(|| form(&common_extra(process), &thread_extra(process, None)));
        let (common, thread) = form.bytes.split_at(form.of_thread);
        let thread = match caller.filter(|caller| caller.creds.is_some()) {
            Some(caller) => Cow::Owned(thread_extra(process, Some(caller)).encode_to_vec()),
            None => Cow::Borrowed(thread),
        };
        Self { common, thread }
    }

    fn len(&self) -> usize {
        self.common.len() + self.thread.len()
    }
}

fn form<M: Message>(common: &M, thread: &M) -> ProtoForm {
    let mut bytes = common.encode_to_vec();
    let of_thread = bytes.len();
    thread.encode_raw(&mut bytes);
    ProtoForm { bytes: bytes.into_boxed_slice(), of_thread }
}

/// A response whose parts are known and measured but not yet joined.
struct Response<'a> {
    /// Number of the field of the event.
    kind: u32,
    /// The fields of the event.
    fields: Vec<Field<'a>>,
    /// Everything else, or the whole of an event without a process.
    rest: tetragon::GetEventsResponse,
}

/// A field of an event about a process.
enum Field<'a> {
    Process(u32, ProcessBytes<'a>),
    Text(u32, &'a str),
    Tag(u32, &'a str),
    Bytes(u32, &'a [u8]),
    Frame(u32, tetragon::StackTraceEntry),
    Argument(u32, KprobeArgument),
    Number(u32, u64),
    Time(u32, prost_types::Timestamp),
}

impl<'a> Response<'a> {
    fn of(event: &'a Event) -> Self {
        let (kind, process, parent, ancestors, ancestors_field) = match &event.kind {
            EventKind::Exec(exec) => {
                (EXEC, &exec.process, &exec.parent, exec.ancestors.as_slice(), EXEC_ANCESTORS)
            }
            EventKind::Exit(exit) => (EXIT, &exit.process, &exit.parent, &*exit.ancestors, EXIT_ANCESTORS),
            EventKind::Hook(hook) => return Self::of_hook(event, hook),
            EventKind::Gap(_) => return Self { kind: 0, fields: Vec::new(), rest: event.into() },
        };
        let mut fields = Vec::with_capacity(5 + ancestors.len());
        let mut view = ProcessBytes::of(process, None);
        if kind == EXEC {
            view.properties = shown_properties(&process.process);
        }
        fields.push(Field::Process(PROCESS, view));
        fields.extend(parent.iter().map(|parent| Field::Process(PARENT, ProcessBytes::of(parent, None))));
        if let EventKind::Exit(exit) = &event.kind {
            fields.push(Field::Text(EXIT_SIGNAL, signal::name(exit.signal)));
            fields.push(Field::Number(EXIT_STATUS, u64::from(exit.status)));
            fields.extend(timestamp(event.time).map(|time| Field::Time(EXIT_TIME, time)));
        }
        fields.extend(
            ancestors.iter().map(|view| Field::Process(ancestors_field, ProcessBytes::of(view, None))),
        );
        Self { kind, fields, rest: envelope(event) }
    }

    fn of_hook(event: &Event, hook: &'a HookEvent) -> Self {
        let info = &*hook.hook;
        let numbers = match info.family {
            Family::Kprobe => &KPROBE,
            Family::Tracepoint => &TRACEPOINT,
            Family::Uprobe => &UPROBE,
            Family::Usdt => &USDT,
            Family::Lsm => &LSM,
            Family::Loader => &LOADER,
        };
        let mut fields = Vec::with_capacity(16 + hook.args.len() + hook.more.data.len() + info.tags.len());
        fields.push(Field::Process(PROCESS, ProcessBytes::of(&hook.process, Some(&hook.caller))));
        let process = |number, view| Field::Process(number, ProcessBytes::of(view, None));
        fields.extend(hook.parent.iter().map(|parent| process(numbers.parent, parent)));
        fields.extend(hook.more.ancestors.iter().map(|view| process(numbers.ancestors, view)));
        fields.extend([
            Field::Text(numbers.function, &hook.function),
            Field::Text(numbers.subsystem, &info.subsystem),
            Field::Text(numbers.event, &info.event),
            Field::Text(numbers.path, &info.path),
            Field::Text(numbers.policy, &info.policy),
            Field::Text(numbers.message, &info.message),
            Field::Text(numbers.file_hash, &hook.more.file_hash),
            Field::Number(numbers.offset, info.offset),
            Field::Number(numbers.ref_ctr_offset, info.ref_ctr_offset),
            // A negative number of an enum is sign-extended.
            Field::Number(numbers.action, i64::from(hook.action).cast_unsigned()),
            Field::Number(numbers.return_action, i64::from(hook.return_action).cast_unsigned()),
        ]);
        let arguments = [(numbers.args, &*hook.args), (numbers.data, &*hook.more.data)];
        for (number, list) in arguments {
            fields.extend(list.iter().map(|argument| Field::Argument(number, argument.compatible())));
        }
        fields.extend(hook.result.iter().map(|result| Field::Argument(numbers.result, result.compatible())));
        let stacks =
            [(numbers.kernel_stack, &hook.more.kernel_stack), (numbers.user_stack, &hook.more.user_stack)];
        for (number, stack) in stacks.into_iter().filter(|(number, _)| *number != 0) {
            fields.extend(stack.iter().map(|one| Field::Frame(number, frame(one))));
        }
        if let Some(loaded) = &hook.more.loaded {
            fields.push(Field::Text(numbers.loaded, &loaded.path));
            fields.push(Field::Bytes(numbers.build_id, &loaded.build_id));
        }
        // An empty tag stands in the list too.
        fields.extend(info.tags.iter().map(|tag| Field::Tag(numbers.tags, tag)));
        fields.retain(|field| field.number() != 0);
        Self { kind: numbers.kind, fields, rest: envelope(event) }
    }

    fn inner_len(&self) -> usize {
        self.fields.iter().map(Field::len).sum()
    }

    fn len(&self) -> usize {
        let inner = if self.kind == 0 { 0 } else { delimited_len(self.kind, self.inner_len()) };
        inner + self.rest.encoded_len()
    }

    fn put(&self, out: &mut Vec<u8>) {
        if self.kind != 0 {
            put_header(self.kind, self.inner_len(), out);
            for field in &self.fields {
                field.put(out);
            }
        }
        self.rest.encode_raw(out);
    }
}

impl Field<'_> {
    const fn number(&self) -> u32 {
        match self {
            Self::Process(number, _)
            | Self::Text(number, _)
            | Self::Tag(number, _)
            | Self::Bytes(number, _)
            | Self::Frame(number, _)
            | Self::Argument(number, _)
            | Self::Number(number, _)
            | Self::Time(number, _) => *number,
        }
    }

    fn len(&self) -> usize {
        match self {
            Self::Process(number, process) => delimited_len(*number, process.len()),
            Self::Text(number, text) if !text.is_empty() => delimited_len(*number, text.len()),
            Self::Tag(number, text) => delimited_len(*number, text.len()),
            Self::Bytes(number, bytes) if !bytes.is_empty() => delimited_len(*number, bytes.len()),
            Self::Frame(number, frame) => delimited_len(*number, frame.encoded_len()),
            Self::Argument(number, argument) => delimited_len(*number, argument.encoded_len()),
            Self::Number(number, value) => varint_len(*number, *value),
            Self::Text(..) | Self::Bytes(..) => 0,
            Self::Time(number, time) => delimited_len(*number, time.encoded_len()),
        }
    }

    fn put(&self, out: &mut Vec<u8>) {
        match self {
            Self::Process(number, process) => {
                put_header(*number, process.len(), out);
                process.put(out);
            }
            Self::Tag(number, text) => put_text(*number, text, out),
            Self::Text(number, text) if !text.is_empty() => put_text(*number, text, out),
            Self::Argument(number, argument) => {
                put_header(*number, argument.encoded_len(), out);
                argument.encode_raw(out);
            }
            Self::Bytes(number, bytes) if !bytes.is_empty() => {
                put_header(*number, bytes.len(), out);
                out.put_slice(bytes);
            }
            Self::Frame(number, frame) => {
                put_header(*number, frame.encoded_len(), out);
                frame.encode_raw(out);
            }
            Self::Number(number, value) => put_varint(*number, *value, out),
            Self::Text(..) | Self::Bytes(..) => {}
            Self::Time(number, time) => {
                put_header(*number, time.encoded_len(), out);
                time.encode_raw(out);
            }
        }
    }
}

/// A process: bytes kept with it, and the little that differs from event to event.
struct ProcessBytes<'a> {
    common: &'a [u8],
    thread: Cow<'a, [u8]>,
    refcnt: u32,
    properties: Option<tetragon::BinaryProperties>,
}

impl<'a> ProcessBytes<'a> {
    fn of(view: &'a ProcessView, caller: Option<&Caller>) -> Self {
        let process = &*view.process;
        let encode = || form(&common_message(process), &thread_message(process, None));
        let form = process.encoded.proto.get_or_init(encode);
        let (common, thread) = form.bytes.split_at(form.of_thread);
        let thread = match caller {
            Some(_) => Cow::Owned(thread_message(process, caller).encode_to_vec()),
            None => Cow::Borrowed(thread),
        };
        Self { common, thread, refcnt: view.refcnt, properties: None }
    }

    fn len(&self) -> usize {
        let properties = self.properties.as_ref();
        self.common.len()
            + self.thread.len()
            + varint_len(REFCNT, u64::from(self.refcnt))
            + properties.map_or(0, |properties| delimited_len(BINARY_PROPERTIES, properties.encoded_len()))
    }

    fn put(&self, out: &mut Vec<u8>) {
        out.put_slice(self.common);
        out.put_slice(&self.thread);
        put_varint(REFCNT, u64::from(self.refcnt), out);
        if let Some(properties) = &self.properties {
            put_header(BINARY_PROPERTIES, properties.encoded_len(), out);
            properties.encode_raw(out);
        }
    }
}

fn put_text(number: u32, text: &str, out: &mut Vec<u8>) {
    put_header(number, text.len(), out);
    out.put_slice(text.as_bytes());
}

/// Length of a field of `length` bytes with its header.
fn delimited_len(number: u32, length: usize) -> usize {
    key_len(number) + encoded_len_varint(length as u64) + length
}

fn put_header(number: u32, length: usize, out: &mut Vec<u8>) {
    encode_key(number, WireType::LengthDelimited, out);
    encode_varint(length as u64, out);
}

/// Length of a number field; a zero is left out.
fn varint_len(number: u32, value: u64) -> usize {
    if value == 0 { 0 } else { key_len(number) + encoded_len_varint(value) }
}

fn put_varint(number: u32, value: u64, out: &mut Vec<u8>) {
    if value != 0 {
        encode_key(number, WireType::Varint, out);
        encode_varint(value, out);
    }
}

//! Events as protobuf bytes.

use bytes::{BufMut, Bytes};
use prost::Message;
use prost::encoding::{WireType, encode_key, encode_varint, encoded_len_varint, key_len};

use super::extra::{process_extra, without_processes};
use super::message::{constant_message, envelope, shown_properties};
use super::timestamp;
use crate::event::{Event, EventKind, ProcessView};
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
    let extras = process.map(|view| (OUR_PROCESS, extra_bytes(view)));
    let extras = extras.into_iter().chain(parent.map(|view| (OUR_PARENT, extra_bytes(view))));
    let extras = extras.chain(ancestors.iter().map(|view| (OUR_ANCESTORS, extra_bytes(view))));

    let length = response.len();
    let of_extras: usize = extras.clone().map(|(number, bytes)| delimited_len(number, bytes.len())).sum();
    let mut out = Vec::with_capacity(delimited_len(OUR_EVENT, length) + of_extras + rest.encoded_len());
    put_header(OUR_EVENT, length, &mut out);
    response.put(&mut out);
    for (number, bytes) in extras {
        put_header(number, bytes.len(), &mut out);
        out.put_slice(bytes);
    }
    rest.encode_raw(&mut out);
    out.into()
}

/// What only we tell of a process, made once.
fn extra_bytes(view: &ProcessView) -> &[u8] {
    let process = &*view.process;
    process.encoded.extra.get_or_init(|| process_extra(process).encode_to_vec().into_boxed_slice())
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

/// A field of an exec or exit event.
enum Field<'a> {
    Process(u32, ProcessBytes<'a>),
    Text(u32, &'static str),
    Number(u32, u64),
    Time(u32, prost_types::Timestamp),
}

impl<'a> Response<'a> {
    fn of(event: &'a Event) -> Self {
        let (kind, process, parent, ancestors, ancestors_field) = match &event.kind {
            EventKind::Exec(exec) => (EXEC, &exec.process, &exec.parent, &exec.ancestors, EXEC_ANCESTORS),
            EventKind::Exit(exit) => (EXIT, &exit.process, &exit.parent, &exit.ancestors, EXIT_ANCESTORS),
            EventKind::Gap(_) => return Self { kind: 0, fields: Vec::new(), rest: event.into() },
        };
        let mut fields = Vec::with_capacity(5 + ancestors.len());
        let mut view = ProcessBytes::of(process);
        if kind == EXEC {
            view.properties = shown_properties(&process.process);
        }
        fields.push(Field::Process(PROCESS, view));
        fields.extend(parent.iter().map(|parent| Field::Process(PARENT, ProcessBytes::of(parent))));
        if let EventKind::Exit(exit) = &event.kind {
            fields.push(Field::Text(EXIT_SIGNAL, signal::name(exit.signal)));
            fields.push(Field::Number(EXIT_STATUS, u64::from(exit.status)));
            fields.extend(timestamp(event.time).map(|time| Field::Time(EXIT_TIME, time)));
        }
        fields.extend(ancestors.iter().map(|view| Field::Process(ancestors_field, ProcessBytes::of(view))));
        Self { kind, fields, rest: envelope(event) }
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
    fn len(&self) -> usize {
        match self {
            Self::Process(number, process) => delimited_len(*number, process.len()),
            Self::Text(number, text) if !text.is_empty() => delimited_len(*number, text.len()),
            Self::Number(number, value) => varint_len(*number, *value),
            Self::Text(..) => 0,
            Self::Time(number, time) => delimited_len(*number, time.encoded_len()),
        }
    }

    fn put(&self, out: &mut Vec<u8>) {
        match self {
            Self::Process(number, process) => {
                put_header(*number, process.len(), out);
                process.put(out);
            }
            Self::Text(number, text) if !text.is_empty() => {
                put_header(*number, text.len(), out);
                out.put_slice(text.as_bytes());
            }
            Self::Number(number, value) => put_varint(*number, *value, out),
            Self::Text(..) => {}
            Self::Time(number, time) => {
                put_header(*number, time.encoded_len(), out);
                time.encode_raw(out);
            }
        }
    }
}

/// A process: bytes kept with it, and the little that differs from event to event.
struct ProcessBytes<'a> {
    constant: &'a [u8],
    refcnt: u32,
    properties: Option<tetragon::BinaryProperties>,
}

impl<'a> ProcessBytes<'a> {
    fn of(view: &'a ProcessView) -> Self {
        let process = &*view.process;
        let encode = || constant_message(process).encode_to_vec().into_boxed_slice();
        Self { constant: process.encoded.proto.get_or_init(encode), refcnt: view.refcnt, properties: None }
    }

    fn len(&self) -> usize {
        let properties = self.properties.as_ref();
        self.constant.len()
            + varint_len(REFCNT, u64::from(self.refcnt))
            + properties.map_or(0, |properties| delimited_len(BINARY_PROPERTIES, properties.encoded_len()))
    }

    fn put(&self, out: &mut Vec<u8>) {
        out.put_slice(self.constant);
        put_varint(REFCNT, u64::from(self.refcnt), out);
        if let Some(properties) = &self.properties {
            put_header(BINARY_PROPERTIES, properties.encoded_len(), out);
            properties.encode_raw(out);
        }
    }
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

//! Captured values in JSON.
//!
//! What hooks capture often is written by hand; the rest by the descriptors, in the same canonical form.

use std::net::IpAddr;

use prost_reflect::SerializeOptions;
use serde_json::Value;

use super::objects::{self, Objects};
use super::text::{
    comma, flag_field, key, number, number_field, quoted_number, string, string_field, wide_field, word,
    word_field,
};
use crate::descriptors::Described;
use crate::event::{Argument, ArgumentValue, NO_ADDRESS, Name, Socket, SocketKind};
use crate::tetragon::kprobe_argument::Arg;
use crate::tetragon::{BpfCmd, KprobeArgument, KprobeSkb};

const BASE64: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/// The numbers of a byte, each with a dot behind it, and the length of both.
const OCTETS: [([u8; 4], u8); 256] = {
    let mut table = [([b'.'; 4], 0); 256];
    let mut value = 0;
    while value < 256 {
        let digits = [b'0' + value as u8 / 100, b'0' + value as u8 / 10 % 10, b'0' + value as u8 % 10];
        let length = if value >= 100 {
            3
        } else if value >= 10 {
            2
        } else {
            1
        };
        let mut digit = 0;
        while digit < length {
            table[value].0[digit] = digits[3 - length + digit];
            digit += 1;
        }
        table[value].1 = length as u8 + 1;
        value += 1;
    }
    table
};

/// Appends the object of an argument, with what only Saker tells when `extras` are shown. `objects`: texts that are kept.
pub(super) fn write(argument: &Argument, extras: bool, objects: Option<&mut Objects>, out: &mut Vec<u8>) {
    let label = argument.label.as_deref();
    // They are the first member each, so that no commas are needed.
    match &argument.value {
        ArgumentValue::None => out.push(b'{'),
        // Results and flags: one copy of a length that is known.
        ArgumentValue::Int(value @ 0..=9) if label.is_none() => {
            let mut text = *b"{\"int_arg\":0}";
            text[11] += *value as u8;
            return out.extend_from_slice(&text);
        }
        ArgumentValue::Int(value) => {
            out.extend_from_slice(b"{\"int_arg\":");
            signed(out, i64::from(*value));
        }
        ArgumentValue::Uint(value) => {
            out.extend_from_slice(b"{\"uint_arg\":");
            number(out, u64::from(*value));
        }
        ArgumentValue::Long(value) => {
            out.extend_from_slice(b"{\"long_arg\":\"");
            signed(out, *value);
            out.push(b'"');
        }
        ArgumentValue::Size(value) => {
            out.extend_from_slice(b"{\"size_arg\":\"");
            number(out, *value);
            out.push(b'"');
        }
        ArgumentValue::Text(text, _) => {
            out.extend_from_slice(b"{\"string_arg\":");
            string(out, text);
        }
        ArgumentValue::Object(object) => {
            return match objects {
                Some(objects) => objects.write(object, label, extras, out),
                None => objects::write(object, label, extras, out),
            };
        }
        ArgumentValue::Socket(socket) => write_socket(socket, out),
        ArgumentValue::Other(arg) => {
            out.push(b'{');
            write_arg(arg, out);
        }
    }
    if let Some(label) = label {
        string_field(out, name!("label"), label);
    }
    if extras && let ArgumentValue::Text(_, truncated) = &argument.value {
        flag_field(out, name!("truncated"), *truncated);
    }
    out.push(b'}');
}

fn write_arg(arg: &Arg, out: &mut Vec<u8>) {
    match arg {
        Arg::BytesArg(bytes) => bytes_field(out, name!("bytes_arg"), bytes),
        Arg::TruncatedBytesArg(cut) => {
            key(out, name!("truncated_bytes_arg"));
            out.push(b'{');
            if !cut.bytes_arg.is_empty() {
                bytes_field(out, name!("bytes_arg"), &cut.bytes_arg);
            }
            wide_field(out, name!("orig_size"), cut.orig_size);
            out.push(b'}');
        }
        Arg::SkbArg(skb) => write_skb(skb, out),
        Arg::SockaddrArg(address) => {
            key(out, name!("sockaddr_arg"));
            out.push(b'{');
            string_field(out, name!("family"), &address.family);
            string_field(out, name!("addr"), &address.addr);
            number_field(out, name!("port"), address.port);
            out.push(b'}');
        }
        Arg::KernelCapTArg(set) => text_field(out, name!("kernel_cap_t_arg"), set),
        Arg::CapInheritableArg(set) => text_field(out, name!("cap_inheritable_arg"), set),
        Arg::CapPermittedArg(set) => text_field(out, name!("cap_permitted_arg"), set),
        Arg::CapEffectiveArg(set) => text_field(out, name!("cap_effective_arg"), set),
        Arg::BpfCmdArg(command) => {
            key(out, name!("bpf_cmd_arg"));
            write_enum(*command, BpfCmd::try_from(*command).ok().map(|command| command.as_str_name()), out);
        }
        Arg::SyscallId(id) => {
            key(out, name!("syscall_id"));
            out.push(b'{');
            number_field(out, name!("id"), id.id);
            string_field(out, name!("abi"), &id.abi);
            out.push(b'}');
        }
        other => write_described(other, out),
    }
}

/// Values that are rare or have many fields.
#[cold]
fn write_described(arg: &Arg, out: &mut Vec<u8>) {
    let message = KprobeArgument { arg: Some(arg.clone()), label: String::new() };
    let options = SerializeOptions::new().use_proto_field_name(true);
    let object = message.to_dynamic().serialize_with_options(serde_json::value::Serializer, &options);
    if let Ok(Value::Object(object)) = object {
        for (name, value) in &object {
            comma(out);
            string(out, name);
            out.push(b':');
            write_value(value, out);
        }
    }
}

fn write_value(value: &Value, out: &mut Vec<u8>) {
    match value {
        Value::Null => out.extend_from_slice(b"null"),
        Value::Bool(value) => out.extend_from_slice(if *value { b"true" } else { b"false" }),
        Value::Number(number) => out.extend_from_slice(number.to_string().as_bytes()),
        Value::String(text) => string(out, text),
        Value::Array(values) => {
            out.push(b'[');
            for value in values {
                comma(out);
                write_value(value, out);
            }
            out.push(b']');
        }
        Value::Object(fields) => {
            out.push(b'{');
            for (name, value) in fields {
                comma(out);
                string(out, name);
                out.push(b':');
                write_value(value, out);
            }
            out.push(b'}');
        }
    }
}

fn write_socket(socket: &Socket, out: &mut Vec<u8>) {
    let (common, end) = socket.common.encoded.json.get_or_init(|| socket_kind(&socket.common));
    out.extend_from_slice(&common[..*end]);
    write_address(socket.source, out);
    // The address of the other side precedes what follows.
    out.extend_from_slice(b",\"daddr\":");
    write_address(socket.destination, out);
    if socket.source_port != 0 {
        out.extend_from_slice(b",\"sport\":");
        number(out, socket.source_port.into());
    }
    if socket.destination_port != 0 {
        out.extend_from_slice(b",\"dport\":");
        number(out, socket.destination_port.into());
    }
    if socket.cookie != 0 {
        out.extend_from_slice(b",\"cookie\":\"");
        number(out, socket.cookie);
        out.push(b'"');
    }
    out.extend_from_slice(&common[*end..]);
}

/// What stands before the first address of such a socket and, from the place that is returned with it, at the end.
fn socket_kind(common: &SocketKind) -> (Box<[u8]>, usize) {
    // It is the first member of its argument, so that no comma precedes it.
    let mut text = b"{\"sock_arg\":{".to_vec();
    name_field(&mut text, name!("family"), common.family);
    name_field(&mut text, name!("type"), common.kind);
    name_field(&mut text, name!("protocol"), common.protocol);
    number_field(&mut text, name!("mark"), common.mark);
    number_field(&mut text, name!("priority"), common.priority);
    key(&mut text, name!("saddr"));
    let end = text.len();
    // Addresses precede it.
    let mut state = b"0".to_vec();
    name_field(&mut state, name!("state"), common.state);
    text.extend_from_slice(&state[1..]);
    text.push(b'}');
    (text.into(), end)
}

#[inline]
fn name_field(out: &mut Vec<u8>, key: &str, name: Name) {
    match name {
        Name::Known(name) => word_field(out, key, name),
        Name::Unknown(number) => unnamed(out, key, number),
    }
}

/// A number as a text, where there is no name.
#[cold]
fn unnamed(out: &mut Vec<u8>, name: &str, value: u16) {
    key(out, name);
    quoted_number(out, u64::from(value));
}

#[inline]
fn write_address(address: Option<IpAddr>, out: &mut Vec<u8>) {
    match address {
        Some(IpAddr::V4(address)) => {
            let mut text = [b'"'; 20];
            let mut at = 1;
            for octet in address.octets() {
                // Its digits, a dot, and what the next overwrites.
                let (digits, length) = OCTETS[usize::from(octet)];
                text[at..at + 4].copy_from_slice(&digits);
                at += usize::from(length);
            }
            text[at - 1] = b'"';
            // All of it, because a copy of a length that is known takes two moves.
            let end = out.len() + at;
            out.extend_from_slice(&text);
            out.truncate(end);
        }
        Some(IpAddr::V6(address)) => string(out, &address.to_string()),
        None => string(out, NO_ADDRESS),
    }
}

fn write_skb(skb: &KprobeSkb, out: &mut Vec<u8>) {
    key(out, name!("skb_arg"));
    out.push(b'{');
    number_field(out, name!("hash"), skb.hash);
    number_field(out, name!("len"), skb.len);
    number_field(out, name!("priority"), skb.priority);
    number_field(out, name!("mark"), skb.mark);
    string_field(out, name!("saddr"), &skb.saddr);
    string_field(out, name!("daddr"), &skb.daddr);
    number_field(out, name!("sport"), skb.sport);
    number_field(out, name!("dport"), skb.dport);
    number_field(out, name!("proto"), skb.proto);
    number_field(out, name!("sec_path_len"), skb.sec_path_len);
    number_field(out, name!("sec_path_olen"), skb.sec_path_olen);
    string_field(out, name!("protocol"), &skb.protocol);
    string_field(out, name!("family"), &skb.family);
    out.push(b'}');
}

/// Appends an enum value: by name, or by number one that has none.
pub(super) fn write_enum(value: i32, name: Option<&'static str>, out: &mut Vec<u8>) {
    match name {
        Some(name) => word(out, name),
        None => signed(out, i64::from(value)),
    }
}

/// A member of a oneof, which is written even when it is empty.
fn text_field(out: &mut Vec<u8>, name: &str, text: &str) {
    key(out, name);
    string(out, text);
}

fn signed(out: &mut Vec<u8>, value: i64) {
    if value < 0 {
        out.push(b'-');
    }
    number(out, value.unsigned_abs());
}

pub(super) fn bytes_field(out: &mut Vec<u8>, name: &str, bytes: &[u8]) {
    key(out, name);
    out.reserve(bytes.len().div_ceil(3) * 4 + 2);
    out.push(b'"');
    for group in bytes.chunks(3) {
        let byte = |index: usize| u32::from(group.get(index).copied().unwrap_or_default());
        let bits = byte(0) << 16 | byte(1) << 8 | byte(2);
        let mut letters = [b'='; 4];
        for (index, letter) in letters.iter_mut().enumerate().take(group.len() + 1) {
            *letter = BASE64[(bits >> (18 - 6 * index) & 63) as usize];
        }
        out.extend_from_slice(&letters);
    }
    out.push(b'"');
}

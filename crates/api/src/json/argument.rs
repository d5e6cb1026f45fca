//! Captured values in JSON.
//!
//! What hooks capture often is written by hand; the rest by the descriptors, in the same canonical form.

use prost_reflect::SerializeOptions;
use serde_json::Value;

use super::text::{
    comma, flag_field, key, number, number_field, quoted_number, string, string_field, wide_field,
};
use crate::descriptors::Described;
use crate::event::Argument;
use crate::tetragon::kprobe_argument::Arg;
use crate::tetragon::{BpfCmd, KprobeArgument, KprobeSkb, KprobeSock};

const BASE64: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/// Appends the object of an argument, with what only Saker tells when `extras` are shown.
pub(super) fn write(argument: &Argument, extras: bool, out: &mut Vec<u8>) {
    out.push(b'{');
    if let Some(arg) = &argument.compatible.arg {
        write_arg(arg, out);
    }
    string_field(out, name!("label"), &argument.compatible.label);
    if extras {
        let extra = &argument.extra;
        wide_field(out, name!("inode"), extra.inode);
        string_field(out, name!("device"), &extra.device);
        flag_field(out, name!("unreachable"), extra.unreachable);
        flag_field(out, name!("truncated"), extra.truncated);
    }
    out.push(b'}');
}

fn write_arg(arg: &Arg, out: &mut Vec<u8>) {
    match arg {
        Arg::StringArg(text) => text_field(out, name!("string_arg"), text),
        Arg::IntArg(value) => {
            key(out, name!("int_arg"));
            signed(out, i64::from(*value));
        }
        Arg::UintArg(value) => {
            key(out, name!("uint_arg"));
            number(out, u64::from(*value));
        }
        Arg::LongArg(value) => {
            key(out, name!("long_arg"));
            out.push(b'"');
            signed(out, *value);
            out.push(b'"');
        }
        Arg::SizeArg(value) => {
            key(out, name!("size_arg"));
            quoted_number(out, *value);
        }
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
        Arg::PathArg(path) => {
            key(out, name!("path_arg"));
            write_path([&path.mount, &path.path, &path.flags, &path.permission], out);
        }
        Arg::FileArg(file) => {
            key(out, name!("file_arg"));
            write_path([&file.mount, &file.path, &file.flags, &file.permission], out);
        }
        Arg::LinuxBinprmArg(program) => {
            key(out, name!("linux_binprm_arg"));
            write_path(["", &program.path, &program.flags, &program.permission], out);
        }
        Arg::SockArg(sock) => write_sock(sock, out),
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

fn write_path([mount, path, flags, permission]: [&str; 4], out: &mut Vec<u8>) {
    out.push(b'{');
    string_field(out, name!("mount"), mount);
    string_field(out, name!("path"), path);
    string_field(out, name!("flags"), flags);
    string_field(out, name!("permission"), permission);
    out.push(b'}');
}

fn write_sock(sock: &KprobeSock, out: &mut Vec<u8>) {
    key(out, name!("sock_arg"));
    out.push(b'{');
    string_field(out, name!("family"), &sock.family);
    string_field(out, name!("type"), &sock.r#type);
    string_field(out, name!("protocol"), &sock.protocol);
    number_field(out, name!("mark"), sock.mark);
    number_field(out, name!("priority"), sock.priority);
    string_field(out, name!("saddr"), &sock.saddr);
    string_field(out, name!("daddr"), &sock.daddr);
    number_field(out, name!("sport"), sock.sport);
    number_field(out, name!("dport"), sock.dport);
    wide_field(out, name!("cookie"), sock.cookie);
    string_field(out, name!("state"), &sock.state);
    out.push(b'}');
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
pub(super) fn write_enum(value: i32, name: Option<&str>, out: &mut Vec<u8>) {
    match name {
        Some(name) => string(out, name),
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

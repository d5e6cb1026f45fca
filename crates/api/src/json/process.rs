//! A process in JSON: text that is made once, and the little that differs from event to event.

use std::ops::Range;

use super::credentials::{write_capabilities, write_namespaces, write_process_credentials, write_user_ns};
use super::pod;
use super::text::{
    comma, flag_field, key, number, number_field, quoted_number, string, string_field, time_field,
    wide_field, wrapped_field,
};
use crate::event::{BinaryProperties, Caller, Credentials, JsonForm, Namespaces, Process, ProcessView};
use crate::tetragon::ProcessPrivilegesChanged;

/// Where in an event a process stands.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    /// The process that an exec event is about; only there the properties of the file are told.
    Executed,
    /// Anywhere else.
    Other,
}

/// Appends the object of a process.
pub(super) fn write(view: &ProcessView, place: Place, out: &mut Vec<u8>) {
    let process = &*view.process;
    match process.encoded.json.get() {
        Some(form) => out.extend_from_slice(&form.text),
        None => {
            // Written where it is needed first; the copy for later events has no byte too many.
            let begin = out.len();
            let mut form = write_fragment(process, out);
            form.text = Box::from(&out[begin..]);
            // Whoever else made it meanwhile has made the same.
            let _ = process.encoded.json.set(form);
        }
    }
    if place == Place::Executed
        && process.visible.credentials
        && let Some(properties) = &process.binary_properties
    {
        write_binary_properties(properties, out);
    }
    end(view, out);
}

/// Appends the object of a process one of whose threads called a hook: as of its exec, but for what is known of
/// the thread at the time of the event.
pub(super) fn write_caller(view: &ProcessView, caller: &Caller, out: &mut Vec<u8>) {
    let process = &*view.process;
    let form = process.encoded.json.get_or_init(|| {
        let mut text = Vec::new();
        let form = write_fragment(process, &mut text);
        JsonForm { text: text.into(), ..form }
    });
    let creds = caller.creds.as_deref().filter(|_| process.visible.credentials);
    let namespaces = caller.namespaces.as_deref().filter(|_| process.visible.namespaces);
    // Mostly it is the first thread, which tells nothing anew.
    if caller.tid == process.pid && !form.tid.is_empty() && creds.is_none() && namespaces.is_none() {
        out.extend_from_slice(&form.text);
        end(view, out);
        return;
    }
    out.extend_from_slice(&form.text[..form.tid.start]);
    wrapped_field(out, name!("tid"), caller.tid);
    out.extend_from_slice(&form.text[form.tid.end..form.creds.start]);
    match creds {
        Some(creds) => write_creds(creds, out),
        None => out.extend_from_slice(&form.text[form.creds.clone()]),
    }
    match namespaces {
        Some(namespaces) => write_ns(namespaces, out),
        None => out.extend_from_slice(&form.text[form.namespaces.clone()]),
    }
    out.extend_from_slice(&form.text[form.namespaces.end..form.more_creds.start]);
    match creds {
        Some(creds) if process.visible.extras => write_more_creds(creds, out),
        _ => out.extend_from_slice(&form.text[form.more_creds.clone()]),
    }
    end(view, out);
}

fn end(view: &ProcessView, out: &mut Vec<u8>) {
    number_field(out, name!("refcnt"), view.refcnt);
    out.push(b'}');
}

/// Everything that is the same in all events, without the closing brace; returns where parts of it stand, counted
/// from its beginning.
fn write_fragment(process: &Process, out: &mut Vec<u8>) -> JsonForm {
    let begin = out.len();
    out.push(b'{');
    let tid = write_identity(process, out);
    let creds = out.len();
    let shown = process.creds.as_deref().filter(|_| process.visible.credentials);
    if let Some(creds) = shown {
        write_creds(creds, out);
    }
    let namespaces = out.len();
    if process.visible.namespaces
        && let Some(namespaces) = &process.namespaces
    {
        write_ns(namespaces, out);
    }
    let after_namespaces = out.len();
    if process.visible.extras {
        write_extra(process, out);
    }
    let more_creds = out.len();
    if let (Some(creds), true) = (shown, process.visible.extras) {
        write_more_creds(creds, out);
    }
    let range = |from: usize, to: usize| from - begin..to - begin;
    JsonForm {
        text: Box::default(),
        tid: range(tid.start, tid.end),
        creds: range(creds, namespaces),
        namespaces: range(namespaces, after_namespaces),
        more_creds: range(more_creds, out.len()),
    }
}

fn write_creds(creds: &Credentials, out: &mut Vec<u8>) {
    key(out, name!("cap"));
    write_capabilities(creds, out);
    key(out, name!("process_credentials"));
    write_process_credentials(creds, out);
}

fn write_ns(namespaces: &Namespaces, out: &mut Vec<u8>) {
    key(out, name!("ns"));
    write_namespaces(namespaces, out);
}

fn write_more_creds(creds: &Credentials, out: &mut Vec<u8>) {
    string_field(out, name!("cap_bounding"), &format!("{:016x}", creds.cap_bounding));
    if creds.cap_ambient != 0 {
        string_field(out, name!("cap_ambient"), &format!("{:016x}", creds.cap_ambient));
    }
    write_user_ns(creds, out);
}

/// Returns where it has written the thread, in `out`.
fn write_identity(process: &Process, out: &mut Vec<u8>) -> Range<usize> {
    string_field(out, name!("exec_id"), &process.exec_id);
    wrapped_field(out, name!("pid"), process.pid);
    let known = process.has_identity();
    if known {
        wrapped_field(out, name!("uid"), process.uid);
    }
    string_field(out, name!("cwd"), &process.cwd);
    string_field(out, name!("binary"), &process.binary);
    string_field(out, name!("arguments"), &process.arguments);
    string_field(out, name!("flags"), &process.flags);
    time_field(out, name!("start_time"), process.start_time);
    if known {
        wrapped_field(out, name!("auid"), process.auid);
    }
    if let Some(pod) = process.pod.as_deref() {
        pod::write(pod, process.extra.ns_pid, out);
    }
    string_field(out, name!("docker"), &process.docker);
    string_field(out, name!("parent_exec_id"), &process.parent_exec_id);
    let tid = out.len();
    if known {
        wrapped_field(out, name!("tid"), process.pid);
    }
    let tid = tid..out.len();
    if let Some(user) = &process.user {
        key(out, name!("user"));
        out.push(b'{');
        string_field(out, name!("name"), user);
        out.push(b'}');
    }
    if let Some(in_init_tree) = process.in_init_tree {
        key(out, name!("in_init_tree"));
        out.extend_from_slice(if in_init_tree { b"true" } else { b"false" });
    }
    if !process.environment.is_empty() {
        key(out, name!("environment_variables"));
        out.push(b'[');
        for (name, value) in &process.environment {
            comma(out);
            out.push(b'{');
            string_field(out, name!("Key"), name);
            string_field(out, name!("Value"), value);
            out.push(b'}');
        }
        out.push(b']');
    }
    tid
}

fn write_extra(process: &Process, out: &mut Vec<u8>) {
    let extra = &*process.extra;
    string_field(out, name!("canonical_path"), &extra.canonical_path);
    wide_field(out, name!("inode"), extra.inode);
    if let (major, minor @ 1..) | (major @ 1.., minor) = extra.device {
        key(out, name!("device"));
        out.push(b'"');
        number(out, u64::from(major));
        out.push(b':');
        number(out, u64::from(minor));
        out.push(b'"');
    }
    string_field(out, name!("interpreter"), &extra.interpreter);
    string_field(out, name!("script"), &extra.script);
    string_field(out, name!("tty"), &extra.tty);
    number_field(out, name!("session_id"), extra.session_id);
    number_field(out, name!("process_group"), extra.process_group);
    number_field(out, name!("audit_session"), extra.audit_session_if_set());
    number_field(out, name!("ns_pid"), extra.ns_pid);
    number_field(out, name!("exec_tid"), extra.exec_tid);
    wide_field(out, name!("cgroup_id"), extra.cgroup_id);
    flag_field(out, name!("memfd"), extra.memfd);
    flag_field(out, name!("deleted"), extra.deleted);
    flag_field(out, name!("no_new_privs"), extra.no_new_privs);
    if !extra.argv.is_empty() {
        key(out, name!("argv"));
        out.push(b'[');
        for argument in &extra.argv {
            comma(out);
            string(out, argument);
        }
        out.push(b']');
    }
    wide_field(out, name!("arguments_length"), extra.arguments_length);
    wide_field(out, name!("environment_length"), extra.environment_length);
    string_field(out, name!("reparented_to"), &extra.reparented_to);
    string_field(out, name!("previous_exec_id"), &extra.previous_exec_id);
    string_field(out, name!("command"), &extra.command);
    flag_field(out, name!("reconstructed"), extra.reconstructed);
}

fn write_binary_properties(properties: &BinaryProperties, out: &mut Vec<u8>) {
    key(out, name!("binary_properties"));
    out.push(b'{');
    if let Some(uid) = properties.setuid {
        wrapped_field(out, name!("setuid"), uid);
    }
    if let Some(gid) = properties.setgid {
        wrapped_field(out, name!("setgid"), gid);
    }
    if !properties.privileges_changed.is_empty() {
        key(out, name!("privileges_changed"));
        out.push(b'[');
        for &change in &properties.privileges_changed {
            comma(out);
            string(out, ProcessPrivilegesChanged::from(change).as_str_name());
        }
        out.push(b']');
    }
    if let Some((inode, links, path)) = &properties.unlinked {
        key(out, name!("file"));
        out.extend_from_slice(b"{\"inode\":{");
        if *inode != 0 {
            key(out, name!("number"));
            quoted_number(out, *inode);
        }
        wrapped_field(out, name!("links"), *links);
        out.push(b'}');
        string_field(out, name!("path"), path);
        out.push(b'}');
    }
    out.push(b'}');
}

//! Events of policies in JSON.

use super::argument;
use super::objects::Objects;
use super::process;
use super::text::{comma, flag_field, key, number, number_field, string, string_field, wide_field};
use super::write_lineage;
use crate::event::{Argument, Family, Frame, HookEvent, HookInfo};
use crate::tetragon::KprobeAction;

/// Appends the beginning of the line: its kind with everything that belongs to it.
pub(super) fn write(event: &HookEvent, out: &mut Vec<u8>) {
    write_head(event, out);
    write_values(event, None, out);
    write_tail(event, out);
}

/// Who called what: what stands before the captured values.
pub(super) fn write_head(event: &HookEvent, out: &mut Vec<u8>) {
    let hook = &*event.hook;
    out.extend_from_slice(match hook.family {
        Family::Kprobe => b"{\"process_kprobe\":{\"process\":".as_slice(),
        Family::Tracepoint => b"{\"process_tracepoint\":{\"process\":",
        Family::Uprobe => b"{\"process_uprobe\":{\"process\":",
        Family::Usdt => b"{\"process_usdt\":{\"process\":",
        Family::Lsm => b"{\"process_lsm\":{\"process\":",
        Family::Loader => b"{\"process_loader\":{\"process\":",
    });
    process::write_caller(&event.process, &event.caller, out);
    write_lineage(event.parent.as_ref(), &event.more.ancestors, out);
    if hook.family == Family::Loader {
        write_loaded(event, out);
    } else {
        write_place(event, hook, out);
    }
}

fn write_loaded(event: &HookEvent, out: &mut Vec<u8>) {
    let Some(loaded) = &event.more.loaded else { return };
    string_field(out, name!("path"), &loaded.path);
    if !loaded.build_id.is_empty() {
        argument::bytes_field(out, name!("buildid"), &loaded.build_id);
    }
}

/// With what it was called, and what it returned. `objects`: texts that are kept.
pub(super) fn write_values(event: &HookEvent, mut objects: Option<&mut Objects>, out: &mut Vec<u8>) {
    let hook = &*event.hook;
    if hook.family == Family::Loader {
        return;
    }
    let extras = event.process.process.visible.extras;
    write_list(name!("args"), &event.args, extras, objects.as_deref_mut(), out);
    if hook.family.has_data() {
        write_list(name!("data"), &event.more.data, extras, objects.as_deref_mut(), out);
    }
    if hook.family.has_return()
        && let Some(result) = &event.result
    {
        key(out, name!("return"));
        argument::write(result, extras, objects, out);
    }
}

/// What was done about it, and the rest.
pub(super) fn write_tail(event: &HookEvent, out: &mut Vec<u8>) {
    if event.hook.family != Family::Loader {
        write_done(event, &event.hook, out);
    }
    if event.process.process.visible.extras {
        write_extra(event, out);
    }
    out.push(b'}');
}

/// What was done about a call, and for which policy.
fn write_done(event: &HookEvent, hook: &HookInfo, out: &mut Vec<u8>) {
    write_action(name!("action"), event.action, out);
    if hook.family.has_return() {
        write_action(name!("return_action"), event.return_action, out);
    }
    if hook.family.has_stacks() {
        write_stack(name!("kernel_stack_trace"), &event.more.kernel_stack, out);
        write_stack(name!("user_stack_trace"), &event.more.user_stack, out);
    }
    // Something precedes it in every event, so that its comma belongs there.
    out.extend_from_slice(hook.encoded.json.get_or_init(|| {
        let mut text = Vec::new();
        write_policy(hook, &mut text);
        text.into()
    }));
    if hook.family == Family::Lsm {
        string_field(out, name!("ima_hash"), &event.more.file_hash);
    }
}

/// What is the same in all events of a hook.
fn write_policy(hook: &HookInfo, out: &mut Vec<u8>) {
    string_field(out, name!("policy_name"), &hook.policy);
    string_field(out, name!("message"), &hook.message);
    write_tags(&hook.tags, out);
}

/// Where the hook is.
fn write_place(event: &HookEvent, hook: &HookInfo, out: &mut Vec<u8>) {
    match hook.family {
        Family::Kprobe | Family::Lsm => string_field(out, name!("function_name"), &event.function),
        Family::Tracepoint => {
            string_field(out, name!("subsys"), &hook.subsystem);
            string_field(out, name!("event"), &hook.event);
        }
        Family::Uprobe => {
            string_field(out, name!("path"), &hook.path);
            string_field(out, name!("symbol"), &event.function);
            wide_field(out, name!("offset"), hook.offset);
            wide_field(out, name!("ref_ctr_offset"), hook.ref_ctr_offset);
        }
        Family::Usdt => {
            string_field(out, name!("path"), &hook.path);
            string_field(out, name!("provider"), &hook.subsystem);
            string_field(out, name!("name"), &hook.event);
        }
        Family::Loader => {}
    }
}

fn write_list(
    name: &str,
    arguments: &[Argument],
    extras: bool,
    mut objects: Option<&mut Objects>,
    out: &mut Vec<u8>,
) {
    if arguments.is_empty() {
        return;
    }
    key(out, name);
    let mut between = b'[';
    for argument in arguments {
        out.push(between);
        between = b',';
        argument::write(argument, extras, objects.as_deref_mut(), out);
    }
    out.push(b']');
}

fn write_stack(name: &str, stack: &[Frame], out: &mut Vec<u8>) {
    if stack.is_empty() {
        return;
    }
    key(out, name);
    out.push(b'[');
    for frame in stack {
        comma(out);
        out.push(b'{');
        wide_field(out, name!("address"), frame.address);
        wide_field(out, name!("offset"), frame.offset);
        string_field(out, name!("symbol"), &frame.symbol);
        string_field(out, name!("module"), &frame.module);
        out.push(b'}');
    }
    out.push(b']');
}

fn write_action(name: &str, action: i32, out: &mut Vec<u8>) {
    if action != 0 {
        key(out, name);
        argument::write_enum(
            action,
            KprobeAction::try_from(action).ok().map(|action| action.as_str_name()),
            out,
        );
    }
}

fn write_tags(tags: &[String], out: &mut Vec<u8>) {
    if tags.is_empty() {
        return;
    }
    key(out, name!("tags"));
    out.push(b'[');
    for tag in tags {
        comma(out);
        string(out, tag);
    }
    out.push(b']');
}

fn write_extra(event: &HookEvent, out: &mut Vec<u8>) {
    if let Some(selector) = event.selector {
        key(out, name!("selector"));
        number(out, u64::from(selector));
    }
    number_field(out, name!("repeats"), event.repeats);
    wide_field(out, name!("cgroup_id"), event.cgroup_id);
    string_field(out, name!("return_missing"), event.more.return_missing);
    flag_field(out, name!("entry_missing"), event.entry_missing);
    flag_field(out, name!("socket_owner"), event.socket_owner);
    string_field(out, name!("action_withheld"), event.more.action_withheld);
    string_field(out, name!("return_action_withheld"), event.more.return_action_withheld);
    flag_field(out, name!("workload_undecided"), event.workload_undecided);
    string_field(out, name!("policy_namespace"), &event.hook.policy_namespace);
    if !event.hook.family.has_stacks() {
        write_stack(name!("kernel_stack"), &event.more.kernel_stack, out);
        write_stack(name!("user_stack"), &event.more.user_stack, out);
    }
    string_field(out, name!("stack_missing"), event.more.stack_missing);
    string_field(out, name!("ima_hash_missing"), event.more.file_hash_missing);
}

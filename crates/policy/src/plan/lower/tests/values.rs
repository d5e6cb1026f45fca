//! Captured values and how they are read.

use saker_abi::generated::*;

use super::fake::Fake;
use super::{assert_refused, hook, planned};
use crate::testing::{with_hook, with_spec};

/// A kprobe on a function with these arguments.
fn on(function: &str, args: &str) -> String {
    with_spec(&format!("kprobes:\n- call: {function}\n  syscall: false\n  args: {args}"))
}

#[test]
fn each_type_has_its_number() {
    for (ty, number) in [
        ("int8", SAKER_TYPE_S8),
        ("uint8", SAKER_TYPE_U8),
        ("int16", SAKER_TYPE_S16),
        ("uint16", SAKER_TYPE_U16),
        ("int", SAKER_TYPE_INT),
        ("uint32", SAKER_TYPE_U32),
        ("int64", SAKER_TYPE_S64),
        ("uint64", SAKER_TYPE_U64),
        ("size_t", SAKER_TYPE_SIZE),
        ("string", SAKER_TYPE_STRING),
        ("net_device", SAKER_TYPE_NET_DEVICE),
        ("filename", SAKER_TYPE_FILENAME),
        ("fd", SAKER_TYPE_FD),
        ("file", SAKER_TYPE_FILE),
        ("path", SAKER_TYPE_PATH),
        ("dentry", SAKER_TYPE_DENTRY),
        ("linux_binprm", SAKER_TYPE_LINUX_BINPRM),
        ("kiocb", SAKER_TYPE_KIOCB),
        ("sock", SAKER_TYPE_SOCK),
        ("socket", SAKER_TYPE_SOCKET),
        ("skb", SAKER_TYPE_SKB),
        ("sockaddr", SAKER_TYPE_SOCKADDR),
        ("sockaddr_un", SAKER_TYPE_SOCKADDR_UN),
        ("cred", SAKER_TYPE_CRED),
        ("user_namespace", SAKER_TYPE_USER_NAMESPACE),
        ("capability", SAKER_TYPE_CAPABILITY),
        ("kernel_cap_t", SAKER_TYPE_KERNEL_CAP),
        ("cap_effective", SAKER_TYPE_CAP_EFFECTIVE),
        ("load_info", SAKER_TYPE_LOAD_INFO),
        ("module", SAKER_TYPE_MODULE),
        ("bpf_attr", SAKER_TYPE_BPF_ATTR),
        ("bpf_prog", SAKER_TYPE_BPF_PROG),
        ("bpf_map", SAKER_TYPE_BPF_MAP),
        ("bpf_cmd", SAKER_TYPE_BPF_CMD),
        ("char_iovec", SAKER_TYPE_CHAR_IOVEC),
        ("iov_iter", SAKER_TYPE_IOV_ITER),
        ("perf_event", SAKER_TYPE_PERF_EVENT),
    ] {
        let plan = hook(&with_hook(&format!("args: [{{index: 1, type: {ty}}}]")), &Fake::default()).plan;
        let value = plan.value[0];
        assert_eq!((u32::from(value.type_), value.index, value.size_index), (number, 1, 255), "{ty}");
        assert_eq!((plan.values, plan.entry_values, plan.arguments), (1, 1, 2));
        assert!(value.max >= 4096);
    }
}

#[test]
fn buffers_are_told_as_a_whole_where_the_policy_says_so() {
    for (args, whole) in [
        ("{index: 1, type: iov_iter, maxData: true}", 0b1),
        ("{index: 1, type: iov_iter}", 0),
        ("{index: 0, type: int}, {index: 1, type: char_buf, sizeArgIndex: 1, maxData: true}", 0b10),
        ("{index: 1, type: char_iovec, sizeArgIndex: 1, maxData: true}, {index: 0, type: string}", 0b1),
        ("{index: 0, type: string, maxData: true}", 0),
    ] {
        let plan = hook(&with_hook(&format!("args: [{args}]")), &Fake::default()).plan;
        assert_eq!(plan.whole, whole, "{args}");
    }
}

#[test]
fn entries_of_directories_lie_in_the_mount_of_the_directory() {
    for (function, index, wanted) in
        [("security_path_link", 0, 1), ("security_path_link", 2, 1), ("vfs_unlink", 1, 255)]
    {
        let text = with_hook(&format!("args: [{{index: {index}, type: dentry}}]"));
        let plan = hook(&text.replace("security_file_open", function), &Fake::default()).plan;
        assert_eq!(plan.value[0].size_index, wanted, "{function}, {index}");
    }
}

#[test]
fn values_of_the_return_come_last_and_placeholders_not_at_all() {
    let spec = "kprobes:
- call: sys_openat
  syscall: true
  return: true
  args:
  - {index: 0, type: nop}
  - {index: 1, type: char_buf, returnCopy: true, sizeArgIndex: 3, label: bytes}
  - {index: 2, type: int, label: flags}
  data: [{index: 0, type: string, source: current_task, resolve: comm}]
  returnArg: {index: 0, type: int}";
    let hook = hook(&with_spec(spec), &Fake::default());
    let plan = &hook.plan;
    assert_eq!((plan.values, plan.entry_values), (3, 2));
    let types: Vec<u32> = plan.value[..3].iter().map(|value| value.type_.into()).collect();
    assert_eq!(types, [SAKER_TYPE_INT, SAKER_TYPE_STRING, SAKER_TYPE_CHAR_BUF]);
    assert_eq!(plan.value[2].size_index, 2);
    assert_eq!(u32::from(plan.value[1].source), SAKER_SOURCE_TASK);
    assert_eq!((plan.value[1].steps, plan.value[1].step[0].offset), (1, 700));
    assert_eq!(
        (u32::from(plan.result.source), u32::from(plan.result.type_)),
        (SAKER_SOURCE_RETURN, SAKER_TYPE_INT)
    );
    assert_eq!(hook.text.labels, ["flags", "", "bytes"]);
    assert_eq!((hook.text.positions, hook.text.arguments), (vec![1, 2, 0], 2));
    assert_eq!(plan.flags, SAKER_PLAN_RETURN | SAKER_PLAN_SYSCALL);
    let filter = "\n  selectors:\n  - matchArgs: [{index: 1, operator: Prefix, values: [x]}]";
    let text = with_spec(&format!("{spec}{filter}"));
    assert_refused(&text, &Fake::default(), &["is read when the function returns"]);
}

#[test]
fn members_are_followed() {
    let steps = |args: &str| {
        let plan = hook(&on("security_file_permission", args), &Fake::default()).plan;
        let value = plan.value[0];
        let steps: Vec<(u32, u32)> =
            value.step[..usize::from(value.steps)].iter().map(|step| (step.offset, step.load)).collect();
        (u32::from(value.type_), steps)
    };
    for (args, ty, expected) in [
        ("[{index: 0, type: uint16, resolve: f_inode.i_mode}]", SAKER_TYPE_U16, vec![(32, 8), (0, 2)]),
        // The field is narrower: its own type.
        ("[{index: 0, type: int, resolve: f_inode.i_mode}]", SAKER_TYPE_U16, vec![(32, 8), (0, 2)]),
        ("[{index: 0, type: int64, resolve: small}]", SAKER_TYPE_S8, vec![(64, 1)]),
        // It is wider: as asked for, with a warning.
        ("[{index: 0, type: int, resolve: f_pos}]", SAKER_TYPE_INT, vec![(64, 8)]),
        ("[{index: 0, type: path, resolve: f_path}]", SAKER_TYPE_PATH, vec![(16, 0)]),
        ("[{index: 0, type: cred, resolve: f_cred}]", SAKER_TYPE_CRED, vec![(24, 8)]),
        // A set at the end of a path is loaded, not pointed to.
        (
            "[{index: 0, type: cap_effective, btfType: cred, resolve: cap_effective}]",
            SAKER_TYPE_CAP_EFFECTIVE,
            vec![(40, 8)],
        ),
        (
            "[{index: 0, type: string, btfType: task_struct, resolve: comm}]",
            SAKER_TYPE_STRING,
            vec![(700, 0)],
        ),
        (
            "[{index: 0, type: uint32, btfType: p9_fid, btfTypeModule: 9pnet, resolve: fid}]",
            SAKER_TYPE_U32,
            vec![(12, 4)],
        ),
        (
            "[{index: 0, type: string, btfType: task_struct, resolve: name}]",
            SAKER_TYPE_STRING,
            vec![(800, 8)],
        ),
    ] {
        assert_eq!(steps(args), (ty, expected), "{args}");
    }
    for (args, words) in [
        ("[{index: 0, type: int, resolve: none}]", "there is no member `none`"),
        ("[{index: 0, type: uint32, resolve: small}]", "the value is signed and has 8 bits"),
        ("[{index: 0, type: string, resolve: f_pos}]", "this kernel has an integer of 8 bytes there"),
        ("[{index: 0, type: file, resolve: f_cred}]", "a pointer to struct cred"),
        ("[{index: 1, type: int, resolve: x}]", "which structure"),
        ("[{index: 0, type: int, btfType: deep, resolve: x}]", "12 steps, 11 are possible"),
        (
            "[{index: 0, type: int, btfType: file, btfTypeModule: ext4, resolve: f_pos}]",
            "the types of the module ext4 are not known",
        ),
        ("[{index: 2, type: int}]", "has no argument 2 [it has 2, counted from 0]"),
    ] {
        assert_refused(&on("security_file_permission", args), &Fake::default(), &[words]);
    }
}

#[test]
fn other_kinds_than_declared_are_warned_of() {
    let plan = planned(
        &on("security_file_permission", "[{index: 0, type: socket}, {index: 1, type: path}]"),
        &Fake::default(),
    );
    let told: Vec<&str> = plan.warnings.iter().map(|one| one.message.as_str()).collect();
    assert!(
        told.contains(&"the type is `socket`, but this kernel has a pointer to struct file there"),
        "{told:?}"
    );
    assert!(
        told.contains(&"the type is `path`, but this kernel has an integer of 4 bytes there"),
        "{told:?}"
    );
}

#[test]
fn integers_in_registers_are_as_wide_as_the_function_says() {
    let types = |args: &str| {
        let plan = hook(&on("narrow", args), &Fake::default()).plan;
        plan.value[..usize::from(plan.values)].iter().map(|value| u32::from(value.type_)).collect::<Vec<_>>()
    };
    // The upper half of a register is undefined for an argument of 32 bits.
    let args = "[{index: 0, type: int}, {index: 1, type: uint64}, {index: 2, type: int64}]";
    assert_eq!(types(args), [SAKER_TYPE_INT, SAKER_TYPE_U32, SAKER_TYPE_INT]);
}

#[test]
fn registers_of_kprobes_are_six() {
    let text = on("many", "[{index: 5, type: int}]");
    let kprobes = Fake::with(false, true, false);
    assert_eq!(hook(&text, &kprobes).plan.value[0].index, 5);
    // Which index a section allows is checked before; a fentry may have more.
    let text = text.replace("kprobes:", "fentries:").replace("index: 5", "index: 7");
    assert_eq!(hook(&text, &Fake::default()).plan.value[0].index, 7);
    assert_refused(&text, &kprobes, &["is not in a register"]);
}

#[test]
fn behind_a_structure_no_argument_is_found() {
    let first = on("by_value", "[{index: 0, type: int}]");
    assert!(matches!(hook(&first, &Fake::default()).attach, crate::plan::Attach::Kprobe { .. }));
    let behind = on("by_value", "[{index: 2, type: int}]");
    assert_refused(&behind, &Fake::default(), &["takes a structure by value"]);
}

//! Hooks that are programs of a control group: their parts, and what is attached where.

use std::ffi::CStr;
use std::fs::File;
use std::os::fd::AsRawFd;

use libbpf_rs::{Link, ProgramMut, libbpf_sys};
use saker_abi::generated::{SAKER_SELECT_OVERRIDE, saker_plan, saker_selector_plan};
use saker_policy::plan::{Attach, SocketCall};

use crate::Error;
use crate::loader::Section;

/// What is returned to who is refused, unless a program says another.
const EPERM: i16 = -1;

/// The programs for IPv4 and for IPv6.
pub(super) fn programs(call: SocketCall) -> [&'static str; 2] {
    match call {
        SocketCall::Connect => ["saker_connect4", "saker_connect6"],
        SocketCall::Bind => ["saker_bind4", "saker_bind6"],
        SocketCall::Send => ["saker_sendmsg4", "saker_sendmsg6"],
    }
}

/// Their sections.
pub(super) fn sections(call: SocketCall) -> Vec<Section<'static>> {
    let pair: [(&CStr, libbpf_sys::bpf_attach_type); 2] = match call {
        SocketCall::Connect => [
            (c"cgroup/connect4", libbpf_sys::BPF_CGROUP_INET4_CONNECT),
            (c"cgroup/connect6", libbpf_sys::BPF_CGROUP_INET6_CONNECT),
        ],
        SocketCall::Bind => [
            (c"cgroup/bind4", libbpf_sys::BPF_CGROUP_INET4_BIND),
            (c"cgroup/bind6", libbpf_sys::BPF_CGROUP_INET6_BIND),
        ],
        SocketCall::Send => [
            (c"cgroup/sendmsg4", libbpf_sys::BPF_CGROUP_UDP4_SENDMSG),
            (c"cgroup/sendmsg6", libbpf_sys::BPF_CGROUP_UDP6_SENDMSG),
        ],
    };
    pair.into_iter().map(|(name, attach_type)| Section::address(name, attach_type)).collect()
}

/// Whether a hook must look for the record of a process where the kernel keeps it, for want of the right to ask.
pub(super) fn walks_storage(attach: &Attach, task_storage: bool) -> bool {
    matches!(attach, Attach::Group { .. })
        && task_storage
        && !crate::socket_programs::may_call(libbpf_sys::BPF_FUNC_task_storage_get)
}

/// Whether a selector has a signal.
pub(super) fn has_signals(plan: &saker_plan) -> bool {
    selectors(plan).any(|one| one.signal != 0)
}

/// Whether a program of a control group is to give another error than it does by itself.
pub(super) fn sets_errors(attach: &Attach, plan: &saker_plan) -> bool {
    let other =
        |one: &saker_selector_plan| u32::from(one.flags) & SAKER_SELECT_OVERRIDE != 0 && one.error != EPERM;
    matches!(attach, Attach::Group { .. }) && selectors(plan).any(other)
}

fn selectors(plan: &saker_plan) -> impl Iterator<Item = &saker_selector_plan> {
    plan.selector.iter().chain(&plan.return_selector)
}

/// Attaches a program to a control group. Other programs of the group stay, and all are asked.
pub(super) fn attach(program: &ProgramMut<'_>, group: &str) -> Result<Link, Error> {
    let opened = File::open(group);
    let failed = |source| Error::System { operation: format!("open the control group {group}"), source };
    let opened = opened.map_err(failed)?;
    program.attach_cgroup(opened.as_raw_fd()).map_err(|source| Error::Load {
        operation: "attach",
        source,
        log: format!(" (to the control group {group}, which another program may have for itself alone)"),
    })
}

//! What this kernel lets programs of control groups do about addresses of sockets.

use std::fs;
use std::path::{Path, PathBuf};

use libbpf_rs::{ProgramType, libbpf_sys};
use saker_policy::plan::SocketPrograms;

/// Source: `CGROUP2_SUPER_MAGIC` of include/uapi/linux/magic.h.
const CGROUP2: u64 = 0x6367_7270;

/// Whether such a program may call this helper.
pub(crate) fn may_call(helper: libbpf_sys::bpf_func_id) -> bool {
    ProgramType::CgroupSockAddr.is_helper_supported(helper).unwrap_or(false)
}

/// What programs of this control group may do; none: of the root of all.
///
/// # Errors
/// There is no such group, or the kernel does not have such programs; in words.
pub(crate) fn of_group(group: Option<&Path>) -> Result<SocketPrograms, String> {
    let root = crate::groups::unified_root();
    let path = match group {
        Some(group) => checked(group)?,
        None => root.clone()?,
    };
    if !ProgramType::CgroupSockAddr.is_supported().unwrap_or(false) {
        return Err("this kernel has no programs of control groups (CONFIG_CGROUP_BPF)".to_owned());
    }
    let same = |root: &PathBuf| fs::canonicalize(root).is_ok_and(|root| root == path);
    Ok(SocketPrograms {
        is_part: !root.as_ref().is_ok_and(|root| *root == path || same(root)),
        group: path.to_string_lossy().into_owned(),
        errors: may_call(libbpf_sys::BPF_FUNC_set_retval),
        signals: may_call(libbpf_sys::BPF_FUNC_send_signal),
    })
}

/// The path of a group that was named, as the kernel knows it.
fn checked(group: &Path) -> Result<PathBuf, String> {
    let shown = group.display();
    let path = fs::canonicalize(group).map_err(|error| format!("the control group {shown}: {error}"))?;
    let system = rustix::fs::statfs(&path).map_err(|error| format!("the control group {shown}: {error}"))?;
    if u64::try_from(system.f_type).ok() != Some(CGROUP2) {
        return Err(format!("{shown} is no control group of the unified hierarchy (cgroup2)"));
    }
    Ok(path)
}

//! What this kernel offers, under the names that clients of Tetragon know.

use std::path::Path;

use libbpf_rs::btf::Btf;
use libbpf_rs::btf::types::Func;

use crate::facts::{KernelFacts, variants};

/// Names that both have, and mean the same by.
const SAME: &[&str] = &[
    "override_return",
    "kprobe_multi",
    "uprobe_multi",
    "fmodret",
    "fmodret_syscall",
    "signal",
    "lsm",
    "probe_write_user",
    "fentry",
    "get_func_ret",
];
/// Where the kernel tells of counters of users at uprobes.
const REF_COUNTERS: &str = "/sys/bus/event_source/devices/uprobe/format/ref_ctr_offset";

/// The probes of Tetragon that can be answered here, and whether the kernel has what they ask for. Those that Saker has no
/// use for, and so never looks at, are missing.
#[must_use]
pub fn peer_probes(facts: &KernelFacts) -> Vec<(&'static str, bool)> {
    let ours = |name: &str| facts.features.iter().any(|feature| feature.name == name && feature.enabled);
    let mut probes: Vec<_> = SAME.iter().map(|name| (*name, ours(name))).collect();
    let btf = Btf::from_vmlinux().ok();
    let function = |name: &str| btf.as_ref().is_some_and(|btf| btf.type_by_name::<Func<'_>>(name).is_some());
    let variant = |list: &str, name: &str| {
        btf.as_ref().is_some_and(|btf: &Btf<'_>| variants(btf, list).iter().any(|found| found == name))
    };
    probes.extend([
        // A million instructions since v5.2, which is before all that the sensors need.
        ("large", ours("raw_tracepoint")),
        ("link_pin", variant("bpf_link_type", "BPF_LINK_TYPE_PERF_EVENT")),
        ("batch_update", variant("bpf_cmd", "BPF_MAP_UPDATE_BATCH")),
        ("uprobe_refctroff", Path::new(REF_COUNTERS).exists()),
        ("audit_loginuid", Path::new("/proc/self/loginuid").exists()),
        ("uprobe_regs_change", ours("uprobe_registers")),
        ("substring_kfunc", function("bpf_strnstr")),
        ("copy_from_user_str", function("bpf_copy_from_user_str")),
    ]);
    probes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_told_once_and_follow_the_facts() {
        let mut facts = KernelFacts::default();
        let before = peer_probes(&facts);
        assert!(SAME.iter().all(|name| before.contains(&(name, false))));
        facts.features.push(crate::facts::Feature {
            name: "lsm",
            enabled: true,
            detail: String::new(),
            consequence: "",
        });
        assert!(peer_probes(&facts).contains(&("lsm", true)));
        let mut names: Vec<_> = before.iter().map(|(name, _)| *name).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), before.len());
    }
}

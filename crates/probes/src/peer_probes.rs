//! What this kernel offers, under the names that clients of Tetragon know.

use std::path::Path;

use libbpf_rs::btf::types::{Composite, Func};
use libbpf_rs::btf::{Btf, BtfType};

use crate::facts::{KernelFacts, variants};
use crate::{mechanisms, perf};

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
/// What the kernel tells of a link between a program and its hook (`include/uapi/linux/bpf.h`).
const LINK_INFO: &str = "bpf_link_info";
/// How deep structures without name are looked into.
const UNNAMED_MAX: u32 = 4;
/// Where the kernel tells of counters of users at uprobes.
const REF_COUNTERS: &str = "/sys/bus/event_source/devices/uprobe/format/ref_ctr_offset";

/// The probes of Tetragon, and whether the kernel has what they ask for. What Saker has a use for is answered by its own facts,
/// the rest is asked of the kernel here.
#[must_use]
pub fn peer_probes(facts: &KernelFacts) -> Vec<(&'static str, bool)> {
    let ours = |name: &str| facts.features.iter().any(|feature| feature.name == name && feature.enabled);
    let mut probes: Vec<_> = SAME.iter().map(|name| (*name, ours(name))).collect();
    let btf = Btf::from_vmlinux().ok();
    let function = |name: &str| btf.as_ref().is_some_and(|btf| btf.type_by_name::<Func<'_>>(name).is_some());
    let variant = |list: &str, name: &str| {
        btf.as_ref().is_some_and(|btf: &Btf<'_>| variants(btf, list).iter().any(|found| found == name))
    };
    let counts_missed = |path: &[&str]| btf.as_ref().is_some_and(|btf| has_member(btf, LINK_INFO, path));
    probes.extend([
        ("buildid", perf::tells_build_ids()),
        // Since v6.7.
        ("missed_stats_kprobe", counts_missed(&["perf_event", "kprobe", "missed"])),
        ("missed_stats_kprobe_multi", counts_missed(&["kprobe_multi", "missed"])),
        ("mix_bpf_and_tail_calls", mechanisms::calls_and_jumps()),
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

/// Whether a structure of the kernel has a member that is reached by these names, one within the other.
fn has_member(btf: &Btf<'_>, structure: &str, path: &[&str]) -> bool {
    let composite = |found: BtfType<'_>| Composite::try_from(found).is_ok();
    let mut at = btf.type_by_name::<BtfType<'_>>(structure).filter(|found| composite(*found));
    for name in path {
        at = at.and_then(|found| member(btf, found, name, UNNAMED_MAX));
    }
    at.is_some()
}

/// The type of a member, which may stand in structures and unions without name.
fn member<'btf>(btf: &'btf Btf<'btf>, of: BtfType<'btf>, name: &str, depth: u32) -> Option<BtfType<'btf>> {
    let of = Composite::try_from(of).ok()?;
    let members: Vec<_> =
        of.iter().map(|member| (member.name.unwrap_or_default().to_os_string(), member.ty)).collect();
    members.into_iter().find_map(|(own, id)| {
        let found = btf.type_by_id::<BtfType<'btf>>(id)?;
        if own == name {
            return Some(found);
        }
        if own.is_empty() && depth > 0 { member(btf, found, name, depth - 1) } else { None }
    })
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
        // All that Tetragon's `probe` asks for.
        for name in ["buildid", "missed_stats_kprobe", "missed_stats_kprobe_multi", "mix_bpf_and_tail_calls"]
        {
            assert!(before.iter().any(|(own, _)| *own == name), "{name}");
        }
        let mut names: Vec<_> = before.iter().map(|(name, _)| *name).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), before.len());
        assert_eq!(names.len(), 22);
    }

    #[test]
    fn members_are_found_within_what_has_no_name() {
        let btf = Btf::from_vmlinux().unwrap();
        // There since v5.8, and those of tracepoints are in a union without name.
        assert!(has_member(&btf, LINK_INFO, &["raw_tracepoint", "tp_name"]));
        assert!(has_member(&btf, LINK_INFO, &["prog_id"]));
        for none in [&["raw_tracepoint", "missed"][..], &["tp_name"], &["prog_id", "missed"]] {
            assert!(!has_member(&btf, LINK_INFO, none), "{none:?}");
        }
        assert!(!has_member(&btf, "no_such_structure", &["x"]));
    }
}

//! What the running kernel offers, found out by asking it, and what follows for Saker.

use std::fs;
use std::path::Path;

use libbpf_rs::btf::types::Enum;
use libbpf_rs::btf::{Btf, BtfType};
use libbpf_rs::{MapType, ProgramType};
use serde::Serialize;

use crate::described::BTF_PATH;
use crate::{Error, capabilities, mechanisms};

/// One thing a kernel may offer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Feature {
    /// Its name; where the peer probes for the same, the peer's.
    pub name: &'static str,
    /// Whether this kernel has it.
    pub enabled: bool,
    /// Why not, as the kernel or the system says; empty: it has it, or nothing more is known.
    pub detail: String,
    /// What Saker does with it or without it.
    pub consequence: &'static str,
}

/// Facts of one kernel. Plain data, so that it can be stored and looked at elsewhere.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct KernelFacts {
    /// `uname -r`.
    pub release: String,
    /// `uname -m`.
    pub machine: String,
    /// The kernel describes its types.
    pub btf: bool,
    /// Effective capabilities of the caller, one bit each.
    pub capabilities: u64,
    /// Capabilities the agent needs and the caller lacks.
    pub missing_capabilities: Vec<&'static str>,
    /// Security modules in force, in order.
    pub security_modules: Vec<String>,
    /// Lockdown mode: `none`, `integrity`, `confidentiality`; empty: no lockdown in this kernel.
    pub lockdown: String,
    /// BTF raw tracepoints can be loaded and attached: the process sensors need nothing else.
    pub raw_tracepoints: bool,
    /// Task storage, and atomic operations that return a value.
    pub task_storage: bool,
    /// The helper `bpf_loop` (v5.17).
    pub bpf_loop: bool,
    /// Task iterator (v5.8).
    pub task_iterator: bool,
    /// Tracepoint programs may be preempted, and may forbid it.
    pub preemptible_tracepoints: bool,
    /// All features, in the order they are shown.
    pub features: Vec<Feature>,
}

impl KernelFacts {
    /// Asks the running kernel. Loads some empty programs for a moment when the caller may.
    ///
    /// # Errors
    /// Never for a missing feature; only when the system cannot be asked at all.
    pub fn discover() -> Result<Self, Error> {
        let uname = rustix::system::uname();
        let capabilities = capabilities::effective().map_err(Error::Capabilities)?;
        let mut facts = Self {
            release: uname.release().to_string_lossy().into_owned(),
            machine: uname.machine().to_string_lossy().into_owned(),
            btf: Path::new(BTF_PATH).exists(),
            capabilities,
            missing_capabilities: capabilities::missing(capabilities),
            security_modules: security_modules(),
            lockdown: lockdown(),
            ..Self::default()
        };
        facts.preemptible_tracepoints = has_preemptible_tracepoints(&facts.release);
        let names = KernelNames::read();
        facts.bpf_loop = names.has_helper("BPF_FUNC_loop");
        facts.task_storage = names.has_helper("BPF_FUNC_task_storage_get")
            // v5.13, the first release after that which brought atomics with a result (v5.12)
            && names.has_helper("BPF_FUNC_for_each_map_elem");
        if facts.btf && facts.missing_capabilities.is_empty() {
            let tried = mechanisms::try_all();
            facts.raw_tracepoints = tried.works("raw_tracepoint");
            facts.task_iterator = tried.works("task_iterator");
            facts.features = features(&facts, &names, &tried);
        }
        Ok(facts)
    }

    /// Finds out only what loading the sensors takes: no program is tried.
    ///
    /// # Errors
    /// No BTF, or missing rights.
    pub fn for_sensors() -> Result<Self, Error> {
        let uname = rustix::system::uname();
        let capabilities = capabilities::effective().map_err(Error::Capabilities)?;
        let release = uname.release().to_string_lossy().into_owned();
        if !Path::new(BTF_PATH).exists() {
            return Err(Error::NoBtf { path: BTF_PATH.into() });
        }
        let helpers = BaseHelpers::ask();
        Ok(Self {
            preemptible_tracepoints: has_preemptible_tracepoints(&release),
            release,
            machine: uname.machine().to_string_lossy().into_owned(),
            btf: true,
            capabilities,
            missing_capabilities: capabilities::missing(capabilities),
            // The helper came with v5.8, like the iterator; raw tracepoints with BTF are older.
            raw_tracepoints: helpers.ringbuf_output,
            task_iterator: helpers.ringbuf_output,
            bpf_loop: helpers.bpf_loop,
            task_storage: helpers.for_each_map_elem && MapType::TaskStorage.is_supported().unwrap_or(false),
            ..Self::default()
        })
    }

    /// Refuses kernels the process sensors cannot run on.
    ///
    /// # Errors
    /// What is missing.
    pub fn require_sensors(&self) -> Result<(), Error> {
        if !self.btf {
            return Err(Error::NoBtf { path: BTF_PATH.into() });
        }
        if self.raw_tracepoints {
            return Ok(());
        }
        Err(Error::Unsupported {
            release: self.release.clone(),
            reason: "it has no BPF ring buffer or no BTF raw tracepoints; Saker needs Linux 5.10 or later"
                .into(),
        })
    }

    /// The feature of this name.
    #[must_use]
    pub fn feature(&self, name: &str) -> Option<&Feature> {
        self.features.iter().find(|feature| feature.name == name)
    }
}

/// Helpers that every type of program may call, asked for by loading programs of two instructions: parsing the
/// kernel's BTF for their names takes a hundred times longer, and starting must be quick.
#[derive(Default)]
struct BaseHelpers {
    ringbuf_output: bool,
    bpf_loop: bool,
    for_each_map_elem: bool,
}

impl BaseHelpers {
    fn ask() -> Self {
        use libbpf_rs::libbpf_sys::{BPF_FUNC_for_each_map_elem, BPF_FUNC_loop, BPF_FUNC_ringbuf_output};
        let has = |helper| ProgramType::SocketFilter.is_helper_supported(helper).unwrap_or(false);
        Self {
            ringbuf_output: has(BPF_FUNC_ringbuf_output),
            bpf_loop: has(BPF_FUNC_loop),
            for_each_map_elem: has(BPF_FUNC_for_each_map_elem),
        }
    }
}

/// Whether tracepoints of this release call their programs with preemption on. Nothing in BTF tells; it was seen
/// on 7.2 and not on 6.18. A release that does not do so only pays for the precaution.
pub(crate) fn has_preemptible_tracepoints(release: &str) -> bool {
    let mut numbers =
        release.split(|c: char| !c.is_ascii_digit()).map(|part| part.parse::<u32>().unwrap_or(0));
    (numbers.next(), numbers.next()) >= (Some(6), Some(19))
}

/// Names of the kernel's BPF helpers, from its BTF.
struct KernelNames {
    helpers: Vec<String>,
}

impl KernelNames {
    fn read() -> Self {
        let Ok(btf) = Btf::from_vmlinux() else {
            return Self { helpers: Vec::new() };
        };
        Self { helpers: variants(&btf, "bpf_func_id") }
    }

    fn has_helper(&self, name: &str) -> bool {
        self.helpers.iter().any(|helper| helper == name)
    }
}

pub(crate) fn variants(btf: &Btf<'_>, name: &str) -> Vec<String> {
    let Some(found) = btf.type_by_name::<BtfType<'_>>(name) else { return Vec::new() };
    let Ok(found) = Enum::try_from(found) else { return Vec::new() };
    found.iter().filter_map(|member| Some(member.name?.to_string_lossy().into_owned())).collect()
}

pub(crate) fn security_modules() -> Vec<String> {
    let list = fs::read_to_string("/sys/kernel/security/lsm").unwrap_or_default();
    list.trim().split(',').filter(|name| !name.is_empty()).map(str::to_owned).collect()
}

fn lockdown() -> String {
    let modes = fs::read_to_string("/sys/kernel/security/lockdown").unwrap_or_default();
    modes
        .split_whitespace()
        .find_map(|mode| Some(mode.strip_prefix('[')?.strip_suffix(']')?.to_owned()))
        .unwrap_or_default()
}

/// The list that is shown. Helper names say since which release a kernel has them.
fn features(facts: &KernelFacts, names: &KernelNames, tried: &mechanisms::Tried) -> Vec<Feature> {
    let calls = crate::kernel::overrides_calls();
    let mut list = vec![
        feature("btf", facts.btf, "", "needed: offsets of kernel structures come from it"),
        tried.feature("raw_tracepoint", "needed: the process sensors are BTF raw tracepoints"),
        tried.feature("task_iterator", "running processes are read from the kernel; without it from /proc"),
        feature(
            "task_storage",
            facts.task_storage,
            "",
            "process records live with their task; without it in a hash of bounded size",
        ),
        feature(
            "bpf_loop",
            facts.bpf_loop,
            "",
            "paths of any depth up to 7 KiB; without it up to 236 components",
        ),
        tried.feature("fentry", "cheapest hooks of kernel functions"),
        tried.feature("fexit", "return values of kernel functions without a second probe"),
        tried.feature("fmodret", "security functions can be made to refuse"),
        feature(
            "fmodret_syscall",
            calls.is_ok(),
            calls.as_ref().err().map_or("", String::as_str),
            "system calls can be made to return an error instead",
        ),
        tried.feature("lsm", "operations can be refused by security hooks"),
        tried.feature("kprobe", "any kernel function can be hooked, at a higher price"),
        tried.feature("kprobe_multi", "many kernel functions are hooked at once"),
        tried.feature("tracepoint", "tracepoints by name"),
    ];
    // A helper that stands in the kernel's list may be missing from its code; those that a kprobe program may call are
    // asked for by such a program, the others by name.
    let helpers = [
        ("ringbuf", "BPF_FUNC_ringbuf_output", true, "needed: records leave the kernel through it"),
        ("signal", "BPF_FUNC_send_signal", true, "processes can be killed from the kernel side"),
        (
            "override_return",
            "BPF_FUNC_override_return",
            true,
            "kernels with error injection can override results",
        ),
        ("d_path", "BPF_FUNC_d_path", false, "paths in hooks that allow it"),
        ("probe_write_user", "BPF_FUNC_probe_write_user", true, "user memory can be changed (USDT Set)"),
        ("get_func_ret", "BPF_FUNC_get_func_ret", false, "return value in fexit programs of any signature"),
        (
            "copy_from_user_task",
            "BPF_FUNC_copy_from_user_task",
            false,
            "memory of other tasks in sleepable programs",
        ),
    ];
    list.extend(helpers.map(|(name, helper, asked, why)| {
        let has = names.has_helper(helper) && (!asked || kprobe_programs_may_call(helper));
        feature(name, has, if has { "" } else { "no such helper" }, why)
    }));
    list.push(tried.feature("uprobe_multi", "many user functions are hooked at once"));
    let changes = crate::mechanisms::changes_registers();
    list.push(feature(
        "uprobe_registers",
        changes.is_ok(),
        changes.err().as_deref().unwrap_or_default(),
        "functions of programs can be overridden, and their registers changed",
    ));
    let bpf_lsm = facts.security_modules.iter().any(|name| name == "bpf");
    list.push(feature(
        "bpf_lsm_active",
        bpf_lsm,
        if bpf_lsm { "" } else { "not in the list of security modules: boot with lsm=...,bpf" },
        "LSM programs take effect",
    ));
    list
}

/// Whether a kprobe program that calls this helper is loaded.
fn kprobe_programs_may_call(helper: &str) -> bool {
    use libbpf_rs::libbpf_sys::{
        BPF_FUNC_override_return, BPF_FUNC_probe_write_user, BPF_FUNC_ringbuf_output, BPF_FUNC_send_signal,
    };
    let number = match helper {
        "BPF_FUNC_ringbuf_output" => BPF_FUNC_ringbuf_output,
        "BPF_FUNC_send_signal" => BPF_FUNC_send_signal,
        "BPF_FUNC_override_return" => BPF_FUNC_override_return,
        "BPF_FUNC_probe_write_user" => BPF_FUNC_probe_write_user,
        _ => return false,
    };
    ProgramType::Kprobe.is_helper_supported(number).unwrap_or(false)
}

fn feature(name: &'static str, enabled: bool, detail: &str, consequence: &'static str) -> Feature {
    Feature { name, enabled, detail: detail.to_owned(), consequence }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kernel_without_btf_is_refused_with_the_reason() {
        let error = KernelFacts::default().require_sensors().unwrap_err().to_string();
        assert!(error.contains("BTF"), "{error}");
        let facts = KernelFacts { btf: true, release: "4.19".into(), ..KernelFacts::default() };
        let error = facts.require_sensors().unwrap_err().to_string();
        assert!(error.contains("4.19") && error.contains("5.10"), "{error}");
    }

    #[test]
    fn preemption_is_expected_of_newer_releases() {
        for release in ["6.19.0", "7.2.13+deb14-amd64", "10.0"] {
            assert!(has_preemptible_tracepoints(release), "{release}");
        }
        for release in ["5.10.0-46-amd64", "6.12.118+deb13", "6.18.44-cloud", "6", ""] {
            assert!(!has_preemptible_tracepoints(release), "{release}");
        }
    }
}

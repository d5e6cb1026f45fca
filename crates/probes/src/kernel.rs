//! What the running kernel says of itself, for plans of policies.
//!
//! It holds the kernel's description of its types, some megabytes: make it when a policy is added, and drop it then.

pub(crate) mod description;
mod program_types;
mod saved;

use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, Weak};

use saker_abi::NamespaceInums;
use saker_policy::names::syscalls;
use saker_policy::plan::{Kernel, Mechanisms, Resolved, Signature, SocketPrograms};
use saker_policy::programs::Program;
use saker_policy::tracepoint::Format;
use saker_policy::values::{HashAlgorithm, Step};

use crate::{Error, Executable, Tracefs, described, facts, mechanisms, preemption};
use description::Types;
use program_types::ProgramTypes;
pub use saved::SavedKernel;

/// Where the kernel lists the functions that can be traced, when a tracing file system is mounted.
const TRACEABLE: [&str; 2] = [
    "/sys/kernel/tracing/available_filter_functions",
    "/sys/kernel/debug/tracing/available_filter_functions",
];
/// Where it lists all of its symbols.
const SYMBOLS: &str = "/proc/kallsyms";
/// Where modules describe their types.
const MODULES: &str = "/sys/kernel/btf";
/// Memory that a regular expression may take, in bytes.
const PATTERN_MAX: usize = 1 << 20;
/// Names that are proposed for one that is not there.
const PROPOSED: usize = 3;

/// The running kernel.
pub struct RunningKernel {
    release: String,
    machine: String,
    mechanisms: Mechanisms,
    host: NamespaceInums,
    types: Arc<Types>,
    symbols: OnceLock<Vec<u64>>,
    programs: ProgramTypes,
    /// Control group for programs that decide about sockets; none: the root of all.
    socket_group: Option<PathBuf>,
}

impl RunningKernel {
    /// Asks the running kernel. The first time, programs without content are loaded to see what it takes.
    ///
    /// # Errors
    /// It does not describe its types, or in a way that is not understood.
    pub fn load() -> Result<Self, Error> {
        let uname = rustix::system::uname();
        let release = uname.release().to_string_lossy().into_owned();
        let types = types(&release)?;
        let machine = uname.machine().to_string_lossy().into_owned();
        Ok(Self {
            release,
            machine,
            mechanisms: mechanisms(),
            host: host_namespaces(),
            types,
            symbols: OnceLock::new(),
            programs: ProgramTypes::default(),
            socket_group: None,
        })
    }

    /// The same kernel, with these namespaces of the host: for callers whose `/proc` does not show them.
    #[must_use]
    pub fn with_host_namespaces(mut self, host: NamespaceInums) -> Self {
        self.host = host;
        self
    }

    /// The same kernel, where programs that decide about sockets are attached to this control group, and not to the root
    /// of all.
    #[must_use]
    pub fn with_socket_group(mut self, group: Option<PathBuf>) -> Self {
        self.socket_group = group;
        self
    }
}

impl RunningKernel {
    fn calls(&self) -> Calls<'_> {
        Calls { machine: &self.machine, narrow: self.symbol("__ia32_sys_close") }
    }
}

/// System calls of a machine.
struct Calls<'a> {
    /// `uname -m`.
    machine: &'a str,
    /// It was built for programs of 32 bits (`CONFIG_IA32_EMULATION`); it may have been started without.
    narrow: bool,
}

impl Calls<'_> {
    fn number(&self, name: &str) -> Option<u32> {
        if self.machine == "x86_64" { syscalls::number(name) } else { None }
    }

    fn all(&self) -> Vec<(String, u32)> {
        if self.machine != "x86_64" {
            return Vec::new();
        }
        syscalls::all().map(|(name, number)| (syscalls::function(name).to_owned(), number)).collect()
    }

    fn narrow_number(&self, name: &str) -> Option<u32> {
        if self.machine == "x86_64" && self.narrow { syscalls::narrow_number(name) } else { None }
    }

    fn all_narrow(&self) -> Vec<(String, u32)> {
        if self.machine != "x86_64" || !self.narrow {
            return Vec::new();
        }
        syscalls::all_narrow().map(|(name, number)| (name.to_owned(), number)).collect()
    }

    fn prefix(&self) -> &'static str {
        if self.machine == "aarch64" { "__arm64_sys_" } else { "__x64_sys_" }
    }
}

/// The description of types that somebody holds.
static HELD: Mutex<Weak<Types>> = Mutex::new(Weak::new());

/// The running kernel's description of its types, while a [`RunningKernel`] holds it: whoever needs something of it then
/// need not read it again.
pub(crate) fn held_types() -> Option<Arc<Types>> {
    HELD.lock().unwrap_or_else(PoisonError::into_inner).upgrade()
}

/// The same, read if nobody holds it.
fn types(release: &str) -> Result<Arc<Types>, Error> {
    if let Some(held) = held_types() {
        return Ok(held);
    }
    let path = described::BTF_PATH;
    let bytes = described::read().map_err(|_| Error::NoBtf { path: path.into() })?;
    let types = Types::of(bytes).ok_or_else(|| Error::Unsupported {
        release: release.to_owned(),
        reason: format!("the description of its types at {path} is not understood"),
    })?;
    let types = Arc::new(types);
    *HELD.lock().unwrap_or_else(PoisonError::into_inner) = Arc::downgrade(&types);
    Ok(types)
}

/// Types of a module, beside those of the kernel: made for each value that asks for them, for few do.
impl RunningKernel {
    fn module(&self, module: &str) -> Result<Types, String> {
        let sign = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-');
        if module.is_empty() || !module.bytes().all(sign) {
            return Err(format!("`{module}` is not the name of a module"));
        }
        let path = format!("{MODULES}/{}", module.replace('-', "_"));
        let bytes = fs::read(&path).map_err(|error| {
            format!("the module {module} is not loaded, or does not describe its types: {path}: {error}")
        })?;
        let types = self.types.with_module(&bytes);
        types.ok_or_else(|| format!("the description of types at {path} is not understood"))
    }
}

/// Where a kernel that has kprobes says so.
const KPROBES: &str = "/sys/bus/event_source/devices/kprobe";

/// Ways of hooking, tried once: they do not change while a kernel runs.
fn mechanisms() -> Mechanisms {
    static FOUND: OnceLock<Mechanisms> = OnceLock::new();
    *FOUND.get_or_init(|| {
        // To attach is most of what a trial costs: the kernel goes through all functions that can be traced. So it is left
        // out where nothing follows from it. What runs behind a function is called by the same trampoline as what runs
        // before it. On x86-64 whoever may load a program for a trampoline may attach it, for direct calls come with the
        // tracing of functions (arch/x86/Kconfig); other machines have had the one without the other. And should a kernel not
        // attach one all the same, its functions are hooked in another way then ([`Error::Trampoline`]).
        let names = ["fentry", "lsm"];
        let direct = cfg!(target_arch = "x86_64");
        let tried = if direct { mechanisms::try_to_load(&names) } else { mechanisms::try_features(&names) };
        let trampoline = tried.works("fentry");
        // Beside trampolines few hooks are kprobes.
        let likely = trampoline && Path::new(KPROBES).exists();
        let kprobes = ["kprobe"];
        let kprobes =
            if likely { mechanisms::try_to_load(&kprobes) } else { mechanisms::try_features(&kprobes) };
        let preemptible = preemption::is_possible();
        let lsm = tried.works("lsm") && facts::security_modules().iter().any(|name| name == "bpf");
        Mechanisms {
            trampoline,
            lsm,
            kprobe: kprobes.works("kprobe"),
            preemptible,
            lsm_left_out: lsm && preemptible && preemption::leaves_lsm_programs_out(),
        }
    })
}

/// Whether programs may give results in place of system calls; tried at one that every kernel has.
///
/// # Errors
/// They may not; the reason in words.
pub(crate) fn overrides_calls() -> Result<(), String> {
    let machine = rustix::system::uname().machine().to_string_lossy().into_owned();
    let calls = Calls { machine: &machine, narrow: false };
    let function = format!("{}close", calls.prefix());
    mechanisms::may_override(&function)
        .map_err(|reason| format!("it was built without error injection for them ({reason})"))
}

/// Namespaces of the host's first process. Where a hardened kernel hides them those of kthreadd, which is in the initial
/// ones for ever. 0 where they cannot be seen or the kernel has none of the kind.
fn host_namespaces() -> NamespaceInums {
    let first = namespaces_of(1);
    let hidden = first.pid == 0;
    if hidden && fs::read("/proc/2/comm").is_ok_and(|name| name == b"kthreadd\n") {
        return namespaces_of(2);
    }
    first
}

fn namespaces_of(pid: u32) -> NamespaceInums {
    // The number of the file is that of the namespace, and has 32 bits (`include/linux/ns_common.h`).
    let of = |name: &str| {
        let number = fs::metadata(format!("/proc/{pid}/ns/{name}")).map(|file| file.ino());
        number.ok().and_then(|number| u32::try_from(number).ok()).unwrap_or(0)
    };
    NamespaceInums {
        uts: of("uts"),
        ipc: of("ipc"),
        mnt: of("mnt"),
        pid: of("pid"),
        pid_for_children: of("pid_for_children"),
        net: of("net"),
        time: of("time"),
        time_for_children: of("time_for_children"),
        cgroup: of("cgroup"),
        user: of("user"),
    }
}

/// FNV-1a.
fn hash(name: &[u8]) -> u64 {
    name.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}

/// Hashes of the names of all functions in the kernel's list of symbols, in order. Reading it takes a tenth of a second,
/// and it is looked into for names that the description of types lacks.
fn symbols() -> Vec<u64> {
    let mut hashes = Vec::new();
    each_symbol(|symbol| hashes.push(hash(symbol)));
    hashes.sort_unstable();
    hashes
}

/// Whether two tasks of a CPU can be within one program of a security module's hook that may sleep; before Linux 6.2 the
/// second is left out. From then on programs that must be left out have an entry of their own. Source:
/// `bpf_trampoline_enter` of kernel/bpf/trampoline.c.
pub(crate) fn runs_sleeping_programs_at_once() -> bool {
    static FOUND: OnceLock<bool> = OnceLock::new();
    *FOUND.get_or_init(|| {
        let mut found = false;
        each_symbol(|symbol| found |= symbol == b"__bpf_prog_enter_sleepable_recur");
        found
    })
}

fn each_symbol(mut with: impl FnMut(&[u8])) {
    let Ok(file) = fs::File::open(SYMBOLS) else { return };
    let mut reader = BufReader::with_capacity(1 << 16, file);
    let mut line = Vec::new();
    while matches!(reader.read_until(b'\n', &mut line), Ok(1..)) {
        // An address, a letter for its section, the name; of a module its name follows.
        let mut words = line.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty());
        let (_, kind, symbol) = (words.next(), words.next(), words.next());
        if let (Some(b"t" | b"T" | b"w" | b"W"), Some(symbol)) = (kind, symbol) {
            with(symbol);
        }
        line.clear();
    }
}

/// Functions whose names fit a regular expression.
fn functions_that_fit(types: &Types, pattern: &str) -> Vec<String> {
    let Ok(pattern) = regex::RegexBuilder::new(pattern).size_limit(PATTERN_MAX).build() else {
        return Vec::new();
    };
    let mut names = Vec::new();
    types.each_function(|name| {
        if pattern.is_match(name) {
            names.push(name.to_owned());
        }
    });
    names
}

/// Names of all functions in the kernel's list of symbols, in order.
fn symbol_names() -> Vec<String> {
    let mut names = Vec::new();
    each_symbol(|symbol| names.push(String::from_utf8_lossy(symbol).into_owned()));
    names.sort_unstable();
    names
}

/// Names of all functions that can be traced, in order; none: the kernel does not say.
fn traceable_names() -> Option<Vec<String>> {
    let file = TRACEABLE.iter().find_map(|path| fs::File::open(path).ok())?;
    let lines = BufReader::with_capacity(1 << 16, file).lines().map_while(Result::ok);
    let mut names: Vec<String> =
        lines.filter_map(|line| Some(line.split_ascii_whitespace().next()?.to_owned())).collect();
    names.sort_unstable();
    names.dedup();
    Some(names)
}

/// Of these functions the ones that can be traced; all, when the kernel does not say.
fn traceable(mut names: Vec<String>) -> Vec<String> {
    names.sort_unstable();
    names.dedup();
    let Some(file) = TRACEABLE.iter().find_map(|path| fs::File::open(path).ok()) else { return names };
    let mut can = vec![false; names.len()];
    for line in BufReader::with_capacity(1 << 16, file).lines() {
        let Ok(line) = line else { break };
        let name = line.split_ascii_whitespace().next().unwrap_or_default();
        if let Ok(at) = names.binary_search_by(|other| other.as_str().cmp(name)) {
            can[at] = true;
        }
    }
    let mut can = can.into_iter();
    names.retain(|_| can.next().unwrap_or(false));
    names
}

impl Kernel for RunningKernel {
    fn release(&self) -> &str {
        &self.release
    }

    fn mechanisms(&self) -> Mechanisms {
        self.mechanisms
    }

    fn tells_places(&self) -> bool {
        static FOUND: OnceLock<bool> = OnceLock::new();
        *FOUND.get_or_init(crate::hooks::tells_places)
    }

    fn hooks_functions_at_once(&self) -> bool {
        static FOUND: OnceLock<bool> = OnceLock::new();
        *FOUND.get_or_init(|| mechanisms::try_features(&["kprobe_multi"]).works("kprobe_multi"))
    }

    fn hooks_returns_at_once(&self) -> bool {
        self.hooks_functions_at_once() && mechanisms::return_distance().is_ok()
    }

    fn refuses_kprobe(&self, function: &str) -> Option<String> {
        mechanisms::takes_kprobe(function).err()
    }

    fn hooks_places_at_once(&self) -> bool {
        static FOUND: OnceLock<bool> = OnceLock::new();
        *FOUND.get_or_init(|| mechanisms::try_features(&["uprobe_multi"]).works("uprobe_multi"))
    }

    fn overrides_calls(&self) -> Result<(), String> {
        static FOUND: OnceLock<Result<(), String>> = OnceLock::new();
        FOUND.get_or_init(overrides_calls).clone()
    }

    fn hashes_files(&self, hook: &str) -> Result<(), String> {
        static HELPER: OnceLock<Option<String>> = OnceLock::new();
        // What IMA computes a hash with.
        if self.types.function("ima_collect_measurement").is_none() {
            return Err("this kernel was built without IMA".to_owned());
        }
        let refused = HELPER.get_or_init(|| {
            let tried = mechanisms::try_features(&["ima_hash"]);
            (!tried.works("ima_hash")).then(|| tried.feature("ima_hash", "").detail)
        });
        if let Some(refused) = refused {
            return Err(format!(
                "programs cannot ask this kernel ({}) for hashes of files, which needs Linux 6.1: {refused}",
                self.release
            ));
        }
        mechanisms::may_sleep_at(hook).map_err(|reason| {
            format!("programs at this hook may not sleep on this kernel ({}): {reason}", self.release)
        })?;
        mechanisms::last_runs_first().map(drop)
    }

    fn hash_algorithm(&self) -> Result<HashAlgorithm, String> {
        mechanisms::hash_algorithm()
    }

    fn reads_files(&self, hook: &str) -> Result<(), String> {
        mechanisms::may_sleep_at(hook).map_err(|reason| {
            format!("programs at this hook may not sleep on this kernel ({}): {reason}", self.release)
        })?;
        let mut place = std::mem::MaybeUninit::uninit();
        let of = if hook.starts_with("bprm_") { 2 } else { 1 };
        crate::hooks::build_ids::load(hook, of, None, &mut place).map(drop).map_err(|error| {
            tracing::debug!(%error, hook, "no program that reads files");
            format!(
                "programs at this hook cannot read files on this kernel ({}), for which they need \
                 `bpf_dynptr_from_file`, of Linux 6.19",
                self.release
            )
        })?;
        mechanisms::last_runs_first().map(drop)
    }

    fn changes_registers(&self) -> Result<(), String> {
        mechanisms::changes_registers()
    }

    fn writes_memory(&self) -> Result<(), String> {
        static FOUND: OnceLock<bool> = OnceLock::new();
        let helper = libbpf_rs::libbpf_sys::BPF_FUNC_probe_write_user;
        let may = || libbpf_rs::ProgramType::Kprobe.is_helper_supported(helper).unwrap_or(false);
        if *FOUND.get_or_init(may) {
            return Ok(());
        }
        Err("it keeps programs from it (bpf_probe_write_user), as kernels in lockdown do".to_owned())
    }

    fn is_ambiguous(&self, name: &str) -> bool {
        let hash = hash(name.as_bytes());
        let symbols = self.symbols.get_or_init(symbols);
        let first = symbols.partition_point(|other| *other < hash);
        symbols.get(first + 1) == Some(&hash)
    }

    fn function(&self, name: &str) -> Option<Signature> {
        self.types.function(name)
    }

    fn symbol(&self, name: &str) -> bool {
        if self.types.has_function(name) {
            return true;
        }
        // What the kernel asks security modules with is called from everywhere by one declaration, and so is described
        // if it is there: that need not be looked for in the list of symbols, which takes as long as loading a policy.
        let described = name.starts_with("security_");
        !described && self.symbols.get_or_init(symbols).binary_search(&hash(name.as_bytes())).is_ok()
    }

    fn tracepoint(&self, event: &str) -> Option<Signature> {
        self.types.tracepoint(event)
    }

    fn format(&self, subsystem: &str, event: &str) -> Result<Format, String> {
        let found = Tracefs::open().and_then(|tracefs| tracefs.format(subsystem, event));
        found.map_err(|error| error.to_string())
    }

    fn program(&self, path: &str) -> Result<Box<dyn Program>, String> {
        match Executable::open(path) {
            Ok(executable) => Ok(Box::new(executable)),
            Err(error) => Err(error.to_string()),
        }
    }

    fn lsm_hook(&self, name: &str) -> Option<Signature> {
        self.types.function(&format!("bpf_lsm_{name}"))
    }

    fn resolve(&self, structure: &str, path: &[Step]) -> Result<Resolved, String> {
        self.types.resolve(structure, path)
    }

    fn resolve_in(&self, module: &str, structure: &str, path: &[Step]) -> Result<Resolved, String> {
        self.module(module)?.resolve(structure, path)
    }

    fn resolve_of_program(&self, file: &str, structure: &str, path: &[Step]) -> Result<Resolved, String> {
        self.programs.of(file)?.resolve(structure, path)
    }

    fn syscall(&self, name: &str) -> Option<u32> {
        self.calls().number(name)
    }

    fn syscalls(&self) -> Vec<(String, u32)> {
        self.calls().all()
    }

    fn narrow_syscall(&self, name: &str) -> Option<u32> {
        self.calls().narrow_number(name)
    }

    fn narrow_syscalls(&self) -> Vec<(String, u32)> {
        self.calls().all_narrow()
    }

    fn syscall_prefix(&self) -> &str {
        self.calls().prefix()
    }

    fn nearest(&self, name: &str) -> Vec<String> {
        self.types.nearest(name, PROPOSED)
    }

    fn matching(&self, pattern: &str) -> Vec<String> {
        traceable(functions_that_fit(&self.types, pattern))
    }

    fn socket_programs(&self) -> Result<SocketPrograms, String> {
        crate::socket_programs::of_group(self.socket_group.as_deref())
    }

    fn control_groups(&self) -> Result<(), String> {
        crate::groups::unified_root().map(|_| ())
    }

    fn host_namespaces(&self) -> NamespaceInums {
        self.host
    }
}

#[cfg(test)]
mod tests {
    use saker_policy::plan::TypeKind;

    use super::*;

    fn kernel() -> Option<RunningKernel> {
        match RunningKernel::load() {
            Ok(kernel) => Some(kernel),
            Err(error) => {
                println!("NOT RUN: {error}");
                None
            }
        }
    }

    fn path(text: &str) -> Vec<Step> {
        saker_policy::values::parse_resolve(text).unwrap()
    }

    #[test]
    fn functions_and_tracepoints_have_their_arguments() {
        let Some(kernel) = kernel() else { return };
        let open = kernel.function("security_file_open").unwrap();
        assert_eq!(open.arguments[0].1, TypeKind::Pointer("file".into()));
        assert_eq!(open.result, TypeKind::Integer { size: 4, signed: true });
        let exec = kernel.tracepoint("sched_process_exec").unwrap();
        assert_eq!(exec.arguments.len(), 3);
        assert_eq!(exec.arguments[0].1, TypeKind::Pointer("task_struct".into()));
        assert!(kernel.function("no_such_function").is_none() && kernel.tracepoint("nothing").is_none());
        assert!(kernel.symbol("security_file_open") && !kernel.symbol("no_such_function"));
        // In the list of symbols only.
        assert!(kernel.function("_stext").is_none() && kernel.symbol("_stext"));
    }

    #[test]
    fn paths_lead_through_pointers_structures_and_arrays() {
        let Some(kernel) = kernel() else { return };
        let comm = kernel.resolve("task_struct", &path("real_parent.real_parent.comm")).unwrap();
        let loads: Vec<u32> = comm.steps.iter().map(|step| step.load).collect();
        assert_eq!(loads, [8, 8, 0]);
        assert_eq!(comm.steps[0].offset, comm.steps[1].offset);
        let pid = kernel.resolve("task_struct", &path("tgid")).unwrap();
        assert_eq!((pid.steps.len(), pid.kind), (1, TypeKind::Integer { size: 4, signed: true }));
        let inode = kernel.resolve("file", &path("f_path.dentry.d_inode.i_ino")).unwrap();
        assert_eq!(inode.steps.len(), 3);
        let third = kernel.resolve("task_struct", &path("comm[3]")).unwrap();
        assert_eq!((third.steps[0].offset, third.steps[0].load), (comm.steps[2].offset + 3, 1));
        // Anonymous unions are looked through.
        assert!(kernel.resolve("sock", &path("__sk_common.skc_daddr")).is_ok());
    }

    #[test]
    fn what_cannot_be_followed_says_why() {
        let Some(kernel) = kernel() else { return };
        for (structure, members, words) in [
            ("task_struct", "nothing", "no member `nothing`"),
            ("no_struct", "x", "there is no structure"),
            ("task_struct", "comm.x", "no structure"),
            ("task_struct", "comm[16]", "16 elements"),
            ("task_struct", "tgid[0]", "no array"),
            ("task_struct", "in_execve", "some bits"),
        ] {
            let error = kernel.resolve(structure, &path(members)).unwrap_err();
            assert!(error.contains(words), "{members}: {error}");
        }
    }

    #[test]
    fn names_are_found_by_pattern_and_by_likeness() {
        let Some(kernel) = kernel() else { return };
        let found = kernel.matching("^ksys_read$|^ksys_write$");
        assert!(found.iter().all(|name| name.starts_with("ksys_")), "{found:?}");
        assert!(kernel.nearest("security_file_opn").contains(&"security_file_open".to_owned()));
        assert!(kernel.matching("[").is_empty());
    }

    #[test]
    fn system_calls_have_numbers() {
        let Some(kernel) = kernel() else { return };
        if cfg!(target_arch = "x86_64") {
            assert_eq!(kernel.syscall("openat"), Some(257));
            assert!(kernel.syscalls().contains(&("newstat".to_owned(), 4)));
        }
        assert_eq!(kernel.syscall("nothing"), None);
    }
}

//! A kernel that is made up.

use crate::plan::{Kernel, Mechanisms, Resolved, Signature, SocketPrograms, TypeKind};
use crate::programs::Program;
use crate::tracepoint::Format;
use crate::values::{HashAlgorithm, Step};
use saker_abi::generated::saker_step;

/// With trampolines, kprobes and LSM programs, unless changed.
pub(super) struct Fake {
    pub(super) mechanisms: Mechanisms,
    pub(super) host: saker_abi::NamespaceInums,
    /// Functions beside those that all have.
    pub(super) functions: Vec<&'static str>,
    /// It tells the places of a program apart, and attaches to several at once.
    pub(super) together: bool,
    /// Why control groups say nothing of containers.
    pub(super) no_groups: Option<&'static str>,
    /// Functions of these that no kprobe is taken at, and that are not described.
    pub(super) untraceable: Vec<&'static str>,
    /// It does that with the returns of functions.
    pub(super) returns_together: bool,
    /// Files can be hashed at the hook file_open.
    pub(super) hashes: bool,
    /// It runs programs of 32 bits.
    pub(super) narrow: bool,
    /// Programs at uprobes may change registers and write into memory.
    pub(super) writes: bool,
    /// Programs may give results in place of system calls.
    pub(super) injects: bool,
    /// What programs of control groups may do; none: there are none.
    pub(super) sockets: Option<SocketPrograms>,
}

impl Default for Fake {
    fn default() -> Self {
        let host = saker_abi::NamespaceInums {
            uts: 10,
            ipc: 11,
            mnt: 12,
            pid: 13,
            pid_for_children: 14,
            net: 15,
            time: 16,
            time_for_children: 17,
            cgroup: 18,
            user: 19,
        };
        let mechanisms =
            Mechanisms { trampoline: true, lsm: true, kprobe: true, preemptible: false, lsm_left_out: false };
        Self {
            mechanisms,
            host,
            functions: Vec::new(),
            together: false,
            no_groups: None,
            untraceable: Vec::new(),
            returns_together: false,
            hashes: false,
            narrow: false,
            writes: false,
            injects: false,
            sockets: None,
        }
    }
}

impl Fake {
    /// With these ways of hooking.
    pub(super) fn with(trampoline: bool, kprobe: bool, lsm: bool) -> Self {
        Self {
            mechanisms: Mechanisms { trampoline, lsm, kprobe, preemptible: false, lsm_left_out: false },
            ..Self::default()
        }
    }
}

fn pointer(name: &str) -> TypeKind {
    TypeKind::Pointer(name.to_owned())
}

const INT: TypeKind = TypeKind::Integer { size: 4, signed: true };

fn signature(kinds: Vec<TypeKind>) -> Signature {
    let arguments = kinds.into_iter().map(|kind| (String::new(), kind)).collect();
    Signature { arguments, result: INT, readable: true }
}

impl Kernel for Fake {
    fn release(&self) -> &str {
        "6.99.0-fake"
    }

    fn hashes_files(&self, hook: &str) -> Result<(), String> {
        match hook {
            _ if !self.hashes => Err("this kernel was built without IMA".to_owned()),
            "file_open" | "file_post_open" => Ok(()),
            other => Err(format!("programs at {other} may not sleep")),
        }
    }

    fn reads_files(&self, hook: &str) -> Result<(), String> {
        if self.hashes { Ok(()) } else { Err(format!("programs at {hook} cannot read files")) }
    }

    fn hash_algorithm(&self) -> Result<HashAlgorithm, String> {
        Ok(HashAlgorithm::Sha256)
    }

    fn mechanisms(&self) -> Mechanisms {
        self.mechanisms
    }

    fn tells_places(&self) -> bool {
        self.together
    }

    fn hooks_functions_at_once(&self) -> bool {
        self.together
    }

    fn hooks_returns_at_once(&self) -> bool {
        self.returns_together
    }

    fn refuses_kprobe(&self, function: &str) -> Option<String> {
        self.untraceable.contains(&function).then(|| "the kernel refuses it".to_owned())
    }

    fn hooks_places_at_once(&self) -> bool {
        self.together
    }

    fn changes_registers(&self) -> Result<(), String> {
        if self.writes { Ok(()) } else { Err("it is too old".into()) }
    }

    fn overrides_calls(&self) -> Result<(), String> {
        if self.injects { Ok(()) } else { Err("it was built without error injection for them".into()) }
    }

    fn writes_memory(&self) -> Result<(), String> {
        if self.writes { Ok(()) } else { Err("it is locked down".into()) }
    }

    fn is_ambiguous(&self, name: &str) -> bool {
        name == "twice"
    }

    fn function(&self, name: &str) -> Option<Signature> {
        let unsigned = |size| TypeKind::Integer { size, signed: false };
        match name {
            // What it takes is left open, so that one function serves all types.
            "security_file_open" => Some(signature(vec![pointer(""), pointer("")])),
            "security_file_permission" => Some(signature(vec![pointer("file"), INT])),
            "security_path_link" => {
                Some(signature(vec![pointer("dentry"), pointer("path"), pointer("dentry")]))
            }
            "vfs_unlink" => Some(signature(vec![pointer("inode"), pointer("dentry")])),
            "narrow" => {
                Some(signature(vec![unsigned(2), unsigned(4), TypeKind::Integer { size: 4, signed: true }]))
            }
            "opaque" => Some(Signature { readable: false, ..signature(vec![pointer("pt_regs")]) }),
            "many" => Some(signature(vec![INT; 9])),
            "by_value" => Some(signature(vec![INT, TypeKind::Structure("big".into()), INT])),
            "security_bpf_map_create" => Some(signature(vec![pointer("bpf_map"), pointer("bpf_attr")])),
            "sk_skb_reason_drop" => Some(signature(vec![pointer("sock"), pointer("sk_buff")])),
            "__x64_sys_openat" | "__x64_sys_exit_group" | "__x64_sys_newstat" | "__x64_sys_lseek" => {
                Some(signature(vec![pointer("pt_regs")]))
            }
            "security_socket_connect" => self.lsm_hook("socket_connect"),
            "perf_event_mmap" => Some(signature(vec![pointer("vm_area_struct")])),
            other => self.functions.contains(&other).then(|| signature(vec![pointer("file")])),
        }
    }

    fn symbol(&self, name: &str) -> bool {
        name == "undescribed" || self.untraceable.contains(&name) || self.function(name).is_some()
    }

    fn tracepoint(&self, event: &str) -> Option<Signature> {
        match event {
            "sched_process_exec" => {
                Some(signature(vec![pointer("task_struct"), INT, pointer("linux_binprm")]))
            }
            "sys_enter" => {
                Some(signature(vec![pointer("pt_regs"), TypeKind::Integer { size: 8, signed: true }]))
            }
            "sys_exit" => {
                Some(signature(vec![pointer("pt_regs"), TypeKind::Integer { size: 8, signed: true }]))
            }
            _ => None,
        }
    }

    fn format(&self, subsystem: &str, event: &str) -> Result<Format, String> {
        match event {
            "sched_process_exec" => Ok(Format::parse(super::fields::EXEC).expect("it is a format")),
            _ => Err(format!("the fields of {subsystem}/{event} are not known")),
        }
    }

    fn program(&self, path: &str) -> Result<Box<dyn Program>, String> {
        super::programs::program(path).ok_or_else(|| format!("cannot open {path}"))
    }

    fn lsm_hook(&self, name: &str) -> Option<Signature> {
        match name {
            "file_open" | "file_post_open" => Some(signature(vec![pointer("file")])),
            "file_permission" => Some(signature(vec![pointer("file"), INT])),
            "socket_connect" | "socket_bind" => {
                Some(signature(vec![pointer("socket"), pointer("sockaddr"), INT]))
            }
            "socket_sendmsg" => Some(signature(vec![pointer("socket"), pointer("msghdr"), INT])),
            _ => None,
        }
    }

    fn resolve_of_program(&self, file: &str, structure: &str, path: &[Step]) -> Result<Resolved, String> {
        if file == "/bin/c.btf" { self.resolve(structure, path) } else { Err("it cannot be read".into()) }
    }

    fn resolve(&self, structure: &str, path: &[Step]) -> Result<Resolved, String> {
        let step = |offset, load| saker_step { offset, load };
        let words: Vec<String> = path.iter().map(ToString::to_string).collect();
        let (steps, kind) = match (structure, words.join(".").as_str()) {
            ("file", "f_inode.i_mode") => {
                (vec![step(32, 8), step(0, 2)], TypeKind::Integer { size: 2, signed: false })
            }
            ("vm_area_struct", "vm_file") => (vec![step(160, 8)], pointer("file")),
            ("vm_area_struct", "vm_start") => {
                (vec![step(0, 8)], TypeKind::Integer { size: 8, signed: false })
            }
            ("vm_area_struct", "vm_flags") => {
                (vec![step(32, 8)], TypeKind::Integer { size: 8, signed: false })
            }
            ("msghdr", "msg_name") => (vec![step(0, 8)], pointer("")),
            ("socket", "sk") => (vec![step(24, 8)], pointer("sock")),
            ("file", "f_pos") => (vec![step(64, 8)], TypeKind::Integer { size: 8, signed: true }),
            ("file", "small") => (vec![step(64, 1)], TypeKind::Integer { size: 1, signed: true }),
            ("file", "f_path") => (vec![step(16, 0)], TypeKind::Structure("path".into())),
            ("file", "f_cred") => (vec![step(24, 8)], pointer("cred")),
            ("cred", "cap_effective") => (vec![step(40, 0)], TypeKind::Structure("kernel_cap_t".into())),
            ("task_struct", "comm") => (vec![step(700, 0)], TypeKind::Other),
            ("task_struct", "name") => (vec![step(800, 8)], pointer("")),
            ("pt_regs", "orig_ax") => (vec![step(120, 8)], TypeKind::Integer { size: 8, signed: false }),
            ("deep", _) => (vec![step(0, 8); 12], INT),
            (_, path) => return Err(format!("there is no member `{path}`")),
        };
        Ok(Resolved { steps, kind })
    }

    fn resolve_in(&self, module: &str, structure: &str, path: &[Step]) -> Result<Resolved, String> {
        let fid = structure == "p9_fid" && path == [Step::Member("fid".into())];
        if module != "9pnet" || !fid {
            return Err(format!("the types of the module {module} are not known"));
        }
        let kind = TypeKind::Integer { size: 4, signed: false };
        Ok(Resolved { steps: vec![saker_step { offset: 12, load: 4 }], kind })
    }

    fn syscall(&self, name: &str) -> Option<u32> {
        crate::names::syscalls::number(name)
    }

    fn syscalls(&self) -> Vec<(String, u32)> {
        crate::names::syscalls::all().map(|(name, number)| (name.to_owned(), number)).collect()
    }

    fn narrow_syscall(&self, name: &str) -> Option<u32> {
        crate::names::syscalls::narrow_number(name).filter(|_| self.narrow)
    }

    fn narrow_syscalls(&self) -> Vec<(String, u32)> {
        let all = crate::names::syscalls::all_narrow().filter(|_| self.narrow);
        all.map(|(name, number)| (name.to_owned(), number)).collect()
    }

    fn syscall_prefix(&self) -> &str {
        "__x64_sys_"
    }

    fn nearest(&self, name: &str) -> Vec<String> {
        let near = ["security_file_open", "__x64_sys_openat", "bpf_lsm_file_open"];
        near.iter().filter(|other| other[..6] == name[..6.min(name.len())]).map(ToString::to_string).collect()
    }

    fn matching(&self, pattern: &str) -> Vec<String> {
        if pattern == "^security_file_" {
            vec!["security_file_open".into(), "security_file_permission".into()]
        } else {
            Vec::new()
        }
    }

    fn socket_programs(&self) -> Result<SocketPrograms, String> {
        self.sockets.clone().ok_or_else(|| "control groups are not mounted".to_owned())
    }

    fn control_groups(&self) -> Result<(), String> {
        self.no_groups.map_or(Ok(()), |reason| Err(reason.to_owned()))
    }

    fn host_namespaces(&self) -> saker_abi::NamespaceInums {
        self.host
    }
}

//! Opening an object so that libbpf need not read the kernel's description of its types.
//!
//! libbpf reads it for two reasons: to relocate accesses to kernel structures, for which it also takes another
//! description, and to find what a program attaches to, which a handler of ours for the programs' sections knows
//! already. libbpf decides by the type of a program whether it needs the description; so our handler opens
//! programs with another type and puts the right one in when a program is loaded.

use std::ffi::{CStr, c_int, c_long};
use std::fs::File;
use std::io::Write;
use std::os::fd::AsRawFd;
use std::ptr::NonNull;
use std::sync::{Mutex, MutexGuard, PoisonError};

use libbpf_rs::{
    AsRawLibbpf, Link, ObjectBuilder, OpenObject, OpenProgramMut, ProgramMut, ProgramType, libbpf_sys,
};

use crate::types::KernelTypes;

/// Where the kernel describes its types.
pub(crate) const BTF_PATH: &str = "/sys/kernel/btf/vmlinux";

/// A section of programs and what the kernel calls what they attach to.
pub(crate) struct Section {
    name: &'static CStr,
    target: &'static str,
    attach_type: libbpf_sys::bpf_attach_type,
}

impl Section {
    /// Programs on a raw tracepoint with types.
    pub const fn tracepoint(name: &'static CStr, target: &'static str) -> Self {
        Self { name, target, attach_type: libbpf_sys::BPF_TRACE_RAW_TP }
    }

    /// Programs on an iterator.
    pub const fn iterator(name: &'static CStr, target: &'static str) -> Self {
        Self { name, target, attach_type: libbpf_sys::BPF_TRACE_ITER }
    }
}

/// Handlers are the whole process's, and libbpf does not guard them: one object is opened and loaded at a time.
static LIBBPF: Mutex<()> = Mutex::new(());

/// Functions of the kernel that programs call by a number of their own until they are loaded.
const FUNCTIONS: [(i32, &str); 2] =
    [(0x5a4b_0001, "bpf_preempt_disable"), (0x5a4b_0002, "bpf_preempt_enable")];

/// What is put into the programs of a section when they are loaded.
struct Patch {
    /// What they attach to.
    target: u32,
    /// Stand-in and number of each function the kernel has.
    functions: Vec<(i32, u32)>,
}

/// Held while an object is opened and loaded.
pub(crate) fn lock() -> MutexGuard<'static, ()> {
    LIBBPF.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What must live while an object is opened and loaded.
pub(crate) struct Shortcut {
    handlers: Vec<c_int>,
    /// Handlers point to these, so they are made at once and stay where they are.
    patches: Vec<Patch>,
    /// The description, as a file in memory; libbpf reads it when the object is loaded.
    _file: File,
}

impl Shortcut {
    /// Prepares `builder`, for an object that asks for the types `names` and has programs in `sections`. `None`:
    /// this kernel's description is not as expected, and libbpf must read it itself. The caller holds [`lock`].
    pub fn take(builder: &mut ObjectBuilder, names: &str, sections: &[Section]) -> Option<Self> {
        let targets: Vec<&str> =
            sections.iter().map(|section| section.target).chain(FUNCTIONS.map(|(_, name)| name)).collect();
        let types = KernelTypes::of_kernel(BTF_PATH, names, &targets)?;
        let file = rustix::fs::memfd_create(c"saker-types", rustix::fs::MemfdFlags::CLOEXEC).ok()?;
        let mut file = File::from(file);
        file.write_all(&types.description).ok()?;
        builder.btf_custom_path(format!("/proc/self/fd/{}", file.as_raw_fd())).ok()?;
        let mut shortcut = Self { handlers: Vec::new(), patches: Vec::new(), _file: file };
        let functions: Vec<(i32, u32)> =
            FUNCTIONS.into_iter().filter_map(|(stands, name)| Some((stands, types.target(name)?))).collect();
        for section in sections {
            let target = types.target(section.target)?;
            shortcut.patches.push(Patch { target, functions: functions.clone() });
        }
        for (section, patch) in sections.iter().zip(&shortcut.patches) {
            shortcut.handlers.push(register(section, patch)?);
        }
        Some(shortcut)
    }

    /// To be called when it is decided which programs of the object are loaded. Makes the others forget their
    /// handlers, which will be gone; those that are loaded forget them then.
    pub fn settle(object: &mut OpenObject) {
        for mut program in object.progs_mut().filter(|program| !program.autoload()) {
            program.set_prog_type(ProgramType::Tracing);
        }
    }
}

/// Registers a handler that gives the programs of a section the number of what they attach to.
fn register(section: &Section, patch: &Patch) -> Option<c_int> {
    let options = libbpf_sys::libbpf_prog_handler_opts {
        sz: size_of::<libbpf_sys::libbpf_prog_handler_opts>() as libbpf_sys::size_t,
        cookie: std::ptr::from_ref(patch) as c_long,
        prog_prepare_load_fn: Some(put_target),
        ..libbpf_sys::libbpf_prog_handler_opts::default()
    };
    // SAFETY: name and options live during the call, which copies them; the caller of `Shortcut::take` holds the
    // lock, so nothing else changes or reads the list of handlers.
    let handler = unsafe {
        libbpf_sys::libbpf_register_prog_handler(
            section.name.as_ptr(),
            libbpf_sys::BPF_PROG_TYPE_RAW_TRACEPOINT,
            section.attach_type,
            &raw const options,
        )
    };
    (handler > 0).then_some(handler)
}

/// Called by libbpf when it is about to load a program.
unsafe extern "C" fn put_target(
    program: *mut libbpf_sys::bpf_program,
    options: *mut libbpf_sys::bpf_prog_load_opts,
    cookie: c_long,
) -> c_int {
    // SAFETY: the cookie is a patch of a `Shortcut`, which outlives its handlers and with them this call.
    let Some(patch) = (unsafe { (cookie as *const Patch).as_ref() }) else { return -22 };
    // SAFETY: libbpf passes the options it is about to load the program with, for the time of this call.
    if let Some(options) = unsafe { options.as_mut() } {
        options.attach_btf_id = patch.target;
    }
    // SAFETY: libbpf passes the program it is about to load.
    let status = unsafe { put_functions(program, &patch.functions) };
    if status != 0 {
        return status;
    }
    // SAFETY: libbpf passes the program it is about to load; its type may be changed until its object is loaded.
    unsafe { libbpf_sys::bpf_program__set_type(program, libbpf_sys::BPF_PROG_TYPE_TRACING) }
}

/// Puts calls of functions of the kernel where their stand-ins are called.
///
/// # Safety
/// `program` is one that is not loaded yet.
unsafe fn put_functions(program: *mut libbpf_sys::bpf_program, functions: &[(i32, u32)]) -> c_int {
    const CALL: u8 = (libbpf_sys::BPF_JMP | libbpf_sys::BPF_CALL) as u8;
    // SAFETY: the caller's program; both functions only read it.
    let (first, count) =
        unsafe { (libbpf_sys::bpf_program__insns(program), libbpf_sys::bpf_program__insn_cnt(program)) };
    if first.is_null() {
        return -22;
    }
    // SAFETY: libbpf keeps so many instructions there until it is told others.
    let mut code = unsafe { std::slice::from_raw_parts(first, count as usize) }.to_vec();
    let mut changed = false;
    for instruction in code.iter_mut().filter(|i| i.code == CALL && i.src_reg() == 0) {
        let function = functions.iter().find(|(stands, _)| *stands == instruction.imm);
        if let Some((_, number)) = function {
            instruction.set_src_reg(libbpf_sys::BPF_PSEUDO_KFUNC_CALL as u8);
            instruction.imm = number.cast_signed();
            changed = true;
        }
    }
    if !changed {
        return 0;
    }
    // SAFETY: the instructions live during the call, which copies them; the program is not loaded yet.
    unsafe { libbpf_sys::bpf_program__set_insns(program, code.as_mut_ptr(), count) }
}

/// The functions that forbid and allow preemption, as this kernel numbers them; empty: it has none.
pub(crate) fn preemption_functions() -> Vec<(i32, u32)> {
    let Some(types) = KernelTypes::of_kernel(BTF_PATH, "", &FUNCTIONS.map(|(_, name)| name)) else {
        return Vec::new();
    };
    FUNCTIONS.into_iter().filter_map(|(stands, name)| Some((stands, types.target(name)?))).collect()
}

/// Puts the functions into a program that has been opened and will be loaded by libbpf's own means.
pub(crate) fn forbid_preemption(
    program: &mut OpenProgramMut<'_>,
    functions: &[(i32, u32)],
) -> Result<(), libbpf_rs::Error> {
    // SAFETY: the program is open, not loaded, and borrowed for the time of this call.
    match unsafe { put_functions(program.as_libbpf_object().as_ptr(), functions) } {
        0 => Ok(()),
        status => Err(libbpf_rs::Error::from_raw_os_error(-status)),
    }
}

/// As [`ProgramMut::attach`] for an iterator, also when the program has forgotten the handler of its section.
pub(crate) fn attach_iterator(program: &ProgramMut<'_>) -> Result<Link, libbpf_rs::Error> {
    // SAFETY: the program is loaded and lives during the call; there are no options to pass.
    let link = unsafe {
        libbpf_sys::bpf_program__attach_iter(program.as_libbpf_object().as_ptr(), std::ptr::null())
    };
    let link = NonNull::new(link).ok_or_else(|| libbpf_rs::Error::from(std::io::Error::last_os_error()))?;
    // SAFETY: libbpf made this link for us alone.
    Ok(unsafe { Link::from_ptr(link) })
}

impl Drop for Shortcut {
    fn drop(&mut self) {
        for handler in &self.handlers {
            // SAFETY: the handler is registered, and no program refers to it any more: a program forgets its
            // handler when its type is set, which is done for all of an object.
            unsafe { libbpf_sys::libbpf_unregister_prog_handler(*handler) };
        }
    }
}

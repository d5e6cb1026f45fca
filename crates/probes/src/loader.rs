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

use libbpf_rs::{AsRawLibbpf, Link, ObjectBuilder, OpenObject, ProgramMut, ProgramType, libbpf_sys};

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

/// Held while an object is opened and loaded.
pub(crate) fn lock() -> MutexGuard<'static, ()> {
    LIBBPF.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What must live while an object is opened and loaded.
pub(crate) struct Shortcut {
    handlers: Vec<c_int>,
    /// The description, as a file in memory; libbpf reads it when the object is loaded.
    _file: File,
}

impl Shortcut {
    /// Prepares `builder`, for an object that asks for the types `names` and has programs in `sections`. `None`:
    /// this kernel's description is not as expected, and libbpf must read it itself. The caller holds [`lock`].
    pub fn take(builder: &mut ObjectBuilder, names: &str, sections: &[Section]) -> Option<Self> {
        let targets: Vec<&str> = sections.iter().map(|section| section.target).collect();
        let types = KernelTypes::of_kernel(BTF_PATH, names, &targets)?;
        let file = rustix::fs::memfd_create(c"saker-types", rustix::fs::MemfdFlags::CLOEXEC).ok()?;
        let mut file = File::from(file);
        file.write_all(&types.description).ok()?;
        builder.btf_custom_path(format!("/proc/self/fd/{}", file.as_raw_fd())).ok()?;
        let mut shortcut = Self { handlers: Vec::new(), _file: file };
        for section in sections {
            shortcut.handlers.push(register(section, types.target(section.target)?)?);
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
fn register(section: &Section, target: u32) -> Option<c_int> {
    let options = libbpf_sys::libbpf_prog_handler_opts {
        sz: size_of::<libbpf_sys::libbpf_prog_handler_opts>() as libbpf_sys::size_t,
        cookie: c_long::from(target),
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
    target: c_long,
) -> c_int {
    // SAFETY: libbpf passes the options it is about to load the program with, for the time of this call.
    if let (Some(options), Ok(target)) = (unsafe { options.as_mut() }, u32::try_from(target)) {
        options.attach_btf_id = target;
    }
    // SAFETY: libbpf passes the program it is about to load; its type may be changed until its object is loaded.
    unsafe { libbpf_sys::bpf_program__set_type(program, libbpf_sys::BPF_PROG_TYPE_TRACING) }
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

//! Opening an object so that libbpf need not read the kernel's description of its types.
//!
//! libbpf reads it for two reasons: to relocate accesses to kernel structures, for which it also takes another
//! description, and to find what a program attaches to, which a handler of ours for the programs' sections knows
//! already. libbpf decides by the type of a program whether it needs the description; so our handler opens
//! programs with another type and puts the right one in when a program is loaded. The same handler takes out of the
//! program what its read-only data says it will never run ([`crate::prune`]).

mod program;

use std::cell::{Cell, RefCell};
use std::ffi::{CStr, OsStr, c_int, c_long};
use std::fs::File;
use std::io::Write;
use std::os::fd::{AsRawFd, BorrowedFd, RawFd};
use std::ptr::NonNull;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use libbpf_rs::{
    AsRawLibbpf, Link, MapType, ObjectBuilder, OpenObject, OpenProgramMut, ProgramMut, ProgramType,
    libbpf_sys,
};

use self::program::prune_program;
use crate::kernel::held_types;
use crate::template::Template;
use crate::types::KernelTypes;

/// The sections and maps of a hook's plan and constants. They are not ones that libbpf takes for read-only data: it would
/// bind them to each program, which keeps them also where nothing refers to them any more.
pub(crate) const CONSTANTS: [&str; 2] = [".data.plan", ".data.constants"];

/// A section of programs and what the kernel calls what they attach to.
#[derive(Clone, Copy)]
pub(crate) struct Section<'a> {
    name: &'static CStr,
    target: Option<&'a str>,
    program_type: libbpf_sys::bpf_prog_type,
    attach_type: libbpf_sys::bpf_attach_type,
    sleepable: bool,
}

impl<'a> Section<'a> {
    const fn tracing(name: &'static CStr, target: &'a str, attach_type: libbpf_sys::bpf_attach_type) -> Self {
        let program_type = libbpf_sys::BPF_PROG_TYPE_TRACING;
        Self { name, target: Some(target), program_type, attach_type, sleepable: false }
    }

    /// Programs that attach to something the kernel need not know before.
    pub const fn free(name: &'static CStr, program_type: libbpf_sys::bpf_prog_type) -> Self {
        Self { name, target: None, program_type, attach_type: 0, sleepable: false }
    }

    /// Programs of a control group that are asked about addresses.
    pub const fn address(name: &'static CStr, attach_type: libbpf_sys::bpf_attach_type) -> Self {
        let program_type = libbpf_sys::BPF_PROG_TYPE_CGROUP_SOCK_ADDR;
        Self { name, target: None, program_type, attach_type, sleepable: false }
    }

    /// What it attaches to.
    pub const fn target(&self) -> Option<&'a str> {
        self.target
    }

    /// Programs on a raw tracepoint with types.
    pub const fn tracepoint(name: &'static CStr, target: &'a str) -> Self {
        Self::tracing(name, target, libbpf_sys::BPF_TRACE_RAW_TP)
    }

    /// Programs on an iterator.
    pub const fn iterator(name: &'static CStr, target: &'a str) -> Self {
        Self::tracing(name, target, libbpf_sys::BPF_TRACE_ITER)
    }

    /// Programs before a function.
    pub const fn entry(name: &'static CStr, target: &'a str) -> Self {
        Self::tracing(name, target, libbpf_sys::BPF_TRACE_FENTRY)
    }

    /// Programs that may take the place of a function's result.
    pub const fn modify(name: &'static CStr, target: &'a str) -> Self {
        Self::tracing(name, target, libbpf_sys::BPF_MODIFY_RETURN)
    }

    /// Programs behind a function.
    pub const fn exit(name: &'static CStr, target: &'a str) -> Self {
        Self::tracing(name, target, libbpf_sys::BPF_TRACE_FEXIT)
    }

    /// Programs of a hook of security modules.
    pub const fn lsm(name: &'static CStr, target: &'a str) -> Self {
        let program_type = libbpf_sys::BPF_PROG_TYPE_LSM;
        let attach_type = libbpf_sys::BPF_LSM_MAC;
        Self { name, target: Some(target), program_type, attach_type, sleepable: false }
    }

    /// The same, of programs that may sleep.
    pub const fn sleepable_lsm(name: &'static CStr, target: &'a str) -> Self {
        Self { sleepable: true, ..Self::lsm(name, target) }
    }
}

/// Handlers are the whole process's, and libbpf does not guard them: one object is opened and loaded at a time.
static LIBBPF: Mutex<()> = Mutex::new(());

/// Functions of the kernel that programs call by a number of their own until they are loaded.
const FUNCTIONS: [(i32, &str); 2] =
    [(0x5a4b_0001, "bpf_preempt_disable"), (0x5a4b_0002, "bpf_preempt_enable")];

/// What is put into the programs of a section when they are loaded.
struct Patch {
    /// What they are.
    program_type: libbpf_sys::bpf_prog_type,
    /// What they attach to, if the kernel must know when it loads them.
    target: Option<u32>,
    /// They may sleep.
    sleepable: bool,
    /// Stand-in and number of each function the kernel has.
    functions: Vec<(i32, u32)>,
    /// Maps of the object that are read-only.
    read_only: RefCell<Vec<NonNull<libbpf_sys::bpf_map>>>,
    /// Those that are arrays.
    arrays: RefCell<Vec<NonNull<libbpf_sys::bpf_map>>>,
    /// A description of the object's types that the kernel has already; `None`: its own is to be used.
    lent: Cell<Option<RawFd>>,
    /// Describes the functions of the object; null: nobody has said where that is.
    types: Cell<*const libbpf_sys::btf>,
    /// Where the functions of the program begin that is being loaded, as the kernel wants to have it.
    function_info: RefCell<Vec<libbpf_sys::bpf_func_info>>,
    /// All maps of the object.
    maps: RefCell<Vec<NonNull<libbpf_sys::bpf_map>>>,
    /// What its programs hold.
    contents: RefCell<Contents>,
    /// Made of its programs for later ones.
    made: RefCell<Vec<Template>>,
    /// Programs that templates were put into.
    filled: Cell<usize>,
}

/// What the programs of an object hold when it is opened.
#[derive(Clone)]
pub(crate) enum Contents {
    /// All.
    Whole,
    /// All, which is kept for later objects ([`Shortcut::take_templates`]).
    Kept,
    /// Nothing: it is put in when they are loaded.
    Filled(Vec<Arc<Template>>),
}

thread_local! {
    /// The object of hooks is opened with nothing in its programs.
    static EMPTY: Cell<bool> = const { Cell::new(false) };
}

/// Whether this thread opens the object of hooks with nothing in its programs.
pub(crate) fn opens_empty() -> bool {
    EMPTY.get()
}

/// This thread opens the object of hooks with nothing in its programs until this is dropped.
pub(crate) struct OpensEmpty(());

impl OpensEmpty {
    pub fn begin() -> Self {
        EMPTY.set(true);
        Self(())
    }
}

impl Drop for OpensEmpty {
    fn drop(&mut self) {
        EMPTY.set(false);
    }
}

/// Which maps of an object are to be made, of all in their order.
pub(crate) fn maps_to_make(object: &OpenObject) -> Vec<bool> {
    // SAFETY: the object is open, and the function only reads of the map.
    let made = |map: libbpf_rs::OpenMap<'_>| unsafe {
        libbpf_sys::bpf_map__autocreate(map.as_libbpf_object().as_ptr())
    };
    object.maps().map(made).collect()
}

/// Held while an object is opened and loaded.
pub(crate) fn lock() -> MutexGuard<'static, ()> {
    LIBBPF.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What is needed of the kernel's description, for objects that are loaded one after the other.
pub(crate) struct Prepared {
    types: KernelTypes,
    /// The description cut out, as a file in memory.
    file: File,
}

impl Prepared {
    /// Finds the types `names` that objects ask for, and `targets`, what their programs attach to. `None`: this
    /// kernel's description is not as expected, and libbpf must read it itself.
    pub fn find<'a>(names: &str, targets: impl IntoIterator<Item = &'a str>) -> Option<Self> {
        let targets: Vec<&str> = targets.into_iter().chain(FUNCTIONS.map(|(_, name)| name)).collect();
        let types = match held_types() {
            Some(held) => held.cut(names, &targets)?,
            None => KernelTypes::of_kernel(names, &targets)?,
        };
        let file = rustix::fs::memfd_create(c"saker-types", rustix::fs::MemfdFlags::CLOEXEC).ok()?;
        let mut file = File::from(file);
        file.write_all(&types.description).ok()?;
        Some(Self { types, file })
    }
}

/// What must live while an object is opened and loaded.
pub(crate) struct Shortcut {
    handlers: Vec<c_int>,
    /// Handlers point to these, so they are made at once and stay where they are.
    patches: Vec<Patch>,
}

impl Shortcut {
    /// Prepares `builder` for an object that has programs in `sections`. Programs of the object that have another
    /// number instead of a function of the kernel get those in `functions`. `None`: one of the targets is not
    /// there. The caller holds [`lock`], and keeps `prepared` until the object is loaded.
    pub fn take(
        builder: &mut ObjectBuilder,
        prepared: &Prepared,
        sections: &[Section<'_>],
        functions: bool,
    ) -> Option<Self> {
        let types = &prepared.types;
        let functions: Vec<(i32, u32)> = FUNCTIONS
            .into_iter()
            .filter(|_| functions)
            .filter_map(|(stands, name)| Some((stands, types.target(name)?)))
            .collect();
        let mut patches = Vec::new();
        for section in sections {
            let target = match section.target {
                Some(target) => Some(types.target(target)?),
                None => None,
            };
            patches.push(Patch {
                program_type: section.program_type,
                target,
                sleepable: section.sleepable,
                functions: functions.clone(),
                read_only: RefCell::default(),
                arrays: RefCell::default(),
                lent: Cell::new(None),
                types: Cell::new(std::ptr::null()),
                function_info: RefCell::default(),
                maps: RefCell::default(),
                contents: RefCell::new(Contents::Whole),
                made: RefCell::default(),
                filled: Cell::new(0),
            });
        }
        builder.btf_custom_path(format!("/proc/self/fd/{}", prepared.file.as_raw_fd())).ok()?;
        let mut shortcut = Self { handlers: Vec::new(), patches };
        for (section, patch) in sections.iter().zip(&shortcut.patches) {
            shortcut.handlers.push(register(section, patch)?);
        }
        Some(shortcut)
    }

    /// To be called when it is decided which programs of the object are loaded. Makes the others forget their
    /// handlers, which will be gone; those that are loaded forget them then. `lent`: a description of the types of the same
    /// object that the kernel has already, and that its programs shall refer to; open until they are loaded.
    pub fn settle(&self, object: &mut OpenObject, lent: Option<RawFd>, contents: &Contents) {
        for mut program in object.progs_mut().filter(|program| !program.autoload()) {
            program.set_prog_type(ProgramType::Tracing);
        }
        let is_read_only = |name: &OsStr| {
            let name = name.to_string_lossy();
            name.contains(".rodata") || CONSTANTS.contains(&name.as_ref())
        };
        let read_only = object.maps().filter(|map| is_read_only(map.name()));
        let read_only: Vec<_> = read_only.map(|map| map.as_libbpf_object()).collect();
        // SAFETY: the object is open, and the function only reads it.
        let types = unsafe { libbpf_sys::bpf_object__btf(object.as_libbpf_object().as_ptr()) };
        let arrays = object.maps().filter(|map| map.map_type() == MapType::Array);
        let arrays: Vec<_> = arrays.map(|map| map.as_libbpf_object()).collect();
        let maps: Vec<_> = object.maps().map(|map| map.as_libbpf_object()).collect();
        for patch in &self.patches {
            patch.maps.borrow_mut().clone_from(&maps);
            patch.contents.replace(contents.clone());
            patch.read_only.borrow_mut().clone_from(&read_only);
            patch.arrays.borrow_mut().clone_from(&arrays);
            patch.types.set(types);
            patch.lent.set(lent);
        }
    }
}

impl Shortcut {
    /// Programs that templates were put into.
    pub fn filled(&self) -> usize {
        self.patches.iter().map(|patch| patch.filled.get()).sum()
    }

    /// What was made of programs that were loaded, for later ones.
    pub fn take_templates(&self) -> Vec<Template> {
        self.patches.iter().flat_map(|patch| patch.made.take()).collect()
    }
}

/// Registers a handler that gives the programs of a section the number of what they attach to.
fn register(section: &Section<'_>, patch: &Patch) -> Option<c_int> {
    let options = libbpf_sys::libbpf_prog_handler_opts {
        sz: size_of::<libbpf_sys::libbpf_prog_handler_opts>() as libbpf_sys::size_t,
        cookie: std::ptr::from_ref(patch) as c_long,
        prog_prepare_load_fn: Some(prepare_program),
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
unsafe extern "C" fn prepare_program(
    program: *mut libbpf_sys::bpf_program,
    options: *mut libbpf_sys::bpf_prog_load_opts,
    cookie: c_long,
) -> c_int {
    // SAFETY: the cookie is a patch of a `Shortcut`, which outlives its handlers and with them this call.
    let Some(patch) = (unsafe { (cookie as *const Patch).as_ref() }) else { return -22 };
    // SAFETY: libbpf passes the options it is about to load the program with, for the time of this call.
    let Some(options) = (unsafe { options.as_mut() }) else { return -22 };
    options.attach_btf_id = patch.target.unwrap_or(0);
    let describes = !options.func_info.is_null() || matches!(*patch.contents.borrow(), Contents::Filled(_));
    if let Some(lent) = patch.lent.get().filter(|_| describes) {
        options.prog_btf_fd = lent.cast_unsigned();
    }
    if patch.sleepable {
        options.prog_flags |= libbpf_sys::BPF_F_SLEEPABLE;
    }
    // SAFETY: libbpf passes the program it is about to load.
    let status = unsafe { put_functions(program, &patch.functions) };
    if status != 0 {
        return status;
    }
    // SAFETY: the program and its options, for the time of this call; the patch lives until it is loaded.
    let status = unsafe { prune_program(program, options, patch) };
    if status != 0 {
        return status;
    }
    // SAFETY: libbpf passes the program it is about to load; its type may be changed until its object is loaded.
    unsafe { libbpf_sys::bpf_program__set_type(program, patch.program_type) }
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

/// The numbers of the maps that a program uses; `None`: the kernel does not say.
pub(crate) fn maps_used_by(program: BorrowedFd<'_>) -> Option<Vec<u32>> {
    /// A program may use 64 maps (`MAX_USED_MAPS` in the kernel).
    const MAPS: usize = 64;
    let mut maps = [0_u32; MAPS];
    let mut info = libbpf_sys::bpf_prog_info {
        map_ids: maps.as_mut_ptr() as u64,
        nr_map_ids: MAPS as u32,
        ..libbpf_sys::bpf_prog_info::default()
    };
    let mut length = size_of_val(&info) as u32;
    // SAFETY: `info` has `length` bytes, of which the only address is that of `maps`, where the kernel writes as many
    // numbers as `nr_map_ids` says at most.
    let status = unsafe {
        libbpf_sys::bpf_obj_get_info_by_fd(program.as_raw_fd(), (&raw mut info).cast(), &raw mut length)
    };
    (status == 0).then(|| maps.into_iter().take(info.nr_map_ids as usize).collect())
}

/// The functions that forbid and allow preemption, as this kernel numbers them; empty: it has none.
pub(crate) fn preemption_functions() -> Vec<(i32, u32)> {
    let Some(types) = KernelTypes::of_kernel("", &FUNCTIONS.map(|(_, name)| name)) else {
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

//! What is put into a program when it is loaded: only what its read-only data says it runs.

use std::ffi::{CStr, c_int};
use std::ptr::NonNull;

use libbpf_rs::libbpf_sys;

use super::{Contents, Patch};
use crate::prune::{self, Function, Instruction, ReadOnly};
use crate::template::{Template, exchange_maps};

/// What the read-only maps of an object hold, and which of its arrays have one entry.
struct Frozen<'a> {
    values: Vec<(i32, &'a [u8])>,
    single: Vec<i32>,
}

impl Frozen<'_> {
    /// # Safety
    /// These maps are of an object that is not gone before the result.
    unsafe fn of(maps: &[NonNull<libbpf_sys::bpf_map>], arrays: &[NonNull<libbpf_sys::bpf_map>]) -> Self {
        let value = |map: &NonNull<libbpf_sys::bpf_map>| {
            let mut size = 0;
            // SAFETY: the caller's maps; both functions only read them.
            let (descriptor, value) = unsafe {
                let value = libbpf_sys::bpf_map__initial_value(map.as_ptr(), &raw mut size);
                (libbpf_sys::bpf_map__fd(map.as_ptr()), value)
            };
            let value = NonNull::new(value.cast::<u8>()).filter(|_| descriptor >= 0)?;
            // SAFETY: libbpf keeps so many bytes there as long as the object lives; nobody writes what is frozen.
            Some((descriptor, unsafe { std::slice::from_raw_parts(value.as_ptr(), size as usize) }))
        };
        let single = |map: &NonNull<libbpf_sys::bpf_map>| {
            // SAFETY: the caller's maps; both functions only read them.
            let (descriptor, entries) = unsafe {
                (libbpf_sys::bpf_map__fd(map.as_ptr()), libbpf_sys::bpf_map__max_entries(map.as_ptr()))
            };
            (descriptor >= 0 && entries == 1).then_some(descriptor)
        };
        Self {
            values: maps.iter().filter_map(value).collect(),
            single: arrays.iter().filter_map(single).collect(),
        }
    }
}

impl ReadOnly for Frozen<'_> {
    fn read(&self, map: i32, offset: u64, bytes: usize) -> Option<u64> {
        let (_, value) = self.values.iter().find(|(descriptor, _)| *descriptor == map)?;
        let from = usize::try_from(offset).ok()?;
        let found = value.get(from..from.checked_add(bytes)?)?;
        match *found {
            [a] => Some(a.into()),
            [a, b] => Some(u16::from_ne_bytes([a, b]).into()),
            [a, b, c, d] => Some(u32::from_ne_bytes([a, b, c, d]).into()),
            _ => Some(u64::from_ne_bytes(found.try_into().ok()?)),
        }
    }

    fn is_single(&self, map: i32) -> bool {
        self.single.contains(&map)
    }
}

/// How many arguments a function takes that is not static; the most there can be where that is not known.
///
/// # Safety
/// `types` is null or the description of an object that is not gone.
unsafe fn open_arguments(types: *const libbpf_sys::btf, function: u32) -> Option<u8> {
    const MOST: u8 = 5;
    // SAFETY: the caller's description, which libbpf does not change while it loads programs.
    let described =
        |id| (!types.is_null()).then(|| unsafe { libbpf_sys::btf__type_by_id(types, id).as_ref() })?;
    let Some(of_function) = described(function) else { return Some(MOST) };
    // Of functions the length says how they are linked, of their prototypes it is that of the list of arguments
    // (`include/uapi/linux/btf.h`).
    let length = |ty: &libbpf_sys::btf_type| ty.info & 0xffff;
    if length(of_function) == libbpf_sys::BTF_FUNC_STATIC {
        return None;
    }
    // SAFETY: a function refers to a type, its prototype.
    let prototype = described(unsafe { of_function.__bindgen_anon_1.type_ });
    Some(prototype.and_then(|prototype| u8::try_from(length(prototype)).ok()).unwrap_or(MOST))
}

/// A program that is about to be loaded: its instructions, and its functions with the numbers of their types.
type Program = (Vec<Instruction>, Vec<(Function, u32)>);

/// The program as libbpf has put it together. None: it has no instructions.
///
/// # Safety
/// `program` is one that libbpf is about to load with these options, in a call of a handler of its section.
unsafe fn linked(
    program: *mut libbpf_sys::bpf_program,
    options: &libbpf_sys::bpf_prog_load_opts,
    patch: &Patch,
) -> Option<Program> {
    // SAFETY: the caller's program, and its options: libbpf keeps as many instructions and records as it says.
    let (code, functions) = unsafe {
        let first = libbpf_sys::bpf_program__insns(program);
        if first.is_null() {
            return None;
        }
        let records = options.func_info.cast::<libbpf_sys::bpf_func_info>();
        (
            std::slice::from_raw_parts(first, libbpf_sys::bpf_program__insn_cnt(program) as usize),
            std::slice::from_raw_parts(records, options.func_info_cnt as usize),
        )
    };
    let instructions = code.iter().map(|i| Instruction {
        code: i.code,
        to: i.dst_reg(),
        from: i.src_reg(),
        offset: i.off,
        constant: i.imm,
    });
    let starts = functions.iter().map(|function| {
        // SAFETY: the description is of the program's object.
        let open = unsafe { open_arguments(patch.types.get(), function.type_id) };
        (Function { begin: function.insn_off as usize, open }, function.type_id)
    });
    Some((instructions.collect(), starts.collect()))
}

/// Keeps a program for objects with nothing in theirs.
fn keep(patch: &Patch, name: String, (code, functions): &Program) {
    let maps = patch.maps.borrow();
    // SAFETY: the maps are of the program's object; both functions only read of them.
    let descriptor = |map: &NonNull<libbpf_sys::bpf_map>| unsafe { libbpf_sys::bpf_map__fd(map.as_ptr()) };
    // SAFETY: the same.
    let made = |map: &NonNull<libbpf_sys::bpf_map>| unsafe { libbpf_sys::bpf_map__autocreate(map.as_ptr()) };
    let place = |map| i32::try_from(maps.iter().position(|one| descriptor(one) == map)?).ok();
    let Some(code) = exchange_maps(code, place) else { return };
    let template =
        Template { program: name, maps: maps.iter().map(made).collect(), code, functions: functions.clone() };
    patch.made.borrow_mut().push(template);
}

/// What was kept of a program of this name, with the maps of its object.
fn kept(patch: &Patch, name: &str) -> Option<Program> {
    let contents = patch.contents.borrow();
    let Contents::Filled(templates) = &*contents else { return None };
    let template = templates.iter().find(|template| template.program == name)?;
    let maps = patch.maps.borrow();
    let descriptor = |place| {
        let map = maps.get(usize::try_from(place).ok()?)?;
        // SAFETY: the map is of the program's object, and the function only reads of it.
        let descriptor = unsafe { libbpf_sys::bpf_map__fd(map.as_ptr()) };
        (descriptor >= 0).then_some(descriptor)
    };
    Some((exchange_maps(&template.code, descriptor)?, template.functions.clone()))
}

/// Leaves out what the program never runs. It stays as it is where that is not known.
///
/// # Safety
/// `program` is one that libbpf is about to load with these options, in a call of a handler of its section.
pub(super) unsafe fn prune_program(
    program: *mut libbpf_sys::bpf_program,
    options: &mut libbpf_sys::bpf_prog_load_opts,
    patch: &Patch,
) -> c_int {
    // SAFETY: the caller's program, whose name is text as long as it is there.
    let name = unsafe { CStr::from_ptr(libbpf_sys::bpf_program__name(program)) };
    let name = name.to_string_lossy();
    let is_empty = matches!(*patch.contents.borrow(), Contents::Filled(_));
    let whole = if is_empty {
        let Some(whole) = kept(patch, &name) else { return -22 };
        whole
    } else {
        if options.func_info.is_null()
            || options.func_info_rec_size as usize != size_of::<libbpf_sys::bpf_func_info>()
        {
            return 0;
        }
        // SAFETY: the caller's program and options.
        let Some(whole) = (unsafe { linked(program, options, patch) }) else { return -22 };
        if matches!(*patch.contents.borrow(), Contents::Kept) {
            keep(patch, name.into_owned(), &whole);
        }
        whole
    };
    let (instructions, functions) = whole;
    let starts: Vec<Function> = functions.iter().map(|(function, _)| *function).collect();
    // SAFETY: the maps are of the program's object.
    let data = unsafe { Frozen::of(&patch.read_only.borrow(), &patch.arrays.borrow()) };
    let Some(pruned) = prune::prune(&instructions, &starts, &data) else {
        return if is_empty { -22 } else { 0 };
    };
    let mut kept = Vec::new();
    for (begin, before) in &pruned.functions {
        let Some((_, type_id)) = functions.iter().find(|(function, _)| function.begin == *before) else {
            return -22;
        };
        kept.push(libbpf_sys::bpf_func_info { insn_off: *begin as u32, type_id: *type_id });
    }
    let mut code: Vec<libbpf_sys::bpf_insn> = pruned
        .code
        .iter()
        .map(|i| {
            let mut instruction =
                libbpf_sys::bpf_insn { code: i.code, off: i.offset, imm: i.constant, ..Default::default() };
            instruction.set_dst_reg(i.to);
            instruction.set_src_reg(i.from);
            instruction
        })
        .collect();
    let mut info = patch.function_info.borrow_mut();
    *info = kept;
    options.func_info = info.as_ptr().cast();
    options.func_info_cnt = info.len() as u32;
    options.func_info_rec_size = size_of::<libbpf_sys::bpf_func_info>() as u32;
    // Lines of the source would be those of the whole program; without them each program takes less memory.
    options.line_info = std::ptr::null();
    options.line_info_cnt = 0;
    patch.filled.set(patch.filled.get() + usize::from(is_empty));
    // SAFETY: the instructions live during the call, which copies them; the program is not loaded yet.
    unsafe {
        libbpf_sys::bpf_program__set_insns(program, code.as_mut_ptr(), code.len() as libbpf_sys::size_t)
    }
}

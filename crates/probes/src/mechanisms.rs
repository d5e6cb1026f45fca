//! Tries each way of hooking the kernel with an empty program.

use std::mem::MaybeUninit;
use std::sync::OnceLock;

use libbpf_rs::skel::{OpenSkel, Skel, SkelBuilder};
use libbpf_rs::{OpenObject, ProgramMut, UprobeMultiOpts};

use saker_policy::values::HashAlgorithm;

use crate::facts::Feature;
use crate::loader::{self, Contents, Prepared, Section, Shortcut};
use crate::mechanisms_skel::{MechanismsSkel, MechanismsSkelBuilder};

/// What became of each program.
pub struct Tried {
    results: Vec<(&'static str, Result<(), String>)>,
}

/// A way of hooking that is tried.
struct Trial {
    /// Its program in `mechanisms.bpf.c`.
    program: &'static str,
    /// The feature that it stands for.
    feature: &'static str,
    /// Attaching is part of the trial.
    attach: bool,
    /// For programs that the kernel must know the target of: their section.
    section: Option<Section<'static>>,
}

impl Trial {
    const fn typed(
        program: &'static str,
        feature: &'static str,
        attach: bool,
        section: Section<'static>,
    ) -> Self {
        Self { program, feature, attach, section: Some(section) }
    }

    const fn free(program: &'static str) -> Self {
        Self { program, feature: program, attach: true, section: None }
    }
}

const EXIT: &str = "btf_trace_sched_process_exit";
const RESTART: &str = "kernel_restart";
const ITERATOR: &str = "task_iterator";

const TRIALS: [Trial; 11] = [
    Trial::typed(
        "raw_tracepoint",
        "raw_tracepoint",
        true,
        Section::tracepoint(c"tp_btf/sched_process_exit", EXIT),
    ),
    Trial::typed(ITERATOR, ITERATOR, true, Section::iterator(c"iter/task", "bpf_iter_task")),
    Trial::typed("fentry", "fentry", true, Section::entry(c"fentry/kernel_restart", RESTART)),
    Trial::typed("fexit", "fexit", true, Section::exit(c"fexit/kernel_restart", RESTART)),
    Trial::typed(
        "fmod_ret",
        "fmodret",
        false,
        Section::modify(c"fmod_ret/security_inode_getattr", "security_inode_getattr"),
    ),
    Trial::typed("lsm", "lsm", false, Section::lsm(c"lsm/inode_getattr", "bpf_lsm_inode_getattr")),
    Trial::typed(
        "hash_file",
        "ima_hash",
        false,
        Section::sleepable_lsm(c"lsm.s/file_open", "bpf_lsm_file_open"),
    ),
    Trial::free("kprobe"),
    Trial::free("kprobe_multi"),
    Trial::free("uprobe_multi"),
    Trial::free("tracepoint"),
];

impl Tried {
    /// Whether the program of this feature was taken.
    #[must_use]
    pub fn works(&self, name: &str) -> bool {
        self.results.iter().any(|(feature, result)| *feature == name && result.is_ok())
    }

    /// The trial of this name as a feature to show.
    #[must_use]
    pub fn feature(&self, name: &'static str, consequence: &'static str) -> Feature {
        let result = self.results.iter().find(|(feature, _)| *feature == name);
        let detail = match result {
            Some((_, Ok(()))) => String::new(),
            Some((_, Err(why))) => why.clone(),
            None => "not tried".to_owned(),
        };
        Feature { name, enabled: self.works(name), detail, consequence }
    }
}

/// Tries all, one object each, so that one refusal says nothing of the others.
#[must_use]
pub fn try_all() -> Tried {
    try_features(&TRIALS.map(|trial| trial.feature))
}

/// Tries some of them.
#[must_use]
pub fn try_features(names: &[&str]) -> Tried {
    try_some(names, true)
}

/// Tries whether the kernel takes the programs of some of them, which it does not attach.
#[must_use]
pub fn try_to_load(names: &[&str]) -> Tried {
    try_some(names, false)
}

fn try_some(names: &[&str], attach: bool) -> Tried {
    libbpf_rs::set_print(None);
    let wanted: Vec<&Trial> = TRIALS.iter().filter(|trial| names.contains(&trial.feature)).collect();
    let targets = wanted.iter().filter_map(|trial| trial.section.as_ref()?.target());
    let prepared = Prepared::find("", targets);
    let results = wanted.into_iter().map(|trial| (trial.feature, try_one(trial, attach, prepared.as_ref())));
    Tried { results: results.collect() }
}

/// Whether programs of this hook of security modules may sleep: `Err` says why not.
pub(crate) fn may_sleep_at(hook: &str) -> Result<(), String> {
    let target = format!("bpf_lsm_{hook}");
    let section = Section::sleepable_lsm(c"lsm.s/file_open", &target);
    let prepared = Prepared::find("", [target.as_str()]);
    let prepared = prepared.ok_or_else(|| "the kernel does not describe its types as expected".to_owned())?;
    let _lock = loader::lock();
    let mut place: MaybeUninit<OpenObject> = MaybeUninit::uninit();
    open_one("sleeps", Some(section), Some(&prepared), &mut place).map(drop)
}

/// Whether a program may give a result in place of this function: `Err` says why not.
pub(crate) fn may_override(function: &str) -> Result<(), String> {
    let section = Section::modify(c"fmod_ret/security_inode_getattr", function);
    let prepared = Prepared::find("", [function]);
    let prepared = prepared.ok_or_else(|| format!("it does not describe {function}"))?;
    let _lock = loader::lock();
    let mut place: MaybeUninit<OpenObject> = MaybeUninit::uninit();
    open_one("fmod_ret", Some(section), Some(&prepared), &mut place).map(drop)
}

/// Whether the kernel takes a kprobe at this function: `Err` says why not. One is attached for a moment.
pub(crate) fn takes_kprobe(function: &str) -> Result<(), String> {
    let _lock = loader::lock();
    let mut place: MaybeUninit<OpenObject> = MaybeUninit::uninit();
    let skel = open_one("kprobe", None, None, &mut place)?;
    let object = skel.object();
    let found = object.progs_mut().find(|candidate| candidate.name() == "kprobe");
    let found = found.ok_or_else(|| "the program is not in its object".to_owned())?;
    found.attach_kprobe(false, function).map(drop).map_err(|e| reason(&e))
}

/// Whether the kernel takes a program that calls functions of its own and jumps into another program (tail call): on x86-64
/// since v5.10, on arm64 since v6.0.
pub(crate) fn calls_and_jumps() -> bool {
    libbpf_rs::set_print(None);
    let _lock = loader::lock();
    let mut place: MaybeUninit<OpenObject> = MaybeUninit::uninit();
    open_one("calls_and_jumps", None, None, &mut place).is_ok()
}

/// Whether, of two programs of a hook of security modules, the one that was attached last runs first; `Err` says why that
/// is not known. Two are attached for a moment, to see.
pub(crate) fn last_runs_first() -> Result<bool, String> {
    static FOUND: OnceLock<Result<bool, String>> = OnceLock::new();
    FOUND.get_or_init(find_order).clone()
}

fn find_order() -> Result<bool, String> {
    let _lock = loader::lock();
    let mut place: MaybeUninit<OpenObject> = MaybeUninit::uninit();
    let mut open = MechanismsSkelBuilder::default().open(&mut place).map_err(|e| reason(&e))?;
    for mut candidate in open.open_object_mut().progs_mut() {
        let wanted = ["order_first", "order_second"].iter().any(|name| candidate.name() == *name);
        candidate.set_autoload(wanted);
    }
    let thread = rustix::thread::gettid().as_raw_nonzero().get().cast_unsigned();
    if let Some(bss) = open.maps.bss_data.as_deref_mut() {
        bss.order_thread = thread;
    }
    let skel = open.load().map_err(|e| reason(&e))?;
    let attach = |name: &str| {
        let found = skel.object().progs_mut().find(|program| program.name() == name);
        let found = found.ok_or_else(|| "the program is not in its object".to_owned())?;
        found.attach_lsm().map_err(|e| reason(&e))
    };
    let _links = (attach("order_first")?, attach("order_second")?);
    std::fs::metadata("/").map_err(|error| error.to_string())?;
    match skel.maps.bss_data.as_deref().map(|bss| bss.order_last) {
        Some(1) => Ok(true),
        Some(2) => Ok(false),
        _ => {
            Err("neither of two programs of the hook inode_getattr ran when a file was looked at".to_owned())
        }
    }
}

/// The algorithm of the hashes that IMA computes of files; `Err` says why it is not known. It computes one for a moment, of
/// a file in memory that this thread locks.
pub(crate) fn hash_algorithm() -> Result<HashAlgorithm, String> {
    static FOUND: OnceLock<Result<HashAlgorithm, String>> = OnceLock::new();
    FOUND.get_or_init(find_algorithm).clone()
}

fn find_algorithm() -> Result<HashAlgorithm, String> {
    let _lock = loader::lock();
    let mut place: MaybeUninit<OpenObject> = MaybeUninit::uninit();
    let mut open = MechanismsSkelBuilder::default().open(&mut place).map_err(|e| reason(&e))?;
    for mut candidate in open.open_object_mut().progs_mut() {
        let wanted = candidate.name() == "hash_algorithm";
        candidate.set_autoload(wanted);
    }
    if let Some(bss) = open.maps.bss_data.as_deref_mut() {
        bss.hash_thread = rustix::thread::gettid().as_raw_nonzero().get().cast_unsigned();
    }
    let skel = open.load().map_err(|e| reason(&e))?;
    let object = skel.object();
    let found = object.progs_mut().find(|program| program.name() == "hash_algorithm");
    let found = found.ok_or_else(|| "the program is not in its object".to_owned())?;
    let _link = found.attach_lsm().map_err(|e| reason(&e))?;
    let file = rustix::fs::memfd_create("saker-hashed", rustix::fs::MemfdFlags::CLOEXEC);
    let file = file.map_err(|error| error.to_string())?;
    rustix::io::write(&file, b"hashed").map_err(|error| error.to_string())?;
    rustix::fs::flock(&file, rustix::fs::FlockOperation::LockExclusive).map_err(|error| error.to_string())?;
    let told = skel.maps.bss_data.as_deref().filter(|bss| bss.hash_done != 0).map(|bss| bss.hash_told);
    match told {
        None => Err("no program ran when a file was locked".to_owned()),
        Some(told) => u8::try_from(told)
            .ok()
            .and_then(HashAlgorithm::of_kernel)
            .ok_or_else(|| format!("IMA hashes no file here: it answered {told}")),
    }
}

/// How many bytes the stack that a return finds is above that of its entry, where both are hooked in one step
/// (kprobe.multi, kretprobe.multi); `Err` says why that is not known. Calls of this thread are looked at for a moment.
pub(crate) fn return_distance() -> Result<i64, String> {
    static FOUND: OnceLock<Result<i64, String>> = OnceLock::new();
    FOUND.get_or_init(find_distance).clone()
}

fn find_distance() -> Result<i64, String> {
    const FUNCTION: &str = "security_file_permission";
    let _lock = loader::lock();
    let mut place: MaybeUninit<OpenObject> = MaybeUninit::uninit();
    let mut open = MechanismsSkelBuilder::default().open(&mut place).map_err(|e| reason(&e))?;
    for mut candidate in open.open_object_mut().progs_mut() {
        let wanted = ["distance_at_entry", "distance_at_return"].iter().any(|name| candidate.name() == *name);
        candidate.set_autoload(wanted);
    }
    if let Some(bss) = open.maps.bss_data.as_deref_mut() {
        bss.distance_thread = rustix::thread::gettid().as_raw_nonzero().get().cast_unsigned();
    }
    let skel = open.load().map_err(|e| reason(&e))?;
    let attach = |name: &str, on_return: bool| {
        let found = skel.object().progs_mut().find(|program| program.name() == name);
        let found = found.ok_or_else(|| "the program is not in its object".to_owned())?;
        found.attach_kprobe_multi(on_return, vec![FUNCTION]).map_err(|e| reason(&e))
    };
    let _links = (attach("distance_at_return", true)?, attach("distance_at_entry", false)?);
    // Two ways to the function, of which each has its own depth of the stack.
    let read = std::fs::read("/proc/self/comm").map_err(|error| error.to_string())?;
    let listed = std::fs::read_dir("/proc/self").map_err(|error| error.to_string())?.count();
    let found = skel.maps.bss_data.as_deref();
    let found = found.map(|bss| (bss.distance_depths, bss.distance_differs, bss.distance_found));
    match found {
        Some((1, 0, distance)) if distance >= 0 && !read.is_empty() && listed > 0 => Ok(distance),
        other => Err(format!("entries and returns of {FUNCTION} do not fit each other: {other:?}")),
    }
}

/// What is called when it is tried whether registers can be changed, and where it goes on then.
#[inline(never)]
extern "C" fn called() -> u32 {
    std::hint::black_box(1)
}

#[inline(never)]
extern "C" fn gone_on() -> u32 {
    std::hint::black_box(2)
}

/// Whether programs at uprobes may change registers, and the probed program goes on with them; `Err` says why not. A
/// function of this program is probed for a moment, to see.
pub(crate) fn changes_registers() -> Result<(), String> {
    static FOUND: OnceLock<Result<(), String>> = OnceLock::new();
    FOUND.get_or_init(try_change).clone()
}

fn try_change() -> Result<(), String> {
    let _lock = loader::lock();
    let mut place: MaybeUninit<OpenObject> = MaybeUninit::uninit();
    let mut open = MechanismsSkelBuilder::default().open(&mut place).map_err(|e| reason(&e))?;
    for mut candidate in open.open_object_mut().progs_mut() {
        let wanted = candidate.name() == "change_registers";
        candidate.set_autoload(wanted);
    }
    if let Some(bss) = open.maps.bss_data.as_deref_mut() {
        bss.change_thread = rustix::thread::gettid().as_raw_nonzero().get().cast_unsigned();
        bss.change_to = address(gone_on);
    }
    let skel = open.load().map_err(|_| {
        "it refuses a program that does, as all before Linux 6.18 and some later ones do".to_owned()
    })?;
    let object = skel.object();
    let found = object.progs_mut().find(|program| program.name() == "change_registers");
    let found = found.ok_or_else(|| "the program is not in its object".to_owned())?;
    let maps = std::fs::read_to_string("/proc/self/maps").map_err(|error| error.to_string())?;
    let offset = file_offset(&maps, address(called));
    let offset = offset.ok_or_else(|| "a function of the agent is not found in its memory".to_owned())?;
    let link = found.attach_uprobe(false, -1, "/proc/self/exe", offset).map_err(|e| reason(&e))?;
    let came = std::hint::black_box(called as extern "C" fn() -> u32)();
    drop(link);
    match came {
        2 => Ok(()),
        _ => Err("it takes such a program, which then has no effect".to_owned()),
    }
}

fn address(function: extern "C" fn() -> u32) -> u64 {
    function as usize as u64
}

/// Where in its file an address of memory stands, by `/proc/PID/maps`.
fn file_offset(maps: &str, address: u64) -> Option<usize> {
    maps.lines().find_map(|line| {
        let mut words = line.split_ascii_whitespace();
        let (from, to) = words.next()?.split_once('-')?;
        let from = u64::from_str_radix(from, 16).ok()?;
        let to = u64::from_str_radix(to, 16).ok()?;
        let offset = u64::from_str_radix(words.nth(1)?, 16).ok()?;
        let within = (from..to).contains(&address);
        within.then(|| usize::try_from(address - from + offset).ok()).flatten()
    })
}

/// Tries one, without libbpf reading the kernel's description of types if `prepared` says what it would find there.
fn try_one(trial: &Trial, attach: bool, prepared: Option<&Prepared>) -> Result<(), String> {
    let _lock = loader::lock();
    let mut place: MaybeUninit<OpenObject> = MaybeUninit::uninit();
    let skel = open_one(trial.program, trial.section, prepared, &mut place)?;
    if !attach || !trial.attach {
        return Ok(());
    }
    let object = skel.object();
    let found = object.progs_mut().find(|candidate| candidate.name() == trial.program);
    let found = found.ok_or_else(|| "the program is not in its object".to_owned())?;
    let link = match trial.program {
        ITERATOR => loader::attach_iterator(&found),
        // By its name alone the library would look through all names of the kernel.
        "kprobe_multi" => found.attach_kprobe_multi(false, vec!["kernel_restart"]),
        "uprobe_multi" => return try_places(&found),
        _ if trial.section.is_some() => found.attach_trace(),
        _ => found.attach(),
    };
    link.map(drop).map_err(|e| reason(&e))
}

/// Loads one program of the object. The caller holds the lock of libbpf.
fn open_one<'a>(
    name: &str,
    section: Option<Section<'_>>,
    prepared: Option<&Prepared>,
    place: &'a mut MaybeUninit<OpenObject>,
) -> Result<MechanismsSkel<'a>, String> {
    let mut builder = MechanismsSkelBuilder::default();
    let shortcut = prepared.zip(section).and_then(|(prepared, section)| {
        Shortcut::take(builder.object_builder_mut(), prepared, &[section], false)
    });
    if shortcut.is_none() {
        builder = MechanismsSkelBuilder::default();
    }
    let mut open = builder.open(place).map_err(|e| reason(&e))?;
    for mut candidate in open.open_object_mut().progs_mut() {
        let wanted = candidate.name() == name;
        candidate.set_autoload(wanted);
    }
    if let Some(shortcut) = &shortcut {
        shortcut.settle(open.open_object_mut(), None, &Contents::Whole);
    }
    open.load().map_err(|e| reason(&e))
}

/// A kernel that attaches to several places in one step finds that there is no file; others do not look.
fn try_places(program: &ProgramMut<'_>) -> Result<(), String> {
    let options = UprobeMultiOpts { offsets: vec![0], ..UprobeMultiOpts::default() };
    match program.attach_uprobe_multi_with_opts(-1, "/", "", options) {
        Err(error) if format!("{error:?}").contains("(os error 9)") => Ok(()),
        Err(error) => Err(reason(&error)),
        Ok(_) => Err("a directory is taken for a program".to_owned()),
    }
}

/// The system's word for it, without the library's path to it.
fn reason(error: &libbpf_rs::Error) -> String {
    let text = error.to_string();
    match error.kind() {
        libbpf_rs::ErrorKind::PermissionDenied => "the kernel refuses it (EPERM)".to_owned(),
        libbpf_rs::ErrorKind::NotFound => "no such function or tracepoint (ENOENT)".to_owned(),
        _ => text.chars().take(160).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_found_in_files() {
        let maps = "00400000-00401000 r--p 00000000 08:01 5 /bin/x\n\
                    00401000-00409000 r-xp 00001000 08:01 5 /bin/x\n7ffe000-7fff000 rw-p 00000000 00:00 0 [stack]\n";
        assert_eq!(file_offset(maps, 0x40_2345), Some(0x2345));
        assert_eq!(file_offset(maps, 0x40_9000), None);
        assert_eq!(file_offset("nonsense\n", 0), None);
    }

    #[test]
    fn what_was_not_tried_does_not_work() {
        let tried = Tried { results: vec![("lsm", Err("no".into())), ("fentry", Ok(()))] };
        assert!(tried.works("fentry") && !tried.works("lsm") && !tried.works("kprobe"));
        assert_eq!(tried.feature("lsm", "").detail, "no");
        assert_eq!(tried.feature("kprobe", "").detail, "not tried");
    }
}

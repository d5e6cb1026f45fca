//! What a hook costs, roughly, by what was measured of others on Linux 6.1 in instructions (SPECIFICATION.md, "Policies").
//!
//! An empty program at the same place is taken as it was measured; what the hook does beside that is put together from
//! its parts. Paths are taken to be in the root file system; each mount below it takes some 240 more.

use saker_abi::generated::{
    SAKER_HASH_BUILD_ID, SAKER_PLAN_BY_HASH, SAKER_TYPE_DENTRY, SAKER_TYPE_FD, SAKER_TYPE_FILE,
    SAKER_TYPE_FILENAME, SAKER_TYPE_KIOCB, SAKER_TYPE_LINUX_BINPRM, SAKER_TYPE_PATH, saker_plan,
};

use super::{Attach, HookPlan};

/// A call whose process is looked at.
const PROCESS: u32 = 150;
/// A call of which a value is compared.
const VALUE: u32 = 180;
/// Each comparison more.
const COMPARISON: u32 = 40;
/// A file that is looked up by what it is, where the values are files: it and its folders, four of which cost no more
/// than one.
const SAME_FILE: u32 = 1_350;
/// Where a value is a folder the tree is gone up, which costs so much more, and so much for each folder above the file.
const SAME_FOLDER: (u32, u32) = (700, 510);
/// A file of 4 KiB that IMA hashes by SHA-256, and each KiB of a larger one.
const HASH: (u32, u32) = (231_000, 56_500);
/// The build id of a file that is read (Linux 7.2), however large.
const BUILD_ID: u32 = 4_900;
/// A path that is put together and compared.
const COMPARED_PATH: u32 = 400;
/// A record of a call.
const RECORD: u32 = 1_200;
/// A path in it.
const PATH: u32 = 2_500;
/// The agent, for an event in a JSON file.
const AGENT: u32 = 11_000;
/// Types that are paths.
const PATHS: [u32; 7] = [
    SAKER_TYPE_DENTRY,
    SAKER_TYPE_FD,
    SAKER_TYPE_FILE,
    SAKER_TYPE_FILENAME,
    SAKER_TYPE_KIOCB,
    SAKER_TYPE_LINUX_BINPRM,
    SAKER_TYPE_PATH,
];

/// Instructions that a hook costs, roughly.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cost {
    /// A call whose process no selector is about; none: some selector is about all.
    pub other_process: Option<u32>,
    /// A call whose values no selector fits; none: some selector asks for no value.
    pub other_values: Option<u32>,
    /// A call that is told, in the kernel.
    pub told: u32,
    /// The agent, for its event.
    pub agent: u32,
    /// Every system call of the machine costs so much beside that, also those that nobody asked for.
    pub system_calls: Option<u32>,
    /// What `SameFile` costs more where a value is a folder, which is known when the policy is loaded. None: nothing
    /// asks so.
    pub folders: Option<Folders>,
    /// What a call costs more of which all else holds, so that the content of its file decides. None: nothing asks for
    /// it.
    pub content: Option<Content>,
}

/// Instructions more where a file is looked for below folders.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Folders {
    /// For a call.
    pub once: u32,
    /// For each folder above the call's file.
    pub each: u32,
}

/// Instructions more for the content of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Content {
    /// It is hashed.
    Hash {
        /// If it has up to 4 KiB.
        small: u32,
        /// For each KiB beyond that.
        each_kib: u32,
    },
    /// Its build id is read.
    BuildId(u32),
}

/// An empty program at such a place; none: that was not measured.
fn empty(attach: &Attach) -> Option<u32> {
    let (entry, on_return, at_return) = match attach {
        Attach::Trampoline { on_return, .. } | Attach::Decision { on_return, .. } => (133, *on_return, 184),
        Attach::Exit { .. } => (184, false, 0),
        Attach::Kprobe { on_return, .. } | Attach::Kprobes { on_return, .. } => (336, *on_return, 568),
        Attach::Lsm(_) => (183, false, 0),
        Attach::RawTracepoint(_) => (112, false, 0),
        Attach::Syscalls { on_return } => (112, *on_return, 112),
        Attach::Tracepoint { .. } => (347, false, 0),
        // That of connect, which finds its socket out first; not an empty one, but what it costs beside its values.
        Attach::Group { .. } => (2_380, false, 0),
        Attach::Uprobe { .. } => return None,
    };
    Some(entry + if on_return { at_return } else { 0 })
}

/// Rough, and told so.
fn rounded(cost: u32) -> u32 {
    let step = if cost < 1_000 { 10 } else { 100 };
    (cost + step / 2) / step * step
}

/// What the content of a file costs; none: the hook does not ask for it.
fn content(plan: &saker_plan) -> Option<Content> {
    match (plan.flags & SAKER_PLAN_BY_HASH, plan.hash_algorithm) {
        (0, _) => None,
        (_, SAKER_HASH_BUILD_ID) => Some(Content::BuildId(BUILD_ID)),
        _ => Some(Content::Hash { small: HASH.0, each_kib: HASH.1 }),
    }
}

/// What a hook costs; none: an empty program at such a place was not measured.
#[must_use]
pub fn cost(hook: &HookPlan) -> Option<Cost> {
    let empty = empty(&hook.attach)?;
    let plan: &saker_plan = &hook.plan;
    let selectors = plan.selector.get(..usize::from(plan.selectors)).unwrap_or_default();
    let stages = plan.stage.get(..usize::from(plan.stages)).unwrap_or_default();
    let all = !selectors.is_empty();
    let by_process = all && selectors.iter().all(|selector| selector.process_count > 0);
    let asks = |number: usize| stages.iter().any(|stage| stage.selectors >> number & 1 == 1);
    let by_value = all && (0..selectors.len()).all(asks);
    let kind = |value: u8| plan.value.get(usize::from(value)).map_or(0, |value| u32::from(value.type_));
    let mut values = if stages.is_empty() { 0 } else { VALUE };
    let comparisons: u32 = stages.iter().map(|stage| u32::from(stage.count)).sum();
    values += COMPARISON * comparisons.saturating_sub(1);
    for stage in stages.iter().filter(|stage| PATHS.contains(&kind(stage.value))) {
        // What is compared with its path is compared only where the file is not ruled out by itself.
        values += match (stage.files, stage.count) {
            (_, 0) => 0,
            (0, _) => COMPARED_PATH,
            _ => SAME_FILE,
        };
    }
    let process = if selectors.iter().any(|selector| selector.process_count > 0) { PROCESS } else { 0 };
    let captured = plan.value.iter().take(usize::from(plan.values));
    let paths = captured.filter(|value| PATHS.contains(&u32::from(value.type_))).count();
    let paths = u32::try_from(paths).unwrap_or(u32::MAX);
    let judged = empty + process + values;
    let system_calls = match hook.attach {
        Attach::Syscalls { .. } => Some(rounded(empty)),
        _ => None,
    };
    Some(Cost {
        other_process: by_process.then(|| rounded(empty + PROCESS)),
        other_values: by_value.then(|| rounded(judged)),
        told: rounded(judged.saturating_add(RECORD).saturating_add(PATH.saturating_mul(paths))),
        agent: AGENT,
        system_calls,
        folders: stages
            .iter()
            .any(|stage| stage.files != 0)
            .then_some(Folders { once: SAME_FOLDER.0, each: SAME_FOLDER.1 }),
        content: content(plan),
    })
}

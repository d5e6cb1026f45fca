//! Records of policies' hooks: what is known of the hooks, and the events that their records become.

use std::sync::Arc;

use saker_abi::generated::{
    SAKER_ACTION_POST, SAKER_HASH_BUILD_ID, SAKER_HOOK_WITHHELD_SHIFT, SAKER_WITHHELD_AGENT,
    SAKER_WITHHELD_INIT, SAKER_WITHHELD_MONITOR, SAKER_WITHHELD_NONE, SAKER_WITHHELD_OWNER,
    SAKER_WITHHELD_SWITCH, SAKER_WITHHELD_UNHASHED, SAKER_WITHHELD_WORKLOAD,
};
use saker_abi::{Content, Hook, HookFlags, Key, Record, Tag};
use saker_api::event::{Arguments, Caller, Event, Family, HookEvent, HookMore, Loaded, ProcessView, Seldom};
pub use saker_policy::plan::HookText;
use saker_policy::plan::WorkloadTest;

use crate::calls::{CallKey, Shape, Unjoined, Untold, Waiting, finish, set};
use crate::contents::Rests;
use crate::counters::Outcome;
use crate::engine::Engine;
use crate::findings::{Findings, put_stacks};
use crate::process::{credentials, namespaces};
use crate::seen::Seen;
use crate::table::Slot;
use crate::values::argument;

/// The action of which nothing comes but the event.
const POST: u8 = SAKER_ACTION_POST as u8;

/// What events tell of a policy and its hooks, beside what its records say.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PolicyText {
    /// Number that its records carry.
    pub id: u32,
    /// Its name.
    pub name: String,
    /// Its namespace; empty: none.
    pub namespace: String,
    /// Its hooks, by the numbers that records carry.
    pub hooks: Vec<HookText>,
    /// The workloads that it is for, where that is all it asks of them; in no capture.
    pub workload: Option<WorkloadTest>,
}

/// The family with this number; `None`: it has no events here.
fn family_of(raw: u8) -> Option<Family> {
    use saker_abi::generated as abi;
    match raw.into() {
        abi::SAKER_FAMILY_KPROBE => Some(Family::Kprobe),
        abi::SAKER_FAMILY_TRACEPOINT => Some(Family::Tracepoint),
        abi::SAKER_FAMILY_UPROBE => Some(Family::Uprobe),
        abi::SAKER_FAMILY_USDT => Some(Family::Usdt),
        abi::SAKER_FAMILY_LSM => Some(Family::Lsm),
        abi::SAKER_FAMILY_LOADER => Some(Family::Loader),
        _ => None,
    }
}

/// The file that a record of the loader tells of, which is its first value.
fn loaded(record: &Record<'_>, findings: Option<Box<Findings>>) -> Loaded {
    let file = record.values().find(|value| value.tag == Tag::captured(0));
    let path = match file.map(|value| value.content()) {
        Some(Ok(Content::Object(_, _, path))) => String::from_utf8_lossy(path).into_owned(),
        _ => String::new(),
    };
    Loaded { path, build_id: findings.map_or_else(Vec::new, |findings| findings.build_id) }
}

/// Instead of a hash: IMA has none of the file.
const HASH_FAILED: &str = "failed";

/// Instead of a build id: the file has none.
const NO_BUILD_ID: &str = "no_build_id";

/// Algorithms by their number in the kernel (`include/uapi/linux/hash_info.h`), with the bytes of a hash.
const HASHES: [(&str, usize); 23] = [
    ("md4", 16),
    ("md5", 16),
    ("sha1", 20),
    ("rmd160", 20),
    ("sha256", 32),
    ("sha384", 48),
    ("sha512", 64),
    ("sha224", 28),
    ("rmd128", 16),
    ("rmd256", 32),
    ("rmd320", 40),
    ("wp256", 32),
    ("wp384", 48),
    ("wp512", 64),
    ("tgr128", 16),
    ("tgr160", 20),
    ("tgr192", 24),
    ("sm3", 32),
    ("streebog256", 32),
    ("streebog512", 64),
    ("sha3-256", 32),
    ("sha3-384", 48),
    ("sha3-512", 64),
];

/// A hash as events show it; `None`: there is none, or of an algorithm that is not known.
fn file_hash(algorithm: u8, bytes: &[u8]) -> Option<String> {
    let (name, len) = HASHES.get(usize::from(algorithm))?;
    Some(digits(name, bytes.get(..*len)?))
}

fn digits(name: &str, bytes: &[u8]) -> String {
    let mut text = format!("{name}:");
    for byte in bytes {
        text.push_str(&format!("{byte:02x}"));
    }
    text
}

/// Takes the hash of a file from the record that has it; of one without there was no room to ask for it.
fn put_hash(event: &mut HookEvent, record: &Record<'_>) {
    let Some(value) = record.values().find(|value| value.tag == Tag::HASH) else {
        event.more.file_hash_missing = Unjoined::TableFull.name();
        return;
    };
    let build_id = u32::from(value.flags) == SAKER_HASH_BUILD_ID;
    if build_id && value.bytes.is_empty() {
        event.more.file_hash_missing = NO_BUILD_ID;
        return;
    }
    let found =
        if build_id { Some(digits("build-id", value.bytes)) } else { file_hash(value.flags, value.bytes) };
    match found {
        Some(hash) => event.more.file_hash = hash,
        None => event.more.file_hash_missing = HASH_FAILED,
    }
}

/// The number that events give to an action.
fn action_of(raw: u8) -> i32 {
    i32::from(raw) + 1
}

/// Why an action was not carried out, in the words of events.
fn withheld(flags: u32) -> &'static str {
    match flags >> SAKER_HOOK_WITHHELD_SHIFT {
        SAKER_WITHHELD_NONE => "",
        SAKER_WITHHELD_MONITOR => "monitor",
        SAKER_WITHHELD_INIT => "init",
        SAKER_WITHHELD_AGENT => "agent",
        SAKER_WITHHELD_OWNER => "owner",
        SAKER_WITHHELD_WORKLOAD => "workload",
        SAKER_WITHHELD_SWITCH => "switch",
        SAKER_WITHHELD_UNHASHED => "unhashed",
        _ => "failed",
    }
}

/// Sets what few events have, if there is anything to be set.
fn set_unless_empty(
    text: &'static str,
    more: &mut Seldom,
    field: impl FnOnce(&mut HookMore) -> &mut &'static str,
) {
    if !text.is_empty() {
        *field(more) = text;
    }
}

/// Takes the values of a record, with what went ahead of it.
fn capture(record: &Record<'_>, rests: &Rests, seen: &mut Seen, event: &mut HookEvent) {
    for value in record.values() {
        if value.tag == Tag::RESULT {
            event.result = Some(argument(&value, rests, seen));
        } else if let Some(index) = value.tag.index() {
            set(&mut event.args, index, argument(&value, rests, seen));
        }
    }
}

impl Engine {
    pub(crate) fn hook(
        &mut self,
        hook: &Hook,
        record: &Record<'_>,
        findings: Option<Box<Findings>>,
        out: &mut Vec<Arc<Event>>,
    ) -> Outcome {
        let Some(family) = family_of(hook.family) else { return Outcome::Unexpected };
        self.counters.hook_records[family as usize] += 1;
        let header = &hook.rec;
        let rests =
            if self.contents.is_empty() { None } else { self.contents.take(hook, &mut self.counters.chunks) };
        let rests = rests.unwrap_or_default();
        let flags = HookFlags(hook.flags);
        let addresses = self.factory.config.stack_addresses;
        let key = CallKey { policy: header.policy, hook: header.hook, call: hook.call };
        if flags.has(HookFlags::RETURN) && flags.has(HookFlags::HASH) {
            return self.hashed(key, record, out);
        }
        if flags.has(HookFlags::RETURN)
            && let Some(mut waiting) = self.calls.take(key)
        {
            let Some(event) = waiting.event.hook() else { return Outcome::Unexpected };
            event.return_action = action_of(hook.action);
            set_unless_empty(withheld(hook.flags), &mut event.more, |more| &mut more.return_action_withheld);
            if waiting.shape.requests
                && let Some(known) = self.policies.hook(header.policy, header.hook, family)
            {
                event.more.requests.extend(known.requests(hook.selector, true));
            }
            capture(record, &rests, &mut self.seen, event);
            put_stacks(event, hook, record, findings.as_deref(), addresses);
            self.counters.calls.joined += 1;
            self.tell(waiting, out);
            return Outcome::Joined;
        }
        let Some((mut untold, shape)) = self.event_of(hook, family) else {
            let is_known = self.policies.knows(header.policy);
            return if is_known { Outcome::Unexpected } else { Outcome::UnknownPolicy };
        };
        let Some(event) = untold.hook() else { return Outcome::Unexpected };
        if flags.has(HookFlags::RETURN) {
            self.counters.calls.without_entry += 1;
        }
        if flags.has(HookFlags::HASH) && !flags.has(HookFlags::WAITS) {
            put_hash(event, record);
        }
        put_stacks(event, hook, record, findings.as_deref(), addresses);
        let more_bytes = findings.as_ref().map_or(0, |findings| findings.bytes());
        if family == Family::Loader {
            event.more.loaded = Some(loaded(record, findings));
        } else {
            capture(record, &rests, &mut self.seen, event);
        }
        if !flags.has(HookFlags::WAITS) || flags.has(HookFlags::RETURN) {
            finish(event, &shape);
            self.counters.events.hooks[family as usize] += 1;
            out.push(untold.into_event());
            return Outcome::Emitted;
        }
        // The end of the owner does not end a call that another thread makes.
        let pid = if flags.has(HookFlags::OWNER) { 0 } else { header.process.pid };
        let bytes = header.len as usize + more_bytes + rests.bytes();
        let hash = flags.has(HookFlags::HASH);
        let waiting = Waiting { key, pid, tid: hook.tid, bytes, hash, event: untold, shape };
        if let Some(older) = self.calls.insert(waiting) {
            self.unjoined(older, Unjoined::Superseded, out);
        }
        while let Some(oldest) = self.calls.beyond_bounds() {
            self.unjoined(oldest, Unjoined::TableFull, out);
        }
        Outcome::Stored
    }

    /// What the event of a record tells beside its values, and the shape of these. `None`: there is no such hook.
    fn event_of(&mut self, hook: &Hook, family: Family) -> Option<(Untold, Arc<Shape>)> {
        let (header, flags) = (&hook.rec, HookFlags(hook.flags));
        let known = self.policies.hook(header.policy, header.hook, family)?;
        let function = known.function(hook.function);
        let (info, shape) = (Arc::clone(&known.info), Arc::clone(&known.shape));
        let mut more = Seldom::default();
        if shape.requests {
            more.requests = known.requests_of(hook.selector, flags);
        }
        let (process, parent, ancestors) = self.called_by(header.process, flags, family);
        if !ancestors.is_empty() {
            more.ancestors = ancestors;
        }
        // Of a call in one record nothing else is done at its return.
        let at_return = if flags.has(HookFlags::CALL) { action_of(POST) } else { 0 };
        let (action, return_action) = if flags.has(HookFlags::RETURN) {
            set_unless_empty(withheld(hook.flags), &mut more, |more| &mut more.return_action_withheld);
            (0, action_of(hook.action))
        } else {
            set_unless_empty(withheld(hook.flags), &mut more, |more| &mut more.action_withheld);
            (action_of(hook.action), at_return)
        };
        let no_selector = u32::from(hook.selector) == saker_abi::generated::SAKER_SELECTOR_NONE;
        let caller = self.caller(hook);
        let (time, node) = (self.time_of(header), &self.factory.config.node);
        let event = HookEvent {
            process,
            parent,
            caller,
            hook: info,
            function,
            args: Arguments::new(),
            result: None,
            action,
            return_action,
            selector: if no_selector { None } else { Some(hook.selector) },
            repeats: hook.repeats,
            cgroup_id: hook.cgroup_id,
            entry_missing: flags.has(HookFlags::RETURN),
            socket_owner: flags.has(HookFlags::OWNER),
            workload_undecided: flags.has(HookFlags::UNDECIDED),
            more,
        };
        Some((Untold::new(time, node, event, &mut self.spares), shape))
    }

    /// The hash of the file of a call.
    fn hashed(&mut self, key: CallKey, record: &Record<'_>, out: &mut Vec<Arc<Event>>) -> Outcome {
        let Some(mut waiting) = self.calls.take(key) else { return Outcome::Refused };
        let Some(event) = waiting.event.hook() else { return Outcome::Unexpected };
        put_hash(event, record);
        self.counters.calls.joined += 1;
        self.tell(waiting, out);
        Outcome::Joined
    }

    /// The process of a record with its parent and, for families that are asked to show them, its ancestors.
    fn called_by(
        &mut self,
        key: Key,
        flags: HookFlags,
        family: Family,
    ) -> (ProcessView, Option<ProcessView>, Vec<ProcessView>) {
        let slot = self.table.find(key).or_else(|| self.derived(key, flags));
        let shown = self.factory.config.ancestors.of_hooks(family);
        // Mostly both were in an event before.
        if !shown && let Some((process, Some(parent))) = slot.and_then(|slot| self.table.shared(slot)) {
            return (process, Some(parent), Vec::new());
        }
        let Some((slot, process)) = slot.and_then(|slot| Some((slot, self.view(slot)?))) else {
            self.counters.table.unknown_processes += 1;
            let process = ProcessView { process: Arc::new(self.factory.unknown(key)), refcnt: 0 };
            return (process, None, Vec::new());
        };
        let above = self.table.parent_of(slot).map(|(parent, _)| parent);
        let parent = above.and_then(|parent| self.view(parent)).or_else(|| {
            let kernel = self.factory.kernel();
            let first = kernel.exec_id == process.process.parent_exec_id;
            first.then_some(ProcessView { process: kernel, refcnt: 1 })
        });
        let ancestors = if shown { self.ancestors(above) } else { Vec::new() };
        (process, parent, ancestors)
    }

    /// The entry of a process of which the kernel had no record: the key has the time of its creation. Of the owner of
    /// a socket that has executed something since: a process that only has its PID would have been created later.
    fn derived(&self, key: Key, flags: HookFlags) -> Option<Slot> {
        if flags.has(HookFlags::OWNER) {
            let present = self.table.alive(key.pid)?;
            return self
                .table
                .get(present)
                .filter(|entry| entry.start_boottime <= key.ktime)
                .map(|_| present);
        }
        if !flags.has(HookFlags::UNKNOWN) {
            return None;
        }
        self.table.alive(key.pid).filter(|slot| self.same_process(*slot, key.ktime))
    }

    fn caller(&self, hook: &Hook) -> Caller {
        let told = HookFlags(hook.flags).has(HookFlags::IDENTITY);
        let visible = self.factory.config.visible;
        let host = &self.factory.config.host_namespaces;
        Caller {
            tid: hook.tid,
            creds: (told && visible.credentials).then(|| Box::new(credentials(&hook.creds))),
            namespaces: (told && visible.namespaces).then(|| Box::new(namespaces(&hook.ns, host))),
        }
    }

    /// Tells a call of which nothing more will come.
    fn tell(&mut self, waiting: Waiting, out: &mut Vec<Arc<Event>>) {
        let Waiting { mut event, shape, .. } = waiting;
        if let Some(hook) = event.hook() {
            finish(hook, &shape);
            self.counters.events.hooks[hook.hook.family as usize] += 1;
        }
        out.push(event.into_event());
    }

    /// Gives up the wait for a return.
    fn unjoined(&mut self, mut waiting: Waiting, cause: Unjoined, out: &mut Vec<Arc<Event>>) {
        if waiting.shape.conditional_return {
            self.counters.calls.untold[cause as usize] += 1;
        } else {
            self.counters.calls.unjoined[cause as usize] += 1;
            let hash = waiting.hash;
            if let Some(event) = waiting.event.hook() {
                let missing =
                    if hash { &mut event.more.file_hash_missing } else { &mut event.more.return_missing };
                *missing = cause.name();
            }
            self.tell(waiting, out);
        }
    }

    /// The calls under way of a process that has ended.
    pub(crate) fn calls_ended(&mut self, pid: u32, out: &mut Vec<Arc<Event>>) {
        for waiting in self.calls.take_process(pid, None) {
            self.unjoined(waiting, Unjoined::ProcessExited, out);
        }
    }

    /// The calls of the threads that an exec ended; that of the one that called it goes on.
    pub(crate) fn calls_ended_by_exec(&mut self, pid: u32, tid: u32, out: &mut Vec<Arc<Event>>) {
        for waiting in self.calls.take_process(pid, Some(tid)) {
            self.unjoined(waiting, Unjoined::ProcessExited, out);
        }
    }

    /// Takes what is known of a policy, before its records come.
    pub(crate) fn policy_loaded(&mut self, text: PolicyText, out: &mut Vec<Arc<Event>>) {
        let id = text.id;
        if self.policies.knows(id) {
            self.forget_policy(id, out);
        }
        if !self.policies.insert(text) {
            self.counters.policies_refused += 1;
        }
    }

    /// A policy has no hooks any more; records of them may still come.
    pub(crate) fn policy_removed(&mut self, id: u32, out: &mut Vec<Arc<Event>>) {
        self.policies.remove(id, self.clock);
        self.forget_policies(out);
    }

    /// Forgets removed policies when their last records must have come.
    pub(crate) fn forget_policies(&mut self, out: &mut Vec<Arc<Event>>) {
        while let Some(id) = self.policies.due(self.clock) {
            self.forget_policy(id, out);
        }
    }

    fn forget_policy(&mut self, id: u32, out: &mut Vec<Arc<Event>>) {
        for waiting in self.calls.take_policy(id) {
            self.unjoined(waiting, Unjoined::PolicyRemoved, out);
        }
        self.policies.forget(id);
    }

    /// Gives up all waits, at the end of the input.
    pub(crate) fn finish_calls(&mut self, out: &mut Vec<Arc<Event>>) {
        for waiting in self.calls.take_all() {
            self.unjoined(waiting, Unjoined::StreamEnd, out);
        }
    }
}

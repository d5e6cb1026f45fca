//! Sensors with hooks beside them, and what the hooks tell.

use std::collections::BTreeMap;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use saker_abi::generated::*;
use saker_policy::matcher::Container;
use saker_policy::plan::{
    BinaryTest, Choices, HookPlan, Kernel, Mechanisms, PolicyPlan, Resolved, Signature, WorkloadTest,
    lower_with, pack,
};
use saker_policy::values::Step;
use saker_policy::words::Mode;
use saker_policy::{Diagnostic, Severity, check, render};
use saker_probes::{
    Binaries, Enforcement, Groups, HookSpec, Hooks, KernelFacts, LoadedPolicy, Options, RecordBatch,
    RunningKernel, Sensors, Spared,
};
use zerocopy::{FromBytes, FromZeros};

pub(crate) fn kernel() -> &'static RunningKernel {
    static KERNEL: OnceLock<RunningKernel> = OnceLock::new();
    KERNEL.get_or_init(|| RunningKernel::load().unwrap())
}

pub(crate) fn mechanisms() -> Mechanisms {
    kernel().mechanisms()
}

pub(crate) fn any_function() -> bool {
    mechanisms().trampoline || mechanisms().kprobe
}

/// The kernel, with some of its ways of hooking.
pub(crate) struct Limited(pub(crate) Mechanisms);

/// What it offers, then without trampolines, then without kprobes too; each once.
pub(crate) fn ways() -> Vec<Limited> {
    let all = mechanisms();
    let kprobes = Mechanisms { trampoline: false, ..all };
    let mut ways = vec![all, kprobes, Mechanisms { kprobe: false, ..kprobes }];
    ways.dedup();
    ways.into_iter().map(Limited).collect()
}

impl Kernel for Limited {
    fn release(&self) -> &str {
        kernel().release()
    }
    fn mechanisms(&self) -> Mechanisms {
        self.0
    }
    fn tells_places(&self) -> bool {
        kernel().tells_places()
    }
    fn hooks_functions_at_once(&self) -> bool {
        kernel().hooks_functions_at_once()
    }
    fn hooks_returns_at_once(&self) -> bool {
        kernel().hooks_returns_at_once()
    }
    fn refuses_kprobe(&self, function: &str) -> Option<String> {
        kernel().refuses_kprobe(function)
    }
    fn hooks_places_at_once(&self) -> bool {
        kernel().hooks_places_at_once()
    }
    fn changes_registers(&self) -> Result<(), String> {
        kernel().changes_registers()
    }
    fn writes_memory(&self) -> Result<(), String> {
        kernel().writes_memory()
    }
    fn is_ambiguous(&self, name: &str) -> bool {
        kernel().is_ambiguous(name)
    }
    fn hashes_files(&self, hook: &str) -> Result<(), String> {
        kernel().hashes_files(hook)
    }
    fn function(&self, name: &str) -> Option<Signature> {
        kernel().function(name)
    }
    fn symbol(&self, name: &str) -> bool {
        kernel().symbol(name)
    }
    fn tracepoint(&self, event: &str) -> Option<Signature> {
        kernel().tracepoint(event)
    }
    fn lsm_hook(&self, name: &str) -> Option<Signature> {
        kernel().lsm_hook(name)
    }
    fn resolve(&self, structure: &str, path: &[Step]) -> Result<Resolved, String> {
        kernel().resolve(structure, path)
    }
    fn syscall(&self, name: &str) -> Option<u32> {
        kernel().syscall(name)
    }
    fn syscalls(&self) -> Vec<(String, u32)> {
        kernel().syscalls()
    }
    fn narrow_syscall(&self, name: &str) -> Option<u32> {
        kernel().narrow_syscall(name)
    }
    fn narrow_syscalls(&self) -> Vec<(String, u32)> {
        kernel().narrow_syscalls()
    }
    fn syscall_prefix(&self) -> &str {
        kernel().syscall_prefix()
    }
    fn nearest(&self, name: &str) -> Vec<String> {
        kernel().nearest(name)
    }
    fn matching(&self, pattern: &str) -> Vec<String> {
        kernel().matching(pattern)
    }
    fn host_namespaces(&self) -> saker_abi::NamespaceInums {
        kernel().host_namespaces()
    }
}

/// A record of a hook.
#[derive(Clone, Debug)]
pub(crate) struct Told {
    pub(crate) hook: u32,
    flags: u32,
    pub(crate) function: u64,
    pub(crate) action: u8,
    pub(crate) selector: u16,
    pub(crate) call: u64,
    pub(crate) pid: u32,
    pub(crate) tid: u32,
    /// Tag, and content.
    pub(crate) values: BTreeMap<u32, Vec<u8>>,
    /// Of the record of a hash.
    pub(crate) hash_algorithm: u8,
    /// Tag, and what went ahead of the record: where it begins in the value, and its bytes.
    pub(crate) rests: BTreeMap<u32, (u64, Vec<u8>)>,
}

impl Told {
    fn of(record: &[u8]) -> Self {
        let (head, mut rest) = saker_hook::read_from_prefix(record).unwrap();
        let mut values = BTreeMap::new();
        let mut hash_algorithm = 0;
        while let Ok((tlv, after)) = saker_tlv::read_from_prefix(rest) {
            let len = tlv.len as usize;
            if u32::from(tlv.tag) == SAKER_TAG_HASH {
                hash_algorithm = tlv.flags;
            }
            let content = if u32::from(tlv.status) == SAKER_STATUS_FAILED {
                b"failed".to_vec()
            } else {
                after[..len].to_vec()
            };
            values.insert(u32::from(tlv.tag), content);
            rest = &after[len.next_multiple_of(8).min(after.len())..];
        }
        Self {
            hook: head.rec.hook,
            flags: head.flags,
            function: head.function,
            action: head.action,
            selector: head.selector,
            call: head.call,
            pid: head.rec.process.pid,
            tid: head.tid,
            values,
            hash_algorithm,
            rests: BTreeMap::new(),
        }
    }

    pub(crate) fn value(&self, index: u32) -> &[u8] {
        self.values.get(&(SAKER_TAG_VALUE + index)).map_or(b"missing", Vec::as_slice)
    }

    pub(crate) fn text(&self, index: u32) -> String {
        String::from_utf8_lossy(self.value(index)).into_owned()
    }

    /// The path of a file.
    pub(crate) fn path(&self, index: u32) -> String {
        String::from_utf8_lossy(&self.value(index)[size_of::<saker_object>()..]).into_owned()
    }

    /// Size and bytes of a buffer, with what went ahead of the record.
    pub(crate) fn whole(&self, index: u32) -> (u64, Vec<u8>) {
        let bytes = self.value(index);
        let (head, inside) = saker_buffer::read_from_prefix(bytes).unwrap_or_else(|_| panic!("{self:?}"));
        let mut all = inside.to_vec();
        if let Some((start, rest)) = self.rests.get(&(SAKER_TAG_VALUE + index)) {
            assert_eq!(*start, inside.len() as u64);
            all.extend_from_slice(rest);
        }
        (head.size, all)
    }

    pub(crate) fn number(&self, index: u32) -> i64 {
        i64::from_ne_bytes(self.value(index).try_into().unwrap())
    }

    pub(crate) fn result(&self) -> i64 {
        i64::from_ne_bytes(self.values[&SAKER_TAG_RESULT].as_slice().try_into().unwrap())
    }

    pub(crate) fn is_owner(&self) -> bool {
        self.flags & SAKER_HOOK_OWNER != 0
    }

    pub(crate) fn is_undecided(&self) -> bool {
        self.flags & SAKER_HOOK_UNDECIDED != 0
    }

    pub(crate) fn waits(&self) -> bool {
        self.flags & SAKER_HOOK_WAITS != 0
    }

    /// With its return.
    pub(crate) fn is_call(&self) -> bool {
        self.flags & SAKER_HOOK_CALL != 0
    }

    pub(crate) fn is_return(&self) -> bool {
        self.flags & SAKER_HOOK_RETURN != 0
    }
}

pub(crate) struct Lab {
    sensors: Sensors,
    hooks: Hooks,
    /// Number of the last policy.
    policies: u32,
}

/// A policy in the kernel.
pub(crate) struct Applied {
    pub(crate) loaded: LoadedPolicy,
    pub(crate) plans: Vec<HookPlan>,
    pub(crate) binaries: Binaries,
    workloads: Vec<WorkloadTest>,
}

impl Applied {
    /// The filters that a container fulfils, or the host: the bit of each is its position.
    pub(crate) fn workload_bits(&self, container: Option<&Container>) -> u64 {
        let held = self.workloads.iter().enumerate().filter(|(_, test)| test.holds(container));
        held.fold(0, |bits, (bit, _)| bits | 1 << bit)
    }

    /// What is found when the kernel left no program of a hook out. It leaves one out that it interrupted on the same
    /// CPU, and counts that (`bpf_prog_enter_recur` in `kernel/bpf/trampoline.c`): where kernels are preemptible, tests
    /// beside this one have it so.
    pub(crate) fn complete<T>(&self, mut attempt: impl FnMut() -> T) -> T {
        let missed = || self.loaded.hooks.iter().map(|hook| hook.counts().unwrap().missed).sum::<u64>();
        for _ in 0..20 {
            let before = missed();
            let found = attempt();
            let now = missed();
            if now == before {
                return found;
            }
            println!("the kernel left {} calls out, again", now - before);
        }
        panic!("the kernel left calls out each time");
    }

    /// The function that a record is of.
    pub(crate) fn name(&self, told: &Told) -> String {
        let text = &self.plans[told.hook as usize].text;
        let known = text.functions.iter().find(|(number, _)| *number == told.function);
        known.map_or_else(|| text.function.clone(), |(_, name)| name.clone())
    }
}

impl Lab {
    pub(crate) fn new() -> Option<Self> {
        Self::with(&Options::default())
    }

    pub(crate) fn with(options: &Options) -> Option<Self> {
        if !rustix::process::geteuid().is_root() {
            println!("needs root: NOT RUN");
            return None;
        }
        let facts = KernelFacts::for_sensors().unwrap();
        let sensors = Sensors::load(options, &facts).unwrap();
        let hooks = Hooks::beside(&sensors).unwrap();
        Some(Self { sensors, hooks, policies: 2 })
    }

    /// Loads a policy; what the kernel cannot do is told.
    pub(crate) fn apply(&mut self, text: &str) -> Result<Applied, Vec<Diagnostic>> {
        self.apply_on(text, kernel())
    }

    /// Loads a policy made for a kernel that offers less.
    pub(crate) fn apply_on(&mut self, text: &str, kernel: &dyn Kernel) -> Result<Applied, Vec<Diagnostic>> {
        let plan = plan_for(text, kernel)?;
        Ok(self.load(plan).unwrap_or_else(|error| panic!("{error:?}\n{text}")))
    }

    pub(crate) fn load(&mut self, plan: PolicyPlan) -> Result<Applied, saker_probes::Error> {
        self.policies += 1;
        let mut specs = Vec::new();
        for (number, hook) in (0..).zip(&plan.hooks) {
            let mut spec = HookSpec { attach: hook.attach.clone(), plan: hook.plan.clone() };
            (spec.plan.policy, spec.plan.hook) = (self.policies, number);
            specs.push(spec);
        }
        // Nobody is to be hit by what is tried.
        let loaded = self.hooks.load_in(&specs, &plan.sets, Mode::Monitor)?;
        assert!(loaded.hooks.iter().all(|hook| hook.pruned), "the kernel refused a pruned program");
        let binaries = binaries(&plan.binaries);
        self.set_binaries(&binaries);
        Ok(Applied { loaded, plans: plan.hooks, binaries, workloads: plan.workloads })
    }

    /// What holds for the actions of all policies.
    pub(crate) fn enforcement(&self) -> &Enforcement {
        self.hooks.enforcement()
    }

    /// Whom hooks that are loaded from now on may hit.
    pub(crate) fn spare(&mut self, spared: Spared) {
        self.hooks.spare(spared);
    }

    /// Hooks that ask for workloads ask these.
    pub(crate) fn ask_groups(&mut self, groups: &Groups) {
        self.hooks.ask_groups(groups).unwrap();
    }

    /// Whether hooks know when to walk up from a mount anew. None: they always do.
    pub(crate) fn keeps_mounts(&self) -> Option<bool> {
        self.hooks.keeps_mounts()
    }

    /// Calls whose return is waited for.
    pub(crate) fn waiting_calls(&self) -> usize {
        self.hooks.waiting_calls()
    }

    pub(crate) fn set_binaries(&mut self, binaries: &Binaries) {
        self.hooks.set_binaries(binaries).unwrap();
    }

    /// What hooks tell of `act` of this thread.
    pub(crate) fn told(&self, act: impl FnOnce()) -> Vec<Told> {
        self.told_of(|| {
            act();
            rustix::thread::gettid().as_raw_nonzero().get().cast_unsigned()
        })
    }

    /// What hooks tell of the thread that `act` names, which ran meanwhile.
    pub(crate) fn told_of(&self, act: impl FnOnce() -> u32) -> Vec<Told> {
        let me = act();
        self.read(|hook| hook.tid == me)
    }

    /// What hooks tell of anybody while `act` is done.
    pub(crate) fn told_of_all(&self, act: impl FnOnce()) -> Vec<Told> {
        act();
        self.read(|_| true)
    }

    /// What hooks have told of anybody since this was asked last.
    pub(crate) fn told_so_far(&self) -> Vec<Told> {
        self.read(|_| true)
    }

    fn read(&self, wanted: impl Fn(&saker_hook) -> bool) -> Vec<Told> {
        let mut reader = self.sensors.reader().unwrap();
        let mut batch = RecordBatch::default();
        let begin = Instant::now();
        while begin.elapsed() < Duration::from_millis(1000) {
            let read = reader.read(Duration::from_millis(50), &mut batch).unwrap();
            if read.records == 0 && begin.elapsed() > Duration::from_millis(200) {
                break;
            }
        }
        let mut ahead = Ahead::new();
        let mut told = Vec::new();
        for record in batch.records() {
            let (header, _) = saker_record::read_from_prefix(record).unwrap();
            match u32::from(header.kind) {
                SAKER_KIND_DATA if header.policy != 0 => store(&mut ahead, record),
                SAKER_KIND_HOOK => {
                    let (hook, _) = saker_hook::read_from_prefix(record).unwrap();
                    let rests = ahead.remove(&(header.policy, header.hook, hook.call as u32));
                    if wanted(&hook) {
                        told.push(Told { rests: rests.unwrap_or_default(), ..Told::of(record) });
                    }
                }
                _ => {}
            }
        }
        told
    }

    /// What the kernel counted, of all CPUs.
    pub(crate) fn stats(&self) -> Vec<saker_stats> {
        self.sensors.stats().unwrap()
    }
}

/// Policy, hook and call; of each tag where its bytes begin, and the bytes.
type Ahead = BTreeMap<(u32, u32, u32), BTreeMap<u32, (u64, Vec<u8>)>>;

/// Takes a data record, which must be the next of its value.
fn store(ahead: &mut Ahead, record: &[u8]) {
    let (data, rest) = saker_data::read_from_prefix(record).unwrap();
    let (tlv, rest) = saker_tlv::read_from_prefix(rest).unwrap();
    assert!(data.rec.len as usize <= record.len() && data.rec.process.pid != 0);
    let value = ahead.entry((data.rec.policy, data.rec.hook, data.call)).or_default();
    let (start, bytes) = value.entry(tlv.tag.into()).or_insert((data.offset, Vec::new()));
    assert_eq!(data.offset, *start + bytes.len() as u64);
    bytes.extend_from_slice(&rest[..tlv.len as usize]);
}

/// One entry for each key, with the bits of all of its entries.
fn united<K: Copy, T: Ord>(entries: &[(K, u64)], key: impl Fn(&K) -> T) -> Vec<(K, u64)> {
    let mut united: BTreeMap<T, (K, u64)> = BTreeMap::new();
    for (one, bits) in entries {
        united.entry(key(one)).or_insert((*one, 0)).1 |= bits;
    }
    united.into_values().collect()
}

/// The bit of a filter is its position; the loader of an agent gives out those of all policies.
pub(crate) fn binaries(tests: &[BinaryTest]) -> Binaries {
    static MEANINGS: AtomicU64 = AtomicU64::new(1);
    let mut all = Binaries::default();
    let text = |set, bytes: &[u8]| {
        let mut key = saker_text_key::new_zeroed();
        (key.set, key.len) = (set, bytes.len() as u32);
        key.text[..bytes.len()].copy_from_slice(bytes);
        key
    };
    let mut patterns = Vec::new();
    for (bit, test) in tests.iter().enumerate() {
        let pids = |own, pids: &[u32]| -> Vec<_> {
            pids.iter().map(|pid| (saker_follow_key { own, pid: *pid }, 1 << bit)).collect()
        };
        for looked_up in test.looked_up() {
            match test.inner() {
                BinaryTest::Prefix(_) => {
                    let mut key = saker_prefix_key::new_zeroed();
                    key.bits = 32 + 8 * looked_up.len() as u32;
                    key.text[..looked_up.len()].copy_from_slice(looked_up);
                    all.prefixes.push((key, 1 << bit));
                }
                BinaryTest::Postfix(_) => {
                    all.texts.push((text(1, looked_up), 1 << bit));
                    all.lengths.push(looked_up.len() as u32);
                }
                _ => all.texts.push((text(0, looked_up), 1 << bit)),
            }
        }
        match test.inner() {
            BinaryTest::Pids(numbers) => all.pids.extend(pids(0, numbers)),
            BinaryTest::NamespacePids(numbers) => all.pids.extend(pids(1, numbers)),
            BinaryTest::Followed(_) => panic!("followed twice"),
            _ => {}
        }
        if matches!(test, BinaryTest::Followed(_)) {
            all.followed.insert(bit as u8, MEANINGS.fetch_add(1, Ordering::Relaxed));
        }
        patterns.extend(test.patterns().into_iter().map(|pattern| (pattern, bit)));
    }
    all.texts = united(&all.texts, |key| (key.set, key.text));
    all.prefixes = united(&all.prefixes, |key| (key.bits, key.text));
    let packed = pack(&patterns.iter().map(|(pattern, _)| pattern.clone()).collect::<Vec<_>>()).unwrap();
    all.columns =
        packed.columns.iter().map(|column| saker_binary_column { column: *column, bits: [0; 64] }).collect();
    for ((column, end), (_, bit)) in packed.ends.iter().zip(&patterns) {
        all.columns[*column].bits[*end as usize] |= 1 << bit;
    }
    all
}

pub(crate) fn plan(text: &str) -> Result<PolicyPlan, Vec<Diagnostic>> {
    plan_for(text, kernel())
}

fn plan_for(text: &str, kernel: &dyn Kernel) -> Result<PolicyPlan, Vec<Diagnostic>> {
    let checked = check(text);
    let shown = render("policy", text, &checked.diagnostics);
    assert_eq!(checked.count(Severity::Error), 0, "{shown}");
    lower_with(&checked.policies[0], kernel, &Choices { names_pods: true, ..Choices::default() })
}

/// A policy with this specification; `OWN` stands for this process.
pub(crate) fn policy(spec: &str) -> String {
    let spec: String = spec.lines().map(|line| format!("  {line}\n")).collect();
    let spec = spec.replace("OWN", &std::process::id().to_string());
    format!("apiVersion: cilium.io/v1alpha1\nkind: TracingPolicy\nmetadata: {{name: x}}\nspec:\n{spec}")
}

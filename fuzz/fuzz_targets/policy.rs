//! Any bytes are policies, or diagnostics within the text; what is accepted is explained, matched and made a plan without
//! panic, and a plan is within the bounds of the kernel side.

#![no_main]

use std::net::IpAddr;
use std::sync::OnceLock;

use libfuzzer_sys::fuzz_target;
use saker_abi::generated::{SAKER_COLUMNS_MAX, SAKER_OP_TEXT_PATTERN, saker_step};
use saker_policy::matcher::{Ancestor, Container, Event, Matcher, NamespaceState, SocketValue, Value};
use saker_policy::model::{Hook, Syscall};
use saker_policy::plan::{Kernel, Mechanisms, Resolved, Signature, TypeKind, lower};
use saker_policy::values::Step;
use saker_policy::words::Namespace;
use saker_policy::{Severity, check, explain, parse_tests, render, schema, to_json};

/// Numbers that differ for different texts.
struct Numbers(u64);

impl Numbers {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn bytes(&mut self) -> Vec<u8> {
        let words: [&[u8]; 6] = [b"", b"/etc/shadow", b"x", b"a\0", b"/\xff/x", b"/bin/sh"];
        words[(self.next() % 6) as usize].to_vec()
    }

    fn ip(&mut self) -> Option<IpAddr> {
        match self.next() % 3 {
            0 => None,
            1 => Some(IpAddr::from((self.next() as u32).to_be_bytes())),
            _ => Some(IpAddr::from((u128::from(self.next()) << 64 | 1).to_be_bytes())),
        }
    }

    fn value(&mut self) -> Value {
        match self.next() % 11 {
            0 => Value::Failed,
            1 => Value::Integer(i128::from(self.next() as i64) << (self.next() % 40)),
            2 => Value::Syscall(Syscall { abi: None, name: "dup".into() }),
            3 => Value::Text(self.bytes()),
            4 => Value::Bytes(self.bytes()),
            5 => Value::Path { path: self.bytes(), mode: self.next() as u32, file: Vec::new() },
            6 => Value::Socket(SocketValue {
                family: 2,
                protocol: self.next() as u16,
                state: Some(1),
                source: self.ip(),
                destination: self.ip(),
                source_port: self.next() as u16,
                destination_port: self.next() as u16,
            }),
            7 => Value::Address { family: 2, address: self.ip(), port: self.next() as u16 },
            8 => Value::LocalAddress(self.bytes()),
            9 => Value::Capabilities(self.next()),
            _ => Value::Other,
        }
    }

    fn event(&mut self, hook: &Hook) -> Event {
        let mut event = Event::default();
        event.process.pid = (self.next() % 3) as u32;
        event.process.namespace_pid = (self.next() % 2 == 0).then_some(1);
        event.process.binary = String::from_utf8_lossy(&self.bytes()).into_owned();
        event.process.ancestors = vec![Ancestor { pid: 1, binary: "/bin/sh".into(), ..Ancestor::default() }];
        event.process.namespaces = [(Namespace::User, NamespaceState::Inode(7))].into();
        event.process.namespace_changes = vec![Namespace::Mnt];
        event.process.capabilities.effective = self.next();
        event.process.container = (self.next() % 2 == 0).then(Container::default);
        event.values = hook.values.iter().map(|_| self.value()).collect();
        event.returned = (self.next() % 2 == 0).then(|| self.value());
        event
    }
}

/// A kernel that has everything, by the ways that it is made with.
struct Anything(Mechanisms);

impl Anything {
    fn signature(name: &str) -> Signature {
        let integer = TypeKind::Integer { size: 4, signed: name.len() % 2 == 0 };
        let pointer = |name: &str| (String::new(), TypeKind::Pointer(name.to_owned()));
        let kinds = ["file", "sock", "path", "dentry", "", "cred"];
        let mut arguments: Vec<_> = kinds.iter().take(1 + name.len() % 6).map(|name| pointer(name)).collect();
        arguments.push((String::new(), integer.clone()));
        Signature { arguments, result: integer, readable: name.len() % 3 != 0 }
    }
}

impl Kernel for Anything {
    fn release(&self) -> &str {
        "fuzzed"
    }
    fn mechanisms(&self) -> Mechanisms {
        self.0
    }
    fn function(&self, name: &str) -> Option<Signature> {
        Some(Self::signature(name))
    }
    fn tracepoint(&self, event: &str) -> Option<Signature> {
        Some(Self::signature(event))
    }
    fn lsm_hook(&self, name: &str) -> Option<Signature> {
        Some(Self::signature(name))
    }
    fn resolve(&self, structure: &str, path: &[Step]) -> Result<Resolved, String> {
        let steps = path.iter().map(|_| saker_step { offset: 8, load: 8 }).collect();
        Ok(Resolved { steps, kind: TypeKind::Pointer(structure.to_owned()) })
    }
    fn syscall(&self, name: &str) -> Option<u32> {
        Some(name.len() as u32 * 7)
    }
    fn syscalls(&self) -> Vec<(String, u32)> {
        vec![("openat".into(), 257), ("read".into(), 0)]
    }
    fn syscall_prefix(&self) -> &str {
        "__x64_sys_"
    }
    fn nearest(&self, name: &str) -> Vec<String> {
        vec![name.to_owned()]
    }
    fn matching(&self, pattern: &str) -> Vec<String> {
        vec![pattern.to_owned(); pattern.len() % 700]
    }
    fn host_namespaces(&self) -> saker_abi::NamespaceInums {
        saker_abi::NamespaceInums { pid: 4_026_531_836, ..Default::default() }
    }
}

/// A plan stays within the bounds that the kernel side has; all else is refused with a reason.
fn check_plan(policy: &saker_policy::model::Policy) {
    for ways in 0..8 {
        let mechanisms = Mechanisms {
            trampoline: ways & 1 != 0,
            kprobe: ways & 2 != 0,
            lsm: ways & 3 == 3,
            preemptible: ways & 4 != 0,
            lsm_left_out: ways & 3 == 0,
        };
        let plan = match lower(policy, &Anything(mechanisms)) {
            Ok(plan) => plan,
            Err(reasons) => {
                assert!(
                    reasons.iter().any(|one| one.severity == Severity::Error),
                    "refused without a reason"
                );
                continue;
            }
        };
        let columns = plan.sets.columns.len();
        for hook in &plan.hooks {
            let plan = &hook.plan;
            for clause in plan.clause.iter().filter(|one| u32::from(one.op) == SAKER_OP_TEXT_PATTERN) {
                assert!(clause.set as usize + usize::from(clause.count) <= columns);
                assert!(u32::from(clause.count) <= SAKER_COLUMNS_MAX);
            }
            let within =
                |first: u16, count: u16| usize::from(first) + usize::from(count) <= plan.clause.len();
            assert!(usize::from(plan.values) <= plan.value.len() && plan.entry_values <= plan.values);
            assert!(usize::from(plan.selectors) <= plan.selector.len());
            assert!(usize::from(plan.return_selectors) <= plan.return_selector.len());
            for selector in plan.selector.iter().take(plan.selectors.into()) {
                assert!(within(selector.process, selector.process_count));
            }
            let stages = plan.stage.iter().take(plan.stages.into());
            for stage in stages.chain(plan.return_stage.iter().take(plan.return_stages.into())) {
                assert!(stage.count > 0 && within(stage.clause, stage.count) && stage.selectors != 0);
            }
            assert!(usize::from(plan.stages.max(plan.return_stages)) <= plan.stage.len());
            assert_eq!(hook.text.positions.len(), usize::from(plan.values));
        }
    }
}

fuzz_target!(|bytes: &[u8]| {
    static SCHEMA: OnceLock<serde_json::Value> = OnceLock::new();
    let definitions = &SCHEMA.get_or_init(schema)["$defs"];
    assert!(definitions["Policy"]["properties"]["spec"].is_object());
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let checked = check(text);
    let lines = text.bytes().filter(|byte| matches!(byte, b'\n' | b'\r')).count() + 1;
    for diagnostic in &checked.diagnostics {
        assert!(diagnostic.span.line <= lines, "{diagnostic:?} in {lines} lines");
    }
    let _ = render("f", text, &checked.diagnostics);
    let _ = to_json("f", &checked.diagnostics);
    if checked.policies.is_empty() {
        assert!(checked.count(Severity::Error) > 0, "neither policies nor errors");
    }
    let mut numbers = Numbers(bytes.iter().fold(0x9e37_79b9_7f4a_7c15, |seed, byte| {
        (seed ^ u64::from(*byte)).wrapping_mul(0x100_0000_01b3) | 1
    }));
    let (tests, _) = parse_tests(text);
    for policy in &checked.policies {
        let _ = explain(policy).text();
        let _ = explain(policy).json();
        check_plan(policy);
        let matcher = Matcher::new(policy);
        for hook in &policy.hooks {
            let event = numbers.event(hook);
            let decision = matcher.decide(hook, &event);
            assert!(decision.selector.is_none_or(|index| index < hook.selectors.len()));
            assert!(!decision.posts || decision.applies);
        }
        for test in &tests {
            let _ = test.run(policy);
        }
    }
});

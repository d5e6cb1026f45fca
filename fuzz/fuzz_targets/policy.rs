//! Any bytes are policies, or diagnostics within the text; what is accepted is explained and matched without panic.

#![no_main]

use std::net::IpAddr;
use std::sync::OnceLock;

use libfuzzer_sys::fuzz_target;
use saker_policy::matcher::{Ancestor, Container, Event, Matcher, NamespaceState, SocketValue, Value};
use saker_policy::model::{Hook, Syscall};
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
            5 => Value::Path { path: self.bytes(), mode: self.next() as u32 },
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
        event.process.ancestors = vec![Ancestor { pid: 1, namespace_pid: None, binary: "/bin/sh".into() }];
        event.process.namespaces = [(Namespace::User, NamespaceState::Inode(7))].into();
        event.process.namespace_changes = vec![Namespace::Mnt];
        event.process.capabilities.effective = self.next();
        event.process.container = (self.next() % 2 == 0).then(Container::default);
        event.values = hook.values.iter().map(|_| self.value()).collect();
        event.returned = (self.next() % 2 == 0).then(|| self.value());
        event
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
    render("f", text, &checked.diagnostics);
    to_json("f", &checked.diagnostics);
    if checked.policies.is_empty() {
        assert!(checked.count(Severity::Error) > 0, "neither policies nor errors");
    }
    let mut numbers = Numbers(bytes.iter().fold(0x9e37_79b9_7f4a_7c15, |seed, byte| {
        (seed ^ u64::from(*byte)).wrapping_mul(0x100_0000_01b3) | 1
    }));
    let (tests, _) = parse_tests(text);
    for policy in &checked.policies {
        explain(policy).text();
        explain(policy).json();
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

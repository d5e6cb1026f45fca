//! A made-up host whose records go straight into an engine.

use std::sync::Arc;

use saker_abi::{Exec, Key};
use saker_api::event::{Event, EventKind, ExecEvent, ExitEvent, GapEvent, Node, Visible};
use saker_engine::workload::{Program, Subject, World};
use saker_engine::{Ancestors, Engine, EngineConfig, SnapshotKind};

pub struct Host {
    pub world: World,
    pub engine: Engine,
    pub events: Vec<Arc<Event>>,
}

pub fn config() -> EngineConfig {
    EngineConfig {
        node: Arc::new(Node { name: "n".into(), ..Node::default() }),
        visible: Visible { credentials: true, namespaces: true, extras: true },
        ancestors: Ancestors::all(true),
        boot_to_wall: 1_000_000_000_000_000_000,
        ..EngineConfig::default()
    }
}

impl Host {
    pub fn new() -> Self {
        Self::with(config())
    }

    pub fn with(config: EngineConfig) -> Self {
        Self { world: World::new(2), engine: Engine::new(config), events: Vec::new() }
    }

    /// A host on which init runs and is known.
    pub fn booted() -> (Self, Subject) {
        let mut host = Self::new();
        let init = host.start();
        (host, init)
    }

    pub fn start(&mut self) -> Subject {
        let init = self.world.existing(1, Key::default());
        let program = program("/usr/lib/systemd/systemd", &["/sbin/init", "splash"]);
        let task = self.world.task(&init, &program);
        self.engine.snapshot(vec![task], SnapshotKind::Start, &mut self.events);
        self.events.clear();
        init
    }

    pub fn give(&mut self, record: &[u8]) {
        self.engine.record(record, &mut self.events);
    }

    pub fn fork(&mut self, parent: &Subject) -> Subject {
        let (child, record) = self.world.fork(parent);
        self.give(&record);
        child
    }

    pub fn exec(&mut self, subject: &mut Subject, program: &Program<'_>) -> ExecEvent {
        self.exec_with(subject, program, |_| {})
    }

    pub fn exec_with(
        &mut self,
        subject: &mut Subject,
        program: &Program<'_>,
        change: impl FnOnce(&mut Exec),
    ) -> ExecEvent {
        let record = self.world.exec_with(subject, program, change);
        self.give(&record);
        as_exec(&self.take_one())
    }

    pub fn exit(&mut self, subject: &Subject, code: u32) -> ExitEvent {
        let record = self.world.exit(subject, code);
        self.give(&record);
        as_exit(&self.take_one())
    }

    pub fn sample(&mut self) {
        let sample = self.world.sample();
        self.engine.input(sample, &mut self.events);
    }

    pub fn take_one(&mut self) -> Arc<Event> {
        assert_eq!(self.events.len(), 1, "{:#?}", self.events);
        self.events.remove(0)
    }

    /// Events so far, in short: kind and process id.
    pub fn take_short(&mut self) -> Vec<String> {
        self.events.drain(..).map(|event| short(&event)).collect()
    }
}

pub fn short(event: &Event) -> String {
    match &event.kind {
        EventKind::Exec(e) => {
            let p = &e.process.process;
            let mark = if p.extra.reconstructed { "found" } else { "exec" };
            format!("{mark} {} {}", p.pid, p.binary)
        }
        EventKind::Exit(e) => {
            let mark = if e.reconstructed { "gone" } else { "exit" };
            format!("{mark} {} {}", e.process.process.pid, e.process.process.binary)
        }
        EventKind::Gap(gap) => format!("gap {}", gap.lost),
        _ => String::from("other"),
    }
}

pub fn as_exec(event: &Event) -> ExecEvent {
    match &event.kind {
        EventKind::Exec(exec) => exec.clone(),
        other => panic!("not an exec: {other:?}"),
    }
}

pub fn as_exit(event: &Event) -> ExitEvent {
    match &event.kind {
        EventKind::Exit(exit) => exit.clone(),
        other => panic!("not an exit: {other:?}"),
    }
}

pub fn as_gap(event: &Event) -> GapEvent {
    match &event.kind {
        EventKind::Gap(gap) => gap.clone(),
        other => panic!("not a gap: {other:?}"),
    }
}

pub fn program<'a>(path: &'a str, args: &'a [&'a str]) -> Program<'a> {
    Program { filename: path, exe: path, cwd: "/", args }
}

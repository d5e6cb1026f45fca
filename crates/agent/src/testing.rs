//! What tests of this crate share: an agent's insides without kernel, and records made by hand.

use std::path::Path;
use std::sync::mpsc::{self, Receiver};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime};

use saker_abi::{Exec, Exit, Hook, Identity, Key, Status, Tag, build};
use saker_api::event::{
    Argument, ArgumentValue, Arguments, Caller, Event, EventKind, ExecEvent, Family, HookEvent, HookInfo,
    Node, Process, ProcessView, Seldom, Timestamp,
};
use saker_api::passage::Passage;
use saker_api::tetragon::SyscallId;
use saker_api::tetragon::kprobe_argument::Arg;
use saker_engine::{Engine, EngineConfig};
use saker_export::{Batch, Batching, Encoder, Limits, Queue, StdoutSink, Worker, WorkerConfig};

use crate::fanout::Fanout;
use crate::pipeline::{EngineStart, EventCounts, Gauges, HoldBounds, Holding, Lookups, Request};
use crate::policies::Sources;
use crate::policies::testing::FakeKernel;
use crate::source::{ReadOutcome, RecordReader};
use crate::state::{Parts, SinkHandle, State};

/// An engine that begins with nothing, and finds out nothing.
pub(crate) fn engine_start() -> EngineStart {
    EngineStart {
        engine: Engine::new(EngineConfig::default()),
        snapshot: Vec::new(),
        recorder: None,
        requester: None,
        lookups: Lookups::new(Path::new("/nowhere"), 0),
        holding: Holding::new(None, HoldBounds { patience: Duration::ZERO, events: 1 }),
        counts: (EventCounts::default(), 100),
    }
}

/// An agent's insides.
pub(crate) struct World {
    pub(crate) state: Arc<State>,
    pub(crate) fanout: Arc<Fanout>,
    /// What policies are loaded into.
    pub(crate) kernel: FakeKernel,
    publisher: Mutex<crate::fanout::Publisher>,
    _requested: Mutex<Receiver<Request>>,
}

impl World {
    pub(crate) fn new() -> Self {
        Self::with(None)
    }

    /// Writing nothing.
    pub(crate) fn without_sinks() -> Self {
        Self::of(None, Vec::new())
    }

    /// With this recording.
    pub(crate) fn recording(recorded: Arc<crate::recording::Recorded>) -> Self {
        Self::with(Some(recorded))
    }

    /// With this encoder in its only sink, which gets what is published.
    pub(crate) fn with_sink(encoder: Encoder) -> Self {
        let sink = sink("file", encoder);
        let queue = Arc::clone(sink.worker.queue());
        let world = Self::of(None, vec![sink]);
        world.fanout.add(queue);
        world
    }

    fn with(recorded: Option<Arc<crate::recording::Recorded>>) -> Self {
        let newline = || -> Encoder { Box::new(|_, lines| lines.push(b'\n')) };
        Self::of(recorded, vec![sink("file", newline()), sink("stdout", newline())])
    }

    fn of(recorded: Option<Arc<crate::recording::Recorded>>, sinks: Vec<SinkHandle>) -> Self {
        let fanout = Arc::new(Fanout::default());
        let (requests, requested) = mpsc::channel();
        let kernel = FakeKernel::default();
        let state = State::new(Parts {
            node: "node".into(),
            gauges: Arc::new(Gauges::default()),
            input_capacity: 8,
            fanout: Arc::clone(&fanout),
            sinks,
            recorded,
            processes: 1000,
            client_queue: 100,
            series: 1000,
            policies: Arc::new(kernel.policies(Sources::default())),
            protection: Arc::default(),
            requester: None,
            pods: None,
            pod_table: None,
            workloads: None,
            hooks: None,
            requests,
            started: (SystemTime::now(), Instant::now()),
        });
        let publisher = Mutex::new(fanout.publisher());
        state.set_kernel(crate::state::KernelSample {
            stats: vec![saker_abi::Stats::default(); 2],
            ..Default::default()
        });
        Self { state: Arc::new(state), fanout, kernel, publisher, _requested: Mutex::new(requested) }
    }

    /// Loads a policy with one hook.
    pub(crate) fn load_policy(&self, name: &str) {
        let text = crate::policies::testing::policy(name, &["do_it"]);
        crate::policies::testing::done(self.state.policies.add(text, String::new(), None)).unwrap();
    }

    /// The same within a runtime.
    pub(crate) async fn load_policy_later(&self, name: &str) {
        let text = crate::policies::testing::policy(name, &["do_it"]);
        self.state.policies.add(text, String::new(), None).await.unwrap();
    }

    pub(crate) fn publish(&self, events: Vec<Arc<Event>>) {
        self.publisher.lock().unwrap().publish(&Arc::new(Batch::new(events)));
    }
}

fn sink(kind: &'static str, encoder: Encoder) -> SinkHandle {
    let queue = Arc::new(Queue::new(kind, Limits { events: 1000, bytes: 1 << 20 }));
    let config = WorkerConfig {
        encoder,
        passage: Passage::open(),
        batching: Batching::default(),
        on_closed: Box::new(|| ()),
    };
    let worker = Worker::spawn(queue, Box::new(StdoutSink::to(std::io::sink())), config).unwrap();
    let rotation = (kind == "file").then(|| Mutex::new(saker_export::Rotation::default()));
    SinkHandle {
        name: kind,
        kind,
        target: "/target".into(),
        worker,
        delivery: None,
        rotation,
        filters: None,
        export: None,
    }
}

/// An execution of this process.
pub(crate) fn exec(pid: u32) -> Arc<Event> {
    let process = Process {
        pid,
        binary: format!("/bin/p{pid}").into(),
        exec_id: "id".into(),
        flags: "execve".into(),
        ..Process::default()
    };
    let process = ProcessView { process: Arc::new(process), refcnt: 1 };
    Arc::new(Event {
        time: Timestamp(1_700_000_000_000_000_000),
        node: Arc::new(Node { name: "node".into(), ..Node::default() }),
        kind: EventKind::Exec(ExecEvent { process, parent: None, ancestors: Vec::new() }),
    })
}

/// An event of a policy.
pub(crate) fn hook(policy: &str, function: &str) -> Arc<Event> {
    let info = HookInfo { policy: policy.into(), ..HookInfo::default() };
    let hook = HookEvent {
        process: ProcessView { process: Arc::default(), refcnt: 1 },
        parent: None,
        caller: Caller::default(),
        hook: Arc::new(info),
        function: function.into(),
        args: Arguments::new(),
        more: Seldom::default(),
        result: None,
        action: 1,
        return_action: 0,
        selector: None,
        repeats: 0,
        cgroup_id: 0,
        entry_missing: false,
        socket_owner: false,
        workload_undecided: false,
    };
    Arc::new(Event {
        time: Timestamp(1_700_000_000_000_000_000),
        node: Arc::default(),
        kind: EventKind::Hook(hook),
    })
}

/// An event of a policy at `raw_syscalls`.
pub(crate) fn syscall(number: u32, abi: &str) -> Arc<Event> {
    let mut event = Arc::unwrap_or_clone(hook("calls", "sys_enter"));
    if let EventKind::Hook(hook) = &mut event.kind {
        let (subsystem, event) = ("raw_syscalls".to_owned(), "sys_enter".to_owned());
        hook.hook =
            Arc::new(HookInfo { family: Family::Tracepoint, subsystem, event, ..(*hook.hook).clone() });
        let id = Arg::SyscallId(SyscallId { id: number, abi: abi.into() });
        hook.args = vec![Argument { value: ArgumentValue::Other(Box::new(id)), label: None }].into();
    }
    Arc::new(event)
}

/// Records of a kernel that never was, each with the next number of CPU 0.
#[derive(Default)]
pub(crate) struct Records {
    seq: u64,
}

impl Records {
    pub(crate) fn skip(&mut self, count: u64) {
        self.seq += count;
    }

    pub(crate) fn exec(&mut self, pid: u32) -> Vec<u8> {
        self.seq += 1;
        let mut exec = Exec::default();
        exec.rec.process = Key::new(pid, 1000 + u64::from(pid));
        exec.rec.seq = self.seq;
        exec.rec.time = 1000 + self.seq;
        exec.id =
            Identity { parent: Key::new(1, 1), start_boottime: 900 + u64::from(pid), ..Identity::default() };
        let binary = format!("p{pid}\0bin\0");
        build::exec(exec)
            .value(Tag::FILENAME, Status::Ok, 0, format!("/bin/p{pid}").as_bytes())
            .value(Tag::EXE, Status::Ok, 0, binary.as_bytes())
            .finish()
    }

    /// A hook of policy 1.
    pub(crate) fn hook(&mut self, pid: u32) -> Vec<u8> {
        self.seq += 1;
        let family = saker_abi::generated::SAKER_FAMILY_LSM as u8;
        let mut hook = Hook { family, tid: pid, ..Hook::default() };
        hook.rec.policy = 1;
        hook.rec.process = Key::new(pid, 1000 + u64::from(pid));
        hook.rec.seq = self.seq;
        hook.rec.time = 1000 + self.seq;
        build::hook(hook).finish()
    }

    pub(crate) fn exit(&mut self, pid: u32) -> Vec<u8> {
        self.seq += 1;
        let mut exit = Exit::default();
        exit.rec.process = Key::new(pid, 1000 + u64::from(pid));
        exit.rec.seq = self.seq;
        exit.rec.time = 1000 + self.seq;
        build::exit(exit).finish()
    }
}

/// A stream of records that a test fills.
pub(crate) struct Stream(pub(crate) Receiver<Vec<u8>>);

impl RecordReader for Stream {
    fn read(
        &mut self,
        timeout: Duration,
        batch: &mut saker_probes::RecordBatch,
    ) -> anyhow::Result<ReadOutcome> {
        let mut records = 0;
        let first = self.0.recv_timeout(timeout.min(Duration::from_millis(20)));
        for record in first.into_iter().chain(self.0.try_iter()) {
            records += 1;
            batch.push(&record);
        }
        Ok(ReadOutcome { records, idle: true, ..ReadOutcome::default() })
    }
}

/// Waits for a condition.
pub(crate) fn wait(what: &str, condition: impl Fn() -> bool) {
    let end = Instant::now() + Duration::from_secs(20);
    while !condition() {
        assert!(Instant::now() < end, "waited in vain for {what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

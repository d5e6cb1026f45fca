use saker_api::event::EventKind;
use saker_engine::hook::HookText;
use saker_export::{Limits, Popped, Queue};

use super::*;
use crate::testing::{Records, Stream, wait};

struct World {
    pipeline: Pipeline,
    records: mpsc::Sender<Vec<u8>>,
    requested: Receiver<Request>,
    queue: Arc<Queue>,
}

fn start() -> World {
    let (records, stream) = mpsc::channel();
    let (requests, requested) = mpsc::channel();
    let (begin, beginning) = mpsc::channel();
    let fanout = Arc::new(Fanout::default());
    let queue = Arc::new(Queue::new("test", Limits { events: 100_000, bytes: usize::MAX }));
    fanout.add(Arc::clone(&queue));
    let pipeline = Pipeline::start(Box::new(Stream(stream)), beginning, &fanout, 4096, requests).unwrap();
    begin.send(crate::testing::engine_start()).unwrap();
    assert!(pipeline.wait_started(Duration::from_secs(10)));
    World { pipeline, records, requested, queue }
}

/// PIDs of executions and exits, and how many records gaps tell of.
fn drain(queue: &Queue) -> (usize, usize, u64) {
    let (mut execs, mut exits, mut lost) = (0, 0, 0);
    while let Popped::Taken(taken) = queue.try_pop() {
        for event in taken.events() {
            match &event.kind {
                EventKind::Exec(_) => execs += 1,
                EventKind::Exit(_) => exits += 1,
                EventKind::Gap(gap) => lost += gap.lost,
                _ => {}
            }
        }
    }
    (execs, exits, lost)
}

#[test]
fn everything_read_before_the_end_reaches_the_sinks() {
    let mut world = start();
    let mut records = Records::default();
    for pid in 2..5002 {
        world.records.send(records.exec(pid)).unwrap();
        world.records.send(records.exit(pid)).unwrap();
    }
    assert!(world.pipeline.finish(Instant::now() + Duration::from_secs(30)));
    assert_eq!(drain(&world.queue), (5000, 5000, 0));
    let counters = world.pipeline.gauges.counters();
    assert_eq!(counters.imbalance(), None);
    assert_eq!(counters.events.exec, 5000);
    assert_eq!(world.pipeline.gauges.queued().0, 0);
    assert!(!world.pipeline.is_alive());
}

#[test]
fn events_of_policies_are_counted_by_policy_and_hook() {
    let mut world = start();
    let hook = HookText { function: "file_open".into(), ..HookText::default() };
    let policy = PolicyText { id: 1, name: "files".into(), hooks: vec![hook], ..PolicyText::default() };
    assert!(world.pipeline.policies().upgrade().unwrap().policy_loaded(policy));
    let mut records = Records::default();
    for _ in 0..7 {
        world.records.send(records.hook(2)).unwrap();
    }
    assert!(world.pipeline.finish(Instant::now() + Duration::from_secs(30)));
    world.pipeline.gauges.with_event_totals(|totals| {
        let counted: Vec<_> =
            totals.policies.iter().map(|(key, _, count)| (&*key.policy, &*key.hook, count)).collect();
        assert_eq!(counted, [("files", "file_open", 7)]);
    });
    let counters = world.pipeline.gauges.counters();
    assert_eq!((counters.imbalance(), counters.events.hooks.iter().sum::<u64>()), (None, 7));
}

#[test]
fn missing_records_are_asked_about_once_and_told() {
    let mut world = start();
    let mut records = Records::default();
    world.records.send(records.exec(2)).unwrap();
    records.skip(5);
    world.records.send(records.exec(3)).unwrap();
    let mut wishes = Vec::new();
    while let Ok(request) = world.requested.recv_timeout(Duration::from_millis(500)) {
        wishes.push(format!("{request:?}"));
    }
    wishes.sort();
    assert_eq!(wishes, ["Resync", "Sample"]);
    let stats = Stats { seq: 7, ..Stats::default() };
    world.pipeline.sample(vec![stats]);
    wait("the sample", || world.pipeline.gauges.counters().events.gap == 1);
    assert!(world.pipeline.finish(Instant::now() + Duration::from_secs(30)));
    assert_eq!(drain(&world.queue).2, 5);
}

#[test]
fn broken_stream_is_told() {
    struct Broken;
    impl RecordReader for Broken {
        fn read(
            &mut self,
            _: Duration,
            _: &mut saker_probes::RecordBatch,
        ) -> anyhow::Result<crate::source::ReadOutcome> {
            anyhow::bail!("the ring is gone")
        }
    }
    let (requests, requested) = mpsc::channel();
    let (_begin, beginning) = mpsc::channel();
    let fanout = Arc::new(Fanout::default());
    let _pipeline = Pipeline::start(Box::new(Broken), beginning, &fanout, 10, requests).unwrap();
    let told = requested.recv_timeout(Duration::from_secs(10)).unwrap();
    assert!(matches!(told, Request::Failed(what) if what == "the ring is gone"));
}

#[test]
fn bytes_that_are_no_records_harm_nobody() {
    let mut world = start();
    let mut records = Records::default();
    for bytes in [vec![], vec![0; 3], vec![255; 300]] {
        world.records.send(bytes).unwrap();
    }
    world.records.send(records.exec(2)).unwrap();
    assert!(world.pipeline.finish(Instant::now() + Duration::from_secs(30)));
    assert_eq!(world.pipeline.gauges.counters().undecodable_total(), 3);
    assert_eq!(drain(&world.queue).0, 1);
}

#[test]
fn the_engine_is_told_of_policies_until_the_pipeline_ends() {
    let mut world = start();
    let policies = world.pipeline.policies();
    let policy = PolicyText { id: 7, name: "a".into(), ..PolicyText::default() };
    assert!(policies.upgrade().is_some_and(|input| input.policy_loaded(policy)));
    // Whoever still has it does not keep the pipeline.
    assert!(world.pipeline.finish(Instant::now() + Duration::from_secs(30)));
    assert!(policies.upgrade().is_none());
}

use std::sync::atomic::AtomicUsize;

use saker_api::event::{Event, EventKind, ExecEvent, GapEvent, Node, Process, ProcessView, Timestamp};
use saker_api::filter::{Filters, Offered, Subscription};
use saker_api::passage::Audience;
use saker_api::tetragon;

use super::*;
use crate::{Batch, Batching, Limits};

/// A sink whose state the test holds too.
#[derive(Clone, Default)]
struct Probe(Arc<Inner>);

#[derive(Default)]
struct Inner {
    text: Mutex<Vec<u8>>,
    refuse: AtomicBool,
    gone: AtomicBool,
    orders: AtomicUsize,
    closed: AtomicBool,
}

impl Sink for Probe {
    fn write(&mut self, lines: &mut Vec<u8>) -> Result<(), WriteError> {
        if self.0.gone.load(Ordering::Relaxed) {
            return Err(WriteError::Closed);
        }
        if self.0.refuse.load(Ordering::Relaxed) {
            let source = io::ErrorKind::StorageFull.into();
            return Err(WriteError::Retry { what: "writing".into(), source });
        }
        self.0.text.lock().unwrap().append(lines);
        Ok(())
    }

    fn control(&mut self, _: Control) {
        self.0.orders.fetch_add(1, Ordering::Relaxed);
    }

    fn close(&mut self) {
        self.0.closed.store(true, Ordering::Relaxed);
    }
}

impl Probe {
    fn text(&self) -> String {
        String::from_utf8(self.0.text.lock().unwrap().clone()).unwrap()
    }
}

fn exec(pid: u32) -> Arc<Event> {
    let process = ProcessView { process: Arc::new(Process { pid, ..Process::default() }), refcnt: 1 };
    Arc::new(Event {
        time: Timestamp::default(),
        node: Arc::new(Node::default()),
        kind: EventKind::Exec(ExecEvent { process, parent: None, ancestors: Vec::new() }),
    })
}

fn gap(lost: u64) -> Arc<Event> {
    let kind = EventKind::Gap(GapEvent { lost, stage: "kernel", ..GapEvent::default() });
    Arc::new(Event { time: Timestamp::default(), node: Arc::new(Node::default()), kind })
}

fn encode(told: &Told<'_>, lines: &mut Vec<u8>) {
    if let Told::Limited { held, .. } = told {
        lines.extend(format!("held {held}\n").into_bytes());
        return;
    }
    let text = match &told.newest().kind {
        EventKind::Exec(exec) => format!("{}\n", exec.process.process.pid),
        EventKind::Gap(gap) => format!("gap {} {}\n", gap.stage, gap.lost),
        _ => unreachable!(),
    };
    lines.extend(text.as_bytes());
}

fn plain() -> WorkerConfig {
    WorkerConfig {
        encoder: Box::new(encode),
        passage: Passage::open(),
        batching: Batching::default(),
        on_closed: Box::new(|| ()),
    }
}

fn wanting(subscription: Subscription) -> WorkerConfig {
    WorkerConfig { passage: Passage::new(Arc::new(subscription), Audience::Export), ..plain() }
}

fn start(probe: &Probe, events: usize, config: WorkerConfig) -> Worker {
    let queue = Arc::new(Queue::new("file", Limits { events, bytes: usize::MAX }));
    Worker::spawn(queue, Box::new(probe.clone()), config).unwrap()
}

fn offer(worker: &Worker, events: Vec<Arc<Event>>) {
    worker.queue().offer(&Arc::new(Batch::new(events)));
}

fn soon() -> Instant {
    Instant::now() + Duration::from_secs(20)
}

fn wait(what: &str, condition: impl Fn() -> bool) {
    let end = soon();
    while !condition() {
        assert!(Instant::now() < end, "waited in vain for {what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

#[test]
fn writes_in_order_without_delay_and_ends_clean() {
    let probe = Probe::default();
    let worker = start(&probe, 1000, plain());
    let begin = Instant::now();
    offer(&worker, vec![exec(1), exec(2)]);
    wait("two lines", || probe.text() == "1\n2\n");
    assert!(begin.elapsed() < Duration::from_secs(10));
    offer(&worker, (3..500).map(exec).collect());
    assert!(worker.finish(soon()));
    assert_eq!(probe.text().lines().count(), 499);
    assert_eq!(worker.stats().written, 499);
    assert!(probe.0.closed.load(Ordering::Relaxed));
}

#[test]
fn filter_spares_gaps() {
    let probe = Probe::default();
    let two = tetragon::Filter { pid: vec![2], ..Default::default() };
    let filters = Filters::compile(&[two], &[], &Offered::everything()).unwrap();
    let worker = start(&probe, 1000, wanting(Subscription { filters, ..Subscription::default() }));
    offer(&worker, vec![exec(1), exec(2), gap(7), exec(3)]);
    assert!(worker.finish(soon()));
    assert_eq!(probe.text(), "2\ngap kernel 7\n");
    assert_eq!(worker.stats().filtered, 2);
}

#[test]
fn rate_limit_is_told_at_the_latest_at_the_end() {
    let probe = Probe::default();
    let worker = start(&probe, 1000, wanting(Subscription { rate: Some(2), ..Subscription::default() }));
    offer(&worker, (1..6).map(exec).collect());
    assert!(worker.finish(soon()));
    assert_eq!(probe.text(), "1\n2\nheld 3\n");
    assert_eq!((worker.stats().written, worker.stats().limited), (2, 3));
}

#[test]
fn refusing_sink_is_retried_and_the_queue_counts() {
    let probe = Probe::default();
    let worker = start(&probe, 4, plain());
    probe.0.refuse.store(true, Ordering::Relaxed);
    offer(&worker, vec![exec(1)]);
    wait("a failure", || worker.stats().failing);
    offer(&worker, (2..12).map(exec).collect());
    probe.0.refuse.store(false, Ordering::Relaxed);
    wait("the gap", || probe.text() == "1\n2\n3\n4\ngap file 7\n");
    assert!(worker.finish(soon()));
    let (queue, stats) = (worker.queue().stats(), worker.stats());
    assert_eq!((queue.offered, queue.dropped, stats.written, stats.failing), (11, 7, 5, false));
}

#[test]
fn deadline_ends_a_refusing_sink_and_counts_what_is_lost() {
    let probe = Probe::default();
    let worker = start(&probe, 100, plain());
    probe.0.refuse.store(true, Ordering::Relaxed);
    offer(&worker, vec![exec(1)]);
    wait("a failure", || worker.stats().failing);
    offer(&worker, vec![exec(2), exec(3)]);
    assert!(!worker.finish(Instant::now() + Duration::from_millis(50)));
    wait("the end", || probe.0.closed.load(Ordering::Relaxed));
    assert_eq!((worker.stats().given_up, worker.queue().stats().dropped), (1, 2));
}

#[test]
fn end_of_reader_is_told_once_and_nothing_piles_up() {
    let probe = Probe::default();
    let told = Arc::new(AtomicUsize::new(0));
    let teller = Arc::clone(&told);
    let on_closed = Box::new(move || {
        teller.fetch_add(1, Ordering::Relaxed);
    });
    let worker = start(&probe, 100, WorkerConfig { on_closed, ..plain() });
    probe.0.gone.store(true, Ordering::Relaxed);
    offer(&worker, vec![exec(1), exec(2)]);
    wait("the end", || told.load(Ordering::Relaxed) == 1);
    wait("closing", || probe.0.closed.load(Ordering::Relaxed));
    offer(&worker, vec![exec(3)]);
    assert_eq!(worker.queue().stats().queued, 0);
    assert_eq!(worker.stats().given_up + worker.queue().stats().dropped, 3);
}

#[test]
fn orders_reach_the_sink() {
    let probe = Probe::default();
    let worker = start(&probe, 100, plain());
    worker.control(Control::Reopen);
    wait("an order", || probe.0.orders.load(Ordering::Relaxed) == 1);
    worker.finish(soon());
}

#[test]
fn a_thread_that_panicked_is_dead_and_one_that_ended_is_not() {
    let start = |encoder: Encoder| {
        let queue = Arc::new(Queue::new("file", Limits { events: 10, bytes: usize::MAX }));
        let config = WorkerConfig { encoder, ..plain() };
        (Arc::clone(&queue), Worker::spawn(queue, Box::new(Probe::default()), config).unwrap())
    };
    let (queue, worker) = start(Box::new(|_, _| panic!("on purpose")));
    assert!(!worker.is_dead());
    queue.offer(&Arc::new(Batch::new(vec![exec(1)])));
    let end = Instant::now() + Duration::from_secs(20);
    while !worker.is_dead() {
        assert!(Instant::now() < end, "the end of the thread is not seen");
        std::thread::sleep(Duration::from_millis(1));
    }
    let (queue, worker) = start(Box::new(|_, lines| lines.push(b'\n')));
    queue.close();
    while !worker.thread.lock().unwrap().as_ref().unwrap().is_finished() {
        std::thread::sleep(Duration::from_millis(1));
    }
    assert!(!worker.is_dead());
}

#[test]
fn events_are_gathered_until_there_are_enough_or_they_are_old() {
    let batching =
        |events, linger| WorkerConfig { batching: Batching { events, bytes: 1 << 20, linger }, ..plain() };
    let probe = Probe::default();
    let worker = start(&probe, 100, batching(3, Duration::from_secs(3600)));
    offer(&worker, vec![exec(1), exec(2)]);
    std::thread::sleep(Duration::from_millis(100));
    assert_eq!(probe.text(), "");
    offer(&worker, vec![exec(3), exec(4)]);
    wait("a full batch", || probe.text() == "1\n2\n3\n");
    // At the end nothing waits for more.
    assert!(worker.finish(soon()));
    assert_eq!(probe.text(), "1\n2\n3\n4\n");
    let probe = Probe::default();
    let worker = start(&probe, 100, batching(100, Duration::from_millis(20)));
    offer(&worker, vec![exec(1)]);
    wait("an old batch", || probe.text() == "1\n");
    worker.finish(soon());
}

/// A sink that takes everything and loses every other event.
#[derive(Default)]
struct Lossy(Losses);

impl Sink for Lossy {
    fn write(&mut self, lines: &mut Vec<u8>) -> Result<(), WriteError> {
        self.0.add(crate::Loss::Refused, self.count(lines) / 2);
        lines.clear();
        Ok(())
    }

    fn losses(&self) -> Losses {
        self.0
    }
}

#[test]
fn what_a_sink_loses_is_not_written() {
    let queue = Arc::new(Queue::new("file", Limits { events: 100, bytes: usize::MAX }));
    let worker = Worker::spawn(queue, Box::<Lossy>::default(), plain()).unwrap();
    offer(&worker, (0..10).map(exec).collect());
    assert!(worker.finish(soon()));
    let stats = worker.stats();
    assert_eq!((stats.written, stats.losses.of(crate::Loss::Refused)), (5, 5));
}

#[test]
fn many_that_hang_give_up_together() {
    let workers: Vec<_> = (0..20)
        .map(|_| {
            let probe = Probe::default();
            probe.0.refuse.store(true, Ordering::Relaxed);
            let worker = start(&probe, 100, plain());
            offer(&worker, vec![exec(1)]);
            worker
        })
        .collect();
    workers.iter().for_each(Worker::give_up);
    for worker in &workers {
        worker.finish(soon());
        assert!(worker.is_finished());
        assert_eq!(worker.stats().given_up + worker.queue().stats().dropped, 1);
    }
}

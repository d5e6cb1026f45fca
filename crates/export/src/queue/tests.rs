use proptest::prelude::*;
use saker_api::event::{Node, Timestamp};

use super::*;

fn event(number: u64) -> Arc<Event> {
    Arc::new(Event {
        time: Timestamp(number),
        node: Arc::new(Node::default()),
        kind: EventKind::Gap(GapEvent { lost: 0, stage: "test", first_seq: number, ..GapEvent::default() }),
    })
}

fn batch(numbers: Range<u64>) -> Arc<Batch> {
    Arc::new(Batch::new(numbers.map(event).collect()))
}

fn roomy(events: usize) -> Limits {
    Limits { events, bytes: usize::MAX }
}

/// Everything that can be taken now: numbers of events, and `-n` for a gap of n.
fn drain(queue: &Queue) -> Vec<i64> {
    let mut seen = Vec::new();
    while let Popped::Taken(taken) = queue.try_pop() {
        for event in taken.events() {
            let EventKind::Gap(gap) = &event.kind else { unreachable!() };
            seen.push(if gap.stage == "test" { gap.first_seq as i64 } else { -(gap.lost as i64) });
        }
    }
    seen
}

#[test]
fn full_queue_keeps_oldest_and_tells_how_many_are_missing() {
    let queue = Queue::new("file", roomy(3));
    assert_eq!(queue.offer(&batch(0..5)), 2);
    assert_eq!(queue.offer(&batch(5..6)), 1);
    assert_eq!(drain(&queue), [0, 1, 2, -3]);
    assert_eq!(queue.offer(&batch(6..7)), 0);
    assert_eq!(drain(&queue), [6]);
    let stats = queue.stats();
    assert_eq!((stats.offered, stats.dropped, stats.taken, stats.gaps), (7, 3, 4, 1));
}

#[test]
fn after_a_drop_nothing_passes_until_half_is_free() {
    let queue = Queue::new("file", roomy(4));
    for number in 0..5 {
        queue.offer(&batch(number..number + 1));
    }
    assert!(matches!(queue.try_pop(), Popped::Taken(_)));
    // One is in the hands of the sink, three wait: still four.
    assert_eq!(queue.offer(&batch(5..6)), 1);
    for _ in 0..2 {
        assert!(matches!(queue.try_pop(), Popped::Taken(_)));
    }
    assert_eq!(queue.offer(&batch(6..7)), 0);
    assert_eq!(drain(&queue), [3, -2, 6]);
}

#[test]
fn bytes_bound_the_queue_and_one_oversized_event_passes() {
    let one = batch(0..1).bytes_of(1);
    let queue = Queue::new("file", Limits { events: 100, bytes: 2 * one });
    assert_eq!(queue.offer(&batch(0..5)), 3);
    assert_eq!(drain(&queue), [0, 1, -3]);
    let narrow = Queue::new("file", Limits { events: 100, bytes: 1 });
    assert_eq!(narrow.offer(&batch(0..2)), 1);
    assert_eq!(drain(&narrow), [0, -1]);
}

#[test]
fn closed_queue_gives_what_it_has_then_ends() {
    let queue = Queue::new("file", roomy(3));
    queue.offer(&batch(0..2));
    queue.close();
    assert_eq!(queue.offer(&batch(2..3)), 1);
    assert_eq!(drain(&queue), [0, 1]);
    assert!(matches!(queue.pop(Duration::from_secs(10)), Popped::Closed));
    assert_eq!(queue.stats().dropped, 1);
}

#[test]
fn waiting_sink_is_woken() {
    let queue = Arc::new(Queue::new("file", roomy(3)));
    let waiter = {
        let queue = Arc::clone(&queue);
        std::thread::spawn(move || matches!(queue.pop(Duration::from_secs(30)), Popped::Taken(_)))
    };
    std::thread::sleep(Duration::from_millis(20));
    let start = Instant::now();
    queue.offer(&batch(0..1));
    assert!(waiter.join().unwrap());
    assert!(start.elapsed() < Duration::from_secs(10));
}

proptest! {
    /// In = out + dropped, in order, with gaps exactly where events are missing.
    #[test]
    fn sums_balance(
        events in 1_usize..20,
        steps in prop::collection::vec((0_u64..8, 0_usize..4), 1..60),
    ) {
        let queue = Queue::new("file", roomy(events));
        let mut next = 0;
        let mut expected = 0;
        let mut check = |taken: Taken| {
            for event in taken.events() {
                let EventKind::Gap(gap) = &event.kind else { unreachable!() };
                if gap.stage == "test" {
                    assert_eq!(gap.first_seq, expected);
                    expected += 1;
                } else {
                    expected += gap.lost;
                }
            }
        };
        for (offer, pops) in steps {
            queue.offer(&batch(next..next + offer));
            next += offer;
            let stats = queue.stats();
            prop_assert!(stats.queued <= events as u64);
            prop_assert_eq!(stats.offered, stats.taken + stats.queued + stats.dropped);
            for _ in 0..pops {
                if let Popped::Taken(taken) = queue.try_pop() {
                    check(taken);
                }
            }
        }
        while let Popped::Taken(taken) = queue.try_pop() {
            check(taken);
        }
        prop_assert_eq!(expected, next);
        let stats = queue.stats();
        prop_assert_eq!(stats.offered, stats.taken + stats.dropped);
        prop_assert_eq!(stats.queued, 0);
    }
}

#[test]
fn what_becomes_of_taken_events_is_counted_without_own_gaps() {
    let queue = Queue::new("grpc", roomy(2));
    queue.offer(&batch(0..5));
    let mut first = true;
    while let Popped::Taken(taken) = queue.try_pop() {
        for event in taken.events() {
            if std::mem::take(&mut first) { queue.note_filtered(event) } else { queue.note_passed(event, 10) }
        }
    }
    let stats = queue.stats();
    assert_eq!((stats.filtered, stats.passed, stats.bytes_passed), (1, 1, 20));
    assert_eq!(stats.offered, stats.filtered + stats.passed + stats.dropped);
}

use std::sync::Mutex;

use saker_api::event::{ExitEvent, Process, ProcessView};

use super::*;
use crate::testing;

const NONE: HoldBounds = HoldBounds { patience: Duration::ZERO, events: 100 };
const BOUNDS: HoldBounds = HoldBounds { patience: Duration::from_secs(2), events: 6 };
const POLICY: u32 = 7;

/// What is known of control groups.
#[derive(Clone, Default)]
struct Known(Arc<Mutex<BTreeMap<u64, bool>>>);

impl Containers for Known {
    fn fulfils(&self, group: u64, _: &WorkloadTest) -> Option<bool> {
        self.0.lock().unwrap().get(&group).copied()
    }
}

/// Who has told what: the process, the number of the event and, of a call, whether it has the mark.
type Told = Vec<(u32, u64, Option<bool>)>;

struct World {
    known: Known,
    holding: Holding,
    now: Instant,
    number: u64,
}

impl World {
    fn new(bounds: HoldBounds) -> Self {
        let known = Known::default();
        let mut holding = Holding::new(Some(Box::new(known.clone())), bounds);
        let test = WorkloadTest { namespace: None, pods: None, containers: None, host: false };
        holding.policy(&PolicyText { id: POLICY, workload: Some(test), ..PolicyText::default() });
        Self { known, holding, now: Instant::now(), number: 0 }
    }

    fn view(pid: u32) -> ProcessView {
        ProcessView { process: Arc::new(Process { pid, ..Process::default() }), refcnt: 1 }
    }

    fn numbered(&mut self, mut event: Arc<Event>) -> Arc<Event> {
        self.number += 1;
        Arc::get_mut(&mut event).unwrap().time.0 = self.number;
        event
    }

    /// A call of a process in the control group of the same number.
    fn call(&mut self, pid: u32, undecided: bool) -> Arc<Event> {
        let mut event = testing::hook("p", "f");
        let EventKind::Hook(hook) = &mut Arc::get_mut(&mut event).unwrap().kind else { unreachable!() };
        hook.process = Self::view(pid);
        Arc::get_mut(&mut hook.hook).unwrap().policy_number = POLICY;
        (hook.cgroup_id, hook.workload_undecided) = (pid.into(), undecided);
        self.numbered(event)
    }

    fn exit(&mut self, pid: u32) -> Arc<Event> {
        let mut event = testing::exec(pid);
        Arc::get_mut(&mut event).unwrap().kind = EventKind::Exit(ExitEvent {
            process: Self::view(pid),
            parent: None,
            ancestors: Box::default(),
            signal: 0,
            core_dumped: false,
            status: 0,
            tid: pid,
            creds: None,
            reparented_to: None,
            reconstructed: false,
        });
        self.numbered(event)
    }

    fn pass(&mut self, milliseconds: u64, events: Vec<Arc<Event>>) -> Told {
        self.now += Duration::from_millis(milliseconds);
        let mut events = events;
        self.holding.pass(&mut events, self.now);
        told(&events)
    }

    fn decide(&self, group: u64, meant: bool) {
        self.known.0.lock().unwrap().insert(group, meant);
    }

    fn counts(&self) -> (u64, u64, u64, u64) {
        let HeldCounts { meant, dropped, late, no_room, .. } = self.holding.counts();
        (meant, dropped, late, no_room)
    }
}

fn told(events: &[Arc<Event>]) -> Told {
    let mark = |event: &Event| match &event.kind {
        EventKind::Hook(hook) => Some(hook.workload_undecided),
        _ => None,
    };
    events.iter().map(|event| (process(event).unwrap_or_default(), event.time.0, mark(event))).collect()
}

#[test]
fn who_is_meant_is_told_without_the_mark_and_who_is_not_is_dropped() {
    let mut world = World::new(BOUNDS);
    let events = vec![world.call(1, true), world.call(2, true), world.call(3, false), world.exit(4)];
    assert_eq!(world.pass(0, events), [(3, 3, Some(false)), (4, 4, None)]);
    let events = vec![world.exit(1), world.exit(2)];
    assert_eq!(world.pass(50, events), [], "ends do not overtake");
    world.decide(1, true);
    assert_eq!(world.pass(50, Vec::new()), [(1, 1, Some(false)), (1, 5, None)]);
    world.decide(2, false);
    assert_eq!(world.pass(50, Vec::new()), [(2, 6, None)]);
    assert_eq!((world.counts(), world.holding.is_empty()), ((1, 1, 0, 0), true));
    // What is known by then does not wait.
    let events = vec![world.call(2, true), world.call(1, true)];
    assert_eq!(world.pass(0, events), [(1, 8, Some(false))]);
    assert_eq!(world.counts(), (2, 2, 0, 0));
}

#[test]
fn what_stays_open_is_told_with_the_mark_after_the_time() {
    let mut world = World::new(BOUNDS);
    let events = vec![world.call(1, true)];
    assert_eq!(world.pass(0, events), []);
    let events = vec![world.call(1, true), world.call(1, false)];
    assert_eq!(world.pass(1500, events), []);
    assert_eq!(world.pass(499, Vec::new()), []);
    // The second has waited for a shorter time, and what is behind it stays there.
    assert_eq!(world.pass(LOOK.as_millis() as u64, Vec::new()), [(1, 1, Some(true))]);
    let mut rest = vec![world.exit(1)];
    world.holding.finish(&mut rest);
    assert_eq!(told(&rest), [(1, 2, Some(true)), (1, 3, Some(false)), (1, 4, None)]);
    assert_eq!((world.counts(), world.holding.is_empty()), ((0, 0, 2, 0), true));
}

#[test]
fn what_finds_no_room_is_told_at_once_and_in_order() {
    let mut world = World::new(BOUNDS);
    let mut events: Vec<_> = (1..=3).map(|pid| world.call(pid, true)).collect();
    events.extend((1..=3).map(|pid| world.call(pid, true)));
    assert_eq!(world.pass(0, events), []);
    let events = vec![world.call(4, true), world.call(2, true), world.exit(2)];
    let wanted =
        [(4, 7, Some(true)), (2, 2, Some(true)), (2, 5, Some(true)), (2, 8, Some(true)), (2, 9, None)];
    assert_eq!(world.pass(0, events), wanted);
    assert_eq!(world.counts(), (0, 0, 0, 4));
    assert_eq!(world.holding.held, 4);
}

#[test]
fn nothing_waits_that_nobody_will_know() {
    let told_at_once = |mut world: World| {
        let events = vec![world.call(1, true)];
        assert_eq!(world.pass(0, events), [(1, 1, Some(true))]);
        assert_eq!(world.counts(), (0, 0, 0, 0));
    };
    told_at_once(World::new(NONE));
    let mut removed = World::new(BOUNDS);
    removed.holding.removed(POLICY);
    told_at_once(removed);
    told_at_once(World { holding: Holding::new(None, BOUNDS), ..World::new(BOUNDS) });
    // The group is that of the process that ran, not that of the owner.
    let mut world = World::new(BOUNDS);
    let mut event = world.call(1, true);
    let EventKind::Hook(hook) = &mut Arc::get_mut(&mut event).unwrap().kind else { unreachable!() };
    hook.socket_owner = true;
    assert_eq!(world.pass(0, vec![event]), [(1, 1, Some(true))]);
}

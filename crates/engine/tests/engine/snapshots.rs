//! Snapshots: at the start without a race to live records, and after a loss without telling anything twice.

use saker_abi::{Body, Key, ProcessFlags, build, decode};
use saker_engine::workload::{LS, Subject};
use saker_engine::{SnapshotKind, SnapshotTask};

use crate::host::{Host, as_exec, as_exit, program};

fn live(host: &mut Host, subject: &Subject) -> SnapshotTask {
    host.world.identity.flags = ProcessFlags::LIVE.0;
    let task = host.world.task(subject, &LS);
    host.world.identity.flags = 0;
    task
}

fn resync(host: &mut Host, subjects: &[&Subject]) {
    let tasks = subjects.iter().map(|subject| host.world.task(subject, &LS)).collect();
    host.engine.snapshot(tasks, SnapshotKind::Resync, &mut host.events);
}

#[test]
fn processes_are_told_after_their_parents() {
    let mut host = Host::new();
    let init = host.world.existing(1, Key::default());
    let shell = host.world.existing(900, init.key);
    let child = host.world.existing(30, shell.key);
    let tasks = [&child, &shell, &init].map(|subject| host.world.task(subject, &LS)).to_vec();
    host.engine.snapshot(tasks, SnapshotKind::Start, &mut host.events);
    assert_eq!(host.take_short(), ["exec 1 /usr/bin/ls", "exec 900 /usr/bin/ls", "exec 30 /usr/bin/ls"]);
    assert_eq!(host.engine.counters().imbalance(), None);
}

#[test]
fn a_circle_of_parents_does_no_harm() {
    let mut host = Host::new();
    let one = host.world.existing(10, Key::new(11, 11_000_000));
    let other = host.world.existing(11, Key::new(10, 10_000_000));
    let own = host.world.existing(12, Key::new(12, 12_000_000));
    let tasks = [&one, &other, &own].map(|subject| host.world.task(subject, &LS)).to_vec();
    host.engine.snapshot(tasks, SnapshotKind::Start, &mut host.events);
    host.events.clear();
    for subject in [&one, &other, &own] {
        host.exit(subject, 0);
    }
    assert_eq!(host.engine.counters().table.entries, 0);
}

#[test]
fn kernel_threads_go_by_their_name() {
    let mut host = Host::new();
    let thread = host.world.existing(2, Key::default());
    host.world.identity.flags = ProcessFlags::KERNEL_THREAD.0;
    let task = host.world.task(&thread, &LS);
    let Body::Task(fixed) = decode(&task.record).unwrap().body else { panic!("no task") };
    let task = SnapshotTask { record: build::task(*fixed).finish(), ..SnapshotTask::default() };
    host.engine.snapshot(vec![task], SnapshotKind::Start, &mut host.events);
    let exec = as_exec(&host.take_one());
    assert_eq!((&*exec.process.process.binary, exec.parent.unwrap().process.pid), ("worker", 0));
}

#[test]
fn what_a_live_record_will_tell_is_not_told_by_the_snapshot() {
    // Each of these was seen by the scan after the sensors had seen it, so its records are still to come.
    let (mut host, init) = Host::booted();
    let (forked, fork_record) = host.world.fork(&init);
    let (mut executed, fork) = host.world.fork(&init);
    let exec = host.world.exec(&mut executed, &LS);
    let tasks = vec![live(&mut host, &forked), live(&mut host, &executed)];
    host.engine.snapshot(tasks, SnapshotKind::Start, &mut host.events);
    assert!(host.events.is_empty());
    for record in [fork_record, fork, exec] {
        host.give(&record);
    }
    assert_eq!(host.take_short(), [format!("exec {} /usr/bin/ls", executed.key.pid)]);
    let exit = host.exit(&forked, 0);
    assert_eq!(&*exit.process.process.flags, "clone", "the fork record has the last word");
    host.exit(&executed, 0);
    let counters = host.engine.counters();
    assert_eq!((counters.table.entries, counters.events.exit_reconstructed), (1, 0));
    assert_eq!(counters.imbalance(), None);
}

#[test]
fn a_lost_exec_is_found_again() {
    let (mut host, init) = Host::booted();
    let mut child = host.fork(&init);
    host.exec(&mut child, &program("/bin/sh", &["sh"]));
    let _lost = host.world.exec(&mut child, &LS);
    host.fork(&init);
    host.fork(&init);
    assert!(host.engine.wants_resync());
    host.world.clock += 1;
    resync(&mut host, &[&init, &child]);
    assert!(!host.engine.wants_resync());
    assert!(host.events.is_empty(), "records of the same time may still be in the ring");
    host.sample();
    assert_eq!(host.take_short()[1..], [format!("found {} /usr/bin/ls", child.key.pid)]);
    let exit = host.exit(&child, 0);
    assert_eq!(&*exit.process.process.binary, "/usr/bin/ls");
}

#[test]
fn a_lost_exit_is_told_as_unseen() {
    let (mut host, init) = Host::booted();
    let mut child = host.fork(&init);
    host.exec(&mut child, &LS);
    let _lost = host.world.exit(&child, 0);
    host.world.clock += 1_000_000_000;
    resync(&mut host, &[&init]);
    host.sample();
    host.events.retain(|event| matches!(event.kind, saker_api::event::EventKind::Exit(_)));
    let exit = as_exit(&host.take_one());
    assert!(exit.reconstructed);
    assert_eq!(exit.process.process.pid, child.key.pid);
    assert_eq!(host.engine.counters().table.entries, 1);
}

#[test]
fn a_young_process_is_not_ended_by_a_scan_that_could_not_see_it() {
    let (mut host, init) = Host::booted();
    let child = host.fork(&init);
    host.world.clock += 1_000;
    resync(&mut host, &[&init]);
    host.sample();
    assert!(host.events.is_empty());
    assert!(host.engine.wants_resync(), "the next scan will tell");
    host.exit(&child, 0);
}

#[test]
fn records_up_to_the_scan_have_the_last_word() {
    let (mut host, init) = Host::booted();
    let mut ends = host.fork(&init);
    host.exec(&mut ends, &LS);
    let (mut begins, fork) = host.world.fork(&init);
    let exec = host.world.exec(&mut begins, &LS);
    resync(&mut host, &[&init, &ends, &begins]);
    let exit = host.world.exit(&ends, 0);
    for record in [fork, exec, exit] {
        host.give(&record);
    }
    let before = host.take_short();
    assert_eq!(
        before,
        [format!("exec {} /usr/bin/ls", begins.key.pid), format!("exit {} /usr/bin/ls", ends.key.pid)]
    );
    host.world.clock += 1_000_000_000;
    host.fork(&init);
    assert!(host.events.is_empty(), "{:?}", host.take_short());
    let counters = host.engine.counters();
    assert_eq!((counters.snapshots, counters.events.exec_reconstructed), (2, 0));
    assert_eq!(counters.imbalance(), None);
}

#[test]
fn an_empty_scan_is_not_believed() {
    let (mut host, init) = Host::booted();
    let child = host.fork(&init);
    host.engine.lost("reader", 1, &mut host.events);
    host.events.clear();
    host.engine.snapshot(Vec::new(), SnapshotKind::Resync, &mut host.events);
    host.sample();
    assert!(host.events.is_empty() && host.engine.wants_resync());
    assert_eq!(host.engine.counters().snapshots_refused, 1);
    host.exit(&child, 0);
}

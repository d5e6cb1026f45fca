//! Losses: they are told, with their causes, and never guessed at.

use saker_engine::workload::LS;

use crate::host::{Host, as_gap};

#[test]
fn a_hole_is_told_with_its_cause_by_the_next_sample() {
    let (mut host, init) = Host::booted();
    let (_, lost) = host.world.fork(&init);
    host.world.lose(&lost);
    let child = host.fork(&init);
    assert!(!host.engine.wants_resync(), "another CPU");
    host.fork(&child);
    assert!(host.engine.wants_resync() && host.engine.wants_sample());
    host.sample();
    let gap = as_gap(&host.take_one());
    assert_eq!((gap.lost, gap.cpu, gap.first_seq, gap.last_seq), (1, Some(1), 1, 1));
    assert_eq!(gap.causes, [("ring_full", 1)]);
    assert!(!host.engine.wants_sample());
    host.sample();
    assert!(host.events.is_empty(), "told once");
}

#[test]
fn what_is_lost_last_shows_in_the_kernels_counters() {
    let (mut host, init) = Host::booted();
    let mut child = host.fork(&init);
    let lost = host.world.exec(&mut child, &LS);
    host.world.lose(&lost);
    host.sample();
    let gap = as_gap(&host.take_one());
    assert_eq!((gap.lost, gap.first_seq, gap.stage), (1, 1, "kernel"));
    assert!(host.engine.wants_resync());
    assert_eq!(host.engine.counters().losses.records, 1);
}

#[test]
fn a_gap_without_samples_is_told_in_the_end() {
    let (mut host, init) = Host::booted();
    for _ in 0..2 {
        let _lost = host.world.fork(&init);
    }
    host.fork(&init);
    host.engine.finish(&mut host.events);
    let gap = as_gap(&host.take_one());
    assert_eq!((gap.lost, gap.causes.len()), (1, 0));
}

#[test]
fn losses_of_later_stages_are_told_and_heal_like_others() {
    let (mut host, _) = Host::booted();
    host.engine.lost("reader", 0, &mut host.events);
    assert!(host.events.is_empty() && !host.engine.wants_resync());
    host.engine.lost("reader", 5, &mut host.events);
    let gap = as_gap(&host.take_one());
    assert_eq!((gap.lost, gap.cpu, gap.stage), (5, None, "reader"));
    assert!(host.engine.wants_resync());
}

#[test]
fn an_exit_after_a_lost_exec_ends_the_process_once() {
    let (mut host, init) = Host::booted();
    let mut child = host.fork(&init);
    host.exec(&mut child, &LS);
    let _lost = host.world.exec(&mut child, &LS);
    let exit = host.exit(&child, 0);
    assert_eq!((&*exit.process.process.flags, exit.parent.unwrap().process.pid), ("unknown", 1));
    let counters = host.engine.counters();
    assert_eq!((counters.table.entries, counters.events.exit_reconstructed), (1, 0));
}

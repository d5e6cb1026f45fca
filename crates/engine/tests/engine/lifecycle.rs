//! Fork, exec and exit, and what is kept between them.

use std::sync::Arc;

use saker_abi::Key;
use saker_api::event::{ProcessView, Timestamp};
use saker_engine::{EngineConfig, workload::LS};

use crate::host::{Host, as_exit, config, program};

fn pids(views: &[ProcessView]) -> Vec<u32> {
    views.iter().map(|view| view.process.pid).collect()
}

#[test]
fn a_program_is_run_and_ends() {
    let (mut host, init) = Host::booted();
    let mut child = host.fork(&init);
    assert!(host.events.is_empty(), "a fork is no event");
    let exec = host.exec(&mut child, &LS);
    let process = &exec.process.process;
    assert_eq!((process.pid, &*process.binary, &*process.cwd), (child.key.pid, "/usr/bin/ls", "/root"));
    assert_eq!((&*process.arguments, &*process.flags), ("--color=auto -l /var/log", "execve clone"));
    assert_eq!(process.start_time, Timestamp(1_000_000_000_000_000_000 + child.key.ktime));
    assert_eq!((process.auid, process.extra.audit_session, &*process.extra.tty), (1000, 3, "pts/3"));
    assert_eq!((exec.process.refcnt, exec.parent.as_ref().unwrap().refcnt), (1, 2));
    let parent = &exec.parent.as_ref().unwrap().process;
    assert_eq!((parent.pid, &*parent.flags), (1, "procFS rootcwd"));
    assert!(Arc::ptr_eq(&process.parent_exec_id, &parent.exec_id));

    let exit = host.exit(&child, 3 << 8);
    assert!(Arc::ptr_eq(&exit.process.process, process), "one form for all its events");
    assert_eq!((exit.status, exit.signal, exit.core_dumped, exit.tid), (3, 0, false, child.key.pid));
    assert_eq!((exit.process.refcnt, exit.parent.unwrap().refcnt), (0, 1));
    assert_eq!(exit.creds.unwrap().cap_bounding, 0x1ff_ffff_ffff);
    assert_eq!(host.engine.counters().table.entries, 1, "only init is left");
}

#[test]
fn signals_and_core_dumps_are_told() {
    let (mut host, init) = Host::booted();
    let child = host.fork(&init);
    let exit = host.exit(&child, 11 | 0x80);
    assert_eq!((exit.signal, exit.core_dumped, exit.status), (11, true, 0));
}

#[test]
fn a_process_that_never_executes_runs_its_creators_program() {
    let (mut host, init) = Host::booted();
    let mut shell = host.fork(&init);
    let shell_exec = host.exec(&mut shell, &LS);
    let child = host.fork(&shell);
    let grandchild = host.fork(&child);
    let exit = host.exit(&grandchild, 0);
    let process = &exit.process.process;
    assert_eq!(
        (&*process.binary, &*process.arguments, &*process.flags),
        ("/usr/bin/ls", "--color=auto -l /var/log", "clone")
    );
    assert_eq!(process.pid, grandchild.key.pid);
    assert_eq!(process.start_time, Timestamp(1_000_000_000_000_000_000 + grandchild.key.ktime));
    assert_eq!(exit.parent.as_ref().unwrap().process.pid, child.key.pid);
    assert_ne!(process.exec_id, shell_exec.process.process.exec_id);
    assert_eq!(pids(&exit.ancestors), [shell.key.pid, 1]);
}

#[test]
fn an_exec_ends_the_identity_before_it_without_an_event() {
    let (mut host, init) = Host::booted();
    let mut shell = host.fork(&init);
    let first = host.exec(&mut shell, &LS).process.process;
    let mut child = host.fork(&shell);
    let second = host.exec(&mut shell, &program("/bin/cat", &["cat"]));
    assert_eq!(
        (&*second.process.process.flags, &*second.process.process.extra.previous_exec_id),
        ("execve rootcwd", &*first.exec_id)
    );
    assert_eq!((second.process.refcnt, second.parent.unwrap().refcnt), (1, 2), "init has one living child");
    let exec = host.exec(&mut child, &LS);
    assert_eq!(
        exec.parent.unwrap().process.exec_id,
        first.exec_id,
        "the child's creator was the first program"
    );
    host.exit(&shell, 0);
    let exit = host.exit(&child, 0);
    assert_eq!(exit.parent.unwrap().process.exec_id, first.exec_id);
    assert_eq!(host.engine.counters().table.entries, 1);
}

#[test]
fn the_identity_before_a_first_exec_is_told_only_when_something_saw_it() {
    let (mut host, init) = Host::booted();
    let mut child = host.fork(&init);
    assert_eq!(&*host.exec(&mut child, &LS).process.process.extra.previous_exec_id, "");
    let mut child = host.fork(&init);
    let grandchild = host.fork(&child);
    let exec = host.exec(&mut child, &LS);
    assert_ne!(&*exec.process.process.extra.previous_exec_id, "");
    let exit = host.exit(&grandchild, 0);
    assert_eq!(exit.parent.unwrap().process.exec_id, exec.process.process.extra.previous_exec_id);
}

#[test]
fn ancestry_survives_the_end_of_ancestors() {
    let (mut host, init) = Host::booted();
    let mut chain = vec![init];
    for _ in 0..5 {
        let mut next = host.fork(chain.last().unwrap());
        host.exec(&mut next, &LS);
        chain.push(next);
    }
    for middle in &chain[1..5] {
        host.exit(middle, 0);
    }
    let mut last = chain[5];
    last.real_parent = init.key;
    let exec = host.exec(&mut last, &LS);
    assert_eq!(exec.parent.as_ref().unwrap().process.pid, chain[4].key.pid);
    assert_eq!(exec.parent.unwrap().refcnt, 1);
    let expected: Vec<_> = chain[..4].iter().rev().map(|subject| subject.key.pid).collect();
    assert_eq!(pids(&exec.ancestors), expected);
    assert_eq!(exec.process.process.extra.reparented_to, host.exit(&last, 0).reparented_to.unwrap());
    assert_eq!(host.engine.counters().table.entries, 1, "nothing is kept for nobody");
}

#[test]
fn ancestors_are_told_only_when_asked_for_and_are_bounded() {
    let mut host = Host::with(EngineConfig { ancestors: saker_engine::Ancestors::default(), ..config() });
    let init = host.start();
    let child = host.fork(&init);
    let mut grandchild = host.fork(&child);
    assert!(host.exec(&mut grandchild, &LS).ancestors.is_empty());

    let (mut host, init) = Host::booted();
    let mut last = init;
    for _ in 0..300 {
        last = host.fork(&last);
    }
    assert_eq!(host.exec(&mut last, &LS).ancestors.len(), 256);
    assert_eq!(host.engine.counters().ancestors_cut, 1);
}

#[test]
fn the_first_processes_descend_from_the_kernel() {
    let mut host = Host::new();
    let mut init = host.world.existing(1, Key::default());
    let exec = host.exec(&mut init, &LS);
    let parent = exec.parent.unwrap().process;
    assert_eq!((parent.pid, &*parent.binary, &*parent.exec_id), (0, "<kernel>", "bjoxOjA="));
    assert_eq!(*exec.process.process.parent_exec_id, *parent.exec_id);
}

#[test]
fn an_exit_is_told_once() {
    let (mut host, init) = Host::booted();
    let child = host.fork(&init);
    let grandchild = host.fork(&child);
    host.exit(&child, 0);
    let again = host.world.exit(&child, 0);
    host.give(&again);
    assert!(host.events.is_empty());
    host.exit(&grandchild, 0);
    assert_eq!(host.engine.counters().imbalance(), None);
}

#[test]
fn the_end_of_an_unknown_process_tells_what_its_record_knows() {
    let (mut host, init) = Host::booted();
    let (child, _lost) = host.world.fork(&init);
    let record = host.world.exit(&child, 9);
    host.give(&record);
    let exit = as_exit(&host.take_one());
    let process = &exit.process.process;
    assert_eq!((process.pid, &*process.flags, &*process.binary), (child.key.pid, "unknown", ""));
    assert_eq!((exit.signal, exit.parent.unwrap().process.pid), (9, 1));
    assert_eq!(host.engine.counters().table.unknown_processes, 1);
}

#[test]
fn an_unknown_parent_has_its_id_and_time() {
    let mut host = Host::new();
    let stranger = host.world.existing(77, Key::new(1, 1));
    let mut child = host.fork(&stranger);
    let exec = host.exec(&mut child, &LS);
    let parent = exec.parent.unwrap();
    assert_eq!((parent.process.pid, &*parent.process.flags, parent.refcnt), (77, "unknown", 0));
    assert_eq!(parent.process.start_time, Timestamp(1_000_000_000_000_000_000 + stranger.key.ktime));
    assert_eq!(parent.process.exec_id, exec.process.process.parent_exec_id);
}

#[test]
fn a_reused_id_ends_its_former_owner() {
    let (mut host, init) = Host::booted();
    let mut child = host.fork(&init);
    host.exec(&mut child, &LS);
    let (mut second, fork) = host.world.fork_as(&init, child.key.pid);
    host.give(&fork);
    let exit = as_exit(&host.take_one());
    assert!(exit.reconstructed && exit.creds.is_none());
    assert_eq!(&*exit.process.process.binary, "/usr/bin/ls");
    let exec = host.exec(&mut second, &program("/bin/cat", &["cat"]));
    assert_eq!(exec.parent.unwrap().refcnt, 2);
    host.exit(&second, 0);
    assert_eq!(host.engine.counters().events.exit_reconstructed, 1);
    assert_eq!(host.engine.counters().imbalance(), None);
}

#[test]
fn a_full_table_gives_up_ended_processes_first() {
    let mut host = Host::with(EngineConfig { capacity: 4, ..config() });
    let init = host.start();
    let middle = host.fork(&init);
    let mut child = host.fork(&middle);
    host.exit(&middle, 0);
    let second = host.fork(&init);
    assert_eq!(host.engine.counters().table.entries, 4);
    let third = host.fork(&init);
    let table = host.engine.counters().table;
    assert_eq!((table.entries, table.evicted_ended, table.evicted_alive), (4, 1, 0));
    let exec = host.exec(&mut child, &LS);
    assert_eq!(&*exec.parent.unwrap().process.flags, "unknown");
    let table = host.engine.counters().table;
    assert_eq!((table.evicted_alive, table.entries <= 4), (1, true), "init was seen first");
    for process in [&second, &third, &child] {
        host.exit(process, 0);
    }
    assert_eq!(host.engine.counters().table.entries, 0);
    assert_eq!(host.engine.counters().imbalance(), None);
}

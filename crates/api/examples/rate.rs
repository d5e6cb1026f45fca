//! How many events a second one core turns into each form: exec and exit of processes that are new each time,
//! so that every second event pays for writing its process.
//!
//! `cargo run --release -p saker-api --example rate [PROCESSES]`

use std::hint::black_box;
use std::sync::Arc;
use std::time::Instant;

use saker_api::compact::Compact;
use saker_api::event::{
    Event, EventKind, ExecEvent, ExitEvent, Node, Process, ProcessExtra, ProcessView, Timestamp, Visible,
};
use saker_api::{json, proto};

fn main() {
    let processes = std::env::args().nth(1).and_then(|text| text.parse().ok()).unwrap_or(500_000);
    let mut buffer = Vec::new();
    for extras in [false, true] {
        let rate = rate(processes, extras, |event| {
            buffer.clear();
            json::write_event(event, &mut buffer);
            black_box(&buffer);
        });
        println!("json, extras {extras}: {rate:.0} events/s, {} bytes the last", buffer.len());
    }
    let rate_of_responses = rate(processes, false, |event| drop(black_box(proto::encode_response(event))));
    println!("protobuf, compatible: {rate_of_responses:.0} events/s");
    let rate_of_events = rate(processes, false, |event| drop(black_box(proto::encode_event(event))));
    println!("protobuf, ours: {rate_of_events:.0} events/s");
    let mut line = String::new();
    let rate_of_lines = rate(processes, false, |event| {
        line.clear();
        Compact { colors: true, timestamps: false, stacks: false }.write_event(event, &mut line);
        black_box(&line);
    });
    println!("compact: {rate_of_lines:.0} events/s");
}

/// Events a second, with the time that it takes to make them taken off.
fn rate(processes: u32, extras: bool, mut write: impl FnMut(&Event)) -> f64 {
    let node = Arc::new(Node { name: "kestrel".to_owned(), ..Node::default() });
    let parent = Arc::new(process(1, extras));
    let mut spent = std::time::Duration::ZERO;
    for batch in 0..processes.div_ceil(1_000) {
        let events: Vec<Event> = (0..1_000)
            .flat_map(|index| pair(&node, &parent, &Arc::new(process(batch * 1_000 + index, extras))))
            .collect();
        let start = Instant::now();
        events.iter().for_each(&mut write);
        spent += start.elapsed();
    }
    f64::from(processes.div_ceil(1_000)) * 2_000.0 / spent.as_secs_f64()
}

fn pair(node: &Arc<Node>, parent: &Arc<Process>, process: &Arc<Process>) -> [Event; 2] {
    let view = |process: &Arc<Process>| ProcessView { process: Arc::clone(process), refcnt: 1 };
    let exec = ExecEvent { process: view(process), parent: Some(view(parent)), ancestors: Vec::new() };
    let exit = ExitEvent {
        process: view(process),
        parent: Some(view(parent)),
        ancestors: Box::default(),
        signal: 0,
        core_dumped: false,
        status: 1,
        tid: process.pid,
        creds: None,
        reparented_to: None,
        reconstructed: false,
    };
    [EventKind::Exec(exec), EventKind::Exit(exit)].map(|kind| Event {
        time: Timestamp(1_795_422_600_123_456_789 + u64::from(process.pid)),
        node: Arc::clone(node),
        kind,
    })
}

fn process(pid: u32, extras: bool) -> Process {
    Process {
        exec_id: "a2VzdHJlbDoxMjM0NTY3ODkwMTI6MTAwMQ==".into(),
        pid,
        uid: 1000,
        auid: 1000,
        cwd: "/home/ada/project".into(),
        binary: "/usr/bin/x86_64-linux-gnu-gcc-12".into(),
        arguments: "-c -O2 -Wall -I include -o build/main.o src/main.c".into(),
        flags: "execve clone".into(),
        start_time: Timestamp(1_795_422_600_123_000_000),
        parent_exec_id: "a2VzdHJlbDo5MDAwMDAwMDAwOjkwMA==".into(),
        extra: Box::new(ProcessExtra {
            canonical_path: "/usr/bin/x86_64-linux-gnu-gcc-12".into(),
            inode: 131_079,
            device: (254, 1),
            tty: "pts/3".into(),
            session_id: 900,
            process_group: 1001,
            audit_session: 4,
            cgroup_id: 4_294_967_297,
            command: "gcc".into(),
            ..ProcessExtra::default()
        }),
        visible: Visible { extras, ..Visible::default() },
        ..Process::default()
    }
}

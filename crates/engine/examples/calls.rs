//! Replays made-up calls of hooks through the engine and the JSON writer, and says how fast.
//!
//! Arguments: the shape (`files`: a call with a file and its return, `sockets`: a call with a socket), the number
//! of calls, and of rounds. Under a tool that counts instructions, ask for one round.

use std::error::Error;
use std::sync::Arc;
use std::time::Instant;

use saker_abi::generated::{
    SAKER_FAMILY_KPROBE, SAKER_TYPE_FILE, SAKER_TYPE_INT, SAKER_TYPE_SOCK, saker_number, saker_object,
    saker_sock,
};
use saker_abi::{Hook, HookFlags, Key, Tag};
use saker_api::event::{EventKind, GapEvent, Node, Visible};
use saker_api::json::Writer;
use saker_engine::hook::{HookText, PolicyText};
use saker_engine::workload::{LS, Subject, World};
use saker_engine::{Engine, EngineConfig, Input, SnapshotKind};

fn main() -> Result<(), Box<dyn Error>> {
    let mut args = std::env::args().skip(1);
    let files = match args.next().as_deref() {
        None | Some("files") => true,
        Some("sockets") => false,
        Some(other) => return Err(format!("there is no shape {other}; give files or sockets").into()),
    };
    let count = args.next().map_or(Ok(100_000), |count| count.parse())?;
    let rounds = args.next().map_or(Ok(5), |rounds| rounds.parse())?;
    for round in 0..rounds {
        play(round, files, count);
    }
    Ok(())
}

fn play(round: usize, files: bool, count: u64) {
    let mut world = World::new(2);
    let shell = world.existing(700, Key::default());
    let subject = world.existing(701, shell.key);
    let node = Arc::new(Node { name: "node-1.example".into(), ..Node::default() });
    let visible = Visible { extras: true, ..Visible::default() };
    let mut engine = Engine::new(EngineConfig { node, visible, ..EngineConfig::default() });
    let (mut events, mut lines, mut writer) = (Vec::new(), Vec::new(), Writer::default());
    let tasks = vec![world.task(&shell, &LS), world.task(&subject, &LS)];
    engine.input(Input::Snapshot { kind: SnapshotKind::Start, tasks }, &mut events);
    let function = if files { "security_file_permission" } else { "tcp_sendmsg" };
    let arguments = if files { 2 } else { 1 };
    let hooks = vec![HookText { function: function.into(), arguments, ..HookText::default() }];
    let policy = PolicyText { id: 1, name: "calls".into(), hooks, ..PolicyText::default() };
    engine.input(Input::PolicyLoaded(policy), &mut events);
    events.clear();
    let (mut told, mut bytes) = (0, 0);
    let mut took = std::time::Duration::ZERO;
    let mut call = 0;
    while call < count {
        // As many as come together when a machine is busy.
        let together: Vec<_> = (call..count.min(call + 64))
            .map(|call| if files { file(&mut world, &subject, call) } else { socket(&mut world, &subject) })
            .collect();
        call += together.len() as u64;
        let start = Instant::now();
        for record in &together {
            engine.record(record, &mut events);
        }
        for event in &events {
            writer.write_event(event, &mut lines);
        }
        told += events.len();
        bytes += lines.len();
        // As a batch of events does when all sinks have written them.
        for event in &mut events {
            if let Some(event) = Arc::get_mut(event) {
                event.kind = EventKind::Gap(GapEvent::default());
            }
        }
        engine.add_spares(&mut events);
        lines.clear();
        took += start.elapsed();
    }
    let per_second = told as f64 / took.as_secs_f64();
    println!("round {round}: {told} events, {bytes} bytes, {per_second:.0} events/s");
}

fn hook(flags: u32, call: u64) -> Hook {
    let mut hook = Hook { family: SAKER_FAMILY_KPROBE as u8, flags, call, ..Hook::default() };
    hook.rec.policy = 1;
    hook
}

/// A call with a file and a number, and its return, in one record.
fn file(world: &mut World, subject: &Subject, call: u64) -> Vec<u8> {
    let object = saker_object { ino: 4711, dev: 8 << 20 | 1, mode: 0o100_644, ..saker_object::default() };
    let record = world.hook(subject, hook(HookFlags::CALL.0, call));
    let record = record.captured(Tag::captured(0), SAKER_TYPE_FILE, &object, b"/srv/data/watched/file");
    let record = record.captured(Tag::captured(1), SAKER_TYPE_INT, &saker_number { value: 2 }, b"");
    let record = record.captured(Tag::RESULT, SAKER_TYPE_INT, &saker_number { value: 0 }, b"");
    record.finish()
}

/// A call with a socket.
fn socket(world: &mut World, subject: &Subject) -> Vec<u8> {
    let mut sock = saker_sock { family: 2, type_: 1, protocol: 6, state: 1, ..saker_sock::default() };
    (sock.sport, sock.dport, sock.cookie) = (40_000, 8_080, 0x1234_5678);
    sock.saddr[..4].copy_from_slice(&[127, 0, 0, 1]);
    sock.daddr[..4].copy_from_slice(&[127, 0, 0, 1]);
    let entry = world.hook(subject, hook(0, 0));
    entry.captured(Tag::captured(0), SAKER_TYPE_SOCK, &sock, b"").finish()
}

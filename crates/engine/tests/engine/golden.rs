//! A recorded capture and the JSON lines it must give, both in `tests/fixtures`.
//!
//! The capture was made once, by [`record`]; that it is still read proves that the format has not changed.
//! After a wanted change of the lines, run this test with `SAKER_UPDATE_GOLDEN=1` and look at the difference;
//! with `SAKER_UPDATE_GOLDEN=capture` the capture is made anew too.

use std::path::PathBuf;
use std::sync::Arc;

use saker_abi::Key;
use saker_api::event::Node;
use saker_engine::capture::Writer;
use saker_engine::workload::{LS, Program, World};
use saker_engine::{CaptureHeader, EngineConfig, Input, SnapshotKind, replay};

use crate::host::{config, program};

fn fixture(name: &str) -> PathBuf {
    [env!("CARGO_MANIFEST_DIR"), "tests", "fixtures", name].iter().collect()
}

/// A short life of a host with one of everything.
fn record() -> Vec<u8> {
    let mut world = World::new(2);
    let header = CaptureHeader {
        boot_to_wall: 1_700_000_000_000_000_000,
        node: "node-1".into(),
        kernel: "6.12.0".into(),
        ..CaptureHeader::default()
    };
    let mut writer = Writer::new(Vec::new(), &header).unwrap();
    let mut put = |input: Input<'_>| writer.write(&input).unwrap();

    let init = world.existing(1, Key::default());
    let tasks = vec![world.task(&init, &program("/usr/lib/systemd/systemd", &["/sbin/init"]))];
    put(Input::Snapshot { kind: SnapshotKind::Start, tasks });

    let (mut shell, fork) = world.fork(&init);
    put(Input::Record(&fork));
    put(Input::Record(&world.exec(&mut shell, &LS)));
    let script = Program {
        filename: "./run.sh",
        exe: "/usr/bin/dash",
        cwd: "/opt/a b",
        args: &["/bin/sh", "./run.sh", "say \"hi\""],
    };
    put(Input::Record(&world.exec(&mut shell, &script)));
    let (child, fork) = world.fork(&shell);
    put(Input::Record(&fork));
    put(Input::Record(&world.exit(&child, 1 << 8)));
    put(Input::Record(&world.exit(&shell, 15)));

    let (mut long, fork) = world.fork(&init);
    put(Input::Record(&fork));
    let args = [b"echo\0".as_slice(), &[b'x'; 9000], b"\0"].concat();
    for record in world.exec_long(&mut long, &program("/bin/echo", &[]), &args) {
        put(Input::Record(&record));
    }

    let lost = world.exit(&long, 0);
    world.lose(&lost);
    put(world.sample());
    world.clock += 1_000_000_000;
    let (mut found, lost) = world.fork(&init);
    world.lose(&lost);
    let lost = world.exec(&mut found, &LS);
    world.lose(&lost);
    put(world.sample());
    let tasks = [&init, &found].map(|subject| world.task(subject, &LS)).to_vec();
    put(Input::Snapshot { kind: SnapshotKind::Resync, tasks });
    put(world.sample());
    put(Input::Lost { stage: "reader", lost: 3 });
    put(Input::Clock { boot_to_wall: 1_700_000_001_000_000_000 });
    put(Input::Record(&world.exit(&found, 11 | 0x80)));
    writer.finish().unwrap();
    writer.into_inner()
}

fn lines(capture: &[u8]) -> String {
    let mut lines = Vec::new();
    let own = || EngineConfig { node: Arc::new(Node::default()), ..config() };
    let replayed = replay(
        capture,
        |header| header.configure(own()),
        |events| events.iter().for_each(|event| saker_api::json::write_event(event, &mut lines)),
    )
    .unwrap();
    assert!(!replayed.truncated);
    assert_eq!(replayed.counters.imbalance(), None);
    String::from_utf8(lines).unwrap()
}

#[test]
fn a_capture_gives_the_same_lines_for_ever() {
    let update = std::env::var("SAKER_UPDATE_GOLDEN").unwrap_or_default();
    let (capture, golden) = (fixture("lifecycle.capture"), fixture("lifecycle.json"));
    if update == "capture" {
        std::fs::write(&capture, record()).unwrap();
    }
    let got = lines(&std::fs::read(&capture).unwrap());
    if !update.is_empty() {
        std::fs::write(&golden, &got).unwrap();
    }
    let expected = std::fs::read_to_string(&golden).unwrap();
    for (number, (got, expected)) in got.lines().zip(expected.lines()).enumerate() {
        assert_eq!(got, expected, "line {}", number + 1);
    }
    assert_eq!(got.lines().count(), expected.lines().count());
}

#[test]
fn a_cut_capture_gives_the_lines_up_to_there() {
    let capture = std::fs::read(fixture("lifecycle.capture")).unwrap();
    let cut = &capture[..capture.len() - 8 - 5];
    let mut events = 0;
    let replayed = replay(cut, |header| header.configure(config()), |batch| events += batch.len()).unwrap();
    assert!(replayed.truncated);
    let whole = lines(&capture).lines().count();
    assert_eq!(events, whole - 1, "all but the last exit");
}

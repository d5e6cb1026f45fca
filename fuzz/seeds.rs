//! Writes the seed corpora: `cargo run --manifest-path fuzz/Cargo.toml --bin seeds`.

use std::fs;
use std::io;
use std::path::Path;

use saker_abi::generated::{
    SAKER_FAMILY_KPROBE, SAKER_FAMILY_LOADER, SAKER_TYPE_FILE, SAKER_TYPE_INT, saker_number, saker_object,
};
use saker_abi::{Hook, HookFlags, Key, Status, Tag};
use saker_engine::capture::{Setup, Writer};
use saker_engine::hook::{HookText, PolicyText};
use saker_engine::workload::{LS, Program, World};
use saker_engine::{Ancestors, CaptureHeader, Environment, Findings, Input, SnapshotKind, Symbol};

fn main() -> io::Result<()> {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus");
    for target in ["decode", "capture", "engine"] {
        fs::create_dir_all(corpus.join(target))?;
    }
    let mut world = World::new(1);
    let init = world.existing(1, Key::default());
    let task = world.task(&init, &LS);
    let (mut shell, fork) = world.fork(&init);
    let exec = world.exec(&mut shell, &LS);
    let script = Program { filename: "./a.sh", exe: "/bin/sh", cwd: "/tmp", args: &["sh", "./a.sh", "x y"] };
    let again = world.exec(&mut shell, &script);
    let call = |flags: HookFlags| Hook {
        call: 77,
        flags: flags.with(HookFlags::IDENTITY).0,
        family: SAKER_FAMILY_KPROBE as u8,
        ..Hook::default()
    };
    let object = saker_object { ino: 5, dev: 8 << 20 | 1, mode: 0o100_644, flags: 0, zero: 0 };
    let number = saker_number { value: 4 };
    let entry = world
        .hook(&shell, call(HookFlags::WAITS))
        .captured(Tag::captured(0), SAKER_TYPE_FILE, &object, b"/etc/passwd")
        .captured(Tag::captured(1), SAKER_TYPE_INT, &number, b"")
        .finish();
    let back =
        world.hook(&shell, call(HookFlags::RETURN)).captured(Tag::RESULT, SAKER_TYPE_INT, &number, b"").finish();
    let unjoined = world.hook(&shell, call(HookFlags::WAITS)).finish();
    let words: Vec<u8> = [1u64, 2, 3].iter().flat_map(|address| address.to_ne_bytes()).collect();
    let stacks = world
        .hook(&shell, call(HookFlags::KERNEL_STACK.with(HookFlags::USER_STACK)))
        .value(Tag::KERNEL_STACK, Status::Ok, 0, &words)
        .value(Tag::USER_STACK, Status::Truncated, 0, &words)
        .finish();
    let mapped = Hook { family: SAKER_FAMILY_LOADER as u8, ..call(HookFlags::default()) };
    let mapped =
        world.hook(&shell, mapped).captured(Tag::captured(0), SAKER_TYPE_FILE, &object, b"/lib/x.so").finish();
    let (child, second) = world.fork(&shell);
    let gone = world.exit(&child, 9);
    let exit = world.exit(&shell, 256);

    let records = [&fork, &exec, &again, &entry, &back, &unjoined, &second, &gone, &exit];
    for (name, record) in [("fork", &fork), ("exec", &exec), ("exit", &exit), ("hook", &entry), ("task", &task.record)] {
        fs::write(corpus.join("decode").join(name), record)?;
    }
    let mut sequence = task.record.clone();
    sequence.push(0xfe);
    sequence.extend(records.into_iter().flatten());
    sequence.extend([0xff, 9]);
    fs::write(corpus.join("engine").join("lifecycle"), &sequence)?;
    let found = [0xfc, 5, b'm', b'a', b'i', b'n', 0xff, b'x'];
    let told = [&fork[..], &exec, &found, &stacks, &found, &mapped].concat();
    fs::write(corpus.join("engine").join("stacks"), told)?;
    let mut resync = [&fork[..], &exec, &task.record].concat();
    resync.extend([0xfe, 0xff, 20]);
    fs::write(corpus.join("engine").join("resync"), &resync)?;

    let setup = Setup {
        cluster: "c".into(),
        ancestors: Ancestors::all(true),
        environment: Environment { enabled: true, names: vec!["A".into()] },
        users: vec![(0, "root".into())],
        ..Setup::default()
    };
    let header = CaptureHeader { node: "n".into(), setup: Some(setup), ..CaptureHeader::default() };
    let mut writer = Writer::new(Vec::new(), &header)?;
    writer.write(&Input::Snapshot { kind: SnapshotKind::Start, tasks: vec![task] })?;
    let policy = PolicyText { name: "p".into(), hooks: vec![HookText::default()], ..PolicyText::default() };
    writer.write(&Input::PolicyLoaded(policy))?;
    for record in records {
        writer.write(&Input::Record(record))?;
    }
    let symbol = Symbol { name: "f".into(), module: "m".into(), offset: 1 };
    let findings =
        Findings { own_frames: 1, kernel: vec![symbol.clone()], user: vec![symbol], build_id: vec![1, 2] };
    writer.write(&Input::Findings(findings))?;
    writer.write(&Input::Record(&stacks))?;
    writer.write(&Input::PolicyRemoved { id: 0 })?;
    writer.write(&world.sample())?;
    writer.write(&Input::Lost { stage: "sensor", lost: 2 })?;
    writer.write(&Input::Clock { boot_to_wall: 7 })?;
    writer.finish()?;
    fs::write(corpus.join("capture").join("lifecycle"), writer.into_inner())
}

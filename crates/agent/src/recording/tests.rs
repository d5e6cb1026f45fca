use std::borrow::Cow;

use saker_abi::{NamespaceInums, Stats};
use saker_api::event::{Event, Visible};
use saker_api::json;
use saker_engine::capture::{Reader, Setup};
use saker_engine::{CaptureError, Engine, Environment, SnapshotKind, SnapshotTask, replay};
use tempfile::TempDir;

use super::*;
use crate::testing::Records;

fn header() -> CaptureHeader {
    CaptureHeader {
        node: "node=1".into(),
        boot_to_wall: 1_700_000_000_000_000_000,
        host_namespaces: NamespaceInums { uts: 1, user: 10, ..NamespaceInums::default() },
        setup: Some(Setup {
            cluster: "c".into(),
            visible: Visible { extras: true, ..Visible::default() },
            processes: 100,
            environment: Environment { enabled: true, names: vec!["A".into(), "B".into()] },
            ..Setup::default()
        }),
        ..CaptureHeader::default()
    }
}

fn lines(events: &[Arc<Event>]) -> String {
    let mut text = Vec::new();
    events.iter().for_each(|event| json::write_event(event, &mut text));
    String::from_utf8(text).unwrap()
}

/// A recording with a bit of everything, and the events the engine made of it then.
fn record(path: &Path) -> String {
    let mut recorder = Recorder::create(path, &header()).unwrap();
    let mut engine = Engine::new(header().engine());
    let (mut records, mut events) = (Records::default(), Vec::new());
    let mut give = |input: Input<'_>| {
        recorder.write(&input);
        engine.input(input, &mut events);
    };
    give(Input::Snapshot { kind: SnapshotKind::Start, tasks: Vec::new() });
    for pid in 2..50 {
        give(Input::Record(&records.exec(pid)));
    }
    give(Input::Clock { boot_to_wall: 1_800_000_000_000_000_000 });
    records.skip(3);
    for pid in 2..20 {
        give(Input::Record(&records.exit(pid)));
    }
    give(Input::Sample { stats: Cow::Owned(vec![Stats { seq: 69, ..Stats::default() }]), drained: true });
    give(Input::Lost { stage: "sensor", lost: 2 });
    give(Input::Lost { stage: "reader", lost: 4 });
    let task = SnapshotTask { record: vec![1, 2, 3], args: b"a\0".to_vec(), envs: b"B=1\0".to_vec() };
    give(Input::Snapshot { kind: SnapshotKind::Resync, tasks: vec![task] });
    recorder.finish();
    let recorded = recorder.recorded();
    assert_eq!((recorded.offered(), recorded.written(), recorded.error()), (72, 72, String::new()));
    assert_eq!(recorded.bytes(), std::fs::metadata(path).unwrap().len());
    engine.finish(&mut events);
    lines(&events)
}

/// The events of a recording, and whether its end is missing.
fn replayed(path: &Path) -> Result<(String, bool), CaptureError> {
    let mut text = String::new();
    let come_to = replay(File::open(path)?, CaptureHeader::engine, |events| text += &lines(events))?;
    Ok((text, come_to.truncated))
}

fn mode(path: &Path) -> u32 {
    std::fs::metadata(path).unwrap().permissions().mode() & 0o7777
}

#[test]
fn replay_gives_the_same_events() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("recording");
    let told = record(&path);
    assert!(told.lines().count() > 60 && told.contains("\"gap\""));
    assert!(told.contains("\"stage\":\"sensor\"") && told.contains("\"stage\":\"reader\""), "{told}");
    assert_eq!(replayed(&path).unwrap(), (told, false));
    assert_eq!(Reader::new(File::open(&path).unwrap()).unwrap().header(), &header());
    assert_eq!(mode(&path), 0o600);
}

#[test]
fn cut_recording_gives_what_is_whole_and_is_known_to_be_cut() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("recording");
    let told = record(&path);
    let whole = std::fs::read(&path).unwrap();
    for length in (0..whole.len()).step_by(97) {
        std::fs::write(&path, &whole[..length]).unwrap();
        match replayed(&path) {
            Ok((text, truncated)) => assert!(truncated && told.starts_with(&text[..text.len() / 2])),
            Err(error) => assert!(matches!(error, CaptureError::Magic | CaptureError::Header), "{error}"),
        }
    }
}

#[test]
fn a_file_that_was_open_to_others_is_closed_to_them_before_anything_is_written() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("recording");
    std::fs::write(&path, "an older and longer content of the file".repeat(1000)).unwrap();
    std::fs::set_permissions(&path, Permissions::from_mode(0o666)).unwrap();
    Recorder::create(&path, &header()).unwrap();
    assert_eq!(mode(&path), 0o600);
    assert!(std::fs::read(&path).unwrap().len() < 1000);
}

#[test]
fn only_a_regular_file_holds_a_recording() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("pipe");
    rustix::fs::mkfifoat(rustix::fs::CWD, &path, rustix::fs::Mode::from_raw_mode(0o600)).unwrap();
    // No reader: an error instead of waiting for one.
    Recorder::create(&path, &header()).unwrap_err();
    let error = Recorder::create(Path::new("/dev/null"), &header()).unwrap_err();
    assert!(error.to_string().contains("not a regular file"), "{error}");
}

#[test]
fn an_early_end_is_told() {
    let mut recorder = testing::small(2000);
    for _ in 0..3 {
        recorder.write(&Input::Record(&[0; 700]));
        recorder.flush();
    }
    recorder.write(&Input::Record(&[0; 700]));
    recorder.finish();
    let recorded = recorder.recorded();
    assert_eq!((recorded.offered(), recorded.bytes()), (4, 2000));
    assert!(recorded.written() < 4 && !recorded.error().is_empty(), "{recorded:?}");
}

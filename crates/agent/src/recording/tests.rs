use saker_api::json;
use tempfile::TempDir;

use super::*;
use crate::testing::Records;

fn setup() -> Setup {
    Setup {
        node: "node=1".into(),
        cluster: "c".into(),
        boot_to_wall: 1_700_000_000_000_000_000,
        host_namespaces: NamespaceInums { uts: 1, user: 10, ..NamespaceInums::default() },
        visible: Visible { extras: true, ..Visible::default() },
        processes: 100,
        environment: Environment { enabled: true, names: vec!["A".into(), "B".into()] },
        ..Setup::default()
    }
}

fn lines(events: &[Arc<Event>]) -> String {
    let mut text = Vec::new();
    events.iter().for_each(|event| json::write_event(event, &mut text));
    String::from_utf8(text).unwrap()
}

/// A recording with a bit of everything, and the events the engine made of it then.
fn record(path: &Path) -> String {
    let mut recorder = Recorder::create(path, &setup()).unwrap();
    let mut engine = Engine::new(setup().engine());
    let (mut records, mut events) = (Records::default(), Vec::new());
    let snapshot = Vec::new();
    recorder.snapshot(&snapshot, SnapshotKind::Start);
    engine.snapshot(snapshot, SnapshotKind::Start, &mut events);
    for pid in 2..50 {
        let record = records.exec(pid);
        recorder.record(&record);
        engine.record(&record, &mut events);
    }
    recorder.clock(1_800_000_000_000_000_000);
    engine.set_boot_to_wall(1_800_000_000_000_000_000);
    records.skip(3);
    for pid in 2..20 {
        let record = records.exit(pid);
        recorder.record(&record);
        engine.record(&record, &mut events);
    }
    let stats = [Stats { seq: 69, ..Stats::default() }];
    recorder.sample(&stats, true);
    engine.sample(&stats, true, &mut events);
    let task = SnapshotTask { record: vec![1, 2, 3], args: b"a\0".to_vec(), envs: b"B=1\0".to_vec() };
    recorder.snapshot(std::slice::from_ref(&task), SnapshotKind::Resync);
    engine.snapshot(vec![task], SnapshotKind::Resync, &mut events);
    recorder.flush();
    engine.finish(&mut events);
    lines(&events)
}

fn replay(path: &Path) -> Result<String, RecordingError> {
    let mut replay = Replay::open(path)?;
    let mut engine = Engine::new(replay.setup().engine());
    let mut events = Vec::new();
    while replay.step(&mut engine, &mut events)? {}
    Ok(lines(&events))
}

#[test]
fn replay_gives_the_same_events() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("recording");
    let told = record(&path);
    assert!(told.lines().count() > 60 && told.contains("\"gap\""));
    assert_eq!(replay(&path).unwrap(), told);
    assert_eq!(Replay::open(&path).unwrap().setup(), &setup());
    let mode = std::os::unix::fs::PermissionsExt::mode(&std::fs::metadata(&path).unwrap().permissions());
    assert_eq!(mode & 0o777, 0o600);
}

#[test]
fn cut_recording_gives_what_is_whole() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("recording");
    record(&path);
    let whole = std::fs::read(&path).unwrap();
    for length in (MAGIC.len()..whole.len()).step_by(97) {
        std::fs::write(&path, &whole[..length]).unwrap();
        // An error in words, or events: never a panic.
        match replay(&path) {
            Ok(text) => assert!(text.is_empty() || text.ends_with('\n')),
            Err(error) => assert!(matches!(error, RecordingError::Format { .. }), "{error}"),
        }
    }
}

#[test]
fn other_files_are_refused_in_words() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("file");
    for (content, expected) in [
        (&b""[..], "too short"),
        (&b"{\"process_exec\":{}}{\"process_exec\":{}}"[..], "does not begin as one"),
        (&b"saker recording\n\xff\xff\xff\xff"[..], "header is too long"),
        (&b"saker recording\n\x0a\x00\x00\x00version=9\n"[..], "version 9, only 1 is known"),
    ] {
        std::fs::write(&path, content).unwrap();
        let error = Replay::open(&path).err().unwrap().to_string();
        assert!(error.contains(expected), "{error}");
    }
    let missing = Replay::open(&directory.path().join("none")).err().unwrap();
    assert!(matches!(missing, RecordingError::Read { .. }));
}

proptest::proptest! {
    #[test]
    fn damaged_recordings_do_not_panic(position in 0_usize..2000, byte in 0_u8..) {
        let directory = TempDir::new().unwrap();
        let path = directory.path().join("recording");
        record(&path);
        let mut bytes = std::fs::read(&path).unwrap();
        let position = position % bytes.len();
        bytes[position] = byte;
        std::fs::write(&path, bytes).unwrap();
        let _ = replay(&path);
    }
}

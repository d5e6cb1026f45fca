//! Tests of captures: what is written comes back, and what is cut or damaged is told.

use proptest::prelude::*;

use super::*;
use crate::findings::Symbol;
use crate::hook::HookText;

fn header() -> CaptureHeader {
    CaptureHeader {
        boot_to_wall: 1_700_000_000_000_000_000,
        host_namespaces: NamespaceInums { pid: 4_026_531_836, ..NamespaceInums::default() },
        sequence: SequenceBase::Unknown,
        environment: true,
        node: "n\u{f6}de".into(),
        kernel: "6.12.0".into(),
        setup: Some(Setup {
            cluster: "c=1".into(),
            visible: saker_api::event::Visible { extras: true, ..Default::default() },
            stack_addresses: true,
            ancestors: crate::Ancestors { exec: true, lsm: true, ..Default::default() },
            processes: 100,
            environment: crate::Environment { enabled: true, names: vec!["A".into(), "B".into()] },
            users: vec![(0, "root".into()), (33, "web".into())],
        }),
    }
}

fn inputs() -> Vec<Input<'static>> {
    let task = |n: u8| SnapshotTask { record: vec![n; 9], args: vec![n; 3], envs: vec![] };
    let stats = Stats { seq: 77, ..Stats::default() };
    vec![
        Input::Snapshot { kind: SnapshotKind::Start, tasks: vec![task(1), task(2)] },
        Input::Record(b"any bytes"),
        Input::Record(b""),
        Input::Sample { stats: Cow::Owned(vec![stats, Stats::default()]), drained: true },
        Input::Lost { stage: "reader", lost: 12 },
        Input::Lost { stage: "sensor", lost: 1 },
        Input::Clock { boot_to_wall: 5 },
        Input::Snapshot { kind: SnapshotKind::Resync, tasks: vec![] },
        Input::PolicyLoaded(policy()),
        Input::PolicyLoaded(PolicyText::default()),
        Input::PolicyRemoved { id: u32::MAX },
        Input::Findings(Findings {
            own_frames: 2,
            kernel: vec![Symbol { name: "do_f\u{f6}".into(), module: "m".into(), offset: u64::MAX }],
            user: vec![Symbol::default(), Symbol::default()],
            build_id: vec![0, 1, 255],
        }),
        Input::Findings(Findings::default()),
    ]
}

fn policy() -> PolicyText {
    let hook = HookText {
        function: "__x64_sys_openat".into(),
        subsystem: "s".into(),
        event: "e".into(),
        message: "m\u{f6}".into(),
        tags: vec!["a".into(), String::new()],
        labels: vec![String::new(), "path".into()],
        arguments: 1,
        positions: vec![1, 0],
        functions: vec![(257, "openat".into()), (u64::MAX, String::new())],
        path: "/bin/x".into(),
        offset: 7,
        ref_ctr_offset: 8,
        stacks: true,
        conditional_return: true,
        requests: Vec::new(),
    };
    PolicyText {
        id: 3,
        name: "p".into(),
        namespace: "ns".into(),
        hooks: vec![hook, HookText::default()],
        workload: None,
    }
}

fn written() -> Vec<u8> {
    let mut writer = Writer::new(Vec::new(), &header()).unwrap();
    for input in inputs() {
        writer.write(&input).unwrap();
    }
    writer.finish().unwrap();
    writer.into_inner()
}

/// All inputs of a capture in a form that can be compared, and whether its end is missing.
fn read(bytes: &[u8]) -> Result<(Vec<String>, bool), CaptureError> {
    let mut reader = Reader::new(bytes)?;
    let mut read = Vec::new();
    while let Some(input) = reader.next()? {
        read.push(format!("{input:?}"));
    }
    Ok((read, reader.truncated()))
}

#[test]
fn what_is_written_comes_back() {
    let bytes = written();
    assert_eq!(*Reader::new(&bytes[..]).unwrap().header(), header());
    let expected: Vec<_> = inputs().iter().map(|input| format!("{input:?}")).collect();
    assert_eq!(read(&bytes).unwrap(), (expected, false));
}

#[test]
fn a_missing_end_costs_only_what_is_not_whole() {
    let bytes = written();
    let (all, _) = read(&bytes).unwrap();
    let begin = 12 + u32::from_le_bytes(bytes[8..12].try_into().unwrap()) as usize;
    for len in begin..bytes.len() {
        let (some, truncated) = read(&bytes[..len]).unwrap();
        assert!(all.starts_with(&some), "{len}");
        assert!(truncated, "a file cut after {len} bytes, perhaps between two entries, looks whole");
    }
    for len in 0..begin {
        assert!(read(&bytes[..len]).is_err(), "{len}");
    }
}

#[test]
fn damage_is_told() {
    let mut bytes = written();
    bytes[0] = b'X';
    assert!(matches!(read(&bytes), Err(CaptureError::Magic)));
    let mut bytes = written();
    bytes[12] = 9;
    assert!(matches!(read(&bytes), Err(CaptureError::Version(9))));
    let entry = |kind: u8, len: u32, body: &[u8]| {
        let mut bytes = Writer::new(Vec::new(), &header()).unwrap().into_inner();
        bytes.extend_from_slice(&[kind, 0, 0, 0]);
        bytes.extend_from_slice(&len.to_le_bytes());
        bytes.extend_from_slice(body);
        read(&bytes)
    };
    assert!(matches!(entry(0, 0, b""), Err(CaptureError::Damaged { entry: 0, kind: 0 })));
    assert!(matches!(
        entry(ENTRY_RECORD, u32::MAX, b""),
        Err(CaptureError::TooLong { entry: 0, len: u32::MAX })
    ));
    assert!(matches!(entry(ENTRY_SNAPSHOT, 1, &[7]), Err(CaptureError::Damaged { .. })));
    assert!(matches!(entry(ENTRY_SAMPLE, 9, &[0; 9]), Err(CaptureError::Damaged { .. })));
    let loaded = policy::to_bytes(&policy());
    for len in 0..loaded.len() {
        let cut = entry(ENTRY_POLICY_LOADED, len as u32, &loaded[..len]);
        assert!(matches!(cut, Err(CaptureError::Damaged { .. })), "a policy of {len} bytes");
    }
    assert!(matches!(entry(ENTRY_POLICY_REMOVED, 3, &[0; 3]), Err(CaptureError::Damaged { .. })));
    assert!(matches!(entry(ENTRY_TASK, 8, &[255; 8]), Err(CaptureError::Damaged { .. })));
}

#[test]
fn entries_of_a_newer_writer_are_left_out_and_counted() {
    let mut writer = Writer::new(Vec::new(), &header()).unwrap();
    writer.write(&Input::Record(b"one")).unwrap();
    let mut bytes = writer.into_inner();
    bytes.extend_from_slice(&[200, 0, 0, 0, 3, 0, 0, 0, 1, 2, 3]);
    bytes.extend_from_slice(&[ENTRY_END, 0, 0, 0, 0, 0, 0, 0]);
    let mut reader = Reader::new(&bytes[..]).unwrap();
    assert!(matches!(reader.next().unwrap(), Some(Input::Record(b"one"))));
    assert!(reader.next().unwrap().is_none() && reader.next().unwrap().is_none());
    assert_eq!((reader.unknown(), reader.truncated()), (1, false));
}

#[test]
fn a_hook_of_a_newer_writer_is_read_as_far_as_it_is_known() {
    let text = PolicyText { hooks: policy().hooks[..1].to_vec(), ..policy() };
    let mut bytes = policy::to_bytes(&text);
    let length = 4 + 4 + 1 + 4 + 2 + 4;
    let hook = u32::from_le_bytes(bytes[length..length + 4].try_into().unwrap());
    bytes[length..length + 4].copy_from_slice(&(hook + 5).to_le_bytes());
    bytes.extend_from_slice(&[9; 5]);
    assert_eq!(policy::from_bytes(&bytes), Some(text));
}

#[test]
fn a_header_too_long_to_be_read_is_not_written() {
    let users = (0..400_000).map(|uid| (uid, "somebody".into())).collect();
    let header = CaptureHeader { setup: Some(Setup { users, ..Setup::default() }), ..header() };
    let error = Writer::new(Vec::new(), &header).unwrap_err();
    assert!(error.to_string().contains("the header has"), "{error}");
}

#[test]
fn a_capture_of_an_agent_has_the_configuration_of_its_engine() {
    let mut config = header().engine();
    assert_eq!((config.node.name.as_str(), config.node.cluster.as_str()), ("n\u{f6}de", "c=1"));
    assert!(config.visible.extras && !config.visible.credentials && config.ancestors.exec);
    assert_eq!((config.capacity, config.environment.names.len()), (100, 2));
    assert_eq!(config.users.as_mut().unwrap().name(33).as_deref(), Some("web"));
    assert_eq!(config.users.as_mut().unwrap().name(34), None);
}

#[test]
fn an_entry_that_is_too_long_is_not_written() {
    let mut writer = Writer::new(Vec::new(), &header()).unwrap();
    let before = Writer::new(Vec::new(), &header()).unwrap().into_inner().len();
    let error = writer.write(&Input::Record(&vec![0; ENTRY_MAX as usize + 1])).unwrap_err();
    assert_eq!((error.kind(), writer.into_inner().len()), (io::ErrorKind::InvalidInput, before));
}

#[test]
fn a_capture_configures_the_engine() {
    let config = header().configure(EngineConfig::default());
    assert_eq!((config.node.name.as_str(), config.boot_to_wall), ("n\u{f6}de", header().boot_to_wall));
    assert_eq!(config.sequence, SequenceBase::Unknown);
    let named = EngineConfig {
        node: Arc::new(Node { name: "own".into(), ..Node::default() }),
        ..EngineConfig::default()
    };
    assert_eq!(header().configure(named).node.name, "own");
}

proptest! {
    #[test]
    fn changed_bytes_never_panic(changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6)) {
        let mut bytes = written();
        for (at, value) in changes {
            let at = at.index(bytes.len());
            bytes[at] = value;
        }
        let _ = read(&bytes);
    }
}

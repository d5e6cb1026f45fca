//! Lines as they are promised: JSON in `golden/NAME.json`, compact in `golden/compact.txt`.
//!
//! After a wanted change write them anew with `SAKER_UPDATE_GOLDEN=1 cargo test -p saker-api --test api golden`
//! and look at the difference.

use std::fs;
use std::path::{Path, PathBuf};

use crate::samples;
use saker_api::compact::Compact;
use saker_api::tetragon::get_events_response::Event as kinds;
use saker_api::{json, saker_v1, tetragon};

fn golden(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(name)
}

fn check(name: &str, actual: &str) {
    let path = golden(name);
    if std::env::var_os("SAKER_UPDATE_GOLDEN").is_some() {
        fs::write(&path, actual).unwrap();
    }
    let expected = fs::read_to_string(&path).unwrap_or_default();
    assert_eq!(actual, expected, "{name} differs from its golden file");
}

#[test]
fn json_lines() {
    for (name, event) in samples::all() {
        let mut out = Vec::new();
        json::write_event(&event, &mut out);
        check(&format!("{name}.json"), str::from_utf8(&out).unwrap());
    }
}

#[test]
fn compact_lines() {
    let mut out = String::new();
    for (name, event) in samples::all() {
        let plain = Compact { colors: false, timestamps: false, stacks: true };
        let start = out.len();
        plain.write_event(&event, &mut out);
        let mut from_message = String::new();
        plain.write_message(&saker_v1::Event::from(&event), &mut from_message);
        assert_eq!(from_message, out[start..], "{name} from its message");
    }
    for event in samples::kprobes() {
        Compact::default().write_event(&event, &mut out);
    }
    let colored = Compact { colors: true, timestamps: true, stacks: false };
    for event in [samples::exec(), samples::exit(), samples::gap(), samples::kprobe()] {
        colored.write_event(&event, &mut out);
    }
    check("compact.txt", &out);
}

#[test]
fn compact_lines_of_other_kinds() {
    let process = tetragon::Process { binary: "/usr/bin/curl".to_owned(), ..Default::default() };
    let process = Some(process);
    let in_pod = process.clone().map(|process| tetragon::Process {
        pod: Some(tetragon::Pod {
            namespace: "shop".to_owned(),
            name: "web-0".to_owned(),
            ..Default::default()
        }),
        ..process
    });
    let policy_event = tetragon::ProcessTracepoint {
        process: in_pod.clone(),
        subsys: "sched".to_owned(),
        event: "sched_switch".to_owned(),
        ..Default::default()
    };
    let loader = tetragon::ProcessLoader {
        process: in_pod,
        path: "/usr/lib/libc.so.6".to_owned(),
        buildid: vec![0x0a, 0xff].into(),
        ..Default::default()
    };
    let throttle = |kind| {
        let cgroup = "system.slice a".to_owned();
        kinds::ProcessThrottle(tetragon::ProcessThrottle { r#type: kind, cgroup })
    };
    let mut out = String::new();
    for event in [
        kinds::ProcessLoader(loader.clone()),
        kinds::ProcessLoader(tetragon::ProcessLoader { buildid: vec![].into(), ..loader }),
        throttle(1),
        throttle(2),
        throttle(9),
        kinds::RateLimitInfo(tetragon::RateLimitInfo { number_of_dropped_process_events: 3 }),
        kinds::ProcessTracepoint(policy_event),
        kinds::ProcessKprobe(tetragon::ProcessKprobe {
            process,
            function_name: "commit_creds".to_owned(),
            ..Default::default()
        }),
        kinds::Test(tetragon::Test::default()),
    ] {
        let node_name = "kestrel".to_owned();
        let message = tetragon::GetEventsResponse { event: Some(event), node_name, ..Default::default() };
        Compact::default().write_response(&message, &mut out);
    }
    Compact::default().write_response(&tetragon::GetEventsResponse::default(), &mut out);
    check("compact_other.txt", &out);
}

//! Bytes in several pieces, events that measure, and maps.

use std::io::{IoSlice, PipeWriter, Read, Write};
use std::mem::size_of;

use libbpf_rs::libbpf_sys::{bpf_map_create_opts, perf_event_attr};
use libbpf_rs::{MapHandle, MapType};
use saker_abi::generated::*;
use saker_policy::plan::Kernel as _;
use zerocopy::FromBytes;

use crate::assert_no_way;
use crate::lab::{Lab, Told, any_function, kernel, policy, ways};

/// Size and bytes of a buffer.
fn buffer(told: &Told, index: u32) -> (u64, &[u8]) {
    let bytes = told.value(index);
    let (head, rest) = saker_buffer::read_from_prefix(bytes).unwrap_or_else(|_| panic!("{told:?}"));
    (head.size, rest)
}

/// Writes pieces by one call, and reads them where they come out.
fn write(pipe: &mut (std::io::PipeReader, PipeWriter), pieces: &[&[u8]]) {
    let slices: Vec<IoSlice<'_>> = pieces.iter().map(|piece| IoSlice::new(piece)).collect();
    let written = pipe.1.write_vectored(&slices).unwrap();
    let mut bytes = vec![0; written];
    pipe.0.read_exact(&mut bytes).unwrap();
}

/// Pieces, and the size and bytes that are told of them.
fn cases() -> Vec<(Vec<Vec<u8>>, u64, Vec<u8>)> {
    let long = vec![b'x'; 3000];
    let many: Vec<Vec<u8>> = (b'a'..b'a' + 20).map(|letter| vec![letter]).collect();
    vec![
        (vec![b"one".to_vec()], 3, b"one".to_vec()),
        (vec![b"abc".to_vec(), Vec::new(), b"defg".to_vec()], 7, b"abcdefg".to_vec()),
        (vec![long.clone(), b"-".to_vec(), long.clone()], 6001, [&long, &b"-"[..], &long[..1095]].concat()),
        // Of more pieces than are looked at, the bytes of the first.
        (many, 20, (b'a'..b'a' + 16).collect()),
    ]
}

#[test]
fn vectors_of_system_calls() {
    let Some(mut lab) = Lab::new() else { return };
    let text = policy(
        "kprobes:
- call: sys_writev
  syscall: true
  args:
  - {index: 1, type: char_iovec, sizeArgIndex: 3}
  - {index: 2, type: int}
  selectors:
  - matchPIDs: [{operator: In, values: [OWN]}]",
    );
    for way in ways() {
        let _applied = lab.apply_on(&text, &way).unwrap();
        let mut pipe = std::io::pipe().unwrap();
        let told = lab.told(|| {
            for (pieces, ..) in cases() {
                write(&mut pipe, &pieces.iter().map(Vec::as_slice).collect::<Vec<_>>());
            }
        });
        assert_eq!(told.len(), cases().len());
        for (told, (pieces, size, bytes)) in told.iter().zip(cases()) {
            assert_eq!(buffer(told, 0), (size, bytes.as_slice()), "{pieces:?}");
            assert_eq!(told.number(1), pieces.len() as i64);
        }
    }
}

#[test]
fn ways_of_the_kernel_through_vectors() {
    let Some(mut lab) = Lab::new() else { return };
    if !any_function() {
        println!("functions cannot be hooked here: NOT RUN");
        return;
    }
    // Linux 7.0 has one function for each kind of pipe.
    let function = if kernel().function("pipe_write").is_some() { "pipe_write" } else { "anon_pipe_write" };
    let text = policy(
        "kprobes:
- call: FUNCTION
  syscall: false
  args: [{index: 1, type: iov_iter, maxData: true}]
  selectors:
  - matchPIDs: [{operator: In, values: [OWN]}]",
    )
    .replace("FUNCTION", function);
    for way in ways() {
        let applied = match lab.apply_on(&text, &way) {
            Ok(applied) => applied,
            Err(refused) => {
                assert_no_way(&refused, way.0);
                continue;
            }
        };
        let mut pipe = std::io::pipe().unwrap();
        // What is printed may go through a pipe as well.
        let told = lab.told(|| {
            for (pieces, ..) in cases() {
                write(&mut pipe, &pieces.iter().map(Vec::as_slice).collect::<Vec<_>>());
            }
            pipe.1.write_all(b"plain").unwrap();
        });
        let mut expected: Vec<(u64, Vec<u8>)> =
            cases().into_iter().map(|(_, size, bytes)| (size, bytes)).collect();
        expected.push((5, b"plain".to_vec()));
        let told: Vec<(u64, Vec<u8>)> =
            told.iter().map(|one| buffer(one, 0)).map(|(size, bytes)| (size, bytes.to_vec())).collect();
        assert_eq!(told, expected, "by {}", applied.plans[0].attach.mechanism());
    }
}

/// Asks for an event of this process, and lets it go.
#[expect(unsafe_code, reason = "no library has a safe form of this system call")]
fn ask_for_event(kind: u32, config: u64, function: Option<&std::ffi::CStr>, offset: u64) {
    let mut attributes = perf_event_attr {
        type_: kind,
        size: size_of::<perf_event_attr>() as u32,
        config,
        ..perf_event_attr::default()
    };
    attributes.set_disabled(1);
    if let Some(function) = function {
        attributes.__bindgen_anon_3.kprobe_func = function.as_ptr() as u64;
    }
    attributes.__bindgen_anon_4.probe_offset = offset;
    // SAFETY: the kernel reads `size` bytes of the attributes and the text, which live during the call.
    let opened = unsafe { libc::syscall(libc::SYS_perf_event_open, &raw const attributes, 0, -1, -1, 0) };
    assert!(opened >= 0, "{kind}: {}", std::io::Error::last_os_error());
    // SAFETY: nobody else has it.
    unsafe { libc::close(opened as i32) };
}

/// On 5.10 its function is kept from tracing.
#[test]
fn the_system_call_that_asks_for_events() {
    let Some(mut lab) = Lab::new() else { return };
    let text = policy(
        "kprobes:
- call: sys_perf_event_open
  syscall: true
  return: true
  args: [{index: 2, type: int}]
  returnArg: {index: 0, type: int}
  selectors:
  - matchPIDs: [{operator: In, values: [OWN]}]",
    );
    let applied = lab.apply(&text).unwrap();
    println!("by {}: {}", applied.plans[0].attach.mechanism(), applied.plans[0].note);
    let told = lab.told(|| ask_for_event(1, 2, None, 0));
    let told: Vec<_> =
        told.iter().map(|one| if one.is_return() { one.result().min(0) } else { one.number(0) }).collect();
    assert_eq!(told, [-1, 0]);
}

#[test]
fn events_that_measure() {
    let Some(mut lab) = Lab::new() else { return };
    if !any_function() {
        println!("functions cannot be hooked here: NOT RUN");
        return;
    }
    let text = policy(
        "kprobes:
- call: security_perf_event_alloc
  syscall: false
  args: [{index: 0, type: perf_event}]
  selectors:
  - matchPIDs: [{operator: In, values: [OWN]}]",
    );
    let probe = std::fs::read_to_string("/sys/bus/event_source/devices/kprobe/type").unwrap();
    let probe: u32 = probe.trim().parse().unwrap();
    for way in ways() {
        let applied = match lab.apply_on(&text, &way) {
            Ok(applied) => applied,
            Err(refused) => {
                assert_no_way(&refused, way.0);
                continue;
            }
        };
        println!("by {}", applied.plans[0].attach.mechanism());
        let told = lab.told(|| {
            ask_for_event(1, 2, None, 0);
            ask_for_event(probe, 0, Some(c"vfs_read"), 0);
            ask_for_event(probe, 1, Some(c"vfs_fsync_range"), 0);
        });
        let told: Vec<(u32, u64, u64, String)> = told
            .iter()
            .map(|one| {
                let (event, name) = saker_perf_event::read_from_prefix(one.value(0)).unwrap();
                let name = String::from_utf8_lossy(name).into_owned();
                (event.type_, event.config, event.probe_offset, name)
            })
            .collect();
        let function = |config, name: &str| (probe, config, 0, name.to_owned());
        let expected = [(1, 2, 0, String::new()), function(0, "vfs_read"), function(1, "vfs_fsync_range")];
        assert_eq!(told, expected);
    }
}

#[test]
fn maps() {
    let Some(mut lab) = Lab::new() else { return };
    if !any_function() {
        println!("functions cannot be hooked here: NOT RUN");
        return;
    }
    // It has another name before Linux 6.9.
    let text = policy(
        "kprobes:
- call: security_bpf_map_create
  syscall: false
  ignore: {callNotFound: true}
  args: [{index: 0, type: bpf_map}]
  selectors:
  - matchPIDs: [{operator: In, values: [OWN]}]
- call: security_bpf_map_alloc
  syscall: false
  ignore: {callNotFound: true}
  args: [{index: 0, type: bpf_map}]
  selectors:
  - matchPIDs: [{operator: In, values: [OWN]}]",
    );
    for way in ways() {
        let applied = match lab.apply_on(&text, &way) {
            Ok(applied) => applied,
            Err(refused) => {
                assert_no_way(&refused, way.0);
                continue;
            }
        };
        println!("{} by {}", applied.plans[0].text.function, applied.plans[0].attach.mechanism());
        let told = lab.told(|| {
            let options = bpf_map_create_opts {
                sz: size_of::<bpf_map_create_opts>() as _,
                ..bpf_map_create_opts::default()
            };
            MapHandle::create(MapType::Hash, Some("saker_trial"), 4, 24, 7, &options).unwrap();
        });
        let found = told.iter().filter_map(|one| saker_bpf_map::read_from_prefix(one.value(0)).ok());
        let found: Vec<_> = found.filter(|(_, name)| *name == b"saker_trial").map(|(map, _)| map).collect();
        assert_eq!(found.len(), 1, "{told:?}");
        let map = found[0];
        assert_eq!((map.type_, map.key_size, map.value_size, map.max_entries), (1, 4, 24, 7));
    }
}

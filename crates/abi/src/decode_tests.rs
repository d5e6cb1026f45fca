//! Tests of the decoder: what is built comes back, what is broken is refused, nothing panics.

use proptest::prelude::*;

use super::*;
use crate::{Key, build};

fn sample_exec() -> Vec<u8> {
    let mut exec = Exec::default();
    exec.rec.process = Key::new(7, 99);
    exec.rec.seq = 3;
    exec.id.creds.euid = 1000;
    build::exec(exec)
        .ok(Tag::FILENAME, b"/bin/sh")
        .value(Tag::ARGS, Status::Truncated, 0, b"sh\0-c\0")
        .finish()
}

fn set_u16(bytes: &mut [u8], at: usize, value: u16) {
    bytes[at..at + 2].copy_from_slice(&value.to_ne_bytes());
}

fn set_u32(bytes: &mut [u8], at: usize, value: u32) {
    bytes[at..at + 4].copy_from_slice(&value.to_ne_bytes());
}

#[test]
fn exec_comes_back_as_built() {
    let bytes = sample_exec();
    let record = decode(&bytes).unwrap();
    let Body::Exec(exec) = &record.body else { panic!("not an exec: {:?}", record.body) };
    assert_eq!((exec.rec.process, exec.rec.seq, exec.id.creds.euid), (Key::new(7, 99), 3, 1000));
    let values: Vec<_> = record.values().collect();
    assert_eq!(values[0], Value { tag: Tag::FILENAME, status: Status::Ok, flags: 0, bytes: b"/bin/sh" });
    assert_eq!(values[1].status, Status::Truncated);
    assert_eq!(values.len(), 2);
}

#[test]
fn bytes_at_any_address_are_decoded_alike() {
    let bytes = sample_exec();
    for shift in 0..8 {
        let mut shifted = vec![0; shift];
        shifted.extend_from_slice(&bytes);
        let record = decode(&shifted[shift..]).unwrap();
        let Body::Exec(exec) = &record.body else { panic!("not an exec: {:?}", record.body) };
        assert_eq!((exec.rec.process, exec.id.creds.euid), (Key::new(7, 99), 1000));
        assert_eq!(record.values().count(), 2);
    }
}

#[test]
fn every_truncation_is_an_error() {
    let bytes = sample_exec();
    for len in 0..bytes.len() {
        assert!(decode(&bytes[..len]).is_err(), "{len} of {} bytes", bytes.len());
    }
}

#[test]
fn trailing_bytes_of_a_larger_slot_are_ignored() {
    let mut bytes = sample_exec();
    bytes.extend_from_slice(&[0xff; 24]);
    assert_eq!(decode(&bytes).unwrap().values().count(), 2);
}

#[test]
fn a_longer_fixed_part_is_accepted_and_a_shorter_one_refused() {
    let exit = Exit { code: 9, ..Exit::default() };
    let mut bytes = build::exit(exit).finish();
    let head = bytes.len();
    bytes.extend_from_slice(&[1; 16]);
    set_u16(&mut bytes, 4, (head + 16) as u16);
    set_u32(&mut bytes, 8, (head + 16) as u32);
    let record = decode(&bytes).unwrap();
    assert!(matches!(&record.body, Body::Exit(exit) if exit.code == 9));
    assert_eq!(record.values().count(), 0);

    set_u16(&mut bytes, 4, (head - 8) as u16);
    assert!(matches!(decode(&bytes), Err(DecodeError::Value(_) | DecodeError::Head { .. })));
}

#[test]
fn wrong_headers_are_refused_by_name() {
    let mut bytes = sample_exec();
    set_u16(&mut bytes, 0, 2);
    assert_eq!(decode(&bytes).unwrap_err(), DecodeError::Version(2));
    let mut bytes = sample_exec();
    set_u16(&mut bytes, 4, 8);
    assert!(matches!(decode(&bytes).unwrap_err(), DecodeError::Head { head_len: 8, .. }));
    let mut bytes = vec![0; 65536];
    bytes[..sample_exec().len()].copy_from_slice(&sample_exec());
    set_u32(&mut bytes, 8, 40000);
    assert!(matches!(decode(&bytes).unwrap_err(), DecodeError::Length { says: 40000, .. }));
}

#[test]
fn a_value_beyond_the_end_is_refused() {
    let mut bytes = sample_exec();
    let head = size_of::<Exec>();
    set_u32(&mut bytes, head + 4, u32::MAX);
    assert_eq!(decode(&bytes).unwrap_err(), DecodeError::Value(head));
}

#[test]
fn unknown_kinds_tags_and_statuses_are_no_errors() {
    let mut bytes = sample_exec();
    bytes[2] = 200;
    set_u16(&mut bytes, size_of::<Exec>(), 999);
    bytes[size_of::<Exec>() + 2] = 77;
    let record = decode(&bytes).unwrap();
    assert!(matches!(&record.body, Body::Unknown(header) if header.kind == 200));
    let value = record.values().next().unwrap();
    assert_eq!((value.tag, value.status), (Tag(999), Status::Failed));
}

proptest! {
    #[test]
    fn values_round_trip(values in prop::collection::vec((any::<u16>(), 0u8..4, any::<u8>(), prop::collection::vec(any::<u8>(), 0..100)), 0..10)) {
        let mut builder = build::fork(Fork::default());
        for (tag, status, flags, bytes) in &values {
            builder = builder.value(Tag(*tag), Status::from_raw(*status), *flags, bytes);
        }
        let bytes = builder.finish();
        let record = decode(&bytes).unwrap();
        let back: Vec<_> = record.values().map(|v| (v.tag.0, v.status as u8, v.flags, v.bytes.to_vec())).collect();
        prop_assert_eq!(back, values);
    }

    #[test]
    fn mutated_records_never_panic(changes in prop::collection::vec((0usize..420, any::<u8>()), 0..8), cut in 0usize..420) {
        let mut bytes = sample_exec();
        for (at, value) in changes {
            let len = bytes.len();
            bytes[at % len] = value;
        }
        bytes.truncate(cut);
        if let Ok(record) = decode(&bytes) {
            let total: usize = record.values().map(|value| value.bytes.len()).sum();
            prop_assert!(total <= bytes.len());
        }
    }

    #[test]
    fn mutated_hooks_never_panic(changes in prop::collection::vec((0usize..420, any::<u8>()), 0..8), cut in 200usize..420) {
        let number = crate::generated::saker_number { value: 3 };
        let mut bytes = build::hook(crate::Hook::default())
            .captured(Tag::captured(0), crate::generated::SAKER_TYPE_INT, &number, b"")
            .captured(Tag::captured(1), crate::generated::SAKER_TYPE_CHAR_BUF, &number, b"abc")
            .finish();
        for (at, value) in changes {
            let len = bytes.len();
            bytes[at % len] = value;
        }
        bytes.truncate(cut);
        if let Ok(record) = decode(&bytes) {
            let contents = record.values().filter_map(|value| value.content().ok()).count();
            prop_assert!(contents <= record.values().count());
        }
    }

    #[test]
    fn paths_round_trip(names in prop::collection::vec("[^/\0]{1,12}", 0..8)) {
        let path = format!("/{}", names.join("/"));
        let mut out = String::new();
        crate::push_path(&mut out, &build::components(&path), true);
        prop_assert_eq!(out, path);
    }
}

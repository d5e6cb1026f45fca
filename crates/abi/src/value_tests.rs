//! Tests of captured values: what is built comes back, what is too short is refused, nothing panics.

use proptest::prelude::*;

use super::*;
use crate::{Body, Hook, HookFlags, Key, Tag, build, decode};

/// Every type with the size of its fixed part.
const TYPES: [(u32, usize); 45] = [
    (raw::SAKER_TYPE_INT, 8),
    (raw::SAKER_TYPE_CHAR_BUF, 8),
    (raw::SAKER_TYPE_CHAR_IOVEC, 8),
    (raw::SAKER_TYPE_SIZE, 8),
    (raw::SAKER_TYPE_SKB, 64),
    (raw::SAKER_TYPE_STRING, 0),
    (raw::SAKER_TYPE_SOCK, 64),
    (raw::SAKER_TYPE_CRED, 96),
    (raw::SAKER_TYPE_S64, 8),
    (raw::SAKER_TYPE_U64, 8),
    (raw::SAKER_TYPE_S32, 8),
    (raw::SAKER_TYPE_U32, 8),
    (raw::SAKER_TYPE_FILENAME, 0),
    (raw::SAKER_TYPE_PATH, 24),
    (raw::SAKER_TYPE_FILE, 24),
    (raw::SAKER_TYPE_FD, 24),
    (raw::SAKER_TYPE_CONST_BUF, 8),
    (raw::SAKER_TYPE_BPF_ATTR, 8),
    (raw::SAKER_TYPE_PERF_EVENT, 24),
    (raw::SAKER_TYPE_BPF_MAP, 16),
    (raw::SAKER_TYPE_USER_NAMESPACE, 16),
    (raw::SAKER_TYPE_CAPABILITY, 8),
    (raw::SAKER_TYPE_KIOCB, 24),
    (raw::SAKER_TYPE_IOV_ITER, 8),
    (raw::SAKER_TYPE_LOAD_INFO, 16),
    (raw::SAKER_TYPE_MODULE, 16),
    (raw::SAKER_TYPE_SYSCALL64, 8),
    (raw::SAKER_TYPE_S16, 8),
    (raw::SAKER_TYPE_U16, 8),
    (raw::SAKER_TYPE_S8, 8),
    (raw::SAKER_TYPE_U8, 8),
    (raw::SAKER_TYPE_KERNEL_CAP, 8),
    (raw::SAKER_TYPE_CAP_INHERITABLE, 8),
    (raw::SAKER_TYPE_CAP_PERMITTED, 8),
    (raw::SAKER_TYPE_CAP_EFFECTIVE, 8),
    (raw::SAKER_TYPE_LINUX_BINPRM, 24),
    (raw::SAKER_TYPE_DATA_LOC, 0),
    (raw::SAKER_TYPE_NET_DEVICE, 0),
    (raw::SAKER_TYPE_SOCKADDR, 24),
    (raw::SAKER_TYPE_SOCKET, 64),
    (raw::SAKER_TYPE_DENTRY, 24),
    (raw::SAKER_TYPE_BPF_PROG, 8),
    (raw::SAKER_TYPE_SOCKADDR_UN, 24),
    (raw::SAKER_TYPE_BPF_CMD, 8),
    (raw::SAKER_TYPE_NONE, 0),
];

fn value(type_: u32, bytes: &[u8]) -> Value<'_> {
    Value { tag: Tag::captured(0), status: Status::Ok, flags: type_ as u8, bytes }
}

#[test]
fn every_type_is_read_from_its_size_on_and_refused_below() {
    let bytes = [7; 96];
    for (type_, size) in TYPES {
        for len in 0..=bytes.len() {
            let content = value(type_, &bytes[..len]).content();
            if len >= size {
                assert!(content.is_ok(), "type {type_} of {len} bytes: {content:?}");
            } else {
                let short = Mismatch::Short { type_: type_ as u8, has: len, needs: size };
                assert_eq!(content.unwrap_err(), short);
            }
        }
    }
    let known: Vec<u32> = TYPES.iter().map(|(type_, _)| *type_).collect();
    for other in (0..=255u8).filter(|type_| !known.contains(&u32::from(*type_))) {
        assert_eq!(value(other.into(), &bytes).content().unwrap_err(), Mismatch::Type(other));
    }
}

#[test]
fn a_hook_comes_back_as_built() {
    let mut hook = Hook { call: 9, tid: 43, selector: 2, flags: HookFlags::WAITS.0, ..Hook::default() };
    hook.rec.process = Key::new(42, 7);
    let object = raw::saker_object { ino: 5, dev: 8 << 20 | 1, mode: 0o100_644, flags: 1, zero: 0 };
    let number = raw::saker_number { value: (-2i64).cast_unsigned() };
    let bytes = build::hook(hook)
        .captured(Tag::captured(0), raw::SAKER_TYPE_FILE, &object, b"/etc/passwd")
        .captured(Tag::captured(1), raw::SAKER_TYPE_S16, &number, b"")
        .value(Tag::captured(2), Status::Failed, raw::SAKER_TYPE_STRING as u8, b"")
        .captured(Tag::RESULT, raw::SAKER_TYPE_U32, &number, b"")
        .finish();
    let record = decode(&bytes).unwrap();
    let Body::Hook(hook) = &record.body else { panic!("not a hook: {:?}", record.body) };
    assert_eq!((hook.rec.process, hook.call, hook.tid, hook.selector), (Key::new(42, 7), 9, 43, 2));
    assert!(HookFlags(hook.flags).has(HookFlags::WAITS) && !HookFlags(hook.flags).has(HookFlags::RETURN));
    let values: Vec<_> = record.values().collect();
    let tags: Vec<_> = values.iter().map(|value| value.tag.index()).collect();
    assert_eq!(tags, [Some(0), Some(1), Some(2), None]);
    let contents: Vec<_> = values.iter().map(|value| value.content().unwrap()).collect();
    let Content::Object(ObjectKind::File, object, path) = contents[0] else { panic!("{:?}", contents[0]) };
    assert_eq!((object.ino, object.mode, path), (5, 0o100_644, &b"/etc/passwd"[..]));
    assert!(matches!(contents[1], Content::Int(-2)), "{:?}", contents[1]);
    assert!(matches!(contents[2], Content::Failed), "{:?}", contents[2]);
    assert!(matches!(contents[3], Content::Uint(0xffff_fffe)), "{:?}", contents[3]);
}

#[test]
fn tags_beyond_what_a_hook_captures_are_no_values() {
    assert_eq!(Tag::captured(11).index(), Some(11));
    assert_eq!(Tag::captured(12).index(), None);
    assert_eq!(Tag(255).index(), None);
    assert_eq!(Tag::captured(u16::MAX).index(), None);
}

proptest! {
    #[test]
    fn any_bytes_are_a_value_or_an_error(
        type_ in any::<u8>(), status in 0u8..5, bytes in prop::collection::vec(any::<u8>(), 0..128),
    ) {
        let status = Status::from_raw(status);
        let value = Value { tag: Tag::RESULT, status, flags: type_, bytes: &bytes };
        match value.content() {
            Ok(Content::Text(text)) => prop_assert!(text.len() == bytes.len()),
            Ok(Content::Buffer(_, rest)) => prop_assert!(rest.len() + 8 == bytes.len()),
            Ok(Content::Object(_, _, path)) => prop_assert!(path.len() + 24 == bytes.len()),
            Ok(Content::Failed) => {
                prop_assert!(matches!(status, Status::Failed | Status::Chunked) || type_ == 0);
            }
            Err(Mismatch::Short { has, needs, .. }) => prop_assert!(has == bytes.len() && has < needs),
            _ => {}
        }
    }
}

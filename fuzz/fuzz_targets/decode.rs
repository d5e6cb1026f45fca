//! Any bytes are a record or an error, and what a record gives lies within the bytes.

#![no_main]

use libfuzzer_sys::fuzz_target;
use saker_abi::{decode, push_path, split_vector};

fuzz_target!(|bytes: &[u8]| {
    let Ok(record) = decode(bytes) else { return };
    let mut total = usize::from(record.header().head_len);
    let mut text = String::new();
    for value in record.values() {
        total += 8 + value.bytes.len();
        text.clear();
        let _ = value.content();
        push_path(&mut text, value.bytes, value.flags & 1 == 0);
        assert!(split_vector(value.bytes).map(<[u8]>::len).sum::<usize>() <= value.bytes.len());
    }
    assert!(total <= bytes.len());
});

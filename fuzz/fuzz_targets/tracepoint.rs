//! Any text is the format of a tracepoint, or an error; its fields lie within the longest record.

#![no_main]

use libfuzzer_sys::fuzz_target;
use saker_policy::tracepoint::{Format, MAX_FIELDS, MAX_RECORD};

fuzz_target!(|bytes: &[u8]| {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let Ok(format) = Format::parse(text) else { return };
    assert!(format.fields.len() <= MAX_FIELDS);
    for field in &format.fields {
        assert!(field.offset + field.size <= MAX_RECORD);
        let _ = field.automatic();
        for ty in 0..=45 {
            let Ok(mut plan) = field.value(ty) else { continue };
            assert!(plan.max <= 4096 && plan.step[0].offset >= 8);
            for size in &format.fields {
                let _ = size.size_of(&mut plan);
            }
        }
    }
});

//! Any bytes are a segment of a spool as far as they can be read, and what is read was written so: written again it gives
//! the same bytes.

#![no_main]

use libfuzzer_sys::fuzz_target;

// The file alone: the crate around it brings HTTP, gRPC and brokers, which would take minutes to build.
#[allow(dead_code)]
#[path = "../../crates/export/src/spool/segment.rs"]
mod segment;

use segment::{RecordReader, Step};

fuzz_target!(|bytes: &[u8]| {
    let mut reader = RecordReader::new(bytes);
    let Ok(Some(first)) = reader.head() else { return };
    let mut again = segment::head(first).to_vec();
    let (mut number, mut record) = (first, Vec::new());
    while let Ok(Step::Record) = reader.next(number, &mut record) {
        assert!(record.len() <= segment::MAX_RECORD);
        segment::encode(number, &record, &mut again);
        number = number.wrapping_add(1);
    }
    assert!(bytes.starts_with(&again));
});

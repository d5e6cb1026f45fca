//! Any bytes are a capture, a cut one or an error; replaying one never panics and adds up.

#![no_main]

use libfuzzer_sys::fuzz_target;
use saker_engine::{CaptureHeader, EngineConfig, replay};

fuzz_target!(|bytes: &[u8]| {
    let mut events = 0;
    // As `saker replay` does, but within small bounds.
    let configure = |header: &CaptureHeader| {
        let config = header.engine();
        EngineConfig { capacity: config.capacity.min(64), pending_bytes: 4096, ..config }
    };
    let replayed = replay(bytes, configure, |batch| events += batch.len());
    if let Ok(replayed) = replayed {
        assert_eq!(replayed.counters.imbalance(), None);
        assert_eq!(replayed.counters.events.total(), events as u64);
    }
});

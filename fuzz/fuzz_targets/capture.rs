//! Any bytes are a capture, a cut one or an error; replaying one never panics and adds up.

#![no_main]

use libfuzzer_sys::fuzz_target;
use saker_engine::{EngineConfig, replay};

fuzz_target!(|bytes: &[u8]| {
    let mut events = 0;
    let config = EngineConfig { capacity: 64, pending_bytes: 4096, ..EngineConfig::default() };
    let replayed = replay(bytes, |header| header.configure(config), |batch| events += batch.len());
    if let Ok(replayed) = replayed {
        assert_eq!(replayed.counters.imbalance(), None);
        let told = replayed.counters.events;
        let sum = told.exec
            + told.exec_snapshot
            + told.exec_reconstructed
            + told.exit
            + told.exit_reconstructed
            + told.gap;
        assert_eq!(sum, events as u64);
    }
});

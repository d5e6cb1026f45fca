//! What tests of hooks share: sensors of their own, plans, and records as bytes.
#![allow(dead_code, clippy::unwrap_used, reason = "a test; not every one uses all of it")]

use std::time::{Duration, Instant};

use saker_abi::generated::*;
use saker_probes::{Hooks, KernelFacts, Options, RecordBatch, Sensors};
use zerocopy::{FromBytes, FromZeros};

/// A plan of the test's policy without anything in it.
pub fn plan(hook: u32) -> Box<saker_plan> {
    let mut plan = Box::new(saker_plan::new_zeroed());
    plan.policy = 7;
    plan.hook = hook;
    plan.family = SAKER_FAMILY_KPROBE as u8;
    plan
}

/// A value of this type, the argument with this index.
pub fn value(ty: u32, index: u8) -> saker_value_plan {
    let mut value = saker_value_plan { type_: ty as u8, index, size_index: 255, ..Default::default() };
    value.max = 4096;
    value
}

/// Bytes of a value: tag and content.
pub fn values(record: &[u8]) -> Vec<(u16, u8, Vec<u8>)> {
    let mut rest = &record[size_of::<saker_hook>()..];
    let mut found = Vec::new();
    while let Ok((tlv, after)) = saker_tlv::read_from_prefix(rest) {
        let len = tlv.len as usize;
        found.push((tlv.tag, tlv.status, after[..len].to_vec()));
        rest = &after[len.next_multiple_of(8).min(after.len())..];
    }
    found
}

/// Sensors and what hooks need of them.
pub struct Lab {
    pub sensors: Sensors,
    pub hooks: Hooks,
}

impl Lab {
    /// `None` without root.
    pub fn new() -> Option<Self> {
        if !rustix::process::geteuid().is_root() {
            println!("needs root: NOT RUN");
            return None;
        }
        let facts = KernelFacts::for_sensors().unwrap();
        let sensors = Sensors::load(&Options::default(), &facts).unwrap();
        let hooks = Hooks::beside(&sensors).unwrap();
        Some(Self { sensors, hooks })
    }

    /// Records of hooks that `act` of this process brings about.
    pub fn records(&self, act: impl FnOnce()) -> Vec<Vec<u8>> {
        let me = rustix::thread::gettid().as_raw_nonzero().get() as u32;
        self.records_of(|| {
            act();
            me
        })
    }

    /// Records of hooks of the thread that `act` names, which ran meanwhile.
    pub fn records_of(&self, act: impl FnOnce() -> u32) -> Vec<Vec<u8>> {
        let me = act();
        let mut reader = self.sensors.reader().unwrap();
        let mut batch = RecordBatch::default();
        let begin = Instant::now();
        while begin.elapsed() < Duration::from_millis(1500) {
            let read = reader.read(Duration::from_millis(100), &mut batch).unwrap();
            if read.records == 0 && begin.elapsed() > Duration::from_millis(500) {
                break;
            }
        }
        let mut found = Vec::new();
        for record in batch.records() {
            let (header, _) = saker_record::read_from_prefix(record).unwrap();
            // Other threads are other tests.
            if header.kind == SAKER_KIND_HOOK as u8
                && saker_hook::read_from_prefix(record).unwrap().0.tid == me
            {
                found.push(record.to_vec());
            }
        }
        found
    }
}

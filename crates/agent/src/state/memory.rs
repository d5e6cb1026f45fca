//! What takes how much memory.

use saker_api::saker_v1;

use super::{KernelSample, State};
use crate::server;

fn part(name: &str, bytes: u64) -> saker_v1::MemoryPart {
    saker_v1::MemoryPart { name: name.into(), bytes }
}

impl State {
    /// Bytes that parts of the agent hold, about. An event that waits in several queues is counted in each of them.
    pub(crate) fn memory(&self) -> Vec<saker_v1::MemoryPart> {
        let counters = self.gauges.counters();
        let (mut sinks, mut clients) = (0, 0);
        for queue in self.fanout.all() {
            let sum = if queue.stage() == server::STAGE { &mut clients } else { &mut sinks };
            *sum += queue.stats().bytes;
        }
        let table = self.gauges.table_bytes() + self.gauges.process_bytes();
        let pods = self.pod_table.as_ref().map_or(0, |pods| pods.bytes());
        vec![
            part("process_table", table as u64),
            part("long_values", counters.chunks.waiting_bytes),
            part("waiting_calls", counters.calls.waiting_bytes),
            part("pods", pods as u64),
            part("sink_queues", sinks),
            part("client_queues", clients),
        ]
    }

    /// Bytes that objects in the kernel take: the sensors' programs and each of their maps, and policies together.
    pub(crate) fn kernel_objects(&self, kernel: &KernelSample) -> Vec<saker_v1::MemoryPart> {
        let policies = self.policies.views().iter().map(|view| view.memory).sum();
        let sensors = kernel.memory.iter().map(|(name, bytes)| part(name, *bytes));
        sensors.chain([part("policies", policies)]).collect()
    }
}

//! Replays made-up process churn through the engine and the JSON writer, and says how fast.
//!
//! Arguments: what is shown (letters c, n, x for credentials, namespaces, extras; e for the engine alone), the
//! number of processes, and of rounds.

use std::sync::Arc;
use std::time::Instant;

use saker_api::event::{Node, Visible};
use saker_engine::{Engine, EngineConfig, workload};

fn main() {
    let mut args = std::env::args().skip(1);
    let shows = args.next().unwrap_or_default();
    let count = args.next().and_then(|count| count.parse().ok()).unwrap_or(100_000);
    let rounds = args.next().and_then(|rounds| rounds.parse().ok()).unwrap_or(5);
    let records = workload::churn(count, 200);
    let visible = Visible {
        credentials: shows.contains('c'),
        namespaces: shows.contains('n'),
        extras: shows.contains('x'),
    };
    let json = !shows.contains('e');
    for round in 0..rounds {
        let node = Arc::new(Node { name: "node-1.example".into(), ..Node::default() });
        let mut engine = Engine::new(EngineConfig { node, visible, ..EngineConfig::default() });
        let (mut events, mut lines) = (Vec::new(), Vec::new());
        let (mut count, mut bytes) = (0u64, 0u64);
        let start = Instant::now();
        for batch in records.chunks(64) {
            for record in batch {
                engine.record(record, &mut events);
            }
            for event in &events {
                if json {
                    saker_api::json::write_event(event, &mut lines);
                }
            }
            count += events.len() as u64;
            bytes += lines.len() as u64;
            events.clear();
            lines.clear();
        }
        let took = start.elapsed();
        let per_second = count as f64 / took.as_secs_f64();
        println!(
            "round {round}: {count} events, {bytes} bytes, {per_second:.0} events/s, {} records",
            records.len()
        );
    }
}

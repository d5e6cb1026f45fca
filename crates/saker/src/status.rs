//! `saker status`.

use std::collections::BTreeMap;

use anyhow::Result;
use clap::Args;
use saker_api::json;
use saker_api::saker_v1::saker_service_client::SakerServiceClient;
use saker_api::saker_v1::{GetStatusRequest, GetStatusResponse, HookCounters, Policy};

use crate::client::{self, ServerArgs};
use crate::output::{self, Data};

/// Arguments of `saker status`.
#[derive(Args)]
pub struct StatusArgs {
    #[command(flatten)]
    server: ServerArgs,
    /// Form of the output
    #[arg(short, long, value_enum, default_value_t = Data::Table)]
    output: Data,
}

/// Asks and prints.
pub fn run(args: &StatusArgs) -> Result<()> {
    let status = client::runtime()?.block_on(async {
        let mut client = SakerServiceClient::new(args.server.connect().await?);
        let answer = client.get_status(GetStatusRequest {}).await;
        anyhow::Ok(answer.map_err(|status| client::refused(&status))?.into_inner())
    })?;
    match args.output {
        Data::Json => output::print(&format!("{}\n", json::status_object(&status))),
        Data::Table => output::print(&table(&status)),
    }
}

fn table(status: &GetStatusResponse) -> String {
    let mut text = general(status);
    let row = |cells: &[&dyn ToString]| cells.iter().map(|cell| cell.to_string()).collect::<Vec<_>>();
    let mut rows = vec![row(&[&"RECORDS", &"PRODUCED", &"RECEIVED", &"LOST"])];
    for record in &status.records {
        let lost: Vec<String> = record.lost.iter().map(|(cause, count)| format!("{cause} {count}")).collect();
        let lost = if lost.is_empty() { "0".to_owned() } else { lost.join(", ") };
        rows.push(row(&[&record.kind, &record.produced, &record.received, &lost]));
    }
    section(&mut text, &rows);
    let mut rows = vec![row(&[&"EVENTS", &"COUNT"])];
    rows.extend(status.events.iter().map(|(kind, count)| row(&[kind, count])));
    section(&mut text, &rows);
    let mut rows =
        vec![row(&[&"SINK", &"TARGET", &"OFFERED", &"WRITTEN", &"FILTERED", &"DROPPED", &"BYTES"])];
    for sink in &status.sinks {
        let cells: [&dyn ToString; 7] = [
            &sink.name,
            &sink.target,
            &sink.events,
            &sink.written,
            &sink.filtered,
            &sink.dropped,
            &bytes(sink.bytes),
        ];
        rows.push(row(&cells));
    }
    section(&mut text, &rows);
    let spools = status.sinks.iter().filter(|sink| sink.spool_capacity_bytes > 0);
    let mut rows = Vec::new();
    for sink in spools {
        let (used, capacity) = (bytes(sink.spooled_bytes), bytes(sink.spool_capacity_bytes));
        rows.push(row(&[&sink.name, &sink.spooled_events, &used, &capacity]));
    }
    if !rows.is_empty() {
        rows.insert(0, row(&[&"SPOOL", &"EVENTS", &"BYTES", &"CAPACITY"]));
        section(&mut text, &rows);
    }
    let mut rows = vec![row(&[&"QUEUE", &"LENGTH", &"HIGHEST", &"CAPACITY", &"UNIT"])];
    for queue in &status.queues {
        rows.push(row(&[&queue.name, &queue.length, &queue.high_water, &queue.capacity, &queue.unit]));
    }
    section(&mut text, &rows);
    let mut rows = vec![row(&[&"POLICY", &"STATE", &"HOOKS", &"CALLS", &"POSTED", &"LOST", &"MEMORY"])];
    for policy in &status.policies {
        let sum = |count: fn(&HookCounters) -> u64| -> u64 {
            policy.hooks.iter().filter_map(|hook| hook.counters.as_ref()).map(count).sum()
        };
        let cells: [&dyn ToString; 7] = [
            &policy_name(policy),
            &policy.state,
            &policy.hooks.len(),
            &sum(|counters| counters.calls),
            &sum(|counters| counters.posted),
            &sum(|counters| counters.lost + counters.unpaired + counters.missed),
            &bytes(policy.kernel_memory_bytes),
        ];
        rows.push(row(&cells));
    }
    section(&mut text, &rows);
    if !status.helper_failures.is_empty() {
        let mut rows = vec![row(&[&"HELPER FAILED", &"AT", &"ERRNO", &"COUNT"])];
        rows.extend(status.helper_failures.iter().map(|f| row(&[&f.helper, &f.place, &f.errno, &f.count])));
        section(&mut text, &rows);
    }
    text.push('\n');
    if status.problems.is_empty() {
        text.push_str("healthy: nothing was lost\n");
    }
    for problem in &status.problems {
        text.push_str(&format!("! {problem}\n"));
    }
    text
}

fn general(status: &GetStatusResponse) -> String {
    let mut rows = Vec::new();
    let mut line = |name: &str, value: String| rows.push(vec![name.to_owned(), value]);
    line("agent", format!("saker {} on {}, PID {}", status.version, status.node_name, status.pid));
    line("kernel", status.kernel_release.clone());
    line("uptime", duration(status.uptime_ns / 1_000_000_000));
    let sensors: Vec<String> =
        status.sensors.iter().map(|sensor| format!("{} ({})", sensor.name, sensor.hook)).collect();
    line("sensors", sensors.join(", "));
    line("policies", states(&status.policies));
    if let Some(enforcement) = &status.enforcement {
        line("enforcement", crate::enforce::summary(enforcement));
    }
    if let Some(protection) = &status.self_protection {
        line("protection", crate::protect::summary(protection));
    }
    if let Some(resources) = &status.resources {
        let (now, peak) = (bytes(resources.memory_rss_bytes), bytes(resources.memory_peak_bytes));
        line(
            "memory",
            format!("{now}, at most {peak}; {} in the kernel", bytes(resources.kernel_memory_bytes)),
        );
        let load = format!(
            "{:.2} % of one CPU in the last minute, {:.2} % since the start ({:.2} s)",
            resources.cpu_load_1m * 100.0,
            resources.cpu_load * 100.0,
            resources.cpu_seconds
        );
        line("load", load);
        line("rate", format!("{:.1} events a second in the last minute", resources.events_per_second_1m));
    }
    if let Some(table) = &status.processes {
        let alive = table.size - table.ended.min(table.size);
        let mut text = format!("{alive} alive, {} remembered, of at most {}", table.ended, table.capacity);
        if table.resyncs > 0 {
            text.push_str(&format!(
                "; {} resyncs reconstructed {} and ended {}",
                table.resyncs, table.reconstructed, table.ended_unseen
            ));
        }
        line("processes", text);
    }
    output::columns(&rows)
}

/// A policy's name with its namespace.
pub fn policy_name(policy: &Policy) -> String {
    if policy.namespace.is_empty() {
        policy.name.clone()
    } else {
        format!("{}/{}", policy.namespace, policy.name)
    }
}

/// How many policies there are in each state.
fn states(policies: &[Policy]) -> String {
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for policy in policies {
        *counts.entry(&policy.state).or_default() += 1;
    }
    let counts: Vec<String> = counts.iter().map(|(state, count)| format!("{count} {state}")).collect();
    if counts.is_empty() { "none".to_owned() } else { counts.join(", ") }
}

fn section(text: &mut String, rows: &[Vec<String>]) {
    if rows.len() > 1 {
        text.push('\n');
        text.push_str(&output::columns(rows));
    }
}

/// A size for people.
pub fn bytes(count: u64) -> String {
    let units = ["B", "KiB", "MiB", "GiB", "TiB"];
    let mut value = count as f64;
    let mut unit = 0;
    while value >= 1024.0 && unit + 1 < units.len() {
        value /= 1024.0;
        unit += 1;
    }
    if unit == 0 { format!("{count} B") } else { format!("{value:.1} {}", units[unit]) }
}

fn duration(seconds: u64) -> String {
    let (days, hours, minutes) = (seconds / 86_400, seconds / 3600 % 24, seconds / 60 % 60);
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{seconds} s"),
        (0, 0, minutes) => format!("{minutes} min {} s", seconds % 60),
        (0, hours, minutes) => format!("{hours} h {minutes} min"),
        (days, hours, _) => format!("{days} d {hours} h"),
    }
}

#[cfg(test)]
mod tests {
    use saker_api::saker_v1::{PolicyHook, Queue, RecordCount, Resources, Sink};

    use super::*;

    #[test]
    fn units() {
        assert_eq!(
            [bytes(0), bytes(1023), bytes(1536), bytes(20 << 20)],
            ["0 B", "1023 B", "1.5 KiB", "20.0 MiB"]
        );
        assert_eq!(
            [duration(5), duration(65), duration(7260), duration(90_000)],
            ["5 s", "1 min 5 s", "2 h 1 min", "1 d 1 h"]
        );
    }

    #[test]
    fn table_tells_losses() {
        let mut status = GetStatusResponse {
            records: vec![RecordCount {
                kind: "exec".into(),
                produced: 7,
                received: 5,
                lost: [("ring_full".into(), 2)].into(),
            }],
            sinks: vec![Sink { name: "file".into(), target: "/x".into(), ..Sink::default() }],
            queues: vec![Queue { name: "file".into(), ..Queue::default() }],
            resources: Some(Resources::default()),
            problems: vec!["2 records were lost before they became events".into()],
            ..GetStatusResponse::default()
        };
        let text = table(&status);
        assert!(text.contains("exec     7         5         ring_full 2"), "{text}");
        assert!(text.ends_with("\n! 2 records were lost before they became events\n"), "{text}");
        assert!(text.contains("policies  none\n"), "{text}");
        status.problems.clear();
        let counters = HookCounters { calls: 9, posted: 5, lost: 1, missed: 3, ..HookCounters::default() };
        let hook = PolicyHook { counters: Some(counters), ..PolicyHook::default() };
        let policy = |name: &str, state: &str, hooks: &[PolicyHook]| Policy {
            name: name.into(),
            state: state.into(),
            hooks: hooks.into(),
            ..Policy::default()
        };
        status.policies = vec![
            policy("a", "enabled", &[hook.clone(), hook]),
            policy("b", "enabled", &[]),
            policy("c", "load_error", &[]),
        ];
        let text = table(&status);
        assert!(text.contains("policies  2 enabled, 1 load_error\n"), "{text}");
        assert!(text.contains("a       enabled     2      18     10      8     0 B"), "{text}");
        assert!(table(&status).ends_with("\nhealthy: nothing was lost\n"));
    }
}

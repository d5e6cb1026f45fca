//! Intervals as tables and as JSON.

use saker_api::compact::quoted;
use serde_json::{Value, json};

use super::tally::{Counts, Interval, Sums};
use super::{Section, Sort, TopArgs};
use crate::output;
use crate::status::bytes;

/// Columns of the longest name.
const NAME: usize = 60;

/// What is shown of an interval.
pub struct View<'a> {
    interval: &'a Interval,
    args: &'a TopArgs,
    /// Whether the kernel counts what programs take.
    timed: bool,
}

impl<'a> View<'a> {
    pub fn new(interval: &'a Interval, args: &'a TopArgs, timed: bool) -> Self {
        Self { interval, args, timed }
    }

    /// A number of the interval for a second.
    fn rate(&self, count: u64) -> f64 {
        count as f64 / self.interval.time.as_secs_f64().max(0.001)
    }

    fn shows(&self, section: Section) -> bool {
        self.args.show.contains(&section)
    }

    fn processes(&self, most: usize) -> Vec<(&(String, u32), &Counts)> {
        let mut rows: Vec<_> = self.interval.tally.processes.iter().collect();
        let key = |counts: &Counts| match self.args.sort {
            Sort::Events => counts.events,
            Sort::Execs => counts.execs,
            Sort::Files => counts.files,
            Sort::Connections => counts.connections,
            Sort::Calls => counts.calls,
            Sort::Name => 0,
        };
        rows.sort_by(|(name, counts), (other, others)| {
            key(others).cmp(&key(counts)).then_with(|| name.cmp(other))
        });
        rows.truncate(most);
        rows
    }

    fn targets(counts: &std::collections::HashMap<String, u64>, most: usize) -> Vec<(&String, u64)> {
        let mut rows: Vec<_> = counts.iter().map(|(name, &count)| (name, count)).collect();
        rows.sort_by_key(|&(name, count)| (std::cmp::Reverse(count), name));
        rows.truncate(most);
        rows
    }

    fn policies(&self, most: usize) -> Vec<&(String, Sums)> {
        let mut rows: Vec<_> = self.interval.policies.iter().collect();
        let cost =
            |sums: &Sums| if self.args.sort == Sort::Name { (0, 0) } else { (sums.run_time_ns, sums.calls) };
        rows.sort_by(|(name, sums), (other, others)| {
            cost(others).cmp(&cost(sums)).then_with(|| name.cmp(other))
        });
        rows.truncate(most);
        rows
    }

    /// The tables, of at most so many rows each.
    pub fn text(&self, most: usize) -> String {
        let Interval { tally, time, agent_cpu, agent_memory, .. } = self.interval;
        let rate = |count: u64| format!("{:.1}", self.rate(count));
        let mut text = String::new();
        // Tables without rows.
        let mut none = Vec::new();
        if self.args.show.iter().any(|section| *section != Section::Policies) {
            text.push_str(&format!(
                "{} events/s: {} execs, {} exits, {} files, {} connections, {} calls\n",
                rate(tally.all.events),
                rate(tally.all.execs),
                rate(tally.all.exits),
                rate(tally.all.files),
                rate(tally.all.connections),
                rate(tally.all.calls),
            ));
        }
        if let Some(cpu) = agent_cpu {
            let (cpu, memory, seconds) = (cpu * 100.0, bytes(*agent_memory), time.as_secs_f64());
            text.push_str(&format!("agent: {cpu:.1} % of one CPU, {memory}; interval {seconds:.1} s\n"));
        }
        if tally.lost > 0 {
            text.push_str(&format!("! {} records or events were lost in this interval\n", tally.lost));
        }
        if tally.others > 0 {
            text.push_str(&format!(
                "! {} events are in no row: there are too many different ones\n",
                tally.others
            ));
        }
        if self.shows(Section::Processes) {
            let titles = ["EVENTS/S", "EXECS/S", "EXITS/S", "FILES/S", "CONN/S", "CALLS/S", "PID", "BINARY"];
            let mut rows = vec![titles.map(str::to_owned).to_vec()];
            for ((name, pid), counts) in self.processes(most) {
                let Counts { events, execs, exits, files, connections, calls } = *counts;
                let mut row: Vec<String> =
                    [events, execs, exits, files, connections, calls].map(rate).to_vec();
                row.push(if self.args.by_pid { pid.to_string() } else { "-".to_owned() });
                row.push(shown(name));
                rows.push(row);
            }
            section(&mut text, &rows, "processes", &mut none);
        }
        for (kind, title, counts) in [
            (Section::Files, "FILE", &tally.files),
            (Section::Connections, "CONNECTION TO", &tally.connections),
        ] {
            if self.shows(kind) {
                let mut rows = vec![vec!["EVENTS/S".to_owned(), title.to_owned()]];
                let targets = Self::targets(counts, most);
                rows.extend(targets.into_iter().map(|(name, count)| vec![rate(count), shown(name)]));
                let name = if kind == Section::Files { "files" } else { "connections" };
                section(&mut text, &rows, name, &mut none);
            }
        }
        if self.shows(Section::Policies) {
            let titles = [
                "CALLS/S",
                "MATCHED/S",
                "EVENTS/S",
                "LOST/S",
                "ACTED/S",
                "WITHHELD/S",
                "CPU %",
                "NS/RUN",
                "POLICY",
            ];
            let mut rows = vec![titles.map(str::to_owned).to_vec()];
            for (name, sums) in self.policies(most) {
                let counts = [sums.calls, sums.matched, sums.posted, sums.lost, sums.acted, sums.withheld];
                let mut row: Vec<String> = counts.map(rate).to_vec();
                let or_none = |number: Option<String>| number.unwrap_or_else(|| "-".to_owned());
                row.push(or_none(self.timed.then(|| format!("{:.3}", self.cpu(sums) * 100.0))));
                row.push(or_none(self.per_run(sums).map(|ns| format!("{ns:.0}"))));
                row.push(shown(name));
                rows.push(row);
            }
            section(&mut text, &rows, "policies", &mut none);
        }
        if !none.is_empty() {
            text.push_str(&format!("\nno {}\n", none.join(", no ")));
        }
        text
    }

    /// What a policy's programs take of one CPU.
    fn cpu(&self, sums: &Sums) -> f64 {
        self.rate(sums.run_time_ns) / 1e9
    }

    /// Nanoseconds of a run.
    fn per_run(&self, sums: &Sums) -> Option<f64> {
        (self.timed && sums.runs > 0).then(|| sums.run_time_ns as f64 / sums.runs as f64)
    }

    /// The same as a JSON object.
    pub fn json(&self, most: usize) -> Value {
        let Interval { tally, time, agent_cpu, agent_memory, .. } = self.interval;
        let counts = |counts: &Counts| {
            json!({
                "events": counts.events, "execs": counts.execs, "exits": counts.exits, "files": counts.files,
                "connections": counts.connections, "calls": counts.calls,
                "events_per_second": self.rate(counts.events),
            })
        };
        let mut value = json!({
            "seconds": time.as_secs_f64(),
            "all": counts(&tally.all),
            "lost": tally.lost,
            "events_in_no_row": tally.others,
            "agent": { "cpu": agent_cpu, "memory_bytes": agent_memory },
        });
        if self.shows(Section::Processes) {
            let rows = self.processes(most).into_iter().map(|((name, pid), of)| {
                let mut row = counts(of);
                row["binary"] = json!(name);
                if self.args.by_pid {
                    row["pid"] = json!(pid);
                }
                row
            });
            value["processes"] = rows.collect();
        }
        for (kind, key, name, of) in [
            (Section::Files, "files", "path", &tally.files),
            (Section::Connections, "connections", "to", &tally.connections),
        ] {
            if self.shows(kind) {
                let row = |(target, count): (&String, u64)| json!({ name: target, "events": count, "events_per_second": self.rate(count) });
                value[key] = Self::targets(of, most).into_iter().map(row).collect();
            }
        }
        if self.shows(Section::Policies) {
            let rows = self.policies(most).into_iter().map(|(name, sums)| {
                json!({
                    "policy": name, "calls": sums.calls, "matched": sums.matched, "posted": sums.posted,
                    "lost": sums.lost, "acted": sums.acted, "withheld": sums.withheld,
                    "calls_per_second": self.rate(sums.calls),
                    "runs": self.timed.then_some(sums.runs),
                    "run_time_ns": self.timed.then_some(sums.run_time_ns),
                    "cpu": self.timed.then(|| self.cpu(sums)),
                    "ns_per_run": self.per_run(sums),
                })
            });
            value["policies"] = rows.collect();
        }
        value
    }
}

/// Appends a table, or notes that it has no rows below its titles.
fn section(text: &mut String, rows: &[Vec<String>], name: &'static str, none: &mut Vec<&'static str>) {
    if rows.len() < 2 {
        none.push(name);
        return;
    }
    text.push('\n');
    text.push_str(&output::columns(rows));
}

/// A name that commands no terminal, at its bound: its end says more than its begin.
fn shown(name: &str) -> String {
    let name = if name.is_empty() { "?".into() } else { quoted(name) };
    let length = name.chars().count();
    if length <= NAME {
        return name.into_owned();
    }
    std::iter::once('…').chain(name.chars().skip(length - NAME + 1)).collect()
}

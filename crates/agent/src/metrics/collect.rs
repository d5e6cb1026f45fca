//! From the agent's state to Prometheus text.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::atomic::Ordering;
use std::time::{Instant, UNIX_EPOCH};

use saker_abi::{Kind, Loss, Place};
use saker_api::event::Family;
use saker_api::passage::CountsNow;
use saker_api::tetragon::EventType;
use saker_engine::{Counters, KINDS, Outcome, Unjoined, kind_name};
use saker_export::QueueStats;
use saker_policy::names::syscalls;

use super::series::Sums;
use super::{METRICS, MetricKind, compatible};
use crate::pipeline::{EventTotals, Labels, PolicyHook};
use crate::policies::{MAX_POLICIES, State as PolicyState, View};
use crate::requests;
use crate::resources;
use crate::server;
use crate::state::{KernelSample, REMOVED, SENSORS, State, drop_causes};

/// Values by name; each with the values of its labels in the order of the definition.
#[derive(Default)]
pub(super) struct Values(BTreeMap<&'static str, Vec<(Vec<String>, f64)>>);

impl Values {
    pub(super) fn set(&mut self, name: &'static str, labels: &[&str], value: f64) {
        let labels = labels.iter().map(|&label| label.to_owned()).collect();
        self.0.entry(name).or_default().push((labels, value));
    }

    pub(super) fn count(&mut self, name: &'static str, labels: &[&str], value: u64) {
        self.set(name, labels, value as f64);
    }
}

/// All metrics as Prometheus text.
#[must_use]
pub fn render(state: &State) -> String {
    let mut values = Values::default();
    let counters = state.gauges.counters();
    let kernel = state.kernel();
    events(&mut values, state, &counters);
    records(&mut values, &counters, &kernel);
    calls(&mut values, &counters);
    table(&mut values, state, &counters);
    sinks(&mut values, state);
    policies(&mut values, state);
    enforcement(&mut values, state);
    protection(&mut values, state);
    requested(&mut values, state);
    servers(&mut values, state);
    process(&mut values, state, &kernel);
    compatible::all(&mut values, state, &counters, &kernel);
    write(&values)
}

fn servers(values: &mut Values, state: &State) {
    for listener in state.served.listeners() {
        values.count("saker_connections", &[listener.listener], listener.open() as u64);
        for fate in server::Fate::ALL {
            let labels = [fate.name(), listener.listener];
            values.count("saker_connections_total", &labels, listener.count(fate));
        }
    }
    let certificates = state.served.certificates().map_or([0; 2], |certificates| certificates.reloads());
    let hooks = [&state.hooked.done, &state.hooked.failed].map(|count| count.load(Ordering::Relaxed));
    for (name, counts) in [
        ("saker_certificate_reloads_total", certificates),
        ("saker_reloads_total", state.reloads.counts()),
        ("saker_runtime_hooks_total", hooks),
    ] {
        for (outcome, count) in ["done", "failed"].iter().zip(counts) {
            values.count(name, &[outcome], count);
        }
    }
    values.count("saker_live", &[], u64::from(state.vitals.health().is_live()));
}

fn write(values: &Values) -> String {
    let mut text = String::with_capacity(16 * 1024);
    for metric in METRICS {
        let kind = if metric.kind == MetricKind::Counter { "counter" } else { "gauge" };
        let _ = writeln!(text, "# HELP {} {}\n# TYPE {} {kind}", metric.name, metric.help, metric.name);
        for (labels, value) in values.0.get(metric.name).into_iter().flatten() {
            text.push_str(metric.name);
            for (index, (name, label)) in metric.labels.iter().zip(labels).enumerate() {
                let label = label.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
                let _ = write!(text, "{}{name}=\"{label}\"", if index == 0 { '{' } else { ',' });
            }
            let _ = writeln!(text, "{} {value}", if labels.is_empty() { "" } else { "}" });
        }
    }
    text
}

fn events(values: &mut Values, state: &State, counters: &Counters) {
    let events = &counters.events;
    let node = state.node.as_str();
    state.gauges.with_event_totals(|totals| {
        if let Some(pods) = &state.pod_table {
            totals.drop_pods(Instant::now(), |namespace, name| pods.has(namespace, name));
        }
        totals_of(values, node, totals);
    });
    let unknown = counters.table.unknown_processes;
    values.count("tetragon_events_missing_process_info_total", &[], unknown);
    values.count("saker_gap_events_total", &[], events.gap);
    values.count("saker_gap_records_total", &[], counters.losses.records + counters.losses.later_stages);
    let late = state.gauges.late_lookups.load(std::sync::atomic::Ordering::Relaxed);
    values.count("saker_late_lookups_total", &[], late);
    let held = state.gauges.held();
    for (outcome, count) in
        [("meant", held.meant), ("dropped", held.dropped), ("late", held.late), ("no_room", held.no_room)]
    {
        values.count("saker_undecided_events_total", &[outcome], count);
    }
    values.count("saker_resyncs_total", &[], counters.snapshots.saturating_sub(1));
    values.count("saker_reconstructed_total", &["exec"], events.exec_reconstructed);
    values.count("saker_reconstructed_total", &["exit"], events.exit_reconstructed);
    values.set("saker_engine_balanced", &[], f64::from(u8::from(counters.imbalance().is_none())));
    let build = [crate::COMMIT, crate::COMPILER, crate::MODIFIED, crate::COMMIT_TIME, crate::VERSION];
    values.count("tetragon_build_info", &build, 1);
}

/// What was counted of events, each by its process.
fn totals_of(values: &mut Values, node: &str, totals: &EventTotals) {
    for (number, labels, count) in totals.types.iter() {
        let name = EventType::try_from(*number).map_or("UNDEF", |kind| kind.as_str_name());
        let Labels { binary, namespace, pod, workload } = labels;
        values.count("tetragon_events_total", &[binary, namespace, node, pod, name, workload], count);
    }
    for (PolicyHook { policy, hook }, labels, count) in totals.policies.iter() {
        let Labels { binary, namespace, pod, workload } = labels;
        let labels = [binary, hook, namespace, node, pod, policy, workload];
        values.count("tetragon_policy_events_total", &labels, count);
    }
    if totals.syscalls.iter().next().is_some() {
        let names: BTreeMap<u32, &str> = syscalls::all().map(|(name, number)| (number, name)).collect();
        let narrow: BTreeMap<u32, &str> =
            syscalls::all_narrow().map(|(name, number)| (number, name)).collect();
        for (call, labels, count) in totals.syscalls.iter() {
            let (known, prefix) = if call.narrow { (&narrow, "i386/") } else { (&names, "") };
            let name =
                known.get(&call.number).map_or_else(|| call.number.to_string(), |&name| name.to_owned());
            let Labels { binary, namespace, pod, workload } = labels;
            let name = format!("{prefix}{name}");
            values.count("tetragon_syscalls_total", &[binary, namespace, node, pod, &name, workload], count);
        }
    }
    for (flag, count) in &totals.flags {
        values.count("tetragon_flags_total", &[flag], *count);
    }
}

/// Number that Tetragon gives this kind of message.
fn msg_op(kind: Kind) -> &'static str {
    match kind {
        Kind::Exec => "5",
        Kind::Exit => "7",
        Kind::Fork => "23",
        Kind::Data => "24",
        // Whoever counts by kind alone cannot tell families apart.
        Kind::Hook => "13",
        Kind::Task => "0",
    }
}

/// The same of a record of a hook.
fn msg_op_of(family: Family) -> &'static str {
    match family {
        Family::Kprobe => "13",
        Family::Tracepoint => "14",
        Family::Uprobe => "15",
        Family::Lsm => "16",
        Family::Loader => "26",
        Family::Usdt => "28",
    }
}

/// Error that Tetragon's programs see for this cause.
fn error_of(cause: usize) -> &'static str {
    match Loss::name_of(cause) {
        "ring_full" | "reserved" => "EAGAIN",
        "too_long" => "E2BIG",
        _ => "unknown",
    }
}

fn records(values: &mut Values, counters: &Counters, kernel: &KernelSample) {
    let mut ring_full = 0;
    for kind in Kind::ALL {
        let index = kind as usize;
        let received = counters.received.get(index).copied().unwrap_or(0);
        values.count("saker_records_received_total", &[kind.name()], received);
        if kind == Kind::Task {
            continue;
        }
        if kind == Kind::Hook {
            for family in Family::ALL {
                let records = counters.hook_records[family as usize];
                values.count("tetragon_msg_op_total", &[msg_op_of(family)], records);
            }
        } else {
            values.count("tetragon_msg_op_total", &[msg_op(kind)], received);
        }
        let mut produced: u64 = kernel.stats.iter().map(|cpu| cpu.sent[index]).sum();
        // Several causes may share one error of the peer's closed set.
        let mut missed: BTreeMap<&str, u64> = BTreeMap::new();
        for cause in 0..Loss::ALL.len() {
            let lost: u64 = kernel.stats.iter().map(|cpu| cpu.lost[cause][index]).sum();
            produced += lost;
            ring_full += if matches!(Loss::name_of(cause), "ring_full" | "reserved") { lost } else { 0 };
            *missed.entry(error_of(cause)).or_default() += lost;
            values.count("saker_records_lost_total", &[Loss::name_of(cause), kind.name()], lost);
        }
        for (error, lost) in missed {
            values.count("tetragon_bpf_missed_events_total", &[error, msg_op(kind)], lost);
        }
        values.count("saker_records_produced_total", &[kind.name()], produced);
    }
    values.count("tetragon_observer_ringbuf_events_lost_total", &[], ring_full);
    for kind in 0..KINDS {
        for outcome in Outcome::ALL {
            let count = counters.outcomes[kind][outcome as usize];
            if count > 0 {
                values.count("saker_record_outcomes_total", &[kind_name(kind), outcome.name()], count);
            }
        }
    }
    let undecodable = &counters.undecodable;
    for (cause, count) in [
        ("short", undecodable.short),
        ("version", undecodable.version),
        ("length", undecodable.length),
        ("head", undecodable.head),
        ("value", undecodable.value),
    ] {
        values.count("saker_undecodable_records_total", &[cause], count);
    }
    values.count("tetragon_observer_ringbuf_errors_total", &[], counters.undecodable_total());
    for place in 0..Place::COUNT {
        let failed: u64 = kernel.stats.iter().map(|cpu| cpu.failed[place]).sum();
        values.count("saker_helper_failures_total", &[Place(place).name()], failed);
    }
    for ((sensor, _), missed) in SENSORS.iter().zip(kernel.missed) {
        values.count("saker_missed_runs_total", &[sensor], missed);
    }
}

fn calls(values: &mut Values, counters: &Counters) {
    let calls = &counters.calls;
    values.count("saker_calls_joined_total", &[], calls.joined);
    for cause in Unjoined::ALL {
        let (told, untold) = (calls.unjoined[cause as usize], calls.untold[cause as usize]);
        values.count("saker_calls_unjoined_total", &[cause.name(), "yes"], told);
        values.count("saker_calls_unjoined_total", &[cause.name(), "no"], untold);
    }
    values.count("saker_calls_without_entry_total", &[], calls.without_entry);
    values.count("saker_calls_waiting", &[], calls.waiting);
    values.count("saker_policies_known", &[], counters.policies);
    values.count("saker_policies_refused_total", &[], counters.policies_refused);
}

fn table(values: &mut Values, state: &State, counters: &Counters) {
    let table = &counters.table;
    values.count("tetragon_process_cache_size", &[], table.entries);
    values.count("tetragon_process_cache_capacity", &[], state.processes as u64);
    values.count("tetragon_process_cache_evictions_total", &[], table.evicted_ended + table.evicted_alive);
    values.count(
        "tetragon_process_cache_misses_total",
        &["get"],
        table.unknown_parents + table.unknown_processes,
    );
    values.count("saker_processes_alive", &[], table.alive);
    values.count("saker_process_table_bytes", &[], state.gauges.table_bytes() as u64);
    let read = state.gauges.read_records.load(Ordering::Relaxed);
    values.count("tetragon_observer_ringbuf_events_received_total", &[], read);
    let decoded: u64 = counters.received.iter().sum::<u64>() + counters.undecodable_total();
    let tasks = counters.received.get(Kind::Task as usize).copied().unwrap_or(0);
    let passed = decoded.saturating_sub(tasks);
    values.count("tetragon_observer_ringbuf_queue_events_received_total", &[], passed);
    values.count("tetragon_observer_ringbuf_queue_events_lost_total", &[], 0);
    let (queued, _) = state.gauges.queued();
    values.count("saker_queue_length", &["engine", "batches"], queued as u64);
    values.count("saker_queue_capacity", &["engine", "batches"], state.input_capacity as u64);
}

fn sinks(values: &mut Values, state: &State) {
    let mut file = saker_export::WorkerStats::default();
    for sink in state.sinks.all().iter() {
        let (queue, worker) = (sink.worker.queue().stats(), sink.worker.stats());
        let name = sink.name;
        if name == "file" {
            file = worker;
        }
        values.count("saker_sink_offered_total", &[name], queue.offered);
        let delivery = sink.delivery.as_ref().map(saker_export::Delivery::stats);
        let (written, bytes, errors) = match &delivery {
            Some(stats) => (stats.delivered, stats.bytes, worker.retries + stats.retries),
            None => (worker.written, worker.bytes, worker.retries),
        };
        let spool = delivery.unwrap_or_default();
        values.count("saker_sink_spooled_events", &[name], spool.waiting);
        values.count("saker_sink_spooled_bytes", &[name], spool.waiting_bytes);
        values.count("saker_sink_spool_capacity_bytes", &[name], spool.capacity);
        values.count("saker_sink_written_total", &[name], written);
        values.count("saker_sink_bytes_total", &[name], bytes);
        for (cause, count) in drop_causes(sink) {
            values.count("saker_sink_dropped_total", &[cause, name], count);
        }
        values.count("saker_sink_filtered_total", &["filter", name], worker.filtered);
        values.count("saker_sink_filtered_total", &["rate_limit", name], worker.limited);
        values.count("saker_sink_folded_total", &[name], worker.folded);
        values.count("saker_sink_unfolded_total", &[name], worker.unfolded);
        values.count("saker_sink_errors_total", &[name], errors);
        values.count("saker_queue_length", &[name, "events"], queue.queued);
        values.count("saker_queue_capacity", &[name, "events"], sink.worker.queue().limits().events as u64);
    }
    for (cause, count) in state.sinks.removed() {
        values.count("saker_sink_dropped_total", &[cause, REMOVED], count);
    }
    if let Some(recorded) = &state.recorded {
        let name = crate::state::RECORDING;
        let (offered, written, failed) =
            (recorded.offered(), recorded.written(), !recorded.error().is_empty());
        let dropped = if failed { offered.saturating_sub(written) } else { 0 };
        values.count("saker_sink_offered_total", &[name], offered);
        values.count("saker_sink_written_total", &[name], written);
        values.count("saker_sink_bytes_total", &[name], recorded.bytes());
        values.count("saker_sink_dropped_total", &["ended_early", name], dropped);
        values.count("saker_sink_errors_total", &[name], u64::from(failed));
    }
    values.count("tetragon_events_exported_total", &[], file.written);
    values.count("tetragon_events_exported_bytes_total", &[], file.bytes);
    values.count("tetragon_events_last_exported_timestamp", &[], file.last_written);
    values.count("tetragon_export_ratelimit_events_dropped_total", &[], file.limited);
    let clients = state.fanout.of_stage(server::STAGE);
    let dropped =
        clients.iter().map(|queue| queue.stats().dropped).sum::<u64>() + state.fanout.dropped_by_gone();
    values.count("tetragon_notify_overflowed_events_total", &[], dropped);
    values.count("saker_sink_dropped_total", &["queue_full", server::STAGE], dropped);
    values.count("saker_clients", &[], clients.len() as u64);
    for (name, count) in [
        ("saker_client_events_total", (|stats, _| stats.passed) as fn(QueueStats, CountsNow) -> u64),
        ("saker_client_filtered_total", |stats, passage| stats.filtered + passage.limited),
        ("saker_client_dropped_total", |stats, _| stats.dropped),
        ("saker_client_queue_length", |stats, _| stats.queued),
    ] {
        let mut sums: Sums<1, u64> = Sums::new(state.series, 0);
        for queue in &clients {
            sums.add([queue.label()], count(queue.stats(), queue.passage().now()));
        }
        sums.iter().for_each(|(labels, count)| values.count(name, &labels, count));
    }
    let waiting = clients.iter().map(|queue| queue.stats().queued).sum();
    values.count("saker_queue_length", &[server::STAGE, "events"], waiting);
    values.count("saker_queue_capacity", &[server::STAGE, "events"], state.client_queue as u64);
}

fn policies(values: &mut Values, state: &State) {
    let views = state.policies.views();
    let in_state =
        |wanted: &[PolicyState]| views.iter().filter(|view| wanted.contains(&view.state)).count() as u64;
    // `error` is a state that only Tetragon has.
    for (name, states) in [
        ("disabled", &[PolicyState::Disabled][..]),
        ("enabled", &[PolicyState::Enabled]),
        ("error", &[]),
        ("load_error", &[PolicyState::LoadError]),
        ("partially_enabled", &[PolicyState::PartiallyEnabled]),
        ("skipped", &[PolicyState::Skipped]),
    ] {
        values.count("tetragon_tracingpolicy_loaded", &[name], in_state(states));
    }
    values.count("saker_policies_capacity", &[], MAX_POLICIES as u64);
    selectors(values, &views, state.series);
    hooks(values, &views, state.series);
    compatible::programs(values, &views, state.series);
    // Policies of several domains share their labels.
    let mut memory: BTreeMap<(&str, &str), u64> = BTreeMap::new();
    for view in &views {
        *memory.entry((&view.key.name, &view.key.namespace)).or_default() += view.memory;
    }
    for ((name, namespace), bytes) in memory {
        values.count("tetragon_tracingpolicy_kernel_memory_bytes", &[name, namespace], bytes);
    }
}

/// What each hook counted.
fn hooks(values: &mut Values, views: &[View], bound: usize) {
    let mut sums: BTreeMap<&'static str, Sums<5, u64>> = BTreeMap::new();
    for view in views.iter().filter(|view| view.state.is_enabled()) {
        let (domain, name, namespace) = (&*view.key.domain, &*view.key.name, &*view.key.namespace);
        for (index, hook) in view.hooks.iter().enumerate() {
            let counts = hook.counts;
            let index = index.to_string();
            for (metric, count) in [
                ("saker_hook_calls_total", counts.calls),
                ("saker_hook_matched_total", counts.matched),
                ("saker_hook_posted_total", counts.posted),
                ("saker_hook_limited_total", counts.limited),
                ("saker_hook_lost_total", counts.lost),
                ("saker_hook_unpaired_total", counts.unpaired),
                ("saker_hook_missed_total", counts.missed),
                ("saker_hook_undecided_total", counts.undecided),
            ] {
                let sums = sums.entry(metric).or_insert_with(|| Sums::new(bound, 0));
                sums.add([domain, &hook.function, &index, name, namespace], count);
            }
        }
    }
    for (metric, sums) in &sums {
        sums.iter().for_each(|(labels, count)| values.count(metric, &labels, count));
    }
}

/// What each selector did, by action. Policies of several domains share their labels.
fn selectors(values: &mut Values, views: &[View], bound: usize) {
    let mut sums: Sums<7, u64> = Sums::new(bound, 1);
    for view in views.iter().filter(|view| view.state.is_enabled()) {
        for (index, hook) in view.hooks.iter().enumerate() {
            let hook_index = index.to_string();
            for selector in &hook.selectors {
                let counts = selector.counts;
                let index = selector.index.map(|index| index.to_string()).unwrap_or_default();
                for (action, count) in [
                    ("post", counts.posted),
                    ("nopost", counts.unposted),
                    ("signal", counts.signalled),
                    ("override", counts.overridden),
                    ("monitor_signal", counts.monitored_signal),
                    ("monitor_override", counts.monitored_override),
                ] {
                    if count == 0 && action != "post" {
                        continue;
                    }
                    let (name, namespace) = (&*view.key.name, &*view.key.namespace);
                    let labels =
                        [action, &hook.function, &hook_index, name, namespace, &index, &selector.label];
                    sums.add(labels, count);
                }
            }
        }
    }
    for (labels, count) in sums.iter() {
        values.count("tetragon_tracingpolicy_selector_actions_total", &labels, count);
    }
}

fn enforcement(values: &mut Values, state: &State) {
    let switch = state.policies.enforcement();
    values.count("saker_enforcement_enabled", &[], switch.off().is_none().into());
    values.count("saker_enforcement_switched_off_total", &[], switch.switched_off());
    if let Ok(total) = switch.total() {
        values.count("saker_enforcement_actions_total", &["denied"], total.denied);
        values.count("saker_enforcement_actions_total", &["signalled"], total.signalled);
        values.count("saker_enforcement_actions_total", &["withheld"], total.withheld);
    }
    if let Ok(groups) = switch.counted() {
        values.count("saker_enforcement_groups", &[], groups as u64);
    }
    let capacity = saker_probes::Enforcement::CAPACITY as u64;
    values.count("saker_enforcement_groups_capacity", &[], capacity);
}

fn protection(values: &mut Values, state: &State) {
    let protection = &state.protection;
    let is_on = protection.is_there() && protection.lifted().is_none();
    values.count("saker_self_protection_enabled", &[], is_on.into());
    values.count("saker_self_protection_lifted_total", &[], protection.times());
    let counts = protection.counts();
    values.count("saker_self_protection_untold_total", &[], counts.iter().map(|(_, count)| count.lost).sum());
    for (hook, count) in counts {
        values.count("saker_self_protection_refused_total", &[hook], count.refused);
    }
}

fn requested(values: &mut Values, state: &State) {
    let none = requests::Outcomes::default();
    let outcomes = state.requester.as_ref().map_or(&none, requests::Requester::outcomes);
    for (kind, number) in requests::KINDS.iter().zip(0..) {
        for outcome in requests::Outcome::ALL {
            values.count("saker_requests_total", &[kind, outcome.name()], outcomes.count(number, outcome));
        }
    }
    values.count("saker_requests_open", &[], outcomes.open());
    let capacity = state.requester.as_ref().map_or(0, requests::Requester::capacity);
    values.count("saker_queue_capacity", &["requests", "requests"], capacity as u64);
}

fn process(values: &mut Values, state: &State, kernel: &KernelSample) {
    let usage = resources::usage();
    values.count("saker_kernel_memory_bytes", &[], state.kernel_memory(kernel));
    values.set("process_cpu_seconds_total", &[], resources::cpu_time().as_secs_f64());
    values.count("process_resident_memory_bytes", &[], usage.resident);
    for part in state.memory() {
        values.count("saker_memory_bytes", &[&part.name], part.bytes);
    }
    for part in state.kernel_objects(kernel) {
        values.count("saker_kernel_object_bytes", &[&part.name], part.bytes);
    }
    let [received, sent] = resources::network();
    values.count("process_network_receive_bytes_total", &[], received);
    values.count("process_network_transmit_bytes_total", &[], sent);
    values.count("process_virtual_memory_bytes", &[], usage.virtual_bytes);
    values.count("process_virtual_memory_max_bytes", &[], usage.virtual_max);
    values.count("process_open_fds", &[], u64::from(usage.open_files));
    values.count("process_max_fds", &[], usage.max_files);
    let started = state.start_time().duration_since(UNIX_EPOCH).unwrap_or_default();
    values.set("process_start_time_seconds", &[], started.as_secs_f64());
}

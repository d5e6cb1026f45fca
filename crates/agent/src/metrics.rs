//! Metrics: their definition, their values and the server of both.
//!
//! Each metric is defined once in [`METRICS`]; the text for Prometheus and the reference page are made from it.
//! Names that begin with `tetragon_` are those of Tetragon, where they mean the same here. Label sets are closed.

mod absent;
mod collect;
mod compatible;
mod http;
mod series;

use std::fmt::Write;

pub use collect::render;
pub use http::serve;

/// Type of a metric.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names say it")]
pub enum MetricKind {
    Counter,
    Gauge,
}

/// Definition of one metric.
#[derive(Clone, Copy, Debug)]
pub struct MetricDef {
    /// Name.
    pub name: &'static str,
    /// Type.
    pub kind: MetricKind,
    /// Labels.
    pub labels: &'static [&'static str],
    /// Meaning.
    pub help: &'static str,
}

const fn counter(name: &'static str, labels: &'static [&'static str], help: &'static str) -> MetricDef {
    MetricDef { name, kind: MetricKind::Counter, labels, help }
}

const fn gauge(name: &'static str, labels: &'static [&'static str], help: &'static str) -> MetricDef {
    MetricDef { name, kind: MetricKind::Gauge, labels, help }
}

/// Labels of the metrics of hooks; the index is the place among all hooks of the policy.
const HOOK: &[&str] = &["domain", "function", "hook_index", "policy", "policy_namespace"];

/// Labels of what programs of hooks cost.
const OVERHEAD: &[&str] = &["attach", "policy", "policy_namespace", "section", "sensor"];

/// Labels of the metric of selectors.
const SELECTOR: &[&str] =
    &["action", "hook", "hook_index", "policy", "policy_namespace", "selector_index", "selector_label"];

/// All metrics, in the order they are written.
#[rustfmt::skip]
pub const METRICS: &[MetricDef] = &[
    counter("tetragon_events_total", &["binary", "namespace", "node_name", "pod", "type", "workload"], "Events told, by type and process"),
    counter("tetragon_policy_events_total", &["binary", "hook", "namespace", "node_name", "pod", "policy", "workload"], "Events of policies, by process"),
    counter("tetragon_syscalls_total", &["binary", "namespace", "node_name", "pod", "syscall", "workload"], "System calls that policies at raw_syscalls told, by process; those of 32-bit programs begin with i386/"),
    counter("tetragon_flags_total", &["type"], "Executions, by the flags of their process"),
    counter("tetragon_events_missing_process_info_total", &[], "Records of processes that were not known"),
    counter("tetragon_msg_op_total", &["msg_op"], "Records received from the kernel, by the number of the message"),
    counter("tetragon_bpf_missed_events_total", &["error", "msg_op"], "Records the kernel side could not send"),
    counter("tetragon_observer_ringbuf_events_received_total", &[], "Records read from the ring buffer"),
    counter("tetragon_observer_ringbuf_events_lost_total", &[], "Records that did not fit into the ring buffer"),
    counter("tetragon_observer_ringbuf_errors_total", &[], "Byte strings from the ring buffer that were no records"),
    counter("tetragon_observer_ringbuf_queue_events_received_total", &[], "Records that passed the queue to the engine"),
    counter("tetragon_observer_ringbuf_queue_events_lost_total", &[], "Records lost in that queue: always 0, the reader waits"),
    gauge("tetragon_process_cache_size", &[], "Processes in the table"),
    gauge("tetragon_process_cache_capacity", &[], "Bound of the table"),
    counter("tetragon_process_cache_evictions_total", &[], "Processes taken out at the bound"),
    counter("tetragon_process_cache_misses_total", &["operation"], "Processes that were not in the table"),
    counter("tetragon_events_exported_total", &[], "Events written to the export file"),
    counter("tetragon_events_exported_bytes_total", &[], "Bytes written to the export file"),
    gauge("tetragon_events_last_exported_timestamp", &[], "When an event was written to the export file last, seconds since 1970"),
    counter("tetragon_export_ratelimit_events_dropped_total", &[], "Events the rate limit kept from the export file"),
    counter("tetragon_notify_overflowed_events_total", &[], "Events gRPC clients missed because they were slow"),
    gauge("tetragon_tracingpolicy_loaded", &["state"], "Policies, by state; those being loaded are not counted"),
    gauge("tetragon_tracingpolicy_kernel_memory_bytes", &["policy", "policy_namespace"], "Kernel memory of a policy"),
    counter(
        "tetragon_tracingpolicy_selector_actions_total",
        SELECTOR,
        "What selectors of policies did: post is an event, nopost a call that was not to be told, monitor_ what was not done, for the \
         policy only tells or enforcement is switched off; beyond the bound all labels but `action` are `other`",
    ),
    counter("tetragon_missed_prog_probes_total", &["attach", "policy"], "Calls a policy's hooks did not look at, at most: the program was running on that CPU"),
    counter("tetragon_missed_link_probes_total", &["attach", "policy"], "Calls the kernel left out where a policy's functions are hooked in one step; it tells since Linux 6.7"),
    counter("tetragon_overhead_program_runs_total", OVERHEAD, "Runs of a policy's programs while BPF statistics were on (as `saker top` switches them); section: how they are attached"),
    counter("tetragon_overhead_program_seconds_total", OVERHEAD, "Time of these runs"),
    counter("tetragon_bpf_error_metrics_total", &["error", "error_name", "file_name", "helper_func", "line_number"], "Failures of kernel helpers; file_name is the place, see saker_helper_failures_total, error the newest at that place on a CPU, line_number is empty"),
    counter("tetragon_cri_cgidmap_resolutions_total", &[], "Control groups of which it was found out which container they are"),
    counter("tetragon_cri_cgidmap_resolutions_errors_total", &[], "Control groups of which the runtime knew no container in time"),
    gauge("tetragon_data_cache_capacity", &[], "Bound of the parts of long values that wait for their record, in bytes"),
    gauge("tetragon_data_cache_size", &[], "Parts that wait, in bytes"),
    counter("tetragon_data_cache_evictions_total", &[], "Parts given up at the bound"),
    counter("tetragon_data_events_total", &["event"], "Parts of long values: Received, Appended (kept), Matched (their record came), NotMatched (it did not), Bad (out of order or too long)"),
    gauge("tetragon_event_cache_entries", &[], "Events that wait until their container is known, those behind them included"),
    counter("tetragon_event_cache_inserts_total", &[], "Events that had to wait"),
    counter("tetragon_event_cache_fetch_retries_total", &["entry_type"], "Looks that did not end the wait"),
    counter("tetragon_event_cache_fetch_failures_total", &["entry_type", "event_type"], "Events told without knowing their container; event_type is empty"),
    counter("tetragon_generic_kprobe_merge_pushed_total", &[], "Entries of hooked functions kept for their return"),
    counter("tetragon_generic_kprobe_merge_total", &["curr_fn", "curr_type", "prev_fn", "prev_type", "status"], "Entries and returns of hooked functions that met (ok) or not (error); names of functions are empty"),
    counter("tetragon_handler_errors_total", &["error", "opcode"], "Records that could not be handled"),
    gauge("tetragon_map_capacity", &["map"], "Bound of a map"),
    gauge("tetragon_map_entries", &["map"], "Entries of a map"),
    counter("tetragon_map_errors_update_total", &["map"], "Entries that there was no room for"),
    counter("tetragon_policyfilter_operations_total", &["error", "operation", "subsys"], "Containers that hooks of the runtime told of"),
    counter("tetragon_process_loader_stats", &["count"], "Loads of files into memory that were told"),
    gauge("tetragon_build_info", &["commit", "go_version", "modified", "time", "version"], "Always 1; go_version names the compiler"),
    counter("saker_records_produced_total", &["kind"], "Records the kernel side made, sent or not"),
    counter("saker_records_received_total", &["kind"], "Records decoded"),
    counter("saker_records_lost_total", &["cause", "kind"], "Records the kernel side could not send, by cause"),
    counter("saker_record_outcomes_total", &["kind", "outcome"], "What became of records"),
    counter("saker_undecodable_records_total", &["cause"], "Byte strings that were no records, by cause"),
    counter("saker_gap_events_total", &[], "Gap events"),
    counter("saker_gap_records_total", &[], "Records that gap events told to be missing"),
    counter(
        "saker_late_lookups_total",
        &[],
        "Events of policies whose callers or build id were not found out in time",
    ),
    counter("saker_undecided_events_total", &["outcome"], "Events of containers that were not known yet, of policies for pods or containers: meant (the policy is for them, told), dropped (it is not), late and no_room (told with workload_undecided)"),
    counter("saker_resyncs_total", &[], "Scans of all processes after a loss"),
    counter("saker_reconstructed_total", &["what"], "Table entries made (exec) or ended (exit) by such scans"),
    counter("saker_calls_joined_total", &[], "Entries of hooked functions that their return completed"),
    counter("saker_calls_unjoined_total", &["cause", "told"], "Entries of hooked functions given up without their return; told: no when the return may have been held back on purpose"),
    counter("saker_calls_without_entry_total", &[], "Returns of hooked functions told without their entry"),
    gauge("saker_calls_waiting", &[], "Entries of hooked functions that wait for their return"),
    gauge("saker_policies_known", &[], "Policies that the engine knows, just removed ones among them"),
    counter("saker_policies_refused_total", &[], "Policies whose texts the engine had no room for; their records are counted as unknown_policy"),
    gauge("saker_processes_alive", &[], "Live processes in the table"),
    gauge("saker_process_table_bytes", &[], "Memory of the table without the processes"),
    gauge("saker_memory_bytes", &["component"], "Memory that a part of the agent holds, about: process_table with the processes, long_values (parts that wait for their record), waiting_calls, pods, sink_queues, client_queues"),
    gauge("saker_kernel_object_bytes", &["object"], "Kernel memory of the sensors' programs, of each of their maps, and of policies together"),
    counter("saker_helper_failures_total", &["place"], "Failures of kernel helpers, by place"),
    counter("saker_missed_runs_total", &["sensor"], "Times a sensor went unseen, at most: it was running on that CPU"),
    gauge("saker_policies_capacity", &[], "Bound of the number of policies"),
    counter("saker_hook_calls_total", HOOK, "Calls of hooked functions"),
    counter("saker_hook_matched_total", HOOK, "Calls that a selector matched"),
    counter("saker_hook_posted_total", HOOK, "Records hooks made"),
    counter("saker_hook_limited_total", HOOK, "Records that a rate limit of the policy held back"),
    counter("saker_hook_lost_total", HOOK, "Records of hooks there was no room for"),
    counter("saker_hook_unpaired_total", HOOK, "Calls that could not be remembered until their return"),
    counter("saker_hook_missed_total", HOOK, "Calls hooks did not look at, at most: the program was running on that CPU"),
    counter("saker_hook_undecided_total", HOOK, "Records of processes of which it was not known yet in which container they are, told with a mark"),
    gauge("saker_enforcement_enabled", &[], "1: policies act, each in its mode; 0: enforcement is switched off, none does"),
    counter("saker_enforcement_switched_off_total", &[], "Times that enforcement was switched off"),
    counter("saker_enforcement_actions_total", &["outcome"], "What policies did: denied (a result in place of the call), signalled, withheld (nothing, for whatever reason)"),
    gauge("saker_self_protection_enabled", &[], "1: attempts against the agent are refused; 0: that is lifted, or the agent runs without --self-protection"),
    counter("saker_self_protection_lifted_total", &[], "Times that self-protection was lifted"),
    counter("saker_self_protection_refused_total", &["hook"], "Attempts against the agent that were refused, by the hook of security modules"),
    counter("saker_self_protection_untold_total", &[], "Of them those for whose events there was no room"),
    gauge("saker_enforcement_groups", &[], "Control groups in which policies did something and that are counted by themselves, see `saker enforce status`"),
    gauge("saker_enforcement_groups_capacity", &[], "Bound of their number; the rest is counted together"),
    counter("saker_requests_total", &["kind", "outcome"], "Requests of policies: url is GetUrl, name is DnsLookup; queue_full: never made"),
    gauge("saker_requests_open", &[], "Requests of policies that wait or are under way"),
    counter("saker_sink_offered_total", &["sink"], "Events offered to a sink; to a recording, which is called `recording`: what the engine was told"),
    counter("saker_sink_written_total", &["sink"], "Events a sink wrote, gap events included"),
    counter("saker_sink_bytes_total", &["sink"], "Bytes a sink wrote"),
    counter("saker_sink_dropped_total", &["cause", "sink"], "Events a sink did not get: queue_full; given_up at the end; ended_early of a recording; of exports also refused (the destination does not want it), too_long, unreachable (told afterwards), spool_damaged; those of exports that the configuration has no more are `removed`"),
    counter("saker_sink_filtered_total", &["cause", "sink"], "Events a sink was not to get: filter, rate_limit"),
    counter("saker_sink_folded_total", &["sink"], "Events that became part of another one (aggregation)"),
    counter("saker_sink_unfolded_total", &["sink"], "Events that were not folded because too many waited already"),
    counter("saker_sink_errors_total", &["sink"], "Failed attempts to write"),
    gauge("saker_sink_spooled_events", &["sink"], "Events that wait in the spool of an export on disk; 0 also of sinks without one"),
    gauge("saker_sink_spooled_bytes", &["sink"], "Bytes of that spool"),
    gauge("saker_sink_spool_capacity_bytes", &["sink"], "Bound of these bytes"),
    gauge("saker_queue_length", &["queue", "unit"], "What waits in a queue; that of all gRPC clients together is `grpc`"),
    gauge("saker_queue_capacity", &["queue", "unit"], "Bound of a queue; for `grpc` of one client's"),
    counter("saker_client_events_total", &["client"], "Events sent to a gRPC client that is connected; streams of one client are one"),
    counter("saker_client_filtered_total", &["client"], "Events it did not want, and those its rate limit held back"),
    counter("saker_client_dropped_total", &["client"], "Events it did not get, for it was slow"),
    gauge("saker_client_queue_length", &["client"], "Events that wait for it"),
    gauge("saker_clients", &[], "gRPC clients that receive events"),
    gauge("saker_connections", &["listener"], "Open connections: through the socket (unix), to the address (tcp), of the health service (health)"),
    counter("saker_connections_total", &["fate", "listener"], "Connections: served, refused (there were too many), handshake_failed (of TLS), silent (said nothing for 10 s)"),
    counter("saker_certificate_reloads_total", &["outcome"], "Changed certificates of the server that were taken up (done) or not (failed: the old ones stay)"),
    counter("saker_reloads_total", &["outcome"], "Configurations read again that were taken up (done) or not (failed: the old one stays)"),
    counter("saker_runtime_hooks_total", &["outcome"], "Containers that hooks of the runtime told of: known to policies before they started (done) or not (failed)"),
    gauge("saker_live", &[], "1: reader, engine and main thread move"),
    gauge("saker_kernel_memory_bytes", &[], "Kernel memory of programs and maps"),
    gauge("saker_engine_balanced", &[], "1: the engine's counters add up"),
    counter("process_cpu_seconds_total", &[], "CPU time of the agent"),
    gauge("process_resident_memory_bytes", &[], "Resident memory of the agent"),
    gauge("process_virtual_memory_bytes", &[], "Virtual memory of the agent"),
    gauge("process_virtual_memory_max_bytes", &[], "Most virtual memory the agent may have"),
    counter("process_network_receive_bytes_total", &[], "Bytes that the agent's network namespace received over IP, for whomever"),
    counter("process_network_transmit_bytes_total", &[], "Bytes that it sent"),
    gauge("process_open_fds", &[], "Open file descriptors of the agent"),
    gauge("process_max_fds", &[], "Most file descriptors the agent may open"),
    gauge("process_start_time_seconds", &[], "When the agent started, seconds since 1970"),
];

/// The reference page.
#[must_use]
pub fn reference() -> String {
    let mut text = String::from(
        "# Metrics\n\n\
         <!-- Written by `saker agent --generate-docs metrics`; change crates/agent/src/metrics.rs instead. -->\n\n\
         Served as Prometheus text at `http://ADDRESS/metrics`, where ADDRESS is the option `metrics-server`.\n\
         Names that begin with `tetragon_` are those of Tetragon, where they mean the same here, with its labels.\n\n\
         Metrics about events have labels of the process: `binary`, `namespace`, `pod`, `workload`, those of them that\n\
         `metrics-label-filter` lists; the others are empty. Each such metric has at most `metrics-series-max` series: what\n\
         comes later is counted with `other` as labels of the process. Series of a pod go a minute after it, if somebody\n\
         asks for metrics. With `enable-event-metrics` off, all labels of the process are empty.\n\n\
         Other values of labels come from closed sets. Those of policies and hooks are there while the\n\
         policy is in the list, at most 256 of them; counters of hooks begin anew when a policy is loaded again. They and\n\
         those of clients are bounded by `metrics-series-max` too, with `other` for all labels of what comes later in the list.\n\
         `tetragon_tracingpolicy_selector_actions_total` tells an action of a selector from the first time on, and `post` from the\n\
         beginning; `hook_index` is the place among all hooks of the policy, and a hook without selectors has no `selector_index`.\n\
         `tetragon_policy_events_total` goes on after that.\n\n\
         | metric | type | labels | meaning |\n|---|---|---|---|\n",
    );
    for metric in METRICS {
        let kind = if metric.kind == MetricKind::Counter { "counter" } else { "gauge" };
        let labels = if metric.labels.is_empty() { "-".to_owned() } else { metric.labels.join(", ") };
        let _ = writeln!(text, "| `{}` | {kind} | {labels} | {} |", metric.name, metric.help);
    }
    text.push_str(
        "\n## Metrics of Tetragon that are not served\n\n\
         There is nothing here that they could count.\n\n\
         | metric | why |\n|---|---|\n",
    );
    for (name, why) in absent::ABSENT {
        let _ = writeln!(text, "| `{name}` | {why} |");
    }
    text
}

#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::path::Path;

use super::*;
use crate::pipeline::{EventCounts, EventTotals, ProcessLabels};
use crate::testing;

#[test]
fn every_defined_metric_has_a_value_with_its_labels() {
    let world = testing::World::new();
    world.publish((1..4).map(testing::exec).collect());
    world.load_policy("hashes");
    let mut counts = EventCounts::new(ProcessLabels { binary: true, ..ProcessLabels::default() });
    counts.count(&[testing::exec(1), testing::hook("hashes", "do_it"), testing::syscall(1, "x64")]);
    world.state.gauges.with_event_totals(|totals| {
        *totals = EventTotals::new(10);
        counts.add_to(totals);
    });
    let text = render(&world.state);
    let told = "tetragon_syscalls_total{binary=\"\",namespace=\"\",node_name=\"node\",pod=\"\",syscall=\"write\",workload=\"\"} 1";
    assert!(text.contains(told), "{text}");
    let mut valued = BTreeSet::new();
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        let (head, value) = line.rsplit_once(' ').unwrap();
        value.parse::<f64>().unwrap();
        let (name, labels) = head.split_once('{').unwrap_or((head, "}"));
        let definition = METRICS.iter().find(|metric| metric.name == name).unwrap();
        let labels: Vec<&str> = labels
            .trim_end_matches('}')
            .split("\",")
            .filter(|label| !label.is_empty())
            .map(|label| label.split('=').next().unwrap())
            .collect();
        assert_eq!(labels, definition.labels, "{line}");
        valued.insert(name);
    }
    // These are told only when something happened.
    let silent = [
        // No client is connected.
        "saker_client_events_total",
        "saker_client_filtered_total",
        "saker_client_dropped_total",
        "saker_client_queue_length",
        "saker_record_outcomes_total",
        // Nothing is served in this test.
        "saker_connections",
        "saker_connections_total",
    ];
    for metric in METRICS {
        assert!(
            valued.contains(metric.name) || silent.contains(&metric.name),
            "{} has no value",
            metric.name
        );
    }
}

#[test]
fn names_are_unique_and_labels_sorted() {
    let names: BTreeSet<_> = METRICS.iter().map(|metric| metric.name).collect();
    assert_eq!(names.len(), METRICS.len());
    for metric in METRICS {
        assert!(metric.labels.is_sorted(), "{}", metric.name);
        // The peer's only counter of another name.
        let is_counter = metric.name.ends_with("_total") || metric.name == "tetragon_process_loader_stats";
        assert_eq!(metric.kind == MetricKind::Counter, is_counter, "{}", metric.name);
    }
}

#[test]
fn reference_page_is_current() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/metrics.md");
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(&path, reference()).unwrap();
    }
    let written = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(written == reference(), "write it anew: saker agent --generate-docs metrics > docs/metrics.md");
}

/// All metrics that the peer serves, but for those of its language.
const PEER: &str = "bpf_error_metrics_total bpf_missed_events_total build_info cgroup_rate_total cri_cgidmap_resolutions_total \
    cri_cgidmap_resolutions_errors_total data_cache_capacity data_cache_size data_cache_evictions_total \
    data_cache_misses_total data_event_size data_events_total debug_events_total enforcer_missed_notifications_total \
    errors_total event_cache_entries event_cache_errors_total event_cache_fetch_failures_total \
    event_cache_fetch_retries_total event_cache_inserts_total events_exported_total events_exported_bytes_total \
    events_last_exported_timestamp events_missing_process_info_total export_ratelimit_events_dropped_total flags_total \
    generic_kprobe_merge_pushed_total generic_kprobe_merge_total handler_errors_total handling_latency map_capacity \
    map_entries map_errors_delete_total map_errors_update_total missed_link_probes_total missed_prog_probes_total \
    msg_op_total notify_overflowed_events_total observer_ringbuf_errors_total observer_ringbuf_events_lost_total \
    observer_ringbuf_events_received_total observer_ringbuf_queue_events_lost_total \
    observer_ringbuf_queue_events_received_total overhead_program_runs_total overhead_program_seconds_total \
    policyfilter_hook_container_image_missing_total policyfilter_hook_container_name_missing_total \
    policyfilter_operations_total process_cache_capacity process_cache_size process_cache_evictions_total \
    process_cache_early_deletions_total process_cache_misses_total process_loader_stats \
    tracingpolicy_kernel_memory_bytes tracingpolicy_loaded tracingpolicy_selector_actions_total \
    watcher_delete_pod_cache_evictions watcher_delete_pod_cache_hits watcher_errors_total watcher_events_total \
    events_total policy_events_total syscalls_total";

#[test]
fn every_metric_of_the_peer_is_served_or_there_is_a_reason() {
    let served: BTreeSet<&str> = METRICS.iter().map(|metric| metric.name).collect();
    let absent: BTreeSet<&str> = absent::ABSENT.iter().map(|(name, _)| *name).collect();
    for name in PEER.split_whitespace().map(|name| format!("tetragon_{name}")) {
        assert!(served.contains(&*name) != absent.contains(&*name), "{name}");
    }
}

#[test]
fn hooks_beyond_the_bound_are_counted_together() {
    let mut world = testing::World::new();
    std::sync::Arc::get_mut(&mut world.state).unwrap().series = 1;
    for number in 0..3 {
        world.load_policy(&format!("policy{number}"));
    }
    let text = render(&world.state);
    let of = |name: &str| text.lines().filter(|line| line.starts_with(&format!("{name}{{"))).count();
    assert_eq!(of("saker_hook_calls_total"), 2, "{text}");
    assert_eq!(of("tetragon_overhead_program_runs_total"), 2, "{text}");
    let other = "tetragon_overhead_program_runs_total{attach=\"other\",policy=\"other\"";
    assert!(text.contains(other), "{text}");
}

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
        assert_eq!(metric.kind == MetricKind::Counter, metric.name.ends_with("_total"), "{}", metric.name);
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

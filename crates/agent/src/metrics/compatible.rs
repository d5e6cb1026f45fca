//! Metrics of Tetragon that have another name, or other labels, than what Saker counts.

use saker_abi::{Kind, Place};
use saker_api::event::Family;
use saker_engine::{Counters, Outcome};

use super::collect::Values;
use super::series::Sums;
use crate::policies::View;
use crate::state::{KernelSample, State};

pub(super) fn all(values: &mut Values, state: &State, counters: &Counters, kernel: &KernelSample) {
    helpers(values, kernel);
    long_values(values, counters);
    calls(values, counters);
    handling(values, counters);
    containers(values, state);
    maps(values, state);
}

fn helpers(values: &mut Values, kernel: &KernelSample) {
    let mut failed: Sums<4, u64> = Sums::new(usize::MAX, 0);
    for cpu in &kernel.stats {
        for place in 0..Place::COUNT {
            let (number, name) = match cpu.failed_errno[place] {
                0 => (String::new(), String::new()),
                errno => (errno.to_string(), error_name(errno)),
            };
            failed.add([&number, &name, Place(place).name(), Place(place).helper()], cpu.failed[place]);
        }
    }
    for ([number, name, place, helper], count) in failed.iter() {
        if count > 0 || number.is_empty() {
            values.count("tetragon_bpf_error_metrics_total", &[number, name, place, helper, ""], count);
        }
    }
}

/// What a number of an error is called; as a number where that is not usual of helpers.
fn error_name(errno: u32) -> String {
    let name = match errno {
        1 => "EPERM",
        2 => "ENOENT",
        3 => "ESRCH",
        7 => "E2BIG",
        11 => "EAGAIN",
        12 => "ENOMEM",
        13 => "EACCES",
        14 => "EFAULT",
        16 => "EBUSY",
        17 => "EEXIST",
        22 => "EINVAL",
        28 => "ENOSPC",
        34 => "ERANGE",
        36 => "ENAMETOOLONG",
        95 => "EOPNOTSUPP",
        _ => return errno.to_string(),
    };
    name.to_owned()
}

fn long_values(values: &mut Values, counters: &Counters) {
    let chunks = &counters.chunks;
    values.count("tetragon_data_cache_capacity", &[], counters.chunks_bound);
    values.count("tetragon_data_cache_size", &[], chunks.waiting_bytes);
    values.count("tetragon_data_cache_evictions_total", &[], chunks.evicted);
    for (event, count) in [
        ("Received", counters.received[Kind::Data as usize]),
        ("Appended", counters.count(Kind::Data, Outcome::Stored)),
        ("Matched", chunks.joined),
        ("NotMatched", chunks.orphaned),
        ("Bad", counters.count(Kind::Data, Outcome::Refused)),
    ] {
        values.count("tetragon_data_events_total", &[event], count);
    }
}

fn calls(values: &mut Values, counters: &Counters) {
    let calls = &counters.calls;
    let pushed = counters.count(Kind::Hook, Outcome::Stored);
    values.count("tetragon_generic_kprobe_merge_pushed_total", &[], pushed);
    let ended: u64 = calls.unjoined.iter().chain(&calls.untold).sum();
    for (status, count) in [("ok", calls.joined), ("error", ended + calls.without_entry)] {
        values.count("tetragon_generic_kprobe_merge_total", &["", "exit", "", "enter", status], count);
    }
    let loads = counters.hook_records[Family::Loader as usize];
    values.count("tetragon_process_loader_stats", &["LoaderReceived"], loads);
}

fn handling(values: &mut Values, counters: &Counters) {
    let undecodable = &counters.undecodable;
    let unknown = counters.received[0];
    for (error, count) in [
        ("perf_empty_data", undecodable.short),
        ("event_handler_failed", counters.undecodable_total() - undecodable.short),
        ("unknown_opcode", unknown),
    ] {
        values.count("tetragon_handler_errors_total", &[error, "0"], count);
    }
}

fn containers(values: &mut Values, state: &State) {
    let [found, not_found] = state.pods.as_ref().map_or([0; 2], |health| health.counts());
    values.count("tetragon_cri_cgidmap_resolutions_total", &[], found);
    values.count("tetragon_cri_cgidmap_resolutions_errors_total", &[], not_found);
    let held = state.gauges.held();
    values.count("tetragon_event_cache_entries", &[], held.waiting);
    values.count("tetragon_event_cache_inserts_total", &[], held.entered);
    values.count("tetragon_event_cache_fetch_retries_total", &["pod_info"], held.retries);
    let failures = held.late + held.no_room;
    values.count("tetragon_event_cache_fetch_failures_total", &["pod_info", ""], failures);
    let hooks = [("", &state.hooked.done), ("generic-error", &state.hooked.failed)];
    for (error, count) in hooks {
        let count = count.load(std::sync::atomic::Ordering::Relaxed);
        values.count("tetragon_policyfilter_operations_total", &[error, "add-container", "rthooks"], count);
    }
}

fn maps(values: &mut Values, state: &State) {
    let (groups, enforced) = ("saker_groups", "saker_enforced");
    let capacity = saker_probes::Enforcement::CAPACITY as u64;
    values.count("tetragon_map_capacity", &[enforced], capacity);
    let counted = state.policies.enforcement().counted().unwrap_or_default();
    values.count("tetragon_map_entries", &[enforced], counted as u64);
    values.count("tetragon_map_capacity", &[groups], saker_probes::Groups::CAPACITY as u64);
    let lost = state.workloads.as_ref().map_or(0, |workloads| workloads.lost());
    values.count("tetragon_map_errors_update_total", &[groups], lost);
}

/// Calls that programs of policies did not see, and what they cost. Policies of several domains, and hooks of one function,
/// share their labels.
pub(super) fn programs(values: &mut Values, views: &[View], bound: usize) {
    let mut missed: [Sums<2, u64>; 2] = std::array::from_fn(|_| Sums::new(bound, 0));
    let mut runs: Sums<5, u64> = Sums::new(bound, 0);
    let mut seconds: Sums<5, f64> = Sums::new(bound, 0);
    for view in views.iter().filter(|view| view.state.is_enabled()) {
        let (name, namespace) = (&*view.key.name, &*view.key.namespace);
        for hook in &view.hooks {
            let counts = hook.counts;
            missed[0].add([&hook.function, name], counts.missed.saturating_sub(counts.missed_at_once));
            missed[1].add([&hook.function, name], counts.missed_at_once);
            let sensor = hook.sensor();
            let labels = [&*hook.function, name, namespace, &*hook.mechanism, &*sensor];
            runs.add(labels, counts.runs);
            seconds.add(labels, std::time::Duration::from_nanos(counts.run_time_ns).as_secs_f64());
        }
    }
    let names = ["tetragon_missed_prog_probes_total", "tetragon_missed_link_probes_total"];
    for (name, sums) in names.into_iter().zip(&missed) {
        sums.iter().for_each(|(labels, count)| values.count(name, &labels, count));
    }
    for (labels, count) in runs.iter() {
        values.count("tetragon_overhead_program_runs_total", &labels, count);
    }
    for (labels, time) in seconds.iter() {
        values.set("tetragon_overhead_program_seconds_total", &labels, time);
    }
}

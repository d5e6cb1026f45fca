//! What is not as it should be, in words for people.

use saker_api::saker_v1::GetStatusResponse;
use saker_engine::Counters;

use super::RECORDING;
use crate::policies::State;

/// Everything that was lost, or may be, and what to do about it; empty: healthy.
pub(super) fn of(status: &GetStatusResponse, counters: &Counters) -> Vec<String> {
    let mut problems = Vec::new();
    if status.gap_records > 0 {
        problems.push(format!("{} records were lost before they became events", status.gap_records));
    }
    missed(status, &mut problems);
    helpers(status, &mut problems);
    evictions(status, counters, &mut problems);
    sinks(status, &mut problems);
    policies(status, &mut problems);
    enforcement(status, &mut problems);
    protection(status, &mut problems);
    if let Some(imbalance) = counters.imbalance() {
        problems.push(format!("the engine's counters do not add up: {imbalance}"));
    }
    problems
}

fn missed(status: &GetStatusResponse, problems: &mut Vec<String>) {
    for sensor in status.sensors.iter().filter(|sensor| sensor.missed > 0) {
        problems.push(format!(
            "the kernel left out up to {} runs of the sensor {} because it was running already; a gap event tells \
             of each",
            sensor.missed, sensor.name
        ));
    }
}

fn helpers(status: &GetStatusResponse, problems: &mut Vec<String>) {
    for failure in &status.helper_failures {
        let consequence = match failure.place.as_str() {
            "storage_fork" | "storage_exec" | "storage_task" => {
                "processes could not be noted in the kernel; their creator may be unknown"
            }
            "leaderless" => {
                "processes could not be noted in the kernel; their creator may be unknown after an exec"
            }
            "data" => "parts of long arguments, environments or buffers were lost; these are cut and marked",
            _ => "events lack this field, or have it cut",
        };
        problems.push(format!(
            "{} failed {} times at {} (errno {}): {consequence}",
            failure.helper, failure.count, failure.place, failure.errno
        ));
    }
}

fn evictions(status: &GetStatusResponse, counters: &Counters, problems: &mut Vec<String>) {
    let capacity = status.processes.as_ref().map_or(0, |table| table.capacity);
    let hint = format!("the process table is full; raise process-cache-size, now {capacity}");
    if counters.table.evicted_alive > 0 {
        problems.push(format!(
            "{} living processes were forgotten, and what they do next is told without their past: {hint}",
            counters.table.evicted_alive
        ));
    }
    if counters.table.evicted_ended > 0 {
        problems.push(format!(
            "{} ended processes were forgotten although living ones descend from them, whose ancestry is cut: {hint}",
            counters.table.evicted_ended
        ));
    }
}

fn policies(status: &GetStatusResponse, problems: &mut Vec<String>) {
    for policy in &status.policies {
        let (name, origin) = (&policy.name, &policy.origin);
        // The list has the whole of it.
        let error = policy.error.lines().next().unwrap_or_default();
        if policy.state == State::LoadError.name() {
            problems.push(format!("the policy {name} ({origin}) is not in force: {error}"));
        } else if !error.is_empty() {
            problems.push(format!("the policy {name} ({origin}) is not up to date: {error}"));
        }
        for hook in &policy.hooks {
            let counters = hook.counters.unwrap_or_default();
            let place = format!("{} {} of the policy {name}", hook.path, hook.function);
            if counters.lost > 0 {
                problems.push(format!(
                    "{} records of {place} were lost, because hooks had filled their part of the ring buffer; raise \
                     rb-size-total, or make the policy match less",
                    counters.lost
                ));
            }
            if counters.unpaired > 0 {
                problems.push(format!(
                    "{} calls of {place} could not be remembered until their return, and are not told",
                    counters.unpaired
                ));
            }
            if counters.missed > 0 {
                problems.push(format!(
                    "the kernel left out up to {} runs of {place} because it was running already",
                    counters.missed
                ));
            }
        }
    }
}

fn enforcement(status: &GetStatusResponse, problems: &mut Vec<String>) {
    let Some(off) = status.enforcement.as_ref().filter(|enforcement| !enforcement.enforcing) else { return };
    let end = match &off.off_until {
        Some(_) => "for a time",
        None => "until `saker enforce on`",
    };
    problems.push(format!("enforcement is switched off {end}, by {}: policies only tell", off.off_by));
}

fn protection(status: &GetStatusResponse, problems: &mut Vec<String>) {
    let lifted = status.self_protection.as_ref().filter(|protection| !protection.protecting);
    if let Some(lifted) = lifted {
        problems.push(format!(
            "self-protection is lifted for a time, by {}: the agent can be ended and changed",
            lifted.lifted_by
        ));
    }
}

fn sinks(status: &GetStatusResponse, problems: &mut Vec<String>) {
    for sink in &status.sinks {
        if sink.kind == RECORDING {
            if !sink.last_error.is_empty() {
                problems.push(format!(
                    "the recording {} ended early, {} inputs are not in it: {}",
                    sink.target, sink.dropped, sink.last_error
                ));
            }
            continue;
        }
        if sink.dropped > 0 {
            problems.push(format!("{} events were dropped at {} {}", sink.dropped, sink.name, sink.target));
        }
        if !sink.last_error.is_empty() {
            problems.push(format!("{} {}: {}", sink.name, sink.target, sink.last_error));
        }
        let (used, capacity) = (sink.spooled_bytes, sink.spool_capacity_bytes);
        if capacity > 0 && used.saturating_mul(10) >= capacity.saturating_mul(9) {
            problems.push(format!(
                "the spool of {} is full to nine tenths, with {} events; then its queue drops what does not fit",
                sink.name, sink.spooled_events
            ));
        }
    }
}

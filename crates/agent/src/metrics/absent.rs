//! Metrics of Tetragon without a counterpart.

/// Their names and why there is nothing to tell.
#[rustfmt::skip]
pub(super) const ABSENT: &[(&str, &str)] = &[
    ("tetragon_cgroup_rate_total", "there is no throttling by control group; what rate limits of policies hold back is `saker_hook_limited_total`"),
    ("tetragon_data_cache_misses_total", "a part is looked for only by the record it belongs to; those whose record did not come are `NotMatched`"),
    ("tetragon_data_event_size", "sizes of single parts are not kept"),
    ("tetragon_debug_events_total", "the kernel side sends no messages for debugging"),
    ("tetragon_enforcer_missed_notifications_total", "hooks refuse by themselves and notify no other program"),
    ("tetragon_errors_total", "records name their process by a key that threads share, and what is not found out is left out of the event"),
    ("tetragon_event_cache_errors_total", "every event has a process; one that is not known is shown with its PID and counted by `tetragon_events_missing_process_info_total`"),
    ("tetragon_handling_latency", "the engine takes records by batches and does not look at the clock for each"),
    ("tetragon_map_errors_delete_total", "entries go with what they are of, and the kernel side does not delete any by name"),
    ("tetragon_policyfilter_hook_container_image_missing_total", "a container whose image is not told is asked for at the runtime"),
    ("tetragon_policyfilter_hook_container_name_missing_total", "likewise its name"),
    ("tetragon_process_cache_early_deletions_total", "an entry is held as long as it is referred to"),
    ("tetragon_watcher_delete_pod_cache_evictions", "pods come from the container runtime, not from a watch of the API server"),
    ("tetragon_watcher_delete_pod_cache_hits", "likewise"),
    ("tetragon_watcher_errors_total", "likewise; what is wrong with the runtime is a problem in `saker status`"),
    ("tetragon_watcher_events_total", "likewise"),
    ("go_*", "the agent is not a Go program"),
];

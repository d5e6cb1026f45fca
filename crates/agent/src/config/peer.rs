//! Options that users of Tetragon know and that do not exist here yet.
//!
//! Ignoring one would leave somebody believing in a protection that is not there. So each is refused, unless its
//! value says that the thing is off, or is the only value that has no effect here.

/// An option that is refused, and the values at which it asks for nothing.
pub(super) struct PeerOption {
    pub(super) name: &'static str,
    harmless: &'static [&'static str],
}

const OFF: &[&str] = &["false"];
const EMPTY: &[&str] = &[""];

const fn peer(name: &'static str, harmless: &'static [&'static str]) -> PeerOption {
    PeerOption { name, harmless }
}

#[rustfmt::skip]
const PEER_OPTIONS: &[PeerOption] = &[
    peer("bpf-lib", EMPTY),
    peer("btf", EMPTY),
    peer("cgroup-rate", EMPTY),
    peer("cpuprofile", EMPTY),
    peer("data-cache-size", &["1024"]),
    peer("deleted-pod-cache-size", &["1024"]),
    peer("disable-process-cache", OFF),
    peer("enable-cgidmap", OFF),
    peer("enable-cgidmap-debug", OFF),
    peer("enable-cgtrackerid", &["true", "false"]),
    peer("enable-k8s-api", OFF),
    peer("enable-msg-handling-latency", OFF),
    peer("enable-pod-annotations", OFF),
    peer("enable-pod-info", OFF),
    peer("enable-policy-filter", OFF),
    peer("enable-policy-filter-cgroup-map", OFF),
    peer("enable-policy-filter-debug", OFF),
    peer("enable-tracing-policy-crd", OFF),
    peer("event-cache-retries", &["15"]),
    peer("event-cache-retry-delay", &["2"]),
    peer("execve-map-size", EMPTY),
    peer("force-large-progs", OFF),
    peer("force-small-progs", OFF),
    peer("gops-address", EMPTY),
    peer("k8s-controlplane-retry", &["1"]),
    peer("k8s-kubeconfig-path", EMPTY),
    peer("kernel", EMPTY),
    peer("log-file", EMPTY),
    peer("memprofile", EMPTY),
    peer("netns-dir", EMPTY),
    peer("parents-map-enabled", OFF),
    peer("parents-map-entries", &["0"]),
    peer("parents-map-size", EMPTY),
    peer("pprof-address", EMPTY),
    peer("process-cache-gc-interval", &["30s"]),
    // What an agent left is taken over and then removed, which is what either value is set for.
    peer("release-pinned-bpf", &["true", "false"]),
    peer("retprobes-cache-size", &["4096"]),
    peer("sleepable-preload-size", &["32768"]),
    peer("use-perf-ring-buffer", OFF),
    peer("verbose", &["0"]),
];

/// The option of this name.
pub(super) fn find(name: &str) -> Option<&'static PeerOption> {
    PEER_OPTIONS.iter().find(|option| option.name == name)
}

/// Names of all of them.
pub(super) fn names() -> impl Iterator<Item = &'static str> {
    PEER_OPTIONS.iter().map(|option| option.name)
}

impl PeerOption {
    /// With this value it asks for nothing.
    pub(super) fn is_harmless(&self, value: &str) -> bool {
        self.harmless.contains(&value.trim())
    }

    /// What can be written instead of a refused value.
    pub(super) fn hint(&self) -> String {
        match self.harmless {
            [] => "remove it".into(),
            [""] => "remove it or leave it empty".into(),
            [first, ..] => format!("remove it or set it to {first}"),
        }
    }
}

//! The one definition of every option.

/// How the text of an option is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// `true` or `false`; the flag alone means true.
    Switch,
    /// Any text.
    Text,
    /// A path.
    Path,
    /// A whole number from 0.
    Count,
    /// A whole number from -1.
    Limit,
    /// Bytes, with K, M or G.
    Size,
    /// Time such as `90s` or `1h30m`; 0: off.
    Duration,
    /// Permission bits in octal.
    Octal,
    /// Words separated by commas, or a list in YAML.
    List,
    /// One of these words.
    Choice(&'static [&'static str]),
}

impl Kind {
    /// How the reference calls it.
    #[must_use]
    pub fn name(self) -> String {
        match self {
            Self::Switch => "switch".into(),
            Self::Text => "text".into(),
            Self::Path => "path".into(),
            Self::Count => "number".into(),
            Self::Limit => "number or -1".into(),
            Self::Size => "size".into(),
            Self::Duration => "duration".into(),
            Self::Octal => "octal".into(),
            Self::List => "list".into(),
            Self::Choice(words) => words.join(", "),
        }
    }
}

/// Section of the help and of the reference.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[expect(missing_docs, reason = "the titles say it")]
pub enum Group {
    General,
    Policies,
    Events,
    Console,
    Export,
    Server,
    Capacity,
}

impl Group {
    /// Title of the section.
    #[must_use]
    pub fn title(self) -> &'static str {
        match self {
            Self::General => "General",
            Self::Policies => "Policies",
            Self::Events => "Content of events",
            Self::Console => "Console",
            Self::Export => "Exports",
            Self::Server => "Servers",
            Self::Capacity => "Capacity",
        }
    }
}

/// Definition of one option.
#[derive(Clone, Copy, Debug)]
pub struct OptionDef {
    /// Name: of the flag, the YAML key and the drop-in file.
    pub name: &'static str,
    /// Letter of the flag.
    pub short: Option<char>,
    /// Type.
    pub kind: Kind,
    /// Default, as one would write it.
    pub default: &'static str,
    /// Section.
    pub group: Group,
    /// Meaning, in a sentence or two.
    pub help: &'static str,
}

const fn option(
    name: &'static str,
    kind: Kind,
    default: &'static str,
    group: Group,
    help: &'static str,
) -> OptionDef {
    OptionDef { name, short: None, kind, default, group, help }
}

/// All options, in the order of the help.
#[rustfmt::skip]
pub const OPTIONS: &[OptionDef] = &[
    option("config", Kind::Path, "/etc/saker/saker.yaml", Group::General,
        "YAML file with a flat map of options. Only the default may be missing. Not allowed inside files"),
    option("config-dir", Kind::Path, "", Group::General,
        "Directory with one file per option: its name is the option, its content the value. Not allowed inside files"),
    option("run-dir", Kind::Path, "/run/saker", Group::General,
        "Directory of the socket, the lock, the PID file and the info file; created with mode 0755"),
    OptionDef { short: Some('d'), ..option("debug", Kind::Switch, "false", Group::General,
        "Short for --log-level debug") },
    option("log-level", Kind::Choice(&["trace", "debug", "info", "warn", "error"]), "info", Group::General,
        "Least level of messages on standard error"),
    option("log-format", Kind::Choice(&["text", "json"]), "text", Group::General,
        "Form of messages on standard error"),
    option("node-name", Kind::Text, "", Group::General,
        "Name of this node in events; empty: environment NODE_NAME, HUBBLE_NODE_NAME, else the host name"),
    option("cluster-name", Kind::Text, "", Group::General,
        "Name of the cluster in events; empty: left out"),
    option("procfs", Kind::Path, "/proc/", Group::General,
        "Where the proc file system of the host is mounted; running processes are read there"),
    option("keep-capabilities", Kind::Switch, "false", Group::General,
        "Keep all capabilities that the agent was started with; otherwise it gives up at once those that it does not need, and cannot write into folders of other users"),
    option("record", Kind::Path, "", Group::General,
        "Also save everything the kernel tells to this file, for `saker replay`; it is begun anew, with permissions 600, and must be a regular file; empty: off"),

    option("tracing-policy", Kind::Path, "", Group::Policies,
        "File with policies to load at the start; without all of them the agent does not start. It is not followed"),
    option("tracing-policy-dir", Kind::Path, "/etc/saker/saker.tp.d", Group::Policies,
        "Directory whose policy files are loaded and followed: names ending in .yaml, .yml or .json, also one directory below; what cannot be loaded is listed with its reason; only the default may be missing; empty: off"),

    option("disable-kprobe-multi", Kind::Switch, "false", Group::Policies,
        "Attach a program to the functions of a list one by one (kprobe), also where the kernel can attach it to all at once (kprobe.multi); a policy can ask for it with its option of this name"),
    option("require-prevention", Kind::Switch, "false", Group::Policies,
        "Refuse policies with a signal that comes when the operation can no longer be prevented; otherwise they are loaded with a warning"),
    option("socket-cgroup", Kind::Path, "", Group::Policies,
        "Directory of the control group that programs are attached to which refuse operations of sockets, where no other way is left; sockets that were made outside of it are then not refused anything, which the status of the hooks says; empty: the root of all"),
    option("keep-sensors-on-exit", Kind::Switch, "false", Group::Policies,
        "Sensors and policies stay in force when the agent ends, however it does: its programs are pinned in --bpf-dir, and the next agent takes over without a gap. What the kernel cannot keep, a policy's status tells. `saker uninstall` ends it"),
    option("bpf-dir", Kind::Path, "saker", Group::Policies,
        "Directory for --keep-sensors-on-exit, created with mode 0700: a name below /sys/fs/bpf, or the whole path of a directory in another BPF file system. What an agent left there is taken over in any case"),
    option("persist-grpc-policies", Kind::Switch, "false", Group::Policies,
        "Policies of calls are kept on disk, with their mode and whether they are enabled, and come back at the next start, before those of files"),
    option("persist-grpc-policies-dir", Kind::Path, "/var/lib/saker/grpc-policies", Group::Policies,
        "Directory for --persist-grpc-policies, created with mode 0700"),
    option("enforce-on-init", Kind::Switch, "false", Group::Policies,
        "Let policies act on the first process of the machine where a selector names it, by matchBinaries with In or by matchPIDs; otherwise nothing is ever done to it"),
    option("enforce-on-agent", Kind::Switch, "false", Group::Policies,
        "The same of the agent itself"),
    option("self-protection", Kind::Switch, "false", Group::Policies,
        "Refuse attempts of others, root among them, to end, stop, trace or change the agent: its process, program, configuration, policies, socket, pins and BPF objects; the first process of the machine (systemctl stop) may, and everybody while `saker protect off` lifts it. Attempts are events of the policy self-protection. Needs programs of security modules (`bpf` in lsm=)"),
    option("enable-cri", Kind::Switch, "false", Group::Policies,
        "Ask the container runtime (CRI) which containers are of which pods, for events and for policies with namespaces, podSelector and containerSelector; without it such policies are refused"),
    option("cri-endpoint", Kind::Text, "", Group::Policies,
        "Socket of the container runtime, for --enable-cri: unix:///PATH or the path; empty: the first that is there of /run/containerd/containerd.sock, /run/crio/crio.sock, /run/k3s/containerd/containerd.sock and /run/cri-dockerd.sock"),
    option("undecided-timeout", Kind::Duration, "2s", Group::Policies,
        "Time that events of containers which the runtime has not told of yet wait for it, when they are of policies for pods or containers; then they are told with workload_undecided; 0: at once"),
    option("node-labels", Kind::List, "", Group::Policies,
        "Labels of this node for the nodeSelector of policies, each KEY=VALUE; kubernetes.io/hostname, kubernetes.io/os and kubernetes.io/arch are there unless given"),
    option("request-timeout", Kind::Duration, "10s", Group::Policies,
        "Time that a request of a policy (GetUrl, DnsLookup) may take"),
    option("dns-lookup-server", Kind::Text, "", Group::Policies,
        "Server that DnsLookup asks: ADDRESS or ADDRESS:PORT; empty: those of /etc/resolv.conf"),

    option("enable-process-cred", Kind::Switch, "false", Group::Events,
        "Show credentials and capabilities of processes, and binary_properties of executions"),
    option("enable-process-ns", Kind::Switch, "false", Group::Events,
        "Show namespaces of processes"),
    option("enable-process-environment-variables", Kind::Switch, "false", Group::Events,
        "Show environment variables of executions"),
    option("filter-environment-variables", Kind::List, "", Group::Events,
        "Names of environment variables to show; empty: all"),
    option("enable-ancestors", Kind::List, "", Group::Events,
        "Kinds of events that show all ancestors of the process; `base` is executions and exits, and required"),
    option("redaction-filters", Kind::Text, "", Group::Events,
        "Hide what capture groups of regular expressions match in arguments and environment variables of processes, from every output: JSON objects such as {\"redact\":[\"--password[= ](\\\\S+)\"],\"binary_regex\":[\"/mysql$\"]}, each working on what the former left. A recording (--record) holds everything"),
    option("expose-stack-addresses", Kind::Switch, "false", Group::Events,
        "Show the addresses of callers in stacks, which tell where the kernel and its programs were put in memory"),
    option("username-metadata", Kind::Choice(&["disabled", "unix"]), "disabled", Group::Events,
        "Show names of users: `unix` looks them up in /etc/passwd for processes of the host"),
    option("enable-extra-fields", Kind::Switch, "true", Group::Events,
        "Show the fields that only Saker has beside the compatible ones"),

    OptionDef { short: Some('o'), ..option("output", Kind::Choice(&["none", "json", "compact"]), "none", Group::Console,
        "Write events to standard output too") },
    option("color", Kind::Choice(&["auto", "always", "never"]), "auto", Group::Console,
        "Colours of compact lines; auto: when standard output is a terminal and NO_COLOR is not set"),
    option("timestamps", Kind::Switch, "false", Group::Console,
        "Begin compact lines with the time of the event"),

    option("export-filename", Kind::Path, "", Group::Export,
        "Write events as JSON lines to this file; a pipe must have a reader, and its end ends the agent; empty: off"),
    option("export-file-max-size-mb", Kind::Count, "10", Group::Export,
        "Size in MiB at which the file is rotated; 0: never"),
    option("export-file-max-backups", Kind::Count, "5", Group::Export,
        "Rotated files to keep; 0: all"),
    option("export-file-max-age", Kind::Duration, "0", Group::Export,
        "Age at which rotated files are deleted; 0: never"),
    option("export-file-rotation-interval", Kind::Duration, "0", Group::Export,
        "Time after which a file that is not empty is rotated; 0: never"),
    option("export-file-compress", Kind::Switch, "false", Group::Export,
        "Compress rotated files with gzip"),
    option("export-file-perm", Kind::Octal, "600", Group::Export,
        "Permissions of the file"),
    option("export-rate-limit", Kind::Limit, "-1", Group::Export,
        "Events per minute; what exceeds it is counted and told once a minute as rate_limit_info; -1: no limit, 0: nothing"),
    option("export-allowlist", Kind::Text, "", Group::Export,
        "Only events that match one of these filters: JSON objects separated by space or newline; gaps always pass"),
    option("export-denylist", Kind::Text, "", Group::Export,
        "No events that match one of these filters; stronger than the allow list"),
    option("enable-pid-set-filter", Kind::Switch, "false", Group::Export,
        "Allow pid_set in the lists of filters of exports; it is best effort: it knows the descendants that the stream told of"),
    option("field-filters", Kind::Text, "", Group::Export,
        "Which fields of events are written: JSON objects such as {\"fields\":\"process.binary,parent\",\"action\":\"INCLUDE\"}, each working on what the former left; empty: all"),
    option("enable-export-aggregation", Kind::Switch, "false", Group::Export,
        "Fold equal events of policies (all but the time is the same, and nothing was done about them) into one that tells their number in aggregation_info; they are told when their window ends, or before the next event of their process that is not folded"),
    option("export-aggregation-window-size", Kind::Duration, "15s", Group::Export,
        "Time for which events wait for equal ones, with --enable-export-aggregation; one hour at most"),
    option("export-aggregation-buffer-size", Kind::Count, "10000", Group::Export,
        "Different events that may wait, with --enable-export-aggregation; more, or more than 32 MiB of them, pass unfolded and are counted"),
    option("export-config", Kind::Path, "/etc/saker/exports.d", Group::Export,
        "File, or directory with files *.yaml, of further exports: to files, standard output, syslog, webhooks, NATS and OpenTelemetry collectors, each with its own filters, rate limit and queue (docs/exports.md); read at the start; only the default may be missing; empty: off"),

    option("server-address", Kind::Text, "unix:///run/saker/saker.sock", Group::Server,
        "Where gRPC is served: unix:///PATH or HOST:PORT (port 54321 if left out); with HOST:PORT the socket in the run directory is served too; empty: off. The default follows --run-dir"),
    option("server-socket-mode", Kind::Octal, "660", Group::Server,
        "Permissions of the Unix socket: who may write to it may ask for and change everything"),
    option("server-socket-group", Kind::Text, "", Group::Server,
        "Group of the Unix socket, by name or number; empty: that of the agent"),
    option("server-allow-changes", Kind::Switch, "false", Group::Server,
        "Allow clients at HOST:PORT that show no certificate to change policies and settings; those with one may, and at the socket its permissions say who may"),
    option("server-allow-remote", Kind::Switch, "false", Group::Server,
        "Allow a server address that other machines can reach although clients need no certificate: whoever reaches it sees all events"),
    option("server-tls-cert-file", Kind::Path, "", Group::Server,
        "Certificate of the server at HOST:PORT, with those of its issuers, in PEM; clients must use TLS 1.3 then. It is read again when it changes; what cannot be used is logged and the old one stays"),
    option("server-tls-key-file", Kind::Path, "", Group::Server,
        "Key of that certificate, in PEM; only its owner, or a group, may be able to read it"),
    option("server-tls-client-ca-files", Kind::List, "", Group::Server,
        "Authorities whose certificates clients must show, in PEM, for --server-tls-require-client-cert; followed as the certificate is"),
    option("server-tls-require-client-cert", Kind::Switch, "false", Group::Server,
        "Take only clients at HOST:PORT that show a certificate of --server-tls-client-ca-files (mutual TLS); other machines may reach such an address, and such clients may change policies"),
    option("enable-deprecated-tracingpolicy-grpc", Kind::Switch, "false", Group::Server,
        "Serve the deprecated calls EnableTracingPolicy and DisableTracingPolicy; ConfigureTracingPolicy does the same"),
    option("event-queue-size", Kind::Count, "10000", Group::Server,
        "Events that may wait for one gRPC client; a slower one misses events and is told so"),
    option("max-clients", Kind::Count, "256", Group::Server,
        "gRPC clients that may receive events at once; each listener takes 64 connections more than that, and refuses further ones"),
    option("metrics-server", Kind::Text, "", Group::Server,
        "Where metrics are served at /metrics, and the agent's health at /livez, /readyz and /healthz: HOST:PORT or :PORT; empty: off"),
    option("enable-event-metrics", Kind::Switch, "true", Group::Server,
        "Tell events apart in metrics by the process they are of, where metrics are served"),
    option("metrics-label-filter", Kind::List, "namespace,workload,pod,binary", Group::Server,
        "Labels of a process in metrics about events; those that are not listed are empty"),
    option("metrics-series-max", Kind::Count, "10000", Group::Server,
        "Most series of each metric about events; what has no room is counted with the labels `other`"),
    option("health-server-address", Kind::Text, "", Group::Server,
        "Where the standard gRPC health service is served, with the services liveness and readiness: HOST:PORT or :PORT, in Tetragon :6789; it tells nothing else to anybody; empty: off"),
    option("health-server-interval", Kind::Count, "10", Group::Server,
        "Seconds after which the health service looks at the agent anew"),

    option("rb-size", Kind::Size, "0", Group::Capacity,
        "Ring buffer for each CPU, instead of --rb-size-total; 0: not used"),
    option("rb-size-total", Kind::Size, "0", Group::Capacity,
        "Ring buffer between kernel and agent, rounded up to a power of two; 0: 2M"),
    option("request-queue-size", Kind::Count, "256", Group::Capacity,
        "Requests of policies (GetUrl, DnsLookup) that may wait while 16 are under way; more are left out and counted"),
    option("undecided-queue-size", Kind::Count, "4096", Group::Capacity,
        "Events that may wait for the container runtime, with those behind them; more are told with workload_undecided"),
    option("rb-queue-size", Kind::Count, "65535", Group::Capacity,
        "Records that may wait between the reader of the ring buffer and the engine; then the ring buffer fills"),
    option("execve-map-entries", Kind::Count, "0", Group::Capacity,
        "Entries of kernel tables of processes; 0: 32768"),
    option("process-cache-size", Kind::Count, "65536", Group::Capacity,
        "Processes the agent remembers"),
    option("export-queue-size", Kind::Count, "65536", Group::Capacity,
        "Events that may wait for the file, and for standard output; more are dropped, counted and told as a gap"),
    option("export-queue-bytes", Kind::Size, "64M", Group::Capacity,
        "Memory that events waiting for the file, and for standard output, may hold"),
];

/// The option of this name.
#[must_use]
pub fn find(name: &str) -> Option<&'static OptionDef> {
    OPTIONS.iter().find(|option| option.name == name)
}

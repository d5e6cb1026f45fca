//! Values with types, checked against each other.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rustix::fs::{PROC_SUPER_MAGIC, statfs};
use saker_api::event::Family;
use saker_api::filter::{
    FieldFilters, FilterError, Filters, Offered, Subscription, parse_field_filters, parse_filters,
    parse_redaction_filters,
};
use saker_api::passage::Aggregation;
use saker_api::redaction::Redaction;
use saker_api::tetragon::EventType;
use saker_export::FileConfig;

use super::exports::{self, ExportDef};
use super::value::{self, ValueError};
use super::{Config, Kind, OPTIONS, Source};
use crate::pipeline::HoldBounds;
use crate::policies::Sources;

mod metrics;

pub use metrics::EventMetrics;
mod server;

pub use server::{Server, TlsFiles};

const DEFAULT_RING: u64 = 2 << 20;
const DEFAULT_ENTRIES: u32 = 32_768;
const DEFAULT_PORT: u16 = 54_321;
const MIN_RING: u64 = 64 << 10;
const MAX_RING: u64 = 1 << 30;
/// Most time that an event may wait to be decided.
const UNDECIDED_MAX: Duration = Duration::from_secs(60);
const ANCESTOR_KINDS: &[&str] = &["base", "kprobe", "tracepoint", "loader", "uprobe", "lsm", "usdt"];

/// A value that cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("{at}: `{name}` is `{value}`: {error}")]
pub struct SettingsError {
    at: Source,
    name: &'static str,
    value: String,
    #[source]
    error: ValueError,
}

/// Everything the agent is told.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Directory of socket, lock, PID and info file.
    pub run_dir: PathBuf,
    /// Least level of log messages.
    pub log_level: String,
    /// Form of log messages.
    pub log_format: LogFormat,
    /// Name of the node; empty: the environment's or the host's.
    pub node_name: String,
    /// Name of the cluster.
    pub cluster_name: String,
    /// The proc file system of the host.
    pub procfs: PathBuf,
    /// Capabilities that are not needed are kept.
    pub keep_capabilities: bool,
    /// Save records to this file.
    pub record: Option<PathBuf>,
    /// Where policies come from.
    pub policies: Sources,
    /// Kprobes are attached one by one, whatever a policy says.
    pub kprobes_one_by_one: bool,
    /// Policies whose actions come too late to prevent are refused.
    pub require_prevention: bool,
    /// Programs that decide about sockets are attached to this control group; `None`: to the root of all.
    pub socket_group: Option<PathBuf>,
    /// Sensors and policies stay in force when the agent ends.
    pub keep: bool,
    /// Where they are pinned: a name below the BPF file system, or a whole path.
    pub bpf_dir: PathBuf,
    /// Whom policies may hit that name it.
    pub spared: saker_probes::Spared,
    /// The agent is guarded against others.
    pub protection: bool,
    /// The container runtime is asked for pods; `None`: it is not.
    pub cri: Option<Cri>,
    /// Labels of the node that were given.
    pub node_labels: BTreeMap<String, String>,
    /// How much waits until it is known whom it is of.
    pub undecided: HoldBounds,
    /// How requests of policies are made.
    pub requests: crate::requests::Settings,
    /// What events show.
    pub events: EventFields,
    /// Standard output.
    pub console: Console,
    /// File export.
    pub export: Option<FileExport>,
    /// Exports that files declare.
    pub exports: Vec<ExportDef>,
    /// Bounds of the queues before file and standard output.
    pub queue: saker_export::Limits,
    /// gRPC.
    pub server: Server,
    /// Metrics address, `HOST:PORT`.
    pub metrics: Option<String>,
    /// What metrics about events tell apart.
    pub event_metrics: EventMetrics,
    /// Address of the gRPC health service, `HOST:PORT`.
    pub health: Option<String>,
    /// Time after which it looks at the agent's health anew.
    pub health_interval: Duration,
    /// Kernel side and engine.
    pub kernel: Kernel,
}

impl Settings {
    /// Somebody says which containers are of which pods.
    #[must_use]
    pub fn names_pods(&self) -> bool {
        self.cri.is_some()
    }
}

/// How the container runtime is asked.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Cri {
    /// Its socket; `None`: the first of the usual ones that is there.
    pub endpoint: Option<PathBuf>,
}

/// Form of log messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names say it")]
pub enum LogFormat {
    Text,
    Json,
}

/// Optional content of events.
#[derive(Clone, Debug, Default)]
pub struct EventFields {
    /// Credentials, capabilities, binary properties.
    pub credentials: bool,
    /// Namespaces.
    pub namespaces: bool,
    /// Fields that only Saker has.
    pub extras: bool,
    /// Addresses in stacks.
    pub stack_addresses: bool,
    /// Environment variables: `None`: off; empty: all; else these.
    pub environment: Option<Vec<String>>,
    /// Ancestors.
    pub ancestors: Ancestors,
    /// Names of users.
    pub user_names: bool,
    /// What is hidden of arguments and environments.
    pub redaction: Redaction,
}

impl EventFields {
    /// What filters can ask for. `pid_set`: also for the descendants of a process.
    #[must_use]
    pub fn offered(&self, pid_set: bool) -> Offered {
        let base = [EventType::ProcessExec, EventType::ProcessExit];
        let mut ancestors = if self.ancestors.base { base.to_vec() } else { Vec::new() };
        let shown = |family: &Family| self.ancestors.of_hooks(*family);
        ancestors.extend(Family::ALL.iter().filter(|family| shown(family)).map(|family| family.event_type()));
        Offered { credentials: self.credentials, pid_set, ancestors }
    }
}

/// Which kinds of events show ancestors.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "one for each kind of event")]
pub struct Ancestors {
    /// Executions and exits.
    pub base: bool,
    /// `process_kprobe`.
    pub kprobe: bool,
    /// `process_tracepoint`.
    pub tracepoint: bool,
    /// `process_uprobe`.
    pub uprobe: bool,
    /// `process_usdt`.
    pub usdt: bool,
    /// `process_lsm`.
    pub lsm: bool,
    /// `process_loader`.
    pub loader: bool,
}

impl Ancestors {
    const fn of_hooks(self, family: Family) -> bool {
        match family {
            Family::Kprobe => self.kprobe,
            Family::Tracepoint => self.tracepoint,
            Family::Uprobe => self.uprobe,
            Family::Usdt => self.usdt,
            Family::Lsm => self.lsm,
            Family::Loader => self.loader,
        }
    }

    /// The same for an engine.
    #[must_use]
    pub const fn of_engine(self) -> saker_engine::Ancestors {
        let Self { base, kprobe, tracepoint, uprobe, usdt, lsm, loader } = self;
        saker_engine::Ancestors { exec: base, exit: base, kprobe, tracepoint, uprobe, usdt, lsm, loader }
    }
}

/// Events on standard output.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Console {
    /// Form of events.
    pub output: Output,
    /// Colours.
    pub color: Color,
    /// Begin compact lines with the time.
    pub timestamps: bool,
}

/// Form of events on standard output.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names say it")]
pub enum Output {
    None,
    Json,
    Compact,
}

/// When to colour.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names say it")]
pub enum Color {
    Auto,
    Always,
    Never,
}

impl Color {
    /// Whether to colour what goes to standard output.
    #[must_use]
    pub fn for_stdout(self) -> bool {
        match self {
            Self::Always => true,
            Self::Never => false,
            Self::Auto => {
                let unwanted = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
                !unwanted && std::io::IsTerminal::is_terminal(&std::io::stdout())
            }
        }
    }
}

/// Events in a file.
#[derive(Clone, Debug)]
pub struct FileExport {
    /// File and rotation.
    pub file: FileConfig,
    /// Which events, how folded, how many and with which fields.
    pub wanted: Arc<Subscription>,
}

/// Sizes of kernel side and engine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Kernel {
    /// Bytes of the ring buffer.
    pub ring_bytes: usize,
    /// Entries of tables in the kernel.
    pub entries: u32,
    /// Records between reader and engine.
    pub queue_records: usize,
    /// Processes the engine remembers.
    pub processes: usize,
}

/// Where a gRPC server listens or is found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Address {
    /// A Unix socket.
    Unix(PathBuf),
    /// Host and port.
    Tcp(String, u16),
}

impl Address {
    /// Reads `unix:///PATH`, `HOST:PORT` or `HOST`.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(text: &str) -> Result<Self, ValueError> {
        let wrong = |what: &str| ValueError::Address(what.to_owned());
        if let Some(path) = text.strip_prefix("unix://") {
            return if path.starts_with('/') {
                Ok(Self::Unix(path.into()))
            } else {
                Err(wrong("the path of a socket must be absolute: unix:///PATH"))
            };
        }
        if text.starts_with('/') {
            return Err(wrong("write a socket's path as unix:///PATH"));
        }
        let (host, port) = host_and_port(text)?;
        if host.is_empty() {
            return Err(wrong("the host is missing: HOST:PORT"));
        }
        Ok(Self::Tcp(host, port.unwrap_or(DEFAULT_PORT)))
    }
}

/// Splits `HOST:PORT`, `[V6]:PORT`, `:PORT` or `HOST`.
pub(super) fn host_and_port(text: &str) -> Result<(String, Option<u16>), ValueError> {
    let wrong = || ValueError::Address("expected HOST:PORT, [IPV6]:PORT or unix:///PATH".into());
    let (host, port) = match text.strip_prefix('[') {
        Some(rest) => {
            let (host, tail) = rest.split_once(']').ok_or_else(wrong)?;
            (host, tail.strip_prefix(':'))
        }
        None => match text.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (text, None),
        },
    };
    if host.contains(['/', ' ']) {
        return Err(wrong());
    }
    let port = port.map(|port| port.parse().map_err(|_| wrong())).transpose()?;
    Ok((host.to_owned(), port))
}

/// Only this machine can reach it.
pub(super) fn is_local(host: &str) -> bool {
    host == "localhost" || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

struct Reader<'a> {
    config: &'a Config,
    errors: Vec<SettingsError>,
}

impl Reader<'_> {
    fn text(&self, name: &'static str) -> String {
        self.config.get(name).to_owned()
    }

    fn path(&self, name: &'static str) -> Option<PathBuf> {
        Some(self.config.get(name)).filter(|text| !text.is_empty()).map(PathBuf::from)
    }

    /// The value, or the definition's default after noting an error; so that all errors are found.
    fn value<T: Default>(&mut self, name: &'static str, parse: impl Fn(&str) -> Result<T, ValueError>) -> T {
        parse(self.config.get(name)).unwrap_or_else(|error| {
            self.wrong(name, error);
            T::default()
        })
    }

    fn count(&mut self, name: &'static str, least: u32, most: u32) -> u32 {
        let number = self.value(name, |text| value::number(text, least.into(), most.into()));
        u32::try_from(number).unwrap_or(least)
    }

    fn switch(&mut self, name: &'static str) -> bool {
        self.value(name, value::switch)
    }

    fn optional_duration(&mut self, name: &'static str) -> Option<Duration> {
        Some(self.value(name, value::duration)).filter(|duration| !duration.is_zero())
    }

    fn wrong(&mut self, name: &'static str, error: ValueError) {
        let Some(setting) = self.config.setting(name) else { return };
        let (at, value) = (setting.source.clone(), setting.text.clone());
        self.errors.push(SettingsError { at, name, value, error });
    }

    fn is_set(&self, name: &'static str) -> bool {
        self.config.setting(name).is_some_and(|setting| setting.source != Source::Default)
    }
}

impl Settings {
    pub(super) fn from_config(config: &Config) -> Result<Self, Vec<SettingsError>> {
        let mut reader = Reader { config, errors: Vec::new() };
        reader.check_choices();
        let run_dir = reader.path("run-dir").unwrap_or_else(|| PathBuf::from("/run/saker"));
        let run_dir = std::path::absolute(&run_dir).unwrap_or(run_dir);
        let debug = reader.switch("debug");
        let events = reader.events();
        let queue = saker_export::Limits {
            events: reader.count("export-queue-size", 1, 100_000_000) as usize,
            bytes: usize::try_from(reader.value("export-queue-bytes", value::size)).unwrap_or(usize::MAX),
        };
        let settings = Self {
            log_level: if debug { "debug".into() } else { reader.text("log-level") },
            log_format: if config.get("log-format") == "json" { LogFormat::Json } else { LogFormat::Text },
            node_name: reader.text("node-name"),
            cluster_name: reader.text("cluster-name"),
            procfs: reader.procfs(),
            keep_capabilities: reader.switch("keep-capabilities"),
            record: reader.path("record"),
            policies: reader.policies(),
            kprobes_one_by_one: reader.switch("disable-kprobe-multi"),
            require_prevention: reader.switch("require-prevention"),
            socket_group: reader.path("socket-cgroup"),
            keep: reader.switch("keep-sensors-on-exit"),
            bpf_dir: reader.bpf_dir(),
            spared: saker_probes::Spared {
                hits_init: reader.switch("enforce-on-init"),
                hits_agent: reader.switch("enforce-on-agent"),
            },
            protection: reader.switch("self-protection"),
            cri: reader.cri(),
            node_labels: reader.node_labels(),
            undecided: reader.undecided(),
            requests: reader.requests(),
            console: reader.console(),
            exports: reader.exports(&events, queue),
            export: reader.export(&events),
            events,
            queue,
            server: reader.server(&run_dir),
            metrics: reader.listener("metrics-server"),
            event_metrics: reader.event_metrics(),
            health: reader.listener("health-server-address"),
            health_interval: Duration::from_secs(reader.count("health-server-interval", 1, 3600).into()),
            kernel: reader.kernel(),
            run_dir,
        };
        if reader.errors.is_empty() { Ok(settings) } else { Err(reader.errors) }
    }
}

impl Reader<'_> {
    fn check_choices(&mut self) {
        for option in OPTIONS {
            if let Kind::Choice(words) = option.kind
                && !words.contains(&self.config.get(option.name))
            {
                self.wrong(option.name, ValueError::Choice(words.join(", ")));
            }
        }
    }

    fn procfs(&mut self) -> PathBuf {
        let path = self.path("procfs").unwrap_or_else(|| PathBuf::from("/proc"));
        let found = statfs(&path).map(|found| found.f_type == PROC_SUPER_MAGIC);
        let what = match found {
            Ok(true) => return path,
            Ok(false) => "no proc file system is mounted there".to_owned(),
            Err(errno) => format!("it cannot be used: {}", std::io::Error::from(errno)),
        };
        let hint = "give the path where the one of the host is mounted, as a rule /proc";
        self.wrong("procfs", ValueError::Other(format!("{what}; {hint}")));
        path
    }

    fn policies(&mut self) -> Sources {
        let directory = self.path("tracing-policy-dir");
        if directory.as_ref().is_some_and(|path| path.is_relative()) {
            self.wrong("tracing-policy-dir", ValueError::Other("the path must be absolute".into()));
        }
        Sources {
            file: self.path("tracing-policy"),
            directory,
            directory_wanted: self.is_set("tracing-policy-dir"),
            kept: self.kept_policies(),
        }
    }

    /// Where policies of calls are kept, if they are.
    fn kept_policies(&mut self) -> Option<PathBuf> {
        const DIR: &str = "persist-grpc-policies-dir";
        let wanted = self.switch("persist-grpc-policies");
        let dir = self.path(DIR);
        if wanted && dir.as_ref().is_none_or(|path| path.is_relative()) {
            self.wrong(DIR, ValueError::Other("the path must be absolute".into()));
        }
        dir.filter(|_| wanted)
    }

    /// The directory of pins.
    fn bpf_dir(&mut self) -> PathBuf {
        let dir = self.path("bpf-dir").unwrap_or_default();
        // A name below the BPF file system, or a whole path: never upwards, never that file system itself.
        let climbs = dir.components().any(|part| part == std::path::Component::ParentDir);
        if dir.as_os_str().is_empty() || climbs || dir == Path::new("/") {
            let what =
                "write a name below /sys/fs/bpf, or the whole path of a directory in a BPF file system";
            self.wrong("bpf-dir", ValueError::Other(what.into()));
        }
        dir
    }

    fn cri(&mut self) -> Option<Cri> {
        let enabled = self.switch("enable-cri");
        let endpoint = self.value("cri-endpoint", |text| {
            let path = text.strip_prefix("unix://").unwrap_or(text);
            if path.is_empty() || path.starts_with('/') {
                return Ok(Some(path).filter(|path| !path.is_empty()).map(PathBuf::from));
            }
            Err(ValueError::Other("write the socket as unix:///PATH, or as its absolute path".into()))
        });
        if endpoint.is_some() && !enabled {
            self.wrong("cri-endpoint", ValueError::Other("it has no effect without enable-cri".into()));
        }
        enabled.then_some(Cri { endpoint })
    }

    fn node_labels(&mut self) -> BTreeMap<String, String> {
        self.value("node-labels", |text| {
            let label = |word: &String| match word.split_once('=') {
                Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), value.to_owned())),
                _ => Err(ValueError::Other(format!("`{word}` is no label: write KEY=VALUE"))),
            };
            value::list(text).iter().map(label).collect()
        })
    }

    fn undecided(&mut self) -> HoldBounds {
        let patience = self.value("undecided-timeout", |text| match value::duration(text)? {
            long if long > UNDECIDED_MAX => {
                Err(ValueError::Other(format!("at most {} s", UNDECIDED_MAX.as_secs())))
            }
            patience => Ok(patience),
        });
        HoldBounds { patience, events: self.count("undecided-queue-size", 1, 1 << 20) as usize }
    }

    fn requests(&mut self) -> crate::requests::Settings {
        let timeout = self.value("request-timeout", |text| match value::duration(text)? {
            Duration::ZERO => Err(ValueError::Other("a request needs some time, such as `10s`".into())),
            timeout => Ok(timeout),
        });
        let address = |text: &str| {
            let alone = text.parse().map(|address: IpAddr| SocketAddr::new(address, 53));
            alone.or_else(|_| text.parse()).map(Some)
        };
        let name_server = self.value("dns-lookup-server", |text| {
            if text.is_empty() { Ok(None) } else { address(text) }.map_err(|_| {
                let what =
                    "it is not an address, such as `192.0.2.1`, `192.0.2.1:5353` or `[2001:db8::1]:53`";
                ValueError::Other(what.into())
            })
        });
        let queue = self.count("request-queue-size", 1, 1 << 16) as usize;
        crate::requests::Settings { queue, timeout, name_server }
    }

    fn events(&mut self) -> EventFields {
        let names = value::list(self.config.get("filter-environment-variables"));
        let environment = self.switch("enable-process-environment-variables");
        if !names.is_empty() && !environment {
            let needed = "it has no effect without enable-process-environment-variables".into();
            self.wrong("filter-environment-variables", ValueError::Other(needed));
        }
        EventFields {
            credentials: self.switch("enable-process-cred"),
            namespaces: self.switch("enable-process-ns"),
            extras: self.switch("enable-extra-fields"),
            stack_addresses: self.switch("expose-stack-addresses"),
            environment: environment.then_some(names),
            ancestors: self.ancestors(),
            redaction: self.redaction(),
            user_names: self.config.get("username-metadata") == "unix",
        }
    }

    fn ancestors(&mut self) -> Ancestors {
        let kinds = value::list(self.config.get("enable-ancestors"));
        let shown = |name: &str| kinds.iter().any(|kind| kind == name);
        let base = shown("base");
        if let Some(unknown) = kinds.iter().find(|kind| !ANCESTOR_KINDS.contains(&kind.as_str())) {
            let what = format!("there is no kind `{unknown}`; known are {}", ANCESTOR_KINDS.join(", "));
            self.wrong("enable-ancestors", ValueError::Other(what));
        } else if !kinds.is_empty() && !base {
            self.wrong("enable-ancestors", ValueError::Other("`base` is required".into()));
        }
        Ancestors {
            base,
            kprobe: shown("kprobe"),
            tracepoint: shown("tracepoint"),
            uprobe: shown("uprobe"),
            usdt: shown("usdt"),
            lsm: shown("lsm"),
            loader: shown("loader"),
        }
    }

    fn console(&mut self) -> Console {
        Console {
            output: match self.config.get("output") {
                "json" => Output::Json,
                "compact" => Output::Compact,
                _ => Output::None,
            },
            color: match self.config.get("color") {
                "always" => Color::Always,
                "never" => Color::Never,
                _ => Color::Auto,
            },
            timestamps: self.switch("timestamps"),
        }
    }

    fn export(&mut self, events: &EventFields) -> Option<FileExport> {
        let limit = self.value("export-rate-limit", |text| value::number(text, -1, i64::from(u32::MAX)));
        let file = FileConfig {
            path: self.path("export-filename").unwrap_or_default(),
            max_size: u64::from(self.count("export-file-max-size-mb", 0, 1 << 24)) << 20,
            max_backups: self.count("export-file-max-backups", 0, 1_000_000) as usize,
            max_age: self.optional_duration("export-file-max-age"),
            interval: self.optional_duration("export-file-rotation-interval"),
            compress: self.switch("export-file-compress"),
            mode: self.value("export-file-perm", value::octal),
        };
        // Also without a file to filter: what is wrong now would be wrong when there is one.
        let pid_sets = self.switch("enable-pid-set-filter");
        let wanted = Arc::new(Subscription {
            filters: self.filters(&events.offered(pid_sets)),
            fields: self.field_filters(),
            aggregation: self.aggregation(),
            rate: u32::try_from(limit).ok(),
        });
        (!file.path.as_os_str().is_empty()).then_some(FileExport { file, wanted })
    }

    /// Exports of files, none of which writes where `export-filename` does.
    fn exports(&mut self, events: &EventFields, queue: saker_export::Limits) -> Vec<ExportDef> {
        const NAME: &str = "export-config";
        let Some(path) = self.path(NAME) else { return Vec::new() };
        let offered = events.offered(false);
        let defaults = exports::Defaults { queue, offered: &offered };
        let exports = exports::load(&path, self.is_set(NAME), &defaults).unwrap_or_else(|problems| {
            self.wrong(NAME, ValueError::Other(problems));
            Vec::new()
        });
        let file = self.path("export-filename");
        if let Some(same) = exports.iter().find(|export| export.kind.owned_path() == file.as_deref())
            && file.is_some()
        {
            let what = format!("the export `{}` writes to the file of export-filename too", same.name);
            self.wrong(NAME, ValueError::Other(what));
        }
        exports
    }

    fn field_filters(&mut self) -> FieldFilters {
        let wrong = |error: FilterError| ValueError::Filters(error.to_string());
        self.value("field-filters", |text| {
            parse_field_filters(text).and_then(|list| FieldFilters::compile(&list)).map_err(wrong)
        })
    }

    fn redaction(&mut self) -> Redaction {
        let wrong = |error: FilterError| ValueError::Filters(error.to_string());
        self.value("redaction-filters", |text| {
            parse_redaction_filters(text).and_then(|list| Redaction::compile(&list)).map_err(wrong)
        })
    }

    fn aggregation(&mut self) -> Option<Aggregation> {
        let enabled = self.switch("enable-export-aggregation");
        let window = self.value("export-aggregation-window-size", |text| {
            let window = value::duration(text)?;
            let wrong = |what: &str| ValueError::Other(what.to_owned());
            if window.is_zero() {
                return Err(wrong("a window needs some time, such as `15s`"));
            }
            Aggregation::new(window, 0).map(|_| window).map_err(wrong)
        });
        let waiting = self.count("export-aggregation-buffer-size", 1, 1 << 20);
        Aggregation::new(window, waiting.into()).ok().filter(|_| enabled)
    }

    fn filters(&mut self, offered: &Offered) -> Filters {
        // Each list by itself first, so that the error names the option.
        let wrong = |error: FilterError| ValueError::Filters(error.to_string());
        let allow = self.value("export-allowlist", |text| {
            let list = parse_filters(text).map_err(wrong)?;
            Filters::compile(&list, &[], offered).map(|_| list).map_err(wrong)
        });
        let deny = self.value("export-denylist", |text| {
            let list = parse_filters(text).map_err(wrong)?;
            Filters::compile(&[], &list, offered).map(|_| list).map_err(wrong)
        });
        Filters::compile(&allow, &deny, offered).unwrap_or_default()
    }

    fn kernel(&mut self) -> Kernel {
        let per_cpu = self.value("rb-size", value::size);
        let total = self.value("rb-size-total", value::size);
        if per_cpu > 0 && total > 0 {
            self.wrong("rb-size", ValueError::Other("it cannot be set together with rb-size-total".into()));
        }
        let cpus = std::thread::available_parallelism().map_or(1, |count| count.get() as u64);
        let bytes = match (per_cpu, total) {
            (0, 0) => DEFAULT_RING,
            (0, total) => total,
            (per_cpu, _) => per_cpu.saturating_mul(cpus),
        };
        if !(MIN_RING..=MAX_RING).contains(&bytes) {
            let name = if per_cpu > 0 { "rb-size" } else { "rb-size-total" };
            self.wrong(name, ValueError::Other("the ring buffer must have between 64K and 1G".into()));
        }
        let bytes = bytes.clamp(MIN_RING, MAX_RING).next_power_of_two();
        let entries = self.count("execve-map-entries", 0, 1 << 24);
        Kernel {
            ring_bytes: usize::try_from(bytes).unwrap_or(usize::MAX),
            entries: if entries == 0 { DEFAULT_ENTRIES } else { entries },
            queue_records: self.count("rb-queue-size", 1, 1 << 24) as usize,
            processes: self.count("process-cache-size", 16, 1 << 26) as usize,
        }
    }
}

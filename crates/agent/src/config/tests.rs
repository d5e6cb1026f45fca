use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use proptest::prelude::*;
use tempfile::TempDir;

use super::*;

struct World {
    root: TempDir,
    environment: BTreeMap<String, String>,
    flags: Vec<(String, String)>,
}

impl World {
    fn new() -> Self {
        Self { root: TempDir::new().unwrap(), environment: BTreeMap::new(), flags: Vec::new() }
    }

    fn file(&self, path: &str, text: &str) -> PathBuf {
        let path = self.root.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        path
    }

    fn flag(&mut self, name: &str, value: &str) {
        self.flags.push((name.into(), value.into()));
    }

    fn load(&self) -> Result<Config, ConfigErrors> {
        let places = Places { root: self.root.path().into(), environment: self.environment.clone() };
        Config::load(&places, &self.flags)
    }

    fn errors(&self) -> String {
        match self.load() {
            Err(errors) => errors.to_string(),
            Ok(config) => config.settings().unwrap_err().to_string(),
        }
    }
}

#[test]
fn defaults_are_valid_and_compatible() {
    let settings = World::new().load().unwrap().settings().unwrap();
    assert_eq!(settings.server.socket.as_deref(), Some(Path::new("/run/saker/saker.sock")));
    assert!(settings.export.is_none() && settings.metrics.is_none() && settings.server.tcp.is_none());
    assert!(!settings.events.credentials && !settings.events.namespaces && settings.events.extras);
    assert_eq!(settings.kernel.ring_bytes, 2 << 20);
    assert_eq!(settings.server.queue, 10_000);
}

#[test]
fn each_source_beats_the_ones_before() {
    let mut world = World::new();
    let check = |world: &World, expected: &str| {
        let config = world.load().unwrap();
        assert_eq!(config.get("cluster-name"), expected);
        config.setting("cluster-name").unwrap().source.to_string()
    };
    assert_eq!(check(&world, ""), "default");
    world.file("usr/lib/saker/saker.conf.d/cluster-name", "one\n");
    check(&world, "one");
    world.file("usr/local/lib/saker/saker.conf.d/cluster-name", "two");
    check(&world, "two");
    world.file("etc/saker/saker.yaml", "# text\ncluster-name: three\n");
    assert!(check(&world, "three").ends_with("etc/saker/saker.yaml:2"));
    world.file("etc/saker/saker.conf.d/cluster-name", "four");
    check(&world, "four");
    let directory = world.file("elsewhere/cluster-name", "five");
    world.flag("config-dir", directory.parent().unwrap().to_str().unwrap());
    assert!(check(&world, "five").ends_with("elsewhere/cluster-name"));
    world.environment.insert("SAKER_CLUSTER_NAME".into(), "six".into());
    assert_eq!(check(&world, "six"), "environment SAKER_CLUSTER_NAME");
    world.flag("cluster-name", "seven");
    assert_eq!(check(&world, "seven"), "flag");
}

#[test]
fn config_flag_replaces_the_standard_file_and_must_exist() {
    let mut world = World::new();
    world.file("etc/saker/saker.yaml", "cluster-name: standard\nnode-name: standard\n");
    let other = world.file("other.yaml", "cluster-name: other\n");
    world.environment.insert("SAKER_CONFIG".into(), other.to_str().unwrap().into());
    let config = world.load().unwrap();
    assert_eq!((config.get("cluster-name"), config.get("node-name")), ("other", ""));
    world.flag("config", "/does/not/exist.yaml");
    assert!(world.errors().contains("cannot read configuration /does/not/exist.yaml: No such file"));
}

#[test]
fn unknown_names_are_errors_with_place_and_hint() {
    let world = World::new();
    world.file("etc/saker/saker.yaml", "\nexport-file-name: x\n");
    world.file("etc/saker/saker.conf.d/zzz", "1");
    let text = world.errors();
    assert!(text.starts_with("2 problems:"), "{text}");
    assert!(
        text.contains("saker.yaml:2: there is no option `export-file-name`; did you mean `export-filename`?"),
        "{text}"
    );
    assert!(text.contains("saker.conf.d/zzz: there is no option `zzz`"), "{text}");
}

#[test]
fn unknown_variables_are_only_warned_of() {
    let mut world = World::new();
    for name in ["SAKER_SERVICE_HOST", "TETRAGON_EXPORT_FILENAME"] {
        world.environment.insert(name.into(), "10.0.0.1".into());
    }
    let config = world.load().unwrap();
    assert_eq!(config.warnings().len(), 2, "{:?}", config.warnings());
    assert_eq!(config.get("export-filename"), "");
}

#[test]
fn missing_features_are_refused_unless_off() {
    let mut world = World::new();
    world.file("etc/saker/saker.yaml", "enable-k8s-api: false\ngops-address: \"\"\n");
    world.load().unwrap();
    world.file("etc/saker/saker.yaml", "enable-k8s-api: true\n");
    world.environment.insert("SAKER_PPROF_ADDRESS".into(), ":6060".into());
    let text = world.errors();
    assert!(text.contains("saker.yaml:1: `enable-k8s-api` is known from Tetragon"), "{text}");
    assert!(text.contains("environment SAKER_PPROF_ADDRESS: `pprof-address`"), "{text}");
}

#[test]
fn filters_of_the_export_are_checked_with_their_option() {
    let mut world = World::new();
    world.flag("export-filename", "/dev/null");
    world.flag("export-allowlist", r#"{"pid_set":[1]}"#);
    assert!(world.errors().contains("--enable-pid-set-filter"));
    world.flag("enable-pid-set-filter", "true");
    world.flag("field-filters", r#"{"fields":"process.pid"}"#);
    world.flag("enable-export-aggregation", "true");
    world.flag("export-aggregation-window-size", "30s");
    world.flag("export-rate-limit", "7");
    world.flag("redaction-filters", r#"{"redact":["(x)"]}"#);
    let settings = world.load().unwrap().settings().unwrap();
    let wanted = settings.export.unwrap().wanted;
    assert!(!wanted.filters.is_empty() && !wanted.fields.is_empty() && !settings.events.redaction.is_empty());
    let window = saker_api::passage::Aggregation::new(std::time::Duration::from_secs(30), 10_000).unwrap();
    assert_eq!((wanted.aggregation, wanted.rate), (Some(window), Some(7)));
    for (name, value, expected) in [
        ("field-filters", r#"{"fields":"process.x"}"#, "field_filters[0].fields: no event has a field"),
        ("redaction-filters", r#"{"redact":["x"]}"#, "no capture group"),
        ("redaction-filters", "{}\n{\"x\":1}", "redaction filter number 2, line 2"),
        (
            "export-denylist",
            r#"{"cel_expression":["process_exec.pid == 1"]}"#,
            "deny_list[0].cel_expression[0]",
        ),
        ("export-aggregation-window-size", "2h", "one hour at most"),
        ("export-aggregation-buffer-size", "0", "export-aggregation-buffer-size"),
    ] {
        let mut world = World::new();
        world.flag(name, value);
        let text = world.errors();
        assert!(text.contains(expected), "{name}: {text}");
    }
}

#[test]
fn files_that_others_can_write_are_refused() {
    let world = World::new();
    let path = world.file("etc/saker/saker.yaml", "cluster-name: x\n");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o666)).unwrap();
    let text = world.errors();
    assert!(text.contains("is not safe: mode 0666 lets others write it"), "{text}");
    if rustix::process::geteuid().is_root() {
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        std::os::unix::fs::chown(&path, Some(12345), None).unwrap();
        let text = world.errors();
        assert!(text.contains("it belongs to user 12345"), "{text}");
    }
}

#[test]
fn drop_ins_of_mounted_config_maps_work() {
    let world = World::new();
    world.file("etc/saker/saker.conf.d/..2026/cluster-name", "mounted\n");
    let directory = world.root.path().join("etc/saker/saker.conf.d");
    std::os::unix::fs::symlink("..2026", directory.join("..data")).unwrap();
    std::os::unix::fs::symlink("..data/cluster-name", directory.join("cluster-name")).unwrap();
    assert_eq!(world.load().unwrap().get("cluster-name"), "mounted");
}

#[test]
fn bad_values_are_all_told_with_their_source() {
    let mut world = World::new();
    world.file("etc/saker/saker.yaml", "export-file-perm: 999\nlog-level: loud\n");
    world.flag("process-cache-size", "many");
    world.flag("enable-ancestors", "kprobe");
    world.flag("server-address", "0.0.0.0:54321");
    world.flag("rb-size", "1M");
    world.flag("rb-size-total", "1M");
    let text = world.errors();
    for part in [
        "saker.yaml:1: `export-file-perm` is `999`: expected permissions in octal",
        "saker.yaml:2: `log-level` is `loud`: expected one of: trace, debug",
        "flag: `process-cache-size` is `many`: expected a whole number from 16",
        "flag: `enable-ancestors` is `kprobe`: `base` is required",
        "flag: `server-address` is `0.0.0.0:54321`: other machines could reach it",
        "flag: `rb-size` is `1M`: it cannot be set together with rb-size-total",
    ] {
        assert!(text.contains(part), "{part} is not in {text}");
    }
}

#[test]
fn missing_features_are_refused_as_flags_too() {
    let command = crate::flags::add_to(clap::Command::new("agent"));
    let matches = command.try_get_matches_from(["agent", "--enable-k8s-api", "--gops-address", ""]).unwrap();
    let world = World { flags: crate::flags::given(&matches), ..World::new() };
    assert!(world.errors().starts_with("flag: `enable-k8s-api` is known from Tetragon"));
}

#[test]
fn relative_run_directory_is_below_the_working_directory() {
    let mut world = World::new();
    world.flag("run-dir", "here");
    let settings = world.load().unwrap().settings().unwrap();
    assert!(settings.run_dir.is_absolute());
    assert_eq!(settings.server.socket, Some(settings.run_dir.join("saker.sock")));
}

#[test]
fn files_may_not_name_further_files() {
    let world = World::new();
    world.file("etc/saker/saker.yaml", "config-dir: /tmp\n");
    assert!(world.errors().contains("saker.yaml:1: `config-dir` can be set only by flag or environment"));
}

#[test]
fn addresses() {
    let tcp = |host: &str, port| Ok(Address::Tcp(host.into(), port));
    assert_eq!(Address::parse("localhost"), tcp("localhost", 54_321));
    assert_eq!(Address::parse("127.0.0.1:1"), tcp("127.0.0.1", 1));
    assert_eq!(Address::parse("[::1]:2"), tcp("::1", 2));
    assert_eq!(Address::parse("unix:///a/b"), Ok(Address::Unix("/a/b".into())));
    for text in ["", ":5", "unix://relative", "/path", "host:port", "host:99999", "[::1", "a b:1"] {
        assert!(Address::parse(text).is_err(), "{text}");
    }
}

#[test]
fn tcp_serves_the_socket_too() {
    let mut world = World::new();
    world.flag("server-address", "localhost:5000");
    world.flag("run-dir", "/somewhere");
    let server = world.load().unwrap().settings().unwrap().server;
    assert_eq!(server.socket.as_deref(), Some(Path::new("/somewhere/saker.sock")));
    assert_eq!(server.tcp, Some(("localhost".into(), 5000)));
}

#[test]
fn printed_configuration_gives_the_same_again() {
    let mut world = World::new();
    world.flag("export-allowlist", "{\"event_set\":[\"PROCESS_EXEC\"]}\n{\"pid\":[1]}");
    world.flag("export-rate-limit", "-1");
    world.flag("cluster-name", "quo\"te\\ # x: y");
    world.flag("filter-environment-variables", "A,B");
    let printed = print(&world.load().unwrap());
    let again = World::new();
    again.file("etc/saker/saker.yaml", &printed);
    let (before, after) = (world.load().unwrap(), again.load().unwrap());
    for option in OPTIONS {
        assert_eq!(before.get(option.name), after.get(option.name), "{}", option.name);
    }
    assert!(printed.contains("# flag"));
}

#[test]
fn reference_page_is_current() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/configuration.md");
    if std::env::var_os("UPDATE_DOCS").is_some() {
        fs::write(&path, reference()).unwrap();
    }
    let written = fs::read_to_string(&path).unwrap_or_default();
    assert!(written == reference(), "write it anew: saker agent --generate-docs > docs/configuration.md");
}

#[test]
fn flags_are_made_from_the_same_definition() {
    let command = crate::flags::add_to(clap::Command::new("agent"));
    command.clone().debug_assert();
    let arguments = [
        "agent",
        "--enable-process-cred",
        "--enable-process-ns=false",
        "-d",
        "--export-rate-limit",
        "-1",
        "--enable-ancestors",
        "base",
        "--enable-ancestors=lsm",
    ];
    let matches = command.clone().try_get_matches_from(arguments).unwrap();
    let given: BTreeMap<_, _> = crate::flags::given(&matches).into_iter().collect();
    let expected = [
        ("debug", "true"),
        ("enable-ancestors", "base,lsm"),
        ("enable-process-cred", "true"),
        ("enable-process-ns", "false"),
        ("export-rate-limit", "-1"),
    ];
    assert_eq!(given, expected.map(|(name, value)| (name.to_owned(), value.to_owned())).into());
    assert!(command.try_get_matches_from(["agent", "--no-such-flag"]).is_err());
}

proptest! {
    /// Whatever sets an option, the strongest source that does wins.
    #[test]
    fn strongest_source_wins(set in prop::collection::vec(any::<bool>(), 6)) {
        let mut world = World::new();
        let mut expected = "";
        if set[0] { world.file("usr/lib/saker/saker.conf.d/node-name", "a"); expected = "a"; }
        if set[1] { world.file("usr/local/lib/saker/saker.conf.d/node-name", "b"); expected = "b"; }
        if set[2] { world.file("etc/saker/saker.yaml", "node-name: c\n"); expected = "c"; }
        if set[3] { world.file("etc/saker/saker.conf.d/node-name", "d"); expected = "d"; }
        if set[4] { world.environment.insert("SAKER_NODE_NAME".into(), "e".into()); expected = "e"; }
        if set[5] { world.flag("node-name", "f"); expected = "f"; }
        let config = world.load().unwrap();
        prop_assert_eq!(config.get("node-name"), expected);
    }
}

#[test]
fn directories_that_others_may_write_are_refused() {
    let mut world = World::new();
    let file = world.file("drop-ins/log-level", "debug");
    let directory = file.parent().unwrap().to_owned();
    world.flag("config-dir", directory.to_str().unwrap());
    assert_eq!(world.load().unwrap().get("log-level"), "debug");
    for mode in [0o777, 0o1777, 0o775] {
        fs::set_permissions(&directory, fs::Permissions::from_mode(mode)).unwrap();
        let text = world.errors();
        assert!(
            text.contains("drop-ins is not safe: mode") && text.contains("lets others write it"),
            "{text}"
        );
    }
}

#[test]
fn filters_are_checked_with_the_other_settings_also_without_a_file() {
    let capabilities = r#"{"capabilities":{"effective":{"any":["CAP_SYS_ADMIN"]}}}"#;
    for (name, value, expected) in [
        ("export-allowlist", r#"{"binary_regex":["("]}"#, "binary_regex"),
        ("export-denylist", r#"{"binary_regex":["("]}"#, "binary_regex"),
        ("export-allowlist", capabilities, "enable-process-cred"),
    ] {
        let mut world = World::new();
        world.flag(name, value);
        let text = world.errors();
        assert!(text.contains(name) && text.contains(expected), "{text}");
    }
    let mut world = World::new();
    world.flag("enable-process-cred", "true");
    world.flag("export-allowlist", capabilities);
    world.load().unwrap().settings().unwrap();
}

#[test]
fn a_path_that_is_no_proc_file_system_is_refused() {
    for (path, expected) in
        [("/etc", "no proc file system is mounted"), ("/no/such", "cannot be used: No such")]
    {
        let mut world = World::new();
        world.flag("procfs", path);
        let text = world.errors();
        assert!(text.contains("`procfs`") && text.contains(expected), "{text}");
    }
}

#[test]
fn only_variables_of_options_are_known() {
    let mut world = World::new();
    world.environment.insert("SAKER_LOG".into(), "debug".into());
    let config = world.load().unwrap();
    assert!(config.warnings()[0].contains("SAKER_LOG names no option"), "{:?}", config.warnings());
}

#[test]
fn policies_come_from_a_file_and_a_directory() {
    let mut world = World::new();
    let sources = world.load().unwrap().settings().unwrap().policies;
    assert_eq!(sources.directory.unwrap(), std::path::Path::new("/etc/saker/saker.tp.d"));
    assert!(sources.file.is_none() && !sources.directory_wanted);
    world.file("etc/saker/saker.yaml", "tracing-policy: p.yaml\ntracing-policy-dir: /p\n");
    let sources = world.load().unwrap().settings().unwrap().policies;
    assert!(sources.file.is_some() && sources.directory_wanted);
    world.environment.insert("SAKER_TRACING_POLICY_DIR".into(), "p.d".into());
    let error = world.load().unwrap().settings().unwrap_err().to_string();
    assert!(error.contains("`tracing-policy-dir` is `p.d`: the path must be absolute"), "{error}");
}

#[test]
fn how_requests_are_made() {
    let mut world = World::new();
    let requests = |world: &World| world.load().unwrap().settings().unwrap().requests;
    assert_eq!(requests(&world), crate::requests::Settings::default());
    for (text, address) in [
        ("192.0.2.1", "192.0.2.1:53"),
        ("192.0.2.1:5353", "192.0.2.1:5353"),
        ("2001:db8::1", "[2001:db8::1]:53"),
        ("[2001:db8::1]:54", "[2001:db8::1]:54"),
    ] {
        world.flags =
            vec![("dns-lookup-server".into(), text.into()), ("request-timeout".into(), "1m".into())];
        let requests = requests(&world);
        assert_eq!(requests.name_server, Some(address.parse().unwrap()));
        assert_eq!(requests.timeout.as_secs(), 60);
    }
    for (name, text, reason) in [
        ("dns-lookup-server", "dns.example", "it is not an address"),
        ("request-timeout", "0", "a request needs some time"),
        ("request-queue-size", "0", ""),
    ] {
        world.flags = vec![(name.into(), text.into())];
        let errors = world.errors();
        assert!(errors.contains(name) && errors.contains(reason), "{errors}");
    }
}

#[test]
fn files_that_changed_are_read_again_with_the_same_flags() {
    let mut world = World::new();
    world.file("etc/saker/saker.conf.d/cluster-name", "one");
    world.flag("log-level", "debug");
    let config = world.load().unwrap();
    world.file("etc/saker/saker.conf.d/cluster-name", "two");
    let again = config.again().unwrap();
    assert_eq!((config.get("cluster-name"), again.get("cluster-name")), ("one", "two"));
    assert_eq!(again.get("log-level"), "debug");
    world.file("etc/saker/saker.conf.d/no-such-option", "1");
    assert!(config.again().unwrap_err().to_string().contains("no-such-option"));
}

#[test]
fn secrets_are_known_by_their_names() {
    for name in ["password", "kafka-password", "webhook-token", "otlp-headers", "nats-credentials"] {
        assert!(is_secret(name), "{name}");
    }
    for name in ["server-tls-key-file", "token-file", "enable-process-cred", "log-level", "compassword"] {
        assert!(!is_secret(name), "{name}");
    }
}

#[test]
fn other_machines_reach_only_an_address_that_asks_for_certificates() {
    let server = |flags: &[(&str, &str)]| {
        let mut world = World::new();
        flags.iter().for_each(|(name, value)| world.flag(name, value));
        world.load().unwrap().settings().map(|settings| settings.server)
    };
    let far = ("server-address", "0.0.0.0:54321");
    let pair = [("server-tls-cert-file", "/c"), ("server-tls-key-file", "/k")];
    let clients = [("server-tls-client-ca-files", "/a,/b"), ("server-tls-require-client-cert", "true")];
    let error = server(&[far]).unwrap_err().to_string();
    assert!(error.contains("server-tls-require-client-cert"), "{error}");
    server(&[&[far][..], &pair].concat()).unwrap_err();
    let mutual = server(&[&[far][..], &pair, &clients].concat()).unwrap();
    let files = mutual.tls.unwrap();
    assert_eq!((files.clients.len(), files.all().count()), (2, 4));
    assert!(server(&[far, ("server-allow-remote", "true")]).unwrap().tls.is_none());
    let near = ("server-address", "localhost:1");
    assert!(server(&[&[near][..], &pair].concat()).unwrap().tls.unwrap().clients.is_empty());
    let mode = server(&[("server-socket-mode", "600"), ("server-socket-group", "saker")]).unwrap();
    assert_eq!((mode.socket_mode, mode.socket_group.as_str()), (0o600, "saker"));
}

use std::time::Duration;

use saker_export::{Compression, KafkaKey, Mechanism, NatsLogin, NatsStream, Protocol};

use super::*;
use crate::config::Output;

fn defaults(offered: &Offered) -> Defaults<'_> {
    Defaults { queue: Limits { events: 100, bytes: 1000 }, offered }
}

fn read(text: &str) -> (Vec<ExportDef>, String) {
    let offered = Offered::everything();
    let (exports, wrong) = parse(text, &defaults(&offered), &[]);
    (exports, render("f.yaml", text, &wrong))
}

#[test]
fn several_exports_each_with_its_own() {
    let (exports, wrong) = read(
        "- name: all\n  kind: file\n  path: /var/log/all.json\n  max-size-mb: 3\n  compress: true\n\
         - name: execs\n  kind: stdout\n  format: compact\n  rate-limit: 60\n  queue-size: 7\n  queue-bytes: 2K\n  \
         allow:\n  - event_set: [PROCESS_EXEC]\n    pid: [1, 2]\n  deny: [{binary_regex: [\"^/usr\"]}]\n",
    );
    assert_eq!(wrong, "");
    assert_eq!(exports.len(), 2);
    let ExportKind::File(file) = &exports[0].kind else { panic!("{exports:?}") };
    assert_eq!((file.max_size, file.max_backups, file.compress, file.mode), (3 << 20, 5, true, 0o600));
    assert_eq!(
        (exports[0].queue.events, exports[0].wanted.rate, exports[0].wanted.filters.is_empty()),
        (100, None, true)
    );
    assert!(matches!(exports[1].kind, ExportKind::Stdout(Output::Compact)));
    assert_eq!((exports[1].queue, exports[1].wanted.rate), (Limits { events: 7, bytes: 2048 }, Some(60)));
    assert!(!exports[1].wanted.filters.is_empty());
}

#[test]
fn nothing_is_no_export() {
    for text in ["", "# nothing\n", "[]\n", "---\n"] {
        let (exports, wrong) = read(text);
        assert!(exports.is_empty() && wrong.is_empty(), "{text:?}: {wrong}");
    }
}

#[test]
fn every_mistake_is_told_with_its_place() {
    let (exports, wrong) = read(
        "- name: Bad Name\n  kind: file\n  pth: /x\n- name: b\n  kind: fax\n- kind: stdout\n  \
         rate-limit: many\n- name: grpc\n  kind: stdout\n- name: c\n  kind: stdout\n  allow: [{pidd: [1]}]\n- name: d\n  \
         kind: stdout\n  deny: [{binary_regex: [\"(\"]}]\n- name: e\n  kind: file\n  path: relative\n- 7\n",
    );
    assert!(exports.is_empty(), "{exports:?}");
    for expected in [
        "f.yaml:1:9: error: [0].name: `Bad Name`: a name has 1 to 63",
        "f.yaml:3:3: error: [0].pth: there is no such field",
        "did you mean `path`?",
        "f.yaml:1:3: error: [0]: `path` is missing",
        "f.yaml:5:9: error: [1].kind: `fax`: expected one of: file, stdout, syslog, webhook, nats, kafka, otlp",
        "f.yaml:6:3: error: [2]: `name` is missing",
        "f.yaml:7:15: error: [2].rate-limit: `many`: expected a whole number",
        "[3].name: `grpc`: `grpc` names something else already",
        "[4].allow[0]: ",
        "[5].deny[0]: binary_regex[0]: bad regular expression",
        "[6].path: `relative`: the path must be absolute",
        "f.yaml:19:3: error: [7]: expected an export, not `7`",
    ] {
        assert!(wrong.contains(expected), "{expected}\nis not in\n{wrong}");
    }
}

#[test]
fn names_and_files_are_taken_once() {
    let (exports, wrong) = read(
        "- {name: a, kind: file, path: /x}\n- {name: a, kind: stdout}\n- {name: b, kind: file, path: /x}\n",
    );
    assert_eq!(exports.len(), 1);
    assert!(wrong.contains("f.yaml:2:3: error: [1]: there is another export `a`"), "{wrong}");
    assert!(wrong.contains("f.yaml:3:3: error: [2]: the export `a` writes to /x too"), "{wrong}");
}

#[test]
fn a_directory_is_read_in_order_and_its_mistakes_together() {
    let folder = tempfile::TempDir::new().unwrap();
    let offered = Offered::everything();
    let write = |name: &str, text: &str| fs::write(folder.path().join(name), text).unwrap();
    write("b.yaml", "- {name: b, kind: stdout}\n");
    write("a.yml", "- {name: a, kind: stdout}\n");
    write("notes.txt", "- {name: b, kind: stdout}\n");
    let names = || {
        load(folder.path(), true, &defaults(&offered))
            .map(|exports| exports.into_iter().map(|export| export.name).collect::<Vec<_>>().join(","))
    };
    assert_eq!(names().as_deref(), Ok("a,b"));
    write("c.yaml", "- {name: a, kind: stdout}\n");
    write("d.yaml", "- {name: d}\n");
    let wrong = names().unwrap_err();
    assert!(wrong.contains("c.yaml:1:3: error: [0]: there is another export `a`"), "{wrong}");
    assert!(wrong.contains("d.yaml:1:3: error: [0]: `kind` is missing"), "{wrong}");
    assert!(load(Path::new("/nonexistent"), false, &defaults(&offered)).unwrap().is_empty());
    assert!(load(Path::new("/nonexistent"), true, &defaults(&offered)).is_err());
}

#[test]
fn syslog_by_every_way() {
    for (address, wanted) in [
        ("unixgram:///dev/log", "UnixDatagram(\"/dev/log\")"),
        ("unix:///run/log", "UnixStream(\"/run/log\")"),
        ("udp://logs.example", "Udp(\"logs.example:514\")"),
        ("tcp://[::1]:99", "Tcp(\"[::1]:99\")"),
        ("tls://logs.example", "Tls(\"logs.example\", 6514"),
    ] {
        let (exports, wrong) = read(&format!("- name: s\n  kind: syslog\n  address: {address}\n"));
        assert_eq!(wrong, "", "{address}");
        let ExportKind::Syslog(told, config) = &exports[0].kind else { panic!("{exports:?}") };
        assert_eq!(told, address);
        let transport = format!("{:?}", config.transport);
        assert!(transport.starts_with(wanted), "{transport}");
    }
    let (_, wrong) = read(
        "- {name: a, kind: syslog, address: 'http://x'}\n- {name: b, kind: syslog, address: 'tcp://x:1', tls-ca: /x}\n\
         - {name: c, kind: syslog, address: 'tls://x', framing: newline, facility: nothing, tls-key: /k, severity: 9}\n\
         - {name: d, kind: syslog, address: 'tcp://:1', structured-data: saker, app-name: a b}\n",
    );
    for expected in [
        "[0].address: the text \"http://x\": expected unixgram:///PATH",
        "[1].tls-ca: it has no effect",
        "[2].framing: over TLS",
        "[2].facility: `nothing`: expected one of: kern,",
        "[2].severity: `9`: expected one of: emergency,",
        "[2].tls-key: it needs `tls-certificate`",
        "[3].address: the text \"tcp://:1\": the host is missing",
        "[3].structured-data: `saker`: write the id",
        "[3].app-name: `a b`: it has 1 to 48",
    ] {
        assert!(wrong.contains(expected), "{expected}\nis not in\n{wrong}");
    }
}

#[test]
fn webhooks_keep_secrets_in_files() {
    let (exports, wrong) = read(
        "- name: w\n  kind: webhook\n  url: https://hooks.example/in?x=1\n  batch-size: 7\n  batch-time: 2s\n  \
         bearer-token-file: /etc/secret\n  headers: {x-team: blue}\n",
    );
    assert_eq!(wrong, "");
    let ExportKind::Webhook(config) = &exports[0].kind else { panic!("{exports:?}") };
    assert_eq!((config.batching.events, config.batching.linger), (7, Duration::from_secs(2)));
    assert_eq!(config.target.headers, [("x-team".to_owned(), "blue".to_owned())]);
    assert_eq!(exports[0].kind.target(), "https://hooks.example/in");
    let (_, wrong) = read(
        "- {name: a, kind: webhook, url: 'http://elsewhere.example/', bearer-token-file: /s}\n\
         - {name: b, kind: webhook, url: 'ftp://x/', secret-header: x}\n- {name: c, kind: webhook, headers: 1}\n\
         - {name: d, kind: webhook, url: 'https://u:p@x/', batch-time: 2h, timeout: 0}\n",
    );
    for expected in [
        "[0].url: a secret would be sent unencrypted",
        "[1].url: the text \"ftp://x/\": `ftp://x/` cannot be fetched: the scheme",
        "[1].secret-header: `secret-header` and `secret-header-file` go together",
        "[2]: `url` is missing",
        "[2].headers: expected a map, not `1`",
        "[3].url: ",
        "[3].batch-time: `2h`: at most 1h",
        "[3].timeout: `0`: a connection needs some time",
    ] {
        assert!(wrong.contains(expected), "{expected}\nis not in\n{wrong}");
    }
}

#[test]
fn brokers_and_collectors() {
    let (exports, wrong) = read(
        "- {name: n, kind: nats, address: 'nats://127.0.0.1', subject: saker.events, spool-dir: /var/s, spool-size: 2M}\n\
         - {name: o, kind: otlp, url: 'http://127.0.0.1:4317'}\n\
         - {name: h, kind: otlp, url: 'https://collector.example', protocol: http}\n",
    );
    assert_eq!(wrong, "");
    let ExportKind::Nats(nats) = &exports[0].kind else { panic!("{exports:?}") };
    assert_eq!(
        (nats.server.as_str(), nats.spool.max_bytes, nats.tls.is_some()),
        ("127.0.0.1:4222", 2 << 20, false)
    );
    let ExportKind::Otlp(otlp) = &exports[2].kind else { panic!("{exports:?}") };
    assert_eq!((otlp.target.path.as_str(), otlp.protocol), ("/v1/logs", Protocol::Http));
    let (_, wrong) = read(
        "- {name: a, kind: nats, address: 'http://x', subject: a.*, spool-size: 1K}\n\
         - {name: b, kind: nats, address: 'nats://far.example', subject: a, spool-dir: /s, user: u, password-file: /p}\n\
         - {name: c, kind: nats, address: 'tls://x', subject: a, spool-dir: /s, user: u}\n\
         - {name: d, kind: otlp, url: 'http://x/v1/logs'}\n",
    );
    for expected in [
        "[0].address: the text \"http://x\": expected nats://",
        "[0].subject: `a.*`: a subject has words",
        "[0]: `spool-dir` is missing",
        "[0].spool-size: `1K`: at least 1M",
        "[1].address: a secret would be sent unencrypted",
        "[2].user: give one of `token-file`",
        "[3].url: over gRPC the address has no path",
    ] {
        assert!(wrong.contains(expected), "{expected}\nis not in\n{wrong}");
    }
}

#[test]
fn logins_and_streams_of_nats() {
    let (exports, wrong) = read(
        "- {name: a, kind: nats, address: 'nats://far.example', subject: s, spool-dir: /a, credentials-file: /c, create-stream: true, \
         stream: EVENTS, stream-size: 5M, stream-max-age: 1h, stream-replicas: 3}\n\
         - {name: b, kind: nats, address: 'tls://x', subject: s, spool-dir: /b, nkey-file: /k}\n",
    );
    assert_eq!(wrong, "");
    let ExportKind::Nats(nats) = &exports[0].kind else { panic!("{exports:?}") };
    assert_eq!(nats.login, NatsLogin::Credentials("/c".into()));
    let hour = Some(Duration::from_secs(3600));
    let stream = NatsStream { name: "EVENTS".into(), max_bytes: 5 << 20, max_age: hour, replicas: 3 };
    assert_eq!(nats.create, Some(stream));
    let ExportKind::Nats(nats) = &exports[1].kind else { panic!("{exports:?}") };
    assert_eq!((&nats.login, &nats.create), (&NatsLogin::NKey("/k".into()), &None));
    let (_, wrong) = read(
        "- {name: a, kind: nats, address: 'nats://127.0.0.1', subject: s, spool-dir: /a, stream: X, nkey-file: /k, token-file: /t}\n\
         - {name: b, kind: nats, address: 'nats://127.0.0.1', subject: s, spool-dir: /b, create-stream: true}\n\
         - {name: c, kind: nats, address: 'nats://127.0.0.1', subject: s, spool-dir: /c, create-stream: true, stream: a.b}\n",
    );
    for expected in [
        "[0].stream: it has no effect without `create-stream: true`",
        "[0]: give one of `token-file`",
        "[1].create-stream: give the name of the stream",
        "[2].stream: `a.b`: a stream's name has no",
    ] {
        assert!(wrong.contains(expected), "{expected}\nis not in\n{wrong}");
    }
}

#[test]
fn kafka_with_all_it_can_be_told() {
    let (exports, wrong) = read(
        "- {name: a, kind: kafka, brokers: [one.example, '10.0.0.1:9093'], topic: saker.events, spool-dir: /a}\n\
         - name: b\n  kind: kafka\n  brokers: localhost\n  tls: true\n  topic: t\n  spool-dir: /b\n  key: process\n  compression: gzip\n  \
         sasl: scram-sha-512\n  user: u\n  password-file: /p\n  client-id: node-7\n  batch-size: 9\n  batch-time: 1s\n  \
         max-request-size: 2M\n  timeout: 3s\n",
    );
    assert_eq!(wrong, "");
    let ExportKind::Kafka(kafka) = &exports[0].kind else { panic!("{exports:?}") };
    assert_eq!(kafka.brokers, ["one.example:9092", "10.0.0.1:9093"]);
    assert_eq!((kafka.max_bytes, kafka.batch_events, &kafka.login), (1_000_000, 512, &None));
    assert!(matches!(kafka.key, KafkaKey::Fixed(_)) && kafka.tls.is_none());
    assert_eq!(exports[0].kind.target(), "one.example:9092,10.0.0.1:9093 saker.events");
    let ExportKind::Kafka(kafka) = &exports[1].kind else { panic!("{exports:?}") };
    assert_eq!((kafka.key.clone(), kafka.compression), (KafkaKey::Process, Compression::Gzip));
    assert_eq!(kafka.login.as_ref().map(|login| login.mechanism), Some(Mechanism::ScramSha512));
    assert_eq!((kafka.batch_events, kafka.max_bytes, kafka.timeout), (9, 2 << 20, Duration::from_secs(3)));
    let (exports, wrong) = read(
        "- {name: a, kind: kafka, topic: 'a b', spool-dir: /a, tls-ca: /c}\n\
         - {name: b, kind: kafka, brokers: [far.example], topic: t, spool-dir: /b, sasl: plain, user: u, password-file: /p}\n\
         - {name: c, kind: kafka, brokers: ['[::1]'], topic: t, spool-dir: /c, tls: true, user: u, tls-server-name: x}\n\
         - {name: d, kind: kafka, brokers: [':1', 'tls://x'], topic: t, spool-dir: /d, max-request-size: 1}\n",
    );
    assert!(exports.is_empty(), "{exports:?}");
    for expected in [
        "[0]: `brokers` is missing",
        "[0].topic: the text \"a b\": a topic has 1 to 249",
        "[0].tls-ca: it has no effect",
        "[1].brokers: a login would be sent unencrypted",
        "[2].brokers: over TLS give names",
        "[2]: `sasl`, `user` and `password-file` go together",
        "[2].tls-server-name: Kafka checks",
        "[3].brokers[0]: the text \":1\": the host is missing",
        "[3].brokers[1]: ",
        "[3].max-request-size: `1`: from 1000 to 16M",
    ] {
        assert!(wrong.contains(expected), "{expected}\nis not in\n{wrong}");
    }
}

/// Names of fields of all kinds.
const FIELDS: &str = "allow|deny|field-filters|aggregation-window-size|aggregation-buffer-size|rate-limit|queue-size|queue-bytes|path|\
                      max-size-mb|max-backups|max-age|rotation-interval|compress|perm|format|address|framing|facility|severity|\
                      severity-enforcement|structured-data|app-name|byte-order-mark|timeout|tls|tls-ca|tls-certificate|tls-key|\
                      tls-server-name|url|body|batch-size|batch-time|headers|bearer-token-file|secret-header|secret-header-file|subject|\
                      spool-dir|spool-size|spool-sync|token-file|user|password-file|credentials-file|nkey-file|create-stream|stream|\
                      stream-size|stream-max-age|stream-replicas|brokers|topic|key|compression|sasl|client-id|max-request-size|protocol";

const VALUES: &str = "-?[0-9]{1,20}[KMGTsmh]?|true|~|''|/[a-z/]{0,9}|(nats|tls|tcp|udp|unix|http|https)://\\[?[a-zé0-9:.@?]{0,12}\\]?(:[0-9]{0,6})?|\
                      \\[[a-z0-9:,]{0,9}\\]|\\{[a-z]{1,4}: [a-z0-9]{0,4}\\}|\"[^\"\\\\]{0,12}\"|[a-z][a-z0-9@.=-]{0,40}";

proptest::proptest! {
    #[test]
    fn no_text_panics(text in "(- |name|kind|file|: |\n  |allow|\\[|\\]|\\{|\\}|[a-z0-9&*!,\"'#]){0,30}") {
        let _ = read(&text);
    }

    /// Values of all shapes in fields that are there.
    #[test]
    fn no_value_panics(
        kind in "file|stdout|syslog|webhook|nats|kafka|otlp",
        fields in proptest::collection::vec((FIELDS, VALUES), 0..12),
    ) {
        let fields: String = fields.iter().map(|(name, value)| format!("  {name}: {value}\n")).collect();
        let _ = read(&format!("- name: a\n  kind: {kind}\n{fields}"));
    }
}

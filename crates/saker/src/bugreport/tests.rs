use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use flate2::read::GzDecoder;
use serde_json::Value;

use super::archive::Archive;
use super::{gather, redact, stamp};

/// Names and contents of an archive.
fn contents(path: &std::path::Path) -> Vec<(String, String)> {
    let mut archive = tar::Archive::new(GzDecoder::new(std::fs::File::open(path).unwrap()));
    let entries = archive.entries().unwrap().map(|entry| {
        let mut entry = entry.unwrap();
        let name = entry.path().unwrap().display().to_string();
        let mut text = String::new();
        entry.read_to_string(&mut text).unwrap();
        (name, text)
    });
    entries.collect()
}

#[test]
fn secrets_do_not_stay() {
    let secret = "hunter2-and more";
    for (text, expected) in [
        (format!("kafka-password: {secret}\nlevel: info\n"), "kafka-password: [redacted]\nlevel: info\n"),
        (format!("  API_KEY={secret}"), "  API_KEY=[redacted]"),
        (format!("{{\"authToken\":\"{secret}\",\"pid\":7}}"), "{\"authToken\":\"[redacted]\",\"pid\":7}"),
        ("{\"secret\": 1234, \"x\": [1]}".to_owned(), "{\"secret\": \"[redacted]\", \"x\": [1]}"),
        ("saker agent --sink-token=abc --debug".to_owned(), "saker agent --sink-token=[redacted] --debug"),
        (
            "saker agent --sink-password abc --debug".to_owned(),
            "saker agent --sink-password [redacted] --debug",
        ),
        ("to nats://me:hunter2@host:4222/x".to_owned(), "to nats://[redacted]@host:4222/x"),
        ("Header Bearer abcdefghijk.lmn".to_owned(), "Header Bearer [redacted]"),
        (
            "a\n-----BEGIN EC PRIVATE KEY-----\nMHc\n-----END EC PRIVATE KEY-----\nb".to_owned(),
            "a\n[redacted]\nb",
        ),
        ("-----BEGIN PRIVATE KEY-----\nMHcut".to_owned(), "[redacted]"),
        ("export-filename: /var/log/x\nmonkey: 3".to_owned(), "export-filename: /var/log/x\nmonkey: 3"),
    ] {
        assert_eq!(redact::text(&text), expected, "{text}");
    }
}

/// Puts a secret into a text.
type Put = fn(&str) -> String;

/// A secret of each kind, which says nothing but its form.
fn planted() -> Vec<(&'static str, String)> {
    let body = "MIIEvQIBADANBgkqhkiG9w0BAQEFAASC";
    let signed = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0.dozjgNryP4J3jVmNHl0w5N";
    vec![
        (
            "MIIEvQIBADANBgkqhkiG9w0BAQEFAASC",
            format!("-----BEGIN RSA PRIVATE KEY-----\n{body}\n-----END RSA PRIVATE KEY-----"),
        ),
        (
            "lQOYBF2x",
            "-----BEGIN PGP PRIVATE KEY BLOCK-----\n\nlQOYBF2x\n-----END PGP PRIVATE KEY BLOCK-----".into(),
        ),
        ("dXNlcjpodW50ZXIy", "Basic dXNlcjpodW50ZXIy".into()),
        ("mF_9.B5f-4.1JqM", "bearer mF_9.B5f-4.1JqM".into()),
        ("hunter2", "postgres://shop:hunter2@db:5432/orders".into()),
        ("p@ss", "amqp://shop:p@ss@queue/".into()),
        ("AKIAIOSFODNN7EXAMPLE", "AKIAIOSFODNN7EXAMPLE".into()),
        ("dozjgNryP4J3jVmNHl0w5N", signed.into()),
        ("eyJzdWIiOiIxMjM0NTY3ODkwIn0", signed.into()),
        ("16C7e42F292c6912E7710c838347Ae178B4a", "ghp_16C7e42F292c6912E7710c838347Ae178B4a".into()),
        ("1234-abcdef", "xoxb-1234-abcdefghijkl".into()),
        ("s3cret", "DB_PASSWORD=s3cret".into()),
        ("s3cret", "https://host/x?id=1&access_token=s3cret".into()),
    ]
}

#[test]
fn secrets_are_found_by_what_they_look_like_wherever_they_stand() {
    let places: [(&str, Put); 7] = [
        ("configuration", |secret| format!("log-level: info\ncluster-name: {secret}\n")),
        ("environment", |secret| format!("PATH=/bin\nX={secret}\nHOME=/root")),
        ("log", |secret| {
            format!("2026-01-01T00:00:00Z  WARN saker: cannot reach it error=\"{secret}\" n=1\n")
        }),
        ("policy", |secret| {
            format!("spec:\n  kprobes:\n  - message: |\n      {}\n", secret.replace('\n', "\n      "))
        }),
        ("command line", |secret| format!("curl -H {secret} -v\n")),
        ("event", |secret| {
            serde_json::json!({"process": {"arguments": format!("-c {secret} x"), "pid": 7}}).to_string()
        }),
        ("words", |secret| format!("saker\0agent\0{secret}\0-v")),
    ];
    for (secret, text) in planted() {
        for (place, put) in &places {
            let told = redact::text(&put(&text));
            assert!(!told.contains(secret), "{place}: {told}");
            assert!(told.contains("[redacted]"), "{place}: {told}");
        }
    }
    // What stands around it stays.
    let told = redact::text(&places[5].1("-----BEGIN PRIVATE KEY-----\nMHc\n-----END PRIVATE KEY-----"));
    assert_eq!(told, r#"{"process":{"arguments":"-c [redacted] x","pid":7}}"#);
    let environment = r#"[{"key":"DB_PASSWORD","value":"s3cret"},{"key":"HOME","value":"/root"}]"#;
    let wanted = r#"[{"key":"DB_PASSWORD","value":"[redacted]"},{"key":"HOME","value":"/root"}]"#;
    assert_eq!(redact::text(environment), wanted);
    // A text that was cut within a key.
    assert_eq!(redact::text("MHcCAQ\nabc=\n-----END EC PRIVATE KEY-----\nend"), "[redacted]\nend");
}

#[test]
fn what_is_no_secret_stays() {
    for text in [
        "process 71 of container 8f0a2d0c1b5e4c1e9d0f8f0a2d0c1b5e4c1e9d0f8f0a2d0c1b5e4c1e9d0fabcd",
        "exec_id: bm9kZTo3MTc3NTc3NTc1NzU6MTIz",
        "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----",
        "http://127.0.0.1:2112/metrics?name=x&n=1",
        "saker_events_total{kind=\"exec\"} 7",
        "sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
        "me@example.org mailed /home/me/eyJ.txt",
    ] {
        assert_eq!(redact::text(text), text);
    }
}

#[test]
fn archives_tell_what_is_missing_and_what_was_cut() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("report.tar.gz");
    let mut archive = Archive::create(&path, "report").unwrap().with_bounds(100, 1000);
    archive.part("a.txt", "here", Ok(b"password: x\n".to_vec())).unwrap();
    archive.part("b.txt", "there", Err(anyhow::anyhow!("no such thing"))).unwrap();
    archive.part("long", "there", Ok([vec![b'x'; 100], b"end".to_vec()].concat())).unwrap();
    assert_eq!(archive.missing(), 1);
    archive.finish().unwrap();
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    // An older archive is not written over.
    assert!(Archive::create(&path, "report").is_err());
    let contents = contents(&path);
    assert_eq!(contents[0], ("report/a.txt".to_owned(), "password: [redacted]\n".to_owned()));
    assert!(contents[1].1.len() == 100 && contents[1].1.ends_with("end"));
    let manifest: Value = serde_json::from_str(&contents[2].1).unwrap();
    assert_eq!(manifest["parts"][1]["missing"], "no such thing");
    assert_eq!(manifest["parts"][2]["cut_from_bytes"], 103);
}

#[test]
fn all_parts_together_have_a_bound() {
    let dir = tempfile::tempdir().unwrap();
    let mut archive = Archive::create(&dir.path().join("x"), "x").unwrap().with_bounds(100, 450);
    for index in 0..10 {
        archive.part(&index.to_string(), "", Ok(vec![b'x'; 100])).unwrap();
    }
    archive.finish().unwrap();
    let contents = contents(&dir.path().join("x"));
    let sum: usize =
        contents.iter().filter(|(name, _)| !name.ends_with(".json")).map(|(_, text)| text.len()).sum();
    assert_eq!((contents.len(), sum), (11, 450));
}

#[test]
fn programs_that_fail_say_why() {
    let mut command = Command::new("sh");
    command.args(["-c", "echo told; echo why >&2; exit 3"]);
    let error = gather::output(command).unwrap_err().to_string();
    assert!(error.contains("exit status: 3") && error.ends_with(": why"), "{error}");
    assert!(gather::output(Command::new("/no/such/program")).is_err());
    let mut command = Command::new("sh");
    command.args(["-c", "echo told"]);
    assert_eq!(gather::output(command).unwrap(), b"told\n");
    assert_eq!(stamp().len(), 14);
}

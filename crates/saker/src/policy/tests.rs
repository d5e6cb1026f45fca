//! Tests of the commands on files.

use std::fs;

use clap::Parser;

use super::*;

#[derive(Parser)]
struct Line {
    #[command(flatten)]
    args: PolicyArgs,
}

const POLICY: &str = "\
apiVersion: cilium.io/v1alpha1
kind: TracingPolicy
metadata:
  name: passwd
spec:
  kprobes:
  - call: security_file_open
    syscall: false
    args:
    - index: 0
      type: file
    selectors:
    - matchArgs:
      - index: 0
        operator: Equal
        values: [/etc/passwd]
";

fn policy(line: &[&str]) -> Result<()> {
    let line = Line::try_parse_from(std::iter::once(&"policy").chain(line)).map_err(anyhow::Error::from)?;
    run(&line.args)
}

/// Whether the command failed with a status of 1 and without a further message.
fn failed(result: &Result<()>) -> bool {
    result.as_ref().is_err_and(anyhow::Error::is::<Told>)
}

#[test]
fn status_of_check() {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str, text: &str| {
        let path = folder.path().join(name);
        fs::write(&path, text).unwrap();
        path.display().to_string()
    };
    let good = file("good.yaml", POLICY);
    let warned = file("warned.yaml", &POLICY.replace("    syscall: false\n", ""));
    let bad = file("bad.yaml", &POLICY.replace("Equal", "Equals"));
    policy(&["check", &good]).unwrap();
    policy(&["check", &good, "-o", "json"]).unwrap();
    policy(&["check", &good, &warned]).unwrap();
    assert!(failed(&policy(&["check", "--deny-warnings", &good, &warned])));
    assert!(failed(&policy(&["check", &bad])));
    assert!(failed(&policy(&["check", "-o", "json", &good, &bad])));
    policy(&["explain", &good]).unwrap();
    assert!(failed(&policy(&["explain", &bad])));
    let missing = policy(&["check", "/nowhere/x.yaml"]);
    assert!(missing.unwrap_err().to_string().contains("cannot read /nowhere/x.yaml"));
    assert!(policy(&["check"]).unwrap_err().is::<clap::Error>());
}

#[test]
fn status_of_tests() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("policy.yaml"), POLICY).unwrap();
    let test = |expected: &str| {
        let path = folder.path().join("test.yaml");
        let text = format!(
            "policy: policy.yaml\nevents:\n- name: opens it\n  args: [/etc/passwd]\n  expect: {{event: {expected}}}\n"
        );
        fs::write(&path, text).unwrap();
        path.display().to_string()
    };
    policy(&["test", &test("true")]).unwrap();
    policy(&["test", "-v", "-o", "json", &test("true")]).unwrap();
    assert!(failed(&policy(&["test", &test("false")])));
    assert!(failed(&policy(&["test", &test("maybe")])));
}

#[test]
fn a_failed_test_says_which_filter_decided() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("test.yaml");
    let inline: String = POLICY.lines().map(|line| format!("  {line}\n")).collect();
    let text = format!(
        "inline: |\n{inline}events:\n- name: opens another\n  args: [/etc/group]\n  expect: {{selector: 0}}\n"
    );
    fs::write(&path, text).unwrap();
    let results = test::results(&path).unwrap();
    let table = test::table("t", &results, false);
    assert!(table.contains("FAILED"), "{table}");
    assert!(table.contains("selector: expected 0, found none"), "{table}");
    assert!(
        table.contains("argument 0 (file) is `/etc/passwd`: does not hold (matchArgs[0], line 14)"),
        "{table}"
    );
}

#[test]
fn orders_need_an_agent_and_names() {
    let folder = tempfile::tempdir().unwrap();
    let run_dir = folder.path().display().to_string();
    let file = folder.path().join("good.yaml");
    fs::write(&file, POLICY).unwrap();
    let file = file.display().to_string();
    for line in [
        &["add", &file][..],
        &["replace", &file],
        &["delete", "a", "b"],
        &["enable", "a", "-n", "team", "--domain", "static"],
        &["disable", "a"],
        &["set-mode", "a", "monitor"],
        &["list", "-o", "text"],
        &["list", "-o", "json", "--domain", "grpc"],
        &["status", "a"],
        &["domains"],
    ] {
        let line = [line, &["--run-dir", &run_dir]].concat();
        let error = policy(&line).unwrap_err().to_string();
        assert!(error.starts_with("no agent answers at unix://"), "{line:?}: {error}");
    }
    for line in [&["add"][..], &["delete"], &["enable"], &["set-mode", "a", "often"]] {
        assert!(policy(line).unwrap_err().is::<clap::Error>(), "{line:?}");
    }
    let missing = policy(&["add", "/nowhere/x.yaml"]).unwrap_err().to_string();
    assert!(missing.contains("cannot read /nowhere/x.yaml"), "{missing}");
}

#[test]
fn schema_and_reference_are_printed() {
    policy(&["schema"]).unwrap();
    policy(&["schema", "--tests"]).unwrap();
    policy(&["reference"]).unwrap();
}

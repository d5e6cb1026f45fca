use std::fs;

use clap::Parser;

use super::*;

#[derive(Parser)]
struct Line {
    #[command(flatten)]
    args: OciHookArgs,
}

fn args(flags: &[&str]) -> OciHookArgs {
    Line::parse_from([&["saker"], flags].concat()).args
}

fn spec(namespace: &str, pod: &str) -> Spec {
    let told = json!({"annotations": {
        "io.kubernetes.cri.sandbox-namespace": namespace, "io.kubernetes.cri.sandbox-name": pod,
    }});
    Spec::parse(told.to_string().as_bytes(), &[]).unwrap()
}

#[test]
fn only_named_namespaces_start_when_the_agent_does_not_answer() {
    let is_allowed =
        |flags: &[&str], namespace: &str, pod: &str| allowed(&args(flags), &spec(namespace, pod)).is_some();
    assert!(!is_allowed(&[], "shop", "web"));
    assert!(is_allowed(&["--fail-open"], "shop", "web"));
    let named = ["--fail-allow-namespaces", "kube-system,saker"];
    assert!(
        is_allowed(&named, "saker", "web")
            && !is_allowed(&named, "sake", "web")
            && !is_allowed(&named, "", "web")
    );
    let matched = ["--fail-allow-namespaces-regex", "^kube-"];
    assert!(is_allowed(&matched, "kube-system", "web") && !is_allowed(&matched, "my-kube-", "web"));
    // Of no pod, and of one whose namespace is not known.
    assert!(is_allowed(&[], "", "") && !is_allowed(&matched, "", "web"));
    assert!(Line::try_parse_from(["saker", "--fail-allow-namespaces-regex", "("]).is_err());
    assert!(Line::try_parse_from(["saker", "createAnything"]).is_err());
}

#[test]
fn what_the_agent_is_told_comes_from_the_bundle() {
    let dir = tempfile::tempdir().unwrap();
    let state = json!({"id": "0123456789abcdef", "bundle": dir.path(), "pid": 4_000_000_000_u32}).to_string();
    let read = |args: &OciHookArgs| Told::read(state.as_bytes(), args);
    let error = read(&args(&[])).err().unwrap();
    assert!(output::chain(&error).contains("config.json"), "{error:#}");
    let key = "org.example/space";
    let config = json!({
        "root": {"path": "rootfs"}, "linux": {"cgroupsPath": "/pods/0123456789abcdef"}, "annotations": {key: "shop"},
    });
    fs::write(dir.path().join("config.json"), config.to_string()).unwrap();
    let told = read(&args(&["--annotations-namespace-key", key])).unwrap().request();
    assert_eq!(told.cgroups_path, "/pods/0123456789abcdef");
    assert_eq!((told.container_id.as_str(), told.pod_namespace.as_str()), ("0123456789abcdef", "shop"));
    assert_eq!(told.root_dir, dir.path().join("rootfs").display().to_string());
    assert_eq!(read(&args(&[])).unwrap().request().pod_namespace, "");
    // A process that is not there has no group to be told.
    fs::write(dir.path().join("config.json"), "{}").unwrap();
    assert_eq!(read(&args(&[])).unwrap().request().cgroups_path, "");
    fs::remove_file(dir.path().join("config.json")).unwrap();
    fs::create_dir(dir.path().join("config.json")).unwrap();
    assert!(read(&args(&[])).is_err());
}

#[test]
fn the_log_has_a_bound() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("hook.log");
    let log = Log::to(Some(path.clone()));
    log.line("INFO", "one\nline");
    log.line("WARN", "two");
    let text = fs::read_to_string(&path).unwrap();
    let lines: Vec<_> = text.lines().map(|line| line.split_once(' ').unwrap().1).collect();
    assert_eq!(lines, ["INFO one line", "WARN two"]);
    let length = fs::metadata(&path).unwrap().len();
    drop(log::open(&path, length + 1).unwrap());
    assert_eq!(fs::metadata(&path).unwrap().len(), length);
    drop(log::open(&path, length).unwrap());
    assert_eq!(fs::metadata(&path).unwrap().len(), 0);
    assert_eq!(fs::read_to_string(older(&path)).unwrap(), text);
}

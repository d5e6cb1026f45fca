//! Policies that others wrote, when they lie beside the repository: each is accepted, or refused for a known reason.

use std::fs;
use std::path::Path;

use saker_policy::{Severity, check, render};

/// Those that must be refused, and a part of what is said.
const REFUSED: &[(&str, &str)] = &[
    // A second probe without path, provider and name.
    ("docs--concepts--tracing-policy--hooks--8.yaml", "`path` is missing"),
    // Cut off in the middle.
    ("docs--concepts--tracing-policy--mode--1.yaml", "not YAML"),
    // The file has a pod beside the policy.
    ("other--file-block-kubectl-exec-access.yaml", "`Pod` is not a policy"),
    // Wrong on purpose.
    ("testdata--notasyscall.yaml", "is not a system call"),
    ("testdata--syswrongargindex.yaml", "has no argument 100"),
    // An underscore in its name, which Kubernetes does not allow either.
    ("docs--concepts--tracing-policy--selectors--4.yaml", "`example_ns_2` cannot be a name"),
    // No metadata.
    ("docs--concepts--tracing-policy--selectors--5.yaml", "`metadata` is missing"),
    // Placeholders for networks.
    ("quickstart--network_egress_cluster_enforce.yaml", "is not an address or network"),
];

/// Those with warnings, and a part of one.
const WARNED: &[(&str, &str)] = &[
    ("docs--concepts--tracing-policy--k8s-filtering--1.yaml", "has no hooks"),
    ("tracingpolicy--list-generated-ftrace.yaml", "`syscall` is true when it is not written"),
    ("tracingpolicy--override-security.yaml", "this selector has actions only"),
    ("tracingpolicy--datagram_518.yaml", "this selector has actions only"),
    ("tracingpolicy--tcp-accept.yaml", "this selector has actions only"),
    ("quickstart--file_monitoring_enforce.yaml", "paths begin with `/`"),
    ("testdata--nschanges.yaml.tmpl", "the buffer is never read"),
    ("testdata--sigkill_unprivileged_user_namespace.yaml.tmpl", "is written `matchPIDs`"),
    ("testdata--sigkill_unprivileged_user_namespace_in_pid_namespace.yaml.tmpl", "is written `matchPIDs`"),
];

/// Templates are filled in as a test would.
fn filled(text: &str) -> String {
    text.replace("{{.MatchedPID}}", "4242").replace("{{.NamespacePID}}", "false")
}

#[test]
fn every_shared_policy_is_accepted_or_refused_for_a_known_reason() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/policies");
    let Ok(entries) = fs::read_dir(&folder) else {
        println!("NOT RUN: {} is not there", folder.display());
        return;
    };
    let mut problems = String::new();
    let (mut policies, mut files) = (0, 0);
    for entry in entries {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        if name == "index.md" {
            continue;
        }
        files += 1;
        let text = filled(&fs::read_to_string(&path).unwrap());
        let checked = check(&text);
        policies += checked.policies.len();
        let shown = render(&name, &text, &checked.diagnostics);
        let expected = |table: &[(&str, &'static str)]| {
            table.iter().find(|(file, _)| *file == name).map(|(_, reason)| *reason)
        };
        let errors = checked.count(Severity::Error);
        let refused = expected(REFUSED);
        let as_expected = refused.is_some() == (errors > 0)
            && refused.is_none_or(|reason| shown.contains(reason))
            && expected(WARNED).is_none_or(|reason| shown.contains(reason));
        if !as_expected {
            problems.push_str(&format!("{name}: {errors} errors, expected {refused:?}\n{shown}\n"));
        }
    }
    assert!(problems.is_empty(), "{problems}");
    assert!(files > 50, "only {files} files");
    println!("{files} files, {policies} policies accepted, {} files refused", REFUSED.len());
}

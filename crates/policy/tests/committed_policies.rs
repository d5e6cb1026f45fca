//! Every policy under `policies/` is without errors and warnings, and has a test file whose events all pass.

use std::fs;
use std::path::Path;

use saker_policy::{PolicySource, check, parse_tests, render};

#[test]
fn every_policy_is_clean_and_tested() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../policies");
    let mut policies = 0;
    for entry in fs::read_dir(&folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        if name.ends_with(".test.yaml") {
            assert!(folder.join(name.replace(".test.yaml", ".yaml")).exists(), "{name} has no policy");
            continue;
        }
        policies += 1;
        let text = fs::read_to_string(&path).unwrap();
        let checked = check(&text);
        assert!(checked.diagnostics.is_empty(), "{}", render(&name, &text, &checked.diagnostics));
        let test = name.replace(".yaml", ".test.yaml");
        let text = fs::read_to_string(folder.join(&test)).unwrap_or_else(|_| panic!("{name} has no {test}"));
        let (documents, diagnostics) = parse_tests(&text);
        assert!(diagnostics.is_empty(), "{}", render(&test, &text, &diagnostics));
        assert_eq!(documents[0].source, PolicySource::File(name.clone()));
        let results = documents[0]
            .run(&checked.policies[0])
            .unwrap_or_else(|told| panic!("{}", render(&test, &text, &told)));
        // Both sides: something is told, and something is left alone.
        assert!(results.iter().any(|result| result.outcome.ends_with(", event")), "{test}");
        assert!(results.iter().any(|result| result.outcome.ends_with("no event")), "{test}");
        for result in results {
            assert!(result.failures.is_empty(), "{test}: {result:#?}");
        }
    }
    assert!(policies >= 3);
}

/// The examples of the guide do what the guide says.
#[test]
fn examples_of_the_guide_work() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/policies.md");
    let guide = fs::read_to_string(path).unwrap();
    let blocks: Vec<&str> =
        guide.split("```yaml\n").skip(1).filter_map(|rest| rest.split("```").next()).collect();
    let policy = blocks.iter().find(|block| block.starts_with("apiVersion")).unwrap();
    let test = blocks.iter().find(|block| block.starts_with("policy:")).unwrap();
    let checked = check(policy);
    assert!(checked.diagnostics.is_empty(), "{:?}", checked.diagnostics);
    let (documents, diagnostics) = parse_tests(test);
    assert!(diagnostics.is_empty(), "{diagnostics:?}");
    let results = documents[0].run(&checked.policies[0]).unwrap();
    assert_eq!(results.len(), 2);
    assert!(results.iter().all(|result| result.failures.is_empty()), "{results:#?}");
    assert!(
        guide.contains(&saker_policy::explain(&checked.policies[0]).text()),
        "the explanation in the guide"
    );
    let wrong = policy.replace("operator: Equal", "operator: SAddr");
    let shown = render("hashes.yaml", &wrong, &check(&wrong).diagnostics);
    assert!(guide.contains(&shown), "the diagnostics in the guide: {shown}");
}

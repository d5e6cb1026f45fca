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

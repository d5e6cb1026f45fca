//! Policies that others wrote.

use saker_policy::plan::lower;
use saker_policy::{Severity, check};

use crate::lab::{Lab, kernel};

/// Policies of a folder, named by the environment: which are loaded, which refused and why.
#[test]
fn policies_of_a_folder() {
    let Ok(folder) = std::env::var("SAKER_POLICIES") else {
        println!("SAKER_POLICIES names no folder: NOT RUN");
        return;
    };
    let Some(mut lab) = Lab::new() else { return };
    let mut files: Vec<_> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    let (mut loaded, mut failed) = (0, Vec::new());
    for file in files.iter().filter(|file| file.extension().is_some_and(|ext| ext != "md")) {
        let text = std::fs::read_to_string(file).unwrap();
        let text = text.replace("{{.MatchedPID}}", "4242").replace("{{.NamespacePID}}", "false");
        let name = file.file_name().unwrap().to_string_lossy().into_owned();
        let checked = check(&text);
        for policy in &checked.policies {
            match lower(policy, kernel()) {
                Ok(plan) => {
                    let mut ways: Vec<_> = plan.hooks.iter().map(|hook| hook.attach.mechanism()).collect();
                    ways.dedup();
                    let warnings: Vec<_> = plan.warnings.iter().map(|one| one.message.clone()).collect();
                    match lab.load(plan) {
                        Ok(_) => {
                            loaded += 1;
                            println!("LOADED | {name} | {} | {}", ways.join(", "), warnings.join("; "));
                        }
                        Err(error) => {
                            println!("FAILED | {name} | {error}");
                            failed.push(name.clone());
                        }
                    }
                }
                Err(reasons) => {
                    let errors = reasons.iter().filter(|one| one.severity == Severity::Error);
                    let reasons: Vec<_> =
                        errors.map(|one| format!("{}: {}", one.path, one.message)).collect();
                    println!("REFUSED | {name} | {}", reasons.join("; "));
                }
            }
        }
    }
    println!("{loaded} loaded");
    assert!(failed.is_empty(), "what was planned could not be loaded: {failed:?}");
}

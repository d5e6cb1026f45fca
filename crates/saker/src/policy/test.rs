//! `saker policy test`.

use std::path::{Path, PathBuf};

use anyhow::{Result, bail};
use clap::Args;
use saker_policy::model::Policy;
use saker_policy::{CaseResult, Diagnostic, PolicySource, Severity, TestDocument, parse_tests, render};
use serde_json::{Value, json};

use super::{Form, beside, load, name, read};
use crate::output::{self, Told};

/// Arguments of `saker policy test`.
#[derive(Args)]
#[command(
    after_help = "Exit status: 0 all passed; 1 some failed, or a file has errors; 2 wrong command line"
)]
pub struct TestArgs {
    /// Test files; their form is in docs/policies.md
    #[arg(required = true)]
    files: Vec<PathBuf>,
    /// Form of the output
    #[arg(short, long, value_enum, default_value_t = Form::Text)]
    output: Form,
    /// Show every filter that was tried, also of events that passed
    #[arg(short, long)]
    verbose: bool,
}

/// Runs test files.
pub fn run(args: &TestArgs) -> Result<()> {
    let (mut passed, mut failed) = (0, 0);
    let mut all = Vec::new();
    for file in &args.files {
        let results = results(file)?;
        let good = results.iter().filter(|result| result.failures.is_empty()).count();
        passed += good;
        failed += results.len() - good;
        match args.output {
            Form::Text => output::print(&table(&name(file), &results, args.verbose))?,
            Form::Json => all.extend(results.iter().map(|result| to_json(&name(file), result))),
        }
    }
    match args.output {
        Form::Text => output::print(&format!("{passed} passed, {failed} failed\n"))?,
        Form::Json => {
            let result = json!({"passed": passed, "failed": failed, "events": all});
            output::print(&format!("{result:#}\n"))?;
        }
    }
    if failed > 0 { Err(Told.into()) } else { Ok(()) }
}

pub(super) fn results(file: &Path) -> Result<Vec<CaseResult>> {
    let text = read(file)?;
    let (documents, diagnostics) = parse_tests(&text);
    told(file, &text, &diagnostics)?;
    let mut results = Vec::new();
    for document in documents {
        let policies = policies(file, &document)?;
        let policy = select(&policies, document.name.as_deref())?;
        match document.run(policy) {
            Ok(more) => results.extend(more),
            Err(diagnostics) => told(file, &text, &diagnostics)?,
        }
    }
    Ok(results)
}

/// Shows diagnostics; errors among them end the command.
fn told(file: &Path, text: &str, diagnostics: &[Diagnostic]) -> Result<()> {
    eprint!("{}", render(&name(file), text, diagnostics));
    if diagnostics.iter().any(|one| one.severity == Severity::Error) { Err(Told.into()) } else { Ok(()) }
}

fn policies(file: &Path, document: &TestDocument) -> Result<Vec<Policy>> {
    match &document.source {
        PolicySource::File(path) => Ok(load(&beside(file, path), false)?.1.policies),
        PolicySource::Inline(text) => {
            let checked = saker_policy::check(text);
            let errors: Vec<Diagnostic> =
                checked.diagnostics.into_iter().filter(|one| one.severity == Severity::Error).collect();
            told(&PathBuf::from(format!("{} (inline policy)", name(file))), text, &errors)?;
            Ok(checked.policies)
        }
    }
}

fn select<'a>(policies: &'a [Policy], wanted: Option<&str>) -> Result<&'a Policy> {
    match (policies, wanted) {
        ([policy], None) => Ok(policy),
        (_, None) => bail!("the file has {} policies: `name` must say which one is tested", policies.len()),
        (_, Some(name)) => match policies.iter().find(|policy| policy.name.value == name) {
            Some(policy) => Ok(policy),
            None => bail!("there is no policy `{name}` in the file"),
        },
    }
}

pub(super) fn table(file: &str, results: &[CaseResult], verbose: bool) -> String {
    let mut rows = vec![["", "event", "hook", "result"].map(str::to_owned).to_vec()];
    for result in results {
        let status = if result.failures.is_empty() { "ok" } else { "FAILED" };
        rows.push(vec![status.into(), result.name.clone(), result.hook.clone(), result.outcome.clone()]);
    }
    let mut text = format!("{file}\n{}", output::columns(&rows));
    for result in results {
        if result.failures.is_empty() && !verbose {
            continue;
        }
        text.push_str(&format!("\n{file}:{}: {}\n", result.line, result.name));
        for failure in &result.failures {
            text.push_str(&format!(
                "  {}: expected {}, found {}\n",
                failure.field, failure.expected, failure.found
            ));
        }
        for line in &result.trace {
            text.push_str(&format!("  {line}\n"));
        }
    }
    text.push('\n');
    text
}

fn to_json(file: &str, result: &CaseResult) -> Value {
    let failures: Vec<Value> = result
        .failures
        .iter()
        .map(|one| json!({"field": one.field, "expected": one.expected, "found": one.found}))
        .collect();
    json!({
        "file": file,
        "line": result.line,
        "name": result.name,
        "hook": result.hook,
        "passed": result.failures.is_empty(),
        "outcome": result.outcome,
        "failures": failures,
        "trace": result.trace,
    })
}

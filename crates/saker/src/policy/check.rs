//! `saker policy check`.

use std::path::PathBuf;

use anyhow::Result;
use clap::Args;
use saker_policy::{Severity, render, to_json};
use serde_json::{Value, json};

use super::{Form, name, read};
use crate::output::{self, Told};

/// Arguments of `saker policy check`.
#[derive(Args)]
#[command(
    after_help = "Exit status: 0 no errors; 1 errors, or warnings with --deny-warnings; 2 wrong command line"
)]
pub struct CheckArgs {
    /// Policy files; `-` is standard input
    #[arg(required = true)]
    files: Vec<PathBuf>,
    /// Form of the output
    #[arg(short, long, value_enum, default_value_t = Form::Text)]
    output: Form,
    /// Fail for warnings too
    #[arg(long)]
    deny_warnings: bool,
}

/// Checks files.
pub fn run(args: &CheckArgs) -> Result<()> {
    let (mut errors, mut warnings, mut policies) = (0, 0, 0);
    let mut all = Vec::new();
    for file in &args.files {
        let text = read(file)?;
        let checked = saker_policy::check(&text);
        errors += checked.count(Severity::Error);
        warnings += checked.count(Severity::Warning);
        policies += checked.policies.len();
        match args.output {
            Form::Text => output::print(&render(&name(file), &text, &checked.diagnostics))?,
            Form::Json => {
                if let Value::Array(diagnostics) = to_json(&name(file), &checked.diagnostics) {
                    all.extend(diagnostics);
                }
            }
        }
    }
    match args.output {
        Form::Text => output::print(&summary(policies, errors, warnings))?,
        Form::Json => {
            let result = json!({
                "policies": policies, "errors": errors, "warnings": warnings, "diagnostics": all,
            });
            output::print(&format!("{result:#}\n"))?;
        }
    }
    if errors > 0 || (args.deny_warnings && warnings > 0) { Err(Told.into()) } else { Ok(()) }
}

fn summary(policies: usize, errors: usize, warnings: usize) -> String {
    let count =
        |count: usize, one: &str, many: &str| format!("{count} {}", if count == 1 { one } else { many });
    format!(
        "{} without errors; {}, {}\n",
        count(policies, "policy", "policies"),
        count(errors, "error", "errors"),
        count(warnings, "warning", "warnings")
    )
}

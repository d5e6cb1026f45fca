//! `saker policy explain`.

use std::path::PathBuf;

use anyhow::Result;
use clap::Args;
use saker_policy::{Explanation, explain, to_json};
use serde_json::{Value, json};

use super::{Form, load, name};
use crate::output;

/// Arguments of `saker policy explain`.
#[derive(Args)]
#[command(after_help = "Exit status: 0 explained; 1 the policy has errors; 2 wrong command line")]
pub struct ExplainArgs {
    /// The policy file; `-` is standard input
    file: PathBuf,
    /// Form of the output
    #[arg(short, long, value_enum, default_value_t = Form::Text)]
    output: Form,
}

/// Explains the policies of a file.
pub fn run(args: &ExplainArgs) -> Result<()> {
    let (_, checked) = load(&args.file, args.output == Form::Text)?;
    let explanations: Vec<Explanation> = checked.policies.iter().map(explain).collect();
    if args.output == Form::Json {
        let policies: Vec<Value> = explanations.iter().map(Explanation::json).collect();
        let warnings = to_json(&name(&args.file), &checked.diagnostics);
        return output::print(&format!("{:#}\n", json!({"policies": policies, "warnings": warnings})));
    }
    let texts: Vec<String> = explanations.iter().map(Explanation::text).collect();
    output::print(&texts.join("\n"))
}

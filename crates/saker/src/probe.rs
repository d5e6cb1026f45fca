//! `saker probe`.

use anyhow::Result;
use clap::Args;
use saker_probes::KernelFacts;

use crate::output::{self, Data};

/// Arguments of `saker probe`.
#[derive(Args)]
pub struct ProbeArgs {
    /// Form of the output
    #[arg(short, long, value_enum, default_value_t = Data::Table)]
    output: Data,
}

/// Asks the kernel and prints.
pub fn run(args: &ProbeArgs) -> Result<()> {
    let facts = KernelFacts::discover()?;
    match args.output {
        Data::Json => output::print(&format!("{}\n", serde_json::to_string_pretty(&facts)?)),
        Data::Table => output::print(&table(&facts)),
    }
}

fn table(facts: &KernelFacts) -> String {
    let yes_no = |on: bool| if on { "yes" } else { "no" }.to_owned();
    let mut rows = Vec::new();
    let mut line = |name: &str, value: String| rows.push(vec![name.to_owned(), value]);
    line("kernel", format!("{} {}", facts.release, facts.machine));
    line("type information (BTF)", yes_no(facts.btf));
    let missing = facts.missing_capabilities.join(", ");
    line("missing capabilities", if missing.is_empty() { "none".into() } else { missing });
    line("security modules", facts.security_modules.join(", "));
    line(
        "lockdown",
        if facts.lockdown.is_empty() { "not in this kernel".into() } else { facts.lockdown.clone() },
    );
    let mut text = output::columns(&rows);
    if facts.features.is_empty() {
        text.push_str("\nNothing more can be asked: ");
        text.push_str(if facts.btf {
            "run this as root.\n"
        } else {
            "the kernel does not describe its types.\n"
        });
        return text;
    }
    let mut rows = vec![["FEATURE", "HERE", "WHAT FOLLOWS"].map(str::to_owned).to_vec()];
    for feature in &facts.features {
        let mut follows = feature.consequence.to_owned();
        if !feature.detail.is_empty() {
            follows = format!("{follows} ({})", feature.detail);
        }
        rows.push(vec![feature.name.to_owned(), yes_no(feature.enabled), follows]);
    }
    text.push('\n');
    text.push_str(&output::columns(&rows));
    text.push('\n');
    text.push_str(&match facts.require_sensors() {
        Ok(()) => "Process sensors: supported\n".to_owned(),
        Err(error) => format!("Process sensors: {error}\n"),
    });
    text
}

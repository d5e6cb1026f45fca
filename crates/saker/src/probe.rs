//! `saker probe`.

use std::fs::File;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use clap::Args;
use saker_probes::{KernelFacts, RunningKernel};

use crate::output::{self, Data};

/// Arguments of `saker probe`.
#[derive(Args)]
pub struct ProbeArgs {
    /// Form of the output
    #[arg(short, long, value_enum, default_value_t = Data::Table)]
    output: Data,
    /// Write what policies must know of this kernel to a file, for `saker policy explain --kernel FILE` elsewhere.
    /// Needs root
    #[arg(long, value_name = "FILE", conflicts_with = "output")]
    save: Option<PathBuf>,
}

/// Asks the kernel and prints.
pub fn run(args: &ProbeArgs) -> Result<()> {
    if let Some(path) = &args.save {
        return save(path);
    }
    let facts = KernelFacts::discover()?;
    match args.output {
        Data::Json => output::print(&format!("{}\n", serde_json::to_string_pretty(&facts)?)),
        Data::Table => output::print(&table(&facts)),
    }
}

fn save(path: &Path) -> Result<()> {
    let missing = KernelFacts::discover()?.missing_capabilities.join(", ");
    if !missing.is_empty() {
        anyhow::bail!("what this kernel offers cannot be tried without {missing}: run this as root");
    }
    let kernel = RunningKernel::load()?;
    let file = File::create(path).with_context(|| format!("cannot write {}", path.display()))?;
    kernel.save(file)?;
    Ok(())
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

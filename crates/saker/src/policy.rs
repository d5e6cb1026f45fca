//! `saker policy`: policies of a running agent, and what can be done with policy files without one.

mod change;
mod check;
mod explain;
mod generate;
mod list;
mod modify;
mod test;
mod trial;

use std::fs;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use clap::{Args, Subcommand, ValueEnum};
use saker_policy::{Checked, Severity, render};

use crate::output::{self, Told};
pub use list::document as hooks_document;

/// Bytes of a file that are read; the parser refuses more than its own limit.
const MOST: u64 = 2 * saker_policy::MAX_BYTES as u64;

/// Arguments of `saker policy`.
#[derive(Args)]
#[command(
    disable_help_subcommand = true,
    after_help = "check, explain, test, generate, modify, schema and reference work on files, without an agent; the others ask a \
                  running agent."
)]
pub struct PolicyArgs {
    #[command(subcommand)]
    command: PolicyCommand,
}

#[derive(Subcommand)]
enum PolicyCommand {
    /// Load a policy into the running agent
    Add(change::AddArgs),
    /// Load a policy in the place of the one of the same name, without a gap; on failure the old one stays
    Replace(change::ReplaceArgs),
    /// Detach policies and forget them
    Delete(change::DeleteArgs),
    /// Attach a policy that is disabled, or try again one that could not be loaded
    Enable(change::NameArgs),
    /// Detach a policy, but keep it
    Disable(change::NameArgs),
    /// Say whether a policy acts or only tells; it takes effect at once
    SetMode(change::ModeArgs),
    /// List the policies of the running agent
    List(list::ListArgs),
    /// Show the hooks of policies with what they counted
    Status(list::StatusArgs),
    /// List the domains that have policies
    Domains(list::DomainsArgs),
    /// Print a policy to begin with, made of what this kernel or a program has
    Generate(generate::GenerateArgs),
    /// Print a policy file in another mode
    Modify(modify::ModifyArgs),
    /// Say what is wrong or doubtful in policy files
    Check(check::CheckArgs),
    /// Say in plain words what a policy asks for
    Explain(explain::ExplainArgs),
    /// Run test files: described events through policies, against what is expected
    Test(test::TestArgs),
    /// Print the JSON schema of policies, for editors
    Schema {
        /// Print the schema of test files instead
        #[arg(long)]
        tests: bool,
    },
    /// Print the reference page of the language
    Reference,
}

/// Form of the output.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Form {
    /// For people
    Text,
    /// For programs
    Json,
}

/// Runs a command.
pub fn run(args: &PolicyArgs) -> Result<()> {
    match &args.command {
        PolicyCommand::Add(args) => change::add(args),
        PolicyCommand::Replace(args) => change::replace(args),
        PolicyCommand::Delete(args) => change::delete(args),
        PolicyCommand::Enable(args) => change::enable(args, true),
        PolicyCommand::Disable(args) => change::enable(args, false),
        PolicyCommand::SetMode(args) => change::set_mode(args),
        PolicyCommand::List(args) => list::run(args),
        PolicyCommand::Status(args) => list::status(args),
        PolicyCommand::Domains(args) => list::domains(args),
        PolicyCommand::Generate(args) => generate::run(args),
        PolicyCommand::Modify(args) => modify::run(args),
        PolicyCommand::Check(args) => check::run(args),
        PolicyCommand::Explain(args) => explain::run(args),
        PolicyCommand::Test(args) => test::run(args),
        PolicyCommand::Schema { tests } => {
            let schema = if *tests { saker_policy::test_schema() } else { saker_policy::schema() };
            output::print(&format!("{schema:#}\n"))
        }
        PolicyCommand::Reference => output::print(&saker_policy::reference()),
    }
}

/// The text of a file, or of standard input for `-`.
fn read(file: &Path) -> Result<String> {
    let mut bytes = Vec::new();
    if file == Path::new("-") {
        io::stdin().lock().take(MOST).read_to_end(&mut bytes).context("cannot read standard input")?;
    } else {
        let open = fs::File::open(file);
        open.and_then(|open| open.take(MOST).read_to_end(&mut bytes))
            .with_context(|| format!("cannot read {}", file.display()))?;
    }
    String::from_utf8(bytes).with_context(|| format!("{} is not UTF-8 text", file.display()))
}

/// A policy file, read and checked. Errors are shown and end the command, warnings are shown only if asked for.
fn load(file: &Path, warnings: bool) -> Result<(String, Checked)> {
    let text = read(file)?;
    let checked = saker_policy::check(&text);
    let told: Vec<_> = checked
        .diagnostics
        .iter()
        .filter(|diagnostic| warnings || diagnostic.severity == Severity::Error)
        .cloned()
        .collect();
    eprint!("{}", render(&name(file), &text, &told));
    if checked.count(Severity::Error) > 0 {
        return Err(Told.into());
    }
    Ok((text, checked))
}

fn name(file: &Path) -> String {
    if file == Path::new("-") { "standard input".into() } else { file.display().to_string() }
}

/// A path in a test file, which is relative to that file.
fn beside(file: &Path, path: &str) -> PathBuf {
    file.parent().unwrap_or(Path::new("")).join(path)
}

#[cfg(test)]
mod tests;

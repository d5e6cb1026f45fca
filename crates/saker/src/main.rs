//! The one binary: the agent, and the commands that talk to it.
//!
//! Exit status: 0 when all went well, also when the reader of the output went away; 1 when something failed;
//! 2 when the command line or the configuration is wrong. Commands that answer a question have 3 for the other answer.

mod acts;
mod agent;
mod bugreport;
mod client;
mod cri;
mod enforce;
mod events;
mod explain;
mod loglevel;
mod man;
mod mapped;
mod metrics;
mod oci_hook;
mod output;
mod policy;
mod probe;
mod protect;
mod reference;
mod replay;
mod screen;
mod source;
mod stacktrace_tree;
mod status;
mod top;
mod tree;
mod uninstall;
mod version;

use std::process::ExitCode;

use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};
use saker_agent::config::ConfigErrors;
use saker_agent::logging::say;

/// Status of a wrong command line or configuration.
const USAGE: u8 = 2;

/// Sees every process of a Linux machine, live, and says what it could not see.
#[derive(Parser)]
#[command(name = "saker", version, arg_required_else_help = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run the agent: attach the sensors, write and serve events
    #[command(disable_help_subcommand = true)]
    Agent(agent::AgentArgs),
    /// Show events of a running agent, or of JSON lines from a file or a pipe
    #[command(visible_alias = "getevents")]
    Events(Box<events::EventsArgs>),
    /// Show processes with what they did as a tree: of JSON lines, a recording, or a running agent for a time
    Tree(Box<tree::TreeArgs>),
    /// Show what a running agent did, lost and uses
    Status(status::StatusArgs),
    /// Show what happens on the machine and what policies cost, interval by interval
    Top(top::TopArgs),
    /// Show the metrics of a running agent
    Metrics(metrics::MetricsArgs),
    /// Show what this kernel offers and what follows from it
    Probe(probe::ProbeArgs),
    /// Load, list and remove policies of a running agent; check, explain and test policy files
    #[command(visible_aliases = ["tracingpolicy", "tp"])]
    Policy(policy::PolicyArgs),
    /// Say which fields policies have, e.g. of tracingpolicy.spec.kprobes
    Explain(explain::ExplainArgs),
    /// Fold the stacks that events tell into a tree with counts
    StacktraceTree(Box<stacktrace_tree::StacktraceTreeArgs>),
    /// Find processes that have a library or program mapped, by its path, build id or digest
    Mapped(mapped::MappedArgs),
    /// Have no policy of a running agent act, or have them act again, and show what they did to whom
    Enforce(enforce::EnforceArgs),
    /// Lift the protection of an agent of itself for a time, bring it back, and show what it refused
    Protect(protect::ProtectArgs),
    /// Show or change the log level of a running agent
    #[command(visible_alias = "log")]
    Loglevel(loglevel::LoglevelArgs),
    /// Turn a recording made with `saker agent --record` into events
    Replay(replay::ReplayArgs),
    /// Detach and remove what agents left in force (`saker agent --keep-sensors-on-exit`)
    Uninstall(uninstall::UninstallArgs),
    /// Show what the container runtime of this machine tells
    Cri(cri::CriArgs),
    /// As a hook of a container runtime: have the agent know a container before its first process runs
    OciHook(Box<oci_hook::OciHookArgs>),
    /// Gather what is needed to understand a problem into an archive, without secrets
    #[command(visible_alias = "bugtool")]
    Bugreport(bugreport::BugreportArgs),
    /// Print the version, that of the agent, and what they were built from
    Version(version::VersionArgs),
    /// Write a manual page for each command
    Man(man::ManArgs),
    /// Print the reference page of all commands
    #[command(hide = true)]
    Reference,
    /// Print the completions for a shell
    Completion {
        /// The shell
        shell: clap_complete::Shell,
    },
}

/// What the status of a command says that does not say it itself.
const ENDS: &str = "Exit status: 0 all went well; 1 something failed; 2 wrong command line or configuration";

fn command() -> clap::Command {
    with_ends(Cli::command().after_help(ENDS))
}

/// The same command, of which each command tells what its status means.
fn with_ends(command: clap::Command) -> clap::Command {
    let told = command.get_after_help().map(ToString::to_string).unwrap_or_default();
    let command = match told.as_str() {
        told if told.contains("Exit status") || command.has_subcommands() => command,
        "" => command.after_help(ENDS),
        told => command.after_help(format!("{told}\n\n{ENDS}")),
    };
    command.mut_subcommands(with_ends)
}

fn main() -> ExitCode {
    let matches = command().get_matches();
    let cli = match Cli::from_arg_matches(&matches) {
        Ok(cli) => cli,
        Err(error) => error.exit(),
    };
    let outcome = match cli.command {
        Command::Agent(args) => agent::run(&args),
        Command::Events(args) => events::run(&args),
        Command::Tree(args) => tree::run(&args),
        Command::Status(args) => status::run(&args),
        Command::Top(args) => top::run(&args),
        Command::Metrics(args) => metrics::run(&args),
        Command::Explain(args) => explain::run(&args),
        Command::StacktraceTree(args) => stacktrace_tree::run(&args),
        Command::Cri(args) => cri::run(&args),
        Command::OciHook(args) => oci_hook::run(&args),
        Command::Bugreport(args) => bugreport::run(&args),
        Command::Man(args) => man::run(&args, command()),
        Command::Probe(args) => probe::run(&args),
        Command::Policy(args) => policy::run(&args),
        Command::Mapped(args) => mapped::run(&args),
        Command::Enforce(args) => enforce::run(&args),
        Command::Protect(args) => protect::run(&args),
        Command::Loglevel(args) => loglevel::run(&args),
        Command::Replay(args) => replay::run(&args),
        Command::Uninstall(args) => uninstall::run(&args),
        Command::Version(args) => version::run(&args),
        Command::Reference => output::print(&reference::page(command())),
        Command::Completion { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut command(), "saker", &mut script);
            output::print(&String::from_utf8_lossy(&script))
        }
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) if output::is_closed(&error) => ExitCode::SUCCESS,
        Err(error) if error.is::<output::Told>() => ExitCode::FAILURE,
        Err(error) if error.is::<output::Ended>() => {
            error.downcast_ref::<output::Ended>().map_or(ExitCode::FAILURE, |ended| ExitCode::from(ended.0))
        }
        Err(error) => {
            say(format_args!("saker: {}", output::chain(&error)));
            let wrong = error.is::<ConfigErrors>() || error.is::<output::Usage>();
            if wrong { ExitCode::from(USAGE) } else { ExitCode::FAILURE }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn command_line_is_consistent() {
        command().debug_assert();
    }

    #[test]
    fn each_command_tells_what_its_status_means() {
        let mut left = vec![command()];
        let mut seen = 0;
        while let Some(mut one) = left.pop() {
            left.extend(one.get_subcommands().cloned());
            if !one.has_subcommands() {
                seen += 1;
                let help = one.render_long_help().to_string();
                assert!(help.contains("Exit status: 0 "), "{help}");
            }
        }
        assert!(seen > 30, "{seen}");
    }

    #[test]
    fn unknown_flags_are_errors() {
        for line in [&["saker", "agent", "--bogus"][..], &["saker", "events", "--bogus"], &["saker", "bogus"]]
        {
            let error = command().try_get_matches_from(line).unwrap_err();
            assert_eq!(error.exit_code(), i32::from(USAGE), "{line:?}");
        }
    }

    #[test]
    fn policies_have_the_names_of_the_peer() {
        for name in ["policy", "tracingpolicy", "tp"] {
            let matches = command().try_get_matches_from(["saker", name, "list", "-o", "json"]).unwrap();
            assert_eq!(matches.subcommand_name(), Some("policy"));
        }
    }

    #[test]
    fn completions_know_all_commands() {
        for shell in [clap_complete::Shell::Bash, clap_complete::Shell::Zsh, clap_complete::Shell::Fish] {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut command(), "saker", &mut script);
            let script = String::from_utf8(script).unwrap();
            assert!(script.contains("export-filename") && script.contains("replay"), "{shell}");
        }
    }
}

//! The one binary: the agent, and the commands that talk to it.
//!
//! Exit status: 0 when all went well, also when the reader of the output went away; 1 when something failed;
//! 2 when the command line or the configuration is wrong. Commands that answer a question have 3 for the other answer.

mod agent;
mod client;
mod enforce;
mod events;
mod loglevel;
mod mapped;
mod output;
mod policy;
mod probe;
mod protect;
mod reference;
mod replay;
mod status;
mod uninstall;

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
    /// Show what a running agent did, lost and uses
    Status(status::StatusArgs),
    /// Show what this kernel offers and what follows from it
    Probe(probe::ProbeArgs),
    /// Load, list and remove policies of a running agent; check, explain and test policy files
    #[command(visible_aliases = ["tracingpolicy", "tp"])]
    Policy(policy::PolicyArgs),
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
    /// Print the version
    Version,
    /// Print the reference page of all commands
    #[command(hide = true)]
    Reference,
    /// Print the completions for a shell
    Completion {
        /// The shell
        shell: clap_complete::Shell,
    },
}

fn command() -> clap::Command {
    Cli::command()
        .after_help("Exit status: 0 all went well; 1 something failed; 2 wrong command line or configuration")
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
        Command::Status(args) => status::run(&args),
        Command::Probe(args) => probe::run(&args),
        Command::Policy(args) => policy::run(&args),
        Command::Mapped(args) => mapped::run(&args),
        Command::Enforce(args) => enforce::run(&args),
        Command::Protect(args) => protect::run(&args),
        Command::Loglevel(args) => loglevel::run(&args),
        Command::Replay(args) => replay::run(&args),
        Command::Uninstall(args) => uninstall::run(&args),
        Command::Version => output::print(&format!("saker {}\n", saker_agent::VERSION)),
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

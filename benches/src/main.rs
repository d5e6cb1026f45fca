//! Measures what SPECIFICATION.md promises. Every figure has a command line:
//!
//! ```text
//! cargo build --release -p saker && cargo build --release -p saker-benches
//! target/release/saker-benches vm --kernel 6.12    instructions, against auditd and nothing, in one session
//! target/release/saker-benches policies --kernel 6.12    instructions with policies that do and do not match
//! target/release/saker-benches ratio               this machine, interleaved rounds with and without the agent
//! target/release/saker-benches memory              this machine: memory at start, after processes, after churn
//! target/release/saker-benches receivers           this machine: what each kind of receiver costs, and takes
//! target/release/saker-benches replay              one core of this machine: records to JSON lines
//! ```
//!
//! Each prints a table and writes the same as JSON beside it (`--out`).

mod memory;
mod policies;
mod ratio;
mod receivers;
mod replay;
mod report;
mod session;
mod subject;
mod vm;
mod work;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Measures what the agent costs.
#[derive(Parser)]
#[command(name = "saker-benches", disable_help_subcommand = true)]
struct Cli {
    #[command(subcommand)]
    what: What,
}

#[derive(Subcommand)]
enum What {
    /// Counts instructions in an emulated machine: no agent, Saker, auditd, in one session
    Vm(vm::Args),
    /// The measurements themselves, on the kernel that runs: what `vm` runs inside the machine
    Session(session::Args),
    /// Counts instructions with policies loaded, in an emulated machine
    Policies(policies::Args),
    /// The measurements of `policies`, on the kernel that runs
    PoliciesSession(policies::SessionArgs),
    /// Compares this machine with and without the agent, in interleaved rounds
    Ratio(ratio::Args),
    /// Resident memory at start, after many processes and after churn
    Memory(memory::Args),
    /// What each kind of receiver costs the agent, and how many events it takes
    Receivers(receivers::Args),
    /// A server that receives what the agent sends, as a process of its own: what `receivers` runs
    #[command(hide = true)]
    Receiver(receivers::ServerArgs),
    /// Clients of the agent, as a process of their own: what `receivers` runs
    #[command(hide = true)]
    Clients(receivers::ClientArgs),
    /// Events a second that one core makes of recorded records
    Replay(replay::Args),
}

fn main() -> ExitCode {
    let done = match Cli::parse().what {
        What::Vm(args) => vm::run(&args),
        What::Session(args) => session::run(&args),
        What::Policies(args) => policies::run(&args),
        What::PoliciesSession(args) => policies::session(&args),
        What::Ratio(args) => ratio::run(&args),
        What::Memory(args) => memory::run(&args),
        What::Receivers(args) => receivers::run(&args),
        What::Receiver(args) => receivers::serve(&args),
        What::Clients(args) => receivers::follow(&args),
        What::Replay(args) => replay::run(&args),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("saker-benches: {error:#}");
            ExitCode::FAILURE
        }
    }
}

//! Saker's development tasks, run as `cargo xtask VERB`.
//!
//! One file per verb: it holds the verb's arguments and a `run` that returns the exit code. This file
//! only dispatches.

mod bindings;
mod interrupt;
mod kernels;
mod matrix;
mod process;
mod svg;
mod vm;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Development tasks of Saker.
#[derive(Parser)]
#[command(name = "cargo xtask", disable_help_subcommand = true)]
struct Cli {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// Makes the Rust types of the kernel's records from their C headers.
    Bindings(bindings::Args),
    /// Fetches and prepares the kernels that tests boot.
    Kernels(kernels::Args),
    /// Runs a command as root on another kernel, in a virtual machine over this machine's file system.
    Vm(vm::Args),
    /// Runs a command on every kernel of the matrix and sums up.
    Matrix(matrix::Args),
    /// Makes a picture of coloured terminal output, for documents.
    Svg(svg::Args),
}

fn main() -> ExitCode {
    let outcome = match Cli::parse().verb {
        Verb::Bindings(args) => bindings::run(&args),
        Verb::Kernels(args) => kernels::run(&args),
        Verb::Vm(args) => vm::run(&args),
        Verb::Matrix(args) => matrix::run(&args),
        Verb::Svg(args) => svg::run(&args),
    };
    outcome.unwrap_or_else(|error| {
        eprintln!("xtask: {error:#}");
        ExitCode::from(2)
    })
}

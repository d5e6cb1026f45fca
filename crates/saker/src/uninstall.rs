//! `saker uninstall`.

use std::fs;
use std::io::ErrorKind;
use std::path::PathBuf;

use anyhow::{Context, Result};
use clap::Args;
use saker_agent::rundir::RunDir;
use saker_probes::keep;
use serde_json::json;

use crate::output::{self, Data};

/// Arguments of `saker uninstall`.
#[derive(Args)]
pub struct UninstallArgs {
    /// Directory of the pins, as the agent's option of this name
    #[arg(long, value_name = "PATH", default_value = "saker")]
    bpf_dir: PathBuf,
    /// Run directory, as the agent's option of this name: an agent that runs there is in the way
    #[arg(long, value_name = "PATH", default_value = "/run/saker")]
    run_dir: PathBuf,
    /// Also remove the policies that came by calls and are kept on disk
    #[arg(long)]
    policies: bool,
    /// Where they are kept, as the agent's option of this name
    #[arg(long, value_name = "PATH", default_value = "/var/lib/saker/grpc-policies")]
    persist_grpc_policies_dir: PathBuf,
    /// Form of the output
    #[arg(short, long, value_enum, default_value_t = Data::Table)]
    output: Data,
}

/// Removes and tells.
pub fn run(args: &UninstallArgs) -> Result<()> {
    // Held until all is gone, so that no agent begins meanwhile.
    let _claimed = if args.run_dir.is_dir() { Some(RunDir::claim(&args.run_dir)?) } else { None };
    let removed = keep::uninstall(&args.bpf_dir)?;
    let dir = keep::directory(&args.bpf_dir);
    let mut text = if removed.generations == 0 {
        format!("nothing was in force from {}\n", dir.display())
    } else {
        format!("detached the sensors and {} policies, removed {}\n", removed.policies, dir.display())
    };
    let mut object = json!({
        "directory": dir.display().to_string(), "generations": removed.generations, "policies": removed.policies,
    });
    if args.policies {
        let dir = &args.persist_grpc_policies_dir;
        let gone = match fs::remove_dir_all(dir) {
            Err(error) if error.kind() == ErrorKind::NotFound => "there was no",
            other => other.map(|()| "removed").with_context(|| format!("cannot remove {}", dir.display()))?,
        };
        text.push_str(&format!("{gone} {}\n", dir.display()));
        object["kept_policies"] =
            json!({ "directory": dir.display().to_string(), "removed": gone == "removed" });
    }
    output::print_either(args.output, &text, &object)
}

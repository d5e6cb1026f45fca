//! `saker bugreport`: what is needed to understand a problem, in one archive, without secrets.

mod archive;
mod gather;
mod redact;

use std::path::PathBuf;
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result};
use clap::Args;
use saker_agent::logging::say;

use crate::client::ServerArgs;
use crate::output;

/// Arguments of `saker bugreport`.
#[derive(Args)]
#[command(after_help = "\
The archive is readable only for its owner. manifest.json in it says what was taken from where, what was cut and what could not be \
taken. Values whose names sound like secrets are replaced by [redacted], and so is what looks like one wherever it stands: private \
keys, passwords in addresses, what follows Basic and Bearer, JSON Web Tokens, and keys of AWS, GitHub, GitLab, Slack, Google, Stripe, \
npm and NATS. Environments of processes, texts of policies and events are not taken. Names of programs, files, pods and addresses are in it: look \
at it before you give it away. A part has at most 8 MB, all together 64 MB.

Exit status: 0 the archive is written, though parts may be missing; 1 it is not; 2 wrong command line")]
pub struct BugreportArgs {
    /// The archive [default: saker-bugreport-TIME.tar.gz]
    #[arg(short, long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Leave out the messages of the kernel
    #[arg(long)]
    no_dmesg: bool,
    /// Leave out the log of the agent
    #[arg(long)]
    no_log: bool,
    /// Unit of the agent, for its log
    #[arg(long, value_name = "NAME", default_value = "saker")]
    unit: String,
    /// File of the agent's log, where it does not go to the journal
    #[arg(long, value_name = "FILE")]
    log_file: Option<PathBuf>,
    /// The program bpftool
    #[arg(long, value_name = "PATH", default_value = "bpftool")]
    bpftool: PathBuf,
    #[command(flatten)]
    server: ServerArgs,
}

/// Writes the archive.
pub fn run(args: &BugreportArgs) -> Result<()> {
    let stamp = stamp();
    let name = format!("saker-bugreport-{stamp}");
    let path = args.out.clone().unwrap_or_else(|| format!("{name}.tar.gz").into());
    let mut archive = archive::Archive::create(&path, &name)?;
    gather::all(args, &mut archive).with_context(|| format!("cannot write {}", path.display()))?;
    let missing = archive.missing();
    let bytes = archive.finish().with_context(|| format!("cannot write {}", path.display()))?;
    if missing > 0 {
        say(format_args!("saker: {missing} parts could not be taken: see manifest.json in the archive"));
    }
    output::print(&format!("{} ({})\n", path.display(), crate::status::bytes(bytes)))
}

/// The time as YYYYMMDDhhmmss, UTC.
fn stamp() -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let seconds = i64::try_from(now.as_secs()).unwrap_or_default();
    let text = prost_types::Timestamp { seconds, nanos: 0 }.to_string();
    text.chars().filter(char::is_ascii_digit).take(14).collect()
}

#[cfg(test)]
mod tests;

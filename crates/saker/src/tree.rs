//! `saker tree`: processes with what they did, as a tree.

mod document;
mod forest;
mod picture;
mod show;

use anyhow::{Context, Result, bail};
use clap::{Args, ValueEnum};
use regex::Regex;
use saker_api::saker_v1::GetEventsRequest;
use saker_api::tetragon::Filter;

use crate::output::{self, Usage};
use crate::screen::ScreenArgs;
use crate::source::SourceArgs;
use forest::{Bounds, Forest, Image};
use picture::{Picture, Shown};

/// Arguments of `saker tree`.
#[derive(Args)]
#[command(after_help = "\
Without --pid, --exec-id, --binary and --policy all processes are shown; with them those that fit one of them, what came \
from these, and the way from the top to them. Times are UTC. Like acts of a process are told once, with how often. What \
goes beyond --max-memory or --max-events is counted, and told below the tree. A tree deeper than 48 levels goes on at the top.

Exit status: 0 the tree is shown; 1 something could not be read, or was no event; 2 wrong command line; 3 no process fits")]
pub struct TreeArgs {
    #[command(flatten)]
    source: SourceArgs,
    /// Processes of these PIDs
    #[arg(long, value_delimiter = ',')]
    pid: Vec<u32>,
    /// Processes of these identities
    #[arg(long, value_delimiter = ',', value_name = "ID")]
    exec_id: Vec<String>,
    /// Processes that executed a program whose path matches one of these regular expressions (repeatable)
    #[arg(long, value_name = "REGEX")]
    binary: Vec<String>,
    /// Processes of which one of these policies told something
    #[arg(long, value_delimiter = ',', value_name = "NAME")]
    policy: Vec<String>,
    /// Form of the output
    #[arg(short, long, value_enum, default_value_t = Form::Tree)]
    output: Form,
    /// Only counts: by program and altogether
    #[arg(long, conflicts_with = "ascii")]
    summary: bool,
    /// Draw with plain characters
    #[arg(long)]
    ascii: bool,
    /// Memory for processes and what they did, about, in MB
    #[arg(long, value_name = "MB", default_value_t = 256, value_parser = clap::value_parser!(u32).range(1..=65536))]
    max_memory: u32,
    /// Different acts that are kept of a process between two execs
    #[arg(long, value_name = "NUMBER", default_value_t = 100)]
    max_events: u32,
    #[command(flatten)]
    screen: ScreenArgs,
}

/// Form of the tree.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Form {
    /// For people.
    #[value(alias = "text")]
    Tree,
    /// One JSON object.
    Json,
    /// A graph for Graphviz.
    Dot,
}

/// Exit status that says that no process fits.
const NONE: u8 = 3;

/// Reads events and draws their tree.
pub fn run(args: &TreeArgs) -> Result<()> {
    let wanted = wanted(args).map_err(Usage::of)?;
    if args.summary && args.output == Form::Dot {
        return Err(Usage::of(anyhow::anyhow!("--summary is no graph: give it -o tree or json")));
    }
    let bytes = usize::try_from(args.max_memory)?.saturating_mul(1_000_000);
    let mut forest = Forest::new(Bounds { bytes, acts: usize::try_from(args.max_events)? });
    let taken = args.source.each(request(args), &mut |event| forest.add(event))?;
    let picture = Picture::new(forest, &wanted);
    match args.output {
        Form::Json => output::print(&document::json(&picture, args.summary))?,
        Form::Dot => output::print(&document::dot(&picture))?,
        Form::Tree if args.summary => args.screen.show(&show::summary(&picture, true))?,
        Form::Tree => {
            let tree = show::tree(&picture, args.screen.screen(), args.ascii);
            let gap = if tree.is_empty() { "" } else { "\n" };
            args.screen.show(&format!("{tree}{gap}{}", show::summary(&picture, false)))?;
        }
    }
    taken.check()?;
    if picture.nodes.iter().all(|node| node.shown == Shown::No) {
        return Err(output::Ended(NONE).into());
    }
    Ok(())
}

/// What the agent is asked for: with PIDs only these and what comes from them. The rest is chosen here, for who is
/// wanted is known only when it is seen.
fn request(args: &TreeArgs) -> GetEventsRequest {
    let only_pids = args.exec_id.is_empty() && args.binary.is_empty() && args.policy.is_empty();
    let mut request = GetEventsRequest::default();
    if only_pids && !args.pid.is_empty() {
        request.allow_list.push(Filter { pid_set: args.pid.clone(), ..Filter::default() });
    }
    request
}

/// Which processes are wanted.
fn wanted(args: &TreeArgs) -> Result<impl Fn(&Image) -> bool + use<>> {
    let binary: Vec<Regex> = args
        .binary
        .iter()
        .map(|text| Regex::new(text).with_context(|| format!("--binary `{text}` is no regular expression")))
        .collect::<Result<_>>()?;
    if args.exec_id.iter().any(String::is_empty) {
        bail!("--exec-id: an identity is empty");
    }
    let (pids, ids, policies) = (args.pid.clone(), args.exec_id.clone(), args.policy.clone());
    let all = pids.is_empty() && ids.is_empty() && binary.is_empty() && policies.is_empty();
    Ok(move |image: &Image| {
        all || pids.contains(&image.pid)
            || ids.iter().any(|id| **id == *image.exec_id)
            || binary.iter().any(|regex| regex.is_match(&image.binary))
            || image.acts.iter().any(|done| policies.contains(&done.act.policy))
    })
}

#[cfg(test)]
mod tests;

//! `saker events`.

mod lines;
mod live;
mod request;

use std::io::{self, Write};
use std::path::PathBuf;

use anyhow::Result;
use clap::{ArgAction, Args};
use saker_api::compact::Compact;
use saker_api::json;
use saker_api::saker_v1::Event;

use crate::client::ServerArgs;
use crate::output::{Form, Usage, When};
use request::Times;

/// Bytes that are written at once when events come in plenty.
const CHUNK: usize = 16 * 1024;

/// Arguments of `saker events`.
#[derive(Args)]
pub struct EventsArgs {
    /// File of JSON lines to read instead of connecting; `-` is standard input. Without it a pipe or a file on
    /// standard input is read, unless --server-address is given
    pub file: Option<PathBuf>,
    #[command(flatten)]
    pub server: ServerArgs,
    /// Form of the events
    #[arg(short, long, value_enum, default_value_t = Form::Compact)]
    pub output: Form,
    /// Colours of compact lines; auto: when standard output is a terminal and NO_COLOR is not set
    #[arg(long, value_enum, default_value_t = When::Auto)]
    pub color: When,
    /// Begin compact lines with the time of the event
    #[arg(long)]
    pub timestamps: bool,
    /// The callers that events tell, below their compact lines
    #[arg(long, value_name = "BOOL", default_value_t = true, action = ArgAction::Set, num_args = 0..=1,
          default_missing_value = "true", require_equals = true)]
    pub stack_traces: bool,
    /// Only these types, e.g. PROCESS_EXEC; also exec, exit, kprobe, tracepoint, loader, uprobe, usdt, lsm
    #[arg(short, long, value_delimiter = ',', value_name = "TYPE")]
    pub event_types: Vec<String>,
    /// Only these PIDs
    #[arg(long, value_delimiter = ',')]
    pub pid: Vec<u32>,
    /// Only these PIDs and their descendants
    #[arg(long, value_delimiter = ',')]
    pub pid_set: Vec<u32>,
    /// Only processes whose binary matches one of these regular expressions
    #[arg(long, action = ArgAction::Append, value_name = "REGEX")]
    pub process: Vec<String>,
    /// Only processes whose parent's binary matches one of these regular expressions
    #[arg(long, action = ArgAction::Append, value_name = "REGEX")]
    pub parent: Vec<String>,
    /// Only processes whose arguments match one of these regular expressions
    #[arg(long, action = ArgAction::Append, value_name = "REGEX")]
    pub arguments: Vec<String>,
    /// Only processes whose parent's arguments match one of these regular expressions
    #[arg(long, action = ArgAction::Append, value_name = "REGEX")]
    pub parent_arguments: Vec<String>,
    /// Only processes that descend, over one that is not their parent, from a binary that matches one of these regular
    /// expressions; needs --enable-ancestors of the agent
    #[arg(long, action = ArgAction::Append, value_name = "REGEX")]
    pub ancestor: Vec<String>,
    /// Only events of these policies
    #[arg(long, value_delimiter = ',', value_name = "NAME")]
    pub policy_names: Vec<String>,
    /// Only processes in pods of these namespaces
    #[arg(long, alias = "namespaces", value_delimiter = ',', value_name = "NAME")]
    pub namespace: Vec<String>,
    /// Only processes in pods whose namespace matches one of these regular expressions
    #[arg(long, action = ArgAction::Append, value_name = "REGEX")]
    pub namespace_regex: Vec<String>,
    /// Only processes outside of pods; with --namespace also those
    #[arg(long)]
    pub host: bool,
    /// Only processes in pods whose name matches one of these regular expressions
    #[arg(long, alias = "pods", action = ArgAction::Append, value_name = "REGEX")]
    pub pod: Vec<String>,
    /// Only processes in pods with such labels, e.g. `app=web,tier in (front, back)`; given more than once: any of them
    #[arg(long, action = ArgAction::Append, value_name = "SELECTOR")]
    pub label: Vec<String>,
    /// Only processes in containers whose name matches one of these regular expressions
    #[arg(long, alias = "containers", action = ArgAction::Append, value_name = "REGEX")]
    pub container: Vec<String>,
    /// Only processes in containers whose id matches one of these regular expressions
    #[arg(long, action = ArgAction::Append, value_name = "REGEX")]
    pub container_id: Vec<String>,
    /// Only processes that may be (true) or are not (false) health probes of a container
    #[arg(long, value_name = "BOOL")]
    pub health_check: Option<bool>,
    /// Only processes that descend (true) or do not descend (false) from the first process of their container
    #[arg(long, value_name = "BOOL")]
    pub in_init_tree: Option<bool>,
    /// Only events of which one of these expressions (CEL) is true, e.g. `process_exec.process.uid == 0u`
    #[arg(long, action = ArgAction::Append, value_name = "EXPRESSION")]
    pub cel_expression: Vec<String>,
    /// Only events that match one of these filters, JSON objects as --export-allowlist of the agent has them
    #[arg(long, value_name = "JSON", default_value = "", hide_default_value = true)]
    pub allow_list: String,
    /// No events that match one of these filters
    #[arg(long, value_name = "JSON", default_value = "", hide_default_value = true)]
    pub deny_list: String,
    /// Of a file, only events from this time on: a time such as 2026-05-04T12:00:00Z, or how long ago, such as 1h30m
    #[arg(long, value_name = "TIME")]
    pub since: Option<String>,
    /// Of a file, only events up to this time
    #[arg(long, value_name = "TIME")]
    pub until: Option<String>,
    /// Have the agent fold equal events of policies into one with their number; they come when this time is over
    #[arg(long, value_name = "DURATION")]
    pub aggregate: Option<String>,
    /// Events that the agent sends in a minute at most; how many it held back is told once a minute
    #[arg(long, value_name = "NUMBER")]
    pub rate_limit: Option<u32>,
    /// Only these fields, as paths below the event, e.g. process.binary
    #[arg(short = 'f', long, value_delimiter = ',', value_name = "FIELD")]
    pub include_fields: Vec<String>,
    /// Without these fields
    #[arg(short = 'F', long, value_delimiter = ',', value_name = "FIELD")]
    pub exclude_fields: Vec<String>,
    /// End after this many events
    #[arg(short = 'n', long, value_name = "NUMBER", value_parser = clap::value_parser!(u64).range(1..))]
    pub count: Option<u64>,
    /// Wait for more at the end of a file; a live stream goes on in any case
    #[arg(long)]
    pub follow: bool,
    /// Connect again when the agent ends
    #[arg(long)]
    pub reconnect: bool,
    /// Seconds between two attempts
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u64).range(1..))]
    pub reconnect_wait: u64,
}

/// Shows events.
pub fn run(args: &EventsArgs) -> Result<()> {
    let request = request::request(args).map_err(Usage::of)?;
    let times = Times::of(args).map_err(Usage::of)?;
    let mut printer = Printer::new(args);
    match lines::input(args)? {
        Some(input) => {
            if args.aggregate.is_some() || args.rate_limit.is_some() {
                let what = "--aggregate and --rate-limit are done by an agent; a file is read as it is";
                return Err(Usage::of(anyhow::anyhow!(what)));
            }
            lines::run(args, input, (&request, times), &mut printer)
        }
        None if !times.is_open() => {
            let what = "--since and --until are for files: an agent tells only what happens from now on";
            Err(Usage::of(anyhow::anyhow!(what)))
        }
        None => live::run(args, &request, &mut printer),
    }
}

/// Writes events and counts them.
struct Printer {
    form: Form,
    compact: Compact,
    /// The head of the table is there.
    headed: bool,
    left: Option<u64>,
    text: String,
    out: io::Stdout,
}

impl Printer {
    fn new(args: &EventsArgs) -> Self {
        Self {
            form: args.output,
            compact: args.color.compact(args.timestamps, args.stack_traces),
            headed: false,
            left: args.count,
            text: String::with_capacity(2 * CHUNK),
            out: io::stdout(),
        }
    }

    /// Takes an event; `false`: it was the last one wanted.
    fn print(&mut self, event: &Event) -> Result<bool> {
        match self.form {
            Form::Json => {
                self.text.push_str(&json::message_line(event));
                self.text.push('\n');
            }
            Form::Compact => self.compact.write_message(event, &mut self.text),
            Form::Table => {
                if !std::mem::replace(&mut self.headed, true) {
                    self.text.push_str(&Compact::table_header());
                }
                self.compact.write_row(event, &mut self.text);
            }
        }
        if self.text.len() >= CHUNK {
            self.flush()?;
        }
        if let Some(left) = &mut self.left {
            *left -= 1;
            if *left == 0 {
                self.flush()?;
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Nothing more is there for the moment.
    fn flush(&mut self) -> Result<()> {
        if !self.text.is_empty() {
            self.out.write_all(self.text.as_bytes())?;
            self.out.flush()?;
            self.text.clear();
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;

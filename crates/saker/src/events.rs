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
    /// Only events of these policies
    #[arg(long, value_delimiter = ',', value_name = "NAME")]
    pub policy_names: Vec<String>,
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
    let mut printer = Printer::new(args);
    match lines::input(args)? {
        Some(input) => lines::run(args, input, &request, &mut printer),
        None => live::run(args, &request, &mut printer),
    }
}

/// Writes events and counts them.
struct Printer {
    form: Form,
    compact: Compact,
    left: Option<u64>,
    text: String,
    out: io::Stdout,
}

impl Printer {
    fn new(args: &EventsArgs) -> Self {
        Self {
            form: args.output,
            compact: args.color.compact(args.timestamps, args.stack_traces),
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

//! `saker stacktrace-tree`: stacks of events folded into a tree, with how often each was seen.

use std::collections::HashMap;
use std::fmt::Write;

use anyhow::Result;
use clap::{Args, ValueEnum};
use saker_api::compact::quoted;
use saker_api::saker_v1::Event;
use saker_api::saker_v1::GetEventsRequest;
use saker_api::tetragon::{Filter, StackTraceEntry};
use serde_json::{Value, json};

use crate::acts;
use crate::output::{self, Ended};
use crate::screen::{ScreenArgs, Style};
use crate::source::SourceArgs;

/// Different stacks and different frames that are kept; events of further ones are counted.
const STACKS: usize = 100_000;
const FRAMES: usize = 200_000;
/// Frames of a stack beyond which the outermost are left out.
const DEPTH: usize = 256;
/// Longest name of a frame, in characters.
const NAME: usize = 300;

/// Arguments of `saker stacktrace-tree`.
#[derive(Args)]
#[command(after_help = "\
Stacks come from policies that ask for them (kernelStackTrace and userStackTrace of the action Post). The tree begins with the \
program and goes from the outermost caller to the hooked function. At most 100,000 different stacks are kept.

Exit status: 0 it is shown; 1 something could not be read, or was no event; 2 wrong command line; 3 no event has a stack")]
pub struct StacktraceTreeArgs {
    #[command(flatten)]
    source: SourceArgs,
    /// Only events of these policies
    #[arg(long, value_delimiter = ',', value_name = "NAME")]
    policy_names: Vec<String>,
    /// Which callers
    #[arg(long, value_enum, default_value_t = Callers::All)]
    callers: Callers,
    /// Leave out branches below this share of all events, in percent
    #[arg(long, value_name = "PERCENT", default_value_t = 0, value_parser = clap::value_parser!(u8).range(..=100))]
    least: u8,
    /// Form of the output
    #[arg(short, long, value_enum, default_value_t = Form::Tree)]
    output: Form,
    #[command(flatten)]
    screen: ScreenArgs,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Callers {
    /// In the kernel and in the program
    All,
    /// In the kernel
    Kernel,
    /// In the program
    User,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Form {
    /// For people
    #[value(alias = "text")]
    Tree,
    /// A stack in a line, as programs that draw flame graphs read it
    Folded,
    /// One JSON object
    Json,
}

/// A stack and how often it was seen.
type Counted<'a> = (&'a [u32], u64);

/// Exit status that says that no event has a stack.
const NONE: u8 = 3;

/// Reads events and shows their stacks.
pub fn run(args: &StacktraceTreeArgs) -> Result<()> {
    let mut request = GetEventsRequest::default();
    if !args.policy_names.is_empty() {
        let filter = Filter { policy_names: args.policy_names.clone(), ..Filter::default() };
        request.allow_list.push(filter);
    }
    let mut stacks = Stacks::default();
    let taken = args.source.each(request, &mut |event| stacks.add(event, args))?;
    let all = stacks.sorted();
    match args.output {
        Form::Json => output::print(&format!("{}\n", stacks.json(&all)))?,
        Form::Folded => output::print(&stacks.folded(&all))?,
        Form::Tree => args.screen.show(&stacks.tree(&all, args))?,
    }
    taken.check()?;
    if stacks.events == 0 { Err(Ended(NONE).into()) } else { Ok(()) }
}

/// Stacks with how often each was seen.
#[derive(Default)]
struct Stacks {
    names: Vec<String>,
    numbers: HashMap<String, u32>,
    counts: HashMap<Vec<u32>, u64>,
    /// Events with a stack, and of these those there was no room for.
    events: u64,
    unkept: u64,
    /// Events in which a stack that was asked for had no room.
    missing: u64,
}

impl Stacks {
    fn add(&mut self, event: &Event, args: &StacktraceTreeArgs) {
        let Some(subject) = event.event.as_ref().and_then(acts::subject) else { return };
        if !args.policy_names.is_empty() && !args.policy_names.iter().any(|name| name == subject.policy) {
            return;
        }
        self.missing += u64::from(event.hook.as_ref().is_some_and(|hook| !hook.stack_missing.is_empty()));
        let (kernel, user) = acts::stacks(event);
        let kernel = if args.callers == Callers::User { &[] } else { kernel };
        let user = if args.callers == Callers::Kernel { &[] } else { user };
        if kernel.is_empty() && user.is_empty() {
            return;
        }
        self.events += 1;
        let binary = subject.process.map_or("?", |process| process.binary.as_str());
        // The innermost first, as they come; those in the kernel are further in.
        let frames = kernel.iter().map(in_kernel).chain(user.iter().map(in_program)).take(DEPTH);
        let mut names: Vec<String> = frames.collect();
        names.push(name(binary));
        let stack: Option<Vec<u32>> = names.into_iter().rev().map(|name| self.number(name)).collect();
        match stack {
            Some(stack) if self.counts.len() < STACKS || self.counts.contains_key(&stack) => {
                *self.counts.entry(stack).or_default() += 1;
            }
            _ => self.unkept += 1,
        }
    }

    fn number(&mut self, name: String) -> Option<u32> {
        if let Some(&number) = self.numbers.get(&name) {
            return Some(number);
        }
        if self.names.len() >= FRAMES {
            return None;
        }
        let number = u32::try_from(self.names.len()).ok()?;
        self.names.push(name.clone());
        self.numbers.insert(name, number);
        Some(number)
    }

    fn name(&self, number: u32) -> &str {
        self.names.get(number as usize).map_or("?", String::as_str)
    }

    /// All stacks in the order of their names, so that those that begin alike stand together.
    fn sorted(&self) -> Vec<Counted<'_>> {
        let mut all: Vec<_> = self.counts.iter().map(|(stack, &count)| (stack.as_slice(), count)).collect();
        all.sort_by(|(one, _), (other, _)| {
            one.iter().map(|&n| self.name(n)).cmp(other.iter().map(|&n| self.name(n)))
        });
        all
    }

    fn json(&self, all: &[Counted<'_>]) -> Value {
        let stack = |(stack, count): &Counted<'_>| {
            let frames: Vec<&str> = stack.iter().map(|&number| self.name(number)).collect();
            json!({ "frames": frames, "count": count })
        };
        json!({
            "stacks": all.iter().map(stack).collect::<Vec<_>>(),
            "events": self.events,
            "events_not_kept": self.unkept,
            "events_with_missing_stack": self.missing,
        })
    }

    fn folded(&self, all: &[Counted<'_>]) -> String {
        let mut text = String::new();
        for (stack, count) in all {
            let frames: Vec<String> =
                stack.iter().map(|&number| self.name(number).replace(';', ":")).collect();
            // Writing to a string cannot fail.
            let _ = writeln!(text, "{} {count}", frames.join(";"));
        }
        text
    }

    fn tree(&self, all: &[Counted<'_>], args: &StacktraceTreeArgs) -> String {
        let screen = args.screen.screen();
        let mut text = String::new();
        let total: u64 = all.iter().map(|(_, count)| count).sum();
        // Ranges of stacks that have the frames so far in common, the next to be shown at the end.
        let mut ranges = groups(all, 0);
        ranges.reverse();
        let mut left: Vec<(usize, &[Counted<'_>])> = ranges.into_iter().map(|range| (0, range)).collect();
        while let Some((depth, range)) = left.pop() {
            let count: u64 = range.iter().map(|(_, count)| count).sum();
            let percent = count as f64 * 100.0 / total.max(1) as f64;
            let Some(frame) = range.first().and_then(|(stack, _)| stack.get(depth)) else { continue };
            if percent < f64::from(args.least) {
                continue;
            }
            let mut line = screen.line();
            line.add(Some(Style::Dim), &format!("{count:>8} {percent:>5.1} % {}", "  ".repeat(depth)));
            let style = if depth == 0 { Style::Binary } else { Style::Act };
            line.add(Some(style), self.name(*frame));
            text.push_str(&line.end());
            let deeper = range.split_at(range.partition_point(|(stack, _)| stack.len() <= depth + 1)).1;
            let mut below = groups(deeper, depth + 1);
            below.sort_by_key(|range| range.iter().map(|(_, count)| count).sum::<u64>());
            left.extend(below.into_iter().map(|range| (depth + 1, range)));
        }
        let _ = writeln!(text, "\n{} events with a stack, {} different stacks", self.events, all.len());
        if self.unkept > 0 {
            let _ = writeln!(
                text,
                "! {} events are not in the tree: there are too many different stacks",
                self.unkept
            );
        }
        if self.missing > 0 {
            let _ = writeln!(
                text,
                "! of {} events a stack is missing: the record had no room for it",
                self.missing
            );
        }
        text
    }
}

/// Stacks, which are sorted, by their frame at a depth.
fn groups<'a, 'b>(all: &'a [Counted<'b>], depth: usize) -> Vec<&'a [Counted<'b>]> {
    all.chunk_by(|(one, _), (other, _)| one.get(depth) == other.get(depth)).collect()
}

fn in_kernel(frame: &StackTraceEntry) -> String {
    name(if frame.symbol.is_empty() { "[kernel]" } else { &frame.symbol })
}

fn in_program(frame: &StackTraceEntry) -> String {
    let StackTraceEntry { symbol, module, offset, .. } = frame;
    let file = module.rsplit('/').next().unwrap_or_default();
    match (symbol.as_str(), file) {
        ("", "") => "[unknown]".to_owned(),
        ("", file) => name(&format!("{file}+{offset:#x}")),
        (symbol, "") => name(symbol),
        (symbol, file) => name(&format!("{symbol} ({file})")),
    }
}

/// A name that commands no terminal, at its bound.
fn name(text: &str) -> String {
    let words: Vec<String> = text.split(' ').map(|word| quoted(word).into_owned()).collect();
    words.join(" ").chars().take(NAME).collect()
}

#[cfg(test)]
mod tests {
    use clap::Parser;
    use saker_api::json::parse_line;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        args: StacktraceTreeArgs,
    }

    fn args(line: &[&str]) -> StacktraceTreeArgs {
        Line::try_parse_from([&["stacktrace-tree", "--width", "0"], line].concat()).unwrap().args
    }

    fn gathered(args: &StacktraceTreeArgs) -> Stacks {
        let line = |inner: &str, policy: &str| {
            format!(
                r#"{{"process_kprobe":{{"process":{{"pid":1,"binary":"/bin/x"}},"policy_name":"{policy}",
                   "kernel_stack_trace":[{{"symbol":"{inner}"}},{{"symbol":"do_sys;call"}}],
                   "user_stack_trace":[{{"module":"/lib/libc.so","offset":"16"}},{{"symbol":"main","module":"/bin/x"}}]}}}}"#
            )
        };
        let mut stacks = Stacks::default();
        for (inner, policy, count) in [("open", "p", 3), ("read", "p", 1), ("write", "other", 1)] {
            for _ in 0..count {
                stacks.add(&parse_line(&line(inner, policy)).unwrap(), args);
            }
        }
        stacks.add(&parse_line(r#"{"process_exec":{"process":{"pid":1}}}"#).unwrap(), args);
        stacks
    }

    #[test]
    fn stacks_are_folded_from_the_outermost_caller() {
        let args = args(&["--policy-names", "p"]);
        let stacks = gathered(&args);
        let all = stacks.sorted();
        assert_eq!(
            stacks.folded(&all),
            "/bin/x;main (x);libc.so+0x10;do_sys:call;open 3\n/bin/x;main (x);libc.so+0x10;do_sys:call;read 1\n"
        );
        let tree = stacks.tree(&all, &args);
        let lines: Vec<&str> = tree.lines().collect();
        assert_eq!(lines[0], "       4 100.0 % /bin/x");
        assert_eq!(lines[4], "       3  75.0 %         open");
        assert_eq!(lines[5], "       1  25.0 %         read");
        assert!(tree.ends_with("\n4 events with a stack, 2 different stacks\n"), "{tree}");
        assert_eq!(stacks.json(&all)["stacks"][0]["count"], 3);
    }

    #[test]
    fn one_side_and_great_shares_can_be_chosen() {
        let args = args(&["--callers", "kernel", "--least", "30"]);
        let stacks = gathered(&args);
        let all = stacks.sorted();
        let tree = stacks.tree(&all, &args);
        assert!(tree.contains("open") && !tree.contains("read") && !tree.contains("main"), "{tree}");
        assert_eq!(all.len(), 3);
    }
}

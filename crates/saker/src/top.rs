//! `saker top`: what happens on the machine and what policies cost, interval by interval.

mod show;
mod tally;
mod terminal;

use std::collections::HashMap;
use std::io::{self, IsTerminal};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use clap::{Args, ValueEnum};
use saker_agent::logging::say;
use saker_api::saker_v1::GetEventsRequest;
use saker_api::saker_v1::saker_service_client::SakerServiceClient;
use saker_api::saker_v1::{Event, GetStatusRequest, ListPoliciesRequest, Resources};
use saker_api::tetragon::{EventType, Filter};
use saker_probes::statistics::Statistics;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tonic::Streaming;
use tonic::transport::Channel;

use crate::client::{self, MAX_MESSAGE, ServerArgs, refused};
use crate::output::{self, Data, Usage};
use show::View;
use tally::{Interval, Sums, Tally};
use terminal::Fullscreen;

/// The shortest and the longest interval.
const SHORTEST: Duration = Duration::from_millis(100);
const LONGEST: Duration = Duration::from_secs(3600);
/// Lines of a screen that are not rows of the tables: titles, blank lines and the head.
const OVERHEAD: usize = 12;
/// SIGTSTP: the key that stops programs was pressed.
const STOP_KEY: i32 = rustix::process::Signal::TSTP.as_raw();

/// Arguments of `saker top`.
#[derive(Args)]
#[command(after_help = "\
Files and connections are those that policies tell. What policies take of the CPU the kernel counts only while it is asked \
to, which this does if it may (root); --no-statistics leaves it out, for it costs a few nanoseconds for each run of any BPF \
program. The agent sends only what is shown: with --show policies no events at all.

On a terminal q ends it.

Exit status: 0 it was ended by --once, --count, q or an interrupt; 1 the agent cannot be reached or ended; 2 wrong command line")]
pub struct TopArgs {
    /// Time of an interval, such as 500ms or 5s
    #[arg(long, value_name = "TIME", default_value = "2s", value_parser = saker_agent::config::duration)]
    interval: Duration,
    /// Show one interval and end
    #[arg(long, conflicts_with = "count")]
    once: bool,
    /// End after so many intervals
    #[arg(short, long, value_name = "NUMBER", value_parser = clap::value_parser!(u64).range(1..))]
    count: Option<u64>,
    /// Rows of each table
    #[arg(short = 'n', long, value_name = "NUMBER", default_value_t = 10, value_parser = clap::value_parser!(u16).range(1..))]
    rows: u16,
    /// What is shown
    #[arg(long, value_enum, value_delimiter = ',', value_name = "LIST",
          default_values_t = [Section::Processes, Section::Files, Section::Connections, Section::Policies])]
    show: Vec<Section>,
    /// Order of the rows; policies are ordered by what they take of the CPU, or by name
    #[arg(long, value_enum, default_value_t = Sort::Events)]
    sort: Sort,
    /// A row for each process, not for each program
    #[arg(long)]
    by_pid: bool,
    /// Only events of these policies, and only these policies
    #[arg(long, value_delimiter = ',', value_name = "NAME")]
    policy_names: Vec<String>,
    /// Do not have the kernel count what BPF programs take
    #[arg(long)]
    no_statistics: bool,
    /// Form of the output; json is an object in a line for each interval
    #[arg(short, long, value_enum, default_value_t = Data::Table)]
    output: Data,
    #[command(flatten)]
    server: ServerArgs,
}

/// A table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Section {
    /// Programs or processes by their events
    Processes,
    /// Files by events of policies
    Files,
    /// Other ends of connections by events of policies
    Connections,
    /// Policies by what they take, see and do
    Policies,
}

/// The order of rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Sort {
    Events,
    Execs,
    Files,
    Connections,
    Calls,
    Name,
}

/// Shows intervals until it is ended.
pub fn run(args: &TopArgs) -> Result<()> {
    if !(SHORTEST..=LONGEST).contains(&args.interval) {
        return Err(Usage::of(anyhow::anyhow!("--interval: choose 100ms to 1h")));
    }
    let statistics = (!args.no_statistics && args.show.contains(&Section::Policies))
        .then(Statistics::switch_on)
        .transpose()
        .inspect_err(|error| {
            say(format_args!("saker: what policies take of the CPU is not known: {error}; run this as root"));
        })
        .ok()
        .flatten();
    client::runtime()?.block_on(watch(args, statistics.is_some()))
}

/// What is asked of the agent. Whole events: leaving fields out of them costs it more than sending them.
fn request(args: &TopArgs) -> GetEventsRequest {
    let mut request = GetEventsRequest::default();
    let targets = args.show.iter().any(|section| matches!(section, Section::Files | Section::Connections));
    if !args.policy_names.is_empty() {
        let filter = Filter { policy_names: args.policy_names.clone(), ..Filter::default() };
        request.allow_list.push(filter);
    } else if !targets && matches!(args.sort, Sort::Execs) {
        let event_set = vec![EventType::ProcessExec.into(), EventType::ProcessExit.into()];
        request.allow_list.push(Filter { event_set, ..Filter::default() });
    }
    request
}

async fn watch(args: &TopArgs, timed: bool) -> Result<()> {
    let channel = args.server.connect().await?;
    let mut stream = match args.show.iter().all(|section| *section == Section::Policies) {
        true => None,
        false => {
            let mut client = SakerServiceClient::new(channel.clone()).max_decoding_message_size(MAX_MESSAGE);
            let answer = client.get_events(request(args)).await;
            Some(answer.map_err(|status| refused(&status))?.into_inner())
        }
    };
    let mut asked = Asked::new(channel, args).await?;
    let wait_for = |kind| signal(kind).context("cannot wait for signals");
    let mut ended = wait_for(SignalKind::terminate())?;
    let mut hung_up = wait_for(SignalKind::hangup())?;
    let left = if args.once { Some(1) } else { args.count };
    let screen =
        (!args.once && args.output == Data::Table && io::stdout().is_terminal()).then(Fullscreen::begin);
    let screen = screen.transpose()?;
    // Without a screen it stops as anything does.
    let mut paused = screen.as_ref().map(|_| wait_for(SignalKind::from_raw(STOP_KEY))).transpose()?;
    // One for all intervals: events must not keep it from looking.
    let pressed = key(screen.as_ref());
    tokio::pin!(pressed);
    let mut number = 0;
    while left.is_none_or(|left| number < left) {
        let begin = Instant::now();
        let mut tally = Tally::default();
        let time = tokio::time::sleep(args.interval);
        tokio::pin!(time);
        loop {
            tokio::select! {
                () = &mut time => break,
                interrupted = tokio::signal::ctrl_c() => return interrupted.context("cannot wait for signals"),
                _ = ended.recv() => return Ok(()),
                _ = hung_up.recv() => return Ok(()),
                pressed = &mut pressed => return pressed,
                () = received(paused.as_mut()) => screen.as_ref().map_or(Ok(()), Fullscreen::pause)?,
                event = next(&mut stream) => match event.map_err(|status| refused(&status))? {
                    Some(event) => tally.add(&event, args.by_pid),
                    None => bail!("the agent ended"),
                },
            }
        }
        let interval = asked.interval(args, begin.elapsed(), tally).await?;
        let view = View::new(&interval, args, timed);
        match (args.output, &screen) {
            (Data::Json, _) => output::print(&format!("{}\n", view.json(args.rows.into())))?,
            (Data::Table, Some(screen)) => {
                let tables = args.show.len().max(1);
                let room = usize::max(Fullscreen::size().1, OVERHEAD + tables) - OVERHEAD;
                screen.draw(&view.text((room / tables).clamp(1, args.rows.into())))?;
            }
            (Data::Table, None) => {
                let gap = if number > 0 { "\n" } else { "" };
                output::print(&format!("{gap}{}", view.text(args.rows.into())))?;
            }
        }
        number += 1;
    }
    Ok(())
}

/// Waits for the key that ends it; for ever where there are no keys.
async fn key(screen: Option<&Fullscreen>) -> Result<()> {
    match screen {
        Some(screen) => screen.ended().await,
        None => std::future::pending().await,
    }
}

async fn received(signal: Option<&mut Signal>) {
    match signal {
        Some(signal) => {
            signal.recv().await;
        }
        None => std::future::pending().await,
    }
}

async fn next(stream: &mut Option<Streaming<Event>>) -> Result<Option<Event>, tonic::Status> {
    match stream {
        Some(stream) => stream.message().await,
        None => std::future::pending().await,
    }
}

/// What the agent told when it was asked last.
struct Asked {
    client: SakerServiceClient<Channel>,
    policies: HashMap<u32, (String, Sums)>,
    resources: Option<Resources>,
}

impl Asked {
    async fn new(channel: Channel, args: &TopArgs) -> Result<Self> {
        let client = SakerServiceClient::new(channel).max_decoding_message_size(MAX_MESSAGE);
        let mut asked = Self { client, policies: HashMap::new(), resources: None };
        asked.interval(args, Duration::ZERO, Tally::default()).await?;
        Ok(asked)
    }

    /// Asks, and says what has changed.
    async fn interval(&mut self, args: &TopArgs, time: Duration, tally: Tally) -> Result<Interval> {
        let status = self.client.get_status(GetStatusRequest {}).await;
        let resources = status.map_err(|status| refused(&status))?.into_inner().resources;
        let list = self.client.list_policies(ListPoliciesRequest::default()).await;
        let now = tally::sums(&list.map_err(|status| refused(&status))?.into_inner());
        let wanted = |name: &str| {
            let bare = name.rsplit('/').next().unwrap_or(name);
            args.policy_names.is_empty() || args.policy_names.iter().any(|wanted| wanted == bare)
        };
        let since = |(id, (name, sums)): (&u32, &(String, Sums))| {
            let before = self.policies.get(id).map(|(_, sums)| *sums).unwrap_or_default();
            (name.clone(), sums.since(before))
        };
        let policies = now.iter().filter(|(_, (name, _))| wanted(name)).map(since).collect();
        let agent_cpu = tally::load(self.resources.as_ref(), resources.as_ref(), time);
        let agent_memory = resources.as_ref().map_or(0, |resources| resources.memory_rss_bytes);
        (self.policies, self.resources) = (now, resources);
        Ok(Interval { time, tally, policies, agent_cpu, agent_memory })
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;
    use saker_api::json::parse_line;
    use saker_api::saker_v1::{HookCounters, ListPoliciesResponse, Policy, PolicyHook};

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        args: TopArgs,
    }

    fn args(line: &[&str]) -> TopArgs {
        Line::try_parse_from([&["top"], line].concat()).unwrap().args
    }

    fn tally(lines: &[&str], by_pid: bool) -> Tally {
        let mut tally = Tally::default();
        lines.iter().for_each(|line| tally.add(&parse_line(line).unwrap(), by_pid));
        tally
    }

    const OPEN: &str = r#"{"process_kprobe":{"process":{"pid":7,"binary":"/bin/cat"},"function_name":"fd_install",
        "args":[{"int_arg":3},{"file_arg":{"path":"/etc/\u001bhosts"}}]}}"#;
    const EXEC: &str = r#"{"process_exec":{"process":{"pid":8,"binary":"/bin/cat"}}}"#;
    const GAP: &str = r#"{"gap":{"lost":"5"}}"#;

    fn counted(calls: u64, runs: u64, run_time_ns: u64) -> ListPoliciesResponse {
        let counters = HookCounters { calls, runs, run_time_ns, ..HookCounters::default() };
        let hook = PolicyHook { counters: Some(counters), ..PolicyHook::default() };
        let policy = Policy { id: 1, name: "files".into(), hooks: vec![hook], ..Policy::default() };
        ListPoliciesResponse { policies: vec![policy] }
    }

    #[test]
    fn rates_and_costs_are_those_of_the_interval() {
        let before = tally::sums(&counted(100, 100, 50_000))[&1].1;
        let now = tally::sums(&counted(300, 300, 10_050_000))[&1].1;
        let interval = Interval {
            time: Duration::from_secs(2),
            tally: tally(&[OPEN, OPEN, EXEC, GAP], false),
            policies: vec![("files".into(), now.since(before))],
            agent_cpu: Some(0.25),
            agent_memory: 1 << 20,
        };
        let args = args(&[]);
        let text = View::new(&interval, &args, true).text(10);
        let row = |name: &str| {
            let line =
                text.lines().find(|line| line.ends_with(name)).unwrap_or_else(|| panic!("{name} in {text}"));
            line.split_whitespace().collect::<Vec<_>>()
        };
        assert_eq!(row("/bin/cat")[..6], ["1.5", "0.5", "0.0", "1.0", "0.0", "0.0"]);
        assert_eq!(row("\"/etc/\\x1bhosts\"")[0], "1.0");
        // 10 ms in two seconds are half a percent; 200 runs of 50 us.
        assert_eq!(row("files")[..8], ["100.0", "0.0", "0.0", "0.0", "0.0", "0.0", "0.500", "50000"]);
        assert!(text.contains("! 5 records or events were lost") && text.contains("agent: 25.0 %"), "{text}");
        assert!(text.ends_with("\n\nno connections\n") && !text.contains("CONNECTION TO"), "{text}");
        let value = View::new(&interval, &args, false).json(10);
        assert_eq!(
            (&value["policies"][0]["calls"], &value["policies"][0]["cpu"]),
            (&200.into(), &serde_json::Value::Null)
        );
        assert_eq!(value["files"][0]["path"], "/etc/\u{1b}hosts");
    }

    #[test]
    fn processes_are_told_apart_when_asked_for() {
        assert_eq!(tally(&[OPEN, EXEC], false).processes.len(), 1);
        assert_eq!(tally(&[OPEN, EXEC], true).processes.len(), 2);
    }

    #[test]
    fn memory_is_bounded() {
        let mut all = Tally::default();
        for pid in 0..10_100 {
            let line = format!(
                r#"{{"process_exec":{{"process":{{"pid":{pid},"binary":"{}"}}}}}}"#,
                "x".repeat(2000)
            );
            all.add(&parse_line(&line).unwrap(), true);
        }
        assert_eq!((all.processes.len(), all.others, all.all.execs), (10_000, 100, 10_100));
        assert!(all.processes.keys().all(|(name, _)| name.len() == 512));
    }

    #[test]
    fn a_policy_that_is_loaded_anew_begins_at_zero() {
        let before = tally::sums(&counted(100, 0, 0))[&1].1;
        assert_eq!(tally::sums(&counted(30, 0, 0))[&1].1.since(before).calls, 30);
    }

    #[test]
    fn the_agent_is_asked_for_what_is_shown() {
        assert_eq!(request(&args(&["--policy-names", "a,b"])).allow_list[0].policy_names, ["a", "b"]);
        assert!(request(&args(&[])).allow_list.is_empty());
        assert!(run(&args(&["--interval", "1ms"])).unwrap_err().is::<Usage>());
        assert!(Line::try_parse_from(["top", "--once", "-c", "3"]).is_err());
    }
}

//! `saker enforce`: whether the policies of a running agent act at all, and what they did to whom.

use std::fmt::Write;
use std::time::Duration;

use anyhow::Result;
use clap::{Args, Subcommand};
use saker_api::saker_v1::saker_service_client::SakerServiceClient;
use saker_api::saker_v1::{Enforcement, GetEnforcementRequest, SetEnforcementRequest};
use serde_json::json;

use crate::client::{self, ServerArgs};
use crate::output::{self, Data};

/// Arguments of `saker enforce`.
#[derive(Args)]
#[command(disable_help_subcommand = true)]
pub struct EnforceArgs {
    #[command(subcommand)]
    command: EnforceCommand,
}

#[derive(Subcommand)]
enum EnforceCommand {
    /// Have all policies only tell, at once, also those that are loaded later; they act again when the time is over, when
    /// told so, and when the agent starts anew
    Off(OffArgs),
    /// Have policies act again, each in its mode
    On(OnArgs),
    /// Show whether policies act, and what they did by control group
    Status(StatusArgs),
}

/// Arguments of `saker enforce off`.
#[derive(Args)]
#[command(after_help = "Exit status: 0 no policy acts; 1 nothing has changed; 2 wrong command line")]
pub struct OffArgs {
    /// Time after which policies act again, such as 30m or 1h30m: at least a second and at most 365 days [default: without
    /// end]
    #[arg(long = "for", value_name = "TIME", value_parser = saker_agent::config::duration)]
    time: Option<Duration>,
    /// Why, for the log and the status; at most 200 bytes
    #[arg(long, default_value = "", hide_default_value = true)]
    reason: String,
    #[command(flatten)]
    server: ServerArgs,
    /// Form of the output
    #[arg(short, long, value_enum, default_value_t = Data::Table)]
    output: Data,
}

/// Arguments of `saker enforce on`.
#[derive(Args)]
#[command(after_help = "Exit status: 0 policies act; 1 nothing has changed; 2 wrong command line")]
pub struct OnArgs {
    /// Why, for the log; at most 200 bytes
    #[arg(long, default_value = "", hide_default_value = true)]
    reason: String,
    #[command(flatten)]
    server: ServerArgs,
    /// Form of the output
    #[arg(short, long, value_enum, default_value_t = Data::Table)]
    output: Data,
}

/// Arguments of `saker enforce status`.
#[derive(Args)]
#[command(
    after_help = "Exit status: 0 policies act; 3 none does, for enforcement is switched off; 1 that is not known; 2 \
                        wrong command line"
)]
pub struct StatusArgs {
    /// Form of the output
    #[arg(short, long, value_enum, default_value_t = Data::Table)]
    output: Data,
    #[command(flatten)]
    server: ServerArgs,
}

/// Exit status that says that no policy acts.
const OFF: u8 = 3;

/// Runs a command.
pub fn run(args: &EnforceArgs) -> Result<()> {
    match &args.command {
        EnforceCommand::Off(args) => {
            let duration = args.time.map(prost_types::Duration::try_from).transpose()?;
            let request = SetEnforcementRequest { enforce: false, duration, reason: args.reason.clone() };
            set(&args.server, request)?;
            let text = match args.time {
                Some(_) => "enforcement is off for this time: policies only tell\n",
                None => "enforcement is off until `saker enforce on`: policies only tell\n",
            };
            output::print_either(args.output, text, &json!({ "enforcing": false }))
        }
        EnforceCommand::On(args) => {
            let request =
                SetEnforcementRequest { enforce: true, duration: None, reason: args.reason.clone() };
            set(&args.server, request)?;
            let text = "enforcement is on: policies act, each in its mode\n";
            output::print_either(args.output, text, &json!({ "enforcing": true }))
        }
        EnforceCommand::Status(args) => status(args),
    }
}

fn set(server: &ServerArgs, request: SetEnforcementRequest) -> Result<()> {
    client::runtime()?.block_on(async {
        let mut client = SakerServiceClient::new(server.connect().await?);
        let answer = client.set_enforcement(request).await;
        answer.map(drop).map_err(|status| client::refused(&status))
    })
}

fn status(args: &StatusArgs) -> Result<()> {
    let told = client::runtime()?.block_on(async {
        let mut client = SakerServiceClient::new(args.server.connect().await?);
        let answer = client.get_enforcement(GetEnforcementRequest {}).await;
        anyhow::Ok(answer.map_err(|status| client::refused(&status))?.into_inner())
    })?;
    match args.output {
        Data::Json => output::print(&format!("{}\n", saker_api::json::enforcement_object(&told)))?,
        Data::Table => output::print(&table(&told))?,
    }
    if told.enforcing { Ok(()) } else { Err(output::Ended(OFF).into()) }
}

/// Whether policies act, in a line.
pub fn summary(told: &Enforcement) -> String {
    if told.enforcing {
        return "on: policies act, each in its mode".to_owned();
    }
    let time = |time: &Option<prost_types::Timestamp>| time.as_ref().map(ToString::to_string);
    let mut text = String::from("OFF: policies only tell");
    if let Some(since) = time(&told.off_since) {
        let _ = write!(text, ", since {since}");
    }
    match time(&told.off_until) {
        Some(until) => {
            let _ = write!(text, " until {until}");
        }
        None => text.push_str(" until `saker enforce on`"),
    }
    let _ = write!(text, ", by {}", told.off_by);
    if !told.off_reason.is_empty() {
        let _ = write!(text, ": {}", told.off_reason);
    }
    text
}

fn table(told: &Enforcement) -> String {
    let mut text = format!("enforcement is {}\n", summary(told));
    let row = |id: String, path: &str, pod: &str, counts: saker_api::saker_v1::EnforcedCounters| {
        let or_none = |text: &str| if text.is_empty() { "-".to_owned() } else { text.to_owned() };
        let counts = [counts.denied, counts.signalled, counts.withheld].map(|count| count.to_string());
        [vec![id, or_none(path), or_none(pod)], counts.to_vec()].concat()
    };
    let mut rows =
        vec![["CGROUP", "PATH", "POD", "DENIED", "SIGNALLED", "WITHHELD"].map(str::to_owned).to_vec()];
    for group in &told.groups {
        let id = if group.cgroup_id == 0 { "others".to_owned() } else { group.cgroup_id.to_string() };
        rows.push(row(id, &group.path, &group.pod, group.counters.unwrap_or_default()));
    }
    rows.push(row("all".to_owned(), "", "", told.total.unwrap_or_default()));
    text.push('\n');
    text.push_str(&output::columns(&rows));
    text
}

#[cfg(test)]
mod tests {
    use clap::Parser;
    use prost_types::Timestamp;
    use saker_api::saker_v1::{EnforcedCounters, EnforcedGroup};

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        args: EnforceArgs,
    }

    #[test]
    fn command_lines() {
        let parsed = |line: &[&str]| Line::try_parse_from([&["enforce"], line].concat());
        let line = parsed(&["off", "--for", "1h30m", "--reason", "it hurts"]).unwrap();
        let EnforceCommand::Off(off) = line.args.command else { panic!("another command") };
        assert_eq!((off.time, off.reason.as_str()), (Some(Duration::from_secs(5400)), "it hurts"));
        assert!(parsed(&["off", "--for", "5"]).is_err() && parsed(&["on", "--for", "5s"]).is_err());
        assert!(parsed(&["status", "-o", "json"]).is_ok() && parsed(&[]).is_err());
    }

    #[test]
    fn what_is_off_is_told_with_its_end_and_who_asked() {
        let counters = |denied, signalled, withheld| EnforcedCounters { denied, signalled, withheld };
        let group = |cgroup_id, path: &str, pod: &str, counts| EnforcedGroup {
            cgroup_id,
            path: path.into(),
            pod: pod.into(),
            counters: Some(counts),
        };
        let mut told = Enforcement {
            enforcing: true,
            total: Some(counters(3, 2, 1)),
            groups: vec![
                group(77, "/kubepods/x", "shop/cart", counters(3, 1, 1)),
                group(0, "", "", counters(0, 1, 0)),
            ],
            ..Enforcement::default()
        };
        let text = table(&told);
        assert!(text.starts_with("enforcement is on: policies act"), "{text}");
        let lines: Vec<Vec<&str>> = text.lines().map(|line| line.split_whitespace().collect()).collect();
        assert_eq!(lines[3], ["77", "/kubepods/x", "shop/cart", "3", "1", "1"]);
        assert_eq!(lines[4], ["others", "-", "-", "0", "1", "0"]);
        assert_eq!(lines[5], ["all", "-", "-", "3", "2", "1"]);

        told.enforcing = false;
        told.off_since = Some(Timestamp { seconds: 1_700_000_000, nanos: 0 });
        (told.off_by, told.off_reason) = ("pid 7, uid 0, gid 0".into(), "it hurts".into());
        assert_eq!(
            summary(&told),
            "OFF: policies only tell, since 2023-11-14T22:13:20Z until `saker enforce on`, by pid 7, uid 0, gid 0: it hurts"
        );
        told.off_until = Some(Timestamp { seconds: 1_700_000_060, nanos: 0 });
        assert!(summary(&told).contains("until 2023-11-14T22:14:20Z, by"), "{}", summary(&told));
    }
}

//! `saker protect`: the agent's protection of itself (`saker agent --self-protection`).

use std::fmt::Write;
use std::time::Duration;

use anyhow::{Result, bail};
use clap::{Args, Subcommand};
use saker_api::saker_v1::saker_service_client::SakerServiceClient;
use saker_api::saker_v1::{GetStatusRequest, GetStatusResponse, SelfProtection, SetSelfProtectionRequest};
use serde_json::json;

use crate::client::{self, ServerArgs};
use crate::output::{self, Data};

/// Arguments of `saker protect`.
#[derive(Args)]
#[command(disable_help_subcommand = true)]
pub struct ProtectArgs {
    #[command(subcommand)]
    command: ProtectCommand,
}

#[derive(Subcommand)]
enum ProtectCommand {
    /// Lift it for a time: the agent can be ended, upgraded and reconfigured; only root may
    Off(OffArgs),
    /// Bring it back before the time is over
    On(OnArgs),
    /// Show whether it is in force, and how many attempts were refused
    Status(StatusArgs),
}

/// Arguments of `saker protect off`.
#[derive(Args)]
#[command(after_help = "Exit status: 0 nothing is refused; 1 nothing has changed; 2 wrong command line")]
pub struct OffArgs {
    /// Time after which it is back, such as 90s or 1h: at least a second and at most 24 hours
    #[arg(long = "for", value_name = "TIME", default_value = "5m", value_parser = saker_agent::config::duration)]
    time: Duration,
    /// Why, for the log and the status; at most 200 bytes
    #[arg(long, default_value = "", hide_default_value = true)]
    reason: String,
    #[command(flatten)]
    server: ServerArgs,
    /// Form of the output
    #[arg(short, long, value_enum, default_value_t = Data::Table)]
    output: Data,
}

/// Arguments of `saker protect on`.
#[derive(Args)]
#[command(after_help = "Exit status: 0 it is in force; 1 nothing has changed; 2 wrong command line")]
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

/// Arguments of `saker protect status`.
#[derive(Args)]
#[command(
    after_help = "Exit status: 0 it is in force; 3 it is lifted; 1 there is none, or that is not known; 2 wrong command line"
)]
pub struct StatusArgs {
    #[command(flatten)]
    server: ServerArgs,
    /// Form of the output
    #[arg(short, long, value_enum, default_value_t = Data::Table)]
    output: Data,
}

/// Exit status that says that it is lifted.
const LIFTED: u8 = 3;

/// Runs a command.
pub fn run(args: &ProtectArgs) -> Result<()> {
    match &args.command {
        ProtectCommand::Off(args) => {
            let duration = Some(prost_types::Duration::try_from(args.time)?);
            let reason = args.reason.clone();
            set(&args.server, SetSelfProtectionRequest { protect: false, duration, reason })?;
            let text = "self-protection is lifted for this time: the agent can be ended and changed\n";
            output::print_either(args.output, text, &json!({ "protecting": false }))
        }
        ProtectCommand::On(args) => {
            let reason = args.reason.clone();
            set(&args.server, SetSelfProtectionRequest { protect: true, duration: None, reason })?;
            output::print_either(args.output, "self-protection is in force\n", &json!({ "protecting": true }))
        }
        ProtectCommand::Status(args) => status(args),
    }
}

fn set(server: &ServerArgs, request: SetSelfProtectionRequest) -> Result<()> {
    client::runtime()?.block_on(async {
        let mut client = SakerServiceClient::new(server.connect().await?);
        let answer = client.set_self_protection(request).await;
        answer.map(drop).map_err(|status| client::refused(&status))
    })
}

fn status(args: &StatusArgs) -> Result<()> {
    let told = client::runtime()?.block_on(async {
        let mut client = SakerServiceClient::new(args.server.connect().await?);
        let answer = client.get_status(GetStatusRequest {}).await;
        anyhow::Ok(answer.map_err(|status| client::refused(&status))?.into_inner().self_protection)
    })?;
    let Some(told) = told else { bail!("the agent runs without --self-protection") };
    let whole = GetStatusResponse { self_protection: Some(told.clone()), ..GetStatusResponse::default() };
    let object = saker_api::json::status_object(&whole)["self_protection"].take();
    output::print_either(args.output, &table(&told), &object)?;
    if told.protecting { Ok(()) } else { Err(output::Ended(LIFTED).into()) }
}

/// Whether it is in force, in a line.
pub fn summary(told: &SelfProtection) -> String {
    let refused: u64 = told.refused.values().sum();
    let mut text = if told.protecting { "on".to_owned() } else { "LIFTED".to_owned() };
    if let Some(until) = told.lifted_until.as_ref().filter(|_| !told.protecting) {
        let _ = write!(text, " until {until}, by {}", told.lifted_by);
        if !told.lifted_reason.is_empty() {
            let _ = write!(text, " ({})", told.lifted_reason);
        }
    }
    let _ = write!(text, "; {refused} attempts refused");
    if told.untold > 0 {
        let _ = write!(text, ", {} of them without an event", told.untold);
    }
    text
}

fn table(told: &SelfProtection) -> String {
    let mut text = format!("self-protection is {}\n", summary(told));
    let mut rows: Vec<Vec<String>> =
        told.refused.iter().map(|(hook, count)| vec![hook.clone(), count.to_string()]).collect();
    rows.sort();
    if !rows.is_empty() {
        rows.insert(0, ["HOOK", "REFUSED"].map(str::to_owned).to_vec());
        text.push('\n');
        text.push_str(&output::columns(&rows));
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use clap::Parser;
    use prost_types::Timestamp;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        args: ProtectArgs,
    }

    #[test]
    fn command_lines() {
        let parsed = |line: &[&str]| Line::try_parse_from([&["protect"], line].concat());
        let ProtectCommand::Off(off) = parsed(&["off", "--reason", "upgrade"]).unwrap().args.command else {
            panic!("another command")
        };
        assert_eq!((off.time, off.reason.as_str()), (Duration::from_secs(300), "upgrade"));
        assert!(parsed(&["off", "--for", "5"]).is_err() && parsed(&["on", "--for", "5s"]).is_err());
        assert!(parsed(&["status"]).is_ok() && parsed(&[]).is_err());
    }

    #[test]
    fn what_is_lifted_is_told_with_its_end_and_who_asked() {
        let mut told = SelfProtection {
            protecting: true,
            refused: [("task_kill".to_owned(), 2), ("bpf".to_owned(), 1)].into(),
            ..SelfProtection::default()
        };
        let text = table(&told);
        assert!(text.starts_with("self-protection is on; 3 attempts refused\n\nHOOK"), "{text}");
        let lines: Vec<Vec<&str>> = text.lines().map(|line| line.split_whitespace().collect()).collect();
        assert_eq!((&lines[3][..], &lines[4][..]), (&["bpf", "1"][..], &["task_kill", "2"][..]));
        told.protecting = false;
        told.lifted_until = Some(Timestamp { seconds: 1_700_000_000, nanos: 0 });
        (told.lifted_by, told.lifted_reason) = ("pid 7, uid 0".into(), "upgrade".into());
        assert_eq!(
            summary(&told),
            "LIFTED until 2023-11-14T22:13:20Z, by pid 7, uid 0 (upgrade); 3 attempts refused"
        );
    }
}

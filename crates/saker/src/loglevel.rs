//! `saker loglevel`.

use anyhow::{Context, Result};
use clap::{Args, Subcommand, ValueEnum};
use saker_api::tetragon::fine_guidance_sensors_client::FineGuidanceSensorsClient;
use saker_api::tetragon::{
    ConfigFlag, GetDebugRequest, LogLevel, SetDebugRequest, get_debug_response, set_debug_request,
    set_debug_response,
};

use crate::client::{self, ServerArgs};
use crate::output::{self, Data};

/// Arguments of `saker loglevel`.
#[derive(Args)]
pub struct LoglevelArgs {
    #[command(subcommand)]
    command: LoglevelCommand,
}

#[derive(Subcommand)]
enum LoglevelCommand {
    /// Show the least level of messages in the agent's log
    Get(GetArgs),
    /// Change it, until the agent ends or its configuration is read again (SIGHUP)
    Set(SetArgs),
}

#[derive(Args)]
struct GetArgs {
    #[command(flatten)]
    server: ServerArgs,
    /// Form of the output
    #[arg(short, long, value_enum, default_value_t = Data::Table)]
    output: Data,
}

#[derive(Args)]
struct SetArgs {
    /// The level; panic and fatal mean error, which is the highest here
    #[arg(value_enum, ignore_case = true)]
    level: Level,
    #[command(flatten)]
    server: ServerArgs,
    /// Form of the output
    #[arg(short, long, value_enum, default_value_t = Data::Table)]
    output: Data,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Level {
    Trace,
    Debug,
    Info,
    #[value(alias = "warning")]
    Warn,
    Error,
    #[value(hide = true)]
    Fatal,
    #[value(hide = true)]
    Panic,
}

impl Level {
    fn message(self) -> LogLevel {
        match self {
            Self::Trace => LogLevel::Trace,
            Self::Debug => LogLevel::Debug,
            Self::Info => LogLevel::Info,
            Self::Warn => LogLevel::Warn,
            Self::Error => LogLevel::Error,
            Self::Fatal => LogLevel::Fatal,
            Self::Panic => LogLevel::Panic,
        }
    }
}

/// Asks for the level or changes it, and prints it.
pub fn run(args: &LoglevelArgs) -> Result<()> {
    let (level, said, form) = match &args.command {
        LoglevelCommand::Get(args) => (get(args)?, "Current log level", args.output),
        LoglevelCommand::Set(args) => (set(args)?, "Log level set to", args.output),
    };
    let name = name(level);
    match form {
        Data::Table => output::print(&format!("{said}: {name}\n")),
        Data::Json => output::print(&format!("{}\n", serde_json::json!({ "log_level": name }))),
    }
}

fn name(level: LogLevel) -> String {
    level.as_str_name().trim_start_matches("LOG_LEVEL_").to_ascii_lowercase()
}

fn get(args: &GetArgs) -> Result<LogLevel> {
    client::runtime()?.block_on(async {
        let mut client = FineGuidanceSensorsClient::new(args.server.connect().await?);
        let request = GetDebugRequest { flag: ConfigFlag::LogLevel.into(), arg: None };
        let answer = client.get_debug(request).await.map_err(|status| client::refused(&status))?;
        match answer.into_inner().arg {
            Some(get_debug_response::Arg::Level(level)) => known(level),
            _ => anyhow::bail!("the agent did not tell its log level"),
        }
    })
}

fn set(args: &SetArgs) -> Result<LogLevel> {
    client::runtime()?.block_on(async {
        let mut client = FineGuidanceSensorsClient::new(args.server.connect().await?);
        let arg = Some(set_debug_request::Arg::Level(args.level.message().into()));
        let request = SetDebugRequest { flag: ConfigFlag::LogLevel.into(), arg };
        let answer = client.set_debug(request).await.map_err(|status| client::refused(&status))?;
        match answer.into_inner().arg {
            Some(set_debug_response::Arg::Level(level)) => known(level),
            None => anyhow::bail!("the agent did not tell its log level"),
        }
    })
}

fn known(level: i32) -> Result<LogLevel> {
    LogLevel::try_from(level).with_context(|| format!("the agent tells the log level {level}, which is none"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_have_their_names() {
        let names: Vec<String> = Level::value_variants().iter().map(|level| name(level.message())).collect();
        assert_eq!(names, ["trace", "debug", "info", "warn", "error", "fatal", "panic"]);
    }
}

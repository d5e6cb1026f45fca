//! `saker policy add`, `replace`, `delete`, `enable`, `disable` and `set-mode`: orders to a running agent.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Result, anyhow};
use clap::{Args, ValueEnum};
use saker_agent::logging::say;
use saker_api::saker_v1::saker_service_client::SakerServiceClient;
use saker_api::saker_v1::{AddPolicyRequest, ReplacePolicyRequest};
use saker_api::tetragon::fine_guidance_sensors_client::FineGuidanceSensorsClient;
use saker_api::tetragon::{
    AddTracingPolicyRequest, ConfigureTracingPolicyRequest, DeleteTracingPolicyRequest, TracingPolicyMode,
};
use saker_policy::{Severity, render};
use tonic::{Code, Status};

use super::{name, read};
use crate::client::{self, ServerArgs};
use crate::output::{self, Data, Told};

/// Arguments of `saker policy add`.
#[derive(Args)]
#[command(
    after_help = "With --dry-run the policy is loaded under a name of its own for a time in which it only tells and makes \
                  no requests; then what it would have done is shown, and it is removed, as it is when the command is \
                  interrupted.\n\nExit status: 0 it is loaded, or with --dry-run: it would have acted on nobody; 1 it is \
                  not loaded, and what was loaded before still is, or the trial was broken off; 2 wrong command line; 3 with \
                  --dry-run: it would have acted"
)]
pub struct AddArgs {
    /// Whether the policy acts, whatever its text says [default: as it says]
    #[arg(short, long, conflicts_with = "dry_run")]
    mode: Option<Mode>,
    /// Only try the policy: show what it would do, and do nothing
    #[arg(long, requires = "time")]
    dry_run: bool,
    /// With --dry-run: for how long, such as 60s or 1h30m; at most a day
    #[arg(long = "for", id = "time", value_name = "TIME", requires = "dry_run", value_parser = saker_agent::config::duration)]
    time: Option<Duration>,
    /// Form of the output
    #[arg(short, long, value_enum, default_value_t = Data::Table)]
    output: Data,
    #[command(flatten)]
    file: FileArgs,
}

/// Arguments of `saker policy replace`.
#[derive(Args)]
#[command(
    after_help = "Exit status: 0 it is loaded; 1 it is not, and what was loaded before still is; 2 wrong command line"
)]
pub struct ReplaceArgs {
    /// Whether the policy acts, whatever its text and set-mode say [default: as set-mode says, or its text]
    #[arg(short, long)]
    mode: Option<Mode>,
    #[command(flatten)]
    file: FileArgs,
    /// Form of the output
    #[arg(short, long, value_enum, default_value_t = Data::Table)]
    output: Data,
}

/// What is common to `saker policy add` and `saker policy replace`.
#[derive(Args)]
pub struct FileArgs {
    /// File with one policy; `-` is standard input
    file: PathBuf,
    /// Domain of the policy [default: grpc]
    #[arg(long, default_value = "", hide_default_value = true)]
    domain: String,
    #[command(flatten)]
    pub(super) server: ServerArgs,
}

/// Which policies.
#[derive(Args)]
pub struct Place {
    /// Namespace of the policy [default: none]
    #[arg(short, long, default_value = "", hide_default_value = true)]
    namespace: String,
    /// Domain of the policy: static for those from files [default: grpc]
    #[arg(long, default_value = "", hide_default_value = true)]
    domain: String,
    #[command(flatten)]
    server: ServerArgs,
}

/// Arguments of `saker policy delete`.
#[derive(Args)]
#[command(
    after_help = "A policy from a file is loaded again when the file changes or the agent starts; remove the file \
                  to be rid of it.\n\nExit status: 0 all are gone; 1 some are not; 2 wrong command line"
)]
pub struct DeleteArgs {
    /// Names of policies
    #[arg(required = true)]
    names: Vec<String>,
    #[command(flatten)]
    place: Place,
    /// Form of the output
    #[arg(short, long, value_enum, default_value_t = Data::Table)]
    output: Data,
}

/// Arguments of `saker policy enable` and `saker policy disable`.
#[derive(Args)]
pub struct NameArgs {
    /// Name of the policy
    name: String,
    #[command(flatten)]
    place: Place,
    /// Form of the output
    #[arg(short, long, value_enum, default_value_t = Data::Table)]
    output: Data,
}

/// Arguments of `saker policy set-mode`.
#[derive(Args)]
pub struct ModeArgs {
    /// Name of the policy
    name: String,
    /// The mode
    mode: Mode,
    #[command(flatten)]
    place: Place,
    /// Form of the output
    #[arg(short, long, value_enum, default_value_t = Data::Table)]
    output: Data,
}

/// Whether a policy acts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Mode {
    /// It acts
    Enforce,
    /// It only tells
    Monitor,
}

impl Mode {
    fn number(self) -> TracingPolicyMode {
        match self {
            Self::Enforce => TracingPolicyMode::TpModeEnforce,
            Self::Monitor => TracingPolicyMode::TpModeMonitor,
        }
    }
}

/// Loads a new policy.
pub fn add(args: &AddArgs) -> Result<()> {
    let AddArgs { mode, dry_run, time, output, file: args } = args;
    let text = read(&args.file)?;
    if let Some(time) = super::trial::time(*dry_run, *time).map_err(output::Usage::of)? {
        if !args.domain.is_empty() {
            return Err(output::Usage::of(anyhow!(
                "a policy on trial has a domain of its own: leave --domain out"
            )));
        }
        return super::trial::run(args, &text, time, *output);
    }
    let answer = client::runtime()?.block_on(async {
        if let Some(mode) = mode {
            let mut client = SakerServiceClient::new(args.server.connect().await?);
            let mode = Some(mode.number().into());
            let request = AddPolicyRequest { yaml: text.clone(), domain: args.domain.clone(), mode };
            return anyhow::Ok(client.add_policy(request).await.map(drop));
        }
        let mut client = FineGuidanceSensorsClient::new(args.server.connect().await?);
        let request = AddTracingPolicyRequest { yaml: text.clone(), domain: args.domain.clone() };
        anyhow::Ok(client.add_tracing_policy(request).await.map(drop))
    })?;
    told(args, &text, ("loaded", *output), answer)
}

/// Loads a policy in the place of another.
pub fn replace(args: &ReplaceArgs) -> Result<()> {
    let ReplaceArgs { mode, file: args, output } = args;
    let text = read(&args.file)?;
    let answer = client::runtime()?.block_on(async {
        let mut client = SakerServiceClient::new(args.server.connect().await?);
        let mode = mode.map(|mode| mode.number().into());
        let request = ReplacePolicyRequest { yaml: text.clone(), domain: args.domain.clone(), mode };
        anyhow::Ok(client.replace_policy(request).await.map(drop))
    })?;
    told(args, &text, ("replaced", *output), answer)
}

/// Says what became of a file.
fn told(args: &FileArgs, text: &str, done: (&str, Data), answer: Result<(), Status>) -> Result<()> {
    match answer {
        Ok(()) => say_done(done.1, done.0, &name(&args.file)),
        Err(status) => refused(args, text, &status),
    }
}

/// Says what was done to what.
fn say_done(form: Data, done: &str, name: &str) -> Result<()> {
    output::print(&match form {
        Data::Table => format!("{done}: {name}\n"),
        Data::Json => format!("{}\n", serde_json::json!({ "done": done, "name": name })),
    })
}

/// Says why the agent did not take a file. It knows places by their numbers; here the lines can be shown.
pub(super) fn refused(args: &FileArgs, text: &str, status: &Status) -> Result<()> {
    let mut found = saker_policy::check(text).diagnostics;
    found.retain(|diagnostic| diagnostic.severity == Severity::Error);
    if status.code() == Code::InvalidArgument && !found.is_empty() {
        eprint!("{}", render(&name(&args.file), text, &found));
        return Err(Told.into());
    }
    Err(client::refused(status))
}

/// Removes policies; what one name hinders does not hinder the others.
pub fn delete(args: &DeleteArgs) -> Result<()> {
    let answers = client::runtime()?.block_on(async {
        let mut client = FineGuidanceSensorsClient::new(args.place.server.connect().await?);
        let mut answers = Vec::new();
        for name in &args.names {
            let request = DeleteTracingPolicyRequest {
                name: name.clone(),
                namespace: args.place.namespace.clone(),
                domain: args.place.domain.clone(),
            };
            answers.push(client.delete_tracing_policy(request).await.map(drop));
        }
        anyhow::Ok(answers)
    })?;
    let mut failed = false;
    for (name, answer) in args.names.iter().zip(answers) {
        match answer {
            Ok(()) => say_done(args.output, "deleted", name)?,
            Err(status) => {
                failed = true;
                say(format_args!("saker: {:#}", client::refused(&status)));
            }
        }
    }
    if failed { Err(Told.into()) } else { Ok(()) }
}

/// Attaches or detaches a policy.
pub fn enable(args: &NameArgs, enable: bool) -> Result<()> {
    let request = ConfigureTracingPolicyRequest { enable: Some(enable), ..request(&args.name, &args.place) };
    configure(&args.place, request)?;
    say_done(args.output, if enable { "enabled" } else { "disabled" }, &args.name)
}

/// Sets a mode.
pub fn set_mode(args: &ModeArgs) -> Result<()> {
    let mode = args.mode.number();
    let request =
        ConfigureTracingPolicyRequest { mode: Some(mode.into()), ..request(&args.name, &args.place) };
    configure(&args.place, request)?;
    say_done(args.output, "mode set", &args.name)
}

fn request(name: &str, place: &Place) -> ConfigureTracingPolicyRequest {
    ConfigureTracingPolicyRequest {
        name: name.to_owned(),
        namespace: place.namespace.clone(),
        domain: place.domain.clone(),
        ..ConfigureTracingPolicyRequest::default()
    }
}

fn configure(place: &Place, request: ConfigureTracingPolicyRequest) -> Result<()> {
    client::runtime()?.block_on(async {
        let mut client = FineGuidanceSensorsClient::new(place.server.connect().await?);
        let answer = client.configure_tracing_policy(request).await;
        answer.map(drop).map_err(|status| client::refused(&status))
    })
}

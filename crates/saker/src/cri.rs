//! `saker cri`: what the container runtime of this machine tells, asked as the agent asks it.

use std::path::PathBuf;

use anyhow::{Result, bail};
use clap::{Args, Subcommand, ValueEnum};
use saker_api::compact::quoted;
use saker_k8s::containers::Containers;
use saker_k8s::cri::{CriError, Runtime, USUAL_ENDPOINTS};
use serde_json::{Value, json};

use crate::client;
use crate::output;

/// Arguments of `saker cri`.
#[derive(Args)]
#[command(
    disable_help_subcommand = true,
    after_help = "Exit status: 0 it is told; 1 the runtime does not answer, or there is no such container; 2 wrong command line"
)]
pub struct CriArgs {
    #[command(subcommand)]
    command: CriCommand,
}

#[derive(Subcommand)]
enum CriCommand {
    /// Its name and version
    Version(RuntimeArgs),
    /// The path of a container's control group as its specification has it
    #[command(name = "cgroup_path", visible_alias = "cgroup-path")]
    CgroupPath {
        /// Id of the container
        id: String,
        #[command(flatten)]
        runtime: RuntimeArgs,
    },
    /// Containers of pods, as policies for pods see them
    Containers(RuntimeArgs),
}

/// Which runtime, and in which form.
#[derive(Args)]
struct RuntimeArgs {
    /// Socket of the runtime [default: the first that is there of the usual ones]
    #[arg(short, long, value_name = "PATH")]
    runtime_endpoint: Option<String>,
    /// Form of the output
    #[arg(short, long, value_enum, default_value_t = Form::Raw)]
    output: Form,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Form {
    /// For people
    #[value(aliases = ["text", "table"])]
    Raw,
    /// For programs
    Json,
}

impl RuntimeArgs {
    /// Connects; the socket may be given as tools of runtimes have it.
    async fn connect(&self) -> Result<Runtime> {
        let path = self.runtime_endpoint.as_deref().map(|text| text.strip_prefix("unix://").unwrap_or(text));
        match Runtime::connect(path.map(PathBuf::from).as_deref()).await {
            Err(CriError::NoEndpoint) => bail!(
                "no socket of a container runtime is at {}; give it with --runtime-endpoint",
                USUAL_ENDPOINTS.join(", ")
            ),
            other => Ok(other?),
        }
    }

    fn print(&self, text: &str, value: &Value) -> Result<()> {
        match self.output {
            Form::Raw => output::print(text),
            Form::Json => output::print(&format!("{value}\n")),
        }
    }
}

/// Runs a command.
pub fn run(args: &CriArgs) -> Result<()> {
    client::runtime()?.block_on(async {
        match &args.command {
            CriCommand::Version(args) => {
                let runtime = args.connect().await?;
                let (name, version) = (&runtime.name, &runtime.version);
                let endpoint = runtime.endpoint().display().to_string();
                let text = format!("{} {} at {endpoint}\n", quoted(name), quoted(version));
                args.print(&text, &json!({ "name": name, "version": version, "endpoint": endpoint }))
            }
            CriCommand::CgroupPath { id, runtime: args } => {
                let mut runtime = args.connect().await?;
                let Some(details) = runtime.details(id, true).await? else {
                    bail!("the container runtime knows no container {id}");
                };
                let Some(path) = details.cgroups_path else {
                    bail!("the container runtime does not tell the control group of {id}");
                };
                args.print(&format!("{}\n", quoted(&path)), &json!({ "cgroup_path": path }))
            }
            CriCommand::Containers(args) => {
                let mut runtime = args.connect().await?;
                let mut containers = Containers::default();
                containers.look(&mut runtime).await?;
                let (text, value) = shown(&containers);
                args.print(&text, &value)
            }
        }
    })
}

fn shown(containers: &Containers) -> (String, Value) {
    let mut rows = vec![["CONTAINER", "NAMESPACE", "POD", "NAME", "IMAGE"].map(str::to_owned).to_vec()];
    let mut values = Vec::new();
    for one in containers.all() {
        let pod = &one.pod;
        let id: String = one.id.chars().take(12).collect();
        let cells = [&id, &pod.namespace, &pod.name, &one.name, &one.image];
        rows.push(
            cells
                .map(|cell| if cell.is_empty() { "-".to_owned() } else { quoted(cell).into_owned() })
                .to_vec(),
        );
        values.push(json!({
            "id": one.id, "runtime": one.runtime, "name": one.name, "image": one.image, "image_ref": one.image_ref,
            "pod": { "namespace": pod.namespace, "name": pod.name, "uid": pod.uid, "labels": pod.labels },
        }));
    }
    let mut text = output::columns(&rows);
    if containers.left_out > 0 {
        text.push_str(&format!("! {} more containers: there is no room for them\n", containers.left_out));
    }
    (text, json!({ "containers": values, "left_out": containers.left_out }))
}

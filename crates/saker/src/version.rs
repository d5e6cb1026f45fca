//! `saker version`.

use anyhow::Result;
use clap::Args;
use saker_api::tetragon::fine_guidance_sensors_client::FineGuidanceSensorsClient;
use saker_api::tetragon::{BuildInfo, GetInfoRequest, GetVersionRequest};
use serde_json::{Map, Value, json};
use tonic::Code;

use crate::client::{self, ServerArgs, refused};
use crate::output::{self, Data};

/// Arguments of `saker version`.
#[derive(Args)]
#[command(
    after_help = "Exit status: 0 it is told; 1 with --server: the agent cannot be reached; 2 wrong command line"
)]
pub struct VersionArgs {
    /// Tell that of the running agent too
    #[arg(short = 's', long = "server")]
    ask: bool,
    /// Tell what they were built from too
    #[arg(short, long)]
    build: bool,
    /// Form of the output
    #[arg(short, long, value_enum, default_value_t = Data::Table)]
    output: Data,
    #[command(flatten)]
    server: ServerArgs,
}

/// A program and what it was built from.
struct Program {
    name: &'static str,
    version: String,
    build: Option<BuildInfo>,
}

/// Tells versions.
pub fn run(args: &VersionArgs) -> Result<()> {
    let own = BuildInfo {
        go_version: saker_agent::COMPILER.into(),
        commit: saker_agent::COMMIT.into(),
        time: saker_agent::COMMIT_TIME.into(),
        modified: saker_agent::MODIFIED.into(),
    };
    let version = saker_agent::VERSION.to_owned();
    let mut programs = vec![Program { name: "CLI", version, build: args.build.then_some(own) }];
    if args.ask {
        programs.push(client::runtime()?.block_on(asked(args))?);
    }
    output::print(&match args.output {
        Data::Json => format!("{}\n", document(&programs)),
        Data::Table => text(&programs),
    })
}

async fn asked(args: &VersionArgs) -> Result<Program> {
    let mut client = FineGuidanceSensorsClient::new(args.server.connect().await?);
    let answer = client.get_version(GetVersionRequest {}).await;
    let version = answer.map_err(|status| refused(&status))?.into_inner().version;
    let build = match args.build.then_some(client.get_info(GetInfoRequest {})) {
        None => None,
        Some(answer) => match answer.await {
            Ok(info) => info.into_inner().build,
            // Of an agent that does not know that call nothing more is told.
            Err(status) if status.code() == Code::Unimplemented => None,
            Err(status) => return Err(refused(&status)),
        },
    };
    Ok(Program { name: "Server", version, build })
}

/// Names of what a program was built from, as Tetragon has them; the compiler stands where it has that of Go.
fn facts(build: &BuildInfo) -> Vec<(&'static str, &str)> {
    let state = match build.modified.as_str() {
        "true" => "dirty",
        "false" => "clean",
        _ => "",
    };
    let facts = [
        ("GoVersion", &*build.go_version),
        ("Date", &*build.time),
        ("GitCommit", &*build.commit),
        ("GitTreeState", state),
    ];
    facts.into_iter().filter(|(_, value)| !value.is_empty()).collect()
}

fn text(programs: &[Program]) -> String {
    let mut text = String::new();
    for Program { name, version, build } in programs {
        text.push_str(&format!("{name} version: {version}\n"));
        for (fact, value) in build.iter().flat_map(facts) {
            text.push_str(&format!("  {fact}: {value}\n"));
        }
    }
    text
}

fn document(programs: &[Program]) -> Value {
    let mut all = Map::new();
    for Program { name, version, build } in programs {
        let mut object = json!({ "version": version });
        if let Some(build) = build {
            object["build"] = json!({
                "compiler": build.go_version, "time": build.time, "commit": build.commit, "modified": build.modified,
            });
        }
        all.insert(name.to_ascii_lowercase(), object);
    }
    Value::Object(all)
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        args: VersionArgs,
    }

    #[test]
    fn flags_are_those_of_tetra() {
        let args = Line::try_parse_from(["version", "-s", "-b"]).unwrap().args;
        assert!(args.ask && args.build);
    }

    #[test]
    fn versions_are_told_as_tetra_tells_them() {
        let build = BuildInfo { commit: "abc".into(), modified: "true".into(), ..BuildInfo::default() };
        let own = Program { name: "CLI", version: "1".into(), build: Some(build) };
        let server = Program { name: "Server", version: "v2".into(), build: None };
        let programs = [own, server];
        assert_eq!(
            text(&programs),
            "CLI version: 1\n  GitCommit: abc\n  GitTreeState: dirty\nServer version: v2\n"
        );
        let value = document(&programs);
        assert_eq!(
            (&value["cli"]["build"]["commit"], &value["server"]["version"]),
            (&json!("abc"), &json!("v2"))
        );
    }
}

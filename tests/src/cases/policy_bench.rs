//! Where cases of policies run: an agent, and a folder for the policies.

use std::fs;
use std::ops::{Deref, DerefMut};
use std::path::PathBuf;
use std::process::{Command, Output};

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use super::policy::numbers;
use crate::agent::{self, Agent};
use crate::idle;
use crate::observe::Lab;
use crate::peer::proto::fine_guidance_sensors_client::FineGuidanceSensorsClient;
use crate::peer::{self, proto};

/// A laboratory with a folder for policies.
pub(super) struct Bench {
    pub(super) lab: Held,
    pub(super) folder: PathBuf,
}

/// A laboratory that may be left to the next case.
pub(super) struct Held {
    lab: Option<Lab>,
    leave: bool,
}

impl Deref for Held {
    type Target = Lab;

    fn deref(&self) -> &Lab {
        self.lab.as_ref().unwrap_or_else(|| unreachable!("it is taken when this is dropped"))
    }
}

impl DerefMut for Held {
    fn deref_mut(&mut self) -> &mut Lab {
        self.lab.as_mut().unwrap_or_else(|| unreachable!("it is taken when this is dropped"))
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        if let Some(lab) = self.lab.take().filter(|_| self.leave) {
            idle::leave(lab);
        }
    }
}

impl Bench {
    /// One with an agent that has these options and has served nobody.
    pub(super) fn start(flags: &[&str]) -> Result<Self> {
        Self::with(Lab::start(&[agent::LINEAGE, flags].concat())?, false)
    }

    /// One whose agent has no options, may have served other cases, and serves the next: for cases that ask it for
    /// nothing but policies.
    pub(super) fn open() -> Result<Self> {
        let Some(lab) = idle::take() else { return Self::with(Lab::start(agent::LINEAGE)?, true) };
        let mut bench = Self::with(lab, true)?;
        peer::runtime()?.block_on(delete_all(&bench.lab.agent.address()))?;
        bench.lab.stream.advance()?;
        Ok(bench)
    }

    /// The laboratory, which is not left to another case.
    pub(super) fn into_lab(mut self) -> Lab {
        self.lab.lab.take().unwrap_or_else(|| unreachable!("it is taken when this is dropped"))
    }

    fn with(lab: Lab, leave: bool) -> Result<Self> {
        let folder = lab.scratch.fresh("policies")?;
        Ok(Self { lab: Held { lab: Some(lab), leave }, folder })
    }

    pub(super) fn program(&self) -> PathBuf {
        self.lab.programs.workload.clone()
    }

    pub(super) fn write(&self, name: &str, text: &str) -> Result<PathBuf> {
        let path = self.folder.join(name);
        fs::write(&path, text)?;
        Ok(path)
    }

    pub(super) fn ask(&self, arguments: &[&str]) -> Result<Output> {
        policy(&self.lab.agent, arguments)
    }

    /// Asks for what must succeed.
    pub(super) fn order(&self, arguments: &[&str]) -> Result<String> {
        let output = self.ask(arguments)?;
        let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        ensure!(output.status.success(), "saker policy {arguments:?} failed ({}): {out}{err}", output.status);
        Ok(out.into_owned())
    }

    pub(super) fn add(&self, name: &str, text: &str) -> Result<()> {
        let path = self.write(name, text)?;
        self.order(&["add", &path.to_string_lossy()]).map(drop)
    }

    /// The policies the agent has, by name.
    pub(super) fn list(&self) -> Result<Vec<Value>> {
        let text = self.order(&["list", "-o", "json"])?;
        let value: Value = serde_json::from_str(&text).with_context(|| format!("no JSON: {text}"))?;
        Ok(value["policies"].as_array().cloned().unwrap_or_default())
    }

    /// What is told of a policy.
    pub(super) fn policy(&self, name: &str) -> Result<Value> {
        let found = self.list()?.into_iter().find(|policy| policy["name"] == name);
        found.with_context(|| format!("there is no policy {name}"))
    }

    /// What is told of the first hook of a policy.
    pub(super) fn hook(&self, name: &str) -> Result<Value> {
        Ok(self.policy(name)?["hooks"][0].clone())
    }

    /// Numbers of the calls that were told, in their order.
    pub(super) fn calls(&mut self, count: &str) -> Result<Vec<u64>> {
        let seen = self.lab.observe(&["calls", count])?;
        Ok(numbers(&seen))
    }
}

/// Deletes what policies an agent has.
async fn delete_all(address: &str) -> Result<()> {
    let mut client = FineGuidanceSensorsClient::new(peer::connect(address).await?);
    let all = client.list_tracing_policies(proto::ListTracingPoliciesRequest::default()).await?.into_inner();
    for proto::TracingPolicyStatus { name, namespace, domain, .. } in all.policies {
        client.delete_tracing_policy(proto::DeleteTracingPolicyRequest { name, namespace, domain }).await?;
    }
    Ok(())
}

/// Runs `saker policy VERB --server-address ADDRESS ...`.
fn policy(agent: &Agent, arguments: &[&str]) -> Result<Output> {
    let (verb, rest) = arguments.split_first().context("no verb")?;
    let mut command = Command::new(agent::binary()?);
    command.args(["policy", verb, "--server-address"]).arg(agent.address()).args(rest);
    command.output().context("cannot run saker policy")
}

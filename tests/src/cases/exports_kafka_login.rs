//! Logins of Kafka, with the real client and a server that checks them, before the brokers that kcat has within itself.

use std::fs;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use crate::agent::Agent;
use crate::case::{Case, alone};
use crate::cases::certificates::Authority;
use crate::cases::exports::{balanced, declare, state};
use crate::cases::exports_kafka::Cluster;
use crate::kafka::{Front, Rules};
use crate::observe::same;
use crate::receiver;
use crate::scratch::Scratch;
use crate::status::number;
use crate::wait;
use crate::workload::Programs;

/// The table.
pub const CASES: &[Case] = &[alone("exports-to-kafka-by-login", by_login).on_any_kernel()];

const MECHANISMS: [&str; 3] = ["plain", "scram-sha-256", "scram-sha-512"];
const RIGHT: &str = "hush=hush, 1";
const WRONG: &str = "not-that-one";

/// PIDs of the ends that a topic tells.
fn ends(cluster: &Cluster, topic: &str) -> Result<Vec<u64>> {
    let mut pids = Vec::new();
    for message in cluster.messages_of(topic)? {
        let event: Value = serde_json::from_str(message["payload"].as_str().context("no payload")?)?;
        pids.push(event["process_exit"]["process"]["pid"].as_u64().context("something else than an end")?);
    }
    Ok(pids)
}

fn by_login() -> Result<()> {
    let scratch = Scratch::new()?;
    let programs = Programs::install(&scratch)?;
    let authority = Authority::new(scratch.fresh("authority")?)?;
    authority.issue("server")?;
    let config = receiver::tls(&authority.path("server.pem"), &authority.path("server.key"), None)?;
    let cluster = Cluster::start(&scratch)?;
    let rules = Rules { user: "saker".to_owned(), password: RIGHT.to_owned(), largest: 8_000 };
    let front = Front::start(&cluster.brokers, config, rules)?;
    let password = scratch.path().join("password");
    fs::write(&password, format!("{WRONG}\n"))?;
    let mut text = String::new();
    for mechanism in MECHANISMS {
        cluster.make(mechanism)?;
        text.push_str(&format!(
            "- name: {mechanism}\n  kind: kafka\n  brokers: {:?}\n  topic: {mechanism}\n  tls: true\n  tls-ca: {}\n  sasl: \
             {mechanism}\n  user: saker\n  password-file: {}\n  batch-time: 300ms\n  spool-dir: {3}/spool-{mechanism}\n  allow: \
             [{{event_set: [PROCESS_EXIT], binary_regex: ['^{3}/']}}]\n",
            front.brokers,
            authority.path("ca.pem").display(),
            password.display(),
            scratch.path().display()
        ));
    }
    let exports = declare(&scratch, &text)?.display().to_string();
    let mut agent = Agent::start(&scratch, &["--export-config", &exports, "--log-level=debug"])?;
    let run = |text: &str| -> Result<u64> {
        Ok(u64::from(programs.start(&scratch, &["marker", text])?.finish()?.pid))
    };

    // A wrong password: refused, told and counted, and everything waits.
    let mut pids = vec![run("a")?, run("b")?];
    for mechanism in MECHANISMS {
        let mut told = String::new();
        wait::until(&format!("a login by {mechanism} to be refused"), wait::LONG, || {
            let sink = state(&agent, mechanism)?;
            sink["last_error"].as_str().unwrap_or_default().clone_into(&mut told);
            let waits = number(sink.get("spooled_events")) >= pids.len() as u64;
            let counted = number(sink.get("errors")) > 0;
            Ok((waits && counted && told.contains("SaslAuthenticationFailed")).then_some(()))
        })
        .with_context(|| format!("the last error is `{told}`"))?;
    }
    ensure!(front.seen().accepted.is_empty(), "a wrong password was taken: {:?}", front.seen());

    // The right one, which is read for each connection.
    fs::write(&password, format!("{RIGHT}\n"))?;
    let wait_for_ends = |pids: &[u64]| -> Result<()> {
        for mechanism in MECHANISMS {
            wait::until(&format!("ends by {mechanism}"), wait::LONG, || {
                let ends = ends(&cluster, mechanism)?;
                Ok(pids.iter().all(|pid| ends.contains(pid)).then_some(()))
            })?;
        }
        Ok(())
    };
    wait_for_ends(&pids)?;

    // What is too long for the broker, in numbers or alone.
    let refused = front.seen().too_long;
    same("requests that were too long", refused, 0)?;
    for _ in 0..6 {
        pids.push(run(&"x".repeat(1_000))?);
    }
    let long = run(&"y".repeat(9_000))?;
    pids.push(run("c")?);
    wait_for_ends(&pids)?;
    ensure!(front.seen().too_long > 0, "no request was too long");
    for mechanism in MECHANISMS {
        let sink = balanced(&agent, mechanism)?;
        same("dropped", number(sink.get("dropped")), 1)?;
        let mut ends = ends(&cluster, mechanism)?;
        ends.sort_unstable();
        ends.dedup();
        let mut wanted = pids.clone();
        wanted.sort_unstable();
        same("ends", ends, wanted)?;
        ensure!(!pids.contains(&long), "{long} twice");
        let name = mechanism.to_ascii_uppercase();
        let (accepted, refused) = (front.seen().accepted, front.seen().refused);
        ensure!(refused.contains(&name.as_str()), "the server refused no login by {mechanism}");
        ensure!(accepted.contains(&name.as_str()), "the server took no login by {mechanism}");
    }
    let status = agent.ask("status", &["-o", "json"])?;
    let told = format!("{}{}", agent.log()?, String::from_utf8_lossy(&status.stdout));
    ensure!(told.contains("\"too_long\""), "the cause of the drop is not told:\n{told}");
    for secret in [RIGHT, WRONG, "hush"] {
        ensure!(!told.contains(secret), "a password is told:\n{told}");
    }
    agent.stop()
}

//! TLS and mutual TLS, with the commands as clients.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use anyhow::{Context, Result, ensure};

use super::reload::free_port;
use crate::agent::{self, Agent};
use crate::case::{Case, alone};
use crate::observe::same;
use crate::scratch::Scratch;
use crate::wait;

/// The table.
pub const CASES: &[Case] = &[
    alone("certificates-of-server-and-client", mutual).on_any_kernel(),
    alone("addresses-for-others-are-refused", remote).on_any_kernel(),
];

const POLICY: &str = "apiVersion: cilium.io/v1alpha1\nkind: TracingPolicy\nmetadata:\n  name: by-certificate\nspec:\n  \
                      kprobes:\n  - call: sys_getpriority\n    syscall: true\n    args: [{index: 1, type: int}]\n    \
                      selectors:\n    - matchArgs: [{index: 1, operator: Equal, values: [\"770997\"]}]\n";

/// An authority and what it issued, in a directory.
#[derive(Debug)]
pub(crate) struct Authority(PathBuf);

impl Authority {
    pub(crate) fn new(folder: PathBuf) -> Result<Self> {
        let authority = Self(folder);
        authority.openssl(
            "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=authority -keyout ca.key -out ca.pem",
        )?;
        fs::write(authority.0.join("names"), "subjectAltName=DNS:localhost,IP:127.0.0.1\n")?;
        Ok(authority)
    }

    fn openssl(&self, words: &str) -> Result<()> {
        let mut command = Command::new("openssl");
        let output = command.args(words.split(' ')).current_dir(&self.0).output();
        let output = output.context("openssl cannot be run; `scripts/install-deps test` installs it")?;
        ensure!(output.status.success(), "openssl {words}: {}", String::from_utf8_lossy(&output.stderr));
        Ok(())
    }

    pub(crate) fn issue(&self, name: &str) -> Result<()> {
        self.openssl(&format!(
            "req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN={name} -keyout {name}.key -out {name}.csr"
        ))?;
        self.openssl(&format!(
            "x509 -req -CA ca.pem -CAkey ca.key -CAcreateserial -days 2 -extfile names -in {name}.csr -out {name}.pem"
        ))?;
        Ok(fs::set_permissions(self.path(&format!("{name}.key")), fs::Permissions::from_mode(0o600))?)
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    fn flag(&self, flag: &str, name: &str) -> String {
        format!("--{flag}={}", self.path(name).display())
    }
}

/// Runs a command against an address.
fn ask(address: &str, words: &[&str], flags: &[String]) -> Result<Output> {
    let mut command = Command::new(agent::binary()?);
    command.args(words).arg("--server-address").arg(address).args(flags).arg("--timeout=60s");
    command.output().context("cannot run saker")
}

fn said(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

fn start(scratch: &Scratch, flags: &[String]) -> Result<Agent> {
    Agent::start(scratch, &flags.iter().map(String::as_str).collect::<Vec<_>>())
}

fn mutual() -> Result<()> {
    let scratch = Scratch::new()?;
    let ours = Authority::new(scratch.fresh("authority")?)?;
    let theirs = Authority::new(scratch.fresh("stranger")?)?;
    ours.issue("server")?;
    ours.issue("client")?;
    theirs.issue("stranger")?;
    let address = format!("localhost:{}", free_port()?);
    let mut agent = start(
        &scratch,
        &[
            format!("--server-address={address}"),
            ours.flag("server-tls-cert-file", "server.pem"),
            ours.flag("server-tls-key-file", "server.key"),
            ours.flag("server-tls-client-ca-files", "ca.pem"),
            "--server-tls-require-client-cert".to_owned(),
        ],
    )?;
    let trust = ours.flag("tls-ca-cert-files", "ca.pem");
    let shown = [ours.flag("tls-cert-file", "client.pem"), ours.flag("tls-key-file", "client.key")];
    let known = [shown.clone().to_vec(), vec![trust.clone()]].concat();
    let output = ask(&address, &["status"], &known)?;
    ensure!(output.status.success(), "a client with a certificate was refused: {}", said(&output));
    let policy = scratch.path().join("policy.yaml");
    fs::write(&policy, POLICY)?;
    let output = ask(&address, &["policy", "add", &policy.to_string_lossy()], &known)?;
    ensure!(
        output.status.success(),
        "a client with a certificate may not change policies: {}",
        said(&output)
    );
    wait::until("the log to tell who changed a policy", wait::LONG, || {
        Ok(agent.log()?.contains("with the certificate ").then_some(()))
    })?;
    let strange = [
        theirs.flag("tls-cert-file", "stranger.pem"),
        theirs.flag("tls-key-file", "stranger.key"),
        trust.clone(),
    ];
    let unknown = [shown.clone().to_vec(), vec![theirs.flag("tls-ca-cert-files", "ca.pem")]].concat();
    let skipping = [shown.to_vec(), vec!["--tls-skip-verify".to_owned()]].concat();
    let named = [known.clone(), vec!["--tls-server-name=elsewhere".to_owned()]].concat();
    for (who, flags) in [
        ("a client without TLS", Vec::new()),
        ("a client without certificate", vec![trust]),
        ("a client of another authority", strange.to_vec()),
        ("an agent of another authority", unknown),
        ("an agent of another name", named),
    ] {
        let output = ask(&address, &["status"], &flags)?;
        ensure!(!output.status.success(), "{who} was taken: {}", said(&output));
    }
    let output = ask(&address, &["status"], &skipping)?;
    ensure!(output.status.success(), "{}", said(&output));
    // The socket needs no certificate, and commands on this machine find it.
    let output = Command::new(agent::binary()?).arg("status").arg("--run-dir").arg(&agent.dir).output()?;
    ensure!(output.status.success(), "{}", said(&output));
    // Half a new pair is worse than the old one; the whole of it is taken.
    ours.issue("next")?;
    fs::copy(ours.path("next.pem"), ours.path("server.pem"))?;
    wait::until("the agent to refuse a certificate of another key", wait::LONG, || {
        Ok(agent.status()?.problems().contains("certificates of the server are not in force").then_some(()))
    })?;
    let output = ask(&address, &["status"], &known)?;
    ensure!(output.status.success(), "the old certificate is gone: {}", said(&output));
    fs::copy(ours.path("next.key"), ours.path("server.key"))?;
    wait::until("the new certificate", wait::LONG, || {
        Ok((!agent.status()?.problems().contains("certificates")).then_some(()))
    })?;
    let output = ask(&address, &["status"], &known)?;
    ensure!(output.status.success(), "{}", said(&output));
    agent.stop()
}

/// The message of an agent that does not start with these flags.
fn refused(dir: &Path, flags: &[String]) -> Result<String> {
    let output = agent::command(&agent::binary()?, dir).args(flags).output()?;
    same(&format!("status with {flags:?}: {}", said(&output)), output.status.code(), Some(2))?;
    Ok(said(&output))
}

fn remote() -> Result<()> {
    let scratch = Scratch::new()?;
    let dir = scratch.fresh("agent")?;
    let (certificate, key) = ("--server-tls-cert-file=/c".to_owned(), "--server-tls-key-file=/k".to_owned());
    let (clients, required) =
        ("--server-tls-client-ca-files=/a".to_owned(), "--server-tls-require-client-cert".to_owned());
    let everywhere = || "--server-address=0.0.0.0:54321".to_owned();
    let message = refused(&dir, &[everywhere()])?;
    ensure!(message.contains("other machines could reach it"), "{message}");
    let message = refused(&dir, &[everywhere(), certificate.clone(), key.clone()])?;
    ensure!(message.contains("other machines could reach it"), "{message}");
    let message = refused(&dir, std::slice::from_ref(&certificate))?;
    ensure!(message.contains("it needs server-tls-key-file too"), "{message}");
    let message = refused(&dir, &[certificate.clone(), key.clone()])?;
    ensure!(message.contains("TLS is for a server-address with HOST:PORT"), "{message}");
    let local = "--server-address=localhost:54321".to_owned();
    let message = refused(&dir, &[local.clone(), certificate.clone(), key.clone(), clients])?;
    ensure!(message.contains("without server-tls-require-client-cert"), "{message}");
    let message = refused(&dir, &[local, certificate, key, required])?;
    ensure!(message.contains("it needs server-tls-client-ca-files too"), "{message}");
    Ok(())
}

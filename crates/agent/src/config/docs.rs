//! The printed configuration and the reference page, both made from the definition of the options.

use std::fmt::Write;

use super::sources::variable;
use super::{Config, Kind, OPTIONS, Source, peer};

/// The resulting configuration as a YAML file that gives the same result, each line with its source.
#[must_use]
pub fn print(config: &Config) -> String {
    let mut text = String::new();
    let mut group = None;
    for option in OPTIONS {
        let Some(setting) = config.setting(option.name) else { continue };
        if group.replace(option.group) != Some(option.group) {
            let _ = writeln!(text, "# {}", option.group.title());
        }
        // A file cannot name the files it stands among.
        let comment = if matches!(option.name, "config" | "config-dir") { "# " } else { "" };
        let line = format!("{comment}{}: {}", option.name, quoted(&setting.text, option.kind));
        let _ = writeln!(text, "{line:<60} # {}", setting.source);
    }
    text
}

fn quoted(text: &str, kind: Kind) -> String {
    let plain = matches!(kind, Kind::Switch | Kind::Count | Kind::Limit)
        || (!text.is_empty()
            && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"/._-".contains(&byte)));
    if plain && !text.starts_with('-') || text == "-1" {
        return text.to_owned();
    }
    let mut quoted = String::from("\"");
    for char in text.chars() {
        match char {
            '"' | '\\' => quoted.extend(['\\', char]),
            '\n' => quoted.push_str("\\n"),
            '\t' => quoted.push_str("\\t"),
            char if char.is_control() => {
                let _ = write!(quoted, "\\x{:02x}", u32::from(char));
            }
            char => quoted.push(char),
        }
    }
    quoted + "\""
}

const INTRODUCTION: &str = "\
# Configuration

<!-- Written by `saker agent --generate-docs`; change crates/agent/src/config/options.rs instead. -->

Every option can be set in these places; a later one replaces an earlier one's value:

1. its default;
2. one file per option in `/usr/lib/saker/saker.conf.d/`, then `/usr/local/lib/saker/saker.conf.d/`: the name of
   the file is the option, its content the value;
3. `/etc/saker/saker.yaml`, or the file given by `--config`: a flat map of `option: value`;
4. one file per option in `/etc/saker/saker.conf.d/`;
5. one file per option in the directory given by `--config-dir`;
6. the environment variable `SAKER_` and the name in capitals with `_` for `-`;
7. the flag `--OPTION VALUE`.

`saker agent --print-config` prints the result and where each value came from. It is a valid configuration file.

An unknown option in a file is an error that names file and line. So is an option of Tetragon that does not exist
here yet, unless its value says that the thing is off: nothing that was asked for is ignored. Variables that begin
with `TETRAGON_` are not read; the log names those that have a counterpart. An unknown variable that begins with
`SAKER_` is only warned of, because Kubernetes makes such variables for a service named `saker`.

Files, and directories of them, must belong to root, or to the user that runs the agent, and must not be writable
for others. For a directory on a read-only mount that does not matter.

Signals: SIGTERM and SIGINT end the agent, the second one at once; SIGUSR1 rotates the export file; SIGHUP opens it
anew after it was moved, and has the configuration and the policies of files read again, that of `tracing-policy` too.
These options take effect then without a restart: LIVE; where the server has TLS at the start and still, TLS too.
Exports of files that are declared as before go on as they are; one that is declared otherwise gives its place to another, and one that
is gone ends, both with up to three seconds for what waits. Of others that changed, the log and
`saker status` say that they need one. A configuration with a mistake changes nothing, and the log says what is wrong. An agent
with `output` that was started from a terminal ends with it, by SIGHUP.

The log level can also be changed by `saker loglevel set`, until the configuration is read again.

A service manager like systemd is told of the start (READY), of a reload (RELOADING), of the end (STOPPING) and, if it asks for
that (WatchdogSec), that the agent lives: only while the threads that read records, make events and look after both move. One that
has something to do and does not move for 30 seconds, or for WatchdogSec where that is shorter, hangs; a sink that stands still does not count.
Health checks get the same answers: GetHealth of the compatible service; `/livez` (the threads move), `/readyz` and `/healthz` (and
the agent is ready) beside `/metrics`; the standard gRPC health service with the names `liveness`, `readiness` and \"\" (the
same as `readiness`).

With `server-tls-cert-file` and `server-tls-key-file` the address HOST:PORT is served by TLS 1.3, and with
`server-tls-require-client-cert` only to clients with a certificate. The files are looked at every two seconds; when they have changed
they are read again, for connections that begin then. Files that cannot be used, a key beside the certificate of another among them,
change nothing: the log, `saker status` and `saker_certificate_reloads_total` tell. The Unix socket has no TLS: the
system says who comes through it.

`enable-process-cred` and `enable-process-ns` are off by default, as in Tetragon, so that existing pipelines see
events of the same shape.

";

/// The reference page.
#[must_use]
pub fn reference() -> String {
    let live: Vec<_> = crate::reload::LIVE.iter().map(|name| format!("`{name}`")).collect();
    let of_tls: Vec<_> = crate::reload::OF_TLS.iter().map(|name| format!("`{name}`")).collect();
    let mut text = INTRODUCTION
        .replace("LIVE", &live.join(", "))
        .replace("TLS too", &format!("{} too", of_tls.join(", ")));
    let mut group = None;
    for option in OPTIONS {
        if group.replace(option.group) != Some(option.group) {
            let _ = writeln!(text, "## {}\n", option.group.title());
            text.push_str("| option | type | default | meaning |\n|---|---|---|---|\n");
        }
        let short = option.short.map_or(String::new(), |short| format!(", `-{short}`"));
        let default = if option.default.is_empty() { "\"\"" } else { option.default };
        let _ = writeln!(
            text,
            "| `{}`{short} | {} | `{default}` | {} |",
            option.name,
            option.kind.name(),
            option.help.replace('|', "\\|")
        );
        let last = OPTIONS.iter().rev().find(|other| other.group == option.group);
        if last.is_some_and(|last| last.name == option.name) {
            text.push('\n');
        }
    }
    let _ = writeln!(text, "Example of a variable: `{}`.\n", variable("export-filename"));
    text.push_str("## Options of Tetragon that are refused\n\n");
    text.push_str("They are accepted only at a value that asks for nothing.\n\n");
    for name in peer::names() {
        let _ = writeln!(text, "- `{name}`");
    }
    text
}

impl Config {
    /// Names of options that somebody set, for the log.
    #[must_use]
    pub fn changed(&self) -> Vec<&'static str> {
        let set = |name: &&str| self.setting(name).is_some_and(|setting| setting.source != Source::Default);
        OPTIONS.iter().map(|option| option.name).filter(set).collect()
    }
}

//! Exports to the syslog server that Debian has, which the test starts with a configuration of its own.

use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result, ensure};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::agent::Agent;
use crate::case::{Case, alone};
use crate::cases::exports::{balanced, declare, state};
use crate::observe::same;
use crate::scratch::Scratch;
use crate::status::number;
use crate::wait;
use crate::workload::Programs;

/// The table.
pub const CASES: &[Case] = &[alone("exports-to-syslog", to_rsyslog).on_any_kernel()];

/// rsyslogd in a directory of its own.
#[derive(Debug)]
pub struct Rsyslog {
    child: Child,
    dir: PathBuf,
}

impl Rsyslog {
    /// Starts it; what it receives it writes to the file `out` of the directory.
    ///
    /// # Errors
    /// When it is not there, or does not listen.
    pub fn start(dir: &Path, port: u16) -> Result<Self> {
        let path = dir.display();
        let text = format!(
            r#"global(workDirectory="{path}" maxMessageSize="128k")
module(load="imuxsock" SysSock.Use="off")
module(load="imtcp")
module(load="imudp")
template(name="parts" type="string" string="%inputname%|%pri%|%hostname%|%app-name%|%procid%|%msgid%|%structured-data%|%msg%\n")
ruleset(name="out") {{ action(type="omfile" file="{path}/out" template="parts") }}
input(type="imuxsock" Socket="{path}/log" ruleset="out" UseSpecialParser="off" ParseTrusted="off" RateLimit.Interval="0")
input(type="imtcp" address="127.0.0.1" port="{port}" ruleset="out")
input(type="imudp" address="127.0.0.1" port="{port}" ruleset="out")
"#
        );
        fs::write(dir.join("rsyslog.conf"), text)?;
        let log = fs::File::create(dir.join("rsyslogd.log"))?;
        let child = Command::new("/usr/sbin/rsyslogd")
            .args(["-n", "-f"])
            .arg(dir.join("rsyslog.conf"))
            .arg("-i")
            .arg(dir.join("pid"))
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()
            .context("cannot run rsyslogd; scripts/install-deps test installs it")?;
        let server = Self { child, dir: dir.to_owned() };
        wait::until("rsyslogd to listen", wait::LONG, || {
            let tcp = std::net::TcpStream::connect(("127.0.0.1", port)).is_ok();
            Ok((tcp && dir.join("log").exists()).then_some(()))
        })?;
        Ok(server)
    }

    fn stop(&mut self) -> Result<()> {
        let pid = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw).context("not a PID")?;
        kill_process(pid, Signal::TERM)?;
        wait::until("rsyslogd to end", wait::LONG, || Ok(self.child.try_wait()?))?;
        Ok(())
    }

    fn lines(&self) -> Vec<String> {
        let text = fs::read(self.dir.join("out")).unwrap_or_default();
        String::from_utf8_lossy(&text).lines().map(str::to_owned).collect()
    }

    /// The parts of the message about the end of this process that came in this way.
    fn wait_for_exit(&self, input: &str, pid: u32) -> Result<Vec<String>> {
        let mark = format!("\"pid\":{pid},");
        wait::until(&format!("the exit of {pid} by {input}"), wait::LONG, || {
            let lines = self.lines();
            let found = lines.iter().find(|line| {
                line.starts_with(input) && line.contains("process_exit") && line.contains(&mark)
            });
            Ok(found.map(|line| line.splitn(8, '|').map(str::to_owned).collect()))
        })
    }
}

impl Drop for Rsyslog {
    fn drop(&mut self) {
        // Fails when it has ended, which is as good.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn to_rsyslog() -> Result<()> {
    let scratch = Scratch::new()?;
    let programs = Programs::install(&scratch)?;
    let dir = scratch.fresh("rsyslog")?;
    let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
    let mut server = Rsyslog::start(&dir, port)?;
    let text = format!(
        "- name: by-tcp\n  kind: syslog\n  address: tcp://127.0.0.1:{port}\n  structured-data: saker@32473\n  \
         facility: local3\n  severity: notice\n\
         - name: by-socket\n  kind: syslog\n  address: unixgram://{}/log\n  deny: [{{event_set: [PROCESS_EXEC]}}]\n\
         - name: by-udp\n  kind: syslog\n  address: udp://127.0.0.1:{port}\n  app-name: other\n",
        dir.display()
    );
    let exports = declare(&scratch, &text)?;
    let mut agent = Agent::start(&scratch, &["--export-config", &exports.display().to_string()])?;
    let process = programs.start(&scratch, &["marker"])?.finish()?;

    let parts = server.wait_for_exit("imtcp", process.pid)?;
    // local3 is 19, notice is 5.
    same("priority", parts[1].as_str(), "157")?;
    same("application", parts[3].as_str(), "saker")?;
    same("process", parts[4].parse::<u32>()?, agent.pid())?;
    same("message id", parts[5].as_str(), "process_exit")?;
    let structured = format!("[saker@32473 pid=\"{}\" exec_id=\"", process.pid);
    ensure!(parts[6].starts_with(&structured), "structured data: {}", parts[6]);
    let event: Value = serde_json::from_str(parts[7].trim().trim_start_matches('\u{feff}'))?;
    same("the event", event["process_exit"]["process"]["pid"].as_u64(), Some(process.pid.into()))?;
    same("node", event["node_name"].as_str(), Some(parts[2].as_str()))?;

    let parts = server.wait_for_exit("imuxsock", process.pid)?;
    // Audit is 13, informational is 6.
    same("priority", parts[1].as_str(), "110")?;
    same("no structured data", parts[6].as_str(), "-")?;
    let parts = server.wait_for_exit("imudp", process.pid)?;
    same("application", parts[3].as_str(), "other")?;
    ensure!(
        !server.lines().iter().any(|line| line.starts_with("imuxsock") && line.contains("|process_exec|")),
        "an event that was denied"
    );

    // The server goes away and comes back: what happens meanwhile waits in the queue.
    server.stop()?;
    let away = programs.start(&scratch, &["marker"])?.finish()?;
    wait::until("the export to notice that nobody is there", wait::LONG, || {
        let sink = state(&agent, "by-tcp")?;
        let failing = sink["last_error"].as_str().is_some_and(|error| error.contains("syslog server"));
        Ok((failing && number(sink.get("errors")) > 0).then_some(()))
    })?;
    let server = Rsyslog::start(&dir, port)?;
    server.wait_for_exit("imtcp", away.pid)?;
    server.wait_for_exit("imuxsock", away.pid)?;
    for name in ["by-tcp", "by-socket"] {
        let sink = balanced(&agent, name)?;
        same("dropped", number(sink.get("dropped")), 0)?;
    }
    agent.stop()
}

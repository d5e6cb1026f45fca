//! Commands for people, on a terminal of their own: the screen they take, the keys they know, and what they leave behind.

use std::ffi::CString;
use std::fs;
use std::os::fd::OwnedFd;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context, Result, ensure};
use rustix::fs::{Mode, OFlags};
use rustix::process::{Pid, Signal, kill_process};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{LocalModes, Winsize, tcgetattr, tcsetwinsize};

use crate::agent::{self, Agent};
use crate::case::{Case, alone};
use crate::observe::same;
use crate::scratch::Scratch;
use crate::wait;

/// The table.
pub const CASES: &[Case] = &[
    alone("top-on-a-terminal", top).on_any_kernel(),
    alone("pager-on-terminals-only", pager).on_any_kernel(),
];

/// A terminal, and what was written to it since it was looked at last.
struct Terminal {
    master: Arc<OwnedFd>,
    slave: OwnedFd,
    written: Arc<Mutex<Vec<u8>>>,
    child: Option<Child>,
}

impl Terminal {
    fn open(columns: u16, rows: u16) -> Result<Self> {
        let master = Arc::new(openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC)?);
        grantpt(&*master)?;
        unlockpt(&*master)?;
        let name: CString = ptsname(&*master, Vec::new())?;
        let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC;
        let slave = rustix::fs::open(name.as_c_str(), flags, Mode::empty())?;
        tcsetwinsize(&slave, Winsize { ws_col: columns, ws_row: rows, ws_xpixel: 0, ws_ypixel: 0 })?;
        let written = Arc::new(Mutex::new(Vec::new()));
        let (from, to) = (Arc::clone(&master), Arc::clone(&written));
        // It ends when the last holder of the other end is gone.
        std::thread::spawn(move || {
            let mut bytes = [0; 4096];
            while let Ok(count @ 1..) = rustix::io::read(&*from, &mut bytes) {
                to.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(&bytes[..count]);
            }
        });
        Ok(Self { master, slave, written, child: None })
    }

    /// Runs a command that has this terminal as its own.
    fn run(&mut self, command: &Command) -> Result<()> {
        self.written.lock().unwrap_or_else(PoisonError::into_inner).clear();
        let mut own = Command::new("setsid");
        own.arg("--ctty").arg(command.get_program()).args(command.get_args());
        own.envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
        own.stdin(self.slave.try_clone()?).stdout(self.slave.try_clone()?).stderr(self.slave.try_clone()?);
        self.child = Some(own.spawn().context("cannot run setsid")?);
        Ok(())
    }

    fn text(&self) -> String {
        String::from_utf8_lossy(&self.written.lock().unwrap_or_else(PoisonError::into_inner)).into_owned()
    }

    fn await_text(&mut self, text: &str) -> Result<()> {
        wait::until(text, wait::LONG, || {
            let found = self.text().contains(text);
            let child = self.child.as_mut().context("nothing runs")?;
            ensure!(found || child.try_wait()?.is_none(), "it ended without {text:?}: {:?}", self.text());
            Ok(found.then_some(()))
        })
    }

    fn press(&self, keys: &str) -> Result<()> {
        rustix::io::write(&*self.master, keys.as_bytes())?;
        Ok(())
    }

    fn signal(&self, signal: Signal) -> Result<()> {
        let child = self.child.as_ref().context("nothing runs")?;
        let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw).context("not a PID")?;
        Ok(kill_process(pid, signal)?)
    }

    /// Keys are shown and gathered to lines.
    fn is_cooked(&self) -> Result<bool> {
        Ok(tcgetattr(&self.slave)?.local_modes.contains(LocalModes::ICANON | LocalModes::ECHO))
    }

    /// Status of the command at its end.
    fn end(&mut self) -> Result<Option<i32>> {
        let mut child = self.child.take().context("nothing runs")?;
        let status = wait::until("the end of the command", wait::LONG, || Ok(child.try_wait()?));
        if status.is_err() {
            let _ = child.kill();
            let _ = child.wait();
        }
        Ok(status?.code())
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

const OTHER_SCREEN: &str = "\x1b[?1049h";
const FIRST_SCREEN: &str = "\x1b[?25h\x1b[?1049l";
/// In the head of every interval.
const DRAWN: &str = "agent:";

/// The screen is taken and drawn; whatever ends it gives the screen back, and the terminal has the settings it had.
fn top() -> Result<()> {
    let scratch = Scratch::new()?;
    let mut agent = Agent::start(&scratch, &[])?;
    let mut terminal = Terminal::open(80, 24)?;
    let before = format!("{:?}", tcgetattr(&terminal.slave)?);
    let mut command = agent.client("top");
    command.args(["--interval", "100ms", "--no-statistics"]);
    type End = fn(&Terminal) -> Result<()>;
    let ends: [(&str, End); 5] = [
        ("q", |terminal| terminal.press("q")),
        ("the key for interrupts", |terminal| terminal.press("\x03")),
        ("SIGTERM", |terminal| terminal.signal(Signal::TERM)),
        ("SIGHUP", |terminal| terminal.signal(Signal::HUP)),
        ("q after a pause", |terminal| {
            terminal.press("\x1a")?;
            let child = terminal.child.as_ref().context("nothing runs")?;
            let stat = format!("/proc/{}/stat", child.id());
            wait::until("it to stop", wait::LONG, || {
                Ok(fs::read_to_string(&stat)?.contains(") T ").then_some(()))
            })?;
            ensure!(terminal.is_cooked()?, "the terminal is not as it was while it is stopped");
            terminal.await_end_of_screen("a pause")?;
            terminal.signal(Signal::CONT)?;
            wait::until("the screen to come back", wait::LONG, || {
                let text = terminal.text();
                let after = text.rsplit_once(FIRST_SCREEN).map_or("", |(_, after)| after);
                Ok((after.starts_with(OTHER_SCREEN) && after.contains(DRAWN)).then_some(()))
            })?;
            terminal.press("q")
        }),
    ];
    for (what, end) in ends {
        terminal.run(&command)?;
        terminal.await_text(DRAWN)?;
        ensure!(terminal.text().starts_with(OTHER_SCREEN), "no screen of its own: {:?}", terminal.text());
        ensure!(!terminal.is_cooked()?, "keys are shown");
        // Others mean nothing to it.
        terminal.press("x\n")?;
        end(&terminal)?;
        same(what, terminal.end()?, Some(0))?;
        terminal.await_end_of_screen(what)?;
        same(what, format!("{:?}", tcgetattr(&terminal.slave)?), before.clone())?;
    }
    agent.stop()
}

impl Terminal {
    /// What was written last may still be on its way.
    fn await_end_of_screen(&self, what: &str) -> Result<()> {
        let ended = wait::until("the first screen", wait::LONG, || {
            Ok(self.text().ends_with(FIRST_SCREEN).then_some(()))
        });
        ended.with_context(|| format!("{what}: {:?}", self.text()))
    }
}

/// Long texts go through a pager where somebody can turn pages, and nowhere else.
fn pager() -> Result<()> {
    let command = |pager: &str, more: &[&str]| -> Result<Command> {
        let mut command = Command::new(agent::binary()?);
        command.args(["explain", "tracingpolicy", "--recursive"]).args(more).env("SAKER_PAGER", pager);
        Ok(command)
    };
    let marking = "sed s/^/paged:/";
    for (what, pager, more, is_paged) in [
        ("a terminal", marking, &[][..], true),
        ("a terminal, and no pager wanted", marking, &["--no-pager"], false),
        ("cat", "cat", &[], false),
        ("a pager that there is not", "/nonexistent/pager", &[], false),
    ] {
        let mut terminal = Terminal::open(80, 10)?;
        terminal.run(&command(pager, more)?)?;
        same(what, terminal.end()?, Some(0))?;
        wait::until("the text", wait::LONG, || Ok(terminal.text().contains("spec").then_some(())))?;
        same(what, terminal.text().contains("paged:"), is_paged)?;
        ensure!(terminal.is_cooked()?, "{what}: the terminal is not as it was");
    }
    let mut terminal = Terminal::open(80, 60_000)?;
    terminal.run(&command(marking, &[])?)?;
    same("a long terminal", terminal.end()?, Some(0))?;
    wait::until("the text", wait::LONG, || Ok(terminal.text().contains("spec").then_some(())))?;
    ensure!(!terminal.text().contains("paged:"), "a text that fits is paged");
    let output = command(marking, &[])?.stdin(Stdio::null()).output()?;
    let text = String::from_utf8_lossy(&output.stdout);
    ensure!(text.contains("spec") && !text.contains("paged:") && !text.contains('\x1b'), "a pipe: {text}");
    Ok(())
}

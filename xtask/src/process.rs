//! Running the programs that xtask builds on, with errors that name the program and show what it said.

use std::env;
use std::ffi::OsStr;
use std::io;
use std::process::{Command, Output, Stdio};

use anyhow::{Context, Result, bail};

/// Directories that hold `depmod` and `modprobe` and are missing from the search path of ordinary users.
const ADMIN_PATH: &str = "/usr/local/sbin:/usr/sbin:/sbin";

/// A command whose search path includes the system administrator's programs.
pub(crate) fn command(program: impl AsRef<OsStr>) -> Command {
    let mut path = env::var_os("PATH").unwrap_or_default();
    path.push(":");
    path.push(ADMIN_PATH);
    let mut command = Command::new(program);
    command.env("PATH", path);
    command
}

/// Adds what to do to the error of a program that could not be started.
pub(crate) fn start_error(error: io::Error, command: &Command) -> anyhow::Error {
    let program = command.get_program().display().to_string();
    let missing = error.kind() == io::ErrorKind::NotFound;
    let error = anyhow::Error::new(error).context(format!("cannot start {program}"));
    if missing {
        error.context("a needed program is missing; scripts/install-deps test installs it")
    } else {
        error
    }
}

/// Runs to the end and returns the standard output; anything but success is an error with the last
/// lines of what the program printed.
pub(crate) fn output(command: &mut Command) -> Result<String> {
    let done = command.stdin(Stdio::null()).output().map_err(|error| start_error(error, command))?;
    check(command, &done)?;
    String::from_utf8(done.stdout).with_context(|| format!("output of `{}` is not UTF-8", shown(command)))
}

/// Runs to the end with the given standard input and output, and fails like [`output`].
pub(crate) fn filter(command: &mut Command, input: impl Into<Stdio>, output: impl Into<Stdio>) -> Result<()> {
    let child = command
        .stdin(input)
        .stdout(output)
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|error| start_error(error, command))?;
    let done = child.wait_with_output().with_context(|| format!("waiting for `{}`", shown(command)))?;
    check(command, &done)
}

fn check(command: &Command, done: &Output) -> Result<()> {
    if done.status.success() {
        return Ok(());
    }
    let said = [tail(&done.stdout), tail(&done.stderr)].join("\n");
    bail!("`{}` failed ({}): {}", shown(command), done.status, said.trim());
}

fn tail(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(10)..].join("\n")
}

fn shown(command: &Command) -> String {
    let mut text = command.get_program().display().to_string();
    for argument in command.get_args() {
        text.push(' ');
        text.push_str(&argument.to_string_lossy());
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failure_names_the_program_and_what_it_said() {
        let error = output(command("sh").args(["-c", "echo broken >&2; exit 3"])).unwrap_err();
        let text = format!("{error:#}");
        assert!(text.contains("sh -c") && text.contains("broken") && text.contains('3'), "{text}");
    }

    #[test]
    fn missing_program_says_what_installs_it() {
        let error = output(&mut command("no-such-program-here")).unwrap_err();
        assert!(format!("{error:#}").contains("install-deps"));
    }
}

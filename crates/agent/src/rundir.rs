//! The run directory: one agent at a time, and how others find it.

use std::fs::{self, DirBuilder, File, OpenOptions, Permissions, TryLockError};
use std::io::{self, Read, Seek, Write};
use std::os::unix::fs::{DirBuilderExt, FileTypeExt, OpenOptionsExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

use serde_json::json;

use crate::config::Settings;

/// Name of the info file.
pub const INFO_FILE: &str = "saker-info.json";
const PID_FILE: &str = "saker.pid";

/// Why the agent cannot settle in its run directory.
#[derive(Debug, thiserror::Error)]
pub enum RunDirError {
    /// Another agent is there.
    #[error("another agent runs already{}: it holds {}; stop it, or give this one another --run-dir and --server-address", owner(*pid), path.display())]
    Taken {
        /// Its PID, when known.
        pid: Option<u32>,
        /// What it holds.
        path: PathBuf,
    },
    /// Something that is no socket is where the socket shall be.
    #[error("{} exists and is not a socket; remove it or choose another --server-address", path.display())]
    NotASocket {
        /// The path.
        path: PathBuf,
    },
    /// There is no such group.
    #[error(
        "there is no group `{name}` for server-socket-group; make it with `groupadd --system {name}`, or give its number"
    )]
    NoGroup {
        /// Its name.
        name: String,
    },
    /// The system refused.
    #[error("cannot {operation} {}: {source}", path.display())]
    Io {
        /// What.
        operation: &'static str,
        /// Where.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
}

fn owner(pid: Option<u32>) -> String {
    pid.map_or(String::new(), |pid| format!(" with PID {pid}"))
}

/// The run directory, locked for this agent. Its files go when it is dropped; the lock file stays, for removing
/// it would let two agents lock two files of one name.
#[derive(Debug)]
pub struct RunDir {
    path: PathBuf,
    sockets: Vec<PathBuf>,
    lock: File,
}

impl RunDir {
    /// Creates the directory if needed, locks it and writes the PID file.
    ///
    /// # Errors
    /// Another agent holds it, or the system refuses.
    pub fn claim(path: &Path) -> Result<Self, RunDirError> {
        let failed = |operation, path: &Path| {
            let path = path.to_owned();
            move |source| RunDirError::Io { operation, path, source }
        };
        if !path.is_dir() {
            DirBuilder::new()
                .recursive(true)
                .mode(0o755)
                .create(path)
                .map_err(failed("create the run directory", path))?;
        }
        let pid_path = path.join(PID_FILE);
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false).mode(0o644);
        let mut lock = options.open(&pid_path).map_err(failed("open", &pid_path))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let mut text = String::new();
                let _ = Read::by_ref(&mut lock).take(32).read_to_string(&mut text);
                return Err(RunDirError::Taken { pid: text.trim().parse().ok(), path: pid_path });
            }
            Err(TryLockError::Error(source)) => return Err(failed("lock", &pid_path)(source)),
        }
        let written = lock
            .set_len(0)
            .and_then(|()| lock.rewind())
            .and_then(|()| writeln!(lock, "{}", std::process::id()));
        written.map_err(failed("write", &pid_path))?;
        // What an agent that was killed left says that it is ready; it is not.
        let _ = fs::remove_file(path.join(INFO_FILE));
        Ok(Self { path: path.to_owned(), sockets: Vec::new(), lock })
    }

    /// Listens on a Unix socket with these permissions, of this group; empty: of the agent's own. A socket nobody listens on any more is replaced.
    ///
    /// # Errors
    /// Somebody listens there, something else is there, or the system refuses.
    pub fn listen(&mut self, socket: &Path, access: (u32, &str)) -> Result<UnixListener, RunDirError> {
        let (mode, group) = access;
        let group = group_of(group)?;
        let failed = |operation| {
            let path = socket.to_owned();
            move |source| RunDirError::Io { operation, path, source }
        };
        if let Ok(found) = fs::symlink_metadata(socket) {
            if !found.file_type().is_socket() {
                return Err(RunDirError::NotASocket { path: socket.to_owned() });
            }
            if let Ok(stream) = UnixStream::connect(socket) {
                let peer = rustix::net::sockopt::socket_peercred(&stream).ok();
                let pid = peer.and_then(|peer| u32::try_from(peer.pid.as_raw_nonzero().get()).ok());
                return Err(RunDirError::Taken { pid, path: socket.to_owned() });
            }
            tracing::info!(socket = %socket.display(), "replacing the socket of an agent that was killed");
            fs::remove_file(socket).map_err(failed("remove the old socket"))?;
        }
        // The socket must not be open to others even for the moment before its mode is set.
        let before = rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o177));
        let listener = UnixListener::bind(socket);
        rustix::process::umask(before);
        let listener = listener.map_err(failed("listen on"))?;
        self.sockets.push(socket.to_owned());
        if let Some(group) = group {
            std::os::unix::fs::lchown(socket, None, Some(group)).map_err(failed("set the group of"))?;
        }
        fs::set_permissions(socket, Permissions::from_mode(mode)).map_err(failed("set the mode of"))?;
        listener.set_nonblocking(true).map_err(failed("listen on"))?;
        Ok(listener)
    }

    /// Writes the info file: whoever finds it finds a working agent.
    ///
    /// # Errors
    /// The system refuses.
    pub fn announce(&self, settings: &Settings) -> Result<(), RunDirError> {
        let export = settings.export.as_ref().map(|export| export.file.path.display().to_string());
        // Commands on this machine need no certificate: they come through the socket.
        let address = match (&settings.server.tls, &settings.server.socket) {
            (Some(_), Some(socket)) => format!("unix://{}", socket.display()),
            _ => settings.server.address.clone(),
        };
        let info = json!({
            "export_fname": export.unwrap_or_default(),
            "server_address": address,
            "metrics_address": settings.metrics.clone().unwrap_or_default(),
            "pid": std::process::id(),
            "version": crate::VERSION,
        });
        let path = self.path.join(INFO_FILE);
        let failed = |source| RunDirError::Io { operation: "write", path: path.clone(), source };
        // Under another name first, so that no reader sees half of it.
        let unfinished = self.path.join(format!("{INFO_FILE}.tmp"));
        fs::write(&unfinished, format!("{info}\n")).map_err(failed)?;
        fs::set_permissions(&unfinished, Permissions::from_mode(0o644)).map_err(failed)?;
        fs::rename(&unfinished, &path).map_err(failed)
    }
}

/// The number of a group by its name or number; `None`: none is named.
fn group_of(name: &str) -> Result<Option<u32>, RunDirError> {
    const GROUPS: &str = "/etc/group";
    if name.is_empty() {
        return Ok(None);
    }
    if let Ok(number) = name.parse() {
        return Ok(Some(number));
    }
    let failed = |source| RunDirError::Io { operation: "read", path: GROUPS.into(), source };
    let text = fs::read_to_string(GROUPS).map_err(failed)?;
    let number = text.lines().find_map(|line| {
        let mut fields = line.split(':');
        (fields.next() == Some(name)).then(|| fields.nth(1)?.parse().ok()).flatten()
    });
    number.map(Some).ok_or_else(|| RunDirError::NoGroup { name: name.to_owned() })
}

impl Drop for RunDir {
    fn drop(&mut self) {
        let _ = fs::remove_file(self.path.join(INFO_FILE));
        for socket in &self.sockets {
            let _ = fs::remove_file(socket);
        }
        let _ = self.lock.set_len(0);
    }
}

/// The address that an info file tells, if there is one.
#[must_use]
pub fn announced_address(run_dir: &Path) -> Option<String> {
    let text = fs::read_to_string(run_dir.join(INFO_FILE)).ok()?;
    let info: serde_json::Value = serde_json::from_str(&text).ok()?;
    Some(info.get("server_address")?.as_str()?.to_owned()).filter(|address| !address.is_empty())
}

#[cfg(test)]
mod tests {
    use tempfile::TempDir;

    use super::*;

    #[test]
    fn second_agent_is_told_who_is_first() {
        let directory = TempDir::new().unwrap();
        let path = directory.path().join("run/saker");
        let first = RunDir::claim(&path).unwrap();
        let error = RunDir::claim(&path).unwrap_err().to_string();
        assert!(error.contains(&format!("with PID {}", std::process::id())), "{error}");
        drop(first);
        RunDir::claim(&path).unwrap();
    }

    #[test]
    fn socket_has_its_mode_and_goes_at_the_end() {
        let directory = TempDir::new().unwrap();
        let socket = directory.path().join("s");
        let mut run = RunDir::claim(directory.path()).unwrap();
        let _listener = run.listen(&socket, (0o660, "")).unwrap();
        assert_eq!(fs::metadata(&socket).unwrap().permissions().mode() & 0o7777, 0o660);
        drop(run);
        assert!(!socket.exists());
    }

    #[test]
    fn stale_socket_is_replaced_and_a_live_one_refused() {
        let directory = TempDir::new().unwrap();
        let socket = directory.path().join("s");
        let other = UnixListener::bind(&socket).unwrap();
        let mut run = RunDir::claim(directory.path()).unwrap();
        let error = run.listen(&socket, (0o660, "")).unwrap_err().to_string();
        assert!(error.contains(&format!("with PID {}", std::process::id())), "{error}");
        drop(other);
        run.listen(&socket, (0o660, "")).unwrap();
    }

    #[test]
    fn other_files_are_left_alone() {
        let directory = TempDir::new().unwrap();
        let path = directory.path().join("s");
        fs::write(&path, "precious").unwrap();
        let mut run = RunDir::claim(directory.path()).unwrap();
        assert!(matches!(run.listen(&path, (0o660, "")), Err(RunDirError::NotASocket { .. })));
        assert_eq!(fs::read_to_string(&path).unwrap(), "precious");
    }

    #[test]
    fn info_file_is_there_only_while_the_agent_is() {
        let directory = TempDir::new().unwrap();
        let places = crate::config::Places { root: "/nonexistent".into(), environment: Default::default() };
        let flags = [("server-address".to_owned(), "unix:///x/y".to_owned())];
        let settings = crate::config::Config::load(&places, &flags).unwrap().settings().unwrap();
        fs::write(directory.path().join(INFO_FILE), "{\"server_address\":\"stale\"}").unwrap();
        let run = RunDir::claim(directory.path()).unwrap();
        assert_eq!(announced_address(directory.path()), None);
        run.announce(&settings).unwrap();
        assert_eq!(announced_address(directory.path()).as_deref(), Some("unix:///x/y"));
        drop(run);
        assert_eq!(announced_address(directory.path()), None);
    }
}

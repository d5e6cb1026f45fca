//! Everything the kernel told, in a file, so that it can be told to an engine again.
//!
//! The file begins with [`MAGIC`] and a header: what the engine was configured with, as lines `name=value`.
//! Then follow frames: one byte of kind, three of zero, the length as 32 bits little-endian, and the content.
//! What is in the file is what the engine got, in the order it got it; so the replay gives the same events.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, BufRead, BufReader, BufWriter, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use saker_abi::{NamespaceInums, Stats};
use saker_api::event::{Event, Node, Visible};
use saker_engine::{Ancestors, Engine, EngineConfig, Environment, SnapshotKind, SnapshotTask, UserNames};
use zerocopy::{FromBytes, IntoBytes};

/// The first bytes of a recording.
pub const MAGIC: &[u8; 16] = b"saker recording\n";
const VERSION: &str = "1";
/// Longest content of a frame; none that we write comes near.
const MAX_FRAME: u32 = 64 << 20;
/// Longest header.
const MAX_HEADER: u64 = 1 << 20;

const RECORD: u8 = 1;
const TASK: u8 = 2;
const SNAPSHOT: u8 = 3;
const SAMPLE: u8 = 4;
const CLOCK: u8 = 5;
const LOST: u8 = 6;

/// Why a recording cannot be replayed.
#[derive(Debug, thiserror::Error)]
pub enum RecordingError {
    /// Reading failed.
    #[error("cannot read the recording {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// Not a recording, or one of another version, or a damaged one.
    #[error("{} is not a usable recording: {what}", path.display())]
    Format {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        what: String,
    },
}

/// What the engine was configured with when the recording was made.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Setup {
    /// Name of the node.
    pub node: String,
    /// Name of the cluster.
    pub cluster: String,
    /// Wall clock minus boot time, nanoseconds.
    pub boot_to_wall: u64,
    /// Namespaces of the host's first process.
    pub host_namespaces: NamespaceInums,
    /// Optional fields.
    pub visible: Visible,
    /// Which events carry ancestors.
    pub ancestors: Ancestors,
    /// Bound of the process table.
    pub processes: usize,
    /// What is kept of environments.
    pub environment: Environment,
    /// Names of the host's users, if they are shown.
    pub users: Vec<(u32, Box<str>)>,
}

/// The users of a recording.
struct Users(HashMap<u32, Box<str>>);

impl UserNames for Users {
    fn name(&mut self, uid: u32) -> Option<Box<str>> {
        self.0.get(&uid).cloned()
    }
}

impl Setup {
    /// The configuration of an engine.
    #[must_use]
    pub fn engine(&self) -> EngineConfig {
        let node = Node { name: self.node.clone(), cluster: self.cluster.clone(), ..Node::default() };
        EngineConfig {
            node: Arc::new(node),
            visible: self.visible,
            ancestors: self.ancestors,
            capacity: self.processes,
            boot_to_wall: self.boot_to_wall,
            host_namespaces: self.host_namespaces,
            environment: self.environment.clone(),
            users: (!self.users.is_empty())
                .then(|| Box::new(Users(self.users.iter().cloned().collect())) as Box<dyn UserNames>),
            ..EngineConfig::default()
        }
    }

    fn to_text(&self) -> String {
        let namespaces = &self.host_namespaces;
        let inums = namespaces
            .as_bytes()
            .chunks_exact(4)
            .map(|bytes| u32::from_ne_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]).to_string());
        let fields = [
            ("version", VERSION.to_owned()),
            ("node", self.node.clone()),
            ("cluster", self.cluster.clone()),
            ("boot_to_wall", self.boot_to_wall.to_string()),
            ("host_namespaces", inums.collect::<Vec<_>>().join(",")),
            ("credentials", self.visible.credentials.to_string()),
            ("namespaces", self.visible.namespaces.to_string()),
            ("extras", self.visible.extras.to_string()),
            ("ancestors_exec", self.ancestors.exec.to_string()),
            ("ancestors_exit", self.ancestors.exit.to_string()),
            ("processes", self.processes.to_string()),
            ("environment", self.environment.enabled.to_string()),
            ("environment_names", self.environment.names.join(",")),
            (
                "users",
                self.users.iter().map(|(uid, name)| format!("{uid}:{name}")).collect::<Vec<_>>().join(","),
            ),
        ];
        let line = |(name, value): (&str, String)| format!("{name}={}\n", value.replace('\n', " "));
        fields.map(line).concat()
    }

    fn from_text(text: &str) -> Result<Self, String> {
        let mut setup = Self::default();
        let mut version = None;
        for line in text.lines() {
            let (name, value) = line.split_once('=').ok_or_else(|| format!("header line `{line}`"))?;
            let wrong = || format!("header value `{line}`");
            let switch = || value.parse::<bool>().map_err(|_| wrong());
            match name {
                "version" => version = Some(value),
                "node" => value.clone_into(&mut setup.node),
                "cluster" => value.clone_into(&mut setup.cluster),
                "boot_to_wall" => setup.boot_to_wall = value.parse().map_err(|_| wrong())?,
                "host_namespaces" => setup.host_namespaces = inums(value).ok_or_else(wrong)?,
                "credentials" => setup.visible.credentials = switch()?,
                "namespaces" => setup.visible.namespaces = switch()?,
                "extras" => setup.visible.extras = switch()?,
                "ancestors_exec" => setup.ancestors.exec = switch()?,
                "ancestors_exit" => setup.ancestors.exit = switch()?,
                "processes" => setup.processes = value.parse().map_err(|_| wrong())?,
                "environment" => setup.environment.enabled = switch()?,
                "environment_names" => {
                    let names = value.split(',').filter(|name| !name.is_empty());
                    setup.environment.names = names.map(str::to_owned).collect();
                }
                "users" => {
                    let users = value.split(',').filter_map(|user| user.split_once(':'));
                    setup.users =
                        users.filter_map(|(uid, name)| Some((uid.parse().ok()?, name.into()))).collect();
                }
                // A newer minor version may say more.
                _ => {}
            }
        }
        match version {
            Some(VERSION) => Ok(setup),
            other => Err(format!("version {}, only {VERSION} is known", other.unwrap_or("unknown"))),
        }
    }
}

fn inums(text: &str) -> Option<NamespaceInums> {
    let numbers: Vec<u32> = text.split(',').map(str::parse).collect::<Result<_, _>>().ok()?;
    let bytes: Vec<u8> = numbers.iter().flat_map(|number| number.to_ne_bytes()).collect();
    NamespaceInums::read_from_bytes(&bytes).ok()
}

/// Writes a recording. The first error ends it; the agent goes on without.
#[derive(Debug)]
pub struct Recorder {
    path: PathBuf,
    file: Option<BufWriter<File>>,
}

impl Recorder {
    /// Begins a file, readable only for its owner: records hold command lines.
    ///
    /// # Errors
    /// The file cannot be created or written.
    pub fn create(path: &Path, setup: &Setup) -> io::Result<Self> {
        let file = File::options().write(true).create(true).truncate(true).mode(0o600).open(path)?;
        let mut file = BufWriter::with_capacity(64 * 1024, file);
        let header = setup.to_text();
        file.write_all(MAGIC)?;
        file.write_all(&u32::try_from(header.len()).map_err(io::Error::other)?.to_le_bytes())?;
        file.write_all(header.as_bytes())?;
        file.flush()?;
        Ok(Self { path: path.to_owned(), file: Some(file) })
    }

    /// One record.
    pub fn record(&mut self, bytes: &[u8]) {
        self.frame(RECORD, &[bytes]);
    }

    /// A snapshot.
    pub fn snapshot(&mut self, tasks: &[SnapshotTask], kind: SnapshotKind) {
        for task in tasks {
            let lengths = [task.record.len(), task.args.len()].map(|length| (length as u32).to_le_bytes());
            self.frame(TASK, &[&lengths[0], &lengths[1], &task.record, &task.args, &task.envs]);
        }
        self.frame(SNAPSHOT, &[&[u8::from(kind == SnapshotKind::Resync)]]);
    }

    /// A sample of the kernel's counters.
    pub fn sample(&mut self, stats: &[Stats], drained: bool) {
        self.frame(SAMPLE, &[&[u8::from(drained)], stats.as_bytes()]);
    }

    /// A loss that no sequence number shows.
    pub fn lost(&mut self, stage: &str, lost: u64) {
        self.frame(LOST, &[&lost.to_le_bytes(), stage.as_bytes()]);
    }

    /// A new distance of the clocks.
    pub fn clock(&mut self, boot_to_wall: u64) {
        self.frame(CLOCK, &[&boot_to_wall.to_le_bytes()]);
    }

    /// Hands what was written to the system.
    pub fn flush(&mut self) {
        if let Some(Err(error)) = self.file.as_mut().map(Write::flush) {
            self.stop(&error);
        }
    }

    fn frame(&mut self, kind: u8, parts: &[&[u8]]) {
        let Some(file) = &mut self.file else { return };
        let length: usize = parts.iter().map(|part| part.len()).sum();
        let mut write = || {
            file.write_all(&[kind, 0, 0, 0])?;
            file.write_all(&u32::try_from(length).map_err(io::Error::other)?.to_le_bytes())?;
            parts.iter().try_for_each(|part| file.write_all(part))
        };
        if let Err(error) = write() {
            self.stop(&error);
        }
    }

    fn stop(&mut self, error: &io::Error) {
        tracing::error!(path = %self.path.display(), %error, "recording ended: it cannot be written");
        self.file = None;
    }
}

/// Reads a recording and tells it to an engine.
pub struct Replay {
    path: PathBuf,
    file: BufReader<File>,
    setup: Setup,
    frame: Vec<u8>,
    tasks: Vec<SnapshotTask>,
}

impl Replay {
    /// Opens a file and reads its header.
    ///
    /// # Errors
    /// It cannot be read, or is not a recording.
    pub fn open(path: &Path) -> Result<Self, RecordingError> {
        let failed = |source| RecordingError::Read { path: path.to_owned(), source };
        let format = |what: &str| RecordingError::Format { path: path.to_owned(), what: what.to_owned() };
        let mut file = BufReader::with_capacity(256 * 1024, File::open(path).map_err(failed)?);
        let mut start = [0; MAGIC.len() + 4];
        match file.read_exact(&mut start) {
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                return Err(format("it is too short"));
            }
            other => other.map_err(failed)?,
        }
        let (magic, length) = start.split_at(MAGIC.len());
        if magic != MAGIC {
            return Err(format("it does not begin as one; make one with `saker agent --record FILE`"));
        }
        let length = u64::from(u32::from_le_bytes([length[0], length[1], length[2], length[3]]));
        if length > MAX_HEADER {
            return Err(format("its header is too long"));
        }
        let mut header = String::new();
        let read = Read::by_ref(&mut file).take(length).read_to_string(&mut header).map_err(failed)?;
        if read as u64 != length {
            return Err(format("its header is cut"));
        }
        let setup = Setup::from_text(&header).map_err(|what| format(&what))?;
        Ok(Self { path: path.to_owned(), file, setup, frame: Vec::new(), tasks: Vec::new() })
    }

    /// What the engine was configured with.
    #[must_use]
    pub fn setup(&self) -> &Setup {
        &self.setup
    }

    /// Tells the next frame to the engine. `false`: there is none. A frame that is cut by the end of the file is
    /// none: the agent was killed while it wrote it.
    ///
    /// # Errors
    /// The file cannot be read or holds what no agent wrote.
    pub fn step(&mut self, engine: &mut Engine, out: &mut Vec<Arc<Event>>) -> Result<bool, RecordingError> {
        let Some(kind) = self.next_frame()? else {
            engine.finish(out);
            return Ok(false);
        };
        let wrong = |what: &str| RecordingError::Format { path: self.path.clone(), what: what.to_owned() };
        match (kind, self.frame.as_slice()) {
            (RECORD, bytes) => engine.record(bytes, out),
            (TASK, bytes) => self.tasks.push(task(bytes).ok_or_else(|| wrong("a task is cut"))?),
            (SNAPSHOT, [kind]) => {
                let kind = if *kind == 0 { SnapshotKind::Start } else { SnapshotKind::Resync };
                engine.snapshot(std::mem::take(&mut self.tasks), kind, out);
            }
            (SAMPLE, [drained, stats @ ..]) => {
                let whole = stats.chunks_exact(size_of::<Stats>());
                let stats: Vec<Stats> =
                    whole.filter_map(|bytes| Stats::read_from_bytes(bytes).ok()).collect();
                engine.sample(&stats, *drained != 0, out);
            }
            (CLOCK, bytes) => {
                engine.set_boot_to_wall(number(bytes).ok_or_else(|| wrong("a clock frame is cut"))?);
            }
            (LOST, bytes) => {
                let (lost, _) = bytes.split_first_chunk().ok_or_else(|| wrong("a loss is cut"))?;
                engine.lost("sensor", u64::from_le_bytes(*lost), out);
            }
            // A newer minor version may write more.
            _ => {}
        }
        Ok(true)
    }

    fn next_frame(&mut self) -> Result<Option<u8>, RecordingError> {
        let failed = |source| RecordingError::Read { path: self.path.clone(), source };
        if self.file.fill_buf().map_err(failed)?.is_empty() {
            return Ok(None);
        }
        let mut head = [0; 8];
        let cut = |result: io::Result<()>| match result {
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(false),
            other => other.map(|()| true).map_err(failed),
        };
        if !cut(self.file.read_exact(&mut head))? {
            return Ok(None);
        }
        let length = u32::from_le_bytes([head[4], head[5], head[6], head[7]]);
        if length > MAX_FRAME {
            let what = format!("a frame of {length} bytes");
            return Err(RecordingError::Format { path: self.path.clone(), what });
        }
        self.frame.resize(length as usize, 0);
        if !cut(self.file.read_exact(&mut self.frame))? {
            return Ok(None);
        }
        Ok(Some(head[0]))
    }
}

fn task(bytes: &[u8]) -> Option<SnapshotTask> {
    let (record_length, rest) = bytes.split_first_chunk()?;
    let (args_length, rest) = rest.split_first_chunk()?;
    let (record, rest) = rest.split_at_checked(u32::from_le_bytes(*record_length) as usize)?;
    let (args, envs) = rest.split_at_checked(u32::from_le_bytes(*args_length) as usize)?;
    Some(SnapshotTask { record: record.to_vec(), args: args.to_vec(), envs: envs.to_vec() })
}

fn number(bytes: &[u8]) -> Option<u64> {
    bytes.try_into().ok().map(u64::from_le_bytes)
}

#[cfg(test)]
mod tests;

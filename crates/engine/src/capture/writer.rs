//! Writes captures.

use std::io::{self, Write};

use zerocopy::IntoBytes;

use super::{
    CaptureHeader, ENTRY_CLOCK, ENTRY_END, ENTRY_FINDINGS, ENTRY_LOST, ENTRY_MAX, ENTRY_POLICY_LOADED,
    ENTRY_POLICY_REMOVED, ENTRY_RECORD, ENTRY_SAMPLE, ENTRY_SNAPSHOT, ENTRY_TASK, HEADER_MAX, Input, MAGIC,
    VERSION, findings, policy,
};
use crate::snapshot::{SnapshotKind, SnapshotTask};

/// Writes what an engine is given. Each entry is one write, so give it a buffered writer.
#[derive(Debug)]
pub struct Writer<W> {
    to: W,
    entry: Vec<u8>,
}

impl<W: Write> Writer<W> {
    /// Begins a capture.
    ///
    /// # Errors
    /// When `to` cannot be written, or the header is too long.
    pub fn new(mut to: W, header: &CaptureHeader) -> io::Result<Self> {
        let mut body = Vec::new();
        body.extend_from_slice(&VERSION.to_le_bytes());
        body.extend_from_slice(&(saker_abi::ABI_VERSION as u16).to_le_bytes());
        body.extend_from_slice(&0u32.to_le_bytes());
        body.extend_from_slice(&header.boot_to_wall.to_le_bytes());
        body.extend_from_slice(&header.features().to_le_bytes());
        body.extend_from_slice(header.host_namespaces.as_bytes());
        for text in [&header.node, &header.kernel] {
            let text = text.as_bytes().get(..text.len().min(4096)).unwrap_or_default();
            body.extend_from_slice(&(text.len() as u32).to_le_bytes());
            body.extend_from_slice(text);
        }
        if let Some(setup) = &header.setup {
            let text = setup.to_text();
            body.extend_from_slice(&(text.len() as u32).to_le_bytes());
            body.extend_from_slice(text.as_bytes());
        }
        if body.len() > HEADER_MAX as usize {
            let what = format!("the header has {} bytes, at most {HEADER_MAX} are possible", body.len());
            return Err(io::Error::new(io::ErrorKind::InvalidInput, what));
        }
        to.write_all(&MAGIC)?;
        to.write_all(&(body.len() as u32).to_le_bytes())?;
        to.write_all(&body)?;
        Ok(Self { to, entry: Vec::new() })
    }

    /// Writes one input.
    ///
    /// # Errors
    /// When it cannot be written; the file may then end in half an entry, which a reader tolerates.
    pub fn write(&mut self, input: &Input<'_>) -> io::Result<()> {
        match input {
            Input::Record(bytes) => self.put(ENTRY_RECORD, &[bytes]),
            Input::Snapshot { kind, tasks } => self.snapshot(*kind, tasks),
            Input::Sample { stats, drained } => {
                self.put(ENTRY_SAMPLE, &[&[u8::from(*drained), 0, 0, 0, 0, 0, 0, 0], stats.as_bytes()])
            }
            Input::Lost { stage, lost } => self.put(ENTRY_LOST, &[&lost.to_le_bytes(), stage.as_bytes()]),
            Input::Clock { boot_to_wall } => self.put(ENTRY_CLOCK, &[&boot_to_wall.to_le_bytes()]),
            Input::Findings(found) => self.put(ENTRY_FINDINGS, &[&findings::to_bytes(found)]),
            Input::PolicyLoaded(text) => self.put(ENTRY_POLICY_LOADED, &[&policy::to_bytes(text)]),
            Input::PolicyRemoved { id } => self.put(ENTRY_POLICY_REMOVED, &[&id.to_le_bytes()]),
        }
    }

    fn snapshot(&mut self, kind: SnapshotKind, tasks: &[SnapshotTask]) -> io::Result<()> {
        for task in tasks {
            let lengths = [task.record.len() as u32, task.args.len() as u32];
            let [record, args] = lengths.map(u32::to_le_bytes);
            self.put(ENTRY_TASK, &[&record, &args, &task.record, &task.args, &task.envs])?;
        }
        self.put(ENTRY_SNAPSHOT, &[&[u8::from(kind == SnapshotKind::Resync)]])
    }

    fn put(&mut self, kind: u8, parts: &[&[u8]]) -> io::Result<()> {
        let len: usize = parts.iter().map(|part| part.len()).sum();
        let Some(len) = u32::try_from(len).ok().filter(|len| *len <= ENTRY_MAX) else {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "entry too long for a capture"));
        };
        self.entry.clear();
        self.entry.extend_from_slice(&[kind, 0, 0, 0]);
        self.entry.extend_from_slice(&len.to_le_bytes());
        for part in parts {
            self.entry.extend_from_slice(part);
        }
        self.to.write_all(&self.entry)
    }

    /// Ends the capture: without this a reader takes it for cut.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn finish(&mut self) -> io::Result<()> {
        self.put(ENTRY_END, &[])?;
        self.flush()
    }

    /// Passes on what is buffered.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn flush(&mut self) -> io::Result<()> {
        self.to.flush()
    }

    /// What it writes to.
    pub fn into_inner(self) -> W {
        self.to
    }
}

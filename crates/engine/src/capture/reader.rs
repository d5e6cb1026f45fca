//! Reads captures, from files that may be cut, damaged or made to deceive.

use std::borrow::Cow;
use std::io::{ErrorKind, Read};

use saker_abi::{NamespaceInums, Stats};
use zerocopy::FromBytes;

use super::{
    CaptureError, CaptureHeader, ENTRY_CLOCK, ENTRY_END, ENTRY_FINDINGS, ENTRY_LAST, ENTRY_LOST, ENTRY_MAX,
    ENTRY_POLICY_LOADED, ENTRY_POLICY_REMOVED, ENTRY_RECORD, ENTRY_SAMPLE, ENTRY_SNAPSHOT, ENTRY_TASK,
    HEADER_MAX, Input, MAGIC, SNAPSHOT_MAX, Setup, VERSION, findings, policy, stage_of,
};
use crate::snapshot::{SnapshotKind, SnapshotTask};

/// Reads what an engine was given.
#[derive(Debug)]
pub struct Reader<R> {
    from: R,
    header: CaptureHeader,
    entry: Vec<u8>,
    entries: u64,
    tasks: Vec<SnapshotTask>,
    tasks_bytes: usize,
    unknown: u64,
    truncated: bool,
    ended: bool,
}

impl<R: Read> Reader<R> {
    /// Reads the beginning of a capture.
    ///
    /// # Errors
    /// When `from` cannot be read or is no capture of this version.
    pub fn new(mut from: R) -> Result<Self, CaptureError> {
        let mut start = [0; 12];
        if !fill(&mut from, &mut start)? || start[..8] != MAGIC {
            return Err(CaptureError::Magic);
        }
        let len = u32::from_le_bytes([start[8], start[9], start[10], start[11]]);
        let mut body = Vec::new();
        if len > HEADER_MAX || !take(&mut from, len, &mut body)? {
            return Err(CaptureError::Header);
        }
        let header = parse_header(&body)?;
        Ok(Self {
            from,
            header,
            entry: Vec::new(),
            entries: 0,
            tasks: Vec::new(),
            tasks_bytes: 0,
            unknown: 0,
            truncated: false,
            ended: false,
        })
    }

    /// Where it was made.
    #[must_use]
    pub const fn header(&self) -> &CaptureHeader {
        &self.header
    }

    /// Entries read so far.
    #[must_use]
    pub const fn entries(&self) -> u64 {
        self.entries
    }

    /// Entries of kinds that only a newer version knows; they were left out.
    #[must_use]
    pub const fn unknown(&self) -> u64 {
        self.unknown
    }

    /// Whether the writer's last entry is missing at the end of the file. What was whole has been read.
    #[must_use]
    pub const fn truncated(&self) -> bool {
        self.truncated
    }

    /// The next input; `None` at the end.
    ///
    /// # Errors
    /// When the file cannot be read or an entry makes no sense.
    #[expect(clippy::should_implement_trait, reason = "an iterator cannot lend its buffer")]
    pub fn next(&mut self) -> Result<Option<Input<'_>>, CaptureError> {
        loop {
            if self.ended {
                return Ok(None);
            }
            let Some(kind) = self.read_entry()? else { return Ok(None) };
            let damaged = CaptureError::Damaged { entry: self.entries - 1, kind };
            match kind {
                ENTRY_TASK => self.add_task().ok_or(damaged)?,
                ENTRY_SNAPSHOT => {
                    let kind = match self.entry[..] {
                        [0] => SnapshotKind::Start,
                        [1] => SnapshotKind::Resync,
                        _ => return Err(damaged),
                    };
                    self.tasks_bytes = 0;
                    return Ok(Some(Input::Snapshot { kind, tasks: std::mem::take(&mut self.tasks) }));
                }
                ENTRY_END => self.ended = true,
                // A newer version of the same format may write more.
                kind if kind > ENTRY_LAST => self.unknown += 1,
                ENTRY_RECORD => return Ok(Some(Input::Record(&self.entry))),
                _ => return parse_other(kind, &self.entry).map(Some).ok_or(damaged),
            }
        }
    }

    /// Reads an entry into the buffer and returns its kind.
    fn read_entry(&mut self) -> Result<Option<u8>, CaptureError> {
        let mut head = [0; 8];
        let mut got = 0;
        while got < head.len() {
            match self.from.read(&mut head[got..]) {
                Ok(0) => {
                    self.truncated = true;
                    return Ok(None);
                }
                Ok(count) => got += count,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error.into()),
            }
        }
        let len = u32::from_le_bytes([head[4], head[5], head[6], head[7]]);
        if len > ENTRY_MAX {
            return Err(CaptureError::TooLong { entry: self.entries, len });
        }
        if !take(&mut self.from, len, &mut self.entry)? {
            self.truncated = true;
            return Ok(None);
        }
        self.entries += 1;
        Ok(Some(head[0]))
    }

    fn add_task(&mut self) -> Option<()> {
        let (record_len, rest) = split_u32(&self.entry)?;
        let (args_len, rest) = split_u32(rest)?;
        let (record, rest) = rest.split_at_checked(record_len as usize)?;
        let (args, envs) = rest.split_at_checked(args_len as usize)?;
        self.tasks_bytes += self.entry.len() + size_of::<SnapshotTask>();
        if self.tasks_bytes > SNAPSHOT_MAX {
            return None;
        }
        let task = SnapshotTask { record: record.to_vec(), args: args.to_vec(), envs: envs.to_vec() };
        self.tasks.push(task);
        Some(())
    }
}

fn parse_other(kind: u8, entry: &[u8]) -> Option<Input<'_>> {
    match (kind, entry) {
        (ENTRY_FINDINGS, _) => return findings::from_bytes(entry).map(Input::Findings),
        (ENTRY_POLICY_LOADED, _) => return policy::from_bytes(entry).map(Input::PolicyLoaded),
        (ENTRY_POLICY_REMOVED, &[a, b, c, d]) => {
            return Some(Input::PolicyRemoved { id: u32::from_le_bytes([a, b, c, d]) });
        }
        _ => {}
    }
    let (word, rest) = entry.split_first_chunk::<8>()?;
    match kind {
        ENTRY_SAMPLE if rest.len() % size_of::<Stats>() == 0 => {
            let stats =
                rest.chunks_exact(size_of::<Stats>()).filter_map(|bytes| Stats::read_from_bytes(bytes).ok());
            Some(Input::Sample { stats: Cow::Owned(stats.collect()), drained: word[0] != 0 })
        }
        ENTRY_LOST => Some(Input::Lost { stage: stage_of(rest), lost: u64::from_le_bytes(*word) }),
        ENTRY_CLOCK if rest.is_empty() => Some(Input::Clock { boot_to_wall: u64::from_le_bytes(*word) }),
        _ => None,
    }
}

fn parse_header(body: &[u8]) -> Result<CaptureHeader, CaptureError> {
    let (version, _) = body.split_first_chunk::<2>().ok_or(CaptureError::Header)?;
    match u16::from_le_bytes(*version) {
        VERSION => parse_header_body(body).ok_or(CaptureError::Header),
        other => Err(CaptureError::Version(other)),
    }
}

/// A longer header is one of a newer writer of the same version; its end is ignored.
fn parse_header_body(body: &[u8]) -> Option<CaptureHeader> {
    let (_, rest) = body.split_first_chunk::<8>()?;
    let (boot_to_wall, rest) = rest.split_first_chunk::<8>()?;
    let (features, rest) = rest.split_first_chunk::<8>()?;
    let (host_namespaces, rest) = NamespaceInums::read_from_prefix(rest).ok()?;
    let (node_len, rest) = split_u32(rest)?;
    let (node, rest) = rest.split_at_checked(node_len as usize)?;
    let (kernel_len, rest) = split_u32(rest)?;
    let (kernel, rest) = rest.split_at_checked(kernel_len as usize)?;
    let setup = match split_u32(rest) {
        Some((len, rest)) if len > 0 => {
            let (text, _) = rest.split_at_checked(len as usize)?;
            Some(Setup::from_text(std::str::from_utf8(text).ok()?)?)
        }
        _ => None,
    };
    let mut header = CaptureHeader {
        boot_to_wall: u64::from_le_bytes(*boot_to_wall),
        host_namespaces,
        node: String::from_utf8_lossy(node).into_owned(),
        kernel: String::from_utf8_lossy(kernel).into_owned(),
        setup,
        ..CaptureHeader::default()
    };
    header.set_features(u64::from_le_bytes(*features));
    Some(header)
}

fn split_u32(bytes: &[u8]) -> Option<(u32, &[u8])> {
    let (word, rest) = bytes.split_first_chunk::<4>()?;
    Some((u32::from_le_bytes(*word), rest))
}

/// Reads `len` bytes into `out`, which grows only as they come. Returns `false` when there are fewer.
fn take(from: &mut impl Read, len: u32, out: &mut Vec<u8>) -> Result<bool, CaptureError> {
    out.clear();
    let got = from.by_ref().take(u64::from(len)).read_to_end(out)?;
    Ok(got == len as usize)
}

fn fill(from: &mut impl Read, out: &mut [u8]) -> Result<bool, CaptureError> {
    match from.read_exact(out) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == ErrorKind::UnexpectedEof => Ok(false),
        Err(error) => Err(error.into()),
    }
}

//! The form of a segment: a head with the number of the first record, then records with their checksums.

use std::fs::File;
use std::io::{self, BufReader, ErrorKind, Read};
use std::path::Path;

/// Bytes of the head: a mark, the number of the first record, and a checksum of both.
pub(super) const HEAD: u64 = 20;
const MARK: &[u8; 8] = b"SAKERSP1";
/// Bytes before each record: its length and a checksum.
const RECORD_HEAD: usize = 8;
/// Longest record.
pub const MAX_RECORD: usize = 16 << 20;

/// What stands next in a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// A record.
    Record,
    /// Nothing.
    End,
    /// The beginning of a record.
    Cut,
    /// Something that was not written so.
    Damaged,
}

/// What a segment holds.
pub(super) struct Examined {
    pub(super) next: u64,
    /// Bytes up to the end of the last whole record.
    pub(super) bytes: u64,
    /// Bytes of the file.
    pub(super) length: u64,
}

/// Reads records one after the other. Never reads more than the longest record at once, whatever the bytes say.
pub struct RecordReader<R> {
    inner: R,
}

impl<R: Read> RecordReader<R> {
    /// Reads from the beginning of a segment.
    pub fn new(inner: R) -> Self {
        Self { inner }
    }

    /// The number of the first record; `None`: this is no segment.
    ///
    /// # Errors
    /// What reading fails with.
    pub fn head(&mut self) -> io::Result<Option<u64>> {
        let mut head = [0; HEAD as usize];
        if self.fill(&mut head)? < head.len() {
            return Ok(None);
        }
        let number = |bytes: &[u8]| bytes.iter().rev().fold(0, |sum, &byte| sum << 8 | u64::from(byte));
        let valid = head.starts_with(MARK) && number(&head[16..20]) == u64::from(checksum(&[&head[..16]]));
        Ok(valid.then(|| number(&head[8..16])))
    }

    /// Puts the next record, which must have this number, into `record`.
    ///
    /// # Errors
    /// What reading fails with.
    pub fn next(&mut self, number: u64, record: &mut Vec<u8>) -> io::Result<Step> {
        record.clear();
        let mut head = [0; RECORD_HEAD];
        match self.fill(&mut head)? {
            0 => return Ok(Step::End),
            RECORD_HEAD => {}
            _ => return Ok(Step::Cut),
        }
        let [a, b, c, d, sum @ ..] = head;
        let length = u32::from_le_bytes([a, b, c, d]) as usize;
        if length > MAX_RECORD {
            return Ok(Step::Damaged);
        }
        // Grows with what is there, not with what is claimed.
        let read = (&mut self.inner).take(length as u64).read_to_end(record)?;
        if read < length {
            return Ok(Step::Cut);
        }
        let valid = checksum(&[&number.to_le_bytes(), record]) == u32::from_le_bytes(sum);
        Ok(if valid { Step::Record } else { Step::Damaged })
    }

    /// Fills the buffer as far as there is something.
    fn fill(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let mut filled = 0;
        while filled < buffer.len() {
            match self.inner.read(&mut buffer[filled..]) {
                Ok(0) => break,
                Ok(count) => filled += count,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(filled)
    }
}

fn checksum(parts: &[&[u8]]) -> u32 {
    let mut sum = flate2::Crc::new();
    parts.iter().for_each(|part| sum.update(part));
    sum.sum()
}

/// Bytes that a record takes.
pub(super) fn length(record: &[u8]) -> u64 {
    (record.len() + RECORD_HEAD) as u64
}

/// Appends a record of this number, which is not longer than [`MAX_RECORD`].
pub(super) fn encode(number: u64, record: &[u8], out: &mut Vec<u8>) {
    let length = u32::try_from(record.len()).unwrap_or(u32::MAX);
    out.extend_from_slice(&length.to_le_bytes());
    out.extend_from_slice(&checksum(&[&number.to_le_bytes(), record]).to_le_bytes());
    out.extend_from_slice(record);
}

/// The head of a segment that begins with this number.
pub(super) fn head(first: u64) -> [u8; HEAD as usize] {
    let mut head = [0; HEAD as usize];
    head[..8].copy_from_slice(MARK);
    head[8..16].copy_from_slice(&first.to_le_bytes());
    let sum = checksum(&[&head[..16]]);
    head[16..].copy_from_slice(&sum.to_le_bytes());
    head
}

/// Reads a whole segment, to see how far it can be read.
pub(super) fn examine(path: &Path, first: u64) -> io::Result<Examined> {
    let file = File::open(path)?;
    let length = file.metadata()?.len();
    let mut reader = RecordReader::new(BufReader::new(file));
    if reader.head()? != Some(first) {
        return Ok(Examined { next: first, bytes: 0, length });
    }
    let (mut next, mut bytes, mut record) = (first, HEAD, Vec::new());
    while reader.next(next, &mut record)? == Step::Record {
        next += 1;
        bytes += self::length(&record);
    }
    Ok(Examined { next, bytes, length })
}

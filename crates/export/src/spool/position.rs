//! What was confirmed, in a file that is replaced as a whole.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::Path;

const NAME: &str = "position";
const MARK: &[u8; 8] = b"SAKERPO1";
const LENGTH: usize = 28;

/// Where a spool is.
pub(super) struct Position {
    pub(super) id: u64,
    /// Everything below this number is confirmed.
    pub(super) confirmed: u64,
}

/// `None`: there is none, or it is damaged; then everything that is there is sent again.
pub(super) fn read(dir: &Path) -> Option<Position> {
    let bytes = fs::read(dir.join(NAME)).ok()?;
    let bytes: &[u8; LENGTH] = bytes.as_slice().try_into().ok()?;
    let number = |bytes: &[u8]| bytes.iter().rev().fold(0, |sum, &byte| sum << 8 | u64::from(byte));
    let valid = bytes.starts_with(MARK) && number(&bytes[24..]) == u64::from(checksum(&bytes[..24]));
    valid.then(|| Position { id: number(&bytes[8..16]), confirmed: number(&bytes[16..24]) })
}

pub(super) fn write(dir: &Path, position: &Position, sync: bool) -> io::Result<()> {
    let mut bytes = Vec::with_capacity(LENGTH);
    bytes.extend_from_slice(MARK);
    bytes.extend_from_slice(&position.id.to_le_bytes());
    bytes.extend_from_slice(&position.confirmed.to_le_bytes());
    let sum = checksum(&bytes);
    bytes.extend_from_slice(&sum.to_le_bytes());
    let fresh = dir.join("position.new");
    let mut file = super::options().write(true).create(true).truncate(true).open(&fresh)?;
    file.write_all(&bytes)?;
    if sync {
        file.sync_data()?;
    }
    fs::rename(&fresh, dir.join(NAME))?;
    if sync {
        File::open(dir)?.sync_all()?;
    }
    Ok(())
}

fn checksum(bytes: &[u8]) -> u32 {
    let mut sum = flate2::Crc::new();
    sum.update(bytes);
    sum.sum()
}

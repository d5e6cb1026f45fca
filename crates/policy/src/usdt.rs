//! Declared probes of programs (USDT): the notes that say where they are and where their arguments stand.
//!
//! Notes come from files that anyone may have written: every length is checked, every number bounded, and nothing
//! panics. Source of the layout: the section "implementation" of SystemTap's user-space probe documentation, and
//! `sys/sdt.h`, which writes it.

mod operand;

use crate::plan::UserPlace;

pub use operand::{MAX_OPERANDS, Operand, OperandError, OperandPlace, operands};

/// Longest section of notes, in bytes.
pub const MAX_SECTION: usize = 16 << 20;
/// Most probes of a file.
pub const MAX_NOTES: usize = 1 << 16;
/// Longest provider or name, in bytes.
pub const MAX_NAME: usize = 255;
/// Longest description of arguments, in bytes.
pub const MAX_ARGUMENTS: usize = 4096;

/// Type of the notes.
const TYPE: u32 = 3;
/// Who owns the notes, with the NUL byte that ends the name.
const OWNER: &[u8] = b"stapsdt\0";

/// One place of a declared probe. Addresses are those of the file before it was moved; see [`Note::moved`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Note {
    /// Provider.
    pub provider: String,
    /// Name.
    pub name: String,
    /// Where the arguments stand, as [`operands`] reads it.
    pub arguments: String,
    /// Address of the instruction.
    pub address: u64,
    /// Address of the section `.stapsdt.base` when the note was written.
    pub base: u64,
    /// Address of the semaphore; 0: none.
    pub semaphore: u64,
}

/// A place of a declared probe in a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Site {
    /// Where it is.
    pub place: UserPlace,
    /// Where the arguments stand there.
    pub arguments: String,
}

/// Places whose arguments stand alike, which one plan can serve; in the order of the first of each.
#[must_use]
pub fn groups(sites: Vec<Site>) -> Vec<(String, Vec<UserPlace>)> {
    let mut groups: Vec<(String, Vec<UserPlace>)> = Vec::new();
    for site in sites {
        match groups.iter_mut().find(|(arguments, _)| *arguments == site.arguments) {
            Some((_, places)) => places.push(site.place),
            None => groups.push((site.arguments, vec![site.place])),
        }
    }
    groups
}

/// Why bytes are not such notes.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoteError {
    /// The section is too long.
    #[error("the section .note.stapsdt has {0} bytes, at most {MAX_SECTION} are read")]
    Long(usize),
    /// There are too many.
    #[error("the section .note.stapsdt has more than {MAX_NOTES} notes")]
    Many,
    /// A note that ends before its parts.
    #[error("the note at byte {at} of the section .note.stapsdt is {reason}")]
    Broken {
        /// Where it begins.
        at: usize,
        /// What is wrong.
        reason: &'static str,
    },
}

impl Note {
    /// The note with the addresses that hold when `.stapsdt.base` is at `base`: tools that lay out a file anew after it
    /// was linked move code, but not what is written in notes.
    #[must_use]
    pub fn moved(mut self, base: Option<u64>) -> Self {
        let Some(by) = base.filter(|_| self.base != 0).map(|base| base.wrapping_sub(self.base)) else {
            return self;
        };
        self.address = self.address.wrapping_add(by);
        if self.semaphore != 0 {
            self.semaphore = self.semaphore.wrapping_add(by);
        }
        self
    }
}

/// Reads a section of notes of a little-endian program with 64 bits. Notes of others are passed over.
///
/// # Errors
/// The bytes are no notes, or beyond the bounds of this module.
pub fn notes(section: &[u8]) -> Result<Vec<Note>, NoteError> {
    if section.len() > MAX_SECTION {
        return Err(NoteError::Long(section.len()));
    }
    let mut found = Vec::new();
    let mut rest = section;
    while !rest.is_empty() {
        let at = section.len() - rest.len();
        let broken = |reason| NoteError::Broken { at, reason };
        let cut = || broken("cut off");
        let (name_len, rest_) = number(rest).ok_or_else(cut)?;
        let (body_len, rest_) = number(rest_).ok_or_else(cut)?;
        let (ty, rest_) = number(rest_).ok_or_else(cut)?;
        let (owner, rest_) = padded(rest_, name_len).ok_or_else(cut)?;
        let (body, rest_) = padded(rest_, body_len).ok_or_else(cut)?;
        rest = rest_;
        if ty != TYPE || owner != OWNER {
            continue;
        }
        if found.len() == MAX_NOTES {
            return Err(NoteError::Many);
        }
        found.push(note(body).map_err(broken)?);
    }
    Ok(found)
}

fn note(body: &[u8]) -> Result<Note, &'static str> {
    let (address, rest) = word(body).ok_or("cut off")?;
    let (base, rest) = word(rest).ok_or("cut off")?;
    let (semaphore, rest) = word(rest).ok_or("cut off")?;
    let (provider, rest) = text(rest, MAX_NAME)?;
    let (name, rest) = text(rest, MAX_NAME)?;
    let (arguments, _) = text(rest, MAX_ARGUMENTS)?;
    if provider.is_empty() || name.is_empty() {
        return Err("without a provider or name");
    }
    Ok(Note { provider, name, arguments, address, base, semaphore })
}

fn number(bytes: &[u8]) -> Option<(u32, &[u8])> {
    let (number, rest) = bytes.split_first_chunk::<4>()?;
    Some((u32::from_le_bytes(*number), rest))
}

fn word(bytes: &[u8]) -> Option<(u64, &[u8])> {
    let (word, rest) = bytes.split_first_chunk::<8>()?;
    Some((u64::from_le_bytes(*word), rest))
}

/// So many bytes, and what follows them and their padding to four.
fn padded(bytes: &[u8], len: u32) -> Option<(&[u8], &[u8])> {
    let len = usize::try_from(len).ok()?;
    let (taken, _) = bytes.split_at_checked(len)?;
    // The last one may be without padding.
    let rest = bytes.get(len.checked_next_multiple_of(4)?..).unwrap_or_default();
    Some((taken, rest))
}

/// Text up to its NUL byte, and what follows.
fn text(bytes: &[u8], most: usize) -> Result<(String, &[u8]), &'static str> {
    let len = bytes.iter().position(|byte| *byte == 0).ok_or("without the end of a text")?;
    if len > most {
        return Err("of a text that is too long");
    }
    let (text, rest) = bytes.split_at(len);
    let text = std::str::from_utf8(text).map_err(|_| "of a text that is not UTF-8")?;
    Ok((text.to_owned(), rest.get(1..).unwrap_or_default()))
}

#[cfg(test)]
mod tests;

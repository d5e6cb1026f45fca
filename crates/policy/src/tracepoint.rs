//! Formats of tracepoints: which fields the record of an event has, as tracefs describes them.
//!
//! The text comes from the kernel, or from whoever says so: every number is bounded, and nothing panics.

use saker_abi::generated as abi;

use crate::types::{is_capability_set, is_number};

/// Longest text of a format, in bytes.
pub const MAX_FORMAT: usize = 256 << 10;
/// Most fields of a format.
pub const MAX_FIELDS: usize = 256;
/// Longest record, in bytes. Source: `PERF_MAX_TRACE_SIZE` in `include/linux/trace_events.h`.
pub const MAX_RECORD: u32 = 8192;
/// Bytes of the fields that all events have.
const COMMON: u32 = 8;
/// Bytes of a text that is captured.
const MAX_TEXT: u16 = abi::SAKER_STRING_MAX as u16;

/// Which record an event has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Format {
    /// Name of the event.
    pub name: String,
    /// Number of the event, by which it is attached.
    pub id: u32,
    /// Fields in the order of the format; the first ones are common to all events. Policies count them from 0.
    pub fields: Vec<Field>,
}

/// A field of a record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Field {
    /// Name.
    pub name: String,
    /// Type as in C, without the name and its `[N]`.
    pub ty: String,
    /// Bytes before it in the record.
    pub offset: u32,
    /// Bytes.
    pub size: u32,
    /// Whether its elements have a sign.
    pub signed: bool,
    /// What it holds.
    pub kind: FieldKind,
}

/// What a field holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FieldKind {
    /// A number of 1, 2, 4 or 8 bytes.
    Integer,
    /// An address.
    Pointer,
    /// Characters, which end with a NUL byte or with the field.
    Text,
    /// Anything else that stands in the record itself.
    Bytes,
    /// Place and size of a part that stands elsewhere in the record.
    Located {
        /// The place is counted from behind the field, not from the beginning of the record.
        relative: bool,
        /// The part is text.
        text: bool,
    },
}

/// Why a text is not a format.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FormatError {
    /// The text is too long.
    #[error("the format of the tracepoint has {0} bytes, at most {MAX_FORMAT} are read")]
    Long(usize),
    /// Something every format has is not there.
    #[error("the format of the tracepoint has no `{0}`")]
    Missing(&'static str),
    /// A field that cannot be understood.
    #[error("line {line} of the tracepoint's format, `{text}`: {reason}")]
    Field {
        /// Line, from 1.
        line: usize,
        /// Its beginning.
        text: String,
        /// What is wrong.
        reason: &'static str,
    },
}

impl Format {
    /// Reads the text of a file `format`.
    ///
    /// # Errors
    /// It is not such a text, or beyond the bounds of this module.
    pub fn parse(text: &str) -> Result<Self, FormatError> {
        if text.len() > MAX_FORMAT {
            return Err(FormatError::Long(text.len()));
        }
        let (mut name, mut id, mut fields) = (None, None, Vec::new());
        for (index, line) in text.lines().enumerate() {
            let line = line.trim();
            let wrong = |reason| FormatError::Field {
                line: index + 1,
                text: line.chars().take(120).collect(),
                reason,
            };
            if line.starts_with("print fmt:") {
                break;
            } else if let Some(found) = line.strip_prefix("name:") {
                name = Some(found.trim().to_owned());
            } else if let Some(found) = line.strip_prefix("ID:") {
                id = Some(found.trim().parse().map_err(|_| wrong("the number cannot be read"))?);
            } else if let Some(found) = line.strip_prefix("field:") {
                if fields.len() == MAX_FIELDS {
                    return Err(wrong("there are more than 256 fields"));
                }
                fields.push(Field::parse(found).map_err(wrong)?);
            }
        }
        Ok(Self {
            name: name.ok_or(FormatError::Missing("name:"))?,
            id: id.ok_or(FormatError::Missing("ID:"))?,
            fields,
        })
    }
}

impl Field {
    /// Reads `TYPE NAME;  offset:N;  size:N;  signed:N;`.
    fn parse(text: &str) -> Result<Self, &'static str> {
        // A type can hold semicolons (a union), so what follows it is looked for from the end.
        let at = text.rfind("offset:").ok_or("there is no `offset:`")?;
        let (declaration, numbers) = text.split_at(at);
        let number = |name: &str| {
            let found = numbers.split(';').find_map(|part| part.trim().strip_prefix(name));
            found.and_then(|found| found.parse::<u32>().ok())
        };
        let offset = number("offset:").ok_or("its offset cannot be read")?;
        let size = number("size:").ok_or("its size cannot be read")?;
        let signed = number("signed:").unwrap_or(0) != 0;
        if offset > MAX_RECORD || size > MAX_RECORD - offset {
            return Err("it lies outside of the longest record");
        }
        let declaration = declaration.trim().trim_end_matches(';').trim_end();
        let (declaration, array) = match declaration.split_once('[') {
            // `__data_loc char[] name` has its brackets before the name.
            Some(_) if is_located(declaration) => (declaration, false),
            Some((before, _)) => (before.trim_end(), true),
            None => (declaration, false),
        };
        let letter = |c: char| c.is_ascii_alphanumeric() || c == '_';
        let start = declaration.trim_end_matches(letter).len();
        let (ty, name) = declaration.split_at(start);
        if name.is_empty() {
            return Err("it has no name");
        }
        let ty = ty.trim().to_owned();
        let kind = kind_of(&ty, array, size)?;
        Ok(Self { name: name.to_owned(), ty, offset, size, signed, kind })
    }

    /// Bytes of the number and whether it has a sign, as its type in C says when that is narrower than its place: the
    /// arguments of system calls stand in eight bytes each.
    #[must_use]
    pub fn number(&self) -> (u32, bool) {
        match c_integer(&self.ty) {
            Some((size, signed)) if size < self.size => (size, signed),
            _ => (self.size, self.signed),
        }
    }

    /// The type (`SAKER_TYPE_*`) that `type: auto` stands for; `None`: there is none for such a field.
    #[must_use]
    pub fn automatic(&self) -> Option<u32> {
        let characters = matches!(self.ty.trim_start_matches("const ").trim_end(), "char *" | "char*");
        Some(match (self.kind, self.number()) {
            (FieldKind::Integer, _) if self.ty == "size_t" => abi::SAKER_TYPE_SIZE,
            (FieldKind::Integer, (1, true)) => abi::SAKER_TYPE_S8,
            (FieldKind::Integer, (1, false)) => abi::SAKER_TYPE_U8,
            (FieldKind::Integer, (2, true)) => abi::SAKER_TYPE_S16,
            (FieldKind::Integer, (2, false)) => abi::SAKER_TYPE_U16,
            (FieldKind::Integer, (4, true)) => abi::SAKER_TYPE_INT,
            (FieldKind::Integer, (4, false)) => abi::SAKER_TYPE_U32,
            (FieldKind::Integer, (_, true)) => abi::SAKER_TYPE_S64,
            (FieldKind::Integer, (_, false)) => abi::SAKER_TYPE_U64,
            (FieldKind::Pointer, _) if characters => abi::SAKER_TYPE_STRING,
            (FieldKind::Pointer, _) => abi::SAKER_TYPE_U64,
            (FieldKind::Text, _) => abi::SAKER_TYPE_STRING,
            (FieldKind::Bytes, _) => abi::SAKER_TYPE_CONST_BUF,
            (FieldKind::Located { text: true, .. }, _) => abi::SAKER_TYPE_DATA_LOC,
            (FieldKind::Located { text: false, .. }, _) => return None,
        })
    }

    /// How a program reads the field as a value of this type (`SAKER_TYPE_*`).
    ///
    /// A `char_buf` behind a pointer has no size yet: see [`Self::size_of`].
    ///
    /// # Errors
    /// Such a field cannot be read as this type; the reason in words.
    pub fn value(&self, ty: u32) -> Result<abi::saker_value_plan, String> {
        if self.is_hidden() {
            return Err(format!("the kernel shows the field `{}` to no program", self.name));
        }
        let mut plan = abi::saker_value_plan {
            type_: u8::try_from(ty).map_err(|_| format!("{ty} is not the number of a type"))?,
            source: abi::SAKER_SOURCE_CONTEXT as u8,
            size_index: abi::SAKER_SIZE_NONE as u8,
            max: MAX_TEXT,
            steps: 1,
            ..Default::default()
        };
        let load = match self.kind {
            FieldKind::Integer | FieldKind::Pointer => self.size,
            FieldKind::Text | FieldKind::Bytes => 0,
            FieldKind::Located { relative: false, .. } => abi::SAKER_LOAD_LOCATED,
            FieldKind::Located { relative: true, .. } => abi::SAKER_LOAD_RELATIVE,
        };
        plan.step[0] = abi::saker_step { offset: self.offset, load };
        let fits = match ty {
            abi::SAKER_TYPE_STRING => match self.kind {
                FieldKind::Text => {
                    // One more, so that a text without its NUL byte is read to its end.
                    plan.max = MAX_TEXT.min(u16::try_from(self.size).unwrap_or(MAX_TEXT).saturating_add(1));
                    true
                }
                kind => matches!(kind, FieldKind::Pointer | FieldKind::Located { text: true, .. }),
            },
            abi::SAKER_TYPE_DATA_LOC => matches!(self.kind, FieldKind::Located { text: true, .. }),
            abi::SAKER_TYPE_CHAR_BUF => matches!(self.kind, FieldKind::Pointer | FieldKind::Located { .. }),
            abi::SAKER_TYPE_CONST_BUF => {
                plan.step[0].load = 0;
                plan.max = u16::try_from(self.size).unwrap_or(u16::MAX);
                plan.max <= abi::SAKER_BUFFER_MAX as u16
                    && !matches!(self.kind, FieldKind::Located { .. } | FieldKind::Pointer)
            }
            _ if is_capability_set(ty) => {
                // The set itself, or its address.
                if self.kind == FieldKind::Pointer {
                    plan.step[1] = abi::saker_step { offset: 0, load: 8 };
                    plan.steps = 2;
                }
                self.size == 8 && matches!(self.kind, FieldKind::Integer | FieldKind::Pointer)
            }
            _ if is_number(ty) => {
                let (size, signed) = self.number();
                if size < 8 {
                    plan.width = size as u8 | if signed { abi::SAKER_WIDTH_SIGNED as u8 } else { 0 };
                }
                matches!(self.kind, FieldKind::Integer | FieldKind::Pointer)
            }
            // Everything else is behind a pointer, which some events show as a number.
            _ => self.size == 8 && matches!(self.kind, FieldKind::Integer | FieldKind::Pointer),
        };
        fits.then_some(plan).ok_or_else(|| self.mismatch())
    }

    /// Lets a `char_buf` take its size from this field.
    ///
    /// # Errors
    /// The field is not a number; the reason in words.
    pub fn size_of(&self, buffer: &mut abi::saker_value_plan) -> Result<(), String> {
        if self.kind != FieldKind::Integer || self.is_hidden() {
            return Err(self.mismatch());
        }
        buffer.size_index = abi::SAKER_SIZE_CONTEXT as u8;
        let (size, _) = self.number();
        buffer.step[abi::SAKER_STEP_SIZE as usize] = abi::saker_step { offset: self.offset, load: size };
        Ok(())
    }

    /// Whether it lies where the kernel puts an address of its own before programs run. Source:
    /// `perf_call_bpf_enter` and `perf_trace_run_bpf_submit`.
    fn is_hidden(&self) -> bool {
        self.offset < COMMON
    }

    fn mismatch(&self) -> String {
        let what = match self.kind {
            FieldKind::Integer => "a number",
            FieldKind::Pointer => "an address",
            FieldKind::Text => "text",
            FieldKind::Bytes => "an array or structure",
            FieldKind::Located { text: true, .. } => "text elsewhere in the record",
            FieldKind::Located { text: false, .. } => "an array elsewhere in the record",
        };
        format!("the field `{} {}` is {what} of {} bytes", self.ty, self.name, self.size)
    }
}

fn is_located(declaration: &str) -> bool {
    declaration.starts_with("__data_loc ") || declaration.starts_with("__rel_loc ")
}

fn kind_of(ty: &str, array: bool, size: u32) -> Result<FieldKind, &'static str> {
    let is_text = |element: &str| matches!(element.trim_start_matches("const ").trim(), "char" | "char[]");
    if is_located(ty) {
        if size != 4 {
            return Err("a place in the record has four bytes");
        }
        let (word, element) = ty.split_once(' ').unwrap_or((ty, ""));
        return Ok(FieldKind::Located { relative: word == "__rel_loc", text: is_text(element.trim_start()) });
    }
    Ok(match size {
        _ if array => {
            if is_text(ty) {
                FieldKind::Text
            } else {
                FieldKind::Bytes
            }
        }
        8 if ty.ends_with('*') => FieldKind::Pointer,
        1 | 2 | 4 | 8 if !is_structure(ty) => FieldKind::Integer,
        _ => FieldKind::Bytes,
    })
}

fn is_structure(ty: &str) -> bool {
    let mut words = ty.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    words.any(|word| matches!(word, "struct" | "union"))
}

/// Bytes and sign of an integer type of C whose width is the same on all machines with 64 bits.
fn c_integer(ty: &str) -> Option<(u32, bool)> {
    Some(match ty.trim_start_matches("const ").trim() {
        "char" | "signed char" | "s8" | "__s8" | "int8_t" => (1, true),
        "unsigned char" | "u8" | "__u8" | "uint8_t" | "bool" | "_Bool" => (1, false),
        "short" | "s16" | "__s16" | "int16_t" => (2, true),
        "unsigned short" | "u16" | "__u16" | "uint16_t" | "umode_t" => (2, false),
        "int" | "s32" | "__s32" | "int32_t" | "pid_t" | "key_t" | "key_serial_t" | "clockid_t"
        | "timer_t" | "mqd_t" => (4, true),
        "unsigned" | "unsigned int" | "u32" | "__u32" | "uint32_t" | "uid_t" | "gid_t" | "mode_t"
        | "qid_t" => (4, false),
        _ => return None,
    })
}

#[cfg(test)]
mod tests;

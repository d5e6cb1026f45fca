//! Where the arguments of a declared probe stand, as the assembler was told: `-4@%edi 8@-8(%rbp) 4@$5`.

use saker_abi::generated as abi;

use crate::programs::plain;
use crate::registers::{Machine, Register};
use crate::types::is_program_address;

/// Most arguments of a probe. Source: `sys/sdt.h`.
pub const MAX_OPERANDS: usize = 12;

/// An argument.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Operand {
    /// Bytes: 1, 2, 4 or 8.
    pub size: u8,
    /// Whether it has a sign.
    pub signed: bool,
    /// Where it stands.
    pub place: OperandPlace,
}

/// Where an argument stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OperandPlace {
    /// Nowhere: its value.
    Constant(i64),
    /// In a register.
    Register(Register),
    /// In memory, at the sum of the registers and the displacement.
    Memory {
        /// Word of the first register.
        base: Option<u8>,
        /// Word of the second register, and its factor.
        index: Option<(u8, u8)>,
        /// Displacement in bytes.
        displacement: i32,
    },
}

/// Why a description of arguments is not used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("argument {index} of the probe, `{text}`, {reason}")]
pub struct OperandError {
    /// Which, from 0.
    pub index: usize,
    /// As it was written; its beginning.
    pub text: String,
    /// What is wrong.
    pub reason: &'static str,
}

/// Reads a description of arguments. What one of them cannot be read does not keep others from use, so each has a
/// result of its own.
///
/// # Errors
/// There are more than [`MAX_OPERANDS`].
pub fn operands(text: &str, machine: Machine) -> Result<Vec<Result<Operand, OperandError>>, OperandError> {
    let mut found = Vec::new();
    for (index, text) in split(text).into_iter().enumerate() {
        let error = |reason| OperandError { index, text: text.chars().take(80).collect(), reason };
        if index == MAX_OPERANDS {
            return Err(error("is one too many: there are at most 12"));
        }
        found.push(operand(text, machine).map_err(error));
    }
    Ok(found)
}

/// Splits at spaces, but not behind a comma or within brackets: `8@[sp, 8]`, `8@(%rax, %rbx)`.
fn split(text: &str) -> Vec<&str> {
    let (mut parts, mut depth, mut start) = (Vec::new(), 0_u32, None);
    for (at, letter) in text.char_indices() {
        match letter {
            '(' | '[' => depth = depth.saturating_add(1),
            ')' | ']' => depth = depth.saturating_sub(1),
            _ => {}
        }
        if letter.is_whitespace() && depth == 0 {
            parts.extend(start.take().and_then(|start: usize| text.get(start..at)));
        } else if start.is_none() {
            start = Some(at);
        }
    }
    parts.extend(start.and_then(|start| text.get(start..)));
    parts
}

fn operand(text: &str, machine: Machine) -> Result<Operand, &'static str> {
    // Old notes have no size, and the machine's word is meant.
    let (size, place) = text.split_once('@').unwrap_or(("8", text));
    if size.ends_with('f') {
        return Err("is a floating-point number, which cannot be read");
    }
    let size: i8 = size.parse().map_err(|_| "has a size that is not a number")?;
    let (signed, size) = (size < 0, size.unsigned_abs());
    if !matches!(size, 1 | 2 | 4 | 8) {
        return Err("has a size that is none of 1, 2, 4, 8 bytes");
    }
    let place = match machine {
        Machine::X86 => x86(place.trim()),
        Machine::Arm => arm(place.trim()),
    }?;
    if matches!(place, OperandPlace::Register(register) if register.size < size) {
        return Err("is wider than its register");
    }
    Ok(Operand { size, signed, place })
}

fn x86(text: &str) -> Result<OperandPlace, &'static str> {
    let register = |name: &str| {
        let found = name.trim().strip_prefix('%').and_then(|name| Machine::X86.register(name));
        found.ok_or("names a register that is not known or cannot be read")
    };
    let address = |name: &str| match register(name)? {
        Register { size: 8, word } => Ok(word),
        _ => Err("has an address in part of a register"),
    };
    if let Some(constant) = text.strip_prefix('$') {
        return Ok(OperandPlace::Constant(integer(constant).ok_or("is not a number")?));
    }
    if text.starts_with('%') {
        // Segments, such as %fs:8, are refused as registers that are not known.
        return Ok(OperandPlace::Register(register(text)?));
    }
    let (displacement, rest) = text.split_once('(').ok_or("is no constant, register or address")?;
    let displacement = match displacement.trim() {
        "" => 0,
        number => integer(number)
            .and_then(|number| i32::try_from(number).ok())
            .ok_or("has a displacement that is not a number of 32 bits")?,
    };
    let inside = rest.strip_suffix(')').ok_or("lacks its closing bracket")?;
    let parts: Vec<&str> = inside.split(',').map(str::trim).collect();
    let base = |name: &str| if name.is_empty() { Ok(None) } else { address(name).map(Some) };
    let (base, index) = match parts[..] {
        [only] => (Some(address(only)?), None),
        [first, second] => (base(first)?, Some((address(second)?, 1))),
        [first, second, factor] => {
            let factor = factor.parse().ok().filter(|factor| matches!(factor, 1 | 2 | 4 | 8));
            (base(first)?, Some((address(second)?, factor.ok_or("has a factor that is none of 1, 2, 4, 8")?)))
        }
        _ => return Err("has an address of more than three parts"),
    };
    Ok(OperandPlace::Memory { base, index, displacement })
}

fn arm(text: &str) -> Result<OperandPlace, &'static str> {
    let register =
        |name: &str| Machine::Arm.register(name.trim()).ok_or("names a register that is not known");
    let address = |name: &str| match register(name)? {
        Register { size: 8, word } => Ok(word),
        _ => Err("has an address in part of a register"),
    };
    let Some(inside) = text.strip_prefix('[') else {
        if let Some(constant) = integer(text.strip_prefix('#').unwrap_or(text)) {
            return Ok(OperandPlace::Constant(constant));
        }
        return Ok(OperandPlace::Register(register(text)?));
    };
    let inside = inside.strip_suffix(']').ok_or("lacks its closing bracket")?;
    let Some((base, other)) = inside.split_once(',') else {
        return Ok(OperandPlace::Memory { base: Some(address(inside)?), index: None, displacement: 0 });
    };
    let base = Some(address(base)?);
    let other = other.trim();
    if let Some(number) = integer(other.strip_prefix('#').unwrap_or(other)) {
        let displacement = i32::try_from(number).map_err(|_| "has a displacement of more than 32 bits")?;
        return Ok(OperandPlace::Memory { base, index: None, displacement });
    }
    Ok(OperandPlace::Memory { base, index: Some((address(other)?, 1)), displacement: 0 })
}

/// A decimal or hexadecimal number with a sign; those above the greatest signed one are taken bit by bit.
fn integer(text: &str) -> Option<i64> {
    let (negative, digits) = text.strip_prefix('-').map_or((false, text), |digits| (true, digits));
    let (digits, radix) = digits.strip_prefix("0x").map_or((digits, 10), |digits| (digits, 16));
    if !digits.starts_with(|c: char| c.is_digit(radix)) {
        return None;
    }
    let number = u64::from_str_radix(digits, radix).ok()?.cast_signed();
    Some(if negative { number.wrapping_neg() } else { number })
}

impl Operand {
    /// How a program reads the argument as a value of this type (`SAKER_TYPE_*`).
    ///
    /// # Errors
    /// Values of this type are not in programs, or an address is narrower than addresses are; in words.
    pub fn value(&self, ty: u32) -> Result<abi::saker_value_plan, String> {
        let mut plan = plain(ty)?;
        if is_program_address(ty) && self.size != 8 {
            return Err(format!("the argument has {} bytes and is no address", self.size));
        }
        if self.size < 8 {
            plan.width = self.size | if self.signed { abi::SAKER_WIDTH_SIGNED as u8 } else { 0 };
        }
        let load = |displacement: i32| abi::saker_step {
            offset: displacement.cast_unsigned(),
            load: self.size.into(),
        };
        match self.place {
            OperandPlace::Constant(number) => {
                let bits = number.cast_unsigned();
                plan.source = abi::SAKER_SOURCE_CONSTANT as u8;
                plan.step[0] = abi::saker_step { offset: bits as u32, load: (bits >> 32) as u32 };
            }
            OperandPlace::Register(register) => {
                plan.source = abi::SAKER_SOURCE_REGISTER as u8;
                plan.index = register.word;
            }
            OperandPlace::Memory { base: Some(base), index: None, displacement } => {
                plan.source = abi::SAKER_SOURCE_REGISTER as u8;
                plan.index = base;
                plan.steps = 1;
                plan.step[0] = load(displacement);
            }
            OperandPlace::Memory { base, index, displacement } => {
                let none = abi::SAKER_REGISTER_NONE as u8;
                let (word, factor) = index.unwrap_or((none, 1));
                plan.source = abi::SAKER_SOURCE_INDEXED as u8;
                plan.index = base.unwrap_or(none);
                plan.step[abi::SAKER_STEP_INDEX as usize] =
                    abi::saker_step { offset: word.into(), load: factor.into() };
                plan.steps = 1;
                plan.step[0] = load(displacement);
            }
        }
        Ok(plan)
    }

    /// Lets a `char_buf` take its size from this argument.
    ///
    /// # Errors
    /// The argument stands where no size can be read from; in words.
    pub fn size_of(&self, buffer: &mut abi::saker_value_plan) -> Result<(), String> {
        match self.place {
            OperandPlace::Register(register) if self.size >= 4 => {
                buffer.size_index = abi::SAKER_SIZE_REGISTER as u8;
                buffer.step[abi::SAKER_STEP_SIZE as usize] =
                    abi::saker_step { offset: register.word.into(), load: 0 };
                Ok(())
            }
            OperandPlace::Constant(size) if (0..=i64::from(abi::SAKER_BUFFER_MAX)).contains(&size) => {
                buffer.max = buffer.max.min(size as u16);
                Ok(())
            }
            _ => Err(
                "the size of the buffer is neither in a register of 32 or 64 bits nor a constant of at most \
                      4096"
                    .to_owned(),
            ),
        }
    }
}

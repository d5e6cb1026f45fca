//! Probed programs: where their functions and declared probes are, and values of them: arguments and results of
//! functions, registers.

use saker_abi::generated as abi;

use crate::model::DigestAlgorithm;
use crate::plan::FileMark;
use crate::registers::Machine;
use crate::types::{is_number, is_program_address};
use crate::usdt::Site;

/// A program or library that can be probed. Implemented for files, and by tests. Reasons are told in words.
pub trait Program {
    /// Which file it is.
    fn mark(&self) -> FileMark;
    /// The machine it is made for.
    fn machine(&self) -> Machine;
    /// Whether it is made by the Go compiler, whose functions have arguments of their own kind and cannot be looked at
    /// when they return.
    fn is_go(&self) -> bool;
    /// The digest of the file.
    ///
    /// # Errors
    /// The file cannot be read, or does not have it.
    fn digest(&self, algorithm: DigestAlgorithm) -> Result<Vec<u8>, String>;
    /// Offset in the file of a place so many bytes behind the beginning of a function.
    ///
    /// # Errors
    /// There is no such function, or it is not one.
    fn symbol(&self, name: &str, behind: u64) -> Result<u64, String>;
    /// Offset in the file of a virtual address.
    ///
    /// # Errors
    /// There is no code.
    fn address(&self, address: u64) -> Result<u64, String>;
    /// The offset, when there is code.
    ///
    /// # Errors
    /// There is none.
    fn offset(&self, offset: u64) -> Result<u64, String>;
    /// Whether a function begins at the offset; `None`: the file does not tell.
    ///
    /// # Errors
    /// The file is broken.
    fn begins_function(&self, offset: u64) -> Result<Option<bool>, String>;
    /// How many bytes from the place at the offset an instruction is that returns to the caller and does nothing else.
    ///
    /// # Errors
    /// There is none in what is mapped with the place, or the file cannot be read.
    fn way_back(&self, offset: u64) -> Result<i64, String>;
    /// How many bytes are in memory from one place in the file to another.
    ///
    /// # Errors
    /// One of them is not code.
    fn distance(&self, from: u64, to: u64) -> Result<i64, String>;
    /// All places of a declared probe.
    ///
    /// # Errors
    /// There is none, or what declares it is broken.
    fn probes(&self, provider: &str, name: &str) -> Result<Vec<Site>, String>;
}

/// Arguments that are in registers and can be read. Source: System V ABI, AMD64 supplement.
pub const MAX_ARGUMENTS: u32 = 6;

/// How an argument of a function, counted from 0, is read as a value of this type (`SAKER_TYPE_*`).
///
/// # Errors
/// Programs have no values of this type, or the argument is not in a register; in words.
pub fn argument(index: u32, ty: u32) -> Result<abi::saker_value_plan, String> {
    let index = u8::try_from(index).ok().filter(|index| u32::from(*index) < MAX_ARGUMENTS);
    let index = index.ok_or("only the first six arguments of a function of a program are in registers")?;
    let source = abi::SAKER_SOURCE_ARGUMENT as u8;
    Ok(abi::saker_value_plan { source, index, ..plain(ty)? })
}

/// How the result of a function is read as a value of this type.
///
/// # Errors
/// Programs have no values of this type.
pub fn result(ty: u32) -> Result<abi::saker_value_plan, String> {
    Ok(abi::saker_value_plan { source: abi::SAKER_SOURCE_RETURN as u8, ..plain(ty)? })
}

/// How a register of a program is read as a value of this type.
///
/// # Errors
/// Programs have no values of this type, or there is no such register.
pub fn register(machine: Machine, name: &str, ty: u32) -> Result<abi::saker_value_plan, String> {
    plain(ty)?;
    machine.value(name, ty)
}

/// Lets a `char_buf` take its size from an argument of a function, counted from 0.
///
/// # Errors
/// The argument is not in a register; in words.
pub fn size_of(index: u32, buffer: &mut abi::saker_value_plan) -> Result<(), String> {
    buffer.size_index = argument(index, abi::SAKER_TYPE_SIZE)?.index;
    Ok(())
}

/// A value of this type without its source.
///
/// # Errors
/// Programs have no values of this type; in words.
pub(crate) fn plain(ty: u32) -> Result<abi::saker_value_plan, String> {
    // The kernel's objects are not in programs, and a program must not say where in the kernel something is read.
    let fits = (is_number(ty) && ty != abi::SAKER_TYPE_SYSCALL64) || is_program_address(ty);
    let type_ = u8::try_from(ty).ok().filter(|_| fits);
    Ok(abi::saker_value_plan {
        type_: type_
            .ok_or("only numbers, descriptors, text, buffers and socket addresses are in programs")?,
        size_index: abi::SAKER_SIZE_NONE as u8,
        max: abi::SAKER_STRING_MAX as u16,
        ..Default::default()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_in_programs() {
        let plan = argument(5, abi::SAKER_TYPE_STRING).expect("text");
        assert_eq!((plan.index, u32::from(plan.type_), plan.max), (5, abi::SAKER_TYPE_STRING, 4096));
        assert!(argument(6, abi::SAKER_TYPE_INT).expect_err("on the stack").contains("first six"));
        let objects = [
            abi::SAKER_TYPE_FILE,
            abi::SAKER_TYPE_CRED,
            abi::SAKER_TYPE_SOCK,
            abi::SAKER_TYPE_FILENAME,
            abi::SAKER_TYPE_KERNEL_CAP,
            abi::SAKER_TYPE_SYSCALL64,
            abi::SAKER_TYPE_NONE,
        ];
        for ty in objects {
            assert!(argument(0, ty).is_err() && result(ty).is_err(), "{ty}");
            assert!(register(Machine::X86, "rdi", ty).is_err(), "{ty}");
        }
        let plan = register(Machine::X86, "edi", abi::SAKER_TYPE_U32).expect("a register");
        assert_eq!((plan.index, plan.width), (14, 4));
        let mut buffer = argument(0, abi::SAKER_TYPE_CHAR_BUF).expect("a buffer");
        size_of(1, &mut buffer).expect("a size");
        assert_eq!(buffer.size_index, 1);
        assert!(size_of(6, &mut buffer).is_err());
    }
}

//! Registers of a machine, by the names that assemblers use, and where the kernel saves them.

use saker_abi::generated as abi;

use crate::words::nearest;

/// A machine whose registers are known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Machine {
    /// x86-64.
    X86,
    /// 64-bit Arm.
    Arm,
}

/// A register or the lower part of one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Register {
    /// Which word of the saved registers it is in.
    pub word: u8,
    /// Bytes of it that the name stands for.
    pub size: u8,
}

/// Words of `struct pt_regs` in their order, by the names of 64, 32, 16 and 8 bits. Source:
/// `arch/x86/include/asm/ptrace.h`.
const X86: [[&str; 4]; 21] = [
    ["r15", "r15d", "r15w", "r15b"],
    ["r14", "r14d", "r14w", "r14b"],
    ["r13", "r13d", "r13w", "r13b"],
    ["r12", "r12d", "r12w", "r12b"],
    ["rbp", "ebp", "bp", "bpl"],
    ["rbx", "ebx", "bx", "bl"],
    ["r11", "r11d", "r11w", "r11b"],
    ["r10", "r10d", "r10w", "r10b"],
    ["r9", "r9d", "r9w", "r9b"],
    ["r8", "r8d", "r8w", "r8b"],
    ["rax", "eax", "ax", "al"],
    ["rcx", "ecx", "cx", "cl"],
    ["rdx", "edx", "dx", "dl"],
    ["rsi", "esi", "si", "sil"],
    ["rdi", "edi", "di", "dil"],
    ["orig_rax", "", "", ""],
    ["rip", "eip", "ip", ""],
    ["cs", "", "", ""],
    ["eflags", "", "", ""],
    ["rsp", "esp", "sp", "spl"],
    ["ss", "", "", ""],
];

/// Words of Arm behind `x0` to `x30`. Source: `struct user_pt_regs`.
const ARM: [(&str, u8); 5] = [("sp", 31), ("pc", 32), ("pstate", 33), ("lr", 30), ("fp", 29)];

impl Machine {
    /// The machine this program is made for; `None`: its registers are not known.
    #[must_use]
    pub fn own() -> Option<Self> {
        match std::env::consts::ARCH {
            "x86_64" => Some(Self::X86),
            "aarch64" => Some(Self::Arm),
            _ => None,
        }
    }

    /// The register of a name, without `%`.
    #[must_use]
    pub fn register(self, name: &str) -> Option<Register> {
        if name.is_empty() {
            return None;
        }
        match self {
            Self::X86 => (0..).zip(&X86).find_map(|(word, names)| {
                let size = [8, 4, 2, 1].into_iter().zip(names).find(|(_, known)| **known == name)?.0;
                Some(Register { word, size })
            }),
            Self::Arm => {
                if let Some((_, word)) = ARM.iter().find(|(known, _)| *known == name) {
                    return Some(Register { word: *word, size: 8 });
                }
                let (size, digits) = name.strip_prefix('x').map_or_else(
                    || name.strip_prefix('w').map(|digits| (4, digits)),
                    |digits| Some((8, digits)),
                )?;
                let plain = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
                let word = digits.parse().ok().filter(|word| plain && *word <= 30)?;
                Some(Register { word, size })
            }
        }
    }

    /// How a program reads a register as a value of this type (`SAKER_TYPE_*`).
    ///
    /// # Errors
    /// There is no such register, in words.
    pub fn value(self, name: &str, ty: u32) -> Result<abi::saker_value_plan, String> {
        let Some(register) = self.register(name) else {
            let known = X86.iter().flatten().copied().filter(|known| !known.is_empty() && self == Self::X86);
            let hint = nearest(name, known).map(|near| format!("; did you mean `{near}`?"));
            let other = if self == Self::X86 { "; such as `rdi`" } else { "; such as `x0`" };
            return Err(format!("there is no register `{name}`{}", hint.as_deref().unwrap_or(other)));
        };
        Ok(abi::saker_value_plan {
            type_: u8::try_from(ty).map_err(|_| format!("{ty} is not the number of a type"))?,
            source: abi::SAKER_SOURCE_REGISTER as u8,
            index: register.word,
            size_index: abi::SAKER_SIZE_NONE as u8,
            width: if register.size < 8 { register.size } else { 0 },
            max: abi::SAKER_STRING_MAX as u16,
            ..Default::default()
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn registers_have_their_words() {
        let cases = [
            (Machine::X86, "r15", Some((0, 8))),
            (Machine::X86, "edi", Some((14, 4))),
            (Machine::X86, "rsp", Some((19, 8))),
            (Machine::X86, "al", Some((10, 1))),
            (Machine::X86, "ah", None),
            (Machine::X86, "", None),
            (Machine::X86, "x0", None),
            (Machine::Arm, "x0", Some((0, 8))),
            (Machine::Arm, "w30", Some((30, 4))),
            (Machine::Arm, "x31", None),
            (Machine::Arm, "x+1", None),
            (Machine::Arm, "sp", Some((31, 8))),
        ];
        for (machine, name, wanted) in cases {
            let found = machine.register(name).map(|register| (register.word, register.size));
            assert_eq!(found, wanted, "{name}");
        }
    }

    #[test]
    fn values_of_registers() {
        let plan = Machine::X86.value("esi", abi::SAKER_TYPE_INT).expect("a register");
        assert_eq!((u32::from(plan.source), plan.index, plan.width), (abi::SAKER_SOURCE_REGISTER, 13, 4));
        let why = Machine::X86.value("rdii", abi::SAKER_TYPE_INT).expect_err("none");
        assert_eq!(why, "there is no register `rdii`; did you mean `rdi`?");
        let why = Machine::Arm.value("rdi", abi::SAKER_TYPE_INT).expect_err("none");
        assert_eq!(why, "there is no register `rdi`; such as `x0`");
    }
}

//! Kinds of the types of values (`SAKER_TYPE_*`).

use saker_abi::generated as abi;

/// Whether a value of the type is a number, or a number that stands for something.
pub(crate) fn is_number(ty: u32) -> bool {
    matches!(
        ty,
        abi::SAKER_TYPE_INT
            | abi::SAKER_TYPE_SIZE
            | abi::SAKER_TYPE_S64
            | abi::SAKER_TYPE_U64
            | abi::SAKER_TYPE_S32
            | abi::SAKER_TYPE_U32
            | abi::SAKER_TYPE_S16
            | abi::SAKER_TYPE_U16
            | abi::SAKER_TYPE_S8
            | abi::SAKER_TYPE_U8
            | abi::SAKER_TYPE_FD
            | abi::SAKER_TYPE_CAPABILITY
            | abi::SAKER_TYPE_SYSCALL64
            | abi::SAKER_TYPE_BPF_CMD
    )
}

/// Whether it is a set of capabilities.
pub(crate) fn is_capability_set(ty: u32) -> bool {
    (abi::SAKER_TYPE_KERNEL_CAP..=abi::SAKER_TYPE_CAP_EFFECTIVE).contains(&ty)
}

/// Whether it is read from the address that the value is, and a program can have such an address.
pub(crate) fn is_program_address(ty: u32) -> bool {
    matches!(
        ty,
        abi::SAKER_TYPE_STRING
            | abi::SAKER_TYPE_CHAR_BUF
            | abi::SAKER_TYPE_SOCKADDR
            | abi::SAKER_TYPE_SOCKADDR_UN
    )
}

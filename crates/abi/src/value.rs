//! Captured values of hooks: bytes to what they mean.
//!
//! A value says its own type, in the flags of its header, so it can be read without the policy that asked for
//! it. Structures are copied out, texts stay where they lie.

use thiserror::Error;
use zerocopy::{FromBytes, Immutable, KnownLayout};

use crate::generated as raw;
use crate::{Status, Value};

/// What a captured value holds.
#[derive(Clone, Copy, Debug)]
pub enum Content<'a> {
    /// Not readable, or nothing was asked for.
    Failed,
    /// A signed number of up to 32 bits.
    Int(i32),
    /// An unsigned number of up to 32 bits.
    Uint(u32),
    /// A signed number of 64 bits.
    Long(i64),
    /// An unsigned number of 64 bits, or a size.
    Size(u64),
    /// A text without the NUL that ended it.
    Text(&'a [u8]),
    /// A buffer: its length as the caller gave it, and the bytes that were read.
    Buffer(u64, &'a [u8]),
    /// A file or another inode, with its path from the root of the process.
    Object(ObjectKind, raw::saker_object, &'a [u8]),
    /// A socket.
    Sock(raw::saker_sock),
    /// A network packet.
    Skb(raw::saker_skb),
    /// An address.
    Sockaddr(raw::saker_sockaddr),
    /// The address of a local socket; an abstract name keeps its leading NUL.
    SockaddrUn(raw::saker_sockaddr, &'a [u8]),
    /// Credentials.
    Cred(raw::saker_cred),
    /// A user namespace.
    UserNamespace(raw::saker_user_namespace),
    /// The number of a capability.
    Capability(i32),
    /// A set of capabilities.
    Capabilities(CapabilitySet, u64),
    /// A kernel module and its name.
    Module(raw::saker_module, &'a [u8]),
    /// A kernel module that is being loaded, and its name.
    LoadInfo(raw::saker_module, &'a [u8]),
    /// Parameters of a `bpf` call that loads a program, and the program's name.
    BpfAttr(raw::saker_bpf_program, &'a [u8]),
    /// A BPF program and its name.
    BpfProgram(raw::saker_bpf_program, &'a [u8]),
    /// A BPF map and its name.
    BpfMap(raw::saker_bpf_map, &'a [u8]),
    /// A performance event and the function it probes.
    PerfEvent(raw::saker_perf_event, &'a [u8]),
    /// The number of a system call; bit 31: of the 32-bit ABI.
    Syscall(u64),
    /// The command of a `bpf` call.
    BpfCommand(i32),
}

/// How an inode was named.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ObjectKind {
    /// An open file, a descriptor, an I/O request.
    File,
    /// A path or directory entry.
    Path,
    /// A program that is being executed.
    Binprm,
}

/// Which set of capabilities.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names say it")]
pub enum CapabilitySet {
    Any,
    Inheritable,
    Permitted,
    Effective,
}

/// Why the bytes of a value are not one of its type.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum Mismatch {
    /// A type that this version does not know.
    #[error("type {0} of a captured value is not known; is the agent older than its sensors?")]
    Type(u8),
    /// Fewer bytes than the type has.
    #[error("a captured value of type {type_} has {has} bytes, at least {needs} are needed")]
    Short {
        /// Its type.
        type_: u8,
        /// Bytes at hand.
        has: usize,
        /// Bytes of its fixed part.
        needs: usize,
    },
}

impl<'a> Value<'a> {
    /// The number of a value of a signed type of up to 32 bits, which is what comes most: as [`Value::content`] has it, for
    /// less. `None`: it is of another type, or it could not be read.
    #[must_use]
    #[inline]
    pub fn int(&self) -> Option<i32> {
        let is_int = matches!(
            raw::saker_type::from(self.flags),
            raw::SAKER_TYPE_INT | raw::SAKER_TYPE_S32 | raw::SAKER_TYPE_S16 | raw::SAKER_TYPE_S8
        );
        let was_read = matches!(self.status, Status::Ok | Status::Truncated);
        if is_int && was_read {
            number(self.flags, self.bytes).ok().map(|number| number as i32)
        } else {
            None
        }
    }

    /// The content of a value that a hook captured or returned.
    ///
    /// # Errors
    /// [`Mismatch`] when its bytes do not fit its type, or the type is not known.
    #[inline]
    pub fn content(&self) -> Result<Content<'a>, Mismatch> {
        if matches!(self.status, Status::Failed | Status::Chunked) {
            return Ok(Content::Failed);
        }
        let (type_, bytes) = (self.flags, self.bytes);
        Ok(match raw::saker_type::from(type_) {
            raw::SAKER_TYPE_NONE => Content::Failed,
            raw::SAKER_TYPE_INT | raw::SAKER_TYPE_S32 | raw::SAKER_TYPE_S16 | raw::SAKER_TYPE_S8 => {
                Content::Int(number(type_, bytes)? as i32)
            }
            raw::SAKER_TYPE_U32 | raw::SAKER_TYPE_U16 | raw::SAKER_TYPE_U8 => {
                Content::Uint(number(type_, bytes)? as u32)
            }
            raw::SAKER_TYPE_S64 => Content::Long(number(type_, bytes)?.cast_signed()),
            raw::SAKER_TYPE_U64 | raw::SAKER_TYPE_SIZE => Content::Size(number(type_, bytes)?),
            raw::SAKER_TYPE_FILE | raw::SAKER_TYPE_FD | raw::SAKER_TYPE_KIOCB => {
                let (object, path) = head(type_, bytes)?;
                Content::Object(ObjectKind::File, object, path)
            }
            raw::SAKER_TYPE_SOCK | raw::SAKER_TYPE_SOCKET => Content::Sock(head(type_, bytes)?.0),
            _ => return self.of_other_type(),
        })
    }

    /// The same of types that come less often.
    fn of_other_type(&self) -> Result<Content<'a>, Mismatch> {
        let (type_, bytes) = (self.flags, self.bytes);
        Ok(match raw::saker_type::from(type_) {
            raw::SAKER_TYPE_SYSCALL64 => Content::Syscall(number(type_, bytes)?),
            raw::SAKER_TYPE_CAPABILITY => Content::Capability(number(type_, bytes)? as i32),
            raw::SAKER_TYPE_BPF_CMD => Content::BpfCommand(number(type_, bytes)? as i32),
            raw::SAKER_TYPE_KERNEL_CAP => Content::Capabilities(CapabilitySet::Any, number(type_, bytes)?),
            raw::SAKER_TYPE_CAP_INHERITABLE => {
                Content::Capabilities(CapabilitySet::Inheritable, number(type_, bytes)?)
            }
            raw::SAKER_TYPE_CAP_PERMITTED => {
                Content::Capabilities(CapabilitySet::Permitted, number(type_, bytes)?)
            }
            raw::SAKER_TYPE_CAP_EFFECTIVE => {
                Content::Capabilities(CapabilitySet::Effective, number(type_, bytes)?)
            }
            _ => return self.structured(),
        })
    }

    fn structured(&self) -> Result<Content<'a>, Mismatch> {
        let (type_, bytes) = (self.flags, self.bytes);
        let object = |kind| head(type_, bytes).map(|(object, path)| Content::Object(kind, object, path));
        match raw::saker_type::from(type_) {
            raw::SAKER_TYPE_STRING
            | raw::SAKER_TYPE_FILENAME
            | raw::SAKER_TYPE_DATA_LOC
            | raw::SAKER_TYPE_NET_DEVICE => Ok(Content::Text(bytes)),
            raw::SAKER_TYPE_CHAR_BUF
            | raw::SAKER_TYPE_CHAR_IOVEC
            | raw::SAKER_TYPE_CONST_BUF
            | raw::SAKER_TYPE_IOV_ITER => head(type_, bytes)
                .map(|(buffer, rest): (raw::saker_buffer, _)| Content::Buffer(buffer.size, rest)),
            raw::SAKER_TYPE_PATH | raw::SAKER_TYPE_DENTRY => object(ObjectKind::Path),
            raw::SAKER_TYPE_LINUX_BINPRM => object(ObjectKind::Binprm),
            raw::SAKER_TYPE_SKB => head(type_, bytes).map(|(skb, _)| Content::Skb(skb)),
            raw::SAKER_TYPE_SOCKADDR => head(type_, bytes).map(|(address, _)| Content::Sockaddr(address)),
            raw::SAKER_TYPE_SOCKADDR_UN => {
                head(type_, bytes).map(|(address, path)| Content::SockaddrUn(address, path))
            }
            raw::SAKER_TYPE_CRED => head(type_, bytes).map(|(cred, _)| Content::Cred(cred)),
            raw::SAKER_TYPE_USER_NAMESPACE => {
                head(type_, bytes).map(|(namespace, _)| Content::UserNamespace(namespace))
            }
            raw::SAKER_TYPE_MODULE => head(type_, bytes).map(|(module, name)| Content::Module(module, name)),
            raw::SAKER_TYPE_LOAD_INFO => {
                head(type_, bytes).map(|(module, name)| Content::LoadInfo(module, name))
            }
            raw::SAKER_TYPE_BPF_ATTR => {
                head(type_, bytes).map(|(program, name)| Content::BpfAttr(program, name))
            }
            raw::SAKER_TYPE_BPF_PROG => {
                head(type_, bytes).map(|(program, name)| Content::BpfProgram(program, name))
            }
            raw::SAKER_TYPE_BPF_MAP => head(type_, bytes).map(|(map, name)| Content::BpfMap(map, name)),
            raw::SAKER_TYPE_PERF_EVENT => {
                head(type_, bytes).map(|(event, name)| Content::PerfEvent(event, name))
            }
            _ => Err(Mismatch::Type(type_)),
        }
    }
}

#[inline]
fn number(type_: u8, bytes: &[u8]) -> Result<u64, Mismatch> {
    head(type_, bytes).map(|(number, _): (raw::saker_number, _)| number.value)
}

/// The fixed part of a value and what follows it.
#[inline]
fn head<T: FromBytes + Immutable + KnownLayout>(type_: u8, bytes: &[u8]) -> Result<(T, &[u8]), Mismatch> {
    T::read_from_prefix(bytes).map_err(|_| Mismatch::Short { type_, has: bytes.len(), needs: size_of::<T>() })
}

#[cfg(test)]
#[path = "value_tests.rs"]
mod tests;

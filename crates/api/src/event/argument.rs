//! Values that hooks captured.
//!
//! What comes often is kept as it was captured and put into words when it is written: an event is written once, and mostly
//! in one form. The rest is kept in its compatible form.

use std::fmt;
use std::net::IpAddr;
use std::sync::{Arc, OnceLock};

use crate::saker_v1::ArgumentExtra;
use crate::tetragon::kprobe_argument::Arg;
use crate::tetragon::{self, KprobeArgument};

/// What the compatible interface says of an object whose path is not complete.
pub(crate) const PATH_CUT: &str = "unresolvedPathComponents";
/// What it says instead of an address of a family without such.
pub(crate) const NO_ADDRESS: &str = "invalid IP";

/// A captured value.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Argument {
    /// The value.
    pub value: ArgumentValue,
    /// Its label in the policy; `None`: it has none.
    pub label: Option<Arc<str>>,
}

/// What was captured.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum ArgumentValue {
    /// Nothing.
    #[default]
    None,
    /// A signed number of up to 32 bits.
    Int(i32),
    /// An unsigned number of up to 32 bits.
    Uint(u32),
    /// A signed number of 64 bits.
    Long(i64),
    /// An unsigned number of 64 bits, or a size.
    Size(u64),
    /// A text, and whether it goes on beyond what was read.
    Text(Box<str>, bool),
    /// A file or another inode.
    Object(Object),
    /// A socket.
    Socket(Socket),
    /// Anything else, in its compatible form.
    Other(Box<Arg>),
}

/// A file or another inode, with its path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Object {
    /// How it was named.
    pub kind: ObjectKind,
    /// Its path from the root of the process; events in a row are often of one file.
    pub path: Arc<str>,
    /// The path is not complete: the side of the leaf was kept.
    pub cut: bool,
    /// The path does not lead to the root of the process.
    pub unreachable: bool,
    /// Type and permission bits, as `stat` has them.
    pub mode: u32,
    /// Its number; 0: none.
    pub inode: u64,
    /// Its file system, major and minor; both 0: none.
    pub device: (u32, u32),
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

/// What a number of the kernel is called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Name {
    /// Its name: a word without characters that need an escape in JSON.
    Known(&'static str),
    /// It has none.
    Unknown(u16),
}

impl Default for Name {
    fn default() -> Self {
        Self::Known("")
    }
}

impl fmt::Display for Name {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Known(name) => formatter.write_str(name),
            Self::Unknown(number) => number.fmt(formatter),
        }
    }
}

/// What many sockets have in common.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SocketKind {
    /// The address family.
    pub family: Name,
    /// The type.
    pub kind: Name,
    /// The protocol.
    pub protocol: Name,
    /// The state.
    pub state: Name,
    /// Mark for the routing.
    pub mark: u32,
    /// Priority of what is sent.
    pub priority: u32,
    /// Encoded forms, filled on first use.
    pub encoded: EncodedSocket,
}

/// Encoded forms of a [`SocketKind`], made on first use.
#[derive(Debug, Default)]
pub struct EncodedSocket {
    /// Its members of the JSON object, and where in them those begin that stand at the end of the object.
    pub json: OnceLock<(Box<[u8]>, usize)>,
}

impl Clone for EncodedSocket {
    /// A clone is about to be changed, so it starts without encoded forms.
    fn clone(&self) -> Self {
        Self::default()
    }
}

impl PartialEq for EncodedSocket {
    /// They say nothing that the rest does not.
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Eq for EncodedSocket {}

/// A socket.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Socket {
    /// What it has in common with others.
    pub common: Arc<SocketKind>,
    /// Address of this side; `None`: the family has no such addresses.
    pub source: Option<IpAddr>,
    /// Address of the other side, likewise.
    pub destination: Option<IpAddr>,
    /// Port of this side.
    pub source_port: u16,
    /// Port of the other side.
    pub destination_port: u16,
    /// Its number, which no other has as long as the machine runs; 0: none.
    pub cookie: u64,
}

impl From<Arg> for Argument {
    fn from(arg: Arg) -> Self {
        Self { value: ArgumentValue::Other(Box::new(arg)), label: None }
    }
}

impl Argument {
    /// The value and its label as the compatible interface has them.
    #[must_use]
    pub fn compatible(&self) -> KprobeArgument {
        let label = self.label.as_deref().unwrap_or_default().to_owned();
        KprobeArgument { arg: self.value.arg(), label }
    }

    /// What only Saker tells of it.
    #[must_use]
    pub fn extra(&self) -> ArgumentExtra {
        match &self.value {
            ArgumentValue::Text(_, truncated) => {
                ArgumentExtra { truncated: *truncated, ..ArgumentExtra::default() }
            }
            ArgumentValue::Object(object) => ArgumentExtra {
                inode: object.inode,
                device: match object.device {
                    (0, 0) => String::new(),
                    (major, minor) => format!("{major}:{minor}"),
                },
                unreachable: object.unreachable,
                truncated: false,
            },
            _ => ArgumentExtra::default(),
        }
    }

    /// Bytes that it takes, about.
    #[must_use]
    #[inline]
    pub fn bytes(&self) -> usize {
        let more = match &self.value {
            ArgumentValue::Text(text, _) => text.len(),
            ArgumentValue::Object(object) => object.path.len(),
            ArgumentValue::Other(arg) => size_of::<Arg>() + arg.encoded_len(),
            _ => 0,
        };
        size_of::<Self>() + more
    }
}

impl ArgumentValue {
    /// The value as the compatible interface has it.
    #[must_use]
    pub fn arg(&self) -> Option<Arg> {
        Some(match self {
            Self::None => return None,
            Self::Int(value) => Arg::IntArg(*value),
            Self::Uint(value) => Arg::UintArg(*value),
            Self::Long(value) => Arg::LongArg(*value),
            Self::Size(value) => Arg::SizeArg(*value),
            Self::Text(text, _) => Arg::StringArg(text.to_string()),
            Self::Object(object) => object.arg(),
            Self::Socket(socket) => Arg::SockArg(socket.message()),
            Self::Other(arg) => (**arg).clone(),
        })
    }
}

impl Object {
    /// Type and permissions as `ls -l` shows them.
    #[must_use]
    pub fn permission(&self) -> [u8; 10] {
        let mode = self.mode;
        let mut out = [b'-'; 10];
        out[0] = match mode & 0o170_000 {
            0o060_000 => b'b',
            0o020_000 => b'c',
            0o040_000 => b'd',
            0o010_000 => b'p',
            0o120_000 => b'l',
            0o140_000 => b's',
            _ => b'-',
        };
        for (group, (special, letter)) in
            [(0o4000, b's'), (0o2000, b's'), (0o1000, b't')].into_iter().enumerate()
        {
            let bits = mode >> (6 - 3 * group);
            let at = 1 + 3 * group;
            if bits & 4 != 0 {
                out[at] = b'r';
            }
            if bits & 2 != 0 {
                out[at + 1] = b'w';
            }
            out[at + 2] = match (bits & 1 != 0, mode & special != 0) {
                (true, true) => letter,
                (false, true) => letter.to_ascii_uppercase(),
                (true, false) => b'x',
                (false, false) => b'-',
            };
        }
        out
    }

    fn arg(&self) -> Arg {
        let (mount, path) = (String::new(), self.path.to_string());
        let flags = if self.cut { PATH_CUT } else { "" }.to_owned();
        let permission = String::from_utf8_lossy(&self.permission()).into_owned();
        match self.kind {
            ObjectKind::File => Arg::FileArg(tetragon::KprobeFile { mount, path, flags, permission }),
            ObjectKind::Path => Arg::PathArg(tetragon::KprobePath { mount, path, flags, permission }),
            ObjectKind::Binprm => {
                Arg::LinuxBinprmArg(tetragon::KprobeLinuxBinprm { path, flags, permission })
            }
        }
    }
}

impl Socket {
    fn message(&self) -> tetragon::KprobeSock {
        let address =
            |address: Option<IpAddr>| address.map_or_else(|| NO_ADDRESS.to_owned(), |ip| ip.to_string());
        let common = &*self.common;
        tetragon::KprobeSock {
            family: common.family.to_string(),
            r#type: common.kind.to_string(),
            protocol: common.protocol.to_string(),
            mark: common.mark,
            priority: common.priority,
            saddr: address(self.source),
            daddr: address(self.destination),
            sport: self.source_port.into(),
            dport: self.destination_port.into(),
            cookie: self.cookie,
            state: common.state.to_string(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn permissions_are_those_of_ls() {
        for (mode, expected) in [
            (0o100_644, "-rw-r--r--"),
            (0o041_777, "drwxrwxrwt"),
            (0o041_666, "drw-rw-rwT"),
            (0o102_060, "----rwS---"),
            (0o020_000, "c---------"),
            (0o120_777, "lrwxrwxrwx"),
            (0o140_755, "srwxr-xr-x"),
            (0o060_000, "b---------"),
            (0, "----------"),
        ] {
            let object = Object {
                kind: ObjectKind::File,
                path: "/".into(),
                cut: false,
                unreachable: false,
                mode,
                inode: 0,
                device: (0, 0),
            };
            assert_eq!(String::from_utf8_lossy(&object.permission()), expected, "{mode:o}");
        }
    }

    #[test]
    fn what_is_made_for_each_event_is_allocated_quickly() {
        // An event of a hook is one piece of memory. What it costs hardly depends on its size, but all of it is moved.
        let event = 2 * size_of::<usize>() + size_of::<super::super::Event>();
        assert!(event <= 440, "{event}");
    }

    #[test]
    fn values_of_a_hook_stay_small() {
        // They are moved from the record to the event, a dozen for each at most. A socket lies in it: to allocate it costs more
        // than to move it.
        assert!(size_of::<Argument>() <= 80, "{}", size_of::<Argument>());
    }
}

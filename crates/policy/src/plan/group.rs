//! Programs of a control group that decide about addresses of sockets.

/// What programs of a control group are asked about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SocketCall {
    /// `connect`, also by `sendto` with TCP fast open.
    Connect,
    /// `bind`.
    Bind,
    /// Sending to an address.
    Send,
}

impl SocketCall {
    /// The call whose hook of the security modules is named so, without `bpf_lsm_`.
    #[must_use]
    pub fn of_lsm_hook(name: &str) -> Option<Self> {
        match name {
            "socket_connect" => Some(Self::Connect),
            "socket_bind" => Some(Self::Bind),
            "socket_sendmsg" => Some(Self::Send),
            _ => None,
        }
    }

    /// How the kernel calls its programs, without the digit of the address family.
    #[must_use]
    pub fn program(self) -> &'static str {
        match self {
            Self::Connect => "connect",
            Self::Bind => "bind",
            Self::Send => "sendmsg",
        }
    }
}

/// What a kernel lets such programs do.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SocketPrograms {
    /// The directory of the control group.
    pub group: String,
    /// It is not the root of all: sockets that were made outside of it are not seen.
    pub is_part: bool,
    /// They may give another error than EPERM.
    pub errors: bool,
    /// They may send signals.
    pub signals: bool,
}

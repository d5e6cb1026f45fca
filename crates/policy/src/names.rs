//! Names that the kernel's interface gives to numbers.

pub mod syscalls;

use crate::diagnostic::Problem;
use crate::words::nearest;

/// A table of names.
pub struct Names {
    /// What the numbers are, for messages.
    pub what: &'static str,
    /// Prefix that all names share, and that may be left out.
    pub prefix: &'static str,
    /// Names without prefix, and their numbers.
    pub names: &'static [(&'static str, u16)],
    /// Greatest number.
    pub max: u16,
}

impl Names {
    /// The number of a name, with or without prefix, or of a number.
    ///
    /// # Errors
    /// When it is neither.
    pub fn number(&self, text: &str) -> Result<u16, Problem> {
        let upper = text.trim().to_ascii_uppercase();
        let short = upper.strip_prefix(self.prefix).unwrap_or(&upper);
        if let Some((_, number)) = self.names.iter().find(|(name, _)| name.eq_ignore_ascii_case(short)) {
            return Ok(*number);
        }
        if let Ok(number) = crate::values::number(text) {
            return u16::try_from(number)
                .ok()
                .filter(|number| *number <= self.max)
                .ok_or_else(|| Problem::new(format!("{text} is not {}: 0 to {}", self.what, self.max)));
        }
        let hint = match nearest(short, self.names.iter().map(|(name, _)| *name)) {
            Some(name) => format!("did you mean `{}{name}`?", self.prefix),
            None => format!("write a name that begins with `{}`, or a number", self.prefix),
        };
        Err(Problem::hint(format!("`{text}` is not {}", self.what), hint))
    }

    /// The name of a number, or the number.
    #[must_use]
    pub fn name(&self, number: u16) -> String {
        let found = self.names.iter().find(|(_, other)| *other == number);
        found.map_or_else(|| number.to_string(), |(name, _)| format!("{}{name}", self.prefix))
    }
}

/// Protocols (`linux/in.h`).
pub const PROTOCOLS: Names = Names {
    what: "a protocol",
    prefix: "IPPROTO_",
    max: 511,
    names: &[
        ("IP", 0),
        ("ICMP", 1),
        ("IGMP", 2),
        ("IPIP", 4),
        ("TCP", 6),
        ("EGP", 8),
        ("PUP", 12),
        ("UDP", 17),
        ("IDP", 22),
        ("TP", 29),
        ("DCCP", 33),
        ("IPV6", 41),
        ("RSVP", 46),
        ("GRE", 47),
        ("ESP", 50),
        ("AH", 51),
        ("ICMPV6", 58),
        ("MTP", 92),
        ("BEETPH", 94),
        ("ENCAP", 98),
        ("PIM", 103),
        ("COMP", 108),
        ("SCTP", 132),
        ("UDPLITE", 136),
        ("MPLS", 137),
        ("ETHERNET", 143),
        ("RAW", 255),
        ("MPTCP", 262),
    ],
};

/// Address families (`linux/socket.h`).
pub const FAMILIES: Names = Names {
    what: "an address family",
    prefix: "AF_",
    max: 255,
    names: &[
        ("UNSPEC", 0),
        ("UNIX", 1),
        ("LOCAL", 1),
        ("INET", 2),
        ("AX25", 3),
        ("IPX", 4),
        ("APPLETALK", 5),
        ("NETROM", 6),
        ("BRIDGE", 7),
        ("ATMPVC", 8),
        ("X25", 9),
        ("INET6", 10),
        ("ROSE", 11),
        ("DECnet", 12),
        ("NETBEUI", 13),
        ("SECURITY", 14),
        ("KEY", 15),
        ("NETLINK", 16),
        ("PACKET", 17),
        ("ASH", 18),
        ("ECONET", 19),
        ("ATMSVC", 20),
        ("RDS", 21),
        ("IRDA", 23),
        ("PPPOX", 24),
        ("WANPIPE", 25),
        ("LLC", 26),
        ("IB", 27),
        ("MPLS", 28),
        ("CAN", 29),
        ("TIPC", 30),
        ("BLUETOOTH", 31),
        ("IUCV", 32),
        ("RXRPC", 33),
        ("ISDN", 34),
        ("PHONET", 35),
        ("IEEE802154", 36),
        ("CAIF", 37),
        ("ALG", 38),
        ("NFC", 39),
        ("VSOCK", 40),
        ("KCM", 41),
        ("QIPCRTR", 42),
        ("SMC", 43),
        ("XDP", 44),
        ("MCTP", 45),
    ],
};

/// States of a TCP connection (`net/tcp_states.h`).
pub const TCP_STATES: Names = Names {
    what: "a TCP state",
    prefix: "TCP_",
    max: 255,
    names: &[
        ("ESTABLISHED", 1),
        ("SYN_SENT", 2),
        ("SYN_RECV", 3),
        ("FIN_WAIT1", 4),
        ("FIN_WAIT2", 5),
        ("TIME_WAIT", 6),
        ("CLOSE", 7),
        ("CLOSE_WAIT", 8),
        ("LAST_ACK", 9),
        ("LISTEN", 10),
        ("CLOSING", 11),
        ("NEW_SYN_RECV", 12),
    ],
};

/// Capabilities by number (`linux/capability.h`), without `CAP_`.
pub const CAPABILITIES: &[&str] = &[
    "CHOWN",
    "DAC_OVERRIDE",
    "DAC_READ_SEARCH",
    "FOWNER",
    "FSETID",
    "KILL",
    "SETGID",
    "SETUID",
    "SETPCAP",
    "LINUX_IMMUTABLE",
    "NET_BIND_SERVICE",
    "NET_BROADCAST",
    "NET_ADMIN",
    "NET_RAW",
    "IPC_LOCK",
    "IPC_OWNER",
    "SYS_MODULE",
    "SYS_RAWIO",
    "SYS_CHROOT",
    "SYS_PTRACE",
    "SYS_PACCT",
    "SYS_ADMIN",
    "SYS_BOOT",
    "SYS_NICE",
    "SYS_RESOURCE",
    "SYS_TIME",
    "SYS_TTY_CONFIG",
    "MKNOD",
    "LEASE",
    "AUDIT_WRITE",
    "AUDIT_CONTROL",
    "SETFCAP",
    "MAC_OVERRIDE",
    "MAC_ADMIN",
    "SYSLOG",
    "WAKE_ALARM",
    "BLOCK_SUSPEND",
    "AUDIT_READ",
    "PERFMON",
    "BPF",
    "CHECKPOINT_RESTORE",
];

/// The number of a capability, with or without `CAP_`, in any case.
///
/// # Errors
/// When there is none of that name.
pub fn capability(text: &str) -> Result<u8, Problem> {
    let upper = text.trim().to_ascii_uppercase();
    let short = upper.strip_prefix("CAP_").unwrap_or(&upper);
    if let Some(number) = CAPABILITIES.iter().position(|name| *name == short) {
        return Ok(u8::try_from(number).unwrap_or(u8::MAX));
    }
    let message = format!("`{text}` is not a capability");
    Err(match nearest(short, CAPABILITIES.iter().copied()) {
        Some(name) => Problem::hint(message, format!("did you mean `CAP_{name}`?")),
        None => Problem::new(message),
    })
}

/// The capabilities of a set, by name.
#[must_use]
pub fn capability_names(set: u64) -> Vec<String> {
    let named = |bit: u32| match CAPABILITIES.get(bit as usize) {
        Some(name) => format!("CAP_{name}"),
        None => format!("capability {bit}"),
    };
    (0..u64::BITS).filter(|bit| set >> bit & 1 == 1).map(named).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_spellings_of_capabilities() {
        for text in ["CAP_DAC_OVERRIDE", "DAC_OVERRIDE", "cap_dac_override"] {
            assert_eq!(capability(text).unwrap(), 1);
        }
        assert_eq!(capability("CAP_CHECKPOINT_RESTORE").unwrap(), 40);
        let problem = capability("CAP_SYS_ADMN").unwrap_err();
        assert_eq!(problem.hint.as_deref(), Some("did you mean `CAP_SYS_ADMIN`?"));
        assert_eq!(capability_names(1 << 21 | 1), ["CAP_CHOWN", "CAP_SYS_ADMIN"]);
    }

    #[test]
    fn names_and_numbers() {
        assert_eq!(PROTOCOLS.number("IPPROTO_TCP").unwrap(), 6);
        assert_eq!(PROTOCOLS.number("udp").unwrap(), 17);
        assert_eq!(PROTOCOLS.number("0x11").unwrap(), 17);
        assert_eq!(FAMILIES.number("AF_INET6").unwrap(), 10);
        assert_eq!(FAMILIES.number("AF_DECnet").unwrap(), 12);
        assert_eq!(TCP_STATES.number("TCP_LISTEN").unwrap(), 10);
        assert_eq!(FAMILIES.name(2), "AF_INET");
        assert_eq!(FAMILIES.name(99), "99");
        assert!(FAMILIES.number("300").is_err());
        let problem = PROTOCOLS.number("IPPROTO_TPC").unwrap_err();
        assert!(problem.hint.unwrap().contains("IPPROTO_T"), "{}", problem.message);
    }
}

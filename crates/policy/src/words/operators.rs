//! Operators of filters, and actions.

use super::vocabulary;

vocabulary! {
    /// Operator on a captured value.
    pub enum Operator {
        /// the value is one of these
        Equal = "Equal" ~ "eq",
        /// the value is none of these
        NotEqual = "NotEqual" ~ "neq",
        /// the value is greater than one of these
        GreaterThan = "GreaterThan" / "GT",
        /// the value is less than one of these
        LessThan = "LessThan" / "LT",
        /// the value has a bit of one of these
        Mask = "Mask",
        /// the value is in the set of numbers, ranges `a:b` and lists `list:NAME`
        InMap = "InMap",
        /// the value is not in the set
        NotInMap = "NotInMap",
        /// the value is in one of the ranges `a:b`, both ends included
        InRange = "InRange",
        /// the value is in none of the ranges
        NotInRange = "NotInRange",
        /// the text begins with one of these
        Prefix = "Prefix",
        /// the text begins with none of these
        NotPrefix = "NotPrefix",
        /// the text ends with one of these
        Postfix = "Postfix",
        /// the text ends with none of these
        NotPostfix = "NotPostfix",
        /// the text contains one of these
        SubString = "SubString",
        /// the text contains one of these, whatever the case of A to Z
        SubStringIgnCase = "SubStringIgnCase",
        /// the whole text fits one of these patterns: `*` and `?` within a component, `**` across, `[a-z]`
        Glob = "Glob",
        /// the whole text fits none of these patterns
        NotGlob = "NotGlob",
        /// the file is of one of these types
        FileType = "FileType",
        /// the file is of none of these types
        NotFileType = "NotFileType",
        /// the file is one of these, or lies below a folder among them, by whatever path it is reached: each value is an
        /// absolute path that says which file is meant
        SameFile = "SameFile",
        /// the file is none of these and lies below none of them, by whatever path it is reached
        NotSameFile = "NotSameFile",
        /// the source address (of `sockaddr`: the address) is in one of these networks
        SAddr = "SAddr",
        /// the source address is in none of these networks
        NotSAddr = "NotSAddr",
        /// the destination address is in one of these networks
        DAddr = "DAddr",
        /// the destination address is in none of these networks
        NotDAddr = "NotDAddr",
        /// the source port (of `sockaddr`: the port) is one of these, or in a range `a:b`
        SPort = "SPort",
        /// the source port is none of these
        NotSPort = "NotSPort",
        /// the destination port is one of these, or in a range `a:b`
        DPort = "DPort",
        /// the destination port is none of these
        NotDPort = "NotDPort",
        /// the source port is below 1024
        SPortPriv = "SPortPriv",
        /// the source port is 1024 or above
        NotSPortPriv = "NotSportPriv" / "NotSPortPriv",
        /// the destination port is below 1024
        DPortPriv = "DPortPriv",
        /// the destination port is 1024 or above
        NotDPortPriv = "NotDPortPriv",
        /// the protocol is one of these: `IPPROTO_TCP` or a number
        Protocol = "Protocol",
        /// the address family is one of these: `AF_INET` or a number
        Family = "Family",
        /// the TCP state is one of these: `TCP_ESTABLISHED` or a number
        State = "State",
        /// the second of two sets has a capability that the first lacks; `args` names both
        CapabilitiesGained = "CapabilitiesGained",
        /// an expression over `arg0`, `arg1`, … is true
        CelExpr = "CelExpr",
    }
}

impl Operator {
    /// The operator without its negation, and whether there was one.
    #[must_use]
    pub fn positive(self) -> (Self, bool) {
        match self {
            Self::NotEqual => (Self::Equal, true),
            Self::NotInMap => (Self::InMap, true),
            Self::NotInRange => (Self::InRange, true),
            Self::NotPrefix => (Self::Prefix, true),
            Self::NotPostfix => (Self::Postfix, true),
            Self::NotGlob => (Self::Glob, true),
            Self::NotFileType => (Self::FileType, true),
            Self::NotSameFile => (Self::SameFile, true),
            Self::NotSAddr => (Self::SAddr, true),
            Self::NotDAddr => (Self::DAddr, true),
            Self::NotSPort => (Self::SPort, true),
            Self::NotDPort => (Self::DPort, true),
            Self::NotSPortPriv => (Self::SPortPriv, true),
            Self::NotDPortPriv => (Self::DPortPriv, true),
            other => (other, false),
        }
    }
}

vocabulary! {
    /// Operator on the path of a binary.
    pub enum BinaryOperator {
        /// the binary is one of these
        In = "In",
        /// the binary is none of these
        NotIn = "NotIn",
        /// its path begins with one of these
        Prefix = "Prefix",
        /// its path begins with none of these
        NotPrefix = "NotPrefix",
        /// its path ends with one of these
        Postfix = "Postfix",
        /// its path ends with none of these
        NotPostfix = "NotPostfix",
        /// its path fits one of these patterns
        Glob = "Glob",
        /// its path fits none of these patterns
        NotGlob = "NotGlob",
    }
}

vocabulary! {
    /// Type of a file.
    pub enum FileType {
        /// a socket
        Socket = "sock" / "socket",
        /// a symbolic link
        Link = "lnk" / "link",
        /// a regular file
        Regular = "reg" / "regular",
        /// a block device
        Block = "blk" / "block",
        /// a directory
        Directory = "dir",
        /// a character device
        Character = "chr" / "char",
        /// a named pipe
        Fifo = "fifo" / "pipe",
    }
}

vocabulary! {
    /// What to do when a selector matches.
    pub enum ActionName {
        /// tell of it: an event; also what happens when no action is given
        Post = "Post",
        /// tell nothing; other actions are carried out
        NoPost = "NoPost",
        /// kill the process
        Sigkill = "Sigkill",
        /// send the signal `argSig` to the process
        Signal = "Signal",
        /// do not call the function; return `argError` instead
        Override = "Override",
        /// have the agent fetch `argUrl`
        GetUrl = "GetUrl",
        /// have the agent look up `argFqdn`
        DnsLookup = "DnsLookup",
        /// remember that the socket `argSock` belongs to this process
        TrackSock = "TrackSock",
        /// forget the socket `argSock`
        UntrackSock = "UntrackSock",
        /// have the enforcer act at the call of its list that is hooked, with `argError` and `argSig`
        NotifyEnforcer = "NotifyEnforcer",
        /// take back what the enforcer was told
        CleanupEnforcerNotification = "CleanupEnforcerNotification",
        /// write `argValue` into the argument `argIndex` of a USDT
        Set = "Set",
    }
}

impl ActionName {
    /// Whether it interferes with the process.
    #[must_use]
    pub fn enforces(self) -> bool {
        matches!(self, Self::Sigkill | Self::Signal | Self::Override | Self::NotifyEnforcer | Self::Set)
    }
}

vocabulary! {
    /// What a rate limit counts together.
    pub enum RateScope {
        /// each thread has its own limit
        Thread = "thread",
        /// each process has its own limit
        Process = "process",
        /// all share one limit
        Global = "global",
    }
}

vocabulary! {
    /// What to do with a socket that the function returns.
    pub enum ReturnSocketAction {
        /// remember that it belongs to this process
        Track = "TrackSock",
        /// forget it
        Untrack = "UntrackSock",
    }
}

//! What the forms of an event have in common beyond its plain fields.

use super::{EventKind, Family, GapEvent, PrivilegesChanged, Process, ProcessExtra, ProcessView};
use crate::tetragon::{EventType, KprobeAction, ProcessPrivilegesChanged};

impl EventKind {
    /// The compatible type; a gap is told there as `RATE_LIMIT_INFO`.
    #[must_use]
    pub fn event_type(&self) -> EventType {
        match self {
            Self::Exec(_) => EventType::ProcessExec,
            Self::Exit(_) => EventType::ProcessExit,
            Self::Hook(hook) => hook.hook.family.event_type(),
            Self::Gap(_) => EventType::RateLimitInfo,
        }
    }

    /// What the event is called in its forms, such as `process_exec`.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Exec(_) => "process_exec",
            Self::Exit(_) => "process_exit",
            Self::Hook(hook) => match hook.hook.family {
                Family::Kprobe => "process_kprobe",
                Family::Tracepoint => "process_tracepoint",
                Family::Uprobe => "process_uprobe",
                Family::Usdt => "process_usdt",
                Family::Lsm => "process_lsm",
                Family::Loader => "process_loader",
            },
            Self::Gap(_) => "gap",
        }
    }

    /// A policy did something to the process: it sent a signal, or put a result in place of the call.
    #[must_use]
    pub fn is_enforcement(&self) -> bool {
        let Self::Hook(hook) = self else { return false };
        let acts = |action: i32| {
            let of = |known: KprobeAction| known as i32 == action;
            of(KprobeAction::Sigkill)
                || of(KprobeAction::Override)
                || of(KprobeAction::Signal)
                || of(KprobeAction::Notifyenforcer)
        };
        (acts(hook.action) && hook.more.action_withheld.is_empty())
            || (acts(hook.return_action) && hook.more.return_action_withheld.is_empty())
    }

    /// The process that the event is about, who created it, and the ancestors from the grandparent upwards.
    #[must_use]
    pub fn processes(&self) -> (Option<&ProcessView>, Option<&ProcessView>, &[ProcessView]) {
        match self {
            Self::Exec(exec) => (Some(&exec.process), exec.parent.as_ref(), &exec.ancestors),
            Self::Exit(exit) => (Some(&exit.process), exit.parent.as_ref(), &exit.ancestors),
            Self::Hook(hook) => (Some(&hook.process), hook.parent.as_ref(), &hook.more.ancestors),
            Self::Gap(_) => (None, None, &[]),
        }
    }
}

impl Process {
    /// Bytes that it takes with its encoded forms, about: texts that it shares with other processes are counted as its own.
    #[must_use]
    pub fn heap_bytes(&self) -> usize {
        let texts = [&self.exec_id, &self.cwd, &self.binary, &self.flags, &self.parent_exec_id];
        let more = [&self.extra.canonical_path, &self.extra.command];
        let shared: usize = texts.into_iter().chain(more).map(|text| text.len()).sum();
        let environment: usize = self.environment.iter().map(|(name, value)| name.len() + value.len()).sum();
        let argv: usize = self.extra.argv.iter().map(|text| text.len() + size_of::<Box<str>>()).sum();
        let boxes = self.creds.as_ref().map_or(0, |_| size_of::<super::Credentials>())
            + self.namespaces.as_ref().map_or(0, |_| size_of::<super::Namespaces>());
        let proto =
            |form: &std::sync::OnceLock<super::ProtoForm>| form.get().map_or(0, |form| form.bytes.len());
        let encoded = self.encoded.json.get().map_or(0, |form| form.text.len())
            + proto(&self.encoded.proto)
            + proto(&self.encoded.extra);
        size_of::<Self>()
            + size_of::<ProcessExtra>()
            + shared
            + self.arguments.len()
            + environment
            + argv
            + boxes
            + encoded
    }

    /// Whether its user ids and thread are known: not of a process that no record and no scan told about
    /// (flag `unknown`), of which only the PID and the start are shown.
    pub(crate) fn has_identity(&self) -> bool {
        // It is the last of all flags.
        self.flags.strip_suffix("unknown").is_none_or(|before| !before.is_empty() && !before.ends_with(' '))
    }
}

impl ProcessExtra {
    /// `device`: `MAJOR:MINOR`; empty: unknown.
    pub(crate) fn device_text(&self) -> String {
        match self.device {
            (0, 0) => String::new(),
            (major, minor) => format!("{major}:{minor}"),
        }
    }

    /// `audit_session`; 0: unset.
    pub(crate) fn audit_session_if_set(&self) -> u32 {
        match self.audit_session {
            u32::MAX => 0,
            session => session,
        }
    }
}

impl GapEvent {
    /// Causes with their sums, each once, in the order in which they first appear.
    pub(crate) fn merged_causes(&self) -> impl Iterator<Item = (&'static str, u64)> {
        let causes = &self.causes;
        causes.iter().enumerate().filter_map(move |(index, &(cause, _))| {
            let seen = causes[..index].iter().any(|&(earlier, _)| earlier == cause);
            let sum = causes.iter().filter(|&&(other, _)| other == cause);
            (!seen).then(|| (cause, sum.fold(0, |sum: u64, &(_, count)| sum.saturating_add(count))))
        })
    }
}

impl From<PrivilegesChanged> for ProcessPrivilegesChanged {
    fn from(change: PrivilegesChanged) -> Self {
        match change {
            PrivilegesChanged::FileCapabilities => Self::PrivilegesRaisedExecFileCap,
            PrivilegesChanged::FileSetuid => Self::PrivilegesRaisedExecFileSetuid,
            PrivilegesChanged::FileSetgid => Self::PrivilegesRaisedExecFileSetgid,
        }
    }
}

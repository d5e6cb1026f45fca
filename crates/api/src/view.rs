//! One way to look at an event, be it the model or a message that a client received.

use std::cell::OnceCell;

use prost_reflect::DynamicMessage;

use crate::descriptors::Described;
use crate::event::{Credentials, Event, EventKind, Family, Process, ProcessView};
use crate::proto;
use crate::tetragon::{self, EventType, GetEventsResponse, get_events_response as response};

/// What filters and compact lines ask of an event.
#[derive(Debug)]
pub(crate) struct EventView<'a> {
    pub(crate) event_type: EventType,
    pub(crate) process: Option<ProcessRef<'a>>,
    pub(crate) parent: Option<ProcessRef<'a>>,
    pub(crate) ancestors: Ancestors<'a>,
    /// Empty: not an event of a policy.
    pub(crate) policy: &'a str,
    whole: Whole<'a>,
    dynamic: OnceCell<Box<DynamicMessage>>,
}

/// The event itself.
#[derive(Clone, Copy, Debug)]
enum Whole<'a> {
    Model(&'a Event),
    Message(&'a GetEventsResponse),
}

/// A process in either form.
#[derive(Clone, Copy, Debug)]
pub(crate) enum ProcessRef<'a> {
    Model(&'a Process),
    /// One of its threads called a hook, with these credentials.
    Caller(&'a Process, &'a Credentials),
    Message(&'a tetragon::Process),
}

/// Ancestors in either form.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Ancestors<'a> {
    Model(&'a [ProcessView]),
    Messages(&'a [tetragon::Process]),
}

impl<'a> From<&'a Event> for EventView<'a> {
    fn from(event: &'a Event) -> Self {
        let (process, parent, ancestors) = event.kind.processes();
        let shown = |view: &'a ProcessView| ProcessRef::Model(&view.process);
        let (creds, policy) = match &event.kind {
            // The compatible messages of the loader do not name their policy.
            EventKind::Hook(hook) if hook.hook.family == Family::Loader => (hook.caller.creds.as_deref(), ""),
            EventKind::Hook(hook) => (hook.caller.creds.as_deref(), hook.hook.policy.as_str()),
            _ => (None, ""),
        };
        let process = process.map(|view| match creds {
            Some(creds) => ProcessRef::Caller(&view.process, creds),
            None => shown(view),
        });
        Self {
            event_type: event.kind.event_type(),
            process,
            parent: parent.map(shown),
            ancestors: Ancestors::Model(ancestors),
            policy,
            whole: Whole::Model(event),
            dynamic: OnceCell::new(),
        }
    }
}

impl<'a> From<&'a GetEventsResponse> for EventView<'a> {
    fn from(message: &'a GetEventsResponse) -> Self {
        macro_rules! view {
            ($event:expr, $kind:ident, $policy:expr) => {
                Self {
                    event_type: EventType::$kind,
                    process: $event.process.as_ref().map(ProcessRef::Message),
                    parent: $event.parent.as_ref().map(ProcessRef::Message),
                    ancestors: Ancestors::Messages(&$event.ancestors),
                    policy: $policy,
                    whole: Whole::Message(message),
                    dynamic: OnceCell::new(),
                }
            };
        }
        match &message.event {
            Some(response::Event::ProcessExec(event)) => view!(event, ProcessExec, ""),
            Some(response::Event::ProcessExit(event)) => view!(event, ProcessExit, ""),
            Some(response::Event::ProcessKprobe(event)) => view!(event, ProcessKprobe, &event.policy_name),
            Some(response::Event::ProcessTracepoint(event)) => {
                view!(event, ProcessTracepoint, &event.policy_name)
            }
            Some(response::Event::ProcessLoader(event)) => view!(event, ProcessLoader, ""),
            Some(response::Event::ProcessUprobe(event)) => view!(event, ProcessUprobe, &event.policy_name),
            Some(response::Event::ProcessLsm(event)) => view!(event, ProcessLsm, &event.policy_name),
            Some(response::Event::ProcessUsdt(event)) => view!(event, ProcessUsdt, &event.policy_name),
            Some(response::Event::ProcessThrottle(_)) => {
                Self::without_process(EventType::ProcessThrottle, message)
            }
            Some(response::Event::RateLimitInfo(_)) => {
                Self::without_process(EventType::RateLimitInfo, message)
            }
            Some(response::Event::Test(_)) => Self::without_process(EventType::Test, message),
            None => Self::without_process(EventType::Undef, message),
        }
    }
}

impl<'a> EventView<'a> {
    fn without_process(event_type: EventType, message: &'a GetEventsResponse) -> Self {
        Self {
            event_type,
            process: None,
            parent: None,
            ancestors: Ancestors::Model(&[]),
            policy: "",
            whole: Whole::Message(message),
            dynamic: OnceCell::new(),
        }
    }

    /// The compatible message with its fields by name; made when it is asked for first.
    pub(crate) fn dynamic(&self) -> &DynamicMessage {
        self.dynamic.get_or_init(|| {
            Box::new(match self.whole {
                Whole::Message(message) => message.to_dynamic(),
                Whole::Model(event) => GetEventsResponse::decode_dynamic(proto::encode_response(event)),
            })
        })
    }
}

impl<'a> Ancestors<'a> {
    pub(crate) fn iter(self) -> impl Iterator<Item = ProcessRef<'a>> {
        let (model, messages) = match self {
            Self::Model(views) => (views, [].as_slice()),
            Self::Messages(messages) => ([].as_slice(), messages),
        };
        model
            .iter()
            .map(|view| ProcessRef::Model(&view.process))
            .chain(messages.iter().map(ProcessRef::Message))
    }
}

impl<'a> ProcessRef<'a> {
    pub(crate) fn exec_id(self) -> &'a str {
        match self {
            Self::Model(process) | Self::Caller(process, _) => &process.exec_id,
            Self::Message(process) => &process.exec_id,
        }
    }

    pub(crate) fn parent_exec_id(self) -> &'a str {
        match self {
            Self::Model(process) | Self::Caller(process, _) => &process.parent_exec_id,
            Self::Message(process) => &process.parent_exec_id,
        }
    }

    pub(crate) fn pid(self) -> Option<u32> {
        match self {
            Self::Model(process) | Self::Caller(process, _) => Some(process.pid),
            Self::Message(process) => process.pid,
        }
    }

    pub(crate) fn binary(self) -> &'a str {
        match self {
            Self::Model(process) | Self::Caller(process, _) => &process.binary,
            Self::Message(process) => &process.binary,
        }
    }

    pub(crate) fn arguments(self) -> &'a str {
        match self {
            Self::Model(process) | Self::Caller(process, _) => &process.arguments,
            Self::Message(process) => &process.arguments,
        }
    }

    pub(crate) fn docker(self) -> &'a str {
        match self {
            Self::Model(process) | Self::Caller(process, _) => &process.docker,
            Self::Message(process) => &process.docker,
        }
    }

    pub(crate) fn in_init_tree(self) -> bool {
        match self {
            Self::Model(process) | Self::Caller(process, _) => process.in_init_tree,
            Self::Message(process) => process.in_init_tree,
        }
        .unwrap_or_default()
    }

    /// The pod.
    pub(crate) fn pod(self) -> Option<&'a tetragon::Pod> {
        match self {
            Self::Model(process) | Self::Caller(process, _) => process.pod.as_deref(),
            Self::Message(process) => process.pod.as_ref(),
        }
    }

    /// Permitted, effective and inheritable capabilities, one bit each.
    pub(crate) fn capabilities(self) -> Option<[u64; 3]> {
        let sets = |creds: &Credentials| [creds.cap_permitted, creds.cap_effective, creds.cap_inheritable];
        match self {
            Self::Model(process) => process.creds.as_deref().map(sets),
            Self::Caller(_, creds) => Some(sets(creds)),
            Self::Message(process) => process
                .cap
                .as_ref()
                .map(|cap| [&cap.permitted, &cap.effective, &cap.inheritable].map(|list| bits_of(list))),
        }
    }

    /// The same where they are shown.
    pub(crate) fn shown_capabilities(self) -> Option<[u64; 3]> {
        match self {
            Self::Model(process) | Self::Caller(process, _) if !process.visible.credentials => None,
            _ => self.capabilities(),
        }
    }
}

/// A list of capabilities as a set.
pub(crate) fn bits_of(capabilities: &[i32]) -> u64 {
    let bit = |&capability: &i32| u32::try_from(capability).ok().and_then(|shift| 1u64.checked_shl(shift));
    capabilities.iter().filter_map(bit).fold(0, |set, bit| set | bit)
}

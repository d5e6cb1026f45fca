//! The switch of enforcement, for our service.

use std::time::Duration;

use saker_api::saker_v1;
use saker_probes::Enforced;
use tonic::{Request, Status};

use super::client_of;
use super::connections::Peer;
use crate::enforcement::{Enforcement, EnforcementError, GroupView, Off};

/// Who asks, for the log: the process at the other end of the socket with its user, and with the user who logged in where
/// that is another.
pub(super) fn asker_of<T>(request: &Request<T>) -> String {
    let client = client_of(request);
    let credentials = Peer::credentials(request);
    let Some(credentials) = credentials else { return client };
    let text = format!("{client}, uid {}, gid {}", credentials.uid(), credentials.gid());
    match credentials.pid().and_then(login_of).filter(|login| *login != credentials.uid()) {
        Some(login) => format!("{text}, logged in as uid {login}"),
        None => text,
    }
}

/// The user that logged in, as the audit subsystem knows it; none: nobody did, or it is not known.
fn login_of(pid: i32) -> Option<u32> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/loginuid")).ok()?;
    text.trim().parse().ok().filter(|login| *login != u32::MAX)
}

/// The time that a call asks for.
pub(super) fn time(duration: Option<prost_types::Duration>) -> Result<Option<Duration>, Status> {
    let wrong = |_| Status::invalid_argument("the duration is negative or out of range");
    duration.map(|duration| Duration::try_from(duration).map_err(wrong)).transpose()
}

pub(super) fn status(error: &EnforcementError) -> Status {
    let text = error.to_string();
    match error {
        EnforcementError::Duration(_) | EnforcementError::Reason(_) | EnforcementError::Control => {
            Status::invalid_argument(text)
        }
        EnforcementError::Nowhere(_) | EnforcementError::Kernel(_) => Status::failed_precondition(text),
    }
}

fn counters(counts: Enforced) -> saker_v1::EnforcedCounters {
    let Enforced { denied, signalled, withheld } = counts;
    saker_v1::EnforcedCounters { denied, signalled, withheld }
}

/// The state of the switch and the sums.
pub(crate) fn told(enforcement: &Enforcement) -> saker_v1::Enforcement {
    let off = enforcement.off();
    let total = enforcement.total().map_err(|error| {
        tracing::debug!("what policies did cannot be read: {error:#}");
    });
    let mut told = saker_v1::Enforcement {
        enforcing: off.is_none(),
        switched_off: enforcement.switched_off(),
        total: total.ok().map(counters),
        groups_capacity: saker_probes::Enforcement::CAPACITY as u64,
        ..saker_v1::Enforcement::default()
    };
    if let Some(Off { since, until, by, reason, .. }) = off {
        told.off_since = Some(since.into());
        told.off_until = until.map(Into::into);
        told.off_by = by;
        told.off_reason = reason;
    }
    told
}

pub(super) fn group(view: GroupView) -> saker_v1::EnforcedGroup {
    let GroupView { id, path, pod, counts } = view;
    saker_v1::EnforcedGroup { cgroup_id: id, path, pod, counters: Some(counters(counts)) }
}

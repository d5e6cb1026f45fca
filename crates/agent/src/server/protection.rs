//! The agent's protection of itself, for our service.

use saker_api::saker_v1;
use tonic::{Request, Status};

use super::connections::Peer;
use super::enforcement::asker_of;
use crate::protection::{Lifted, Protection, ProtectionError};

/// Root at the other end of the Unix socket may lift protection, and nobody else, whoever may change policies. Returns who it is,
/// for the log.
pub(super) fn operator<T>(request: &Request<T>) -> Result<String, Status> {
    let peer = Peer::credentials(request);
    if peer.is_none_or(|peer| peer.uid() != 0) {
        let by = asker_of(request);
        tracing::warn!(by, "asked to change self-protection, which only root may, through the Unix socket");
        return Err(Status::permission_denied(
            "self-protection is changed by root only, through the Unix socket of the agent",
        ));
    }
    Ok(asker_of(request))
}

pub(super) fn status(error: &ProtectionError) -> Status {
    let text = error.to_string();
    match error {
        ProtectionError::Duration(_) | ProtectionError::Reason(_) => Status::invalid_argument(text),
        ProtectionError::None | ProtectionError::Kernel(_) => Status::failed_precondition(text),
    }
}

/// Its state.
pub(crate) fn told(protection: &Protection) -> saker_v1::SelfProtection {
    let lifted = protection.lifted();
    let counts = protection.counts();
    let mut told = saker_v1::SelfProtection {
        protecting: lifted.is_none(),
        lifted_times: protection.times(),
        untold: counts.iter().map(|(_, count)| count.lost).sum(),
        refused: counts
            .into_iter()
            .filter(|(_, count)| count.refused > 0)
            .map(|(hook, count)| (hook.to_owned(), count.refused))
            .collect(),
        ..saker_v1::SelfProtection::default()
    };
    if let Some(Lifted { since, until, by, reason, .. }) = lifted {
        told.lifted_since = Some(since.into());
        told.lifted_until = Some(until.into());
        told.lifted_by = by;
        told.lifted_reason = reason;
    }
    told
}

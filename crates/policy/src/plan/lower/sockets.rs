//! Sockets: whose owner is remembered, and which events are told of it.

use saker_abi::generated::{
    SAKER_PLAN_SOCKETS, SAKER_PLAN_TRACKS, SAKER_TYPE_SKB, SAKER_TYPE_SOCK, SAKER_TYPE_SOCKET, saker_plan,
};

use super::Lowering;
use super::targets::Site;
use super::values::{RESULT, Slots};
use crate::diagnostic::At;
use crate::model::Hook;
use crate::plan::Attach;
use crate::words::ReturnSocketAction;

/// What every socket ends in, where its owner is forgotten.
const END: &str = "security_sk_free";

/// The bit of the socket at this position of the captured values, for an action that is done at the return if it is
/// late.
pub(super) fn bit(cx: &mut Lowering<'_>, slots: &Slots, position: usize, late: bool, at: &At) -> u16 {
    if slots.is_late(position) && !late {
        let at = At { span: at.span, path: at.path.field("argSock") };
        let message = "the socket is read at the return, and this is done at the call";
        let hint = "take `returnCopy` out, or put the action under `matchReturnActions`";
        cx.report.error_hint(&at, message, hint);
        return 0;
    }
    // Without a place its type is wrong, which is told already.
    slots.slot(position).map_or(0, |slot| 1 << slot)
}

/// Completes a plan whose values are known: which of them are sockets, and what is done with the one that is returned.
pub(super) fn complete(cx: &mut Lowering<'_>, hook: &Hook, site: &Site, plan: &mut saker_plan, at: &At) {
    if matches!(site.attach, Attach::Uprobe { .. }) {
        return;
    }
    let is_socket = |ty: u8| [SAKER_TYPE_SOCK, SAKER_TYPE_SOCKET, SAKER_TYPE_SKB].contains(&ty.into());
    let values = plan.value.iter().take(plan.values.into());
    if values.chain([&plan.result]).any(|value| is_socket(value.type_)) {
        plan.flags |= SAKER_PLAN_SOCKETS;
    }
    match hook.on_return.as_ref().and_then(|on_return| on_return.socket) {
        Some(ReturnSocketAction::Track) => plan.track = 1 << RESULT,
        Some(ReturnSocketAction::Untrack) => plan.untrack = 1 << RESULT,
        None => {}
    }
    let of_result = plan.track | plan.untrack;
    let entries = plan.selector.iter().take(plan.selectors.into());
    let limited = entries.clone().any(|one| one.window > 0);
    let of_entries = entries.fold(0, |all, one| all | one.track | one.untrack);
    let returns = plan.return_selector.iter().take(plan.return_selectors.into());
    let of_returns = returns.fold(0, |all, one| all | one.track | one.untrack);
    if of_result | of_entries | of_returns == 0 {
        return;
    }
    plan.flags |= SAKER_PLAN_TRACKS;
    if !cx.kernel.mechanisms().trampoline || !cx.kernel.function(END).is_some_and(|end| end.readable) {
        let release = cx.kernel.release();
        let message = format!(
            "this kernel ({release}) does not tell of the end of a socket, so another with its address would be \
             taken for it: owners of sockets are not remembered"
        );
        let hint = format!("it needs a trampoline on {END}; take `TrackSock` and `UntrackSock` out");
        cx.report.error_hint(at, message, hint);
    }
    if limited && of_result | of_returns != 0 {
        let message =
            "calls that a rate limit holds back are not seen to return, and what they do to sockets is lost";
        cx.report.error_hint(at, message, "take `rateLimit` out, or give the sockets a hook of their own");
    }
}

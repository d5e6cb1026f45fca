//! Sockets that are tracked.

use saker_abi::generated::{
    SAKER_ACTION_POST, SAKER_ACTION_TRACK_SOCK, SAKER_ACTION_UNTRACK_SOCK, SAKER_PLAN_SOCKETS,
    SAKER_PLAN_TRACKS, SAKER_VALUES_MAX,
};

use super::fake::Fake;
use super::{assert_refused, hook};
use crate::testing::with_hook;

fn kernel() -> Fake {
    Fake { functions: vec!["security_sk_free"], ..Fake::default() }
}

const SOCKETS: u32 = SAKER_PLAN_SOCKETS | SAKER_PLAN_TRACKS;

#[test]
fn actions_mark_their_values() {
    let text = with_hook(
        "args: [{index: 0, type: nop}, {index: 0, type: int}, {index: 1, type: sock}, {index: 1, type: socket}]
return: true
returnArg: {index: 0, type: int}
selectors:
- matchActions: [{action: TrackSock, argSock: 2}, {action: UntrackSock, argSock: 3}]
  matchReturnActions: [{action: UntrackSock, argSock: 2}]
- matchActions: [{action: TrackSock, argSock: 2}, {action: Post}]",
    );
    let plan = hook(&text, &kernel()).plan;
    assert_eq!(plan.flags & SOCKETS, SOCKETS);
    // What is not captured has no place.
    assert_eq!((plan.selector[0].track, plan.selector[0].untrack), (1 << 1, 1 << 2));
    assert_eq!((plan.return_selector[0].track, plan.return_selector[0].untrack), (0, 1 << 1));
    assert_eq!(u32::from(plan.selector[0].action), SAKER_ACTION_UNTRACK_SOCK);
    assert_eq!(u32::from(plan.return_selector[0].action), SAKER_ACTION_UNTRACK_SOCK);
    assert_eq!((plan.selector[1].track, u32::from(plan.selector[1].action)), (1 << 1, SAKER_ACTION_POST));
    assert_eq!((plan.track, plan.untrack), (0, 0));
    let text = text.replace(", {action: Post}", "");
    assert_eq!(u32::from(hook(&text, &kernel()).plan.selector[1].action), SAKER_ACTION_TRACK_SOCK);
}

#[test]
fn what_is_returned() {
    for (action, bits) in
        [("TrackSock", (1 << SAKER_VALUES_MAX, 0)), ("UntrackSock", (0, 1 << SAKER_VALUES_MAX))]
    {
        let text = with_hook(&format!(
            "return: true\nreturnArg: {{index: 0, type: sock}}\nreturnArgAction: {action}"
        ));
        let plan = hook(&text, &kernel()).plan;
        assert_eq!((plan.flags & SOCKETS, plan.track, plan.untrack), (SOCKETS, bits.0, bits.1));
    }
}

/// Events with sockets are told of their owner, whichever policy remembered it.
#[test]
fn values_that_have_an_owner() {
    for (ty, flags) in [
        ("sock", SAKER_PLAN_SOCKETS),
        ("socket", SAKER_PLAN_SOCKETS),
        ("skb", SAKER_PLAN_SOCKETS),
        ("file", 0),
    ] {
        let plan = hook(&with_hook(&format!("args: [{{index: 1, type: {ty}}}]")), &kernel()).plan;
        assert_eq!(plan.flags & SOCKETS, flags, "{ty}");
    }
}

#[test]
fn what_cannot_be_tracked() {
    let socket = "args: [{index: 1, type: sock}]\nselectors: [{matchActions: [{action: TrackSock}]}]";
    let end = "does not tell of the end of a socket";
    assert_refused(&with_hook(socket), &Fake::default(), &[end]);
    assert_refused(
        &with_hook(socket),
        &Fake { functions: kernel().functions, ..Fake::with(false, true, true) },
        &[end],
    );
    let limited = "return: true\nreturnArg: {index: 0, type: sock}\nreturnArgAction: TrackSock\n\
                   selectors: [{matchActions: [{action: Post, rateLimit: 1m}]}]";
    assert_refused(&with_hook(limited), &kernel(), &["calls that a rate limit holds back"]);
    let late = "args: [{index: 1, type: sock, returnCopy: true}]\nreturn: true\nreturnArg: {index: 0, type: int}\n\
                selectors: [{matchActions: [{action: TrackSock}]}]";
    assert_refused(
        &with_hook(late),
        &kernel(),
        &["selectors[0].matchActions[0].argSock: the socket is read at the return"],
    );
}

//! Selectors and what is done when they match.

use saker_abi::generated::{
    SAKER_ACTION_DNS_LOOKUP, SAKER_ACTION_GET_URL, SAKER_ACTION_NO_POST, SAKER_ACTION_POST,
    SAKER_ACTION_TRACK_SOCK, SAKER_ACTION_UNTRACK_SOCK, SAKER_SELECT_GLOBAL, SAKER_SELECT_HASH,
    SAKER_SELECT_KERNEL_STACK, SAKER_SELECT_NO_POST, SAKER_SELECT_OVERRIDE, SAKER_SELECT_PER_PROCESS,
    SAKER_SELECT_USER_STACK, saker_selector_plan,
};

use super::builder::{Builder, Clauses};
use super::values::Slots;
use super::{Lowering, clauses, enforce, enforcers, hashes, process, sockets, writes};
use crate::diagnostic::At;
use crate::model::{Action, ActionKind, Hook, Post, Selector, Target};
use crate::plan::{Request, SelectorRequest};
use crate::values;
use crate::words::RateScope;

/// Puts the selectors of a hook into its plan.
pub(super) fn lower(cx: &mut Lowering<'_>, hook: &Hook, slots: &Slots, builder: &mut Builder, at: &At) {
    if hook.selectors.is_empty() {
        builder.selector(saker_selector_plan::default(), &Clauses::default());
        if hook.on_return.is_some() {
            builder.return_selector(saker_selector_plan::default(), &[]);
        }
        return;
    }
    for (index, selector) in hook.selectors.iter().enumerate() {
        let at = At { span: selector.span, path: at.path.field("selectors").index(index) };
        let list = |field: &str| At { span: selector.span, path: at.path.field(field) };
        let mut found = Clauses {
            process: process::clauses(cx, builder, selector, &at),
            values: clauses::lower(cx, builder, slots, &selector.arguments, &list("matchArgs")),
        };
        found.values.extend(clauses::lower(cx, builder, slots, &selector.data, &list("matchData")));
        let mut entry = actions(cx, hook, slots, selector, false, &list("matchActions"));
        enforce::name(selector, &mut entry);
        builder.selector(entry, &found);
        let asked = clauses::lower(cx, builder, slots, &selector.return_arguments, &list("matchReturnArgs"));
        let mut last = actions(cx, hook, slots, selector, true, &list("matchReturnActions"));
        if hook.on_return.is_some() {
            // One event tells of call and return: what is not told of the call is not told of its return.
            if u32::from(entry.flags) & SAKER_SELECT_NO_POST != 0 {
                last.flags = byte(SAKER_SELECT_NO_POST);
                last.action = byte(SAKER_ACTION_NO_POST);
            }
            enforce::name(selector, &mut last);
            builder.return_selector(last, &asked);
        }
    }
    hashes::lower(cx, hook, builder, at);
}

pub(super) fn byte(number: u32) -> u8 {
    u8::try_from(number).unwrap_or_default()
}

/// What is done, at the return if it is late; what cannot be done is told. The last action is the one that records tell.
fn actions(
    cx: &mut Lowering<'_>,
    hook: &Hook,
    slots: &Slots,
    selector: &Selector,
    late: bool,
    at: &At,
) -> saker_selector_plan {
    let mut plan = saker_selector_plan { action: byte(SAKER_ACTION_POST), ..saker_selector_plan::default() };
    let actions = if late { &selector.return_actions } else { &selector.actions };
    let mut silent = false;
    for (index, action) in actions.iter().enumerate() {
        let at = At { span: action.span, path: at.path.index(index) };
        match &action.kind {
            ActionKind::Post(post) => {
                plan.action = byte(SAKER_ACTION_POST);
                tell(cx, hook, post, &mut plan, &at);
            }
            ActionKind::NoPost => silent = true,
            ActionKind::GetUrl(_) => plan.action = byte(SAKER_ACTION_GET_URL),
            ActionKind::DnsLookup(_) => plan.action = byte(SAKER_ACTION_DNS_LOOKUP),
            ActionKind::TrackSock(position) => {
                plan.action = byte(SAKER_ACTION_TRACK_SOCK);
                plan.track |= sockets::bit(cx, slots, *position, late, &at);
            }
            ActionKind::UntrackSock(position) => {
                plan.action = byte(SAKER_ACTION_UNTRACK_SOCK);
                plan.untrack |= sockets::bit(cx, slots, *position, late, &at);
            }
            ActionKind::Sigkill => enforce::signal(cx, enforce::SIGKILL, &mut plan, &at),
            ActionKind::Signal(number) => enforce::signal(cx, *number, &mut plan, &at),
            ActionKind::Override { error, registers, jump } if matches!(hook.target, Target::Uprobe(_)) => {
                writes::of_function(cx, hook, (*error, registers, jump.as_ref()), &mut plan, &at);
            }
            ActionKind::Set { .. } => writes::of_argument(&mut plan),
            ActionKind::Override { error, registers, jump } if registers.is_empty() && jump.is_none() => {
                enforce::refusal(cx, *error, &mut plan, &at);
            }
            ActionKind::Override { .. } => {
                let at = At { span: action.span, path: at.path.field("action") };
                cx.report.error(&at, "`argRegs` and `argNew…` are for uprobes");
            }
            ActionKind::NotifyEnforcer { .. } if late => {
                let message = "at the return of a call nothing can be done at its entry";
                cx.report.error_hint(&at, message, "put the action under `matchActions`");
            }
            ActionKind::NotifyEnforcer { error, signal } => {
                enforcers::notify(cx, hook, selector, (*error, *signal), &mut plan, &at);
            }
            ActionKind::CleanupEnforcerNotification => enforcers::clean_up(cx, &mut plan, &at),
        }
    }
    let asks = |action: &&Action| request(&action.kind).is_some();
    if let Some(action) = actions.iter().find(asks).filter(|_| silent) {
        let name = action.kind.name();
        let message = format!("`{}` is done when the event is told, and `NoPost` tells none", name.name());
        cx.report.error_hint(at, message, "take one of them out");
    }
    let has = |flag: u32| u32::from(plan.flags) & flag != 0;
    if has(SAKER_SELECT_HASH) && has(SAKER_SELECT_OVERRIDE) && !hashes::decide(hook) {
        let hint = "take one of them out, or decide by the hash (`matchFileHashes`)";
        cx.report.error_hint(
            at,
            "a call that `Override` refuses is over before its file is hashed (`imaHash`)",
            hint,
        );
    }
    if silent {
        plan.action = byte(SAKER_ACTION_NO_POST);
        plan.flags |= byte(SAKER_SELECT_NO_POST);
    }
    plan
}

/// What an action asks of the network; none: nothing.
fn request(action: &ActionKind) -> Option<Request> {
    match action {
        ActionKind::GetUrl(url) => Some(Request::Url(url.clone())),
        ActionKind::DnsLookup(name) => values::parse_name(name).ok().map(Request::Name),
        _ => None,
    }
}

/// What the selectors of a hook ask of the network.
pub(super) fn requests(hook: &Hook) -> Vec<SelectorRequest> {
    let mut all = Vec::new();
    for (selector, of) in (0..).zip(&hook.selectors) {
        for (at_return, actions) in [(false, &of.actions), (true, &of.return_actions)] {
            let requests = actions.iter().filter_map(|action| request(&action.kind));
            all.extend(requests.map(|request| SelectorRequest { selector, at_return, request }));
        }
    }
    all
}

/// A file that is being opened cannot be read yet.
fn warn_of_open(cx: &mut Lowering<'_>, hook: &Hook, at: &At) {
    let Target::Lsm(name) = &hook.target else { return };
    if name.value != "file_open" {
        return;
    }
    let message = "a file that is being opened for reading cannot be read yet: there are hashes only of files that a \
                   policy of IMA has measured before";
    let hint = if cx.kernel.lsm_hook("file_post_open").is_some() {
        "hook `file_post_open`, which comes behind it"
    } else {
        "`mmap_file` and `bprm_check_security` have hashes of all files"
    };
    cx.report.warning(at, message, hint);
}

fn tell(cx: &mut Lowering<'_>, hook: &Hook, post: &Post, plan: &mut saker_selector_plan, at: &At) {
    if post.ima_hash {
        let at = At { span: at.span, path: at.path.field("imaHash") };
        let found = match &hook.target {
            Target::Lsm(name) => cx.kernel.hashes_files(&name.value),
            _ => Err("there is no `imaHash` at this hook".to_owned()),
        };
        match found {
            Ok(()) => {
                plan.flags |= byte(SAKER_SELECT_HASH);
                warn_of_open(cx, hook, &at);
            }
            Err(reason) => {
                cx.report.error_hint(&at, reason, "take `imaHash` out: the file is told by its path");
            }
        }
    }
    for (asked, flag) in
        [(post.kernel_stack, SAKER_SELECT_KERNEL_STACK), (post.user_stack, SAKER_SELECT_USER_STACK)]
    {
        plan.flags |= if asked { byte(flag) } else { 0 };
    }
    if let Some(limit) = post.rate_limit {
        // A year, the longest limit, fits.
        plan.window = u64::try_from(limit.window.as_nanos()).unwrap_or(u64::MAX);
        plan.flags |= byte(match limit.scope {
            RateScope::Thread => 0,
            RateScope::Process => SAKER_SELECT_PER_PROCESS,
            RateScope::Global => SAKER_SELECT_GLOBAL,
        });
    }
}

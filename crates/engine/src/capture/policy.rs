//! Texts of policies in captures.
//!
//! ```text
//! u32 id │ text name │ text namespace │ u32 hooks │ hook │ hook │ ...
//! text:  u32 length │ bytes
//! hook:  u32 length │ function │ subsystem │ event │ message │ path (texts)
//!        │ u64 offset │ u64 ref_ctr_offset │ u32 arguments │ u32 flags
//!        │ u32 tags │ text ... │ u32 labels │ text ... │ u32 functions │ u64 number, text ...
//!        │ u32 positions │ u32 ...
//! ```
//!
//! What a policy asks of the network is left out: who replays a capture asks nothing. What follows the known fields of a hook is that of a newer writer and ignored.

use crate::hook::{HookText, PolicyText};

/// Bit of a hook's flags: [`HookText::conditional_return`].
const CONDITIONAL_RETURN: u32 = 1;
/// [`HookText::stacks`].
const STACKS: u32 = 2;

pub(super) fn to_bytes(policy: &PolicyText) -> Vec<u8> {
    let mut out = policy.id.to_le_bytes().to_vec();
    put_text(&mut out, &policy.name);
    put_text(&mut out, &policy.namespace);
    put_number(&mut out, policy.hooks.len());
    for hook in &policy.hooks {
        let bytes = hook_bytes(hook);
        put_number(&mut out, bytes.len());
        out.extend_from_slice(&bytes);
    }
    out
}

fn hook_bytes(hook: &HookText) -> Vec<u8> {
    let mut out = Vec::new();
    for text in [&hook.function, &hook.subsystem, &hook.event, &hook.message, &hook.path] {
        put_text(&mut out, text);
    }
    out.extend_from_slice(&hook.offset.to_le_bytes());
    out.extend_from_slice(&hook.ref_ctr_offset.to_le_bytes());
    put_number(&mut out, hook.arguments);
    let flags = [(hook.conditional_return, CONDITIONAL_RETURN), (hook.stacks, STACKS)];
    let flags: u32 = flags.into_iter().filter(|(on, _)| *on).map(|(_, flag)| flag).sum();
    out.extend_from_slice(&flags.to_le_bytes());
    for list in [&hook.tags, &hook.labels] {
        put_number(&mut out, list.len());
        list.iter().for_each(|text| put_text(&mut out, text));
    }
    put_number(&mut out, hook.functions.len());
    for (number, name) in &hook.functions {
        out.extend_from_slice(&number.to_le_bytes());
        put_text(&mut out, name);
    }
    put_number(&mut out, hook.positions.len());
    hook.positions.iter().for_each(|position| put_number(&mut out, *position));
    out
}

/// Lengths are bounded by that of an entry, far below 4 GiB; a longer one makes an entry that is not written.
pub(super) fn put_number(out: &mut Vec<u8>, number: usize) {
    out.extend_from_slice(&u32::try_from(number).unwrap_or(u32::MAX).to_le_bytes());
}

pub(super) fn put_text(out: &mut Vec<u8>, text: &str) {
    put_number(out, text.len());
    out.extend_from_slice(text.as_bytes());
}

/// `None`: the bytes are no policy.
pub(super) fn from_bytes(bytes: &[u8]) -> Option<PolicyText> {
    let mut rest = bytes;
    let id = number(&mut rest)?;
    let (name, namespace) = (text(&mut rest)?, text(&mut rest)?);
    let hooks = list(&mut rest, |rest| {
        let length = number(rest)? as usize;
        let (bytes, after) = rest.split_at_checked(length)?;
        *rest = after;
        hook(bytes)
    })?;
    Some(PolicyText { id, name, namespace, hooks, workload: None })
}

fn hook(mut rest: &[u8]) -> Option<HookText> {
    let rest = &mut rest;
    let (function, subsystem, event) = (text(rest)?, text(rest)?, text(rest)?);
    let (message, path) = (text(rest)?, text(rest)?);
    let (offset, ref_ctr_offset) = (wide(rest)?, wide(rest)?);
    let arguments = number(rest)? as usize;
    let flags = number(rest)?;
    Some(HookText {
        function,
        subsystem,
        event,
        message,
        path,
        offset,
        ref_ctr_offset,
        arguments,
        stacks: flags & STACKS != 0,
        conditional_return: flags & CONDITIONAL_RETURN != 0,
        tags: list(rest, text)?,
        labels: list(rest, text)?,
        functions: list(rest, |rest| Some((wide(rest)?, text(rest)?)))?,
        positions: list(rest, |rest| Some(number(rest)? as usize))?,
        requests: Vec::new(),
    })
}

/// A list whose length is not believed before its parts are there.
fn list<T>(rest: &mut &[u8], mut part: impl FnMut(&mut &[u8]) -> Option<T>) -> Option<Vec<T>> {
    (0..number(rest)?).map(|_| part(rest)).collect()
}

pub(super) fn number(rest: &mut &[u8]) -> Option<u32> {
    let (bytes, after) = rest.split_first_chunk::<4>()?;
    *rest = after;
    Some(u32::from_le_bytes(*bytes))
}

pub(super) fn wide(rest: &mut &[u8]) -> Option<u64> {
    let (bytes, after) = rest.split_first_chunk::<8>()?;
    *rest = after;
    Some(u64::from_le_bytes(*bytes))
}

pub(super) fn text(rest: &mut &[u8]) -> Option<String> {
    let length = number(rest)? as usize;
    let (bytes, after) = rest.split_at_checked(length)?;
    *rest = after;
    Some(std::str::from_utf8(bytes).ok()?.to_owned())
}

//! What is known of the policies whose records may come.
//!
//! A policy is entered before its hooks are attached, and stays for a while after they were detached, because
//! records of them may still be on their way.

use std::collections::VecDeque;
use std::sync::Arc;

use saker_abi::HookFlags;
use saker_api::event::{EncodedHook, Family, HookInfo, Request};
use saker_policy::plan;

use crate::calls::Shape;
use crate::hash::Map;
use crate::hook::{HookText, PolicyText};

/// Policies that are kept after their removal.
const REMOVED_MAX: usize = 256;
/// How long, in nanoseconds of the records' time.
const REMOVED_NS: u64 = 10_000_000_000;
/// Bytes of all texts, about; a policy beyond is refused.
const BYTES_MAX: usize = 64 << 20;

/// Policies by the numbers that records carry.
#[derive(Debug, Default)]
pub(crate) struct Policies {
    by_id: Map<u32, Policy>,
    /// Removed ones, the oldest first, with the time of their removal.
    removed: VecDeque<(u32, u64)>,
    bytes: usize,
}

#[derive(Debug)]
struct Policy {
    name: String,
    namespace: String,
    hooks: Vec<Entry>,
    bytes: usize,
}

#[derive(Debug)]
struct Entry {
    text: HookText,
    /// Made when the first record tells the family.
    known: Option<KnownHook>,
}

/// A hook of which a record has come.
#[derive(Debug)]
pub(crate) struct KnownHook {
    /// What its events share.
    pub info: Arc<HookInfo>,
    /// How its values become arguments.
    pub shape: Arc<Shape>,
    function: Arc<str>,
    /// By address or number, in that order.
    functions: Vec<(u64, Arc<str>)>,
    /// By selector, and whether it is the return.
    requests: Vec<(u16, bool, Request)>,
}

impl Policies {
    pub fn knows(&self, id: u32) -> bool {
        self.by_id.contains_key(&id)
    }

    /// Enters a policy that is not there. Returns `false` when there is no room for it.
    pub fn insert(&mut self, text: PolicyText) -> bool {
        let bytes = size_of_policy(&text);
        if self.bytes.saturating_add(bytes) > BYTES_MAX {
            return false;
        }
        self.bytes += bytes;
        let PolicyText { id, name, namespace, hooks, .. } = text;
        let hooks = hooks.into_iter().map(|text| Entry { text, known: None }).collect();
        self.by_id.insert(id, Policy { name, namespace, hooks, bytes });
        true
    }

    /// A policy was removed at `now`.
    pub fn remove(&mut self, id: u32, now: u64) {
        if self.knows(id) && self.removed.iter().all(|(removed, _)| *removed != id) {
            self.removed.push_back((id, now));
        }
    }

    /// A removed policy whose time is over at `now`, or that is one too many.
    pub fn due(&self, now: u64) -> Option<u32> {
        let (id, removed) = *self.removed.front()?;
        let over = now.saturating_sub(removed) >= REMOVED_NS || self.removed.len() > REMOVED_MAX;
        over.then_some(id)
    }

    pub fn forget(&mut self, id: u32) {
        if let Some(policy) = self.by_id.remove(&id) {
            self.bytes -= policy.bytes;
        }
        self.removed.retain(|(removed, _)| *removed != id);
    }

    /// A hook of a policy, reached as its record says; `None`: there is none of this number.
    pub fn hook(&mut self, id: u32, hook: u32, family: Family) -> Option<&KnownHook> {
        let policy = self.by_id.get_mut(&id)?;
        let entry = policy.hooks.get_mut(usize::try_from(hook).ok()?)?;
        if entry.known.as_ref().is_none_or(|known| known.info.family != family) {
            let names = (id, &*policy.name, &*policy.namespace);
            entry.known = Some(KnownHook::new(names, &entry.text, family));
        }
        entry.known.as_ref()
    }

    /// Policies that are known.
    pub fn len(&self) -> usize {
        self.by_id.len()
    }
}

impl KnownHook {
    fn new((number, policy, namespace): (u32, &str, &str), text: &HookText, family: Family) -> Self {
        let info = HookInfo {
            family,
            policy_number: number,
            policy: policy.to_owned(),
            policy_namespace: namespace.to_owned(),
            subsystem: text.subsystem.clone(),
            event: text.event.clone(),
            path: text.path.clone(),
            offset: text.offset,
            ref_ctr_offset: text.ref_ctr_offset,
            message: text.message.clone(),
            tags: text.tags.clone(),
            encoded: EncodedHook::default(),
        };
        let mut functions: Vec<_> =
            text.functions.iter().map(|(number, name)| (*number, Arc::from(name.as_str()))).collect();
        functions.sort_by_key(|(number, _)| *number);
        let shape = Shape::of(text);
        let function = Arc::from(text.function.as_str());
        let request = |request: &plan::Request| match request {
            plan::Request::Url(url) => Request::Url(Arc::from(url.as_str())),
            plan::Request::Name(name) => Request::Name(Arc::from(name.as_str())),
        };
        let requests = text.requests.iter().map(|one| (one.selector, one.at_return, request(&one.request)));
        let requests = requests.collect();
        Self { info: Arc::new(info), shape: Arc::new(shape), function, functions, requests }
    }

    /// What a selector that matched, at the call or at its return, has the agent ask of the network.
    pub fn requests(&self, selector: u16, at_return: bool) -> Vec<Request> {
        if self.requests.is_empty() {
            return Vec::new();
        }
        let of = self.requests.iter().filter(|(of, when, _)| *of == selector && *when == at_return);
        of.map(|(_, _, request)| request.clone()).collect()
    }

    /// The same of a record with these flags: of a call with its return both.
    pub fn requests_of(&self, selector: u16, flags: HookFlags) -> Vec<Request> {
        let mut found = self.requests(selector, flags.has(HookFlags::RETURN));
        if flags.has(HookFlags::CALL) {
            found.extend(self.requests(selector, true));
        }
        found
    }

    /// The name of what a record says was called; of a list without its name: the number.
    pub fn function(&self, number: u64) -> Arc<str> {
        if self.functions.is_empty() {
            return Arc::clone(&self.function);
        }
        match self.functions.binary_search_by_key(&number, |(number, _)| *number) {
            Ok(index) => Arc::clone(&self.functions[index].1),
            Err(_) => Arc::from(format!("{number:#x}")),
        }
    }
}

/// Bytes that a policy keeps, about; twice, because what events share is made of the texts.
fn size_of_policy(policy: &PolicyText) -> usize {
    let hooks: usize = policy.hooks.iter().map(size_of_hook).sum();
    size_of::<Policy>() + policy.name.len() + policy.namespace.len() + 2 * hooks
}

fn size_of_hook(hook: &HookText) -> usize {
    let texts = [&hook.function, &hook.subsystem, &hook.event, &hook.message, &hook.path];
    let lists = hook.tags.iter().chain(&hook.labels).map(|text| size_of::<String>() + text.len());
    let functions = hook.functions.iter().map(|(_, name)| size_of::<(u64, String)>() + name.len());
    let requests = hook.requests.iter().map(|one| {
        let (plan::Request::Url(text) | plan::Request::Name(text)) = &one.request;
        size_of_val(one) + text.len()
    });
    size_of::<Entry>()
        + size_of_val(hook.positions.as_slice())
        + texts.iter().map(|text| text.len()).sum::<usize>()
        + lists.sum::<usize>()
        + functions.sum::<usize>()
        + requests.sum::<usize>()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn policy(id: u32) -> PolicyText {
        let hook = HookText {
            function: "f".into(),
            functions: vec![(9, "nine".into()), (0, "zero".into())],
            ..HookText::default()
        };
        PolicyText { id, name: format!("p{id}"), hooks: vec![hook], ..PolicyText::default() }
    }

    #[test]
    fn a_removed_policy_stays_for_a_while_and_not_too_many_do() {
        let mut policies = Policies::default();
        assert!(policies.insert(policy(1)));
        policies.remove(1, 5);
        policies.remove(1, 6);
        assert_eq!(policies.due(5 + REMOVED_NS - 1), None);
        assert_eq!(policies.due(5 + REMOVED_NS), Some(1));
        policies.forget(1);
        assert_eq!((policies.due(u64::MAX), policies.len(), policies.bytes), (None, 0, 0));
        for id in 0..=REMOVED_MAX as u32 {
            assert!(policies.insert(policy(id)));
            policies.remove(id, 5);
        }
        assert_eq!(policies.due(5), Some(0));
        policies.forget(0);
        assert_eq!((policies.due(5), policies.len()), (None, REMOVED_MAX));
    }

    #[test]
    fn texts_are_bounded() {
        let mut policies = Policies::default();
        let large = |id| PolicyText { name: "x".repeat(BYTES_MAX / 2), ..policy(id) };
        assert!(policies.insert(large(1)));
        assert!(!policies.insert(large(2)));
        policies.forget(1);
        assert!(policies.insert(large(2)));
    }

    #[test]
    fn functions_of_a_list_have_names() {
        let mut policies = Policies::default();
        policies.insert(policy(1));
        assert!(policies.hook(1, 1, Family::Kprobe).is_none());
        let hook = policies.hook(1, 0, Family::Kprobe).unwrap();
        assert_eq!([0, 9, 10].map(|number| hook.function(number).to_string()), ["zero", "nine", "0xa"]);
        let info = Arc::clone(&hook.info);
        assert!(Arc::ptr_eq(&info, &policies.hook(1, 0, Family::Kprobe).unwrap().info));
        assert_eq!(policies.hook(1, 0, Family::Lsm).unwrap().info.family, Family::Lsm);
    }
}

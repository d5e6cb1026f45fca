//! Calls that wait for their return when their hook goes: nobody else would forget them.

use std::sync::Arc;

use libbpf_rs::{MapCore, MapHandle};

/// The calls of a hook, by their policy and hook in the keys of `saker_calls` (`struct call_key` of
/// bpf/policy/scratch.h). Dropping it forgets them; that comes after the links, so that none is added.
pub(super) struct Waiting {
    pub(super) calls: Arc<MapHandle>,
    pub(super) policy: u32,
    pub(super) hook: u32,
}

/// Where policy and hook stand in a key.
const POLICY: usize = 12;
const HOOK: usize = 16;

fn word(key: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_ne_bytes(*key.get(at..)?.first_chunk()?))
}

/// Keys of the table, so many as it can have at most: while calls come and go the kernel begins again now and then.
pub(super) fn keys(calls: &MapHandle) -> Vec<Vec<u8>> {
    calls.keys().take(2 * calls.max_entries() as usize).collect()
}

impl Drop for Waiting {
    fn drop(&mut self) {
        let own =
            |key: &Vec<u8>| word(key, POLICY) == Some(self.policy) && word(key, HOOK) == Some(self.hook);
        for key in keys(&self.calls).iter().filter(|key| own(key)) {
            if let Err(error) = self.calls.delete(key) {
                // The call has returned meanwhile, or its entry stays until as many others have come.
                tracing::debug!(%error, "a waiting call stays");
            }
        }
    }
}

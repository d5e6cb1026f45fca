//! `pid_set`: some processes and whoever descends from them, as far as the stream tells.

use std::collections::{HashSet, VecDeque};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::{Mutex, PoisonError};

use crate::view::{EventView, ProcessRef};

/// Descendants kept in mind. The oldest are forgotten beyond it: the filter is best effort by definition.
const MAX_DESCENDANTS: usize = 65_536;

/// PIDs asked for, and the descendants seen since. Descendants are known by exec id, which is never used
/// again, unlike a PID.
#[derive(Debug)]
pub(super) struct PidSet {
    roots: Vec<u32>,
    seen: Mutex<Seen>,
}

#[derive(Debug, Default)]
struct Seen {
    members: HashSet<u64>,
    oldest_first: VecDeque<u64>,
}

impl PidSet {
    pub(super) fn new(pids: &[u32]) -> Self {
        let mut roots = pids.to_vec();
        roots.sort_unstable();
        Self { roots, seen: Mutex::default() }
    }

    /// Whether the event's process belongs to the set; if so it is kept in mind.
    pub(super) fn contains(&self, event: &EventView<'_>) -> bool {
        let Some(process) = event.process else { return false };
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let belongs = |process: ProcessRef<'_>| {
            process.pid().is_some_and(|pid| self.roots.binary_search(&pid).is_ok())
                || seen.members.contains(&key(process.exec_id()))
        };
        // A parent that never executed has no event of its own, so its parent counts too.
        let by_parent_id = |process: ProcessRef<'_>| {
            let parent = process.parent_exec_id();
            seen.members.contains(&key(parent))
                || pid_of(parent).is_some_and(|pid| self.roots.binary_search(&pid).is_ok())
        };
        let related = [Some(process), event.parent];
        let member = related.into_iter().flatten().any(|process| belongs(process) || by_parent_id(process))
            || event.ancestors.iter().any(belongs);
        if member {
            seen.remember(key(process.exec_id()));
        }
        member
    }
}

impl Seen {
    fn remember(&mut self, member: u64) {
        if self.members.insert(member) {
            self.oldest_first.push_back(member);
            if self.oldest_first.len() > MAX_DESCENDANTS
                && let Some(oldest) = self.oldest_first.pop_front()
            {
                self.members.remove(&oldest);
            }
        }
    }
}

fn key(exec_id: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    exec_id.hash(&mut hasher);
    hasher.finish()
}

/// The PID inside an exec id, which is the base64 form of `NODE:KTIME:PID`.
fn pid_of(exec_id: &str) -> Option<u32> {
    let text = decode_base64(exec_id)?;
    let digits = text.rsplit(|&byte| byte == b':').next()?;
    str::from_utf8(digits).ok()?.parse().ok()
}

fn decode_base64(text: &str) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(text.len() / 4 * 3);
    let (mut bits, mut count) = (0u32, 0);
    for byte in text.bytes().take_while(|&byte| byte != b'=') {
        let value = match byte {
            b'A'..=b'Z' => byte - b'A',
            b'a'..=b'z' => byte - b'a' + 26,
            b'0'..=b'9' => byte - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            _ => return None,
        };
        bits = bits << 6 | u32::from(value);
        count += 6;
        if count >= 8 {
            count -= 8;
            out.push((bits >> count) as u8);
            bits &= (1 << count) - 1;
        }
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::{MAX_DESCENDANTS, Seen, pid_of};

    #[test]
    fn the_pid_of_an_exec_id() {
        // node:12345:678
        assert_eq!(pid_of("bm9kZToxMjM0NTo2Nzg="), Some(678));
        // a:b:1:0, a node name with a colon
        assert_eq!(pid_of("YTpiOjE6MA=="), Some(0));
        for broken in ["", "!", "bm9kZQ==", "bm9kZTox\u{e9}"] {
            assert_eq!(pid_of(broken), None, "{broken:?}");
        }
    }

    #[test]
    fn the_oldest_descendants_are_forgotten_at_the_bound() {
        let mut seen = Seen::default();
        for member in 0..MAX_DESCENDANTS as u64 + 2 {
            seen.remember(member);
            seen.remember(member);
        }
        assert_eq!(seen.members.len(), MAX_DESCENDANTS);
        assert!(!seen.members.contains(&1) && seen.members.contains(&2));
    }
}

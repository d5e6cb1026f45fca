//! Policies that the last agent left in force: they are there until their successors are, and longer where those cannot
//! be loaded.

use std::time::Instant;

use saker_engine::capture::{policy_bytes, policy_of};
use saker_engine::hook::PolicyText;
use saker_probes::KeptPolicy;

use super::super::{Key, STATIC};
use super::{Book, Content};

/// Form of what is kept with a policy.
const VERSION: u8 = 1;

/// What is kept with a policy: whose it is, and its texts, as a capture has them.
pub(super) fn to_bytes(key: &Key, text: &PolicyText) -> Vec<u8> {
    let mut bytes = vec![VERSION];
    for part in [&key.domain, &key.namespace, &key.name] {
        bytes.extend_from_slice(part.as_bytes());
        bytes.push(0);
    }
    bytes.extend_from_slice(&policy_bytes(text));
    bytes
}

/// The other way; `None`: another version wrote it.
fn of_bytes(bytes: &[u8]) -> Option<(Key, PolicyText)> {
    let mut rest = bytes.strip_prefix(&[VERSION])?;
    let mut part = || {
        let end = rest.iter().position(|byte| *byte == 0)?;
        let (text, after) = rest.split_at_checked(end)?;
        rest = after.get(1..)?;
        String::from_utf8(text.to_vec()).ok()
    };
    let (domain, namespace, name) = (part()?, part()?, part()?);
    Some((Key { domain, namespace, name }, policy_of(rest)?))
}

/// A policy of an earlier agent.
pub(super) struct Kept {
    /// `None`: what was kept with it is not understood.
    key: Option<Key>,
    policy: KeptPolicy,
}

impl Book {
    /// Tells the engine of what is in force, so that it knows what waits in the ring.
    pub(in super::super) fn meet_kept(&mut self) {
        let Ok(loader) = &mut self.loader else { return };
        // Numbers of other agents' policies may be in records still.
        self.last_id = self.last_id.max(loader.generation().saturating_sub(1).wrapping_shl(16));
        for policy in loader.kept() {
            let found = of_bytes(&policy.text);
            let key = found.as_ref().map(|(key, _)| key.clone());
            if let Some((_, text)) = found {
                self.texts.loaded(PolicyText { id: policy.number, ..text });
            }
            self.kept.push(Kept { key, policy });
        }
        loader.set_told();
    }

    /// Hands over to this agent's policies, at once, and detaches those of the last one. Where a successor is wanted and
    /// cannot be loaded, the old one stays in force.
    pub(in super::super) fn take_over(&mut self) {
        let Ok(loader) = &mut self.loader else { return };
        if loader.generation() == 0 {
            return;
        }
        let began = Instant::now();
        if let Err(error) = loader.take_turn() {
            tracing::error!("the policies of the last agent stay in force, these do not act: {error:#}");
            return;
        }
        let (mut released, mut stay) = (0_usize, Vec::new());
        for kept in std::mem::take(&mut self.kept) {
            if self.is_missed(&kept) {
                stay.push(kept);
            } else {
                released += 1;
                self.let_go(&kept);
            }
        }
        self.kept = stay;
        self.release_bases();
        tracing::info!(released, stay = self.kept.len(), took = ?began.elapsed(), "took over from the last agent");
        self.publish();
    }

    /// Whether nothing is in force in its place though somebody wants it to be.
    fn is_missed(&self, kept: &Kept) -> bool {
        let Some(key) = &kept.key else { return false };
        let missed = match self.entries.get(key).map(|entry| &entry.content) {
            Some(Content::Failed(_)) => true,
            Some(_) => false,
            // It may be in a file that cannot be read now.
            None => key.domain == STATIC && !self.refused.is_empty(),
        };
        if missed {
            tracing::error!(policy = %key, "cannot be loaded: what the last agent loaded of it stays in force");
        } else if !self.entries.contains_key(key) {
            tracing::info!(policy = %key, "nobody asks for it any more: detached");
        }
        missed
    }

    fn let_go(&mut self, kept: &Kept) {
        let Ok(loader) = &mut self.loader else { return };
        if let Err(error) = loader.release(&kept.policy) {
            tracing::error!("a policy of the last agent cannot be detached: {error:#}");
        }
        self.detached.push_back((Instant::now(), kept.policy.number));
    }

    fn release_bases(&mut self) {
        let Ok(loader) = &mut self.loader else { return };
        if let Err(error) = loader.release_bases() {
            tracing::error!("what the last agent left cannot be detached: {error:#}");
        }
    }

    /// Detaches what the last agent left of a policy, if that is still there: its successor is in force, or it is
    /// not wanted any more.
    pub(super) fn outlived(&mut self, key: &Key) {
        let here = |kept: &Kept| kept.key.as_ref() == Some(key);
        if !self.kept.iter().any(here) {
            return;
        }
        // Before the turn it is in force, and this agent's is not yet.
        if !self.loader.as_ref().is_ok_and(|loader| loader.has_turn()) {
            return;
        }
        let (gone, stay) = std::mem::take(&mut self.kept).into_iter().partition::<Vec<_>, _>(here);
        self.kept = stay;
        gone.iter().for_each(|kept| self.let_go(kept));
        self.release_bases();
    }

    /// What is to be told of a policy that is in force though it could not be loaded.
    pub(super) fn kept_note(&self, key: &Key) -> &'static str {
        if self.kept.iter().any(|kept| kept.key.as_ref() == Some(key)) {
            " (what the last agent loaded of it stays in force)"
        } else {
            ""
        }
    }

    /// The agent ends: detaches all, or leaves it as it is.
    pub(in super::super) fn end(self) {
        if self.loader.as_ref().is_ok_and(|loader| loader.is_leaving()) {
            // What is dropped would be detached, or take things back that its programs use.
            std::mem::forget(self);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::testing::{FakeKernel, done, policy};
    use super::super::super::{Policies, Sources, State};
    use super::*;
    use crate::testing::wait;

    /// A kernel in which the last agent left these policies of files, in this order.
    fn kernel(names: &[&str]) -> FakeKernel {
        let kernel = FakeKernel::default();
        kernel.with(|memory| {
            memory.generation = 2;
            memory.kept = (1..).zip(names).map(|(number, name)| kept(number, name)).collect();
        });
        kernel
    }

    fn kept(number: u32, name: &str) -> KeptPolicy {
        let key = Key { domain: STATIC.into(), namespace: String::new(), name: name.into() };
        let text = PolicyText { id: number, name: name.into(), ..PolicyText::default() };
        KeptPolicy { generation: 1, number, text: to_bytes(&key, &text) }
    }

    fn start(kernel: &FakeKernel, files: &[(&str, &str)]) -> (tempfile::TempDir, Policies) {
        let directory = tempfile::tempdir().unwrap();
        for (name, text) in files {
            std::fs::write(directory.path().join(name), text).unwrap();
        }
        let sources = Sources {
            directory: Some(directory.path().to_owned()),
            directory_wanted: true,
            ..Sources::default()
        };
        let policies = kernel.policies(sources);
        wait("the start", || policies.is_started());
        (directory, policies)
    }

    #[test]
    fn what_is_left_goes_when_its_successor_is_in_force() {
        let kernel = kernel(&["a", "gone"]);
        let (_directory, _policies) = start(&kernel, &[("a.yaml", &policy("a", &["f"]))]);
        let number = (1 << 16) + 2;
        let texts = ["text 1".to_owned(), "text 2".to_owned(), format!("text {number}")];
        let rest = [format!("attach {number}"), "turn".into(), "release 1".into(), "release 2".into()];
        assert_eq!(kernel.log(), [&texts[..], &rest[..], &["release bases".to_owned()]].concat());
    }

    #[test]
    fn what_is_left_stays_until_its_successor_can_be_loaded() {
        let kernel = kernel(&["a", "b"]);
        kernel.with(|memory| memory.broken.extend(["f".to_owned()]));
        let files = [("a.yaml", policy("a", &["f"])), ("b.yaml", policy("b", &["g"]))];
        let (_directory, policies) =
            start(&kernel, &files.each_ref().map(|(name, text)| (*name, text.as_str())));
        let log = kernel.log();
        assert!(log.ends_with(&["turn".into(), "release 2".into(), "release bases".into()]), "{log:?}");
        let shown = policies.views().into_iter().find(|view| view.key.name == "a").unwrap();
        assert_eq!(shown.state, State::LoadError);
        assert!(
            shown.error.contains("cannot attach f") && shown.error.contains("stays in force"),
            "{shown:?}"
        );
        kernel.with(|memory| memory.broken.clear());
        done(policies.configure(shown.key.clone(), Some(true), None)).unwrap();
        let log = kernel.log();
        assert!(log.ends_with(&["release 1".into(), "release bases".into()]), "{log:?}");
        let shown = policies.views().into_iter().find(|view| view.key.name == "a").unwrap();
        assert_eq!((shown.state, shown.error.as_str()), (State::Enabled, ""));
    }

    #[test]
    fn what_is_left_stays_while_a_file_cannot_be_read_and_goes_when_it_is_not_wanted() {
        let kernel = kernel(&["a"]);
        let (_directory, policies) = start(&kernel, &[("a.yaml", "spec: [")]);
        assert_eq!(kernel.log(), ["text 1", "turn", "release bases"]);
        drop(policies);
        let kernel = self::kernel(&["a"]);
        kernel.with(|memory| memory.broken.extend(["f".to_owned()]));
        let (_directory, policies) = start(&kernel, &[("a.yaml", &policy("a", &["f"]))]);
        let key = policies.views()[0].key.clone();
        done(policies.configure(key, Some(false), None)).unwrap();
        assert!(kernel.log().ends_with(&["release 1".into(), "release bases".into()]));
    }

    #[test]
    fn an_agent_that_lacks_what_it_must_have_takes_nothing_over() {
        let kernel = kernel(&["a"]);
        kernel.with(|memory| memory.broken.extend(["f".to_owned()]));
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("a.yaml");
        std::fs::write(&file, policy("a", &["f"])).unwrap();
        let policies = kernel.policies(Sources { file: Some(file), ..Sources::default() });
        wait("the start", || policies.is_started());
        assert!(policies.unmet().is_some());
        assert!(!kernel.log().contains(&"turn".to_owned()));
    }

    #[test]
    fn what_is_kept_is_read_back() {
        let key = Key { domain: "grpc".into(), namespace: String::new(), name: "p".into() };
        let text = PolicyText { id: 7, name: "p".into(), ..PolicyText::default() };
        let bytes = to_bytes(&key, &text);
        assert_eq!(of_bytes(&bytes), Some((key, text)));
        for end in 0..bytes.len() {
            assert_eq!(of_bytes(&bytes[..end]), None, "the first {end} bytes");
        }
        assert_eq!(of_bytes(&[9, 0, 0, 0]), None);
    }
}

//! The containers of a node and their pods.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::cri::{CriError, Listing, Runtime};
use crate::proto;

/// Containers that are kept; more are left out and counted. The largest nodes have a few hundred.
const CONTAINERS_MAX: usize = 16_384;
/// Labels that the kubelet gives to what it makes, beside those of the pod.
const KUBELET: &str = "io.kubernetes.";
/// States, as the interface numbers them.
const EXITED: i32 = 2;
const SANDBOX_READY: i32 = 0;

/// A pod.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pod {
    /// Its name.
    pub name: String,
    /// Its namespace.
    pub namespace: String,
    /// Its identity for ever.
    pub uid: String,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
}

/// A container of a pod.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Container {
    /// Its id, without the name of the runtime.
    pub id: String,
    /// Name of the runtime, such as `containerd`.
    pub runtime: String,
    /// Its name; empty: it only holds the namespaces of the pod.
    pub name: String,
    /// Its image with a tag.
    pub image: String,
    /// Its image with a digest.
    pub image_ref: String,
    /// When it was started, in nanoseconds since 1970; 0: not known.
    pub started_at: i64,
    /// Its pod.
    pub pod: Arc<Pod>,
}

impl Container {
    /// The repository of its image: the name without tag and digest.
    #[must_use]
    pub fn repo(&self) -> &str {
        let name = self.image.split('@').next().unwrap_or_default();
        match name.rsplit_once(':') {
            // A colon before a slash is that of a port.
            Some((repo, tag)) if !tag.contains('/') => repo,
            _ => name,
        }
    }
}

/// What a look at the runtime found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Changes {
    /// Containers that are new, or of which more is known.
    pub new: Vec<Arc<Container>>,
    /// Ids of those that are gone or have ended.
    pub gone: Vec<String>,
}

/// All containers of a node.
#[derive(Debug, Default)]
pub struct Containers {
    /// With the state in which each was told last.
    known: BTreeMap<String, (Arc<Container>, i32)>,
    /// Containers that there was no room for, at the last look.
    pub left_out: usize,
}

impl Containers {
    /// Asks the runtime what there is now.
    ///
    /// # Errors
    /// It does not answer: what is known stays.
    pub async fn look(&mut self, runtime: &mut Runtime) -> Result<Changes, CriError> {
        let listing = runtime.list().await?;
        let mut changes = self.compare(&listing, &runtime.name);
        for container in &mut changes.new {
            // What the list does not tell.
            if container.name.is_empty() {
                continue;
            }
            let Some(details) = runtime.details(&container.id, false).await? else { continue };
            let known = Arc::make_mut(container);
            known.started_at = details.started_at;
            if !details.image.is_empty() {
                known.image = details.image;
            }
            if !details.image_ref.is_empty() {
                known.image_ref = details.image_ref;
            }
        }
        for container in &changes.new {
            if let Some((known, _)) = self.known.get_mut(&container.id) {
                *known = Arc::clone(container);
            }
        }
        Ok(changes)
    }

    /// Those that there are.
    pub fn all(&self) -> impl Iterator<Item = &Arc<Container>> {
        self.known.values().map(|(container, _)| container)
    }

    /// The one with this id.
    #[must_use]
    pub fn find(&self, id: &str) -> Option<&Arc<Container>> {
        self.known.get(id).map(|(container, _)| container)
    }

    fn compare(&mut self, listing: &Listing, runtime: &str) -> Changes {
        let pods: BTreeMap<&str, Arc<Pod>> =
            listing.pods.iter().map(|pod| (pod.id.as_str(), Arc::new(pod_of(pod)))).collect();
        let mut changes = Changes::default();
        let mut there = BTreeSet::new();
        self.left_out = 0;
        let sandboxes = listing.pods.iter().filter(|pod| pod.state == SANDBOX_READY).filter_map(|pod| {
            let found = pods.get(pod.id.as_str())?;
            let container =
                Container { id: pod.id.clone(), started_at: pod.created_at, ..of_pod(found, runtime) };
            Some((container, pod.state))
        });
        let containers = listing.containers.iter().filter(|one| one.state != EXITED).filter_map(|one| {
            let found = pods.get(one.pod_sandbox_id.as_str())?;
            let container = Container {
                id: one.id.clone(),
                name: one.metadata.clone().unwrap_or_default().name,
                image: one.image.clone().unwrap_or_default().image,
                image_ref: one.image_ref.clone(),
                ..of_pod(found, runtime)
            };
            Some((container, one.state))
        });
        for (container, state) in sandboxes.chain(containers) {
            let id = container.id.clone();
            if self.known.get(&id).is_none_or(|(_, before)| *before != state) {
                if self.known.len() >= CONTAINERS_MAX && !self.known.contains_key(&id) {
                    self.left_out += 1;
                    continue;
                }
                let container = Arc::new(container);
                self.known.insert(id.clone(), (Arc::clone(&container), state));
                changes.new.push(container);
            }
            there.insert(id);
        }
        changes.gone = self.known.keys().filter(|id| !there.contains(*id)).cloned().collect();
        for id in &changes.gone {
            self.known.remove(id);
        }
        changes
    }
}

fn of_pod(pod: &Arc<Pod>, runtime: &str) -> Container {
    Container { runtime: runtime.to_owned(), pod: Arc::clone(pod), ..Container::default() }
}

fn pod_of(sandbox: &proto::PodSandbox) -> Pod {
    let metadata = sandbox.metadata.clone().unwrap_or_default();
    let own = sandbox.labels.iter().filter(|(key, _)| !key.starts_with(KUBELET));
    let labels = own.map(|(key, value)| (key.clone(), value.clone())).collect();
    Pod { name: metadata.name, namespace: metadata.namespace, uid: metadata.uid, labels }
}

#[cfg(test)]
#[path = "containers_tests.rs"]
mod tests;

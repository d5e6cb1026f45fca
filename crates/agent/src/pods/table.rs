//! Pods by the beginning of the id of a container, for events.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, PoisonError, RwLock};

use prost::Message;
use saker_api::tetragon;
use saker_engine::PodNames;
use saker_k8s::Container;

/// Characters of an id that events show.
const SHOWN: usize = 31;
/// Containers that are gone and remembered: what they did last is still to be told.
const GONE_MAX: usize = 1024;
const SECOND: i64 = 1_000_000_000;

/// Pods of containers; written by who follows them, read by the engine.
#[derive(Debug, Default)]
pub struct PodTable(RwLock<Known>);

#[derive(Debug, Default)]
struct Known {
    pods: HashMap<Box<str>, Arc<tetragon::Pod>>,
    gone: VecDeque<Box<str>>,
}

impl PodTable {
    /// A container that there is, in place of what was known of it.
    pub fn insert(&self, container: &Container) {
        let Some(id) = container.id.get(..SHOWN) else { return };
        let mut known = self.0.write().unwrap_or_else(PoisonError::into_inner);
        known.gone.retain(|gone| **gone != *id);
        known.pods.insert(id.into(), Arc::new(message(container)));
    }

    /// It is gone: forgotten when many others are gone too.
    pub fn remove(&self, id: &str) {
        let Some(id) = id.get(..SHOWN) else { return };
        let mut known = self.0.write().unwrap_or_else(PoisonError::into_inner);
        known.gone.push_back(id.into());
        while known.gone.len() > GONE_MAX {
            if let Some(oldest) = known.gone.pop_front() {
                known.pods.remove(&oldest);
            }
        }
    }

    /// Whether a pod of this namespace and name has a container.
    #[must_use]
    pub fn has(&self, namespace: &str, name: &str) -> bool {
        let known = self.0.read().unwrap_or_else(PoisonError::into_inner);
        let mut pods = known.pods.iter().filter(|(_, pod)| pod.name == name && pod.namespace == namespace);
        pods.any(|(id, _)| !known.gone.contains(id))
    }

    /// Bytes that the table takes, about: texts of pods with it.
    #[must_use]
    pub fn bytes(&self) -> usize {
        let known = self.0.read().unwrap_or_else(PoisonError::into_inner);
        let entry = size_of::<(Box<str>, Arc<tetragon::Pod>)>() + size_of::<tetragon::Pod>() + SHOWN;
        // The message has the texts once more or less as long as they are in memory.
        let texts: usize = known.pods.values().map(|pod| pod.encoded_len()).sum();
        known.pods.len() * entry + texts + known.gone.len() * (size_of::<Box<str>>() + SHOWN)
    }

    /// The pod of a container.
    #[must_use]
    pub fn find(&self, container: &str) -> Option<Arc<tetragon::Pod>> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).pods.get(container).map(Arc::clone)
    }
}

/// The table as an engine asks it.
pub struct Pods(pub Arc<PodTable>);

impl PodNames for Pods {
    fn pod(&mut self, container: &str) -> Option<Arc<tetragon::Pod>> {
        self.0.find(container)
    }
}

fn message(container: &Container) -> tetragon::Pod {
    let pod = &container.pod;
    let start = Some(container.started_at).filter(|time| *time > 0);
    let start_time = start.map(|time| prost_types::Timestamp {
        seconds: time / SECOND,
        nanos: i32::try_from(time % SECOND).unwrap_or_default(),
    });
    let image = tetragon::Image { id: container.image_ref.clone(), name: container.image.clone() };
    tetragon::Pod {
        namespace: pod.namespace.clone(),
        name: pod.name.clone(),
        uid: pod.uid.clone(),
        container: Some(tetragon::Container {
            id: format!("{}://{}", container.runtime, container.id),
            name: container.name.clone(),
            image: Some(image).filter(|image| !image.name.is_empty() || !image.id.is_empty()),
            start_time,
            ..tetragon::Container::default()
        }),
        pod_labels: pod.labels.clone(),
        ..tetragon::Pod::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn container(id: usize) -> Container {
        Container { id: format!("{id:064}"), runtime: "r".into(), name: "c".into(), ..Container::default() }
    }

    fn shown(id: usize) -> String {
        format!("{id:064}")[..SHOWN].to_owned()
    }

    #[test]
    fn what_is_gone_is_remembered_for_a_while() {
        let table = PodTable::default();
        let ids: Vec<String> = (0..=GONE_MAX).map(|id| format!("{id:031}{:033}", 0)).collect();
        for id in &ids {
            table.insert(&Container { id: id.clone(), ..container(0) });
        }
        for id in &ids {
            assert!(table.find(&id[..SHOWN]).is_some());
            table.remove(id);
        }
        assert!(table.find(&ids[0][..SHOWN]).is_none(), "the oldest makes room");
        assert!(!table.has("", ""), "none is there, though most are remembered");
        assert!(table.find(&ids[1][..SHOWN]).is_some());
    }

    #[test]
    fn a_container_that_comes_back_is_not_forgotten() {
        let table = PodTable::default();
        table.insert(&container(7));
        table.remove(&container(7).id);
        table.insert(&container(7));
        for id in 1..=GONE_MAX {
            table.remove(&format!("{id:031}"));
        }
        assert!(table.has("", "") && !table.has("", "other"));
        let found = table.find(&shown(7)).unwrap();
        assert_eq!(found.container.as_ref().unwrap().id, format!("r://{}", container(7).id));
        table.insert(&Container { id: "short".into(), ..Container::default() });
    }
}

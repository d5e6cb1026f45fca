//! What a hook of the container runtime tells of a container that is about to start.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use saker_api::tetragon::CreateContainer;
use saker_k8s::{Container, Pod};
use tokio::sync::{mpsc, oneshot};

/// Hooks that may wait for who follows containers.
const WAITING_MAX: usize = 64;
/// Bytes that the id of a container may have, and least ones by which a group can be told from others.
const ID_MAX: usize = 256;
const ID_MIN: usize = 12;
/// Bytes that a path may have (PATH_MAX).
const PATH_MAX: usize = 4096;

/// Annotations of runtimes, of containerd and of CRI-O, that tell what the message leaves open.
const NAMESPACE: [&str; 2] = ["io.kubernetes.cri.sandbox-namespace", "io.kubernetes.pod.namespace"];
const POD: [&str; 2] = ["io.kubernetes.cri.sandbox-name", "io.kubernetes.pod.name"];
const UID: [&str; 2] = ["io.kubernetes.cri.sandbox-uid", "io.kubernetes.pod.uid"];
const NAME: [&str; 2] = ["io.kubernetes.cri.container-name", "io.kubernetes.container.name"];
const IMAGE: [&str; 2] = ["io.kubernetes.cri.image-name", "io.kubernetes.cri-o.ImageName"];
/// A container that only holds the namespaces of its pod says so.
const TYPE: [&str; 2] = ["io.kubernetes.cri.container-type", "io.kubernetes.cri-o.ContainerType"];
const SANDBOX: &str = "sandbox";

/// Why a container is not known to policies yet.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HookError {
    /// It has no usable id.
    #[error("containerID must have between {ID_MIN} and {ID_MAX} letters, digits, `-`, `_` or `.`")]
    Id,
    /// It has no usable control group.
    #[error("cgroupsPath {0}")]
    Path(&'static str),
    /// It is not there.
    #[error("there is no control group {0}")]
    NoGroup(String),
    /// Nobody knows its pod, so that nobody knows its labels.
    #[error("the container runtime does not know the pod {0}")]
    NoPod(String),
    /// Too many wait.
    #[error("{WAITING_MAX} hooks wait already")]
    Full,
    /// It took too long.
    #[error("the container runtime or the kernel did not answer in time")]
    Late,
    /// The kernel's table cannot be written.
    #[error("{0}")]
    Kernel(String),
    /// Nobody follows containers any more.
    #[error("the agent is stopping")]
    Stopped,
}

/// A container that is about to start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hooked {
    /// As far as the hook knows it. Labels of the pod are not among that.
    pub(super) container: Container,
    /// Its control group within the unified hierarchy.
    pub(super) group: String,
    /// It only holds the namespaces of its pod, and comes before the runtime knows of that.
    pub(super) sandbox: bool,
}

impl Hooked {
    /// Takes what a hook tells.
    ///
    /// # Errors
    /// What cannot be used.
    pub fn of(told: CreateContainer) -> Result<Self, HookError> {
        let id = told.container_id;
        let usable = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
        if !(ID_MIN..=ID_MAX).contains(&id.len()) || !id.bytes().all(usable) {
            return Err(HookError::Id);
        }
        let group = group(&told.cgroups_path, &id)?;
        let annotations = &told.annotations;
        let either = |value: String, names: &[&str]| {
            if !value.is_empty() {
                return value;
            }
            names.iter().find_map(|name| annotations.get(*name)).cloned().unwrap_or_default()
        };
        let sandbox = either(String::new(), &TYPE) == SANDBOX;
        let pod = Pod {
            name: either(told.pod_name, &POD),
            namespace: either(told.pod_namespace, &NAMESPACE),
            uid: either(told.pod_uid, &UID),
            labels: BTreeMap::new(),
        };
        let name = either(told.container_name, &NAME);
        Ok(Self {
            container: Container {
                runtime: "cri".into(),
                name: if sandbox { String::new() } else { name },
                image: either(told.container_image, &IMAGE),
                pod: Arc::new(pod),
                id,
                ..Container::default()
            },
            group,
            sandbox,
        })
    }

    /// It is of a pod, and not one that somebody started by hand.
    pub(super) fn is_of_pod(&self) -> bool {
        let pod = &self.container.pod;
        !(pod.name.is_empty() && pod.uid.is_empty())
    }

    /// It is of this pod.
    pub(super) fn is_of(&self, pod: &Pod) -> bool {
        let own = &self.container.pod;
        if own.uid.is_empty() || pod.uid.is_empty() {
            own.name == pod.name && own.namespace == pod.namespace
        } else {
            own.uid == pod.uid
        }
    }

    /// The same with the pod as the runtime knows it.
    pub(super) fn with(self, pod: Arc<Pod>) -> Self {
        Self { container: Container { pod, ..self.container }, ..self }
    }
}

/// The path of a control group, also where it is told as systemd is asked for one: `SLICE:PREFIX:ID`. It has to name the
/// container, for whoever tells it could otherwise make others' processes those of a container.
fn group(told: &str, id: &str) -> Result<String, HookError> {
    if told.is_empty() {
        return Err(HookError::Path("is missing"));
    }
    if told.len() > PATH_MAX {
        return Err(HookError::Path("is too long"));
    }
    if told.split('/').any(|part| part == "..") || told.contains('\0') {
        return Err(HookError::Path("must not lead upwards"));
    }
    let path = match told.split(':').collect::<Vec<_>>().as_slice() {
        [slice, prefix, name] if !told.contains('/') => {
            let scope = if prefix.is_empty() { (*name).to_owned() } else { format!("{prefix}-{name}") };
            format!("{}/{scope}.scope", slice_path(slice).ok_or(HookError::Path("names no slice"))?)
        }
        _ => told.to_owned(),
    };
    if !path.split('/').any(|part| part.contains(id)) {
        return Err(HookError::Path("does not name the container"));
    }
    Ok(path)
}

/// Where systemd puts a slice: `a-b.slice` is in `a.slice`.
fn slice_path(slice: &str) -> Option<String> {
    let name = slice.strip_suffix(".slice")?;
    let parts: Vec<&str> = name.split('-').collect();
    if parts.iter().any(|part| part.is_empty()) {
        return None;
    }
    let above =
        (1..=parts.len()).map(|count| format!("/{}.slice", parts.get(..count).unwrap_or_default().join("-")));
    Some(above.collect())
}

pub(super) type Order = (Hooked, oneshot::Sender<Result<(), HookError>>);

/// Where hooks are told.
#[derive(Debug)]
pub struct Hooks(mpsc::Sender<Order>);

impl Hooks {
    pub(super) fn new() -> (Self, mpsc::Receiver<Order>) {
        let (sender, orders) = mpsc::channel(WAITING_MAX);
        (Self(sender), orders)
    }

    /// Tells of a container, and waits until policies know it.
    ///
    /// # Errors
    /// Why they do not.
    pub async fn tell(&self, hooked: Hooked) -> Result<(), HookError> {
        let (reply, done) = oneshot::channel();
        self.0.try_send((hooked, reply)).map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => HookError::Full,
            mpsc::error::TrySendError::Closed(_) => HookError::Stopped,
        })?;
        done.await.unwrap_or(Err(HookError::Stopped))
    }
}

/// What became of hooks.
#[derive(Debug, Default)]
pub struct HookCounts {
    /// Containers that policies knew before they started.
    pub done: AtomicU64,
    /// Those that they did not.
    pub failed: AtomicU64,
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

    fn told(path: &str) -> CreateContainer {
        CreateContainer { cgroups_path: path.into(), container_id: ID.into(), ..CreateContainer::default() }
    }

    #[test]
    fn groups_are_found_as_cgroupfs_and_as_systemd_name_them() {
        for (path, wanted) in [
            (format!("/kubepods/pod1/{ID}"), format!("/kubepods/pod1/{ID}")),
            (
                format!("kubepods-burstable-pod1_2.slice:cri-containerd:{ID}"),
                format!(
                    "/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod1_2.slice/cri-containerd-{ID}.scope"
                ),
            ),
            (format!("machine.slice:libpod:{ID}"), format!("/machine.slice/libpod-{ID}.scope")),
            (
                format!("/machine.slice/libpod-{ID}.scope/container"),
                format!("/machine.slice/libpod-{ID}.scope/container"),
            ),
        ] {
            assert_eq!(Hooked::of(told(&path)).unwrap().group, wanted);
        }
    }

    #[test]
    fn what_could_mean_others_is_refused() {
        for path in [
            "".to_owned(),
            "/system.slice/sshd.service".to_owned(),
            format!("/kubepods/{ID}/../../system.slice"),
            format!("/kubepods/\0{ID}"),
            format!("not-a-slice:cri:{ID}"),
            format!("/{}/{ID}", "x".repeat(PATH_MAX)),
        ] {
            let error = Hooked::of(told(&path)).unwrap_err();
            assert!(matches!(error, HookError::Path(_)), "{path:?}: {error}");
        }
        for id in ["", "short", "has/a/slash/in/it", &"x".repeat(ID_MAX + 1)] {
            let container = CreateContainer { container_id: id.into(), ..told("/kubepods/x") };
            assert_eq!(Hooked::of(container), Err(HookError::Id), "{id}");
        }
    }

    #[test]
    fn annotations_tell_what_the_message_leaves_open() {
        let annotations = [
            ("io.kubernetes.cri.sandbox-namespace", "space"),
            ("io.kubernetes.cri.sandbox-name", "pod"),
            ("io.kubernetes.cri.sandbox-uid", "uid"),
            ("io.kubernetes.cri.container-name", "main"),
            ("io.kubernetes.cri.image-name", "registry/app:1"),
        ];
        let annotations: BTreeMap<String, String> =
            annotations.map(|(key, value)| (key.to_owned(), value.to_owned())).into();
        let path = format!("/kubepods/{ID}");
        let hooked = Hooked::of(CreateContainer { annotations: annotations.clone(), ..told(&path) }).unwrap();
        let container = &hooked.container;
        assert_eq!((container.name.as_str(), container.repo()), ("main", "registry/app"));
        let pod = Pod { name: "pod".into(), namespace: "space".into(), uid: "uid".into(), ..Pod::default() };
        assert_eq!(*container.pod, pod);
        assert!(hooked.is_of_pod() && hooked.is_of(&pod));
        assert!(!hooked.is_of(&Pod { uid: "other".into(), ..pod.clone() }));
        assert!(hooked.is_of(&Pod { uid: String::new(), ..pod }));
        // What the message says is stronger.
        let told = CreateContainer { container_name: "side".into(), annotations, ..told(&path) };
        assert_eq!(Hooked::of(told).unwrap().container.name, "side");
        let by_hand = Hooked::of(CreateContainer::default());
        assert_eq!(by_hand, Err(HookError::Id));
        assert!(!Hooked::of(super::tests::told(&path)).unwrap().is_of_pod());
    }
}

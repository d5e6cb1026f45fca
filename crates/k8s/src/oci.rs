//! What a container runtime tells its hooks: the state of a container, on standard input, and its specification, in
//! `config.json` of its bundle (OCI runtime specification 1.0, `runtime.md` and `config.md`).
//!
//! Annotations may come from whoever makes pods. What is read is bounded, and nothing in it is trusted.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde_json::Value;

/// Bytes of a state.
pub const STATE_MAX: usize = 1 << 20;
/// Bytes of a specification.
pub const CONFIG_MAX: usize = 16 << 20;
/// Annotations that are taken, and bytes of the value of one.
pub const ANNOTATIONS_MAX: usize = 64;
const VALUE_MAX: usize = 4096;
/// Bytes of an id and of a path.
const ID_MAX: usize = 1024;
const PATH_MAX: usize = 4096;

/// What annotations begin with by which containerd and CRI-O tell whose a container is.
const OF_RUNTIMES: &str = "io.kubernetes.";
/// By which they tell its namespace.
pub const NAMESPACE_KEYS: [&str; 2] = ["io.kubernetes.cri.sandbox-namespace", "io.kubernetes.pod.namespace"];
/// By which they tell the name of its pod.
const POD_KEYS: [&str; 2] = ["io.kubernetes.cri.sandbox-name", "io.kubernetes.pod.name"];

/// Why a state or a specification is of no use.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OciError {
    /// It is no JSON object.
    #[error("the {what} is no JSON object: {reason}")]
    NoObject {
        /// `state of the container` or `specification (config.json)`.
        what: &'static str,
        /// The parser's words.
        reason: String,
    },
    /// It has more bytes than are read.
    #[error("the {what} has more than {max} bytes")]
    TooLong {
        /// As above.
        what: &'static str,
        /// The bound.
        max: usize,
    },
    /// It lacks what every one has, or has something else in its place.
    #[error("the {what} has no usable `{member}`")]
    Member {
        /// As above.
        what: &'static str,
        /// Its name.
        member: &'static str,
    },
}

const STATE: &str = "state of the container";
const CONFIG: &str = "specification (config.json)";

/// The state of a container, as a runtime gives it to a hook.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct State {
    /// The runtime's name for the container.
    pub id: String,
    /// Where its specification lies; an absolute path in the runtime's mount namespace.
    pub bundle: PathBuf,
    /// Its first process, in the runtime's PID namespace; none: there is none yet.
    pub pid: Option<u32>,
}

/// What is used of a specification.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Spec {
    /// Path of the control group, or `SLICE:PREFIX:NAME` for systemd; none: the runtime chooses.
    pub cgroups_path: Option<String>,
    /// The container's root directory, absolute or below the bundle; empty: not told.
    pub root: PathBuf,
    /// Those that runtimes of Kubernetes set, and those that were asked for by name; at most [`ANNOTATIONS_MAX`].
    pub annotations: BTreeMap<String, String>,
}

impl State {
    /// Reads a state.
    ///
    /// # Errors
    /// It is too long, no JSON object, or lacks id or bundle.
    pub fn parse(bytes: &[u8]) -> Result<Self, OciError> {
        let state = object(STATE, bytes, STATE_MAX)?;
        let text = |member: &'static str, max: usize| {
            let text = state[member].as_str().filter(|text| is_usable(text, max));
            text.ok_or(OciError::Member { what: STATE, member })
        };
        let bundle = PathBuf::from(text("bundle", PATH_MAX)?);
        if !bundle.is_absolute() {
            return Err(OciError::Member { what: STATE, member: "bundle" });
        }
        let pid = state["pid"].as_u64().and_then(|pid| u32::try_from(pid).ok()).filter(|&pid| pid > 0);
        Ok(Self { id: text("id", ID_MAX)?.to_owned(), bundle, pid })
    }
}

impl Spec {
    /// Reads a specification; annotations of these names are taken too.
    ///
    /// # Errors
    /// It is too long, no JSON object, or its control group is no path.
    pub fn parse(bytes: &[u8], annotations: &[String]) -> Result<Self, OciError> {
        let spec = object(CONFIG, bytes, CONFIG_MAX)?;
        let member = "linux.cgroupsPath";
        let cgroups_path = match &spec["linux"]["cgroupsPath"] {
            Value::Null => None,
            Value::String(path) if path.is_empty() => None,
            Value::String(path) if is_usable(path, PATH_MAX) => Some(path.clone()),
            _ => return Err(OciError::Member { what: CONFIG, member }),
        };
        let root = spec["root"]["path"].as_str().filter(|path| is_usable(path, PATH_MAX)).unwrap_or_default();
        let told = spec["annotations"].as_object();
        let wanted = |key: &str| key.starts_with(OF_RUNTIMES) || annotations.iter().any(|name| name == key);
        // Those that decide come first, so that no number of others takes their place.
        let decide = |key: &str| {
            NAMESPACE_KEYS.contains(&key)
                || POD_KEYS.contains(&key)
                || annotations.iter().any(|name| name == key)
        };
        let mut usable: Vec<(&String, &str)> = told
            .into_iter()
            .flatten()
            .filter_map(|(key, value)| Some((key, value.as_str()?)))
            .filter(|(key, value)| wanted(key) && key.len() <= VALUE_MAX && value.len() <= VALUE_MAX)
            .collect();
        usable.sort_by_key(|(key, _)| !decide(key));
        let annotations = usable.into_iter().take(ANNOTATIONS_MAX);
        Ok(Self {
            cgroups_path,
            root: root.into(),
            annotations: annotations.map(|(key, value)| (key.clone(), value.to_owned())).collect(),
        })
    }

    /// The root directory as an absolute path.
    #[must_use]
    pub fn root_in(&self, bundle: &Path) -> PathBuf {
        bundle.join(&self.root)
    }

    /// The namespace of the container's pod, by the first of these annotations that it has, or by those that runtimes set.
    #[must_use]
    pub fn namespace(&self, keys: &[String]) -> Option<&str> {
        self.first(keys.iter().map(String::as_str).chain(NAMESPACE_KEYS))
    }

    /// The name of the container's pod.
    #[must_use]
    pub fn pod(&self) -> Option<&str> {
        self.first(POD_KEYS.into_iter())
    }

    fn first<'a>(&self, mut keys: impl Iterator<Item = &'a str>) -> Option<&str> {
        keys.find_map(|key| self.annotations.get(key)).map(String::as_str).filter(|value| !value.is_empty())
    }
}

/// The control group of a process within the unified hierarchy, by `/proc/PID/cgroup` (cgroups(7)); none: it is in none, or in the
/// root of what the reader can see of it.
#[must_use]
pub fn unified_group(text: &str) -> Option<&str> {
    text.lines()
        .find_map(|line| line.strip_prefix("0::"))
        .filter(|path| is_usable(path, PATH_MAX) && *path != "/")
}

fn is_usable(text: &str, max: usize) -> bool {
    !text.is_empty() && text.len() <= max && !text.contains('\0')
}

fn object(what: &'static str, bytes: &[u8], max: usize) -> Result<Value, OciError> {
    if bytes.len() > max {
        return Err(OciError::TooLong { what, max });
    }
    let value: Value = serde_json::from_slice(bytes)
        .map_err(|error| OciError::NoObject { what, reason: error.to_string() })?;
    if !value.is_object() {
        return Err(OciError::NoObject { what, reason: "it is something else".into() });
    }
    Ok(value)
}

#[cfg(test)]
#[path = "oci_tests.rs"]
mod tests;

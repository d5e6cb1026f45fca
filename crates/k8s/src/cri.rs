//! The runtime of this node, over its Unix socket.

use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::time::{Duration, Instant};

use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Response, Status, Streaming};

use crate::proto::runtime_service_client::RuntimeServiceClient;
use crate::proto::{
    ContainerEventResponse, ContainerStatusRequest, GetEventsRequest, ListContainersRequest,
    ListPodSandboxRequest, VersionRequest,
};

/// Where runtimes have their socket as a rule.
pub const USUAL_ENDPOINTS: [&str; 4] = [
    "/run/containerd/containerd.sock",
    "/run/crio/crio.sock",
    "/run/k3s/containerd/containerd.sock",
    "/run/cri-dockerd.sock",
];
/// Time that an answer may take.
const PATIENCE: Duration = Duration::from_secs(5);
/// Bytes of an answer. A thousand containers have about one.
const MESSAGE_MAX: usize = 16 << 20;

/// Why a runtime told nothing.
#[derive(Debug, thiserror::Error)]
pub enum CriError {
    /// Nobody answers at the socket.
    #[error("no container runtime answers at {}: {reason}", endpoint.display())]
    Connect {
        /// The socket.
        endpoint: PathBuf,
        /// Why.
        reason: String,
    },
    /// It refused a call.
    #[error("the container runtime at {} does not answer {method}: {} ({:?})", endpoint.display(), status.message(), status.code())]
    Call {
        /// The socket.
        endpoint: PathBuf,
        /// The call.
        method: &'static str,
        /// Its answer.
        status: Box<Status>,
    },
    /// No socket is given, and none is where they are as a rule.
    #[error("no socket of a container runtime is at {}; give it with --cri-endpoint", USUAL_ENDPOINTS.join(", "))]
    NoEndpoint,
}

/// What a runtime says of a container when it is asked for that one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Details {
    /// When it was started, in nanoseconds since 1970; 0: not yet.
    pub started_at: i64,
    /// Name of its image with a tag, as far as the runtime knows one.
    pub image: String,
    /// Its image with a digest.
    pub image_ref: String,
    /// Its first process, where the runtime tells it.
    pub pid: Option<u32>,
    /// The path of its control group as its specification has it, where the runtime tells it.
    pub cgroups_path: Option<String>,
}

/// Runtimes that tell each caller all events, with the version since which they do. Older ones give an event to one
/// caller only, so that one who listens takes it away from the kubelet: containerd 1.7, CRI-O before 1.28.
const TELL_ALL: [(&str, (u32, u32)); 2] = [("containerd", (2, 0)), ("cri-o", (1, 28))];

/// A runtime that answers.
#[derive(Clone, Debug)]
pub struct Runtime {
    client: RuntimeServiceClient<Channel>,
    endpoint: PathBuf,
    /// How it calls itself, such as `containerd`.
    pub name: String,
    /// Its version, in its own words.
    pub version: String,
}

/// What a call for events is answered with.
type Answered = Response<Streaming<ContainerEventResponse>>;

/// The container runtime's events. It says nothing before the first of them, not even that there will be some.
pub struct Events {
    state: State,
    asked: Instant,
}

enum State {
    /// The call has no answer yet.
    Asked(Pin<Box<dyn Future<Output = Result<Answered, Status>> + Send>>),
    Told(Box<Streaming<ContainerEventResponse>>),
    /// There are no more.
    Over,
}

impl Events {
    /// Waits for the next; what is given up while it waits is not lost. False: there are no more, or they cannot be read.
    pub async fn next(&mut self) -> bool {
        if let State::Asked(answer) = &mut self.state {
            self.state =
                answer.await.map_or(State::Over, |events| State::Told(Box::new(events.into_inner())));
        }
        let State::Told(events) = &mut self.state else { return false };
        let more = matches!(events.message().await, Ok(Some(_)));
        if !more {
            self.state = State::Over;
        }
        more
    }

    /// Whether it is certain that the runtime will tell: it has, or it did not refuse to for longer than an answer takes.
    #[must_use]
    pub fn are_told(&self) -> bool {
        match &self.state {
            State::Asked(_) => self.asked.elapsed() >= PATIENCE,
            State::Told(_) => true,
            State::Over => false,
        }
    }
}

/// Whether a runtime of this name and version tells each caller all events; one that is not known is taken not to.
fn tells_all(name: &str, version: &str) -> bool {
    let mut parts = version.trim_start_matches('v').split(|c: char| !c.is_ascii_digit()).map(str::parse);
    let (Some(Ok(major)), Some(Ok(minor))) = (parts.next(), parts.next()) else { return false };
    TELL_ALL.iter().any(|(known, since)| *known == name && (major, minor) >= *since)
}

impl Runtime {
    /// Connects to the socket given or, without one, to the first of [`USUAL_ENDPOINTS`] that is there.
    ///
    /// # Errors
    /// Nobody answers there, or not as a container runtime does.
    pub async fn connect(endpoint: Option<&Path>) -> Result<Self, CriError> {
        let usual = || USUAL_ENDPOINTS.iter().map(Path::new).find(|path| path.exists());
        let path = endpoint.or_else(usual).ok_or(CriError::NoEndpoint)?.to_owned();
        let failed = |error: &dyn std::error::Error| CriError::Connect {
            endpoint: path.clone(),
            reason: innermost(error).to_string(),
        };
        let channel =
            Endpoint::from_shared(format!("unix://{}", path.display())).map_err(|error| failed(&error))?;
        let channel = channel.connect_timeout(PATIENCE).connect().await.map_err(|error| failed(&error))?;
        let client = RuntimeServiceClient::new(channel).max_decoding_message_size(MESSAGE_MAX);
        let mut runtime = Self { client, endpoint: path, name: String::new(), version: String::new() };
        let asked = runtime.client.version(in_time(VersionRequest::default())).await;
        let answer = runtime.answer("Version", asked)?;
        (runtime.name, runtime.version) = (answer.runtime_name, answer.runtime_version);
        Ok(runtime)
    }

    /// The socket.
    #[must_use]
    pub fn endpoint(&self) -> &Path {
        &self.endpoint
    }

    fn answer<T>(
        &self,
        method: &'static str,
        answer: Result<tonic::Response<T>, Status>,
    ) -> Result<T, CriError> {
        answer.map(tonic::Response::into_inner).map_err(|status| CriError::Call {
            endpoint: self.endpoint.clone(),
            method,
            status: Box::new(status),
        })
    }

    /// All pods and containers that there are, pods first: a container that comes meanwhile lacks its pod, and is told the
    /// next time.
    pub(crate) async fn list(&mut self) -> Result<Listing, CriError> {
        // Containers first: a pod is there before its containers are.
        let containers = self.client.list_containers(in_time(ListContainersRequest::default())).await;
        let containers = self.answer("ListContainers", containers)?.containers;
        let pods = self.client.list_pod_sandbox(in_time(ListPodSandboxRequest::default())).await;
        let pods = self.answer("ListPodSandbox", pods)?.items;
        Ok(Listing { pods, containers })
    }

    /// What it says of one container; none: there is no such container any more.
    ///
    /// # Errors
    /// It does not answer.
    pub async fn details(&mut self, id: &str, verbose: bool) -> Result<Option<Details>, CriError> {
        let request = ContainerStatusRequest { container_id: id.to_owned(), verbose };
        let answer = match self.client.container_status(in_time(request)).await {
            Err(status) if status.code() == Code::NotFound => return Ok(None),
            answer => self.answer("ContainerStatus", answer)?,
        };
        let status = answer.status.unwrap_or_default();
        let info = answer.info.get("info").and_then(|text| serde_json::from_str(text).ok());
        let info: serde_json::Value = info.unwrap_or_default();
        let path = info.pointer("/runtimeSpec/linux/cgroupsPath").and_then(serde_json::Value::as_str);
        let pid = info.get("pid").and_then(serde_json::Value::as_u64);
        Ok(Some(Details {
            started_at: status.started_at,
            image: status.image.unwrap_or_default().image,
            image_ref: status.image_ref,
            pid: pid.and_then(|pid| u32::try_from(pid).ok()).filter(|pid| *pid != 0),
            cgroups_path: path.map(str::to_owned),
        }))
    }

    /// Its events; none: whoever listens to a runtime of this version takes them away from others.
    #[must_use]
    pub fn events(&self) -> Option<Events> {
        if !tells_all(&self.name, &self.version) {
            return None;
        }
        let mut client = self.client.clone();
        // A stream without end has no deadline.
        let asked = async move { client.get_container_events(GetEventsRequest::default()).await };
        Some(Events { state: State::Asked(Box::pin(asked)), asked: Instant::now() })
    }
}

/// All pods and containers, as the runtime lists them.
pub(crate) struct Listing {
    pub pods: Vec<crate::proto::PodSandbox>,
    pub containers: Vec<crate::proto::Container>,
}

fn in_time<T>(message: T) -> tonic::Request<T> {
    let mut request = tonic::Request::new(message);
    request.set_timeout(PATIENCE);
    request
}

fn innermost<'a>(error: &'a (dyn std::error::Error + 'a)) -> &'a (dyn std::error::Error + 'a) {
    let mut last = error;
    while let Some(source) = last.source() {
        last = source;
    }
    last
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runtimes_that_tell_everyone() {
        for (name, version, wanted) in [
            ("containerd", "1.6.20~ds1", false),
            ("containerd", "v1.7.24", false),
            ("containerd", "2.0.0-rc.1", true),
            ("containerd", "v2.1.4-k3s1", true),
            ("containerd", "10.0", true),
            ("containerd", "2", false),
            ("containerd", "", false),
            ("cri-o", "1.27.9", false),
            ("cri-o", "1.28.0", true),
            ("docker", "28.0.1", false),
        ] {
            assert_eq!(tells_all(name, version), wanted, "{name} {version}");
        }
    }
}

use std::path::PathBuf;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use tokio::net::UnixListener;
use tokio_stream::wrappers::UnixListenerStream;
use tonic::{Request, Response, Status};

use super::*;
use crate::proto::runtime_service_server::{RuntimeService, RuntimeServiceServer};
use crate::proto::{
    ContainerEventResponse, ContainerMetadata, ContainerStatus, ContainerStatusRequest,
    ContainerStatusResponse, GetEventsRequest, ImageSpec, ListContainersRequest, ListContainersResponse,
    ListPodSandboxRequest, ListPodSandboxResponse, PodSandbox, PodSandboxMetadata, VersionRequest,
    VersionResponse,
};

type Answer<T> = Result<Response<T>, Status>;

/// A runtime that is made up.
#[derive(Clone, Default)]
struct Fake(Arc<Mutex<(Vec<PodSandbox>, Vec<proto::Container>)>>, Option<Arc<Telling>>);

/// One that tells events: when it may, and how often it was asked to.
#[derive(Default)]
struct Telling {
    version: &'static str,
    may: tokio::sync::Notify,
    asked: AtomicU32,
}

#[tonic::async_trait]
impl RuntimeService for Fake {
    async fn version(&self, _: Request<VersionRequest>) -> Answer<VersionResponse> {
        let (name, version) =
            self.1.as_ref().map_or(("fake", "1"), |telling| ("containerd", telling.version));
        let version = VersionResponse { runtime_name: name.into(), runtime_version: version.into() };
        Ok(Response::new(version))
    }

    /// As containerd: no answer before the first event.
    async fn get_container_events(
        &self,
        _: Request<GetEventsRequest>,
    ) -> Answer<tonic::codegen::BoxStream<ContainerEventResponse>> {
        let Some(telling) = &self.1 else { return Err(Status::unimplemented("no events")) };
        telling.asked.fetch_add(1, Ordering::Relaxed);
        telling.may.notified().await;
        let events = tokio_stream::iter([Ok(ContainerEventResponse::default())]);
        Ok(Response::new(Box::pin(events)))
    }

    async fn list_pod_sandbox(&self, _: Request<ListPodSandboxRequest>) -> Answer<ListPodSandboxResponse> {
        Ok(Response::new(ListPodSandboxResponse { items: self.0.lock().unwrap().0.clone() }))
    }

    async fn list_containers(&self, _: Request<ListContainersRequest>) -> Answer<ListContainersResponse> {
        Ok(Response::new(ListContainersResponse { containers: self.0.lock().unwrap().1.clone() }))
    }

    async fn container_status(
        &self,
        request: Request<ContainerStatusRequest>,
    ) -> Answer<ContainerStatusResponse> {
        let request = request.into_inner();
        if request.container_id != "c1" {
            return Err(Status::not_found("no such container"));
        }
        let info = r#"{"pid": 77, "runtimeSpec": {"linux": {"cgroupsPath": "/pods/c1"}}}"#;
        let info = [("info".to_owned(), info.to_owned())].into_iter().filter(|_| request.verbose).collect();
        let image = Some(ImageSpec { image: "registry:5000/web:2".into() });
        let status = ContainerStatus { id: "c1".into(), started_at: 5, image, ..ContainerStatus::default() };
        Ok(Response::new(ContainerStatusResponse { status: Some(status), info }))
    }
}

fn pod(id: &str, name: &str, state: i32) -> PodSandbox {
    let metadata =
        PodSandboxMetadata { name: name.into(), uid: format!("uid-{name}"), namespace: "shop".into() };
    let labels = [("app", "web"), ("io.kubernetes.pod.name", name)];
    let labels = labels.into_iter().map(|(key, value)| (key.to_owned(), value.to_owned())).collect();
    PodSandbox { id: id.into(), metadata: Some(metadata), state, created_at: 3, labels }
}

fn container(id: &str, sandbox: &str, state: i32) -> proto::Container {
    proto::Container {
        id: id.into(),
        pod_sandbox_id: sandbox.into(),
        metadata: Some(ContainerMetadata { name: format!("name-{id}") }),
        image: Some(ImageSpec { image: "web@sha256:1".into() }),
        image_ref: "sha256:1".into(),
        state,
    }
}

async fn serve(fake: Fake) -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("runtime.sock");
    let listener = UnixListenerStream::new(UnixListener::bind(&path).unwrap());
    let server = tonic::transport::Server::builder().add_service(RuntimeServiceServer::new(fake));
    tokio::spawn(server.serve_with_incoming(listener));
    (folder, path)
}

#[tokio::test]
async fn containers_come_change_and_go() {
    let fake = Fake::default();
    let (_folder, path) = serve(fake.clone()).await;
    let mut runtime = Runtime::connect(Some(&path)).await.unwrap();
    assert_eq!(runtime.name, "fake");
    assert!(runtime.events().is_none(), "what is not known to tell everyone is not listened to");
    let mut known = Containers::default();
    assert_eq!(known.look(&mut runtime).await.unwrap(), Changes::default());

    let pods = vec![pod("s1", "one", 0), pod("s2", "ended", 1)];
    *fake.0.lock().unwrap() = (pods.clone(), vec![container("c1", "s1", 0), container("c2", "s1", 2)]);
    let found = known.look(&mut runtime).await.unwrap();
    let ids: Vec<&str> = found.new.iter().map(|one| one.id.as_str()).collect();
    assert_eq!(ids, ["s1", "c1"], "what has ended is left out");
    let one = &found.new[1];
    assert_eq!((one.name.as_str(), one.repo(), one.started_at), ("name-c1", "registry:5000/web", 5));
    assert_eq!((one.pod.name.as_str(), one.pod.namespace.as_str()), ("one", "shop"));
    assert_eq!(one.pod.labels, [("app".to_owned(), "web".to_owned())].into());
    assert_eq!(known.find("c1"), Some(one));
    assert_eq!(known.look(&mut runtime).await.unwrap(), Changes::default(), "nothing has changed");

    fake.0.lock().unwrap().1[0].state = 1;
    assert_eq!(known.look(&mut runtime).await.unwrap().new[0].id, "c1", "it was started");
    *fake.0.lock().unwrap() = (pods, Vec::new());
    let gone = known.look(&mut runtime).await.unwrap();
    assert_eq!((gone.new.len(), gone.gone), (0, vec!["c1".to_owned()]));
    assert_eq!(known.all().count(), 1);
}

#[tokio::test]
async fn events_are_listened_to_where_nobody_else_misses_them() {
    for (version, told) in [("1.7.24", false), ("2.1.9", true)] {
        let telling = Arc::new(Telling { version, ..Telling::default() });
        let (_folder, path) = serve(Fake(Arc::default(), Some(Arc::clone(&telling)))).await;
        let mut runtime = Runtime::connect(Some(&path)).await.unwrap();
        let Some(mut events) = runtime.events() else {
            assert!(!told && telling.asked.load(Ordering::Relaxed) == 0);
            continue;
        };
        assert!(told && !events.are_told());
        // Whoever waits for the first event is not kept from asking.
        let short = Duration::from_millis(100);
        assert!(tokio::time::timeout(short, events.next()).await.is_err());
        Containers::default().look(&mut runtime).await.unwrap();
        assert!(tokio::time::timeout(short, events.next()).await.is_err());
        assert_eq!(telling.asked.load(Ordering::Relaxed), 1);
        telling.may.notify_one();
        assert!(events.next().await && events.are_told());
        assert!(!events.next().await && !events.are_told() && !events.next().await);
    }
}

#[tokio::test]
async fn a_runtime_that_refuses_tells_no_events() {
    let (_folder, path) = serve(Fake::default()).await;
    let mut runtime = Runtime::connect(Some(&path)).await.unwrap();
    (runtime.name, runtime.version) = ("containerd".into(), "2.0.0".into());
    let mut events = runtime.events().unwrap();
    assert!(!events.next().await && !events.are_told());
}

#[tokio::test]
async fn details_are_told_where_the_runtime_has_them() {
    let (_folder, path) = serve(Fake::default()).await;
    let mut runtime = Runtime::connect(Some(&path)).await.unwrap();
    let details = runtime.details("c1", true).await.unwrap().unwrap();
    assert_eq!((details.pid, details.cgroups_path.as_deref()), (Some(77), Some("/pods/c1")));
    assert_eq!(runtime.details("c1", false).await.unwrap().unwrap().pid, None);
    assert_eq!(runtime.details("c9", true).await.unwrap(), None);
}

#[tokio::test]
async fn nobody_at_the_socket_is_an_error_that_names_it() {
    let folder = tempfile::tempdir().unwrap();
    let error = Runtime::connect(Some(&folder.path().join("none.sock"))).await.unwrap_err();
    let text = error.to_string();
    assert!(text.contains("no container runtime answers at /") && text.contains("none.sock"), "{text}");
}

#[test]
fn repositories_of_images() {
    for (image, repo) in [
        ("nginx", "nginx"),
        ("docker.io/library/nginx:1.25", "docker.io/library/nginx"),
        ("registry:5000/a/b", "registry:5000/a/b"),
        ("registry:5000/a/b:2@sha256:00", "registry:5000/a/b"),
        ("a@sha256:00", "a"),
        ("", ""),
    ] {
        let container = Container { image: image.to_owned(), ..Container::default() };
        assert_eq!(container.repo(), repo, "{image}");
    }
}

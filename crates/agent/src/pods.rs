//! Follows the containers of this node: tells policies and events which are of which pods.
//!
//! The kernel tells of each control group that begins a container before anybody is in it. Then the runtime is asked at
//! once, and again until it knows the container or has had its time. Without such news it is asked when it tells of
//! events, or every second where it has none to tell.

mod hooked;
mod table;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::Result;
use saker_k8s::cri::Events;
use saker_k8s::{Container, Containers, CriError, Runtime};
use saker_policy::matcher;
use saker_probes::{ContainerGroup, NewContainers};
use tokio::sync::mpsc;

use crate::config::Cri;
use crate::workloads::Workloads;
pub use hooked::{HookCounts, HookError, Hooked, Hooks};
pub(crate) use table::{PodTable, Pods};

/// Time between two attempts to reach the runtime.
const RETRY: Duration = Duration::from_secs(2);
/// Time between two looks: at least, while groups wait, where the runtime tells no events, and where it does.
const LEAST: Duration = Duration::from_millis(10);
const WAITING: Duration = Duration::from_millis(50);
const POLL: Duration = Duration::from_secs(1);
const RARELY: Duration = Duration::from_secs(30);
/// Time that the runtime has to name the container of a group. Then it is one of no pod.
const PATIENCE: Duration = Duration::from_secs(10);
/// Time after which a container without a group of its id is looked for by its first process.
const UNNAMED: Duration = Duration::from_millis(500);
/// News that may wait; what has no room is found at the next look at all groups.
const NEWS: usize = 1024;

/// How following containers goes.
#[derive(Debug, Default)]
pub struct Health {
    /// What is wrong; empty: nothing.
    wrong: Mutex<String>,
    /// Control groups of which it was found out which container they are.
    identified: AtomicU64,
    /// Those of which the runtime knew none in time.
    unidentified: AtomicU64,
}

impl Health {
    /// In words.
    #[must_use]
    pub fn problem(&self) -> String {
        self.wrong.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Control groups of which the container was found out, and of which it was not.
    #[must_use]
    pub fn counts(&self) -> [u64; 2] {
        [&self.identified, &self.unidentified].map(|count| count.load(Ordering::Relaxed))
    }

    fn set(&self, problem: String) {
        let mut known = self.wrong.lock().unwrap_or_else(PoisonError::into_inner);
        if *known != problem {
            if problem.is_empty() {
                tracing::info!("the container runtime answers");
            } else {
                tracing::warn!("{problem}");
            }
            *known = problem;
        }
    }
}

/// Follows containers until the runtime of tasks ends.
pub(crate) fn follow(
    settings: &Cri,
    procfs: &Path,
    workloads: Arc<Workloads>,
    table: Arc<PodTable>,
    health: Arc<Health>,
    tasks: &tokio::runtime::Handle,
) -> std::io::Result<Hooks> {
    let (sender, news) = mpsc::channel(NEWS);
    let (hooks, orders) = Hooks::new();
    let groups = Arc::clone(&workloads);
    std::thread::Builder::new().name("saker-groups".into()).spawn(move || listen(&groups, &sender))?;
    let follower = Follower {
        endpoint: settings.endpoint.clone(),
        procfs: procfs.to_owned(),
        workloads,
        table,
        health,
        news,
        orders,
        containers: Containers::default(),
        groups: BTreeMap::new(),
        waiting: BTreeMap::new(),
        placed: BTreeMap::new(),
        seen: BTreeMap::new(),
        walked: None,
    };
    tasks.spawn(follower.run());
    Ok(hooks)
}

/// Hands on what the kernel tells of new groups.
fn listen(workloads: &Workloads, sender: &mpsc::Sender<ContainerGroup>) {
    let opened = workloads.groups().and_then(|groups| Ok(NewContainers::of(&groups)?));
    let mut new = match opened {
        Ok(new) => new,
        Err(error) => {
            tracing::error!("policies cannot tell containers apart: {error:#}");
            return;
        }
    };
    while !sender.is_closed() {
        match new.wait(Duration::from_millis(200)) {
            Ok(groups) => groups.into_iter().for_each(|group| {
                // Without room it is found when all groups are looked at.
                let _ = sender.try_send(group);
            }),
            Err(error) => {
                tracing::error!("new containers are found by looking at all only: {error}");
                return;
            }
        }
    }
}

struct Follower {
    endpoint: Option<PathBuf>,
    procfs: PathBuf,
    workloads: Arc<Workloads>,
    table: Arc<PodTable>,
    health: Arc<Health>,
    news: mpsc::Receiver<ContainerGroup>,
    /// Containers that are about to start.
    orders: mpsc::Receiver<hooked::Order>,
    containers: Containers,
    /// Groups by the id of their container.
    groups: BTreeMap<String, u64>,
    /// Groups of which the runtime has not told, since when.
    waiting: BTreeMap<u64, Instant>,
    /// Containers by their id, each with its group.
    placed: BTreeMap<String, u64>,
    /// Containers without a group of their id, since when.
    seen: BTreeMap<String, Instant>,
    /// When all groups were looked at last.
    walked: Option<Instant>,
}

impl Follower {
    async fn run(mut self) {
        loop {
            let error = match Runtime::connect(self.endpoint.as_deref()).await {
                Ok(runtime) => self.session(runtime).await,
                Err(error) => error,
            };
            self.health.set(format!(
                "{error}; until it answers, new containers are of unknown pods, and policies for pods tell of them with \
                 a mark"
            ));
            // Containers go on to be started meanwhile: of pods that are known they can be told.
            let retry = tokio::time::sleep(RETRY);
            tokio::pin!(retry);
            loop {
                tokio::select! {
                    Some((hooked, reply)) = self.orders.recv() => {
                        let sandbox = hooked.sandbox;
                        let outcome = match self.introduce(hooked) {
                            Err(HookError::NoPod(_)) if sandbox => Ok(()),
                            outcome => outcome,
                        };
                        let _ = reply.send(outcome);
                    }
                    () = &mut retry => break,
                }
            }
        }
    }

    /// Says what the container of a hook is. Its pod has to be known, unless it is of none.
    fn introduce(&mut self, hooked: Hooked) -> Result<(), HookError> {
        let id = hooked.container.id.clone();
        if self.placed.get(&id).is_some_and(|group| *group != 0) {
            return Ok(());
        }
        let kernel = |error: anyhow::Error| HookError::Kernel(format!("{error:#}"));
        let missing = || HookError::NoGroup(hooked.group.clone());
        if !hooked.is_of_pod() {
            let group = self.workloads.groups().map_err(kernel)?.find(&hooked.group).ok_or_else(missing)?;
            return match self.workloads.identify(group, None).map_err(kernel)? {
                true => Ok(()),
                false => Err(missing()),
            };
        }
        let pod = self.containers.all().map(|known| &known.pod).find(|pod| hooked.is_of(pod)).map(Arc::clone);
        let pod = pod.ok_or_else(|| {
            let pod = &hooked.container.pod;
            HookError::NoPod(format!("{}/{} ({})", pod.namespace, pod.name, pod.uid))
        })?;
        let Hooked { container, group: path, .. } = hooked.with(pod);
        let claimed = self.workloads.claim(&path, described(&container)).map_err(kernel)?;
        let group = claimed.ok_or(HookError::NoGroup(path))?;
        // Events of its first process name its pod too. What the runtime tells of it later comes in place of this.
        self.table.insert(&container);
        self.waiting.remove(&group);
        self.placed.insert(id.clone(), group);
        tracing::debug!(container = id, group, "introduced by a hook of the runtime");
        self.health.identified.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }

    /// The same, after a look at what the runtime knows where its pod is not known.
    async fn obey(&mut self, runtime: &mut Runtime, order: hooked::Order) -> Result<(), CriError> {
        let (hooked, reply) = order;
        let sandbox = hooked.sandbox;
        let mut outcome = self.introduce(hooked.clone());
        if matches!(outcome, Err(HookError::NoPod(_))) {
            if let Err(error) = self.look(runtime).await {
                let _ = reply.send(if sandbox { Ok(()) } else { Err(HookError::Late) });
                return Err(error);
            }
            outcome = self.introduce(hooked);
        }
        if sandbox && matches!(outcome, Err(HookError::NoPod(_))) {
            // The pod is being made by this very container: it stays undecided until the runtime tells.
            outcome = Ok(());
        }
        // Whoever asked may have lost patience.
        let _ = reply.send(outcome);
        Ok(())
    }

    /// Follows one connection until it breaks.
    async fn session(&mut self, mut runtime: Runtime) -> CriError {
        let mut events = runtime.events();
        tracing::info!(
            runtime = runtime.name, version = runtime.version, socket = %runtime.endpoint().display(),
            events = events.is_some(), "following containers"
        );
        self.walked = None;
        loop {
            if self.walked.is_none_or(|at| at.elapsed() >= RARELY) {
                self.walk();
            }
            if let Err(error) = self.look(&mut runtime).await {
                return error;
            }
            self.health.set(String::new());
            let pause = match &events {
                _ if !self.waiting.is_empty() || self.seen.values().any(|at| at.elapsed() < PATIENCE) => {
                    WAITING
                }
                Some(events) if events.are_told() => RARELY,
                _ => POLL,
            };
            tokio::time::sleep(LEAST).await;
            if let Some(order) = self.wait(&mut events, pause).await
                && let Err(error) = self.obey(&mut runtime, order).await
            {
                return error;
            }
            while let Ok(order) = self.orders.try_recv() {
                if let Err(error) = self.obey(&mut runtime, order).await {
                    return error;
                }
            }
        }
    }

    /// Waits for news, or for so long. Returns a container that is about to start.
    async fn wait(&mut self, events: &mut Option<Events>, pause: Duration) -> Option<hooked::Order> {
        let told = async {
            match events {
                Some(events) => events.next().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            Some(order) = self.orders.recv() => return Some(order),
            news = self.news.recv() => {
                if let Some(group) = news {
                    self.met(&group);
                    while let Ok(group) = self.news.try_recv() {
                        self.met(&group);
                    }
                } else {
                    // Nobody listens to the kernel: what is looked at rarely has to do.
                    tokio::time::sleep(pause).await;
                }
            }
            more = told => {
                if more {
                    tracing::debug!("the container runtime tells of a change");
                } else {
                    tracing::info!("the container runtime tells no events: it is asked every second");
                    *events = None;
                }
            }
            () = tokio::time::sleep(pause) => {}
        }
        None
    }

    fn met(&mut self, group: &ContainerGroup) {
        let id = group.container_id();
        if let Some(older) = self.placed.remove(id) {
            self.leave(older);
        }
        self.groups.insert(id.to_owned(), group.id);
        self.waiting.insert(group.id, Instant::now());
    }

    /// Looks at all groups.
    fn walk(&mut self) {
        let found = self.workloads.groups().and_then(|groups| {
            let all = groups.containers()?;
            let undecided = |group: &&ContainerGroup| groups.is_undecided(group.id).unwrap_or_default();
            let waiting: Vec<u64> = all.iter().filter(undecided).map(|group| group.id).collect();
            Ok((all, waiting))
        });
        match found {
            Ok((all, waiting)) => {
                self.groups = all.iter().map(|one| (one.container_id().to_owned(), one.id)).collect();
                let there: BTreeSet<u64> = all.iter().map(|group| group.id).collect();
                self.waiting.retain(|group, _| there.contains(group));
                let left = self.placed.values().filter(|group| **group != 0 && !there.contains(group));
                left.for_each(|group| self.leave(*group));
                self.placed.retain(|_, group| *group == 0 || there.contains(group));
                for group in waiting {
                    self.waiting.entry(group).or_insert_with(Instant::now);
                }
                self.walked = Some(Instant::now());
            }
            Err(error) => {
                tracing::debug!("control groups cannot be looked at: {error:#}");
                self.walked = Some(Instant::now());
            }
        }
    }

    /// Asks the runtime what there is, and tells of what is new.
    async fn look(&mut self, runtime: &mut Runtime) -> Result<(), CriError> {
        let changes = self.containers.look(runtime).await?;
        for container in &changes.new {
            self.table.insert(container);
            if let Some(group) = self.placed.get(&container.id).copied() {
                self.identify(group, container);
            }
        }
        for id in &changes.gone {
            self.table.remove(id);
            self.seen.remove(id);
            self.groups.remove(id);
            if let Some(group) = self.placed.remove(id) {
                self.leave(group);
            }
        }
        let open = self.containers.all().filter(|one| !self.placed.contains_key(&one.id));
        for container in open.map(Arc::clone).collect::<Vec<_>>() {
            if let Some(group) = self.groups.get(&container.id).copied() {
                self.identify(group, &container);
            } else {
                self.search(runtime, &container).await?;
            }
        }
        self.give_up();
        Ok(())
    }

    /// A container is no longer in this group.
    fn leave(&self, group: u64) {
        if let Err(error) = self.workloads.forget(group) {
            tracing::warn!(group, "it cannot be forgotten: {error:#}");
        }
    }

    /// Says what the container of a group is.
    fn identify(&mut self, group: u64, container: &Container) {
        match self.workloads.identify(group, Some(described(container))) {
            Ok(true) => {
                tracing::debug!(container = container.id, group, "identified");
                self.health.identified.fetch_add(1, Ordering::Relaxed);
                self.waiting.remove(&group);
                self.seen.remove(&container.id);
                self.placed.insert(container.id.clone(), group);
            }
            Ok(false) => {
                self.groups.remove(&container.id);
                self.waiting.remove(&group);
            }
            Err(error) => tracing::warn!(container = container.id, "its policies cannot be told: {error:#}"),
        }
    }

    /// Looks for the group of a container that bears another name, by its first process.
    async fn search(&mut self, runtime: &mut Runtime, container: &Arc<Container>) -> Result<(), CriError> {
        let since = *self.seen.entry(container.id.clone()).or_insert_with(Instant::now);
        if since.elapsed() < UNNAMED {
            return Ok(());
        }
        let details =
            if container.name.is_empty() { None } else { runtime.details(&container.id, true).await? };
        let Some(details) = details else {
            // The group of a pod that is being set up is told when it is made.
            self.seen.remove(&container.id);
            self.placed_nowhere(container);
            return Ok(());
        };
        let Some(path) = details.pid.and_then(|pid| self.group_of(pid)) else {
            // It has not been started.
            return Ok(());
        };
        // Else it may be one that it shares with the runtime.
        let last = |path: &str| path.rsplit('/').next().unwrap_or_default().to_owned();
        let own = details.cgroups_path.is_some_and(|asked| last(&asked) == last(&path));
        let claimed = if own { self.workloads.claim(&path, described(container)) } else { Ok(None) };
        match claimed {
            Ok(Some(group)) => {
                tracing::debug!(container = container.id, group, path, "found by its first process");
                self.health.identified.fetch_add(1, Ordering::Relaxed);
                self.seen.remove(&container.id);
                self.placed.insert(container.id.clone(), group);
            }
            Ok(None) => {
                self.seen.remove(&container.id);
                self.placed_nowhere(container);
            }
            Err(error) => tracing::warn!(container = container.id, "its group cannot be claimed: {error:#}"),
        }
        Ok(())
    }

    /// A container without a group that can be told from others counts as the host's.
    fn placed_nowhere(&mut self, container: &Container) {
        if self.workloads.groups().is_ok() && !container.name.is_empty() {
            tracing::warn!(
                container = container.id,
                pod = container.pod.name,
                "it has no control group of its own in the unified hierarchy, so policies take it for the host's"
            );
        }
        self.placed.insert(container.id.clone(), 0);
    }

    fn group_of(&self, pid: u32) -> Option<String> {
        let text = fs::read_to_string(self.procfs.join(pid.to_string()).join("cgroup")).ok()?;
        let path = text.lines().find_map(|line| line.strip_prefix("0::"))?;
        Some(path.to_owned())
    }

    /// What the runtime has not named in time is of no pod.
    fn give_up(&mut self) {
        let late = |(group, since): (&u64, &Instant)| (since.elapsed() >= PATIENCE).then_some(*group);
        for group in self.waiting.iter().filter_map(late).collect::<Vec<_>>() {
            tracing::debug!(group, "the runtime knows no container of this group");
            self.health.unidentified.fetch_add(1, Ordering::Relaxed);
            if let Err(error) = self.workloads.identify(group, None) {
                tracing::warn!(group, "its policies cannot be told: {error:#}");
            }
            self.waiting.remove(&group);
        }
    }
}

/// The container as policies see it.
fn described(container: &Container) -> matcher::Container {
    matcher::Container {
        name: container.name.clone(),
        repo: if container.name.is_empty() { String::new() } else { container.repo().to_owned() },
        namespace: container.pod.namespace.clone(),
        labels: container.pod.labels.clone(),
    }
}

//! Trials of policies: loaded for a while in which they only tell, under a name of their own, and gone when the client is.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use saker_api::event::{Event, EventKind, HookEvent};
use saker_api::saker_v1::{TriedGroup, TryPolicyResponse};
use saker_api::tetragon::KprobeAction;
use saker_export::{Limits, Popped, Queue, Taken};
use tokio::sync::mpsc::Sender;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep_until};
use tonic::Status;

use super::{CLIENT_BYTES, Inner, Place, policies};
use crate::policies::{Key, PolicyError, View};

/// Longest trial.
const MAX_TIME: Duration = Duration::from_secs(24 * 3600);
/// Groups of events that are told apart.
const MAX_GROUPS: usize = 1000;
/// Time between two looks at the queue.
const TICK: Duration = Duration::from_millis(50);
/// Batches that are looked at before others get their turn.
const TURN: usize = 64;
/// Time in which the last records become events.
const DRAIN: Duration = Duration::from_millis(500);
/// Time between two attempts to remove a policy while too many orders wait.
const AGAIN: Duration = Duration::from_millis(200);
/// Name of the queues.
const STAGE: &str = "trial";

/// What is to be tried.
pub(super) struct Trial {
    pub(super) text: String,
    pub(super) time: Duration,
    /// Who asks, for the log.
    pub(super) client: String,
    pub(super) place: Place,
}

/// The time of a trial.
pub(super) fn time(asked: Option<Duration>) -> Result<Duration, Status> {
    match asked {
        None | Some(Duration::ZERO) => {
            Err(Status::invalid_argument("say for how long: `duration` is missing"))
        }
        Some(time) if time > MAX_TIME => {
            Err(Status::invalid_argument("a policy can be tried for a day at most"))
        }
        Some(time) => Ok(time),
    }
}

/// What events of a trial have in common.
#[derive(Clone, PartialEq, Eq, Hash)]
struct Common {
    hook: String,
    selector: Option<u32>,
    action: i32,
    binary: String,
    cgroup_id: u64,
    pod: String,
}

/// Events, by what they have in common.
#[derive(Default)]
struct Groups {
    /// Events, and those in which an action was withheld by the mode.
    known: HashMap<Common, (u64, u64)>,
    /// Events that there was no room for.
    others: u64,
}

impl Groups {
    fn add(&mut self, event: &HookEvent) {
        let process = &event.process.process;
        let pod = process.pod.as_ref().map(|pod| format!("{}/{}", pod.namespace, pod.name));
        let common = Common {
            hook: event.hook_name(),
            selector: event.selector.map(u32::from),
            action: event.action,
            binary: process.binary.to_string(),
            cgroup_id: event.cgroup_id,
            pod: pod.unwrap_or_default(),
        };
        if self.known.len() >= MAX_GROUPS && !self.known.contains_key(&common) {
            self.others += 1;
            return;
        }
        let (events, would_act) = self.known.entry(common).or_default();
        *events += 1;
        let withheld = [event.more.action_withheld, event.more.return_action_withheld];
        *would_act += u64::from(withheld.contains(&"monitor"));
    }

    /// The most first.
    fn told(self) -> Vec<TriedGroup> {
        let told = |(common, (events, would_act)): (Common, (u64, u64))| TriedGroup {
            hook: common.hook,
            selector: common.selector,
            action: KprobeAction::try_from(common.action).unwrap_or_default().as_str_name().to_owned(),
            binary: common.binary,
            cgroup_id: common.cgroup_id,
            pod: common.pod,
            events,
            would_act,
        };
        let mut told: Vec<TriedGroup> = self.known.into_iter().map(told).collect();
        told.sort_by(|left, right| {
            let rest = |group: &TriedGroup| (group.binary.clone(), group.hook.clone(), group.selector);
            right.events.cmp(&left.events).then_with(|| rest(left).cmp(&rest(right)))
        });
        told
    }
}

/// The events of everybody, of which those of one policy are counted. Leaves when it is dropped.
struct Watched<'a> {
    inner: &'a Inner,
    queue: Arc<Queue>,
    policy: String,
    groups: Groups,
}

impl<'a> Watched<'a> {
    fn begin(inner: &'a Inner) -> Self {
        let queue = Arc::new(Queue::new(STAGE, Limits { events: inner.rules.queue(), bytes: CLIENT_BYTES }));
        inner.fanout.add(Arc::clone(&queue));
        Self { inner, queue, policy: String::new(), groups: Groups::default() }
    }

    /// Counts what is there. False: there is more.
    fn look(&mut self) -> bool {
        for _ in 0..TURN {
            match self.queue.try_pop() {
                Popped::Taken(Taken::Events(batch, range)) => {
                    let taken = Taken::Events(batch, range);
                    taken.events().iter().for_each(|event| self.count(event));
                }
                // What was dropped is counted by the queue.
                Popped::Taken(Taken::Gap(_)) => {}
                Popped::Timeout | Popped::Closed => return true,
            }
        }
        false
    }

    fn count(&mut self, event: &Event) {
        if let EventKind::Hook(hook) = &event.kind
            && hook.hook.policy == self.policy
        {
            self.groups.add(hook);
        }
    }
}

impl Drop for Watched<'_> {
    fn drop(&mut self) {
        self.inner.fanout.remove(&self.queue);
    }
}

/// Runs a trial to its end, or until the client goes.
pub(super) async fn run(trial: Trial, answers: Sender<Result<TryPolicyResponse, Status>>) {
    let Trial { text, time, client, place } = trial;
    let inner = &*place.0;
    let all = &inner.state.policies;
    let mut watched = Watched::begin(inner);
    let key = match all.try_out(text).await {
        Ok(key) => key,
        Err(error) => {
            tracing::warn!(client, "a policy cannot be tried: {error}");
            let _ = answers.send(Err(policies::status(&error))).await;
            return;
        }
    };
    tracing::info!(client, policy = %key, time = ?time, "policy on trial: it only tells");
    watched.policy.clone_from(&key.name);
    let first = TryPolicyResponse { policy: view(&all.views(), &key), ..TryPolicyResponse::default() };
    let mut stays = answers.send(Ok(first)).await.is_ok();
    let end = Instant::now() + time;
    let mut ticks = interval(TICK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    while stays {
        tokio::select! {
            () = answers.closed() => stays = false,
            () = sleep_until(end) => break,
            _ = ticks.tick() => drain(&mut watched).await,
        }
    }
    all.refresh().await;
    let last = view(&all.views(), &key);
    let gone = remove(all, &key).await;
    tracing::info!(client, policy = %key, interrupted = !stays, removed = gone, "trial ended");
    if !stays {
        return;
    }
    let drained = Instant::now() + DRAIN;
    while Instant::now() < drained {
        drain(&mut watched).await;
        ticks.tick().await;
    }
    let dropped = watched.queue.stats().dropped;
    let groups = std::mem::take(&mut watched.groups);
    let answer = TryPolicyResponse {
        policy: last,
        ended: true,
        other_groups_events: groups.others,
        groups: groups.told(),
        dropped,
    };
    let _ = answers.send(Ok(answer)).await;
}

/// Counts all that waits, with turns for others between.
async fn drain(watched: &mut Watched<'_>) {
    while !watched.look() {
        tokio::task::yield_now().await;
    }
}

fn view(views: &[View], key: &Key) -> Option<saker_api::saker_v1::Policy> {
    views.iter().find(|view| view.key == *key).map(policies::own)
}

/// Removes the policy of a trial. Nothing else may hinder it: with too many orders it waits. False: it was gone already, or
/// the agent ends, and all with it.
async fn remove(all: &crate::policies::Policies, key: &Key) -> bool {
    loop {
        match all.delete(key.clone()).await {
            Ok(_) => return true,
            Err(PolicyError::Busy) => tokio::time::sleep(AGAIN).await,
            Err(_) => return false,
        }
    }
}

#[cfg(test)]
mod tests {
    use saker_api::event::HookMore;

    use super::*;
    use crate::testing;

    fn hooked(function: &str) -> HookEvent {
        match &testing::hook("tried", function).kind {
            EventKind::Hook(hook) => hook.clone(),
            _ => panic!("another event"),
        }
    }

    #[test]
    fn events_are_grouped_within_bounds() {
        let mut groups = Groups::default();
        let plain = hooked("f");
        let withheld = |why| {
            let more = HookMore { action_withheld: why, ..HookMore::default() };
            HookEvent { more: more.into(), ..hooked("f") }
        };
        let (withheld, spared) = (withheld("monitor"), withheld("init"));
        for event in [&plain, &withheld, &withheld, &spared] {
            groups.add(event);
        }
        for number in 1..MAX_GROUPS + 3 {
            groups.add(&hooked(&format!("f{number}")));
        }
        assert_eq!((groups.known.len(), groups.others), (MAX_GROUPS, 3));
        let told = groups.told();
        assert_eq!((told[0].hook.as_str(), told[0].events, told[0].would_act), ("f", 4, 2));
        assert_eq!(told[0].action, "KPROBE_ACTION_POST");
        assert_eq!(told.iter().map(|group| group.events).sum::<u64>(), 4 + MAX_GROUPS as u64 - 1);
    }

    #[test]
    fn times_are_bounded() {
        assert!(time(None).is_err() && time(Some(Duration::ZERO)).is_err());
        assert!(time(Some(MAX_TIME + Duration::from_nanos(1))).is_err());
        assert_eq!(time(Some(MAX_TIME)).unwrap(), MAX_TIME);
    }
}

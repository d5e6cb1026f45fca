//! The switch of enforcement, counters of selectors, and trials, over gRPC.

use saker_api::saker_v1::{
    Enforcement, GetEnforcementRequest, ListPoliciesRequest, SetEnforcementRequest, TryPolicyRequest,
};
use saker_api::tetragon::{ListTracingPoliciesRequest, TracingPolicyMode};
use saker_probes::{Enforced, SelectorCounts};

use super::*;
use crate::policies::testing::policy;

type Own = SakerServiceClient<Channel>;

/// A policy that acts, whose selectors have these labels.
fn acting(name: &str, labels: &[&str]) -> String {
    let mut text = policy(name, &["f"]);
    text.push_str("    selectors:\n");
    for label in labels {
        text.push_str(&format!(
            "    - label: {label}\n      matchPIDs: [{{operator: In, values: [7]}}]\n      \
             matchActions: [{{action: Sigkill}}]\n"
        ));
    }
    text
}

fn off(seconds: i64, reason: &str) -> SetEnforcementRequest {
    let duration = Some(prost_types::Duration { seconds, nanos: 0 }).filter(|time| time.seconds != 0);
    SetEnforcementRequest { enforce: false, duration, reason: reason.into() }
}

async fn get(own: &mut Own) -> Enforcement {
    own.get_enforcement(GetEnforcementRequest {}).await.unwrap().into_inner()
}

#[tokio::test]
async fn enforcement_is_switched_at_once_while_a_policy_is_being_loaded() {
    let served = serve(10, 10).await;
    let mut own = SakerServiceClient::new(served.channel().await);
    let kernel = served.world.kernel.clone();
    kernel.with(|memory| {
        memory.patience = Duration::from_secs(2);
        memory.groups.insert(1, Enforced { denied: 3, signalled: 2, withheld: 1 });
    });
    let state = Arc::clone(&served.world.state);
    let loading =
        tokio::spawn(async move { state.policies.add(policy("slow", &["f"]), String::new(), None).await });
    tokio::time::sleep(Duration::from_millis(200)).await;
    let began = Instant::now();
    own.set_enforcement(off(0, "it hurts")).await.unwrap();
    assert_eq!(kernel.with(|memory| memory.off_until), u64::MAX);
    let told = get(&mut own).await;
    assert!(began.elapsed() < Duration::from_secs(1), "it waited: {:?}", began.elapsed());
    let who = format!("pid {}, uid {}, gid ", std::process::id(), rustix::process::geteuid().as_raw());
    assert!(!told.enforcing && told.off_by.starts_with(&who), "{told:?}");
    assert_eq!((told.off_reason.as_str(), told.off_until, told.switched_off), ("it hurts", None, 1));
    let total = told.total.unwrap();
    assert_eq!((total.denied, total.signalled, total.withheld), (3, 2, 1));
    assert_eq!(told.groups[0].counters, Some(total));
    let status = served.world.state.status();
    assert!(status.enforcement.is_some_and(|told| !told.enforcing && told.groups.is_empty()));
    assert!(status.problems.iter().any(|problem| problem.contains("switched off until `saker enforce on`")));
    let text = crate::metrics::render(&served.world.state);
    assert!(text.contains("\nsaker_enforcement_enabled 0\n"), "{text}");
    assert!(text.contains("\nsaker_enforcement_actions_total{outcome=\"denied\"} 3\n"), "{text}");
    own.set_enforcement(SetEnforcementRequest { enforce: true, ..Default::default() }).await.unwrap();
    assert_eq!(kernel.with(|memory| memory.off_until), 0);
    assert!(get(&mut own).await.enforcing);
    loading.await.unwrap().unwrap();
}

#[tokio::test]
async fn wrong_requests_to_the_switch_are_refused() {
    let served = serve(10, 10).await;
    let mut own = SakerServiceClient::new(served.channel().await);
    let on_for = SetEnforcementRequest { enforce: true, ..off(5, "") };
    for request in [off(-5, ""), off(366 * 86_400, ""), off(5, &"x".repeat(201)), on_for] {
        let refused = own.set_enforcement(request.clone()).await.unwrap_err();
        assert_eq!(refused.code(), Code::InvalidArgument, "{request:?}");
    }
    assert!(get(&mut own).await.enforcing);
    own.set_enforcement(off(3600, "")).await.unwrap();
    let told = get(&mut own).await;
    let seconds = |time: Option<prost_types::Timestamp>| time.map(|time| time.seconds).unwrap_or_default();
    assert_eq!(seconds(told.off_until) - seconds(told.off_since), 3600);
}

#[tokio::test]
async fn selectors_are_told_with_labels_and_counters() {
    let served = serve(10, 10).await;
    let mut own = SakerServiceClient::new(served.channel().await);
    served.world.kernel.with(|memory| {
        let first = SelectorCounts { matched: 5, posted: 4, signalled: 3, ..SelectorCounts::default() };
        let second = SelectorCounts { matched: 2, unposted: 2, monitored_signal: 2, ..Default::default() };
        memory.selectors = vec![first, second];
        memory.counts.unposted = 2;
    });
    let adding = served.world.state.policies.add(acting("a", &["shells", "others"]), String::new(), None);
    adding.await.unwrap();
    served.world.load_policy_later("plain").await;
    let mut client = served.compatible().await;
    let listed = client.list_tracing_policies(ListTracingPoliciesRequest::default()).await.unwrap();
    let listed = listed.into_inner().policies;
    let stats = listed[0].stats.as_ref().unwrap();
    assert_eq!(stats.action_counters.as_ref().unwrap().nopost, 2);
    let told: Vec<_> = stats.selector_action_counters.iter().collect();
    assert_eq!(told.len(), 2);
    assert_eq!((told[0].hook.as_str(), told[0].hook_index, told[0].selector_index), ("f", Some(0), Some(0)));
    assert_eq!((told[0].selector_label.as_str(), told[1].selector_label.as_str()), ("shells", "others"));
    let counts = |at: usize| told[at].action_counters.as_ref().unwrap();
    assert_eq!((counts(0).post, counts(0).signal, counts(0).nopost), (4, 3, 0));
    assert_eq!((counts(1).post, counts(1).monitor_signal, counts(1).nopost), (0, 2, 2));
    // A hook without selectors has one that has no place.
    let plain = &listed[1].stats.as_ref().unwrap().selector_action_counters;
    assert_eq!((plain.len(), plain[0].selector_index), (1, None));
    let listed = own.list_policies(ListPoliciesRequest::default()).await.unwrap().into_inner().policies;
    let selector = &listed[0].hooks[0].selectors[1];
    assert_eq!((selector.index, selector.label.as_str(), selector.unposted), (Some(1), "others", 2));
    let text = crate::metrics::render(&served.world.state);
    let value = |action: &str, index: u32, label: &str, count: u64| {
        format!(
            "\ntetragon_tracingpolicy_selector_actions_total{{action=\"{action}\",hook=\"f\",hook_index=\"0\",policy=\"a\",\
             policy_namespace=\"\",selector_index=\"{index}\",selector_label=\"{label}\"}} {count}\n"
        )
    };
    for wanted in
        [value("post", 0, "shells", 4), value("signal", 0, "shells", 3), value("post", 1, "others", 0)]
    {
        assert!(text.contains(&wanted), "{wanted} is not in {text}");
    }
    assert!(!text.contains(&value("override", 0, "shells", 0)), "what never happened is told");
}

fn trial(text: String, milliseconds: i64) -> TryPolicyRequest {
    let nanos = i32::try_from(milliseconds % 1000 * 1_000_000).unwrap();
    let duration = Some(prost_types::Duration { seconds: milliseconds / 1000, nanos });
    TryPolicyRequest { yaml: text, duration }
}

#[tokio::test]
async fn a_trial_only_tells_and_leaves_nothing_behind() {
    let served = serve(1000, 10).await;
    let mut own = SakerServiceClient::new(served.channel().await);
    served.world.kernel.with(|memory| memory.counts.monitored_signal = 9);
    let mut stream = own.try_policy(trial(acting("a", &["x"]), 600)).await.unwrap().into_inner();
    let first = stream.message().await.unwrap().unwrap();
    let shown = first.policy.unwrap();
    assert_eq!((first.ended, shown.mode.as_str(), shown.domain.as_str()), (false, "monitor", "dry-run"));
    assert!(shown.name.starts_with("a-dry-run-"), "{}", shown.name);
    let log = served.world.kernel.log().join(", ");
    assert!(log.contains("which only tells"), "{log}");
    let other = testing::hook("a", "f");
    served.world.publish(vec![testing::hook(&shown.name, "f"), testing::hook(&shown.name, "f"), other]);
    let last = stream.message().await.unwrap().unwrap();
    assert!(last.ended && stream.message().await.unwrap().is_none());
    assert_eq!(
        last.groups.iter().map(|group| (group.hook.as_str(), group.events)).collect::<Vec<_>>(),
        [("f", 2)]
    );
    let counters = last.policy.unwrap().hooks[0].counters.unwrap();
    assert_eq!((counters.monitored_signal, last.dropped, last.other_groups_events), (9, 0, 0));
    assert!(served.world.state.policies.views().is_empty());
    assert!(served.world.fanout.all().iter().all(|queue| queue.stage() != "trial"), "a queue is left");
}

#[tokio::test]
async fn a_trial_ends_with_its_client() {
    let served = serve(1000, 1).await;
    let mut own = SakerServiceClient::new(served.channel().await);
    let mut stream = own.try_policy(trial(acting("a", &["x"]), 3_600_000)).await.unwrap().into_inner();
    stream.message().await.unwrap().unwrap();
    // It has one of the places for clients.
    let refused = own.try_policy(trial(policy("b", &["f"]), 1000)).await.unwrap_err();
    assert_eq!(refused.code(), Code::ResourceExhausted);
    assert_eq!(served.world.state.policies.views().len(), 1);
    drop((stream, own));
    let end = Instant::now() + Duration::from_secs(20);
    while !served.world.state.policies.views().is_empty() {
        assert!(Instant::now() < end, "the policy stays");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert!(served.world.kernel.log().iter().any(|what| what.starts_with("detach")));
}

#[tokio::test]
async fn what_cannot_be_tried_is_refused_and_gone() {
    let served = serve(10, 10).await;
    let mut own = SakerServiceClient::new(served.channel().await);
    served.world.kernel.with(|memory| memory.broken.insert("f".into()));
    for (text, code) in
        [(acting("a", &["x"]), Code::FailedPrecondition), ("kind: [".to_owned(), Code::InvalidArgument)]
    {
        let mut stream = own.try_policy(trial(text, 1000)).await.unwrap().into_inner();
        assert_eq!(stream.message().await.unwrap_err().code(), code);
    }
    let refused = own.try_policy(trial(policy("b", &["g"]), 0)).await.unwrap_err();
    assert_eq!(refused.code(), Code::InvalidArgument);
    assert!(served.world.state.policies.views().is_empty());
    // Nobody else adds to the domain of trials.
    let refused = served.world.state.policies.add(policy("c", &["g"]), "dry-run".into(), None).await;
    assert!(refused.unwrap_err().to_string().contains("policies on trial"));
}

#[tokio::test]
async fn a_replacement_may_bring_its_mode() {
    let served = serve(10, 10).await;
    let mut own = SakerServiceClient::new(served.channel().await);
    let policies = &served.world.state.policies;
    policies.add(acting("a", &["x"]), String::new(), None).await.unwrap();
    let replace = |text: String, mode: Option<TracingPolicyMode>| saker_api::saker_v1::ReplacePolicyRequest {
        yaml: text,
        domain: String::new(),
        mode: mode.map(Into::into),
    };
    let mode = || policies.views()[0].mode.name();
    for (asked, expected) in [
        (None, "enforce"),
        (Some(TracingPolicyMode::TpModeMonitor), "monitor"),
        // It counts for later versions too, as set-mode does.
        (None, "monitor"),
        (Some(TracingPolicyMode::TpModeEnforce), "enforce"),
    ] {
        own.replace_policy(replace(acting("a", &["x"]), asked)).await.unwrap();
        assert_eq!(mode(), expected, "{asked:?}");
    }
    let nothing = replace(policy("a", &["f"]), Some(TracingPolicyMode::TpModeEnforce));
    let refused = own.replace_policy(nothing).await.unwrap_err();
    assert_eq!((refused.code(), mode()), (Code::FailedPrecondition, "enforce"));
}

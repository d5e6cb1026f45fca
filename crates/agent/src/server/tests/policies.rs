//! Policies over gRPC.

use saker_api::saker_v1::{ListPoliciesRequest, ReplacePolicyRequest};
use saker_api::tetragon::{
    AddTracingPolicyRequest, ConfigureTracingPolicyRequest, DeleteTracingPolicyRequest,
    DisableTracingPolicyRequest, EnableTracingPolicyRequest, ListDomainsRequest, ListTracingPoliciesRequest,
    TracingPolicyMode, TracingPolicyState, TracingPolicyStatus,
};

use super::*;
use crate::policies::testing::policy;

type Client = FineGuidanceSensorsClient<Channel>;

async fn add(client: &mut Client, text: &str) -> Result<(), Status> {
    let request = AddTracingPolicyRequest { yaml: text.into(), domain: String::new() };
    client.add_tracing_policy(request).await.map(drop)
}

async fn list(client: &mut Client, domain: &str) -> Vec<TracingPolicyStatus> {
    let request = ListTracingPoliciesRequest { domain: domain.into() };
    client.list_tracing_policies(request).await.unwrap().into_inner().policies
}

fn configure(name: &str) -> ConfigureTracingPolicyRequest {
    ConfigureTracingPolicyRequest { name: name.into(), ..ConfigureTracingPolicyRequest::default() }
}

#[tokio::test]
async fn a_policy_is_added_listed_and_deleted() {
    let served = serve(10, 10).await;
    let mut client = served.compatible().await;
    served.world.kernel.with(|memory| memory.counts.posted = 3);
    add(&mut client, &policy("a", &["f", "g"])).await.unwrap();
    let listed = list(&mut client, "").await;
    let [shown] = listed.as_slice() else { panic!("{listed:?}") };
    assert_eq!((shown.id, shown.name.as_str(), shown.domain.as_str()), (1, "a", "grpc"));
    assert_eq!((shown.state(), shown.enabled), (TracingPolicyState::TpStateEnabled, true));
    assert_eq!((shown.mode(), shown.filter_id), (TracingPolicyMode::TpModeMonitorOnly, 0));
    assert_eq!((shown.sensors.clone(), shown.kernel_memory_bytes), (vec!["generic_kprobe".to_owned()], 2500));
    assert_eq!(shown.stats.as_ref().unwrap().action_counters.as_ref().unwrap().post, 6);
    assert_eq!((shown.info.as_str(), shown.error.as_str()), ("from gRPC", ""));
    assert!(list(&mut client, "static").await.is_empty());
    let domains = client.list_domains(ListDomainsRequest {}).await.unwrap().into_inner().domains;
    assert_eq!(domains, ["grpc"]);
    let refused = add(&mut client, &policy("a", &["f"])).await.unwrap_err();
    assert_eq!(refused.code(), Code::AlreadyExists);
    let request = DeleteTracingPolicyRequest { name: "a".into(), ..DeleteTracingPolicyRequest::default() };
    client.delete_tracing_policy(request.clone()).await.unwrap();
    let refused = client.delete_tracing_policy(request).await.unwrap_err();
    assert_eq!((refused.code(), refused.message()), (Code::NotFound, "there is no policy a (domain grpc)"));
    assert!(list(&mut client, "").await.is_empty());
}

#[tokio::test]
async fn what_cannot_be_loaded_is_an_error_with_the_reason() {
    let served = serve(10, 10).await;
    let mut client = served.compatible().await;
    let refused = add(&mut client, "kind: [").await.unwrap_err();
    assert_eq!(refused.code(), Code::InvalidArgument);
    served.world.kernel.with(|memory| memory.unknown.insert("g".into()));
    let refused = add(&mut client, &policy("a", &["f", "g"])).await.unwrap_err();
    assert_eq!(refused.code(), Code::FailedPrecondition);
    assert!(refused.message().contains("this kernel has no g"), "{}", refused.message());
    let listed = list(&mut client, "grpc").await;
    assert_eq!(listed[0].state(), TracingPolicyState::TpStateLoadError);
    assert!(listed[0].error.contains("this kernel has no g") && !listed[0].enabled);
    let problems = served.world.state.status().problems.join("\n");
    assert!(
        problems.contains("the policy a (gRPC) is not in force: 10:5: spec.kprobes[1].call"),
        "{problems}"
    );
    let request = AddTracingPolicyRequest { yaml: policy("a", &["f"]), domain: "sensors".into() };
    let refused = client.add_tracing_policy(request).await.unwrap_err();
    assert_eq!(refused.code(), Code::InvalidArgument);
}

#[tokio::test]
async fn policies_are_enabled_and_disabled_and_modes_are_not_promised() {
    let served = serve(10, 10).await;
    let mut client = served.compatible().await;
    add(&mut client, &policy("a", &["f"])).await.unwrap();
    let request = ConfigureTracingPolicyRequest { enable: Some(false), ..configure("a") };
    client.configure_tracing_policy(request).await.unwrap();
    assert_eq!(list(&mut client, "").await[0].state(), TracingPolicyState::TpStateDisabled);
    let enforce = ConfigureTracingPolicyRequest {
        enable: Some(true),
        mode: Some(TracingPolicyMode::TpModeEnforce.into()),
        ..configure("a")
    };
    let refused = client.configure_tracing_policy(enforce).await.unwrap_err();
    assert_eq!(refused.code(), Code::FailedPrecondition);
    assert_eq!(list(&mut client, "").await[0].state(), TracingPolicyState::TpStateDisabled);
    let monitor = ConfigureTracingPolicyRequest {
        enable: Some(true),
        mode: Some(TracingPolicyMode::TpModeMonitor.into()),
        ..configure("a")
    };
    client.configure_tracing_policy(monitor).await.unwrap();
    let only = TracingPolicyMode::TpModeMonitorOnly.into();
    for mode in [only, 77] {
        let request = ConfigureTracingPolicyRequest { mode: Some(mode), ..configure("a") };
        let refused = client.configure_tracing_policy(request).await.unwrap_err();
        assert_eq!(refused.code(), Code::InvalidArgument, "{mode}");
    }
    let refused = client.configure_tracing_policy(configure("b")).await.unwrap_err();
    assert_eq!(refused.code(), Code::NotFound);
    let disable = DisableTracingPolicyRequest { name: "a".into(), ..Default::default() };
    let refused = client.disable_tracing_policy(disable.clone()).await.unwrap_err();
    assert_eq!(refused.code(), Code::FailedPrecondition);
    assert!(refused.message().contains("enable-deprecated-tracingpolicy-grpc"), "{refused}");
    served.service.reconfigure(&Server { deprecated: true, ..rules(10, 10, false) }, Vec::new());
    client.disable_tracing_policy(disable).await.unwrap();
    assert!(!list(&mut client, "").await[0].enabled);
    let enable = EnableTracingPolicyRequest { name: "a".into(), ..Default::default() };
    client.enable_tracing_policy(enable).await.unwrap();
    assert!(list(&mut client, "").await[0].enabled);
}

#[tokio::test]
async fn a_replacement_is_one_call_and_hooks_are_told_with_their_counters() {
    let served = serve(10, 10).await;
    let mut client = served.compatible().await;
    let mut own = SakerServiceClient::new(served.channel().await);
    let replacement =
        |functions: &[&str]| ReplacePolicyRequest { yaml: policy("a", functions), ..Default::default() };
    let refused = own.replace_policy(replacement(&["f"])).await.unwrap_err();
    assert_eq!(refused.code(), Code::NotFound);
    add(&mut client, &policy("a", &["f"])).await.unwrap();
    served.world.kernel.log();
    own.replace_policy(replacement(&["f", "g"])).await.unwrap();
    assert_eq!(served.world.kernel.log(), ["text 3", "attach 3", "detach 2"]);
    served.world.kernel.with(|memory| {
        memory.broken.insert("h".into());
        (memory.counts.calls, memory.counts.lost) = (9, 4);
    });
    let refused = own.replace_policy(replacement(&["h"])).await.unwrap_err();
    assert_eq!(refused.code(), Code::FailedPrecondition);
    let request = ListPoliciesRequest { domain: "grpc".into() };
    let listed = own.list_policies(request).await.unwrap().into_inner().policies;
    assert_eq!((listed[0].state.as_str(), listed[0].mode.as_str()), ("enabled", "monitor_only"));
    let hook = &listed[0].hooks[1];
    assert_eq!(
        (hook.function.as_str(), hook.mechanism.as_str(), hook.state.as_str()),
        ("g", "fentry", "loaded")
    );
    assert_eq!(hook.counters.map(|counters| (counters.calls, counters.lost)), Some((9, 4)));
    let status = served.world.state.status();
    assert_eq!(status.policies, listed);
    let problems = status.problems.join("\n");
    assert!(problems.contains("4 records of spec.kprobes[1] g of the policy a were lost"), "{problems}");
}

#[tokio::test]
async fn partially_enabled_policies_tell_which_hook() {
    let served = serve(10, 10).await;
    let mut client = served.compatible().await;
    served.world.kernel.with(|memory| memory.missing.push("not_here".into()));
    add(&mut client, &policy("a", &["f"])).await.unwrap();
    let shown = list(&mut client, "").await.remove(0);
    assert_eq!(shown.state(), TracingPolicyState::TpStatePartiallyEnabled);
    let hook = &shown.hook_statuses[0];
    assert_eq!((hook.section.as_str(), hook.hook_idx), ("kprobes", 0));
    assert!(hook.hook_description.contains("not_here"), "{}", hook.hook_description);
}

/// Serves at an address too.
async fn over_tcp(world: &World, changes: bool) -> (Client, watch::Sender<bool>) {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let address = listener.local_addr().unwrap();
    let (stop, stopping) = watch::channel(false);
    tokio::spawn(
        service(world, 10, 10, changes)
            .serve(Listeners { tcp: Some(listener), ..Listeners::default() }, stopping),
    );
    let channel = Endpoint::from_shared(format!("http://{address}")).unwrap().connect().await.unwrap();
    (FineGuidanceSensorsClient::new(channel), stop)
}

#[tokio::test]
async fn changes_come_through_the_socket_unless_allowed() {
    let world = World::new();
    let (mut client, _stop) = over_tcp(&world, false).await;
    let refused = add(&mut client, &policy("a", &["f"])).await.unwrap_err();
    assert_eq!(refused.code(), Code::PermissionDenied);
    let delete = DeleteTracingPolicyRequest { name: "a".into(), ..Default::default() };
    let refused = [
        client.delete_tracing_policy(delete).await.unwrap_err(),
        client.configure_tracing_policy(configure("a")).await.unwrap_err(),
        client.enable_tracing_policy(EnableTracingPolicyRequest::default()).await.unwrap_err(),
        client.disable_tracing_policy(DisableTracingPolicyRequest::default()).await.unwrap_err(),
    ];
    assert!(refused.iter().all(|status| status.code() == Code::PermissionDenied), "{refused:?}");
    assert!(list(&mut client, "").await.is_empty(), "looking is allowed");
    let (mut client, _stop) = over_tcp(&world, true).await;
    add(&mut client, &policy("a", &["f"])).await.unwrap();
}

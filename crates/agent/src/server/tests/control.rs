//! Calls that are about the agent itself.

use saker_api::tetragon::event_log_service_client::EventLogServiceClient;
use saker_api::tetragon::{
    ConfigFlag, CreateContainer, DisableSensorRequest, EnableSensorRequest, GetDebugRequest,
    GetEventLogParamsRequest, ListSensorsRequest, LogLevel, RemoveSensorRequest, RuntimeHookRequest,
    SetDebugRequest, SetEventLogParamsRequest, get_debug_response, runtime_hook_request, set_debug_request,
};

use super::*;

#[tokio::test]
async fn rotation_of_the_export_is_read_and_changed() {
    let served = serve(10, 10).await;
    let mut client = EventLogServiceClient::new(served.channel().await);
    let read = client.get_event_log_params(GetEventLogParamsRequest {}).await.unwrap().into_inner();
    assert_eq!((read.max_size, read.max_backups, read.rotation_interval.as_str()), (0, 0, "0s"));
    let request = SetEventLogParamsRequest {
        max_size: Some(7),
        rotation_interval: Some("1.5h".into()),
        ..SetEventLogParamsRequest::default()
    };
    client.set_event_log_params(request).await.unwrap();
    let request = SetEventLogParamsRequest { max_backups: Some(2), ..SetEventLogParamsRequest::default() };
    client.set_event_log_params(request).await.unwrap();
    let read = client.get_event_log_params(GetEventLogParamsRequest {}).await.unwrap().into_inner();
    assert_eq!((read.max_size, read.max_backups, read.rotation_interval.as_str()), (7, 2, "1h30m0s"));
    let wrong = SetEventLogParamsRequest { max_size: Some(-1), ..SetEventLogParamsRequest::default() };
    let refused = client.set_event_log_params(wrong).await.unwrap_err();
    assert_eq!(refused.code(), Code::InvalidArgument);
    assert_eq!(client.get_event_log_params(GetEventLogParamsRequest {}).await.unwrap().into_inner(), read);
}

#[tokio::test]
async fn without_an_export_there_is_no_rotation() {
    let served = serve_world(World::without_sinks(), 10, 10).await;
    let mut client = EventLogServiceClient::new(served.channel().await);
    let refused = client.get_event_log_params(GetEventLogParamsRequest {}).await.unwrap_err();
    assert_eq!(refused.code(), Code::FailedPrecondition);
    let refused = client.set_event_log_params(SetEventLogParamsRequest::default()).await.unwrap_err();
    assert_eq!(refused.code(), Code::FailedPrecondition);
    assert!(refused.message().contains("export-filename"), "{refused}");
}

#[tokio::test]
async fn the_log_level_is_read_and_set() {
    let served = serve(10, 10).await;
    let mut client = served.compatible().await;
    let level = |arg: Option<get_debug_response::Arg>| match arg {
        Some(get_debug_response::Arg::Level(level)) => LogLevel::try_from(level).unwrap(),
        other => panic!("{other:?}"),
    };
    let flag = ConfigFlag::LogLevel.into();
    for wanted in [LogLevel::Debug, LogLevel::Info] {
        let arg = Some(set_debug_request::Arg::Level(wanted.into()));
        client.set_debug(SetDebugRequest { flag, arg }).await.unwrap();
        let told = client.get_debug(GetDebugRequest { flag, arg: None }).await.unwrap().into_inner();
        assert_eq!((told.flag(), level(told.arg)), (ConfigFlag::LogLevel, wanted));
    }
    let wrong = [
        SetDebugRequest { flag, arg: None },
        SetDebugRequest { flag, arg: Some(set_debug_request::Arg::Level(99)) },
        SetDebugRequest { flag: ConfigFlag::DumpProcessCache.into(), arg: None },
        SetDebugRequest { flag: 7, arg: None },
    ];
    for request in wrong {
        let refused = client.set_debug(request).await.unwrap_err();
        assert_eq!(refused.code(), Code::InvalidArgument, "{refused}");
    }
    let refused = client.get_debug(GetDebugRequest { flag: 7, arg: None }).await.unwrap_err();
    assert_eq!(refused.code(), Code::InvalidArgument);
}

#[tokio::test]
async fn sensors_are_no_more() {
    let served = serve(10, 10).await;
    let mut client = served.compatible().await;
    let refused = [
        client.list_sensors(ListSensorsRequest {}).await.unwrap_err(),
        client.enable_sensor(EnableSensorRequest::default()).await.unwrap_err(),
        client.disable_sensor(DisableSensorRequest::default()).await.unwrap_err(),
        client.remove_sensor(RemoveSensorRequest::default()).await.unwrap_err(),
    ];
    assert!(refused.iter().all(|status| status.code() == Code::Unimplemented), "{refused:?}");
}

/// Nobody follows containers here, so that what a usable hook tells has no effect.
#[tokio::test]
async fn hooks_of_runtimes_are_answered_and_failures_are_for_the_log() {
    let served = serve(10, 10).await;
    let mut client = served.compatible().await;
    let refused = client.runtime_hook(RuntimeHookRequest::default()).await.unwrap_err();
    assert_eq!(refused.code(), Code::InvalidArgument);
    let id = "a".repeat(64);
    let hook = |container| RuntimeHookRequest {
        event: Some(runtime_hook_request::Event::CreateContainer(container)),
    };
    let told = CreateContainer {
        cgroups_path: format!("/kubepods/{id}"),
        container_id: id.clone(),
        ..CreateContainer::default()
    };
    client.runtime_hook(hook(told.clone())).await.unwrap();
    let others = CreateContainer { cgroups_path: "/system.slice".into(), ..told };
    let refused = client.runtime_hook(hook(others)).await.unwrap_err();
    assert_eq!(refused.code(), Code::InvalidArgument);
    assert!(refused.message().contains("log_id="), "{refused}");
    assert!(!refused.message().contains("system.slice"), "{refused}");
    let hooked = &served.world.state.hooked;
    let counts = [&hooked.done, &hooked.failed].map(|count| count.load(Ordering::Relaxed));
    assert_eq!(counts, [1, 1]);
}

#[tokio::test]
async fn limits_of_clients_change_while_they_are_served() {
    let served = serve(10, 1).await;
    let mut client = served.compatible().await;
    let _first = client.get_events(GetEventsRequest::default()).await.unwrap();
    let refused = client.get_events(GetEventsRequest::default()).await.unwrap_err();
    assert_eq!(refused.code(), Code::ResourceExhausted);
    let options = vec![("log-level".to_owned(), "debug".to_owned())];
    served.service.reconfigure(&rules(10, 2, false), options);
    let _second = client.get_events(GetEventsRequest::default()).await.unwrap();
    let info = client.get_info(GetInfoRequest {}).await.unwrap().into_inner();
    assert_eq!(info.conf.len(), 1);
}

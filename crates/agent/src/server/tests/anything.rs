//! Any bytes as requests: what can be read is answered, nobody panics, and the policies stay few.

use proptest::prelude::*;
use prost::Message;
use saker_api::tetragon::event_log_service_server::EventLogService;
use saker_api::tetragon::fine_guidance_sensors_server::FineGuidanceSensors;
use saker_api::{saker_v1, tetragon as api};
use tokio::runtime::Runtime;

use super::*;
use crate::server::connections::Peer;

/// A request from somebody who may change things.
fn asked<T>(message: T) -> Request<T> {
    let mut request = Request::new(message);
    request.extensions_mut().insert(Peer::Certified(None, "a certificate".into()));
    request
}

/// Bytes that are often the fields of a message.
fn fields() -> impl Strategy<Value = Vec<u8>> {
    let text = prop_oneof![
        "[a-z/.*:{}\\[\\]-]{0,24}",
        Just(crate::policies::testing::policy("a", &["f"])),
        Just("a".to_owned()),
    ];
    let text = (1..12_u8, text).prop_map(|(number, text)| {
        let mut bytes = vec![number << 3 | 2];
        prost::encoding::encode_varint(text.len() as u64, &mut bytes);
        bytes.extend(text.bytes());
        bytes
    });
    let number = (1..12_u8, any::<u64>()).prop_map(|(number, value)| {
        let mut bytes = vec![number << 3];
        prost::encoding::encode_varint(value, &mut bytes);
        bytes
    });
    let small = (1..12_u8, 0..12_u8).prop_map(|(number, value)| vec![number << 3, value]);
    let inner = prop_oneof![text, number, small];
    let nested = (1..12_u8, prop::collection::vec(inner.clone(), 0..6)).prop_map(|(number, fields)| {
        let fields = fields.concat();
        let mut bytes = vec![number << 3 | 2];
        prost::encoding::encode_varint(fields.len() as u64, &mut bytes);
        bytes.extend(fields);
        bytes
    });
    let raw = prop::collection::vec(any::<u8>(), 0..64);
    prop::collection::vec(prop_oneof![4 => inner, 2 => nested, 1 => raw], 0..8).prop_map(|all| all.concat())
}

/// Reads a request and has it answered, if it is one.
macro_rules! answer {
    ($service:expr, $runtime:expr, $bytes:expr, $($message:ty => $call:path),* $(,)?) => {
        $(if let Ok(message) = <$message>::decode($bytes) {
            let _ = $runtime.block_on($call($service, asked(message))).map(drop);
        })*
    };
}

#[test]
fn any_request_is_answered() {
    let world = World::new();
    let service = service(&world, 10, 4, false);
    let runtime = Runtime::new().unwrap();
    let mut runner = proptest::test_runner::TestRunner::new(ProptestConfig::with_cases(400));
    let outcome = runner.run(&fields(), |bytes| {
        let bytes = bytes.as_slice();
        answer!(&service, runtime, bytes,
            api::GetEventsRequest => FineGuidanceSensors::get_events,
            api::GetHealthStatusRequest => FineGuidanceSensors::get_health,
            api::AddTracingPolicyRequest => FineGuidanceSensors::add_tracing_policy,
            api::ListTracingPoliciesRequest => FineGuidanceSensors::list_tracing_policies,
            api::ConfigureTracingPolicyRequest => FineGuidanceSensors::configure_tracing_policy,
            api::EnableTracingPolicyRequest => FineGuidanceSensors::enable_tracing_policy,
            api::DisableTracingPolicyRequest => FineGuidanceSensors::disable_tracing_policy,
            api::RuntimeHookRequest => FineGuidanceSensors::runtime_hook,
            api::DeleteTracingPolicyRequest => FineGuidanceSensors::delete_tracing_policy,
            api::SetEventLogParamsRequest => EventLogService::set_event_log_params,
            saker_v1::ReplacePolicyRequest => saker_v1::saker_service_server::SakerService::replace_policy,
            saker_v1::AddPolicyRequest => saker_v1::saker_service_server::SakerService::add_policy,
            saker_v1::SetEnforcementRequest => saker_v1::saker_service_server::SakerService::set_enforcement,
            saker_v1::SetSelfProtectionRequest => saker_v1::saker_service_server::SakerService::set_self_protection,
        );
        // Those that change the level of this process's log, or wait for an engine, are only read.
        let _ = (api::SetDebugRequest::decode(bytes), api::GetDebugRequest::decode(bytes));
        prop_assert!(service.inner.clients.load(Ordering::Relaxed) == 0, "a stream that is gone has its place");
        Ok(())
    });
    outcome.unwrap();
    assert!(world.state.policies.views().len() <= 8);
}

//! The service that clients of Tetragon know.

use std::collections::BTreeSet;
use std::sync::PoisonError;
use std::sync::atomic::Ordering;

use prost::{EncodeError, Message};
use prost_types::{Any, ListValue, Value, value};
use saker_api::filter::Subscription;
use saker_api::tetragon::fine_guidance_sensors_server::FineGuidanceSensors;
use saker_api::tetragon::{self as api, HealthStatus, HealthStatusResult, HealthStatusType};
use saker_api::wire::EncodedEvent;
use saker_export::Form;
use tonic::codegen::BoxStream;
use tonic::{Request, Response, Status};

use super::{Service, client_of, policies};
use crate::config::{self, Kind};
use crate::vitals::Health;

pub(super) type Answer<T> = Result<Response<T>, Status>;

/// Sensors are parts of policies: Tetragon's calls for them are deprecated and always fail.
fn no_sensors<T>() -> Answer<T> {
    Err(Status::unimplemented(
        "the calls for sensors are deprecated: sensors are listed with their policies by ListTracingPolicies, and \
         ConfigureTracingPolicy and DeleteTracingPolicy are for policies",
    ))
}

impl Service {
    /// Refuses a deprecated call unless the configuration allows it.
    fn deprecated(&self, call: &str) -> Result<(), Status> {
        if self.inner.rules.deprecated.load(Ordering::Relaxed) {
            return Ok(());
        }
        Err(Status::failed_precondition(format!(
            "{call} is deprecated: use ConfigureTracingPolicy, or allow it by the option \
             enable-deprecated-tracingpolicy-grpc"
        )))
    }
}

/// The value of an option in the type of its kind. What is no value of its kind stays a text.
fn typed(name: &str, text: &str) -> Result<Any, EncodeError> {
    let trimmed = text.trim();
    match config::find(name).map(|option| option.kind) {
        Some(Kind::Switch) => match config::switch(trimmed) {
            Ok(on) => Any::from_msg(&on),
            Err(_) => Any::from_msg(&text.to_owned()),
        },
        Some(Kind::Count | Kind::Limit) => match trimmed.parse::<i64>() {
            Ok(number) => Any::from_msg(&number),
            Err(_) => Any::from_msg(&text.to_owned()),
        },
        Some(Kind::List) => {
            let word = |word| Value { kind: Some(value::Kind::StringValue(word)) };
            let values = config::list(text).into_iter().map(word).collect();
            Ok(Any {
                type_url: "type.googleapis.com/google.protobuf.ListValue".into(),
                value: ListValue { values }.encode_to_vec(),
            })
        }
        _ => Any::from_msg(&text.to_owned()),
    }
}

#[tonic::async_trait]
impl FineGuidanceSensors for Service {
    async fn get_events(&self, request: Request<api::GetEventsRequest>) -> Answer<BoxStream<EncodedEvent>> {
        let wanted = Subscription::compile(request.get_ref(), &self.inner.offered)?;
        let events = self.subscribe(client_of(&request), wanted, Form::Compatible)?;
        Ok(Response::new(Box::pin(events) as _))
    }

    async fn get_health(
        &self,
        _: Request<api::GetHealthStatusRequest>,
    ) -> Answer<api::GetHealthStatusResponse> {
        let health = self.inner.state.vitals.health();
        let status = match &health {
            Health::Running => HealthStatusResult::HealthStatusRunning,
            Health::Starting | Health::Stopping => HealthStatusResult::HealthStatusStopped,
            Health::Failing(_) => HealthStatusResult::HealthStatusError,
        };
        let health = HealthStatus {
            event: HealthStatusType::Status.into(),
            status: status.into(),
            details: health.text().into(),
        };
        Ok(Response::new(api::GetHealthStatusResponse { health_status: vec![health] }))
    }

    async fn get_version(&self, _: Request<api::GetVersionRequest>) -> Answer<api::GetVersionResponse> {
        Ok(Response::new(api::GetVersionResponse { version: crate::VERSION.into() }))
    }

    async fn get_info(&self, _: Request<api::GetInfoRequest>) -> Answer<api::GetInfoResponse> {
        let features = tokio::task::spawn_blocking(self.inner.probes).await;
        let features = features.map_err(|error| Status::internal(error.to_string()))?;
        let probe = |(name, enabled): (String, bool)| api::Probe { name, enabled: Some(enabled) };
        let conf = |(key, text): &(String, String)| {
            let value = typed(key, text).map_err(|error| Status::internal(error.to_string()))?;
            Ok(api::ConfVal { key: key.clone(), value: Some(value) })
        };
        let options = self.inner.options.read().unwrap_or_else(PoisonError::into_inner).clone();
        Ok(Response::new(api::GetInfoResponse {
            version: crate::VERSION.into(),
            name: "saker".into(),
            probes: features.into_iter().map(probe).collect(),
            conf: options.iter().map(conf).collect::<Result<_, Status>>()?,
            build: Some(api::BuildInfo {
                // The field is named after the peer's compiler; clients show it as what it was built with.
                go_version: crate::COMPILER.into(),
                commit: crate::COMMIT.into(),
                time: crate::COMMIT_TIME.into(),
                modified: crate::MODIFIED.into(),
            }),
        }))
    }

    async fn add_tracing_policy(
        &self,
        request: Request<api::AddTracingPolicyRequest>,
    ) -> Answer<api::AddTracingPolicyResponse> {
        let client = self.may_change(&request)?;
        let api::AddTracingPolicyRequest { yaml, domain } = request.into_inner();
        let outcome = self.policies().add(yaml, domain, None).await;
        policies::done(&client, "add", outcome, api::AddTracingPolicyResponse {})
    }

    async fn delete_tracing_policy(
        &self,
        request: Request<api::DeleteTracingPolicyRequest>,
    ) -> Answer<api::DeleteTracingPolicyResponse> {
        let client = self.may_change(&request)?;
        let api::DeleteTracingPolicyRequest { name, namespace, domain } = request.into_inner();
        let outcome = self.policies().delete(policies::key(name, namespace, &domain)?).await;
        policies::done(&client, "delete", outcome, api::DeleteTracingPolicyResponse {})
    }

    async fn list_tracing_policies(
        &self,
        request: Request<api::ListTracingPoliciesRequest>,
    ) -> Answer<api::ListTracingPoliciesResponse> {
        let views = self.views(&request.into_inner().domain).await;
        let policies = views.iter().map(policies::compatible).collect();
        Ok(Response::new(api::ListTracingPoliciesResponse { policies }))
    }

    async fn configure_tracing_policy(
        &self,
        request: Request<api::ConfigureTracingPolicyRequest>,
    ) -> Answer<api::ConfigureTracingPolicyResponse> {
        let client = self.may_change(&request)?;
        let mode = request.get_ref().mode.map(|_| policies::mode(request.get_ref().mode())).transpose()?;
        let api::ConfigureTracingPolicyRequest { name, namespace, enable, domain, .. } = request.into_inner();
        let key = policies::key(name, namespace, &domain)?;
        let outcome = self.policies().configure(key, enable, mode).await;
        policies::done(&client, "configure", outcome, api::ConfigureTracingPolicyResponse {})
    }

    async fn enable_tracing_policy(
        &self,
        request: Request<api::EnableTracingPolicyRequest>,
    ) -> Answer<api::EnableTracingPolicyResponse> {
        let client = self.may_change(&request)?;
        self.deprecated("EnableTracingPolicy")?;
        let api::EnableTracingPolicyRequest { name, namespace, domain } = request.into_inner();
        let key = policies::key(name, namespace, &domain)?;
        let outcome = self.policies().configure(key, Some(true), None).await;
        policies::done(&client, "enable", outcome, api::EnableTracingPolicyResponse {})
    }

    async fn disable_tracing_policy(
        &self,
        request: Request<api::DisableTracingPolicyRequest>,
    ) -> Answer<api::DisableTracingPolicyResponse> {
        let client = self.may_change(&request)?;
        self.deprecated("DisableTracingPolicy")?;
        let api::DisableTracingPolicyRequest { name, namespace, domain } = request.into_inner();
        let key = policies::key(name, namespace, &domain)?;
        let outcome = self.policies().configure(key, Some(false), None).await;
        policies::done(&client, "disable", outcome, api::DisableTracingPolicyResponse {})
    }

    async fn list_sensors(&self, _: Request<api::ListSensorsRequest>) -> Answer<api::ListSensorsResponse> {
        no_sensors()
    }

    async fn enable_sensor(&self, _: Request<api::EnableSensorRequest>) -> Answer<api::EnableSensorResponse> {
        no_sensors()
    }

    async fn disable_sensor(
        &self,
        _: Request<api::DisableSensorRequest>,
    ) -> Answer<api::DisableSensorResponse> {
        no_sensors()
    }

    async fn remove_sensor(&self, _: Request<api::RemoveSensorRequest>) -> Answer<api::RemoveSensorResponse> {
        no_sensors()
    }

    async fn list_domains(&self, _: Request<api::ListDomainsRequest>) -> Answer<api::ListDomainsResponse> {
        let domains: BTreeSet<_> = self.policies().views().into_iter().map(|view| view.key.domain).collect();
        Ok(Response::new(api::ListDomainsResponse { domains: domains.into_iter().collect() }))
    }

    async fn runtime_hook(
        &self,
        request: Request<api::RuntimeHookRequest>,
    ) -> Answer<api::RuntimeHookResponse> {
        self.hooked(request).await
    }

    async fn get_debug(&self, request: Request<api::GetDebugRequest>) -> Answer<api::GetDebugResponse> {
        self.debug(request).await
    }

    async fn set_debug(&self, request: Request<api::SetDebugRequest>) -> Answer<api::SetDebugResponse> {
        self.change_debug(&request)
    }
}

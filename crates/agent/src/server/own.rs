//! The service that tells everything.

use saker_api::filter::Subscription;
use saker_api::saker_v1::saker_service_server::SakerService;
use saker_api::saker_v1::{
    AddPolicyRequest, AddPolicyResponse, Enforcement, GetEnforcementRequest, GetEventsRequest,
    GetMetricsRequest, GetMetricsResponse, GetStatusRequest, GetStatusResponse, ListPoliciesRequest,
    ListPoliciesResponse, ReplacePolicyRequest, ReplacePolicyResponse, SetEnforcementRequest,
    SetEnforcementResponse, SetSelfProtectionRequest, SetSelfProtectionResponse, TryPolicyRequest,
    TryPolicyResponse,
};
use saker_api::wire::EncodedEvent;
use saker_export::Form;
use std::sync::Arc;

use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::codegen::BoxStream;
use tonic::{Request, Response, Status};

use super::{Place, Service, client_of, enforcement, policies, protection, trial};

#[tonic::async_trait]
impl SakerService for Service {
    async fn get_events(
        &self,
        request: Request<GetEventsRequest>,
    ) -> Result<Response<BoxStream<EncodedEvent>>, Status> {
        let label = client_of(&request);
        let wanted = Subscription::compile_own(request.into_inner(), &self.inner.offered)?;
        let events = self.subscribe(label, wanted, Form::Own)?;
        Ok(Response::new(Box::pin(events) as _))
    }

    async fn get_status(&self, _: Request<GetStatusRequest>) -> Result<Response<GetStatusResponse>, Status> {
        self.inner.state.refresh().await;
        Ok(Response::new(self.inner.state.status()))
    }

    async fn get_metrics(
        &self,
        _: Request<GetMetricsRequest>,
    ) -> Result<Response<GetMetricsResponse>, Status> {
        self.inner.state.refresh().await;
        Ok(Response::new(GetMetricsResponse { text: crate::metrics::render(&self.inner.state) }))
    }

    async fn list_policies(
        &self,
        request: Request<ListPoliciesRequest>,
    ) -> Result<Response<ListPoliciesResponse>, Status> {
        let views = self.views(&request.into_inner().domain).await;
        let policies = views.iter().map(policies::own).collect();
        Ok(Response::new(ListPoliciesResponse { policies }))
    }

    async fn replace_policy(
        &self,
        request: Request<ReplacePolicyRequest>,
    ) -> Result<Response<ReplacePolicyResponse>, Status> {
        let client = self.may_change(&request)?;
        let mode = request.get_ref().mode.map(|_| policies::mode(request.get_ref().mode())).transpose()?;
        let ReplacePolicyRequest { yaml, domain, .. } = request.into_inner();
        let outcome = self.policies().replace(yaml, domain, mode).await;
        policies::done(&client, "replace", outcome, ReplacePolicyResponse {})
    }

    async fn add_policy(
        &self,
        request: Request<AddPolicyRequest>,
    ) -> Result<Response<AddPolicyResponse>, Status> {
        let client = self.may_change(&request)?;
        let mode = request.get_ref().mode.map(|_| policies::mode(request.get_ref().mode())).transpose()?;
        let AddPolicyRequest { yaml, domain, .. } = request.into_inner();
        let outcome = self.policies().add(yaml, domain, mode).await;
        policies::done(&client, "add", outcome, AddPolicyResponse {})
    }

    async fn try_policy(
        &self,
        request: Request<TryPolicyRequest>,
    ) -> Result<Response<BoxStream<TryPolicyResponse>>, Status> {
        let client = self.may_change(&request)?;
        let TryPolicyRequest { yaml, duration } = request.into_inner();
        let time = trial::time(enforcement::time(duration)?)?;
        let place = Place::take(&self.inner).ok_or_else(|| self.no_place())?;
        let (answers, told) = mpsc::channel(2);
        // A task of its own: whatever becomes of this call, the policy is removed.
        tokio::spawn(trial::run(trial::Trial { text: yaml, time, client, place }, answers));
        Ok(Response::new(Box::pin(ReceiverStream::new(told)) as _))
    }

    async fn get_enforcement(
        &self,
        _: Request<GetEnforcementRequest>,
    ) -> Result<Response<Enforcement>, Status> {
        let switch = Arc::clone(self.policies().enforcement());
        let looked = tokio::task::spawn_blocking(move || {
            let groups = switch.groups()?.into_iter().map(enforcement::group).collect();
            anyhow::Ok(Enforcement { groups, ..enforcement::told(&switch) })
        });
        let looked = looked.await.map_err(|error| Status::internal(error.to_string()))?;
        let failed = |error: anyhow::Error| {
            Status::unavailable(format!("what policies did cannot be read: {error:#}"))
        };
        Ok(Response::new(looked.map_err(failed)?))
    }

    async fn set_enforcement(
        &self,
        request: Request<SetEnforcementRequest>,
    ) -> Result<Response<SetEnforcementResponse>, Status> {
        self.may_change(&request)?;
        let by = enforcement::asker_of(&request);
        let SetEnforcementRequest { enforce, duration, reason } = request.into_inner();
        let time = enforcement::time(duration)?;
        if enforce && time.is_some() {
            return Err(Status::invalid_argument("a duration is of an enforcement that is off"));
        }
        let switch = self.policies().enforcement();
        let outcome = if enforce {
            switch.switch_on(&by, &reason)
        } else {
            switch.switch_off(time, &by, &reason).map(drop)
        };
        outcome.map_err(|error| {
            tracing::warn!(by, enforce, "enforcement is not switched: {error}");
            enforcement::status(&error)
        })?;
        Ok(Response::new(SetEnforcementResponse {}))
    }

    async fn set_self_protection(
        &self,
        request: Request<SetSelfProtectionRequest>,
    ) -> Result<Response<SetSelfProtectionResponse>, Status> {
        let by = protection::operator(&request)?;
        let SetSelfProtectionRequest { protect, duration, reason } = request.into_inner();
        let outcome = match (protect, enforcement::time(duration)?) {
            (true, None) => self.inner.state.protection.restore(&by, &reason),
            (false, Some(time)) => self.inner.state.protection.lift(time, &by, &reason).map(drop),
            _ => {
                return Err(Status::invalid_argument(
                    "a duration is of protection that is lifted, and must be there",
                ));
            }
        };
        outcome.map_err(|error| {
            tracing::warn!(by, protect, "self-protection is not changed: {error}");
            protection::status(&error)
        })?;
        Ok(Response::new(SetSelfProtectionResponse {}))
    }
}

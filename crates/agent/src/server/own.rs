//! The service that tells everything.

use saker_api::saker_v1::saker_service_server::SakerService;
use saker_api::saker_v1::{
    AddPolicyRequest, AddPolicyResponse, GetStatusRequest, GetStatusResponse, ListPoliciesRequest,
    ListPoliciesResponse, ReplacePolicyRequest, ReplacePolicyResponse,
};
use saker_api::tetragon::GetEventsRequest;
use saker_api::wire::EncodedEvent;
use saker_export::Form;
use tonic::codegen::BoxStream;
use tonic::{Request, Response, Status};

use super::{Service, policies};

#[tonic::async_trait]
impl SakerService for Service {
    async fn get_events(
        &self,
        request: Request<GetEventsRequest>,
    ) -> Result<Response<BoxStream<EncodedEvent>>, Status> {
        self.subscribe(&request, Form::Own).map(|events| Response::new(Box::pin(events) as _))
    }

    async fn get_status(&self, _: Request<GetStatusRequest>) -> Result<Response<GetStatusResponse>, Status> {
        self.inner.state.refresh().await;
        Ok(Response::new(self.inner.state.status()))
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
        let ReplacePolicyRequest { yaml, domain } = request.into_inner();
        let outcome = self.policies().replace(yaml, domain).await;
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
}

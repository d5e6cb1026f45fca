//! The service that tells everything.

use saker_api::saker_v1::saker_service_server::SakerService;
use saker_api::saker_v1::{GetStatusRequest, GetStatusResponse};
use saker_api::tetragon::GetEventsRequest;
use saker_api::wire::EncodedEvent;
use saker_export::Form;
use tonic::codegen::BoxStream;
use tonic::{Request, Response, Status};

use super::Service;

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
}

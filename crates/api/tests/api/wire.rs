//! A client of the generated services receives from a server what was encoded once for all.

use std::pin::Pin;

use crate::samples;
use saker_api::saker_v1::saker_service_client::SakerServiceClient;
use saker_api::saker_v1::saker_service_server::{SakerService, SakerServiceServer};
use saker_api::tetragon::fine_guidance_sensors_client::FineGuidanceSensorsClient;
use saker_api::tetragon::fine_guidance_sensors_server::{FineGuidanceSensors, FineGuidanceSensorsServer};
use saker_api::tetragon::{GetEventsRequest, GetVersionRequest, GetVersionResponse};
use saker_api::wire::EncodedEvent;
use saker_api::{proto, saker_v1, tetragon};
use tokio_stream::{Stream, StreamExt};
use tonic::{Code, Request, Response, Status};

type Events = Pin<Box<dyn Stream<Item = Result<EncodedEvent, Status>> + Send>>;

struct Agent;

fn stream(encode: fn(&saker_api::event::Event) -> bytes::Bytes) -> Response<Events> {
    let events: Vec<_> = samples::all().iter().map(|(_, event)| Ok(EncodedEvent(encode(event)))).collect();
    Response::new(Box::pin(tokio_stream::iter(events)))
}

#[tonic::async_trait]
impl FineGuidanceSensors for Agent {
    async fn get_events(&self, _: Request<GetEventsRequest>) -> Result<Response<Events>, Status> {
        Ok(stream(proto::encode_response))
    }

    async fn get_version(
        &self,
        _: Request<GetVersionRequest>,
    ) -> Result<Response<GetVersionResponse>, Status> {
        Ok(Response::new(GetVersionResponse { version: "1.2.3".to_owned() }))
    }
}

#[tonic::async_trait]
impl SakerService for Agent {
    async fn get_events(&self, _: Request<saker_v1::GetEventsRequest>) -> Result<Response<Events>, Status> {
        Ok(stream(proto::encode_event))
    }
}

#[tokio::test]
async fn a_compatible_client_receives_the_events() {
    let mut client = FineGuidanceSensorsClient::new(FineGuidanceSensorsServer::new(Agent));
    let mut received = client.get_events(GetEventsRequest::default()).await.unwrap().into_inner();
    for (name, event) in samples::all() {
        let message = received.next().await.unwrap().unwrap();
        assert_eq!(message, tetragon::GetEventsResponse::from(&event), "{name}");
    }
    assert!(received.next().await.is_none());
}

#[tokio::test]
async fn a_client_of_ours_receives_the_additions_too() {
    let mut client = SakerServiceClient::new(SakerServiceServer::new(Agent));
    let mut received = client.get_events(saker_v1::GetEventsRequest::default()).await.unwrap().into_inner();
    for (name, event) in samples::all() {
        let message = received.next().await.unwrap().unwrap();
        assert_eq!(message, saker_v1::Event::from(&event), "{name}");
    }
    assert!(received.next().await.is_none());
}

#[tokio::test]
async fn other_methods_answer_and_what_is_missing_says_so() {
    let mut client = FineGuidanceSensorsClient::new(FineGuidanceSensorsServer::new(Agent));
    let version = client.get_version(GetVersionRequest::default()).await.unwrap().into_inner();
    assert_eq!(version.version, "1.2.3");
    let status = client.list_domains(tetragon::ListDomainsRequest::default()).await.unwrap_err();
    assert_eq!(status.code(), Code::Unimplemented);
}

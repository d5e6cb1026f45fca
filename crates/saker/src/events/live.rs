//! Events of a running agent.

use std::time::Duration;

use anyhow::{Result, bail};
use saker_agent::logging::say;
use saker_api::saker_v1::saker_service_client::SakerServiceClient;
use saker_api::saker_v1::{Event, GetEventsRequest};
use saker_api::tetragon::fine_guidance_sensors_client::FineGuidanceSensorsClient;
use saker_api::tetragon::{self, GetEventsResponse};
use tonic::{Code, Streaming};

use super::{EventsArgs, Printer};
use crate::client::{self, MAX_MESSAGE, refused};

/// Pause after which what was gathered is written.
const IDLE: Duration = Duration::from_millis(10);

/// Prints events until the agent or the user ends it.
pub fn run(args: &EventsArgs, request: &GetEventsRequest, printer: &mut Printer) -> Result<()> {
    client::runtime()?.block_on(async {
        loop {
            let outcome = connect_and_print(args, request.clone(), printer).await;
            printer.flush()?;
            match outcome {
                Ok(false) => return Ok(()),
                Ok(true) if !args.reconnect => return Ok(()),
                Err(error) if !args.reconnect || crate::output::is_closed(&error) => return Err(error),
                Ok(true) => say("saker: the agent ended the stream; connecting again"),
                Err(error) => say(format_args!("saker: {}; trying again", crate::output::chain(&error))),
            }
            tokio::time::sleep(Duration::from_secs(args.reconnect_wait)).await;
        }
    })
}

/// Events of either service.
enum Stream {
    Own(Streaming<Event>),
    Compatible(Streaming<GetEventsResponse>),
}

impl Stream {
    async fn next(&mut self) -> Result<Option<Event>, tonic::Status> {
        match self {
            Self::Own(stream) => stream.message().await,
            Self::Compatible(stream) => {
                let wrap = |event| Event { event: Some(event), ..Event::default() };
                stream.message().await.map(|event| event.map(wrap))
            }
        }
    }
}

/// Prints one stream to its end; `false`: enough events were printed.
async fn connect_and_print(
    args: &EventsArgs,
    request: GetEventsRequest,
    printer: &mut Printer,
) -> Result<bool> {
    let channel = args.server.connect().await?;
    let mut own = SakerServiceClient::new(channel.clone()).max_decoding_message_size(MAX_MESSAGE);
    let mut stream = match own.get_events(request.clone()).await {
        Ok(answer) => Stream::Own(answer.into_inner()),
        // An agent that serves only the compatible interface.
        Err(status) if status.code() == Code::Unimplemented => {
            let mut client = FineGuidanceSensorsClient::new(channel).max_decoding_message_size(MAX_MESSAGE);
            if request.rate_limit.is_some() {
                bail!(
                    "this agent has only the compatible interface, which has no rate limit; leave --rate-limit out"
                );
            }
            let GetEventsRequest { allow_list, deny_list, aggregation_options, field_filters, .. } = request;
            let request =
                tetragon::GetEventsRequest { allow_list, deny_list, aggregation_options, field_filters };
            let answer = client.get_events(request).await.map_err(|status| refused(&status))?;
            Stream::Compatible(answer.into_inner())
        }
        Err(status) => return Err(refused(&status)),
    };
    loop {
        let next = match tokio::time::timeout(IDLE, stream.next()).await {
            Ok(next) => next,
            Err(_) => {
                printer.flush()?;
                stream.next().await
            }
        };
        match next.map_err(|status| refused(&status))? {
            Some(event) => {
                if !printer.print(&event)? {
                    return Ok(false);
                }
            }
            None => return Ok(true),
        }
    }
}

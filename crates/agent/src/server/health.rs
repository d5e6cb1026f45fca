//! The standard gRPC health service, on an address of its own: it says how the agent is and nothing else.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tonic_health::ServingStatus;
use tonic_health::server::HealthReporter;

use super::{connections, stopped};
use crate::state::State;
use crate::vitals::Health;

/// The services that can be asked for: the agent lives; it sees what happens; both.
const LIVENESS: &str = "liveness";
const READINESS: &str = "readiness";
const ALL: &str = "";

/// Serves until `stop` turns true, looking at the agent's health after each `interval`.
///
/// # Errors
/// The listener cannot be used.
pub async fn serve(
    listener: std::net::TcpListener,
    state: Arc<State>,
    interval: Duration,
    stop: watch::Receiver<bool>,
) -> anyhow::Result<()> {
    let (reporter, service) = tonic_health::server::health_reporter();
    tell(&reporter, &state.vitals.health()).await;
    let incoming = connections::of_address(listener, None, state.served.listener("health", 0))?;
    let watched = async {
        loop {
            tokio::time::sleep(interval).await;
            tell(&reporter, &state.vitals.health()).await;
        }
    };
    let server = connections::builder().add_service(service);
    tokio::select! {
        served = server.serve_with_incoming_shutdown(incoming, stopped(stop)) => Ok(served?),
        () = watched => Ok(()),
    }
}

async fn tell(reporter: &HealthReporter, health: &Health) {
    let status = |serves| if serves { ServingStatus::Serving } else { ServingStatus::NotServing };
    reporter.set_service_status(LIVENESS, status(health.is_live())).await;
    reporter.set_service_status(READINESS, status(health.is_ready())).await;
    reporter.set_service_status(ALL, status(health.is_ready())).await;
}

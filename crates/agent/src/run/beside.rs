//! What is served beside the services: metrics and health.

use std::net::TcpListener;
use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::Runtime;
use tokio::sync::watch;

use crate::state::State;
use crate::{metrics, server};

/// What is served beside the services.
pub(super) struct Beside {
    pub(super) metrics: Option<TcpListener>,
    pub(super) health: Option<TcpListener>,
    /// Time between two looks at the agent's health.
    pub(super) interval: Duration,
}

impl Beside {
    pub(super) fn serve(self, runtime: &Runtime, state: &Arc<State>, stopping: watch::Receiver<bool>) {
        if let Some(listener) = self.health {
            let serving = server::serve_health(listener, Arc::clone(state), self.interval, stopping);
            runtime.spawn(async {
                if let Err(error) = serving.await {
                    tracing::error!("the health service failed: {error:#}");
                }
            });
        }
        if let Some(listener) = self.metrics {
            runtime.spawn(metrics::serve(listener, Arc::clone(state)));
        }
    }
}

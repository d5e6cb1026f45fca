//! Containers that a runtime is about to start, told by its hook.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use saker_api::tetragon::{RuntimeHookRequest, RuntimeHookResponse, runtime_hook_request};
use tonic::{Code, Request, Response, Status};

use super::Service;
use super::compatible::Answer;
use crate::pods::{HookError, Hooked};

/// Time that a container may be kept waiting.
const PATIENCE: Duration = Duration::from_secs(8);

/// Numbers of failures, so that one can be found in the log.
static FAILURES: AtomicU64 = AtomicU64::new(0);

impl Service {
    /// Has policies know a container before its first process runs. What failed is for the log only: the answer may be
    /// shown to whoever starts containers.
    pub(super) async fn hooked(&self, request: Request<RuntimeHookRequest>) -> Answer<RuntimeHookResponse> {
        let client = self.may_change(&request)?;
        let Some(runtime_hook_request::Event::CreateContainer(container)) = request.into_inner().event else {
            return Err(Status::invalid_argument("the event is missing: createContainer is the only one"));
        };
        let id: String = container.container_id.chars().take(80).collect();
        let outcome = match Hooked::of(container) {
            Ok(hooked) => match &self.inner.state.hooks {
                Some(hooks) => {
                    let told = tokio::time::timeout(PATIENCE, hooks.tell(hooked)).await;
                    told.unwrap_or(Err(HookError::Late))
                }
                None => {
                    // Policies for pods are refused then, so there is nothing to be known in time.
                    tracing::debug!(
                        client,
                        container = id,
                        "a container is about to start; enable-cri is off"
                    );
                    Ok(())
                }
            },
            Err(error) => Err(error),
        };
        match outcome {
            Ok(()) => {
                self.inner.state.hooked.done.fetch_add(1, Ordering::Relaxed);
                Ok(Response::new(RuntimeHookResponse {}))
            }
            Err(error) => {
                self.inner.state.hooked.failed.fetch_add(1, Ordering::Relaxed);
                let number = FAILURES.fetch_add(1, Ordering::Relaxed) + 1;
                let log_id = format!("{}-{number}", std::process::id());
                tracing::warn!(
                    client,
                    container = id,
                    log_id,
                    "a hook of the container runtime failed: {error}"
                );
                Err(Status::new(
                    code(&error),
                    format!("the hook failed; see the agent's log for log_id={log_id}"),
                ))
            }
        }
    }
}

fn code(error: &HookError) -> Code {
    match error {
        HookError::Id | HookError::Path(_) => Code::InvalidArgument,
        HookError::NoGroup(_) => Code::NotFound,
        HookError::NoPod(_) => Code::FailedPrecondition,
        HookError::Full => Code::ResourceExhausted,
        HookError::Late => Code::DeadlineExceeded,
        HookError::Kernel(_) => Code::Internal,
        HookError::Stopped => Code::Unavailable,
    }
}

//! Waiting for a condition with an end.

use std::time::{Duration, Instant};

use anyhow::{Result, bail};

/// Emulated kernels are some thirty times slower than real ones, and a wait that succeeds costs nothing.
pub const LONG: Duration = Duration::from_secs(240);

/// Asks until there is an answer.
///
/// # Errors
/// What `ask` returns, or that `what` did not come within `limit`.
pub fn until<T>(what: &str, limit: Duration, mut ask: impl FnMut() -> Result<Option<T>>) -> Result<T> {
    let end = Instant::now() + limit;
    let mut pause = Duration::from_millis(2);
    loop {
        if let Some(answer) = ask()? {
            return Ok(answer);
        }
        if Instant::now() >= end {
            bail!("waited {} seconds for {what}", limit.as_secs());
        }
        std::thread::sleep(pause);
        pause = (pause * 2).min(Duration::from_millis(50));
    }
}

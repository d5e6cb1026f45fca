//! The laboratory that one case leaves to the next: to start an agent takes an emulated machine seconds.

use std::cell::RefCell;

use crate::observe::Lab;

thread_local! {
    static IDLE: RefCell<Option<Lab>> = const { RefCell::new(None) };
}

/// The laboratory that is there, if its agent still runs.
#[must_use]
pub fn take() -> Option<Lab> {
    let mut lab = IDLE.take()?;
    lab.agent.runs().then_some(lab)
}

/// Leaves one to the next case.
pub fn leave(mut lab: Lab) {
    if !std::thread::panicking() && lab.agent.runs() {
        IDLE.set(Some(lab));
    }
}

/// Ends the agent that is there: it would be in the way of another, or a case with it has failed.
pub fn end() {
    drop(IDLE.take());
}

//! A named thing to prove.

use anyhow::Result;

use crate::observe::Lab;

/// How a case runs.
#[derive(Clone, Copy, Debug)]
pub enum How {
    /// With the agent that most cases share.
    Shared(fn(&mut Lab) -> Result<()>),
    /// With agents of its own.
    Alone(fn() -> Result<()>),
}

/// One case.
#[derive(Clone, Copy, Debug)]
pub struct Case {
    /// Its name, as on the command line.
    pub name: &'static str,
    /// How it runs.
    pub how: How,
    /// Whether what it proves depends on the kernel. If not, one kernel is enough.
    pub kernel: bool,
    /// Whether it takes long in an emulated machine.
    pub long: bool,
    /// Whether one of the emulated machines is enough, whichever it is.
    pub spread: bool,
}

impl Case {
    /// The same case as one of the agent's own work: files, terminals, clients, configuration.
    #[must_use]
    pub const fn on_any_kernel(self) -> Self {
        Self { kernel: false, ..self }
    }

    /// The same case as one that takes some time and is much the same on all kernels, so that each of the machines runs a part
    /// of such cases.
    #[must_use]
    pub const fn spread(self) -> Self {
        Self { spread: true, ..self }
    }

    /// The same case as one that takes long in an emulated machine, so that it does not run in each of them.
    #[must_use]
    pub const fn long(self) -> Self {
        Self { long: true, ..self }
    }
}

/// A case with the shared agent.
#[must_use]
pub const fn shared(name: &'static str, run: fn(&mut Lab) -> Result<()>) -> Case {
    Case { name, how: How::Shared(run), kernel: true, long: false, spread: false }
}

/// A case with agents of its own.
#[must_use]
pub const fn alone(name: &'static str, run: fn() -> Result<()>) -> Case {
    Case { name, how: How::Alone(run), kernel: true, long: false, spread: false }
}

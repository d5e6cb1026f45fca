//! Everything that can happen to a process, seen by the real agent. Needs root; takes names of cases as a
//! filter and `--list`, like any test binary. `SAKER_BIN` names another agent than the one built beside it.

use std::process::ExitCode;

use saker_tests::{agent, cases, suite};

fn main() -> ExitCode {
    suite::main(cases::TABLES, agent::FULL)
}

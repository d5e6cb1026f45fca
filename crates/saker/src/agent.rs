//! `saker agent`.

use anyhow::Result;
use clap::{ArgMatches, Args, Command, FromArgMatches};
use saker_agent::config::{self, Config, Places};
use saker_agent::{flags, kernel, metrics};

use crate::output;

/// The options given. Their flags are made from the definition of the options, not derived.
pub struct AgentArgs {
    given: Vec<(String, String)>,
    print_config: bool,
    docs: Option<String>,
}

impl FromArgMatches for AgentArgs {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        Ok(Self {
            given: flags::given(matches),
            print_config: matches
                .try_get_one::<bool>(flags::PRINT_CONFIG)
                .ok()
                .flatten()
                .is_some_and(|&on| on),
            docs: matches.try_get_one::<String>(flags::GENERATE_DOCS).ok().flatten().cloned(),
        })
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}

impl Args for AgentArgs {
    fn augment_args(command: Command) -> Command {
        flags::add_to(command)
    }

    fn augment_args_for_update(command: Command) -> Command {
        // Every flag may be given again, so there is nothing to loosen.
        flags::add_to(command)
    }
}

/// Runs the agent, or prints what it would do.
pub fn run(args: &AgentArgs) -> Result<()> {
    match args.docs.as_deref() {
        Some("metrics") => return output::print(&metrics::reference()),
        Some(_) => return output::print(&config::reference()),
        None => {}
    }
    let config = Config::load(&Places::system(), &args.given)?;
    if args.print_config {
        output::print(&config::print(&config))?;
        // Printed first: whoever looks for the mistake wants to see it.
        config.settings()?;
        return Ok(());
    }
    saker_agent::run(&config, kernel::load)
}

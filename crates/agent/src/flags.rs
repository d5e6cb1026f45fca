//! The command line of the agent, made from the definition of the options.

use clap::builder::PossibleValuesParser;
use clap::{Arg, ArgAction, ArgMatches, Command};

use crate::config::{self, Kind, OPTIONS, OptionDef};

/// Prints the resulting configuration and ends.
pub const PRINT_CONFIG: &str = "print-config";
/// Prints the reference pages and ends.
pub const GENERATE_DOCS: &str = "generate-docs";

/// Adds a flag for every option.
#[must_use]
pub fn add_to(command: Command) -> Command {
    let command = OPTIONS.iter().fold(command, |command, option| command.arg(flag(option)));
    let refused = |name| {
        let arg = Arg::new(name).long(name).hide(true).action(ArgAction::Append);
        arg.num_args(0..=1).default_missing_value("true")
    };
    let command = config::refused_options().fold(command, |command, name| command.arg(refused(name)));
    command
        .arg(
            Arg::new(PRINT_CONFIG)
                .long(PRINT_CONFIG)
                .action(ArgAction::SetTrue)
                .help("Print the resulting configuration, with the source of each value, and end"),
        )
        .arg(
            Arg::new(GENERATE_DOCS)
                .long(GENERATE_DOCS)
                .value_name("PAGE")
                .num_args(0..=1)
                .default_missing_value("configuration")
                .value_parser(["configuration", "metrics"])
                .help("Print a reference page and end"),
        )
}

fn flag(option: &OptionDef) -> Arg {
    let arg = Arg::new(option.name)
        .long(option.name)
        .help(option.help)
        .help_heading(option.group.title())
        .value_name(match option.kind {
            Kind::Switch => "BOOL",
            Kind::Text | Kind::Choice(_) => "TEXT",
            Kind::Path => "PATH",
            Kind::Count | Kind::Limit => "NUMBER",
            Kind::Size => "SIZE",
            Kind::Duration => "TIME",
            Kind::Octal => "MODE",
            Kind::List => "LIST",
        })
        .action(ArgAction::Append)
        .allow_hyphen_values(matches!(option.kind, Kind::Limit));
    let arg = match option.short {
        Some(short) => arg.short(short),
        None => arg,
    };
    match option.kind {
        Kind::Switch => arg.num_args(0..=1).require_equals(true).default_missing_value("true"),
        Kind::Choice(words) => arg.value_parser(PossibleValuesParser::new(words.iter().copied())),
        _ => arg,
    }
}

/// The options given, in the order of their definition. A list that is given several times is joined.
#[must_use]
pub fn given(matches: &ArgMatches) -> Vec<(String, String)> {
    let mut flags = Vec::new();
    for name in config::refused_options() {
        if let Ok(Some(mut values)) = matches.try_get_many::<String>(name) {
            flags.extend(values.next_back().map(|value| (name.to_owned(), value.clone())));
        }
    }
    for option in OPTIONS {
        let Ok(Some(values)) = matches.try_get_many::<String>(option.name) else { continue };
        let values: Vec<&str> = values.map(String::as_str).collect();
        let value = match option.kind {
            Kind::List => values.join(","),
            _ => values.last().copied().unwrap_or_default().to_owned(),
        };
        flags.push((option.name.to_owned(), value));
    }
    flags
}

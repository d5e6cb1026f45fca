//! The reference page of all commands, made of the same definitions as the command line itself.

use std::fmt::Write;

use clap::Command;

const HEAD: &str = "# Commands

Made by `saker reference > docs/cli.md`; a test holds it to the program. Options of `saker agent` that can also stand
in a file are in [configuration.md](configuration.md).
";

/// The page.
pub fn page(command: Command) -> String {
    let mut text = HEAD.to_owned();
    let mut command = hidden_values(command.term_width(100).disable_help_subcommand(true));
    command.build();
    for sub in command.get_subcommands() {
        section(&mut text, sub, "saker");
    }
    text
}

/// Without what the environment happens to hold.
pub fn hidden_values(command: Command) -> Command {
    command.mut_args(|argument| argument.hide_env_values(true)).mut_subcommands(hidden_values)
}

fn section(text: &mut String, command: &Command, parent: &str) {
    if command.is_hide_set() {
        return;
    }
    let name = format!("{parent} {}", command.get_name());
    let help = if name == "saker agent" {
        command.get_about().map(ToString::to_string).unwrap_or_default()
    } else {
        command.clone().bin_name(&name).render_long_help().to_string()
    };
    let lines: Vec<&str> = help.lines().map(str::trim_end).collect();
    // Writing to a string cannot fail.
    let _ = write!(text, "\n## {name}\n\n```text\n{}\n```\n", lines.join("\n").trim_end());
    for sub in command.get_subcommands() {
        section(text, sub, &name);
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_page_is_that_of_the_program() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/cli.md");
        let page = std::fs::read_to_string(path).unwrap_or_default();
        let made = super::page(crate::command());
        assert!(page == made, "docs/cli.md is not that of this program: saker reference > docs/cli.md");
        assert!(made.contains("--pid-set") && made.contains("## saker policy check"), "{made}");
    }
}

//! `saker man`: manual pages, made of the same definitions as the command line itself.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use clap::{Args, Command};

use crate::output;
use crate::reference::hidden_values;

/// Arguments of `saker man`.
#[derive(Args)]
#[command(after_help = "Exit status: 0 they are written; 1 they are not; 2 wrong command line")]
pub struct ManArgs {
    /// Directory for the pages, which is created
    directory: PathBuf,
}

/// Writes the pages.
pub fn run(args: &ManArgs, command: Command) -> Result<()> {
    let count = write(&args.directory, command)?;
    output::print(&format!("{count} pages in {}\n", args.directory.display()))
}

fn write(directory: &Path, command: Command) -> Result<usize> {
    fs::create_dir_all(directory).with_context(|| format!("cannot create {}", directory.display()))?;
    let mut command = hidden_values(command.disable_help_subcommand(true));
    command.build();
    let mut count = 0;
    let mut left = vec![("saker".to_owned(), command)];
    while let Some((name, command)) = left.pop() {
        let subcommands = command.get_subcommands().filter(|sub| !sub.is_hide_set());
        left.extend(subcommands.map(|sub| (format!("{name}-{}", sub.get_name()), sub.clone())));
        let path = directory.join(format!("{name}.1"));
        let mut page = Vec::new();
        clap_mangen::Man::new(command.name(name)).render(&mut page)?;
        fs::write(&path, page).with_context(|| format!("cannot write {}", path.display()))?;
        count += 1;
    }
    Ok(count)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_command_has_a_page() {
        let dir = tempfile::tempdir().unwrap();
        let count = write(dir.path(), crate::command()).unwrap();
        for name in ["saker", "saker-agent", "saker-policy-generate-uprobes", "saker-tree"] {
            let page = fs::read_to_string(dir.path().join(format!("{name}.1"))).unwrap();
            assert!(page.contains(".TH") && page.contains("SYNOPSIS"), "{name}: {page}");
        }
        assert!(!dir.path().join("saker-reference.1").exists());
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), count);
    }
}

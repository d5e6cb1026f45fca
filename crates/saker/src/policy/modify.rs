//! `saker policy modify`: a policy file in another mode, its text otherwise as it is.

use std::path::PathBuf;

use anyhow::{Result, bail};
use clap::Args;
use saker_policy::Checked;
use saker_policy::words::Mode as Asked;

use super::change::Mode;
use super::load;
use crate::output;

/// Arguments of `saker policy modify`.
#[derive(Args)]
#[command(
    after_help = "Exit status: 0 it is printed; 1 the file is no policy, or its mode cannot be set; 2 wrong command line"
)]
pub struct ModifyArgs {
    /// File with one policy; `-` is standard input
    file: PathBuf,
    /// The mode that the text shall have
    #[arg(short, long)]
    mode: Mode,
}

/// Prints the policy in that mode.
pub fn run(args: &ModifyArgs) -> Result<()> {
    let (text, checked) = load(&args.file, false)?;
    if checked.policies.len() != 1 {
        bail!("{} policies are in {}: give a file with one", checked.policies.len(), args.file.display());
    }
    output::print(&with_mode(&text, args.mode)?)
}

/// The text with the mode among its options.
///
/// # Errors
/// Its options are written in a way that is not changed here.
fn with_mode(text: &str, mode: Mode) -> Result<String> {
    let (word, asked) = match mode {
        Mode::Enforce => ("enforce", Asked::Enforce),
        Mode::Monitor => ("monitor", Asked::Monitor),
    };
    let changed = edited(text, word);
    // Whatever the text looks like: it is right if it is read so.
    match changed.filter(|changed| mode_of(&saker_policy::check(changed)) == Some(asked)) {
        Some(changed) => Ok(changed),
        None => bail!(
            "the options of this policy are written in a way that cannot be changed here; write below `spec:` on lines of \
             their own `options:`, `- name: policy-mode` and `value: {word}`"
        ),
    }
}

fn mode_of(checked: &Checked) -> Option<Asked> {
    checked.policies.first().and_then(|policy| policy.options.mode)
}

fn indent(line: &str) -> usize {
    line.len() - line.trim_start().len()
}

fn is_blank(line: &str) -> bool {
    line.trim().is_empty() || line.trim_start().starts_with('#')
}

/// The text with an option set, if it is written in lines.
fn edited(text: &str, word: &str) -> Option<String> {
    let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
    let spec = lines.iter().position(|line| line.trim_end() == "spec:")?;
    let first = (spec + 1..lines.len()).find(|&at| !is_blank(&lines[at]))?;
    let depth = indent(&lines[first]);
    let end = (first..lines.len())
        .find(|&at| !is_blank(&lines[at]) && indent(&lines[at]) < depth)
        .unwrap_or(lines.len());
    let key = |line: &str| indent(line) == depth && line.trim_start().starts_with("options:");
    let margin = " ".repeat(depth);
    let Some(options) = (first..end).find(|&at| key(&lines[at])) else {
        let new = format!("{margin}options:\n{margin}- name: policy-mode\n{margin}  value: {word}");
        lines.insert(spec + 1, new);
        return Some(lines.join("\n") + "\n");
    };
    let is_item = |line: &str| indent(line) >= depth && line.trim_start().starts_with('-');
    let item = (options + 1..end).find(|&at| !is_blank(&lines[at])).filter(|&at| is_item(&lines[at]))?;
    let dash = indent(&lines[item]);
    let inside =
        |line: &str| is_blank(line) || indent(line) > dash || (indent(line) == dash && is_item(line));
    let last = (item..end).find(|&at| !inside(&lines[at])).unwrap_or(end);
    let named = (item..last).find(|&at| {
        let line = lines[at].trim().trim_start_matches('-').trim();
        let name = line.strip_prefix("name:").map(|name| name.trim().trim_matches(['"', '\'']));
        name == Some("policy-mode")
    });
    if let Some(named) = named {
        // The value stands in the same item: before the name or behind it.
        let begin = (item..=named).rev().find(|&at| lines[at].trim_start().starts_with('-'))?;
        let stop = (named + 1..last).find(|&at| lines[at].trim_start().starts_with('-')).unwrap_or(last);
        let value = (begin..stop)
            .find(|&at| lines[at].trim().trim_start_matches('-').trim_start().starts_with("value:"))?;
        let place = lines[value].find("value:")?;
        lines[value].truncate(place);
        lines[value].push_str(&format!("value: {word}"));
    } else {
        let margin = " ".repeat(dash);
        lines.insert(item, format!("{margin}- name: policy-mode\n{margin}  value: {word}"));
    }
    Some(lines.join("\n") + "\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEAD: &str = "apiVersion: cilium.io/v1alpha1\nkind: TracingPolicy\nmetadata:\n  name: p\nspec:\n";
    const HOOK: &str = "  # a hook\n  kprobes:\n  - call: tcp_connect\n    syscall: false\n";

    #[test]
    fn modes_are_set_whatever_options_there_are() {
        for options in [
            "",
            "  options:\n  - name: policy-mode\n    value: enforce # for now\n",
            "  options:\n    - value: \"enforce\"\n      name: \"policy-mode\"\n    - name: disable-kprobe-multi\n      value: \"1\"\n",
            "  options:\n  - name: disable-kprobe-multi\n    value: \"true\"\n",
        ] {
            for text in [format!("{HEAD}{options}{HOOK}"), format!("{HEAD}{HOOK}{options}")] {
                let changed =
                    with_mode(&text, Mode::Monitor).unwrap_or_else(|error| panic!("{text}: {error}"));
                assert_eq!(mode_of(&saker_policy::check(&changed)), Some(Asked::Monitor), "{changed}");
                assert!(
                    changed.contains("# a hook") && changed.matches("policy-mode").count() == 1,
                    "{changed}"
                );
                assert_eq!(
                    changed.contains("disable-kprobe-multi"),
                    options.contains("disable-kprobe-multi")
                );
                let back = with_mode(&changed, Mode::Enforce).unwrap();
                assert_eq!(mode_of(&saker_policy::check(&back)), Some(Asked::Enforce), "{back}");
            }
        }
    }

    #[test]
    fn what_cannot_be_changed_is_refused() {
        let flow = format!("{HEAD}  options: [{{name: policy-mode, value: enforce}}]\n{HOOK}");
        assert!(with_mode(&flow, Mode::Monitor).unwrap_err().to_string().contains("value: monitor"));
    }
}

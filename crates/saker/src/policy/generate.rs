//! `saker policy generate`: policies to begin with, made of what this kernel or a program has.

use std::collections::BTreeSet;
use std::fmt::Write;
use std::fs;

use anyhow::{Context, Result, bail};
use clap::{Args, Subcommand};
use regex::Regex;
use saker_policy::names::syscalls;
use saker_probes::Executable;

use crate::output::{self, Usage};

/// Where the kernel lists the functions that can be traced.
const FUNCTIONS: [&str; 2] = [
    "/sys/kernel/tracing/available_filter_functions",
    "/sys/kernel/debug/tracing/available_filter_functions",
];
/// What functions of system calls begin with, by architecture.
const PREFIXES: [&str; 2] = ["__x64_sys_", "__arm64_sys_"];

/// Arguments of `saker policy generate`.
#[derive(Args)]
#[command(
    disable_help_subcommand = true,
    after_help = "The policy is printed. `saker policy explain --kernel this` says what it costs here: hooks at very many functions \
                  cost much.\n\nExit status: 0 it is printed; 1 what it is made of cannot be read, or nothing fits; 2 wrong \
                  command line"
)]
pub struct GenerateArgs {
    #[command(subcommand)]
    what: What,
}

#[derive(Subcommand)]
enum What {
    /// A policy without hooks
    Empty(MatchArgs),
    /// A hook for each system call of this kernel
    AllSyscalls(MatchArgs),
    /// One hook for a list of all system calls of this kernel
    AllSyscallsList(MatchArgs),
    /// One hook for a list of the kernel's functions whose names match; needs root
    FtraceList {
        /// What names must match
        #[arg(short, long, value_name = "REGEX")]
        regex: String,
        #[command(flatten)]
        of: MatchArgs,
    },
    /// A hook for the functions of a program or library
    Uprobes {
        /// Path of the program or library
        #[arg(short, long, value_name = "PATH")]
        binary: String,
        /// Only functions whose names match
        #[arg(short, long, value_name = "REGEX")]
        regex: Option<String>,
        #[command(flatten)]
        of: MatchArgs,
    },
    /// A hook for each declared probe of a program or library
    Usdts {
        /// Path of the program or library
        #[arg(short, long, value_name = "PATH")]
        binary: String,
        #[command(flatten)]
        of: MatchArgs,
    },
}

/// What all have.
#[derive(Args)]
struct MatchArgs {
    /// Only calls of this program (repeatable)
    #[arg(short, long, value_name = "PATH")]
    match_binary: Vec<String>,
    /// Name of the policy [default: that of the command]
    #[arg(long, value_name = "NAME")]
    name: Option<String>,
}

/// Prints a policy.
pub fn run(args: &GenerateArgs) -> Result<()> {
    let text = match &args.what {
        What::Empty(of) => policy(of, "empty", "  kprobes: []\n"),
        What::AllSyscalls(of) => policy(of, "all-syscalls", &each_syscall(&system_calls()?, of)),
        What::AllSyscallsList(of) => {
            policy(of, "all-syscalls-list", &listed("syscalls", true, &system_calls()?, of))
        }
        What::FtraceList { regex, of } => {
            let names = chosen(traceable()?, Some(regex))?;
            policy(of, "ftrace-list", &listed("functions", false, &names, of))
        }
        What::Uprobes { binary, regex, of } => {
            let program = Executable::open(binary)?;
            let names = chosen(program.function_names()?, regex.as_ref())
                .with_context(|| format!("{binary} has no such function; was it stripped?"))?;
            policy(of, "uprobes", &uprobes(binary, &names, of))
        }
        What::Usdts { binary, of } => {
            let probes = Executable::open(binary)?.probe_names()?;
            if probes.is_empty() {
                bail!("{binary} declares no probes");
            }
            policy(of, "usdts", &usdts(binary, &probes, of))
        }
    };
    output::print(&text)
}

/// A text as YAML has it, whatever is in it.
fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

fn policy(of: &MatchArgs, name: &str, spec: &str) -> String {
    let name = of.name.as_deref().unwrap_or(name);
    format!(
        "apiVersion: cilium.io/v1alpha1\nkind: TracingPolicy\nmetadata:\n  name: {}\nspec:\n{spec}",
        quoted(name)
    )
}

/// The filter on programs of a hook; empty: none.
fn selectors(of: &MatchArgs) -> String {
    if of.match_binary.is_empty() {
        return String::new();
    }
    let values: Vec<String> = of.match_binary.iter().map(|path| quoted(path)).collect();
    format!(
        "    selectors:\n    - matchBinaries:\n      - operator: In\n        values: [{}]\n",
        values.join(", ")
    )
}

fn each_syscall(names: &BTreeSet<String>, of: &MatchArgs) -> String {
    names.iter().fold("  kprobes:\n".to_owned(), |text, name| {
        text + &format!("  - call: {}\n    syscall: true\n{}", quoted(name), selectors(of))
    })
}

fn listed(list: &str, syscall: bool, names: &BTreeSet<String>, of: &MatchArgs) -> String {
    let kind = if syscall { "    type: syscalls\n" } else { "" };
    let mut text = format!("  lists:\n  - name: {list}\n{kind}    values:\n");
    for name in names {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "    - {}", quoted(name));
    }
    let _ = write!(text, "  kprobes:\n  - call: \"list:{list}\"\n    syscall: {syscall}\n{}", selectors(of));
    text
}

fn uprobes(binary: &str, names: &BTreeSet<String>, of: &MatchArgs) -> String {
    let mut text = format!("  uprobes:\n  - path: {}\n    symbols:\n", quoted(binary));
    for name in names {
        let _ = writeln!(text, "    - {}", quoted(name));
    }
    text + &selectors(of)
}

fn usdts(binary: &str, probes: &BTreeSet<(String, String)>, of: &MatchArgs) -> String {
    probes.iter().fold("  usdts:\n".to_owned(), |text, (provider, name)| {
        let (binary, provider, name) = (quoted(binary), quoted(provider), quoted(name));
        text + &format!("  - path: {binary}\n    provider: {provider}\n    name: {name}\n{}", selectors(of))
    })
}

/// Those of the names that match.
fn chosen(names: BTreeSet<String>, regex: Option<&String>) -> Result<BTreeSet<String>> {
    let Some(text) = regex else { return Ok(names) };
    let regex = Regex::new(text)
        .with_context(|| format!("--regex `{text}` is no regular expression"))
        .map_err(Usage::of)?;
    let names: BTreeSet<String> = names.into_iter().filter(|name| regex.is_match(name)).collect();
    if names.is_empty() {
        bail!("no name matches `{text}`");
    }
    Ok(names)
}

/// Functions of this kernel's system calls, as policies name them.
fn system_calls() -> Result<BTreeSet<String>> {
    let symbols = fs::read("/proc/kallsyms").context("cannot read which functions this kernel has")?;
    Ok(calls_among(&String::from_utf8_lossy(&symbols)))
}

/// System calls that this version knows by number among the symbols of a kernel.
fn calls_among(symbols: &str) -> BTreeSet<String> {
    let names = symbols.lines().filter_map(|line| line.split_whitespace().nth(2));
    let calls = names.filter_map(|name| PREFIXES.iter().find_map(|prefix| name.strip_prefix(prefix)));
    calls.filter(|call| syscalls::number(call).is_some()).map(|call| format!("sys_{call}")).collect()
}

/// Functions of this kernel that can be traced.
fn traceable() -> Result<BTreeSet<String>> {
    let read = FUNCTIONS.iter().map(fs::read).find(Result::is_ok);
    let Some(Ok(text)) = read else {
        bail!(
            "cannot read {}: run this as root, with tracefs mounted, on a kernel with function tracing",
            FUNCTIONS[0]
        );
    };
    let text = String::from_utf8_lossy(&text);
    // Behind the name stands the module.
    Ok(text.lines().filter_map(|line| line.split_whitespace().next()).map(str::to_owned).collect())
}

#[cfg(test)]
mod tests {
    use saker_policy::Severity;

    use super::*;

    fn of(binaries: &[&str]) -> MatchArgs {
        MatchArgs { match_binary: binaries.iter().map(|&path| path.to_owned()).collect(), name: None }
    }

    fn names(names: &[&str]) -> BTreeSet<String> {
        names.iter().map(|&name| name.to_owned()).collect()
    }

    #[test]
    fn what_is_generated_is_a_policy() {
        let probes = BTreeSet::from([("libc".to_owned(), "setjmp".to_owned())]);
        for of in [of(&[]), of(&["/bin/a b", "/bin/\"c\""])] {
            let calls = names(&["sys_openat", "sys_close"]);
            for (name, spec) in [
                ("calls", each_syscall(&calls, &of)),
                ("list", listed("syscalls", true, &calls, &of)),
                ("functions", listed("functions", false, &names(&["tcp_connect", "tcp_close"]), &of)),
                ("uprobes", uprobes("/bin/bash", &names(&["readline", "main.(*T).f"]), &of)),
                ("usdts", usdts("/lib/libc.so.6", &probes, &of)),
            ] {
                let text = policy(&of, name, &spec);
                let checked = saker_policy::check(&text);
                assert_eq!(checked.count(Severity::Error), 0, "{text}\n{:?}", checked.diagnostics);
                assert_eq!(checked.policies.len(), 1, "{text}");
            }
        }
    }

    #[test]
    fn system_calls_are_found_among_symbols() {
        let symbols = "0 T __x64_sys_openat\n0 t __ia32_sys_openat\n0 T __x64_sys_ni_syscall\n0 T __x64_sys_close\t[m]\nx\n";
        assert_eq!(calls_among(symbols), names(&["sys_close", "sys_openat"]));
        assert!(chosen(names(&["a", "b"]), Some(&"^a".to_owned())).unwrap() == names(&["a"]));
        assert!(chosen(names(&["a"]), Some(&"z".to_owned())).is_err());
    }
}

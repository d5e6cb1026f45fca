//! `saker mapped`: which processes have a library or program mapped.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use clap::Args;
use saker_policy::values::Glob;
use saker_probes::mapped::{Found, Search, Wanted, search};
use serde_json::json;

use crate::output::{self, Data, Usage};

/// Bytes of a SHA-256.
const SHA256: usize = 32;

/// Arguments of `saker mapped`.
#[derive(Args)]
pub struct MappedArgs {
    /// Files whose path fits a pattern, as Glob of policies has them (repeatable)
    #[arg(value_name = "PATTERN", required_unless_present_any = ["build_id", "sha256"])]
    paths: Vec<String>,
    /// Files that the linker named so, in hexadecimal digits (repeatable)
    #[arg(long, value_name = "HEX")]
    build_id: Vec<String>,
    /// Files with this digest, in hexadecimal digits (repeatable); all files that are mapped are read once
    #[arg(long, value_name = "HEX")]
    sha256: Vec<String>,
    /// The proc file system to look at
    #[arg(long, value_name = "DIR", default_value = "/proc")]
    procfs: PathBuf,
    /// Form of the output
    #[arg(short, long, value_enum, default_value_t = Data::Table)]
    output: Data,
}

/// Looks at all processes and prints those that are found.
pub fn run(args: &MappedArgs) -> Result<()> {
    let wanted = wanted(args).map_err(Usage::of)?;
    let search = look(&args.procfs, &wanted)?;
    match args.output {
        Data::Json => output::print(&format!("{}\n", serde_json::to_string_pretty(&document(&search))?)),
        Data::Table => output::print(&table(&search)),
    }
}

fn look(procfs: &Path, wanted: &Wanted) -> Result<Search> {
    search(procfs, wanted).with_context(|| format!("the processes in {} cannot be listed", procfs.display()))
}

fn wanted(args: &MappedArgs) -> Result<Wanted> {
    let glob =
        |text: &String| Glob::parse(text).map_err(|problem| anyhow::anyhow!("{text}: {}", problem.message));
    let id = |text: &String| bytes(text).with_context(|| format!("--build-id {text}"));
    let sum = |text: &String| {
        let bytes = bytes(text).with_context(|| format!("--sha256 {text}"))?;
        ensure!(bytes.len() == SHA256, "--sha256 {text}: a SHA-256 has {} digits", 2 * SHA256);
        Ok(bytes)
    };
    Ok(Wanted {
        paths: args.paths.iter().map(glob).collect::<Result<_>>()?,
        build_ids: args.build_id.iter().map(id).collect::<Result<_>>()?,
        sha256: args.sha256.iter().map(sum).collect::<Result<_>>()?,
    })
}

fn bytes(text: &str) -> Result<Vec<u8>> {
    let digits: Option<Vec<u8>> =
        text.chars().map(|digit| digit.to_digit(16).and_then(|digit| u8::try_from(digit).ok())).collect();
    let digits = digits.context("these are no hexadecimal digits")?;
    ensure!(!digits.is_empty() && digits.len().is_multiple_of(2), "it takes an even number of digits");
    Ok(digits.chunks(2).map(|pair| pair.iter().fold(0, |byte, digit| byte << 4 | digit)).collect())
}

fn hex(bytes: Option<&Vec<u8>>) -> String {
    bytes.map(|bytes| bytes.iter().map(|byte| format!("{byte:02x}")).collect()).unwrap_or_default()
}

fn document(search: &Search) -> serde_json::Value {
    let found = |one: &Found| {
        json!({
            "pid": one.pid,
            "binary": one.program,
            "cgroup": one.cgroup,
            "path": one.path,
            "deleted": one.deleted,
            "build_id": hex(one.build_id.as_ref()),
            "sha256": hex(one.sha256.as_ref()),
        })
    };
    let unknown = |(pid, reason): &(u32, String)| json!({"pid": pid, "reason": reason});
    json!({
        "found": search.found.iter().map(found).collect::<Vec<_>>(),
        "processes": search.processes,
        "unknown": search.unknown.iter().map(unknown).collect::<Vec<_>>(),
    })
}

fn table(search: &Search) -> String {
    let mut text = String::new();
    if !search.found.is_empty() {
        let mut rows = vec![["PID", "BINARY", "FILE", "BUILD ID", "CGROUP"].map(str::to_owned).to_vec()];
        for one in &search.found {
            let file = shown(&one.path) + if one.deleted { " (deleted)" } else { "" };
            let id = hex(one.build_id.as_ref());
            rows.push(vec![one.pid.to_string(), shown(&one.program), file, id, shown(&one.cgroup)]);
        }
        text.push_str(&output::columns(&rows));
        text.push('\n');
    }
    text.push_str(&format!("{} found in {} processes\n", search.found.len(), search.processes));
    for (pid, reason) in &search.unknown {
        text.push_str(&format!("not looked at: PID {pid}: {}\n", shown(reason)));
    }
    text
}

/// Names come from whoever runs the processes.
fn shown(text: &str) -> String {
    text.chars()
        .flat_map(|one| if one.is_control() { one.escape_default().collect() } else { vec![one] })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digits_are_bytes() {
        assert_eq!(bytes("00ffA1").unwrap(), [0, 255, 0xa1]);
        for wrong in ["", "0", "0g", "€€"] {
            assert!(bytes(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn what_is_found_is_shown() {
        let found = Found {
            pid: 7,
            program: "/usr/bin/\u{1b}[31mx".into(),
            cgroup: "/system.slice".into(),
            path: "/lib/liblzma.so.5.6.1".into(),
            deleted: true,
            build_id: Some(vec![0xab, 1]),
            sha256: None,
        };
        let search = Search { found: vec![found], processes: 3, unknown: vec![(9, "it is secret".into())] };
        let text = table(&search);
        assert!(text.contains("/lib/liblzma.so.5.6.1 (deleted)  ab01"), "{text}");
        assert!(text.contains("1 found in 3 processes") && text.contains("PID 9: it is secret"), "{text}");
        assert!(!text.contains('\u{1b}'), "{text:?}");
        assert_eq!(document(&search)["found"][0]["build_id"], "ab01");
    }
}

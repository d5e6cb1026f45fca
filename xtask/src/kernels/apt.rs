//! Fetches packages of another Debian suite without touching the machine's own apt.
//!
//! Each suite gets a folder with its own configuration, source, lists and cache. Packages are only
//! downloaded, never installed.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use super::select::{self, Package};
use super::series;
use crate::process::{self, command};

/// How the suite's signature is checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Trust {
    /// Against the keys in this file.
    Keyring(PathBuf),
    /// Not at all; only on the user's explicit wish.
    Nothing,
}

/// One suite of one archive, with its lists fetched.
#[derive(Debug)]
pub(crate) struct Suite {
    pub(crate) name: String,
    config: PathBuf,
}

impl Suite {
    /// Fetches the lists of `suite` from the archive at `uri`; state goes under `root`.
    pub(crate) fn fetch(root: &Path, uri: &str, suite: &str, trust: &Trust) -> Result<Self> {
        let dir = root.join(suite);
        for part in ["state/lists/partial", "cache/archives/partial"] {
            let path = dir.join(part);
            fs::create_dir_all(&path).with_context(|| format!("cannot create {}", path.display()))?;
        }
        write(&dir.join("status"), "")?;
        write(&dir.join("sources.list"), &source_line(uri, suite, trust))?;
        let config = dir.join("apt.conf");
        write(&config, &configuration(&dir))?;
        let fetched = Self { name: suite.to_owned(), config };
        process::output(command("apt-get").arg("-c").arg(&fetched.config).args(["-q", "update"]))
            .with_context(|| format!("cannot read suite {suite} of {uri}"))?;
        Ok(fetched)
    }

    /// Describes every plain kernel of the suite.
    pub(crate) fn kernels(&self) -> Result<Vec<Package>> {
        let names = process::output(self.cache_query().args(["pkgnames", "linux-image-"]))?;
        let names: Vec<&str> = names.lines().filter(|name| select::is_plain_kernel(name)).collect();
        self.describe(&names)
    }

    /// Describes packages by name.
    pub(crate) fn describe(&self, names: &[&str]) -> Result<Vec<Package>> {
        if names.is_empty() {
            return Ok(Vec::new());
        }
        Ok(select::parse_packages(&process::output(
            self.cache_query().args(["--no-all-versions", "show"]).args(names),
        )?))
    }

    /// Downloads packages into a folder.
    pub(crate) fn download(&self, names: &[&str], into: &Path) -> Result<()> {
        let mut get = command("apt-get");
        get.arg("-c").arg(&self.config).args(["-q", "download"]).args(names).current_dir(into);
        process::output(&mut get).with_context(|| format!("cannot download from suite {}", self.name))?;
        Ok(())
    }

    fn cache_query(&self) -> std::process::Command {
        let mut query = command("apt-cache");
        query.arg("-c").arg(&self.config).arg("-q");
        query
    }
}

fn write(path: &Path, text: &str) -> Result<()> {
    fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))
}

fn source_line(uri: &str, suite: &str, trust: &Trust) -> String {
    let mut options = String::from("arch=amd64");
    match trust {
        Trust::Keyring(path) => options.push_str(&format!(" signed-by={}", path.display())),
        Trust::Nothing => options.push_str(" trusted=yes"),
    }
    if series::is_frozen(suite) {
        // Still signed, only not renewed.
        options.push_str(" check-valid-until=no");
    }
    format!("deb [{options}] {uri} {suite} main\n")
}

/// Read after the machine's own configuration, so that proxies and the like stay in force.
fn configuration(dir: &Path) -> String {
    let dir = dir.display();
    format!(
        r#"Dir::State "{dir}/state";
Dir::State::status "{dir}/status";
Dir::Cache "{dir}/cache";
Dir::Etc::sourcelist "{dir}/sources.list";
Dir::Etc::sourceparts "-";
Dir::Etc::preferences "-";
Dir::Etc::preferencesparts "-";
// The machine's hooks are about the machine's own packages.
#clear APT::Update::Pre-Invoke;
#clear APT::Update::Post-Invoke;
#clear APT::Update::Post-Invoke-Success;
// The cache folder may lie where apt's own user cannot go.
APT::Sandbox::User "root";
APT::Update::Error-Mode "any";
APT::Architecture "amd64";
Acquire::Languages "none";
Acquire::Retries "3";
Acquire::IndexTargets::deb::DEP-11::DefaultEnabled "false";
Acquire::IndexTargets::deb::Contents-deb::DefaultEnabled "false";
"#
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn verification_is_on_unless_asked_otherwise() {
        let trust = Trust::Keyring("/keys.gpg".into());
        assert_eq!(
            source_line("http://m.example/debian", "sid", &trust),
            "deb [arch=amd64 signed-by=/keys.gpg] http://m.example/debian sid main\n"
        );
        assert!(source_line("http://m.example/debian", "sid", &Trust::Nothing).contains("trusted=yes"));
    }

    #[test]
    fn only_frozen_suites_may_be_past_their_date() {
        let trust = Trust::Keyring("/keys.gpg".into());
        assert!(source_line("u", "bullseye-security", &trust).contains("check-valid-until=no"));
        assert!(!source_line("u", "trixie", &trust).contains("check-valid-until"));
    }
}

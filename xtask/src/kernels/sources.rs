//! Reads apt's own configuration to learn where this machine gets Debian packages from.
//!
//! Both forms are understood: one line per source (`*.list`) and stanzas (`*.sources`, deb822).

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

/// One binary-package source of the machine.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Source {
    pub(crate) uris: Vec<String>,
    pub(crate) suites: Vec<String>,
    pub(crate) components: Vec<String>,
    pub(crate) signed_by: Option<String>,
}

/// Where to fetch Debian packages: candidates for the main archive and for the security archive, the
/// likeliest first.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Mirrors {
    pub(crate) main: Vec<String>,
    pub(crate) security: Vec<String>,
}

impl Mirrors {
    /// Takes the mirrors out of the sources under an apt configuration directory, `/etc/apt`.
    pub(crate) fn of_machine(apt: &Path) -> Result<Self> {
        let sources = read_all(apt)?;
        let mirrors = Self::choose(&sources);
        if mirrors.main.is_empty() {
            bail!(
                "no Debian archive among the apt sources under {}; give one with --mirror URL",
                apt.display()
            );
        }
        Ok(mirrors)
    }

    /// One archive, with the security archive beside it.
    pub(crate) fn only(uri: &str) -> Self {
        let mut mirrors = Self { main: vec![uri.trim_end_matches('/').to_owned()], security: Vec::new() };
        mirrors.add_security_of_main();
        mirrors
    }

    /// Sorts the addresses of all sources by how surely they are Debian's archive.
    pub(crate) fn choose(sources: &[Source]) -> Self {
        let mut main = Vec::new();
        let mut security = Vec::new();
        for source in sources.iter().filter(|s| s.components.iter().any(|c| c == "main")) {
            let is_security =
                source.suites.iter().any(|s| s.ends_with("-security") || s.ends_with("/updates"));
            for uri in source.uris.iter().filter(|uri| !uri.starts_with("cdrom:")) {
                let uri = uri.trim_end_matches('/').to_owned();
                let list = if is_security { &mut security } else { &mut main };
                list.push((score(source, &uri), uri));
            }
        }
        let mut mirrors = Self { main: ranked(main), security: ranked(security) };
        mirrors.add_security_of_main();
        mirrors
    }

    /// A machine without security sources still has a mirror that usually serves that archive too.
    fn add_security_of_main(&mut self) {
        for base in self.main.iter().filter_map(|uri| uri.strip_suffix("/debian")) {
            let uri = format!("{base}/debian-security");
            if !self.security.contains(&uri) {
                self.security.push(uri);
            }
        }
    }

    /// The addresses that may serve a suite.
    pub(crate) fn for_suite(&self, suite: &str) -> &[String] {
        if suite.ends_with("-security") { &self.security } else { &self.main }
    }
}

/// Third parties use Debian's code names too; the archive itself is known by its key, its further
/// suites and its customary path.
fn score(source: &Source, uri: &str) -> u32 {
    let key = source.signed_by.as_deref().is_some_and(|key| key.contains("debian-archive"));
    let suites = source.suites.iter().any(|s| s.ends_with("-updates") || s.ends_with("-security"));
    let path = uri.ends_with("/debian") || uri.ends_with("/debian-security");
    u32::from(key) * 4 + u32::from(suites) * 2 + u32::from(path)
}

fn ranked(mut list: Vec<(u32, String)>) -> Vec<String> {
    list.sort_by_key(|(score, _)| std::cmp::Reverse(*score));
    let mut uris: Vec<String> = Vec::new();
    for (_, uri) in list {
        if !uris.contains(&uri) {
            uris.push(uri);
        }
    }
    uris
}

fn read_all(apt: &Path) -> Result<Vec<Source>> {
    let mut sources = Vec::new();
    for file in source_files(apt)? {
        let text = fs::read_to_string(&file).with_context(|| format!("cannot read {}", file.display()))?;
        if file.extension().is_some_and(|e| e == "sources") {
            sources.extend(parse_stanzas(&text));
        } else {
            sources.extend(text.lines().filter_map(parse_line));
        }
    }
    Ok(sources)
}

fn source_files(apt: &Path) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    let parts = apt.join("sources.list.d");
    if parts.is_dir() {
        let listed = fs::read_dir(&parts).with_context(|| format!("cannot list {}", parts.display()))?;
        for entry in listed {
            let path = entry.with_context(|| format!("cannot list {}", parts.display()))?.path();
            if path.extension().is_some_and(|e| e == "sources" || e == "list") {
                files.push(path);
            }
        }
    }
    files.sort();
    let single = apt.join("sources.list");
    if single.is_file() {
        files.insert(0, single);
    }
    Ok(files)
}

/// `deb [option=value ...] URI SUITE COMPONENT...`
fn parse_line(line: &str) -> Option<Source> {
    let line = line.split('#').next().unwrap_or_default();
    let mut rest = line.trim().strip_prefix("deb")?;
    if !rest.starts_with(char::is_whitespace) {
        return None; // deb-src
    }
    rest = rest.trim_start();
    let mut source = Source::default();
    if let Some(options) = rest.strip_prefix('[') {
        let (options, after) = options.split_once(']')?;
        rest = after;
        source.signed_by =
            options.split_whitespace().find_map(|o| o.strip_prefix("signed-by=")).map(str::to_owned);
    }
    let mut words = rest.split_whitespace().map(str::to_owned);
    source.uris.push(words.next()?);
    source.suites.push(words.next()?);
    source.components.extend(words);
    Some(source)
}

/// Stanzas of `Field: value` with continuation lines, parted by empty lines.
fn parse_stanzas(text: &str) -> Vec<Source> {
    let lines: Vec<&str> = text.lines().filter(|line| !line.starts_with('#')).collect();
    lines.split(|line| line.trim().is_empty()).filter_map(parse_stanza).collect()
}

fn parse_stanza(lines: &[&str]) -> Option<Source> {
    let mut fields: Vec<(String, String)> = Vec::new();
    for line in lines {
        if line.starts_with([' ', '\t']) {
            let (_, value) = fields.last_mut()?;
            value.push(' ');
            value.push_str(line.trim());
        } else {
            let (name, value) = line.split_once(':')?;
            fields.push((name.to_ascii_lowercase(), value.trim().to_owned()));
        }
    }
    let words = |name: &str| -> Vec<String> {
        let value = fields.iter().find(|(n, _)| n == name).map_or("", |(_, value)| value);
        value.split_whitespace().map(str::to_owned).collect()
    };
    let disabled = words("enabled").first().is_some_and(|v| matches!(v.as_str(), "no" | "false" | "0"));
    if disabled || !words("types").iter().any(|t| t == "deb") {
        return None;
    }
    Some(Source {
        uris: words("uris"),
        suites: words("suites"),
        components: words("components"),
        signed_by: words("signed-by").into_iter().next(),
    })
}

#[cfg(test)]
#[path = "sources_tests.rs"]
mod tests;

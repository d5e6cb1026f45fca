//! Gets the kernel of a series from Debian's archive into the cache.

use std::fs;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use anyhow::{Context, Result, bail};

use super::apt::{Suite, Trust};
use super::cache::{Cache, KernelSet};
use super::select::{self, Package};
use super::series::Series;
use super::sources::Mirrors;
use super::{initrd, prepare};
use crate::process::{self, command};

/// Where to fetch from and whom to trust; what is not given is taken from the machine's apt.
#[derive(Debug, Clone, Default, clap::Args)]
pub(crate) struct Origin {
    /// Archive to fetch from [default: that of this machine's apt sources]
    #[arg(long, value_name = "URL")]
    mirror: Option<String>,
    /// Security archive to fetch from [default: that of this machine's apt sources]
    #[arg(long, value_name = "URL")]
    security_mirror: Option<String>,
    /// Keys that sign the archive [default: the machine's Debian keyring]
    #[arg(long, value_name = "FILE")]
    keyring: Option<PathBuf>,
    /// Accept packages without checking any signature
    #[arg(long)]
    allow_unverified: bool,
}

/// Where Debian installs the keys of its archive.
const KEYRINGS: [&str; 2] =
    ["/usr/share/keyrings/debian-archive-keyring.pgp", "/usr/share/keyrings/debian-archive-keyring.gpg"];

impl Origin {
    fn mirrors(&self) -> Result<Mirrors> {
        let mut mirrors = match &self.mirror {
            Some(uri) => Mirrors::only(uri),
            None => Mirrors::of_machine(Path::new("/etc/apt"))?,
        };
        if let Some(uri) = &self.security_mirror {
            mirrors.security = vec![uri.clone()];
        }
        Ok(mirrors)
    }

    fn trust(&self) -> Result<Trust> {
        if self.allow_unverified {
            eprintln!("kernels: WARNING: signatures are not checked (--allow-unverified)");
            return Ok(Trust::Nothing);
        }
        let installed = || KEYRINGS.iter().map(PathBuf::from).find(|path| path.is_file());
        match self.keyring.clone().or_else(installed) {
            Some(path) => Ok(Trust::Keyring(path)),
            None => bail!(
                "no Debian archive keyring on this machine; install debian-archive-keyring or give --keyring FILE"
            ),
        }
    }
}

/// The kernel of a series, fetched and prepared unless it is ready.
pub(crate) fn ensure(cache: &Cache, origin: &Origin, series: Series) -> Result<KernelSet> {
    if let Some(set) = cache.ready(series)?.filter(initrd::is_current) {
        return Ok(set);
    }
    let _lock = cache.lock()?;
    // Another run may have finished it meanwhile.
    if let Some(set) = cache.ready(series)? {
        if !initrd::is_current(&set) {
            initrd::build(&set)?;
        }
        return Ok(set);
    }
    fetch(cache, origin, series).with_context(|| format!("kernel {series}"))
}

/// Fetches a kernel again although one is ready, and replaces it.
pub(crate) fn refresh(cache: &Cache, origin: &Origin, series: Series) -> Result<KernelSet> {
    let _lock = cache.lock()?;
    fetch(cache, origin, series).with_context(|| format!("kernel {series}"))
}

fn fetch(cache: &Cache, origin: &Origin, series: Series) -> Result<KernelSet> {
    let root = cache.apt_root()?;
    let mut archive =
        Archive { root: &root, mirrors: origin.mirrors()?, trust: origin.trust()?, renewed: false };
    let mut offered = Vec::new();
    for name in series.suites() {
        match archive.suite(name) {
            Ok(suite) => {
                let suite = Rc::new(suite);
                offered.extend(suite.kernels()?.into_iter().map(|kernel| (Rc::clone(&suite), kernel)));
            }
            Err(error) => eprintln!("kernels: {series}: passing over {name}: {error:#}"),
        }
    }
    let Some((suite, kernel)) = select::best(offered, series) else {
        bail!(
            "none of the suites {} offers it or a later one; if Debian has moved it to another archive, \
             give that one with --mirror",
            series.suites().join(", ")
        );
    };
    let staging = cache.staging(series)?;
    let debs = download(&suite, &kernel, &root, series)?;
    prepare::prepare(series, &debs, &staging)?;
    fs::remove_dir_all(&root).with_context(|| format!("cannot remove {}", root.display()))?;
    put_in_place(cache, series, &staging)
}

/// Debian's archive as this run reaches it.
struct Archive<'a> {
    root: &'a Path,
    mirrors: Mirrors,
    trust: Trust,
    /// Newer keys have been looked for.
    renewed: bool,
}

impl Archive<'_> {
    /// Tries the mirrors in turn, and once more with newer keys where keys are what is missing.
    fn suite(&mut self, name: &str) -> Result<Suite> {
        let mut failure = None;
        for uri in self.mirrors.for_suite(name).to_vec() {
            match Suite::fetch(self.root, &uri, name, &self.trust) {
                Ok(suite) => return Ok(suite),
                Err(error) if lacks_key(&error) && !self.renewed => {
                    self.renewed = true;
                    self.trust = self
                        .newer_keyring()
                        .with_context(|| format!("no key for suite {name} on this machine"))?;
                    return Suite::fetch(self.root, &uri, name, &self.trust);
                }
                Err(error) => failure = failure.or(Some(error)),
            }
        }
        Err(failure.with_context(|| format!("the apt sources name no archive for suite {name}"))?)
    }

    /// The keyring package of the machine's own suite, verified with the keys at hand: point releases
    /// add the keys of later suites to it.
    fn newer_keyring(&self) -> Result<Trust> {
        let codename = host_codename()?;
        let uri = self.mirrors.main.first().context("the apt sources name no archive")?;
        eprintln!("kernels: fetching newer archive keys from {codename}");
        let suite = Suite::fetch(&self.root.join("keys"), uri, &codename, &self.trust)?;
        let into = self.root.join("keyring");
        fs::create_dir_all(&into).with_context(|| format!("cannot create {}", into.display()))?;
        suite.download(&["debian-archive-keyring"], &into)?;
        for deb in listed(&into)? {
            process::output(command("dpkg").arg("-x").arg(deb).arg(&into))?;
        }
        let keyrings = KEYRINGS.iter().map(|path| into.join(path.trim_start_matches('/')));
        let newer = keyrings.into_iter().find(|path| path.is_file());
        newer.map(Trust::Keyring).context("the keyring package holds no keyring")
    }
}

/// Whether apt refused a suite for want of its key, in the words of gpgv and of sqv.
fn lacks_key(error: &anyhow::Error) -> bool {
    let text = format!("{error:#}");
    text.contains("NO_PUBKEY") || text.contains("Missing key")
}

fn host_codename() -> Result<String> {
    let text = fs::read_to_string("/etc/os-release").context("cannot read /etc/os-release")?;
    let line = text.lines().find_map(|line| line.strip_prefix("VERSION_CODENAME="));
    line.map(|name| name.trim_matches('"').to_owned()).context("/etc/os-release names no VERSION_CODENAME")
}

fn download(suite: &Suite, kernel: &Package, root: &Path, series: Series) -> Result<PathBuf> {
    let mut names: Vec<&str> = vec![&kernel.name];
    names.extend(kernel.parts());
    let size: u64 = suite.describe(&names)?.iter().map(|package| package.size).sum();
    eprintln!(
        "kernels: {series}: fetching {} {} of {} ({} MB)",
        kernel.name,
        kernel.version,
        suite.name,
        size / 1_000_000
    );
    let debs = root.join("debs");
    fs::create_dir_all(&debs).with_context(|| format!("cannot create {}", debs.display()))?;
    suite.download(&names, &debs)?;
    Ok(debs)
}

fn listed(dir: &Path) -> Result<Vec<PathBuf>> {
    let entries = fs::read_dir(dir).with_context(|| format!("cannot list {}", dir.display()))?;
    Ok(entries.filter_map(Result::ok).map(|entry| entry.path()).filter(|path| path.is_file()).collect())
}

fn put_in_place(cache: &Cache, series: Series, staging: &Path) -> Result<KernelSet> {
    let place = cache.set_dir(series);
    let old = place.with_extension("old");
    let _ = fs::remove_dir_all(&old);
    if place.exists() {
        fs::rename(&place, &old).with_context(|| format!("cannot move {} away", place.display()))?;
    }
    fs::rename(staging, &place).with_context(|| format!("cannot put {} in place", place.display()))?;
    let _ = fs::remove_dir_all(&old);
    KernelSet::read(series, place)
}

//! `cargo xtask kernels`: the kernels that tests boot, taken from Debian's archive.

mod apt;
mod bzimage;
mod cache;
mod deb_version;
mod fetch;
mod initrd;
mod prepare;
mod select;
mod series;
mod sources;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;
use clap::Subcommand;

pub(crate) use cache::{Cache, KernelSet};
pub(crate) use fetch::Origin;
pub(crate) use series::{MATRIX, Series};

/// Arguments of `kernels`.
#[derive(clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    action: Action,
}

#[derive(Subcommand)]
enum Action {
    /// Fetches and prepares kernels that are not ready yet.
    Fetch(Fetch),
    /// Shows which kernels are ready, with their release and folder.
    List(Place),
}

#[derive(clap::Args)]
struct Fetch {
    /// Kernel series [default: the whole matrix]
    #[arg(value_name = "SERIES")]
    series: Vec<Series>,
    /// Fetch the newest even where one is ready
    #[arg(long)]
    refresh: bool,
    #[command(flatten)]
    place: Place,
    #[command(flatten)]
    origin: Origin,
}

/// Where prepared kernels are kept.
#[derive(Debug, Clone, Default, clap::Args)]
pub(crate) struct Place {
    /// Folder of prepared kernels [default: saker/kernels in $SAKER_CACHE, else in the user's cache folder]
    #[arg(long, value_name = "DIR")]
    cache_dir: Option<PathBuf>,
}

impl Place {
    /// The kernel of a series, fetched from the machine's Debian archive if it is not ready.
    pub(crate) fn kernel(&self, series: Series) -> Result<KernelSet> {
        let set = fetch::ensure(&self.cache()?, &Origin::default(), series)?;
        set.warn_if_other();
        Ok(set)
    }

    fn cache(&self) -> Result<Cache> {
        Cache::open(self.cache_dir.as_deref())
    }
}

/// Runs the verb.
pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    match &args.action {
        Action::Fetch(fetch) => fetch_all(fetch)?,
        Action::List(place) => list(&place.cache()?)?,
    }
    Ok(ExitCode::SUCCESS)
}

fn fetch_all(args: &Fetch) -> Result<()> {
    let cache = args.place.cache()?;
    let wanted = if args.series.is_empty() { MATRIX.to_vec() } else { args.series.clone() };
    for series in wanted {
        let set = if args.refresh {
            fetch::refresh(&cache, &args.origin, series)?
        } else {
            fetch::ensure(&cache, &args.origin, series)?
        };
        set.warn_if_other();
        println!("{series}\t{}\t{}", set.release, set.dir.display());
    }
    Ok(())
}

fn list(cache: &Cache) -> Result<()> {
    for series in MATRIX {
        match cache.ready(series)? {
            Some(set) => println!("{series}\t{}\t{}", set.release, set.dir.display()),
            None => println!("{series}\tnot fetched"),
        }
    }
    Ok(())
}

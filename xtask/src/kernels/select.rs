//! Picks the kernel package of a series out of what a suite offers.

use std::cmp::Ordering;

use super::deb_version;
use super::series::Series;

/// The parts of a package's description that matter here.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Package {
    pub(crate) name: String,
    pub(crate) version: String,
    /// Names only; of alternatives the first.
    pub(crate) depends: Vec<String>,
    pub(crate) size: u64,
}

impl Package {
    /// What `uname -r` prints on this kernel, for a package named `linux-image-RELEASE`.
    pub(crate) fn release(&self) -> &str {
        self.name.strip_prefix("linux-image-").unwrap_or(&self.name)
    }

    /// Newer Debian kernels are split over several packages: those that this one needs and that carry
    /// its release in their name.
    pub(crate) fn parts(&self) -> impl Iterator<Item = &str> {
        let release = self.release();
        self.depends.iter().map(String::as_str).filter(move |name| {
            name.strip_prefix("linux-").is_some_and(|rest| rest.ends_with(&format!("-{release}")))
        })
    }

    fn is_metapackage(&self) -> bool {
        self.depends.iter().any(|name| name.starts_with("linux-image-"))
    }
}

/// Whether a name is that of a plain kernel image: not the cloud or real-time flavour, no debug
/// symbols, and signed (the unsigned twins hold the same).
pub(crate) fn is_plain_kernel(name: &str) -> bool {
    let release = name.strip_prefix("linux-image-").and_then(|rest| rest.strip_suffix("-amd64"));
    release.is_some_and(|release| {
        release.starts_with(|c: char| c.is_ascii_digit())
            && !release.split('-').any(|part| matches!(part, "cloud" | "rt"))
    })
}

/// Reads the output of `apt-cache show`.
pub(crate) fn parse_packages(text: &str) -> Vec<Package> {
    text.split("\n\n").map(parse_package).filter(|package| !package.name.is_empty()).collect()
}

fn parse_package(stanza: &str) -> Package {
    let mut package = Package::default();
    for line in stanza.lines() {
        let Some((field, value)) = line.split_once(": ") else { continue };
        match field {
            "Package" => value.clone_into(&mut package.name),
            "Version" => value.clone_into(&mut package.version),
            "Size" => package.size = value.trim().parse().unwrap_or(0),
            "Depends" => {
                package.depends =
                    value.split(',').filter_map(|d| d.split_whitespace().next()).map(str::to_owned).collect();
            }
            _ => {}
        }
    }
    package
}

/// The best kernel for a series: the newest of the series itself; failing that, the newest of the
/// nearest later series. `packages` pairs each package with where it comes from.
pub(crate) fn best<T>(packages: Vec<(T, Package)>, wanted: Series) -> Option<(T, Package)> {
    packages
        .into_iter()
        .filter(|(_, package)| is_plain_kernel(&package.name) && !package.is_metapackage())
        .filter_map(|(from, package)| Some((Series::of(&package.version)?, from, package)))
        .filter(|(series, _, _)| *series >= wanted)
        .max_by(|(left_series, _, left), (right_series, _, right)| {
            nearer(*left_series, *right_series)
                .then_with(|| deb_version::compare(&left.version, &right.version))
        })
        .map(|(_, from, package)| (from, package))
}

/// Of two series that are not older than wanted, the lower one is nearer.
fn nearer(left: Series, right: Series) -> Ordering {
    right.cmp(&left)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHOWN: &str = "\
Package: linux-image-7.2.13+deb14-amd64
Source: linux-signed-amd64 (7.2.13+1)
Version: 7.2.13-1
Depends: dracut | initramfs-tools (>= 0.120), linux-base-7.2.13+deb14-amd64 (= 7.2.13-1), \
linux-binary-7.2.13+deb14-amd64 (= 7.2.13-1), linux-modules-7.2.13+deb14-amd64 (= 7.2.13-1)
Description-en: the kernel
 with: details
Size: 1892

Package: linux-image-7.2.9+deb14-amd64
Version: 7.2.9-1
Depends: kmod, linux-base (>= 4.3~)
Size: 124
";

    fn kernel(name: &str, version: &str) -> ((), Package) {
        ((), Package { name: name.into(), version: version.into(), ..Package::default() })
    }

    fn series(text: &str) -> Series {
        text.parse().unwrap()
    }

    #[test]
    fn reads_descriptions_and_the_parts_of_split_kernels() {
        let packages = parse_packages(SHOWN);
        assert_eq!(packages.len(), 2);
        assert_eq!(packages[0].size, 1892);
        let parts: Vec<_> = packages[0].parts().collect();
        assert_eq!(
            parts,
            [
                "linux-base-7.2.13+deb14-amd64",
                "linux-binary-7.2.13+deb14-amd64",
                "linux-modules-7.2.13+deb14-amd64"
            ]
        );
        assert_eq!(packages[1].parts().count(), 0, "linux-base is not part of one kernel");
    }

    #[test]
    fn knows_plain_kernels_by_name() {
        for name in
            ["linux-image-5.10.0-46-amd64", "linux-image-6.12.94+deb12-amd64", "linux-image-7.3-amd64"]
        {
            assert!(is_plain_kernel(name), "{name}");
        }
        for name in [
            "linux-image-amd64",
            "linux-image-cloud-amd64",
            "linux-image-6.12.94+deb12-cloud-amd64",
            "linux-image-6.12.94+deb12-rt-amd64",
            "linux-image-6.12.94+deb12-amd64-dbg",
            "linux-image-6.12.94+deb12-amd64-unsigned",
            "linux-headers-6.12.94+deb12-amd64",
        ] {
            assert!(!is_plain_kernel(name), "{name}");
        }
    }

    #[test]
    fn takes_the_newest_of_the_series() {
        let offered = vec![
            kernel("linux-image-7.2.9+deb13-amd64", "7.2.9-1~bpo13+1"),
            kernel("linux-image-7.2.13+deb14-amd64", "7.2.13-1"),
            kernel("linux-image-7.3-amd64", "7.3~rc2-1~exp1"),
            kernel("linux-image-7.1.13+deb13-amd64", "7.1.13-1~bpo13+1"),
        ];
        assert_eq!(best(offered, series("7.2")).unwrap().1.version, "7.2.13-1");
    }

    #[test]
    fn stands_in_with_the_nearest_later_series() {
        let offered = vec![
            kernel("linux-image-7.5.1+deb14-amd64", "7.5.1-1"),
            kernel("linux-image-7.3.1+deb14-amd64", "7.3.1-1"),
            kernel("linux-image-7.3.4+deb14-amd64", "7.3.4-1"),
            kernel("linux-image-6.12.94+deb13-amd64", "6.12.94-1"),
        ];
        assert_eq!(best(offered, series("7.2")).unwrap().1.version, "7.3.4-1");
    }

    #[test]
    fn metapackages_and_older_series_do_not_count() {
        let mut meta = kernel("linux-image-6.1-amd64", "6.1.158-1");
        meta.1.depends.push("linux-image-6.1.0-0.deb11.52-amd64".into());
        assert!(
            best(vec![meta, kernel("linux-image-5.10.0-46-amd64", "5.10.262-1")], series("6.1")).is_none()
        );
    }
}

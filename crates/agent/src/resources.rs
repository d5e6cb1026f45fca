//! What the agent itself uses of the machine.

use std::fs;
use std::time::Duration;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use rustix::time::{ClockId, clock_gettime};

/// Memory, CPU time and handles of this process.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Usage {
    /// Resident bytes.
    pub resident: u64,
    /// Most resident bytes so far.
    pub resident_peak: u64,
    /// Virtual bytes.
    pub virtual_bytes: u64,
    /// Most virtual bytes allowed.
    pub virtual_max: u64,
    /// CPU time in user mode.
    pub user_seconds: f64,
    /// CPU time in the kernel.
    pub system_seconds: f64,
    /// Threads.
    pub threads: u32,
    /// Open file descriptors.
    pub open_files: u32,
    /// Most file descriptors allowed.
    pub max_files: u64,
}

/// Open files that the agent wants to be allowed, where it may have more than it was given: a policy has up to 512
/// programs, each of which has some forty maps open until all are loaded.
const FILES: u64 = 1 << 16;

/// Allows as many open files as this process can have: what it was given, or what is wanted where it has the right to
/// more (CAP_SYS_RESOURCE). Told is what it has; 0: no limit is known.
pub fn raise_files() -> u64 {
    let given = getrlimit(Resource::Nofile);
    let most = most_files(given.maximum, highest_limit().unwrap_or(FILES));
    let wanted = Rlimit { current: most, maximum: most };
    let usual = Rlimit { current: given.maximum, ..given };
    for raised in [wanted, usual] {
        if raised == given {
            break;
        }
        match setrlimit(Resource::Nofile, raised) {
            Ok(()) => break,
            Err(error) => tracing::debug!(%error, ?raised, "the limit of open files cannot be raised so far"),
        }
    }
    getrlimit(Resource::Nofile).current.unwrap_or(0)
}

/// The most files that any process can be allowed.
fn highest_limit() -> Option<u64> {
    fs::read_to_string("/proc/sys/fs/nr_open").ok()?.trim().parse().ok()
}

/// What to ask for where so many files were given; none: there is no limit.
fn most_files(given: Option<u64>, highest: u64) -> Option<u64> {
    given.map(|given| given.max(FILES.min(highest)))
}

/// CPU time of all threads since the start.
#[must_use]
pub fn cpu_time() -> Duration {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    Duration::new(time.tv_sec.cast_unsigned(), u32::try_from(time.tv_nsec).unwrap_or(0))
}

/// Asks the system. What it does not tell is 0.
#[must_use]
pub fn usage() -> Usage {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let number = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default();
        line.trim_start_matches(':')
            .split_whitespace()
            .next()
            .and_then(|word| word.parse().ok())
            .unwrap_or(0_u64)
    };
    let stat = fs::read_to_string("/proc/self/stat").unwrap_or_default();
    // The name in parentheses may hold spaces; what follows it does not.
    let fields: Vec<&str> = stat.rsplit_once(") ").map_or(Vec::new(), |(_, rest)| rest.split(' ').collect());
    let ticks = rustix::param::clock_ticks_per_second().max(1) as f64;
    let seconds = |index: usize| {
        fields.get(index).and_then(|field| field.parse::<f64>().ok()).map_or(0.0, |count| count / ticks)
    };
    let limit = getrlimit(Resource::Nofile);
    Usage {
        resident: number("VmRSS") * 1024,
        resident_peak: number("VmHWM") * 1024,
        virtual_bytes: number("VmSize") * 1024,
        virtual_max: getrlimit(Resource::As).current.unwrap_or(u64::MAX),
        user_seconds: seconds(11),
        system_seconds: seconds(12),
        threads: u32::try_from(number("Threads")).unwrap_or(0),
        open_files: fs::read_dir("/proc/self/fd").map_or(0, |entries| entries.count() as u32),
        max_files: limit.current.unwrap_or(u64::MAX),
    }
}

/// Bytes that the network namespace of this process received and sent over IP since it was made, those of other processes
/// included. 0: the system does not tell.
#[must_use]
pub fn network() -> [u64; 2] {
    octets(&fs::read_to_string("/proc/self/net/netstat").unwrap_or_default())
}

/// The two counters in the text of netstat: a line of names, and one of their values.
fn octets(text: &str) -> [u64; 2] {
    let mut lines = text.lines().filter_map(|line| line.strip_prefix("IpExt:"));
    let (Some(names), Some(values)) = (lines.next(), lines.next()) else { return [0; 2] };
    let pairs = || names.split_whitespace().zip(values.split_whitespace());
    ["InOctets", "OutOctets"].map(|wanted| {
        pairs().find(|(name, _)| *name == wanted).and_then(|(_, value)| value.parse().ok()).unwrap_or(0)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn more_files_are_asked_for_than_were_given_and_never_fewer() {
        assert_eq!(most_files(Some(4096), 1 << 20), Some(FILES));
        assert_eq!(most_files(Some(4096), 10_000), Some(10_000));
        assert_eq!(most_files(Some(1 << 20), 1 << 20), Some(1 << 20));
        assert_eq!(most_files(None, 1 << 20), None);
        let before = getrlimit(Resource::Nofile);
        let now = raise_files();
        assert!(before.maximum.is_none_or(|given| now >= given), "{before:?} {now}");
    }

    #[test]
    fn counters_of_the_network_are_found_by_their_names() {
        let text = "TcpExt: InOctets\nTcpExt: 9\nIpExt: InMcastPkts InOctets OutOctets InMcastOctets\nIpExt: 1 20 300 4\n";
        assert_eq!(octets(text), [20, 300]);
        assert_eq!(octets("IpExt: InOctets\nIpExt: 7\n"), [7, 0]);
        assert_eq!(octets(""), [0, 0]);
    }

    #[test]
    fn own_usage_is_known() {
        let usage = usage();
        assert!(usage.resident > 100_000 && usage.resident_peak >= usage.resident);
        assert!(usage.threads >= 1 && usage.open_files >= 3 && usage.max_files > 0);
        assert!(cpu_time() > Duration::ZERO);
    }
}

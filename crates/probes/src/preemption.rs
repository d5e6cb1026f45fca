//! Whether a task that runs within the kernel can lose its CPU to another.

use std::fs;

use crate::facts;

/// The model in force, of kernels that can change it: `none voluntary (full) lazy`.
const IN_FORCE: &str = "/sys/kernel/debug/sched/preempt";

/// Whether it can. Where the kernel does not tell, it can.
pub(crate) fn is_possible() -> bool {
    let uname = rustix::system::uname();
    if facts::has_preemptible_tracepoints(&uname.release().to_string_lossy()) {
        return true;
    }
    let version = uname.version().to_string_lossy().into_owned();
    let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
    let config = format!("/boot/config-{}", uname.release().to_string_lossy());
    of(&version, &read(IN_FORCE), &read("/proc/cmdline"), &read(&config))
}

/// Whether a program of an LSM hook is left out while a task has it that lost the CPU. Linux 5.12 began to do so with all
/// programs of trampolines, and a correction of 6.2, which some 6.1 have too, ended it for these: since then there are two
/// functions that lead into programs. Source: `bpf_trampoline_enter` of kernel/bpf/trampoline.c.
pub(crate) fn leaves_lsm_programs_out() -> bool {
    let release = rustix::system::uname().release().to_string_lossy().into_owned();
    left_out(&release, super::kernel::runs_sleeping_programs_at_once)
}

fn left_out(release: &str, corrected: impl FnOnce() -> bool) -> bool {
    let mut numbers = release.split(|sign: char| !sign.is_ascii_digit()).map(str::parse::<u32>);
    let (Some(Ok(major)), Some(Ok(minor))) = (numbers.next(), numbers.next()) else { return true };
    ((5, 12)..(6, 2)).contains(&(major, minor)) && !corrected()
}

/// The same, by the kernel's version text, its model in force, its command line and its configuration, each empty
/// where it cannot be read.
fn of(version: &str, in_force: &str, command_line: &str, config: &str) -> bool {
    let model = |name: &str| matches!(name, "full" | "lazy");
    if !version.contains("PREEMPT") {
        return false;
    }
    if !version.contains("PREEMPT_DYNAMIC") {
        return true;
    }
    let chosen = in_force.split_whitespace().find_map(|word| word.strip_prefix('(')?.strip_suffix(')'));
    // The last one counts.
    let asked = command_line.split_whitespace().filter_map(|word| word.strip_prefix("preempt=")).next_back();
    if let Some(name) = chosen.or(asked) {
        return model(name);
    }
    let built = |name: &str| config.lines().any(|line| line == format!("CONFIG_PREEMPT_{name}=y"));
    !(built("NONE") || built("VOLUNTARY"))
}

#[cfg(test)]
mod tests {
    use super::{left_out, of};

    #[test]
    fn programs_of_security_hooks_are_left_out_by_some_releases() {
        for release in ["5.12.0", "5.15.0-generic", "6.1.5"] {
            assert!(left_out(release, || false), "{release}");
            assert!(!left_out(release, || true), "{release}: corrected");
        }
        for release in ["5.10.0-46-amd64", "6.2.0", "7.2"] {
            assert!(!left_out(release, || false), "{release}");
        }
        assert!(left_out("unknown", || true));
    }

    const DYNAMIC: &str = "#1 SMP PREEMPT_DYNAMIC Debian 6.1.100-1 (2024-01-01)";

    #[test]
    fn the_model_in_force_decides() {
        assert!(!of("#1 SMP Debian 5.10.1", "", "", ""));
        assert!(of("#1 SMP PREEMPT_RT Debian", "", "", "CONFIG_PREEMPT_NONE=y"));
        assert!(of("#1 SMP PREEMPT", "", "", ""));
        assert!(!of(DYNAMIC, "none (voluntary) full\n", "preempt=full", ""));
        assert!(of(DYNAMIC, "none voluntary (full)\n", "", "CONFIG_PREEMPT_VOLUNTARY=y"));
        assert!(of(DYNAMIC, "none voluntary full (lazy)\n", "", ""));
    }

    #[test]
    fn without_it_what_was_asked_for_and_then_what_was_built_in() {
        assert!(of(DYNAMIC, "", "quiet preempt=none preempt=full", "CONFIG_PREEMPT_NONE=y"));
        assert!(!of(DYNAMIC, "", "quiet preempt=voluntary", ""));
        assert!(!of(DYNAMIC, "", "quiet", "CONFIG_PREEMPT_VOLUNTARY=y\n"));
        assert!(of(DYNAMIC, "", "quiet", "# CONFIG_PREEMPT_VOLUNTARY is not set\nCONFIG_PREEMPT=y\n"));
        assert!(of(DYNAMIC, "", "quiet", ""), "nothing is known");
    }
}

//! The machine's hardware as QEMU's command line.

use std::path::{Path, PathBuf};

use anyhow::{Result, bail};

use crate::kernels::KernelSet;

/// Kernel arguments that every machine gets: a console, no wait after a panic, no cost for mitigations,
/// a trusted clock and entropy, and BPF among the security modules.
const KERNEL_ARGUMENTS: &str = "console=ttyS0 quiet panic=-1 mitigations=off tsc=reliable no_timer_check \
random.trust_cpu=on lsm=landlock,lockdown,yama,integrity,bpf";

/// The processor whose instructions are counted.
const MEASURED_CPU: &str = "max";

/// The processor of other machines: without fast string operations, by which kernels and libraries else clear and copy
/// memory. QEMU goes through them byte by byte, and counts each as an instruction, where a processor has one for all.
const PLAIN_CPU: &str = "max,-erms,-fsrm";

/// With `--icount`: the same addresses and the same timer calibration in each run.
const ICOUNT_ARGUMENTS: &str = " nokaslr lpj=4000000";

/// What the user chose.
#[derive(Debug, Clone)]
pub(crate) struct Hardware {
    pub(crate) icount: bool,
    /// Without fast string operations also where instructions are counted.
    pub(crate) plain_strings: bool,
    pub(crate) smp: u32,
    /// CPUs that could be plugged in, those that are there included; at least as many as are there.
    pub(crate) possible: Option<u32>,
    /// A host thread for each CPU instead of one that serves them in turn.
    pub(crate) parallel: bool,
    pub(crate) memory: u32,
    pub(crate) append: Vec<String>,
}

/// Host folders and files the machine is built on.
#[derive(Debug)]
pub(crate) struct Paths<'a> {
    pub(crate) kernel: &'a KernelSet,
    pub(crate) control: &'a Path,
    pub(crate) console: &'a Path,
    pub(crate) shares: &'a [PathBuf],
}

/// All arguments for `qemu-system-x86_64`.
pub(crate) fn arguments(hardware: &Hardware, paths: &Paths<'_>, root: bool) -> Result<Vec<String>> {
    let mut list: Vec<String> =
        ["-nodefaults", "-no-user-config", "-display", "none", "-no-reboot", "-machine", "pc"]
            .map(str::to_owned)
            .into();
    let mut add = |name: &str, value: String| list.extend([name.to_owned(), value]);
    let plain = hardware.plain_strings || !hardware.icount;
    add("-cpu", if plain { PLAIN_CPU } else { MEASURED_CPU }.to_owned());
    add("-m", hardware.memory.to_string());
    // With a thread for each CPU, QEMU before 8.1 can keep running code that another CPU is just
    // patching; kernels that switch their static branches at boot now and then die of it.
    add("-accel", format!("tcg,thread={}", if hardware.parallel { "multi" } else { "single" }));
    let cpus = if hardware.icount { 1 } else { hardware.smp };
    add("-smp", hardware.possible.map_or_else(|| cpus.to_string(), |most| format!("{cpus},maxcpus={most}")));
    if hardware.icount {
        add("-icount", "shift=0,sleep=off".into());
    }
    add("-virtfs", folder("host", Path::new("/"), Access::Read)?);
    add("-virtfs", folder("kmod", &paths.kernel.modules(), Access::Read)?);
    let write = if root { Access::WriteAsRoot } else { Access::WriteAsUser };
    add("-virtfs", folder("ctl", paths.control, write)?);
    for (index, share) in paths.shares.iter().enumerate() {
        add("-virtfs", folder(&format!("share{index}"), share, write)?);
    }
    add("-device", "virtio-serial-pci".into());
    add("-chardev", "stdio,id=out,signal=off".into());
    add("-device", "virtserialport,chardev=out,name=out".into());
    add("-chardev", format!("file,id=console,path={}", escaped(paths.console)?));
    add("-serial", "chardev:console".into());
    add("-kernel", text(&paths.kernel.vmlinux())?);
    add("-initrd", text(&paths.kernel.initrd())?);
    add("-append", kernel_arguments(hardware));
    Ok(list)
}

fn kernel_arguments(hardware: &Hardware) -> String {
    let mut text = KERNEL_ARGUMENTS.to_owned();
    if hardware.icount {
        text.push_str(ICOUNT_ARGUMENTS);
    }
    for more in &hardware.append {
        text.push(' ');
        text.push_str(more);
    }
    text
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Access {
    Read,
    WriteAsRoot,
    /// Without root, owners of files the guest makes cannot be set; that is no failure.
    WriteAsUser,
}

fn folder(tag: &str, path: &Path, access: Access) -> Result<String> {
    let model = if access == Access::WriteAsUser { "none" } else { "passthrough" };
    let read_only = if access == Access::Read { "on" } else { "off" };
    let path = escaped(path)?;
    Ok(format!(
        "local,path={path},mount_tag={tag},security_model={model},multidevs=remap,readonly={read_only}"
    ))
}

/// A path inside a comma-separated option: commas are doubled.
fn escaped(path: &Path) -> Result<String> {
    Ok(text(path)?.replace(',', ",,"))
}

fn text(path: &Path) -> Result<String> {
    match path.to_str() {
        Some(text) => Ok(text.to_owned()),
        None => bail!("the name of {} cannot be passed to QEMU", path.display()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn build(hardware: &Hardware, root: bool) -> Vec<String> {
        let kernel = KernelSet {
            series: "6.12".parse().unwrap(),
            release: "6.12.94-amd64".into(),
            dir: "/cache/6.12".into(),
        };
        let paths = Paths {
            kernel: &kernel,
            control: Path::new("/control"),
            console: Path::new("/control/console"),
            shares: &["/srv/with,comma".into()],
        };
        arguments(hardware, &paths, root).unwrap()
    }

    fn hardware(icount: bool) -> Hardware {
        Hardware {
            icount,
            plain_strings: false,
            smp: 2,
            possible: None,
            parallel: false,
            memory: 2048,
            append: vec!["debug".into()],
        }
    }

    #[test]
    fn counting_instructions_takes_one_cpu() {
        let list = build(&hardware(true), true).join(" ");
        assert!(list.contains("-smp 1 -icount shift=0,sleep=off"), "{list}");
        assert!(list.contains("nokaslr") && list.ends_with(" debug"), "{list}");
        assert!(list.contains("-cpu max -m"), "{list}");
        let list = build(&Hardware { plain_strings: true, ..hardware(true) }, true).join(" ");
        assert!(list.contains("-cpu max,-erms,-fsrm -m"), "{list}");
        let list = build(&hardware(false), true).join(" ");
        assert!(list.contains("thread=single -smp 2") && !list.contains("icount"), "{list}");
        let list = build(&Hardware { parallel: true, ..hardware(false) }, true).join(" ");
        assert!(list.contains("thread=multi -smp 2"), "{list}");
    }

    #[test]
    fn only_control_and_shares_are_writable() {
        let list = build(&hardware(false), true);
        let access = |tag: &str| list.iter().find(|a| a.contains(&format!("mount_tag={tag},"))).unwrap();
        assert!(access("host").contains("readonly=on") && access("kmod").contains("readonly=on"));
        assert!(access("ctl").contains("readonly=off"));
        assert!(
            access("share0").contains("path=/srv/with,,comma,") && access("share0").contains("readonly=off")
        );
        assert!(access("share0").contains("security_model=passthrough"));
        assert!(build(&hardware(false), false).iter().any(|a| a.contains("security_model=none")));
    }

    #[test]
    fn bpf_is_a_security_module() {
        assert!(kernel_arguments(&hardware(false)).contains("integrity,bpf"));
    }
}

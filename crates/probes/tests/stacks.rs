//! Stacks in the running kernel, from the hook to the names of the callers. Needs root and a C compiler.
//!
//! What this kernel cannot hook is said, and the same is tested by what it can.
#![allow(clippy::unwrap_used, reason = "a test")]

use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;

use saker_abi::generated::*;
use saker_policy::plan::{Attach, Sets, UserPlace};
use saker_probes::symbols::{Answer, Question, Symbols};
use saker_probes::{Executable, HookSpec, KernelFacts};
use zerocopy::FromBytes;

#[path = "common/lab.rs"]
mod lab;

use lab::{Lab, plan, value, values};

/// The compiled program of `stacks.c`.
fn program() -> &'static Path {
    static PROGRAM: OnceLock<PathBuf> = OnceLock::new();
    PROGRAM.get_or_init(|| {
        let folder = std::env::temp_dir().join(format!("saker-stacks-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let path = folder.join("stacks");
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/common/stacks.c");
        let flags =
            ["-O1", "-fno-omit-frame-pointer", "-fno-optimize-sibling-calls", "-Wall", "-Werror", "-o"];
        let built = Command::new("cc").args(flags).arg(&path).arg(source).status();
        assert!(built.unwrap().success(), "the program does not compile");
        path
    })
}

/// A program that has made its calls and waits.
struct Waiting(Child);

impl Waiting {
    fn start(mut command: Command) -> Self {
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let mut byte = [0];
        child.stdout.as_mut().unwrap().read_exact(&mut byte).unwrap();
        Self(child)
    }

    fn pid(&self) -> u32 {
        self.0.id()
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        drop(self.0.stdin.take());
        let _ = self.0.wait();
    }
}

/// A plan that tells both stacks of every call.
fn telling(hook: u32, family: u32) -> Box<saker_plan> {
    let mut plan = plan(hook);
    plan.family = family as u8;
    plan.selectors = 1;
    plan.selector[0].flags = (SAKER_SELECT_KERNEL_STACK | SAKER_SELECT_USER_STACK) as u8;
    plan
}

/// Of the system call that the program makes.
fn telling_getpriority(hook: u32) -> HookSpec {
    let mut plan = telling(hook, SAKER_FAMILY_KPROBE);
    plan.flags = SAKER_PLAN_SYSCALL;
    plan.syscall[140 / 64] = 1 << (140 % 64);
    HookSpec { attach: Attach::Syscalls { on_return: false }, plan }
}

fn addresses(record: &[u8], tag: u32) -> Vec<u64> {
    let all = values(record);
    let (_, status, bytes) = all.iter().find(|(found, ..)| u32::from(*found) == tag).unwrap();
    assert_eq!(u32::from(*status), SAKER_STATUS_OK);
    bytes.chunks_exact(8).map(|word| u64::from_ne_bytes(word.try_into().unwrap())).collect()
}

fn look_up(record: &[u8]) -> Answer {
    let (hook, _) = saker_hook::read_from_prefix(record).unwrap();
    assert_eq!(hook.flags & (SAKER_HOOK_KERNEL_STACK | SAKER_HOOK_USER_STACK), 0xc0);
    let question = Question {
        pid: hook.rec.process.pid,
        time: hook.rec.time,
        kernel: addresses(record, SAKER_TAG_KERNEL_STACK),
        user: addresses(record, SAKER_TAG_USER_STACK),
        file: None,
    };
    Symbols::new(Path::new("/proc")).look_up(&question)
}

/// Functions of the kernel's stack, without those of the hook itself.
fn in_kernel(answer: &Answer) -> Vec<&str> {
    answer.kernel.iter().skip(answer.own_frames).map(|one| &*one.symbol).collect()
}

fn in_program(answer: &Answer) -> Vec<&str> {
    answer.user.iter().map(|one| &*one.symbol).collect()
}

/// Whether the kernel says where its functions are.
fn names_are_told() -> bool {
    let text = std::fs::read_to_string("/proc/kallsyms").unwrap_or_default();
    let told = text.lines().any(|line| line.ends_with(" T _stext") && !line.starts_with("0000000000000000"));
    if !told {
        println!("this kernel does not tell where its functions are: only their number is tested");
    }
    told
}

#[test]
fn callers_of_a_system_call_have_names() {
    let Some(mut lab) = Lab::new() else { return };
    let _loaded = lab.hooks.load(&[telling_getpriority(1)], &Sets::default()).unwrap();
    let mut waiting = None;
    let records = lab.records_of(|| {
        let child = Waiting::start(Command::new(program()));
        let pid = child.pid();
        waiting = Some(child);
        pid
    });
    assert_eq!(records.len(), 1);
    let answer = look_up(&records[0]);
    assert_eq!(in_program(&answer)[..4], ["innermost", "in_between", "outermost", "main"], "{answer:?}");
    let module = program().to_str().unwrap();
    let executable = Executable::open(module).unwrap();
    let begin = executable.symbol("innermost", 0).unwrap();
    assert_eq!(&*answer.user[0].module, module);
    assert!(answer.user[0].offset > begin && answer.user[0].offset < begin + 0x80, "{answer:?}");
    if names_are_told() {
        let callers = in_kernel(&answer);
        assert!(callers.contains(&"do_syscall_64"), "{answer:?}");
        assert!(!callers.iter().any(|name| name.starts_with("bpf_prog_")), "{callers:?}");
    }
    assert!(!answer.kernel.is_empty());
}

#[test]
fn what_is_not_known_is_left_out() {
    let Some(mut lab) = Lab::new() else { return };
    let _loaded = lab.hooks.load(&[telling_getpriority(2)], &Sets::default()).unwrap();
    let stripped = program().with_file_name("stripped");
    let made = Command::new("strip").arg("-o").arg(&stripped).arg(program()).status().unwrap();
    assert!(made.success());
    let mut waiting = None;
    let records = lab.records_of(|| {
        let child = Waiting::start(Command::new(&stripped));
        let pid = child.pid();
        waiting = Some(child);
        pid
    });
    let answer = look_up(&records[0]);
    assert_eq!(in_program(&answer)[..3], ["", "", ""]);
    assert_eq!(&*answer.user[0].module, stripped.to_str().unwrap());
    assert_ne!(answer.user[0].offset, 0);
    // The process has ended.
    drop(waiting);
    assert_eq!(look_up(&records[0]).user, []);
}

#[test]
fn a_program_that_only_its_own_mounts_have() {
    let Some(mut lab) = Lab::new() else { return };
    let _loaded = lab.hooks.load(&[telling_getpriority(3)], &Sets::default()).unwrap();
    let folder = program().with_file_name("mounts");
    std::fs::create_dir_all(&folder).unwrap();
    let (folder, file) = (folder.to_str().unwrap(), program().to_str().unwrap());
    let script = format!("mount -t tmpfs none {folder} && cp {file} {folder}/hidden && exec {folder}/hidden");
    let mut command = Command::new("unshare");
    command.args(["--mount", "sh", "-c", &script]);
    let mut waiting = None;
    let records = lab.records_of(|| {
        let child = Waiting::start(command);
        let pid = child.pid();
        waiting = Some(child);
        pid
    });
    assert!(!Path::new(folder).join("hidden").exists());
    let answer = look_up(records.last().unwrap());
    assert_eq!(in_program(&answer)[..2], ["innermost", "in_between"], "{answer:?}");
    assert_eq!(*answer.user[0].module, *format!("{folder}/hidden"));
}

#[test]
fn callers_of_a_function_of_a_program() {
    let Some(mut lab) = Lab::new() else { return };
    let path = program().to_str().unwrap();
    let executable = Executable::open(path).unwrap();
    let offset = executable.symbol("innermost", 0).unwrap();
    let attach = Attach::Uprobe {
        path: path.to_owned(),
        file: executable.mark(),
        places: vec![UserPlace { offset, semaphore: 0, function: 0 }],
        on_return: false,
        at_once: false,
    };
    let spec = HookSpec { attach, plan: telling(4, SAKER_FAMILY_UPROBE) };
    let _loaded = lab.hooks.load(&[spec], &Sets::default()).unwrap();
    let mut waiting = None;
    let records = lab.records_of(|| {
        let child = Waiting::start(Command::new(program()));
        let pid = child.pid();
        waiting = Some(child);
        pid
    });
    let answer = look_up(&records[0]);
    // At its first instruction a function has not yet put its caller's frame into the chain.
    let names = in_program(&answer);
    assert_eq!(names[0], "innermost", "{answer:?}");
    assert_eq!(answer.user[0].offset, offset);
    assert!(names.contains(&"outermost") && names.contains(&"main"), "{answer:?}");
}

#[test]
fn a_record_without_room_says_so() {
    let Some(mut lab) = Lab::new() else { return };
    let mut spec = telling_getpriority(5);
    spec.plan.selector[0].flags = SAKER_SELECT_USER_STACK as u8;
    spec.attach = Attach::Syscalls { on_return: false };
    // Paths take what room there is: the buffer of write is told four times and a bit.
    spec.plan.syscall = [0; 16];
    spec.plan.syscall[0] = 1 << 1;
    spec.plan.arguments = 6;
    (spec.plan.values, spec.plan.entry_values) = (5, 5);
    for index in 0..5 {
        let mut buffer = value(SAKER_TYPE_CHAR_BUF, 1);
        (buffer.max, buffer.size_index) = (4096, 2);
        spec.plan.value[index] = buffer;
    }
    let _loaded = lab.hooks.load(&[spec], &Sets::default()).unwrap();
    let path = program().with_file_name("written");
    let records = lab.records(|| std::fs::write(&path, [0; 8192]).unwrap());
    let (hook, _) = saker_hook::read_from_prefix(&records[0]).unwrap();
    assert_eq!(hook.flags & SAKER_HOOK_USER_STACK, SAKER_HOOK_USER_STACK);
    assert!(values(&records[0]).iter().all(|(tag, ..)| u32::from(*tag) != SAKER_TAG_USER_STACK));
}

#[test]
fn callers_of_a_kernel_function_have_names() {
    let Some(mut lab) = Lab::new() else { return };
    let facts = KernelFacts::discover().unwrap();
    let has = |name: &str| facts.features.iter().any(|feature| feature.name == name && feature.enabled);
    let function = || "security_file_open".to_owned();
    for (feature, attach) in [
        ("fentry", Attach::Trampoline { function: function(), on_return: false }),
        ("kprobe", Attach::Kprobe { function: function(), on_return: false }),
        ("lsm", Attach::Lsm("file_open".into())),
    ] {
        if !has(feature) {
            println!("no {feature} here: NOT RUN");
            continue;
        }
        let _loaded =
            lab.hooks.load(&[HookSpec { attach, plan: telling(6, SAKER_FAMILY_KPROBE) }], &Sets::default());
        let _loaded = _loaded.unwrap();
        let records = lab.records(|| drop(std::fs::File::open("/etc/hostname").unwrap()));
        let answer = look_up(&records[0]);
        let callers = in_kernel(&answer);
        let expected = ["do_dentry_open", "vfs_open", "do_filp_open", "do_sys_openat2"];
        let found = expected.iter().filter(|name| callers.contains(name)).count();
        assert!(found >= 2, "{feature}: {answer:?}");
        assert!(answer.user.iter().any(|one| !one.symbol.is_empty()), "{feature}: {answer:?}");
    }
}

//! Filters on paths of real files: what the kernel makes of them is what the matcher makes of the path that `/proc` tells.
//!
//! The files are in a tree of random names in a file system of its own: some are seen through a second mount, some
//! through directories that were renamed, some are removed, some are deeper than a path is walked quickly, and some are
//! looked at from within another root.

use std::collections::BTreeSet;
use std::fs::File;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use rustix::fs::{Mode, OFlags};
use rustix::mount::{MountFlags, MountPropagationFlags};
use rustix::thread::UnshareFlags;
use saker_policy::matcher::Value;

use crate::equivalence::{Random, checked, decided};
use crate::lab::{Lab, any_function, policy, ways};

/// Files of a tree.
const FILES: usize = 40;

/// A file that is open, as the thread that will read it sees it.
struct Seen {
    path: Vec<u8>,
    mode: u32,
}

/// Short names that begin alike, and names around the lengths where the kernel keeps them elsewhere.
fn name(random: &mut Random) -> String {
    match random.below(8) {
        0 => format!("ab{}", "c".repeat(5 + random.below(4))),
        1 => "n".repeat(15 + random.below(4)),
        2 => format!("{}{}", "m".repeat(29), "x".repeat(random.below(5))),
        3 => "l".repeat(40 + random.below(100)),
        _ => (0..1 + random.below(3)).map(|_| *random.one(&['a', 'b'])).collect(),
    }
}

/// Directories below `top`, each with a file.
fn grow(random: &mut Random, top: &Path) -> Vec<PathBuf> {
    let mut folders = vec![top.to_path_buf()];
    let mut files = Vec::new();
    for number in 0..FILES {
        let mut folder = random.one(&folders).clone();
        let deep = if number == 0 { 22 } else { 1 + random.below(3) };
        for _ in 0..deep {
            // The kernel takes no longer path than 4,096 bytes.
            if folder.as_os_str().len() < 3000 {
                folder.push(name(random));
            }
        }
        std::fs::create_dir_all(&folder).unwrap();
        let file = folder.join(format!("f{}", name(random)));
        std::fs::write(&file, "text").unwrap();
        folders.push(folder);
        files.push(file);
    }
    files
}

/// Makes the tree in a file system that only this thread sees, and opens its files.
#[expect(unsafe_code, reason = "a thread gets directories and mounts of its own")]
fn open_files(random: &mut Random, base: &Path, own_root: bool) -> Vec<(File, Seen)> {
    // SAFETY: file descriptors stay shared; only directories and mounts become this thread's own.
    unsafe { rustix::thread::unshare_unsafe(UnshareFlags::FS | UnshareFlags::NEWNS).unwrap() };
    let private = MountPropagationFlags::PRIVATE | MountPropagationFlags::REC;
    rustix::mount::mount_change("/", private).unwrap();
    rustix::mount::mount("none", base, "tmpfs", MountFlags::empty(), None).unwrap();
    let tree = base.join("tree");
    let mut files = grow(random, &tree);
    // The same files by another way, two mounts deep.
    let (second, third) = (base.join("second"), base.join("second/a/third"));
    std::fs::create_dir_all(&second).unwrap();
    std::fs::create_dir_all(tree.join("a/third")).unwrap();
    rustix::mount::mount_bind_recursive(&tree, &second).unwrap();
    let inner = files[1].parent().unwrap().to_path_buf();
    rustix::mount::mount_bind_recursive(&inner, &third).unwrap();
    let below: Vec<PathBuf> =
        files.iter().map(|file| second.join(file.strip_prefix(&tree).unwrap())).collect();
    files.push(third.join(files[1].file_name().unwrap()));
    files.extend(below.into_iter().step_by(3));
    let mut opened: Vec<File> = files.iter().map(|file| File::open(file).unwrap()).collect();
    opened.push(File::open("/proc/version").unwrap());
    // Names that change while files are open: to a longer one, to a shorter one, and to none.
    for (number, file) in files.iter().take(FILES).enumerate() {
        match number % 8 {
            2 => std::fs::rename(file, file.with_file_name("r".repeat(60))).unwrap(),
            4 => std::fs::rename(file, file.with_file_name("r")).unwrap(),
            6 => std::fs::remove_file(file).unwrap(),
            _ => {}
        }
    }
    let own =
        rustix::fs::open("/proc/thread-self/fd", OFlags::PATH | OFlags::DIRECTORY, Mode::empty()).unwrap();
    if own_root {
        rustix::process::chroot(&second).unwrap();
    }
    let seen = |file: File| {
        let told =
            rustix::fs::readlinkat(&own, file.as_raw_fd().to_string(), Vec::new()).unwrap().into_bytes();
        // The mark of a file that was removed is no part of its path.
        let path = told.strip_suffix(b" (deleted)").map(<[u8]>::to_vec).unwrap_or(told);
        let mode = file.metadata().unwrap().mode();
        (file, Seen { path, mode })
    };
    opened.into_iter().map(seen).collect()
}

/// Filters made of paths that are there, and of others.
fn selectors(random: &mut Random, files: &[Seen]) -> String {
    let mut selectors = String::new();
    for _ in 0..1 + random.below(2) {
        let mut filters = Vec::new();
        for _ in 0..1 + random.below(2) {
            let operators = ["Prefix", "Prefix", "Equal", "Postfix", "NotPrefix", "NotEqual", "NotPostfix"];
            let operator = *random.one(&operators);
            let mut values = BTreeSet::new();
            for _ in 0..*random.one(&[1, 3, 9, 40]) {
                let path = String::from_utf8(random.one(files).path.clone()).unwrap();
                let most = path.len().min(240);
                let value = if operator.ends_with("Postfix") {
                    path[path.len() - 1 - random.below(most.min(40))..].to_owned()
                } else if operator.ends_with("Equal") {
                    if path.len() > 240 { format!("/none/{}", random.below(30)) } else { path }
                } else {
                    path[..2 + random.below(most - 1)].to_owned()
                };
                values.insert(format!("'{value}'"));
            }
            let values: Vec<String> = values.into_iter().collect();
            filters.push(format!("{{index: 0, operator: {operator}, values: [{}]}}", values.join(", ")));
        }
        selectors.push_str(&format!(
            "  - matchPIDs: [{{operator: In, values: [OWN]}}]\n    matchArgs: [{}]\n",
            filters.join(", ")
        ));
    }
    selectors
}

/// A hook, and how a file is used so that it is called.
type Use = (&'static str, fn(&File));

/// By the file, and by its path.
fn uses() -> [Use; 2] {
    [
        ("call: security_file_permission\n  syscall: false\n  args: [{index: 0, type: file}]", |file| {
            file.read_at(&mut [0], 0).unwrap();
        }),
        ("call: security_inode_getattr\n  syscall: false\n  args: [{index: 0, type: path}]", |file| {
            rustix::fs::fstat(file).unwrap();
        }),
    ]
}

#[test]
fn files_of_random_trees() {
    let Some(mut lab) = Lab::new() else { return };
    if !any_function() {
        println!("no function can be hooked here: NOT RUN");
        return;
    }
    let base = std::env::temp_dir().join(format!("saker-paths-{}", std::process::id()));
    std::fs::create_dir(&base).unwrap();
    let (mut told_of, mut of) = (0, 0);
    for way in ways().into_iter().filter(|way| way.0.trampoline || way.0.kprobe) {
        for round in 0..4 {
            let mut random = Random(100 + round);
            let own_root = round % 2 == 1;
            let (call, act) = uses()[round as usize / 2];
            let (sender, files) = mpsc::channel();
            let (go, wait) = mpsc::channel::<()>();
            let (base_there, mut tree) = (base.clone(), Random(round));
            let (done, tid) = mpsc::channel();
            let thread = std::thread::spawn(move || {
                let (opened, seen): (Vec<File>, Vec<Seen>) =
                    open_files(&mut tree, &base_there, own_root).into_iter().unzip();
                sender.send(seen).unwrap();
                while wait.recv().is_ok() {
                    opened.iter().for_each(act);
                    done.send(rustix::thread::gettid().as_raw_nonzero().get().cast_unsigned()).unwrap();
                }
            });
            let seen: Vec<Seen> = files.recv().unwrap();
            for _ in 0..3 {
                let text =
                    policy(&format!("kprobes:\n- {call}\n  selectors:\n{}", selectors(&mut random, &seen)));
                let wanted = checked(&text);
                let expected: Vec<(String, u16)> = seen
                    .iter()
                    .filter_map(|file| {
                        let value =
                            Value::Path { path: file.path.clone(), mode: file.mode, file: Vec::new() };
                        Some((
                            String::from_utf8_lossy(&file.path).into_owned(),
                            decided(&wanted, vec![value])?,
                        ))
                    })
                    .collect();
                let applied = lab.apply_on(&text, &way).unwrap();
                let told = applied.complete(|| {
                    lab.told_of(|| {
                        go.send(()).unwrap();
                        tid.recv().unwrap()
                    })
                });
                let told: Vec<(String, u16)> = told.iter().map(|one| (one.path(0), one.selector)).collect();
                let by = applied.plans[0].attach.mechanism();
                if told != expected {
                    // What else would tell why is gone with the panic.
                    println!("counts: {:?}\n{:?}", applied.loaded.hooks[0].counts(), lab.stats());
                }
                assert_eq!(told, expected, "by {by}, round {round}\n{text}");
                told_of += told.len();
                of += seen.len();
            }
            drop(go);
            thread.join().unwrap();
        }
    }
    println!("{told_of} of {of} calls told");
    assert!(told_of > 100 && of > told_of + 100, "only {told_of} of {of} calls matched");
    std::fs::remove_dir(&base).unwrap();
}

/// What becomes of the directories above a mount whose file is open, one after the other.
fn changes(base: &Path) -> Vec<Box<dyn Fn() + Send>> {
    let [one, two] = ["one", "two"].map(|name| base.join(name));
    let whole = rustix::fs::open("/", OFlags::PATH | OFlags::DIRECTORY, Mode::empty()).unwrap();
    let rename = |from: &Path, to: &Path| -> Box<dyn Fn() + Send> {
        let (from, to) = (from.to_path_buf(), to.to_path_buf());
        Box::new(move || std::fs::rename(&from, &to).unwrap())
    };
    let (away, root) = (two.clone(), one.clone());
    let (there, back) = (one.join("deep/mnt"), two.join("deep/mnt"));
    vec![
        Box::new(|| {}),
        Box::new(|| {}),
        rename(&one, &two),
        Box::new(|| {}),
        rename(&two, &one),
        rename(&one.join("deep"), &one.join("other")),
        rename(&one.join("other"), &one.join("deep")),
        Box::new(move || {
            std::fs::create_dir_all(&back).unwrap();
            rustix::mount::mount_move(&there, &back).unwrap();
        }),
        Box::new(move || {
            // Another place for the mount, and the one where it was for a directory of that name.
            rustix::mount::mount_move(away.join("deep/mnt"), root.join("deep/mnt")).unwrap();
            // Without reading directories, which would be told too.
            for left in ["deep/mnt", "deep", ""] {
                std::fs::remove_dir(away.join(left)).unwrap();
            }
            rustix::process::chroot(&root).unwrap();
        }),
        Box::new(move || {
            rustix::process::fchdir(&whole).unwrap();
            rustix::process::chroot(".").unwrap();
        }),
    ]
}

/// Uses a file after each change, in a file system that only this thread sees. Returns who did, and the paths of the file.
#[expect(unsafe_code, reason = "a thread gets directories and mounts of its own")]
fn use_between_changes(base: &Path) -> (u32, Vec<(String, Value)>) {
    // SAFETY: file descriptors stay shared; only directories and mounts become this thread's own.
    unsafe { rustix::thread::unshare_unsafe(UnshareFlags::FS | UnshareFlags::NEWNS).unwrap() };
    let private = MountPropagationFlags::PRIVATE | MountPropagationFlags::REC;
    rustix::mount::mount_change("/", private).unwrap();
    rustix::mount::mount("none", base, "tmpfs", MountFlags::empty(), None).unwrap();
    let mnt = base.join("one/deep/mnt");
    std::fs::create_dir_all(&mnt).unwrap();
    rustix::mount::mount("none", &mnt, "tmpfs", MountFlags::empty(), None).unwrap();
    // Nothing is written: that would be told too.
    File::create(mnt.join("file")).unwrap();
    let file = File::open(mnt.join("file")).unwrap();
    let own =
        rustix::fs::open("/proc/thread-self/fd", OFlags::PATH | OFlags::DIRECTORY, Mode::empty()).unwrap();
    let mut all = Vec::new();
    for _ in 0..3 {
        for change in changes(base) {
            change();
            file.read_at(&mut [0], 0).unwrap();
            let path = rustix::fs::readlinkat(&own, file.as_raw_fd().to_string(), Vec::new()).unwrap();
            let mode = file.metadata().unwrap().mode();
            let seen = Value::Path { path: path.to_bytes().to_vec(), mode, file: Vec::new() };
            all.push((path.to_string_lossy().into_owned(), seen));
        }
    }
    (rustix::thread::gettid().as_raw_nonzero().get().cast_unsigned(), all)
}

#[test]
fn what_is_kept_of_mounts_is_not_older_than_a_change() {
    let Some(mut lab) = Lab::new() else { return };
    if !any_function() {
        println!("no function can be hooked here: NOT RUN");
        return;
    }
    let base = std::env::temp_dir().join(format!("kept-{}", std::process::id()));
    std::fs::create_dir(&base).unwrap();
    let there = base.display();
    let text = policy(&format!(
        "kprobes:\n- {}\n  selectors:\n\
         \x20 - matchPIDs: [{{operator: In, values: [OWN]}}]\n\
         \x20   matchArgs: [{{index: 0, operator: Prefix, values: ['{there}/one/deep/']}}]\n\
         \x20 - matchPIDs: [{{operator: In, values: [OWN]}}]\n\
         \x20   matchArgs: [{{index: 0, operator: Prefix, values: ['{there}/two/deep/', '/deep/mnt/']}}]\n",
        uses()[0].0
    ));
    let wanted = checked(&text);
    for way in ways().into_iter().filter(|way| way.0.trampoline || way.0.kprobe) {
        let applied = lab.apply_on(&text, &way).unwrap();
        let begin = Instant::now();
        while lab.keeps_mounts() == Some(false) {
            assert!(begin.elapsed() < Duration::from_secs(60), "nothing is ever kept");
            std::thread::sleep(Duration::from_millis(20));
        }
        let (told, expected) = applied.complete(|| {
            let mut seen = Vec::new();
            let base = base.clone();
            let told = lab.told_of(|| {
                let (tid, all) = std::thread::spawn(move || use_between_changes(&base)).join().unwrap();
                seen = all;
                tid
            });
            (told, seen)
        });
        let expected: Vec<(String, u16)> = expected
            .into_iter()
            .filter_map(|(path, seen)| Some((path, decided(&wanted, vec![seen])?)))
            .collect();
        let told: Vec<(String, u16)> = told.iter().map(|one| (one.path(0), one.selector)).collect();
        assert_eq!(told, expected, "by {}", applied.plans[0].attach.mechanism());
        assert!(told.iter().filter(|(_, selector)| *selector == 1).count() >= 9, "{told:?}");
    }
    std::fs::remove_dir(&base).unwrap();
}

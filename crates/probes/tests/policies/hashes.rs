//! Hashes of files by IMA.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::path::{Path, PathBuf};
use std::process::Command;

use saker_abi::generated::*;

use crate::kernel;
use crate::lab::{Lab, Told, mechanisms, policy};
use saker_policy::plan::Kernel as _;

/// Numbers of algorithms that a kernel's IMA may have as its own, with the program that computes them.
const PROGRAMS: [(u8, &str); 4] = [(1, "md5sum"), (2, "sha1sum"), (4, "sha256sum"), (6, "sha512sum")];

/// A folder of files that goes away with it.
struct Files(PathBuf);

impl Files {
    fn new(name: &str) -> Self {
        // Not on an overlay, where a file is opened twice: it, and the file below.
        let path = Path::new("/dev/shm").join(format!("saker-{name}-{}", std::process::id()));
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    fn file(&self, name: &str, content: &[u8]) -> PathBuf {
        let path = self.0.join(name);
        fs::write(&path, content).unwrap();
        path
    }
}

impl Drop for Files {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// The hash as hexadecimal digits, by the program of its algorithm.
fn expected(algorithm: u8, path: &Path) -> String {
    let (_, program) = PROGRAMS.iter().find(|(number, _)| *number == algorithm).unwrap();
    let output = Command::new(program).arg(path).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    text.split_whitespace().next().unwrap().to_owned()
}

/// The hash of a record, as algorithm and digits; none: it could not be computed.
fn told_hash(told: &Told) -> Option<(u8, String)> {
    let (bytes, algorithm) = (told.values.get(&SAKER_TAG_HASH)?, told.hash_algorithm);
    (bytes != b"failed").then(|| (algorithm, bytes.iter().map(|byte| format!("{byte:02x}")).collect()))
}

/// Each call with its hash.
fn pairs(told: Vec<Told>) -> Vec<(Told, Option<(u8, String)>)> {
    let (hashes, calls): (Vec<Told>, Vec<Told>) = told.into_iter().partition(Told::is_return);
    assert_eq!(hashes.len(), calls.len());
    let mut hashes: BTreeMap<u64, Told> = hashes.into_iter().map(|hash| (hash.call, hash)).collect();
    let pair = |call: Told| {
        let hash = hashes.remove(&call.call).unwrap_or_else(|| panic!("{call:?} has no hash"));
        assert!(call.waits() && !call.is_return());
        let found = told_hash(&hash);
        (call, found)
    };
    calls.into_iter().map(pair).collect()
}

/// Asserts that a call is told with the hash that its file has.
fn assert_hash((call, hash): &(Told, Option<(u8, String)>), path: &Path) {
    let (algorithm, digits) = hash.as_ref().unwrap_or_else(|| panic!("no hash of {}", path.display()));
    assert!(call.path(0).ends_with(path.file_name().unwrap().to_str().unwrap()), "{call:?}");
    let wanted = expected(*algorithm, path);
    assert!(digits.starts_with(&wanted), "{}: {digits} instead of {wanted}", path.display());
}

/// Whether files can be hashed at this hook; if not, that a policy is refused for that reason.
fn hashes_at(lab: &mut Lab, hook: &str, text: &str) -> bool {
    let Err(reason) = kernel().hashes_files(hook) else { return true };
    println!("at {hook}: {reason}");
    let refused = lab.apply(text).err().unwrap();
    let lsm = mechanisms().lsm;
    assert!(refused.iter().any(|one| !lsm || one.message.contains(&reason)), "{refused:?}");
    false
}

/// A policy about files of a folder at this hook, with their hashes; without for the file `plain`.
fn of_files(hook: &str, files: &Files) -> String {
    let text = policy(
        "lsmhooks:
- hook: HOOK
  args: [{index: 0, type: file}]
  selectors:
  - matchPIDs: [{operator: In, values: [OWN]}]
    matchArgs: [{index: 0, operator: Equal, values: [FOLDER/plain]}]
  - matchPIDs: [{operator: In, values: [OWN]}]
    matchArgs: [{index: 0, operator: Prefix, values: [FOLDER/]}]
    matchActions: [{action: Post, imaHash: true}]",
    );
    text.replace("HOOK", hook).replace("FOLDER", files.0.to_str().unwrap())
}

fn lock(file: &File) {
    rustix::fs::flock(file, rustix::fs::FlockOperation::LockShared).unwrap();
}

#[test]
fn files_are_told_with_their_hash() {
    let Some(mut lab) = Lab::new() else { return };
    let files = Files::new("hashes");
    let text = of_files("file_lock", &files);
    if !hashes_at(&mut lab, "file_lock", &text) {
        return;
    }
    let contents = [b""[..].to_vec(), b"hello\n"[..].to_vec(), vec![7; 300_000]];
    let paths: Vec<_> =
        (0..).zip(&contents).map(|(number, content)| files.file(&format!("f{number}"), content)).collect();
    let plain = File::open(files.file("plain", b"plain")).unwrap();
    let _applied = lab.apply(&text).unwrap();
    let told = lab.told(|| lock(&plain));
    assert!(told.len() == 1 && !told[0].waits(), "a selector without it is told without");
    let told = pairs(lab.told(|| paths.iter().for_each(|path| lock(&File::open(path).unwrap()))));
    assert_eq!(told.len(), 3);
    for (one, path) in told.iter().zip(&paths) {
        assert_hash(one, path);
    }
    // A folder has no content.
    fs::create_dir(files.0.join("folder")).unwrap();
    let told = pairs(lab.told(|| lock(&File::open(files.0.join("folder")).unwrap())));
    assert!(told.len() == 1 && told[0].1.is_none());
    assert_eq!(lab.waiting_calls(), 0);
}

/// A file that is being opened cannot be read yet: there is what IMA knows of it from before, if it has a policy.
#[test]
fn files_that_are_opened_are_told_with_the_hash_that_is_known() {
    let Some(mut lab) = Lab::new() else { return };
    let files = Files::new("hashes-opened");
    let text = of_files("file_open", &files);
    if !hashes_at(&mut lab, "file_open", &text) {
        return;
    }
    let path = files.file("file", b"content");
    let applied = lab.apply(&text).unwrap();
    let told = pairs(lab.told(|| (0..2).for_each(|_| drop(File::open(&path).unwrap()))));
    assert_eq!(told.len(), 2);
    let counted = fs::read_to_string("/sys/kernel/security/ima/runtime_measurements_count");
    let measures = counted.is_ok_and(|count| count.trim().parse::<u64>().unwrap() > 1);
    println!("IMA {} a policy", if measures { "has" } else { "is without" });
    assert_eq!(told.iter().map(|(_, hash)| hash.is_some()).collect::<Vec<_>>(), [false, measures]);
    told.iter().filter(|(_, hash)| hash.is_some()).for_each(|one| assert_hash(one, &path));
    // IMA opens a file once more that is open for writing only; that is no call of the program.
    let told = pairs(lab.told(|| drop(OpenOptions::new().write(true).open(&path).unwrap())));
    assert_eq!(told.len(), 1);
    assert_hash(&told[0], &path);
    assert_eq!(lab.waiting_calls(), 0);
    drop(applied);
    let text = of_files("file_post_open", &files);
    if kernel().lsm_hook("file_post_open").is_none() {
        println!("this kernel has no hook file_post_open: NOT RUN");
        return;
    }
    if hashes_at(&mut lab, "file_post_open", &text) {
        let _applied = lab.apply(&text).unwrap();
        let told = pairs(lab.told(|| drop(File::open(&path).unwrap())));
        assert_eq!(told.len(), 1);
        assert_hash(&told[0], &path);
    }
}

#[test]
fn threads_that_ask_at_once_get_each_its_hash() {
    let Some(mut lab) = Lab::new() else { return };
    let files = Files::new("hashes-at-once");
    let text = of_files("file_lock", &files);
    if !hashes_at(&mut lab, "file_lock", &text) {
        return;
    }
    let paths: Vec<_> =
        (0..4_usize).map(|thread| files.file(&format!("t{thread}"), &vec![thread as u8; 50_000])).collect();
    let _applied = lab.apply(&text).unwrap();
    let told = lab.told_of_all(|| {
        std::thread::scope(|scope| {
            for path in &paths {
                scope.spawn(move || (0..20).for_each(|_| lock(&File::open(path).unwrap())));
            }
        });
    });
    let told = pairs(told);
    assert_eq!(told.len(), 80);
    for path in &paths {
        let name = path.file_name().unwrap().to_str().unwrap();
        let of: Vec<_> = told.iter().filter(|(call, _)| call.path(0).ends_with(name)).collect();
        assert_eq!(of.len(), 20);
        let wanted = expected(of[0].1.as_ref().unwrap().0, path);
        assert!(of.iter().all(|(_, hash)| hash.as_ref().unwrap().1.starts_with(&wanted)), "{name}");
    }
    assert_eq!(lab.waiting_calls(), 0);
}

#[test]
fn programs_are_told_with_their_hash() {
    let Some(mut lab) = Lab::new() else { return };
    let program = fs::canonicalize("/bin/true").unwrap();
    for (hook, ty) in [
        ("bprm_check_security", "linux_binprm"),
        ("bprm_creds_for_exec", "linux_binprm"),
        ("bprm_creds_from_file", "linux_binprm"),
        ("bprm_committing_creds", "linux_binprm"),
        ("bprm_committed_creds", "linux_binprm"),
        ("mmap_file", "file"),
    ] {
        let text = policy(
            "lsmhooks:
- hook: HOOK
  args: [{index: 0, type: TYPE}]
  selectors:
  - matchArgs: [{index: 0, operator: Equal, values: [PROGRAM]}]
    matchActions: [{action: Post, imaHash: true}]",
        )
        .replace("HOOK", hook)
        .replace("TYPE", ty)
        .replace("PROGRAM", program.to_str().unwrap());
        if kernel().lsm_hook(hook).is_none() {
            println!("this kernel has no hook {hook}: NOT RUN");
            continue;
        }
        if !hashes_at(&mut lab, hook, &text) {
            continue;
        }
        let _applied = lab.apply(&text).unwrap();
        let told = lab.told_of_all(|| assert!(Command::new(&program).status().unwrap().success()));
        // Whoever else runs the program is told of too, and nothing else is.
        let told = pairs(told);
        println!("{hook}: {} calls", told.len());
        assert!(!told.is_empty());
        told.iter().for_each(|one| assert_hash(one, &program));
    }
}

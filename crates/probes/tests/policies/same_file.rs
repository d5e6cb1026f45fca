//! Files by what they are, by any name: the kernel and the matcher agree.

use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use saker_policy::matcher::Value;
use saker_probes::Spared;

use crate::equivalence::{Random, checked, decided, rounds};
use crate::lab::{Lab, policy};

/// Folders and files, some with a further name outside of the folder they are in.
struct Tree {
    root: tempfile::TempDir,
    folders: Vec<PathBuf>,
    /// What is opened, and the path by which the file is known.
    open: Vec<(File, PathBuf)>,
}

fn tree(random: &mut Random) -> Tree {
    let root = tempfile::tempdir_in("/dev/shm").unwrap();
    let mut folders = vec![root.path().join("a"), root.path().join("b")];
    for number in 0..8 {
        folders.push(random.one(&folders).join(format!("f{number}")));
    }
    folders.iter().for_each(|folder| fs::create_dir_all(folder).unwrap());
    fs::create_dir(root.path().join("links")).unwrap();
    let mut open = Vec::new();
    for number in 0..24 {
        let path = random.one(&folders).join(format!("x{number}"));
        fs::write(&path, "text").unwrap();
        let by = if random.below(2) == 0 {
            path.clone()
        } else {
            let link = root.path().join(format!("links/x{number}"));
            fs::hard_link(&path, &link).unwrap();
            link
        };
        open.push((File::open(by).unwrap(), path));
    }
    Tree { root, folders, open }
}

fn selector(random: &mut Random, tree: &Tree) -> String {
    let operator = *random.one(&["SameFile", "SameFile", "NotSameFile"]);
    let value = |path: &Path| format!("'{}'", path.display());
    let folders: Vec<&Path> = tree.folders.iter().map(PathBuf::as_path).collect();
    let files: Vec<&Path> = tree.open.iter().map(|(_, path)| path.as_path()).collect();
    let values: Vec<String> = (0..1 + random.below(4))
        .map(|_| match random.below(6) {
            0 => value(&tree.root.path().join("nothing")),
            1 => value(random.one::<&Path>(&folders)),
            _ => value(random.one::<&Path>(&files)),
        })
        .collect();
    format!("  - matchArgs: [{{args: [1], operator: {operator}, values: [{}]}}]", values.join(", "))
}

#[test]
fn files_by_any_name() {
    let Some(mut lab) = Lab::new() else { return };
    // This process takes the agent's place, which the operators leave out otherwise.
    lab.spare(Spared { hits_agent: true, ..Spared::default() });
    let mut random = Random(23);
    let (mut told_of, mut left) = (0, 0);
    for _ in 0..rounds() {
        let tree = tree(&mut random);
        let selectors: Vec<String> = (0..1 + random.below(3)).map(|_| selector(&mut random, &tree)).collect();
        let text = policy(&format!(
            "kprobes:\n- call: sys_pread64\n  syscall: true\n  args: [{{index: 3, type: int64}}, {{index: 0, type: fd}}]\n  \
             selectors:\n{}",
            selectors.join("\n")
        ));
        let known = checked(&text);
        let value = |(number, (_, path)): (i64, &(File, PathBuf))| {
            let file = path.to_string_lossy().into_owned().into_bytes();
            let path = Value::Path { path: b"/elsewhere".to_vec(), mode: 0o100_644, file };
            Some((number, decided(&known, vec![Value::Integer(number.into()), path])?))
        };
        let expected: Vec<(i64, u16)> = (0..).zip(&tree.open).filter_map(value).collect();
        let _applied = lab.apply(&text).unwrap();
        let told = lab.told(|| {
            for (number, (file, _)) in (0..).zip(&tree.open) {
                file.read_at(&mut [0; 1], number).unwrap();
            }
        });
        let told: Vec<(i64, u16)> = told.iter().map(|one| (one.number(0), one.selector)).collect();
        assert_eq!(told, expected, "{text}");
        told_of += told.len();
        left += tree.open.len() - told.len();
    }
    assert!(told_of as u64 > 2 * rounds() && left as u64 > 2 * rounds(), "{told_of} told, {left} not");
}

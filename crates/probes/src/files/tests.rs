//! What is looked for, without a kernel's table.

use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use super::*;

fn named(paths: &[&Path]) -> Vec<NamedFiles> {
    let paths = paths.iter().map(|path| path.as_os_str().as_bytes().to_vec()).collect();
    vec![NamedFiles { set: 7, paths }]
}

fn inodes(files: &Files) -> Vec<u64> {
    let state = files.state();
    state.told.iter().inspect(|key| assert_eq!(key.0, 7)).map(|key| key.2).collect()
}

#[test]
fn a_file_that_is_not_there_is_waited_for() {
    let folder = tempfile::tempdir_in("/dev/shm").unwrap();
    let path = folder.path().join("later");
    let files = Files::find(&named(&[&path])).unwrap();
    assert!(inodes(&files).is_empty());
    assert!(files.problems()[0].1.contains("leads to nothing now"));
    fs::write(&path, "x").unwrap();
    let look = files.state().known.look(&files.sets);
    assert_eq!(look.wanted.iter().map(|key| key.2).collect::<Vec<_>>(), [fs::metadata(&path).unwrap().ino()]);
    assert!(look.problems.is_empty());
    assert_eq!(parents(&files.sets).into_iter().collect::<Vec<_>>(), [folder.path().as_os_str().as_bytes()]);
}

#[test]
fn a_folder_counts_with_its_device_and_with_files_that_have_another_name() {
    let base = tempfile::tempdir_in("/dev/shm").unwrap();
    let folder = base.path().join("folder");
    fs::create_dir(&folder).unwrap();
    fs::write(folder.join("file"), "x").unwrap();
    fs::hard_link(folder.join("file"), base.path().join("outside")).unwrap();
    let files = Files::find(&named(&[&folder])).unwrap();
    let inode = |path: &Path| fs::metadata(path).unwrap().ino();
    let mut expected = [0, inode(&folder), inode(&folder.join("file"))];
    expected.sort_unstable();
    assert_eq!(inodes(&files), expected);
    assert_eq!(files.problems(), []);
}

#[test]
fn what_cannot_be_told_by_its_numbers_refuses_the_policy() {
    let refused = Files::find(&named(&[Path::new("/proc/version")])).err().unwrap().to_string();
    assert!(
        refused.contains("/proc/version: cannot be told by what it is: the file system proc"),
        "{refused}"
    );
}

#[test]
fn what_was_moved_away_counts_until_it_is_gone() {
    let folder = tempfile::tempdir_in("/dev/shm").unwrap();
    let (path, away) = (folder.path().join("file"), folder.path().join("away"));
    fs::write(&path, "first").unwrap();
    let first = fs::metadata(&path).unwrap().ino();
    let files = Files::find(&named(&[&path])).unwrap();
    let look = || -> Vec<u64> {
        let look = files.state().known.look(&files.sets);
        look.wanted.iter().map(|key| key.2).collect()
    };
    fs::rename(&path, &away).unwrap();
    assert_eq!(look(), [first]);
    fs::write(&path, "second").unwrap();
    let second = fs::metadata(&path).unwrap().ino();
    let mut both = [first, second];
    both.sort_unstable();
    assert_eq!(look(), both);
    // Their names change places, and back.
    let aside = folder.path().join("aside");
    for (from, to) in [(&path, &aside), (&away, &path), (&aside, &away)] {
        fs::rename(from, to).unwrap();
    }
    assert_eq!(look(), both);
    fs::remove_file(&away).unwrap();
    assert_eq!(look(), [first]);
}

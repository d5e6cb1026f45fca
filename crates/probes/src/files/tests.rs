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

/// Looks until what happened has been read, however much it is.
fn looked(files: &Files) -> Vec<u64> {
    for _ in 0..8 {
        files.state().known.look(&files.sets);
    }
    let look = files.state().known.look(&files.sets);
    look.wanted.iter().map(|key| key.2).collect()
}

/// More happens than the kernel keeps events of, by which files that go are not told.
fn flood(folder: &Path) {
    let kept = fs::read_to_string("/proc/sys/fs/inotify/max_queued_events").unwrap();
    let kept: usize = kept.trim().parse().unwrap();
    for number in 0..=kept / 2 {
        let path = folder.join(format!("flood-{number}"));
        fs::write(&path, "").unwrap();
        fs::remove_file(&path).unwrap();
    }
}

#[test]
fn what_was_moved_away_counts_also_when_events_were_lost() {
    let folder = tempfile::tempdir_in("/dev/shm").unwrap();
    let inode = |path: &Path| fs::metadata(path).unwrap().ino();
    let sorted = |mut all: Vec<u64>| {
        all.sort_unstable();
        all
    };
    // So many that their numbers are longer than a digit.
    let paths: Vec<_> = (0..20).map(|number| folder.path().join(format!("file-{number}"))).collect();
    paths.iter().for_each(|path| fs::write(path, "x").unwrap());
    let files =
        Files::find(&named(&paths.iter().map(std::path::PathBuf::as_path).collect::<Vec<_>>())).unwrap();
    files.refresh(true);
    let stays: Vec<u64> = paths[2..].iter().map(|path| inode(path)).collect();
    let (kept, gone) = (folder.path().join("kept"), folder.path().join("gone"));
    fs::rename(&paths[0], &kept).unwrap();
    fs::rename(&paths[1], &gone).unwrap();
    let all = [stays.clone(), vec![inode(&kept), inode(&gone)]].concat();
    assert_eq!(looked(&files), sorted(all));
    flood(folder.path());
    fs::remove_file(&gone).unwrap();
    assert_eq!(looked(&files), sorted([stays.clone(), vec![inode(&kept)]].concat()));
    // It is seen when it goes, although it was looked up meanwhile.
    fs::remove_file(&kept).unwrap();
    assert_eq!(looked(&files), sorted(stays.clone()));
    // Paths are looked at all the same.
    flood(folder.path());
    fs::remove_file(&paths[2]).unwrap();
    fs::write(&paths[0], "new").unwrap();
    assert_eq!(looked(&files), sorted([&stays[1..], &[inode(&paths[0])]].concat()));
}

#[test]
fn what_is_moved_away_while_events_are_lost_counts() {
    let folder = tempfile::tempdir_in("/dev/shm").unwrap();
    let inode = |path: &Path| fs::metadata(path).unwrap().ino();
    let (path, away, gone) =
        (folder.path().join("file"), folder.path().join("away"), folder.path().join("gone"));
    fs::write(&path, "x").unwrap();
    fs::write(&gone, "x").unwrap();
    let files = Files::find(&named(&[&path, &gone])).unwrap();
    let first = inode(&path);
    // The loss is known before anything is known of the path.
    fs::rename(&path, &away).unwrap();
    fs::remove_file(&gone).unwrap();
    files.state().known.lose_events();
    assert_eq!(looked(&files), [first]);
    // The same where something else has come in its place.
    fs::write(&path, "second").unwrap();
    let second = inode(&path);
    assert_eq!(looked(&files).len(), 2);
    let further = folder.path().join("further");
    fs::rename(&path, &further).unwrap();
    fs::write(&path, "third").unwrap();
    files.state().known.lose_events();
    let mut all = vec![first, second, inode(&path)];
    all.sort_unstable();
    assert_eq!(looked(&files), all);
    for file in [&away, &further] {
        fs::remove_file(file).unwrap();
    }
    files.state().known.lose_events();
    assert_eq!(looked(&files), [inode(&path)]);
}

#[test]
fn a_folder_that_grows_too_large_is_told_and_what_was_known_of_it_stays() {
    let base = tempfile::tempdir_in("/dev/shm").unwrap();
    let folder = base.path().join("folder");
    fs::create_dir(&folder).unwrap();
    let first = folder.join("file-1");
    for number in 1..=super::resolve::ENTRIES_MAX {
        fs::File::create(folder.join(format!("file-{number}"))).unwrap();
    }
    fs::hard_link(&first, base.path().join("outside")).unwrap();
    let files = Files::find(&named(&[&folder])).unwrap();
    let inode = |path: &Path| fs::metadata(path).unwrap().ino();
    let mut expected = vec![0, inode(&folder), inode(&first)];
    expected.sort_unstable();
    assert_eq!(inodes(&files), expected);
    assert_eq!(files.problems(), []);
    // One more, and something that would be found else.
    fs::File::create(folder.join("further")).unwrap();
    fs::hard_link(folder.join("file-2"), base.path().join("later")).unwrap();
    let look = || {
        // Folders of such a size are not gone through at every look.
        files.state().known.go_through_all();
        files.refresh(true);
        (inodes(&files), files.problems())
    };
    let (known, problems) = look();
    assert_eq!(known, expected);
    assert!(problems[0].1.contains("more than 100000 entries"), "{problems:?}");
    // It is told also when it was not gone through again.
    files.refresh(true);
    assert_eq!(files.problems(), problems);
    let refused = Files::find(&named(&[&folder])).err().unwrap().to_string();
    assert!(refused.contains("more than 100000 entries"), "{refused}");
    fs::remove_file(folder.join("further")).unwrap();
    let look = {
        files.state().known.go_through_all();
        files.state().known.look(&files.sets)
    };
    expected.push(inode(&folder.join("file-2")));
    expected.sort_unstable();
    assert_eq!(look.wanted.iter().map(|key| key.2).collect::<Vec<_>>(), expected);
    assert!(look.problems.is_empty(), "{:?}", look.problems);
}

use std::os::unix::fs::PermissionsExt;

use tempfile::TempDir;

use super::*;

fn names(changes: &Changes) -> Vec<String> {
    let name = |path: &Path| path.file_name().unwrap().to_string_lossy().into_owned();
    let changed = changes.changed.iter().map(|(path, _)| name(path));
    changed.chain(changes.gone.iter().map(|path| format!("-{}", name(path)))).collect()
}

#[test]
fn a_change_counts_when_two_looks_find_the_same() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("a.yaml");
    let mut directory = Directory::new(folder.path().to_owned(), true);
    assert!(directory.scan(true).unwrap().is_empty());
    fs::write(&path, "1").unwrap();
    assert!(directory.scan(false).unwrap().is_empty());
    fs::write(&path, "12").unwrap();
    assert!(directory.scan(false).unwrap().is_empty(), "it is still being written");
    assert_eq!(directory.scan(false).unwrap().changed[0].1, Ok("12".to_owned()));
    assert!(directory.scan(false).unwrap().is_empty());
    // An editor takes the old file away before it puts the new one there.
    fs::remove_file(&path).unwrap();
    assert!(directory.scan(false).unwrap().is_empty());
    fs::write(&path, "123").unwrap();
    assert!(directory.scan(false).unwrap().is_empty());
    assert_eq!(names(&directory.scan(false).unwrap()), ["a.yaml"]);
    fs::remove_file(&path).unwrap();
    assert!(directory.scan(false).unwrap().is_empty());
    assert_eq!(names(&directory.scan(false).unwrap()), ["-a.yaml"]);
    fs::write(&path, "1").unwrap();
    directory.scan(true).unwrap();
    directory.forget(&path);
    assert_eq!(names(&directory.scan(true).unwrap()), ["a.yaml"]);
}

#[test]
fn files_that_cannot_be_read_as_text_say_why() {
    let folder = TempDir::new().unwrap();
    let file = |name: &str, bytes: &[u8]| fs::write(folder.path().join(name), bytes).unwrap();
    file("binary.yaml", &[0xff, 0xfe]);
    file("long.yaml", &vec![b' '; MAX_BYTES + 1]);
    file("open.yaml", b"kind: x");
    let path = folder.path().join("open.yaml");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o666)).unwrap();
    std::os::unix::fs::symlink("nowhere", folder.path().join("link.yaml")).unwrap();
    std::os::unix::net::UnixListener::bind(folder.path().join("socket.yaml")).unwrap();
    let pipe = folder.path().join("pipe.yaml");
    rustix::fs::mknodat(rustix::fs::CWD, &pipe, rustix::fs::FileType::Fifo, 0o600.into(), 0).unwrap();
    let changes = Directory::new(folder.path().to_owned(), true).scan(true).unwrap();
    let reason = |name: &str| {
        let found = changes.changed.iter().find(|(path, _)| path.ends_with(name));
        found.unwrap_or_else(|| panic!("{name}")).1.clone().unwrap_err()
    };
    for (name, part) in [
        ("binary.yaml", "is not UTF-8"),
        ("long.yaml", "is longer than 4 MiB"),
        ("open.yaml", "mode 0666 lets others write it"),
        ("link.yaml", "No such file"),
        ("socket.yaml", "cannot read"),
        ("pipe.yaml", "is not a regular file"),
    ] {
        let reason = reason(name);
        assert!(reason.contains(part), "{name}: {reason}");
    }
}

#[test]
fn absence_is_a_problem_only_of_a_directory_that_is_wanted_or_was_there() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("policies");
    let mut directory = Directory::new(path.clone(), false);
    assert!(directory.scan(true).unwrap().is_empty());
    assert!(Directory::new(path.clone(), true).scan(true).unwrap_err().contains("cannot be used"));
    fs::create_dir(&path).unwrap();
    fs::write(path.join("a.yml"), "x").unwrap();
    assert_eq!(names(&directory.scan(true).unwrap()), ["a.yml"]);
    fs::remove_dir_all(&path).unwrap();
    let problem = directory.scan(true).unwrap_err();
    assert!(directory.is_news(&problem) && !directory.is_news(&problem));
}

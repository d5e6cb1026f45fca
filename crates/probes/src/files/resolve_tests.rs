//! Paths of a folder of this test.

use std::os::unix::fs::{MetadataExt, symlink};

use super::*;

fn bytes(path: &std::path::Path) -> Vec<u8> {
    path.as_os_str().as_bytes().to_vec()
}

#[test]
fn devices_are_taken_from_the_table_of_mounts() {
    let table = b"21 1 254:1 / / rw,relatime shared:1 - ext4 /dev/vda1 rw\n\
                  40 21 0:35 /@home /home rw shared:3 master:1 - btrfs /dev/vdb rw\n";
    assert_eq!(mounted(table, 21), Some((254 << 20 | 1, "ext4".to_owned())));
    assert_eq!(mounted(table, 40), Some((35, "btrfs".to_owned())));
    assert_eq!(mounted(table, 41), None);
}

#[test]
fn file_systems_without_sure_numbers_are_refused() {
    assert_eq!(objection(7, 7, "ext4"), None);
    assert!(objection(50, 35, "btrfs").unwrap().contains("btrfs tells programs another device"));
    assert!(objection(7, 7, "overlay").unwrap().contains("different layers"));
    assert!(objection(7, 7, "vfat").unwrap().contains("anew"));
    assert!(matches!(resolve(b"/proc/version", &mut Mounts::default()), Err(Unresolved::Unknown(_))));
}

#[test]
fn links_are_followed_and_nothing_is_missing() {
    let folder = tempfile::tempdir_in("/dev/shm").unwrap();
    let (file, link) = (folder.path().join("file"), folder.path().join("link"));
    fs::write(&file, "x").unwrap();
    symlink(&file, &link).unwrap();
    let mut mounts = Mounts::default();
    let found = resolve(&bytes(&link), &mut mounts).unwrap();
    assert_eq!((found.inode, found.folder), (fs::metadata(&file).unwrap().ino(), false));
    assert!(resolve(&bytes(folder.path()), &mut mounts).unwrap().folder);
    fs::remove_file(&file).unwrap();
    assert_eq!(resolve(&bytes(&link), &mut mounts), Err(Unresolved::Missing));
    assert_eq!(resolve(&bytes(&file.join("below")), &mut mounts), Err(Unresolved::Missing));
}

#[test]
fn files_with_another_name_are_found_anywhere_below() {
    let base = tempfile::tempdir_in("/dev/shm").unwrap();
    let folder = base.path().join("folder");
    fs::create_dir_all(folder.join("a/b")).unwrap();
    fs::write(folder.join("a/b/linked"), "x").unwrap();
    fs::write(folder.join("a/alone"), "x").unwrap();
    fs::hard_link(folder.join("a/b/linked"), base.path().join("outside")).unwrap();
    symlink(base.path(), folder.join("a/around")).unwrap();
    let of = resolve(&bytes(&folder), &mut Mounts::default()).unwrap();
    let linked = fs::metadata(base.path().join("outside")).unwrap().ino();
    assert_eq!(inside(&bytes(&folder), of).unwrap(), Inside { linked: vec![linked], ..Inside::default() });
}

use std::collections::BTreeSet;

use flate2::read::GzDecoder;
use tempfile::TempDir;

use super::*;

fn config(directory: &Path) -> FileConfig {
    FileConfig {
        path: directory.join("events.log"),
        max_size: 0,
        max_backups: 0,
        max_age: None,
        interval: None,
        compress: false,
        mode: 0o600,
    }
}

fn line(number: usize) -> Vec<u8> {
    format!("{{\"number\":{number:04}}}\n").into_bytes()
}

fn numbers(text: &[u8]) -> Vec<usize> {
    let text = std::str::from_utf8(text).unwrap();
    assert!(text.is_empty() || text.ends_with('\n'), "half line in {text:?}");
    text.lines().map(|line| line[10..14].parse().unwrap()).collect()
}

fn names(directory: &Path) -> Vec<String> {
    let mut names: Vec<_> = fs::read_dir(directory)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

fn write(sink: &mut FileSink, number: usize) {
    let mut lines = line(number);
    sink.write(&mut lines).unwrap();
    assert!(lines.is_empty());
}

#[test]
fn appends_and_keeps_what_was_there() {
    let directory = TempDir::new().unwrap();
    let path = config(directory.path()).path;
    fs::write(&path, line(0)).unwrap();
    let mut sink = FileSink::open(FileConfig { mode: 0o640, ..config(directory.path()) }).unwrap();
    write(&mut sink, 1);
    assert_eq!(numbers(&fs::read(&path).unwrap()), [0, 1]);
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o7777, 0o640);
}

#[test]
fn half_line_of_ours_is_removed_and_foreign_text_closed() {
    let directory = TempDir::new().unwrap();
    let path = config(directory.path()).path;
    fs::write(&path, [line(0), b"{\"number\":00".to_vec()].concat()).unwrap();
    write(&mut FileSink::open(config(directory.path())).unwrap(), 1);
    assert_eq!(numbers(&fs::read(&path).unwrap()), [0, 1]);

    fs::write(&path, b"{\"number\":00").unwrap();
    write(&mut FileSink::open(config(directory.path())).unwrap(), 1);
    assert_eq!(numbers(&fs::read(&path).unwrap()), [1]);

    fs::write(&path, b"foreign").unwrap();
    write(&mut FileSink::open(config(directory.path())).unwrap(), 1);
    assert_eq!(fs::read(&path).unwrap(), [b"foreign\n".to_vec(), line(1)].concat());
}

#[test]
fn half_line_longer_than_a_window_is_found() {
    let directory = TempDir::new().unwrap();
    let path = config(directory.path()).path;
    let half = [b"{\"text\":\"".to_vec(), vec![b'x'; 200_000]].concat();
    fs::write(&path, [line(0), half].concat()).unwrap();
    write(&mut FileSink::open(config(directory.path())).unwrap(), 1);
    assert_eq!(numbers(&fs::read(&path).unwrap()), [0, 1]);
}

#[test]
fn rotates_by_size_at_line_ends_and_keeps_the_newest() {
    let directory = TempDir::new().unwrap();
    let length = line(0).len();
    let mut sink = FileSink::open(FileConfig {
        max_size: 3 * length as u64 + 1,
        max_backups: 2,
        ..config(directory.path())
    })
    .unwrap();
    let mut lines: Vec<u8> = (0..20).flat_map(line).collect();
    sink.write(&mut lines).unwrap();
    assert!(lines.is_empty());
    sink.close();
    let names = names(directory.path());
    assert_eq!(names.len(), 3, "{names:?}");
    let all: Vec<_> =
        names.iter().flat_map(|name| numbers(&fs::read(directory.path().join(name)).unwrap())).collect();
    assert_eq!(all, (12..20).collect::<Vec<_>>());
}

#[test]
fn compressed_backups_hold_every_line() {
    let directory = TempDir::new().unwrap();
    let length = line(0).len() as u64;
    let settings = FileConfig { max_size: 5 * length, compress: true, ..config(directory.path()) };
    fs::write(directory.path().join("events-2020-01-01T00-00-00.000.log.gz.tmp"), "left over").unwrap();
    let mut sink = FileSink::open(settings).unwrap();
    (0..17).for_each(|number| write(&mut sink, number));
    sink.close();
    let mut seen = BTreeSet::new();
    for name in names(directory.path()) {
        let bytes = fs::read(directory.path().join(&name)).unwrap();
        if name == "events.log" {
            seen.extend(numbers(&bytes));
        } else {
            assert!(name.ends_with(".log.gz"), "{name}");
            let mut plain = Vec::new();
            GzDecoder::new(&bytes[..]).read_to_end(&mut plain).unwrap();
            seen.extend(numbers(&plain));
        }
    }
    assert_eq!(seen, (0..17).collect());
}

#[test]
fn old_backups_go_by_age() {
    let directory = TempDir::new().unwrap();
    fs::write(directory.path().join("events-2020-01-01T00-00-00.000.log"), line(0)).unwrap();
    let age = Some(Duration::from_secs(3600));
    let mut sink = FileSink::open(FileConfig { max_age: age, ..config(directory.path()) }).unwrap();
    write(&mut sink, 1);
    sink.control(Control::Rotate);
    sink.close();
    let names = names(directory.path());
    assert_eq!(names.len(), 2, "{names:?}");
    assert!(!names.iter().any(|name| name.contains("2020")), "{names:?}");
}

#[test]
fn rotates_by_time_but_not_an_empty_file() {
    let directory = TempDir::new().unwrap();
    let interval = Some(Duration::from_millis(50));
    let mut sink = FileSink::open(FileConfig { interval, ..config(directory.path()) }).unwrap();
    std::thread::sleep(Duration::from_millis(60));
    sink.idle();
    assert_eq!(names(directory.path()), ["events.log"]);
    write(&mut sink, 0);
    sink.idle();
    assert_eq!(names(directory.path()).len(), 2);
}

#[test]
fn moved_and_deleted_files_are_opened_anew() {
    let directory = TempDir::new().unwrap();
    let path = config(directory.path()).path;
    let moved = directory.path().join("moved");
    let mut sink = FileSink::open(config(directory.path())).unwrap();
    write(&mut sink, 0);
    fs::rename(&path, &moved).unwrap();
    write(&mut sink, 1);
    assert_eq!(numbers(&fs::read(&moved).unwrap()), [0]);
    assert_eq!(numbers(&fs::read(&path).unwrap()), [1]);
    fs::remove_file(&path).unwrap();
    write(&mut sink, 2);
    assert_eq!(numbers(&fs::read(&path).unwrap()), [2]);
}

#[test]
fn truncated_by_others_goes_on_at_the_new_end() {
    let directory = TempDir::new().unwrap();
    let path = config(directory.path()).path;
    let mut sink = FileSink::open(config(directory.path())).unwrap();
    write(&mut sink, 0);
    File::options().write(true).open(&path).unwrap().set_len(0).unwrap();
    write(&mut sink, 1);
    assert_eq!(numbers(&fs::read(&path).unwrap()), [1]);
}

#[test]
fn vanished_directory_is_an_error_to_retry_and_heals() {
    let directory = TempDir::new().unwrap();
    let inner = directory.path().join("logs");
    fs::create_dir(&inner).unwrap();
    let mut sink = FileSink::open(config(&inner)).unwrap();
    fs::remove_dir_all(&inner).unwrap();
    let mut lines = line(0);
    assert!(matches!(sink.write(&mut lines), Err(WriteError::Retry { .. })));
    assert_eq!(lines, line(0));
    fs::create_dir(&inner).unwrap();
    sink.write(&mut lines).unwrap();
    assert_eq!(numbers(&fs::read(inner.join("events.log")).unwrap()), [0]);
}

#[test]
fn failing_rotation_writes_on_in_the_present_file() {
    let directory = TempDir::new().unwrap();
    // The name of the backup would be longer than a name may be.
    let path = directory.path().join("x".repeat(250));
    let length = line(0).len() as u64;
    let mut sink =
        FileSink::open(FileConfig { path: path.clone(), max_size: 2 * length, ..config(directory.path()) })
            .unwrap();
    (0..6).for_each(|number| write(&mut sink, number));
    assert_eq!(numbers(&fs::read(&path).unwrap()), [0, 1, 2, 3, 4, 5]);
}

#[test]
fn bad_paths_are_told_at_start() {
    let directory = TempDir::new().unwrap();
    let at = |path: &Path| FileSink::open(FileConfig { path: path.to_owned(), ..config(path) });
    assert!(matches!(at(directory.path()), Err(OpenError::Directory { .. })));
    let error = at(&directory.path().join("none/events.log")).unwrap_err();
    assert!(error.to_string().starts_with("cannot open /"), "{error}");
}

#[test]
fn device_is_written_to_and_never_rotated() {
    let settings = FileConfig { path: "/dev/null".into(), max_size: 10, ..config(Path::new("/dev")) };
    let mut sink = FileSink::open(settings).unwrap();
    (0..5).for_each(|number| write(&mut sink, number));
    sink.control(Control::Rotate);
    assert!(fs::metadata("/dev/null").unwrap().file_type().is_char_device());
}

/// A file system of 64 KiB, when the machine lets us mount one.
fn small_file_system(directory: &Path) -> bool {
    use rustix::mount::{MountFlags, mount};
    mount("tmpfs", directory, "tmpfs", MountFlags::empty(), Some(c"size=65536")).is_ok()
}

#[test]
fn full_disk_leaves_whole_lines_and_heals() {
    let directory = TempDir::new().unwrap();
    if !small_file_system(directory.path()) {
        // Without the right to mount, the limit of file sizes is the full disk: see `limited_file_size`.
        return limited_file_size();
    }
    let ballast = directory.path().join("ballast");
    fs::write(&ballast, vec![0; 40_000]).unwrap();
    let mut sink = FileSink::open(config(directory.path())).unwrap();
    let mut lines: Vec<u8> = (0..5000).flat_map(line).collect();
    assert!(matches!(sink.write(&mut lines), Err(WriteError::Retry { .. })));
    let path = config(directory.path()).path;
    let before = numbers(&fs::read(&path).unwrap());
    assert!(!before.is_empty() && before.len() < 5000);
    assert_eq!(numbers(&lines), (before.len()..5000).collect::<Vec<_>>());
    assert!(matches!(sink.write(&mut lines), Err(WriteError::Retry { .. })));

    fs::remove_file(&ballast).unwrap();
    let mut some: Vec<u8> = lines.drain(..1000 * line(0).len()).collect();
    sink.write(&mut some).unwrap();
    assert_eq!(numbers(&fs::read(&path).unwrap()), (0..before.len() + 1000).collect::<Vec<_>>());
    drop(sink);
    rustix::mount::unmount(directory.path(), rustix::mount::UnmountFlags::empty()).unwrap();
}

/// Cuts writes in the middle of a line by the limit of file sizes, in a process of its own: the limit and the
/// handling of its signal belong to the whole process.
fn limited_file_size() {
    let binary = std::env::current_exe().unwrap();
    let script =
        "trap '' XFSZ; ulimit -f 8; exec \"$0\" --ignored --exact file::tests::inside_limited_file_size";
    // Its own output must not meet the limit, which it would in a long log.
    let output = std::process::Command::new("sh").args(["-c", script]).arg(binary).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
}

#[test]
fn file_size_limit_cuts_no_line() {
    limited_file_size();
}

#[test]
#[ignore = "runs inside limited_file_size"]
fn inside_limited_file_size() {
    let directory = TempDir::new().unwrap();
    let mut sink = FileSink::open(config(directory.path())).unwrap();
    let mut lines: Vec<u8> = (0..2000).flat_map(line).collect();
    assert!(matches!(sink.write(&mut lines), Err(WriteError::Retry { .. })));
    let path = config(directory.path()).path;
    let before = numbers(&fs::read(&path).unwrap());
    assert!(!before.is_empty());
    assert_eq!(numbers(&lines), (before.len()..2000).collect::<Vec<_>>());
    // Room again: here by a new file.
    fs::rename(&path, directory.path().join("moved")).unwrap();
    let mut some: Vec<u8> = lines.drain(..10 * line(0).len()).collect();
    sink.write(&mut some).unwrap();
    assert_eq!(numbers(&fs::read(&path).unwrap()), (before.len()..before.len() + 10).collect::<Vec<_>>());
}

fn fifo(directory: &Path) -> FileConfig {
    let config = config(directory);
    rustix::fs::mkfifoat(rustix::fs::CWD, &config.path, rustix::fs::Mode::from_raw_mode(0o600)).unwrap();
    config
}

#[test]
fn pipe_without_reader_is_refused_at_once() {
    let directory = TempDir::new().unwrap();
    let error = FileSink::open(fifo(directory.path())).unwrap_err();
    assert!(matches!(error, OpenError::NoReader { .. }));
    assert!(error.to_string().contains("events.log; start its reader first"), "{error}");
}

#[test]
fn pipe_whose_reader_is_gone_is_closed() {
    let directory = TempDir::new().unwrap();
    let config = fifo(directory.path());
    let mut options = OpenOptions::new();
    options.read(true).custom_flags(OFlags::NONBLOCK.bits().cast_signed());
    let reader = options.open(&config.path).unwrap();
    let mut sink = FileSink::open(config).unwrap();
    let blocking = fcntl_getfl(&sink.open.as_ref().unwrap().file).unwrap();
    assert!(!blocking.contains(OFlags::NONBLOCK), "a slow reader must make it wait");
    write(&mut sink, 1);
    drop(reader);
    assert!(matches!(sink.write(&mut line(2)), Err(WriteError::Closed)));
}

#[test]
fn rotations_are_counted() {
    let directory = TempDir::new().unwrap();
    let mut sink = FileSink::open(config(directory.path())).unwrap();
    sink.control(Control::Rotate);
    assert_eq!(sink.rotations(), 0, "there was nothing to rotate");
    write(&mut sink, 1);
    sink.control(Control::Rotate);
    sink.control(Control::Reopen);
    assert_eq!(sink.rotations(), 1);
}

#[test]
fn rules_of_rotation_change_while_it_writes() {
    let directory = TempDir::new().unwrap();
    let mut sink = FileSink::open(config(directory.path())).unwrap();
    for number in 0..6 {
        write(&mut sink, number);
    }
    assert_eq!(names(directory.path()).len(), 1, "it is never rotated by its configuration");
    let max_size = line(0).len() as u64;
    sink.control(Control::Rules(Rotation { max_size, max_backups: 2, interval: None }));
    for number in 6..12 {
        write(&mut sink, number);
    }
    assert_eq!(sink.rotations(), 6);
    sink.close();
    // The file and two backups, the newest.
    let kept = names(directory.path());
    assert_eq!(kept.len(), 3, "{kept:?}");
    let kept: Vec<_> =
        kept.iter().flat_map(|name| numbers(&fs::read(directory.path().join(name)).unwrap())).collect();
    assert_eq!(kept, [9, 10, 11]);
}

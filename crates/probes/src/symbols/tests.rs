//! Tests with this very process.

use std::time::{SystemTime, UNIX_EPOCH};

use super::*;

#[inline(never)]
fn a_function_of_this_test() -> u64 {
    std::hint::black_box(41) + 1
}

fn own(user: Vec<u64>) -> Question {
    Question { pid: std::process::id(), time: u64::MAX, user, ..Question::default() }
}

/// Where a function of this program is mapped.
fn here() -> u64 {
    (a_function_of_this_test as fn() -> u64) as usize as u64
}

#[test]
fn a_function_of_a_program_is_found_by_its_address() {
    assert_eq!(a_function_of_this_test(), 42);
    let mut symbols = Symbols::new(Path::new("/proc"));
    let answer = symbols.look_up(&own(vec![here(), here() + 1, 1]));
    let [first, second, unknown] = answer.user.try_into().unwrap();
    assert!(first.symbol.contains("a_function_of_this_test"), "{first:?}");
    assert_eq!(second.symbol, first.symbol, "where the call before it returns to");
    assert_eq!(&*first.module, std::env::current_exe().unwrap().to_str().unwrap());
    assert_eq!(second.offset, first.offset + 1);
    assert_eq!(unknown, Location::default());
    let other = Question { time: 0, ..own(vec![here()]) };
    assert_eq!(symbols.look_up(&other).user, [], "a process that began later");
}

#[test]
fn the_build_id_is_that_of_the_very_file() {
    let mut symbols = Symbols::new(Path::new("/proc"));
    let process = Process::of(Path::new("/proc"), std::process::id(), u64::MAX).unwrap();
    let mapping = process.mappings(&[here()]).remove(0);
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    let file = MappedFile {
        device: mapping.device,
        inode: mapping.inode,
        start: mapping.start,
        path: mapping.path.as_bytes().to_vec(),
        time: u64::try_from(now.as_nanos()).unwrap(),
    };
    let ask = |file: MappedFile, pid| Question { pid, file: Some(file), ..own(Vec::new()) };
    let pid = std::process::id();
    let found = symbols.look_up(&ask(file.clone(), pid)).build_id;
    let note = std::process::Command::new("readelf").arg("-n").arg("/proc/self/exe").output();
    assert!(!found.is_empty() && note.is_ok());
    let note = std::process::Command::new("readelf").arg("-n").arg(std::env::current_exe().unwrap()).output();
    let hex: String = found.iter().map(|byte| format!("{byte:02x}")).collect();
    assert!(String::from_utf8(note.unwrap().stdout).unwrap().contains(&hex), "{hex}");
    let other = MappedFile { inode: file.inode + 1, ..file.clone() };
    assert!(symbols.look_up(&ask(other, pid)).build_id.is_empty(), "another file is there now");
    // Of a process that has ended, by the path; `stat` has other numbers on some file systems.
    if files::is_file_of(&mapping) {
        assert_eq!(symbols.look_up(&ask(file.clone(), u32::MAX)).build_id, found);
        let before = MappedFile { time: 1, ..file };
        assert!(symbols.look_up(&ask(before, u32::MAX)).build_id.is_empty(), "changed since");
    }
}

#[test]
fn functions_end_where_they_say_or_where_the_next_begins() {
    let all = [(30, 0, b"c".as_slice()), (10, 15, b"a"), (20, 0, b"b"), (20, 25, b"other")];
    let functions = Functions::new(all.into_iter(), 1 << 10);
    let at = |place| functions.at(place);
    assert_eq!([at(9), at(15), at(10), at(14)], [None, None, Some((10, "a")), Some((10, "a"))]);
    assert_eq!([at(29), at(30), at(u64::MAX)], [Some((20, "b")), Some((30, "c")), Some((30, "c"))]);
    assert_eq!(Functions::new(all.into_iter(), 30).len(), 1, "what has no room is left out");
    assert_eq!(Functions::default().at(0), None);
}

#[test]
fn what_was_prepared_is_not_taken_for_an_answer() {
    let mut lookup = Lookup::new(Path::new("/proc"));
    lookup.prepare();
    lookup.prepare();
    lookup.left = Duration::from_secs(60);
    let answer = lookup.ask(own(vec![here()])).unwrap();
    assert_eq!(answer.user.len(), 1);
    assert_eq!(lookup.asked, None);
}

#[test]
fn whoever_asks_does_not_wait_for_ever() {
    let folder = std::env::temp_dir().join(format!("saker-lookup-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let pipe = folder.join("kallsyms");
    let made = std::process::Command::new("mkfifo").arg(&pipe).status().unwrap();
    assert!(made.success());
    let mut lookup = Lookup::new(&folder);
    lookup.left = Duration::from_millis(50);
    let question = Question { kernel: vec![1], ..Question::default() };
    assert_eq!(lookup.ask(question.clone()), None, "nobody writes to the pipe");
    assert_eq!(lookup.ask(question.clone()), None, "it hangs still");
    assert_eq!(lookup.late(), 2);
    // When it goes on, so do the answers.
    std::fs::write(&pipe, b"").unwrap();
    std::fs::remove_file(&pipe).unwrap();
    std::fs::write(&pipe, b"").unwrap();
    let begin = Instant::now();
    while begin.elapsed() < Duration::from_secs(10) {
        lookup.left = Duration::from_secs(1);
        if lookup.ask(question.clone()).is_some() {
            std::fs::remove_dir_all(folder).unwrap();
            return;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    panic!("no answer");
}

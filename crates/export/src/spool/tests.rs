use proptest::prelude::*;
use tempfile::TempDir;

use super::*;

fn config(folder: &TempDir, max_bytes: u64) -> SpoolConfig {
    SpoolConfig { dir: folder.path().join("spool"), max_bytes, sync: Sync::Never }
}

fn open(folder: &TempDir) -> Spool {
    Spool::open(config(folder, SPOOL_MIN)).unwrap()
}

fn append(spool: &mut Spool, records: &[&str]) -> usize {
    spool.append(records.iter().map(|record| record.as_bytes())).unwrap()
}

fn read(spool: &mut Spool) -> Vec<(u64, String)> {
    let records = spool.read(usize::MAX, usize::MAX).unwrap();
    records
        .into_iter()
        .map(|(number, record)| (number, String::from_utf8(record.to_vec()).unwrap()))
        .collect()
}

fn segments(folder: &TempDir) -> Vec<PathBuf> {
    let dir = folder.path().join("spool");
    numbers(&dir).unwrap().into_iter().map(|number| segment_path(&dir, number)).collect()
}

#[test]
fn what_is_not_confirmed_is_there_after_a_restart() {
    let folder = TempDir::new().unwrap();
    let mut spool = open(&folder);
    let id = spool.id();
    assert_eq!(append(&mut spool, &["a", "b", "c"]), 3);
    assert_eq!(spool.read(2, 1000).unwrap().len(), 2);
    spool.confirm(2);
    assert_eq!(spool.waiting().0, 2);
    spool.close().unwrap();
    drop(spool);
    let mut spool = open(&folder);
    assert_eq!(spool.id(), id);
    assert_eq!(read(&mut spool), [(2, "b".to_owned()), (3, "c".to_owned())]);
    append(&mut spool, &["d"]);
    assert_eq!(read(&mut spool), [(4, "d".to_owned())]);
    spool.confirm(5);
    spool.close().unwrap();
    drop(spool);
    // Numbers go on, also when nothing is left.
    let mut spool = open(&folder);
    assert_eq!(spool.waiting().0, 0);
    append(&mut spool, &["e"]);
    assert_eq!(read(&mut spool), [(5, "e".to_owned())]);
    assert_eq!(spool.damage(), Damage::default());
}

#[test]
fn two_cannot_have_one_spool() {
    let folder = TempDir::new().unwrap();
    let _spool = open(&folder);
    assert!(matches!(Spool::open(config(&folder, SPOOL_MIN)), Err(SpoolError::Used { .. })));
}

#[test]
fn a_full_spool_takes_no_more_until_something_is_confirmed() {
    let folder = TempDir::new().unwrap();
    let mut spool = open(&folder);
    let record = vec![7_u8; 10_000];
    let mut taken = 0;
    loop {
        match spool.append((0..10).map(|_| record.as_slice())).unwrap() {
            0 => break,
            count => taken += count,
        }
    }
    let (waiting, bytes) = spool.waiting();
    assert_eq!(waiting, taken as u64);
    assert!(bytes <= SPOOL_MIN && bytes > SPOOL_MIN - 20_000, "{bytes}");
    let on_disk: u64 = segments(&folder).iter().map(|path| fs::metadata(path).unwrap().len()).sum();
    assert_eq!(on_disk, bytes);
    let half = spool.read(taken / 2, usize::MAX).unwrap();
    assert_eq!(half.len(), taken / 2);
    spool.confirm(half.last().unwrap().0 + 1);
    assert!(spool.append([record.as_slice()].into_iter()).unwrap() == 1);
    assert_eq!(spool.read(usize::MAX, usize::MAX).unwrap().len(), taken - taken / 2 + 1);
}

#[test]
fn a_torn_end_is_cut_off_and_counted() {
    let folder = TempDir::new().unwrap();
    let mut spool = open(&folder);
    append(&mut spool, &["first", "second"]);
    drop(spool);
    let path = segments(&folder).pop().unwrap();
    let length = fs::metadata(&path).unwrap().len();
    OpenOptions::new().write(true).open(&path).unwrap().set_len(length - 2).unwrap();
    let mut spool = open(&folder);
    assert_eq!(spool.damage(), Damage { records: 0, torn: 1 });
    append(&mut spool, &["third"]);
    // The number of the record that was cut is free again: nobody has ever seen it.
    assert_eq!(read(&mut spool), [(1, "first".to_owned()), (2, "third".to_owned())]);
}

#[test]
fn a_changed_byte_gives_up_the_rest_of_its_segment_only() {
    let folder = TempDir::new().unwrap();
    let mut spool = open(&folder);
    let record = "x".repeat(60_000);
    for _ in 0..5 {
        append(&mut spool, &[&record]);
    }
    drop(spool);
    let paths = segments(&folder);
    assert_eq!(paths.len(), 3, "{paths:?}");
    let mut bytes = fs::read(&paths[0]).unwrap();
    bytes[100] ^= 1;
    fs::write(&paths[0], bytes).unwrap();
    let mut spool = open(&folder);
    assert_eq!(spool.damage(), Damage { records: 2, torn: 0 });
    assert_eq!(read(&mut spool).iter().map(|(number, _)| *number).collect::<Vec<_>>(), [3, 4, 5]);
    // Counted once.
    assert_eq!(spool.damage().records, 2);
    spool.confirm(6);
    assert_eq!(spool.waiting().0, 0);
}

#[test]
fn damage_that_comes_later_is_counted_when_it_is_read() {
    let folder = TempDir::new().unwrap();
    let mut spool = open(&folder);
    append(&mut spool, &["one", "two", "three"]);
    let path = segments(&folder).pop().unwrap();
    let mut bytes = fs::read(&path).unwrap();
    let last = bytes.len() - 1;
    bytes[last] ^= 1;
    fs::write(&path, bytes).unwrap();
    assert_eq!(read(&mut spool).len(), 2);
    assert_eq!(spool.damage(), Damage { records: 1, torn: 0 });
    assert!(spool.is_read());
    spool.confirm(4);
    assert_eq!(spool.waiting().0, 0);
}

#[test]
fn what_is_no_segment_is_not_read() {
    let folder = TempDir::new().unwrap();
    let mut spool = open(&folder);
    append(&mut spool, &["one"]);
    drop(spool);
    let dir = folder.path().join("spool");
    fs::write(dir.join("position"), "nonsense").unwrap();
    fs::write(segment_path(&dir, 9), "nonsense").unwrap();
    let mut spool = open(&folder);
    assert_eq!(spool.damage(), Damage { records: 7, torn: 1 });
    assert_eq!(read(&mut spool), [(1, "one".to_owned())]);
    append(&mut spool, &["two"]);
    assert_eq!(read(&mut spool), [(9, "two".to_owned())]);
}

/// Something that happens to a spool.
#[derive(Clone, Debug)]
enum Deed {
    Append(Vec<usize>),
    Read(usize),
    Confirm(usize),
    Restart,
    Crash(u64),
}

fn deed() -> impl Strategy<Value = Deed> {
    prop_oneof![
        prop::collection::vec(0..40_000_usize, 0..4).prop_map(Deed::Append),
        (0..6_usize).prop_map(Deed::Read),
        (0..6_usize).prop_map(Deed::Confirm),
        Just(Deed::Restart),
        (0..50_000_u64).prop_map(Deed::Crash),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// Whatever happens: what is read is what was written under that number, in order, nothing is read again that
    /// was confirmed before an orderly restart, and nothing is missing that no crash took.
    #[test]
    fn numbers_stand_for_records(deeds in prop::collection::vec(deed(), 1..40)) {
        let folder = TempDir::new().unwrap();
        let mut spool = open(&folder);
        let mut written: std::collections::BTreeMap<u64, usize> = std::collections::BTreeMap::new();
        let (mut expected, mut confirmed) = (1, 1);
        for deed in deeds {
            match deed {
                Deed::Append(lengths) => {
                    let records: Vec<_> = lengths.iter().map(|&length| vec![length as u8; length]).collect();
                    let taken = spool.append(records.iter().map(Vec::as_slice)).unwrap();
                    for (index, length) in lengths.into_iter().take(taken).enumerate() {
                        written.insert(spool.next - taken as u64 + index as u64, length);
                    }
                }
                Deed::Read(most) => {
                    for (number, record) in spool.read(most, usize::MAX).unwrap() {
                        prop_assert_eq!(number, expected);
                        prop_assert_eq!(Some(&record.len()), written.get(&number));
                        prop_assert!(record.iter().all(|&byte| byte == record.len() as u8));
                        expected += 1;
                    }
                }
                Deed::Confirm(count) => {
                    confirmed = (confirmed + count as u64).min(expected);
                    spool.confirm(confirmed);
                }
                Deed::Restart => {
                    spool.close().unwrap();
                    drop(spool);
                    spool = open(&folder);
                    expected = confirmed;
                    prop_assert_eq!(spool.damage(), Damage::default());
                }
                Deed::Crash(lost) => {
                    spool.close().unwrap();
                    drop(spool);
                    if let Some(path) = segments(&folder).pop() {
                        let length = fs::metadata(&path).unwrap().len();
                        let file = OpenOptions::new().write(true).open(&path).unwrap();
                        file.set_len(length.saturating_sub(lost)).unwrap();
                    }
                    spool = open(&folder);
                    expected = confirmed;
                    written.retain(|&number, _| number < spool.next);
                }
            }
            prop_assert_eq!(spool.confirmed, confirmed);
            prop_assert!(spool.waiting().1 <= SPOOL_MIN);
        }
        let left = spool.read(usize::MAX, usize::MAX).unwrap();
        prop_assert_eq!(left.len() as u64 + expected, spool.next);
    }

    #[test]
    fn no_bytes_panic_the_reader(bytes in prop::collection::vec(any::<u8>(), 0..200), number in any::<u64>()) {
        let mut reader = RecordReader::new(bytes.as_slice());
        let _ = reader.head();
        let mut record = Vec::new();
        while reader.next(number, &mut record).unwrap() == Step::Record {}
    }
}

use proptest::collection::vec;
use proptest::prelude::*;
use saker_abi::generated::SAKER_COLUMN_FOLLOWS;
use saker_policy::values::Glob;

use super::*;

fn equal(paths: &[&str]) -> BinaryTest {
    BinaryTest::Equal(paths.iter().map(|path| path.as_bytes().to_vec()).collect())
}

#[test]
fn equal_filters_share_a_bit_which_is_free_after_the_last() {
    let mut bits = Bits::default();
    let first = bits.take(&[equal(&["/a", "/b"]), equal(&["/c"])]).unwrap();
    assert_eq!(first, [0, 1]);
    bits.told();
    let second = bits.take(&[equal(&["/b", "/a", "/a"])]).unwrap();
    assert_eq!(second, [0]);
    assert!(!bits.is_stale(), "nothing new for the kernel");
    bits.release(&first);
    assert!(bits.is_stale() && bits.len() == 1);
    bits.release(&second);
    assert!(bits.len() == 0 && bits.table().texts.is_empty());
}

#[test]
fn what_is_followed_means_something_else_when_its_bit_is_given_anew() {
    let mut bits = Bits::default();
    let followed = |test| BinaryTest::Followed(Box::new(test));
    let tests = [followed(equal(&["/a"])), equal(&["/a"]), followed(BinaryTest::Pids(vec![9, 3]))];
    let taken = bits.take(&tests).unwrap();
    assert_eq!(taken, [0, 1, 2], "one that is followed shares no bit with one that is not");
    let table = bits.table();
    let pids =
        |table: &Binaries| table.pids.iter().map(|(key, bits)| (key.own, key.pid, *bits)).collect::<Vec<_>>();
    assert_eq!(table.texts.iter().map(|(_, bits)| *bits).collect::<Vec<_>>(), [0b11]);
    assert_eq!(pids(&table), [(0, 3, 4), (0, 9, 4)]);
    assert_eq!(table.followed.keys().copied().collect::<Vec<_>>(), [0, 2]);
    // As long as somebody has it, it means the same; then it does not.
    assert_eq!(bits.take(&tests[..1]).unwrap(), [0]);
    bits.release(&taken);
    assert_eq!(bits.table().followed.get(&0), table.followed.get(&0));
    bits.release(&[0]);
    assert_eq!(bits.take(&[followed(BinaryTest::NamespacePids(vec![1]))]).unwrap(), [0]);
    assert_ne!(bits.table().followed.get(&0), table.followed.get(&0));
    assert_eq!(pids(&bits.table()), [(1, 1, 1)]);
}

#[test]
fn bits_run_out_and_nothing_is_kept_of_what_did_not_fit() {
    let mut bits = Bits::default();
    let tests: Vec<_> = (0..63).map(|n| equal(&[&format!("/{n}")])).collect();
    let taken = bits.take(&tests).unwrap();
    assert_eq!(bits.take(&[equal(&["/x"]), equal(&["/y"])]), Err(BitsError::NoneLeft));
    assert_eq!(bits.len(), 63);
    bits.take(&[equal(&["/x"])]).unwrap();
    bits.release(&taken[..1]);
    assert_eq!(bits.take(&[equal(&["/y"])]).unwrap(), [0]);
}

#[test]
fn what_the_kernel_side_cannot_look_up_is_refused() {
    let mut bits = Bits::default();
    let long = equal(&[&"/x".repeat(2049)]);
    assert!(matches!(bits.take(&[long]), Err(BitsError::TooLong(_))));
    let suffixes = BinaryTest::Postfix((1..64).map(|n| vec![b'x'; n]).collect());
    assert_eq!(bits.take(&[suffixes]), Err(BitsError::Lengths));
    let many = BinaryTest::Prefix((0..=ENTRIES).map(|n| n.to_string().into_bytes()).collect());
    assert_eq!(bits.take(&[many]), Err(BitsError::Entries));
    let long: Vec<_> = (0..5).map(|n| format!("{n}{}", "x".repeat(4095))).collect();
    let long: Vec<_> = long.iter().map(|path| equal(&[path])).collect();
    assert_eq!(bits.take(&long), Err(BitsError::Patterns));
    assert_eq!(bits.len(), 0);
}

/// What the kernel side makes of a table, as `bpf/policy/binary.h` does it.
fn looked_up(table: &Binaries, path: &[u8]) -> u64 {
    let text = |set: u32, text: &[u8]| {
        let found = |key: &saker_text_key| {
            key.set == set && key.text.get(..key.len as usize) == Some(text) && key.len as usize == text.len()
        };
        table.texts.iter().filter(|(key, _)| found(key)).map(|(_, bits)| bits).sum::<u64>()
    };
    let longest = |key: &saker_prefix_key| {
        let prefix = &key.text[..(key.bits as usize - 32) / 8];
        path.starts_with(prefix).then_some(prefix.len())
    };
    let prefix = table.prefixes.iter().filter_map(|(key, bits)| Some((longest(key)?, *bits))).max();
    let suffixes = table.lengths.iter().filter_map(|&length| path.len().checked_sub(length as usize));
    text(0, path)
        | prefix.map_or(0, |(_, bits)| bits)
        | suffixes.map(|from| text(1, &path[from..])).fold(0, |all, bits| all | bits)
        | fitting(table, path)
}

/// The bits of the patterns that fit.
fn fitting(table: &Binaries, path: &[u8]) -> u64 {
    let mut carry = vec![0; path.len()];
    let mut found = 0;
    for binary in &table.columns {
        let column = &binary.column;
        let mut state = column.start;
        for (carry, byte) in carry.iter_mut().zip(path) {
            let came = if column.flags & SAKER_COLUMN_FOLLOWS == 0 { 0 } else { *carry };
            let moved = state & column.mask[usize::from(*byte)];
            let on = moved << 1 | came;
            let skipped = on & column.skip;
            *carry = (moved | skipped) >> 63;
            state = on | skipped << 1 | (state & column.stay[usize::from(*byte == b'/')]);
        }
        let ends = (0..64).filter(|bit| (state & column.accept) >> bit & 1 == 1);
        found |= ends.fold(0, |all, bit| all | binary.bits[bit]);
    }
    found
}

fn holds(test: &BinaryTest, path: &[u8]) -> bool {
    match test {
        BinaryTest::Equal(paths) => paths.iter().any(|one| one == path),
        BinaryTest::Prefix(paths) => paths.iter().any(|one| path.starts_with(one)),
        BinaryTest::Postfix(paths) => paths.iter().any(|one| path.ends_with(one)),
        BinaryTest::Pattern(patterns) => {
            let shown: Vec<_> = patterns.iter().map(|pattern| &GLOBS[index(pattern)]).collect();
            shown.iter().any(|glob| Glob::parse(glob).unwrap().matches(path))
        }
        _ => false,
    }
}

const GLOBS: [&str; 5] = ["/a*", "**/b/?", "*[ab]*/**", "a?b", "**a*"];

fn index(pattern: &Pattern) -> usize {
    GLOBS.iter().position(|glob| Pattern::of(&Glob::parse(glob).unwrap()) == *pattern).unwrap()
}

fn path() -> impl Strategy<Value = Vec<u8>> {
    let short = vec(prop_oneof![Just(b'/'), Just(b'a'), Just(b'b')], 1..6);
    // Now and then longer than what is looked up.
    let filler = prop_oneof![9 => Just(0), 1 => 245..260_usize];
    (short, filler).prop_map(|(short, filler)| [vec![b'a'; filler], short].concat())
}

fn test() -> impl Strategy<Value = BinaryTest> {
    prop_oneof![
        vec(path(), 1..4).prop_map(BinaryTest::Equal),
        vec(path(), 1..4).prop_map(BinaryTest::Prefix),
        vec(path(), 1..4).prop_map(BinaryTest::Postfix),
        vec(0..GLOBS.len(), 1..4).prop_map(|globs| {
            BinaryTest::Pattern(
                globs.iter().map(|&glob| Pattern::of(&Glob::parse(GLOBS[glob]).unwrap())).collect(),
            )
        }),
    ]
}

proptest! {
    #[test]
    fn the_table_says_of_each_path_what_the_filters_say(
        gone in vec(test(), 0..4), tests in vec(test(), 1..12), path in path()
    ) {
        let mut bits = Bits::default();
        let before = bits.take(&gone).unwrap();
        let taken = bits.take(&tests).unwrap();
        bits.release(&before);
        let found = looked_up(&bits.table(), &path);
        for (test, bit) in tests.iter().zip(taken) {
            prop_assert_eq!(found >> bit & 1 == 1, holds(test, &path), "{:?} {:?}", test, path);
        }
    }
}

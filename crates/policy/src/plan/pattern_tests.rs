use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;

use super::*;

/// Which patterns fit a text, as `bpf/policy/pattern.h` finds out.
fn found(packed: &Packed, text: &[u8]) -> Vec<bool> {
    let mut carry = vec![false; text.len()];
    let mut states = Vec::new();
    for column in &packed.columns {
        let follows = column.flags & SAKER_COLUMN_FOLLOWS != 0;
        let mut state = column.start;
        for (carry, byte) in carry.iter_mut().zip(text) {
            let came = u64::from(*carry && follows);
            let stay = column.stay[usize::from(*byte == b'/')];
            let moved = state & column.mask[usize::from(*byte)];
            let on = moved << 1 | came;
            let skipped = on & column.skip;
            *carry = (moved | skipped) >> 63 != 0;
            assert!(!*carry || column.flags & SAKER_COLUMN_LEADS != 0);
            state = on | skipped << 1 | (state & stay);
        }
        states.push(state & column.accept);
    }
    packed.ends.iter().map(|(column, bit)| states[*column] >> bit & 1 == 1).collect()
}

fn pattern(text: &str) -> Pattern {
    Pattern::of(&Glob::parse(text).unwrap())
}

#[test]
fn long_patterns_go_on_in_the_next_column() {
    let long = format!("/{}*{}?x", "a".repeat(62), "b".repeat(200));
    let packed = pack(&[pattern(&long), pattern("/x")]).unwrap();
    assert_eq!(packed.columns.len(), 5);
    assert_eq!(packed.ends, [(4, 10), (4, 13)], "what is left of the last column is taken");
    let text = |between: &str| format!("/{}{between}{}yx", "a".repeat(62), "b".repeat(200));
    for (between, fits) in [("", true), ("cc", true), ("/", false)] {
        assert_eq!(found(&packed, text(between).as_bytes()), [fits, false], "{between}");
    }
    assert_eq!(found(&packed, b"/x"), [false, true]);
}

#[test]
fn columns_have_a_bound() {
    let largest = vec![Pattern::whole(&[b'x'; BITS - 1]); COLUMNS];
    assert_eq!(pack(&largest).unwrap().columns.len(), COLUMNS);
    assert!(pack(&[largest, vec![pattern("")]].concat()).is_none());
    assert!(pack(&[Pattern::whole(&[b'x'; BITS * COLUMNS])]).is_none());
    assert_eq!(pack(&[Pattern::whole(&[b'x'; BITS * COLUMNS - 1])]).unwrap().columns.len(), COLUMNS);
    assert!(pack(&[]).unwrap().columns.is_empty());
}

#[test]
fn no_shorter_text_fits() {
    for (text, shortest) in [("", 0), ("**", 0), ("/a/*/b?", 6), ("**/[a-z]x", 2)] {
        assert_eq!(pattern(text).shortest(), shortest, "{text}");
    }
}

fn glob() -> impl Strategy<Value = String> {
    let part = select(vec!["a", "b", "/", "*", "**/", "**", "?", "[ab]", "[!a]", "[^/b]", "[+-c]", "\\/"]);
    let filler = select(vec!["", "", "", "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"]);
    (vec(part, 0..7), filler, 0..7_usize).prop_map(|(mut parts, filler, at)| {
        parts.insert(at.min(parts.len()), filler);
        parts.concat()
    })
}

fn text() -> impl Strategy<Value = Vec<u8>> {
    let long = prop_oneof![3 => Just(0), 1 => 50..130_usize];
    (vec(select(b"ab/A\0\xff,".to_vec()), 0..10), long, 0..10_usize).prop_map(|(mut text, long, at)| {
        let at = at.min(text.len());
        text.splice(at..at, vec![b'a'; long]);
        text
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]
    #[test]
    fn columns_fit_what_globs_fit(globs in vec(glob(), 1..12), texts in vec(text(), 1..8)) {
        let globs: Vec<Glob> = globs.iter().map(|glob| Glob::parse(glob).unwrap()).collect();
        let patterns: Vec<Pattern> = globs.iter().map(Pattern::of).collect();
        let packed = pack(&patterns).unwrap();
        for text in texts {
            let expected: Vec<bool> = globs.iter().map(|glob| glob.matches(&text)).collect();
            prop_assert_eq!(found(&packed, &text), expected, "{:?} {:?}", globs, text);
            for pattern in patterns.iter().zip(&globs).filter(|(_, glob)| glob.matches(&text)) {
                prop_assert!(pattern.0.shortest() <= text.len());
            }
        }
    }

    #[test]
    fn columns_find_parts(parts in vec(text(), 1..5), before in text(), after in text(), other in text()) {
        let whole = [before.as_slice(), &parts[0], &after].concat();
        let patterns: Vec<Pattern> = parts
            .iter()
            .flat_map(|part| {
                let lower = part.to_ascii_lowercase();
                [
                    Pattern::whole(part),
                    Pattern::beginning(part),
                    Pattern::ending(part),
                    Pattern::containing(part, false),
                    Pattern::containing(&lower, true),
                ]
            })
            .collect();
        let packed = pack(&patterns).unwrap();
        let contains = |text: &[u8], part: &[u8]| {
            part.is_empty() || text.windows(part.len()).any(|window| window == part)
        };
        for text in [whole, other] {
            let expected: Vec<bool> = parts
                .iter()
                .flat_map(|part| {
                    [
                        text == *part,
                        text.starts_with(part),
                        text.ends_with(part),
                        contains(&text, part),
                        contains(&text.to_ascii_lowercase(), &part.to_ascii_lowercase()),
                    ]
                })
                .collect();
            prop_assert_eq!(found(&packed, &text), expected, "{:?} {:?}", parts, text);
        }
    }
}

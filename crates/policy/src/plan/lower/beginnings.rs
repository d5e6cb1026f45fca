//! How a path must begin for a filter to hold: what the kernel side looks at before it captures the path.
//!
//! Made of the first three components of the texts of a filter. Every path that fits the filter begins so; one that
//! begins so need not fit it, and is compared in full.

use saker_abi::generated::{SAKER_BEGINNING_PART, SAKER_BEGINNINGS_MAX, saker_beginning};
use zerocopy::FromZeros;

use super::texts::Compared;

/// Bytes of a component that are looked at.
const PART: usize = SAKER_BEGINNING_PART as usize;
/// Components that are looked at.
const PARTS: usize = 3;
/// Beginnings of one filter; more take longer to look at than they save.
const MOST: usize = SAKER_BEGINNINGS_MAX as usize / 2;

/// The beginnings of these texts. Empty: any path may fit.
pub(super) fn of(texts: &[Vec<u8>], compared: Compared) -> Vec<saker_beginning> {
    if compared == Compared::Ending {
        return Vec::new();
    }
    for components in (1..=PARTS).rev() {
        let found: Option<Vec<Vec<u8>>> =
            texts.iter().map(|text| bytes(text, compared, components)).collect();
        let Some(mut found) = found else { continue };
        found.sort_unstable();
        found.dedup();
        if found.len() <= MOST {
            return found.iter().map(|bytes| words(bytes)).collect();
        }
    }
    Vec::new()
}

/// The bytes that are asked for of so many components, then, for each of them, 255 where one is asked for. None: no path
/// is ruled out.
fn bytes(text: &[u8], compared: Compared, components: usize) -> Option<Vec<u8>> {
    let mut parts = text.strip_prefix(b"/")?.split(|byte| *byte == b'/').peekable();
    let (mut asked, mut mask) = ([0_u8; PARTS * PART], [0_u8; PARTS * PART]);
    let places = asked.chunks_mut(PART).zip(mask.chunks_mut(PART));
    for (to, mask) in places.take(components) {
        let Some(part) = parts.next() else { break };
        let last = parts.peek().is_none();
        if part.is_empty() && !last {
            // No path has such a component.
            return None;
        }
        // A whole component is followed by a NUL.
        let whole = !last || compared == Compared::Whole;
        let count = (part.len() + usize::from(whole)).min(PART);
        to.iter_mut().zip(part).for_each(|(to, byte)| *to = *byte);
        mask.iter_mut().take(if part.is_empty() { 0 } else { count }).for_each(|mask| *mask = u8::MAX);
    }
    mask.iter().any(|mask| *mask != 0).then(|| [asked, mask].concat())
}

fn words(bytes: &[u8]) -> saker_beginning {
    let mut beginning = saker_beginning::new_zeroed();
    let words = beginning.word.iter_mut().chain(&mut beginning.mask);
    for (word, chunk) in words.zip(bytes.chunks(8)) {
        let mut bytes = [0; 8];
        bytes.iter_mut().zip(chunk).for_each(|(to, from)| *to = *from);
        *word = u64::from_ne_bytes(bytes);
    }
    beginning
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of_texts(texts: &[&str], compared: Compared) -> Vec<saker_beginning> {
        let texts: Vec<Vec<u8>> = texts.iter().map(|text| text.as_bytes().to_vec()).collect();
        of(&texts, compared)
    }

    /// As the kernel side compares; behind a name stands anything.
    fn may_begin(beginnings: &[saker_beginning], path: &str) -> bool {
        let mut bytes = [0; PARTS * PART];
        let parts = path.split('/').skip(1).filter(|part| !part.is_empty());
        for (to, part) in bytes.chunks_mut(PART).zip(parts) {
            let named = [part.as_bytes(), &[0]].concat();
            to.fill(b'x');
            to.iter_mut().zip(named).for_each(|(to, byte)| *to = byte);
        }
        let words: Vec<u64> =
            bytes.chunks(8).map(|chunk| u64::from_ne_bytes(chunk.try_into().unwrap())).collect();
        let fits = |one: &saker_beginning| {
            let mut words = words.iter().zip(one.word.iter().zip(&one.mask));
            words.all(|(text, (word, mask))| text & mask == *word)
        };
        beginnings.iter().any(fits)
    }

    #[test]
    fn what_fits_begins_so_and_little_else() {
        let prefixes = of_texts(
            &["/etc", "/usr/local/bin/", "/a-component-of-many-bytes/x", "/home/"],
            Compared::Beginning,
        );
        for path in [
            "/etc",
            "/etcetera/x",
            "/etc/passwd",
            "/usr/local/bin/x",
            "/a-component-of-many-bytes/xy/z",
            "/home/u",
        ] {
            assert!(may_begin(&prefixes, path), "{path}");
        }
        for path in
            ["/et", "/", "/usr/lib/x", "/usr", "/usr/local/x", "/a-component-of/x", "/homes", "/tmp/etc"]
        {
            assert!(!may_begin(&prefixes, path), "{path}");
        }
        let whole = of_texts(&["/etc/passwd", "/vmlinuz", "/a-component-of-many-bytes/x"], Compared::Whole);
        for path in ["/etc/passwd", "/vmlinuz", "/a-component-of-many-bytes/x"] {
            assert!(may_begin(&whole, path), "{path}");
        }
        for path in ["/etc/passwd-", "/etc", "/etc/passw", "/vmlinuz.old", "/a-component-of-many-bytes/y"] {
            assert!(!may_begin(&whole, path), "{path}");
        }
    }

    #[test]
    fn many_are_cut_until_they_are_few() {
        let texts: Vec<Vec<u8>> =
            (0..10_000).map(|number| format!("/srv/a/{number:06}/file").into_bytes()).collect();
        let found = of(&texts, Compared::Whole);
        assert_eq!(found.len(), 1);
        assert!(may_begin(&found, "/srv/a/000042/file") && !may_begin(&found, "/srv/b/000042/file"));
    }

    #[test]
    fn some_rule_nothing_out() {
        let letters: Vec<String> = ('a'..='z').map(|letter| format!("/{letter}")).collect();
        let letters: Vec<&str> = letters.iter().map(String::as_str).collect();
        assert!(of_texts(&letters, Compared::Beginning).is_empty());
        assert!(of_texts(&["/"], Compared::Beginning).is_empty());
        assert!(of_texts(&["/etc", ""], Compared::Beginning).is_empty());
        assert!(of_texts(&["/etc", "relative"], Compared::Beginning).is_empty());
        assert!(of_texts(&["/etc//x"], Compared::Beginning).len() == 1, "a whole first component");
        assert!(of_texts(&["/etc"], Compared::Ending).is_empty());
    }
}

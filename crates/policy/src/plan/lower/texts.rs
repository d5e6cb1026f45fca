//! Conditions on text, paths and buffers.

use std::collections::HashMap;

use saker_abi::generated::{
    SAKER_CLAUSE_LONG, SAKER_COLUMNS_MAX, SAKER_LONG_MAX, SAKER_OP_TEXT_EQUAL, SAKER_OP_TEXT_PATTERN,
    SAKER_OP_TEXT_POSTFIX, SAKER_OP_TEXT_PREFIX, SAKER_SHORT_MAX, saker_clause, saker_piece,
    saker_prefix_key, saker_text_key,
};
use zerocopy::FromZeros;

use super::builder::{Builder, SCAN_MAX};
use super::{Lowering, beginnings, numbers};
use crate::diagnostic::At;
use crate::model::TextTest;
use crate::plan::{Pattern, pack};
use crate::values::{Glob, SimpleGlob};
use crate::words::{ArgType, Group};

/// Texts of one set.
const TEXTS_MAX: usize = 65_536;
/// Pieces of the long texts of a policy.
const PIECES_MAX: usize = 65_536;
/// Columns of patterns of a policy.
const COLUMNS_MAX: usize = 4_096;
/// Bytes of a text that is one key.
const SHORT: usize = SAKER_SHORT_MAX as usize;

/// How texts are compared.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Compared {
    Whole,
    Beginning,
    Ending,
}

/// The clause of a test; what cannot be done is told.
pub(super) fn text(
    cx: &mut Lowering<'_>,
    builder: &mut Builder,
    test: &TextTest,
    ty: ArgType,
    at: &At,
) -> Option<saker_clause> {
    let path = matches!(ty.group(), Group::Path);
    let containing = |texts: &[Vec<u8>], ignore_case| -> Vec<Pattern> {
        texts.iter().map(|text| Pattern::containing(text, ignore_case)).collect()
    };
    let (compared, texts) = match test {
        TextTest::Equal(texts) => (Compared::Whole, texts.clone()),
        TextTest::Prefix(texts) => (Compared::Beginning, texts.clone()),
        TextTest::Postfix(texts) => (Compared::Ending, texts.clone()),
        TextTest::Glob(globs) => match simple(&globs.iter().collect::<Vec<&Glob>>(), path) {
            Some((SimpleGlob::Whole(_), texts)) => (Compared::Whole, texts),
            Some((SimpleGlob::Beginning(_), texts)) => (Compared::Beginning, texts),
            Some((SimpleGlob::Ending(_), texts)) => (Compared::Ending, texts),
            None => return patterns(cx, globs.iter().map(Pattern::of).collect(), at),
        },
        TextTest::Contains(texts) => return patterns(cx, containing(texts, false), at),
        TextTest::ContainsIgnoringCase(texts) => return patterns(cx, containing(texts, true), at),
    };
    let texts = prepared(cx, texts, compared, ty, at)?;
    if path && compared != Compared::Beginning && texts.iter().any(|text| text == b"/") {
        let message = "the root directory has no path of its own in the kernel: `/` alone would never match";
        cx.report.error_hint(at, message, "take `/` out, or use `Prefix` for everything below it");
        return None;
    }
    let clause = text_clause(cx, builder, compared, &texts, at)?;
    if path {
        builder.beginnings_of(clause.set, beginnings::of(&texts, compared));
    }
    Some(clause)
}

/// The texts of patterns that are all of one simple form, and the form. `path`: what is compared begins with `/`.
pub(super) fn simple(globs: &[&Glob], path: bool) -> Option<(SimpleGlob, Vec<Vec<u8>>)> {
    let forms: Vec<SimpleGlob> = globs.iter().map(|glob| glob.simple(path)).collect::<Option<_>>()?;
    let first = forms.first()?.clone();
    let same = forms.iter().all(|form| std::mem::discriminant(form) == std::mem::discriminant(&first));
    same.then(|| (first, forms.into_iter().map(SimpleGlob::into_bytes).collect()))
}

/// Says of a text that it is too long, if it is.
pub(super) fn too_long(cx: &mut Lowering<'_>, texts: &[Vec<u8>], at: &At) -> bool {
    let Some(long) = texts.iter().find(|text| text.len() > SAKER_LONG_MAX as usize) else { return false };
    let message = format!("a value has {} bytes, {SAKER_LONG_MAX} can be compared", long.len());
    cx.report.error(at, message);
    true
}

/// Says that patterns do not fit.
pub(super) fn too_many_patterns(cx: &mut Lowering<'_>, of: &str, at: &At) {
    let message = format!(
        "the patterns of {of} take more than {SAKER_COLUMNS_MAX} words of 64 places; each byte, wildcard and class is \
         one, and the end of a pattern"
    );
    let hint = "use shorter patterns, or `Equal`, `Prefix` or `Postfix` for what has no wildcards";
    cx.report.error_hint(at, message, hint);
}

/// A clause that a text fits one of these.
fn patterns(cx: &mut Lowering<'_>, mut patterns: Vec<Pattern>, at: &At) -> Option<saker_clause> {
    patterns.sort_unstable();
    patterns.dedup();
    let Some(packed) = pack(&patterns) else {
        too_many_patterns(cx, "the filter", at);
        return None;
    };
    let first = cx.sets.columns.len();
    if first + packed.columns.len() > COLUMNS_MAX {
        let message =
            format!("the patterns of the policy take more than {COLUMNS_MAX} words of 64 places together");
        cx.report.error_hint(at, message, "split the policy");
        return None;
    }
    let count = u16::try_from(packed.columns.len()).ok()?;
    cx.sets.columns.extend(packed.columns);
    Some(saker_clause {
        op: byte(SAKER_OP_TEXT_PATTERN),
        count,
        set: u32::try_from(first).ok()?,
        number: patterns.iter().map(Pattern::shortest).min().unwrap_or_default() as u64,
        ..saker_clause::default()
    })
}

/// The texts to compare with, each once; none when one is too long.
fn prepared(
    cx: &mut Lowering<'_>,
    mut texts: Vec<Vec<u8>>,
    compared: Compared,
    ty: ArgType,
    at: &At,
) -> Option<Vec<Vec<u8>>> {
    if ty == ArgType::SockaddrUn {
        // An abstract name, written with `@`, begins with a NUL in the kernel; a path may begin with `@` as well.
        let also: Vec<_> = texts.iter().filter_map(|text| text.strip_prefix(b"@")).collect();
        let mut also: Vec<_> = also.into_iter().map(|rest| [b"\0".as_slice(), rest].concat()).collect();
        texts.append(&mut also);
    }
    texts.sort_unstable();
    texts.dedup();
    if too_long(cx, &texts, at) {
        return None;
    }
    if texts.len() > TEXTS_MAX {
        cx.report.error(at, format!("{} values are listed, {TEXTS_MAX} are possible", texts.len()));
        return None;
    }
    let lengths = scanned_lengths(&texts, compared);
    if lengths.len() > SCAN_MAX {
        let what = if compared == Compared::Ending { "endings" } else { "long beginnings" };
        let message = format!("{what} have {} different lengths, {SCAN_MAX} are possible", lengths.len());
        cx.report.error(at, message);
        return None;
    }
    Some(texts)
}

/// The lengths that the kernel side tries one by one: of endings all, of beginnings the long ones.
fn scanned_lengths(texts: &[Vec<u8>], compared: Compared) -> Vec<u64> {
    let tried = |length: &usize| match compared {
        Compared::Whole => false,
        Compared::Beginning => *length > SHORT,
        Compared::Ending => true,
    };
    let mut lengths: Vec<u64> =
        texts.iter().map(Vec::len).filter(tried).map(|length| length as u64).collect();
    lengths.sort_unstable();
    lengths.dedup();
    lengths
}

fn byte(number: u32) -> u8 {
    u8::try_from(number).unwrap_or_default()
}

fn text_clause(
    cx: &mut Lowering<'_>,
    builder: &mut Builder,
    compared: Compared,
    texts: &[Vec<u8>],
    at: &At,
) -> Option<saker_clause> {
    let set = cx.new_set(1);
    let (short, long): (Vec<_>, Vec<_>) = texts.iter().partition(|text| text.len() <= SHORT);
    for text in short {
        if compared == Compared::Beginning {
            let mut key = saker_prefix_key::new_zeroed();
            (key.set, key.bits) = (set, 32 + 8 * length(text));
            key.text.iter_mut().zip(text).for_each(|(to, from)| *to = *from);
            cx.sets.prefixes.push(key);
        } else {
            cx.sets.texts.push(text_key(set, text));
        }
    }
    let op = match compared {
        Compared::Whole => SAKER_OP_TEXT_EQUAL,
        Compared::Beginning => SAKER_OP_TEXT_PREFIX,
        Compared::Ending => SAKER_OP_TEXT_POSTFIX,
    };
    let mut clause = numbers::scanned(builder, op, scanned_lengths(texts, compared));
    clause.set = set;
    if !long.is_empty() {
        clause.flags |= byte(SAKER_CLAUSE_LONG);
        chain(cx, set, &long);
        if cx.sets.pieces.len() > PIECES_MAX {
            let message = format!(
                "the values of more than {SHORT} bytes take more than {PIECES_MAX} pieces of {SHORT} bytes"
            );
            cx.report.error(at, message);
            return None;
        }
    }
    Some(clause)
}

/// Puts long texts, which begin in a set, into the sets of pieces. Those that begin alike share pieces.
fn chain(cx: &mut Lowering<'_>, first: u32, texts: &[&Vec<u8>]) {
    let mut known: HashMap<(u32, &[u8]), usize> = HashMap::new();
    for text in texts {
        let mut set = first;
        let pieces = text.chunks(SHORT).count();
        for (number, piece) in text.chunks(SHORT).enumerate() {
            let index = *known.entry((set, piece)).or_insert_with(|| {
                let next = cx.last_set + 1;
                cx.last_set = next;
                cx.sets.pieces.push((text_key(set, piece), saker_piece { next, ends: 0 }));
                cx.sets.pieces.len() - 1
            });
            let Some((_, to)) = cx.sets.pieces.get_mut(index) else { continue };
            set = to.next;
            if number + 1 == pieces {
                to.ends = 1;
            }
        }
    }
}

fn length(text: &[u8]) -> u32 {
    u32::try_from(text.len()).unwrap_or(u32::MAX)
}

pub(super) fn text_key(set: u32, text: &[u8]) -> saker_text_key {
    let mut key = saker_text_key::new_zeroed();
    (key.set, key.len) = (set, length(text));
    key.text.iter_mut().zip(text).for_each(|(to, from)| *to = *from);
    key
}

//! Conditions on captured values.

use std::net::IpAddr;

use saker_abi::generated::{
    SAKER_CLAUSE_NEGATED, SAKER_OP_DESTINATION, SAKER_OP_DESTINATION_PORT, SAKER_OP_FAMILY,
    SAKER_OP_FILE_TYPE, SAKER_OP_GAINED, SAKER_OP_PROTOCOL, SAKER_OP_SOURCE, SAKER_OP_SOURCE_PORT,
    SAKER_OP_STATE, SAKER_OP_TEXT_EQUAL, SAKER_OP_TEXT_POSTFIX, SAKER_OP_TEXT_PREFIX, SAKER_SHORT_MAX,
    saker_clause, saker_network_key, saker_prefix_key, saker_text_key,
};
use zerocopy::FromZeros;

use super::builder::{Asked, Builder, SCAN_MAX};
use super::process::{refuse_globs, simple};
use super::values::{RESULT, Slots};
use super::{Lowering, numbers};
use crate::diagnostic::At;
use crate::matcher::mode_of;
use crate::model::{ArgumentFilter, Operand, Predicate, Side, Test, TextTest};
use crate::values::{Glob, IntegerRange, Network, PortRange, SimpleGlob};
use crate::words::{ArgType, Group};

/// Address families with addresses and ports (`linux/socket.h`).
const INTERNET: [u64; 2] = [2, 10];
/// Texts of one set.
const TEXTS_MAX: usize = 65_536;

/// The clauses of a list of filters. What cannot be done is told.
pub(super) fn lower(
    cx: &mut Lowering<'_>,
    builder: &mut Builder,
    slots: &Slots,
    filters: &[ArgumentFilter],
    at: &At,
) -> Vec<Asked> {
    let mut clauses = Vec::new();
    for (index, filter) in filters.iter().enumerate() {
        let at = At { span: filter.span, path: at.path.index(index) };
        one(cx, builder, slots, filter, &at, &mut clauses);
    }
    // All must hold, in whatever order: a number is compared before a path is walked.
    clauses.into_iter().map(|clause| Asked { cost: cost(slots, &clause), clause }).collect()
}

/// What it takes to read a value and look at it.
fn cost(slots: &Slots, clause: &saker_clause) -> u32 {
    match u32::from(clause.op) {
        SAKER_OP_TEXT_EQUAL..=SAKER_OP_FILE_TYPE if slots.is_path(clause.value) => 3,
        SAKER_OP_TEXT_EQUAL..=SAKER_OP_FILE_TYPE => 2,
        SAKER_OP_SOURCE..=SAKER_OP_STATE => 1,
        _ => 0,
    }
}

fn one(
    cx: &mut Lowering<'_>,
    builder: &mut Builder,
    slots: &Slots,
    filter: &ArgumentFilter,
    at: &At,
    clauses: &mut Vec<saker_clause>,
) {
    let Some(value) = operand(cx, slots, &filter.operand, at) else { return };
    let ty = slots.type_at(value);
    let mut predicate = filter.predicate.clone();
    if let Test::Untyped(values) = &predicate.test {
        match crate::typed(predicate.operator, ty, values) {
            Ok(typed) => predicate = typed,
            Err(problems) => {
                for one in problems {
                    let at = At { span: one.span, path: at.path.field("values") };
                    cx.problem(&at, crate::Problem { message: one.message, hint: one.hint });
                }
                return;
            }
        }
    }
    if needs_addresses(&predicate)
        && !clauses.iter().any(|other| other.value == value && is_guard(builder, other))
    {
        let mut guard = numbers::scanned(builder, SAKER_OP_FAMILY, INTERNET.to_vec());
        guard.value = value;
        clauses.push(guard);
    }
    let second = match &filter.operand {
        Operand::Pair(_, new) => slots.slot(*new),
        _ => None,
    };
    if let Some(mut clause) = test(cx, builder, &predicate, ty, second, at) {
        clause.value = value;
        if predicate.negated {
            clause.flags |= byte(SAKER_CLAUSE_NEGATED);
        }
        clauses.push(clause);
    }
}

/// Whether a clause is the one that asks for internet addresses.
fn is_guard(builder: &mut Builder, clause: &saker_clause) -> bool {
    u32::from(clause.op) == SAKER_OP_FAMILY
        && clause.flags == 0
        && usize::from(clause.count) == INTERNET.len()
        && clause.pool == builder.numbers(INTERNET.to_vec())
}

/// A filter on an address or port holds of no socket without them, negated or not.
fn needs_addresses(predicate: &Predicate) -> bool {
    match predicate.test {
        Test::Address(..) => predicate.negated,
        Test::Port(..) | Test::PrivilegedPort(_) => true,
        _ => false,
    }
}

/// The captured value that a filter looks at; of two the old one.
fn operand(cx: &mut Lowering<'_>, slots: &Slots, operand: &Operand, at: &At) -> Option<u8> {
    let position = match operand {
        Operand::Returned => return Some(RESULT),
        Operand::Value(position) => *position,
        Operand::Pair(old, new) => {
            if slots.is_late(*new) {
                refuse_late(cx, at);
                return None;
            }
            *old
        }
        Operand::Expression => {
            cx.not_yet(at, "expressions are not looked at in the kernel", "use the other operators");
            return None;
        }
    };
    if slots.is_late(position) {
        refuse_late(cx, at);
        return None;
    }
    let slot = slots.slot(position);
    if slot.is_none() && !slots.is_unknown(position) {
        cx.report.error(at, "nothing is captured there: the type is `nop`");
    }
    slot
}

fn refuse_late(cx: &mut Lowering<'_>, at: &At) {
    let message = "the value is read when the function returns (`returnCopy`), the filter looks at it before";
    cx.report.error_hint(at, message, "take `returnCopy` or the filter out");
}

fn byte(number: u32) -> u8 {
    u8::try_from(number).unwrap_or_default()
}

/// A test without its negation.
fn test(
    cx: &mut Lowering<'_>,
    builder: &mut Builder,
    predicate: &Predicate,
    ty: ArgType,
    second: Option<u8>,
    at: &At,
) -> Option<saker_clause> {
    let op = |op| saker_clause { op: byte(op), ..saker_clause::default() };
    let words = |words: &[u16]| words.iter().map(|word| u64::from(*word)).collect::<Vec<_>>();
    let side = |side: &Side, source, destination| if *side == Side::Source { source } else { destination };
    match &predicate.test {
        Test::Integer { signed, bits, test } => numbers::clause(cx, builder, test, (*signed, *bits), at),
        Test::Capabilities(test) => numbers::clause(cx, builder, test, (false, 64), at),
        Test::Text(test) => text(cx, builder, test, ty, at),
        Test::FileType(types) => {
            let number = types.iter().fold(0, |all, ty| all | 1_u64 << (mode_of(*ty) >> 12));
            Some(saker_clause { number, ..op(SAKER_OP_FILE_TYPE) })
        }
        Test::Address(which, networks) => {
            let set = network_set(cx, networks);
            Some(saker_clause { set, ..op(side(which, SAKER_OP_SOURCE, SAKER_OP_DESTINATION)) })
        }
        Test::Port(which, ranges) => {
            let op = side(which, SAKER_OP_SOURCE_PORT, SAKER_OP_DESTINATION_PORT);
            ports(cx, builder, op, ranges, at)
        }
        Test::PrivilegedPort(which) => {
            let op = side(which, SAKER_OP_SOURCE_PORT, SAKER_OP_DESTINATION_PORT);
            ports(cx, builder, op, &[PortRange { min: 0, max: 1023 }], at)
        }
        Test::Protocol(numbers) => few(cx, builder, SAKER_OP_PROTOCOL, words(numbers), at),
        Test::Family(numbers) => few(cx, builder, SAKER_OP_FAMILY, words(numbers), at),
        Test::State(numbers) => few(cx, builder, SAKER_OP_STATE, words(numbers), at),
        Test::CapabilitiesGained => Some(saker_clause { first: second?, ..op(SAKER_OP_GAINED) }),
        Test::Cel(_) | Test::Untyped(_) => {
            cx.not_yet(at, "the filter is not looked at in the kernel", "use the other operators");
            None
        }
    }
}

fn few(
    cx: &mut Lowering<'_>,
    builder: &mut Builder,
    op: u32,
    mut numbers: Vec<u64>,
    at: &At,
) -> Option<saker_clause> {
    numbers.sort_unstable();
    numbers.dedup();
    if numbers.len() > SCAN_MAX {
        cx.report.error(at, format!("{} values are listed, {SCAN_MAX} are possible", numbers.len()));
        return None;
    }
    Some(numbers::scanned(builder, op, numbers))
}

fn ports(
    cx: &mut Lowering<'_>,
    builder: &mut Builder,
    op: u32,
    ranges: &[PortRange],
    at: &At,
) -> Option<saker_clause> {
    let ranges = ranges.iter().map(|range| IntegerRange { min: range.min.into(), max: range.max.into() });
    let merged = numbers::merged(ranges.collect());
    if merged.len() > SCAN_MAX {
        let message =
            format!("{} separate ranges of ports are listed, {SCAN_MAX} are possible", merged.len());
        cx.report.error(at, message);
        return None;
    }
    let number = |number: i128| u64::try_from(number).unwrap_or_default();
    let pairs = merged.iter().flat_map(|range| [number(range.min), number(range.max)]).collect();
    Some(numbers::scanned_pairs(builder, op, pairs))
}

/// Networks of IPv4 in a set, those of IPv6 in the next.
fn network_set(cx: &mut Lowering<'_>, networks: &[Network]) -> u32 {
    let set = cx.new_set(2);
    let mut networks = networks.to_vec();
    networks.sort_unstable();
    networks.dedup();
    for network in networks {
        let mut key = saker_network_key::new_zeroed();
        key.bits = 32 + u32::from(network.prefix);
        match network.address {
            IpAddr::V4(address) => {
                key.set = set;
                key.address[..4].copy_from_slice(&address.octets());
            }
            IpAddr::V6(address) => {
                key.set = set + 1;
                key.address.copy_from_slice(&address.octets());
            }
        }
        cx.sets.networks.push(key);
    }
    set
}

/// How texts are compared.
#[derive(Clone, Copy, PartialEq)]
enum Compared {
    Whole,
    Beginning,
    Ending,
}

fn text(
    cx: &mut Lowering<'_>,
    builder: &mut Builder,
    test: &TextTest,
    ty: ArgType,
    at: &At,
) -> Option<saker_clause> {
    let path = matches!(ty.group(), Group::Path { .. });
    let (compared, texts) = match test {
        TextTest::Equal(texts) => (Compared::Whole, texts.clone()),
        TextTest::Prefix(texts) => (Compared::Beginning, texts.clone()),
        TextTest::Postfix(texts) => (Compared::Ending, texts.clone()),
        TextTest::Glob(globs) => match simple(&globs.iter().collect::<Vec<&Glob>>(), path) {
            Some((SimpleGlob::Whole(_), texts)) => (Compared::Whole, texts),
            Some((SimpleGlob::Beginning(_), texts)) => (Compared::Beginning, texts),
            Some((SimpleGlob::Ending(_), texts)) => (Compared::Ending, texts),
            None => {
                refuse_globs(cx, at);
                return None;
            }
        },
        TextTest::Contains(_) | TextTest::ContainsIgnoringCase(_) => {
            let hint = "use `Equal`, `Prefix` or `Postfix`";
            cx.not_yet(at, "text is not searched for in the kernel", hint);
            return None;
        }
    };
    let texts = prepared(cx, texts, compared, ty, at)?;
    if path && compared != Compared::Beginning && texts.iter().any(|text| text == b"/") {
        let message = "the root directory has no path of its own in the kernel: `/` alone would never match";
        cx.report.error_hint(at, message, "take `/` out, or use `Prefix` for everything below it");
        return None;
    }
    Some(text_clause(cx, builder, compared, &texts))
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
    if let Some(long) = texts.iter().find(|text| text.len() > SAKER_SHORT_MAX as usize) {
        let message = format!("a value has {} bytes, {SAKER_SHORT_MAX} can be compared", long.len());
        cx.report.error(at, message);
        return None;
    }
    if texts.len() > TEXTS_MAX {
        cx.report.error(at, format!("{} values are listed, {TEXTS_MAX} are possible", texts.len()));
        return None;
    }
    let mut lengths: Vec<usize> = texts.iter().map(Vec::len).collect();
    lengths.sort_unstable();
    lengths.dedup();
    if compared == Compared::Ending && lengths.len() > SCAN_MAX {
        let message = format!("endings have {} different lengths, {SCAN_MAX} are possible", lengths.len());
        cx.report.error(at, message);
        return None;
    }
    Some(texts)
}

fn text_clause(
    cx: &mut Lowering<'_>,
    builder: &mut Builder,
    compared: Compared,
    texts: &[Vec<u8>],
) -> saker_clause {
    let set = cx.new_set(1);
    let length = |text: &[u8]| u32::try_from(text.len()).unwrap_or(u32::MAX);
    for text in texts {
        if compared == Compared::Beginning {
            let mut key = saker_prefix_key::new_zeroed();
            (key.set, key.bits) = (set, 32 + 8 * length(text));
            key.text.iter_mut().zip(text).for_each(|(to, from)| *to = *from);
            cx.sets.prefixes.push(key);
        } else {
            let mut key = saker_text_key::new_zeroed();
            (key.set, key.len) = (set, length(text));
            key.text.iter_mut().zip(text).for_each(|(to, from)| *to = *from);
            cx.sets.texts.push(key);
        }
    }
    let mut clause = match compared {
        Compared::Whole => saker_clause { op: byte(SAKER_OP_TEXT_EQUAL), ..saker_clause::default() },
        Compared::Beginning => saker_clause { op: byte(SAKER_OP_TEXT_PREFIX), ..saker_clause::default() },
        Compared::Ending => {
            let mut lengths: Vec<u64> = texts.iter().map(|text| text.len() as u64).collect();
            lengths.sort_unstable();
            lengths.dedup();
            numbers::scanned(builder, SAKER_OP_TEXT_POSTFIX, lengths)
        }
    };
    clause.set = set;
    clause
}

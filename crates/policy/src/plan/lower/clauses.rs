//! Conditions on captured values.

use std::net::IpAddr;

use saker_abi::generated::{
    SAKER_CLAUSE_NEGATED, SAKER_FILES_NAMED_MAX, SAKER_OP_DESTINATION, SAKER_OP_DESTINATION_PORT,
    SAKER_OP_FAMILY, SAKER_OP_FILE_TYPE, SAKER_OP_GAINED, SAKER_OP_PROTOCOL, SAKER_OP_SAME_FILE,
    SAKER_OP_SOURCE, SAKER_OP_SOURCE_PORT, SAKER_OP_STATE, SAKER_OP_TEXT_EQUAL, SAKER_OP_TEXT_PATTERN,
    saker_clause, saker_network_key,
};
use zerocopy::FromZeros;

use super::builder::{Asked, Builder, SCAN_MAX};
use super::texts::text;
use super::values::{RESULT, Slots};
use super::{Lowering, expression, numbers};
use crate::diagnostic::At;
use crate::matcher::mode_of;
use crate::model::{ArgumentFilter, Operand, Predicate, Side, Test};
use crate::plan::NamedFiles;
use crate::values::{IntegerRange, Network, PortRange};
use crate::words::ArgType;

/// Address families with addresses and ports (`linux/socket.h`).
const INTERNET: [u64; 2] = [2, 10];

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
        SAKER_OP_TEXT_EQUAL..=SAKER_OP_FILE_TYPE if slots.is_path(clause.value) => 4,
        SAKER_OP_SAME_FILE => 4,
        SAKER_OP_TEXT_PATTERN if slots.is_path(clause.value) => 5,
        SAKER_OP_TEXT_PATTERN => 3,
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
    if let Test::Cel(condition) = &filter.predicate.test {
        clauses.extend(expression::clause(cx, builder, slots, condition, at));
        return;
    }
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
    match operand {
        Operand::Returned => Some(RESULT),
        Operand::Value(position) => early(cx, slots, *position, at),
        Operand::Pair(old, new) => {
            if slots.is_late(*new) {
                refuse_late(cx, at);
                return None;
            }
            early(cx, slots, *old, at)
        }
        // It is not about one value.
        Operand::Expression => None,
    }
}

/// The captured value at a position of the policy. That it is read too late, or not at all, is told.
pub(super) fn early(cx: &mut Lowering<'_>, slots: &Slots, position: usize, at: &At) -> Option<u8> {
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
        Test::Integer { signed, bits, test } => {
            numbers::clause(cx, builder, test, (*signed, *bits), ty == ArgType::Syscall64, at)
        }
        Test::Capabilities(test) => numbers::clause(cx, builder, test, (false, 64), false, at),
        Test::Text(test) => text(cx, builder, test, ty, at),
        Test::FileType(types) => {
            let number = types.iter().fold(0, |all, ty| all | 1_u64 << (mode_of(*ty) >> 12));
            Some(saker_clause { number, ..op(SAKER_OP_FILE_TYPE) })
        }
        Test::SameFile(paths) => same_file(cx, paths, at),
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
        // The first is a clause of its own, the second has its type by now.
        Test::Cel(_) | Test::Untyped(_) => None,
    }
}

/// A set of files. Which they are is found out by whoever loads the plan.
fn same_file(cx: &mut Lowering<'_>, paths: &[Vec<u8>], at: &At) -> Option<saker_clause> {
    let mut paths = paths.to_vec();
    paths.sort_unstable();
    paths.dedup();
    let all = cx.sets.files.iter().map(|files| files.paths.len()).sum::<usize>() + paths.len();
    if all > SAKER_FILES_NAMED_MAX as usize {
        let message =
            format!("with this filter the policy names {all} files, {SAKER_FILES_NAMED_MAX} are possible");
        cx.report.error_hint(at, message, "name their folder, or split the policy");
        return None;
    }
    let set = cx.new_set(1);
    cx.sets.files.push(NamedFiles { set, paths });
    Some(saker_clause { op: byte(SAKER_OP_SAME_FILE), set, ..saker_clause::default() })
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

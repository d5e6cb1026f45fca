//! Conditions on the process.

use saker_abi::generated::{
    SAKER_CLAUSE_NEGATED, SAKER_OP_BINARY, SAKER_OP_CAPABILITY, SAKER_OP_CAPABILITY_CHANGE,
    SAKER_OP_FOLLOWED, SAKER_OP_IN_PID_NAMESPACE, SAKER_OP_NAMESPACE, SAKER_OP_NAMESPACE_CHANGE,
    SAKER_OP_NS_PID, SAKER_OP_PARENT_BINARY, SAKER_OP_PARENT_FOLLOWED, SAKER_OP_PID, SAKER_OP_USER_NAMESPACE,
    SAKER_PLAN_BINARIES, SAKER_PLAN_FOLLOW, SAKER_PLAN_PARENT, saker_clause,
};

use super::builder::{Builder, SCAN_MAX};
use super::texts::{simple, too_long, too_many_patterns};
use super::{Lowering, numbers, workloads};
use crate::diagnostic::{At, Spanned};
use crate::model::{
    BinaryFilter, CapabilityFilter, NamespaceChangeFilter, NamespaceFilter, NamespaceValue, PathTest,
    PidFilter, Selector,
};
use crate::plan::{BinaryTest, Pattern, pack};
use crate::values::{Glob, SimpleGlob};
use crate::words::Namespace;

/// Filters on binaries and on descendants of one policy: bits of what is known of a process.
const BINARIES_MAX: usize = 64;
/// A bit for each kind of namespace, in the order of the words.
const NAMESPACES: u64 = (1 << 10) - 1;
/// What filters on programs ask for: the flag of the plan, and the clause's operation without descendants and with them.
const OF_PROCESS: (u32, [u32; 2]) = (SAKER_PLAN_BINARIES, [SAKER_OP_BINARY, SAKER_OP_FOLLOWED]);
const OF_PARENT: (u32, [u32; 2]) = (SAKER_PLAN_PARENT, [SAKER_OP_PARENT_BINARY, SAKER_OP_PARENT_FOLLOWED]);
/// Different lengths of endings, of all policies.
const LENGTHS_MAX: usize = 62;

/// The clauses of a selector's filters on the process. What cannot be done is told.
pub(super) fn clauses(
    cx: &mut Lowering<'_>,
    builder: &mut Builder,
    selector: &Selector,
    at: &At,
) -> Vec<saker_clause> {
    let mut clauses = Vec::new();
    let place = |field: &str, index: usize, span| At { span, path: at.path.field(field).index(index) };
    if let Some(filter) = &selector.workloads {
        let at = At { span: filter.span, path: at.path.field("matchWorkloads") };
        clauses.extend(workloads::of_selector(cx, builder, filter, &at));
    }
    for (index, filter) in selector.pids.iter().enumerate() {
        pid(cx, builder, filter, &place("matchPIDs", index, filter.span), &mut clauses);
    }
    for (index, filter) in selector.binaries.iter().enumerate() {
        let at = place("matchBinaries", index, filter.span);
        clauses.extend(binary(cx, builder, filter, OF_PROCESS, &at));
    }
    for (index, filter) in selector.parent_binaries.iter().enumerate() {
        let at = place("matchParentBinaries", index, filter.span);
        clauses.extend(binary(cx, builder, filter, OF_PARENT, &at));
    }
    for (index, filter) in selector.namespaces.iter().enumerate() {
        clauses.extend(namespace(cx, builder, filter, &place("matchNamespaces", index, filter.span)));
    }
    for filter in &selector.capabilities {
        capability(filter, &mut clauses);
    }
    clauses.extend(selector.namespace_changes.iter().map(namespace_change));
    for filter in &selector.capability_changes {
        capability_change(filter, &mut clauses);
    }
    clauses
}

pub(super) fn op(op: u32, negated: bool) -> saker_clause {
    let flags = if negated { SAKER_CLAUSE_NEGATED } else { 0 };
    let byte = |number: u32| u8::try_from(number).unwrap_or_default();
    saker_clause { op: byte(op), flags: byte(flags), ..saker_clause::default() }
}

fn pid(
    cx: &mut Lowering<'_>,
    builder: &mut Builder,
    filter: &PidFilter,
    at: &At,
    clauses: &mut Vec<saker_clause>,
) {
    let mut numbers = filter.values.clone();
    numbers.sort_unstable();
    numbers.dedup();
    if numbers.len() > SCAN_MAX {
        cx.report.error(at, format!("{} numbers are listed, {SCAN_MAX} are possible", numbers.len()));
        return;
    }
    if filter.follow_forks {
        let test = if filter.in_namespace { BinaryTest::NamespacePids } else { BinaryTest::Pids };
        if let Some(position) = position(cx, BinaryTest::Followed(Box::new(test(numbers))), at) {
            if filter.in_namespace {
                clauses.push(op(SAKER_OP_IN_PID_NAMESPACE, false));
            }
            builder.flag(SAKER_PLAN_FOLLOW);
            clauses.push(saker_clause { first: position, ..op(SAKER_OP_FOLLOWED, filter.negated) });
        }
        return;
    }
    let which = if filter.in_namespace { SAKER_OP_NS_PID } else { SAKER_OP_PID };
    let mut clause = numbers::scanned(builder, which, numbers.into_iter().map(u64::from).collect());
    clause.flags = op(which, filter.negated).flags;
    clauses.push(clause);
}

/// A filter on the program of the process, or of its parent.
fn binary(
    cx: &mut Lowering<'_>,
    builder: &mut Builder,
    filter: &BinaryFilter,
    (asks, ops): (u32, [u32; 2]),
    at: &At,
) -> Option<saker_clause> {
    let position = binary_position(cx, filter, at)?;
    builder.flag(asks);
    if filter.follow_children {
        builder.flag(SAKER_PLAN_FOLLOW);
    }
    let [alone, followed] = ops;
    let which = if filter.follow_children { followed } else { alone };
    Some(saker_clause { first: position, ..op(which, filter.negated) })
}

/// The position of a filter's test among those of the policy.
fn binary_position(cx: &mut Lowering<'_>, filter: &BinaryFilter, at: &At) -> Option<u8> {
    let test = binary_test(&filter.test);
    position(cx, if filter.follow_children { BinaryTest::Followed(Box::new(test)) } else { test }, at)
}

fn binary_test(test: &PathTest) -> BinaryTest {
    let bytes = |paths: &[Spanned<String>]| -> Vec<Vec<u8>> {
        let mut paths: Vec<_> = paths.iter().map(|path| path.value.clone().into_bytes()).collect();
        paths.sort_unstable();
        paths.dedup();
        paths
    };
    match test {
        PathTest::Equal(paths) => BinaryTest::Equal(bytes(paths)),
        PathTest::Prefix(paths) => BinaryTest::Prefix(bytes(paths)),
        PathTest::Postfix(paths) => BinaryTest::Postfix(bytes(paths)),
        PathTest::Glob(globs) => {
            let globs: Vec<&Glob> = globs.iter().map(|glob| &glob.value).collect();
            match simple(&globs, true) {
                Some((SimpleGlob::Whole(_), texts)) => BinaryTest::Equal(texts),
                Some((SimpleGlob::Beginning(_), texts)) => BinaryTest::Prefix(texts),
                Some((_, texts)) => BinaryTest::Postfix(texts),
                None => {
                    let mut patterns: Vec<Pattern> = globs.into_iter().map(Pattern::of).collect();
                    patterns.sort_unstable();
                    patterns.dedup();
                    BinaryTest::Pattern(patterns)
                }
            }
        }
    }
}

/// The position of a filter on binaries among those of the policy.
fn position(cx: &mut Lowering<'_>, test: BinaryTest, at: &At) -> Option<u8> {
    if too_long(cx, test.texts(), at) {
        return None;
    }
    if let Some(known) = cx.binaries.iter().position(|other| *other == test) {
        return u8::try_from(known).ok();
    }
    if cx.binaries.len() >= BINARIES_MAX {
        let message =
            format!("the policy has more than {BINARIES_MAX} different filters on binaries and descendants");
        cx.report.error_hint(at, message, "put the paths or numbers of several into one");
        return None;
    }
    cx.binaries.push(test);
    let mut lengths: Vec<usize> = cx.binaries.iter().flat_map(lengths).collect();
    lengths.sort_unstable();
    lengths.dedup();
    if lengths.len() > LENGTHS_MAX {
        let message = format!("endings have {} different lengths, {LENGTHS_MAX} are possible", lengths.len());
        cx.report.error(at, message);
        return None;
    }
    let patterns: Vec<Pattern> = cx.binaries.iter().flat_map(BinaryTest::patterns).collect();
    if pack(&patterns).is_none() {
        too_many_patterns(cx, "the filters on binaries, with the paths of more than 248 bytes,", at);
        return None;
    }
    u8::try_from(cx.binaries.len() - 1).ok()
}

/// Lengths of the endings that the kernel side looks up.
fn lengths(test: &BinaryTest) -> Vec<usize> {
    match test.inner() {
        BinaryTest::Postfix(_) => test.looked_up().map(<[u8]>::len).collect(),
        _ => Vec::new(),
    }
}

fn namespace(
    cx: &mut Lowering<'_>,
    builder: &mut Builder,
    filter: &NamespaceFilter,
    at: &At,
) -> Option<saker_clause> {
    let mut numbers = Vec::new();
    for value in &filter.values {
        numbers.push(u64::from(match value {
            NamespaceValue::Inode(inode) => *inode,
            NamespaceValue::Host => host(cx, filter.namespace, at)?,
        }));
    }
    numbers.sort_unstable();
    numbers.dedup();
    if numbers.len() > SCAN_MAX {
        cx.report.error(at, format!("{} namespaces are listed, {SCAN_MAX} are possible", numbers.len()));
        return None;
    }
    let mut clause = numbers::scanned(builder, SAKER_OP_NAMESPACE, numbers);
    clause.flags = op(SAKER_OP_NAMESPACE, filter.negated).flags;
    // Both the words and the structure are in this order.
    clause.first = filter.namespace as u8;
    Some(clause)
}

/// The number of a namespace of the host.
fn host(cx: &mut Lowering<'_>, namespace: Namespace, at: &At) -> Option<u32> {
    let host = cx.kernel.host_namespaces();
    let number = match namespace {
        Namespace::Uts => host.uts,
        Namespace::Ipc => host.ipc,
        Namespace::Mnt => host.mnt,
        Namespace::Pid => host.pid,
        Namespace::PidForChildren => host.pid_for_children,
        Namespace::Net => host.net,
        Namespace::Time => host.time,
        Namespace::TimeForChildren => host.time_for_children,
        Namespace::Cgroup => host.cgroup,
        Namespace::User => host.user,
    };
    // A kernel without namespaces of a kind has the number 0 for all; without those of processes there is none.
    if host.pid == 0 {
        let hint = "run the agent with the host's PID namespace and /proc, and the right to read the first process's";
        cx.report.error_hint(
            at,
            "the namespaces of the host are not known: `host_ns` cannot be compared",
            hint,
        );
        return None;
    }
    Some(number)
}

fn capability(filter: &CapabilityFilter, clauses: &mut Vec<saker_clause>) {
    if filter.namespaced {
        clauses.push(op(SAKER_OP_USER_NAMESPACE, false));
    }
    clauses.push(saker_clause {
        first: filter.set as u8,
        number: filter.capabilities,
        ..op(SAKER_OP_CAPABILITY, filter.negated)
    });
}

/// That a namespace changed which is named or, negated, which is not.
fn namespace_change(filter: &NamespaceChangeFilter) -> saker_clause {
    let named = filter.namespaces.iter().fold(0_u64, |all, namespace| all | 1 << (*namespace as u8));
    let number = if filter.negated { !named & NAMESPACES } else { named };
    saker_clause { number, ..op(SAKER_OP_NAMESPACE_CHANGE, false) }
}

/// The same of capabilities.
fn capability_change(filter: &CapabilityFilter, clauses: &mut Vec<saker_clause>) {
    if filter.namespaced {
        clauses.push(op(SAKER_OP_USER_NAMESPACE, false));
    }
    let number = if filter.negated { !filter.capabilities } else { filter.capabilities };
    clauses.push(saker_clause { first: filter.set as u8, number, ..op(SAKER_OP_CAPABILITY_CHANGE, false) });
}

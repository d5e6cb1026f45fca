//! Filters on processes.

use super::event::{Ancestor, NamespaceState, Process};
use super::{Clause, Outcome, workload};
use crate::diagnostic::Span;
use crate::model::{
    BinaryFilter, CapabilityFilter, NamespaceChangeFilter, NamespaceFilter, NamespaceValue, PathTest,
    PidFilter, Selector,
};
use crate::words::Namespace;

/// The filters of a selector on the process, in their order; each is tried when it is asked for.
pub(super) fn clauses(selector: &Selector, process: &Process) -> impl Iterator<Item = Clause> {
    let workloads = selector.workloads.iter().map(move |filter| {
        let outcome = Outcome::of(workload::matches(filter, process));
        Clause { field: "matchWorkloads", index: 0, span: filter.span, outcome }
    });
    let binaries = each("matchBinaries", &selector.binaries, |one| one.span, |one| binary(one, process));
    let parents =
        each("matchParentBinaries", &selector.parent_binaries, |one| one.span, |one| parent(one, process));
    let pids = each("matchPIDs", &selector.pids, |one| one.span, |one| pid(one, process));
    let namespaces =
        each("matchNamespaces", &selector.namespaces, |one| one.span, |one| namespace(one, process));
    let capabilities =
        each("matchCapabilities", &selector.capabilities, |one| one.span, |one| capability(one, process));
    let namespace_changes = each(
        "matchNamespaceChanges",
        &selector.namespace_changes,
        |one| one.span,
        |one| namespace_change(one, process),
    );
    let capability_changes = each(
        "matchCapabilityChanges",
        &selector.capability_changes,
        |one| one.span,
        |one| capability_change(one, process),
    );
    workloads
        .chain(binaries)
        .chain(parents)
        .chain(pids)
        .chain(namespaces)
        .chain(capabilities)
        .chain(namespace_changes)
        .chain(capability_changes)
}

fn each<T>(
    field: &'static str,
    filters: &[T],
    span: impl Fn(&T) -> Span,
    outcome: impl Fn(&T) -> Outcome,
) -> impl Iterator<Item = Clause> {
    filters.iter().enumerate().map(move |(index, filter)| Clause {
        field,
        index,
        span: span(filter),
        outcome: outcome(filter),
    })
}

fn path_fits(test: &PathTest, path: &str) -> bool {
    match test {
        PathTest::Equal(paths) => paths.iter().any(|value| path == value.value),
        PathTest::Prefix(paths) => paths.iter().any(|value| path.starts_with(&value.value)),
        PathTest::Postfix(paths) => paths.iter().any(|value| path.ends_with(&value.value)),
        PathTest::Glob(globs) => globs.iter().any(|value| value.value.matches(path.as_bytes())),
    }
}

fn binary(filter: &BinaryFilter, process: &Process) -> Outcome {
    let fits = |path: &String| path_fits(&filter.test, path);
    let followed =
        || process.earlier.iter().any(fits) || process.ancestors.iter().any(|one| ran(filter, one));
    let found = fits(&process.binary) || filter.follow_children && followed();
    Outcome::of(found != filter.negated)
}

/// Whether an ancestor runs, or ran before, a program that fits.
fn ran(filter: &BinaryFilter, ancestor: &Ancestor) -> bool {
    let fits = |path: &String| path_fits(&filter.test, path);
    fits(&ancestor.binary) || ancestor.earlier.iter().any(fits)
}

fn parent(filter: &BinaryFilter, process: &Process) -> Outcome {
    // A process without parent has no program there: nothing fits it.
    let own = process.ancestors.first().is_some_and(|parent| path_fits(&filter.test, &parent.binary));
    let found = own || filter.follow_children && process.ancestors.iter().any(|one| ran(filter, one));
    Outcome::of(found != filter.negated)
}

fn pid(filter: &PidFilter, process: &Process) -> Outcome {
    let listed = |pid: u32| filter.values.contains(&pid);
    let found = match (filter.in_namespace, filter.follow_forks) {
        (false, false) => listed(process.pid),
        (false, true) => listed(process.pid) || process.ancestors.iter().any(|one| listed(one.pid)),
        (true, false) => listed(process.namespace_pid.unwrap_or(0)),
        (true, true) => {
            let Some(own) = process.namespace_pid else { return Outcome::NoNamespacePid };
            let mut ancestors = process.ancestors.iter().filter_map(|one| one.namespace_pid);
            listed(own) || ancestors.any(listed)
        }
    };
    Outcome::of(found != filter.negated)
}

fn namespace(filter: &NamespaceFilter, process: &Process) -> Outcome {
    let own = process.namespace(filter.namespace);
    let found = filter.values.iter().any(|value| match value {
        NamespaceValue::Host => own == NamespaceState::Host,
        NamespaceValue::Inode(inode) => own == NamespaceState::Inode(*inode),
    });
    Outcome::of(found != filter.negated)
}

fn namespace_change(filter: &NamespaceChangeFilter, process: &Process) -> Outcome {
    let counts = |namespace: &Namespace| filter.namespaces.contains(namespace) != filter.negated;
    Outcome::of(process.namespace_changes.iter().any(counts))
}

/// Whether the filter is only for processes outside of the host's user namespace, and this one is inside.
fn left_out(filter: &CapabilityFilter, process: &Process) -> bool {
    filter.namespaced && process.namespace(Namespace::User) == NamespaceState::Host
}

fn capability(filter: &CapabilityFilter, process: &Process) -> Outcome {
    if left_out(filter, process) {
        return Outcome::HostUserNamespace;
    }
    let found = process.capabilities.get(filter.set) & filter.capabilities != 0;
    Outcome::of(found != filter.negated)
}

fn capability_change(filter: &CapabilityFilter, process: &Process) -> Outcome {
    if left_out(filter, process) {
        return Outcome::HostUserNamespace;
    }
    let counted = if filter.negated { !filter.capabilities } else { filter.capabilities };
    Outcome::of(process.capability_changes.get(filter.set) & counted != 0)
}

//! Filters on processes.

use std::collections::HashSet;

use super::Context;
use crate::diagnostic::{At, Spanned};
use crate::language::MAX_VALUE;
use crate::model::{
    BinaryFilter, CapabilityFilter, NamespaceChangeFilter, NamespaceFilter, NamespaceValue, PathTest,
    PidFilter,
};
use crate::names;
use crate::shape::{Item, Record};
use crate::values::Glob;
use crate::words::{BinaryOperator, CapabilitySet, Namespace, SetOperator};
use crate::yaml::shorten;

/// A condition on a program.
pub(super) fn binary(record: &Record, cx: &mut Context<'_>) -> Option<BinaryFilter> {
    let operator = BinaryOperator::parse(&record.text("operator")?.value)?;
    needs_values(record, cx);
    let mut paths = Vec::new();
    for item in record.list("values") {
        let Some(path) = item.text() else { continue };
        check_path(&path.value, operator, &item.at, cx);
        paths.push(path);
    }
    let (negated, test) = match operator {
        BinaryOperator::In => (false, PathTest::Equal(paths)),
        BinaryOperator::NotIn => (true, PathTest::Equal(paths)),
        BinaryOperator::Prefix => (false, PathTest::Prefix(paths)),
        BinaryOperator::NotPrefix => (true, PathTest::Prefix(paths)),
        BinaryOperator::Postfix => (false, PathTest::Postfix(paths)),
        BinaryOperator::NotPostfix => (true, PathTest::Postfix(paths)),
        BinaryOperator::Glob | BinaryOperator::NotGlob => {
            let globs = globs(paths, record, cx);
            (operator == BinaryOperator::NotGlob, PathTest::Glob(globs))
        }
    };
    Some(BinaryFilter { span: record.at.span, negated, test, follow_children: record.flag("followChildren") })
}

fn globs(paths: Vec<Spanned<String>>, record: &Record, cx: &mut Context<'_>) -> Vec<Spanned<Glob>> {
    let mut globs = Vec::new();
    for (path, item) in paths.into_iter().zip(record.list("values")) {
        match Glob::parse(&path.value) {
            Ok(value) => globs.push(Spanned { value, span: path.span }),
            Err(problem) => cx.report.problem(&item.at, problem),
        }
    }
    globs
}

fn check_path(path: &str, operator: BinaryOperator, at: &At, cx: &mut Context<'_>) {
    if path.is_empty() || path.contains('\0') {
        cx.report.error(at, "a path is not empty and has no NUL byte");
    } else if path.len() > MAX_VALUE {
        cx.report.error(at, format!("the path has {} bytes, {MAX_VALUE} are allowed", path.len()));
    }
    let whole = matches!(
        operator,
        BinaryOperator::In | BinaryOperator::NotIn | BinaryOperator::Prefix | BinaryOperator::NotPrefix
    );
    if whole && !path.starts_with('/') && !path.is_empty() {
        let message = format!("`{}` is not an absolute path", shorten(path));
        let hint = "paths of programs are compared as the kernel resolved them; use `Postfix` or `Glob` for an ending";
        cx.report.warning(at, message, hint);
    }
}

fn needs_values(record: &Record, cx: &mut Context<'_>) {
    if record.given("values") && record.list("values").is_empty() && record.get("values").is_some() {
        let hint = "without values the filter would do nothing; take it out";
        cx.report.error_hint(&record.at("values"), "at least one value is needed", hint);
    }
}

fn negated(record: &Record) -> Option<bool> {
    SetOperator::parse(&record.text("operator")?.value).map(|operator| operator == SetOperator::NotIn)
}

/// A condition on the number of the process.
pub(super) fn pid(record: &Record, cx: &mut Context<'_>) -> Option<PidFilter> {
    let negated = negated(record)?;
    needs_values(record, cx);
    Some(PidFilter {
        span: record.at.span,
        negated,
        values: record.list("values").iter().filter_map(Item::integer).collect(),
        in_namespace: record.flag("isNamespacePID"),
        follow_forks: record.flag("followForks"),
    })
}

/// A condition on a namespace.
pub(super) fn namespace(record: &Record, cx: &mut Context<'_>) -> Option<NamespaceFilter> {
    let namespace = Namespace::parse(&record.text("namespace")?.value)?;
    let negated = negated(record)?;
    needs_values(record, cx);
    let mut values = Vec::new();
    for item in record.list("values") {
        let Some(text) = item.text() else { continue };
        if text.value.eq_ignore_ascii_case("host_ns") {
            values.push(NamespaceValue::Host);
            continue;
        }
        match crate::values::number(&text.value).ok().and_then(|number| u32::try_from(number).ok()) {
            Some(inode) => values.push(NamespaceValue::Inode(inode)),
            None => {
                let message = format!("`{}` is not a namespace", shorten(&text.value));
                cx.report.error_hint(&item.at, message, "write an inode number, or `host_ns`");
            }
        }
    }
    Some(NamespaceFilter { span: record.at.span, namespace, negated, values })
}

/// A condition on changes of namespaces.
pub(super) fn namespace_change(record: &Record, cx: &mut Context<'_>) -> Option<NamespaceChangeFilter> {
    let negated = negated(record)?;
    needs_values(record, cx);
    let words = record.list("values").iter().filter_map(Item::text);
    let namespaces = words.filter_map(|word| Namespace::parse(&word.value)).collect();
    Some(NamespaceChangeFilter { span: record.at.span, negated, namespaces })
}

/// A condition on capabilities or their changes.
pub(super) fn capability(record: &Record, cx: &mut Context<'_>) -> Option<CapabilityFilter> {
    let set = record.text("type").and_then(|word| CapabilitySet::parse(&word.value));
    let negated = negated(record)?;
    needs_values(record, cx);
    let mut capabilities = 0;
    let mut seen = HashSet::new();
    for item in record.list("values") {
        let Some(text) = item.text() else { continue };
        if cx.report.is_full() {
            break;
        }
        match names::capability(&text.value) {
            Ok(number) => {
                if !seen.insert(number) {
                    cx.report.warning(
                        &item.at,
                        format!("`{}` is listed twice", text.value),
                        "once is enough",
                    );
                }
                capabilities |= 1 << number;
            }
            Err(problem) => cx.report.problem(&item.at, problem),
        }
    }
    Some(CapabilityFilter {
        span: record.at.span,
        set: set.unwrap_or(CapabilitySet::Effective),
        negated,
        namespaced: record.flag("isNamespaceCapability"),
        capabilities,
    })
}

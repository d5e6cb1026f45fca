//! Operators against types, and values against both.

use super::{Context, ListFacts};
use crate::diagnostic::{At, Diagnostic, Problem, Report, Spanned};
use crate::language::MAX_VALUE;
use crate::model::{IntegerTest, ListRef, Predicate, Side, Test, TextTest};
use crate::names;
use crate::values::{self, Glob, IntegerRange, Network, PortRange};
use crate::words::{ArgType, FileType, Group, Operator};
use crate::yaml::shorten;

/// A value as written.
pub(super) struct Text {
    pub(super) at: At,
    pub(super) text: String,
}

/// What must hold of a value of this type; none when the operator or a value does not fit. `broken`: values were given,
/// and what is wrong with them is told already.
pub(super) fn test(
    operator: Operator,
    ty: ArgType,
    what: &str,
    at: &At,
    values: &[Text],
    broken: bool,
    cx: &mut Context<'_>,
) -> Option<Predicate> {
    let (positive, negated) = operator.positive();
    let group = ty.group();
    if !accepts(positive, group) {
        refuse(operator, positive, ty, what, at, cx.report);
        return None;
    }
    if matches!(positive, Operator::SPortPriv | Operator::DPortPriv) {
        if !values.is_empty() {
            let message = format!("`{}` takes no values", operator.name());
            cx.report.warning(at, message, "take them out");
        }
        let side = if positive == Operator::SPortPriv { Side::Source } else { Side::Destination };
        return Some(Predicate { operator, negated, test: Test::PrivilegedPort(side) });
    }
    if values.is_empty() {
        if !broken {
            cx.report.error(at, format!("`{}` needs `values`", operator.name()));
        }
        return None;
    }
    if let Some(long) = values.iter().find(|value| value.text.len() > MAX_VALUE) {
        let message = format!("the value has {} bytes, {MAX_VALUE} are allowed", long.text.len());
        cx.report.error(&long.at, message);
        return None;
    }
    let before = cx.report.errors();
    let test = build(positive, ty, values, cx);
    (cx.report.errors() == before).then_some(Predicate { operator, negated, test })
}

/// The test for a value whose type became known when its tracepoint was looked at.
///
/// # Errors
/// What does not fit, each with the place of the value.
pub fn typed(
    operator: Operator,
    ty: ArgType,
    values: &[Spanned<String>],
) -> Result<Predicate, Vec<Diagnostic>> {
    let mut report = Report::default();
    let texts: Vec<Text> = values
        .iter()
        .map(|value| Text { at: At { span: value.span, ..At::default() }, text: value.value.clone() })
        .collect();
    let at = texts.first().map(|text| text.at.clone()).unwrap_or_default();
    let mut cx = Context {
        report: &mut report,
        kind: crate::words::Kind::Cluster,
        lists: &[],
        list_facts: Vec::new(),
        list_names: std::collections::HashMap::new(),
        used_lists: std::collections::HashSet::new(),
        macros: std::collections::HashMap::new(),
        expanded: 0,
        used_macros: std::collections::HashSet::new(),
        has_enforcer: false,
        uses_enforcer: false,
    };
    let predicate = test(operator, ty, "the value", &at, &texts, false, &mut cx);
    predicate.ok_or_else(|| report.finish())
}

/// Whether an operator, without its negation, can look at values of a group.
pub(crate) fn accepts(operator: Operator, group: Group) -> bool {
    let integer = matches!(group, Group::Integer { .. });
    let capabilities = group == Group::Capabilities;
    let unknown = group == Group::Unknown;
    let text = matches!(group, Group::Text | Group::Path | Group::LocalAddress);
    let socket = matches!(group, Group::Socket { .. });
    match operator {
        Operator::Equal => integer || capabilities || text || unknown,
        Operator::GreaterThan | Operator::LessThan | Operator::Mask => integer || capabilities || unknown,
        Operator::InMap | Operator::InRange => integer || unknown,
        Operator::Prefix
        | Operator::Postfix
        | Operator::SubString
        | Operator::SubStringIgnCase
        | Operator::Glob => text || unknown,
        Operator::FileType | Operator::SameFile => group == Group::Path,
        Operator::SAddr | Operator::SPort | Operator::SPortPriv => socket || group == Group::Address,
        Operator::DAddr | Operator::DPort | Operator::DPortPriv | Operator::Protocol => socket,
        Operator::Family => socket || matches!(group, Group::Address | Group::LocalAddress),
        Operator::State => group == Group::Socket { state: true },
        Operator::CapabilitiesGained => capabilities,
        Operator::CelExpr => integer,
        _ => false,
    }
}

/// Whether an operator stands without values.
pub(crate) fn takes_no_values(operator: Operator) -> bool {
    matches!(operator.positive().0, Operator::SPortPriv | Operator::DPortPriv | Operator::CapabilitiesGained)
}

/// The types that an operator can look at.
pub(crate) fn types(operator: Operator) -> Vec<&'static str> {
    let (positive, _) = operator.positive();
    let fits = |ty: &&ArgType| **ty != ArgType::Auto && accepts(positive, ty.group());
    ArgType::ALL.iter().filter(fits).map(|ty| ty.name()).collect()
}

fn refuse(operator: Operator, positive: Operator, ty: ArgType, what: &str, at: &At, report: &mut Report) {
    let types = types(positive);
    let needed = match types.split_last() {
        Some((last, rest)) if !rest.is_empty() => format!("{} or {last}", rest.join(", ")),
        _ => types.join(""),
    };
    let article = if ty.name().starts_with(['a', 'e', 'i', 'o']) { "an" } else { "a" };
    let message = format!("{} needs a {needed} argument; {what} is {article} {}", operator.name(), ty.name());
    let operators: Vec<_> =
        Operator::ALL.iter().filter(|other| accepts(other.positive().0, ty.group())).collect();
    let names: Vec<_> = operators.iter().map(|operator| operator.name()).collect();
    if names.is_empty() {
        report.error_hint(at, message, format!("values of the type {} cannot be filtered", ty.name()));
    } else {
        report.error_hint(at, message, format!("for {} there are {}", ty.name(), names.join(", ")));
    }
}

fn build(operator: Operator, ty: ArgType, values: &[Text], cx: &mut Context<'_>) -> Test {
    match (operator, ty.group()) {
        (_, Group::Unknown) => {
            let spanned = |value: &Text| Spanned { value: value.text.clone(), span: value.at.span };
            Test::Untyped(values.iter().map(spanned).collect())
        }
        (Operator::FileType, _) => Test::FileType(each(values, cx, file_type)),
        (Operator::SameFile, _) => Test::SameFile(each(values, cx, named_file)),
        (Operator::SAddr, _) => Test::Address(Side::Source, each(values, cx, Network::parse)),
        (Operator::DAddr, _) => Test::Address(Side::Destination, each(values, cx, Network::parse)),
        (Operator::SPort, _) => Test::Port(Side::Source, ports(values, cx)),
        (Operator::DPort, _) => Test::Port(Side::Destination, ports(values, cx)),
        (Operator::Protocol, _) => Test::Protocol(each(values, cx, |text| names::PROTOCOLS.number(text))),
        (Operator::Family, _) => Test::Family(each(values, cx, |text| names::FAMILIES.number(text))),
        (Operator::State, _) => Test::State(each(values, cx, |text| names::TCP_STATES.number(text))),
        (_, Group::Integer { signed, bits }) => {
            Test::Integer { signed, bits, test: integers(operator, ty, signed, bits, values, cx) }
        }
        (_, Group::Capabilities) => Test::Capabilities(capabilities(operator, values, cx)),
        _ => Test::Text(texts(operator, ty, values, cx)),
    }
}

fn each<T>(values: &[Text], cx: &mut Context<'_>, parse: impl Fn(&str) -> Result<T, Problem>) -> Vec<T> {
    let mut parsed = Vec::with_capacity(values.len());
    for value in values {
        // Nobody reads on; what is wrong with the rest is not looked for.
        if cx.report.is_full() {
            break;
        }
        match parse(&value.text) {
            Ok(one) => parsed.push(one),
            Err(problem) => cx.report.problem(&value.at, problem),
        }
    }
    parsed
}

fn file_type(text: &str) -> Result<FileType, Problem> {
    let names = || {
        FileType::WORDS.iter().flat_map(|word| std::iter::once(word.name).chain(word.also.iter().copied()))
    };
    FileType::parse(text).ok_or_else(|| {
        let hint = format!("one of {}", names().collect::<Vec<_>>().join(", "));
        Problem::hint(format!("`{}` is not a type of file", shorten(text)), hint)
    })
}

/// A path that says which file is meant. It is written as it is resolved, so that two ways to write it are one value.
fn named_file(text: &str) -> Result<Vec<u8>, Problem> {
    if !text.starts_with('/') {
        let message = format!("`{}` does not say which file is meant", shorten(text));
        return Err(Problem::hint(message, "write its absolute path, which begins with `/`"));
    }
    if text.contains('\0') {
        return Err(Problem::new("a path has no NUL byte: this value can never be resolved"));
    }
    let components = || text.split('/').filter(|component| !component.is_empty());
    if components().any(|component| matches!(component, "." | "..")) {
        let message = format!("`{}` has a component `.` or `..`", shorten(text));
        return Err(Problem::hint(message, "write the path without it"));
    }
    let path: String = components().flat_map(|component| ["/", component]).collect();
    Ok(if path.is_empty() { b"/".to_vec() } else { path.into_bytes() })
}

fn ports(values: &[Text], cx: &mut Context<'_>) -> Vec<PortRange> {
    let parsed = each(values, cx, PortRange::parse);
    for (value, (_, backwards)) in values.iter().zip(&parsed) {
        warn_backwards(*backwards, value, cx);
    }
    parsed.into_iter().map(|(range, _)| range).collect()
}

fn warn_backwards(backwards: bool, value: &Text, cx: &mut Context<'_>) {
    if backwards {
        let message = format!("the range `{}` is written backwards", value.text);
        cx.report.warning(&value.at, message, "it is taken the right way round");
    }
}

fn integers(
    operator: Operator,
    ty: ArgType,
    signed: bool,
    bits: u32,
    values: &[Text],
    cx: &mut Context<'_>,
) -> IntegerTest {
    let plain = |text: &str| values::integer(text, signed, bits);
    match operator {
        Operator::GreaterThan => IntegerTest::Greater(each(values, cx, plain)),
        Operator::LessThan => IntegerTest::Less(each(values, cx, plain)),
        Operator::Mask => IntegerTest::Mask(masks(values, signed, bits, cx)),
        Operator::InMap | Operator::InRange => set(operator, ty, signed, bits, values, cx),
        _ => IntegerTest::Equal(each(values, cx, plain)),
    }
}

/// Bits: of a signed type both its values and its patterns.
fn masks(values: &[Text], signed: bool, bits: u32, cx: &mut Context<'_>) -> Vec<u64> {
    let pattern = |text: &str| {
        let value = values::integer(text, signed, bits).or_else(|_| values::integer(text, false, bits))?;
        let low = value.rem_euclid(1 << bits);
        if low == 0 {
            return Err(Problem::hint("a mask of no bits never matches", "for the value 0 use `Equal`"));
        }
        Ok(u64::try_from(low).unwrap_or(u64::MAX))
    };
    each(values, cx, pattern)
}

fn set(
    operator: Operator,
    ty: ArgType,
    signed: bool,
    bits: u32,
    values: &[Text],
    cx: &mut Context<'_>,
) -> IntegerTest {
    let mut ranges = Vec::new();
    let mut lists = Vec::new();
    for value in values {
        if cx.report.is_full() {
            break;
        }
        if let Some(list) = cx.list(&value.at, &value.text) {
            lists.extend(list.filter(|list| list_fits(*list, operator, ty, value, cx)));
            continue;
        }
        let one = if operator == Operator::InMap && !value.text.contains(':') {
            values::integer(&value.text, signed, bits).map(|one| (IntegerRange { min: one, max: one }, false))
        } else {
            values::range(&value.text, signed, bits)
        };
        match one {
            Ok((range, backwards)) => {
                warn_backwards(backwards, value, cx);
                ranges.push(range);
            }
            Err(problem) => cx.report.problem(&value.at, problem),
        }
    }
    IntegerTest::InSet { ranges, lists }
}

fn list_fits(list: ListRef, operator: Operator, ty: ArgType, value: &Text, cx: &mut Context<'_>) -> bool {
    let ListFacts { syscalls: calls, compat, .. } = cx.facts(list);
    if operator != Operator::InMap {
        cx.report.error_hint(&value.at, "a list cannot stand in a range", "use `InMap` or `NotInMap`");
    } else if !calls {
        let hint = "its type must be `syscalls` or `generated_syscalls`";
        cx.report.error_hint(&value.at, "only lists of system calls can be values", hint);
    }
    if compat && ty != ArgType::Syscall64 {
        let message = "the list has 32-bit system calls, which this type cannot tell from 64-bit ones";
        cx.report.warning(&value.at, message, "capture the number with `type: syscall64`");
    }
    operator == Operator::InMap && calls
}

fn capabilities(operator: Operator, values: &[Text], cx: &mut Context<'_>) -> IntegerTest {
    let sets = each(values, cx, capability_set);
    let wide = || sets.iter().map(|set| i128::from(*set)).collect();
    match operator {
        Operator::GreaterThan => IntegerTest::Greater(wide()),
        Operator::LessThan => IntegerTest::Less(wide()),
        Operator::Mask => IntegerTest::Mask(sets),
        _ => IntegerTest::Equal(wide()),
    }
}

/// A set of capabilities: a number, or names with commas between them.
pub(crate) fn capability_set(text: &str) -> Result<u64, Problem> {
    if let Ok(number) = values::number(text) {
        return u64::try_from(number)
            .map_err(|_| Problem::new(format!("{text} is not a set of capabilities")));
    }
    text.split(',').try_fold(0, |set, name| Ok(set | 1 << names::capability(name)?))
}

fn texts(operator: Operator, ty: ArgType, values: &[Text], cx: &mut Context<'_>) -> TextTest {
    for value in values {
        lint_text(operator, ty, value, cx);
    }
    // A string ends at its NUL byte, so that a value with one means the value without; a buffer may hold one.
    let bytes = |value: &Text| {
        let text =
            if ty == ArgType::CharBuf { value.text.as_str() } else { value.text.trim_end_matches('\0') };
        text.as_bytes().to_vec()
    };
    let all = || values.iter().map(bytes).collect();
    match operator {
        Operator::Prefix => TextTest::Prefix(all()),
        Operator::Postfix => TextTest::Postfix(all()),
        Operator::SubString => TextTest::Contains(all()),
        Operator::SubStringIgnCase => TextTest::ContainsIgnoringCase(
            values.iter().map(|value| bytes(value).to_ascii_lowercase()).collect(),
        ),
        Operator::Glob => TextTest::Glob(each(values, cx, Glob::parse)),
        _ => TextTest::Equal(all()),
    }
}

fn lint_text(operator: Operator, ty: ArgType, value: &Text, cx: &mut Context<'_>) {
    let text = value.text.as_str();
    let path = matches!(ty.group(), Group::Path);
    let inner = text.trim_end_matches('\0');
    if ty != ArgType::CharBuf && inner.contains('\0') {
        cx.report.error(&value.at, "text ends at its first NUL byte: this value can never match");
    } else if path && inner.len() < text.len() {
        cx.report.warning(&value.at, "a path has no NUL byte at its end", "it is taken off");
    }
    if inner.is_empty() && (path || operator != Operator::Equal) {
        let message = match (operator, path) {
            (Operator::Equal, _) => "an empty path never matches",
            _ => "an empty value matches everything",
        };
        cx.report.warning(&value.at, message, "take it out");
        return;
    }
    let begins = matches!(operator, Operator::Equal | Operator::Prefix) && !text.starts_with('/')
        || operator == Operator::Glob && !text.starts_with(['/', '*', '[', '\\', '?']);
    if path && begins {
        let message = format!("paths begin with `/`: `{}` never matches", shorten(text));
        cx.report.warning(&value.at, message, "for an ending use `Postfix`, or `Glob` with `**/` before it");
    }
}

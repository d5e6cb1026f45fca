//! Filters on captured values: which value, which operator.

use super::predicates::{Text, test};
use super::{Context, Family};
use crate::diagnostic::At;
use crate::model::{ArgumentFilter, Hook, Operand, Predicate, Source, Test};
use crate::shape::{Item, Record};
use crate::values::{NumberType, parse_cel};
use crate::words::{ArgType, Group, Operator};

/// Which list of a selector a filter stands in.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    Arguments,
    Data,
    Returned,
}

/// A filter.
pub(super) fn filter(
    record: &Record,
    role: Role,
    hook: &Hook,
    family: Family,
    cx: &mut Context<'_>,
) -> Option<ArgumentFilter> {
    let operator = operator(record, cx)?;
    let values: Vec<Text> = record
        .list("values")
        .iter()
        .filter_map(|item| Some(Text { at: item.at.clone(), text: item.text()?.value }))
        .collect();
    let span = record.at.span;
    match operator {
        Operator::CelExpr => {
            let condition = expression(record, &values, hook, cx)?;
            let predicate = Predicate { operator, negated: false, test: Test::Cel(condition) };
            return Some(ArgumentFilter { span, operand: Operand::Expression, predicate });
        }
        Operator::CapabilitiesGained => {
            let operand = gained(record, role, hook, cx)?;
            let predicate = Predicate { operator, negated: false, test: Test::CapabilitiesGained };
            return Some(ArgumentFilter { span, operand, predicate });
        }
        _ => {}
    }
    let operand = operand(record, role, hook, family, cx)?;
    let (ty, what) = match operand {
        Operand::Value(position) => {
            let argument = hook.values.get(position)?;
            let what = match (role, &argument.source) {
                (Role::Data, _) => format!("data {}", position - hook.arguments),
                (_, Source::Argument(index)) => format!("argument {index}"),
                _ => format!("argument {position}"),
            };
            (argument.ty, what)
        }
        _ => (hook.on_return.as_ref()?.value.ty, "the value returned".to_owned()),
    };
    if placeholder(&operand, hook, family) {
        return None;
    }
    let at = record.at("operator");
    let predicate = test(operator, ty, &what, &at, &values, record.given("values"), cx)?;
    Some(ArgumentFilter { span, operand, predicate })
}

/// Whether the value is one whose definition has mistakes: they are told already.
fn placeholder(operand: &Operand, hook: &Hook, family: Family) -> bool {
    let Operand::Value(position) = operand else { return false };
    let auto = hook.values.get(*position).is_none_or(|argument| argument.ty == ArgType::Auto);
    auto && family != Family::Tracepoint { raw: false }
}

fn operator(record: &Record, cx: &mut Context<'_>) -> Option<Operator> {
    let word = record.text("operator")?;
    let operator = Operator::parse(&word.value);
    if operator.is_none() {
        cx.report.error(&record.at("operator"), format!("`{}` is not an operator", word.value));
    }
    operator
}

/// The value that a filter names.
fn operand(
    record: &Record,
    role: Role,
    hook: &Hook,
    family: Family,
    cx: &mut Context<'_>,
) -> Option<Operand> {
    let positions: Vec<u32> = record.list("args").iter().filter_map(Item::integer).collect();
    if record.given("args") {
        let [position] = positions[..] else {
            let message = format!("{} values are named, the operator looks at one", positions.len());
            cx.report.error(&record.at("args"), message);
            return None;
        };
        return at_position(position, role, hook, &record.at("args"), cx);
    }
    let index: u32 = match record.get("index") {
        Some(item) => item.integer()?,
        None if record.given("index") => return None,
        None => 0,
    };
    let at = record.at("index");
    if role != Role::Arguments {
        return at_position(index, role, hook, &at, cx);
    }
    let found: Vec<usize> = (0..hook.arguments)
        .filter(|position| {
            hook.values.get(*position).is_some_and(|value| value.source == Source::Argument(index))
        })
        .collect();
    if let Some(first) = found.first() {
        if found.len() > 1 {
            let message =
                format!("{} captured arguments have the index {index}; the first is looked at", found.len());
            cx.report.warning(&at, message, format!("name it by its position in `args`: `args: [{first}]`"));
        }
        return Some(Operand::Value(*first));
    }
    if matches!(family, Family::Tracepoint { .. }) && (index as usize) < hook.arguments {
        return Some(Operand::Value(index as usize));
    }
    not_captured(index, hook, &at, cx);
    None
}

fn not_captured(index: u32, hook: &Hook, at: &At, cx: &mut Context<'_>) {
    let captured: Vec<String> = hook
        .values
        .iter()
        .take(hook.arguments)
        .filter_map(|value| match value.source {
            Source::Argument(index) => Some(index.to_string()),
            _ => None,
        })
        .collect();
    let hint = if captured.is_empty() {
        "the hook captures no arguments: add them to `args`".to_owned()
    } else {
        format!("captured are {}; add it to `args` of the hook", captured.join(", "))
    };
    cx.report.error_hint(at, format!("argument {index} is not captured"), hint);
}

fn at_position(position: u32, role: Role, hook: &Hook, at: &At, cx: &mut Context<'_>) -> Option<Operand> {
    let index = position as usize;
    match role {
        Role::Arguments if index < hook.arguments => Some(Operand::Value(index)),
        Role::Data if hook.arguments + index < hook.values.len() => {
            Some(Operand::Value(hook.data_position(index)))
        }
        Role::Returned if hook.on_return.as_ref().is_some_and(|value| value.index == position) => {
            Some(Operand::Returned)
        }
        Role::Returned => {
            let index = hook.on_return.as_ref().map_or(0, |value| value.index);
            cx.report.error_hint(
                at,
                format!("there is no return value {position}"),
                format!("`index: {index}`"),
            );
            None
        }
        _ => {
            let (name, count) = match role {
                Role::Data => ("data", hook.values.len() - hook.arguments),
                _ => ("args", hook.arguments),
            };
            let message = format!("`{name}` has no entry {position}: it has {count}, counted from 0");
            cx.report.error(at, message);
            None
        }
    }
}

fn expression(
    record: &Record,
    values: &[Text],
    hook: &Hook,
    cx: &mut Context<'_>,
) -> Option<crate::values::Condition> {
    let [text] = values else {
        let at = super::selectors::place(record.get("values"), &record.at);
        cx.report.error(&at, format!("`CelExpr` takes exactly one expression, not {}", values.len()));
        return None;
    };
    if text.text.len() > crate::language::MAX_VALUE {
        cx.report
            .error(&text.at, format!("the expression has more than {} bytes", crate::language::MAX_VALUE));
        return None;
    }
    let types: Vec<Option<NumberType>> =
        hook.values.iter().take(hook.arguments).map(|value| number_type(value.ty)).collect();
    match parse_cel(&text.text, &types) {
        Ok(condition) => Some(condition),
        Err(problem) => {
            cx.report.problem(&text.at, problem);
            None
        }
    }
}

/// The type that a captured value has in expressions; narrow ones are widened.
fn number_type(ty: ArgType) -> Option<NumberType> {
    match ty.group() {
        Group::Integer { signed: true, bits: 64 } => Some(NumberType::I64),
        Group::Integer { signed: false, bits: 64 } => Some(NumberType::U64),
        Group::Integer { signed: true, .. } => Some(NumberType::I32),
        Group::Integer { signed: false, .. } => Some(NumberType::U32),
        _ => None,
    }
}

fn gained(record: &Record, role: Role, hook: &Hook, cx: &mut Context<'_>) -> Option<Operand> {
    if !record.list("values").is_empty() {
        cx.report.warning(&record.at("values"), "`CapabilitiesGained` takes no values", "take them out");
    }
    let positions: Vec<usize> = record.list("args").iter().filter_map(Item::integer).collect();
    let at = record.at("args");
    let hint = "`args: [OLD, NEW]`, positions of two captured capability sets";
    let [old, new] = positions[..] else {
        cx.report.error_hint(&at, "`CapabilitiesGained` looks at two arguments", hint);
        return None;
    };
    let is_set = |position: usize| {
        let value = hook.values.get(position).filter(|_| position < hook.arguments);
        value.is_some_and(|value| value.ty.group() == Group::Capabilities)
    };
    for position in [old, new] {
        if role != Role::Arguments || !is_set(position) {
            cx.report.error_hint(&at, format!("`args` has no capability set at position {position}"), hint);
            return None;
        }
    }
    Some(Operand::Pair(old, new))
}

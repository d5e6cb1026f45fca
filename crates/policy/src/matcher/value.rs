//! Filters on captured values.

use std::net::IpAddr;

use super::event::{SocketValue, Value, file_type};
use super::{Numbers, Outcome};
use crate::model::{Abi, IntegerTest, List, ListContent, Policy, Predicate, Side, Syscall, Test, TextTest};
use crate::words::ArgType;

/// Privileged ports are below this one.
const PRIVILEGED: u16 = 1024;

/// The values a filter looks at.
pub(super) enum Operands<'a> {
    One(&'a Value),
    Two(&'a Value, &'a Value),
    All(&'a [Value]),
}

/// What comes of a filter on these values.
pub(super) fn outcome(
    predicate: &Predicate,
    operands: &Operands<'_>,
    policy: &Policy,
    numbers: Numbers<'_>,
) -> Outcome {
    let holds = match operands {
        Operands::One(Value::Failed) => Err(Outcome::Unreadable),
        Operands::One(value) => one(predicate, value, policy, numbers),
        Operands::Two(old, new) => gained(old, new),
        Operands::All(values) => expression(predicate, values),
    };
    match holds {
        Ok(holds) => Outcome::of(holds != predicate.negated),
        Err(outcome) => outcome,
    }
}

/// Whether the test, without its negation, holds; or why neither it nor its negation does.
fn one(predicate: &Predicate, value: &Value, policy: &Policy, numbers: Numbers<'_>) -> Result<bool, Outcome> {
    match &predicate.test {
        Test::Integer { signed, bits, test } => integer(test, value, *signed, *bits, policy, numbers),
        Test::Capabilities(test) => match value {
            Value::Capabilities(set) => {
                integer(test, &Value::Integer((*set).into()), false, 64, policy, numbers)
            }
            _ => Err(Outcome::OtherKind),
        },
        Test::Text(test) => text(test, value),
        Test::FileType(types) => match value {
            Value::Path { mode, .. } => Ok(file_type(*mode).is_some_and(|ty| types.contains(&ty))),
            _ => Err(Outcome::OtherKind),
        },
        Test::SameFile(paths) => match value {
            Value::Path { path, file, .. } => {
                let file = if file.is_empty() { path } else { file };
                Ok(paths.iter().any(|path| is_or_below(file, path)))
            }
            _ => Err(Outcome::OtherKind),
        },
        Test::Address(side, networks) => {
            let address = address(value, *side)?;
            Ok(networks.iter().any(|network| network.contains(address)))
        }
        Test::Port(side, ranges) => {
            let port = port(value, *side)?;
            Ok(ranges.iter().any(|range| range.contains(port)))
        }
        Test::PrivilegedPort(side) => Ok(port(value, *side)? < PRIVILEGED),
        Test::Protocol(protocols) => Ok(protocols.contains(&socket(value)?.protocol)),
        Test::Family(families) => Ok(families.contains(&family(value)?)),
        Test::State(states) => Ok(socket(value)?.state.is_some_and(|state| states.contains(&state))),
        Test::Untyped(_) => untyped(predicate, value, policy, numbers),
        Test::CapabilitiesGained | Test::Cel(_) => Err(Outcome::OtherKind),
    }
}

fn integer(
    test: &IntegerTest,
    value: &Value,
    signed: bool,
    bits: u32,
    policy: &Policy,
    numbers: Numbers<'_>,
) -> Result<bool, Outcome> {
    let number = match value {
        Value::Integer(number) => *number,
        Value::Syscall(call) => return syscall(test, call, policy),
        _ => return Err(Outcome::OtherKind),
    };
    let low = number.rem_euclid(1 << bits);
    let number = if signed && low >= 1 << (bits - 1) { low - (1 << bits) } else { low };
    Ok(match test {
        IntegerTest::Equal(values) => values.contains(&number),
        IntegerTest::Greater(values) => values.iter().any(|value| number > *value),
        IntegerTest::Less(values) => values.iter().any(|value| number < *value),
        IntegerTest::Mask(masks) => masks.iter().any(|mask| low & i128::from(*mask) != 0),
        IntegerTest::InSet { ranges, lists } => {
            let lists = lists.iter().filter_map(|list| policy.list(*list));
            ranges.iter().any(|range| range.contains(number))
                || lists.into_iter().any(|list| has_number(list, low, numbers))
        }
    })
}

fn has_number(list: &List, number: i128, numbers: Numbers<'_>) -> bool {
    match &list.content {
        ListContent::AllSyscalls => true,
        ListContent::Syscalls(calls) => {
            calls.iter().any(|call| numbers(&call.value).into_iter().any(|other| i128::from(other) == number))
        }
        ListContent::Functions(_) | ListContent::Pattern(_) => false,
    }
}

/// A system call by name: only lists know names.
fn syscall(test: &IntegerTest, call: &Syscall, policy: &Policy) -> Result<bool, Outcome> {
    let IntegerTest::InSet { lists, .. } = test else { return Err(Outcome::OtherKind) };
    let native = |abi: Option<Abi>| abi.is_none_or(|abi| !abi.is_compat());
    let same_abi = |listed: Option<Abi>| match (listed, call.abi) {
        (Some(listed), Some(own)) => listed == own,
        (listed, own) => native(listed) && native(own),
    };
    Ok(lists.iter().filter_map(|list| policy.list(*list)).any(|list| match &list.content {
        ListContent::AllSyscalls => true,
        ListContent::Syscalls(calls) => {
            calls.iter().any(|listed| listed.value.name == call.name && same_abi(listed.value.abi))
        }
        ListContent::Functions(_) | ListContent::Pattern(_) => false,
    }))
}

fn text(test: &TextTest, value: &Value) -> Result<bool, Outcome> {
    let bytes = match value {
        Value::Text(bytes) | Value::Bytes(bytes) | Value::LocalAddress(bytes) => bytes,
        Value::Path { path, .. } if path.is_empty() => return Err(Outcome::EmptyPath),
        Value::Path { path, .. } => path,
        _ => return Err(Outcome::OtherKind),
    };
    Ok(match test {
        TextTest::Equal(values) => values.contains(bytes),
        TextTest::Prefix(values) => values.iter().any(|value| bytes.starts_with(value)),
        TextTest::Postfix(values) => values.iter().any(|value| bytes.ends_with(value)),
        TextTest::Contains(values) => values.iter().any(|value| contains(bytes, value)),
        TextTest::ContainsIgnoringCase(values) => {
            let lower = bytes.to_ascii_lowercase();
            values.iter().any(|value| contains(&lower, value))
        }
        TextTest::Glob(globs) => globs.iter().any(|glob| glob.matches(bytes)),
    })
}

/// Whether a path is another, or leads to something below it.
fn is_or_below(path: &[u8], folder: &[u8]) -> bool {
    let folder = folder.strip_suffix(b"/").unwrap_or(folder);
    path.strip_prefix(folder).is_some_and(|rest| rest.is_empty() || rest.starts_with(b"/"))
}

fn contains(bytes: &[u8], part: &[u8]) -> bool {
    part.is_empty() || bytes.windows(part.len()).any(|window| window == part)
}

fn socket(value: &Value) -> Result<&SocketValue, Outcome> {
    match value {
        Value::Socket(socket) => Ok(socket),
        _ => Err(Outcome::OtherKind),
    }
}

fn family(value: &Value) -> Result<u16, Outcome> {
    match value {
        Value::Socket(socket) => Ok(socket.family),
        Value::Address { family, .. } => Ok(*family),
        Value::LocalAddress(_) => Ok(1),
        _ => Err(Outcome::OtherKind),
    }
}

fn address(value: &Value, side: Side) -> Result<IpAddr, Outcome> {
    let address = match (value, side) {
        (Value::Socket(socket), Side::Source) => socket.source,
        (Value::Socket(socket), Side::Destination) => socket.destination,
        (Value::Address { address, .. }, Side::Source) => *address,
        _ => return Err(Outcome::OtherKind),
    };
    address.ok_or(Outcome::NoAddress)
}

fn port(value: &Value, side: Side) -> Result<u16, Outcome> {
    // What has no address has no port either.
    address(value, side)?;
    Ok(match (value, side) {
        (Value::Socket(socket), Side::Source) => socket.source_port,
        (Value::Socket(socket), Side::Destination) => socket.destination_port,
        (Value::Address { port, .. }, _) => *port,
        _ => return Err(Outcome::OtherKind),
    })
}

fn gained(old: &Value, new: &Value) -> Result<bool, Outcome> {
    match (old, new) {
        (Value::Failed, _) | (_, Value::Failed) => Err(Outcome::Unreadable),
        (Value::Capabilities(old), Value::Capabilities(new)) => Ok(new & !old != 0),
        _ => Err(Outcome::OtherKind),
    }
}

fn expression(predicate: &Predicate, values: &[Value]) -> Result<bool, Outcome> {
    let Test::Cel(condition) = &predicate.test else { return Err(Outcome::OtherKind) };
    let number = |position: usize| match values.get(position) {
        Some(Value::Integer(number)) => Some(*number),
        _ => None,
    };
    condition.holds(&number).ok_or(Outcome::Unreadable)
}

/// A test whose type is that of the value at hand.
fn untyped(
    predicate: &Predicate,
    value: &Value,
    policy: &Policy,
    numbers: Numbers<'_>,
) -> Result<bool, Outcome> {
    let Test::Untyped(values) = &predicate.test else { return Err(Outcome::OtherKind) };
    let ty = match value {
        Value::Integer(number) if *number > i128::from(i64::MAX) => ArgType::U64,
        Value::Integer(_) => ArgType::I64,
        Value::Text(_) => ArgType::String,
        Value::Bytes(_) => ArgType::CharBuf,
        _ => return Err(Outcome::OtherKind),
    };
    let typed = crate::typed(predicate.operator, ty, values).map_err(|_| Outcome::OtherKind)?;
    one(&typed, value, policy, numbers)
}

//! Described values.

use std::net::IpAddr;

use crate::diagnostic::{At, Problem, Report};
use crate::matcher::{SocketValue, Value, mode_of};
use crate::model::Argument;
use crate::names;
use crate::shape::Item;
use crate::words::{ArgType, FileType, Group, nearest};
use crate::yaml::{Content, Node, shorten};

/// A described value of a captured argument.
pub(super) fn value(item: &Item, argument: &Argument, report: &mut Report) -> Value {
    let Some(node) = item.node() else { return Value::Failed };
    if node.is_null() {
        return Value::Failed;
    }
    let described = match argument.ty.group() {
        Group::Integer { .. } => integer(node, argument.ty),
        Group::Text => text(node).map(|text| match argument.ty {
            ArgType::CharBuf => Value::Bytes(text.into_bytes()),
            _ => Value::Text(text.into_bytes()),
        }),
        Group::Path => path(node),
        Group::Socket { .. } => socket(node),
        Group::Address => address(node),
        Group::LocalAddress => text(node).map(|text| Value::LocalAddress(text.into_bytes())),
        Group::Capabilities => capabilities(node),
        Group::Unknown => Ok(unknown(node)),
        Group::None => Ok(Value::Other),
    };
    described.unwrap_or_else(|problem| {
        let at = At { span: node.span, path: item.at.path.clone() };
        let message = format!("{} (a value of type {})", problem.message, argument.ty.name());
        match problem.hint {
            Some(hint) => report.error_hint(&at, message, hint),
            None => report.error(&at, message),
        }
        Value::Failed
    })
}

fn text(node: &Node) -> Result<String, Problem> {
    match &node.content {
        Content::Scalar { text, .. } => Ok(text.clone()),
        _ => Err(Problem::new(format!("expected text, found {}", node.describe()))),
    }
}

fn integer(node: &Node, ty: ArgType) -> Result<Value, Problem> {
    let text = text(node)?;
    if ty == ArgType::Syscall64 && crate::values::number(&text).is_err() {
        return crate::check::syscall(&text).map(Value::Syscall);
    }
    let Group::Integer { signed, bits } = ty.group() else { return Ok(Value::Other) };
    crate::values::integer(&text, signed, bits).map(Value::Integer)
}

/// A number or text, for what only the kernel knows.
fn unknown(node: &Node) -> Value {
    match &node.content {
        Content::Scalar { text, plain: true } => match crate::values::number(text) {
            Ok(number) => Value::Integer(number),
            Err(_) => Value::Text(text.clone().into_bytes()),
        },
        Content::Scalar { text, .. } => Value::Text(text.clone().into_bytes()),
        _ => Value::Other,
    }
}

/// The entries of a map with these keys only.
fn entries<'a>(node: &'a Node, keys: &[&str]) -> Result<Vec<(&'a str, String)>, Problem> {
    let hint = || format!("a map with {}", keys.join(", "));
    let Content::Map(entries) = &node.content else {
        return Err(Problem::hint(format!("expected a map, found {}", node.describe()), hint()));
    };
    let mut known = Vec::new();
    for (key, value) in entries {
        if !keys.contains(&key.text.as_str()) {
            let hint = nearest(&key.text, keys.iter().copied())
                .map_or_else(hint, |key| format!("did you mean `{key}`?"));
            return Err(Problem::hint(format!("there is no `{}` here", shorten(&key.text)), hint));
        }
        known.push((key.text.as_str(), text(value)?));
    }
    Ok(known)
}

fn path(node: &Node) -> Result<Value, Problem> {
    if let Content::Scalar { text, .. } = &node.content {
        return Ok(Value::Path { path: text.clone().into_bytes(), mode: 0, file: Vec::new() });
    }
    let (mut path, mut file, mut mode) = (Vec::new(), Vec::new(), 0);
    for (key, text) in entries(node, &["path", "file", "type", "mode"])? {
        match key {
            "path" => path = text.into_bytes(),
            "file" => file = text.into_bytes(),
            "type" => {
                let ty = FileType::parse(&text);
                let wrong = || Problem::new(format!("`{}` is not a type of file", shorten(&text)));
                mode |= mode_of(ty.ok_or_else(wrong)?);
            }
            _ => {
                let bits = crate::values::number(&text).ok().and_then(|number| u32::try_from(number).ok());
                mode |= bits.ok_or_else(|| Problem::new(format!("`{}` is not a mode", shorten(&text))))?;
            }
        }
    }
    Ok(Value::Path { path, mode, file })
}

fn ip(text: &str) -> Result<IpAddr, Problem> {
    text.parse().map_err(|_| Problem::new(format!("`{}` is not an address", shorten(text))))
}

fn port(text: &str) -> Result<u16, Problem> {
    text.parse().map_err(|_| Problem::new(format!("`{}` is not a port", shorten(text))))
}

fn family_of(address: Option<IpAddr>) -> u16 {
    match address {
        Some(IpAddr::V4(_)) => 2,
        Some(IpAddr::V6(_)) => 10,
        None => 0,
    }
}

fn socket(node: &Node) -> Result<Value, Problem> {
    let keys = ["family", "protocol", "state", "saddr", "daddr", "sport", "dport"];
    let mut socket = SocketValue::default();
    let mut family = None;
    for (key, text) in entries(node, &keys)? {
        match key {
            "family" => family = Some(names::FAMILIES.number(&text)?),
            "protocol" => socket.protocol = names::PROTOCOLS.number(&text)?,
            "state" => socket.state = Some(names::TCP_STATES.number(&text)?),
            "saddr" => socket.source = Some(ip(&text)?),
            "daddr" => socket.destination = Some(ip(&text)?),
            "sport" => socket.source_port = port(&text)?,
            _ => socket.destination_port = port(&text)?,
        }
    }
    socket.family = family.unwrap_or_else(|| family_of(socket.source.or(socket.destination)));
    Ok(Value::Socket(socket))
}

fn address(node: &Node) -> Result<Value, Problem> {
    let (mut family, mut address, mut number) = (None, None, 0);
    for (key, text) in entries(node, &["family", "addr", "port"])? {
        match key {
            "family" => family = Some(names::FAMILIES.number(&text)?),
            "addr" => address = Some(ip(&text)?),
            _ => number = port(&text)?,
        }
    }
    Ok(Value::Address { family: family.unwrap_or_else(|| family_of(address)), address, port: number })
}

fn capabilities(node: &Node) -> Result<Value, Problem> {
    let Content::List(items) = &node.content else {
        return crate::check::capability_set(&text(node)?).map(Value::Capabilities);
    };
    let set = items.iter().try_fold(0, |set, item| Ok(set | 1 << names::capability(&text(item)?)?))?;
    Ok(Value::Capabilities(set))
}

//! Functions of expressions: what they take and what they do.

use std::borrow::Cow;
use std::net::IpAddr;
use std::sync::LazyLock;

use super::check::Type;
use super::eval::Failure;
use super::net;
use super::value::Value;

/// What one form of a function takes. The first parameter of a method is its target.
pub(super) struct Signature {
    pub(super) name: &'static str,
    of_target: bool,
    parameters: &'static [T],
    result: T,
}

/// A type that a table can hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum T {
    Any,
    Bool,
    Int,
    Uint,
    Double,
    Text,
    Bytes,
    Time,
    Span,
    Ip,
    Cidr,
    List,
    Map,
}

impl T {
    fn of(self) -> Type {
        match self {
            Self::Any => Type::Any,
            Self::Bool => Type::Bool,
            Self::Int => Type::Int,
            Self::Uint => Type::Uint,
            Self::Double => Type::Double,
            Self::Text => Type::Text,
            Self::Bytes => Type::Bytes,
            Self::Time => Type::Timestamp,
            Self::Span => Type::Duration,
            Self::Ip => Type::Ip,
            Self::Cidr => Type::Cidr,
            Self::List => Type::List(Box::new(Type::Any)),
            Self::Map => Type::Map(Box::new(Type::Any), Box::new(Type::Any)),
        }
    }
}

const fn function(name: &'static str, parameters: &'static [T], result: T) -> Signature {
    Signature { name, of_target: false, parameters, result }
}

const fn method(name: &'static str, parameters: &'static [T], result: T) -> Signature {
    Signature { name, of_target: true, parameters, result }
}

impl Signature {
    pub(super) fn fits(&self, name: &str, of_target: bool, given: &[Type]) -> bool {
        self.name == name
            && self.of_target == of_target
            && self.parameters.len() == given.len()
            && self.parameters.iter().zip(given).all(|(parameter, given)| parameter.of().fits(given.plain()))
    }

    pub(super) fn result(&self) -> Type {
        self.result.of()
    }
}

/// All forms of all functions.
pub(super) fn all() -> &'static [Signature] {
    static ALL: LazyLock<Vec<Signature>> = LazyLock::new(|| {
        use T::{Any, Bool, Bytes, Cidr, Double, Int, Ip, List, Map, Span, Text, Time, Uint};
        let mut all = vec![
            function("matches", &[Text, Text], Bool),
            method("matches", &[Text, Text], Bool),
            method("contains", &[Text, Text], Bool),
            method("startsWith", &[Text, Text], Bool),
            method("endsWith", &[Text, Text], Bool),
            function("dyn", &[Any], Any),
            function("ip", &[Text], Ip),
            function("isIP", &[Text], Bool),
            function("ip.isCanonical", &[Text], Bool),
            method("family", &[Ip], Int),
            method("isUnspecified", &[Ip], Bool),
            method("isLoopback", &[Ip], Bool),
            method("isLinkLocalMulticast", &[Ip], Bool),
            method("isLinkLocalUnicast", &[Ip], Bool),
            method("isGlobalUnicast", &[Ip], Bool),
            function("cidr", &[Text], Cidr),
            function("isCIDR", &[Text], Bool),
            method("containsIP", &[Cidr, Ip], Bool),
            method("containsIP", &[Cidr, Text], Bool),
            method("containsCIDR", &[Cidr, Cidr], Bool),
            method("containsCIDR", &[Cidr, Text], Bool),
            method("ip", &[Cidr], Ip),
            method("masked", &[Cidr], Cidr),
            method("prefixLength", &[Cidr], Int),
        ];
        for of in [&[Text] as &[T], &[Bytes], &[List], &[Map]] {
            all.push(function("size", of, Int));
            all.push(method("size", of, Int));
        }
        let conversions: [(&str, T, &[&[T]]); 8] = [
            ("int", Int, &[&[Int], &[Uint], &[Double], &[Text], &[Time]]),
            ("uint", Uint, &[&[Int], &[Uint], &[Double], &[Text]]),
            ("double", Double, &[&[Int], &[Uint], &[Double], &[Text]]),
            ("bool", Bool, &[&[Bool], &[Text]]),
            ("bytes", Bytes, &[&[Bytes], &[Text]]),
            ("timestamp", Time, &[&[Time], &[Text], &[Int]]),
            ("duration", Span, &[&[Span], &[Text]]),
            ("string", Text, &[&[Text], &[Bool], &[Int], &[Uint], &[Double], &[Bytes], &[Ip], &[Cidr]]),
        ];
        for (name, result, forms) in conversions {
            all.extend(forms.iter().map(|form| function(name, form, result)));
        }
        all
    });
    &ALL
}

/// Calls a function; the target is the first argument.
pub(super) fn call<'a>(name: &str, arguments: &[Value<'a>]) -> Result<Value<'a>, Failure> {
    use Value::{Bool, Bytes, Cidr, Double, Duration, Int, Ip, List, Map, Text, Timestamp, Uint};
    Ok(match (name, arguments) {
        ("size", [Text(text)]) => count(text.chars().count()),
        ("size", [Bytes(bytes)]) => count(bytes.len()),
        ("size", [List(list)]) => count(list.len()),
        ("size", [Map(map)]) => count(map.len()),
        ("contains", [Text(text), Text(part)]) => Bool(text.contains(&**part)),
        ("startsWith", [Text(text), Text(part)]) => Bool(text.starts_with(&**part)),
        ("endsWith", [Text(text), Text(part)]) => Bool(text.ends_with(&**part)),
        ("dyn", [value])
        | ("int", [value @ Int(_)])
        | ("uint", [value @ Uint(_)])
        | ("double", [value @ Double(_)])
        | ("bool", [value @ Bool(_)])
        | ("bytes", [value @ Bytes(_)])
        | ("string", [value @ Text(_)])
        | ("timestamp", [value @ Timestamp(_)])
        | ("duration", [value @ Duration(_)]) => value.clone(),
        ("int", [Uint(value)]) => Int(i64::try_from(*value).map_err(|_| Failure::Range)?),
        ("int", [Double(value)]) => Int(truncated(*value, -(2f64.powi(63)), 2f64.powi(63))? as i64),
        ("int", [Text(text)]) => Int(parsed(text)?),
        ("int", [Timestamp(value)]) => {
            Int(i64::try_from(value.div_euclid(1_000_000_000)).map_err(|_| Failure::Range)?)
        }
        ("uint", [Int(value)]) => Uint(u64::try_from(*value).map_err(|_| Failure::Range)?),
        ("uint", [Double(value)]) => Uint(truncated(*value, 0.0, 2f64.powi(64))? as u64),
        ("uint", [Text(text)]) => Uint(parsed(text)?),
        #[expect(clippy::cast_precision_loss, reason = "that is what was asked for")]
        ("double", [Int(value)]) => Double(*value as f64),
        #[expect(clippy::cast_precision_loss, reason = "that is what was asked for")]
        ("double", [Uint(value)]) => Double(*value as f64),
        ("double", [Text(text)]) => Double(parsed(text)?),
        ("bool", [Text(text)]) => match &**text {
            "true" | "True" | "TRUE" | "t" | "1" => Bool(true),
            "false" | "False" | "FALSE" | "f" | "0" => Bool(false),
            _ => return Err(Failure::Text),
        },
        ("bytes", [Text(text)]) => Bytes(Cow::Owned(text.as_bytes().to_vec())),
        ("timestamp", [Int(seconds)]) => Timestamp(i128::from(*seconds) * 1_000_000_000),
        ("timestamp", [Text(text)]) => {
            let time: prost_types::Timestamp = text.parse().map_err(|_| Failure::Text)?;
            Timestamp(i128::from(time.seconds) * 1_000_000_000 + i128::from(time.nanos))
        }
        ("duration", [Text(text)]) => Duration(duration(text).ok_or(Failure::Text)?),
        ("string", [Bool(value)]) => Text(Cow::Owned(value.to_string())),
        ("string", [Int(value)]) => Text(Cow::Owned(value.to_string())),
        ("string", [Uint(value)]) => Text(Cow::Owned(value.to_string())),
        ("string", [Double(value)]) => Text(Cow::Owned(value.to_string())),
        ("string", [Bytes(bytes)]) => {
            Text(Cow::Owned(String::from_utf8(bytes.to_vec()).map_err(|_| Failure::Text)?))
        }
        ("string", [Ip(address)]) => Text(Cow::Owned(address.to_string())),
        ("string", [Cidr(network)]) => Text(Cow::Owned(network.text())),
        ("ip", [Text(text)]) => Ip(address(text)?),
        ("isIP", [Text(text)]) => Bool(net::parse_ip(text).is_some()),
        ("ip.isCanonical", [Text(text)]) => Bool(address(text)?.to_string() == **text),
        ("family", [Ip(address)]) => Int(if address.is_ipv4() { 4 } else { 6 }),
        ("isUnspecified", [Ip(address)]) => Bool(address.is_unspecified()),
        ("isLoopback", [Ip(address)]) => Bool(address.is_loopback()),
        ("isLinkLocalMulticast", [Ip(address)]) => Bool(net::is_link_local_multicast(*address)),
        ("isLinkLocalUnicast", [Ip(address)]) => Bool(net::is_link_local_unicast(*address)),
        ("isGlobalUnicast", [Ip(address)]) => Bool(net::is_global_unicast(*address)),
        ("cidr", [Text(text)]) => Cidr(network(text)?),
        ("isCIDR", [Text(text)]) => Bool(net::parse_cidr(text).is_some()),
        ("containsIP", [Cidr(network), Ip(address)]) => Bool(network.contains(*address)),
        ("containsIP", [Cidr(network), Text(text)]) => Bool(network.contains(address(text)?)),
        ("containsCIDR", [Cidr(one), Cidr(other)]) => Bool(one.contains_network(*other)),
        ("containsCIDR", [Cidr(one), Text(text)]) => Bool(one.contains_network(network(text)?)),
        ("ip", [Cidr(network)]) => Ip(network.address),
        ("masked", [Cidr(network)]) => Cidr(network.masked()),
        ("prefixLength", [Cidr(network)]) => Int(network.prefix.into()),
        _ => return Err(Failure::Type(arguments.first().map_or("nothing", Value::name))),
    })
}

fn count(number: usize) -> Value<'static> {
    Value::Int(i64::try_from(number).unwrap_or(i64::MAX))
}

fn parsed<N: std::str::FromStr>(text: &str) -> Result<N, Failure> {
    text.parse().map_err(|_| Failure::Text)
}

/// The number without its fraction, if it is inside the bounds.
fn truncated(value: f64, least: f64, end: f64) -> Result<f64, Failure> {
    let whole = value.trunc();
    if whole >= least && whole < end { Ok(whole) } else { Err(Failure::Range) }
}

fn address(text: &str) -> Result<IpAddr, Failure> {
    net::parse_ip(text).ok_or(Failure::Text)
}

fn network(text: &str) -> Result<net::Cidr, Failure> {
    net::parse_cidr(text).ok_or(Failure::Text)
}

/// A time as `1h30m`, `1.5s` or `-20ms`, in nanoseconds.
fn duration(text: &str) -> Option<i128> {
    let (negative, mut rest) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    if rest == "0" {
        return Some(0);
    }
    if rest.is_empty() || rest.len() > 64 {
        return None;
    }
    let mut sum = 0i128;
    while !rest.is_empty() {
        let length = rest.find(|c: char| c != '.' && !c.is_ascii_digit())?;
        let (number, unit) = rest.split_at(length);
        let units = [
            ("ns", 1),
            ("us", 1_000),
            ("µs", 1_000),
            ("ms", 1_000_000),
            ("s", 1_000_000_000),
            ("m", 60_000_000_000),
            ("h", 3_600_000_000_000_i128),
        ];
        let (name, scale) = units.into_iter().find(|(name, _)| unit.starts_with(name))?;
        let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
        if (whole.is_empty() && fraction.is_empty()) || fraction.contains('.') || fraction.len() > 18 {
            return None;
        }
        let digits =
            |text: &str| if text.is_empty() { Some(0) } else { text.parse::<u64>().ok().map(i128::from) };
        let part = digits(fraction)? * scale / 10i128.pow(u32::try_from(fraction.len()).ok()?);
        sum += digits(whole)? * scale + part;
        rest = &unit[name.len()..];
    }
    Some(if negative { -sum } else { sum })
}

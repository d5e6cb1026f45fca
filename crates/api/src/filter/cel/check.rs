//! Names and types of an expression, before it is used.

use prost_reflect::{EnumDescriptor, FieldDescriptor, Kind as FieldKind, MessageDescriptor};
use regex::RegexBuilder;

use super::functions::{self, Signature};
use super::{Kind, Literal, Macro, Mistake, Node, Operator, Word};
use crate::descriptors::{Described, enum_by_name};
use crate::tetragon::{EventType, GetEventsResponse};

/// Memory that the expression of a `matches` may take.
const MAX_REGEX_BYTES: usize = 1 << 20;

/// What a part of an expression is.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Type {
    /// Not known before it is evaluated.
    Any,
    Null,
    Bool,
    Int,
    Uint,
    Double,
    Text,
    Bytes,
    Timestamp,
    Duration,
    Ip,
    Cidr,
    List(Box<Type>),
    Map(Box<Type>, Box<Type>),
    Message(MessageDescriptor),
    /// That, or null.
    Wrapped(Box<Type>),
}

impl Type {
    fn name(&self) -> String {
        match self {
            Self::Any => "dyn".into(),
            Self::Null => "null".into(),
            Self::Bool => "bool".into(),
            Self::Int => "int".into(),
            Self::Uint => "uint".into(),
            Self::Double => "double".into(),
            Self::Text => "string".into(),
            Self::Bytes => "bytes".into(),
            Self::Timestamp => "timestamp".into(),
            Self::Duration => "duration".into(),
            Self::Ip => "ip".into(),
            Self::Cidr => "cidr".into(),
            Self::List(of) => format!("list({})", of.name()),
            Self::Map(key, value) => format!("map({}, {})", key.name(), value.name()),
            Self::Message(message) => message.full_name().to_owned(),
            Self::Wrapped(of) => format!("{} or null", of.name()),
        }
    }

    /// Without the null that it may be.
    pub(super) fn plain(&self) -> &Self {
        if let Self::Wrapped(of) = self { of } else { self }
    }

    fn is_number(&self) -> bool {
        matches!(self, Self::Int | Self::Uint | Self::Double)
    }

    /// Whether a value of this type may be one of the other.
    pub(super) fn fits(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Any, _) | (_, Self::Any) => true,
            (Self::Wrapped(_) | Self::Null | Self::Message(_), Self::Null)
            | (Self::Null, Self::Wrapped(_) | Self::Message(_)) => true,
            (Self::Wrapped(of), other) | (other, Self::Wrapped(of)) => of.fits(other),
            (Self::List(one), Self::List(other)) => one.fits(other),
            (Self::Map(key, value), Self::Map(other_key, other_value)) => {
                key.fits(other_key) && value.fits(other_value)
            }
            _ => self == other,
        }
    }

    /// Whether values of both can be compared; numbers of all types can, by their value.
    fn compares(&self, other: &Self) -> bool {
        self.fits(other) || (self.plain().is_number() && other.plain().is_number())
    }

    fn is_ordered(&self) -> bool {
        let plain = self.plain();
        plain.is_number()
            || matches!(
                plain,
                Self::Any | Self::Text | Self::Bytes | Self::Bool | Self::Timestamp | Self::Duration
            )
    }

    fn of_field(field: &FieldDescriptor) -> Self {
        if field.is_map()
            && let FieldKind::Message(entry) = field.kind()
        {
            let of = |field: FieldDescriptor| Box::new(Self::of_kind(&field.kind()));
            return Self::Map(of(entry.map_entry_key_field()), of(entry.map_entry_value_field()));
        }
        let of = Self::of_kind(&field.kind());
        if field.is_list() { Self::List(Box::new(of)) } else { of }
    }

    fn of_kind(kind: &FieldKind) -> Self {
        match kind {
            FieldKind::Double | FieldKind::Float => Self::Double,
            FieldKind::Int32
            | FieldKind::Int64
            | FieldKind::Sint32
            | FieldKind::Sint64
            | FieldKind::Sfixed32
            | FieldKind::Sfixed64
            | FieldKind::Enum(_) => Self::Int,
            FieldKind::Uint32 | FieldKind::Uint64 | FieldKind::Fixed32 | FieldKind::Fixed64 => Self::Uint,
            FieldKind::Bool => Self::Bool,
            FieldKind::String => Self::Text,
            FieldKind::Bytes => Self::Bytes,
            FieldKind::Message(message) => match message.full_name() {
                "google.protobuf.Timestamp" => Self::Timestamp,
                "google.protobuf.Duration" => Self::Duration,
                name if name.starts_with("google.protobuf.") && name.ends_with("Value") => message
                    .get_field_by_name("value")
                    .map_or(Self::Any, |value| Self::Wrapped(Box::new(Self::of_kind(&value.kind())))),
                _ => Self::Message(message.clone()),
            },
        }
    }
}

/// Checks all names and types, and that the result is true or false; the kinds of events that are mentioned.
pub(super) fn check(root: &mut Node) -> Result<Vec<EventType>, Mistake> {
    let mut checker = Checker { variables: Vec::new(), kinds: Vec::new() };
    let result = checker.check(root)?;
    if !result.fits(&Type::Bool) || matches!(result, Type::Null) {
        return Err(Mistake::new(root.at, format!("the result is no bool but {}", result.name())));
    }
    if checker.kinds.is_empty() {
        let reason = "it mentions no kind of event, such as process_exec, so it could match none";
        return Err(Mistake::new(root.at, reason));
    }
    Ok(checker.kinds)
}

struct Checker {
    variables: Vec<(String, Type)>,
    kinds: Vec<EventType>,
}

impl Checker {
    fn check(&mut self, node: &mut Node) -> Result<Type, Mistake> {
        let at = node.at;
        if let Some(number) = enum_value(node)? {
            node.kind = Kind::Literal(Literal::Int(number.into()));
        }
        match &mut node.kind {
            Kind::Literal(literal) => Ok(match literal {
                Literal::Null => Type::Null,
                Literal::Bool(_) => Type::Bool,
                Literal::Int(_) => Type::Int,
                Literal::Uint(_) => Type::Uint,
                Literal::Double(_) => Type::Double,
                Literal::Text(_) => Type::Text,
                Literal::Bytes(_) => Type::Bytes,
            }),
            Kind::Name(name) => self.name(at, name),
            Kind::Select(target, field) => {
                let target = self.check(target)?;
                select(at, &target, field)
            }
            Kind::Has(target, field) => {
                let target = self.check(target)?;
                select(at, &target, field).map(|_| Type::Bool)
            }
            Kind::Index(target, index) => {
                let target = self.check(target)?;
                let (index_at, index) = (index.at, self.check(index)?);
                match target.plain() {
                    Type::List(of) if index.compares(&Type::Int) => Ok((**of).clone()),
                    Type::Map(key, value) if key.compares(&index) => Ok((**value).clone()),
                    Type::Any => Ok(Type::Any),
                    Type::List(_) | Type::Map(..) => Err(Mistake::new(
                        index_at,
                        format!("{} is no index of {}", index.name(), target.name()),
                    )),
                    _ => Err(Mistake::new(at, format!("{} has no parts", target.name()))),
                }
            }
            Kind::Matches(text, _) => self.check(text).map(|_| Type::Bool),
            Kind::Call(..) => self.call(node),
            Kind::List(parts) => self.common(parts.iter_mut()).map(|of| Type::List(Box::new(of))),
            Kind::Map(entries) => {
                let key = self.common(entries.iter_mut().map(|(key, _)| key))?;
                let value = self.common(entries.iter_mut().map(|(_, value)| value))?;
                Ok(Type::Map(Box::new(key), Box::new(value)))
            }
            Kind::Conditional(parts) => {
                let [condition, yes, no] = &mut **parts;
                self.bool(condition)?;
                self.common([yes, no].into_iter())
            }
            Kind::And(parts) | Kind::Or(parts) => {
                parts.iter_mut().try_for_each(|part| self.bool(part))?;
                Ok(Type::Bool)
            }
            Kind::Not(inner) => self.bool(inner).map(|()| Type::Bool),
            Kind::Negate(inner) => match self.check(inner)?.plain() {
                number @ (Type::Int | Type::Double | Type::Any) => Ok(number.clone()),
                other => Err(Mistake::new(at, format!("{} has no sign", other.name()))),
            },
            Kind::Binary(operator, left, right) => {
                let (left, right) = (self.check(left)?, self.check(right)?);
                binary(at, *operator, &left, &right)
            }
            Kind::Macro(found) => self.comprehension(found),
        }
    }

    fn bool(&mut self, node: &mut Node) -> Result<(), Mistake> {
        let found = self.check(node)?;
        if found.fits(&Type::Bool) && found != Type::Null {
            Ok(())
        } else {
            Err(Mistake::new(node.at, format!("a bool is expected here, not {}", found.name())))
        }
    }

    /// The type of all, or `Any`.
    fn common<'n>(&mut self, nodes: impl Iterator<Item = &'n mut Node>) -> Result<Type, Mistake> {
        let mut common: Option<Type> = None;
        for node in nodes {
            let found = self.check(node)?;
            common = Some(match common {
                None => found,
                Some(common) if common == found => common,
                Some(_) => Type::Any,
            });
        }
        Ok(common.unwrap_or(Type::Any))
    }

    fn name(&mut self, at: usize, name: &str) -> Result<Type, Mistake> {
        if let Some((_, known)) = self.variables.iter().rev().find(|(variable, _)| variable == name) {
            return Ok(known.clone());
        }
        let unknown = || {
            let what = "known are process_exec, process_exit, process_kprobe, process_tracepoint, process_loader, \
                        process_uprobe, process_lsm, process_usdt and process_throttle";
            Mistake::new(at, format!("there is no variable {name:?}; {what}"))
        };
        if !name.starts_with("process_") {
            return Err(unknown());
        }
        let field = GetEventsResponse::descriptor().get_field_by_name(name).ok_or_else(unknown)?;
        // The number of the field is that of the type.
        let kind = field.number().try_into().ok().and_then(|number: i32| EventType::try_from(number).ok());
        let kind = kind.ok_or_else(unknown)?;
        if !self.kinds.contains(&kind) {
            self.kinds.push(kind);
        }
        Ok(Type::of_field(&field))
    }

    fn call(&mut self, node: &mut Node) -> Result<Type, Mistake> {
        let at = node.at;
        let Kind::Call(name, target, arguments) = &mut node.kind else { return Ok(Type::Any) };
        // `ip.isCanonical(text)` is a function of that name.
        if name == "isCanonical"
            && let Some(Kind::Name(space)) = target.as_ref().map(|target| &target.kind)
            && space == "ip"
        {
            (*name, *target) = ("ip.isCanonical".to_owned(), None);
        }
        let mut types = Vec::new();
        for part in target.iter_mut().map(|target| &mut **target).chain(arguments.iter_mut()) {
            types.push(self.check(part)?);
        }
        let of_target = target.is_some();
        let fits = |signature: &&Signature| signature.fits(name, of_target, &types);
        let Some(signature) = functions::all().iter().find(fits) else {
            let given: Vec<String> = types.iter().map(Type::name).collect();
            let call = match given.split_first() {
                Some((target, rest)) if of_target => format!("{target}.{name}({})", rest.join(", ")),
                _ => format!("{name}({})", given.join(", ")),
            };
            let known = functions::all().iter().any(|other| other.name == name);
            let reason = if known { "there is no" } else { "there is no function" };
            return Err(Mistake::new(at, format!("{reason} {call}")));
        };
        let result = signature.result();
        if name == "matches" {
            let mut parts: Vec<Node> = target.take().map(|target| *target).into_iter().collect();
            parts.append(arguments);
            if let (Some(pattern), Some(text)) = (parts.pop(), parts.pop()) {
                node.kind = Kind::Matches(Box::new(text), regex(&pattern)?);
            }
        }
        Ok(result)
    }

    fn comprehension(&mut self, found: &mut Macro) -> Result<Type, Mistake> {
        let range = self.check(&mut found.range)?;
        let of = match range.plain() {
            Type::List(of) => (**of).clone(),
            Type::Map(key, _) => (**key).clone(),
            Type::Any => Type::Any,
            other => {
                return Err(Mistake::new(found.range.at, format!("{} has no elements", other.name())));
            }
        };
        self.variables.push((found.variable.clone(), of.clone()));
        if let Some(condition) = &mut found.condition {
            self.bool(condition)?;
        }
        let result = match found.word {
            Word::Map => Type::List(Box::new(self.check(&mut found.body)?)),
            Word::Filter => {
                self.bool(&mut found.body)?;
                Type::List(Box::new(of))
            }
            Word::All | Word::Exists | Word::ExistsOne => {
                self.bool(&mut found.body)?;
                Type::Bool
            }
        };
        self.variables.pop();
        Ok(result)
    }
}

/// A value of an enum by its full name, such as `tetragon.KprobeAction.KPROBE_ACTION_SIGKILL`.
fn enum_value(node: &Node) -> Result<Option<i32>, Mistake> {
    let Kind::Select(of, value) = &node.kind else { return Ok(None) };
    let Kind::Select(package, name) = &of.kind else { return Ok(None) };
    match &package.kind {
        Kind::Name(package) if package == "tetragon" => {}
        _ => return Ok(None),
    }
    let unknown = |what: String| Mistake::new(node.at, what);
    let found: EnumDescriptor = enum_by_name(&format!("tetragon.{name}"))
        .ok_or_else(|| unknown(format!("there is no enum tetragon.{name}")))?;
    let found = found.get_value_by_name(value);
    let found = found.ok_or_else(|| unknown(format!("tetragon.{name} has no value {value}")))?;
    Ok(Some(found.number()))
}

fn select(at: usize, target: &Type, field: &str) -> Result<Type, Mistake> {
    match target {
        Type::Message(message) => match message.get_field_by_name(field) {
            Some(found) => Ok(Type::of_field(&found)),
            None => Err(Mistake::new(at, format!("{} has no field {field:?}", message.full_name()))),
        },
        Type::Map(key, value) if key.fits(&Type::Text) => Ok((**value).clone()),
        Type::Any => Ok(Type::Any),
        other => Err(Mistake::new(at, format!("{} has no field {field:?}", other.name()))),
    }
}

fn binary(at: usize, operator: Operator, left: &Type, right: &Type) -> Result<Type, Mistake> {
    use Operator::{Add, Divide, Equal, In, Multiply, NotEqual, Remainder, Subtract};
    let refusal = || {
        let (left, right) = (left.plain(), right.plain());
        let hint = if left.is_number() && right.is_number() { "; use int(), uint() or double()" } else { "" };
        Mistake::new(at, format!("there is no {} {} {}{hint}", left.name(), operator.sign(), right.name()))
    };
    let (l, r) = (left.plain(), right.plain());
    if matches!(operator, Add | Subtract | Multiply | Divide | Remainder)
        && (*l == Type::Any || *r == Type::Any)
    {
        return Ok(Type::Any);
    }
    match operator {
        Equal | NotEqual if left.compares(right) => Ok(Type::Bool),
        In => match r {
            Type::List(of) | Type::Map(of, _) if of.compares(left) => Ok(Type::Bool),
            Type::Any => Ok(Type::Bool),
            _ => Err(refusal()),
        },
        Add => match (l, r) {
            (Type::Timestamp, Type::Duration) | (Type::Duration, Type::Timestamp) => Ok(Type::Timestamp),
            (Type::List(one), Type::List(other)) => {
                Ok(Type::List(if one == other { one.clone() } else { Box::new(Type::Any) }))
            }
            (Type::Text | Type::Bytes | Type::Duration, _) if l == r => Ok(l.clone()),
            _ if l == r && l.is_number() => Ok(l.clone()),
            _ => Err(refusal()),
        },
        Subtract => match (l, r) {
            (Type::Timestamp, Type::Timestamp) => Ok(Type::Duration),
            (Type::Timestamp | Type::Duration, Type::Duration) => Ok(l.clone()),
            _ if l == r && l.is_number() => Ok(l.clone()),
            _ => Err(refusal()),
        },
        Multiply | Divide if l == r && l.is_number() => Ok(l.clone()),
        Remainder if l == r && matches!(l, Type::Int | Type::Uint) => Ok(l.clone()),
        Equal | NotEqual | Multiply | Divide | Remainder => Err(refusal()),
        _ if left.is_ordered() && right.is_ordered() && left.compares(right) => Ok(Type::Bool),
        _ => Err(refusal()),
    }
}

fn regex(pattern: &Node) -> Result<regex::Regex, Mistake> {
    let Kind::Literal(Literal::Text(text)) = &pattern.kind else {
        return Err(Mistake::new(
            pattern.at,
            "the expression of `matches` must be written out, not computed",
        ));
    };
    let built = RegexBuilder::new(text).size_limit(MAX_REGEX_BYTES).build();
    built.map_err(|error| Mistake::new(pattern.at, format!("bad regular expression {text:?}: {error}")))
}
